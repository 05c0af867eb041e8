/*
 * stats_store.c - the tables of stats about the store: what it holds, how full
 * it is, what went and how old it was.
 */
#include <inttypes.h>
#include <stdio.h>

#include <cachemount/units.h>

#include "cli.h"
#include "output.h"
#include "stats_view.h"

#define RATIO_SIZE 48
#define PAIR_SIZE  (CM_SIZE_TEXT_SIZE + CM_COUNT_SIZE + 2)

static void store_size(struct cm_table *t, const char *label, int64_t bytes)
{
	char text[CM_SIZE_TEXT_SIZE];

	cm_table_row(t, (const char *[]){label, cm_size_format(bytes, text)});
}

static void store_count(struct cm_table *t, const char *label, const json_t *o,
			const char *key)
{
	char text[CM_COUNT_SIZE];

	cm_table_row(t, (const char *[]){
				label,
				cm_count_format(cm_json_number(o, key), text)});
}

static void store_ratio(struct cm_table *t, const json_t *ratios,
			const char *key)
{
	const json_t *value = json_object_get(ratios, key);
	char text[RATIO_SIZE] = "-";

	if (json_is_number(value))
		snprintf(text, sizeof(text), "%.2fx", json_number_value(value));
	cm_table_row(t, (const char *[]){key, text});
}

static void store_saved(struct cm_table *t, int64_t named, int64_t stored)
{
	char size[CM_SIZE_TEXT_SIZE], rate[CM_RATE_TEXT_SIZE];
	char text[CM_SIZE_TEXT_SIZE + CM_RATE_TEXT_SIZE + 2];

	snprintf(text, sizeof(text), "%s, %s",
		 cm_size_format(named - stored, size),
		 cm_rate_format(named - stored, named, rate));
	cm_table_row(t, (const char *[]){"saved on disk", text});
}

static bool print_store(const json_t *store, const json_t *ratios,
			const json_t *counters)
{
	static const char *const headings[] = {"STORE", ">NOW"};
	int64_t named = cm_json_number(store, "referenced_bytes");
	int64_t stored = cm_json_number(store, "stored_bytes");
	struct cm_table *t = cm_table_new(headings, 2);

	store_size(t, "content, as named", named);
	store_size(t, "content, distinct",
		   cm_json_number(store, "content_bytes"));
	store_size(t, "on disk", stored);
	store_ratio(t, ratios, "deduplication");
	store_ratio(t, ratios, "compression");
	if (named > 0)
		store_saved(t, named, stored);
	store_count(t, "repositories", store, "repositories");
	store_count(t, "tags", store, "tags");
	store_count(t, "blobs", store, "blobs");
	store_count(t, "uploads open", store, "uploads");
	store_count(t, "quarantined", store, "quarantined");
	if (cm_json_number(counters, "unreadable_caches") > 0)
		store_count(t, "caches too large", counters,
			    "unreadable_caches");
	return cm_table_print(t);
}

/* ---- the limit ----------------------------------------------------------- */

/* "3.0 KiB, 75.0 %": of the limit, if there is one. */
static void limit_row(struct cm_table *t, const char *label,
		      const json_t *store, const char *key)
{
	int64_t limit = cm_json_number(store, "limit_bytes");
	int64_t bytes = cm_json_number(store, key);
	char size[CM_SIZE_TEXT_SIZE], rate[CM_RATE_TEXT_SIZE], text[PAIR_SIZE];

	cm_size_format(bytes, size);
	snprintf(text, sizeof(text), "%s, %s", size,
		 cm_rate_format(bytes, limit, rate));
	cm_table_row(t, (const char *[]){label, limit > 0 ? text : size});
}

static void duration_row(struct cm_table *t, const char *label, int64_t ms)
{
	char text[CM_DURATION_TEXT_SIZE];

	cm_table_row(
		t, (const char *[]){label, ms > 0 ? cm_duration_format(ms, text)
						  : "-"});
}

static void pinned_row(struct cm_table *t, const json_t *store)
{
	char size[CM_SIZE_TEXT_SIZE], text[PAIR_SIZE];

	snprintf(text, sizeof(text), "%" PRId64 ", %s",
		 cm_json_number(store, "pinned_tags"),
		 cm_size_format(cm_json_number(store, "pinned_bytes"), size));
	cm_table_row(t, (const char *[]){"pinned tags", text});
}

static void age_rows(struct cm_table *t, const json_t *store)
{
	duration_row(t, "longest idle",
		     cm_json_number(store, "longest_idle_ms"));
	duration_row(t, "idle when evicted, last",
		     cm_json_number(store, "last_evicted_idle_ms"));
}

static bool print_limits(const json_t *store)
{
	static const char *const headings[] = {"LIMIT", ">NOW"};
	struct cm_table *t = cm_table_new(headings, 2);

	limit_row(t, "used", store, "used_bytes");
	if (cm_json_number(store, "limit_bytes") > 0) {
		limit_row(t, "evicts from", store, "high_bytes");
		limit_row(t, "evicts down to", store, "low_bytes");
		limit_row(t, "limit", store, "limit_bytes");
	} else {
		cm_table_row(t, (const char *[]){"limit", "none"});
	}
	pinned_row(t, store);
	if (json_is_true(json_object_get(store, "eviction_stuck")))
		cm_table_row(t, (const char *[]){"eviction", "stuck"});
	age_rows(t, store);
	return cm_table_print(t);
}

/* ---- what went ----------------------------------------------------------- */

static void evicted_row(struct cm_table *t, const json_t *counters,
			const char *label, const char *reason)
{
	static const char *const what[] = {"tags", "manifests", "bytes"};
	char key[48], tags[CM_COUNT_SIZE], manifests[CM_COUNT_SIZE];
	char size[CM_SIZE_TEXT_SIZE];
	int64_t n[3];

	for (size_t i = 0; i < 3; i++) {
		snprintf(key, sizeof(key), "evicted_%s_%s", what[i], reason);
		n[i] = cm_json_number(counters, key);
	}
	cm_table_row(t, (const char *[]){label, cm_count_format(n[0], tags),
					 cm_count_format(n[1], manifests),
					 cm_size_format(n[2], size)});
}

static bool print_evicted(const json_t *counters)
{
	static const char *const headings[] = {"REMOVED, EVER", ">TAGS",
					       ">MANIFESTS", ">ON DISK"};
	struct cm_table *t = cm_table_new(headings, 4);

	evicted_row(t, counters, "for the limit", "size");
	evicted_row(t, counters, "for a quota", "quota");
	evicted_row(t, counters, "by purge", "purge");
	evicted_row(t, counters, "replaced, unnamed", "sweep");
	return cm_table_print(t);
}

/* What was asked for after it had gone; nothing where nothing went. */
static bool print_ghosts(const json_t *counters)
{
	char times[CM_COUNT_TEXT_SIZE], size[CM_SIZE_TEXT_SIZE];

	if (cm_json_number(counters, "evicted_tags_size") == 0 &&
	    cm_json_number(counters, "evicted_tags_quota") == 0)
		return true;
	return printf("\na larger limit would have answered %s, %s\n",
		      cm_count(cm_json_number(counters, "ghost_hits"),
			       "request", times),
		      cm_size_format(cm_json_number(counters, "ghost_bytes"),
				     size)) > 0;
}

/* ---- quotas, and care ---------------------------------------------------- */

static bool print_quotas(const json_t *quotas)
{
	static const char *const headings[] = {"QUOTA OF", ">USED", ">QUOTA",
					       ">FULL"};
	char used[CM_SIZE_TEXT_SIZE], quota[CM_SIZE_TEXT_SIZE];
	char rate[CM_RATE_TEXT_SIZE];
	struct cm_table *t;
	json_t *q;
	size_t i;

	if (json_array_size(quotas) == 0)
		return true;
	putchar('\n');
	t = cm_table_new(headings, 4);
	json_array_foreach (quotas, i, q) {
		int64_t bytes = cm_json_number(q, "bytes");
		int64_t limit = cm_json_number(q, "quota");

		cm_table_row(t, (const char *[]){
					cm_json_text(q, "scope"),
					cm_size_format(bytes, used),
					cm_size_format(limit, quota),
					cm_rate_format(bytes, limit, rate)});
	}
	return cm_table_print(t);
}

/* "42 % done", or when the last round ended. */
static void scrub_row(struct cm_table *t, const json_t *scrub)
{
	const json_t *progress = json_object_get(scrub, "progress");
	const char *ended = cm_json_text(scrub, "ended");
	char text[RATIO_SIZE];

	snprintf(text, sizeof(text), "%.0f %% done",
		 json_number_value(progress) * 100);
	if (!json_is_true(json_object_get(scrub, "running")))
		snprintf(text, sizeof(text), "%.30s", *ended ? ended : "-");
	cm_table_row(t, (const char *[]){"scrub", text});
}

/* What the server does for the store by itself, if it tells. */
static bool print_care(const json_t *stats)
{
	static const char *const headings[] = {"CARE", ">LAST"};
	const json_t *scrub = json_object_get(stats, "scrub");
	const json_t *backup = json_object_get(stats, "backup");
	const char *made = cm_json_text(backup, "made");
	struct cm_table *t;

	if (!scrub && !backup)
		return true;
	putchar('\n');
	t = cm_table_new(headings, 2);
	if (scrub)
		scrub_row(t, scrub);
	if (backup)
		cm_table_row(t, (const char *[]){"index backed up",
						 *made ? made : "-"});
	if (*cm_json_text(backup, "failure"))
		cm_table_row(t, (const char *[]){"last backup", "failed"});
	return cm_table_print(t);
}

bool cm_stats_print_store(const json_t *stats)
{
	const json_t *store = json_object_get(stats, "store");
	const json_t *counters = json_object_get(stats, "counters");

	if (!print_store(store, json_object_get(stats, "ratios"), counters))
		return false;
	putchar('\n');
	if (!print_limits(store) ||
	    !print_quotas(json_object_get(stats, "quotas")) ||
	    !print_care(stats))
		return false;
	putchar('\n');
	return print_evicted(counters) && print_ghosts(counters);
}
