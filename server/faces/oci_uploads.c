/*
 * oci_uploads.c - POST of an upload: begins a session, takes a whole blob, or
 * mounts one that another repository has (distribution-spec, "Pushing blobs",
 * "Mounting a blob from another repository").
 */
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>

#include "faces/oci.h"
#include "faces/oci_error.h"
#include "faces/oci_transfer.h"

static int begin_single(struct cm_request *r, const char *digest,
			struct cm_error *err)
{
	struct cm_transfer *t = cm_transfer_new(r);
	int status;

	if (!t)
		return cm_error_nomem(err);
	status = cm_oci_any_digest("digest", digest, &t->digest, err);
	if (status < 0)
		return status;
	status = cm_upload_open_single(cm_request_store(r),
				       cm_request_param(r, "name"), &t->upload,
				       err);
	if (status < 0)
		return status;
	return cm_transfer_set_coding(r, t, err);
}

/*
 * `digest-algorithm` says what the blob will be pushed by. Nothing follows from
 * it here: a SHA-512 is computed when the session ends, and only then.
 */
static bool algorithm_known(const char *name)
{
	return strcmp(name, "sha256") == 0 || strcmp(name, "sha512") == 0;
}

static int reply_session(struct cm_request *r, const char *session,
			 struct cm_error *err)
{
	int status = cm_oci_session_headers(r, session, 0, err);

	return status < 0 ? status : cm_reply_status(r, 202, err);
}

/* A plain session needs no worker, unless the store would have to wait. */
static int begin_now(struct cm_request *r, struct cm_error *err)
{
	char session[CM_UPLOAD_ID_SIZE];
	int status = cm_upload_begin_now(
		cm_request_store(r), cm_request_param(r, "name"), session, err);

	return status > 0 ? reply_session(r, session, err) : status;
}

/* Refuses early what finish would refuse, so that no body is sent in vain. */
static int begin_start(struct cm_request *r, struct cm_error *err)
{
	const char *algorithm = cm_request_query(r, "digest-algorithm");
	const char *mount = cm_request_query(r, "mount");
	const char *from = cm_request_query(r, "from");
	const char *digest = cm_request_query(r, "digest");
	struct cm_any_digest d;

	if (algorithm && !algorithm_known(algorithm))
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "digest-algorithm \"%.30s\" is not "
				    "offered; use sha256 or sha512",
				    algorithm);
	if (from && !cm_repository_valid(from, strlen(from)))
		return cm_reply_error(r, 400, "NAME_INVALID",
				      "from is no repository name", err);
	if (mount)
		return cm_oci_any_digest("mount", mount, &d, err);
	if (digest)
		return begin_single(r, digest, err);
	return cm_request_content_length(r) == 0 ? begin_now(r, err) : 0;
}

static int begin_session(struct cm_request *r, struct cm_error *err)
{
	char session[CM_UPLOAD_ID_SIZE];
	int status = cm_upload_begin(cm_request_store(r),
				     cm_request_param(r, "name"), session, err);

	return status < 0 ? status : reply_session(r, session, err);
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
	struct cm_store *store = cm_request_store(r);
	struct cm_any_digest name;
	struct cm_digest d;
	int status = cm_oci_any_digest("mount", mount, &name, err);

	if (status < 0)
		return status;
	if (from && !cm_request_may(r, CM_PERM_PULL, from))
		return begin_session(r, err);
	status = cm_store_resolve(store, from, &name, &d, err);
	if (status == 0)
		status = cm_store_blob_mount(store, from,
					     cm_request_param(r, "name"), &d,
					     may_pull, r, err);
	cm_request_lookup(r, CM_KIND_UPLOAD, status);
	if (status == 0)
		cm_request_note(r, "mount");
	if (status == CM_ERR_NOT_FOUND)
		return begin_session(r, err);
	if (status < 0)
		return status;
	return cm_oci_reply_created(r, &name, err);
}

static int begin_finish(struct cm_request *r, struct cm_error *err)
{
	struct cm_transfer *t = cm_request_state(r);
	const char *mount = cm_request_query(r, "mount");

	if (t)
		return cm_transfer_commit(r, t, err);
	if (mount)
		return begin_mount(r, mount, err);
	return begin_session(r, err);
}

const struct cm_handler cm_oci_upload_begin = {
	.start = begin_start,
	.body = cm_transfer_body,
	.finish = begin_finish,
	.release = cm_transfer_free,
	.blocking = true,
	.body_max = CM_BLOB_MAX,
};
