/* cmd_stats.c - what the server holds and how well it serves. */
#include <inttypes.h>
#include <stdio.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

static void print_size(const char *label, const json_t *o, const char *key)
{
	char text[CM_SIZE_TEXT_SIZE];

	printf("%-22s %s\n", label,
	       cm_size_format(cm_json_number(o, key), text));
}

static void print_count(const char *label, const json_t *o, const char *key)
{
	printf("%-22s %" PRId64 "\n", label, cm_json_number(o, key));
}

static void print_ratio(const char *label, const json_t *ratios,
			const char *key)
{
	const json_t *value = json_object_get(ratios, key);

	if (json_is_number(value))
		printf("%-22s %.2fx\n", label, json_number_value(value));
	else
		printf("%-22s -\n", label);
}

static void print_duration(const char *label, const json_t *o, const char *key)
{
	int64_t ms = cm_json_number(o, key);
	char text[CM_DURATION_TEXT_SIZE];

	printf("%-22s %s\n", label,
	       ms > 0 ? cm_duration_format(ms, text) : "-");
}

/* How full it is, and what the limit costs. */
static void print_limits(const json_t *store, const json_t *counters)
{
	char used[CM_SIZE_TEXT_SIZE], limit[CM_SIZE_TEXT_SIZE];
	char ghosts[CM_SIZE_TEXT_SIZE];

	printf("%-22s %s of %s%s\n", "limit",
	       cm_size_format(cm_json_number(store, "used_bytes"), used),
	       cm_json_number(store, "limit_bytes") > 0
		       ? cm_size_format(cm_json_number(store, "limit_bytes"),
					limit)
		       : "none",
	       json_is_true(json_object_get(store, "eviction_stuck"))
		       ? ", nothing more may be evicted"
		       : "");
	printf("%-22s %" PRId64 ", %s\n", "pinned tags",
	       cm_json_number(store, "pinned_tags"),
	       cm_size_format(cm_json_number(store, "pinned_bytes"), used));
	print_duration("longest idle", store, "longest_idle_ms");
	print_duration("idle when evicted", store, "last_evicted_idle_ms");
	printf("%-22s %" PRId64 " by size, %" PRId64 " by quota\n",
	       "tags evicted", cm_json_number(counters, "evicted_tags_size"),
	       cm_json_number(counters, "evicted_tags_quota"));
	printf("%-22s %" PRId64 " misses, %s\n", "a larger limit saves",
	       cm_json_number(counters, "ghost_hits"),
	       cm_size_format(cm_json_number(counters, "ghost_bytes"), ghosts));
}

static void print_stats(const json_t *o)
{
	const json_t *store = json_object_get(o, "store");
	const json_t *ratios = json_object_get(o, "ratios");
	const json_t *counters = json_object_get(o, "counters");
	const json_t *server = json_object_get(o, "server");
	const json_t *hits = json_object_get(ratios, "hits");
	char uptime[CM_DURATION_TEXT_SIZE];

	printf("%-22s %s\n", "server", cm_json_text(o, "version"));
	printf("%-22s %s%s\n", "up for",
	       cm_duration_format(cm_json_number(server, "uptime_ms"), uptime),
	       json_is_true(json_object_get(server, "draining")) ? ", draining"
								 : "");
	if (json_is_number(hits))
		printf("%-22s %.1f %% (%" PRId64 " hits, %" PRId64 " misses)\n",
		       "hit rate", json_number_value(hits) * 100,
		       cm_json_number(counters, "hits"),
		       cm_json_number(counters, "misses"));
	else
		printf("%-22s -\n", "hit rate");
	print_size("served", counters, "sent_bytes");
	print_size("received", counters, "received_bytes");
	print_count("repositories", store, "repositories");
	print_count("tags", store, "tags");
	print_count("blobs", store, "blobs");
	print_size("content, as named", store, "referenced_bytes");
	print_size("content, distinct", store, "content_bytes");
	print_size("on disk", store, "stored_bytes");
	print_ratio("deduplication", ratios, "deduplication");
	print_ratio("compression", ratios, "compression");
	print_count("uploads open", store, "uploads");
	print_count("quarantined", store, "quarantined");
	print_limits(store, counters);
}

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
	print_stats(o);
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}
