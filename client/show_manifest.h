/*
 * show_manifest.h - `cachectl show` of what is no snapshot: an image, an index,
 * a build cache of BuildKit's.
 */
#ifndef CM_CLIENT_SHOW_MANIFEST_H
#define CM_CLIENT_SHOW_MANIFEST_H

#include "cli.h"

/*
 * Fetches a manifest and prints what it is and holds; says so if it is a build
 * cache that BuildKit will not import. Returns the program's exit status.
 */
int cm_show_manifest(struct cm_cli *cli, struct cm_connection *c,
		     const struct cm_reference *ref);

#endif
