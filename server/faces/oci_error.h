/*
 * oci_error.h - failures as clients of the OCI face read them
 * (distribution-spec, "Error Codes"), and the one error body of all faces:
 *
 *	{"errors":[{"code":"BLOB_UNKNOWN","message":"…"}]}
 */
#ifndef CM_FACES_OCI_ERROR_H
#define CM_FACES_OCI_ERROR_H

#include <cachemount/error.h>

#include "request.h"

/* What kind of thing a route is about: it decides between the spec's codes. */
enum cm_oci_subject {
	CM_OCI_OTHER,
	CM_OCI_NAME, /* {name} itself, which is illegal */
	CM_OCI_BLOB,
	CM_OCI_UPLOAD,
	CM_OCI_MANIFEST,
};

/* The subject of a route's pattern; `pattern` may be NULL. */
enum cm_oci_subject cm_oci_subject_of(const char *pattern);

/* The spec's error code of a failure about `subject`; a constant. */
const char *cm_oci_error_code(enum cm_status status,
			      enum cm_oci_subject subject);

/*
 * Makes the reply `http` with an error body. For the cases whose HTTP status
 * or code does not follow from a cm_status alone. Bytes of `message` that are
 * no printable ASCII become "?", as it may quote what a client sent.
 */
int cm_reply_error(struct cm_request *r, int http, const char *code,
		   const char *message, struct cm_error *err);

/* The OCI face's `fail`. */
void cm_oci_fail(struct cm_request *r, const struct cm_error *err);

#endif
