/*
 * blob.c - finding, reading, mounting and removing blobs.
 */
#include <errno.h>
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

#define SEEK_PIECE     (256 << 10)
#define MOUNT_ASKS_MAX 64

struct cm_blob {
	struct cm_blob_row row;
	void *memory;	/* an inline blob's stored bytes */
	int fd;		/* -1: in memory, or taken */
	int64_t offset; /* of the content, for cm_blob_read() */
	struct cm_decoder *decoder;
};

static int no_blob(const char *repo, const struct cm_digest *d,
		   struct cm_error *err)
{
	char text[CM_DIGEST_TEXT_SIZE];

	return cm_error_set(err, CM_ERR_NOT_FOUND,
			    "repository \"%s\" has no blob %s", repo,
			    cm_digest_format(d, text));
}

/* ---- finding ------------------------------------------------------------ */

int cm_blob_find_leased(struct cm_store *s, struct cm_db *db, int64_t repo_id,
			const struct cm_digest *d, struct cm_blob_row *row,
			struct cm_error *err)
{
	bool alone;
	int r;

	cm_lease_take(s->leases, repo_id, d, cm_monotonic_ms());
	/*
	 * A sweep may have looked at the leases before ours was there, and
	 * have its say about what is unnamed. With none under way, what is
	 * found now is found, since the next one sees the lease; else it is
	 * looked for again when the sweep is done.
	 */
	alone = pthread_rwlock_tryrdlock(&s->sweep_lock) == 0;
	r = cm_blob_find(db, repo_id, d, row, err);
	if (alone) {
		pthread_rwlock_unlock(&s->sweep_lock);
	} else if (r > 0 && row->refs == 0) {
		pthread_rwlock_rdlock(&s->sweep_lock);
		r = cm_blob_find(db, repo_id, d, row, err);
		pthread_rwlock_unlock(&s->sweep_lock);
	}
	if (r <= 0)
		cm_lease_drop(s->leases, repo_id, d);
	return r;
}

static int look_up(struct cm_store *s, const char *repo,
		   const struct cm_digest *d, bool lease,
		   struct cm_blob_info *ret, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_blob_row row;
	int64_t repo_id = 0;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_repo_find(db, repo, &repo_id, err);
	if (r == 0 && repo_id != 0)
		r = lease ? cm_blob_find_leased(s, db, repo_id, d, &row, err)
			  : cm_blob_find(db, repo_id, d, &row, err);
	if (r == 0)
		return no_blob(repo, d, err);
	if (r < 0)
		return r;
	*ret = row.info;
	return 0;
}

int cm_store_blob_stat(struct cm_store *s, const char *repo,
		       const struct cm_digest *d, struct cm_blob_info *ret,
		       struct cm_error *err)
{
	return look_up(s, repo, d, true, ret, err);
}

int cm_store_blob_find(struct cm_store *s, const char *repo,
		       const struct cm_digest *d, struct cm_blob_info *ret,
		       struct cm_error *err)
{
	return look_up(s, repo, d, false, ret, err);
}

int cm_store_blobs_missing(struct cm_store *s, const char *repo,
			   const struct cm_digest *digests, size_t n,
			   bool *missing, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_blob_row row;
	int64_t repo_id = 0;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_repo_find(db, repo, &repo_id, err);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		missing[i] = true;
		if (repo_id == 0)
			continue;
		r = cm_blob_find_leased(s, db, repo_id, &digests[i], &row, err);
		missing[i] = r == 0;
	}
	return r < 0 ? r : 0;
}

/* ---- reading ------------------------------------------------------------ */

/* The file's length must be the row's; else the blob is damaged or lost. */
static int open_file(struct cm_store *s, struct cm_blob *b,
		     struct cm_error *err)
{
	int64_t size = 0;
	int r = cm_bytes_open_blob(s->bytes, &b->row.info.digest,
				   b->row.info.encoding, &b->fd, &size, err);

	if (r == 0 && size == b->row.info.stored_size)
		return 0;
	if (r < 0 && r != CM_ERR_NOT_FOUND)
		return r;
	if (b->fd >= 0)
		close(cm_take_fd(&b->fd));
	return cm_error_set(err, CM_ERR_CORRUPT,
			    "a blob's file is missing or has the wrong length");
}

static int load(struct cm_store *s, struct cm_db *db, struct cm_blob *b,
		struct cm_error *err)
{
	if (b->row.inline_id != 0)
		return cm_blob_load_inline(db, &b->row, &b->memory, err);
	return open_file(s, b, err);
}

/* 1: opened; 0: no such blob; <0. The row may be gone before its file is. */
static int find_and_load(struct cm_store *s, const char *repo,
			 const struct cm_digest *d, struct cm_blob *b,
			 struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int64_t repo_id = 0;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_repo_find(db, repo, &repo_id, err);
	if (r == 0 && repo_id != 0)
		r = cm_blob_find(db, repo_id, d, &b->row, err);
	if (r <= 0)
		return r;
	r = load(s, db, b, err);
	return r < 0 ? r : 1;
}

int cm_store_blob_open(struct cm_store *s, const char *repo,
		       const struct cm_digest *d, struct cm_blob **ret,
		       struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = calloc(1, sizeof(*b));
	struct cm_error why = {0};
	int r;

	if (!b)
		return cm_error_nomem(err);
	b->fd = -1;
	r = find_and_load(s, repo, d, b, &why);
	if (r == CM_ERR_CORRUPT && cm_store_condemn(s, d, NULL) >= 0)
		r = find_and_load(s, repo, d, b, &why);
	if (r == 0)
		return no_blob(repo, d, err);
	if (r < 0) {
		if (err)
			*err = why;
		return r;
	}
	*ret = cm_take_ptr(b);
	return 0;
}

int cm_blob_open_any(struct cm_store *s, const struct cm_digest *d,
		     struct cm_blob_row *ret_row, struct cm_blob **ret,
		     struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = calloc(1, sizeof(*b));
	cm_auto(reader) struct cm_db *db = NULL;
	int r = b ? cm_index_reader(s->index, &db, err) : cm_error_nomem(err);

	if (r < 0)
		return r;
	b->fd = -1;
	r = cm_blob_find_any(db, d, &b->row, err);
	if (r == 0)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "the store has no such blob");
	*ret_row = b->row;
	if (r > 0)
		r = load(s, db, b, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(b);
	return 0;
}

int cm_blob_open_row(struct cm_store *s, struct cm_db *db,
		     const struct cm_blob_row *row, struct cm_blob **ret,
		     struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return cm_error_nomem(err);
	b->fd = -1;
	b->row = *row;
	r = load(s, db, b, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(b);
	return 0;
}

int cm_blob_fd(const struct cm_blob *b)
{
	return b->fd;
}

const struct cm_blob_info *cm_blob_info(const struct cm_blob *b)
{
	return &b->row.info;
}

const void *cm_blob_memory(const struct cm_blob *b)
{
	return b->memory;
}

int cm_blob_take_fd(struct cm_blob *b)
{
	return cm_take_fd(&b->fd);
}

static struct cm_source source_of(const struct cm_blob *b)
{
	return (struct cm_source){
		.memory = b->memory,
		.fd = b->fd,
		.size = b->row.info.stored_size,
	};
}

static ssize_t read_plain(struct cm_blob *b, void *buf, size_t len,
			  struct cm_error *err)
{
	int64_t left = b->row.info.size - b->offset;

	if ((int64_t)len > left)
		len = (size_t)left;
	if (len == 0)
		return 0;
	if (!b->memory)
		return cm_bytes_read(b->fd, buf, len, b->offset, err);
	memcpy(buf, (char *)b->memory + b->offset, len);
	return (ssize_t)len;
}

static ssize_t read_decoded(struct cm_blob *b, void *buf, size_t len,
			    struct cm_error *err)
{
	struct cm_source src = source_of(b);
	int r;

	if (!b->decoder) {
		r = cm_decoder_new(&src, CM_STORED_WINDOW_LOG, &b->decoder,
				   err);
		if (r < 0)
			return r;
	}
	return cm_decoder_read(b->decoder, buf, len, err);
}

ssize_t cm_blob_read(struct cm_blob *b, void *buf, size_t len,
		     struct cm_error *err)
{
	ssize_t n;

	if (b->row.info.encoding == CM_ENCODING_ZSTD)
		n = read_decoded(b, buf, len, err);
	else
		n = read_plain(b, buf, len, err);
	if (n == 0 && len > 0 && b->offset != b->row.info.size)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "a stored blob ends early");
	if (n > 0)
		b->offset += n;
	return n;
}

int cm_blob_seek(struct cm_blob *b, int64_t offset, struct cm_error *err)
{
	cm_autofree char *buf = NULL;
	int64_t left = offset - b->offset;
	ssize_t n;

	if (left < 0 || offset > b->row.info.size)
		return cm_error_set(err, CM_ERR_RANGE,
				    "offset %lld is out of bounds",
				    (long long)offset);
	if (b->row.info.encoding == CM_ENCODING_IDENTITY) {
		b->offset = offset;
		return 0;
	}
	buf = malloc(SEEK_PIECE);
	if (!buf)
		return cm_error_nomem(err);
	for (; left > 0; left -= n) {
		n = cm_blob_read(b, buf,
				 left < SEEK_PIECE ? (size_t)left : SEEK_PIECE,
				 err);
		if (n < 0)
			return (int)n;
	}
	return 0;
}

int cm_blob_read_all(struct cm_blob *b, void **ret, struct cm_error *err)
{
	int64_t size = b->row.info.size, at = 0;
	cm_autofree char *bytes = malloc((size_t)size + 1);
	ssize_t n;

	if (!bytes)
		return cm_error_nomem(err);
	while (at < size) {
		n = cm_blob_read(b, bytes + at, (size_t)(size - at), err);
		if (n < 0)
			return (int)n;
		at += n;
	}
	bytes[size] = '\0';
	*ret = cm_take_ptr(bytes);
	return 0;
}

void cm_blob_close(struct cm_blob *b)
{
	if (!b)
		return;
	cm_decoder_free(b->decoder);
	if (b->fd >= 0)
		close(b->fd);
	free(b->memory);
	free(b);
}

/* ---- mounting ------------------------------------------------------------ */

struct mount_job {
	struct cm_leases *leases;
	const char *to;
	const char *from; /* NULL: `candidates` */
	int64_t *candidates;
	size_t candidates_len;
	const struct cm_digest *digest;
	int64_t to_id;
	int64_t size; /* of the blob that was found */
};

static int mount_from(struct cm_tx *tx, struct mount_job *j, int64_t from_id,
		      struct cm_error *err)
{
	struct cm_blob_row row;
	int r = cm_blob_find(tx->db, from_id, j->digest, &row, err);

	if (r <= 0)
		return r;
	j->size = row.info.size;
	r = cm_repo_make(tx, j->to, &j->to_id, err);
	if (r == 0)
		r = cm_link_add(tx, j->to_id, j->digest, row.info.size, err);
	/* Here, since no purge can come between the link and its lease. */
	if (r == 0)
		cm_lease_take(j->leases, j->to_id, j->digest,
			      cm_monotonic_ms());
	return r < 0 ? r : 1;
}

static int mount_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct mount_job *j = arg;
	int64_t from_id = 0;
	int r = 0;

	if (j->from) {
		r = cm_repo_find(tx->db, j->from, &from_id, err);
		if (r == 0 && from_id != 0)
			r = mount_from(tx, j, from_id, err);
	}
	for (size_t i = 0; r == 0 && i < j->candidates_len; i++)
		r = mount_from(tx, j, j->candidates[i], err);
	if (r == 0)
		return no_blob(j->from ? j->from : j->to, j->digest, err);
	return r < 0 ? r : 0;
}

/* The repositories that hold the blob and may be pulled from. */
static int find_candidates(struct cm_store *s, const struct cm_digest *d,
			   cm_store_may_pull_fn may_pull, void *arg,
			   int64_t *ret, size_t *ret_len, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const char *name;
	int r = cm_index_reader(s->index, &db, err);

	if (r < 0)
		return r;
	r = cm_db_query(db,
			"SELECT r.id, r.name FROM repo_blobs l CROSS JOIN"
			" repositories r ON r.id = l.repo_id"
			" WHERE l.digest = ? LIMIT ?",
			&st, err, CM_DIGEST(d), CM_INT(MOUNT_ASKS_MAX));
	for (*ret_len = 0; r > 0; r = cm_db_next(st, err)) {
		name = (const char *)sqlite3_column_text(st, 1);
		if (name && may_pull(arg, name))
			ret[(*ret_len)++] = sqlite3_column_int64(st, 0);
	}
	return r;
}

int cm_store_blob_mount(struct cm_store *s, const char *from, const char *to,
			const struct cm_digest *d,
			cm_store_may_pull_fn may_pull, void *arg,
			struct cm_error *err)
{
	int64_t candidates[MOUNT_ASKS_MAX];
	struct mount_job j = {
		.leases = s->leases,
		.to = to,
		.from = from,
		.candidates = candidates,
		.digest = d,
	};
	int r = 0;

	if (!from)
		r = find_candidates(s, d, may_pull, arg, candidates,
				    &j.candidates_len, err);
	if (r == 0 && !from && j.candidates_len == 0)
		return no_blob(to, d, err);
	if (r == 0)
		r = cm_limit_write(s, to, &j.size, mount_tx, &j, err);
	return r;
}

/* ---- removing ------------------------------------------------------------ */

void cm_doomed_finish(struct cm_store *s, struct cm_doomed *d)
{
	if (!d->taken)
		return;
	if (d->removed && d->row.inline_id == 0)
		cm_bytes_remove(s->bytes, &d->row.info.digest,
				d->row.info.encoding, NULL);
	cm_inflight_leave(s->inflight, &d->entry);
	d->taken = false;
}

struct unlink_job {
	const char *repo;
	const struct cm_digest *digest;
	struct cm_doomed doomed;
};

static int unlink_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct unlink_job *j = arg;
	int64_t repo_id = 0;
	int r = cm_repo_find(tx->db, j->repo, &repo_id, err);

	if (r == 0 && repo_id != 0)
		r = cm_blob_find(tx->db, repo_id, j->digest, &j->doomed.row,
				 err);
	if (r == 0)
		return no_blob(j->repo, j->digest, err);
	if (r > 0 && j->doomed.row.refs > 0)
		return cm_error_set(err, CM_ERR_PRECONDITION,
				    "a manifest of repository \"%s\" names the "
				    "blob: delete that first",
				    j->repo);
	if (r > 0)
		r = cm_link_remove(tx, repo_id, j->digest, &j->doomed.row, err);
	j->doomed.removed = r > 0;
	return r < 0 ? r : 0;
}

int cm_store_blob_delete(struct cm_store *s, const char *repo,
			 const struct cm_digest *d, struct cm_error *err)
{
	struct unlink_job j = {.repo = repo, .digest = d};
	int r;

	cm_inflight_enter(s->inflight, &j.doomed.entry, d);
	j.doomed.taken = true;
	r = cm_index_write(s->index, unlink_tx, &j, err);
	if (r < 0)
		j.doomed.removed = false;
	cm_doomed_finish(s, &j.doomed);
	return r;
}
