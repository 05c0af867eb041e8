/* oci_transfer.c - bodies of blob uploads, and what is said about them. */
#include <inttypes.h>
#include <stdlib.h>

#include "faces/fields.h"
#include "faces/oci_error.h"
#include "faces/oci_transfer.h"

void cm_transfer_free(void *state)
{
	struct cm_transfer *t = state;

	if (!t)
		return;
	cm_upload_close(t->upload);
	free(t);
}

void cm_transfer_end(struct cm_transfer *t)
{
	cm_upload_close(t->upload);
	t->upload = NULL;
}

struct cm_transfer *cm_transfer_new(struct cm_request *r)
{
	struct cm_transfer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->room = -1;
	cm_request_set_state(r, t);
	return t;
}

int cm_oci_session_headers(struct cm_request *r, const char *session,
			   int64_t offset, struct cm_error *err)
{
	if (cm_reply_header(r, "Location", "/v2/%s/blobs/uploads/%s",
			    cm_request_param(r, "name"), session) < 0 ||
	    cm_reply_header(r, "Range", "0-%" PRId64,
			    offset > 0 ? offset - 1 : 0) < 0 ||
	    cm_reply_header(r, "Docker-Upload-UUID", "%s", session) < 0)
		return cm_error_nomem(err);
	return 0;
}

int cm_oci_reply_created(struct cm_request *r, const struct cm_any_digest *d,
			 struct cm_error *err)
{
	char digest[CM_ANY_DIGEST_TEXT_SIZE];

	cm_any_digest_format(d, digest);
	if (cm_reply_header(r, "Location", "/v2/%s/blobs/%s",
			    cm_request_param(r, "name"), digest) < 0 ||
	    cm_reply_header(r, "Docker-Content-Digest", "%s", digest) < 0)
		return cm_error_nomem(err);
	return cm_reply_status(r, 201, err);
}

int cm_transfer_set_coding(struct cm_request *r, struct cm_transfer *t,
			   struct cm_error *err)
{
	enum cm_encoding coding;
	int status = cm_field_coding(cm_request_header(r, "Content-Encoding"),
				     &coding, err);

	if (status < 0) {
		cm_transfer_end(t);
		if (cm_reply_header(r, "Accept-Encoding", "zstd, identity") < 0)
			return cm_error_nomem(err);
		return cm_reply_error(r, 415, "UNSUPPORTED", err->text, err);
	}
	if (coding == CM_ENCODING_IDENTITY)
		return 0;
	return cm_upload_set_encoding(t->upload, coding, err);
}

/* A chunk that does not begin where the session ends: 416 with the truth. */
static int check_order(struct cm_request *r, const struct cm_transfer *t,
		       int64_t first, struct cm_error *err)
{
	int64_t offset = cm_upload_offset(t->upload);
	int status;

	if (first == offset)
		return 0;
	status = cm_oci_session_headers(r, cm_request_param(r, "session"),
					offset, err);
	if (status < 0)
		return status;
	return cm_error_set(err, CM_ERR_RANGE,
			    "Content-Range begins at %" PRId64
			    ", but the session has %" PRId64
			    " bytes; go on from there",
			    first, offset);
}

int cm_transfer_check_range(struct cm_request *r, struct cm_transfer *t,
			    struct cm_error *err)
{
	const char *field = cm_request_header(r, "Content-Range");
	int64_t first, last, announced = cm_request_content_length(r);
	int status;

	if (!field)
		return 0;
	status = cm_field_chunk_range(field, &first, &last, err);
	if (status < 0)
		return status;
	t->room = last - first + 1;
	if (announced >= 0 && announced != t->room)
		return cm_error_set(err, CM_ERR_INVALID,
				    "Content-Range %s has %" PRId64
				    " bytes, but Content-Length is %" PRId64,
				    field, t->room, announced);
	return check_order(r, t, first, err);
}

static int append(struct cm_transfer *t, const void *data, size_t len,
		  struct cm_error *err)
{
	if (t->room >= 0) {
		if (len > (uint64_t)t->room)
			return cm_error_set(err, CM_ERR_INVALID,
					    "the body is longer than "
					    "Content-Range says");
		t->room -= (int64_t)len;
	}
	return cm_upload_append(t->upload, data, len, err);
}

int cm_transfer_body(struct cm_request *r, const void *data, size_t len,
		     struct cm_error *err)
{
	struct cm_transfer *t = cm_request_state(r);
	int status;

	if (!t)
		return cm_error_set(err, CM_ERR_INVALID,
				    "this POST takes a body only with "
				    "?digest=sha256:<64 hex digits>, and "
				    "without ?mount=");
	status = append(t, data, len, err);
	if (status < 0)
		cm_transfer_end(t);
	return status;
}

int cm_transfer_check_complete(const struct cm_transfer *t,
			       struct cm_error *err)
{
	if (t->room > 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the body ended %" PRId64
				    " bytes before the end that Content-Range "
				    "says",
				    t->room);
	return 0;
}

int cm_transfer_commit(struct cm_request *r, struct cm_transfer *t,
		       struct cm_error *err)
{
	struct cm_blob_info info;
	int status = cm_transfer_check_complete(t, err);

	if (status == 0)
		status = cm_upload_commit_as(t->upload, &t->digest, &info, err);
	cm_transfer_end(t);
	if (status < 0)
		return status;
	return cm_oci_reply_created(r, &t->digest, err);
}
