/*
 * snapshot_manifest.h - a snapshot as an OCI image manifest: artifactType
 * CM_MEDIA_SNAPSHOT, the tree as its config, the chunks as its layers. A
 * digest may be among the layers more than once: a tree counts layers, not
 * digests.
 */
#ifndef CM_ENGINE_SNAPSHOT_MANIFEST_H
#define CM_ENGINE_SNAPSHOT_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

#include "../remote.h"
#include "tree.h"

struct cm_snapshot_manifest {
	struct cm_digest tree;
	int64_t tree_size;
	struct cm_chunk *chunks;
	size_t chunks_len;
};

void cm_snapshot_manifest_release(struct cm_snapshot_manifest *m);

/*
 * Reads the `len` bytes of `json`. CM_ERR_UNSUPPORTED if it is a manifest but
 * no snapshot; CM_ERR_INVALID, CM_ERR_SIZE if it is no good one. Caller
 * releases with cm_snapshot_manifest_release().
 */
int cm_snapshot_manifest_parse(const char *json, size_t len,
			       struct cm_snapshot_manifest *ret,
			       struct cm_error *err);

/*
 * Writes one; equal snapshots give equal bytes. CM_ERR_SIZE beyond
 * CM_MANIFEST_MAX. Caller frees `*ret`.
 */
int cm_snapshot_manifest_format(const struct cm_snapshot_manifest *m,
				char **ret, size_t *ret_len,
				struct cm_error *err);

/*
 * Fetches the snapshot that `reference` names, tree and all. With `known` not
 * NULL and still what is named, `*ret` is NULL. Errors beside the transport's:
 * those of cm_snapshot_manifest_parse() and cm_tree_parse(). `*ret_digest` is
 * set as soon as the manifest is there, also when its tree is then refused.
 */
int cm_snapshot_fetch(struct cm_connection *c, const char *repo,
		      const char *reference, const struct cm_digest *known,
		      const struct cm_tree_limits *limits, struct cm_tree **ret,
		      struct cm_digest *ret_digest, struct cm_error *err);

#endif
