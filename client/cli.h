/*
 * cli.h - what the verbs of cachectl share: settings, the remote, exit codes.
 */
#ifndef CM_CLIENT_CLI_H
#define CM_CLIENT_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "config.h"
#include "mount_option.h"
#include "remote.h"
#include "snapshot.h"

/* Published in cachectl(1); never renumbered. */
enum cm_exit {
	CM_EXIT_OK = 0,
	CM_EXIT_FAILED = 1,
	CM_EXIT_USAGE = 2,
	CM_EXIT_DAMAGED = 3,	    /* verify found bad blobs */
	CM_EXIT_NOT_FOUND = 10,	    /* what was named does not exist */
	CM_EXIT_UNAVAILABLE = 11,   /* no cache answered */
	CM_EXIT_DENIED = 12,	    /* token missing, wrong or not allowed */
	CM_EXIT_STRICT = 125,	    /* run --strict: the cache failed */
	CM_EXIT_NOT_RUNNABLE = 126, /* run: the command can't be executed */
	CM_EXIT_NO_COMMAND = 127,   /* run: there is no such command */
};

struct cm_cli {
	struct cm_config config;
	bool json;
	bool quiet;
	bool verbose;
	bool no_color;
	struct cm_remote *remote; /* made by cm_cli_remote() */
};

struct cm_option {
	char key; /* returned by cm_cli_option(); short name if a letter */
	const char *name;
	const char *argument; /* NULL: a switch */
	const char *help;
};

struct cm_verb {
	const char *name;
	const char *usage; /* what follows the name */
	const char *summary;
	const struct cm_option *options; /* ended by an empty row; or NULL */
	const char *examples;
	int (*run)(struct cm_cli *cli, int argc, char **argv);
};

extern const struct cm_verb cm_verbs[];
extern const size_t cm_verbs_len;

const struct cm_verb *cm_verb_find(const char *name);

/*
 * The next option of a verb's arguments: its key; 0 when none is left (then
 * *at is the first operand); '?' after a usage error, which has been told.
 * Global options are taken anywhere. `*value` is the option's argument.
 */
int cm_cli_option(struct cm_cli *cli, const struct cm_verb *verb, int argc,
		  char **argv, int *at, const char **value);

/*
 * Completes the settings, when all options are read; 0, or an exit code after
 * telling why.
 */
int cm_cli_finish(struct cm_cli *cli);

/*
 * The same for verbs that run inside a build: bars are drawn from now on, and
 * a token that can't be read is told of and done without, unless --strict. A
 * stranger's change is often built without secrets, on purpose.
 */
int cm_cli_finish_build(struct cm_cli *cli);

/* Makes the remote from the settings, once. */
int cm_cli_remote(struct cm_cli *cli, struct cm_error *err);

/* The exit code for a failure. */
int cm_cli_exit(enum cm_status status);

/* Tells of a failure on stderr (JSON with --json); the exit code for it. */
int cm_cli_fail(struct cm_cli *cli, const struct cm_error *err);

/* Tells of a wrong use: message, and where help is. CM_EXIT_USAGE. */
int cm_cli_usage(const struct cm_verb *verb, const char *fmt, ...)
	CM_PRINTF(2, 3);

/* "SCOPE/NAME:TAG" taken apart; a name alone is looked for in the scope. */
struct cm_reference {
	char repo[CM_REPOSITORY_MAX + 1];
	char reference[CM_TAG_MAX + 1]; /* a tag, or "sha256:…" */
};

int cm_reference_parse(const char *text, struct cm_reference *ret,
		       struct cm_error *err);

/* Calls the administration API and parses the answer; caller decrefs. */
int cm_cli_api(struct cm_cli *cli, const char *method, const char *path,
	       json_t *body, json_t **ret, struct cm_error *err);

CM_DEFINE_CLEANUP(json, json_t, json_decref);
#define cm_autojson cm_auto(json)

/* Calls `fn` with each tag below `prefix` (NULL: all), page by page. */
typedef int (*cm_tag_row_fn)(void *arg, const json_t *tag,
			     struct cm_error *err);
int cm_cli_each_tag(struct cm_cli *cli, const char *prefix, cm_tag_row_fn fn,
		    void *arg, struct cm_error *err);

/*
 * A JSON string of any bytes: where they are no UTF-8, a "?" stands for each
 * that is not ASCII. NULL when out of memory.
 */
json_t *cm_json_of_text(const char *text);

/* A member of an answer; "" or 0 where it is absent or null. */
const char *cm_json_text(const json_t *object, const char *key);
int64_t cm_json_number(const json_t *object, const char *key);

/* ---- mounts (mounts.c) ------------------------------------------------ */

#define CM_MOUNTS_MAX 32

/* One mount of a run, and what became of it. */
struct cm_run_mount {
	struct cm_mount_option option;
	struct cm_snapshot_result restored, saved;
	struct cm_error restore_error, save_error; /* status CM_OK: none */
	bool save_tried;
};

/* Restores, or saves, all mounts at once, each with what it needs told. */
void cm_mounts_restore(struct cm_cli *cli, struct cm_run_mount *mounts,
		       size_t n, bool allow_setuid);
void cm_mounts_save(struct cm_cli *cli, struct cm_run_mount *mounts, size_t n,
		    bool allow_empty);

/* {"id":…,"restored":{…},"saved":{…}} */
json_t *cm_mount_json(const struct cm_run_mount *m, bool restored, bool saved);

/* ---- verbs ------------------------------------------------------------ */

int cm_cmd_run(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_restore(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_save(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_ls(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_show(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_du(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_stats(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_purge(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_backup(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_verify(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_pin(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_unpin(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_gc(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_config(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_completion(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_help(struct cm_cli *cli, int argc, char **argv);
int cm_cmd_version(struct cm_cli *cli, int argc, char **argv);

#endif
