/* cmd_run.c - restore the mounts, run the command, save the mounts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/units.h>

#include "child.h"
#include "cli.h"
#include "output.h"
#include "platform.h"

/* A registry found gone is asked again after a command of at least this. */
#define ASK_AGAIN_MS (60 * 1000)

struct run {
	struct cm_run_mount *mounts;
	size_t mounts_len;
	bool save_on_failure;
	bool no_save;
	bool allow_setuid;
	bool allow_empty;
	const char *summary; /* file to write JSON to, or NULL */
	char *const *command;
	int64_t began_ms, command_ms;
	bool saved;
};

static int add_mount(struct run *run, const struct cm_verb *verb,
		     const char *text)
{
	struct cm_error err = {0};
	char tag[CM_TAG_MAX + 1];
	struct cm_run_mount *m;

	if (run->mounts_len == CM_MOUNTS_MAX)
		return cm_cli_usage(verb, "more than %d mounts", CM_MOUNTS_MAX);
	cm_platform_tag("/", tag);
	m = &run->mounts[run->mounts_len++];
	if (cm_mount_option_parse(text, tag, &m->option, &err) < 0)
		return cm_cli_usage(verb, "%s", err.text);
	for (size_t i = 0; i + 1 < run->mounts_len; i++) {
		if (strcmp(run->mounts[i].option.name, m->option.name) == 0 &&
		    strcmp(run->mounts[i].option.tag, m->option.tag) == 0)
			return cm_cli_usage(verb, "mount %s is given twice",
					    m->option.id);
		if (strcmp(run->mounts[i].option.path, m->option.path) == 0)
			return cm_cli_usage(verb, "two mounts at %.200s",
					    m->option.path);
	}
	return 0;
}

static int read_options(struct run *run, struct cm_cli *cli,
			const struct cm_verb *verb, int argc, char **argv,
			int *at)
{
	const char *value;
	int key, r = 0;

	while (r == 0 &&
	       (key = cm_cli_option(cli, verb, argc, argv, at, &value)) != 0) {
		switch (key) {
		case 'm':
			r = add_mount(run, verb, value);
			break;
		case '1':
			run->save_on_failure = true;
			break;
		case '2':
			run->no_save = true;
			break;
		case '3':
			run->allow_setuid = true;
			break;
		case '4':
			run->allow_empty = true;
			break;
		case '5':
			run->summary = value;
			break;
		case 'h':
			r = -1;
			break;
		default:
			r = CM_EXIT_USAGE;
		}
	}
	return r;
}

static bool cache_failed(const struct run *run)
{
	for (size_t i = 0; i < run->mounts_len; i++)
		if (run->mounts[i].restore_error.status != CM_OK ||
		    (run->saved && run->mounts[i].save_error.status != CM_OK))
			return true;
	return false;
}

/* Saving is worth a try unless the cache was found gone just now. */
static bool worth_saving(struct cm_cli *cli, const struct run *run, int status)
{
	if (run->no_save || cm_signals_caught())
		return false;
	if (status != 0 && !run->save_on_failure) {
		if (cli->verbose)
			cm_say("not saving: the command failed");
		return false;
	}
	if (!cli->remote)
		return false;
	if (!cm_remote_is_gone(cli->remote))
		return true;
	if (run->command_ms < ASK_AGAIN_MS)
		return false;
	cm_remote_revive(cli->remote);
	return true;
}

/* ---- the summary ------------------------------------------------------- */

static json_t *summary_json(struct cm_cli *cli, const struct run *run,
			    int status)
{
	struct cm_remote_traffic traffic = {0};
	json_int_t files = 0, bytes = 0;
	json_t *mounts = json_array();
	const struct cm_run_mount *m;

	if (cli->remote)
		cm_remote_traffic(cli->remote, &traffic);
	for (size_t i = 0; i < run->mounts_len; i++) {
		m = &run->mounts[i];
		files += m->restored.files_written;
		bytes += m->restored.bytes_written;
		json_array_append_new(mounts,
				      cm_mount_json(m, true, run->saved));
	}
	return json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
			 "version", 1, "exit_status", status, "ms",
			 (json_int_t)(cm_monotonic_ms() - run->began_ms),
			 "command_ms", (json_int_t)run->command_ms,
			 "restored_files", files, "restored_bytes", bytes,
			 "downloaded_bytes", (json_int_t)traffic.received,
			 "uploaded_bytes", (json_int_t)traffic.sent, "mounts",
			 mounts);
}

/* The summary is told, never fatal: the build's result stands. */
static void write_summary(struct cm_cli *cli, const struct run *run, int status)
{
	cm_autojson json_t *o = NULL;
	cm_autofile FILE *f = NULL;

	if (!run->summary && !cli->json)
		return;
	o = summary_json(cli, run, status);
	if (o && cli->json) {
		json_dumpf(o, stderr, JSON_COMPACT);
		fputc('\n', stderr);
	}
	if (!o || !run->summary)
		return;
	f = fopen(run->summary, "we");
	if (!f || json_dumpf(o, f, JSON_COMPACT) < 0 || fputc('\n', f) == EOF ||
	    fflush(f) != 0)
		cm_say("cannot write %s: %s", run->summary, strerror(errno));
}

/* ---- the run ----------------------------------------------------------- */

static int execute(struct cm_cli *cli, struct run *run)
{
	struct cm_error err = {0};
	int64_t began;
	int status;

	/* Fails for a wrong URL, which restoring then tells of. */
	cm_cli_remote(cli, &err);
	cm_signals_take(cli->remote);
	cm_mounts_restore(cli, run->mounts, run->mounts_len, run->allow_setuid);
	if (cm_signals_caught())
		return 128 + cm_signals_caught();
	if (cli->config.strict && cache_failed(run))
		return CM_EXIT_STRICT;
	began = cm_monotonic_ms();
	status = cm_child_run(run->command);
	run->command_ms = cm_monotonic_ms() - began;
	if (worth_saving(cli, run, status)) {
		run->saved = true;
		cm_mounts_save(cli, run->mounts, run->mounts_len,
			       run->allow_empty);
	}
	if (status == 0 && cli->config.strict && cache_failed(run))
		return CM_EXIT_STRICT;
	return status;
}

int cm_cmd_run(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("run");
	cm_autofree struct cm_run_mount *mounts =
		calloc(CM_MOUNTS_MAX, sizeof(*mounts));
	struct run run = {.mounts = mounts, .began_ms = cm_monotonic_ms()};
	int at = 0, r;

	if (!mounts)
		return CM_EXIT_FAILED;
	r = read_options(&run, cli, verb, argc, argv, &at);
	if (r < 0)
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r > 0)
		return r;
	if (at >= argc)
		return cm_cli_usage(verb, "there is no command to run");
	if (run.mounts_len == 0)
		return cm_cli_usage(verb, "no mount is given: -m ID=PATH");
	r = cm_cli_finish_build(cli);
	if (r != 0)
		return r;
	run.command = argv + at;
	r = execute(cli, &run);
	write_summary(cli, &run, r);
	return r;
}
