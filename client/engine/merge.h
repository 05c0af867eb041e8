/*
 * merge.h - three trees to one, path by path, without reading a byte of a
 * file.
 */
#ifndef CM_ENGINE_MERGE_H
#define CM_ENGINE_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "state.h"
#include "tree.h"

enum cm_merge_rule {
	CM_RULE_SAVE,	 /* union; deletions on either side are honoured */
	CM_RULE_RESTORE, /* union; what only this disk lost comes back */
	CM_RULE_REPLACE, /* theirs, whole */
};

enum cm_pick {
	CM_PICK_NONE,
	CM_PICK_BASE, /* only a directory, brought back for what is in it */
	CM_PICK_OURS,
	CM_PICK_THEIRS,
};

/* One path that any of the three trees has. */
struct cm_merge_row {
	const struct cm_entry *base, *ours, *theirs; /* NULL: has it not */
	uint8_t pick;
	bool same; /* ours and theirs do not differ at all */
};

/* What `row` ends up with, or NULL. */
static inline const struct cm_entry *
cm_merge_picked(const struct cm_merge_row *row)
{
	switch (row->pick) {
	case CM_PICK_BASE:
		return row->base;
	case CM_PICK_OURS:
		return row->ours;
	case CM_PICK_THEIRS:
		return row->theirs;
	default:
		return NULL;
	}
}

struct cm_merge_rows {
	struct cm_merge_row *rows; /* in tree order */
	size_t len;
};

/*
 * Decides for each path. Any of the trees may be NULL, which is empty. A path
 * goes to the side that changed it since the base; if both did, to the newer
 * mtime, and on a tie to theirs; directories without a common past are taken
 * from theirs. A deletion gives way to a change. A ghost of ours is on disk
 * but not ours to keep.
 *
 * The result is a tree: a directory that something below is picked from is
 * picked too, over a file of the same path if it must be.
 *
 * The rows borrow from the trees. Caller frees with cm_merge_rows_free().
 */
int cm_merge(const struct cm_tree *base, const struct cm_tree *ours,
	     const struct cm_tree *theirs, enum cm_merge_rule rule,
	     struct cm_merge_rows **ret, struct cm_error *err);

/* Is the outcome exactly theirs, so that there is nothing to publish? */
bool cm_merge_is_theirs(const struct cm_merge_rows *m);

void cm_merge_rows_free(struct cm_merge_rows *m);

CM_DEFINE_CLEANUP(merge_rows, struct cm_merge_rows, cm_merge_rows_free);

/*
 * Makes the tree that the rows decided for, of the chunks that it needs: first
 * theirs, then ours where theirs lack them. Entries of our side
 * keep what is known of the disk, as state.h says; ghosts stay as ghosts.
 * Strings are borrowed from the trees, and the rows must be of these.
 *
 * A hard-link group that both sides have put into chunks of their own may fall
 * apart into files of one content; nothing is ever linked that was not.
 */
int cm_compose(const struct cm_merge_rows *m, const struct cm_state *ours,
	       const struct cm_tree *theirs, struct cm_state **ret,
	       struct cm_error *err);

#endif
