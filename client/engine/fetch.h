/*
 * fetch.h - the chunks of a restore, fetched and written out by several
 * threads.
 */
#ifndef CM_ENGINE_FETCH_H
#define CM_ENGINE_FETCH_H

#include <cachemount/error.h>

#include "job.h"
#include "plan.h"
#include "scan.h"
#include "tree.h"
#include "writer.h"

/*
 * Makes the directories that the plan makes, and writes every file that it
 * writes and that has bytes in the chunks. Those are fetched from `repo` by the
 * digests that `theirs` names, and verified before a byte is written. `ids` has
 * one place for each entry of `theirs`; those of files written are filled in.
 * `w` is the calling thread's writer; the workers make their own beside it.
 */
int cm_fetch_files(struct cm_job *j, struct cm_writer *w, const char *repo,
		   const struct cm_tree *theirs, const struct cm_plan *plan,
		   struct cm_disk_id *ids, struct cm_error *err);

#endif
