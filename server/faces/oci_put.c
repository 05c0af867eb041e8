/* oci_put.c - tags of a manifest PUT's query, and the fields of its answer. */
#include <stdio.h>
#include <string.h>

#include <cachemount/names.h>

#include "faces/oci_put.h"

#define TAG_LIST_SIZE (CM_OCI_TAGS_MAX * (CM_TAG_MAX + 2) + 1)

bool cm_oci_tags_too_many(const struct cm_request *r)
{
	return cm_request_query_all(r, "tag", NULL, 0) > CM_OCI_TAGS_MAX;
}

static bool has_tag(const struct cm_oci_tags *t, const char *tag)
{
	for (size_t i = 0; i < t->len; i++)
		if (strcmp(t->tags[i], tag) == 0)
			return true;
	return false;
}

int cm_oci_tags_read(const struct cm_request *r,
		     const struct cm_oci_reference *ref,
		     struct cm_oci_tags *ret, struct cm_error *err)
{
	const char *values[CM_OCI_TAGS_MAX];
	size_t n = cm_request_query_all(r, "tag", values, CM_OCI_TAGS_MAX);

	ret->len = 0;
	if (n > 0 && ref->tag)
		return cm_error_set(err, CM_ERR_INVALID,
				    "?tag= goes with a digest in the path; "
				    "this one has the tag \"%s\"",
				    ref->tag);
	for (size_t i = 0; i < n && i < CM_OCI_TAGS_MAX; i++) {
		if (!cm_tag_valid(values[i], strlen(values[i])))
			return cm_error_set(
				err, CM_ERR_INVALID,
				"tag=%.130s is no tag: a tag has 1 to 128 "
				"characters of [A-Za-z0-9._-] and begins with "
				"none of \".-\"",
				values[i]);
		if (!has_tag(ret, values[i]))
			ret->tags[ret->len++] = values[i];
	}
	return 0;
}

/* "OCI-Tag: a, b": one field with all of them (RFC 9110 §5.3). */
static int tag_header(struct cm_request *r, const struct cm_manifest_put *put)
{
	char list[TAG_LIST_SIZE];
	size_t at = 0;

	if (put->more_tags_len == 0)
		return 0;
	for (size_t i = 0; i < put->more_tags_len; i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s",
				       i ? ", " : "", put->more_tags[i]);
	return cm_reply_header(r, "OCI-Tag", "%s", list);
}

static int subject_header(struct cm_request *r, const struct cm_manifest *m)
{
	char text[CM_ANY_DIGEST_TEXT_SIZE];

	if (!m->has_subject)
		return 0;
	return cm_reply_header(r, "OCI-Subject", "%s",
			       cm_any_digest_format(&m->subject, text));
}

int cm_oci_put_headers(struct cm_request *r, const struct cm_manifest_put *put,
		       const struct cm_digest *d, struct cm_error *err)
{
	char name[CM_ANY_DIGEST_TEXT_SIZE], digest[CM_DIGEST_TEXT_SIZE];

	cm_digest_format(d, digest);
	if (put->name)
		cm_any_digest_format(put->name, name);
	else
		strcpy(name, digest);
	if (cm_reply_header(r, "Location", "/v2/%s/manifests/%s", put->repo,
			    name) < 0 ||
	    cm_reply_header(r, "Docker-Content-Digest", "%s", name) < 0 ||
	    cm_reply_header(r, "ETag", "\"%s\"", digest) < 0 ||
	    tag_header(r, put) < 0 || subject_header(r, put->parsed) < 0)
		return cm_error_nomem(err);
	return 0;
}
