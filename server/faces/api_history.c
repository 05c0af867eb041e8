/* api_history.c - how the store was used, day by day and by scope. */
#include <string.h>

#include <cachemount/units.h>

#include "faces/api.h"
#include "faces/body.h"
#include "http/http.h"
#include "metrics.h"

#define DAY_MS	   86400000
#define SCOPES_MAX 50

/* An array that grows by objects, each of which gathers kinds. */
struct gathering {
	const struct cm_request *request;
	int64_t today;
	json_t *array;
	int64_t day; /* of the object under way */
	char scope[CM_SCOPE_SIZE];
	json_t *kinds; /* of it; borrowed; NULL: none yet */
};

static json_t *usage_json(const struct cm_usage *u)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "hits",
			 (json_int_t)u->hits, "misses", (json_int_t)u->misses,
			 "errors", (json_int_t)u->errors, "writes",
			 (json_int_t)u->writes, "sent_bytes",
			 (json_int_t)u->sent_bytes, "received_bytes",
			 (json_int_t)u->received_bytes);
}

/* Appends `object`, taking it over, which gathers kinds from now on. */
static int begin(struct gathering *g, json_t *object)
{
	g->kinds = object ? json_object_get(object, "kinds") : NULL;
	return g->kinds && json_array_append_new(g->array, object) == 0
		       ? 0
		       : CM_ERR_NO_MEMORY;
}

static int add_kind(struct gathering *g, const struct cm_usage_row *row)
{
	return json_object_set_new(g->kinds, row->kind,
				   usage_json(&row->usage)) < 0
		       ? CM_ERR_NO_MEMORY
		       : 0;
}

static const char *day_text(int64_t day, char out[static CM_TIME_TEXT_SIZE])
{
	cm_time_format(day * DAY_MS, out);
	out[strcspn(out, "T")] = '\0';
	return out;
}

static int add_day(void *arg, const struct cm_usage_row *row)
{
	struct gathering *g = arg;
	char text[CM_TIME_TEXT_SIZE];
	int r = 0;

	/* A day that a wrong clock has put ahead is of no past. */
	if (row->day > g->today)
		return 0;
	if (!g->kinds || row->day != g->day)
		r = begin(g, json_pack("{s:s,s:I,s:{}}", "day",
				       day_text(row->day, text), "age",
				       (json_int_t)(g->today - row->day),
				       "kinds"));
	g->day = row->day;
	return r < 0 ? r : add_kind(g, row);
}

static int add_scope(void *arg, const struct cm_usage_row *row)
{
	struct gathering *g = arg;
	const char *scope = row->scope ? row->scope : "";
	int r = 0;

	if (!cm_api_may_all(g->request, CM_PERM_PULL, scope))
		return 0;
	if (!g->kinds || strcmp(scope, g->scope) != 0)
		r = begin(g,
			  json_pack("{s:s,s:{}}", "scope",
				    *scope ? scope : CM_SCOPE_REST, "kinds"));
	strncpy(g->scope, scope, sizeof(g->scope) - 1);
	return r < 0 ? r : add_kind(g, row);
}

static int gather(struct cm_request *r, int64_t since, struct gathering *days,
		  struct gathering *scopes, struct cm_error *err)
{
	struct cm_store *store = cm_request_store(r);
	int status = cm_store_usage_days(store, since, add_day, days, err);

	if (status == 0)
		status = cm_store_usage_scopes(store, since, SCOPES_MAX,
					       add_scope, scopes, err);
	return status == CM_ERR_NO_MEMORY ? cm_error_nomem(err) : status;
}

int cm_api_history(struct cm_request *r, json_t **ret, struct cm_error *err)
{
	cm_auto(json) json_t *day_array = json_array();
	cm_auto(json) json_t *scope_array = json_array();
	int64_t today = cm_now_ms() / DAY_MS;
	int64_t since = today - CM_USAGE_DAYS + 1;
	struct gathering days = {
		.request = r, .today = today, .array = day_array};
	struct gathering scopes = {.request = r, .array = scope_array};
	char text[CM_TIME_TEXT_SIZE];
	int status;

	/* A store that cannot write still tells of its past. */
	(void)cm_metrics_save(cm_request_metrics(r), cm_request_store(r), NULL);
	status = gather(r, since, &days, &scopes, err);
	if (status < 0)
		return status;
	*ret = json_pack("{s:s,s:O,s:O}", "since", day_text(since, text),
			 "days", day_array, "scopes", scope_array);
	return *ret ? 0 : cm_error_nomem(err);
}
