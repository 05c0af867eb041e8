/* cmd_stats.c - what the server holds and how well it serves. */
#include <cachemount/protocol.h>

#include "cli.h"
#include "output.h"
#include "stats_view.h"

int cm_cmd_stats(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("stats");
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
		return cm_cli_usage(verb, "stats takes no argument");
	r = cm_cli_finish(cli);
	if (r != 0)
		return r;
	if (cm_cli_api(cli, "GET", CM_API_STATS, NULL, &o, &err) < 0)
		return cm_cli_fail(cli, &err);
	if (cli->json)
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	return cm_stats_print(o) ? CM_EXIT_OK : CM_EXIT_FAILED;
}
