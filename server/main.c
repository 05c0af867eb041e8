/* main.c - cachemountd: a verb, or settings and what they ask for. */
#include <stdio.h>
#include <unistd.h>

#include "cmd.h"
#include "config.h"
#include "server.h"

static enum cm_exit run(const struct cm_config *config, struct cm_error *err)
{
	switch (config->mode) {
	case CM_MODE_HELP:
		cm_config_help(stdout);
		return CM_EXIT_OK;
	case CM_MODE_VERSION:
		puts("cachemountd " CM_VERSION);
		return CM_EXIT_OK;
	case CM_MODE_HEALTHCHECK:
		return cm_healthcheck(config, err);
	case CM_MODE_NEW_TOKEN:
		return cm_new_token(config, err);
	case CM_MODE_SERVE:
		break;
	}
	return cm_server_run(config, err);
}

int main(int argc, char *argv[])
{
	enum cm_exit code = CM_EXIT_USAGE;
	struct cm_config config;
	struct cm_error err = {0};
	const struct cm_cmd *cmd = argc > 1 ? cm_cmd_find(argv[1]) : NULL;

	if (cmd)
		return cm_cmd_main(cmd, argc - 1, argv + 1);
	if (cm_config_load(argc, argv, environ, &config, &err) == 0)
		code = run(&config, &err);
	if (code != CM_EXIT_OK)
		fprintf(stderr, "cachemountd: %s\n", err.text);
	cm_config_release(&config);
	return code;
}
