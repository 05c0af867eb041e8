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

struct cm_mount;

/*
 * Writes every file that the plan writes and that has bytes in the chunks,
 * which are fetched from `repo` by the digests that `theirs` names, and
 * verified before a byte is written. `ids` has one place for each entry of
 * `theirs`; those of files written are filled in. `tmp` is .cachectl/tmp.
 */
int cm_fetch_files(struct cm_job *j, const struct cm_mount *m, int tmp,
		   const char *repo, const struct cm_tree *theirs,
		   const struct cm_plan *plan, struct cm_disk_id *ids,
		   struct cm_error *err);

#endif
