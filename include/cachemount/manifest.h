/*
 * manifest.h - OCI and Docker manifests, parsed once and strictly
 * (image-spec 1.1: manifest, image index; Docker schema 2 and its list).
 */
#ifndef CACHEMOUNT_MANIFEST_H
#define CACHEMOUNT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>

/* What a descriptor of a manifest points to. */
enum cm_reference_kind {
	CM_REF_CONFIG,	 /* a blob */
	CM_REF_LAYER,	 /* a blob */
	CM_REF_MANIFEST, /* an entry of an index: a manifest, or, as BuildKit
			    before 0.21 wrote it, a blob */
};

struct cm_descriptor {
	enum cm_reference_kind kind;
	struct cm_digest digest; /* all zero if only `sha512` is known */
	/* The digest as it is written, if by SHA-512; else NULL. */
	struct cm_any_digest *sha512;
	int64_t size;
	char *media_type; /* never NULL */
	bool foreign;	  /* nondistributable: may legally be absent */
};

struct cm_manifest {
	char *media_type;    /* of the manifest itself, never NULL */
	char *artifact_type; /* artifactType, else NULL */
	bool index;	     /* an image index or a Docker list */
	bool has_subject;
	struct cm_any_digest subject; /* need not exist */
	bool has_sha512; /* some descriptor is written by SHA-512 */
	struct cm_descriptor *descriptors; /* config first, then in order */
	size_t descriptors_len;
};

/*
 * Parses a manifest of `len` bytes. `content_type` is what the client said it
 * is, or NULL: then the body's mediaType counts. A body whose mediaType
 * differs from `content_type` is refused, as is anything but schemaVersion 2,
 * doubled keys, a manifest with an index's members or the reverse, a descriptor
 * without mediaType, digest or size, more than CM_MANIFEST_DESCRIPTORS_MAX
 * descriptors, or nesting or a number of values beyond reason.
 *
 * CM_ERR_INVALID with a message that names the field; CM_ERR_UNSUPPORTED for
 * a media type or digest algorithm that is not offered; CM_ERR_SIZE beyond
 * CM_MANIFEST_MAX. Caller frees with cm_manifest_free().
 */
int cm_manifest_parse(const void *json, size_t len, const char *content_type,
		      struct cm_manifest **ret, struct cm_error *err);

/*
 * What the manifest is listed as among the referrers of its subject: its
 * artifactType, else an image manifest's config mediaType, else NULL
 * (distribution-spec, "Listing Referrers"). Borrowed from `m`.
 */
const char *cm_manifest_referrer_type(const struct cm_manifest *m);

/* Frees a manifest and all it holds; NULL is legal. */
void cm_manifest_free(struct cm_manifest *m);

CM_DEFINE_CLEANUP(manifest, struct cm_manifest, cm_manifest_free);

#endif
