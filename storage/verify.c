/*
 * verify.c - reading stored bytes again, and putting away what is damaged.
 */
#include <string.h>

#include "store_private.h"

#define PIECE	      (256 << 10)
#define UNCACHE_EVERY 32 /* pieces */

/* What reading at a pace needs to know. */
struct reading {
	struct cm_blob *blob;
	cm_pace_fn pace; /* NULL: at once, through the cache */
	void *arg;
	bool uncache;
	int64_t offset; /* of the content */
	int pieces;
};

/* How far into the stored bytes so much content reaches, about. */
static int64_t stored(const struct cm_blob_info *info, int64_t content)
{
	double part = info->size > 0 ? (double)content / (double)info->size : 1;

	return (int64_t)(part * (double)info->stored_size);
}

static int after_piece(struct reading *rd, ssize_t n, struct cm_error *err)
{
	const struct cm_blob_info *info = cm_blob_info(rd->blob);
	int64_t before = stored(info, rd->offset);

	rd->offset += n;
	if (!rd->pace)
		return 0;
	if (rd->uncache && (n == 0 || ++rd->pieces % UNCACHE_EVERY == 0))
		cm_bytes_uncache(cm_blob_fd(rd->blob),
				 n == 0 ? info->stored_size : before);
	if (rd->pace(rd->arg, stored(info, rd->offset) - before) != 0)
		return cm_error_set(err, CM_ERR_CANCELLED, "asked to stop");
	return 0;
}

static int hash_content(struct reading *rd, struct cm_digest *ret,
			struct cm_error *err)
{
	int64_t size = cm_blob_info(rd->blob)->size;
	size_t piece = size < PIECE ? (size_t)size + 1 : PIECE;
	cm_autofree char *buf = malloc(piece);
	cm_auto(hasher) struct cm_hasher *h = NULL;
	ssize_t n = 1;
	int r = buf ? cm_hasher_new(&h, err) : cm_error_nomem(err);

	while (r == 0 && n > 0) {
		n = cm_blob_read(rd->blob, buf, piece, err);
		if (n < 0)
			return (int)n;
		r = cm_hasher_update(h, buf, (size_t)n, err);
		if (r == 0)
			r = after_piece(rd, n, err);
	}
	return r == 0 ? cm_hasher_final(h, ret, err) : r;
}

int cm_store_check_content(struct cm_blob *b, cm_pace_fn pace, void *arg,
			   struct cm_error *err)
{
	int fd = cm_blob_fd(b);
	struct reading rd = {
		.blob = b,
		.pace = pace,
		.arg = arg,
		/* What clients have warmed stays warm. */
		.uncache = pace && fd >= 0 && !cm_bytes_is_cached(fd),
	};
	struct cm_digest d;
	int r = hash_content(&rd, &d, err);

	if (r == 0 && !cm_digest_equal(&d, &cm_blob_info(b)->digest))
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "the stored bytes are not what the digest "
				    "says");
	return r;
}

static int forget_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct cm_digest *d = arg;

	return cm_blob_forget(tx, d, err);
}

/* CM_ERR_CORRUPT if it is damaged; `ret` then says where it lies. */
static int check_now(struct cm_store *s, const struct cm_digest *d,
		     struct cm_blob_row *ret, struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	int r = cm_blob_open_any(s, d, ret, &b, err);

	return r == 0 ? cm_store_check_content(b, NULL, NULL, err) : r;
}

int cm_store_condemn(struct cm_store *s, const struct cm_digest *d,
		     struct cm_error *err)
{
	struct cm_digest digest = *d;
	struct cm_inflight_entry held;
	struct cm_blob_row row = {0};
	bool gone = false;
	int r;

	cm_inflight_enter(s->inflight, &held, &digest);
	/* It may have been pushed again, or removed, since it was read. */
	r = check_now(s, &digest, &row, err);
	if (r == CM_ERR_CORRUPT) {
		r = cm_index_write(s->index, forget_tx, &digest, err);
		gone = r > 0;
		if (gone && row.inline_id == 0)
			r = cm_bytes_quarantine(s->bytes, &digest,
						row.info.encoding, err);
	}
	cm_inflight_leave(s->inflight, &held);
	if (gone)
		cm_store_trim_quarantine(s, NULL);
	return r < 0 && r != CM_ERR_NOT_FOUND ? r : gone;
}

int cm_store_trim_quarantine(struct cm_store *s, struct cm_error *err)
{
	return cm_bytes_quarantine_trim(s->bytes, CM_QUARANTINE_SIZE,
					CM_QUARANTINE_AGE_MS, err);
}

/* Does the repository have it? Asks without leasing it. */
static int require_link(struct cm_store *s, const char *repo,
			const struct cm_digest *d, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_blob_row row;
	int64_t repo_id = 0;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_repo_find(db, repo, &repo_id, err);
	if (r == 0 && repo_id != 0)
		r = cm_blob_find(db, repo_id, d, &row, err);
	if (r == 0)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "repository \"%s\" has no such blob", repo);
	return r < 0 ? r : 0;
}

int cm_store_blob_verify(struct cm_store *s, const char *repo,
			 const struct cm_digest *d, struct cm_error *err)
{
	struct cm_blob_row row;
	int r = require_link(s, repo, d, err);

	if (r == 0)
		r = check_now(s, d, &row, err);
	if (r == CM_ERR_CORRUPT && cm_store_condemn(s, d, NULL) < 0)
		return cm_error_wrap(err, "cannot be moved to quarantine");
	return r;
}
