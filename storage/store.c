/*
 * store.c - opening and closing, manifests, totals: the store's front.
 */
#include <stdatomic.h>
#include <string.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "index_evict.h"
#include "store_private.h"

#define DEFAULT_LEASE_MS      (3600 * 1000LL)
#define DEFAULT_UPLOAD_TTL_MS (24 * 3600 * 1000LL)
#define DEFAULT_REPLACED_MS   (24 * 3600 * 1000LL)

static int64_t or_default(int64_t value, int64_t otherwise)
{
	return value > 0 ? value : otherwise;
}

/* ---- what survives a restart of the leases ------------------------------- */

struct state_job {
	int64_t until_ms; /* wall clock: leases of an earlier run end */
	bool clean;
};

static int opened_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct state_job *j = arg;
	int64_t clean = 0, open_before = 0;
	int r = cm_state_read(tx->db, "closed_cleanly", &clean, err);

	if (r == 0)
		r = cm_state_read(tx->db, "leased_until_ms", &j->until_ms, err);
	if (r == 0)
		r = cm_state_read(tx->db, "opened", &open_before, err);
	if (r == 0)
		r = cm_state_write(tx, "closed_cleanly", 0, err);
	if (r == 0)
		r = cm_state_write(tx, "opened", open_before + 1, err);
	j->clean = clean != 0 || open_before == 0;
	return r;
}

static int closed_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct state_job *j = arg;
	int r = cm_state_write(tx, "closed_cleanly", 1, err);

	if (r == 0)
		r = cm_state_write(tx, "leased_until_ms", j->until_ms, err);
	return r;
}

/*
 * Leases of an earlier run are in their file, unless the machine was started
 * since, or the file was lost. Then what it promised is kept by holding
 * everything for as long as its last lease may last. On a full disk that this
 * run is open can't be written down: it can serve, and purge, all the same;
 * cm_store_check_writable() writes it later.
 */
static int restore_leases(struct cm_store *s, struct cm_error *err)
{
	struct state_job j = {0};
	int64_t hold_ms;
	int r = cm_index_write(s->index, opened_tx, &j, err);

	if (r == CM_ERR_NO_SPACE)
		j.clean = false;
	else if (r < 0)
		return r;
	if (cm_leases_restored(s->leases))
		return 0;
	hold_ms = j.clean ? j.until_ms - cm_now_ms() : s->options.lease_ms;
	if (hold_ms > s->options.lease_ms)
		hold_ms = s->options.lease_ms; /* the clock jumped */
	if (hold_ms > 0)
		cm_leases_hold_all(s->leases, cm_monotonic_ms() + hold_ms);
	return 0;
}

static void save_leases(struct cm_store *s)
{
	int64_t left = cm_leases_end(s->leases) - cm_monotonic_ms();
	struct state_job j = {0};

	if (left > 0)
		j.until_ms = cm_now_ms() + left;
	cm_index_write(s->index, closed_tx, &j, NULL);
}

/* ---- opening and closing --------------------------------------------------
 */

static void say_what_helps(const char *data_dir, struct cm_error *err)
{
	char why[CM_ERROR_TEXT_MAX] = "the index is damaged";

	if (err)
		memcpy(why, err->text, sizeof(why));
	cm_error_set(err, CM_ERR_CORRUPT,
		     "%.150s/index.db: %.150s; to rebuild the index, run: "
		     "cachemountd rebuild --data %.150s",
		     data_dir, why, data_dir);
}

static int open_parts(struct cm_store *s, struct cm_error *err)
{
	cm_autofree char *path = NULL;
	int r = cm_bytes_open(s->options.data_dir, &s->bytes, err);

	if (r == 0)
		r = cm_bytes_index_path(s->bytes, &path, err);
	if (r == 0)
		r = cm_bytes_check_index(s->bytes, err);
	if (r == 0)
		r = cm_index_open(path, &s->index, err);
	if (r == CM_ERR_CORRUPT)
		say_what_helps(s->options.data_dir, err);
	else if (r < 0 && path)
		cm_error_wrap(err, "%s", path);
	if (r == 0)
		r = cm_leases_new(s->options.lease_ms,
				  cm_bytes_open_leases(s->bytes), &s->leases,
				  err);
	if (r == 0)
		r = cm_inflight_new(&s->inflight, err);
	if (r == 0)
		r = cm_sessions_new(&s->sessions, err);
	if (r == 0)
		r = cm_young_new(&s->young, err);
	if (r == 0)
		r = cm_notes_new(s, &s->notes, err);
	if (r == 0)
		r = cm_evictor_new(s, &s->evictor, err);
	if (r == 0)
		r = restore_leases(s, err);
	if (r == 0)
		r = cm_limit_init(s, err);
	if (r == 0)
		r = cm_notes_start(s->notes, err);
	if (r == 0)
		r = cm_evictor_start(s->evictor, err);
	return r;
}

static void free_store(struct cm_store *s)
{
	cm_evictor_stop(s->evictor);
	cm_notes_stop(s->notes);
	cm_evictor_free(s->evictor);
	cm_notes_free(s->notes);
	cm_sessions_free(s->sessions);
	cm_young_free(s->young);
	cm_inflight_free(s->inflight);
	cm_leases_free(s->leases);
	cm_scrub_free(s->scrub);
	cm_index_close(s->index);
	cm_bytes_close(s->bytes);
	pthread_mutex_destroy(&s->sweep_one);
	pthread_mutex_destroy(&s->backup.lock);
	pthread_rwlock_destroy(&s->sweep_lock);
	free(s);
}

/* A stream of readers must not keep the sweep out for ever. */
static void init_sweep_lock(struct cm_store *s)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->sweep_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

int cm_store_open(const struct cm_store_options *options, struct cm_store **ret,
		  struct cm_error *err)
{
	struct cm_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return cm_error_nomem(err);
	s->options = *options;
	s->options.lease_ms = or_default(options->lease_ms, DEFAULT_LEASE_MS);
	s->options.upload_ttl_ms =
		or_default(options->upload_ttl_ms, DEFAULT_UPLOAD_TTL_MS);
	s->options.replaced_ttl_ms =
		or_default(options->replaced_ttl_ms, DEFAULT_REPLACED_MS);
	init_sweep_lock(s);
	pthread_mutex_init(&s->sweep_one, NULL);
	pthread_mutex_init(&s->backup.lock, NULL);
	r = open_parts(s, err);
	s->options.data_dir = NULL; /* they were borrowed */
	s->options.quotas = NULL;
	if (r < 0) {
		free_store(s);
		return r;
	}
	*ret = s;
	return 0;
}

void cm_store_close(struct cm_store *s)
{
	if (!s)
		return;
	cm_evictor_stop(s->evictor);
	cm_notes_stop(s->notes);
	cm_uploads_ripen(s, INT64_MAX, NULL);
	cm_store_flush(s, NULL);
	save_leases(s);
	free_store(s);
}

static int touch_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	int r = cm_state_write(tx, "checked_ms", tx->now_ms, err);

	(void)arg;
	return r == 0 ? cm_state_write(tx, "closed_cleanly", 0, err) : r;
}

int cm_store_check_writable(struct cm_store *s, struct cm_error *err)
{
	struct cm_temp probe = {.fd = -1};
	int r = cm_bytes_temp_new(s->bytes, &probe, err);

	if (r == 0)
		r = cm_bytes_write(probe.fd, "x", 1, 0, err);
	cm_bytes_temp_discard(s->bytes, &probe);
	if (r == 0)
		r = cm_index_write(s->index, touch_tx, NULL, err);
	return r;
}

/* ---- manifests ------------------------------------------------------------
 */

/* A manifest too large to lie in the index becomes a file first. */
static int place_large(struct cm_store *s, const struct cm_manifest_put *put,
		       struct cm_blob_info *info, struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_digest d = info->digest;
	int r = cm_upload_open_single(s, put->repo, &u, err);

	if (r == 0)
		r = cm_upload_append(u, put->bytes, put->len, err);
	if (r == 0)
		r = cm_upload_commit(u, &d, info, err);
	return r;
}

/*
 * The promises to whoever prepared this manifest have been kept. One that no
 * tag names stays leased, for the index or the tag that follows.
 */
static void drop_leases(struct cm_store *s, const struct cm_manifest_put_job *j)
{
	const struct cm_manifest *m = j->put->parsed;

	for (size_t i = 0; i < m->descriptors_len; i++)
		cm_lease_drop(s->leases, j->repo_id, &m->descriptors[i].digest);
	if (!j->inline_data) /* its upload's */
		cm_lease_drop(s->leases, j->repo_id, &j->info->digest);
	if (j->put->tag)
		cm_lease_drop(s->leases, j->repo_id, &j->info->digest);
}

int cm_store_manifest_put(struct cm_store *s, const struct cm_manifest_put *put,
			  struct cm_digest *ret_digest, struct cm_error *err)
{
	struct cm_blob_info info = {
		.size = (int64_t)put->len,
		.stored_size = (int64_t)put->len,
	};
	struct cm_manifest_put_job j = {
		.put = put,
		.info = &info,
		.leases = s->leases,
		.ret_current = ret_digest,
	};
	int r = cm_digest_of(put->bytes, put->len, &info.digest, err);

	if (r == 0)
		r = cm_limit_admit(s, info.size, err);
	if (r == 0 && put->len > CM_INLINE_MAX)
		r = place_large(s, put, &info, err);
	else
		j.inline_data = put->bytes;
	j.snapshot = put->parsed->artifact_type &&
		     strcmp(put->parsed->artifact_type, CM_MEDIA_SNAPSHOT) == 0;
	if (r == 0)
		r = cm_limit_write(s, put->repo, &info.size, cm_manifest_put_tx,
				   &j, err);
	if (r < 0) {
		if (j.repo_id != 0)
			cm_lease_drop(s->leases, j.repo_id, &info.digest);
		return r;
	}
	*ret_digest = info.digest;
	drop_leases(s, &j);
	return 0;
}

static int no_manifest(const char *repo, const char *tag,
		       const struct cm_digest *d, struct cm_error *err)
{
	char text[CM_DIGEST_TEXT_SIZE];

	return cm_error_set(err, CM_ERR_NOT_FOUND,
			    "repository \"%s\" has no manifest %s", repo,
			    tag ? tag : cm_digest_format(d, text));
}

/* Is a manifest that was found, and leased, still there? 1, 0, <0. */
static int still_there(struct cm_store *s, struct cm_db *db, int64_t repo_id,
		       const struct cm_digest *d, uint64_t generation,
		       struct cm_error *err)
{
	struct cm_manifest_row again = {0};
	int r = 1;

	if (cm_lease_condemned(s->leases, repo_id, d))
		r = 0;
	else if (cm_leases_generation(s->leases) != generation)
		r = cm_manifest_find(db, repo_id, NULL, d, &again, err);
	free(again.media_type);
	if (r <= 0)
		cm_lease_drop(s->leases, repo_id, d);
	return r;
}

/* Finds it, so that no eviction takes it from whoever is told: lease.h. */
static int find_leased(struct cm_store *s, struct cm_db *db, int64_t repo_id,
		       const char *tag, const struct cm_digest *d,
		       struct cm_manifest_row *row, struct cm_blob_row *blob,
		       struct cm_error *err)
{
	uint64_t generation = cm_leases_generation(s->leases);
	int r = cm_manifest_find(db, repo_id, tag, d, row, err);

	if (r > 0)
		r = cm_blob_find_leased(s, db, repo_id, &row->digest, blob,
					err);
	if (r > 0)
		r = still_there(s, db, repo_id, &row->digest, generation, err);
	return r;
}

/* A tag that was evicted, and would have been an answer. */
static void note_ghost(struct cm_store *s, struct cm_db *db, int64_t repo_id,
		       const char *tag)
{
	int64_t bytes;

	if (!tag || cm_ghost_find(db, repo_id, tag, &bytes, NULL) <= 0)
		return;
	cm_store_counter_add(s, "ghost_hits", 1);
	cm_store_counter_add(s, "ghost_bytes", bytes);
}

/* 1: found; 0: not; <0. */
static int find_manifest(struct cm_store *s, const char *repo, const char *tag,
			 const struct cm_digest *d, struct cm_manifest_row *row,
			 int64_t *ret_repo_id, struct cm_blob_row *blob,
			 struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int r = cm_index_reader(s->index, &db, err);

	*ret_repo_id = 0;
	if (r == 0)
		r = cm_repo_find(db, repo, ret_repo_id, err);
	if (r < 0 || *ret_repo_id == 0)
		return r;
	r = find_leased(s, db, *ret_repo_id, tag, d, row, blob, err);
	if (r == 0)
		note_ghost(s, db, *ret_repo_id, tag);
	return r;
}

static int load_bytes(struct cm_store *s, const char *repo,
		      struct cm_stored_manifest *m, struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	int r = cm_store_blob_open(s, repo, &m->digest, &b, err);

	if (r == 0)
		r = cm_blob_read_all(b, &m->bytes, err);
	return r;
}

int cm_store_manifest_get(struct cm_store *s, const char *repo, const char *tag,
			  const struct cm_digest *d, bool with_bytes,
			  struct cm_stored_manifest *ret, struct cm_error *err)
{
	struct cm_manifest_row row = {0};
	struct cm_blob_row blob;
	int64_t repo_id;
	int r = find_manifest(s, repo, tag, d, &row, &repo_id, &blob, err);

	if (r == 0)
		r = no_manifest(repo, tag, d, err);
	if (r < 0) {
		free(row.media_type);
		return r;
	}
	*ret = (struct cm_stored_manifest){
		.digest = row.digest,
		.name = row.name,
		.media_type = row.media_type,
		.size = blob.info.size,
	};
	r = with_bytes ? load_bytes(s, repo, ret, err) : 0;
	if (r < 0) {
		cm_stored_manifest_release(ret);
		return r;
	}
	cm_notes_pulled(s->notes, repo_id, tag, &ret->digest);
	return 0;
}

int64_t cm_store_leases(struct cm_store *s)
{
	return cm_leases_count(s->leases, cm_monotonic_ms());
}

void cm_stored_manifest_release(struct cm_stored_manifest *m)
{
	free(m->media_type);
	free(m->bytes);
	memset(m, 0, sizeof(*m));
}

int cm_store_manifest_delete(struct cm_store *s, const char *repo,
			     const struct cm_digest *d, struct cm_error *err)
{
	struct cm_delete_job j = {.repo = repo, .digest = d};

	return cm_index_write(s->index, cm_manifest_delete_tx, &j, err);
}

int cm_store_tag_delete(struct cm_store *s, const char *repo, const char *tag,
			struct cm_error *err)
{
	struct cm_delete_job j = {.repo = repo, .tag = tag};

	return cm_index_write(s->index, cm_tag_delete_tx, &j, err);
}

/* ---- totals ---------------------------------------------------------------
 */

int cm_store_stats(struct cm_store *s, struct cm_store_stats *ret,
		   struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int64_t totals[CM_TOTALS_LEN], idle = 0;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_index_totals(db, totals, err);
	if (r == 0)
		r = cm_evict_idle(db, cm_now_ms(), &idle, err);
	if (r < 0)
		return r;
	*ret = (struct cm_store_stats){
		.repositories = totals[CM_TOTAL_REPOSITORIES],
		.tags = totals[CM_TOTAL_TAGS],
		.manifests = totals[CM_TOTAL_MANIFESTS],
		.blobs = totals[CM_TOTAL_BLOBS],
		.content_bytes = totals[CM_TOTAL_CONTENT_BYTES],
		.stored_bytes = totals[CM_TOTAL_STORED_BYTES],
		.referenced_bytes = totals[CM_TOTAL_REFERENCED_BYTES],
		.uploads = totals[CM_TOTAL_UPLOADS] +
			   (int64_t)cm_young_count(s->young),
		.quarantined = totals[CM_TOTAL_QUARANTINED],
		.limit_bytes = s->limit.hard,
		.high_bytes = s->limit.high,
		.low_bytes = s->limit.low,
		.file_bytes = totals[CM_TOTAL_FILE_BYTES],
		.index_bytes = cm_index_bytes(s->index),
		.upload_bytes = cm_bytes_uploads(s->bytes),
		.quarantine_bytes = cm_bytes_quarantined(s->bytes),
		.backup_bytes = cm_bytes_backed_up(s->bytes),
		.pinned_tags = totals[CM_TOTAL_PINNED_TAGS],
		.pinned_bytes = totals[CM_TOTAL_PINNED_BYTES],
		.longest_idle_ms = idle,
		.slowest_batch_us = atomic_load(&s->slowest_batch_us),
	};
	ret->used_bytes = ret->file_bytes + ret->index_bytes +
			  ret->upload_bytes + ret->quarantine_bytes +
			  ret->backup_bytes;
	cm_evictor_state(s->evictor, &ret->eviction_stuck,
			 &ret->last_evicted_idle_ms);
	return 0;
}
