/* cmd_help.c - help and version. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "output.h"

#define LEFT_WIDTH 28
#define HELP_WIDTH (80 - LEFT_WIDTH - 4)

/* How much of `text` fits a line: up to its last space within the width. */
static size_t line_len(const char *text)
{
	size_t n = strlen(text);

	if (n <= HELP_WIDTH)
		return n;
	for (n = HELP_WIDTH; n > 0 && text[n] != ' ';)
		n--;
	return n > 0 ? n : HELP_WIDTH;
}

static void print_option(const char *left, const char *help)
{
	size_t n;

	printf("  %-*s", LEFT_WIDTH, left);
	if (strlen(left) > LEFT_WIDTH)
		printf("\n  %*s", LEFT_WIDTH, "");
	for (;;) {
		n = line_len(help);
		printf("  %.*s\n", (int)n, help);
		help += n + strspn(help + n, " ");
		if (!help[0])
			break;
		printf("  %*s", LEFT_WIDTH, "");
	}
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
	if (argc < 1 || argv[0][0] == '-')
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
	const struct cm_verb *verb = cm_verb_find("version");
	const char *value;
	int at = 0, key = cm_cli_option(cli, verb, argc, argv, &at, &value);

	if (key == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (key != 0)
		return CM_EXIT_USAGE;
	if (at < argc)
		return cm_cli_usage(verb, "version takes no argument");
	if (cli->json)
		puts("{\"version\":1,\"cachectl\":\"" CM_VERSION "\"}");
	else
		puts("cachectl " CM_VERSION);
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}
