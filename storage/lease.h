/*
 * lease.h - which blobs somebody was promised, and until when. Private to
 * storage/.
 *
 * A lease is remembered by a 64-bit fingerprint of (repository, digest): two
 * that collide keep each other alive a little longer, nothing worse. Memory is
 * bounded; leases for which there is no room go into a filter that knows
 * fingerprints only roughly: the more of them, the more that nobody asked for
 * counts as leased as well. Never is one forgotten.
 *
 * A manifest is evicted only if it is not leased, and a lookup answers only if
 * it is not being evicted: each of the two marks first and looks then, under
 * the same lock.
 *
 *	the eviction, on the writer	a lookup
 *	cm_lease_condemn(): not		cm_leases_generation()
 *	  leased, so marked		finds the manifest
 *	removes it, commits		cm_lease_take()
 *	cm_leases_spare()		cm_lease_condemned(): a miss
 *					the generation has changed: finds again
 */
#ifndef CM_LEASE_H
#define CM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

struct cm_leases;

/*
 * Leases kept in the file `fd` (taken; -1: in memory only), and those that are
 * there from an earlier run of this boot. Caller frees.
 */
int cm_leases_new(int64_t lease_ms, int fd, struct cm_leases **ret,
		  struct cm_error *err);

/* Are those of the run before there, all of them? */
bool cm_leases_restored(const struct cm_leases *l);
void cm_leases_free(struct cm_leases *l);

/* Promises to keep the blob for the lease time from `now_ms` (monotonic). */
void cm_lease_take(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d, int64_t now_ms);

/*
 * Ends one promise, since it has been kept (the manifest is there), or was none
 * (the blob is not). Promises to others hold: the lease ends with the last.
 */
void cm_lease_drop(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d);

bool cm_lease_held(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d, int64_t now_ms);

/*
 * Marks a manifest that is about to be evicted; false if it is leased, or too
 * many are marked. The marks stay until cm_leases_spare(), which the one thread
 * that evicts calls after its commit, or its failure.
 */
bool cm_lease_condemn(struct cm_leases *l, int64_t repo_id,
		      const struct cm_digest *d, int64_t now_ms);
void cm_leases_spare(struct cm_leases *l);

/* Is it marked? */
bool cm_lease_condemned(struct cm_leases *l, int64_t repo_id,
			const struct cm_digest *d);

/* Changes with each cm_leases_spare(). */
uint64_t cm_leases_generation(struct cm_leases *l);

/* When the last lease ends (monotonic); 0 if there is none. */
int64_t cm_leases_end(struct cm_leases *l);

/* Counts everything as leased until `until_ms` (monotonic). */
void cm_leases_hold_all(struct cm_leases *l, int64_t until_ms);

/* How many are held at `now_ms`, but for those without a slot of their own. */
int64_t cm_leases_count(struct cm_leases *l, int64_t now_ms);

/* Is everything held at `now_ms`? */
bool cm_leases_all_held(struct cm_leases *l, int64_t now_ms);

#endif
