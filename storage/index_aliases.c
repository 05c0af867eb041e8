/*
 * index_aliases.c - which blob, named by its SHA-256, a SHA-512 stands for.
 *
 * An alias is of the content, not of a repository: it is found only through a
 * repository that has the blob, as knowing a digest must open nothing.
 */
#include "index.h"

#define CM_SHA512(d) CM_BLOB((d)->sha512, CM_SHA512_LEN)

int cm_alias_add(struct cm_tx *tx, const struct cm_any_digest *name,
		 const struct cm_digest *d, struct cm_error *err)
{
	if (!name || name->algorithm != CM_SHA512)
		return 0;
	return cm_db_run(tx->db, "INSERT OR IGNORE INTO aliases VALUES(?, ?)",
			 err, CM_SHA512(name), CM_DIGEST(d));
}

int cm_alias_remove(struct cm_tx *tx, const struct cm_digest *d,
		    struct cm_error *err)
{
	return cm_db_run(tx->db, "DELETE FROM aliases WHERE digest = ?", err,
			 CM_DIGEST(d));
}

int cm_alias_find(struct cm_db *db, int64_t repo_id,
		  const struct cm_any_digest *name, struct cm_digest *ret,
		  struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db,
			    "SELECT a.digest FROM aliases a WHERE a.sha512 = ?"
			    " AND EXISTS (SELECT 1 FROM repo_blobs l"
			    "  WHERE l.repo_id = ? AND l.digest = a.digest)",
			    &st, err, CM_SHA512(name), CM_INT(repo_id));

	if (r <= 0)
		return r;
	r = cm_column_digest(st, 0, ret, err);
	return r < 0 ? r : 1;
}

int cm_alias_find_any(struct cm_db *db, const struct cm_any_digest *name,
		      struct cm_digest *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, "SELECT digest FROM aliases WHERE sha512 = ?",
			    &st, err, CM_SHA512(name));

	if (r <= 0)
		return r;
	r = cm_column_digest(st, 0, ret, err);
	return r < 0 ? r : 1;
}
