/*
 * plan.h - what a restore has to do to the disk, decided before anything is
 * done.
 */
#ifndef CM_ENGINE_PLAN_H
#define CM_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "local.h"
#include "merge.h"
#include "scan.h"

struct cm_root;

enum cm_action {
	CM_DO_NOTHING,
	CM_DO_META,  /* content is right; mode, owner, mtime, xattrs are not */
	CM_DO_WRITE, /* make it, in place of what is there */
	CM_DO_LINK,  /* make it another name of the group's first member */
	CM_DO_REMOVE,
};

/* What to do about one row of the merge. */
struct cm_step {
	const struct cm_scan_entry *disk; /* what is there, or NULL */
	uint32_t carrier; /* LINK: row of the member to link to */
	uint8_t action;
	bool early;   /* what is there is removed first: it is in the way */
	bool touched; /* a directory whose content changes */
	bool left;    /* in or below a directory whose content is not known,
			 another file system perhaps: nothing is done */
};

struct cm_plan {
	const struct cm_merge_rows *rows;
	struct cm_step *steps; /* one for each row */
	size_t work;	       /* steps that do something */
	int64_t files, bytes;  /* to write */
	int64_t blocks;	       /* bytes that takes on disk, about */
};

/*
 * Makes the plan from the merge of base, `l` and theirs. `superuser`: owners
 * count. Rows and local must outlive it. Caller frees with cm_plan_free().
 */
int cm_plan_make(const struct cm_merge_rows *rows, const struct cm_local *l,
		 const struct cm_scan *scan, const struct cm_tree *theirs,
		 bool superuser, struct cm_plan **ret, struct cm_error *err);
void cm_plan_free(struct cm_plan *p);

CM_DEFINE_CLEANUP(plan, struct cm_plan, cm_plan_free);

/* CM_ERR_NO_SPACE if the mount's file system can't hold it. */
int cm_plan_check_space(const struct cm_plan *p, const struct cm_root *m,
			struct cm_error *err);

#endif
