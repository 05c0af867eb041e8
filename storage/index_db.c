/*
 * index_db.c - a SQLite connection: settings, prepared statements, errors.
 *
 * Settings, in this order: busy_timeout before anything that may meet a lock;
 * WAL with FULL sync, since an answered write must survive power loss;
 * checkpoints are the upkeep thread's work, so never automatic; pages are
 * read through mmap, so the page cache only serves what is still in the WAL.
 *
 * The VFS is "unix-excl": the data folder is locked for one process anyway
 * (bytes.c), so the connections share their locks in memory and a lookup costs
 * no fcntl(). While the server runs, no other process can open the index.
 */
#include <errno.h>
#include <string.h>

#include "index_db.h"

static const char settings[] = "PRAGMA busy_timeout = 10000;"
			       "PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA wal_autocheckpoint = 0;"
			       "PRAGMA journal_size_limit = 67108864;"
			       "PRAGMA mmap_size = 2147418112;"
			       "PRAGMA cache_size = -1024;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA secure_delete = OFF;"
			       "PRAGMA foreign_keys = OFF;"
			       "PRAGMA trusted_schema = OFF;";

static enum cm_status status_of(sqlite3 *handle, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return CM_ERR_NO_SPACE;
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_NOMEM)
			return CM_ERR_NO_MEMORY;
		if (handle && (sqlite3_system_errno(handle) == ENOSPC ||
			       sqlite3_system_errno(handle) == EDQUOT))
			return CM_ERR_NO_SPACE;
		return CM_ERR_IO;
	case SQLITE_NOMEM:
		return CM_ERR_NO_MEMORY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return CM_ERR_CORRUPT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return CM_ERR_BUSY;
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return CM_ERR_IO;
	case SQLITE_TOOBIG:
		return CM_ERR_SIZE;
	default:
		return CM_ERR_INTERNAL;
	}
}

int cm_db_error(sqlite3 *handle, int rc, struct cm_error *err)
{
	int extended = handle ? sqlite3_extended_errcode(handle) : rc;

	/* The handle may speak of an older failure than `rc`. */
	if ((extended & 0xff) != (rc & 0xff))
		extended = rc;
	return cm_error_set(err, status_of(handle, extended), "index: %s",
			    handle && extended != rc
				    ? sqlite3_errmsg(handle)
				    : sqlite3_errstr(extended));
}

int cm_db_exec(struct cm_db *db, const char *sql, struct cm_error *err)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : cm_db_error(db->handle, rc, err);
}

int cm_db_open(const char *path, bool create, struct cm_db **ret,
	       struct cm_error *err)
{
	cm_auto(db) struct cm_db *db = calloc(1, sizeof(*db));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
		    SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
	int rc, r;

	if (!db)
		return cm_error_nomem(err);
	if (create)
		flags |= SQLITE_OPEN_CREATE;
	rc = sqlite3_open_v2(path, &db->handle, flags, "unix-excl");
	if (rc != SQLITE_OK)
		return cm_db_error(db->handle, rc, err);
	r = cm_db_exec(db, settings, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(db);
	return 0;
}

void cm_db_close(struct cm_db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < CM_DB_STATEMENTS_MAX; i++)
		sqlite3_finalize(db->statements[i].stmt);
	sqlite3_close_v2(db->handle);
	free(db);
}

/* Finds the statement of a literal, prepared now if it never was. */
static int statement(struct cm_db *db, const char *sql, sqlite3_stmt **ret,
		     struct cm_error *err)
{
	size_t slot = ((uintptr_t)sql >> 3) * 0x9E3779B1u;
	size_t probes;
	int rc;

	for (probes = 0; probes < CM_DB_STATEMENTS_MAX; probes++, slot++) {
		slot &= CM_DB_STATEMENTS_MAX - 1;
		if (db->statements[slot].sql == sql) {
			*ret = db->statements[slot].stmt;
			return 0;
		}
		if (!db->statements[slot].sql)
			break;
	}
	if (probes == CM_DB_STATEMENTS_MAX)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "index: too many statements");
	rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
				ret, NULL);
	if (rc != SQLITE_OK)
		return cm_db_error(db->handle, rc, err);
	db->statements[slot].sql = sql;
	db->statements[slot].stmt = *ret;
	return 0;
}

static int bind_one(sqlite3_stmt *st, int at, const struct cm_bind *b)
{
	switch (b->type) {
	case CM_BIND_INT:
		return sqlite3_bind_int64(st, at, b->number);
	case CM_BIND_TEXT:
		return b->data ? sqlite3_bind_text(st, at, b->data, -1,
						   SQLITE_STATIC)
			       : sqlite3_bind_null(st, at);
	case CM_BIND_BLOB:
		return b->len ? sqlite3_bind_blob64(st, at, b->data, b->len,
						    SQLITE_STATIC)
			      : sqlite3_bind_zeroblob(st, at, 0);
	case CM_BIND_NULL:
		return sqlite3_bind_null(st, at);
	}
	return SQLITE_MISUSE;
}

int cm_db_next(sqlite3_stmt *st, struct cm_error *err)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return cm_db_error(sqlite3_db_handle(st), rc, err);
}

int cm_db_query_binds(struct cm_db *db, const char *sql, sqlite3_stmt **ret,
		      const struct cm_bind *binds, size_t binds_len,
		      struct cm_error *err)
{
	sqlite3_stmt *st;
	int rc, r;

	r = statement(db, sql, &st, err);
	if (r < 0)
		return r;
	*ret = st;
	for (size_t i = 1; i < binds_len; i++) {
		rc = bind_one(st, (int)i, &binds[i]);
		if (rc != SQLITE_OK)
			return cm_db_error(db->handle, rc, err);
	}
	return cm_db_next(st, err);
}

int cm_db_run_binds(struct cm_db *db, const char *sql,
		    const struct cm_bind *binds, size_t binds_len,
		    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query_binds(db, sql, &st, binds, binds_len, err);

	return r < 0 ? r : 0;
}

int cm_column_digest(sqlite3_stmt *st, int column, struct cm_digest *ret,
		     struct cm_error *err)
{
	const void *data = sqlite3_column_blob(st, column);

	if (!data || sqlite3_column_bytes(st, column) != CM_SHA256_LEN)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "index: a digest is not 32 bytes");
	memcpy(ret->sha256, data, CM_SHA256_LEN);
	return 0;
}

int cm_column_text(sqlite3_stmt *st, int column, char **ret,
		   struct cm_error *err)
{
	const unsigned char *text = sqlite3_column_text(st, column);
	char *copy = NULL;

	if (text) {
		copy = strdup((const char *)text);
		if (!copy)
			return cm_error_nomem(err);
	} else if (sqlite3_column_type(st, column) != SQLITE_NULL) {
		return cm_error_nomem(err);
	}
	*ret = copy;
	return 0;
}
