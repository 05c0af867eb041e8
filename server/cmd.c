/* cmd.c - the verbs of cachemountd, their words and their help. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

static const struct option options[] = {
	{"data", required_argument, NULL, 'd'},
	{"config", required_argument, NULL, 'c'},
	{"from", required_argument, NULL, 'F'},
	{"read-data", no_argument, NULL, 'r'},
	{"repair", no_argument, NULL, 'R'},
	{"empty", no_argument, NULL, 'e'},
	{"force", no_argument, NULL, 'f'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define COMMON "dch"
#define COMMON_HELP                                                            \
	"  --data DIR      the data folder (default: as the server's "         \
	"settings "                                                            \
	"have it)\n"                                                           \
	"  --config FILE   the server's configuration file\n"                  \
	"  --help\n"

static const struct cm_cmd cmds[] = {
	{"fsck", COMMON "rR", false,
	 "Usage: cachemountd fsck [OPTION]...\n"
	 "Check a data folder that no server has: the index by itself, its\n"
	 "counts and totals, rows against files, files against rows. Findings\n"
	 "are lines on standard output.\n"
	 "\n"
	 "  --read-data     also hash every blob\n"
	 "  --repair        mend what can be: counts and totals are set, what\n"
	 "                  names nothing goes, a blob without its bytes is\n"
	 "                  forgotten, so that clients push it "
	 "again\n" COMMON_HELP "\n"
	 "Exit status: 0 nothing harmful found, or all of it mended; 8 "
	 "harmful\n"
	 "findings are left; 6 the index is damaged or gone, and has to be\n"
	 "rebuilt; 4 the folder is in use; 2 wrong use; 1 or 3 another "
	 "failure.\n",
	 cm_cmd_fsck},
	{"backup", COMMON, true,
	 "Usage: cachemountd backup [OPTION]... FILE\n"
	 "Copy the index of a data folder that no server has to a new FILE. A\n"
	 "running server makes backups itself, and on `cachectl backup`.\n"
	 "\n" COMMON_HELP,
	 cm_cmd_backup},
	{"rebuild", COMMON "Fef", false,
	 "Usage: cachemountd rebuild [OPTION]...\n"
	 "Make a new index from the newest backup that is whole, and from the\n"
	 "blobs' files, where the index is damaged or gone. What was pushed\n"
	 "since the backup is a clean miss. The old index is kept.\n"
	 "\n"
	 "  --from FILE     begin with this copy of the index\n"
	 "  --empty         without a backup: begin with no names at all; the\n"
	 "                  server then removes all blobs\n"
	 "  --force         though the index is whole\n" COMMON_HELP,
	 cm_cmd_rebuild},
};

const struct cm_cmd *cm_cmd_find(const char *name)
{
	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		if (strcmp(cmds[i].name, name) == 0)
			return &cmds[i];
	return NULL;
}

static void take(int code, const char *value, struct cm_cmd_args *a)
{
	switch (code) {
	case 'd':
		a->data = value;
		break;
	case 'c':
		a->config = value;
		break;
	case 'F':
		a->from = value;
		break;
	case 'r':
		a->read_data = true;
		break;
	case 'R':
		a->repair = true;
		break;
	case 'e':
		a->empty = true;
		break;
	case 'f':
		a->force = true;
		break;
	default:
		a->help = true;
	}
}

static int wrong(const struct cm_cmd *cmd, const char *what, const char *word,
		 struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_INVALID,
			    "%s %.64s: see cachemountd %s --help", what, word,
			    cmd->name);
}

int cm_cmd_parse(const struct cm_cmd *cmd, int argc, char *const argv[],
		 struct cm_cmd_args *ret, struct cm_error *err)
{
	int code, word;

	memset(ret, 0, sizeof(*ret));
	opterr = 0;
	optind = 0;
	for (;;) {
		word = optind > 0 ? optind : 1;
		code = getopt_long(argc, argv, "+:", options, NULL);
		if (code < 0)
			break;
		if (code == ':')
			return wrong(cmd, "a value is missing for", argv[word],
				     err);
		if (code == '?' || !strchr(cmd->options, code))
			return wrong(cmd, "unknown option", argv[word], err);
		take(code, optarg, ret);
	}
	if (ret->help)
		return 0;
	if (cmd->operand && optind < argc)
		ret->operand = argv[optind++];
	if (optind < argc)
		return wrong(cmd, "unexpected argument", argv[optind], err);
	if (cmd->operand && !ret->operand)
		return wrong(cmd, "a file is missing for", cmd->name, err);
	return 0;
}

void cm_cmd_hint(struct cm_error *err, const char *fmt, ...)
{
	char why[CM_ERROR_TEXT_MAX], hint[CM_ERROR_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(hint, sizeof(hint), fmt, args);
	va_end(args);
	snprintf(why, sizeof(why), "%.200s", err->text);
	cm_error_set(err, err->status, "%s; %.300s", why, hint);
}

enum cm_exit cm_exit_of(enum cm_status status)
{
	switch (status) {
	case CM_OK:
		return CM_EXIT_OK;
	case CM_ERR_INVALID:
		return CM_EXIT_USAGE;
	case CM_ERR_BUSY:
		return CM_EXIT_BUSY;
	case CM_ERR_CORRUPT:
		return CM_EXIT_CORRUPT;
	case CM_ERR_UNSUPPORTED:
		return CM_EXIT_TOO_NEW;
	case CM_ERR_IO:
	case CM_ERR_NO_SPACE:
	case CM_ERR_NOT_FOUND:
		return CM_EXIT_DATA;
	default:
		return CM_EXIT_FAILURE;
	}
}

/* The server's own settings say where its data is, unless told here. */
static enum cm_exit run_on_data(const struct cm_cmd *cmd,
				const struct cm_cmd_args *args, char *program,
				struct cm_error *err)
{
	char option[] = "--config";
	char *words[] = {program, option, (char *)(uintptr_t)args->config,
			 NULL};
	struct cm_config config;
	enum cm_exit code;

	if (args->data)
		return cmd->run(args, args->data, err);
	if (cm_config_load(args->config ? 3 : 1, words, environ, &config, err) <
	    0)
		return CM_EXIT_USAGE;
	code = cmd->run(args, config.data, err);
	cm_config_release(&config);
	return code;
}

enum cm_exit cm_cmd_main(const struct cm_cmd *cmd, int argc, char *const argv[])
{
	enum cm_exit code = CM_EXIT_USAGE;
	struct cm_error err = {0};
	struct cm_cmd_args args;

	if (cm_cmd_parse(cmd, argc, argv, &args, &err) == 0) {
		if (args.help) {
			fputs(cmd->help, stdout);
			return CM_EXIT_OK;
		}
		code = run_on_data(cmd, &args, argv[0], &err);
	}
	if (code != CM_EXIT_OK && err.status != CM_OK)
		fprintf(stderr, "cachemountd %s: %s\n", cmd->name, err.text);
	if (fflush(stdout) != 0 && code == CM_EXIT_OK)
		code = CM_EXIT_FAILURE;
	return code;
}
