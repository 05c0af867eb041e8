/*
 * index_repos.c - repositories by name.
 *
 * A repository's number never changes and its row never goes, so connections
 * remember them; only a rolled-back creation makes the writer forget.
 */
#include <string.h>

#include "index.h"

static size_t slot_of(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h & (CM_DB_REPOS_CACHED - 1);
}

static struct cm_db_repo *cached(struct cm_db *db, const char *name)
{
	struct cm_db_repo *slot;

	if (db->repos_generation != 0) {
		memset(db->repos, 0, sizeof(db->repos));
		db->repos_generation = 0;
	}
	slot = &db->repos[slot_of(name)];
	return slot;
}

int cm_repo_find(struct cm_db *db, const char *name, int64_t *ret_id,
		 struct cm_error *err)
{
	struct cm_db_repo *slot = cached(db, name);
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r;

	if (slot->id != 0 && strcmp(slot->name, name) == 0) {
		*ret_id = slot->id;
		return 0;
	}
	r = cm_db_query(db, "SELECT id FROM repositories WHERE name = ?", &st,
			err, CM_TEXT(name));
	if (r < 0)
		return r;
	*ret_id = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	if (r > 0 && strlen(name) <= CM_REPOSITORY_MAX) {
		slot->id = *ret_id;
		strcpy(slot->name, name);
	}
	return 0;
}

int cm_repo_make(struct cm_tx *tx, const char *name, int64_t *ret_id,
		 struct cm_error *err)
{
	int64_t scope = 0;
	int r = cm_repo_find(tx->db, name, ret_id, err);

	if (r < 0 || *ret_id != 0)
		return r;
	r = cm_scope_make(tx, name, &scope, err);
	if (r == 0)
		r = cm_db_run(tx->db,
			      "INSERT INTO repositories(name, scope)"
			      " VALUES(?, ?)",
			      err, CM_TEXT(name), CM_INT(scope));
	*ret_id = sqlite3_last_insert_rowid(tx->db->handle);
	return r;
}

static void copy_name(char *out, const char *name, size_t len, const char *tail)
{
	memcpy(out, name, len);
	strcpy(out + len, tail);
}

/*
 * Below a path prefix are the names from "prefix/" up to "prefix0": "0" follows
 * "/" in ASCII.
 */
void cm_name_range_of(const char *repo, const char *prefix,
		      struct cm_name_range *ret)
{
	const char *name = repo ? repo : prefix ? prefix : "";
	size_t len = strnlen(name, CM_REPOSITORY_MAX);

	while (!repo && len > 0 && name[len - 1] == '/')
		len--;
	copy_name(ret->exact, name, len, "");
	if (repo) {
		copy_name(ret->from, name, len, "\1");
		copy_name(ret->until, name, len, "\1");
	} else if (len > 0) {
		copy_name(ret->from, name, len, "/");
		copy_name(ret->until, name, len, "0");
	} else {
		strcpy(ret->from, "");
		strcpy(ret->until, "\x7f");
	}
}
