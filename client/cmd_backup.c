/* cmd_backup.c - has the server back its index up, and waits for it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

#define POLL_MS	  500
#define POLLS_MAX (24 * 3600 * 1000LL / POLL_MS) /* a day is no backup's */

static void nap(void)
{
	struct timespec t = {.tv_nsec = POLL_MS * 1000000L};

	nanosleep(&t, NULL);
}

static bool is(const json_t *o, const char *state)
{
	return strcmp(cm_json_text(o, "state"), state) == 0;
}

/* The server's last word on it. Caller decrefs. */
static int await(struct cm_cli *cli, json_t **ret, struct cm_error *err)
{
	cm_autojson json_t *nothing = json_object();
	cm_autojson json_t *o = NULL;
	int r = nothing ? cm_cli_api(cli, "POST", CM_API_BACKUP, nothing, &o,
				     err)
			: cm_error_nomem(err);

	for (int64_t i = 0; r == 0 && is(o, "running") && i < POLLS_MAX; i++) {
		nap();
		json_decref(cm_take_ptr(o));
		r = cm_cli_api(cli, "GET", CM_API_BACKUP, NULL, &o, err);
	}
	if (r == 0)
		*ret = cm_take_ptr(o);
	return r;
}

static int report(struct cm_cli *cli, const json_t *o)
{
	char size[CM_SIZE_TEXT_SIZE];
	int code = is(o, "done") ? CM_EXIT_OK : CM_EXIT_FAILED;

	if (cli->json)
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : code;
	if (code == CM_EXIT_OK)
		printf("%s, %s, in the server's data folder\n",
		       cm_json_text(o, "file"),
		       cm_size_format(cm_json_number(o, "bytes"), size));
	else
		cm_say("no backup was made: %s",
		       is(o, "failed") ? cm_json_text(o, "failure")
				       : "the server is still at it");
	return fflush(stdout) == 0 ? code : CM_EXIT_FAILED;
}

int cm_cmd_backup(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("backup");
	cm_autojson json_t *o = NULL;
	struct cm_error err = {0};
	const char *value;
	int at = 0, key = cm_cli_option(cli, verb, argc, argv, &at, &value);
	int r;

	if (key == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (key != 0)
		return CM_EXIT_USAGE;
	if (at < argc)
		return cm_cli_usage(verb, "backup takes no argument");
	r = cm_cli_finish(cli);
	if (r != 0)
		return r;
	if (await(cli, &o, &err) < 0)
		return cm_cli_fail(cli, &err);
	return report(cli, o);
}
