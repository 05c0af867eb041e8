/*
 * tree_line.h - one line of a tree blob on its way to an entry. Used by
 * tree_line.c, which reads the members, and tree_read.c, which puts the
 * entries together.
 */
#ifndef CM_ENGINE_TREE_LINE_H
#define CM_ENGINE_TREE_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "json_line.h"
#include "tree.h"

/* The members of a line, the commonest first. */
enum cm_tree_key {
	CM_KEY_PATH,
	CM_KEY_TYPE,
	CM_KEY_MODE,
	CM_KEY_MTIME,
	CM_KEY_SIZE,
	CM_KEY_CHUNK,
	CM_KEY_OFFSET,
	CM_KEY_UID,
	CM_KEY_GID,
	CM_KEY_HLINK,
	CM_KEY_TARGET,
	CM_KEY_XATTRS,
	CM_KEY_DATA,
	CM_KEY_PATH64,
	CM_KEY_TARGET64,
	CM_KEYS
};

struct cm_tree_line {
	struct cm_arena *arena;	  /* for what the blob itself can't hold */
	struct cm_json_line json; /* its `why` is the reason of any failure */
	struct cm_entry e;
	struct cm_entry_extra x;
	uint32_t seen;	/* bit per enum cm_tree_key */
	bool no_memory; /* that is the reason */
};

static inline bool cm_tree_line_has(const struct cm_tree_line *l,
				    enum cm_tree_key key)
{
	return l->seen >> key & 1;
}

/* Records why the line is refused; returns -1. */
int cm_tree_line_refuse(struct cm_tree_line *l, const char *why);

/* The same when memory is short. */
int cm_tree_line_nomem(struct cm_tree_line *l);

/*
 * Reads the members of the line that `l->json` was started on. 0, or -1 with
 * the reason. What they say of each other is not checked.
 */
int cm_tree_line_read(struct cm_tree_line *l);

#endif
