/*
 * exchange.c - a request's way through libmicrohttpd's callbacks.
 *
 * libmicrohttpd calls cm_exchange_access() once when the headers are in, once
 * per piece of body, and once when the body is whole; then again each time a
 * suspended connection is resumed. It takes a reply only in the first call,
 * and then closes the connection, or in the last ones. Hence:
 *
 *	no body     the first call does nothing; the last runs gates, start and
 *		    finish, so that the connection lives on
 *	a body      the first call runs gates and start. Without a reply the
 *		    body goes to the handler. A reply, from there or from a
 *		    failure midway, waits while the body is discarded; if that
 *		    is too long it goes out by hand (linger.c)
 *	Expect      a reply made before the body takes the place of 100 Continue
 */
#include <string.h>

#include <cachemount/units.h>

#include "health.h"
#include "http/internal.h"
#include "http/limits.h"
#include "log.h"
#include "metrics.h"
#include "worker.h"

static void fail(struct cm_request *r, const struct cm_error *err)
{
	cm_reply_fail(r, err);
}

static bool replied(const struct cm_request *r)
{
	return r->reply.status != 0;
}

static const struct cm_handler *handler_of(const struct cm_request *r)
{
	return r->match.route->handler;
}

/* Gates and start; afterwards a reply may be there. */
static void begin(struct cm_request *r)
{
	struct cm_error err;
	int rc = cm_gates_pass(r, &err);

	r->started = true;
	if (rc == 0 && handler_of(r)->start)
		rc = handler_of(r)->start(r, &err);
	if (rc < 0)
		fail(r, &err);
}

/* Runs what makes the reply; there is one afterwards. */
static void conclude(struct cm_request *r)
{
	int (*fn)(struct cm_request *, struct cm_error *) =
		r->deferred ? r->deferred : handler_of(r)->finish;
	struct cm_error err;
	int rc;

	cm_error_set(&err, CM_ERR_INTERNAL, "the handler made no reply");
	rc = fn ? fn(r, &err) : CM_ERR_INTERNAL;
	if (rc < 0 || !replied(r))
		fail(r, &err);
}

/* On a worker. Once resumed, the request is its network thread's again. */
static void work(void *arg)
{
	struct cm_request *r = arg;

	conclude(r);
	MHD_resume_connection(r->connection);
}

static void hand_to_worker(struct cm_request *r)
{
	struct cm_error err;

	r->stage = CM_STAGE_WORKING;
	cm_conn_enter(r->conn, CM_CONN_WORKING);
	MHD_suspend_connection(r->connection);
	/* Once submitted, `r` is the worker's. */
	if (cm_workers_submit(r->http->options.workers, work, r, &err) == 0)
		return;
	r->forced_status = 503;
	fail(r, &err);
	MHD_resume_connection(r->connection);
}

/* A reply is there and the body is not in: what to do with the rest of it. */
static enum MHD_Result settle(struct cm_request *r, bool first_call)
{
	int64_t left = r->content_length - r->received;

	if (first_call && r->expects_continue)
		return cm_reply_queue(r);
	if (r->chunked || left <= CM_DISCARD_MAX) {
		r->stage = CM_STAGE_DISCARD;
		return MHD_YES;
	}
	return cm_linger_start(r) ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_headers(struct cm_request *r, const char *version)
{
	struct cm_error err;

	if (cm_framing_check(r, version, &err) < 0) {
		/* Where this request ends is unknown: reply and close. */
		r->started = true;
		fail(r, &err);
		return cm_reply_queue(r);
	}
	r->stage = CM_STAGE_FINISH;
	if (r->content_length <= 0 && !r->chunked)
		return MHD_YES;
	r->stage = CM_STAGE_BODY;
	cm_conn_enter(r->conn, CM_CONN_BODY);
	begin(r);
	return replied(r) ? settle(r, true) : MHD_YES;
}

/* Gives a piece to the handler. */
static int take_piece(struct cm_request *r, const char *data, size_t size,
		      struct cm_error *err)
{
	const struct cm_handler *h = handler_of(r);

	if (!h->body || r->deferred) {
		r->forced_status = 400;
		return cm_error_set(err, CM_ERR_SIZE,
				    "a body is not expected here");
	}
	if (r->received > h->body_max) {
		r->forced_status = 413;
		return cm_error_set(err, CM_ERR_SIZE, "body over %lld bytes",
				    (long long)h->body_max);
	}
	return h->body(r, data, size, err);
}

static enum MHD_Result on_piece(struct cm_request *r, const char *data,
				size_t size)
{
	struct cm_error err;

	r->received += (int64_t)size;
	switch (r->stage) {
	case CM_STAGE_BODY:
		if (take_piece(r, data, size, &err) == 0)
			return MHD_YES;
		fail(r, &err);
		return settle(r, false);
	case CM_STAGE_DISCARD:
		if (r->received <= CM_DISCARD_MAX || !r->chunked)
			return MHD_YES;
		return cm_linger_start(r) ? MHD_YES : MHD_NO;
	case CM_STAGE_LINGER:
		return cm_linger_over(r) ? MHD_NO : MHD_YES;
	default:
		return MHD_NO;
	}
}

static enum MHD_Result on_complete(struct cm_request *r)
{
	if (r->stage == CM_STAGE_LINGER)
		return MHD_NO;
	if (!r->started)
		begin(r);
	if (replied(r))
		return cm_reply_queue(r);
	r->stage = CM_STAGE_FINISH;
	if (r->deferred || handler_of(r)->blocking) {
		hand_to_worker(r);
		return MHD_YES;
	}
	conclude(r);
	return cm_reply_queue(r);
}

void *cm_exchange_begin(void *cls, const char *uri,
			struct MHD_Connection *connection)
{
	struct cm_http *h = cls;
	struct cm_request *r = cm_request_new(h, uri ? uri : "");

	if (!r)
		return NULL;
	r->connection = connection;
	r->conn = cm_conn_of(connection);
	cm_conn_enter(r->conn, CM_CONN_HEADERS);
	atomic_fetch_add_explicit(&h->busy, 1, memory_order_relaxed);
	return r;
}

enum MHD_Result cm_exchange_access(void *cls, struct MHD_Connection *connection,
				   const char *url, const char *method,
				   const char *version, const char *data,
				   size_t *size, void **context)
{
	struct cm_request *r = *context;
	size_t len = *size;

	(void)cls;
	(void)connection;
	(void)url;
	if (!r)
		return MHD_NO;
	if (!r->method) {
		r->method = method;
		r->head = strcmp(method, "HEAD") == 0;
		return on_headers(r, version);
	}
	if (len == 0)
		return on_complete(r);
	*size = 0;
	return on_piece(r, data, len);
}

/* Were bytes or names accepted from a client that may write them? */
static bool wrote(const struct cm_request *r)
{
	return r->match.route && r->match.route->permission == CM_PERM_PUSH &&
	       r->reply.status >= 200 && r->reply.status < 300;
}

static enum cm_kind kind_of(const struct cm_request *r)
{
	if (r->looked_up)
		return r->kind;
	if (r->match.route && r->match.route->permission == CM_PERM_PUSH)
		return CM_KIND_UPLOAD;
	return CM_KIND_OTHER;
}

static void count(struct cm_request *r, bool delivered, int64_t duration_us)
{
	struct cm_observation o = {
		.matched = r->match.route != NULL,
		.row = r->match.row,
		.head = r->head,
		.probe = r->match.face == &cm_health_face,
		.delivered = delivered,
		.status = r->reply.status,
		.repo = cm_match_param(&r->match, "name"),
		.kind = kind_of(r),
		.duration_us = duration_us,
		.usage = r->lookups,
	};

	if (r->http->options.main)
		return;
	o.usage.writes = wrote(r);
	o.usage.sent_bytes = delivered ? r->reply.len : 0;
	o.usage.received_bytes = r->received;
	cm_metrics_observe(r->http->options.metrics, &o);
}

/*
 * The trace id of a traceparent field ("00-<32 hex>-<16 hex>-<2 hex>", W3C
 * Trace Context §3.2), or NULL.
 */
static const char *trace_id(const struct cm_request *r, char out[static 33])
{
	const char *sent = cm_request_header(r, "traceparent");

	if (!sent || strlen(sent) < 55 || sent[2] != '-' || sent[35] != '-' ||
	    strspn(sent + 3, "0123456789abcdef") != 32)
		return NULL;
	memcpy(out, sent + 3, 32);
	out[32] = '\0';
	return out;
}

/* Probes that succeed are told only when debugging: they come in numbers. */
static enum cm_log_level level_of(const struct cm_request *r)
{
	if (r->reply.status >= 500)
		return CM_LOG_ERROR;
	if (r->match.face == &cm_health_face && r->reply.status == 200)
		return CM_LOG_DEBUG;
	return CM_LOG_INFO;
}

static void tell(struct cm_request *r, bool delivered, int64_t duration_us)
{
	enum cm_log_level level = level_of(r);
	char trace[33];

	if (!r->http->options.access_log || !cm_log_enabled(level))
		return;
	/* A target that was never taken apart still has its query. */
	if (!r->match.route)
		r->text[strcspn(r->text, "?")] = '\0';
	cm_log_request(level,
		       &(struct cm_log_request){
			       .method = r->method,
			       .path = r->raw_path,
			       .status = r->reply.status,
			       .received_bytes = r->received,
			       .sent_bytes = delivered ? r->reply.len : 0,
			       .duration_us = duration_us,
			       .identity = r->identity.name,
			       .remote = r->conn ? r->conn->remote : NULL,
			       .result = !delivered   ? "aborted"
					 : r->note[0] ? r->note
						      : NULL,
			       .trace = trace_id(r, trace),
		       });
}

void cm_exchange_end(void *cls, struct MHD_Connection *connection,
		     void **context, enum MHD_RequestTerminationCode why)
{
	struct cm_request *r = *context;
	int64_t duration_us;
	bool delivered;

	(void)connection;
	if (!r)
		return;
	*context = NULL;
	/* A reply that went out by hand ends with the connection's cut. */
	delivered = r->stage == CM_STAGE_LINGER ||
		    (r->stage == CM_STAGE_QUEUED &&
		     why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	duration_us = cm_http_now_us() - r->began_us;
	count(r, delivered, duration_us);
	tell(r, delivered, duration_us);
	cm_conn_enter(r->conn, CM_CONN_IDLE);
	atomic_fetch_sub_explicit(&((struct cm_http *)cls)->busy, 1,
				  memory_order_relaxed);
	cm_request_free(r);
}
