/*
 * index_check.c - the index against itself.
 *
 * A table of checks in an order in which each may rely on the ones before:
 * what refers to nothing goes first, then the counts of what is left, then
 * what is broken, then the sums. Each check is a query for how much is wrong,
 * and statements that mend it, in a transaction of its own: killed in between,
 * it goes on from there when it is run again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "index_check.h"

struct table_check {
	const char *what;   /* after a number */
	const char *count;  /* how many are wrong */
	const char *repair; /* statements */
};

#define NO_REPO(t)                                                             \
	"(SELECT count(*) FROM " t                                             \
	" t WHERE NOT EXISTS (SELECT 1 FROM repositories r"                    \
	" WHERE r.id = t.repo_id))"
#define DELETE_NO_REPO(t)                                                      \
	"DELETE FROM " t " WHERE repo_id NOT IN (SELECT id FROM "              \
	"repositories);"

/* What a correlated query looks for, from the row `x` of the outer one. */
#define MANIFEST_OF(x, d)                                                      \
	"EXISTS (SELECT 1 FROM manifests m2 WHERE m2.repo_id = " x             \
	".repo_id AND m2.digest = " x "." d ")"
#define NOT_DYING(x, d)                                                        \
	" AND NOT EXISTS (SELECT 1 FROM dying g WHERE g.repo_id = " x          \
	".repo_id AND g.digest = " x "." d ")"
#define LINK_OF(x, d)                                                          \
	"EXISTS (SELECT 1 FROM repo_blobs l2 WHERE l2.repo_id = " x            \
	".repo_id AND l2.digest = " x "." d ")"

#define LINK_REFS                                                              \
	"((SELECT count(*) FROM manifest_refs e"                               \
	"  WHERE e.repo_id = repo_blobs.repo_id"                               \
	"  AND e.digest = repo_blobs.digest) +"                                \
	" (SELECT count(*) FROM manifests m"                                   \
	"  WHERE m.repo_id = repo_blobs.repo_id"                               \
	"  AND m.digest = repo_blobs.digest))"
#define BLOB_HOLDERS                                                           \
	"(SELECT count(*) FROM repo_blobs l WHERE l.digest = blobs.digest)"
#define MANIFEST_TAGS                                                          \
	"(SELECT count(*) FROM tags t WHERE t.repo_id = manifests.repo_id"     \
	" AND t.digest = manifests.digest)"
#define MANIFEST_PARENTS                                                       \
	"(SELECT count(*) FROM manifest_refs e"                                \
	" WHERE e.child = 1 AND e.repo_id = manifests.repo_id"                 \
	" AND e.digest = manifests.digest)"
#define REPO_MANIFESTS                                                         \
	"(SELECT count(*) FROM manifests m"                                    \
	" WHERE m.repo_id = repositories.id)"

#define SCOPE_NAME(r) "substr(" r ".name, 1, instr(" r ".name || '/', '/') - 1)"
#define SCOPE_OF(x)                                                            \
	"(SELECT r.scope FROM repositories r WHERE r.id = " x ".repo_id)"
#define SCOPE_BYTES                                                            \
	"(SELECT coalesce(sum(b.size), 0) FROM repositories r"                 \
	" CROSS JOIN repo_blobs l ON l.repo_id = r.id"                         \
	" CROSS JOIN blobs b ON b.digest = l.digest"                           \
	" WHERE r.scope = scopes.id)"

static const struct table_check checks[] = {
	{"rows of repositories that are not there",
	 "SELECT " NO_REPO("tags") " + " NO_REPO("manifests") " + " NO_REPO(
		 "manifest_refs") " + " NO_REPO("repo_blobs"),
	 DELETE_NO_REPO("tags") DELETE_NO_REPO("manifests")
		 DELETE_NO_REPO("manifest_refs") DELETE_NO_REPO("repo_blobs")},
	{"tags name no manifest",
	 "SELECT count(*) FROM tags t WHERE NOT " MANIFEST_OF("t", "digest"),
	 "DELETE FROM tags WHERE NOT " MANIFEST_OF("tags", "digest")},
	{"references belong to no manifest",
	 "SELECT count(*) FROM manifest_refs e"
	 " WHERE NOT " MANIFEST_OF("e", "manifest") NOT_DYING("e", "manifest"),
	 "DELETE FROM manifest_refs"
	 " WHERE NOT " MANIFEST_OF("manifest_refs", "manifest")
		 NOT_DYING("manifest_refs", "manifest")},
	{"referrers are manifests that are not there",
	 "SELECT count(*) FROM referrers r"
	 " WHERE NOT " MANIFEST_OF("r", "manifest"),
	 "DELETE FROM referrers"
	 " WHERE NOT " MANIFEST_OF("referrers", "manifest")},
	{"links lead to no blob",
	 "SELECT count(*) FROM repo_blobs l WHERE NOT EXISTS"
	 " (SELECT 1 FROM blobs b WHERE b.digest = l.digest)",
	 "DELETE FROM repo_blobs WHERE NOT EXISTS"
	 " (SELECT 1 FROM blobs b WHERE b.digest = repo_blobs.digest)"},
	{"blobs are held by no repository",
	 "SELECT count(*) FROM blobs WHERE " BLOB_HOLDERS " = 0",
	 "DELETE FROM blobs WHERE " BLOB_HOLDERS " = 0"},
	{"small blobs' bytes belong to no blob",
	 "SELECT count(*) FROM blob_data WHERE id NOT IN"
	 " (SELECT inline_id FROM blobs)",
	 "DELETE FROM blob_data WHERE id NOT IN (SELECT inline_id FROM blobs)"},
	{"blobs have a wrong count of holders",
	 "SELECT count(*) FROM blobs WHERE holders <> " BLOB_HOLDERS,
	 "UPDATE blobs SET holders = " BLOB_HOLDERS
	 " WHERE holders <> " BLOB_HOLDERS},
	{"links have a wrong count of references",
	 "SELECT count(*) FROM repo_blobs WHERE refs <> " LINK_REFS,
	 "UPDATE repo_blobs SET refs = " LINK_REFS " WHERE refs <> " LINK_REFS},
	{"manifests have a wrong count of tags",
	 "SELECT count(*) FROM manifests WHERE tags <> " MANIFEST_TAGS,
	 "UPDATE manifests SET tags = " MANIFEST_TAGS
	 " WHERE tags <> " MANIFEST_TAGS},
	{"manifests have a wrong count of indexes",
	 "SELECT count(*) FROM manifests WHERE parents <> " MANIFEST_PARENTS,
	 "UPDATE manifests SET parents = " MANIFEST_PARENTS
	 " WHERE parents <> " MANIFEST_PARENTS},
	{"repositories have a wrong count of manifests",
	 "SELECT count(*) FROM repositories WHERE manifests <> " REPO_MANIFESTS,
	 "UPDATE repositories SET manifests = " REPO_MANIFESTS
	 " WHERE manifests <> " REPO_MANIFESTS},
	{"repositories are in a wrong scope",
	 "SELECT count(*) FROM repositories r LEFT JOIN scopes s"
	 " ON s.id = r.scope WHERE s.name IS NOT " SCOPE_NAME("r"),
	 "INSERT OR IGNORE INTO scopes(name)"
	 " SELECT DISTINCT " SCOPE_NAME("r") " FROM repositories r;"
					     "UPDATE repositories SET scope = "
					     "(SELECT s.id FROM scopes s"
					     " WHERE s.name = " SCOPE_NAME(
						     "repositories") ")"},
	{"tags are in a wrong scope",
	 "SELECT count(*) FROM tags WHERE scope <> " SCOPE_OF("tags"),
	 "UPDATE tags SET scope = " SCOPE_OF(
		 "tags") " WHERE scope <> " SCOPE_OF("tags")},
	{"manifests are in a wrong scope",
	 "SELECT count(*) FROM manifests WHERE scope <> " SCOPE_OF("manifests"),
	 "UPDATE manifests SET scope = " SCOPE_OF(
		 "manifests") " WHERE scope <> " SCOPE_OF("manifests")},
	{"scopes have a wrong sum of bytes",
	 "SELECT count(*) FROM scopes WHERE bytes <> " SCOPE_BYTES,
	 "UPDATE scopes SET bytes = " SCOPE_BYTES
	 " WHERE bytes <> " SCOPE_BYTES},
	/* What `expected` holds: expect_broken(). */
	{"manifests are wrongly taken for whole, or for broken",
	 "SELECT (SELECT count(*) FROM (SELECT * FROM expected EXCEPT"
	 " SELECT repo_id, digest, reasons FROM broken)) +"
	 " (SELECT count(*) FROM (SELECT repo_id, digest, reasons"
	 " FROM broken b WHERE 1" NOT_DYING(
		 "b", "digest") " EXCEPT SELECT * FROM expected))",
	 "DELETE FROM broken;"
	 "INSERT INTO broken(repo_id, digest, reasons)"
	 " SELECT repo_id, digest, reasons FROM expected"},
};

#define CHECKS	     (sizeof(checks) / sizeof(checks[0]))
#define CHECK_BROKEN (CHECKS - 1)

static const struct {
	const char *name, *recount;
} sums[] = {
	{"repositories",
	 "SELECT count(*) FROM repositories WHERE manifests > 0"},
	{"tags", "SELECT count(*) FROM tags"},
	{"manifests", "SELECT count(*) FROM manifests"},
	{"blobs", "SELECT count(*) FROM blobs"},
	{"content_bytes", "SELECT coalesce(sum(size), 0) FROM blobs"},
	{"stored_bytes", "SELECT coalesce(sum(stored_size), 0) FROM blobs"},
	{"referenced_bytes",
	 "SELECT coalesce(sum(size * holders), 0) FROM blobs"},
	{"uploads", "SELECT count(*) FROM uploads"},
	{"file_bytes",
	 "SELECT coalesce(sum((stored_size + 4095) / 4096 * 4096), 0)"
	 " FROM blobs WHERE inline_id = 0"},
	{"pinned_tags", "SELECT count(*) FROM tags WHERE pinned > 0"},
	{"pinned_bytes",
	 "SELECT coalesce(sum(m.content_size), 0) FROM tags t CROSS JOIN"
	 " manifests m ON m.repo_id = t.repo_id AND m.digest = t.digest"
	 " WHERE t.pinned > 0"},
};

/* ---- running statements ---------------------------------------------- */

/* The first column of the first row; unlike cm_db_query(), any text. */
static int number_of(struct cm_db *db, const char *sql, int64_t *ret,
		     struct cm_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->handle, sql, -1, &st, NULL);

	*ret = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	return cm_db_error(db->handle, rc, err);
}

static int in_transaction(struct cm_db *db, const char *sql,
			  struct cm_error *err)
{
	int r = cm_db_exec(db, "BEGIN IMMEDIATE", err);

	if (r == 0)
		r = cm_db_exec(db, sql, err);
	if (r == 0)
		r = cm_db_exec(db, "COMMIT", err);
	if (r < 0 && !sqlite3_get_autocommit(db->handle))
		cm_db_exec(db, "ROLLBACK", NULL);
	return r;
}

/* ---- what is broken -------------------------------------------------- */

/* Reasons of its own, as index_damage.c counts them. */
static const char direct_reasons[] =
	"DROP TABLE IF EXISTS temp.expected;"
	"CREATE TEMP TABLE expected(repo_id INTEGER, digest BLOB,"
	" reasons INTEGER, PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"
	"INSERT INTO expected SELECT repo_id, digest, n FROM"
	" (SELECT m.repo_id, m.digest, (NOT " LINK_OF(
		"m",
		"digest") ") +"
			  "  (SELECT count(*) FROM manifest_refs e WHERE"
			  "   e.repo_id = m.repo_id AND e.manifest = m.digest"
			  "   AND NOT " LINK_OF(
				  "e", "digest") "   AND NOT (e.child = 1 "
						 "AND " MANIFEST_OF(
							 "e", "digest") ")) "
									"AS n"
									"  "
									"FROM "
									"manif"
									"ests "
									"m) "
									"WHERE"
									" n > "
									"0;";

/* Who names one that is broken is. */
static const char next_parents[] =
	"INSERT OR IGNORE INTO expected"
	" SELECT e.repo_id, e.manifest, 0 FROM expected x"
	" CROSS JOIN manifest_refs e ON e.repo_id = x.repo_id"
	" AND e.digest = x.digest WHERE e.child = 1";

static const char parents_reasons[] =
	"UPDATE expected SET reasons = reasons +"
	" (SELECT count(*) FROM manifest_refs e CROSS JOIN expected c"
	"  ON c.repo_id = e.repo_id AND c.digest = e.digest"
	"  WHERE e.repo_id = expected.repo_id"
	"  AND e.manifest = expected.digest AND e.child = 1)";

static int expect_broken(struct cm_db *db, struct cm_error *err)
{
	int r = cm_db_exec(db, direct_reasons, err);

	/* Ends: each turn adds one of the manifests, or nothing. */
	while (r == 0) {
		r = cm_db_exec(db, next_parents, err);
		if (cm_db_changed(db) == 0)
			break;
	}
	return r == 0 ? cm_db_exec(db, parents_reasons, err) : r;
}

/* ---- the checks ------------------------------------------------------ */

struct check {
	struct cm_db *db;
	bool repair;
	cm_table_fn fn;
	void *arg;
};

static int check_table(const struct check *c, const struct table_check *t,
		       struct cm_error *err)
{
	char text[160];
	int64_t wrong;
	int r = number_of(c->db, t->count, &wrong, err);

	if (r < 0 || wrong == 0)
		return r;
	if (c->repair)
		r = in_transaction(c->db, t->repair, err);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%" PRId64 " %s", wrong, t->what);
	c->fn(c->arg, "tables", text, c->repair);
	return 0;
}

static int read_total(struct cm_db *db, const char *name, int64_t *ret,
		      struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, "SELECT value FROM totals WHERE name = ?", &st,
			    err, CM_TEXT(name));

	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

static int check_sum(const struct check *c, const char *name,
		     const char *recount, struct cm_error *err)
{
	int64_t is = 0, should = 0;
	char text[160];
	int r = read_total(c->db, name, &is, err);

	if (r == 0)
		r = number_of(c->db, recount, &should, err);
	if (r < 0 || is == should)
		return r;
	if (c->repair)
		r = cm_db_run(c->db,
			      "INSERT OR REPLACE INTO totals VALUES(?, ?)", err,
			      CM_TEXT(name), CM_INT(should));
	if (r < 0)
		return r;
	snprintf(text, sizeof(text),
		 "the total \"%s\" is %" PRId64 ", a recount gives %" PRId64,
		 name, is, should);
	c->fn(c->arg, "totals", text, c->repair);
	return 0;
}

int cm_index_check_tables(struct cm_db *db, bool repair, cm_table_fn fn,
			  void *arg, struct cm_error *err)
{
	struct check c = {.db = db, .repair = repair, .fn = fn, .arg = arg};
	int r = 0;

	for (size_t i = 0; r == 0 && i < CHECKS; i++) {
		if (i == CHECK_BROKEN)
			r = expect_broken(db, err);
		if (r == 0)
			r = check_table(&c, &checks[i], err);
	}
	for (size_t i = 0; r == 0 && i < sizeof(sums) / sizeof(sums[0]); i++)
		r = check_sum(&c, sums[i].name, sums[i].recount, err);
	return r;
}

int cm_index_count(struct cm_db *db, int64_t *ret_tags, int64_t *ret_blobs,
		   struct cm_error *err)
{
	int r = read_total(db, "tags", ret_tags, err);

	return r == 0 ? read_total(db, "blobs", ret_blobs, err) : r;
}
