/*
 * api_purge.c - POST /api/v1/purge: removes tags by filter, and what only they
 * held.
 *
 *	repository	this one …
 *	prefix		… or all beneath this path, itself included
 *	tag		of this name
 *	older_than	last moved longer ago than this duration
 *	unused_for	neither moved nor pulled for this duration
 *	writer		put there by this identity
 *	all		true: say so to purge without any of the above
 *	dry_run		true: count, change nothing
 *
 * All that is given must hold. The identity needs "delete" on the repository,
 * or on everything beneath the prefix, or on everything; or "admin" on
 * everything.
 */
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/units.h>

#include "faces/api.h"
#include "faces/body.h"

#define PURGE_BODY_MAX (64 << 10)

static const char *const fields[] = {
	"repository", "prefix", "tag",	   "older_than", "unused_for",
	"writer",     "all",	"dry_run", NULL,
};

/* A duration before now, as a time; an absent one leaves 0. */
static int time_before(const json_t *body, const char *key, int64_t *ret_ms,
		       struct cm_error *err)
{
	const char *text = NULL;
	int64_t ms;
	int status = cm_api_string(body, key, &text, err);

	if (status < 0 || !text)
		return status;
	status = cm_duration_parse(text, &ms, err);
	if (status < 0)
		return cm_error_wrap(err, "%s", key);
	*ret_ms = cm_now_ms() - ms;
	if (*ret_ms <= 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s: \"%.60s\" is longer ago than 1970",
				    key, text);
	return 0;
}

static int parse_strings(const json_t *body, struct cm_purge_filter *f,
			 struct cm_error *err)
{
	int status = cm_api_repository(body, "repository", &f->repo, err);

	if (status == 0)
		status =
			cm_api_repository(body, "prefix", &f->repo_prefix, err);
	if (status == 0)
		status = cm_api_string(body, "tag", &f->tag, err);
	if (status == 0)
		status = cm_api_string(body, "writer", &f->writer, err);
	if (status < 0)
		return status;
	if (f->tag && !cm_tag_valid(f->tag, strlen(f->tag)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "tag \"%.60s\" is no tag", f->tag);
	if (f->repo && f->repo_prefix)
		return cm_error_set(err, CM_ERR_INVALID,
				    "give repository or prefix, not both");
	return 0;
}

static bool filter_is_empty(const struct cm_purge_filter *f)
{
	return !f->repo && !f->repo_prefix && !f->tag && !f->writer &&
	       f->updated_before_ms == 0 && f->pulled_before_ms == 0;
}

/* A filter that a client forgot to fill must not empty the store. */
static int check_all(const json_t *body, const struct cm_purge_filter *f,
		     struct cm_error *err)
{
	bool all = false;
	int status = cm_api_bool(body, "all", &all, err);

	if (status < 0)
		return status;
	if (filter_is_empty(f) && !all)
		return cm_error_set(err, CM_ERR_INVALID,
				    "an empty filter purges everything: say "
				    "\"all\":true if you mean it");
	if (!filter_is_empty(f) && all)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"all\":true contradicts the other "
				    "fields; leave it out");
	return 0;
}

static int parse(json_t *body, struct cm_purge_filter *f, struct cm_error *err)
{
	int status = cm_api_known_fields(body, fields, err);

	if (status == 0)
		status = parse_strings(body, f, err);
	if (status == 0)
		status = time_before(body, "older_than", &f->updated_before_ms,
				     err);
	if (status == 0)
		status = time_before(body, "unused_for", &f->pulled_before_ms,
				     err);
	if (status == 0)
		status = cm_api_bool(body, "dry_run", &f->dry_run, err);
	if (status == 0)
		status = check_all(body, f, err);
	if (status == 0 && !f->repo && !f->repo_prefix)
		f->repo_prefix = "";
	return status;
}

static int check_permission(struct cm_request *r,
			    const struct cm_purge_filter *f,
			    struct cm_error *err)
{
	bool may = f->repo ? cm_request_may(r, CM_PERM_DELETE, f->repo)
			   : cm_api_may_all(r, CM_PERM_DELETE, f->repo_prefix);

	if (may || cm_api_may_all(r, CM_PERM_ADMIN, ""))
		return 0;
	if (f->repo)
		return cm_error_set(err, CM_ERR_DENIED,
				    "this needs the permission \"delete\" on "
				    "%s",
				    f->repo);
	return cm_error_set(err, CM_ERR_DENIED,
			    "this needs the permission \"delete\" on %s%s**",
			    f->repo_prefix, *f->repo_prefix ? "/" : "");
}

static int purge(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *body = NULL;
	struct cm_purge_filter f = {0};
	struct cm_purge_result result;
	json_t *reply;
	int status = cm_body_json(r, &body, err);

	if (status == 0)
		status = parse(body, &f, err);
	if (status == 0)
		status = check_permission(r, &f, err);
	if (status == 0)
		status = cm_store_purge(cm_request_store(r), &f, &result, err);
	if (status < 0)
		return status;
	reply = json_pack("{s:I,s:I,s:I,s:I,s:b}", "tags",
			  (json_int_t)result.tags, "manifests",
			  (json_int_t)result.manifests, "blobs",
			  (json_int_t)result.blobs, "bytes",
			  (json_int_t)result.bytes, "dry_run", f.dry_run);
	if (!reply)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, reply, err);
}

const struct cm_handler cm_api_purge = {
	.body = cm_body_collect,
	.finish = purge,
	.release = cm_body_free,
	.blocking = true,
	.body_max = PURGE_BODY_MAX,
};
