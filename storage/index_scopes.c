/*
 * index_scopes.c - scopes: the first parts of repositories' paths, what their
 * repositories reference, and how much they may.
 *
 * `bytes` is a running total: it grows with a repository's link to a blob and
 * shrinks with it, in the same transaction. So it is what a recount would give,
 * at every commit.
 */
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

/* The scope's name, cut off a repository's. */
static void scope_name(const char *repo, char out[static CM_REPOSITORY_MAX + 1])
{
	size_t len = strcspn(repo, "/");

	if (len > CM_REPOSITORY_MAX)
		len = CM_REPOSITORY_MAX;
	memcpy(out, repo, len);
	out[len] = '\0';
}

int cm_scope_make(struct cm_tx *tx, const char *repo, int64_t *ret_id,
		  struct cm_error *err)
{
	char name[CM_REPOSITORY_MAX + 1];
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r;

	scope_name(repo, name);
	r = cm_db_query(tx->db,
			"INSERT INTO scopes(name) VALUES(?)"
			" ON CONFLICT DO UPDATE SET bytes = bytes RETURNING id",
			&st, err, CM_TEXT(name));
	*ret_id = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

static int over_quota(sqlite3_stmt *st, int64_t before, int64_t quota,
		      struct cm_error *err)
{
	char have[CM_SIZE_TEXT_SIZE], may[CM_SIZE_TEXT_SIZE];

	return cm_error_set(err, CM_ERR_NO_SPACE,
			    "scope \"%s\" has no space left: it references %s "
			    "of its quota of %s; purge or unpin something "
			    "there, or raise its --quota",
			    (const char *)sqlite3_column_text(st, 2),
			    cm_size_format(before, have),
			    cm_size_format(quota, may));
}

static int write_delta(struct cm_tx *tx, int64_t repo_id, int64_t delta,
		       struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t bytes, quota;
	int r = cm_db_query(tx->db,
			    "UPDATE scopes SET bytes = bytes + ? WHERE id ="
			    " (SELECT scope FROM repositories WHERE id = ?)"
			    " RETURNING bytes, quota, name, high",
			    &st, err, CM_INT(delta), CM_INT(repo_id));

	if (r <= 0)
		return r;
	bytes = sqlite3_column_int64(st, 0);
	quota = sqlite3_column_int64(st, 1);
	if (quota == 0 || delta <= 0)
		return 0;
	if (bytes > quota)
		return over_quota(st, bytes - delta, quota, err);
	if (bytes > sqlite3_column_int64(st, 3))
		tx->over_quota = true;
	return 0;
}

int cm_scope_flush(struct cm_tx *tx, struct cm_error *err)
{
	int64_t loss = tx->scope_loss;

	tx->scope_loss = 0;
	return loss == 0 ? 0 : write_delta(tx, tx->scope_repo, -loss, err);
}

/* An eviction takes many links of one repository after another. */
int cm_scope_add(struct cm_tx *tx, int64_t repo_id, int64_t delta,
		 struct cm_error *err)
{
	int r = 0;

	if (delta > 0 || tx->scope_repo != repo_id)
		r = cm_scope_flush(tx, err);
	if (r < 0 || delta > 0)
		return r < 0 ? r : write_delta(tx, repo_id, delta, err);
	tx->scope_repo = repo_id;
	tx->scope_loss -= delta;
	return 0;
}

int cm_scope_quotas_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct cm_quotas_job *j = arg;
	int r = cm_db_run(tx->db,
			  "UPDATE scopes SET quota = 0, high = 0"
			  " WHERE quota > 0",
			  err);

	for (size_t i = 0; r == 0 && i < j->len; i++)
		r = cm_db_run(tx->db,
			      "INSERT INTO scopes(name, quota, high)"
			      " VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE"
			      " SET quota = ?2, high = ?3",
			      err, CM_TEXT(j->quotas[i].scope),
			      CM_INT(j->quotas[i].bytes),
			      CM_INT(cm_percent(j->quotas[i].bytes,
						j->high_percent)));
	return r;
}

static void read_use(sqlite3_stmt *st, struct cm_scope_use *ret)
{
	ret->id = sqlite3_column_int64(st, 0);
	ret->bytes = sqlite3_column_int64(st, 1);
	ret->quota = sqlite3_column_int64(st, 2);
}

int cm_scope_limited(struct cm_db *db, struct cm_scope_use *ret, size_t max,
		     struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int n = 0;
	int r = cm_db_query(db,
			    "SELECT id, bytes, quota FROM scopes"
			    " INDEXED BY scopes_limited WHERE quota > 0"
			    " LIMIT ?",
			    &st, err, CM_INT((int64_t)max));

	for (; r > 0; r = cm_db_next(st, err))
		read_use(st, &ret[n++]);
	return r < 0 ? r : n;
}

int cm_scope_bytes(struct cm_db *db, int64_t id, int64_t *ret,
		   struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, "SELECT bytes FROM scopes WHERE id = ?", &st,
			    err, CM_INT(id));

	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

int cm_scope_of(struct cm_db *db, const char *repo, struct cm_scope_use *ret,
		struct cm_error *err)
{
	char name[CM_REPOSITORY_MAX + 1];
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r;

	scope_name(repo, name);
	r = cm_db_query(db,
			"SELECT id, bytes, quota FROM scopes"
			" WHERE name = ? AND quota > 0",
			&st, err, CM_TEXT(name));
	if (r > 0)
		read_use(st, ret);
	return r;
}

/* Rows of name, bytes and quota. */
static int each_scope(sqlite3_stmt *st, int r, cm_scope_fn fn, void *arg,
		      struct cm_error *err)
{
	struct cm_scope_info info;

	for (; r > 0; r = cm_db_next(st, err)) {
		info.name = (const char *)sqlite3_column_text(st, 0);
		info.bytes = sqlite3_column_int64(st, 1);
		info.quota = sqlite3_column_int64(st, 2);
		r = info.name ? fn(arg, &info) : cm_error_nomem(err);
		if (r != 0)
			return r;
	}
	return r;
}

int cm_store_scopes(struct cm_store *s, const char *after, size_t limit,
		    cm_scope_fn fn, void *arg, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_db_query(
			db,
			"SELECT name, bytes, quota FROM scopes"
			" WHERE name > ? AND (bytes > 0 OR quota > 0)"
			" ORDER BY name LIMIT ?",
			&st, err, CM_TEXT(after ? after : ""),
			CM_INT(limit > INT32_MAX ? INT32_MAX : (int64_t)limit));
	return each_scope(st, r, fn, arg, err);
}

int cm_store_quotas(struct cm_store *s, cm_scope_fn fn, void *arg,
		    struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_db_query(db,
				"SELECT name, bytes, quota FROM scopes"
				" INDEXED BY scopes_limited WHERE quota > 0"
				" ORDER BY name LIMIT ?",
				&st, err, CM_INT(CM_SCOPES_MAX));
	return each_scope(st, r, fn, arg, err);
}
