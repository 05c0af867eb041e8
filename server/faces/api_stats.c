/* api_stats.c - GET /api/v1/stats: what the store holds and how it serves. */

#include <cachemount/cleanup.h>
#include <cachemount/units.h>

#include "faces/api.h"
#include "faces/body.h"

/* Counters that http.c keeps: what faces noted as "hit" and "miss". */
#define COUNTER_HITS   "hits"
#define COUNTER_MISSES "misses"

static json_t *ratio(int64_t part, int64_t whole)
{
	return whole > 0 ? json_real((double)part / (double)whole)
			 : json_null();
}

/* What is limited, and how much of it is used. */
static json_t *limits_json(const struct cm_store_stats *s)
{
	return json_pack(
		"{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}",
		"limit_bytes", (json_int_t)s->limit_bytes, "high_bytes",
		(json_int_t)s->high_bytes, "low_bytes",
		(json_int_t)s->low_bytes, "used_bytes",
		(json_int_t)s->used_bytes, "file_bytes",
		(json_int_t)s->file_bytes, "index_bytes",
		(json_int_t)s->index_bytes, "upload_bytes",
		(json_int_t)s->upload_bytes, "quarantine_bytes",
		(json_int_t)s->quarantine_bytes, "backup_bytes",
		(json_int_t)s->backup_bytes, "pinned_tags",
		(json_int_t)s->pinned_tags, "pinned_bytes",
		(json_int_t)s->pinned_bytes, "longest_idle_ms",
		(json_int_t)s->longest_idle_ms, "last_evicted_idle_ms",
		(json_int_t)s->last_evicted_idle_ms, "slowest_batch_us",
		(json_int_t)s->slowest_batch_us, "eviction_stuck",
		s->eviction_stuck);
}

static json_t *store_json(const struct cm_store_stats *s)
{
	json_t *limits = limits_json(s);
	json_t *store = json_pack(
		"{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "repositories",
		(json_int_t)s->repositories, "tags", (json_int_t)s->tags,
		"manifests", (json_int_t)s->manifests, "blobs",
		(json_int_t)s->blobs, "content_bytes",
		(json_int_t)s->content_bytes, "stored_bytes",
		(json_int_t)s->stored_bytes, "referenced_bytes",
		(json_int_t)s->referenced_bytes, "uploads",
		(json_int_t)s->uploads, "quarantined",
		(json_int_t)s->quarantined);

	if (!limits || !store || json_object_update(store, limits) < 0)
		json_decref(cm_take_ptr(store));
	json_decref(limits);
	return store;
}

static json_t *ratios_json(const struct cm_store_stats *s,
			   const json_t *counters)
{
	json_int_t hits =
		json_integer_value(json_object_get(counters, COUNTER_HITS));
	json_int_t misses =
		json_integer_value(json_object_get(counters, COUNTER_MISSES));

	return json_pack("{s:o,s:o,s:o}", "deduplication",
			 ratio(s->referenced_bytes, s->content_bytes),
			 "compression",
			 ratio(s->content_bytes, s->stored_bytes), "hits",
			 ratio(hits, hits + misses));
}

static json_t *server_json(const struct cm_request *r)
{
	char started[CM_TIME_TEXT_SIZE];
	struct cm_server_figures f;

	cm_server_figures(r, &f);
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:b}", "started",
			 cm_time_format(f.started_ms, started), "uptime_ms",
			 (json_int_t)(cm_now_ms() - f.started_ms),
			 "connections", (json_int_t)f.connections, "requests",
			 (json_int_t)f.requests, "sent_bytes",
			 (json_int_t)f.sent_bytes, "received_bytes",
			 (json_int_t)f.received_bytes, "draining", f.draining);
}

static int add_counter(void *arg, const char *name, int64_t value)
{
	return json_object_set_new(arg, name, json_integer(value)) < 0
		       ? CM_ERR_NO_MEMORY
		       : 0;
}

struct quotas {
	const struct cm_request *request;
	json_t *array;
};

static int add_quota(void *arg, const struct cm_scope_info *scope)
{
	const struct quotas *q = arg;

	if (!cm_api_may_all(q->request, CM_PERM_PULL, scope->name))
		return 0;
	return json_array_append_new(
		       q->array,
		       json_pack("{s:s,s:I,s:I}", "scope", scope->name, "bytes",
				 (json_int_t)scope->bytes, "quota",
				 (json_int_t)scope->quota)) < 0
		       ? CM_ERR_NO_MEMORY
		       : 0;
}

static int add_quotas(struct cm_request *r, json_t *array, struct cm_error *err)
{
	struct quotas q = {r, array};
	int status = cm_store_quotas(cm_request_store(r), add_quota, &q, err);

	return status == CM_ERR_NO_MEMORY ? cm_error_nomem(err) : status;
}

static int stats(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *counters = json_object();
	cm_auto(json) json_t *scrub = NULL, *backup = NULL;
	cm_auto(json) json_t *history = NULL, *quotas = json_array();
	struct cm_store *store = cm_request_store(r);
	struct cm_store_stats s;
	json_t *body;
	int status = cm_store_stats(store, &s, err);

	if (status < 0)
		return status;
	status = cm_store_counters(store, add_counter, counters, err);
	if (status == CM_ERR_NO_MEMORY)
		return cm_error_nomem(err);
	if (status == 0)
		status = cm_api_history(r, &history, err);
	if (status == 0)
		status = add_quotas(r, quotas, err);
	if (status < 0)
		return status;
	status = cm_api_scrub_json(store, &scrub, err);
	if (status == 0)
		status = cm_api_backup_json(store, &backup, err);
	if (status < 0)
		return status;
	body = json_pack("{s:s,s:o,s:o,s:O,s:O,s:O,s:o,s:O,s:O}", "version",
			 CM_VERSION, "store", store_json(&s), "ratios",
			 ratios_json(&s, counters), "counters", counters,
			 "history", history, "quotas", quotas, "server",
			 server_json(r), "scrub", scrub, "backup", backup);
	if (!body)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, body, err);
}

const struct cm_handler cm_api_stats = {.finish = stats, .blocking = true};
