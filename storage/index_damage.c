/*
 * index_damage.c - manifests that cannot be restored, because a blob that they
 * name was damaged and is gone.
 *
 * `broken` has a row for each such manifest. It counts the reasons: its own
 * bytes, each lost blob that it names, each broken manifest that it names.
 * While it has a row a manifest reads as absent, so that a tag that resolves
 * can be restored. When a lost blob is pushed again the reasons go as they
 * came.
 *
 * A manifest that turns broken, or whole, is passed on to the indexes that
 * name it: by a work list, not by recursion.
 */
#include "index.h"

struct work {
	struct cm_digest *items;
	size_t len;
	size_t cap;
};

static void work_release(struct work *w)
{
	free(w->items);
}

static int work_add(struct work *w, const struct cm_digest *d,
		    struct cm_error *err)
{
	size_t cap = w->cap > 0 ? 2 * w->cap : 16;
	struct cm_digest *grown;

	if (w->len == w->cap) {
		grown = reallocarray(w->items, cap, sizeof(*grown));
		if (!grown)
			return cm_error_nomem(err);
		w->items = grown;
		w->cap = cap;
	}
	w->items[w->len++] = *d;
	return 0;
}

/* Adds the digests of a query that returned `r`. */
static int work_fill(struct work *w, sqlite3_stmt *st, int r,
		     struct cm_error *err)
{
	struct cm_digest d;

	while (r > 0) {
		r = cm_column_digest(st, 0, &d, err);
		if (r == 0)
			r = work_add(w, &d, err);
		if (r == 0)
			r = cm_db_next(st, err);
	}
	return r;
}

/* The manifest of these bytes, and those that name them as a blob. */
static int add_direct(struct cm_tx *tx, int64_t repo_id,
		      const struct cm_digest *d, struct work *w,
		      struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT digest FROM manifests"
			    " WHERE repo_id = ?1 AND digest = ?2"
			    " UNION ALL SELECT manifest FROM manifest_refs"
			    " WHERE repo_id = ?1 AND digest = ?2"
			    " AND (child = 0 OR NOT EXISTS (SELECT 1"
			    "  FROM manifests WHERE repo_id = ?1"
			    "  AND digest = ?2))",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	return work_fill(w, st, r, err);
}

static int add_parents(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, struct work *w,
		       struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT manifest FROM manifest_refs"
			    " WHERE repo_id = ? AND digest = ? AND child = 1",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	return work_fill(w, st, r, err);
}

/* One reason more. 1 if it is the first. */
static int count_up(struct cm_tx *tx, int64_t repo_id,
		    const struct cm_digest *d, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "INSERT INTO broken VALUES(?, ?, 1)"
			    " ON CONFLICT DO UPDATE SET reasons = reasons + 1"
			    " RETURNING reasons",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	return r > 0 ? sqlite3_column_int64(st, 0) == 1 : r;
}

/* One reason less. 1 if it was the last. */
static int count_down(struct cm_tx *tx, int64_t repo_id,
		      const struct cm_digest *d, struct cm_error *err)
{
	int r = cm_db_run(tx->db,
			  "UPDATE broken SET reasons = reasons - 1"
			  " WHERE repo_id = ? AND digest = ?",
			  err, CM_INT(repo_id), CM_DIGEST(d));

	if (r == 0)
		r = cm_db_run(tx->db,
			      "DELETE FROM broken WHERE repo_id = ?"
			      " AND digest = ? AND reasons <= 0",
			      err, CM_INT(repo_id), CM_DIGEST(d));
	return r < 0 ? r : cm_db_changed(tx->db) > 0;
}

/* Counts the reason in `w`, and passes on what turned. */
static int spread(struct cm_tx *tx, int64_t repo_id, struct work *w, bool lost,
		  struct cm_error *err)
{
	struct cm_digest d;
	int r = 0;

	while (r >= 0 && w->len > 0) {
		d = w->items[--w->len];
		r = lost ? count_up(tx, repo_id, &d, err)
			 : count_down(tx, repo_id, &d, err);
		if (r > 0)
			r = add_parents(tx, repo_id, &d, w, err);
	}
	return r < 0 ? r : 0;
}

int cm_damage_spread(struct cm_tx *tx, int64_t repo_id,
		     const struct cm_digest *d, bool lost, struct cm_error *err)
{
	__attribute__((cleanup(work_release))) struct work w = {0};
	int r = add_direct(tx, repo_id, d, &w, err);

	return r < 0 ? r : spread(tx, repo_id, &w, lost, err);
}

int cm_damage_forget(struct cm_tx *tx, int64_t repo_id,
		     const struct cm_digest *d, struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "DELETE FROM broken WHERE repo_id = ? AND digest = ?",
			 err, CM_INT(repo_id), CM_DIGEST(d));
}

int cm_damage_find(struct cm_db *db, int64_t repo_id, const struct cm_digest *d,
		   struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;

	return cm_db_query(db,
			   "SELECT 1 FROM broken"
			   " WHERE repo_id = ? AND digest = ?",
			   &st, err, CM_INT(repo_id), CM_DIGEST(d));
}
