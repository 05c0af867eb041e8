/*
 * publish.c - the last steps of an upload: from checked bytes to a blob.
 *
 * The digest is held (inflight.h) from the look into the index until the
 * commit, so nobody removes a file of that name meanwhile.
 */
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

/* What the index transaction of a publish needs. */
struct publish_job {
	struct cm_leases *leases;
	const char *repo;
	const struct cm_candidate *candidate;
	const void *inline_data;
	bool exists; /* the blob was there: only link it */
	bool broken; /* its row was there, its file is lost or cut */
	int64_t repo_id;
};

static int end_session(struct cm_tx *tx, const char *id, struct cm_error *err)
{
	int r;

	if (!id)
		return 0;
	r = cm_db_run(tx->db, "DELETE FROM uploads WHERE id = ?", err,
		      CM_TEXT(id));
	if (r == 0)
		tx->totals[CM_TOTAL_UPLOADS] -= cm_db_changed(tx->db);
	return r;
}

static int publish_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct publish_job *j = arg;
	const struct cm_blob_info *info = &j->candidate->info;
	int r = cm_repo_make(tx, j->repo, &j->repo_id, err);

	if (r == 0 && j->broken)
		r = cm_blob_mend(tx, info, j->inline_data, err);
	else if (r == 0 && !j->exists)
		r = cm_blob_insert(tx, info, j->inline_data, err);
	if (r == 0)
		r = cm_link_add(tx, j->repo_id, &info->digest, info->size, err);
	if (r == 0)
		r = cm_alias_add(tx, j->candidate->name, &info->digest, err);
	if (r == 0)
		r = end_session(tx, j->candidate->session, err);
	/* Here, since no purge can come between the link and its lease. */
	if (r == 0)
		cm_lease_take(j->leases, j->repo_id, &info->digest,
			      cm_monotonic_ms());
	return r;
}

/* Is the file of the row there, and as long as the row says? */
static bool file_whole(struct cm_store *s, const struct cm_blob_row *row)
{
	cm_autofd int fd = -1;
	int64_t size = 0;

	return row->inline_id != 0 ||
	       (cm_bytes_open_blob(s->bytes, &row->info.digest,
				   row->info.encoding, &fd, &size, NULL) == 0 &&
		size == row->info.stored_size);
}

/*
 * Is the blob in the store already? Then how it lies there is in `info`. One
 * whose file is lost is mended with what has just been received.
 */
static int find_existing(struct cm_store *s, struct publish_job *j,
			 struct cm_blob_info *info, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_blob_row row;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_blob_find_any(db, &info->digest, &row, err);
	if (r <= 0)
		return r;
	j->exists = file_whole(s, &row);
	j->broken = !j->exists;
	if (j->exists)
		*info = row.info;
	return 0;
}

/* Compresses into a second file; what `c` says of the bytes follows. */
static int compress(struct cm_store *s, struct cm_candidate *c,
		    struct cm_temp *small, struct cm_error *err)
{
	struct cm_source src = {.fd = c->temp->fd, .size = c->info.size};
	int64_t size;
	int r = cm_bytes_temp_new(s->bytes, small, err);

	if (r < 0)
		return r;
	r = cm_compress_file(&src, small->fd, &size, err);
	if (r == 0)
		r = cm_limit_take(s, small, (size_t)size, err);
	if (r < 0) {
		cm_bytes_temp_discard(s->bytes, small);
		return r;
	}
	c->info.encoding = CM_ENCODING_ZSTD;
	c->info.stored_size = size;
	return 0;
}

/*
 * The file of a session keeps its name until the commit: whatever happens
 * before, the session is still there with all that was acknowledged.
 */
static int place_file(struct cm_store *s, struct cm_candidate *c,
		      struct cm_error *err)
{
	struct cm_source src = {.fd = c->temp->fd, .size = c->info.size};
	struct cm_temp small = {.fd = -1};
	int r;

	/* Failing to compress is no reason to fail: the bytes are good. */
	if (c->info.encoding == CM_ENCODING_IDENTITY && cm_compress_pays(&src))
		compress(s, c, &small, NULL);
	if (small.fd < 0)
		return cm_bytes_publish(s->bytes, c->temp, c->session != NULL,
					&c->info.digest, c->info.encoding, err);
	r = cm_bytes_publish(s->bytes, &small, false, &c->info.digest,
			     c->info.encoding, err);
	cm_bytes_temp_discard(s->bytes, &small);
	return r;
}

/* Spills inline-sized bytes that came in a file, to keep inside the index. */
static int load_inline(const struct cm_candidate *c, void **ret,
		       struct cm_error *err)
{
	size_t len = (size_t)c->info.stored_size;
	cm_autofree char *data = malloc(len + 1);
	ssize_t n;

	if (!data)
		return cm_error_nomem(err);
	n = cm_bytes_read(c->temp->fd, data, len, 0, err);
	if (n < 0)
		return (int)n;
	if ((size_t)n != len)
		return cm_error_set(err, CM_ERR_IO,
				    "an upload's file ends "
				    "early");
	*ret = cm_take_ptr(data);
	return 0;
}

static int publish_held(struct cm_store *s, struct publish_job *j,
			struct cm_candidate *c, struct cm_error *err)
{
	cm_autofree void *loaded = NULL;
	bool in_file = false;
	int r = find_existing(s, j, &c->info, err);

	if (r == 0 && !j->exists) {
		if (c->memory) {
			j->inline_data = c->memory;
		} else if (c->info.stored_size <= CM_INLINE_MAX) {
			r = load_inline(c, &loaded, err);
			j->inline_data = loaded;
		} else {
			r = place_file(s, c, err);
			in_file = r == 0;
		}
	}
	if (r == 0)
		r = cm_limit_write(s, j->repo, &c->info.size, publish_tx, j,
				   err);
	/* Without its row the file is nobody's. */
	if (r < 0 && in_file && !j->broken)
		cm_bytes_remove(s->bytes, &c->info.digest, c->info.encoding,
				NULL);
	return r;
}

int cm_store_publish(struct cm_store *s, const char *repo,
		     struct cm_candidate *candidate, struct cm_error *err)
{
	struct publish_job j = {
		.leases = s->leases,
		.repo = repo,
		.candidate = candidate,
	};
	struct cm_inflight_entry held;
	int r = 0;

	/* What lies in a file was counted as it came. */
	if (candidate->memory)
		r = cm_limit_admit(s, candidate->info.stored_size, err);
	if (r < 0)
		return r;
	cm_inflight_enter(s->inflight, &held, &candidate->info.digest);
	r = publish_held(s, &j, candidate, err);
	cm_inflight_leave(s->inflight, &held);
	return r;
}
