/*
 * reuse.h - which of the base's chunks a new snapshot can still use.
 */
#ifndef CM_ENGINE_REUSE_H
#define CM_ENGINE_REUSE_H

#include <cachemount/error.h>

#include "job.h"
#include "local.h"
#include "scan.h"
#include "state.h"

struct cm_connection;
struct cm_root;

/*
 * Asks the registry for every chunk that unchanged entries lie in, which also
 * leases it and mounts it into our repository. Files in a chunk that is gone
 * are marked CM_ENTRY_UNREAD, so that they are read again; those not on this
 * disk are dropped with a warning.
 *
 * Marks likewise the files of chunks not worth keeping: more than half dead,
 * or one of many small leftovers of earlier saves.
 */
int cm_reuse_chunks(struct cm_job *j, struct cm_connection *c,
		    struct cm_local *l, struct cm_error *err);

/*
 * Asks for every chunk of another builder's tree, and drops the files whose
 * chunks the registry has lost: a manifest that names them would be refused.
 */
int cm_reuse_theirs(struct cm_job *j, struct cm_connection *c,
		    struct cm_tree *t, struct cm_error *err);

/*
 * Finds files that were touched and not changed. A chunk of which every file
 * is still on disk at its old size is put together again from the disk; if
 * its digest comes out, its files' bytes are where they were, and they need
 * not be uploaded.
 */
int cm_reuse_touched(const struct cm_root *m, const struct cm_state *base,
		     struct cm_local *l, struct cm_error *err);

#endif
