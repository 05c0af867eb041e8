/*
 * oci_put.h - what a PUT of a manifest says besides the manifest: the tags of
 * its query, and the fields of its answer (distribution-spec, "Pushing
 * Manifests", "Pushing Manifests with Subject").
 */
#ifndef CM_FACES_OCI_PUT_H
#define CM_FACES_OCI_PUT_H

#include <stdbool.h>
#include <stddef.h>

#include <cachemount/error.h>
#include <cachemount/store.h>

#include "faces/oci.h"

/*
 * Tags that one PUT may set by `?tag=a&tag=b`. The spec asks for ten; all of
 * them must fit the answer's fields.
 */
#define CM_OCI_TAGS_MAX 16

/* The tags of a query, each once; borrowed from the request. */
struct cm_oci_tags {
	size_t len;
	const char *tags[CM_OCI_TAGS_MAX];
};

/* Does the query have more of them than may be? */
bool cm_oci_tags_too_many(const struct cm_request *r);

/*
 * Reads `?tag=`. CM_ERR_INVALID for what is no tag, and for a PUT by tag, which
 * names its one tag in the path.
 */
int cm_oci_tags_read(const struct cm_request *r,
		     const struct cm_oci_reference *ref,
		     struct cm_oci_tags *ret, struct cm_error *err);

/*
 * Adds the fields of a 201: where the manifest is and what it is named by, the
 * tags that `put` set besides, and the subject that it was listed under. `d` is
 * its SHA-256.
 */
int cm_oci_put_headers(struct cm_request *r, const struct cm_manifest_put *put,
		       const struct cm_digest *d, struct cm_error *err);

#endif
