/*
 * pack.h - the files of a save that must be read, read and cut into chunks.
 */
#ifndef CM_ENGINE_PACK_H
#define CM_ENGINE_PACK_H

#include <cachemount/error.h>

#include "job.h"
#include "local.h"
#include "scan.h"
#include "state.h"

struct cm_root;

/*
 * Reads every file of `l` that is CM_ENTRY_UNREAD, once for each hard-link
 * group, uploads the chunks, appends them to the tree's, and fills in where
 * each file lies; metadata is what it was while the file was read. A file
 * that changed while it was read, twice, or that cannot be read is left out
 * with a warning: the base's version stays in its place, if there is one.
 */
int cm_pack(struct cm_job *j, const struct cm_root *m,
	    const struct cm_state *base, const struct cm_scan *scan,
	    struct cm_local *l, struct cm_error *err);

#endif
