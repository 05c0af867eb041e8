/*
 * upkeep.c - the sweep: what removes things when they are due.
 *
 * Nothing here scans a table. The sweep follows partial indexes of what is due:
 * abandoned uploads, replaced snapshots, unnamed links. Files without a row
 * (left by a crash between rename and commit) are found by walking the folders,
 * a few names a batch.
 *
 * Order of a removal: the row goes, the commit, then the file; with the digest
 * held (inflight.h), so that nobody puts the same blob back in between.
 */
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

#define SWEEP_A_BATCH	200
#define ROWS_A_BATCH	5000
#define REAP_MS		8 /* of the writer, for one batch of links */
#define UPLOADS_A_BATCH 64
#define WALK_A_BATCH	256
#define YOUNG_MS	60000 /* then memory is for those that come */

/* ---- links that are due ---------------------------------------------------
 */

struct reap_job {
	struct cm_store *store;
	int64_t due_before_ms;
	struct cm_doomed *doomed;
	size_t len;
	bool cut; /* the time was up */
};

/* The links that are due, oldest first. */
static int find_due(struct cm_tx *tx, struct reap_job *j, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_doomed *d;
	int r = cm_db_query(tx->db,
			    "SELECT repo_id, digest FROM repo_blobs"
			    " WHERE refs = 0 AND since_ms <= ?"
			    " ORDER BY since_ms LIMIT ?",
			    &st, err, CM_INT(j->due_before_ms),
			    CM_INT(SWEEP_A_BATCH));

	for (j->len = 0; r > 0; r = r == 0 ? cm_db_next(st, err) : r) {
		d = &j->doomed[j->len++];
		d->repo_id = sqlite3_column_int64(st, 0);
		r = cm_column_digest(st, 1, &d->row.info.digest, err);
	}
	return r;
}

/* Looked at again after the lease time: it is leased, or in use just now. */
static int postpone(struct cm_tx *tx, const struct cm_doomed *d,
		    struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "UPDATE repo_blobs SET since_ms = ?"
			 " WHERE repo_id = ? AND digest = ?",
			 err, CM_INT(tx->now_ms), CM_INT(d->repo_id),
			 CM_DIGEST(&d->row.info.digest));
}

static int reap_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct reap_job *j = arg;
	struct cm_store *s = j->store;
	struct cm_digest digest;
	int64_t began_us = cm_monotonic_us();
	int64_t until = cm_monotonic_ms() + REAP_MS;
	struct cm_doomed *d;
	int r = find_due(tx, j, err);

	for (size_t i = 0; r >= 0 && i < j->len; i++) {
		if (cm_monotonic_ms() >= until) {
			j->len = i;
			j->cut = true;
			break;
		}
		d = &j->doomed[i];
		digest = d->row.info.digest;
		if (!cm_lease_held(s->leases, d->repo_id, &digest,
				   cm_monotonic_ms()))
			d->taken = cm_inflight_try(s->inflight, &d->entry,
						   &digest);
		if (!d->taken) {
			r = postpone(tx, d, err);
			continue;
		}
		r = cm_link_remove(tx, d->repo_id, &digest, &d->row, err);
		d->removed = r > 0;
		/* Others have it; a link of theirs may be next. */
		if (r == 0)
			cm_doomed_finish(s, d);
	}
	cm_note_batch(s, began_us);
	return r < 0 ? r : 0;
}

/* One batch; `ret` counts what went. */
int cm_store_reap(struct cm_store *s, int64_t due_before_ms,
		  struct cm_sweep_result *ret, struct cm_error *err)
{
	cm_autofree struct cm_doomed *doomed =
		calloc(SWEEP_A_BATCH, sizeof(*doomed));
	struct reap_job j = {
		.store = s,
		.due_before_ms = due_before_ms,
		.doomed = doomed,
	};
	int r;

	if (!doomed)
		return cm_error_nomem(err);
	pthread_rwlock_wrlock(&s->sweep_lock);
	r = cm_index_write(s->index, reap_tx, &j, err);
	pthread_rwlock_unlock(&s->sweep_lock);
	for (size_t i = 0; i < j.len; i++) {
		if (r < 0)
			doomed[i].removed = false;
		if (doomed[i].removed) {
			ret->blobs++;
			ret->bytes += doomed[i].row.info.stored_size;
		}
		cm_doomed_finish(s, &doomed[i]);
	}
	if (r == 0 && (j.cut || j.len == SWEEP_A_BATCH))
		ret->more = true;
	return r;
}

/*
 * Before when a link must have become unnamed to be due. While leases of an
 * earlier run may hold, only what a purge made due.
 */
static int64_t due_before(struct cm_store *s)
{
	if (cm_leases_all_held(s->leases, cm_monotonic_ms()))
		return -1;
	return cm_now_ms() - s->options.lease_ms;
}

/* ---- sweep ----------------------------------------------------------------
 */

/* Ids of sessions to look at; the newest activity is the file's. */
struct idle_uploads {
	char ids[UPLOADS_A_BATCH][CM_UPLOAD_ID_SIZE];
	size_t len;
	int64_t before_ms;
};

static int find_idle(struct cm_store *s, struct idle_uploads *u,
		     struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const char *id;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_db_query(db,
				"SELECT id FROM uploads WHERE touched_ms < ?"
				" ORDER BY touched_ms LIMIT ?",
				&st, err, CM_INT(u->before_ms),
				CM_INT(UPLOADS_A_BATCH));
	for (; r > 0; r = cm_db_next(st, err)) {
		id = (const char *)sqlite3_column_text(st, 0);
		if (id)
			strncpy(u->ids[u->len++], id, CM_UPLOAD_ID_SIZE - 1);
	}
	return r;
}

struct idle_job {
	const char *id;
	int64_t touched_ms; /* its true time: keep; 0: remove */
};

static int idle_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct idle_job *j = arg;
	int r;

	if (j->touched_ms > 0)
		return cm_db_run(tx->db,
				 "UPDATE uploads SET touched_ms = ?"
				 " WHERE id = ?",
				 err, CM_INT(j->touched_ms), CM_TEXT(j->id));
	r = cm_db_run(tx->db, "DELETE FROM uploads WHERE id = ?", err,
		      CM_TEXT(j->id));
	if (r == 0)
		tx->totals[CM_TOTAL_UPLOADS] -= cm_db_changed(tx->db);
	return r;
}

/* Removes a session that nobody has open, or notes when it was last used. */
static int end_idle(struct cm_store *s, const char *id, int64_t before_ms,
		    struct cm_sweep_result *ret, struct cm_error *err)
{
	struct idle_job j = {
		.id = id,
		.touched_ms = cm_bytes_session_touched(s->bytes, id),
	};
	int r;

	if (j.touched_ms < before_ms)
		j.touched_ms = 0;
	r = cm_index_write(s->index, idle_tx, &j, err);
	if (r < 0 || j.touched_ms > 0)
		return r;
	ret->uploads++;
	return cm_bytes_session_remove(s->bytes, id, err);
}

static int sweep_upload(struct cm_store *s, const char *id, int64_t before_ms,
			struct cm_sweep_result *ret, struct cm_error *err)
{
	struct idle_job in_use = {.id = id, .touched_ms = cm_now_ms()};
	struct cm_hasher *known = NULL;
	int64_t known_offset = 0;
	int r;

	/* Taken meanwhile, so that nobody opens what is about to go. */
	if (cm_sessions_take(s->sessions, id, &known, &known_offset, NULL) < 0)
		return cm_index_write(s->index, idle_tx, &in_use, err);
	r = end_idle(s, id, before_ms, ret, err);
	cm_sessions_give(s->sessions, id, known, known_offset);
	return r;
}

static int sweep_uploads(struct cm_store *s, struct cm_sweep_result *ret,
			 struct cm_error *err)
{
	int64_t now = cm_now_ms();
	struct idle_uploads u = {.before_ms = now - s->options.upload_ttl_ms};
	int64_t young = now - YOUNG_MS;
	int r = cm_uploads_ripen(s, young > u.before_ms ? young : u.before_ms,
				 err);

	if (r == 0)
		r = find_idle(s, &u, err);
	for (size_t i = 0; r == 0 && i < u.len; i++)
		r = sweep_upload(s, u.ids[i], u.before_ms, ret, err);
	if (u.len == UPLOADS_A_BATCH)
		ret->more = true;
	return r;
}

struct replaced_job {
	int64_t before_ms;
	int64_t removed;
	int64_t rows; /* changed for it */
	bool full;    /* there may be more */
};

static int remove_replaced(struct cm_tx *tx, struct replaced_job *j,
			   struct cm_error *err)
{
	struct cm_digest d;
	int64_t repo_id = 0, weight = 0;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT repo_id, digest FROM manifests"
			    " WHERE tags = 0 AND parents = 0 AND snapshot = 1"
			    " AND used_ms < ? ORDER BY used_ms LIMIT 1",
			    &st, err, CM_INT(j->before_ms));

	if (r <= 0)
		return r;
	repo_id = sqlite3_column_int64(st, 0);
	r = cm_column_digest(st, 1, &d, err);
	cm_stmt_reset(cm_take_ptr(st));
	if (r == 0)
		r = cm_manifest_weight(tx->db, repo_id, &d, &weight, err);
	if (r == 0)
		r = cm_manifest_remove(tx, repo_id, &d, tx->now_ms, err);
	if (r < 0)
		return r;
	j->removed++;
	j->rows += weight;
	return 1;
}

/* A snapshot may name many chunks: the batch is bounded by both. */
static int replaced_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct replaced_job *j = arg;
	int r = 1;

	while (r > 0 && j->removed < SWEEP_A_BATCH && j->rows < ROWS_A_BATCH)
		r = remove_replaced(tx, j, err);
	j->full = r > 0;
	return r < 0 ? r : 0;
}

static int sweep_replaced(struct cm_store *s, struct cm_sweep_result *ret,
			  struct cm_error *err)
{
	struct replaced_job j = {
		.before_ms = cm_now_ms() - s->options.replaced_ttl_ms,
	};
	int r;

	/* Not while it can't be written down who was pulled: a full disk. */
	if (cm_store_flush(s, NULL) < 0)
		return 0;
	r = cm_index_write(s->index, replaced_tx, &j, err);
	if (r < 0)
		return r;
	ret->manifests += j.removed;
	ret->more = ret->more || j.full;
	return 0;
}

/* A file that the index does not know, or knows in another encoding. */
static int sweep_file(struct cm_store *s, const struct cm_bytes_file *f,
		      struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_inflight_entry held;
	struct cm_blob_row row;
	int r = cm_index_reader(s->index, &db, err);

	if (r < 0 || !cm_inflight_try(s->inflight, &held, &f->digest))
		return r;
	r = cm_blob_find_any(db, &f->digest, &row, err);
	if (r == 0 ||
	    (r > 0 && (row.inline_id != 0 || row.info.encoding != f->encoding)))
		r = cm_bytes_remove(s->bytes, &f->digest, f->encoding, err);
	cm_inflight_leave(s->inflight, &held);
	return r < 0 ? r : 0;
}

static int sweep_files(struct cm_store *s, struct cm_error *err)
{
	struct cm_bytes_file files[WALK_A_BATCH];
	int n = cm_bytes_walk(s->bytes, files, WALK_A_BATCH, err);
	int r = n < 0 ? n : 0;

	for (int i = 0; r == 0 && i < n; i++)
		r = sweep_file(s, &files[i], err);
	return r;
}

/* A session's file whose row is gone: a crash between the two removals. */
static bool session_file_orphan(void *arg, const char *id)
{
	struct cm_store *s = arg;
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;

	return !cm_young_has(s->young, id, NULL) &&
	       cm_index_reader(s->index, &db, NULL) == 0 &&
	       cm_db_query(db, "SELECT 1 FROM uploads WHERE id = ?", &st, NULL,
			   CM_TEXT(id)) == 0;
}

/* Pieces of large manifests that an eviction, cut off by a crash, has left. */
static int release_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	bool *more = arg;
	int r = cm_manifest_release(tx, err);

	*more = r > 0;
	return r < 0 ? r : 0;
}

static int sweep_dying(struct cm_store *s, struct cm_sweep_result *ret,
		       struct cm_error *err)
{
	bool more = false;
	int r = cm_index_write(s->index, release_tx, &more, err);

	ret->more = ret->more || more;
	return r;
}

static void count_swept(struct cm_store *s, const struct cm_sweep_result *r)
{
	cm_count_evicted(s, "sweep",
			 &(struct cm_evict_result){
				 .manifests = r->manifests,
				 .blobs = r->blobs,
				 .bytes = r->bytes,
			 });
}

int cm_store_sweep(struct cm_store *s, struct cm_sweep_result *ret,
		   struct cm_error *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&s->sweep_one);
	r = sweep_uploads(s, ret, err);
	if (r == 0)
		r = sweep_replaced(s, ret, err);
	if (r == 0)
		r = sweep_dying(s, ret, err);
	if (r == 0)
		r = cm_store_reap(s, due_before(s), ret, err);
	if (r == 0)
		r = cm_store_fill_referrers(s, &ret->more, err);
	if (r == 0)
		r = sweep_files(s, err);
	if (r == 0)
		r = cm_bytes_clear_uploads(s->bytes, UPLOADS_A_BATCH,
					   session_file_orphan, s, err);
	pthread_mutex_unlock(&s->sweep_one);
	count_swept(s, ret);
	return r;
}
