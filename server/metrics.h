/*
 * metrics.h - what the server counts of its requests, without one thread
 * waiting for another.
 *
 * Each processor has a shard with a lock of its own, in which the network
 * thread that runs there counts a finished request: one lock that nobody else
 * wants, then plain additions. Whoever reads, once a second at least, empties
 * the shards into the sums first. Nothing is lost or counted
 * twice, so that a reader sees exactly the requests that are over.
 *
 * Counts are since the start. What lives on is handed to the store:
 * cm_metrics_take() for its counters, cm_metrics_save() for its history.
 */
#ifndef CM_SERVER_METRICS_H
#define CM_SERVER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>
#include <cachemount/store.h>

#include "request.h"

struct cm_metrics;
struct cm_router;

#define CM_COUNTED_SCOPES_MAX 64
#define CM_SCOPE_SIZE	      64 /* bytes of a name, with the NUL */
#define CM_SCOPE_REST	      "other"

/* Upper bounds of the buckets of durations; one more bucket has no bound. */
#define CM_DURATIONS_LEN 19
extern const int64_t cm_durations_us[CM_DURATIONS_LEN];

/* The bucket of a duration: the first whose bound is not below it. */
size_t cm_duration_bucket(int64_t us);

/* Requests of one route, GET and HEAD apart. */
struct cm_route_counts {
	int64_t statuses[6]; /* by first digit; [0]: no reply was made */
	int64_t durations[CM_DURATIONS_LEN + 1];
	int64_t sum_us;
};

/* Traffic of one scope. The name "" is the rest. */
struct cm_scope {
	char name[CM_SCOPE_SIZE];
	int64_t used_ms; /* monotonic */
	struct cm_usage kinds[CM_KINDS_LEN];
	struct cm_usage saved[CM_KINDS_LEN]; /* of these, in the store */
};

/* Why a request was turned away. */
enum cm_denial {
	CM_DENIED_UNAUTHENTICATED, /* 401 */
	CM_DENIED_FORBIDDEN,	   /* 403 */
	CM_DENIED_TOO_LARGE,	   /* 413 */
	CM_DENIED_BUSY,		   /* 429, 503 */
	CM_DENIED_NO_SPACE,	   /* 507 */
	CM_DENIALS_LEN,
};

/* All requests together. */
struct cm_request_totals {
	int64_t requests; /* health probes not counted */
	int64_t failed;	  /* answered with a status of 500 or above */
	int64_t aborted;  /* reply not delivered */
	int64_t hits;	  /* of what was asked for to be read */
	int64_t misses;
	int64_t sent_bytes; /* of bodies */
	int64_t received_bytes;
};

/* A finished request. Strings are borrowed for the call. */
struct cm_observation {
	bool matched; /* to a row of the router … */
	size_t row;   /* … namely this one */
	bool head;
	bool probe; /* for health: not in the totals */
	bool delivered;
	int status;	  /* 0: no reply was made */
	const char *repo; /* NULL: none */
	enum cm_kind kind;
	int64_t duration_us;
	struct cm_usage usage;
};

/* The sums, copied. `routes[2 * row + head]`; the last is of no route. */
struct cm_metrics_copy {
	struct cm_request_totals totals;
	int64_t denied[CM_DENIALS_LEN];
	size_t scopes_len;
	struct cm_scope
		scopes[CM_COUNTED_SCOPES_MAX + 1]; /* the rest is the last */
	size_t routes_len;
	struct cm_route_counts routes[];
};

/* The word for a kind, as label and in JSON: "blob", "buildkit-cache", … */
const char *cm_kind_name(enum cm_kind kind);

/* Borrows the router until it is freed. Caller frees. */
int cm_metrics_new(const struct cm_router *router, struct cm_metrics **ret,
		   struct cm_error *err);

/* NULL is legal. */
void cm_metrics_free(struct cm_metrics *m);

CM_DEFINE_CLEANUP(metrics, struct cm_metrics, cm_metrics_free);

/* The router whose rows are counted. */
const struct cm_router *cm_metrics_router(const struct cm_metrics *m);

/* Counts a request. Any thread; never blocks. */
void cm_metrics_observe(struct cm_metrics *m, const struct cm_observation *o);

/* Tells the totals. */
void cm_metrics_totals(struct cm_metrics *m, struct cm_request_totals *ret);

/* Tells what was added since the last call. For one thread. */
void cm_metrics_take(struct cm_metrics *m, struct cm_request_totals *ret);

/* Copies everything. Caller frees with free(). */
int cm_metrics_copy(struct cm_metrics *m, struct cm_metrics_copy **ret,
		    struct cm_error *err);

/*
 * BLOCKING. Adds to the store's history what it does not have yet. After a
 * failure the next call adds it.
 */
int cm_metrics_save(struct cm_metrics *m, struct cm_store *store,
		    struct cm_error *err);

#endif
