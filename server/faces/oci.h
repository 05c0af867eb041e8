/*
 * oci.h - what the files of the OCI face share. The routes are in oci.c, one
 * file of handlers for each resource.
 */
#ifndef CM_FACES_OCI_H
#define CM_FACES_OCI_H

#include <stdbool.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

#include "request.h"

extern const struct cm_handler cm_oci_blob_get;
extern const struct cm_handler cm_oci_blob_delete;
extern const struct cm_handler cm_oci_upload_begin;
extern const struct cm_handler cm_oci_upload_status;
extern const struct cm_handler cm_oci_upload_patch;
extern const struct cm_handler cm_oci_upload_put;
extern const struct cm_handler cm_oci_upload_cancel;
extern const struct cm_handler cm_oci_manifest_get;
extern const struct cm_handler cm_oci_manifest_put;
extern const struct cm_handler cm_oci_manifest_delete;
extern const struct cm_handler cm_oci_tags_list;
extern const struct cm_handler cm_oci_referrers_list;
extern const struct cm_handler cm_oci_token_get;
extern const struct cm_handler cm_oci_token_post;
extern const struct cm_handler cm_ext_describe;
extern const struct cm_handler cm_ext_missing;

/*
 * Parses a digest that the request names in `what`. A malformed or absent
 * (NULL) one is CM_ERR_DIGEST, so that the client reads DIGEST_INVALID;
 * another algorithm is CM_ERR_UNSUPPORTED.
 */
int cm_oci_digest(const char *what, const char *text, struct cm_digest *ret,
		  struct cm_error *err);

/* The same, of a digest of either algorithm that we know. */
int cm_oci_any_digest(const char *what, const char *text,
		      struct cm_any_digest *ret, struct cm_error *err);

/*
 * What {digest} names in {name}, to be read or removed. A digest of an
 * algorithm that we don't know is well-formed and names nothing:
 * CM_ERR_NOT_FOUND. A reply tells the digest as it was asked for:
 * cm_request_param(r, "digest"), which has only one spelling.
 */
int cm_oci_existing_digest(struct cm_request *r, struct cm_digest *ret,
			   struct cm_error *err);

/* The <reference> of a manifest's path: a tag or a digest. */
struct cm_oci_reference {
	const char *tag; /* borrowed from the request; NULL: the digest */
	struct cm_any_digest digest;
};

/*
 * Reads {reference}. What can be neither tag nor digest is CM_ERR_INVALID, a
 * malformed digest as with cm_oci_digest().
 */
int cm_oci_reference(struct cm_request *r, struct cm_oci_reference *ret,
		     struct cm_error *err);

/*
 * Evaluates the preconditions of a GET or HEAD (RFC 9110 §13.2.2) of something
 * that exists and has the entity tag `tag` (without quotes): 0 to go on, or the
 * status to answer with, 304 or 412. A client that names `content`, the tag of
 * the same content in another coding, has what it asks for too. A malformed
 * field is ignored.
 */
int cm_oci_precondition(const struct cm_request *r, const char *tag,
			const char *content);

/*
 * Turns the store's "something still names it" into a conflict (409): nothing
 * was wrong with the request, and it will do once the other thing is gone.
 * Returns the status to fail with.
 */
int cm_oci_delete_failed(int status, struct cm_error *err);

#endif
