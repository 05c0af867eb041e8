/*
 * oci_uploads.c - uploading a blob: in one request, in a session, or by
 * mounting one that another repository has (distribution-spec, "Pushing
 * blobs", "Mounting a blob from another repository").
 *
 * Bytes go from the network thread into the upload as they come. A body that
 * is cut off leaves them in the session, where GET tells how many there are;
 * an upload without a session is gone with its request. Only finish, on a
 * worker, syncs and commits.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>

#include "faces/fields.h"
#include "faces/oci.h"
#include "faces/oci_error.h"

/* An upload that a request writes to. */
struct transfer {
	struct cm_upload *upload;
	struct cm_digest digest; /* PUT and single POST: of the whole */
	int64_t room;		 /* bytes the Content-Range has left, or -1 */
};

static void transfer_free(void *state)
{
	struct transfer *t = state;

	if (!t)
		return;
	cm_upload_close(t->upload);
	free(t);
}

/*
 * Lets go of the upload. Must come before the reply is made: a client that has
 * it may send the next request at once, on another connection, and would find
 * the session in use.
 */
static void transfer_end(struct transfer *t)
{
	cm_upload_close(t->upload);
	t->upload = NULL;
}

static int transfer_new(struct cm_request *r, struct transfer **ret,
			struct cm_error *err)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (!t)
		return cm_error_nomem(err);
	t->room = -1;
	cm_request_set_state(r, t);
	*ret = t;
	return 0;
}

/* ---- replies --------------------------------------------------------- */

/*
 * Where a session is and how far. A session without bytes says "0-0" too, by
 * custom: clients parse it, and the spec has no way to say "none".
 */
static int session_headers(struct cm_request *r, const char *session,
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

static int reply_created(struct cm_request *r, const struct cm_digest *d,
			 struct cm_error *err)
{
	char digest[CM_DIGEST_TEXT_SIZE];

	cm_digest_format(d, digest);
	if (cm_reply_header(r, "Location", "/v2/%s/blobs/%s",
			    cm_request_param(r, "name"), digest) < 0 ||
	    cm_reply_header(r, "Docker-Content-Digest", "%s", digest) < 0)
		return cm_error_nomem(err);
	return cm_reply_status(r, 201, err);
}

/* ---- the body, in whatever request it comes --------------------------- */

/*
 * Content-Encoding: zstd makes the upload one zstd frame. Refusing another
 * coding names those we take, as RFC 9110 §12.5.3 asks of a 415.
 */
static int set_coding(struct cm_request *r, struct transfer *t,
		      struct cm_error *err)
{
	enum cm_encoding coding;
	int status = cm_field_coding(cm_request_header(r, "Content-Encoding"),
				     &coding, err);

	if (status < 0) {
		transfer_end(t);
		if (cm_reply_header(r, "Accept-Encoding", "zstd, identity") < 0)
			return cm_error_nomem(err);
		return cm_reply_error(r, 415, "UNSUPPORTED", err->text, err);
	}
	if (coding == CM_ENCODING_IDENTITY)
		return 0;
	return cm_upload_set_encoding(t->upload, coding, err);
}

/* A chunk that does not begin where the session ends: 416 with the truth. */
static int check_order(struct cm_request *r, const struct transfer *t,
		       int64_t first, struct cm_error *err)
{
	int64_t offset = cm_upload_offset(t->upload);
	int status;

	if (first == offset)
		return 0;
	status =
		session_headers(r, cm_request_param(r, "session"), offset, err);
	if (status < 0)
		return status;
	return cm_error_set(err, CM_ERR_RANGE,
			    "Content-Range begins at %" PRId64
			    ", but the session has %" PRId64
			    " bytes; go on from there",
			    first, offset);
}

static int check_range(struct cm_request *r, struct transfer *t,
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

static int append(struct transfer *t, const void *data, size_t len,
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

static int transfer_body(struct cm_request *r, const void *data, size_t len,
			 struct cm_error *err)
{
	struct transfer *t = cm_request_state(r);
	int status;

	if (!t)
		return cm_error_set(err, CM_ERR_INVALID,
				    "this POST takes a body only with "
				    "?digest=sha256:<64 hex digits>, and "
				    "without ?mount=");
	status = append(t, data, len, err);
	if (status < 0)
		transfer_end(t);
	return status;
}

static int check_complete(const struct transfer *t, struct cm_error *err)
{
	if (t->room > 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the body ended %" PRId64
				    " bytes before the end that Content-Range "
				    "says",
				    t->room);
	return 0;
}

static int commit(struct cm_request *r, struct transfer *t,
		  struct cm_error *err)
{
	struct cm_blob_info info;
	int status = check_complete(t, err);

	if (status == 0)
		status = cm_upload_commit(t->upload, &t->digest, &info, err);
	transfer_end(t);
	if (status < 0)
		return status;
	return reply_created(r, &info.digest, err);
}

/* ---- POST: begin, mount, or all in one -------------------------------- */

static int begin_single(struct cm_request *r, const char *digest,
			struct cm_error *err)
{
	struct transfer *t;
	int status = transfer_new(r, &t, err);

	if (status < 0)
		return status;
	status = cm_oci_digest("digest", digest, &t->digest, err);
	if (status < 0)
		return status;
	status = cm_upload_open_single(cm_request_store(r),
				       cm_request_param(r, "name"), &t->upload,
				       err);
	if (status < 0)
		return status;
	return set_coding(r, t, err);
}

/* Refuses early what finish would refuse, so that no body is sent in vain. */
static int begin_start(struct cm_request *r, struct cm_error *err)
{
	const char *algorithm = cm_request_query(r, "digest-algorithm");
	const char *mount = cm_request_query(r, "mount");
	const char *from = cm_request_query(r, "from");
	const char *digest = cm_request_query(r, "digest");
	struct cm_digest d;

	if (algorithm && strcmp(algorithm, "sha256") != 0)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "digest-algorithm \"%.30s\" is not "
				    "offered; use sha256",
				    algorithm);
	if (from && !cm_repository_valid(from, strlen(from)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "from \"%.100s\" is no repository name",
				    from);
	if (mount)
		return cm_oci_digest("mount", mount, &d, err);
	if (digest)
		return begin_single(r, digest, err);
	return 0;
}

static int begin_session(struct cm_request *r, struct cm_error *err)
{
	char session[CM_UPLOAD_ID_SIZE];
	int status = cm_upload_begin(cm_request_store(r),
				     cm_request_param(r, "name"), session, err);

	if (status < 0)
		return status;
	status = session_headers(r, session, 0, err);
	if (status < 0)
		return status;
	return cm_reply_status(r, 202, err);
}

static bool may_pull(void *arg, const char *repo)
{
	return cm_request_may(arg, CM_PERM_PULL, repo);
}

/*
 * Mounts, or falls back to a session: which of "no such blob", "no such
 * repository" and "not for you" it was is not told.
 */
static int begin_mount(struct cm_request *r, const char *mount,
		       struct cm_error *err)
{
	const char *from = cm_request_query(r, "from");
	struct cm_digest d;
	int status = cm_oci_digest("mount", mount, &d, err);

	if (status < 0)
		return status;
	if (from && !cm_request_may(r, CM_PERM_PULL, from))
		return begin_session(r, err);
	status = cm_store_blob_mount(cm_request_store(r), from,
				     cm_request_param(r, "name"), &d, may_pull,
				     r, err);
	cm_request_note(r, status < 0 ? "miss" : "mount");
	if (status == CM_ERR_NOT_FOUND)
		return begin_session(r, err);
	if (status < 0)
		return status;
	return reply_created(r, &d, err);
}

static int begin_finish(struct cm_request *r, struct cm_error *err)
{
	struct transfer *t = cm_request_state(r);
	const char *mount = cm_request_query(r, "mount");

	if (t)
		return commit(r, t, err);
	if (mount)
		return begin_mount(r, mount, err);
	return begin_session(r, err);
}

const struct cm_handler cm_oci_upload_begin = {
	.start = begin_start,
	.body = transfer_body,
	.finish = begin_finish,
	.release = transfer_free,
	.blocking = true,
	.body_max = CM_BLOB_MAX,
};

/* ---- PATCH and PUT ---------------------------------------------------- */

/* What the header says of the body must fit the session. */
static int check_header(struct cm_request *r, struct transfer *t,
			struct cm_error *err)
{
	int status = check_range(r, t, err);

	if (status == 0)
		status = set_coding(r, t, err);
	if (status < 0)
		transfer_end(t);
	return status;
}

static int session_start(struct cm_request *r, const struct cm_digest *digest,
			 struct cm_error *err)
{
	struct transfer *t;
	int status = transfer_new(r, &t, err);

	if (status < 0)
		return status;
	if (digest)
		t->digest = *digest;
	status =
		cm_upload_open(cm_request_store(r), cm_request_param(r, "name"),
			       cm_request_param(r, "session"), &t->upload, err);
	if (status < 0)
		return status;
	return check_header(r, t, err);
}

static int patch_start(struct cm_request *r, struct cm_error *err)
{
	return session_start(r, NULL, err);
}

static int patch_finish(struct cm_request *r, struct cm_error *err)
{
	struct transfer *t = cm_request_state(r);
	int64_t offset = cm_upload_offset(t->upload);
	int status = check_complete(t, err);

	if (status == 0)
		status = cm_upload_sync(t->upload, err);
	transfer_end(t);
	if (status < 0)
		return status;
	status =
		session_headers(r, cm_request_param(r, "session"), offset, err);
	if (status < 0)
		return status;
	return cm_reply_status(r, 202, err);
}

const struct cm_handler cm_oci_upload_patch = {
	.start = patch_start,
	.body = transfer_body,
	.finish = patch_finish,
	.release = transfer_free,
	.blocking = true,
	.body_max = CM_BLOB_MAX,
};

static int put_start(struct cm_request *r, struct cm_error *err)
{
	struct cm_digest d;
	int status =
		cm_oci_digest("digest", cm_request_query(r, "digest"), &d, err);

	if (status < 0)
		return status;
	return session_start(r, &d, err);
}

static int put_finish(struct cm_request *r, struct cm_error *err)
{
	return commit(r, cm_request_state(r), err);
}

const struct cm_handler cm_oci_upload_put = {
	.start = put_start,
	.body = transfer_body,
	.finish = put_finish,
	.release = transfer_free,
	.blocking = true,
	.body_max = CM_BLOB_MAX,
};

/* ---- GET and DELETE --------------------------------------------------- */

/* On a worker, as the first opening after a restart reads the upload again. */
static int status_finish(struct cm_request *r, struct cm_error *err)
{
	const char *session = cm_request_param(r, "session");
	struct cm_upload *u;
	int64_t offset;
	int status;

	status = cm_upload_open(cm_request_store(r),
				cm_request_param(r, "name"), session, &u, err);
	if (status < 0)
		return status;
	offset = cm_upload_offset(u);
	cm_upload_close(u);
	status = session_headers(r, session, offset, err);
	if (status < 0)
		return status;
	return cm_reply_status(r, 204, err);
}

const struct cm_handler cm_oci_upload_status = {
	.finish = status_finish,
	.blocking = true,
};

static int cancel_finish(struct cm_request *r, struct cm_error *err)
{
	int status = cm_upload_cancel(cm_request_store(r),
				      cm_request_param(r, "name"),
				      cm_request_param(r, "session"), err);

	if (status < 0)
		return status;
	return cm_reply_status(r, 204, err);
}

const struct cm_handler cm_oci_upload_cancel = {
	.finish = cancel_finish,
	.blocking = true,
};
