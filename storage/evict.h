/*
 * evict.h - the thread that evicts (evict.c), and one look of its at the limits
 * (evict_pass.c). Private to the two.
 *
 * Locks: `one` is held for a whole pass; `lock` guards what stands below it,
 * and is held for a few instructions.
 */
#ifndef CM_EVICT_H
#define CM_EVICT_H

#include "store_private.h"

/* Somebody who waits for room. */
struct cm_demand {
	int64_t scope; /* 0: the store */
	int64_t bytes;
	uint64_t number;
	bool met; /* or can't be */
	struct cm_demand *next;
};

struct cm_evictor {
	struct cm_store *store;
	pthread_t thread;
	bool runs;
	pthread_mutex_t one;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	pthread_cond_t passed;
	bool stopping;
	bool wanted;
	unsigned int stuck; /* passes in a row */
	int64_t last_idle_ms;
	struct cm_demand *demands;
	uint64_t demands_made;
};

/*
 * BLOCKING. One look at all limits: evicts from above a high watermark down to
 * the low one, with `force` from above the low one, and further for demands;
 * not beyond `until_ms` (monotonic). Adds to `sum` what went. 1: the limits are
 * kept; 0: that can't be now; <0.
 */
int cm_evict_pass(struct cm_evictor *e, bool force, int64_t until_ms,
		  struct cm_evict_result *sum, struct cm_error *err);

#endif
