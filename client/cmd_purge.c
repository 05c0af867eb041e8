/*
 * cmd_purge.c - throwing things away: counts first, asks, then removes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

struct purge {
	json_t *filter;
	bool failed; /* the filter lacks what it should have: send nothing */
	bool dry_run;
	bool yes;
	bool any; /* something says what to remove */
};

/* A filter that lost a member would remove more than was asked for. */
static void set_member(struct purge *p, const char *key, json_t *value)
{
	p->failed |= json_object_set_new(p->filter, key, value) < 0;
}

static int read_reference(struct purge *p, const struct cm_verb *verb,
			  const char *text)
{
	struct cm_reference ref;
	struct cm_error err = {0};

	if (json_object_get(p->filter, "repository"))
		return cm_cli_usage(verb, "one reference at a time");
	if (cm_repository_valid(text, strlen(text))) {
		set_member(p, "repository", json_string(text));
		return 0;
	}
	if (cm_reference_parse(text, &ref, &err) < 0)
		return cm_cli_usage(verb, "%s", err.text);
	if (json_object_get(p->filter, "tag"))
		return cm_cli_usage(verb, "the tag is given twice");
	if (strchr(ref.reference, ':'))
		return cm_cli_usage(verb, "a purge goes by tag, not by digest");
	set_member(p, "repository", json_string(ref.repo));
	set_member(p, "tag", json_string(ref.reference));
	return 0;
}

static int read_duration(struct purge *p, const struct cm_verb *verb,
			 const char *field, const char *value)
{
	struct cm_error err = {0};
	int64_t ms;

	if (cm_duration_parse(value, &ms, &err) < 0)
		return cm_cli_usage(verb, "%s", err.text);
	set_member(p, field, json_string(value));
	return 0;
}

/* One option; 0, or an exit code. */
static int take_option(struct purge *p, const struct cm_verb *verb, int key,
		       const char *value)
{
	p->any |= strchr("ptowWa", key) != NULL;
	switch (key) {
	case 'n':
		p->dry_run = true;
		return 0;
	case 'y':
		p->yes = true;
		return 0;
	case 'a':
		set_member(p, "all", json_true());
		return 0;
	case 'p':
		set_member(p, "prefix", json_string(value));
		return 0;
	case 't':
		if (json_object_get(p->filter, "tag"))
			return cm_cli_usage(verb, "the tag is given twice");
		set_member(p, "tag", json_string(value));
		return 0;
	case 'W':
		set_member(p, "writer", json_string(value));
		return 0;
	case 'o':
		return read_duration(p, verb, "older_than", value);
	case 'w':
		return read_duration(p, verb, "unused_for", value);
	default:
		return CM_EXIT_USAGE;
	}
}

static int read_arguments(struct purge *p, struct cm_cli *cli,
			  const struct cm_verb *verb, int argc, char **argv)
{
	const char *value;
	int at = 0, key, r = 0;

	do {
		while (r == 0 && (key = cm_cli_option(cli, verb, argc, argv,
						      &at, &value)) != 0)
			r = key == 'h' ? -1 : take_option(p, verb, key, value);
		if (r == 0 && at < argc) {
			p->any = true;
			r = read_reference(p, verb, argv[at++]);
		}
	} while (r == 0 && at < argc);
	/* --scope alone means all of that scope. */
	if (r == 0 && cli->config.values[CM_SET_SCOPE] &&
	    strcmp(cli->config.origins[CM_SET_SCOPE], "flag --scope") == 0 &&
	    !json_object_get(p->filter, "repository") &&
	    !json_object_get(p->filter, "prefix")) {
		set_member(p, "prefix",
			   json_string(cli->config.values[CM_SET_SCOPE]));
		p->any = true;
	}
	if (r == 0 && !p->any)
		return cm_cli_usage(verb, "say what to remove, or --all");
	if (r == 0 && p->failed)
		return cm_cli_usage(verb, "what to remove is no UTF-8 text");
	return r;
}

static int ask_server(struct cm_cli *cli, struct purge *p, bool dry_run,
		      json_t **ret, struct cm_error *err)
{
	set_member(p, "dry_run", json_boolean(dry_run));
	return cm_cli_api(cli, "POST", CM_API_PURGE, p->filter, ret, err);
}

static void describe(const json_t *o, char *out, size_t size)
{
	char bytes[CM_SIZE_TEXT_SIZE], tags[CM_COUNT_TEXT_SIZE];
	char manifests[CM_COUNT_TEXT_SIZE], blobs[CM_COUNT_TEXT_SIZE];

	snprintf(
		out, size, "%s, %s, %s, %s on disk",
		cm_count(cm_json_number(o, "tags"), "tag", tags),
		cm_count(cm_json_number(o, "manifests"), "manifest", manifests),
		cm_count(cm_json_number(o, "blobs"), "blob", blobs),
		cm_size_format(cm_json_number(o, "bytes"), bytes));
}

/* Yes or no from the terminal; no without one. */
static bool confirmed(const char *what)
{
	char answer[16];

	fprintf(stderr, "cachectl: remove %s? [y/N] ", what);
	fflush(stderr);
	return fgets(answer, sizeof(answer), stdin) &&
	       (answer[0] == 'y' || answer[0] == 'Y');
}

static int report(struct cm_cli *cli, const json_t *o, const char *verb)
{
	char text[160];

	if (cli->json)
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	describe(o, text, sizeof(text));
	printf("%s %s\n", verb, text);
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

static int purge(struct cm_cli *cli, struct purge *p)
{
	cm_autojson json_t *preview = NULL;
	cm_autojson json_t *done = NULL;
	struct cm_error err = {0};
	char text[160];

	if (ask_server(cli, p, true, &preview, &err) < 0)
		return cm_cli_fail(cli, &err);
	if (p->dry_run)
		return report(cli, preview, "would remove");
	if (cm_json_number(preview, "tags") == 0 &&
	    cm_json_number(preview, "manifests") == 0)
		return report(cli, preview, "removed");
	describe(preview, text, sizeof(text));
	if (!p->yes && !isatty(STDIN_FILENO)) {
		cm_say("this would remove %s; say --yes to do it", text);
		return CM_EXIT_USAGE;
	}
	if (!p->yes && !confirmed(text)) {
		cm_say("nothing was removed");
		return CM_EXIT_FAILED;
	}
	if (ask_server(cli, p, false, &done, &err) < 0)
		return cm_cli_fail(cli, &err);
	return report(cli, done, "removed");
}

int cm_cmd_purge(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("purge");
	cm_autojson json_t *filter = json_object();
	struct purge p = {.filter = filter};
	int r = read_arguments(&p, cli, verb, argc, argv);

	if (r < 0)
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r == 0)
		r = cm_cli_finish(cli);
	return r == 0 ? purge(cli, &p) : r;
}
