/*
 * index_usage.c - the history of use: what each scope was used for, day by day.
 *
 * Bounded two ways: days that are long ago go with every addition, as do those
 * that a wrong clock has put far ahead; and a day that is full takes new scopes
 * as "".
 */
#include "store_private.h"

struct addition {
	const struct cm_usage_row *rows;
	size_t n;
};

/* Adds to a row that is there: 1, or 0 if there is none. */
static int add_to_row(struct cm_tx *tx, const struct cm_usage_row *row,
		      const char *scope, struct cm_error *err)
{
	const struct cm_usage *u = &row->usage;
	int r = cm_db_run(
		tx->db,
		"UPDATE usage SET hits = hits + ?, misses = misses + ?,"
		" errors = errors + ?, writes = writes + ?,"
		" sent_bytes = sent_bytes + ?,"
		" received_bytes = received_bytes + ?"
		" WHERE day = ? AND scope = ? AND kind = ?",
		err, CM_INT(u->hits), CM_INT(u->misses), CM_INT(u->errors),
		CM_INT(u->writes), CM_INT(u->sent_bytes),
		CM_INT(u->received_bytes), CM_INT(row->day), CM_TEXT(scope),
		CM_TEXT(row->kind));

	return r < 0 ? r : cm_db_changed(tx->db) > 0;
}

static int make_row(struct cm_tx *tx, const struct cm_usage_row *row,
		    const char *scope, struct cm_error *err)
{
	const struct cm_usage *u = &row->usage;

	return cm_db_run(tx->db,
			 "INSERT INTO usage VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
			 err, CM_INT(row->day), CM_TEXT(scope),
			 CM_TEXT(row->kind), CM_INT(u->hits), CM_INT(u->misses),
			 CM_INT(u->errors), CM_INT(u->writes),
			 CM_INT(u->sent_bytes), CM_INT(u->received_bytes));
}

/* 1 if the day takes no more scopes, 0 if it does. */
static int day_full(struct cm_tx *tx, int64_t day, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db, "SELECT count(*) FROM usage WHERE day = ?",
			    &st, err, CM_INT(day));

	return r < 0 ? r : sqlite3_column_int64(st, 0) >= CM_USAGE_DAY_ROWS;
}

static int add_row(struct cm_tx *tx, const struct cm_usage_row *row,
		   struct cm_error *err)
{
	const char *scope = row->scope;
	int r = add_to_row(tx, row, scope, err);

	if (r == 0 && *scope) {
		r = day_full(tx, row->day, err);
		if (r > 0) {
			scope = "";
			r = add_to_row(tx, row, scope, err);
		}
	}
	if (r == 0)
		r = make_row(tx, row, scope, err);
	return r < 0 ? r : 0;
}

static int add_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct addition *a = arg;
	int64_t latest = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->n; i++) {
		r = add_row(tx, &a->rows[i], err);
		if (a->rows[i].day > latest)
			latest = a->rows[i].day;
	}
	if (r == 0)
		r = cm_db_run(tx->db,
			      "DELETE FROM usage WHERE day NOT BETWEEN ? AND ?",
			      err, CM_INT(latest - CM_USAGE_DAYS + 1),
			      CM_INT(latest + CM_USAGE_DAYS));
	return r;
}

int cm_store_usage_add(struct cm_store *s, const struct cm_usage_row *rows,
		       size_t n, struct cm_error *err)
{
	struct addition a = {rows, n};

	return cm_index_write(s->index, add_tx, &a, err);
}

/* ---- reading --------------------------------------------------------------
 */

/* Columns of a row, and of the sums of several. */
#define SUMS                                                                   \
	" sum(hits), sum(misses), sum(errors), sum(writes),"                   \
	" sum(sent_bytes), sum(received_bytes)"

static struct cm_usage usage_at(sqlite3_stmt *st, int column)
{
	return (struct cm_usage){
		.hits = sqlite3_column_int64(st, column),
		.misses = sqlite3_column_int64(st, column + 1),
		.errors = sqlite3_column_int64(st, column + 2),
		.writes = sqlite3_column_int64(st, column + 3),
		.sent_bytes = sqlite3_column_int64(st, column + 4),
		.received_bytes = sqlite3_column_int64(st, column + 5),
	};
}

/* Rows of day, scope, kind and sums: one of the first two is NULL. */
static int each_row(sqlite3_stmt *st, int r, cm_usage_fn fn, void *arg,
		    struct cm_error *err)
{
	struct cm_usage_row row;

	for (; r > 0; r = cm_db_next(st, err)) {
		row = (struct cm_usage_row){
			.day = sqlite3_column_int64(st, 0),
			.scope = (const char *)sqlite3_column_text(st, 1),
			.kind = (const char *)sqlite3_column_text(st, 2),
			.usage = usage_at(st, 3),
		};
		if (!row.kind)
			return cm_error_nomem(err);
		r = fn(arg, &row);
		if (r != 0)
			return r;
	}
	return r;
}

int cm_store_usage_days(struct cm_store *s, int64_t since_day, cm_usage_fn fn,
			void *arg, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_db_query(db,
				"SELECT day, NULL, kind," SUMS
				" FROM usage WHERE day >= ?"
				" GROUP BY day, kind ORDER BY day, kind",
				&st, err, CM_INT(since_day));
	return each_row(st, r, fn, arg, err);
}

int cm_store_usage_scopes(struct cm_store *s, int64_t since_day, size_t limit,
			  cm_usage_fn fn, void *arg, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t most = limit > INT32_MAX ? INT32_MAX : (int64_t)limit;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_db_query(
			db,
			"WITH top(scope, lookups) AS ("
			" SELECT scope, sum(hits + misses) FROM usage"
			" WHERE day >= ?1 GROUP BY scope"
			" ORDER BY 2 DESC, scope LIMIT ?2)"
			"SELECT 0, u.scope, u.kind," SUMS
			" FROM top CROSS JOIN usage u ON u.scope = top.scope"
			" WHERE u.day >= ?1 GROUP BY u.scope, u.kind"
			" ORDER BY top.lookups DESC, u.scope, u.kind",
			&st, err, CM_INT(since_day), CM_INT(most));
	return each_row(st, r, fn, arg, err);
}
