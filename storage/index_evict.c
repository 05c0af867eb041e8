/*
 * index_evict.c - least recently used first: tags, and manifests that neither
 * tag nor index names.
 *
 * The order is that of `used` (schema.c). Two partial indexes, for all and for
 * a scope, give the first of each kind in a few steps, however much there is;
 * what is pinned is not in them. A tag is as old as its last use under its own
 * name, or that of its manifest by digest, whichever came later: the second is
 * only looked at when the tag has come to the front, which then moves it back.
 *
 * A tag goes with its manifest, if nothing else names that. An index leaves its
 * children behind, which then are manifests that nothing names and have their
 * own place in the order: a platform that nobody pulled goes next.
 *
 * A manifest that is leased moves to the back, as if it had just been used.
 */
#include <string.h>

#include <cachemount/units.h>

#include "index_evict.h"

#define GHOSTS_MAX  10000
#define BATCH_MS    5 /* of the writer; one step more may be under way */
#define BATCH_STEPS 256

/* What is at the front: a tag, or a manifest. */
struct entry {
	int64_t repo_id;
	char tag[CM_TAG_MAX + 1]; /* "": a manifest */
	struct cm_digest digest;
	int64_t used;
	int64_t idle_since_ms;

	/* Of the manifest. */
	int64_t manifest_used;
	int64_t content;
	bool alone; /* nothing else names it */
};

/* ---- the front ------------------------------------------------------------
 */

#define TAG_COLUMNS                                                            \
	"SELECT t.repo_id, t.digest, t.used,"                                  \
	" max(t.pulled_ms, t.updated_ms, (m.used >= t.used) * m.used_ms),"     \
	" m.used, m.content_size, m.tags = 1 AND m.parents = 0, t.name"

#define TAG_MANIFEST                                                           \
	" CROSS JOIN manifests m"                                              \
	" ON m.repo_id = t.repo_id AND m.digest = t.digest"

static int query_tag(struct cm_db *db, int64_t scope, sqlite3_stmt **st,
		     struct cm_error *err)
{
	if (scope == 0)
		return cm_db_query(db,
				   TAG_COLUMNS
				   " FROM tags t"
				   " INDEXED BY tags_lru" TAG_MANIFEST
				   " WHERE t.pinned = 0"
				   " ORDER BY t.used LIMIT 1",
				   st, err);
	return cm_db_query(db,
			   TAG_COLUMNS
			   " FROM tags t INDEXED BY tags_scope_lru" TAG_MANIFEST
			   " WHERE t.pinned = 0 AND t.scope = ?"
			   " ORDER BY t.used LIMIT 1",
			   st, err, CM_INT(scope));
}

#define MANIFEST_COLUMNS                                                       \
	"SELECT repo_id, digest, used, used_ms, used, content_size, 1"         \
	" FROM manifests"

static int query_manifest(struct cm_db *db, int64_t scope, sqlite3_stmt **st,
			  struct cm_error *err)
{
	if (scope == 0)
		return cm_db_query(db,
				   MANIFEST_COLUMNS
				   " INDEXED BY manifests_lru"
				   " WHERE tags = 0 AND parents = 0"
				   " ORDER BY used LIMIT 1",
				   st, err);
	return cm_db_query(db,
			   MANIFEST_COLUMNS " INDEXED BY manifests_scope_lru"
					    " WHERE tags = 0 AND parents = 0"
					    " AND scope = ?"
					    " ORDER BY used LIMIT 1",
			   st, err, CM_INT(scope));
}

static int read_entry(sqlite3_stmt *st, bool is_tag, struct entry *ret,
		      struct cm_error *err)
{
	const char *tag =
		is_tag ? (const char *)sqlite3_column_text(st, 7) : "";

	if (!tag)
		return cm_error_nomem(err);
	if (strlen(tag) > CM_TAG_MAX)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "index: a tag is too long");
	strcpy(ret->tag, tag);
	ret->repo_id = sqlite3_column_int64(st, 0);
	ret->used = sqlite3_column_int64(st, 2);
	ret->idle_since_ms = sqlite3_column_int64(st, 3);
	ret->manifest_used = sqlite3_column_int64(st, 4);
	ret->content = sqlite3_column_int64(st, 5);
	ret->alone = sqlite3_column_int(st, 6) != 0;
	return cm_column_digest(st, 1, &ret->digest, err);
}

/* The first of one kind: 1, 0 if there is none, <0. */
static int first_of(struct cm_db *db, int64_t scope, bool is_tag,
		    struct entry *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = is_tag ? query_tag(db, scope, &st, err)
		       : query_manifest(db, scope, &st, err);

	if (r > 0)
		r = read_entry(st, is_tag, ret, err);
	else if (r == 0)
		return 0;
	return r < 0 ? r : 1;
}

/* The first of both kinds: 1, 0 if there is none, <0. */
static int front(struct cm_db *db, int64_t scope, struct entry *ret,
		 struct cm_error *err)
{
	struct entry manifest;
	int tag = first_of(db, scope, true, ret, err);
	int other = tag < 0 ? tag : first_of(db, scope, false, &manifest, err);

	if (other < 0)
		return other;
	if (other > 0 && (tag == 0 || manifest.used < ret->used))
		*ret = manifest;
	return tag > 0 || other > 0;
}

int cm_evict_idle(struct cm_db *db, int64_t now_ms, int64_t *ret,
		  struct cm_error *err)
{
	struct entry e;
	int r = front(db, 0, &e, err);

	*ret = r > 0 && now_ms > e.idle_since_ms ? now_ms - e.idle_since_ms : 0;
	return r < 0 ? r : 0;
}

/* ---- ghosts ---------------------------------------------------------------
 */

int cm_ghost_add(struct cm_tx *tx, int64_t repo_id, const char *tag,
		 int64_t bytes, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t number;
	int r = cm_db_query(tx->db,
			    "INSERT OR REPLACE INTO ghosts VALUES(?, ?, ?, ?,"
			    " (SELECT ifnull(max(number), 0) + 1 FROM ghosts))"
			    " RETURNING number",
			    &st, err, CM_INT(repo_id), CM_TEXT(tag),
			    CM_INT(bytes), CM_INT(tx->now_ms));

	if (r <= 0)
		return r;
	number = sqlite3_column_int64(st, 0);
	cm_stmt_reset(cm_take_ptr(st));
	return cm_db_run(tx->db, "DELETE FROM ghosts WHERE number <= ?", err,
			 CM_INT(number - GHOSTS_MAX));
}

int cm_ghost_forget(struct cm_tx *tx, int64_t repo_id, const char *tag,
		    struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "DELETE FROM ghosts WHERE repo_id = ? AND tag = ?",
			 err, CM_INT(repo_id), CM_TEXT(tag));
}

int cm_ghost_find(struct cm_db *db, int64_t repo_id, const char *tag,
		  int64_t *ret_bytes, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db,
			    "SELECT bytes FROM ghosts"
			    " WHERE repo_id = ? AND tag = ?",
			    &st, err, CM_INT(repo_id), CM_TEXT(tag));

	if (r > 0)
		*ret_bytes = sqlite3_column_int64(st, 0);
	return r;
}

/* ---- one step -------------------------------------------------------------
 */

static int move_to(struct cm_tx *tx, const struct entry *e, int64_t used,
		   struct cm_error *err)
{
	if (e->tag[0])
		return cm_db_run(tx->db,
				 "UPDATE tags SET used = ?"
				 " WHERE repo_id = ? AND name = ?",
				 err, CM_INT(used), CM_INT(e->repo_id),
				 CM_TEXT(e->tag));
	return cm_db_run(tx->db,
			 "UPDATE manifests SET used = ?"
			 " WHERE repo_id = ? AND digest = ?",
			 err, CM_INT(used), CM_INT(e->repo_id),
			 CM_DIGEST(&e->digest));
}

static void count(struct cm_tx *tx, struct cm_evict_job *j,
		  const struct entry *e)
{
	int64_t idle = tx->now_ms - e->idle_since_ms;

	j->last_idle_ms = idle > 0 ? idle : 0; /* the clock may have jumped */
	j->idle_ms += j->last_idle_ms;
	j->tags += e->tag[0] != '\0';
	j->manifests += e->alone;
	j->content += e->alone ? e->content : 0;
}

static int evict(struct cm_tx *tx, struct cm_evict_job *j,
		 const struct entry *e, struct cm_error *err)
{
	int r = 0;

	if (e->tag[0]) {
		r = cm_tag_remove(tx, e->repo_id, e->tag, err);
		if (r >= 0)
			r = cm_ghost_add(tx, e->repo_id, e->tag, e->content,
					 err);
	}
	if (r >= 0 && e->alone)
		r = cm_manifest_retire(tx, e->repo_id, &e->digest, err);
	if (r >= 0)
		count(tx, j, e);
	return r;
}

/* 1 to go on, 0 when there is nothing to do, <0. */
static int step(struct cm_tx *tx, struct cm_evict_job *j, struct cm_error *err)
{
	struct entry e;
	int r = cm_manifest_release(tx, err);

	if (r != 0)
		return r;
	if (j->content >= j->bytes)
		return 0;
	r = front(tx->db, j->scope, &e, err);
	if (r == 0 || (r > 0 && e.used > j->before)) {
		j->ended = true;
		return 0;
	}
	if (r > 0 && e.manifest_used > e.used)
		r = move_to(tx, &e, e.manifest_used, err);
	else if (r > 0 && e.alone &&
		 !cm_lease_condemn(j->leases, e.repo_id, &e.digest,
				   cm_monotonic_ms()))
		r = move_to(tx, &e, cm_index_tick(tx->index), err);
	else if (r > 0)
		r = evict(tx, j, &e, err);
	return r < 0 ? r : 1;
}

int cm_evict_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct cm_evict_job *j = arg;
	int64_t until = cm_monotonic_ms() + BATCH_MS;
	int r = 1;

	for (int i = 0; r > 0 && i < BATCH_STEPS; i++) {
		r = step(tx, j, err);
		if (cm_monotonic_ms() >= until)
			break;
	}
	return r < 0 ? r : 0;
}
