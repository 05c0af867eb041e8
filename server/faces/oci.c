/*
 * oci.c - the OCI face: the distribution-spec's endpoints (1.1, "Endpoints")
 * and those of our extension, and what its resources share.
 */
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>

#include "faces/faces.h"
#include "faces/fields.h"
#include "faces/oci.h"
#include "faces/oci_error.h"

static int missing(const char *what, struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_DIGEST,
			    "%s is missing; give sha256:<64 hex digits>", what);
}

/* What is malformed is about the digest, and nothing else of the request. */
static int blame_digest(int status, struct cm_error *err)
{
	if (status != CM_ERR_INVALID)
		return status;
	if (err)
		err->status = CM_ERR_DIGEST;
	return CM_ERR_DIGEST;
}

int cm_oci_digest(const char *what, const char *text, struct cm_digest *ret,
		  struct cm_error *err)
{
	if (!text)
		return missing(what, err);
	return blame_digest(cm_digest_parse(text, strlen(text), ret, err), err);
}

int cm_oci_any_digest(const char *what, const char *text,
		      struct cm_any_digest *ret, struct cm_error *err)
{
	if (!text)
		return missing(what, err);
	return blame_digest(cm_any_digest_parse(text, strlen(text), ret, err),
			    err);
}

int cm_oci_existing_digest(struct cm_request *r, struct cm_digest *ret,
			   struct cm_error *err)
{
	struct cm_any_digest d;
	int status = cm_oci_any_digest("digest", cm_request_param(r, "digest"),
				       &d, err);

	if (status == CM_ERR_UNSUPPORTED) {
		err->status = CM_ERR_NOT_FOUND;
		return CM_ERR_NOT_FOUND;
	}
	if (status < 0)
		return status;
	return cm_store_resolve(cm_request_store(r),
				cm_request_param(r, "name"), &d, ret, err);
}

int cm_oci_reference(struct cm_request *r, struct cm_oci_reference *ret,
		     struct cm_error *err)
{
	const char *text = cm_request_param(r, "reference");

	ret->tag = NULL;
	if (strchr(text, ':'))
		return cm_oci_any_digest("reference", text, &ret->digest, err);
	if (!cm_tag_valid(text, strlen(text)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "reference \"%.130s\" is neither a digest "
				    "nor a tag: a tag has 1 to 128 characters "
				    "of [A-Za-z0-9._-] and begins with none "
				    "of \".-\"",
				    text);
	ret->tag = text;
	return 0;
}

int cm_oci_precondition(const struct cm_request *r, const char *tag,
			const char *content)
{
	const char *match = cm_request_header(r, "If-Match");
	const char *none = cm_request_header(r, "If-None-Match");

	if (match && cm_field_etag_match(match, tag, CM_ETAG_STRONG, NULL) == 0)
		return 412;
	if (none &&
	    (cm_field_etag_match(none, tag, CM_ETAG_WEAK, NULL) > 0 ||
	     cm_field_etag_match(none, content, CM_ETAG_WEAK, NULL) > 0))
		return 304;
	return 0;
}

int cm_oci_delete_failed(int status, struct cm_error *err)
{
	if (status != CM_ERR_PRECONDITION)
		return status;
	err->status = CM_ERR_EXISTS;
	return CM_ERR_EXISTS;
}

/*
 * GET /v2/: "this is a registry, and you may talk to it" (end-1). It is here
 * that some clients learn how to name themselves, and only here; so one that
 * has not, but could, is challenged even if the anonymous may go on.
 */
static int ping(struct cm_request *r, struct cm_error *err)
{
	static const char body[] = "{}\n";

	if (!cm_request_has_credentials(r))
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "authentication is required");
	if (cm_reply_header(r, "Docker-Distribution-API-Version",
			    "registry/2.0") < 0)
		return cm_error_nomem(err);
	return cm_reply_bytes(r, 200, "application/json", body,
			      sizeof(body) - 1, err);
}

static const struct cm_handler ping_handler = {.start = ping};

#define TOKEN	  "/v2/token"
#define BLOB	  "/v2/{name}/blobs/{digest}"
#define UPLOADS	  "/v2/{name}/blobs/uploads/"
#define UPLOAD	  "/v2/{name}/blobs/uploads/{session}"
#define MANIFEST  "/v2/{name}/manifests/{reference}"
#define REFERRERS "/v2/{name}/referrers/{digest}"
#define MISSING	  "/v2/{name}" CM_EXT_MISSING_SUFFIX

static const struct cm_route routes[] = {
	{"GET", "/v2/", CM_PERM_NONE, &ping_handler},
	{"GET", TOKEN, CM_PERM_OPEN, &cm_oci_token_get},
	{"POST", TOKEN, CM_PERM_OPEN, &cm_oci_token_post},
	{"GET", CM_EXT_PATH, CM_PERM_NONE, &cm_ext_describe},
	{"POST", MISSING, CM_PERM_PULL, &cm_ext_missing},
	{"GET", BLOB, CM_PERM_PULL, &cm_oci_blob_get},
	{"DELETE", BLOB, CM_PERM_DELETE, &cm_oci_blob_delete},
	{"POST", UPLOADS, CM_PERM_PUSH, &cm_oci_upload_begin},
	{"GET", UPLOAD, CM_PERM_PUSH, &cm_oci_upload_status},
	{"PATCH", UPLOAD, CM_PERM_PUSH, &cm_oci_upload_patch},
	{"PUT", UPLOAD, CM_PERM_PUSH, &cm_oci_upload_put},
	{"DELETE", UPLOAD, CM_PERM_PUSH, &cm_oci_upload_cancel},
	{"GET", MANIFEST, CM_PERM_PULL, &cm_oci_manifest_get},
	{"PUT", MANIFEST, CM_PERM_PUSH, &cm_oci_manifest_put},
	{"DELETE", MANIFEST, CM_PERM_DELETE, &cm_oci_manifest_delete},
	{"GET", REFERRERS, CM_PERM_PULL, &cm_oci_referrers_list},
	{"GET", "/v2/{name}/tags/list", CM_PERM_PULL, &cm_oci_tags_list},
};

const struct cm_face cm_oci_face = {
	.name = "oci",
	.prefix = "/v2/",
	.token_path = TOKEN,
	.routes = routes,
	.routes_len = sizeof(routes) / sizeof(routes[0]),
	.fail = cm_oci_fail,
};
