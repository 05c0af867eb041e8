/*
 * store_private.h - the store's parts, for the files that make it up.
 */
#ifndef CM_STORE_PRIVATE_H
#define CM_STORE_PRIVATE_H

#include <pthread.h>

#include <cachemount/care.h>
#include <cachemount/store.h>

#include "bytes.h"
#include "compress.h"
#include "index.h"
#include "inflight.h"
#include "lease.h"
#include "young.h"

#define CM_INLINE_MAX (16 << 10) /* stored bytes; measured, see libraries */

struct cm_sessions;
struct cm_notes;
struct cm_evictor;

/* Bytes on disk (limit.c); all 0 without a limit. */
struct cm_limit {
	int64_t hard;
	int64_t high;
	int64_t low;
};

struct cm_scrub;

/* Backups: asked for, being made, and how the last try went (backup.c). */
struct cm_backup_state {
	pthread_mutex_t lock;
	bool wanted, running;
	struct cm_error failure; /* CM_OK: none */
};

struct cm_store {
	struct cm_store_options options;
	struct cm_bytes *bytes;
	struct cm_index *index;
	struct cm_leases *leases;
	struct cm_inflight *inflight;
	struct cm_sessions *sessions; /* open uploads (session.c) */
	struct cm_young *young;	      /* sessions without a row */
	struct cm_notes *notes;	      /* access times and counters (notes.c) */
	struct cm_limit limit;
	struct cm_evictor *evictor; /* evict.c */
	_Atomic int64_t slowest_batch_us;

	/*
	 * Held for reading while an unnamed blob is leased, for writing from
	 * the sweep's look at the leases to its commit: so a lease is either
	 * seen by the sweep, or asked for after the blob has gone.
	 */
	pthread_rwlock_t sweep_lock;
	pthread_mutex_t sweep_one; /* one sweep at a time */

	struct cm_scrub *scrub; /* where it is; NULL: not begun (scrub.c) */
	struct cm_backup_state backup;
};

/* ---- notes.c: access times and counters, written in batches ----------- */

int cm_notes_new(struct cm_store *s, struct cm_notes **ret,
		 struct cm_error *err);

/* Starts the thread that writes them out and checkpoints the index. */
int cm_notes_start(struct cm_notes *n, struct cm_error *err);
void cm_notes_stop(struct cm_notes *n);
void cm_notes_free(struct cm_notes *n);

/* Notes that a tag (or, with `tag` NULL, the manifest `d`) was pulled. */
void cm_notes_pulled(struct cm_notes *n, int64_t repo_id, const char *tag,
		     const struct cm_digest *d);

/* ---- limit.c: how much there may be -------------------------------------- */

/* Works out the limit from the options, and sets the quotas in the index. */
int cm_limit_init(struct cm_store *s, struct cm_error *err);

/* What counts against the limit, now. */
int64_t cm_limit_used(struct cm_store *s);

/*
 * Counts bytes that are about to be written to a file of uploads/. CM_ERR_NO_-
 * SPACE beyond the limit: nothing is counted then. There, and while the
 * eviction gets on, it waits for a fraction of a second.
 */
int cm_limit_take(struct cm_store *s, struct cm_temp *t, size_t len,
		  struct cm_error *err);

/* They were not written after all. */
void cm_limit_give(struct cm_store *s, struct cm_temp *t, size_t len);

/* Is there room for so many bytes more under the limit, now? */
bool cm_limit_fits(struct cm_store *s, int64_t bytes);

/*
 * BLOCKING, for a few seconds at most. Waits until the eviction has made room
 * for so many bytes more under the limit; CM_ERR_NO_SPACE if it can't.
 */
int cm_limit_admit(struct cm_store *s, int64_t bytes, struct cm_error *err);

/*
 * cm_index_write() for what adds content to a repository: if its scope has no
 * room for `*bytes` more (which `fn` may set), has that evicted, and tries
 * again.
 */
int cm_limit_write(struct cm_store *s, const char *repo, const int64_t *bytes,
		   cm_index_fn fn, void *arg, struct cm_error *err);

/* ---- evict.c: the thread that keeps to the limits ------------------------ */

int cm_evictor_new(struct cm_store *s, struct cm_evictor **ret,
		   struct cm_error *err);
int cm_evictor_start(struct cm_evictor *e, struct cm_error *err);
void cm_evictor_stop(struct cm_evictor *e);
void cm_evictor_free(struct cm_evictor *e);

/* Has it look at the limits soon. Never blocks. */
void cm_evictor_wake(struct cm_evictor *e);

/* The same, now: there may be something to evict where there was not. */
void cm_evictor_retry(struct cm_evictor *e);

/*
 * BLOCKING, for `wait_ms` at most. Has room made for so many bytes: of content
 * in a scope, or on disk if `scope` is 0. Returns when it has looked for what
 * it can evict, at once if there was nothing left the last time.
 */
void cm_evictor_make_room(struct cm_evictor *e, int64_t scope, int64_t bytes,
			  int64_t wait_ms);

/* BLOCKING. Evicts down to the low watermarks; adds to `ret` what went. */
int cm_evictor_collect(struct cm_evictor *e, int64_t until_ms,
		       struct cm_evict_result *ret, struct cm_error *err);

/* Is it over a watermark with nothing left to evict? How old was the last? */
void cm_evictor_state(struct cm_evictor *e, bool *ret_stuck,
		      int64_t *ret_last_idle_ms);

/*
 * On the writer: notes that a batch of upkeep began at that time
 * (cm_monotonic_us()) and ends now.
 */
void cm_note_batch(struct cm_store *s, int64_t began_us);

/* Adds what went to the counters evicted_*_REASON. */
void cm_count_evicted(struct cm_store *s, const char *reason,
		      const struct cm_evict_result *r);

/* ---- blob.c ------------------------------------------------------------ */

/*
 * Removes files whose rows have gone, in the inflight entries' hold.
 * Errors are not the caller's: the sweep finds what is left.
 */
struct cm_doomed {
	struct cm_inflight_entry entry;
	int64_t repo_id;
	struct cm_blob_row row;
	bool taken;   /* entry holds the digest */
	bool removed; /* the row has gone with the commit */
};

void cm_doomed_finish(struct cm_store *s, struct cm_doomed *doomed);

/*
 * Finds a blob through its link and leases it: 1 found, 0 not, <0. On return
 * the sweep knows of the lease.
 */
int cm_blob_find_leased(struct cm_store *s, struct cm_db *db, int64_t repo_id,
			const struct cm_digest *d, struct cm_blob_row *row,
			struct cm_error *err);

/*
 * Opens a blob whoever has it. `*ret_row` is filled though its bytes be lost
 * or of the wrong length (CM_ERR_CORRUPT).
 */
int cm_blob_open_any(struct cm_store *s, const struct cm_digest *d,
		     struct cm_blob_row *ret_row, struct cm_blob **ret,
		     struct cm_error *err);

/* Opens a blob of which the row is at hand. CM_ERR_CORRUPT as above. */
int cm_blob_open_row(struct cm_store *s, struct cm_db *db,
		     const struct cm_blob_row *row, struct cm_blob **ret,
		     struct cm_error *err);

/* The descriptor of a blob's file, borrowed; -1: in memory, or taken. */
int cm_blob_fd(const struct cm_blob *b);

/* ---- verify.c ---------------------------------------------------------- */

/*
 * BLOCKING. Reads the content to the end: CM_ERR_CORRUPT if it is not what the
 * digest says. With `pace` it leaves no trace in the page cache.
 */
int cm_store_check_content(struct cm_blob *b, cm_pace_fn pace, void *arg,
			   struct cm_error *err);

/*
 * BLOCKING. Looks again at a blob that was found damaged: if it still is, its
 * bytes move to quarantine, and it is forgotten everywhere. 1 then, 0 if it is
 * not damaged or gone, <0.
 */
int cm_store_condemn(struct cm_store *s, const struct cm_digest *d,
		     struct cm_error *err);

/* ---- scrub.c ----------------------------------------------------------- */

void cm_scrub_free(struct cm_scrub *scrub);

/* A job for the writer: the next scrub begins from the first blob. */
int cm_scrub_restart_tx(struct cm_tx *tx, void *arg, struct cm_error *err);

/* ---- upkeep.c ---------------------------------------------------------- */

/*
 * BLOCKING. One batch of links that were unnamed by `due_before_ms` and that
 * nobody was promised; adds to `ret` what went.
 */
int cm_store_reap(struct cm_store *s, int64_t due_before_ms,
		  struct cm_sweep_result *ret, struct cm_error *err);

/* ---- referrers.c ------------------------------------------------------- */

/*
 * BLOCKING. Looks through one batch of the manifests that were put before the
 * index kept referrers. Sets `*ret_more` if there are more. Costs one look
 * into the index when all are done.
 */
int cm_store_fill_referrers(struct cm_store *s, bool *ret_more,
			    struct cm_error *err);

/* ---- publish.c --------------------------------------------------------- */

/* Bytes that are to become a blob; what the upload hands over. */
struct cm_candidate {
	struct cm_blob_info info; /* encoding: of the bytes at hand */
	const void *memory;	  /* or NULL, then `temp` holds them */
	struct cm_temp *temp;
	const char *session; /* id of a session to end with it, or NULL */
	const struct cm_any_digest *name; /* as asked for; NULL: SHA-256 */
};

/*
 * BLOCKING. Makes the blob durable and visible in `repo`, compressed if it
 * pays. On success `candidate->info` says how it lies on disk.
 */
int cm_store_publish(struct cm_store *s, const char *repo,
		     struct cm_candidate *candidate, struct cm_error *err);

/* ---- upload.c ---------------------------------------------------------- */

/*
 * BLOCKING. Gives the young sessions that began before a time their rows in
 * the index, so that they outlive the process.
 */
int cm_uploads_ripen(struct cm_store *s, int64_t before_ms,
		     struct cm_error *err);

/* ---- session.c --------------------------------------------------------- */

int cm_sessions_new(struct cm_sessions **ret, struct cm_error *err);
void cm_sessions_free(struct cm_sessions *ss);

/*
 * Takes a session for one request. CM_ERR_BUSY if one has it. `*ret_hasher` is
 * the running hash over the first `*ret_offset` bytes if it is remembered,
 * else NULL; the caller owns it.
 */
int cm_sessions_take(struct cm_sessions *ss, const char *id,
		     struct cm_hasher **ret_hasher, int64_t *ret_offset,
		     struct cm_error *err);

/* Gives it back, with the hash to remember; `hasher` NULL: nothing. Takes it.
 */
void cm_sessions_give(struct cm_sessions *ss, const char *id,
		      struct cm_hasher *hasher, int64_t offset);

#endif
