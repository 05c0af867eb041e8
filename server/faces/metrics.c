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
#include <stdlib.h>

#include "faces/faces.h"
#include "faces/metrics_process.h"
#include "faces/metrics_store.h"
#include "faces/metrics_text.h"
#include "faces/oci_error.h"
#include "http/http.h"
#include "metrics.h"
#include "router.h"

static const char *scope_label(const struct cm_scope *s)
{
	return *s->name ? s->name : CM_SCOPE_REST;
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

/* ---- all of it ----------------------------------------------------------- */

static void server(struct cm_metrics_text *t, const struct cm_server_figures *f)
{
	cm_metrics_gauge(t, "cachemount_connections", f->connections,
			 "Connections open.");
	cm_metrics_gauge(t, "cachemount_requests_in_flight", f->under_way,
			 "Requests whose reply has not gone out yet.");
	cm_metrics_gauge(t, "cachemount_draining", f->draining,
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
	rc = cm_metrics_store(t, cm_request_store(r), err);
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
