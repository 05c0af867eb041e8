/* index_list.c - listings of tags and repositories, in pages. */
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>

#include "store_private.h"

static int fill(sqlite3_stmt *st, struct cm_tag_info *ret, struct cm_error *err)
{
	ret->repo = (const char *)sqlite3_column_text(st, 0);
	ret->tag = (const char *)sqlite3_column_text(st, 1);
	ret->created_ms = sqlite3_column_int64(st, 3);
	ret->updated_ms = sqlite3_column_int64(st, 4);
	ret->pulled_ms = sqlite3_column_int64(st, 5);
	ret->writer = (const char *)sqlite3_column_text(st, 6);
	ret->media_type = (const char *)sqlite3_column_text(st, 7);
	ret->artifact_type = (const char *)sqlite3_column_text(st, 8);
	ret->content_size = sqlite3_column_int64(st, 9);
	ret->pinned = sqlite3_column_int(st, 10) != 0;
	ret->importable = sqlite3_column_int(st, 11) != 0;
	if (!ret->repo || !ret->tag || !ret->media_type)
		return cm_error_nomem(err);
	return cm_column_digest(st, 2, &ret->digest, err);
}

#define TAG_COLUMNS                                                            \
	"SELECT r.name, t.name, t.digest, t.created_ms, t.updated_ms,"         \
	" t.pulled_ms, t.writer, m.media_type, m.artifact_type,"               \
	" m.content_size, t.pinned, m.importable"                              \
	" FROM repositories r CROSS JOIN tags t ON t.repo_id = r.id"           \
	" CROSS JOIN manifests m ON m.repo_id = t.repo_id"                     \
	" AND m.digest = t.digest"

/*
 * `range` must live as long as the statement: its texts are bound. One
 * repository is asked for by name, so that SQLite need not sort.
 */
static int query_tags(struct cm_db *db, const struct cm_tag_filter *f,
		      struct cm_name_range *range, sqlite3_stmt **st,
		      struct cm_error *err)
{
	const char *after_repo = f->after_repo ? f->after_repo : "";
	const char *after_tag = f->after_tag ? f->after_tag : "";
	int64_t limit = f->limit > INT32_MAX ? INT32_MAX : (int64_t)f->limit;

	if (f->repo)
		return cm_db_query(db,
				   TAG_COLUMNS
				   " WHERE r.name = ? AND t.name > ?"
				   " ORDER BY t.name LIMIT ?",
				   st, err, CM_TEXT(f->repo),
				   CM_TEXT(after_tag), CM_INT(limit));
	cm_name_range_of(NULL, f->repo_prefix, range);
	return cm_db_query(db,
			   TAG_COLUMNS
			   " WHERE r.name >= max(?1, ?2) AND r.name < ?3"
			   " AND (r.name = ?2 OR r.name >= ?4)"
			   " AND (r.name > ?1 OR t.name > ?5)"
			   " ORDER BY r.name, t.name LIMIT ?6",
			   st, err, CM_TEXT(after_repo), CM_TEXT(range->exact),
			   CM_TEXT(range->until), CM_TEXT(range->from),
			   CM_TEXT(after_tag), CM_INT(limit));
}

/* A repository is known to the world once it has a blob or a manifest. */
static int repository_known(struct cm_db *db, const char *repo,
			    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;

	return cm_db_query(db,
			   "SELECT 1 FROM repositories r WHERE r.name = ? AND"
			   " EXISTS (SELECT 1 FROM repo_blobs l"
			   "  WHERE l.repo_id = r.id)",
			   &st, err, CM_TEXT(repo));
}

int cm_store_tags(struct cm_store *s, const struct cm_tag_filter *filter,
		  cm_tag_fn fn, void *arg, struct cm_error *err)
{
	struct cm_name_range range;
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_tag_info info;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0 && filter->repo) {
		r = repository_known(db, filter->repo, err);
		if (r == 0)
			return cm_error_set(err, CM_ERR_NOT_FOUND,
					    "there is no repository \"%s\"",
					    filter->repo);
	}
	if (r >= 0 && filter->limit == 0)
		return 0;
	if (r >= 0)
		r = query_tags(db, filter, &range, &st, err);
	for (; r > 0; r = cm_db_next(st, err)) {
		r = fill(st, &info, err);
		if (r == 0)
			r = fn(arg, &info);
		if (r != 0)
			return r;
	}
	return r;
}

int cm_store_repositories(struct cm_store *s, const char *prefix,
			  const char *after, size_t limit, cm_repository_fn fn,
			  void *arg, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct cm_name_range range;
	const char *name;
	int r = cm_index_reader(s->index, &db, err);

	cm_name_range_of(NULL, prefix, &range);
	if (r == 0)
		r = cm_db_query(
			db,
			"SELECT name FROM repositories WHERE name > ?1 AND"
			" name >= ?2 AND name < ?3 AND (name = ?2 OR"
			" name >= ?4) AND manifests > 0 ORDER BY name LIMIT ?5",
			&st, err, CM_TEXT(after ? after : ""),
			CM_TEXT(range.exact), CM_TEXT(range.until),
			CM_TEXT(range.from),
			CM_INT(limit > INT32_MAX ? INT32_MAX : (int64_t)limit));
	for (; r > 0; r = cm_db_next(st, err)) {
		name = (const char *)sqlite3_column_text(st, 0);
		r = name ? fn(arg, name) : cm_error_nomem(err);
		if (r != 0)
			return r;
	}
	return r;
}
