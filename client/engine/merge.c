/*
 * merge.c - which side each path comes from.
 *
 * One step over the three sorted trees decides path by path; one walk back
 * then sees to it that the outcome is a tree, which is simple since whatever
 * is below a directory comes right behind it.
 */
#include <stdlib.h>

#include "merge.h"

struct merge {
	const struct cm_tree *base, *ours, *theirs;
	enum cm_merge_rule rule;
};

static bool is_ghost(const struct cm_entry *e)
{
	return e->flags & CM_ENTRY_GHOST;
}

static bool same_entry(const struct cm_tree *at, const struct cm_entry *a,
		       const struct cm_tree *bt, const struct cm_entry *b)
{
	return a == b || (cm_entry_same_metadata(a, b) &&
			  (a->type != CM_ENTRY_FILE ||
			   cm_entry_same_content(at, a, bt, b)));
}

/* Is the disk under ours known to hold exactly theirs? */
static bool disk_has_theirs(const struct merge *m,
			    const struct cm_merge_row *row)
{
	const struct cm_entry *o = row->ours;

	return o && row->theirs &&
	       !(o->flags & (CM_ENTRY_UNREAD | CM_ENTRY_STALE | CM_ENTRY_GHOST |
			     CM_ENTRY_ABSENT)) &&
	       same_entry(m->ours, o, m->theirs, row->theirs);
}

/*
 * A file that the walk found changed, though its size and its time, to the
 * nanosecond, are theirs: a restore that was killed has put it there, and
 * nobody has worked on it since.
 */
static bool left_by_restore(const struct merge *m, const struct cm_entry *o,
			    const struct cm_entry *t)
{
	return m->rule == CM_RULE_RESTORE && (o->flags & CM_ENTRY_UNREAD) &&
	       o->type == CM_ENTRY_FILE && t->type == CM_ENTRY_FILE &&
	       o->size == t->size && o->mtime_ns == t->mtime_ns;
}

static enum cm_pick decide_union(const struct merge *m,
				 const struct cm_merge_row *row)
{
	const struct cm_entry *b = row->base, *t = row->theirs;
	const struct cm_entry *o =
		row->ours && !is_ghost(row->ours) ? row->ours : NULL;
	bool ours_changed = o && (!b || (o->flags & CM_ENTRY_CHANGED));
	/* By metadata alone: that a file has been put into another chunk is no
	 * change that a deletion would have to give way to. */
	bool theirs_changed = t && (!b || !cm_entry_same_metadata(b, t));

	if (!o && !t)
		return CM_PICK_NONE;
	if (!o)
		return b && !theirs_changed && m->rule == CM_RULE_SAVE
			       ? CM_PICK_NONE
			       : CM_PICK_THEIRS;
	if (!t)
		return ours_changed ? CM_PICK_OURS : CM_PICK_NONE;
	if (left_by_restore(m, o, t))
		return CM_PICK_THEIRS;
	if (!ours_changed && (theirs_changed || !(o->flags & CM_ENTRY_MOVED)))
		return CM_PICK_THEIRS;
	if (!theirs_changed)
		return CM_PICK_OURS;
	/* A directory of unknown past may be left over from a killed restore,
	 * with the mode and time that it had on the way. */
	if (!b && o->type == CM_ENTRY_DIR && t->type == CM_ENTRY_DIR)
		return CM_PICK_THEIRS;
	return o->mtime_ns > t->mtime_ns ? CM_PICK_OURS : CM_PICK_THEIRS;
}

static void decide(const struct merge *m, struct cm_merge_row *row)
{
	row->same = disk_has_theirs(m, row);
	if (m->rule == CM_RULE_REPLACE)
		row->pick = row->theirs ? CM_PICK_THEIRS : CM_PICK_NONE;
	else if (row->same)
		row->pick = CM_PICK_THEIRS;
	else
		row->pick = (uint8_t)decide_union(m, row);
}

/* The next entry of `t` that counts, from `*i` on; NULL at the end. */
static const struct cm_entry *next_of(const struct cm_tree *t, size_t *i,
				      bool ghosts)
{
	while (t && *i < t->len && !ghosts && is_ghost(&t->entries[*i]))
		(*i)++;
	return t && *i < t->len ? &t->entries[*i] : NULL;
}

/* The lesser path of the two; either may be NULL. */
static const struct cm_entry *lesser(const struct cm_entry *a,
				     const struct cm_entry *b)
{
	if (!a || !b)
		return a ? a : b;
	return cm_path_compare(a->path, a->path_len, b->path, b->path_len) <= 0
		       ? a
		       : b;
}

static const struct cm_entry *take_if(const struct cm_entry *e,
				      const struct cm_entry *least, size_t *i)
{
	if (!e || cm_path_compare(e->path, e->path_len, least->path,
				  least->path_len) != 0)
		return NULL;
	(*i)++;
	return e;
}

static void step_over_all(const struct merge *m, struct cm_merge_rows *out)
{
	size_t b = 0, o = 0, t = 0;

	for (;;) {
		const struct cm_entry *be = next_of(m->base, &b, false);
		const struct cm_entry *oe = next_of(m->ours, &o, true);
		const struct cm_entry *te = next_of(m->theirs, &t, false);
		const struct cm_entry *least = lesser(be, lesser(oe, te));
		struct cm_merge_row *row = &out->rows[out->len];

		if (!least)
			return;
		row->base = take_if(be, least, &b);
		row->ours = take_if(oe, least, &o);
		row->theirs = take_if(te, least, &t);
		decide(m, row);
		out->len++;
	}
}

static bool is_dir(const struct cm_entry *e)
{
	return e && e->type == CM_ENTRY_DIR;
}

/* Picks whatever directory the row has, the newer of ours and theirs. */
static void pick_directory(struct cm_merge_row *row)
{
	bool ours = is_dir(row->ours), theirs = is_dir(row->theirs);

	if (ours && theirs)
		theirs = row->theirs->mtime_ns >= row->ours->mtime_ns;
	row->pick = theirs ? CM_PICK_THEIRS
		    : ours ? CM_PICK_OURS
			   : CM_PICK_BASE;
}

/* Backwards: what lies below a path has been seen when the path comes. */
static void make_tree(struct cm_merge_rows *m)
{
	const struct cm_entry *next = NULL, *e;

	for (size_t i = m->len; i-- > 0;) {
		struct cm_merge_row *row = &m->rows[i];

		e = row->theirs ? row->theirs
		    : row->ours ? row->ours
				: row->base;
		if (next &&
		    cm_path_below(e->path, e->path_len, next->path,
				  next->path_len) &&
		    !is_dir(cm_merge_picked(row)))
			pick_directory(row);
		if (row->pick != CM_PICK_NONE)
			next = e;
	}
}

int cm_merge(const struct cm_tree *base, const struct cm_tree *ours,
	     const struct cm_tree *theirs, enum cm_merge_rule rule,
	     struct cm_merge_rows **ret, struct cm_error *err)
{
	struct merge m = {base, ours, theirs, rule};
	cm_auto(merge_rows) struct cm_merge_rows *out = calloc(1, sizeof(*out));
	size_t n = (base ? base->len : 0) + (ours ? ours->len : 0) +
		   (theirs ? theirs->len : 0);

	if (!out)
		return cm_error_nomem(err);
	out->rows = calloc(n + 1, sizeof(*out->rows));
	if (!out->rows)
		return cm_error_nomem(err);
	step_over_all(&m, out);
	make_tree(out);
	*ret = cm_take_ptr(out);
	return 0;
}

bool cm_merge_is_theirs(const struct cm_merge_rows *m)
{
	for (size_t i = 0; i < m->len; i++)
		if (m->rows[i].theirs ? m->rows[i].pick != CM_PICK_THEIRS
				      : m->rows[i].pick != CM_PICK_NONE)
			return false;
	return true;
}

void cm_merge_rows_free(struct cm_merge_rows *m)
{
	if (!m)
		return;
	free(m->rows);
	free(m);
}
