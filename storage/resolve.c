/*
 * resolve.c - from a digest as a client gives it to the SHA-256 that everything
 * is kept under. Asked at the edge, so that the rest knows one kind of name.
 */
#include "store_private.h"

static int not_here(const char *repo, const struct cm_any_digest *name,
		    struct cm_error *err)
{
	char text[CM_ANY_DIGEST_TEXT_SIZE];

	cm_any_digest_format(name, text);
	if (!repo)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "nothing is named %s", text);
	return cm_error_set(err, CM_ERR_NOT_FOUND,
			    "repository \"%s\" has nothing named %s", repo,
			    text);
}

int cm_store_resolve(struct cm_store *s, const char *repo,
		     const struct cm_any_digest *name, struct cm_digest *ret,
		     struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int64_t repo_id = 0;
	int r;

	if (name->algorithm == CM_SHA256) {
		*ret = name->sha256;
		return 0;
	}
	r = cm_index_reader(s->index, &db, err);
	if (r == 0 && repo)
		r = cm_repo_find(db, repo, &repo_id, err);
	if (r == 0 && !repo)
		r = cm_alias_find_any(db, name, ret, err);
	else if (r == 0 && repo_id != 0)
		r = cm_alias_find(db, repo_id, name, ret, err);
	if (r == 0)
		return not_here(repo, name, err);
	return r < 0 ? r : 0;
}

int cm_store_resolve_manifest(struct cm_store *s, const char *repo,
			      struct cm_manifest *m, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_descriptor *d;
	int64_t repo_id = 0;
	int r = m->has_sha512 ? cm_index_reader(s->index, &db, err) : 0;

	if (r == 0 && db)
		r = cm_repo_find(db, repo, &repo_id, err);
	for (size_t i = 0; repo_id != 0 && r >= 0 && i < m->descriptors_len;
	     i++) {
		d = &m->descriptors[i];
		if (d->sha512)
			r = cm_alias_find(db, repo_id, d->sha512, &d->digest,
					  err);
	}
	return r < 0 ? r : 0;
}
