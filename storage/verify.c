/*
 * verify.c - reading stored bytes again, and putting away what is damaged.
 */
#include <string.h>

#include "store_private.h"

#define PIECE (256 << 10)

/* Reads the content to the end: is it what the digest says? */
static int check_content(struct cm_blob *b, struct cm_error *err)
{
	cm_autofree char *buf = malloc(PIECE);
	cm_auto(hasher) struct cm_hasher *h = NULL;
	struct cm_digest d;
	ssize_t n = 1;
	int r = buf ? cm_hasher_new(&h, err) : cm_error_nomem(err);

	while (r == 0 && n > 0) {
		n = cm_blob_read(b, buf, PIECE, err);
		if (n < 0)
			return (int)n;
		r = cm_hasher_update(h, buf, (size_t)n, err);
	}
	if (r == 0)
		r = cm_hasher_final(h, &d, err);
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

	return r == 0 ? check_content(b, err) : r;
}

int cm_store_condemn(struct cm_store *s, const struct cm_digest *d,
		     struct cm_error *err)
{
	struct cm_digest digest = *d;
	struct cm_inflight_entry held;
	struct cm_blob_row row = {0};
	int r;

	cm_inflight_enter(s->inflight, &held, &digest);
	/* It may have been pushed again, or removed, since it was read. */
	r = check_now(s, &digest, &row, err);
	if (r == CM_ERR_CORRUPT) {
		r = cm_index_write(s->index, forget_tx, &digest, err);
		if (r > 0 && row.inline_id == 0)
			r = cm_bytes_quarantine(s->bytes, &digest,
						row.info.encoding, err);
	}
	cm_inflight_leave(s->inflight, &held);
	return r < 0 && r != CM_ERR_NOT_FOUND ? r : 0;
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
