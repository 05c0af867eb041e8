/* cmd_config.c - config show: each setting, and where its value comes from. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "output.h"
#include "platform.h"

static int show_json(const struct cm_config *c, const char *tag)
{
	cm_autojson json_t *o =
		json_pack("{s:i, s:s}", "version", 1, "platform", tag);
	json_t *settings = json_object();

	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		json_object_set_new(
			settings, cm_settings[i].name,
			c->values[i] ? json_pack("{s:o, s:o}", "value",
						 cm_json_of_text(c->values[i]),
						 "origin",
						 cm_json_of_text(c->origins[i]))
				     : json_null());
	json_object_set_new(o, "settings", settings);
	return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
}

static int show_table(const struct cm_config *c, const char *tag)
{
	static const char *const headings[] = {"SETTING", "VALUE", "FROM"};
	struct cm_table *t = cm_table_new(headings, 3);

	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		cm_table_row(t,
			     (const char *[]){
				     cm_settings[i].name,
				     c->values[i] ? c->values[i] : "-",
				     c->origins[i] ? c->origins[i] : "not set",
			     });
	cm_table_row(t, (const char *[]){"(platform)", tag, "file system"});
	return cm_table_print(t) ? CM_EXIT_OK : CM_EXIT_FAILED;
}

int cm_cmd_config(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("config");
	char tag[CM_TAG_MAX + 1];
	const char *value;
	int at = 0, r;

	r = cm_cli_option(cli, verb, argc, argv, &at, &value);
	if (r == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r != 0)
		return CM_EXIT_USAGE;
	if (argc - at < 1 || strcmp(argv[at++], "show") != 0)
		return cm_cli_usage(verb, "write: config show");
	r = cm_cli_option(cli, verb, argc, argv, &at, &value);
	if (r == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r != 0)
		return CM_EXIT_USAGE;
	if (at < argc)
		return cm_cli_usage(verb, "config show takes no argument");
	r = cm_cli_finish_build(cli);
	if (r != 0)
		return r;
	cm_platform_tag("/", tag);
	return cli->json ? show_json(&cli->config, tag)
			 : show_table(&cli->config, tag);
}
