/*
 * oci_blobs.c - GET, HEAD and DELETE of a blob.
 *
 * A blob has one or two representations: its content, whose entity tag is its
 * SHA-256, and, if it lies on disk as zstd, that frame under Content-Encoding:
 * zstd with "-zstd" behind the tag. The two must not share a strong tag, or a
 * client could resume one with a range of the other (RFC 9110 §8.8.3.3).
 * HEAD always tells of the content: clients take its length for the blob's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "faces/fields.h"
#include "faces/oci.h"
#include "faces/oci_error.h"

#define ETAG_SIZE (CM_DIGEST_TEXT_SIZE + 8)

/* A zstd blob on its way to a worker, which seeks in it. */
struct deferred_part {
	struct cm_blob *blob;
	struct cm_blob_part part;
};

static void deferred_part_free(void *state)
{
	struct deferred_part *p = state;

	if (!p)
		return;
	cm_blob_close(p->blob);
	free(p);
}

static const char *etag_of(const char *digest, bool coded,
			   char out[static ETAG_SIZE])
{
	snprintf(out, ETAG_SIZE, "%s%s", digest, coded ? "-zstd" : "");
	return out;
}

/*
 * The fields of an answer that holds good for this blob: 200, 206 and 304. An
 * error must not have them, or a cache could keep it for a year. No "public"
 * in Cache-Control: a shared cache must not serve one identity's blob to
 * another.
 */
static int blob_headers(struct cm_request *r, const struct cm_blob_info *info,
			bool coded, struct cm_error *err)
{
	char digest[CM_DIGEST_TEXT_SIZE], etag[ETAG_SIZE];

	cm_digest_format(&info->digest, digest);
	if (cm_reply_header(r, "Docker-Content-Digest", "%s",
			    cm_request_param(r, "digest")) < 0 ||
	    cm_reply_header(r, "ETag", "\"%s\"", etag_of(digest, coded, etag)) <
		    0 ||
	    cm_reply_header(r, "Accept-Ranges", "bytes") < 0 ||
	    cm_reply_header(r, "Cache-Control", "max-age=31536000, immutable") <
		    0)
		return cm_error_nomem(err);
	if (info->encoding == CM_ENCODING_ZSTD &&
	    cm_reply_header(r, "Vary", "Accept-Encoding") < 0)
		return cm_error_nomem(err);
	return 0;
}

/* Answers 304 or 412, with the fields that a 304 needs (RFC 9110 §15.4.5). */
static int reply_condition(struct cm_request *r, int http,
			   const struct cm_blob_info *info, bool coded,
			   struct cm_error *err)
{
	int status = http == 304 ? blob_headers(r, info, coded, err) : 0;

	return status < 0 ? status : cm_reply_status(r, http, err);
}

static int blob_head(struct cm_request *r, const struct cm_digest *d,
		     struct cm_error *err)
{
	char digest[CM_DIGEST_TEXT_SIZE];
	struct cm_blob_info info;
	int status, http;

	status = cm_store_blob_stat(cm_request_store(r),
				    cm_request_param(r, "name"), d, &info, err);
	cm_request_lookup(r, CM_KIND_UPLOAD, status);
	if (status < 0)
		return status;
	cm_digest_format(d, digest);
	http = cm_oci_precondition(r, digest, digest);
	if (http)
		return reply_condition(r, http, &info, false, err);
	status = blob_headers(r, &info, false, err);
	if (status < 0)
		return status;
	return cm_reply_head(r, 200, NULL, info.size, err);
}

static int unsatisfiable(struct cm_request *r, int64_t size,
			 struct cm_error *err)
{
	char text[128];

	if (cm_reply_header(r, "Content-Range", "bytes */%" PRId64, size) < 0)
		return cm_error_nomem(err);
	snprintf(text, sizeof(text),
		 "Range has no byte of this blob of %" PRId64 " bytes", size);
	return cm_reply_error(r, 416, "SIZE_INVALID", text, err);
}

/* Takes `blob`, which has been sought to the part. */
static int send_part(struct cm_request *r, struct cm_blob *blob,
		     const struct cm_blob_part *part, struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = blob;
	const struct cm_blob_info *info = cm_blob_info(b);
	int status = blob_headers(r, info, false, err);

	if (status < 0)
		return status;
	if (cm_reply_header(r, "Content-Range",
			    "bytes %" PRId64 "-%" PRId64 "/%" PRId64,
			    part->offset, part->offset + part->len - 1,
			    info->size) < 0)
		return cm_error_nomem(err);
	return cm_reply_blob(r, 206, cm_take_ptr(b), part, NULL, err);
}

/* On a worker: decodes up to the part and answers with it. */
static int send_deferred(struct cm_request *r, struct cm_error *err)
{
	struct deferred_part *p = cm_request_state(r);
	int status = cm_blob_seek(p->blob, p->part.offset, err);

	if (status < 0)
		return status;
	return send_part(r, cm_take_ptr(p->blob), &p->part, err);
}

/* Takes `b`. */
static int defer_part(struct cm_request *r, struct cm_blob *b,
		      const struct cm_blob_part *part, struct cm_error *err)
{
	struct deferred_part *p = calloc(1, sizeof(*p));

	if (!p) {
		cm_blob_close(b);
		return cm_error_nomem(err);
	}
	p->blob = b;
	p->part = *part;
	cm_request_set_state(r, p);
	return cm_request_defer(r, send_deferred, err);
}

static int whole_headers(struct cm_request *r, const struct cm_blob_info *info,
			 bool coded, struct cm_error *err)
{
	int status = blob_headers(r, info, coded, err);

	if (status < 0)
		return status;
	if (coded && cm_reply_header(r, "Content-Encoding", "zstd") < 0)
		return cm_error_nomem(err);
	return 0;
}

/* Takes `blob`. */
static int send_whole(struct cm_request *r, struct cm_blob *blob, bool coded,
		      struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = blob;
	const struct cm_blob_info *info = cm_blob_info(b);
	struct cm_blob_part part = {.stored = coded, .len = info->size};
	int status = whole_headers(r, info, coded, err);

	if (status < 0)
		return status;
	return cm_reply_blob(r, 200, cm_take_ptr(b), &part, NULL, err);
}

/* Takes `blob`. */
static int blob_send(struct cm_request *r, const struct cm_digest *d,
		     struct cm_blob *blob, struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = blob;
	const struct cm_blob_info *info = cm_blob_info(b);
	const char *range = cm_request_header(r, "Range");
	bool zstd = info->encoding == CM_ENCODING_ZSTD;
	bool coded = zstd && !range && cm_request_accepts_zstd(r);
	char digest[CM_DIGEST_TEXT_SIZE], etag[ETAG_SIZE];
	struct cm_blob_part part = {0};
	int http;

	etag_of(cm_digest_format(d, digest), coded, etag);
	http = cm_oci_precondition(r, etag, digest);
	if (http)
		return reply_condition(r, http, info, coded, err);
	if (!cm_field_if_range(cm_request_header(r, "If-Range"), etag))
		range = NULL;
	switch (cm_field_range(range, info->size, &part.offset, &part.len)) {
	case CM_RANGE_UNSATISFIABLE:
		return unsatisfiable(r, info->size, err);
	case CM_RANGE_PART:
		if (zstd && part.offset > 0)
			return defer_part(r, cm_take_ptr(b), &part, err);
		return send_part(r, cm_take_ptr(b), &part, err);
	case CM_RANGE_WHOLE:
		break;
	}
	return send_whole(r, cm_take_ptr(b), coded, err);
}

static bool is_plain(const struct cm_request *r)
{
	return !cm_request_header(r, "Range") &&
	       !cm_request_header(r, "If-Match") &&
	       !cm_request_header(r, "If-None-Match");
}

/*
 * What is asked for again and again is kept ready: then the blob is looked up,
 * since not everyone may have it, but not opened. 1 if that was the reply; 0
 * leaves it all, errors too, to those who open it.
 */
static int send_kept(struct cm_request *r, const struct cm_digest *d,
		     struct cm_error *err)
{
	struct cm_blob_info info;
	bool coded;

	if (!cm_reply_blob_kept(r, d) || !is_plain(r) ||
	    cm_store_blob_find(cm_request_store(r), cm_request_param(r, "name"),
			       d, &info, NULL) < 0)
		return 0;
	coded = info.encoding == CM_ENCODING_ZSTD && cm_request_accepts_zstd(r);
	if (whole_headers(r, &info, coded, err) < 0)
		return CM_ERR_NO_MEMORY;
	return cm_reply_blob_ready(r, &info, coded, err);
}

static int blob_get(struct cm_request *r, struct cm_error *err)
{
	struct cm_digest d;
	struct cm_blob *b;
	int status = cm_oci_existing_digest(r, &d, err);

	if (status == CM_ERR_NOT_FOUND)
		cm_request_lookup(r,
				  cm_request_is_head(r) ? CM_KIND_UPLOAD
							: CM_KIND_BLOB,
				  status);
	if (status < 0)
		return status;
	if (cm_request_is_head(r))
		return blob_head(r, &d, err);
	status = send_kept(r, &d, err);
	if (status > 0)
		cm_request_lookup(r, CM_KIND_BLOB, 0);
	if (status != 0)
		return status < 0 ? status : 0;
	status = cm_store_blob_open(cm_request_store(r),
				    cm_request_param(r, "name"), &d, &b, err);
	cm_request_lookup(r, CM_KIND_BLOB, status);
	if (status < 0)
		return status;
	return blob_send(r, &d, b, err);
}

const struct cm_handler cm_oci_blob_get = {
	.start = blob_get,
	.release = deferred_part_free,
};

static int blob_delete(struct cm_request *r, struct cm_error *err)
{
	struct cm_digest d;
	int status = cm_oci_existing_digest(r, &d, err);

	if (status < 0)
		return status;
	status = cm_store_blob_delete(cm_request_store(r),
				      cm_request_param(r, "name"), &d, err);
	if (status < 0)
		return cm_oci_delete_failed(status, err);
	return cm_reply_status(r, 202, err);
}

const struct cm_handler cm_oci_blob_delete = {
	.finish = blob_delete,
	.blocking = true,
};
