/* cmd_help.c - help and version. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "output.h"

static void print_option(const char *left, const char *help)
{
	if (strlen(left) > 28)
		printf("  %s\n  %28s  %s\n", left, "", help);
	else
		printf("  %-28s  %s\n", left, help);
}

static void print_options(const struct cm_option *o)
{
	char left[96];

	for (; o && o->name; o++) {
		snprintf(left, sizeof(left), "%s%c%s--%s%s%s",
			 isalpha((unsigned char)o->key) ? "-" : " ",
			 isalpha((unsigned char)o->key) ? o->key : ' ',
			 isalpha((unsigned char)o->key) ? ", " : "  ", o->name,
			 o->argument ? " " : "",
			 o->argument ? o->argument : "");
		print_option(left, o->help);
	}
}

static void print_globals(void)
{
	char left[96], help[160];

	puts("\nFor every verb (also CACHEMOUNT_… in the environment, and in\n"
	     "~/.config/cachemount/cachectl.conf as \"name = value\"):");
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++) {
		snprintf(
			left, sizeof(left), "    --%s%s%s", cm_settings[i].name,
			cm_settings[i].argument ? " " : "",
			cm_settings[i].argument ? cm_settings[i].argument : "");
		snprintf(help, sizeof(help), "%s%s%s%s", cm_settings[i].help,
			 cm_settings[i].fallback ? " (" : "",
			 cm_settings[i].fallback ? cm_settings[i].fallback : "",
			 cm_settings[i].fallback ? ")" : "");
		print_option(left, help);
	}
	print_option("-j, --json", "machine-readable output");
	print_option("-q, --quiet", "only failures are told");
	print_option("-v, --verbose", "more is told");
	print_option("    --no-color", "no bars (also NO_COLOR, TERM=dumb)");
}

static int print_overview(void)
{
	puts("Usage: cachectl [OPTION]... VERB [ARGUMENT]...\n"
	     "Keep the cache mounts of builds warm on every machine.\n\n"
	     "  cachectl run -m pip=/root/.cache/pip -- pip install -r "
	     "requirements.txt\n");
	for (size_t i = 0; i < cm_verbs_len; i++)
		printf("  %-11s %s\n", cm_verbs[i].name, cm_verbs[i].summary);
	print_globals();
	puts("\ncachectl help VERB shows its options and examples.");
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

int cm_cmd_help(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb;

	(void)cli;
	if (argc < 1)
		return print_overview();
	verb = cm_verb_find(argv[0]);
	if (!verb)
		return cm_cli_usage(NULL, "there is no verb \"%.40s\"",
				    argv[0]);
	printf("Usage: cachectl %s%s%s\n%s.\n", verb->name,
	       verb->usage[0] ? " " : "", verb->usage, verb->summary);
	if (verb->examples)
		printf("\nExamples:\n%s", verb->examples);
	if (verb->options && verb->options[0].name) {
		puts("\nOptions:");
		print_options(verb->options);
	}
	print_globals();
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

int cm_cmd_version(struct cm_cli *cli, int argc, char **argv)
{
	(void)cli;
	(void)argc;
	(void)argv;
	puts("cachectl " CM_VERSION);
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}
