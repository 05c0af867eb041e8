/*
 * oci_referrers.c - the manifests that name a manifest as their subject, as an
 * image index (distribution-spec, "Listing Referrers").
 *
 * The index of the store says which they are; annotations are read from the
 * manifests themselves. A page ends at PAGE_MAX of them or when those read have
 * PAGE_BYTES, whichever is first; a Link field leads to the next page. Nothing
 * there, and no such repository, is an empty index: a 404 would tell clients
 * that the API is missing.
 */
#include <stdlib.h>
#include <string.h>

#include <cachemount/protocol.h>

#include "faces/body.h"
#include "faces/oci.h"

#define PAGE_MAX   256
#define PAGE_BYTES (2LL << 20)

/* Type and subtype have at most 127 bytes each (RFC 6838 §4.2). */
#define ARTIFACT_TYPE_MAX 255

struct row {
	struct cm_digest digest;
	int64_t size;
	json_t *descriptor;
};

struct page {
	struct row *rows;
	size_t len;
	bool more;
	json_t *manifests;
	struct cm_digest last; /* looked at */
};

/* ---- what the index says ---------------------------------------------------
 */

static json_t *describe(const struct cm_referrer *m)
{
	char digest[CM_DIGEST_TEXT_SIZE];
	json_t *d = json_pack("{s:s,s:I,s:s}", "mediaType", m->media_type,
			      "size", (json_int_t)m->size, "digest",
			      cm_digest_format(&m->digest, digest));

	if (d && m->artifact_type &&
	    json_object_set_new(d, "artifactType",
				json_string(m->artifact_type)) < 0) {
		json_decref(d);
		return NULL;
	}
	return d;
}

static int add_row(void *arg, const struct cm_referrer *m)
{
	struct page *p = arg;
	json_t *descriptor;

	if (p->len == PAGE_MAX) {
		p->more = true;
		return 1;
	}
	descriptor = describe(m);
	if (!descriptor)
		return CM_ERR_NO_MEMORY;
	p->rows[p->len++] = (struct row){m->digest, m->size, descriptor};
	return 0;
}

/* ---- what the manifests say ------------------------------------------------
 */

/* Moves the manifest's annotations, if it has any, into its descriptor. */
static int add_annotations(struct row *row, const char *bytes,
			   struct cm_error *err)
{
	cm_auto(json) json_t *root =
		json_loadb(bytes, (size_t)row->size, 0, NULL);
	json_t *annotations = json_object_get(root, "annotations");

	if (!json_is_object(annotations))
		return 0;
	if (json_object_set(row->descriptor, "annotations", annotations) < 0)
		return cm_error_nomem(err);
	return 0;
}

/* One that has been deleted since it was listed is left out. */
static int add_manifest(struct cm_request *r, struct page *p, struct row *row,
			struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	cm_autofree void *bytes = NULL;
	int status = cm_store_blob_open(cm_request_store(r),
					cm_request_param(r, "name"),
					&row->digest, &b, err);

	if (status == CM_ERR_NOT_FOUND)
		return 0;
	if (status == 0)
		status = cm_blob_read_all(b, &bytes, err);
	if (status == 0)
		status = add_annotations(row, bytes, err);
	if (status < 0)
		return status;
	if (json_array_append(p->manifests, row->descriptor) < 0)
		return cm_error_nomem(err);
	return 0;
}

static int fill(struct cm_request *r, struct page *p, struct cm_error *err)
{
	int64_t bytes = 0;
	int status = 0;

	for (size_t i = 0; i < p->len && status == 0; i++) {
		bytes += p->rows[i].size;
		if (i > 0 && bytes > PAGE_BYTES) {
			p->more = true;
			break;
		}
		p->last = p->rows[i].digest;
		status = add_manifest(r, p, &p->rows[i], err);
	}
	return status;
}

/* ---- the reply -------------------------------------------------------------
 */

/* Percent-encodes what a query argument can't hold as it is. */
static char *encode(const char *in, char out[static 3 * ARTIFACT_TYPE_MAX + 1])
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~/";
	static const char hex[] = "0123456789ABCDEF";
	char *at = out;

	for (; *in; in++) {
		if (strchr(plain, *in)) {
			*at++ = *in;
			continue;
		}
		*at++ = '%';
		*at++ = hex[(unsigned char)*in >> 4];
		*at++ = hex[(unsigned char)*in & 15];
	}
	*at = '\0';
	return out;
}

static int headers(struct cm_request *r, const struct page *p, const char *type,
		   struct cm_error *err)
{
	char last[CM_DIGEST_TEXT_SIZE], encoded[3 * ARTIFACT_TYPE_MAX + 1] = "";

	if (type &&
	    cm_reply_header(r, "OCI-Filters-Applied", "artifactType") < 0)
		return cm_error_nomem(err);
	if (type)
		encode(type, encoded);
	if (p->more &&
	    cm_reply_header(
		    r, "Link",
		    "</v2/%s/referrers/%s?%s%s%slast=%s>; rel=\"next\"",
		    cm_request_param(r, "name"), cm_request_param(r, "digest"),
		    type ? "artifactType=" : "", encoded, type ? "&" : "",
		    cm_digest_format(&p->last, last)) < 0)
		return cm_error_nomem(err);
	return 0;
}

static int reply(struct cm_request *r, const struct page *p, const char *type,
		 struct cm_error *err)
{
	cm_auto(json) json_t *body =
		json_pack("{s:i,s:s,s:O}", "schemaVersion", 2, "mediaType",
			  CM_MEDIA_OCI_INDEX, "manifests", p->manifests);
	cm_autofree char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	int status;

	if (!text)
		return cm_error_nomem(err);
	status = headers(r, p, type, err);
	if (status < 0)
		return status;
	return cm_reply_bytes(r, 200, CM_MEDIA_OCI_INDEX, text, strlen(text),
			      err);
}

/* ---- the request -----------------------------------------------------------
 */

static int parse_type(struct cm_request *r, const char **ret,
		      struct cm_error *err)
{
	const char *type = cm_request_query(r, "artifactType");

	if (type && strlen(type) > ARTIFACT_TYPE_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "artifactType has %zu bytes; no media type "
				    "has more than %d",
				    strlen(type), ARTIFACT_TYPE_MAX);
	/* An empty one asks for none in particular. */
	*ret = type && *type ? type : NULL;
	return 0;
}

static int list(struct cm_request *r, const struct cm_any_digest *subject,
		const char *type, struct page *p, struct cm_error *err)
{
	const char *last = cm_request_query(r, "last");
	struct cm_digest after;
	struct cm_referrer_filter filter = {
		.repo = cm_request_param(r, "name"),
		.subject = subject,
		.artifact_type = type,
		.after = last ? &after : NULL,
		.limit = PAGE_MAX + 1,
	};
	int status = last ? cm_oci_digest("last", last, &after, err) : 0;

	if (status == 0)
		status = cm_store_referrers(cm_request_store(r), &filter,
					    add_row, p, err);
	if (status == CM_ERR_NO_MEMORY)
		return cm_error_nomem(err);
	return status < 0 ? status : fill(r, p, err);
}

static int answer(struct cm_request *r, struct page *p, struct cm_error *err)
{
	struct cm_any_digest subject;
	const char *type = NULL;
	int status = parse_type(r, &type, err);

	if (status < 0)
		return status;
	status = cm_oci_any_digest("digest", cm_request_param(r, "digest"),
				   &subject, err);
	/* By an algorithm that no manifest here may use: nobody does. */
	if (status == CM_ERR_UNSUPPORTED)
		return reply(r, p, type, err);
	if (status == 0)
		status = list(r, &subject, type, p, err);
	return status < 0 ? status : reply(r, p, type, err);
}

static int referrers_list(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *manifests = json_array();
	cm_autofree struct row *rows = calloc(PAGE_MAX, sizeof(*rows));
	struct page p = {.rows = rows, .manifests = manifests};
	int status =
		rows && manifests ? answer(r, &p, err) : cm_error_nomem(err);

	for (size_t i = 0; i < p.len; i++)
		json_decref(rows[i].descriptor);
	return status;
}

/* On a worker: it reads up to PAGE_MAX manifests. */
const struct cm_handler cm_oci_referrers_list = {
	.finish = referrers_list,
	.blocking = true,
};
