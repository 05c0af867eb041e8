/*
 * apply.h - a restore's plan, carried out.
 */
#ifndef CM_ENGINE_APPLY_H
#define CM_ENGINE_APPLY_H

#include <cachemount/error.h>

#include "job.h"
#include "plan.h"
#include "scan.h"
#include "tree.h"

struct cm_root;

/*
 * Does what the plan says, with chunks from `repo`. `ids`, one for each entry
 * of `theirs`, is filled in for all that was made or mended. On failure no file
 * is half written and directories have modes one can live with, but the tree
 * may be in between. CM_ERR_EXISTS: somebody else made a directory meanwhile,
 * so that another plan may do.
 */
int cm_apply_plan(struct cm_job *j, struct cm_root *m, const char *repo,
		  const struct cm_tree *theirs, const struct cm_plan *plan,
		  struct cm_disk_id *ids, struct cm_error *err);

#endif
