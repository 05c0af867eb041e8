/*
 * index_pins.c - pins: tags that are never evicted.
 *
 * tags.pinned has a bit for the tag's own pin and one for its repository's,
 * which repositories.pinned holds in the same place for tags to come. A
 * repository may have many tags: they are marked some a transaction. Cut off in
 * between, it is done again.
 */
#include <string.h>

#include "store_private.h"

#define OWN_PIN	     1
#define REPO_PIN     2
#define TAGS_A_BATCH 200

struct pin_job {
	const char *repo;
	const char *tag; /* NULL: the repository */
	bool pinned;
	char after[CM_TAG_MAX + 1]; /* of the repository's tags */
	bool more;
};

int cm_pin_count(struct cm_tx *tx, int64_t repo_id, const struct cm_digest *d,
		 int sign, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT content_size FROM manifests"
			    " WHERE repo_id = ? AND digest = ?",
			    &st, err, CM_INT(repo_id), CM_DIGEST(d));

	if (r <= 0)
		return r;
	tx->totals[CM_TOTAL_PINNED_TAGS] += sign;
	tx->totals[CM_TOTAL_PINNED_BYTES] += sign * sqlite3_column_int64(st, 0);
	return 0;
}

/* The bits of a tag: 1, 0 if there is no such tag, <0. */
static int read_pins(struct cm_tx *tx, int64_t repo_id, const char *tag,
		     int *ret_bits, struct cm_digest *ret, struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db,
			    "SELECT pinned, digest FROM tags"
			    " WHERE repo_id = ? AND name = ?",
			    &st, err, CM_INT(repo_id), CM_TEXT(tag));

	if (r <= 0)
		return r;
	*ret_bits = sqlite3_column_int(st, 0);
	r = cm_column_digest(st, 1, ret, err);
	return r < 0 ? r : 1;
}

/* Sets or clears one bit of a tag: 1 if there is such a tag. */
static int set_pin(struct cm_tx *tx, int64_t repo_id, const char *tag, int bit,
		   bool on, struct cm_error *err)
{
	struct cm_digest d;
	int old = 0, now;
	int r = read_pins(tx, repo_id, tag, &old, &d, err);

	now = on ? old | bit : old & ~bit;
	if (r <= 0 || now == old)
		return r;
	r = cm_db_run(tx->db,
		      "UPDATE tags SET pinned = ?"
		      " WHERE repo_id = ? AND name = ?",
		      err, CM_INT(now), CM_INT(repo_id), CM_TEXT(tag));
	if (r == 0 && (old == 0) != (now == 0))
		r = cm_pin_count(tx, repo_id, &d, now ? 1 : -1, err);
	return r < 0 ? r : 1;
}

/* The next tags of a repository, by name. */
static int read_names(struct cm_tx *tx, int64_t repo_id, struct pin_job *j,
		      char (*names)[CM_TAG_MAX + 1], size_t *ret_n,
		      struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const char *name;
	int r = cm_db_query(tx->db,
			    "SELECT name FROM tags WHERE repo_id = ?"
			    " AND name > ? ORDER BY name LIMIT ?",
			    &st, err, CM_INT(repo_id), CM_TEXT(j->after),
			    CM_INT(TAGS_A_BATCH));

	for (*ret_n = 0; r > 0; r = cm_db_next(st, err)) {
		name = (const char *)sqlite3_column_text(st, 0);
		if (!name)
			return cm_error_nomem(err);
		strncpy(names[*ret_n], name, CM_TAG_MAX);
		names[(*ret_n)++][CM_TAG_MAX] = '\0';
	}
	return r;
}

static int pin_repository(struct cm_tx *tx, int64_t repo_id, struct pin_job *j,
			  struct cm_error *err)
{
	char names[TAGS_A_BATCH][CM_TAG_MAX + 1];
	size_t n = 0;
	int r = cm_db_run(
		tx->db, "UPDATE repositories SET pinned = ? WHERE id = ?", err,
		CM_INT(j->pinned ? REPO_PIN : 0), CM_INT(repo_id));

	if (r == 0)
		r = read_names(tx, repo_id, j, names, &n, err);
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = set_pin(tx, repo_id, names[i], REPO_PIN, j->pinned, err);
	if (r < 0)
		return r;
	j->more = n == TAGS_A_BATCH;
	if (n > 0)
		strcpy(j->after, names[n - 1]);
	return 0;
}

/* Does the repository hold a manifest? */
static int has_manifests(struct cm_tx *tx, int64_t repo_id,
			 struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;

	return cm_db_query(tx->db,
			   "SELECT 1 FROM repositories"
			   " WHERE id = ? AND (manifests > 0 OR pinned > 0)",
			   &st, err, CM_INT(repo_id));
}

static int pin_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct pin_job *j = arg;
	int64_t repo_id = 0;
	int r = cm_repo_find(tx->db, j->repo, &repo_id, err);

	if (r == 0 && j->tag)
		r = set_pin(tx, repo_id, j->tag, OWN_PIN, j->pinned, err);
	else if (r == 0)
		r = has_manifests(tx, repo_id, err);
	if (r == 0)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "there is no %s%s%s to pin or unpin",
				    j->repo, j->tag ? ":" : "",
				    j->tag ? j->tag : "");
	if (r > 0 && !j->tag)
		r = pin_repository(tx, repo_id, j, err);
	return r < 0 ? r : 0;
}

int cm_store_pin(struct cm_store *s, const char *repo, const char *tag,
		 bool pinned, struct cm_error *err)
{
	struct pin_job j = {.repo = repo, .tag = tag, .pinned = pinned};
	int r;

	do {
		j.more = false;
		r = cm_index_write(s->index, pin_tx, &j, err);
	} while (r == 0 && j.more);
	if (!pinned)
		cm_evictor_retry(s->evictor);
	return r;
}
