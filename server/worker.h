/*
 * worker.h - the pool of threads for what may block: fsync, index commits.
 *
 * Commits are grouped by the store, so threads mostly wait for one another's
 * fsync: hence more of them than cores. The queue is bounded; a job that finds
 * it full is refused at once, and its request answered with 503.
 */
#ifndef CM_SERVER_WORKER_H
#define CM_SERVER_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

struct cm_workers;

/* Starts `threads` threads with a queue of `queue_max` jobs. Caller frees. */
int cm_workers_new(size_t threads, size_t queue_max, struct cm_workers **ret,
		   struct cm_error *err);

/*
 * Queues fn(arg). CM_ERR_BUSY if the queue is full, CM_ERR_UNAVAILABLE once
 * the pool stops. Any thread.
 */
int cm_workers_submit(struct cm_workers *w, void (*fn)(void *arg), void *arg,
		      struct cm_error *err);

/*
 * Takes no more jobs and waits up to `timeout_ms` for the queued and running
 * ones. False if some still run: the pool must then not be freed.
 */
bool cm_workers_stop(struct cm_workers *w, int timeout_ms);

/* Stops, without limit of time, and frees. NULL is legal. */
void cm_workers_free(struct cm_workers *w);

CM_DEFINE_CLEANUP(workers, struct cm_workers, cm_workers_free);

#endif
