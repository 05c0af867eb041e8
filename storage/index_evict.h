/*
 * index_evict.h - the order in which tags and manifests are evicted. Private to
 * storage/.
 */
#ifndef CM_INDEX_EVICT_H
#define CM_INDEX_EVICT_H

#include "index.h"
#include "lease.h"

/* One transaction of an eviction: what it is to do, and what it did. */
struct cm_evict_job {
	struct cm_leases *leases;
	int64_t scope;	/* only of this one; 0: of all */
	int64_t bytes;	/* stop when so much content has gone … */
	int64_t before; /* … or what comes next was used after this number */

	/* Out. */
	int64_t tags;
	int64_t manifests;
	int64_t content;      /* of the manifests and what they name */
	int64_t idle_ms;      /* how long each had not been used, summed … */
	int64_t last_idle_ms; /* … and the last one */
	bool ended;	      /* nothing is left that may go */
};

/*
 * Evicts the least recently used, for a bounded time; `arg` is a struct
 * cm_evict_job. What it condemned (lease.h) is spared by the caller afterwards.
 */
int cm_evict_tx(struct cm_tx *tx, void *arg, struct cm_error *err);

/* How long what would be evicted next has not been used; 0: there is none. */
int cm_evict_idle(struct cm_db *db, int64_t now_ms, int64_t *ret,
		  struct cm_error *err);

#endif
