/* cmd_pin.c - pin and unpin: what is never evicted. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

/* The question to the server: a tag, or a whole repository. NULL: misuse. */
static json_t *make_body(const char *text, bool pinned, struct cm_error *err)
{
	struct cm_reference ref;

	if (cm_repository_valid(text, strlen(text)))
		return json_pack("{s:s,s:b}", "repository", text, "pinned",
				 pinned);
	if (cm_reference_parse(text, &ref, err) < 0)
		return NULL;
	if (strchr(ref.reference, ':')) {
		cm_error_set(err, CM_ERR_INVALID,
			     "a pin goes by tag, not by digest");
		return NULL;
	}
	return json_pack("{s:s,s:s,s:b}", "repository", ref.repo, "tag",
			 ref.reference, "pinned", pinned);
}

static int report(struct cm_cli *cli, const json_t *o, const char *text,
		  bool pinned)
{
	int64_t bytes = cm_json_number(o, "pinned_bytes");
	int64_t low = cm_json_number(o, "low_bytes");
	char size[CM_SIZE_TEXT_SIZE], limit[CM_SIZE_TEXT_SIZE];

	if (low > 0 && bytes > low)
		cm_say("what is pinned names %s of content, which may not fit "
		       "below the server's low watermark of %s",
		       cm_size_format(bytes, size), cm_size_format(low, limit));
	if (cli->json)
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	printf("%s is %s\n", text, pinned ? "pinned" : "not pinned any more");
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

static int set_pin(struct cm_cli *cli, const char *name, bool pinned, int argc,
		   char **argv)
{
	const struct cm_verb *verb = cm_verb_find(name);
	cm_autojson json_t *body = NULL;
	cm_autojson json_t *o = NULL;
	struct cm_error err = {0};
	const char *value;
	int at = 0, key = cm_cli_option(cli, verb, argc, argv, &at, &value);
	const char *operand = at < argc ? argv[at++] : NULL;
	int r;

	if (key == 0 && operand)
		key = cm_cli_option(cli, verb, argc, argv, &at, &value);
	if (key == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (key != 0)
		return CM_EXIT_USAGE;
	if (!operand || at < argc)
		return cm_cli_usage(verb, "give one reference");
	r = cm_cli_finish(cli);
	if (r != 0)
		return r;
	body = make_body(operand, pinned, &err);
	if (!body)
		return cm_cli_usage(verb, "%s", err.text);
	if (cm_cli_api(cli, "POST", CM_API_PIN, body, &o, &err) < 0)
		return cm_cli_fail(cli, &err);
	return report(cli, o, operand, pinned);
}

int cm_cmd_pin(struct cm_cli *cli, int argc, char **argv)
{
	return set_pin(cli, "pin", true, argc, argv);
}

int cm_cmd_unpin(struct cm_cli *cli, int argc, char **argv)
{
	return set_pin(cli, "unpin", false, argc, argv);
}
