/*
 * upkeep.h - what the server does beside its requests, on two threads.
 *
 * One ticks every second: it reads a changed token file, asks the store
 * whether it can write (health.h), and hands the counts of requests to the
 * store's counters, and every ten seconds to its history. The other sweeps the
 *store, batch by batch, without pause while there is more, else once a minute.
 *
 * Counters that are kept in the store, over restarts:
 *
 *	requests	but those for health
 *	requests_failed	answered with a status of 500 or above
 *	requests_aborted	whose reply was not delivered
 *	hits, misses	of blobs and manifests that were asked for to be read
 *	sent_bytes, received_bytes	of bodies
 *	swept_blobs, swept_bytes, swept_uploads, swept_manifests
 */
#ifndef CM_SERVER_UPKEEP_H
#define CM_SERVER_UPKEEP_H

#include <stdbool.h>

#include <cachemount/error.h>

struct cm_auth;
struct cm_health;
struct cm_metrics;
struct cm_store;
struct cm_upkeep;

/* All borrowed until cm_upkeep_stop() has returned true. */
struct cm_upkeep_options {
	struct cm_store *store;
	struct cm_auth *auth;
	struct cm_health *health;
	struct cm_metrics *metrics;
};

/* Starts both threads. Caller ends them with cm_upkeep_stop(). */
int cm_upkeep_start(const struct cm_upkeep_options *options,
		    struct cm_upkeep **ret, struct cm_error *err);

/* Reads the token file now, changed or not, and logs what came of it. */
void cm_upkeep_reload(struct cm_upkeep *u);

/*
 * Ends the threads, hands over the last figures and frees. False if the store
 * holds a thread up for longer than a few seconds: nothing is freed then, and
 * the store must not be closed. NULL is legal.
 */
bool cm_upkeep_stop(struct cm_upkeep *u);

#endif
