/* metrics_store.c - the store's totals, limits and lasting counters. */
#include <stdio.h>

#include "faces/body.h"
#include "faces/metrics_store.h"

static void store_gauges(struct cm_metrics_text *t,
			 const struct cm_store_stats *s, int64_t leases)
{
	cm_metrics_gauge(
		t, "cachemount_store_bytes", s->stored_bytes,
		"Stored bytes of blobs and manifests, compressed where that "
		"pays.");
	cm_metrics_gauge(t, "cachemount_store_content_bytes", s->content_bytes,
			 "The same before compression.");
	cm_metrics_gauge(
		t, "cachemount_store_referenced_bytes", s->referenced_bytes,
		"The same before deduplication: once for each repository.");
	cm_metrics_gauge(t, "cachemount_store_blobs", s->blobs,
			 "Distinct blobs and manifests.");
	cm_metrics_gauge(t, "cachemount_store_manifests", s->manifests,
			 "Manifests.");
	cm_metrics_gauge(t, "cachemount_store_tags", s->tags, "Tags.");
	cm_metrics_gauge(t, "cachemount_store_repositories", s->repositories,
			 "Repositories.");
	cm_metrics_gauge(t, "cachemount_store_quarantined_blobs",
			 s->quarantined, "Blobs found damaged and put aside.");
	cm_metrics_gauge(t, "cachemount_uploads_open", s->uploads,
			 "Upload sessions open.");
	cm_metrics_gauge(t, "cachemount_leases", leases,
			 "Leases held on blobs.");
}

static int note_counter(void *arg, const char *name, int64_t value)
{
	return json_object_set_new(arg, name, json_integer(value)) < 0
		       ? CM_ERR_NO_MEMORY
		       : 0;
}

static int64_t counter(const json_t *counters, const char *name)
{
	return json_integer_value(json_object_get(counters, name));
}

/* What went, one sample a reason; see cm_store_stats(). */
static void evicted(struct cm_metrics_text *t, const json_t *counters,
		    const char *what, const char *name, const char *help)
{
	static const char *const reasons[] = {"size", "quota", "purge",
					      "sweep"};
	char key[64];

	cm_metrics_family(t, name, "counter", help);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		snprintf(key, sizeof(key), "evicted_%s_%s", what, reasons[i]);
		cm_metrics_sample(t,
				  (const char *[]){"reason", reasons[i], NULL},
				  counter(counters, key));
	}
}

/* Counters that live in the store, over restarts. */
static void store_counters(struct cm_metrics_text *t, const json_t *counters)
{
	static const struct {
		const char *counter, *name, *help;
	} rows[] = {
		{"evicted_idle_seconds",
		 "cachemount_evicted_idle_seconds_total",
		 "For how long what was evicted had not been used, summed."},
		{"ghost_hits", "cachemount_ghost_hits_total",
		 "Lookups of tags that were evicted before: a larger limit "
		 "would have answered."},
		{"ghost_bytes", "cachemount_ghost_bytes_total",
		 "Sizes of what those asked for."},
		{"unreadable_caches", "cachemount_unreadable_caches_total",
		 "Build caches pushed that BuildKit will not import, being "
		 "too large."},
		{"swept_uploads", "cachemount_swept_uploads_total",
		 "Abandoned uploads removed."},
	};

	evicted(t, counters, "bytes", "cachemount_evicted_bytes_total",
		"Stored bytes removed.");
	evicted(t, counters, "blobs", "cachemount_evicted_blobs_total",
		"Blobs removed.");
	evicted(t, counters, "manifests", "cachemount_evicted_manifests_total",
		"Manifests removed.");
	evicted(t, counters, "tags", "cachemount_evicted_tags_total",
		"Tags removed.");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cm_metrics_family(t, rows[i].name, "counter", rows[i].help);
		cm_metrics_sample(t, NULL, counter(counters, rows[i].counter));
	}
}

/* The limit, what is used of it, and what it lets the store remember. */
static void limits(struct cm_metrics_text *t, const struct cm_store_stats *s)
{
	const struct {
		const char *type;
		int64_t bytes;
	} marks[] = {{"reject", s->limit_bytes},
		     {"evict", s->high_bytes},
		     {"evict-until", s->low_bytes}};

	cm_metrics_gauge(t, "cachemount_store_used_bytes", s->used_bytes,
			 "What counts against the limit.");
	cm_metrics_gauge(t, "cachemount_pinned_tags", s->pinned_tags,
			 "Pinned tags.");
	cm_metrics_gauge(t, "cachemount_pinned_bytes", s->pinned_bytes,
			 "Content that pinned tags name.");
	cm_metrics_gauge(
		t, "cachemount_eviction_stuck", s->eviction_stuck,
		"1 while nothing more may be evicted, though it should.");
	cm_metrics_family(t, "cachemount_longest_idle_seconds", "gauge",
			  "For how long the next to be evicted has not been "
			  "used.");
	cm_metrics_millionths(t, NULL, s->longest_idle_ms * 1000);
	if (s->limit_bytes == 0)
		return;
	cm_metrics_family(t, "cachemount_store_limit_bytes", "gauge",
			  "Used bytes at which writes are refused, and "
			  "eviction begins and ends.");
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		cm_metrics_sample(t,
				  (const char *[]){"type", marks[i].type, NULL},
				  marks[i].bytes);
}

struct quotas {
	struct cm_metrics_text *text;
	bool used;
};

static int add_quota(void *arg, const struct cm_scope_info *scope)
{
	const struct quotas *q = arg;

	cm_metrics_sample(q->text, (const char *[]){"scope", scope->name, NULL},
			  q->used ? scope->bytes : scope->quota);
	return 0;
}

/* One of two gauges for each scope that the operator gave a quota. */
static int quotas(struct cm_metrics_text *t, struct cm_store *s, bool used,
		  struct cm_error *err)
{
	struct quotas q = {t, used};

	if (used)
		cm_metrics_family(t, "cachemount_quota_used_bytes", "gauge",
				  "Content that a scope with a quota "
				  "references.");
	else
		cm_metrics_family(t, "cachemount_quota_bytes", "gauge",
				  "How much a scope may reference.");
	return cm_store_quotas(s, add_quota, &q, err);
}

int cm_metrics_store(struct cm_metrics_text *t, struct cm_store *s,
		     struct cm_error *err)
{
	cm_auto(json) json_t *counters = json_object();
	struct cm_store_stats stats;
	int r = counters ? cm_store_stats(s, &stats, err) : cm_error_nomem(err);

	if (r < 0)
		return r;
	if (cm_store_counters(s, note_counter, counters, err) < 0)
		return cm_error_nomem(err);
	store_gauges(t, &stats, cm_store_leases(s));
	limits(t, &stats);
	store_counters(t, counters);
	r = quotas(t, s, false, err);
	return r < 0 ? r : quotas(t, s, true, err);
}
