/*
 * oci_tags.c - the list of a repository's tags, in byte order, by pages
 * (distribution-spec, "Listing Tags"). A page without ?n has PAGE_MAX tags at
 * most; a Link field leads to the next one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/names.h>

#include "faces/body.h"
#include "faces/fields.h"
#include "faces/oci.h"

#define PAGE_MAX 1000

struct page {
	json_t *tags;
	size_t room;
	char last[CM_TAG_MAX + 1];
	bool more;
};

static int page_add(void *arg, const struct cm_tag_info *tag)
{
	struct page *p = arg;

	if (p->room == 0) {
		p->more = true;
		return 1;
	}
	p->room--;
	snprintf(p->last, sizeof(p->last), "%s", tag->tag);
	return json_array_append_new(p->tags, json_string(tag->tag)) < 0
		       ? CM_ERR_NO_MEMORY
		       : 0;
}

/* One tag more than the page holds tells whether there is a next one. */
static int page_fill(struct cm_request *r, const char *last, struct page *p,
		     struct cm_error *err)
{
	const char *name = cm_request_param(r, "name");
	struct cm_tag_filter filter = {
		.repo = name,
		.after_repo = last ? name : NULL,
		.after_tag = last,
		.limit = p->room + 1,
	};
	int status =
		cm_store_tags(cm_request_store(r), &filter, page_add, p, err);

	if (status == CM_ERR_NO_MEMORY)
		return cm_error_nomem(err);
	return status < 0 ? status : 0;
}

/* n=0 asks only whether the repository is there: no tags, no next page. */
static int page_reply(struct cm_request *r, int64_t n, const struct page *p,
		      struct cm_error *err)
{
	const char *name = cm_request_param(r, "name");
	json_t *body;

	if (p->more && n > 0 &&
	    cm_reply_header(r, "Link",
			    "</v2/%s/tags/list?n=%" PRId64
			    "&last=%s>; rel=\"next\"",
			    name, n, p->last) < 0)
		return cm_error_nomem(err);
	body = json_pack("{s:s,s:O}", "name", name, "tags", p->tags);
	if (!body)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, body, err);
}

static int tags_list(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *tags = json_array();
	const char *count = cm_request_query(r, "n");
	const char *last = cm_request_query(r, "last");
	struct page p = {.tags = tags};
	int64_t n = PAGE_MAX;
	int status;

	if (!tags)
		return cm_error_nomem(err);
	status = count ? cm_field_count("n", count, PAGE_MAX, &n, err) : 0;
	if (status < 0)
		return status;
	if (last && !cm_tag_valid(last, strlen(last)))
		return cm_error_set(err, CM_ERR_INVALID, "last=%.60s is no tag",
				    last);
	p.room = (size_t)n;
	status = page_fill(r, last, &p, err);
	if (status < 0)
		return status;
	return page_reply(r, n, &p, err);
}

const struct cm_handler cm_oci_tags_list = {
	.finish = tags_list,
	.blocking = true,
};
