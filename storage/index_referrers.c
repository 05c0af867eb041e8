/*
 * index_referrers.c - which manifests name a subject (distribution-spec,
 * "Listing Referrers").
 *
 * A row says that a manifest of the repository has a subject, which need not
 * exist. It goes with that manifest and with nothing else: a subject may be
 * removed and pushed again, and finds its referrers as they were.
 *
 * Only what a list is found and filtered by is kept here. Annotations, which
 * may be megabytes, are read from the manifest's own bytes.
 */
#include <string.h>

#include "index.h"

static struct cm_bind bind_subject(const struct cm_any_digest *d)
{
	size_t len;
	const uint8_t *bytes = cm_any_digest_bytes(d, &len);

	return CM_BLOB(bytes, len);
}

int cm_referrer_add(struct cm_tx *tx, int64_t repo_id,
		    const struct cm_digest *d, const struct cm_manifest *m,
		    struct cm_error *err)
{
	if (!m->has_subject)
		return 0;
	return cm_db_run(tx->db,
			 "INSERT OR IGNORE INTO referrers(repo_id, subject,"
			 " manifest, artifact_type) VALUES(?, ?, ?, ?)",
			 err, CM_INT(repo_id), bind_subject(&m->subject),
			 CM_DIGEST(d), CM_TEXT(cm_manifest_referrer_type(m)));
}

int cm_referrer_remove(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "DELETE FROM referrers"
			 " WHERE repo_id = ? AND manifest = ?",
			 err, CM_INT(repo_id), CM_DIGEST(d));
}

/* ---- listing --------------------------------------------------------------
 */

#define COLUMNS                                                                \
	"SELECT r.manifest, m.media_type, r.artifact_type, b.size"             \
	" FROM referrers r"                                                    \
	" CROSS JOIN manifests m ON m.repo_id = r.repo_id"                     \
	"  AND m.digest = r.manifest"                                          \
	" CROSS JOIN blobs b ON b.digest = r.manifest"                         \
	" WHERE r.repo_id = ? AND r.subject = ? AND r.manifest > ?"            \
	" AND NOT EXISTS (SELECT 1 FROM broken x"                              \
	"  WHERE x.repo_id = r.repo_id AND x.digest = r.manifest)"

static int query(struct cm_db *db, int64_t repo_id,
		 const struct cm_referrer_filter *f, sqlite3_stmt **st,
		 struct cm_error *err)
{
	struct cm_bind after = CM_BLOB("", 0);
	int64_t limit = f->limit > INT32_MAX ? INT32_MAX : (int64_t)f->limit;

	if (f->after)
		after = CM_DIGEST(f->after);
	if (!f->artifact_type)
		return cm_db_query(db, COLUMNS " ORDER BY r.manifest LIMIT ?",
				   st, err, CM_INT(repo_id),
				   bind_subject(f->subject), after,
				   CM_INT(limit));
	return cm_db_query(db,
			   COLUMNS " AND r.artifact_type = ?"
				   " ORDER BY r.manifest LIMIT ?",
			   st, err, CM_INT(repo_id), bind_subject(f->subject),
			   after, CM_TEXT(f->artifact_type), CM_INT(limit));
}

static int read_row(sqlite3_stmt *st, struct cm_referrer *ret,
		    struct cm_error *err)
{
	ret->media_type = (const char *)sqlite3_column_text(st, 1);
	ret->artifact_type = (const char *)sqlite3_column_text(st, 2);
	ret->size = sqlite3_column_int64(st, 3);
	if (!ret->media_type)
		return cm_error_nomem(err);
	return cm_column_digest(st, 0, &ret->digest, err);
}

int cm_referrer_list(struct cm_db *db, int64_t repo_id,
		     const struct cm_referrer_filter *filter, cm_referrer_fn fn,
		     void *arg, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_referrer item;
	int r = query(db, repo_id, filter, &st, err);

	for (; r > 0; r = cm_db_next(st, err)) {
		r = read_row(st, &item, err);
		if (r == 0)
			r = fn(arg, &item);
		if (r != 0)
			return r;
	}
	return r;
}

/* ---- manifests of before ---------------------------------------------------
 */

/* How far it is: 1; 0 if it is done. */
static int read_place(struct cm_db *db, int64_t *ret_repo_id,
		      struct cm_digest *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, "SELECT repo_id, manifest FROM referrers_fill",
			    &st, err);

	if (r <= 0)
		return r;
	*ret_repo_id = sqlite3_column_int64(st, 0);
	if (sqlite3_column_bytes(st, 1) == 0) { /* the very beginning */
		memset(ret, 0, sizeof(*ret));
		return 1;
	}
	r = cm_column_digest(st, 1, ret, err);
	return r < 0 ? r : 1;
}

int cm_referrer_fill_find(struct cm_db *db, struct cm_referrer_fill *fill,
			  size_t max, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_old_manifest *item;
	struct cm_digest place;
	int64_t repo_id;
	int r = read_place(db, &repo_id, &place, err);

	if (r <= 0)
		return r;
	r = cm_db_query(db,
			"SELECT repo_id, digest, media_type FROM manifests"
			" WHERE (repo_id, digest) > (?, ?)"
			" ORDER BY repo_id, digest LIMIT ?",
			&st, err, CM_INT(repo_id), CM_DIGEST(&place),
			CM_INT((int64_t)max));
	for (fill->len = 0; r > 0; r = r == 0 ? cm_db_next(st, err) : r) {
		item = &fill->items[fill->len++];
		item->repo_id = sqlite3_column_int64(st, 0);
		r = cm_column_digest(st, 1, &item->digest, err);
		if (r == 0)
			r = cm_column_text(st, 2, &item->media_type, err);
	}
	fill->last = fill->len < max;
	return r < 0 ? r : 1;
}

static int manifest_there(struct cm_tx *tx, const struct cm_old_manifest *item,
			  struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;

	return cm_db_query(tx->db,
			   "SELECT 1 FROM manifests"
			   " WHERE repo_id = ? AND digest = ?",
			   &st, err, CM_INT(item->repo_id),
			   CM_DIGEST(&item->digest));
}

int cm_referrer_fill_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct cm_referrer_fill *fill = arg;
	const struct cm_old_manifest *item = NULL;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < fill->len; i++) {
		item = &fill->items[i];
		if (!item->parsed || !item->parsed->has_subject)
			continue;
		r = manifest_there(tx, item, err);
		if (r > 0)
			r = cm_referrer_add(tx, item->repo_id, &item->digest,
					    item->parsed, err);
	}
	if (r < 0)
		return r;
	if (fill->last || !item)
		return cm_db_run(tx->db, "DELETE FROM referrers_fill", err);
	return cm_db_run(tx->db,
			 "UPDATE referrers_fill SET repo_id = ?, manifest = ?",
			 err, CM_INT(item->repo_id), CM_DIGEST(&item->digest));
}
