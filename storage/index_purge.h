/*
 * index_purge.h - which tags a purge takes, and what falls with them. Private
 * to storage/.
 */
#ifndef CM_INDEX_PURGE_H
#define CM_INDEX_PURGE_H

#include "index.h"
#include "lease.h"

/* How far a purge has come; all zero: at the start. */
struct cm_purge_place {
	char repo[CM_REPOSITORY_MAX + 1];
	char tag[CM_TAG_MAX + 1];
};

/*
 * Chooses tags by `filter` and works out which manifests, links and blobs
 * nothing would name without them. With `place`, a batch of those behind it,
 * and moves it; with NULL, all. What was chosen stays in temporary tables of
 * the connection until the next call.
 */
int cm_purge_choose(struct cm_db *db, const struct cm_purge_filter *filter,
		    struct cm_purge_place *place, struct cm_purge_result *ret,
		    struct cm_error *err);

/*
 * Removes what was chosen: tags and manifests at once; links become unnamed,
 * for the sweep to take: now, or after the lease time where one is held.
 */
int cm_purge_apply(struct cm_tx *tx, struct cm_leases *leases,
		   struct cm_error *err);

#endif
