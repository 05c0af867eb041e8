/*
 * api_list.c - GET /api/v1/repositories and /api/v1/tags: listings of what the
 * identity may pull, by pages.
 *
 * The store lists in batches; what may not be seen is skipped. A client that
 * may see little of much would make a request read the whole index, so after
 * SCAN_MAX rows a page ends with the last item that may be seen, and if there
 * is none, the request fails and asks for a narrower question: the cursor
 * must not tell names that may not be seen.
 */
#include <stdio.h>
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/units.h>

#include "faces/api.h"
#include "faces/body.h"
#include "faces/fields.h"

#define PAGE_MAX   1000
#define BATCH	   1000
#define SCAN_MAX   100000
#define CURSOR_MAX (CM_REPOSITORY_MAX + 1 + CM_TAG_MAX)

struct page {
	struct cm_request *request;
	json_t *items;
	size_t room;
	size_t visited; /* in this batch */
	size_t scanned; /* in all */
	bool more;
	char repo[CM_REPOSITORY_MAX + 1]; /* last visited … */
	char tag[CM_TAG_MAX + 1];
	char next[CURSOR_MAX + 1]; /* last added: the client's cursor */
};

/* Whether the item goes to the page: 1, 0 to skip it, CM_ERR_EXISTS: full. */
static int page_visit(struct page *p, const char *repo, const char *tag)
{
	p->visited++;
	if (p->room == 0) {
		p->more = true;
		return CM_ERR_EXISTS;
	}
	snprintf(p->repo, sizeof(p->repo), "%s", repo);
	snprintf(p->tag, sizeof(p->tag), "%s", tag);
	return cm_request_may(p->request, CM_PERM_PULL, repo);
}

static int page_add(struct page *p, json_t *item)
{
	if (json_array_append_new(p->items, item) < 0)
		return CM_ERR_NO_MEMORY;
	p->room--;
	if (p->tag[0])
		snprintf(p->next, sizeof(p->next), "%s:%s", p->repo, p->tag);
	else
		snprintf(p->next, sizeof(p->next), "%s", p->repo);
	return 0;
}

/*
 * After a batch: 1 to read another one, 0 when the page is done. `status` is
 * what the listing returned.
 */
static int page_batch(struct page *p, int status, struct cm_error *err)
{
	p->scanned += p->visited;
	if (status == CM_ERR_NO_MEMORY)
		return cm_error_nomem(err);
	if (status == CM_ERR_EXISTS || (status == 0 && p->visited < BATCH))
		return 0;
	if (status < 0)
		return status;
	p->visited = 0;
	if (p->scanned < SCAN_MAX)
		return 1;
	if (!p->next[0])
		return cm_error_set(err, CM_ERR_BUSY,
				    "the listing skips too much that you may "
				    "not see; narrow it with prefix=");
	p->more = true;
	return 0;
}

static int page_reply(struct cm_request *r, const struct page *p,
		      const char *key, struct cm_error *err)
{
	json_t *body = json_pack("{s:O,s:s*}", key, p->items, "next",
				 p->more && p->next[0] ? p->next : NULL);

	if (!body)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, body, err);
}

/* ---- the questions ----------------------------------------------------- */

static int read_count(struct cm_request *r, struct page *p,
		      struct cm_error *err)
{
	const char *count = cm_request_query(r, "n");
	int64_t n = PAGE_MAX;
	int status = count ? cm_field_count("n", count, PAGE_MAX, &n, err) : 0;

	p->room = (size_t)n;
	return status;
}

/* A repository name given as a query argument; NULL if absent or empty. */
static int read_repository(struct cm_request *r, const char *key,
			   const char **ret, struct cm_error *err)
{
	const char *value = cm_request_query(r, key);

	*ret = value && *value ? value : NULL;
	if (*ret && !cm_repository_valid(value, strlen(value)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s=%.100s is no repository name", key,
				    value);
	return 0;
}

/* Splits the cursor "<repository>:<tag>" into p->repo and p->tag. */
static int read_tag_cursor(struct cm_request *r, struct page *p,
			   struct cm_error *err)
{
	const char *last = cm_request_query(r, "last");
	const char *colon = last ? strchr(last, ':') : NULL;

	if (!last || !*last)
		return 0;
	if (!colon || !cm_repository_valid(last, (size_t)(colon - last)) ||
	    !cm_tag_valid(colon + 1, strlen(colon + 1)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "last=%.100s is not of the form "
				    "<repository>:<tag>",
				    last);
	snprintf(p->repo, sizeof(p->repo), "%.*s", (int)(colon - last), last);
	snprintf(p->tag, sizeof(p->tag), "%s", colon + 1);
	return 0;
}

/* ---- repositories ------------------------------------------------------ */

static int visit_repository(void *arg, const char *repo)
{
	struct page *p = arg;
	int r = page_visit(p, repo, "");

	return r > 0 ? page_add(p, json_string(repo)) : r;
}

static int repositories(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *items = json_array();
	struct page p = {.request = r, .items = items};
	const char *prefix = NULL, *last = NULL;
	int status = read_count(r, &p, err);

	if (status == 0)
		status = read_repository(r, "prefix", &prefix, err);
	if (status == 0)
		status = read_repository(r, "last", &last, err);
	if (status < 0)
		return status;
	snprintf(p.repo, sizeof(p.repo), "%s", last ? last : "");
	do {
		char after[CM_REPOSITORY_MAX + 1];

		memcpy(after, p.repo, sizeof(after));
		status = cm_store_repositories(cm_request_store(r), prefix,
					       after[0] ? after : NULL, BATCH,
					       visit_repository, &p, err);
		status = page_batch(&p, status, err);
	} while (status > 0);
	if (status < 0)
		return status;
	return page_reply(r, &p, "repositories", err);
}

const struct cm_handler cm_api_repositories = {
	.finish = repositories,
	.blocking = true,
};

/* ---- tags -------------------------------------------------------------- */

static json_t *tag_json(const struct cm_tag_info *t)
{
	char created[CM_TIME_TEXT_SIZE], updated[CM_TIME_TEXT_SIZE];
	char pulled[CM_TIME_TEXT_SIZE], digest[CM_DIGEST_TEXT_SIZE];

	return json_pack("{s:s,s:s,s:s,s:s,s:s?,s:I,s:s,s:s,s:s?,s:s?,s:b,s:b}",
			 "repository", t->repo, "tag", t->tag, "digest",
			 cm_digest_format(&t->digest, digest), "mediaType",
			 t->media_type, "artifactType", t->artifact_type,
			 "size", (json_int_t)t->content_size, "created",
			 cm_time_format(t->created_ms, created), "updated",
			 cm_time_format(t->updated_ms, updated), "pulled",
			 t->pulled_ms ? cm_time_format(t->pulled_ms, pulled)
				      : NULL,
			 "writer", t->writer, "pinned", t->pinned, "importable",
			 t->importable);
}

static int visit_tag(void *arg, const struct cm_tag_info *tag)
{
	struct page *p = arg;
	int r = page_visit(p, tag->repo, tag->tag);

	return r > 0 ? page_add(p, tag_json(tag)) : r;
}

static int list_tags(struct page *p, struct cm_tag_filter *filter,
		     struct cm_error *err)
{
	char repo[CM_REPOSITORY_MAX + 1], tag[CM_TAG_MAX + 1];
	int status;

	do {
		memcpy(repo, p->repo, sizeof(repo));
		memcpy(tag, p->tag, sizeof(tag));
		filter->after_repo = repo[0] ? repo : NULL;
		filter->after_tag = tag[0] ? tag : NULL;
		status = cm_store_tags(cm_request_store(p->request), filter,
				       visit_tag, p, err);
		status = page_batch(p, status, err);
	} while (status > 0);
	return status;
}

static int tags(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *items = json_array();
	struct page p = {.request = r, .items = items};
	struct cm_tag_filter filter = {.limit = BATCH};
	int status = read_count(r, &p, err);

	if (status == 0)
		status = read_repository(r, "prefix", &filter.repo_prefix, err);
	if (status == 0)
		status = read_repository(r, "repository", &filter.repo, err);
	if (status == 0)
		status = read_tag_cursor(r, &p, err);
	if (status < 0)
		return status;
	if (filter.repo && filter.repo_prefix)
		return cm_error_set(err, CM_ERR_INVALID,
				    "give repository or prefix, not both");
	if (filter.repo) {
		status = cm_api_require(r, CM_PERM_PULL, "pull", filter.repo,
					err);
		if (status < 0)
			return status;
	}
	status = list_tags(&p, &filter, err);
	if (status < 0)
		return status;
	return page_reply(r, &p, "tags", err);
}

const struct cm_handler cm_api_tags = {.finish = tags, .blocking = true};
