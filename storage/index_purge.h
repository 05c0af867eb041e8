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

/* A tag that matched when it was looked at. */
struct cm_purge_tag {
	int64_t repo_id;
	char name[CM_TAG_MAX + 1];
};

/* The next tags behind `place` that match, at most `max`; moves `place`. */
int cm_purge_find(struct cm_db *db, const struct cm_purge_filter *f,
		  struct cm_purge_place *place, struct cm_purge_tag *tags,
		  size_t max, size_t *ret, struct cm_error *err);

/*
 * Makes the tables that the functions below work on, empty: temporary ones, or
 * in a new file at `scratch`.
 */
int cm_purge_tables(struct cm_db *db, const char *scratch,
		    struct cm_error *err);

/*
 * Chooses those of `n` tags that still match: all, or until what they name is
 * enough for one transaction. `*ret_taken` is how many were looked at.
 */
int cm_purge_take(struct cm_db *db, const struct cm_purge_filter *f,
		  const struct cm_purge_tag *tags, size_t n, bool all,
		  size_t *ret_taken, struct cm_error *err);

/*
 * Works out which manifests, links and blobs nothing would name without the
 * tags that were chosen, and counts them.
 */
int cm_purge_count(struct cm_db *db, struct cm_purge_result *ret,
		   struct cm_error *err);

/*
 * Removes what was chosen and counted: tags and manifests at once; links become
 * unnamed, for the sweep to take: now, or after the lease time where one is
 * held.
 */
int cm_purge_apply(struct cm_tx *tx, struct cm_leases *leases,
		   struct cm_error *err);

#endif
