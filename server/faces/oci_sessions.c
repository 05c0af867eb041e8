/*
 * oci_sessions.c - an upload session: PATCH and PUT write to it, GET asks how
 * far it is, DELETE ends it (distribution-spec, "Pushing a blob in chunks",
 * "Cancel a blob upload").
 */
#include <cachemount/protocol.h>

#include "faces/oci.h"
#include "faces/oci_transfer.h"

/* What the header says of the body must fit the session. */
static int check_header(struct cm_request *r, struct cm_transfer *t,
			struct cm_error *err)
{
	int status = cm_transfer_check_range(r, t, err);

	if (status == 0)
		status = cm_transfer_set_coding(r, t, err);
	if (status < 0)
		cm_transfer_end(t);
	return status;
}

static int session_start(struct cm_request *r,
			 const struct cm_any_digest *digest,
			 struct cm_error *err)
{
	struct cm_transfer *t = cm_transfer_new(r);
	int status;

	if (!t)
		return cm_error_nomem(err);
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
	struct cm_transfer *t = cm_request_state(r);
	int64_t offset = cm_upload_offset(t->upload);
	int status = cm_transfer_check_complete(t, err);

	if (status == 0)
		status = cm_upload_sync(t->upload, err);
	cm_transfer_end(t);
	if (status < 0)
		return status;
	status = cm_oci_session_headers(r, cm_request_param(r, "session"),
					offset, err);
	if (status < 0)
		return status;
	return cm_reply_status(r, 202, err);
}

const struct cm_handler cm_oci_upload_patch = {
	.start = patch_start,
	.body = cm_transfer_body,
	.finish = patch_finish,
	.release = cm_transfer_free,
	.blocking = true,
	.body_max = CM_BLOB_MAX,
};

static int put_start(struct cm_request *r, struct cm_error *err)
{
	struct cm_any_digest d;
	int status = cm_oci_any_digest("digest", cm_request_query(r, "digest"),
				       &d, err);

	if (status < 0)
		return status;
	return session_start(r, &d, err);
}

static int put_finish(struct cm_request *r, struct cm_error *err)
{
	return cm_transfer_commit(r, cm_request_state(r), err);
}

const struct cm_handler cm_oci_upload_put = {
	.start = put_start,
	.body = cm_transfer_body,
	.finish = put_finish,
	.release = cm_transfer_free,
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
	status = cm_oci_session_headers(r, session, offset, err);
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
