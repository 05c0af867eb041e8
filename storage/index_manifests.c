/*
 * index_manifests.c - manifests, what they name, and tags.
 */
#include <string.h>

#include <cachemount/buildkit.h>
#include <cachemount/units.h>

#include "index.h"
#include "lease.h"

#define RELEASE_A_BATCH 32 /* edges of a manifest taken back at once */

static int add_refs(struct cm_tx *tx, int64_t repo_id,
		    const struct cm_digest *d, int64_t delta, int64_t since_ms,
		    struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "UPDATE repo_blobs SET refs = refs + ?, since_ms = ?"
			 " WHERE repo_id = ? AND digest = ?",
			 err, CM_INT(delta), CM_INT(since_ms), CM_INT(repo_id),
			 CM_DIGEST(d));
}

static int add_parents(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, int64_t delta,
		       struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "UPDATE manifests SET parents = parents + ?,"
			 " used_ms = max(used_ms, ?)"
			 " WHERE repo_id = ? AND digest = ?",
			 err, CM_INT(delta), CM_INT(tx->now_ms),
			 CM_INT(repo_id), CM_DIGEST(d));
}

/* Undoes what the manifest's edges counted, one by one. */
static int release_refs(struct cm_tx *tx, int64_t repo_id,
			const struct cm_digest *d, int64_t since_ms,
			struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_digest ref;
	int r = cm_db_query(tx->db,
			    "SELECT digest, child FROM manifest_refs"
			    " WHERE repo_id = ? AND manifest = ?",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	while (r > 0) {
		r = cm_column_digest(st, 0, &ref, err);
		if (r == 0)
			r = add_refs(tx, repo_id, &ref, -1, since_ms, err);
		if (r == 0 && sqlite3_column_int(st, 1))
			r = add_parents(tx, repo_id, &ref, -1, err);
		if (r == 0)
			r = cm_db_next(st, err);
	}
	return r;
}

static int count_repository(struct cm_tx *tx, int64_t repo_id, int64_t delta,
			    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t now;
	int r = cm_db_query(tx->db,
			    "UPDATE repositories SET manifests = manifests + ?"
			    " WHERE id = ? RETURNING manifests",
			    &st, err, CM_INT(delta), CM_INT(repo_id));

	if (r <= 0)
		return r;
	now = sqlite3_column_int64(st, 0);
	if (delta > 0 && now == 1)
		tx->totals[CM_TOTAL_REPOSITORIES]++;
	else if (delta < 0 && now == 0)
		tx->totals[CM_TOTAL_REPOSITORIES]--;
	tx->totals[CM_TOTAL_MANIFESTS] += delta;
	return 0;
}

int cm_manifest_weight(struct cm_db *db, int64_t repo_id,
		       const struct cm_digest *d, int64_t *ret,
		       struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db,
			    "SELECT count(*) FROM manifest_refs"
			    " WHERE repo_id = ? AND manifest = ?",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	*ret = 1;
	if (r > 0)
		*ret += sqlite3_column_int64(st, 0);
	return r < 0 ? r : 0;
}

/* What it names, all at once. */
static int remove_refs(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, int64_t since_ms,
		       struct cm_error *err)
{
	int r = release_refs(tx, repo_id, d, since_ms, err);

	return r < 0 ? r
		     : cm_db_run(tx->db,
				 "DELETE FROM manifest_refs"
				 " WHERE repo_id = ? AND manifest = ?",
				 err, CM_INT(repo_id), CM_DIGEST(d));
}

/* The manifest itself, and the hold on its own bytes. */
static int remove_manifest(struct cm_tx *tx, int64_t repo_id,
			   const struct cm_digest *d, int64_t since_ms,
			   struct cm_error *err)
{
	int r = cm_db_run(tx->db,
			  "DELETE FROM manifests"
			  " WHERE repo_id = ? AND digest = ?",
			  err, CM_INT(repo_id), CM_DIGEST(d));

	if (r == 0)
		r = cm_damage_forget(tx, repo_id, d, err);
	if (r == 0)
		r = cm_referrer_remove(tx, repo_id, d, err);
	/* The manifest's own bytes. */
	if (r == 0)
		r = add_refs(tx, repo_id, d, -1, since_ms, err);
	return r < 0 ? r : count_repository(tx, repo_id, -1, err);
}

int cm_manifest_remove(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, int64_t since_ms,
		       struct cm_error *err)
{
	int r = remove_refs(tx, repo_id, d, since_ms, err);

	return r < 0 ? r : remove_manifest(tx, repo_id, d, since_ms, err);
}

/* ---- going away in pieces ----------------------------------------------- */

int cm_manifest_retire(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, struct cm_error *err)
{
	int64_t weight = 0;
	int r = cm_manifest_weight(tx->db, repo_id, d, &weight, err);

	if (r == 0 && weight <= RELEASE_A_BATCH)
		return cm_manifest_remove(tx, repo_id, d, 0, err);
	if (r == 0)
		r = cm_db_run(tx->db, "INSERT INTO dying VALUES(?, ?)", err,
			      CM_INT(repo_id), CM_DIGEST(d));
	return r < 0 ? r : remove_manifest(tx, repo_id, d, 0, err);
}

struct edge {
	struct cm_digest digest;
	bool child;
};

static int read_edges(struct cm_tx *tx, int64_t repo_id,
		      const struct cm_digest *d, struct edge *ret,
		      size_t *ret_n, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT digest, child FROM manifest_refs"
			    " WHERE repo_id = ? AND manifest = ? LIMIT ?",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d),
			    CM_INT(RELEASE_A_BATCH));

	for (*ret_n = 0; r > 0; r = r == 0 ? cm_db_next(st, err) : r) {
		ret[*ret_n].child = sqlite3_column_int(st, 1);
		r = cm_column_digest(st, 0, &ret[(*ret_n)++].digest, err);
	}
	return r;
}

static int release_edge(struct cm_tx *tx, int64_t repo_id,
			const struct cm_digest *d, const struct edge *e,
			struct cm_error *err)
{
	int r = cm_db_run(tx->db,
			  "DELETE FROM manifest_refs WHERE repo_id = ?"
			  " AND manifest = ? AND digest = ?",
			  err, CM_INT(repo_id), CM_DIGEST(d),
			  CM_DIGEST(&e->digest));

	if (r == 0)
		r = add_refs(tx, repo_id, &e->digest, -1, 0, err);
	if (r == 0 && e->child)
		r = add_parents(tx, repo_id, &e->digest, -1, err);
	return r;
}

/* It has no edge left. While it had some, damage may have been noted on it. */
static int finish_dying(struct cm_tx *tx, int64_t repo_id,
			const struct cm_digest *d, struct cm_error *err)
{
	int r = cm_db_run(tx->db,
			  "DELETE FROM dying WHERE repo_id = ? AND digest = ?",
			  err, CM_INT(repo_id), CM_DIGEST(d));

	return r < 0 ? r : cm_damage_forget(tx, repo_id, d, err);
}

int cm_manifest_release(struct cm_tx *tx, struct cm_error *err)
{
	struct edge edges[RELEASE_A_BATCH];
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_digest d;
	int64_t repo_id = 0;
	size_t n = 0;
	int r = cm_db_query(tx->db, "SELECT repo_id, digest FROM dying LIMIT 1",
			    &st, err);

	if (r <= 0)
		return r;
	repo_id = sqlite3_column_int64(st, 0);
	r = cm_column_digest(st, 1, &d, err);
	cm_stmt_reset(cm_take_ptr(st));
	if (r == 0)
		r = read_edges(tx, repo_id, &d, edges, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = release_edge(tx, repo_id, &d, &edges[i], err);
	if (r == 0 && n < RELEASE_A_BATCH)
		r = finish_dying(tx, repo_id, &d, err);
	return r < 0 ? r : 1;
}

/* Put again before all its edges were taken back: the rest goes now. */
static int resurrect(struct cm_tx *tx, int64_t repo_id,
		     const struct cm_digest *d, struct cm_error *err)
{
	int r = cm_db_run(tx->db,
			  "DELETE FROM dying WHERE repo_id = ? AND digest = ?",
			  err, CM_INT(repo_id), CM_DIGEST(d));

	if (r < 0 || cm_db_changed(tx->db) == 0)
		return r;
	r = remove_refs(tx, repo_id, d, tx->now_ms, err);
	return r < 0 ? r : cm_damage_forget(tx, repo_id, d, err);
}

/* One that its last tag leaves is used now: it was in use until now. */
static int count_tags(struct cm_tx *tx, int64_t repo_id,
		      const struct cm_digest *d, int64_t delta,
		      struct cm_error *err)
{
	return cm_db_run(tx->db,
			 "UPDATE manifests SET tags = tags + ?1, used_ms = ?2,"
			 " used = CASE WHEN tags + ?1 = 0 THEN ?3 ELSE used END"
			 " WHERE repo_id = ?4 AND digest = ?5",
			 err, CM_INT(delta), CM_INT(tx->now_ms),
			 CM_INT(cm_index_tick(tx->index)), CM_INT(repo_id),
			 CM_DIGEST(d));
}

/* What a tag names: 1 and the digest, 0 if there is no such tag. */
static int tag_target(struct cm_db *db, int64_t repo_id, const char *tag,
		      struct cm_digest *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db,
			    "SELECT digest FROM tags"
			    " WHERE repo_id = ? AND name = ?",
			    &st, err, CM_INT(repo_id), CM_TEXT(tag));

	if (r <= 0)
		return r;
	r = cm_column_digest(st, 0, ret, err);
	return r < 0 ? r : 1;
}

int cm_tag_remove(struct cm_tx *tx, int64_t repo_id, const char *tag,
		  struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_digest d;
	bool pinned;
	int r = cm_db_query(tx->db,
			    "DELETE FROM tags WHERE repo_id = ? AND name = ?"
			    " RETURNING digest, pinned",
			    &st, err, CM_INT(repo_id), CM_TEXT(tag));

	if (r <= 0)
		return r;
	pinned = sqlite3_column_int(st, 1) != 0;
	r = cm_column_digest(st, 0, &d, err);
	cm_stmt_reset(cm_take_ptr(st));
	if (r == 0 && pinned)
		r = cm_pin_count(tx, repo_id, &d, -1, err);
	if (r == 0)
		r = count_tags(tx, repo_id, &d, -1, err);
	tx->totals[CM_TOTAL_TAGS]--;
	return r < 0 ? r : 1;
}

/* ---- putting ----------------------------------------------------------- */

/* What a tag resolves to, for a condition: nothing if that is broken. */
static int tag_resolves(struct cm_db *db, int64_t repo_id, const char *tag,
			struct cm_digest *ret, struct cm_error *err)
{
	int r = tag_target(db, repo_id, tag, ret, err);

	if (r <= 0)
		return r;
	r = cm_damage_find(db, repo_id, ret, err);
	return r < 0 ? r : r == 0;
}

static int check_condition(struct cm_tx *tx,
			   const struct cm_manifest_put_job *j, int64_t repo_id,
			   struct cm_error *err)
{
	struct cm_digest now;
	char text[CM_DIGEST_TEXT_SIZE];
	int r;

	if (!j->put->tag || j->put->condition == CM_TAG_ANY)
		return 0;
	r = tag_resolves(tx->db, repo_id, j->put->tag, &now, err);
	if (r < 0)
		return r;
	if (r == 0) {
		memset(j->ret_current, 0, sizeof(*j->ret_current));
		if (j->put->condition == CM_TAG_ABSENT)
			return 0;
		return cm_error_set(err, CM_ERR_PRECONDITION,
				    "tag \"%s\" does not exist", j->put->tag);
	}
	if (j->put->condition == CM_TAG_MATCH &&
	    cm_digest_equal(&now, &j->put->match))
		return 0;
	*j->ret_current = now;
	return cm_error_set(err, CM_ERR_PRECONDITION, "tag \"%s\" names %s",
			    j->put->tag, cm_digest_format(&now, text));
}

static int missing(const struct cm_descriptor *ref,
		   const struct cm_manifest_put *put, struct cm_error *err)
{
	char text[CM_ANY_DIGEST_TEXT_SIZE];

	if (ref->sha512)
		cm_any_digest_format(ref->sha512, text);
	else
		cm_digest_format(&ref->digest, text);
	return cm_error_set(err, CM_ERR_MISSING_BLOB,
			    "repository \"%s\" does not have %s, which the "
			    "manifest names",
			    put->repo, text);
}

static int wrong_size(const struct cm_descriptor *ref, int64_t size,
		      struct cm_error *err)
{
	char text[CM_DIGEST_TEXT_SIZE];

	return cm_error_set(err, CM_ERR_SIZE,
			    "the manifest gives %s %lld bytes, it has %lld",
			    cm_digest_format(&ref->digest, text),
			    (long long)ref->size, (long long)size);
}

/* What a descriptor names: 1, 0 if it is not there or broken, <0. */
static int find_ref(struct cm_tx *tx, int64_t repo_id,
		    const struct cm_descriptor *ref, struct cm_blob_row *row,
		    struct cm_error *err)
{
	int r = cm_blob_find(tx->db, repo_id, &ref->digest, row, err);

	if (r <= 0 || ref->kind != CM_REF_MANIFEST)
		return r;
	r = cm_damage_find(tx->db, repo_id, &ref->digest, err);
	return r < 0 ? r : r == 0;
}

/*
 * Checks one descriptor and counts it, once however often it is named.
 * `*content` grows by its size.
 */
static int add_ref(struct cm_tx *tx, int64_t repo_id,
		   const struct cm_manifest_put_job *j,
		   const struct cm_descriptor *ref, int64_t *content,
		   struct cm_error *err)
{
	bool child = ref->kind == CM_REF_MANIFEST;
	struct cm_blob_row row;
	int r = find_ref(tx, repo_id, ref, &row, err);

	if (r < 0)
		return r;
	if (r == 0)
		return ref->foreign ? 0 : missing(ref, j->put, err);
	if (row.info.size != ref->size)
		return wrong_size(ref, row.info.size, err);
	r = cm_db_run(tx->db,
		      "INSERT OR IGNORE INTO manifest_refs VALUES(?, ?, ?, ?)",
		      err, CM_INT(repo_id), CM_DIGEST(&j->info->digest),
		      CM_DIGEST(&ref->digest), CM_INT(child));
	if (r < 0 || cm_db_changed(tx->db) == 0)
		return r;
	*content += row.info.size;
	r = add_refs(tx, repo_id, &ref->digest, 1, tx->now_ms, err);
	if (r == 0 && child)
		r = add_parents(tx, repo_id, &ref->digest, 1, err);
	return r;
}

static int insert_manifest(struct cm_tx *tx, int64_t repo_id,
			   const struct cm_manifest_put_job *j,
			   struct cm_error *err)
{
	const struct cm_manifest *m = j->put->parsed;
	int64_t content = j->info->size, too_large;
	bool importable = !cm_buildkit_unreadable(m, j->info->size, &too_large);
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->descriptors_len; i++)
		r = add_ref(tx, repo_id, j, &m->descriptors[i], &content, err);
	/* Indexes may name it already: they took it for a blob. */
	if (r == 0)
		r = cm_db_run(
			tx->db,
			"INSERT INTO manifests(repo_id, digest,"
			" media_type, artifact_type, snapshot,"
			" content_size, created_ms, used_ms, used, tags,"
			" parents, scope, importable)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, 0,"
			" (SELECT count(*) FROM manifest_refs WHERE"
			"  repo_id = ?1 AND digest = ?2 AND child = 1),"
			" (SELECT scope FROM repositories WHERE id = ?1), ?9)",
			err, CM_INT(repo_id), CM_DIGEST(&j->info->digest),
			CM_TEXT(m->media_type), CM_TEXT(m->artifact_type),
			CM_INT(j->snapshot), CM_INT(content),
			CM_INT(tx->now_ms), CM_INT(cm_index_tick(tx->index)),
			CM_INT(importable));
	if (r == 0)
		r = add_refs(tx, repo_id, &j->info->digest, 1, tx->now_ms, err);
	if (r == 0)
		r = count_repository(tx, repo_id, 1, err);
	return r;
}

static int manifest_exists(struct cm_db *db, int64_t repo_id,
			   const struct cm_digest *d, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;

	return cm_db_query(db,
			   "SELECT 1 FROM manifests"
			   " WHERE repo_id = ? AND digest = ?",
			   &st, err, CM_INT(repo_id), CM_DIGEST(d));
}

/*
 * A manifest that is there already: what it names must still be. Putting it
 * again is a use of it.
 */
static int check_refs(struct cm_tx *tx, int64_t repo_id,
		      const struct cm_manifest_put_job *j, struct cm_error *err)
{
	const struct cm_manifest *m = j->put->parsed;
	struct cm_blob_row row;
	int r;

	for (size_t i = 0; i < m->descriptors_len; i++) {
		r = find_ref(tx, repo_id, &m->descriptors[i], &row, err);
		if (r < 0)
			return r;
		if (r == 0 && !m->descriptors[i].foreign)
			return missing(&m->descriptors[i], j->put, err);
	}
	return cm_db_run(tx->db,
			 "UPDATE manifests SET used = ?"
			 " WHERE repo_id = ? AND digest = ?",
			 err, CM_INT(cm_index_tick(tx->index)), CM_INT(repo_id),
			 CM_DIGEST(&j->info->digest));
}

/* What the tag named before does not have it any more; or it is new. */
static int leave_old_target(struct cm_tx *tx, int64_t repo_id, const char *tag,
			    bool *ret_new, struct cm_digest *ret_old,
			    struct cm_error *err)
{
	int r = tag_target(tx->db, repo_id, tag, ret_old, err);

	*ret_new = r == 0;
	if (r > 0)
		return count_tags(tx, repo_id, ret_old, -1, err);
	if (r == 0)
		tx->totals[CM_TOTAL_TAGS]++;
	return r < 0 ? r : cm_ghost_forget(tx, repo_id, tag, err);
}

/* NULL unless the manifest is put by SHA-512. */
static struct cm_bind bind_name(const struct cm_any_digest *name)
{
	if (!name || name->algorithm != CM_SHA512)
		return CM_NULL;
	return CM_BLOB(name->sha512, CM_SHA512_LEN);
}

/* 1 if the tag is pinned. */
static int write_tag(struct cm_tx *tx, int64_t repo_id, const char *tag,
		     const struct cm_manifest_put_job *j, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(
		tx->db,
		"INSERT INTO tags(repo_id, name, digest, created_ms,"
		" updated_ms, pulled_ms, writer, used, sha512, scope, pinned)"
		" SELECT ?1, ?2, ?3, ?4, ?4, 0, ?5, ?6, ?7, scope, pinned"
		" FROM repositories WHERE id = ?1"
		" ON CONFLICT(repo_id, name) DO UPDATE SET digest = ?3,"
		" updated_ms = ?4, writer = ?5, used = ?6, sha512 = ?7"
		" RETURNING pinned",
		&st, err, CM_INT(repo_id), CM_TEXT(tag),
		CM_DIGEST(&j->info->digest), CM_INT(tx->now_ms),
		CM_TEXT(j->put->writer), CM_INT(cm_index_tick(tx->index)),
		bind_name(j->put->name));

	return r > 0 ? sqlite3_column_int(st, 0) != 0 : r;
}

static int point_tag(struct cm_tx *tx, int64_t repo_id, const char *tag,
		     const struct cm_manifest_put_job *j, struct cm_error *err)
{
	struct cm_digest old;
	bool new, pinned;
	int r = leave_old_target(tx, repo_id, tag, &new, &old, err);

	if (r == 0)
		r = write_tag(tx, repo_id, tag, j, err);
	pinned = r > 0;
	if (pinned && !new)
		r = cm_pin_count(tx, repo_id, &old, -1, err);
	if (r >= 0 && pinned)
		r = cm_pin_count(tx, repo_id, &j->info->digest, 1, err);
	if (r >= 0)
		r = count_tags(tx, repo_id, &j->info->digest, 1, err);
	return r;
}

static int point_tags(struct cm_tx *tx, int64_t repo_id,
		      const struct cm_manifest_put_job *j, struct cm_error *err)
{
	int r = 0;

	if (j->put->tag)
		r = point_tag(tx, repo_id, j->put->tag, j, err);
	for (size_t i = 0; r == 0 && i < j->put->more_tags_len; i++)
		r = point_tag(tx, repo_id, j->put->more_tags[i], j, err);
	return r;
}

/* The manifest's own bytes. Those that became a file may be gone again. */
static int add_bytes(struct cm_tx *tx, int64_t repo_id,
		     const struct cm_manifest_put_job *j, struct cm_error *err)
{
	struct cm_blob_row row;
	int r;

	if (j->inline_data) {
		r = cm_blob_insert(tx, j->info, j->inline_data, err);
	} else {
		r = cm_blob_find(tx->db, repo_id, &j->info->digest, &row, err);
		if (r == 0)
			return cm_error_set(err, CM_ERR_BUSY,
					    "the manifest's bytes were deleted "
					    "while it was put");
	}
	return r < 0 ? r
		     : cm_link_add(tx, repo_id, &j->info->digest, j->info->size,
				   err);
}

int cm_manifest_put_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct cm_manifest_put_job *j = arg;
	int64_t repo_id = 0;
	int r = cm_repo_make(tx, j->put->repo, &repo_id, err);

	j->repo_id = repo_id;
	if (r == 0)
		r = check_condition(tx, j, repo_id, err);
	/* Here, since no eviction can come between the two. */
	if (r == 0)
		cm_lease_take(j->leases, repo_id, &j->info->digest,
			      cm_monotonic_ms());
	if (r == 0)
		r = add_bytes(tx, repo_id, j, err);
	if (r == 0)
		r = manifest_exists(tx->db, repo_id, &j->info->digest, err);
	if (r == 0) {
		r = resurrect(tx, repo_id, &j->info->digest, err);
		if (r == 0)
			r = insert_manifest(tx, repo_id, j, err);
	} else if (r > 0) {
		r = check_refs(tx, repo_id, j, err);
	}
	/* A manifest of before the table is listed from now on, too. */
	if (r == 0)
		r = cm_referrer_add(tx, repo_id, &j->info->digest,
				    j->put->parsed, err);
	if (r == 0)
		r = cm_alias_add(tx, j->put->name, &j->info->digest, err);
	if (r == 0)
		r = point_tags(tx, repo_id, j, err);
	return r;
}

/* ---- looking up --------------------------------------------------------- */

#define NOT_BROKEN                                                             \
	" AND NOT EXISTS (SELECT 1 FROM broken b"                              \
	" WHERE b.repo_id = m.repo_id AND b.digest = m.digest)"

static void read_name(sqlite3_stmt *st, int column, const struct cm_digest *d,
		      struct cm_any_digest *ret)
{
	if (sqlite3_column_bytes(st, column) != CM_SHA512_LEN) {
		*ret = (struct cm_any_digest){.algorithm = CM_SHA256,
					      .sha256 = *d};
		return;
	}
	ret->algorithm = CM_SHA512;
	memcpy(ret->sha512, sqlite3_column_blob(st, column), CM_SHA512_LEN);
}

int cm_manifest_find(struct cm_db *db, int64_t repo_id, const char *tag,
		     const struct cm_digest *d, struct cm_manifest_row *ret,
		     struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r;

	if (tag)
		r = cm_db_query(
			db,
			"SELECT m.digest, m.media_type, t.sha512"
			" FROM tags t CROSS JOIN"
			" manifests m ON m.repo_id = t.repo_id AND"
			" m.digest = t.digest"
			" WHERE t.repo_id = ? AND t.name = ?" NOT_BROKEN,
			&st, err, CM_INT(repo_id), CM_TEXT(tag));
	else
		r = cm_db_query(
			db,
			"SELECT m.digest, m.media_type, NULL FROM manifests m"
			" WHERE m.repo_id = ? AND m.digest = ?" NOT_BROKEN,
			&st, err, CM_INT(repo_id), CM_DIGEST(d));
	if (r <= 0)
		return r;
	r = cm_column_digest(st, 0, &ret->digest, err);
	if (r == 0)
		r = cm_column_text(st, 1, &ret->media_type, err);
	if (r == 0)
		read_name(st, 2, &ret->digest, &ret->name);
	return r < 0 ? r : 1;
}

static int remove_tags_of(struct cm_tx *tx, int64_t repo_id,
			  const struct cm_digest *d, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "DELETE FROM tags WHERE repo_id = ? AND digest = ?"
			    " RETURNING pinned",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	while (r > 0) {
		tx->totals[CM_TOTAL_TAGS]--;
		r = sqlite3_column_int(st, 0) == 0
			    ? 0
			    : cm_pin_count(tx, repo_id, d, -1, err);
		if (r == 0)
			r = cm_db_next(st, err);
	}
	return r;
}

static int manifest_parents(struct cm_db *db, int64_t repo_id,
			    const struct cm_digest *d, int64_t *ret,
			    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db,
			    "SELECT parents FROM manifests"
			    " WHERE repo_id = ? AND digest = ?",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	if (r > 0)
		*ret = sqlite3_column_int64(st, 0);
	return r;
}

int cm_manifest_delete_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct cm_delete_job *j = arg;
	int64_t repo_id = 0, parents = 0;
	int r = cm_repo_find(tx->db, j->repo, &repo_id, err);

	if (r == 0)
		r = manifest_parents(tx->db, repo_id, j->digest, &parents, err);
	if (r == 0)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "repository \"%s\" has no such manifest",
				    j->repo);
	if (r > 0 && parents > 0)
		return cm_error_set(err, CM_ERR_PRECONDITION,
				    "an index of repository \"%s\" names the "
				    "manifest: delete that first",
				    j->repo);
	if (r > 0)
		r = remove_tags_of(tx, repo_id, j->digest, err);
	if (r == 0)
		r = cm_manifest_remove(tx, repo_id, j->digest, tx->now_ms, err);
	return r;
}

int cm_tag_delete_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct cm_delete_job *j = arg;
	int64_t repo_id = 0;
	int r = cm_repo_find(tx->db, j->repo, &repo_id, err);

	if (r == 0)
		r = cm_tag_remove(tx, repo_id, j->tag, err);
	if (r == 0)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "repository \"%s\" has no tag \"%s\"",
				    j->repo, j->tag);
	return r < 0 ? r : 0;
}
