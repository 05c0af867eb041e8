/*
 * index_db.h - one SQLite connection with its prepared statements. Private to
 * schema.c and index_*.c: nothing else in the project sees SQL.
 *
 * A statement is named by its text: cm_db_query() takes a string literal and
 * prepares it once per connection. So the text stands where it is used, and
 * the text must be a literal, since its address is the key.
 *
 *	cm_auto(stmt) sqlite3_stmt *st = NULL;
 *
 *	r = cm_db_query(db, "SELECT size FROM blobs WHERE digest = ?", &st,
 *			err, CM_DIGEST(d));
 *	if (r > 0)
 *		size = sqlite3_column_int64(st, 0);
 *
 * A connection is used by one thread at a time. A statement that has a row
 * holds a read transaction until it is reset, which cm_auto(stmt) does.
 */
#ifndef CM_INDEX_DB_H
#define CM_INDEX_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>
#include <cachemount/names.h>

#define CM_DB_STATEMENTS_MAX  512 /* a power of two, over twice what is used */
#define CM_DB_BUSY_TIMEOUT_MS 10000
#define CM_DB_REPOS_CACHED    64 /* a power of two */

struct cm_index;

/* A repository's name and number, remembered. */
struct cm_db_repo {
	int64_t id; /* 0: empty */
	char name[CM_REPOSITORY_MAX + 1];
};

struct cm_db {
	sqlite3 *handle;
	struct cm_index *index; /* whose pool it belongs to, or NULL */
	struct cm_db *next;	/* in the pool */
	struct {
		const char *sql;
		sqlite3_stmt *stmt;
	} statements[CM_DB_STATEMENTS_MAX];
	unsigned int repos_generation; /* what `repos` is true for */
	struct cm_db_repo repos[CM_DB_REPOS_CACHED];
};

/* A value for a parameter of a statement. What it points to is borrowed. */
struct cm_bind {
	enum { CM_BIND_NULL, CM_BIND_INT, CM_BIND_TEXT, CM_BIND_BLOB } type;
	int64_t number;
	const void *data;
	size_t len;
};

#define CM_INT(n) ((struct cm_bind){.type = CM_BIND_INT, .number = (n)})
#define CM_BLOB(p, n)                                                          \
	((struct cm_bind){.type = CM_BIND_BLOB, .data = (p), .len = (n)})
#define CM_DIGEST(d) CM_BLOB((d)->sha256, CM_SHA256_LEN)
#define CM_TEXT(s)   /* NULL binds NULL */                                     \
	((struct cm_bind){.type = CM_BIND_TEXT, .data = (s)})
#define CM_NULL ((struct cm_bind){.type = CM_BIND_NULL})

/*
 * Opens a connection to the index at `path`, set up for WAL. `create` also
 * creates the file. Caller closes with cm_db_close().
 */
int cm_db_open(const char *path, bool create, struct cm_db **ret,
	       struct cm_error *err);

/* Finalizes all statements and closes; NULL is legal. */
void cm_db_close(struct cm_db *db);

CM_DEFINE_CLEANUP(db, struct cm_db, cm_db_close);

/* Runs SQL that returns nothing, unprepared. */
int cm_db_exec(struct cm_db *db, const char *sql, struct cm_error *err);

/*
 * Records the failure `rc` of the connection as a cm_status and returns it:
 * a full disk as CM_ERR_NO_SPACE, damage as CM_ERR_CORRUPT, and so on.
 */
int cm_db_error(sqlite3 *handle, int rc, struct cm_error *err);

/*
 * Binds and steps once: 1 when there is a row (borrow its columns from
 * `*ret`), 0 when there is none, or a negative status. `*ret` is reset with
 * cm_auto(stmt) and belongs to the connection.
 */
#define cm_db_query(db, sql, ret, err, ...)                                    \
	cm_db_query_binds((db), (sql), (ret),                                  \
			  (const struct cm_bind[]){CM_NULL, ##__VA_ARGS__},    \
			  sizeof((struct cm_bind[]){CM_NULL, ##__VA_ARGS__}) / \
				  sizeof(struct cm_bind),                      \
			  (err))

/* The next row: as cm_db_query() returns. */
int cm_db_next(sqlite3_stmt *st, struct cm_error *err);

/* Runs a statement that returns no rows: 0 or a negative status. */
#define cm_db_run(db, sql, err, ...)                                           \
	cm_db_run_binds((db), (sql),                                           \
			(const struct cm_bind[]){CM_NULL, ##__VA_ARGS__},      \
			sizeof((struct cm_bind[]){CM_NULL, ##__VA_ARGS__}) /   \
				sizeof(struct cm_bind),                        \
			(err))

/* How many rows the last cm_db_run() changed. */
static inline int64_t cm_db_changed(struct cm_db *db)
{
	return sqlite3_changes64(db->handle);
}

/* What the two macros call; the first of `binds` is a filler. */
int cm_db_query_binds(struct cm_db *db, const char *sql, sqlite3_stmt **ret,
		      const struct cm_bind *binds, size_t binds_len,
		      struct cm_error *err);
int cm_db_run_binds(struct cm_db *db, const char *sql,
		    const struct cm_bind *binds, size_t binds_len,
		    struct cm_error *err);

/* Resets a statement, so that it holds no transaction; NULL is legal. */
static inline void cm_stmt_reset(sqlite3_stmt *st)
{
	sqlite3_reset(st);
}

CM_DEFINE_CLEANUP(stmt, sqlite3_stmt, cm_stmt_reset);

/* Reads a digest column. CM_ERR_CORRUPT if it is none. */
int cm_column_digest(sqlite3_stmt *st, int column, struct cm_digest *ret,
		     struct cm_error *err);

/* Copies a text column; NULL stays NULL. Caller frees. */
int cm_column_text(sqlite3_stmt *st, int column, char **ret,
		   struct cm_error *err);

#endif
