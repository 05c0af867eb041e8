/* main.c - cachectl: options, then the verb. */
#include <signal.h>
#include <string.h>

#include "child.h"
#include "cli.h"
#include "output.h"

static int dispatch(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb;
	const char *value;
	int at = 1, key;

	key = cm_cli_option(cli, NULL, argc, argv, &at, &value);
	if (key == 'h')
		return cm_cmd_help(cli, 0, NULL);
	if (key != 0)
		return CM_EXIT_USAGE;
	if (at >= argc) {
		cm_cmd_help(cli, 0, NULL);
		return CM_EXIT_USAGE;
	}
	verb = cm_verb_find(argv[at]);
	if (!verb)
		return cm_cli_usage(NULL, "there is no verb \"%.40s\"",
				    argv[at]);
	return verb->run(cli, argc - at - 1, argv + at + 1);
}

int main(int argc, char **argv)
{
	struct cm_cli cli = {0};
	int r;

	/* Both would end us where a failed write is only a failed write. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return cm_cmd_version(&cli, 0, NULL);
	r = dispatch(&cli, argc, argv);
	cm_signals_detach();
	cm_remote_free(cli.remote);
	cm_config_release(&cli.config);
	return r;
}
