/*
 * index_blobs.c - blobs and the links that make them visible.
 */
#include <string.h>

#include "index.h"

static void read_row(sqlite3_stmt *st, const struct cm_digest *d,
		     struct cm_blob_row *ret)
{
	ret->info.digest = *d;
	ret->info.size = sqlite3_column_int64(st, 0);
	ret->info.stored_size = sqlite3_column_int64(st, 1);
	ret->info.encoding = (enum cm_encoding)sqlite3_column_int(st, 2);
	ret->inline_id = sqlite3_column_int64(st, 3);
	ret->refs = sqlite3_column_int64(st, 4);
}

int cm_blob_find(struct cm_db *db, int64_t repo_id, const struct cm_digest *d,
		 struct cm_blob_row *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(
		db,
		"SELECT b.size, b.stored_size, b.encoding, b.inline_id, l.refs"
		" FROM repo_blobs l CROSS JOIN blobs b ON b.digest = l.digest"
		" WHERE l.repo_id = ? AND l.digest = ?",
		&st, err, CM_INT(repo_id), CM_DIGEST(d));

	if (r > 0)
		read_row(st, d, ret);
	return r;
}

int cm_blob_find_any(struct cm_db *db, const struct cm_digest *d,
		     struct cm_blob_row *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(
		db,
		"SELECT size, stored_size, encoding, inline_id, 0 FROM blobs"
		" WHERE digest = ?",
		&st, err, CM_DIGEST(d));

	if (r > 0)
		read_row(st, d, ret);
	return r;
}

int cm_blob_load_inline(struct cm_db *db, const struct cm_blob_row *row,
			void **ret, struct cm_error *err)
{
	size_t len = (size_t)row->info.stored_size;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const void *data;
	int r;

	r = cm_db_query(db, "SELECT data FROM blob_data WHERE id = ?", &st, err,
			CM_INT(row->inline_id));
	if (r < 0)
		return r;
	if (r == 0 || (size_t)sqlite3_column_bytes(st, 0) != len)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "index: an inline blob is not what its "
				    "row says");
	data = sqlite3_column_blob(st, 0);
	*ret = malloc(len + 1);
	if (!*ret)
		return cm_error_nomem(err);
	if (len > 0)
		memcpy(*ret, data, len);
	return 0;
}

/* `*ret_id` is 0 without data. */
static int insert_data(struct cm_tx *tx, const void *data, int64_t size,
		       int64_t *ret_id, struct cm_error *err)
{
	int r;

	*ret_id = 0;
	if (!data)
		return 0;
	r = cm_db_run(tx->db, "INSERT INTO blob_data(data) VALUES(?)", err,
		      CM_BLOB(data, (size_t)size));
	if (r == 0)
		*ret_id = sqlite3_last_insert_rowid(tx->db->handle);
	return r;
}

/* What a blob takes beside the index. */
static int64_t disk_bytes(const struct cm_blob_info *info, int64_t inline_id)
{
	return inline_id != 0 ? 0 : cm_file_bytes(info->stored_size);
}

int cm_blob_mend(struct cm_tx *tx, const struct cm_blob_info *info,
		 const void *inline_data, struct cm_error *err)
{
	struct cm_blob_row old;
	int64_t inline_id = 0;
	int r = cm_blob_find_any(tx->db, &info->digest, &old, err);

	if (r <= 0) /* gone meanwhile */
		return r < 0 ? r : cm_blob_insert(tx, info, inline_data, err);
	r = insert_data(tx, inline_data, info->stored_size, &inline_id, err);
	if (r == 0)
		r = cm_db_run(tx->db,
			      "UPDATE blobs SET stored_size = ?, encoding = ?,"
			      " inline_id = ? WHERE digest = ?",
			      err, CM_INT(info->stored_size),
			      CM_INT(info->encoding), CM_INT(inline_id),
			      CM_DIGEST(&info->digest));
	tx->totals[CM_TOTAL_STORED_BYTES] +=
		info->stored_size - old.info.stored_size;
	tx->totals[CM_TOTAL_FILE_BYTES] += disk_bytes(info, inline_id) -
					   disk_bytes(&old.info, old.inline_id);
	return r;
}

int cm_blob_insert(struct cm_tx *tx, const struct cm_blob_info *info,
		   const void *inline_data, struct cm_error *err)
{
	struct cm_blob_row row;
	int64_t inline_id = 0;
	int r = cm_blob_find_any(tx->db, &info->digest, &row, err);

	if (r != 0)
		return r < 0 ? r : 0;
	r = insert_data(tx, inline_data, info->stored_size, &inline_id, err);
	if (r < 0)
		return r;
	r = cm_db_run(tx->db, "INSERT INTO blobs VALUES(?, ?, ?, ?, ?, 0)", err,
		      CM_DIGEST(&info->digest), CM_INT(info->size),
		      CM_INT(info->stored_size), CM_INT(info->encoding),
		      CM_INT(inline_id));
	if (r < 0)
		return r;
	tx->totals[CM_TOTAL_BLOBS]++;
	tx->totals[CM_TOTAL_CONTENT_BYTES] += info->size;
	tx->totals[CM_TOTAL_STORED_BYTES] += info->stored_size;
	tx->totals[CM_TOTAL_FILE_BYTES] += disk_bytes(info, inline_id);
	return 0;
}

/*
 * Manifests may name it already: a blob that was lost and has come back. 1 if
 * they do.
 */
static int insert_link(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "INSERT INTO repo_blobs VALUES(?1, ?2, ?3,"
			    " (SELECT count(*) FROM manifest_refs"
			    "  WHERE repo_id = ?1 AND digest = ?2) +"
			    " (SELECT count(*) FROM manifests"
			    "  WHERE repo_id = ?1 AND digest = ?2))"
			    " RETURNING refs",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d),
			    CM_INT(tx->now_ms));

	return r > 0 ? sqlite3_column_int64(st, 0) > 0 : r;
}

int cm_link_add(struct cm_tx *tx, int64_t repo_id, const struct cm_digest *d,
		int64_t size, struct cm_error *err)
{
	int r = cm_db_run(tx->db,
			  "UPDATE repo_blobs SET since_ms = ?"
			  " WHERE repo_id = ? AND digest = ?",
			  err, CM_INT(tx->now_ms), CM_INT(repo_id),
			  CM_DIGEST(d));

	if (r < 0 || cm_db_changed(tx->db) > 0)
		return r;
	r = insert_link(tx, repo_id, d, err);
	if (r > 0)
		r = cm_damage_spread(tx, repo_id, d, false, err);
	if (r < 0)
		return r;
	tx->totals[CM_TOTAL_REFERENCED_BYTES] += size;
	r = cm_db_run(tx->db,
		      "UPDATE blobs SET holders = holders + 1"
		      " WHERE digest = ?",
		      err, CM_DIGEST(d));
	return r < 0 ? r : cm_scope_add(tx, repo_id, size, err);
}

/* What a blob's row counted and held goes after it. */
static int forget_row(struct cm_tx *tx, const struct cm_blob_row *row,
		      struct cm_error *err)
{
	int r = 0;

	if (row->inline_id != 0)
		r = cm_db_run(tx->db, "DELETE FROM blob_data WHERE id = ?", err,
			      CM_INT(row->inline_id));
	tx->totals[CM_TOTAL_BLOBS]--;
	tx->totals[CM_TOTAL_CONTENT_BYTES] -= row->info.size;
	tx->totals[CM_TOTAL_STORED_BYTES] -= row->info.stored_size;
	tx->totals[CM_TOTAL_FILE_BYTES] -=
		disk_bytes(&row->info, row->inline_id);
	return r;
}

/* Removes the row of a blob that nobody holds. */
static int remove_row(struct cm_tx *tx, const struct cm_blob_row *row,
		      struct cm_error *err)
{
	int r = cm_db_run(tx->db, "DELETE FROM blobs WHERE digest = ?", err,
			  CM_DIGEST(&row->info.digest));

	return r < 0 ? r : forget_row(tx, row, err);
}

static int count_holders(struct cm_tx *tx, const struct cm_digest *d,
			 int64_t *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT holders FROM blobs WHERE digest = ?", &st,
			    err, CM_DIGEST(d));

	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

/* The row of a blob that has one holder goes: 1; 0 if it has more; <0. */
static int remove_last(struct cm_tx *tx, const struct cm_digest *d,
		       struct cm_blob_row *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "DELETE FROM blobs WHERE digest = ? AND holders = 1"
			    " RETURNING size, stored_size, encoding, inline_id,"
			    " 0",
			    &st, err, CM_DIGEST(d));

	if (r > 0)
		read_row(st, d, ret);
	return r;
}

/* One holder less of several: 1; 0 if there is no such row; <0. */
static int drop_holder(struct cm_tx *tx, const struct cm_digest *d,
		       struct cm_blob_row *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "UPDATE blobs SET holders = holders - 1"
			    " WHERE digest = ? RETURNING size, stored_size,"
			    " encoding, inline_id, 0",
			    &st, err, CM_DIGEST(d));

	if (r > 0)
		read_row(st, d, ret);
	return r;
}

int cm_link_remove(struct cm_tx *tx, int64_t repo_id, const struct cm_digest *d,
		   struct cm_blob_row *ret, struct cm_error *err)
{
	bool last = false;
	int r = cm_db_run(tx->db,
			  "DELETE FROM repo_blobs WHERE repo_id = ? AND "
			  "digest = ?",
			  err, CM_INT(repo_id), CM_DIGEST(d));

	if (r == 0 && cm_db_changed(tx->db) > 0) {
		r = remove_last(tx, d, ret, err);
		last = r > 0;
		if (r == 0)
			r = drop_holder(tx, d, ret, err);
	}
	if (r == 0)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "the repository has no such blob");
	if (r > 0)
		r = cm_scope_add(tx, repo_id, -ret->info.size, err);
	if (r < 0)
		return r;
	tx->totals[CM_TOTAL_REFERENCED_BYTES] -= ret->info.size;
	if (!last)
		return 0;
	r = forget_row(tx, ret, err);
	if (r == 0)
		r = cm_alias_remove(tx, d, err);
	return r < 0 ? r : 1;
}

/* Each repository that has the blob loses it. */
static int spread_loss(struct cm_tx *tx, const struct cm_blob_row *row,
		       struct cm_error *err)
{
	const struct cm_digest *d = &row->info.digest;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t repo_id;
	int r = cm_db_query(tx->db,
			    "SELECT repo_id, refs FROM repo_blobs"
			    " WHERE digest = ?",
			    &st, err, CM_DIGEST(d));

	while (r > 0) {
		repo_id = sqlite3_column_int64(st, 0);
		r = cm_scope_add(tx, repo_id, -row->info.size, err);
		if (r == 0 && sqlite3_column_int64(st, 1) > 0)
			r = cm_damage_spread(tx, repo_id, d, true, err);
		if (r == 0)
			r = cm_db_next(st, err);
	}
	return r;
}

int cm_blob_forget(struct cm_tx *tx, const struct cm_digest *d,
		   struct cm_error *err)
{
	struct cm_blob_row row;
	int64_t holders = 0;
	int r = cm_blob_find_any(tx->db, d, &row, err);

	if (r <= 0)
		return r;
	r = count_holders(tx, d, &holders, err);
	if (r == 0)
		r = spread_loss(tx, &row, err);
	if (r == 0)
		r = cm_db_run(tx->db, "DELETE FROM repo_blobs WHERE digest = ?",
			      err, CM_DIGEST(d));
	if (r == 0)
		r = remove_row(tx, &row, err);
	if (r < 0)
		return r;
	tx->totals[CM_TOTAL_REFERENCED_BYTES] -= holders * row.info.size;
	tx->totals[CM_TOTAL_QUARANTINED]++;
	return 1;
}
