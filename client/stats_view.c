/* stats_view.c - sums of the history, and the tables of stats. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/units.h>

#include "cli.h"
#include "output.h"
#include "stats_view.h"

#define KIND_UPLOAD "upload"
#define WEEK	    7
#define MONTH	    30
#define COUNT_SIZE  24
#define RATIO_SIZE  48

#define TRAFFIC_COLUMNS 6

void cm_traffic_add(struct cm_traffic *t, const json_t *kinds)
{
	/* jansson iterates over what it does not change. */
	json_t *all = (json_t *)(uintptr_t)kinds, *u;
	const char *kind;

	json_object_foreach (all, kind, u) {
		bool upload = strcmp(kind, KIND_UPLOAD) == 0;

		*(upload ? &t->spared : &t->hits) += cm_json_number(u, "hits");
		*(upload ? &t->needed : &t->misses) +=
			cm_json_number(u, "misses");
		t->errors += cm_json_number(u, "errors");
		t->served += cm_json_number(u, "sent_bytes");
		t->uploaded += cm_json_number(u, "received_bytes");
	}
}

struct cm_traffic cm_traffic_of_days(const json_t *days, int64_t span)
{
	struct cm_traffic t = {0};
	json_t *day;
	size_t i;

	json_array_foreach (days, i, day)
		if (cm_json_number(day, "age") < span)
			cm_traffic_add(&t, json_object_get(day, "kinds"));
	return t;
}

const char *cm_rate_format(int64_t part, int64_t whole,
			   char out[static CM_RATE_TEXT_SIZE])
{
	if (whole <= 0)
		return "-";
	snprintf(out, CM_RATE_TEXT_SIZE, "%.1f %%",
		 (double)part * 100 / (double)whole);
	return out;
}

static const char *count_text(int64_t n, char out[static COUNT_SIZE])
{
	snprintf(out, COUNT_SIZE, "%" PRId64, n);
	return out;
}

/* ---- the last days ------------------------------------------------------- */

/* A row: a rate, a count or a size of each span. */
static void rate_row(struct cm_table *t, const char *label, const int64_t *part,
		     const int64_t *rest)
{
	char text[3][CM_RATE_TEXT_SIZE];
	const char *cells[4] = {label};

	for (size_t i = 0; i < 3; i++)
		cells[i + 1] =
			cm_rate_format(part[i], part[i] + rest[i], text[i]);
	cm_table_row(t, cells);
}

static void count_row(struct cm_table *t, const char *label, const int64_t *n)
{
	char text[3][COUNT_SIZE];

	cm_table_row(t, (const char *[]){label, count_text(n[0], text[0]),
					 count_text(n[1], text[1]),
					 count_text(n[2], text[2])});
}

static void size_row(struct cm_table *t, const char *label, const int64_t *n)
{
	char text[3][CM_SIZE_TEXT_SIZE];

	cm_table_row(t, (const char *[]){label, cm_size_format(n[0], text[0]),
					 cm_size_format(n[1], text[1]),
					 cm_size_format(n[2], text[2])});
}

#define OF_EACH(t, member)                                                     \
	((const int64_t[]){(t)[0].member, (t)[1].member, (t)[2].member})

static bool print_days(const json_t *days)
{
	static const char *const headings[] = {"", ">TODAY", ">7 DAYS",
					       ">30 DAYS"};
	struct cm_traffic t[3] = {
		cm_traffic_of_days(days, 1),
		cm_traffic_of_days(days, WEEK),
		cm_traffic_of_days(days, MONTH),
	};
	struct cm_table *table = cm_table_new(headings, 4);

	rate_row(table, "hit rate", OF_EACH(t, hits), OF_EACH(t, misses));
	count_row(table, "hits", OF_EACH(t, hits));
	count_row(table, "misses", OF_EACH(t, misses));
	if (t[2].errors > 0)
		count_row(table, "failed lookups", OF_EACH(t, errors));
	rate_row(table, "hit rate by bytes", OF_EACH(t, served),
		 OF_EACH(t, uploaded));
	size_row(table, "served", OF_EACH(t, served));
	size_row(table, "uploaded", OF_EACH(t, uploaded));
	rate_row(table, "uploads spared", OF_EACH(t, spared),
		 OF_EACH(t, needed));
	return cm_table_print(table);
}

/* ---- by kind, by scope --------------------------------------------------- */

static struct cm_table *traffic_table(const char *what)
{
	const char *const headings[TRAFFIC_COLUMNS] = {
		what, ">HIT RATE", ">HITS", ">MISSES", ">SERVED", ">UPLOADED"};

	return cm_table_new(headings, TRAFFIC_COLUMNS);
}

static void traffic_row(struct cm_table *table, const char *label,
			const struct cm_traffic *t)
{
	char rate[CM_RATE_TEXT_SIZE], hits[COUNT_SIZE], misses[COUNT_SIZE];
	char served[CM_SIZE_TEXT_SIZE], uploaded[CM_SIZE_TEXT_SIZE];

	cm_table_row(table,
		     (const char *[]){
			     label,
			     cm_rate_format(t->hits, t->hits + t->misses, rate),
			     count_text(t->hits, hits),
			     count_text(t->misses, misses),
			     cm_size_format(t->served, served),
			     cm_size_format(t->uploaded, uploaded),
		     });
}

/* A kind's row. Uploads show what was spared as hits. */
static void kind_row(struct cm_table *table, const char *kind,
		     const json_t *days)
{
	struct cm_traffic t = {0};
	const json_t *u;
	json_t *day;
	size_t i;

	json_array_foreach (days, i, day) {
		u = json_object_get(json_object_get(day, "kinds"), kind);
		t.hits += cm_json_number(u, "hits");
		t.misses += cm_json_number(u, "misses");
		t.served += cm_json_number(u, "sent_bytes");
		t.uploaded += cm_json_number(u, "received_bytes");
	}
	traffic_row(table, kind, &t);
}

static bool print_kinds(const json_t *days)
{
	cm_autojson json_t *seen = json_object();
	struct cm_table *table = traffic_table("KIND, 30 DAYS");
	const char *kind;
	json_t *day, *u;
	size_t i;

	json_array_foreach (days, i, day)
		json_object_update(seen, json_object_get(day, "kinds"));
	json_object_foreach (seen, kind, u)
		kind_row(table, kind, days);
	return cm_table_print(table);
}

static bool print_scopes(const json_t *scopes)
{
	struct cm_table *table = traffic_table("SCOPE, 30 DAYS");
	json_t *scope;
	size_t i;

	json_array_foreach (scopes, i, scope) {
		struct cm_traffic t = {0};

		cm_traffic_add(&t, json_object_get(scope, "kinds"));
		traffic_row(table, cm_json_text(scope, "scope"), &t);
	}
	return cm_table_print(table);
}

static bool print_history(const json_t *history)
{
	const json_t *days = json_object_get(history, "days");
	const json_t *scopes = json_object_get(history, "scopes");

	if (json_array_size(days) == 0)
		return printf("nothing was asked of it in the last 30 days\n") >
		       0;
	if (!print_days(days))
		return false;
	putchar('\n');
	if (!print_kinds(days))
		return false;
	if (json_array_size(scopes) == 0)
		return true;
	putchar('\n');
	return print_scopes(scopes);
}

/* ---- the store ----------------------------------------------------------- */

static void store_size(struct cm_table *t, const char *label, int64_t bytes)
{
	char text[CM_SIZE_TEXT_SIZE];

	cm_table_row(t, (const char *[]){label, cm_size_format(bytes, text)});
}

static void store_count(struct cm_table *t, const char *label,
			const json_t *store, const char *key)
{
	char text[COUNT_SIZE];

	cm_table_row(t, (const char *[]){
				label,
				count_text(cm_json_number(store, key), text)});
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

static bool print_store(const json_t *store, const json_t *ratios)
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
	return cm_table_print(t);
}

bool cm_stats_print(const json_t *stats)
{
	const json_t *server = json_object_get(stats, "server");
	bool draining = json_is_true(json_object_get(server, "draining"));
	char uptime[CM_DURATION_TEXT_SIZE];

	printf("cachemountd %s, up for %s%s\n\n",
	       cm_json_text(stats, "version"),
	       cm_duration_format(cm_json_number(server, "uptime_ms"), uptime),
	       draining ? ", draining" : "");
	if (!print_history(json_object_get(stats, "history")))
		return false;
	putchar('\n');
	return print_store(json_object_get(stats, "store"),
			   json_object_get(stats, "ratios"));
}
