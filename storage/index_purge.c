/*
 * index_purge.c - which tags a purge is about, and what falls with them.
 *
 * Tags are looked for by a reader, in the order of names, so that a filter
 * that matches little does not hold up the writer. The writer then takes as
 * many of them as make up a bounded number of rows, after it has seen that
 * each still matches.
 *
 * What falls with them is worked out in tables of the connection:
 *
 *	doomed_tags		the tags
 *	doomed_targets		how many of them name a manifest
 *	doomed_manifests	that no other tag and no other index names
 *	doomed_parents		how many doomed indexes name a manifest
 *	doomed_counts		how often doomed manifests name a link
 *	doomed_links		that only doomed manifests name
 *	doomed_blobs		how many doomed links a blob has
 *
 * The same statements serve the removal and the dry run, so both count alike.
 * For a batch of the removal the tables are in TEMP, which is small. A dry run
 * takes everything at once: its tables lie in a scratch file, and nothing here
 * sorts or groups, so that memory does not grow with what matches.
 */
#include <string.h>

#include <cachemount/units.h>

#include "index_purge.h"

#define ROWS_A_BATCH	5000
#define INDEX_DEPTH_MAX 8 /* an index of an index of … */

#define TABLES(schema)                                                         \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_tags("                   \
	"	repo_id INTEGER, name TEXT, digest BLOB,"                            \
	"	PRIMARY KEY(repo_id, name)) WITHOUT ROWID;"                          \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_targets("                \
	"	repo_id INTEGER, digest BLOB, n INTEGER,"                            \
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"                        \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_manifests("              \
	"	repo_id INTEGER, digest BLOB,"                                       \
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"                        \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_parents("                \
	"	repo_id INTEGER, digest BLOB, n INTEGER,"                            \
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"                        \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_counts("                 \
	"	repo_id INTEGER, digest BLOB, n INTEGER,"                            \
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"                        \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_links("                  \
	"	repo_id INTEGER, digest BLOB,"                                       \
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"                        \
	"CREATE TABLE IF NOT EXISTS " schema ".doomed_blobs("                  \
	"	digest BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID;"

/* ---- which tags -----------------------------------------------------------
 */

/* What of a tag must match; the repository's name is seen to by the walk. */
#define CONDITIONS                                                             \
	" (?1 IS NULL OR t.name = ?1)"                                         \
	" AND (?2 = 0 OR t.updated_ms < ?2)"                                   \
	" AND (?3 = 0 OR max(t.pulled_ms, t.updated_ms) < ?3)"                 \
	" AND (?4 IS NULL OR t.writer = ?4)"

#define CONDITION_BINDS(f)                                                     \
	CM_TEXT((f)->tag), CM_INT((f)->updated_before_ms),                     \
		CM_INT((f)->pulled_before_ms), CM_TEXT((f)->writer)

static int read_tag(sqlite3_stmt *st, struct cm_purge_place *place,
		    struct cm_purge_tag *ret, struct cm_error *err)
{
	const char *tag = (const char *)sqlite3_column_text(st, 1);
	const char *repo = (const char *)sqlite3_column_text(st, 2);

	if (!tag || !repo)
		return cm_error_nomem(err);
	if (strlen(tag) > CM_TAG_MAX || strlen(repo) > CM_REPOSITORY_MAX)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "index: a name is too long");
	ret->repo_id = sqlite3_column_int64(st, 0);
	strcpy(ret->name, tag);
	strcpy(place->tag, tag);
	strcpy(place->repo, repo);
	return 0;
}

int cm_purge_find(struct cm_db *db, const struct cm_purge_filter *f,
		  struct cm_purge_place *place, struct cm_purge_tag *tags,
		  size_t max, size_t *ret, struct cm_error *err)
{
	struct cm_purge_place after = *place;
	struct cm_name_range range;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r;

	*ret = 0;
	cm_name_range_of(f->repo, f->repo_prefix, &range);
	r = cm_db_query(
		db,
		"SELECT t.repo_id, t.name, r.name"
		" FROM repositories r CROSS JOIN tags t ON t.repo_id = r.id"
		" WHERE" CONDITIONS " AND r.name >= max(?5, ?8) AND r.name < ?6"
		" AND (r.name = ?5 OR r.name >= ?7)"
		" AND (r.name > ?8 OR t.name > ?9)"
		" ORDER BY r.name, t.name LIMIT ?10",
		&st, err, CONDITION_BINDS(f), CM_TEXT(range.exact),
		CM_TEXT(range.until), CM_TEXT(range.from), CM_TEXT(after.repo),
		CM_TEXT(after.tag), CM_INT((int64_t)max));
	for (; r > 0 && *ret < max; r = r == 0 ? cm_db_next(st, err) : r) {
		r = read_tag(st, place, &tags[*ret], err);
		(*ret)++;
	}
	return r < 0 ? r : 0;
}

/* Dooms a tag, if it is still there and matches: 1, else 0. */
static int doom_tag(struct cm_db *db, const struct cm_purge_filter *f,
		    const struct cm_purge_tag *tag, struct cm_digest *ret,
		    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(
		db,
		"INSERT INTO doomed_tags SELECT t.repo_id, t.name, t.digest"
		" FROM tags t WHERE" CONDITIONS
		" AND t.repo_id = ?5 AND t.name = ?6 RETURNING digest",
		&st, err, CONDITION_BINDS(f), CM_INT(tag->repo_id),
		CM_TEXT(tag->name));

	if (r <= 0)
		return r;
	r = cm_column_digest(st, 0, ret, err);
	cm_stmt_reset(cm_take_ptr(st));
	if (r == 0)
		r = cm_db_run(db,
			      "INSERT INTO doomed_targets VALUES(?, ?, 1)"
			      " ON CONFLICT DO UPDATE SET n = n + 1",
			      err, CM_INT(tag->repo_id), CM_DIGEST(ret));
	return r < 0 ? r : 1;
}

int cm_purge_take(struct cm_db *db, const struct cm_purge_filter *f,
		  const struct cm_purge_tag *tags, size_t n, bool all,
		  size_t *ret_taken, struct cm_error *err)
{
	int64_t rows = 0, weight;
	struct cm_digest d;
	int r = 0;

	for (*ret_taken = 0; *ret_taken < n; (*ret_taken)++) {
		if (!all && rows >= ROWS_A_BATCH)
			break;
		r = doom_tag(db, f, &tags[*ret_taken], &d, err);
		weight = 1;
		if (r > 0 && !all)
			r = cm_manifest_weight(db, tags[*ret_taken].repo_id, &d,
					       &weight, err);
		if (r < 0)
			break;
		rows += weight;
	}
	return r < 0 ? r : 0;
}

/* ---- what falls with them --------------------------------------------------
 */

int cm_purge_tables(struct cm_db *db, const char *scratch, struct cm_error *err)
{
	int r;

	if (!scratch)
		return cm_db_exec(db,
				  TABLES("temp") "DELETE FROM doomed_tags;"
						 "DELETE FROM doomed_targets;"
						 "DELETE FROM doomed_manifests;"
						 "DELETE FROM doomed_parents;"
						 "DELETE FROM doomed_counts;"
						 "DELETE FROM doomed_links;"
						 "DELETE FROM doomed_blobs;",
				  err);
	r = cm_db_run(db, "ATTACH ? AS scratch", err, CM_TEXT(scratch));
	return r < 0 ? r
		     : cm_db_exec(db,
				  "PRAGMA scratch.journal_mode = OFF;"
				  "PRAGMA scratch.synchronous = OFF;"
				  "PRAGMA scratch.cache_size = -8192;" TABLES(
					  "scratch"),
				  err);
}

static int choose_tagged_manifests(struct cm_db *db, struct cm_error *err)
{
	return cm_db_run(
		db,
		"INSERT INTO doomed_manifests SELECT m.repo_id, m.digest"
		" FROM doomed_targets d CROSS JOIN manifests m"
		" ON m.repo_id = d.repo_id AND m.digest = d.digest"
		" WHERE m.tags = d.n AND m.parents = 0",
		err);
}

static int count_parents(struct cm_db *db, struct cm_error *err)
{
	int r = cm_db_run(db, "DELETE FROM doomed_parents", err);

	return r < 0 ? r
		     : cm_db_run(db,
				 "INSERT INTO doomed_parents"
				 " SELECT e.repo_id, e.digest, 1"
				 " FROM doomed_manifests d"
				 " CROSS JOIN manifest_refs e"
				 " ON e.repo_id = d.repo_id"
				 " AND e.manifest = d.digest WHERE e.child = 1"
				 " ON CONFLICT DO UPDATE SET n = n + 1",
				 err);
}

/* Untagged manifests that only doomed indexes name; one level a call. */
static int choose_children(struct cm_db *db, int64_t *ret_added,
			   struct cm_error *err)
{
	int r = count_parents(db, err);

	*ret_added = 0;
	if (r < 0)
		return r;
	r = cm_db_run(db,
		      "INSERT OR IGNORE INTO doomed_manifests"
		      " SELECT m.repo_id, m.digest FROM doomed_parents p"
		      " CROSS JOIN manifests m"
		      " ON m.repo_id = p.repo_id AND m.digest = p.digest"
		      " WHERE m.parents = p.n AND m.tags = ifnull((SELECT n"
		      "  FROM doomed_targets t WHERE t.repo_id = m.repo_id"
		      "  AND t.digest = m.digest), 0)",
		      err);
	*ret_added = cm_db_changed(db);
	return r;
}

static int count_names(struct cm_db *db, struct cm_error *err)
{
	int r = cm_db_run(db,
			  "INSERT INTO doomed_counts"
			  " SELECT e.repo_id, e.digest, 1"
			  " FROM doomed_manifests d CROSS JOIN manifest_refs e"
			  " ON e.repo_id = d.repo_id AND e.manifest = d.digest"
			  " WHERE true ON CONFLICT DO UPDATE SET n = n + 1",
			  err);

	/* A manifest's own link is named by itself. */
	return r < 0 ? r
		     : cm_db_run(db,
				 "INSERT INTO doomed_counts"
				 " SELECT repo_id, digest, 1"
				 " FROM doomed_manifests WHERE true"
				 " ON CONFLICT DO UPDATE SET n = n + 1",
				 err);
}

static int choose_links(struct cm_db *db, struct cm_error *err)
{
	int r = count_names(db, err);

	if (r == 0)
		r = cm_db_run(
			db,
			"INSERT INTO doomed_links SELECT l.repo_id, l.digest"
			" FROM doomed_counts c CROSS JOIN repo_blobs l"
			" ON l.repo_id = c.repo_id AND l.digest = c.digest"
			" WHERE l.refs = c.n",
			err);
	if (r == 0)
		r = cm_db_run(db,
			      "INSERT INTO doomed_blobs SELECT digest, 1"
			      " FROM doomed_links WHERE true"
			      " ON CONFLICT DO UPDATE SET n = n + 1",
			      err);
	return r;
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
			      "SELECT count(*), coalesce(sum(b.stored_size), 0)"
			      " FROM doomed_blobs d CROSS JOIN blobs b"
			      " ON b.digest = d.digest WHERE b.holders = d.n",
			      &ret->blobs, &ret->bytes, err);
	return r;
}

int cm_purge_count(struct cm_db *db, struct cm_purge_result *ret,
		   struct cm_error *err)
{
	int64_t added = 1;
	int r = choose_tagged_manifests(db, err);

	for (int depth = 0; r == 0 && added > 0 && depth < INDEX_DEPTH_MAX;
	     depth++)
		r = choose_children(db, &added, err);
	if (r == 0)
		r = choose_links(db, err);
	return r < 0 ? r : count_all(db, ret, err);
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
