/*
 * api_limits.c - what keeps the store to its limits, for people: pins, a
 * collection now, and how full each scope is.
 *
 * POST /api/v1/pin {"repository","tag","pinned"}: `tag` absent pins all tags
 * that the repository has and gets; `pinned` false takes the pin away. The
 * answer says how much is pinned now, and how much fits below the low
 * watermark. It needs "admin" on the repository.
 *
 * POST /api/v1/gc: sweeps, and evicts down to the low watermarks. "more" says
 * that the time was up. It needs "admin" on everything.
 *
 * GET /api/v1/scopes?n=&last=: by name, in pages of at most 1000.
 */
#include <string.h>

#include <cachemount/names.h>

#include "faces/api.h"
#include "faces/body.h"
#include "faces/fields.h"

#define BODY_MAX (64 << 10)
#define PAGE_MAX 1000

/* ---- pins -----------------------------------------------------------------
 */

static const char *const pin_fields[] = {"repository", "tag", "pinned", NULL};

struct pin {
	const char *repo;
	const char *tag;
	bool pinned;
};

static int parse_pin(json_t *body, struct pin *p, struct cm_error *err)
{
	int status = cm_api_known_fields(body, pin_fields, err);

	p->pinned = true;
	if (status == 0)
		status = cm_api_repository(body, "repository", &p->repo, err);
	if (status == 0)
		status = cm_api_string(body, "tag", &p->tag, err);
	if (status == 0)
		status = cm_api_bool(body, "pinned", &p->pinned, err);
	if (status < 0)
		return status;
	if (!p->repo)
		return cm_error_set(err, CM_ERR_INVALID,
				    "repository is missing");
	if (p->tag && !cm_tag_valid(p->tag, strlen(p->tag)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "tag \"%.60s\" is no tag", p->tag);
	return 0;
}

static int reply_pin(struct cm_request *r, const struct pin *p,
		     struct cm_error *err)
{
	struct cm_store_stats s;
	json_t *reply;
	int status = cm_store_stats(cm_request_store(r), &s, err);

	if (status < 0)
		return status;
	reply = json_pack("{s:s,s:s?,s:b,s:I,s:I,s:I}", "repository", p->repo,
			  "tag", p->tag, "pinned", p->pinned, "pinned_tags",
			  (json_int_t)s.pinned_tags, "pinned_bytes",
			  (json_int_t)s.pinned_bytes, "low_bytes",
			  (json_int_t)s.low_bytes);
	if (!reply)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, reply, err);
}

static int pin(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *body = NULL;
	struct pin p = {0};
	int status = cm_body_json(r, &body, err);

	if (status == 0)
		status = parse_pin(body, &p, err);
	if (status == 0)
		status = cm_api_require(r, CM_PERM_ADMIN, "admin", p.repo, err);
	if (status == 0)
		status = cm_store_pin(cm_request_store(r), p.repo, p.tag,
				      p.pinned, err);
	return status < 0 ? status : reply_pin(r, &p, err);
}

const struct cm_handler cm_api_pin = {
	.body = cm_body_collect,
	.finish = pin,
	.release = cm_body_free,
	.blocking = true,
	.body_max = BODY_MAX,
};

/* ---- gc -------------------------------------------------------------------
 */

static int gc(struct cm_request *r, struct cm_error *err)
{
	struct cm_gc_result g;
	json_t *reply;
	int status = 0;

	if (!cm_api_may_all(r, CM_PERM_ADMIN, ""))
		return cm_error_set(
			err, CM_ERR_DENIED,
			"this needs the permission \"admin\" on **");
	status = cm_store_gc(cm_request_store(r), &g, err);
	if (status < 0)
		return status;
	reply = json_pack("{s:I,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I},s:b}",
			  "uploads", (json_int_t)g.swept.uploads, "manifests",
			  (json_int_t)g.swept.manifests, "blobs",
			  (json_int_t)g.swept.blobs, "bytes",
			  (json_int_t)g.swept.bytes, "evicted", "tags",
			  (json_int_t)g.evicted.tags, "manifests",
			  (json_int_t)g.evicted.manifests, "blobs",
			  (json_int_t)g.evicted.blobs, "bytes",
			  (json_int_t)g.evicted.bytes, "more", g.more);
	if (!reply)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, reply, err);
}

const struct cm_handler cm_api_gc = {
	.body = cm_body_collect,
	.finish = gc,
	.release = cm_body_free,
	.blocking = true,
	.body_max = BODY_MAX,
};

/* ---- scopes ---------------------------------------------------------------
 */

#define BATCHES_MAX 100

/* The cursor tells no name that the identity may not see. */
struct scopes {
	struct cm_request *request;
	json_t *items;
	char visited[CM_REPOSITORY_MAX + 1];
	char added[CM_REPOSITORY_MAX + 1];
	int64_t seen; /* in this batch */
};

static int add_scope(void *arg, const struct cm_scope_info *scope)
{
	struct scopes *list = arg;
	json_t *item;

	list->seen++;
	strncpy(list->visited, scope->name, CM_REPOSITORY_MAX);
	if (!cm_api_may_all(list->request, CM_PERM_PULL, scope->name))
		return 0;
	item = json_pack("{s:s,s:I,s:o}", "scope", scope->name, "bytes",
			 (json_int_t)scope->bytes, "quota",
			 scope->quota > 0 ? json_integer(scope->quota)
					  : json_null());
	strncpy(list->added, scope->name, CM_REPOSITORY_MAX);
	return json_array_append_new(list->items, item) < 0 ? CM_ERR_NO_MEMORY
							    : 0;
}

/* A page of what may be seen: on, while there is nothing to show for it. */
static int list_scopes(struct scopes *list, const char *last, int64_t n,
		       struct cm_error *err)
{
	char after[CM_REPOSITORY_MAX + 1];
	int status = 0;

	strncpy(list->visited, last ? last : "", CM_REPOSITORY_MAX);
	list->seen = n;
	for (int i = 0; status == 0 && i < BATCHES_MAX && n > 0 &&
			list->seen == n && !list->added[0];
	     i++) {
		memcpy(after, list->visited, sizeof(after));
		list->seen = 0;
		status = cm_store_scopes(cm_request_store(list->request), after,
					 (size_t)n, add_scope, list, err);
	}
	return status == CM_ERR_NO_MEMORY ? cm_error_nomem(err) : status;
}

static int scopes(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *items = json_array();
	struct scopes list = {.request = r, .items = items};
	const char *count = cm_request_query(r, "n");
	int64_t n = PAGE_MAX;
	json_t *reply;
	int status = count ? cm_field_count("n", count, PAGE_MAX, &n, err) : 0;

	if (status == 0)
		status =
			list_scopes(&list, cm_request_query(r, "last"), n, err);
	if (status < 0)
		return status;
	reply = json_pack("{s:O,s:s*}", "scopes", items, "next",
			  list.added[0] && list.seen == n ? list.added : NULL);
	if (!reply)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, reply, err);
}

const struct cm_handler cm_api_scopes = {.finish = scopes, .blocking = true};
