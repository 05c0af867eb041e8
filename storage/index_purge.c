/*
 * index_purge.c - a purge's arithmetic, in temporary tables.
 *
 * The same statements serve the dry run and the real thing, so both count
 * alike. They live in TEMP, which is each connection's own and in memory: a
 * dry run works on a reader and blocks nobody.
 *
 *	doomed_tags		what the filter matches
 *	doomed_manifests	that no other tag and no other index names
 *	doomed_links		that only doomed manifests name
 */
#include <stdio.h>

#include <cachemount/units.h>

#include "index_purge.h"

#define TAGS_A_BATCH	100
#define INDEX_DEPTH_MAX 8 /* an index of an index of … */

static const char tables[] =
	"CREATE TEMP TABLE IF NOT EXISTS doomed_tags("
	"	repo_id INTEGER, name TEXT, digest BLOB,"
	"	PRIMARY KEY(repo_id, name)) WITHOUT ROWID;"
	"CREATE TEMP TABLE IF NOT EXISTS doomed_manifests("
	"	repo_id INTEGER, digest BLOB,"
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"
	"CREATE TEMP TABLE IF NOT EXISTS doomed_links("
	"	repo_id INTEGER, digest BLOB,"
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"
	"DELETE FROM doomed_tags; DELETE FROM doomed_manifests;"
	"DELETE FROM doomed_links;";

/* In the order of names, so that the next batch begins behind this one. */
static int choose_tags(struct cm_db *db, const struct cm_purge_filter *f,
		       const struct cm_purge_place *after, int64_t limit,
		       struct cm_error *err)
{
	struct cm_name_range range;

	cm_name_range_of(f->repo, f->repo_prefix, &range);
	return cm_db_run(
		db,
		"INSERT INTO doomed_tags SELECT t.repo_id, t.name, t.digest"
		" FROM repositories r CROSS JOIN tags t ON t.repo_id = r.id"
		" WHERE r.name >= max(?1, ?8) AND r.name < ?2"
		" AND (r.name = ?1 OR r.name >= ?3)"
		" AND (r.name > ?8 OR t.name > ?9)"
		" AND (?4 IS NULL OR t.name = ?4)"
		" AND (?5 = 0 OR t.updated_ms < ?5)"
		" AND (?6 = 0 OR max(t.pulled_ms, t.updated_ms) < ?6)"
		" AND (?7 IS NULL OR t.writer = ?7)"
		" ORDER BY r.name, t.name LIMIT ?10",
		err, CM_TEXT(range.exact), CM_TEXT(range.until),
		CM_TEXT(range.from), CM_TEXT(f->tag),
		CM_INT(f->updated_before_ms), CM_INT(f->pulled_before_ms),
		CM_TEXT(f->writer), CM_TEXT(after->repo), CM_TEXT(after->tag),
		CM_INT(limit));
}

static int last_chosen(struct cm_db *db, struct cm_purge_place *ret,
		       struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const char *repo, *tag;
	int r = cm_db_query(db,
			    "SELECT r.name, d.name FROM doomed_tags d CROSS"
			    " JOIN repositories r ON r.id = d.repo_id"
			    " ORDER BY r.name DESC, d.name DESC LIMIT 1",
			    &st, err);

	if (r <= 0)
		return r;
	repo = (const char *)sqlite3_column_text(st, 0);
	tag = (const char *)sqlite3_column_text(st, 1);
	if (!repo || !tag)
		return cm_error_nomem(err);
	snprintf(ret->repo, sizeof(ret->repo), "%s", repo);
	snprintf(ret->tag, sizeof(ret->tag), "%s", tag);
	return 0;
}

static int choose_tagged_manifests(struct cm_db *db, struct cm_error *err)
{
	return cm_db_run(
		db,
		"INSERT INTO doomed_manifests SELECT m.repo_id, m.digest FROM"
		" (SELECT repo_id, digest, count(*) AS n FROM doomed_tags"
		"  GROUP BY repo_id, digest) d CROSS JOIN manifests m"
		" ON m.repo_id = d.repo_id AND m.digest = d.digest"
		" WHERE m.tags = d.n AND m.parents = 0",
		err);
}

/* Untagged manifests that only doomed indexes name; one level a call. */
static int choose_children(struct cm_db *db, int64_t *ret_added,
			   struct cm_error *err)
{
	int r = cm_db_run(db,
			  "INSERT OR IGNORE INTO doomed_manifests"
			  " SELECT m.repo_id, m.digest FROM"
			  " (SELECT e.repo_id, e.digest, count(*) AS n"
			  "  FROM doomed_manifests d CROSS JOIN manifest_refs e"
			  "  ON e.repo_id = d.repo_id AND e.manifest = d.digest"
			  "  WHERE e.child = 1 GROUP BY e.repo_id, e.digest) c"
			  " CROSS JOIN manifests m"
			  " ON m.repo_id = c.repo_id AND m.digest = c.digest"
			  " WHERE m.parents = c.n AND m.tags ="
			  " (SELECT count(*) FROM doomed_tags t WHERE"
			  "  t.repo_id = m.repo_id AND t.digest = m.digest)",
			  err);

	*ret_added = cm_db_changed(db);
	return r;
}

static int choose_links(struct cm_db *db, struct cm_error *err)
{
	return cm_db_run(
		db,
		"INSERT INTO doomed_links SELECT l.repo_id, l.digest FROM"
		" (SELECT repo_id, digest, sum(n) AS n FROM"
		"  (SELECT e.repo_id, e.digest, count(*) AS n"
		"   FROM doomed_manifests d CROSS JOIN manifest_refs e"
		"   ON e.repo_id = d.repo_id AND e.manifest = d.digest"
		"   GROUP BY e.repo_id, e.digest"
		"   UNION ALL SELECT repo_id, digest, 1 FROM doomed_manifests)"
		"  GROUP BY repo_id, digest) c CROSS JOIN repo_blobs l"
		" ON l.repo_id = c.repo_id AND l.digest = c.digest"
		" WHERE l.refs = c.n",
		err);
}

static int count_one(struct cm_db *db, const char *sql, int64_t *a, int64_t *b,
		     struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, sql, &st, err);

	if (r > 0) {
		*a = sqlite3_column_int64(st, 0);
		if (b)
			*b = sqlite3_column_int64(st, 1);
	}
	return r < 0 ? r : 0;
}

static int count_all(struct cm_db *db, struct cm_purge_result *ret,
		     struct cm_error *err)
{
	int r = count_one(db, "SELECT count(*) FROM doomed_tags", &ret->tags,
			  NULL, err);

	if (r == 0)
		r = count_one(db, "SELECT count(*) FROM doomed_manifests",
			      &ret->manifests, NULL, err);
	if (r == 0)
		r = count_one(db,
			      "SELECT count(*), coalesce(sum(stored_size), 0)"
			      " FROM (SELECT digest, count(*) AS n"
			      "  FROM doomed_links GROUP BY digest) d"
			      " CROSS JOIN blobs b ON b.digest = d.digest"
			      " WHERE b.holders = d.n",
			      &ret->blobs, &ret->bytes, err);
	return r;
}

int cm_purge_choose(struct cm_db *db, const struct cm_purge_filter *filter,
		    struct cm_purge_place *place, struct cm_purge_result *ret,
		    struct cm_error *err)
{
	static const struct cm_purge_place start;
	int64_t added = 1;
	int r = cm_db_exec(db, tables, err);

	if (r == 0)
		r = choose_tags(db, filter, place ? place : &start,
				place ? TAGS_A_BATCH : -1, err);
	if (r == 0 && place)
		r = last_chosen(db, place, err);
	if (r == 0)
		r = choose_tagged_manifests(db, err);
	for (int depth = 0; r == 0 && added > 0 && depth < INDEX_DEPTH_MAX;
	     depth++)
		r = choose_children(db, &added, err);
	if (r == 0)
		r = choose_links(db, err);
	if (r == 0)
		r = count_all(db, ret, err);
	return r;
}

/* ---- applying -------------------------------------------------------------
 */

static int remove_tags(struct cm_tx *tx, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db, "SELECT repo_id, name FROM doomed_tags",
			    &st, err);

	while (r > 0) {
		r = cm_tag_remove(tx, sqlite3_column_int64(st, 0),
				  (const char *)sqlite3_column_text(st, 1),
				  err);
		if (r >= 0)
			r = cm_db_next(st, err);
	}
	return r;
}

static int remove_manifests(struct cm_tx *tx, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_digest d;
	int r = cm_db_query(tx->db,
			    "SELECT repo_id, digest FROM doomed_manifests", &st,
			    err);

	while (r > 0) {
		r = cm_column_digest(st, 1, &d, err);
		if (r == 0)
			r = cm_manifest_remove(tx, sqlite3_column_int64(st, 0),
					       &d, tx->now_ms, err);
		if (r == 0)
			r = cm_db_next(st, err);
	}
	return r;
}

/* Links that nobody was promised are due at once: since the year dot. */
static int make_due(struct cm_tx *tx, struct cm_leases *leases,
		    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t now = cm_monotonic_ms(), repo_id;
	struct cm_digest d;
	int r = cm_db_query(tx->db, "SELECT repo_id, digest FROM doomed_links",
			    &st, err);

	while (r > 0) {
		repo_id = sqlite3_column_int64(st, 0);
		r = cm_column_digest(st, 1, &d, err);
		if (r == 0 && !cm_lease_held(leases, repo_id, &d, now))
			r = cm_db_run(tx->db,
				      "UPDATE repo_blobs SET since_ms = 0 WHERE"
				      " repo_id = ? AND digest = ? AND"
				      " refs = 0",
				      err, CM_INT(repo_id), CM_DIGEST(&d));
		if (r == 0)
			r = cm_db_next(st, err);
	}
	return r;
}

int cm_purge_apply(struct cm_tx *tx, struct cm_leases *leases,
		   struct cm_error *err)
{
	int r = remove_tags(tx, err);

	if (r == 0)
		r = remove_manifests(tx, err);
	if (r == 0)
		r = make_due(tx, leases, err);
	return r;
}
