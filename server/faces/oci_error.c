/* oci_error.c - from cm_status to the distribution-spec's error codes. */
#include <stdio.h>
#include <string.h>

#include "faces/oci_error.h"

enum cm_oci_subject cm_oci_subject_of(const char *pattern)
{
	if (!pattern)
		return CM_OCI_OTHER;
	if (strstr(pattern, "/blobs/uploads/"))
		return CM_OCI_UPLOAD;
	if (strstr(pattern, "/blobs/"))
		return CM_OCI_BLOB;
	if (strstr(pattern, "/manifests/"))
		return CM_OCI_MANIFEST;
	return CM_OCI_OTHER;
}

static const char *const invalid_codes[] = {
	[CM_OCI_OTHER] = "UNSUPPORTED",
	[CM_OCI_NAME] = "NAME_INVALID",
	[CM_OCI_BLOB] = "DIGEST_INVALID",
	[CM_OCI_UPLOAD] = "BLOB_UPLOAD_INVALID",
	[CM_OCI_MANIFEST] = "MANIFEST_INVALID",
};

static const char *const unknown_codes[] = {
	[CM_OCI_OTHER] = "NAME_UNKNOWN",
	[CM_OCI_NAME] = "NAME_UNKNOWN",
	[CM_OCI_BLOB] = "BLOB_UNKNOWN",
	[CM_OCI_UPLOAD] = "BLOB_UPLOAD_UNKNOWN",
	[CM_OCI_MANIFEST] = "MANIFEST_UNKNOWN",
};

/*
 * The spec's list is closed for 4xx and says nothing about 5xx, where docker's
 * registry says UNKNOWN; a full store is told from other failures by the name
 * that HTTP has for 507. Its list has no word for a failed precondition:
 * DENIED ("access denied") is the one that no client tries to work around.
 */
const char *cm_oci_error_code(enum cm_status status,
			      enum cm_oci_subject subject)
{
	switch (status) {
	case CM_ERR_INVALID:
		return invalid_codes[subject];
	case CM_ERR_NOT_FOUND:
		return unknown_codes[subject];
	case CM_ERR_DIGEST:
		return "DIGEST_INVALID";
	case CM_ERR_SIZE:
		return "SIZE_INVALID";
	case CM_ERR_RANGE:
		return subject == CM_OCI_UPLOAD ? "BLOB_UPLOAD_INVALID"
						: "SIZE_INVALID";
	case CM_ERR_MISSING_BLOB:
		return "MANIFEST_BLOB_UNKNOWN";
	case CM_ERR_UNSUPPORTED:
		return "UNSUPPORTED";
	case CM_ERR_EXISTS:
	case CM_ERR_PRECONDITION:
	case CM_ERR_DENIED:
		return "DENIED";
	case CM_ERR_UNAUTHORIZED:
		return "UNAUTHORIZED";
	case CM_ERR_BUSY:
		return "TOOMANYREQUESTS";
	case CM_ERR_NO_SPACE:
		return "INSUFFICIENT_STORAGE";
	default:
		return "UNKNOWN";
	}
}

static void copy_printable(char *out, size_t size, const char *in)
{
	size_t i;

	for (i = 0; i + 1 < size && in[i]; i++)
		out[i] = in[i] >= 0x20 && in[i] < 0x7f ? in[i] : '?';
	out[i] = '\0';
}

int cm_reply_error(struct cm_request *r, int http, const char *code,
		   const char *message, struct cm_error *err)
{
	char text[CM_ERROR_TEXT_MAX];
	json_t *body;

	copy_printable(text, sizeof(text), message);
	body = json_pack("{s:[{s:s,s:s}]}", "errors", "code", code, "message",
			 text);
	if (!body)
		return cm_error_nomem(err);
	return cm_reply_json(r, http, body, err);
}

/* An illegal {name} is found by the router, before any other parameter. */
static bool name_is_illegal(struct cm_request *r, const struct cm_route *route)
{
	return route && strstr(route->pattern, "{name}") &&
	       !cm_request_param(r, "name");
}

/* The spec asks for 400 where a digest's algorithm is not offered. */
static int http_status(enum cm_status status)
{
	return status == CM_ERR_UNSUPPORTED ? 400 : cm_status_to_http(status);
}

void cm_oci_fail(struct cm_request *r, const struct cm_error *err)
{
	const struct cm_route *route = cm_request_route(r);
	enum cm_oci_subject subject =
		cm_oci_subject_of(route ? route->pattern : NULL);

	if (name_is_illegal(r, route))
		subject = CM_OCI_NAME;
	/*
	 * What is not offered is no unknown repository: told that, a client
	 * gives up, where else it would make do without.
	 */
	if (!route && err->status == CM_ERR_NOT_FOUND) {
		(void)cm_reply_error(r, 404, "UNSUPPORTED", err->text, NULL);
		return;
	}
	/* Without memory for a body the server sends its own bare status. */
	(void)cm_reply_error(r, http_status(err->status),
			     cm_oci_error_code(err->status, subject), err->text,
			     NULL);
}
