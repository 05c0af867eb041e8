/* stats_view.c - sums of the history, and the tables of it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/units.h>

#include "cli.h"
#include "output.h"
#include "stats_view.h"

#define KIND_UPLOAD	"upload"
#define WEEK		7
#define MONTH		30
#define TRAFFIC_COLUMNS 6
#define SCOPES_SHOWN	20

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

const char *cm_count_format(int64_t n, char out[static CM_COUNT_SIZE])
{
	snprintf(out, CM_COUNT_SIZE, "%" PRId64, n);
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
	char text[3][CM_COUNT_SIZE];

	cm_table_row(t, (const char *[]){label, cm_count_format(n[0], text[0]),
					 cm_count_format(n[1], text[1]),
					 cm_count_format(n[2], text[2])});
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
	char rate[CM_RATE_TEXT_SIZE], hits[CM_COUNT_SIZE],
		misses[CM_COUNT_SIZE];
	char served[CM_SIZE_TEXT_SIZE], uploaded[CM_SIZE_TEXT_SIZE];

	cm_table_row(table,
		     (const char *[]){
			     label,
			     cm_rate_format(t->hits, t->hits + t->misses, rate),
			     cm_count_format(t->hits, hits),
			     cm_count_format(t->misses, misses),
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

/* The busiest, which come first. */
static bool print_scopes(const json_t *scopes)
{
	struct cm_table *table = traffic_table("SCOPE, 30 DAYS");
	size_t i, n = json_array_size(scopes);
	json_t *scope;

	json_array_foreach (scopes, i, scope) {
		struct cm_traffic t = {0};

		if (i == SCOPES_SHOWN)
			break;
		cm_traffic_add(&t, json_object_get(scope, "kinds"));
		traffic_row(table, cm_json_text(scope, "scope"), &t);
	}
	if (!cm_table_print(table))
		return false;
	return n <= SCOPES_SHOWN ||
	       printf("and %zu more, see --json\n", n - SCOPES_SHOWN) > 0;
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
	return cm_stats_print_store(stats);
}
