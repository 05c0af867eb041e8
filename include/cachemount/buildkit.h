/*
 * buildkit.h - what is known of BuildKit's build caches (`type=registry`).
 *
 * A cache is a manifest that names a configuration, the graph of steps, and
 * layers: since BuildKit 0.21 an image manifest whose config it is, before and
 * on demand an index with one entry for it. BuildKit reads neither manifest nor
 * configuration of over CM_BUILDKIT_READ_MAX bytes: such a cache is exported
 * without a word, and every import of it fails.
 */
#ifndef CACHEMOUNT_BUILDKIT_H
#define CACHEMOUNT_BUILDKIT_H

#include <stdbool.h>
#include <stdint.h>

#include <cachemount/manifest.h>

#define CM_MEDIA_BUILDKIT_CACHE "application/vnd.buildkit.cacheconfig.v0"
#define CM_BUILDKIT_READ_MAX	(1 << 20) /* bytes */

/*
 * The configuration that a manifest names if it is a build cache, else NULL.
 * Borrowed from the manifest.
 */
const struct cm_descriptor *cm_buildkit_config(const struct cm_manifest *m);

/*
 * Is it a build cache that BuildKit will not import? `manifest_size` is that of
 * the manifest's own bytes. `*ret_size` is then the size of what is too large.
 */
bool cm_buildkit_unreadable(const struct cm_manifest *m, int64_t manifest_size,
			    int64_t *ret_size);

#endif
