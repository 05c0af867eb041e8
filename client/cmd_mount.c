/* cmd_mount.c - restore and save, the halves of run. */
#include <stdlib.h>

#include "child.h"
#include "cli.h"
#include "output.h"
#include "platform.h"

struct half {
	const char *tag;
	enum cm_merge merge;
	bool allow_setuid;
	bool allow_empty;
	const char *operands[2]; /* id, path */
	size_t operands_len;
};

static int read_options(struct half *h, struct cm_cli *cli,
			const struct cm_verb *verb, int argc, char **argv)
{
	struct cm_error err = {0};
	const char *value;
	int at = 0, key;

	for (;;) {
		key = cm_cli_option(cli, verb, argc, argv, &at, &value);
		switch (key) {
		case 't':
			h->tag = value;
			break;
		case '6':
			if (cm_merge_parse(value, &h->merge, &err) < 0)
				return cm_cli_usage(verb, "%s", err.text);
			break;
		case '3':
			h->allow_setuid = true;
			break;
		case '4':
			h->allow_empty = true;
			break;
		case 'h':
			return -1;
		case 0:
			if (at == argc)
				return 0;
			if (h->operands_len == 2)
				return cm_cli_usage(verb, "one mount at a "
							  "time");
			h->operands[h->operands_len++] = argv[at++];
			break;
		default:
			return CM_EXIT_USAGE;
		}
	}
}

/* A failed cache fails the build step only if that was asked for. */
static int finish(struct cm_cli *cli, const struct cm_run_mount *m, bool save)
{
	const struct cm_error *e = save ? &m->save_error : &m->restore_error;
	cm_autojson json_t *o = NULL;

	if (cli->json) {
		o = cm_mount_json(m, !save, save);
		if (cm_print_json(o) < 0)
			return CM_EXIT_FAILED;
	}
	if (cm_signals_caught())
		return 128 + cm_signals_caught();
	return e->status != CM_OK && cli->config.strict ? cm_cli_exit(e->status)
							: CM_EXIT_OK;
}

static int half(struct cm_cli *cli, const struct cm_verb *verb, int argc,
		char **argv, bool save)
{
	cm_autofree struct cm_run_mount *m = calloc(1, sizeof(*m));
	struct half h = {.merge = CM_MERGE_UNION};
	char tag[CM_TAG_MAX + 1];
	struct cm_error err = {0};
	int r;

	if (!m)
		return CM_EXIT_FAILED;
	r = read_options(&h, cli, verb, argc, argv);
	if (r < 0)
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r > 0)
		return r;
	if (h.operands_len != 2)
		return cm_cli_usage(verb, "give the mount's id and its path");
	cm_platform_tag("/", tag);
	r = cm_cli_finish_build(cli);
	if (r != 0)
		return r;
	if (cm_mount_option_make(h.operands[0], h.operands[1],
				 h.tag ? h.tag : tag, &m->option, &err) < 0)
		return cm_cli_usage(verb, "%s", err.text);
	m->option.merge = h.merge;
	cm_cli_remote(cli, &err);
	cm_signals_take(cli->remote);
	if (save)
		cm_mounts_save(cli, m, 1, h.allow_empty);
	else
		cm_mounts_restore(cli, m, 1, h.allow_setuid);
	return finish(cli, m, save);
}

int cm_cmd_restore(struct cm_cli *cli, int argc, char **argv)
{
	return half(cli, cm_verb_find("restore"), argc, argv, false);
}

int cm_cmd_save(struct cm_cli *cli, int argc, char **argv)
{
	return half(cli, cm_verb_find("save"), argc, argv, true);
}
