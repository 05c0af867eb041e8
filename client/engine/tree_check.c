/*
 * tree_check.c - the rules that every entry of a tree must keep, whoever wrote
 * it. They are what keeps a hostile tree from being more than a wrong tree:
 * nothing that passes can name a place outside the mount, lie beneath a thing
 * that is no directory, or claim bytes that no chunk has.
 */
#include <stdlib.h>
#include <string.h>

#include "tree.h"

/* Every second byte of a path can be a "/". */
#define DEPTH_MAX ((CM_TREE_PATH_MAX + 1) / 2)

int cm_tree_checker_init(struct cm_tree_checker *c,
			 const struct cm_tree_limits *limits,
			 struct cm_error *err)
{
	memset(c, 0, sizeof(*c));
	c->limits = limits;
	c->dirs = calloc(DEPTH_MAX, sizeof(*c->dirs));
	return c->dirs ? 0 : cm_error_nomem(err);
}

void cm_tree_checker_release(struct cm_tree_checker *c)
{
	free(c->dirs);
	c->dirs = NULL;
}

static bool refuse(struct cm_tree_checker *c, const char *why)
{
	c->why = why;
	return false;
}

static bool refuse_size(struct cm_tree_checker *c, const char *why)
{
	c->too_much = true;
	return refuse(c, why);
}

/* The path, its place in the order, and that its parent is a directory. */
static bool check_path(struct cm_tree_checker *c, const struct cm_entry *e)
{
	const char *why = cm_path_refuse(e->path, e->path_len);
	size_t parent;

	if (why)
		return refuse(c, why);
	if (c->last) {
		int order = cm_path_compare(c->last, c->last_len, e->path,
					    e->path_len);

		if (order == 0)
			return refuse(c, "path is there twice");
		if (order > 0)
			return refuse(c, "path is out of order");
	}
	while (c->dirs_len > 0 &&
	       !cm_path_below(c->last, c->dirs[c->dirs_len - 1], e->path,
			      e->path_len))
		c->dirs_len--;
	parent = cm_path_parent(e->path, e->path_len);
	if (parent != (c->dirs_len > 0 ? c->dirs[c->dirs_len - 1] : 0))
		return refuse(c, "parent is no directory of the tree");
	if (e->type == CM_ENTRY_DIR)
		c->dirs[c->dirs_len++] = e->path_len;
	c->last = e->path;
	c->last_len = e->path_len;
	return true;
}

static bool check_extents(struct cm_tree_checker *c, const struct cm_entry *e)
{
	const struct cm_entry_extra *x = e->extra;
	int64_t end = 0;

	if (!x || !x->sparse)
		return true;
	for (size_t i = 0; i < x->extents_len; i++) {
		if (x->extents[i].len <= 0 || x->extents[i].offset < end)
			return refuse(c, "extents overlap or are out of order");
		if (__builtin_add_overflow(x->extents[i].offset,
					   x->extents[i].len, &end) ||
		    end > e->size)
			return refuse(c, "extent is outside the file");
	}
	return true;
}

/* That the chunks have the bytes that the file says it has. */
static bool check_content(struct cm_tree_checker *c, const struct cm_tree *t,
			  const struct cm_entry *e)
{
	int64_t stored, end;

	if (e->size < 0)
		return refuse(c, "size is negative");
	if (!check_extents(c, e))
		return false;
	stored = cm_entry_stored(e);
	if (stored == 0 || (e->flags & CM_ENTRY_GHOST))
		return true;
	if (e->chunk >= t->chunks_len || e->offset >= t->chunks[e->chunk].size)
		return refuse(c, "chunk or offset is out of bounds");
	if (__builtin_add_overflow(t->starts[e->chunk] + e->offset, stored,
				   &end) ||
	    end > t->starts[t->chunks_len])
		return refuse(c, "file runs on behind the last chunk");
	return true;
}

static bool check_totals(struct cm_tree_checker *c, const struct cm_entry *e)
{
	if (++c->entries > c->limits->max_entries)
		return refuse_size(c, "more entries than allowed");
	if (e->hlink && e->hlink <= c->groups)
		return true;
	if (e->hlink > c->groups + 1)
		return refuse(c, "hlink is not the next number");
	if (e->hlink)
		c->groups = e->hlink;
	if (__builtin_add_overflow(c->bytes, e->size, &c->bytes) ||
	    c->bytes > c->limits->max_bytes)
		return refuse_size(c, "more bytes than allowed");
	return true;
}

bool cm_tree_check(struct cm_tree_checker *c, const struct cm_tree *t,
		   const struct cm_entry *e)
{
	bool symlink = e->type == CM_ENTRY_SYMLINK;

	if (e->type > CM_ENTRY_FIFO)
		return refuse(c, "type is unknown");
	if (e->mode > 07777)
		return refuse(c, "mode is out of range");
	if (symlink != (e->extra && e->extra->target))
		return refuse(c, "target belongs to a symlink, and only there");
	if (e->hlink && e->type != CM_ENTRY_FILE)
		return refuse(c, "only files can be hard links");
	if (e->type != CM_ENTRY_FILE && e->size != 0)
		return refuse(c, "only files have a size");
	return check_path(c, e) && check_content(c, t, e) && check_totals(c, e);
}
