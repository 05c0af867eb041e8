/* cmd_gc.c - a collection now: what is due goes, and what the limits ask for.
 */
#include <inttypes.h>
#include <stdio.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

#define ROUNDS_MAX 100 /* of half a minute each */

static const char *const sums[] = {"uploads", "manifests", "blobs", "bytes"};
static const char *const evicted_sums[] = {"tags", "manifests", "blobs",
					   "bytes"};

/* Adds members of one answer to the same of the sum. */
static void add(json_t *sum, const json_t *part, const char *const *keys)
{
	for (size_t i = 0; i < 4; i++)
		json_object_set_new(
			sum, keys[i],
			json_integer(cm_json_number(sum, keys[i]) +
				     cm_json_number(part, keys[i])));
}

static int collect(struct cm_cli *cli, json_t *sum, struct cm_error *err)
{
	cm_autojson json_t *empty = json_object();
	bool more = true;
	int r = 0;

	for (int i = 0; r == 0 && more && i < ROUNDS_MAX; i++) {
		cm_autojson json_t *part = NULL;

		r = cm_cli_api(cli, "POST", CM_API_GC, empty, &part, err);
		add(sum, part, sums);
		add(json_object_get(sum, "evicted"),
		    json_object_get(part, "evicted"), evicted_sums);
		more = json_is_true(json_object_get(part, "more"));
	}
	json_object_set_new(sum, "more", json_boolean(more));
	return r;
}

static void print_sum(const json_t *sum)
{
	const json_t *evicted = json_object_get(sum, "evicted");
	char blobs[CM_COUNT_TEXT_SIZE], size[CM_SIZE_TEXT_SIZE];
	char uploads[CM_COUNT_TEXT_SIZE], tags[CM_COUNT_TEXT_SIZE];

	printf("swept    %s, %s on disk; %s\n",
	       cm_count(cm_json_number(sum, "blobs"), "blob", blobs),
	       cm_size_format(cm_json_number(sum, "bytes"), size),
	       cm_count(cm_json_number(sum, "uploads"), "upload", uploads));
	printf("evicted  %s, %s, %s on disk\n",
	       cm_count(cm_json_number(evicted, "tags"), "tag", tags),
	       cm_count(cm_json_number(evicted, "blobs"), "blob", blobs),
	       cm_size_format(cm_json_number(evicted, "bytes"), size));
	if (json_is_true(json_object_get(sum, "more")))
		cm_say("there is more to do; say gc again");
}

int cm_cmd_gc(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("gc");
	cm_autojson json_t *sum =
		json_pack("{s:i,s:{}}", "version", 1, "evicted");
	struct cm_error err = {0};
	const char *value;
	int at = 0, key = cm_cli_option(cli, verb, argc, argv, &at, &value);
	int r;

	if (key == 'h')
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (key != 0)
		return CM_EXIT_USAGE;
	if (at < argc)
		return cm_cli_usage(verb, "gc takes no argument");
	r = cm_cli_finish(cli);
	if (r != 0)
		return r;
	if (collect(cli, sum, &err) < 0)
		return cm_cli_fail(cli, &err);
	if (cli->json)
		return cm_print_json(sum) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	print_sum(sum);
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}
