/*
 * metrics.c - GET /metrics: the server's figures for Prometheus.
 *
 * On the main port it needs the permission admin on all repositories, since it
 * names scopes; on the port of --metrics-listen everyone has that. Text format
 * 0.0.4, or OpenMetrics for a client that accepts it.
 *
 * Labels are bounded: "route" by the tables of routes, "scope" by
 * CM_COUNTED_SCOPES_MAX and the quotas that are set, all others by what stands
 * here. Counters are since the
 * start of the process, except those that the store keeps.
 */
#include <stdio.h>
#include <stdlib.h>

#include "faces/body.h"
#include "faces/faces.h"
#include "faces/metrics_process.h"
#include "faces/metrics_text.h"
#include "faces/oci_error.h"
#include "http/http.h"
#include "metrics.h"
#include "router.h"

static const char *scope_label(const struct cm_scope *s)
{
	return *s->name ? s->name : CM_SCOPE_REST;
}

static void gauge(struct cm_metrics_text *t, const char *name, int64_t value,
		  const char *help)
{
	cm_metrics_family(t, name, "gauge", help);
	cm_metrics_sample(t, NULL, value);
}

/* ---- requests ----------------------------------------------------------- */

/* The label values of one of the copy's route counts. */
struct route_labels {
	const char *route;
	const char *method;
};

static struct route_labels labels_of(const struct cm_router *router,
				     const struct cm_metrics_copy *c, size_t i)
{
	const struct cm_route *route;

	if (i + 1 == c->routes_len)
		return (struct route_labels){"none", "any"};
	route = cm_router_route(router, i / 2);
	return (struct route_labels){route->pattern,
				     i % 2 ? "HEAD" : route->method};
}

static int64_t requests_of(const struct cm_route_counts *c)
{
	int64_t n = 0;

	for (size_t i = 0; i < 6; i++)
		n += c->statuses[i];
	return n;
}

static void route_statuses(struct cm_metrics_text *t, struct route_labels l,
			   const struct cm_route_counts *c)
{
	static const char *const classes[6] = {"none", "1xx", "2xx",
					       "3xx",  "4xx", "5xx"};

	for (size_t i = 0; i < 6; i++)
		if (c->statuses[i] > 0)
			cm_metrics_sample(t,
					  (const char *[]){"route", l.route,
							   "method", l.method,
							   "status", classes[i],
							   NULL},
					  c->statuses[i]);
}

static void requests(struct cm_metrics_text *t, const struct cm_router *router,
		     const struct cm_metrics_copy *c)
{
	struct route_labels l;

	cm_metrics_family(t, "cachemount_requests_total", "counter",
			  "Finished requests by route and class of status.");
	for (size_t i = 0; i < c->routes_len; i++)
		route_statuses(t, labels_of(router, c, i), &c->routes[i]);
	cm_metrics_family(t, "cachemount_request_duration_seconds", "histogram",
			  "From the request line to the end of the reply.");
	for (size_t i = 0; i < c->routes_len; i++) {
		if (requests_of(&c->routes[i]) == 0)
			continue;
		l = labels_of(router, c, i);
		cm_metrics_histogram(t,
				     (const char *[]){"route", l.route,
						      "method", l.method, NULL},
				     cm_durations_us, c->routes[i].durations,
				     CM_DURATIONS_LEN, c->routes[i].sum_us);
	}
	cm_metrics_family(t, "cachemount_requests_aborted_total", "counter",
			  "Requests whose reply was not delivered whole.");
	cm_metrics_sample(t, NULL, c->totals.aborted);
}

static void denied(struct cm_metrics_text *t, const struct cm_metrics_copy *c)
{
	static const char *const reasons[CM_DENIALS_LEN] = {
		[CM_DENIED_UNAUTHENTICATED] = "unauthenticated",
		[CM_DENIED_FORBIDDEN] = "forbidden",
		[CM_DENIED_TOO_LARGE] = "too-large",
		[CM_DENIED_BUSY] = "busy",
		[CM_DENIED_NO_SPACE] = "no-space",
	};

	cm_metrics_family(t, "cachemount_denied_total", "counter",
			  "Requests turned away, by reason.");
	for (size_t i = 0; i < CM_DENIALS_LEN; i++)
		cm_metrics_sample(t,
				  (const char *[]){"reason", reasons[i], NULL},
				  c->denied[i]);
}

/* ---- traffic by scope and kind ------------------------------------------ */

static void lookups_of(struct cm_metrics_text *t, const struct cm_scope *s,
		       enum cm_kind kind)
{
	const struct cm_usage *u = &s->kinds[kind];
	const struct {
		const char *result;
		int64_t n;
	} rows[] = {
		{"hit", u->hits}, {"miss", u->misses}, {"error", u->errors}};

	if (u->hits == 0 && u->misses == 0 && u->errors == 0)
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cm_metrics_sample(t,
				  (const char *[]){"kind", cm_kind_name(kind),
						   "scope", scope_label(s),
						   "result", rows[i].result,
						   NULL},
				  rows[i].n);
}

static void lookups(struct cm_metrics_text *t, const struct cm_metrics_copy *c)
{
	cm_metrics_family(t, "cachemount_lookups_total", "counter",
			  "Lookups of blobs and manifests by what came of "
			  "them; kind upload: asked before an upload.");
	for (size_t i = 0; i < c->scopes_len; i++)
		for (size_t kind = 0; kind < CM_KINDS_LEN; kind++)
			lookups_of(t, &c->scopes[i], (enum cm_kind)kind);
}

/* One of the two directions, where anything moved, and in all. */
static void bytes(struct cm_metrics_text *t, const struct cm_metrics_copy *c,
		  const char *name, const char *help, bool sent)
{
	const struct cm_usage *u;

	cm_metrics_family(t, name, "counter", help);
	for (size_t i = 0; i < c->scopes_len; i++) {
		for (size_t kind = 0; kind < CM_KINDS_LEN; kind++) {
			u = &c->scopes[i].kinds[kind];
			if (u->sent_bytes == 0 && u->received_bytes == 0)
				continue;
			cm_metrics_sample(
				t,
				(const char *[]){
					"kind",
					cm_kind_name((enum cm_kind)kind),
					"scope", scope_label(&c->scopes[i]),
					NULL},
				sent ? u->sent_bytes : u->received_bytes);
		}
	}
}

static void traffic(struct cm_metrics_text *t, const struct cm_metrics_copy *c)
{
	lookups(t, c);
	bytes(t, c, "cachemount_served_bytes_total",
	      "Bytes of bodies sent, as on the wire.", true);
	bytes(t, c, "cachemount_received_bytes_total",
	      "Bytes of bodies received, as on the wire.", false);
}

/* ---- the store and the server ------------------------------------------- */

static void store_gauges(struct cm_metrics_text *t,
			 const struct cm_store_stats *s, int64_t leases)
{
	gauge(t, "cachemount_store_bytes", s->stored_bytes,
	      "Stored bytes of blobs and manifests, compressed where that "
	      "pays.");
	gauge(t, "cachemount_store_content_bytes", s->content_bytes,
	      "The same before compression.");
	gauge(t, "cachemount_store_referenced_bytes", s->referenced_bytes,
	      "The same before deduplication: once for each repository.");
	gauge(t, "cachemount_store_blobs", s->blobs,
	      "Distinct blobs and manifests.");
	gauge(t, "cachemount_store_manifests", s->manifests, "Manifests.");
	gauge(t, "cachemount_store_tags", s->tags, "Tags.");
	gauge(t, "cachemount_store_repositories", s->repositories,
	      "Repositories.");
	gauge(t, "cachemount_store_quarantined_blobs", s->quarantined,
	      "Blobs found damaged and put aside.");
	gauge(t, "cachemount_uploads_open", s->uploads,
	      "Upload sessions open.");
	gauge(t, "cachemount_leases", leases, "Leases held on blobs.");
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

	gauge(t, "cachemount_store_used_bytes", s->used_bytes,
	      "What counts against the limit.");
	gauge(t, "cachemount_pinned_tags", s->pinned_tags, "Pinned tags.");
	gauge(t, "cachemount_pinned_bytes", s->pinned_bytes,
	      "Content that pinned tags name.");
	gauge(t, "cachemount_eviction_stuck", s->eviction_stuck,
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

static int store(struct cm_metrics_text *t, struct cm_store *s,
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

static void server(struct cm_metrics_text *t, const struct cm_server_figures *f)
{
	gauge(t, "cachemount_connections", f->connections, "Connections open.");
	gauge(t, "cachemount_requests_in_flight", f->under_way,
	      "Requests whose reply has not gone out yet.");
	gauge(t, "cachemount_draining", f->draining,
	      "1 while the server shuts down.");
	cm_metrics_family(t, "cachemount_build_info", "gauge",
			  "Always 1, with the version.");
	cm_metrics_sample(t, (const char *[]){"version", CM_VERSION, NULL}, 1);
	cm_metrics_process(t, f->started_ms);
}

static int fill(struct cm_request *r, struct cm_metrics_text *t,
		struct cm_error *err)
{
	struct cm_metrics *m = cm_request_metrics(r);
	cm_autofree struct cm_metrics_copy *copy = NULL;
	struct cm_server_figures figures;
	int rc = cm_metrics_copy(m, &copy, err);

	if (rc < 0)
		return rc;
	cm_server_figures(r, &figures);
	traffic(t, copy);
	requests(t, cm_metrics_router(m), copy);
	denied(t, copy);
	rc = store(t, cm_request_store(r), err);
	if (rc < 0)
		return rc;
	server(t, &figures);
	return cm_metrics_text_end(t, err);
}

static int metrics(struct cm_request *r, struct cm_error *err)
{
	struct cm_metrics_text t = {
		.openmetrics = cm_metrics_wants_openmetrics(
			cm_request_header(r, "Accept")),
	};
	int rc = fill(r, &t, err);

	if (rc == 0)
		rc = cm_reply_bytes(r, 200,
				    t.openmetrics ? CM_METRICS_OPENMETRICS
						  : CM_METRICS_TEXT_0_0_4,
				    t.bytes, t.len, err);
	free(t.bytes);
	return rc;
}

static void fail(struct cm_request *r, const struct cm_error *err)
{
	/* Without memory for a body the server sends its own bare status. */
	(void)cm_reply_error(r, cm_status_to_http(err->status),
			     cm_status_name(err->status), err->text, NULL);
}

/* On a worker: it asks the store, and /proc. */
static const struct cm_handler handler = {.finish = metrics, .blocking = true};

static const struct cm_route routes[] = {
	{"GET", "/metrics", CM_PERM_ADMIN, &handler},
};

const struct cm_face cm_metrics_face = {
	.name = "metrics",
	.prefix = "/metrics",
	.routes = routes,
	.routes_len = sizeof(routes) / sizeof(routes[0]),
	.fail = fail,
};
