/*
 * cmd_completion.c - completion for three shells, made from the verb table, so
 * that it can't forget one.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "output.h"

static void print_verbs(const char *separator)
{
	for (size_t i = 0; i < cm_verbs_len; i++)
		printf("%s%s", i > 0 ? separator : "", cm_verbs[i].name);
}

static void print_globals(void)
{
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		printf("--%s ", cm_settings[i].name);
	fputs("--json --quiet --verbose --no-color --help", stdout);
}

static void print_bash(void)
{
	fputs("# bash completion of cachectl; load it with:\n"
	      "#   source <(cachectl completion bash)\n"
	      "_cachectl()\n{\n"
	      "\tlocal current=${COMP_WORDS[COMP_CWORD]} verb= word\n"
	      "\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
	      "\t\tcase $word in\n\t\t",
	      stdout);
	print_verbs("|");
	fputs(") verb=$word; break ;;\n\t\tesac\n\tdone\n"
	      "\tlocal options=\"",
	      stdout);
	print_globals();
	fputs("\"\n\tcase $verb in\n", stdout);
	for (size_t i = 0; i < cm_verbs_len; i++) {
		const struct cm_option *o = cm_verbs[i].options;

		if (!o)
			continue;
		printf("\t%s) options+=\"", cm_verbs[i].name);
		for (; o->name; o++)
			printf(" --%s", o->name);
		fputs("\" ;;\n", stdout);
	}
	fputs("\tesac\n"
	      "\tif [[ $current == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- "
	      "\"$current\")\n"
	      "\telif [[ -z $verb ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"",
	      stdout);
	print_verbs(" ");
	fputs("\" -- \"$current\")\n"
	      "\telse\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	      "\tfi\n}\n"
	      "complete -o filenames -F _cachectl cachectl\n",
	      stdout);
}

/* Prints text inside single quotes of a shell. */
static void print_quoted(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else if (*text == '[' || *text == ']' || *text == ':')
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

/* The switches that cmd_help.c tells of for every verb. */
static const struct cm_option switches[] = {
	{'j', "json", NULL, "machine-readable output"},
	{'q', "quiet", NULL, "only failures are told"},
	{'v', "verbose", NULL, "more is told"},
	{'C', "no-color", NULL, "no bars"},
	{'h', "help", NULL, "show help"},
	{0, NULL, NULL, NULL},
};

static void print_zsh_option(const char *name, const char *argument,
			     const char *help)
{
	printf("\t\t'--%s%s[", name, argument ? "=" : "");
	print_quoted(help);
	fputs("]", stdout);
	if (argument) {
		putchar(':');
		print_quoted(argument);
		fputs(":_files", stdout);
	}
	fputs("' \\\n", stdout);
}

static void print_zsh_globals(void)
{
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		print_zsh_option(cm_settings[i].name, cm_settings[i].argument,
				 cm_settings[i].help);
	for (const struct cm_option *o = switches; o->name; o++)
		print_zsh_option(o->name, o->argument, o->help);
}

/* What follows the verb: its own options, the global ones, files. */
static void print_zsh_verbs(void)
{
	fputs("_cachectl_verb() {\n\tlocal -a own\n\tcase $words[1] in\n",
	      stdout);
	for (size_t i = 0; i < cm_verbs_len; i++) {
		if (!cm_verbs[i].options)
			continue;
		printf("\t%s) own=( \\\n", cm_verbs[i].name);
		for (const struct cm_option *o = cm_verbs[i].options; o->name;
		     o++)
			print_zsh_option(o->name, o->argument, o->help);
		fputs("\t\t) ;;\n", stdout);
	}
	fputs("\tesac\n\t_arguments \\\n", stdout);
	print_zsh_globals();
	fputs("\t\t$own '*:file:_files'\n}\n", stdout);
}

static void print_zsh(void)
{
	fputs("#compdef cachectl\n"
	      "# zsh completion of cachectl; put it into a folder of $fpath "
	      "as _cachectl\n"
	      "_cachectl() {\n\tlocal -a verbs\n\tverbs=(\n",
	      stdout);
	for (size_t i = 0; i < cm_verbs_len; i++) {
		printf("\t\t'%s:", cm_verbs[i].name);
		print_quoted(cm_verbs[i].summary);
		fputs("'\n", stdout);
	}
	fputs("\t)\n\t_arguments \\\n", stdout);
	print_zsh_globals();
	fputs("\t\t'1:verb:{_describe verb verbs}' \\\n"
	      "\t\t'*::argument:_cachectl_verb'\n}\n",
	      stdout);
	print_zsh_verbs();
	fputs("_cachectl \"$@\"\n", stdout);
}

static void print_fish(void)
{
	fputs("# fish completion of cachectl; load it with:\n"
	      "#   cachectl completion fish | source\n",
	      stdout);
	for (size_t i = 0; i < cm_verbs_len; i++) {
		const struct cm_verb *v = &cm_verbs[i];

		printf("complete -c cachectl -n __fish_use_subcommand -f -a %s "
		       "-d '%s'\n",
		       v->name, v->summary);
		for (const struct cm_option *o = v->options; o && o->name; o++)
			printf("complete -c cachectl -n "
			       "'__fish_seen_subcommand_from %s' -l %s%s -d "
			       "'%s'\n",
			       v->name, o->name, o->argument ? " -r" : "",
			       o->help);
	}
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		printf("complete -c cachectl -l %s%s -d '%s'\n",
		       cm_settings[i].name,
		       cm_settings[i].argument ? " -r" : "",
		       cm_settings[i].help);
	for (const struct cm_option *o = switches; o->name; o++)
		printf("complete -c cachectl -l %s -d '%s'\n", o->name,
		       o->help);
}

int cm_cmd_completion(struct cm_cli *cli, int argc, char **argv)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} shells[] = {
		{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
	const struct cm_verb *verb = cm_verb_find("completion");
	const char *value;
	int at = 0, key = cm_cli_option(cli, verb, argc, argv, &at, &value);

	if (key == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (key != 0)
		return CM_EXIT_USAGE;
	for (size_t i = 0; i < 3 && argc - at == 1; i++) {
		if (strcmp(shells[i].shell, argv[at]) != 0)
			continue;
		shells[i].print();
		return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
	}
	return cm_cli_usage(verb, "for which shell: bash, zsh or fish?");
}
