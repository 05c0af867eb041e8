/*
 * index_care.c - what looks after the index itself: what the store remembers
 * of its own life, walks over all blobs, copies and integrity checks.
 *
 * These read much that nobody else wants, so they use connections that map
 * nothing: their pages count for nobody's memory and go with the connection.
 */
#include <string.h>

#include "index.h"

#define COPY_PAGES	256 /* a step of a copy: 1 MiB */
#define COPY_BUSY_MAX	200
#define INTEGRITY_LINES "100"
#define NO_MAP		"PRAGMA mmap_size = 0;"

/* ---- remembered figures ---------------------------------------------- */

int cm_state_read(struct cm_db *db, const char *name, int64_t *ret,
		  struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, "SELECT value FROM state WHERE name = ?", &st,
			    err, CM_TEXT(name));

	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

int cm_state_write(struct cm_tx *tx, const char *name, int64_t value,
		   struct cm_error *err)
{
	return cm_db_run(tx->db, "INSERT OR REPLACE INTO state VALUES(?, ?)",
			 err, CM_TEXT(name), CM_INT(value));
}

/* ---- all blobs ------------------------------------------------------- */

int cm_index_connect_aside(struct cm_index *ix, struct cm_db **ret,
			   struct cm_error *err)
{
	cm_auto(db) struct cm_db *db = NULL;
	int r = cm_index_connect(ix, &db, err);

	if (r == 0)
		r = cm_db_exec(db, NO_MAP, err);
	if (r == 0)
		*ret = cm_take_ptr(db);
	return r;
}

int cm_blobs_behind(struct cm_db *db, const struct cm_digest *after,
		    struct cm_blob_row *rows, size_t max, size_t *ret,
		    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	size_t n = 0;
	int r = cm_db_query(
		db,
		"SELECT digest, size, stored_size, encoding, inline_id"
		" FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?",
		&st, err, CM_DIGEST(after), CM_INT(max));

	for (; r > 0; r = r == 0 ? cm_db_next(st, err) : r) {
		struct cm_blob_row *row = &rows[n++];

		row->info.size = sqlite3_column_int64(st, 1);
		row->info.stored_size = sqlite3_column_int64(st, 2);
		row->info.encoding =
			(enum cm_encoding)sqlite3_column_int(st, 3);
		row->inline_id = sqlite3_column_int64(st, 4);
		row->refs = 0;
		r = cm_column_digest(st, 0, &row->info.digest, err);
	}
	*ret = n;
	return r;
}

/* ---- integrity ------------------------------------------------------- */

int cm_index_integrity(struct cm_db *db, bool quick, cm_index_line_fn fn,
		       void *arg, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const char *line;
	int found = 0;
	int r = quick ? cm_db_query(db,
				    "PRAGMA quick_check(" INTEGRITY_LINES ")",
				    &st, err)
		      : cm_db_query(db,
				    "PRAGMA integrity_check(" INTEGRITY_LINES
				    ")",
				    &st, err);

	for (; r > 0; r = cm_db_next(st, err)) {
		line = (const char *)sqlite3_column_text(st, 0);
		if (line && strcmp(line, "ok") == 0)
			continue;
		found = 1;
		if (fn)
			fn(arg, line ? line : "?");
	}
	return r < 0 ? r : found;
}

int cm_index_check_file(const char *path, bool quick, bool touch,
			struct cm_error *err)
{
	cm_auto(db) struct cm_db *db = NULL;
	int64_t opened;
	int r = cm_db_open(path, false, &db, err);

	if (r < 0)
		return r;
	if (!touch)
		sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
				  1, NULL);
	r = cm_db_exec(db, NO_MAP, err);
	if (r == 0)
		r = cm_index_integrity(db, quick, NULL, NULL, err);
	if (r > 0)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "index: SQLite's check finds it damaged");
	if (r == 0 && cm_state_read(db, "opened", &opened, NULL) < 0)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "index: it is none of cachemountd's");
	return r;
}

/* ---- copies ---------------------------------------------------------- */

int cm_index_size(struct cm_db *db, int64_t *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db,
			    "SELECT page_count * page_size FROM"
			    " pragma_page_count(), pragma_page_size()",
			    &st, err);

	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

struct copy {
	sqlite3 *to;
	sqlite3_backup *backup;
};

static void copy_release(struct copy *c)
{
	sqlite3_backup_finish(c->backup);
	sqlite3_close(c->to);
}

/* Nobody but us reads the copy before it is whole: it needs no journal. */
static int copy_begin(struct copy *c, struct cm_db *from, const char *path,
		      struct cm_error *err)
{
	int rc = sqlite3_open_v2(path, &c->to,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					 SQLITE_OPEN_EXRESCODE,
				 "unix-excl");

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(c->to,
				  "PRAGMA journal_mode = OFF;"
				  "PRAGMA synchronous = OFF;"
				  "PRAGMA cache_size = -2048;",
				  NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return cm_db_error(c->to, rc, err);
	c->backup = sqlite3_backup_init(c->to, "main", from->handle, "main");
	if (!c->backup)
		return cm_db_error(c->to, sqlite3_errcode(c->to), err);
	return 0;
}

static int copy_pages(struct copy *c, cm_pace_fn pace, void *arg,
		      struct cm_error *err)
{
	int busy = 0, r = 0, rc = SQLITE_OK;

	while (r == 0 && rc != SQLITE_DONE) {
		rc = sqlite3_backup_step(c->backup, COPY_PAGES);
		if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) {
			if (++busy > COPY_BUSY_MAX)
				return cm_db_error(c->to, rc, err);
			sqlite3_sleep(10);
		} else if (rc != SQLITE_OK && rc != SQLITE_DONE) {
			return cm_db_error(c->to, rc, err);
		}
		if (pace)
			r = pace(arg, COPY_PAGES * 4096);
	}
	if (r != 0)
		return cm_error_set(err, CM_ERR_CANCELLED, "asked to stop");
	return 0;
}

static int copy_end(struct copy *c, struct cm_error *err)
{
	int rc = sqlite3_backup_finish(cm_take_ptr(c->backup));

	if (rc == SQLITE_OK)
		rc = sqlite3_close(cm_take_ptr(c->to));
	return rc == SQLITE_OK ? 0 : cm_db_error(NULL, rc, err);
}

/*
 * The connection reads one state of the index from beginning to end, else each
 * commit of others would make the copy begin again.
 */
static int hold_snapshot(struct cm_db *from, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_exec(from, "BEGIN", err);

	if (r == 0)
		r = cm_db_query(from, "SELECT count(*) FROM state", &st, err);
	return r < 0 ? r : 0;
}

int cm_index_copy(struct cm_db *from, const char *path, cm_pace_fn pace,
		  void *arg, struct cm_error *err)
{
	__attribute__((cleanup(copy_release))) struct copy c = {0};
	int r = hold_snapshot(from, err);

	if (r == 0)
		r = copy_begin(&c, from, path, err);
	if (r == 0)
		r = copy_pages(&c, pace, arg, err);
	if (r == 0)
		r = copy_end(&c, err);
	if (!sqlite3_get_autocommit(from->handle))
		cm_db_exec(from, "ROLLBACK", NULL);
	return r;
}
