/*
 * lease.h - which blobs somebody was promised, and until when. Private to
 * storage/.
 *
 * A lease is remembered by a 64-bit fingerprint of (repository, digest): two
 * that collide keep each other alive a little longer, nothing worse. Memory is
 * bounded; when it is full, everything counts as leased for one lease time.
 */
#ifndef CM_LEASE_H
#define CM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

struct cm_leases;

int cm_leases_new(int64_t lease_ms, struct cm_leases **ret,
		  struct cm_error *err);
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

/* When the last lease ends (monotonic); 0 if there is none. */
int64_t cm_leases_end(struct cm_leases *l);

/* Counts everything as leased until `until_ms` (monotonic). */
void cm_leases_hold_all(struct cm_leases *l, int64_t until_ms);

/* How many are held at `now_ms`; what is held with everything not counted. */
int64_t cm_leases_count(struct cm_leases *l, int64_t now_ms);

/* Is everything held at `now_ms`? */
bool cm_leases_all_held(struct cm_leases *l, int64_t now_ms);

#endif
