/*
 * schema.c - the index's tables.
 *
 * PRAGMA user_version counts the steps that have been applied. A step, once
 * released, is never edited: a change is a new step at the end.
 *
 * Words of the schema:
 *
 *	repo_blobs	a link: this repository has this blob
 *	  refs		how many manifests of the repository name it, and one
 *			more if it is itself a manifest there. 0: unnamed
 *	  since_ms	when it was linked, leased, or became unnamed: an
 *			unnamed link is swept once the lease time has passed
 *	blobs.holders	how many links a blob has. At 0 the row goes, then
 *			its bytes
 *	blobs.inline_id	the row of blob_data, or 0: in a file
 *	manifests.tags, .parents
 *			how many tags and index manifests name it
 *	broken		manifests that lost a blob to damage (index_damage.c)
 *	aliases		which blob a SHA-512 stands for. It goes with the
 *			blob's row, but for a damaged blob's, which may come
 *			back and is then still named by it
 *	tags.sha512	what a tag's manifest was put by, if by SHA-512
 *	referrers	which manifest names a subject (index_referrers.c)
 *	referrers_fill	one row while manifests of before that table are looked
 *			through: how far that is
 *	totals		running totals, so that nothing is ever counted
 *	scopes		the first parts of repositories' paths: how many bytes
 *			of content their repositories reference, once for each,
 *			and how many they may
 *	used		of a tag: when it was last put or pulled; of a manifest:
 *			put, pulled by digest, or left by its last tag. Not a
 *			time, but a number that only grows (cm_index_tick()), so
 *			that no clock can change the order of eviction
 *	pinned		of a tag: 1 by itself, 2 with its repository. A pinned
 *			one is not in the indexes that eviction follows
 *	dying		manifests that are gone, whose edges (manifest_refs)
 *			are still being taken back, some a batch
 *	ghosts		what was evicted last, by number; see index_evict.c
 */
#include "schema.h"

static const char *const steps[] = {
	"CREATE TABLE totals("
	"	name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE counters("
	"	name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	/* What the store remembers of its own life. */
	"CREATE TABLE state("
	"	name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE blobs("
	"	digest BLOB PRIMARY KEY,"
	"	size INTEGER NOT NULL,"
	"	stored_size INTEGER NOT NULL,"
	"	encoding INTEGER NOT NULL,"
	"	inline_id INTEGER NOT NULL,"
	"	holders INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE blob_data("
	"	id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
	"CREATE TABLE repositories("
	"	id INTEGER PRIMARY KEY,"
	"	name TEXT NOT NULL UNIQUE,"
	"	manifests INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE repo_blobs("
	"	repo_id INTEGER NOT NULL,"
	"	digest BLOB NOT NULL,"
	"	since_ms INTEGER NOT NULL,"
	"	refs INTEGER NOT NULL,"
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"
	"CREATE INDEX repo_blobs_digest ON repo_blobs(digest);"
	"CREATE INDEX repo_blobs_unnamed ON repo_blobs(since_ms)"
	"	WHERE refs = 0;"
	"CREATE TABLE manifests("
	"	repo_id INTEGER NOT NULL,"
	"	digest BLOB NOT NULL,"
	"	media_type TEXT NOT NULL,"
	"	artifact_type TEXT,"
	"	snapshot INTEGER NOT NULL,"
	"	content_size INTEGER NOT NULL,"
	"	created_ms INTEGER NOT NULL,"
	"	used_ms INTEGER NOT NULL," /* untagged, or last pulled */
	"	tags INTEGER NOT NULL,"
	"	parents INTEGER NOT NULL,"
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"
	"CREATE INDEX manifests_replaced ON manifests(used_ms)"
	"	WHERE tags = 0 AND parents = 0 AND snapshot = 1;"
	"CREATE TABLE manifest_refs("
	"	repo_id INTEGER NOT NULL,"
	"	manifest BLOB NOT NULL,"
	"	digest BLOB NOT NULL,"
	"	child INTEGER NOT NULL," /* 1: names a manifest */
	"	PRIMARY KEY(repo_id, manifest, digest)) WITHOUT ROWID;"
	"CREATE INDEX manifest_refs_digest ON manifest_refs(repo_id, digest);"
	"CREATE TABLE tags("
	"	repo_id INTEGER NOT NULL,"
	"	name TEXT NOT NULL,"
	"	digest BLOB NOT NULL,"
	"	created_ms INTEGER NOT NULL,"
	"	updated_ms INTEGER NOT NULL,"
	"	pulled_ms INTEGER NOT NULL,"
	"	writer TEXT,"
	"	PRIMARY KEY(repo_id, name)) WITHOUT ROWID;"
	"CREATE INDEX tags_digest ON tags(repo_id, digest);"
	"CREATE TABLE uploads("
	"	id TEXT PRIMARY KEY,"
	"	repo_id INTEGER NOT NULL,"
	"	touched_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX uploads_touched ON uploads(touched_ms);",

	"CREATE TABLE broken("
	"	repo_id INTEGER NOT NULL,"
	"	digest BLOB NOT NULL,"
	"	reasons INTEGER NOT NULL,"
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;",

	"CREATE TABLE aliases("
	"	sha512 BLOB PRIMARY KEY,"
	"	digest BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX aliases_digest ON aliases(digest);"
	"ALTER TABLE tags ADD COLUMN sha512 BLOB;"
	"CREATE TABLE referrers("
	"	repo_id INTEGER NOT NULL,"
	"	subject BLOB NOT NULL," /* 32 bytes, or 64 of a SHA-512 */
	"	manifest BLOB NOT NULL,"
	"	artifact_type TEXT," /* as listed; NULL: none */
	"	PRIMARY KEY(repo_id, subject, manifest)) WITHOUT ROWID;"
	"CREATE INDEX referrers_type"
	"	ON referrers(repo_id, subject, artifact_type, manifest);"
	"CREATE INDEX referrers_manifest ON referrers(repo_id, manifest);"
	"CREATE TABLE referrers_fill("
	"	repo_id INTEGER NOT NULL, manifest BLOB NOT NULL);"
	"INSERT INTO referrers_fill VALUES(0, x'');",
	/* Limits: the order of eviction, scopes, pins. */
	"CREATE TABLE scopes("
	"	id INTEGER PRIMARY KEY,"
	"	name TEXT NOT NULL UNIQUE,"
	"	bytes INTEGER NOT NULL DEFAULT 0,"
	"	quota INTEGER NOT NULL DEFAULT 0," /* 0: none */
	"	high INTEGER NOT NULL DEFAULT 0);" /* its watermark */
	"CREATE INDEX scopes_limited ON scopes(quota) WHERE quota > 0;"
	"CREATE TABLE dying("
	"	repo_id INTEGER NOT NULL,"
	"	digest BLOB NOT NULL,"
	"	PRIMARY KEY(repo_id, digest)) WITHOUT ROWID;"
	"CREATE TABLE ghosts("
	"	repo_id INTEGER NOT NULL,"
	"	tag TEXT NOT NULL,"
	"	bytes INTEGER NOT NULL,"
	"	evicted_ms INTEGER NOT NULL,"
	"	number INTEGER NOT NULL,"
	"	PRIMARY KEY(repo_id, tag)) WITHOUT ROWID;"
	"CREATE UNIQUE INDEX ghosts_number ON ghosts(number);"
	"ALTER TABLE repositories ADD COLUMN scope INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE repositories ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tags ADD COLUMN scope INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tags ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tags ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE manifests ADD COLUMN scope INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE manifests ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
	"INSERT INTO scopes(name) SELECT DISTINCT"
	"	substr(name, 1, instr(name || '/', '/') - 1)"
	"	FROM repositories;"
	"UPDATE repositories SET scope = (SELECT s.id FROM scopes s"
	"	WHERE s.name = substr(repositories.name, 1,"
	"		instr(repositories.name || '/', '/') - 1));"
	"UPDATE scopes SET bytes = (SELECT coalesce(sum(b.size), 0)"
	"	FROM repositories r JOIN repo_blobs l ON l.repo_id = r.id"
	"	JOIN blobs b ON b.digest = l.digest"
	"	WHERE r.scope = scopes.id);"
	"UPDATE tags SET used = max(pulled_ms, updated_ms),"
	"	scope = (SELECT r.scope FROM repositories r"
	"		WHERE r.id = tags.repo_id);"
	"UPDATE manifests SET used = used_ms,"
	"	scope = (SELECT r.scope FROM repositories r"
	"		WHERE r.id = manifests.repo_id);"
	"INSERT OR REPLACE INTO state SELECT 'clock', max("
	"	(SELECT ifnull(max(used), 0) FROM tags),"
	"	(SELECT ifnull(max(used), 0) FROM manifests));"
	"INSERT OR REPLACE INTO totals SELECT 'file_bytes',"
	"	coalesce(sum((stored_size + 4095) / 4096 * 4096), 0)"
	"	FROM blobs WHERE inline_id = 0;"
	"CREATE INDEX tags_lru ON tags(used) WHERE pinned = 0;"
	"CREATE INDEX tags_scope_lru ON tags(scope, used) WHERE pinned = 0;"
	"CREATE INDEX manifests_lru ON manifests(used)"
	"	WHERE tags = 0 AND parents = 0;"
	"CREATE INDEX manifests_scope_lru ON manifests(scope, used)"
	"	WHERE tags = 0 AND parents = 0;",

	/* The history of use, in days since 1970 (index_usage.c). */
	"CREATE TABLE usage("
	"	day INTEGER NOT NULL,"
	"	scope TEXT NOT NULL," /* "": all without a row */
	"	kind TEXT NOT NULL,"
	"	hits INTEGER NOT NULL,"
	"	misses INTEGER NOT NULL,"
	"	errors INTEGER NOT NULL,"
	"	writes INTEGER NOT NULL,"
	"	sent_bytes INTEGER NOT NULL,"
	"	received_bytes INTEGER NOT NULL,"
	"	PRIMARY KEY(day, scope, kind)) WITHOUT ROWID;",

	/* 0: a build cache that BuildKit will not import (buildkit.h). */
	("ALTER TABLE manifests ADD COLUMN"
	 "	importable INTEGER NOT NULL DEFAULT 1;"),
};

#define STEPS_LEN ((int64_t)(sizeof(steps) / sizeof(steps[0])))

static int read_version(struct cm_db *db, int64_t *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, "PRAGMA user_version", &st, err);

	if (r < 0)
		return r;
	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return 0;
}

static int apply_step(struct cm_db *db, int64_t step, struct cm_error *err)
{
	char version[64];
	int r;

	sqlite3_snprintf(sizeof(version), version, "PRAGMA user_version = %lld",
			 step + 1);
	r = cm_db_exec(db, "BEGIN IMMEDIATE", err);
	if (r < 0)
		return r;
	r = cm_db_exec(db, steps[step], err);
	if (r == 0)
		r = cm_db_exec(db, version, err);
	if (r == 0)
		r = cm_db_exec(db, "COMMIT", err);
	if (r < 0)
		cm_db_exec(db, "ROLLBACK", NULL);
	return r;
}

int cm_schema_migrate(struct cm_db *db, struct cm_error *err)
{
	int64_t version = 0;
	int r = read_version(db, &version, err);

	if (r < 0)
		return r;
	if (version > STEPS_LEN)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "the index has schema version %lld, this "
				    "cachemountd knows up to %lld: run the "
				    "newer one",
				    (long long)version, (long long)STEPS_LEN);
	for (; version < STEPS_LEN; version++) {
		r = apply_step(db, version, err);
		if (r < 0)
			return cm_error_wrap(err, "schema version %lld",
					     (long long)version + 1);
	}
	return 0;
}

int cm_schema_is_current(struct cm_db *db, bool *ret, struct cm_error *err)
{
	int64_t version = 0;
	int r = read_version(db, &version, err);

	*ret = version == STEPS_LEN;
	return r;
}
