/*
 * stage.h - directories that a restore makes anew, put together out of sight
 * in .cachectl/tmp/new and moved into place whole.
 *
 * So what lies in them needs no temporary name of its own and no rename: on a
 * cold mount that is nearly everything. Nobody sees such a directory before
 * all of it is there, and a killed restore leaves none.
 *
 * The stage mirrors the mount: an entry lies in it at its own path.
 */
#ifndef CM_ENGINE_STAGE_H
#define CM_ENGINE_STAGE_H

#include <stdbool.h>

#include <cachemount/error.h>

#include "plan.h"
#include "root.h"
#include "tree.h"

struct cm_stage {
	struct cm_root root; /* the stage, to open things beneath */
	const struct cm_tree *theirs;
	const struct cm_plan *plan;
};

/* Makes the stage in `tmp`, which is .cachectl/tmp. */
int cm_stage_init(struct cm_stage *s, const struct cm_root *mount, int tmp,
		  const struct cm_tree *theirs, const struct cm_plan *plan,
		  struct cm_error *err);
void cm_stage_release(struct cm_stage *s);

/* Is this entry of `theirs` put together here? Any thread. */
static inline bool cm_stage_has(const struct cm_stage *s,
				const struct cm_entry *e)
{
	return s && s->plan->staged[e - s->theirs->entries];
}

/*
 * Makes the directory `e`, which must be staged, after those above it. Its
 * owner may do anything in it as yet. `dirs` is a cache on the stage.
 */
int cm_stage_mkdir(struct cm_stage *s, struct cm_dir_cache *dirs,
		   const struct cm_entry *e, struct cm_error *err);

/*
 * Moves all of it into place. CM_ERR_EXISTS if somebody has made one of the
 * directories meanwhile: then some have been moved, others not.
 */
int cm_stage_settle(struct cm_stage *s, struct cm_dir_cache *from,
		    struct cm_dir_cache *to, struct cm_error *err);

#endif
