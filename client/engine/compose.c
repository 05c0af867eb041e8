/*
 * compose.c - the tree that a merge decided for: entries, chunks, hard-link
 * groups, and what each entry is on this disk.
 */
#include <stdlib.h>
#include <string.h>

#include "chunk_map.h"
#include "merge.h"

/* Hard-link groups of the new tree, found by their number in an old one. */
struct groups {
	uint32_t *alias;   /* ours only: theirs' group that it is, or 0 */
	uint32_t *members; /* how many the new tree has */
	uint32_t *first;   /* entry of the new tree, + 1 */
	uint32_t len;
};

struct compose {
	const struct cm_merge_rows *rows;
	const struct cm_state *ours; /* may be NULL */
	struct cm_chunk_map ours_map, theirs_map;
	struct groups ours_groups, theirs_groups;
	uint32_t groups; /* given out so far */
	struct cm_tree *t;
	struct cm_disk_id *disk;	 /* one for each entry of `t` */
	const struct cm_entry *blocking; /* nothing may be below it */
};

/* ---- hard links ------------------------------------------------------- */

static int groups_init(struct groups *g, const struct cm_tree *t,
		       struct cm_error *err)
{
	g->len = t ? cm_tree_last_group(t) : 0;
	g->alias = calloc((size_t)g->len + 1, sizeof(*g->alias));
	g->members = calloc((size_t)g->len + 1, sizeof(*g->members));
	g->first = calloc((size_t)g->len + 1, sizeof(*g->first));
	return g->alias && g->members && g->first ? 0 : cm_error_nomem(err);
}

static void groups_release(struct groups *g)
{
	free(g->alias);
	free(g->members);
	free(g->first);
}

/*
 * The books that the row's outcome is in, and its group's number in them; NULL
 * if it is in no group. Ours is looked up under theirs where the two have been
 * tied together. A file that is the same on both sides may be in a group on our
 * side alone: then it has got another name here.
 */
static struct groups *group_of(struct compose *c,
			       const struct cm_merge_row *row, uint32_t *ret)
{
	uint32_t ours = row->ours ? row->ours->hlink : 0;

	if (row->pick == CM_PICK_THEIRS && row->theirs->hlink) {
		*ret = row->theirs->hlink;
		return &c->theirs_groups;
	}
	if (!ours || !(row->pick == CM_PICK_OURS ||
		       (row->pick == CM_PICK_THEIRS && row->same)))
		return NULL;
	*ret = c->ours_groups.alias[ours] ? c->ours_groups.alias[ours] : ours;
	return c->ours_groups.alias[ours] ? &c->theirs_groups : &c->ours_groups;
}

/* A path where both sides are the same ties their groups together. */
static void tie_groups(struct compose *c)
{
	for (size_t i = 0; i < c->rows->len; i++) {
		const struct cm_merge_row *row = &c->rows->rows[i];

		if (row->same && row->ours->hlink && row->theirs->hlink &&
		    !c->ours_groups.alias[row->ours->hlink])
			c->ours_groups.alias[row->ours->hlink] =
				row->theirs->hlink;
	}
}

static void count_members(struct compose *c)
{
	for (size_t i = 0; i < c->rows->len; i++) {
		uint32_t n;
		struct groups *g = group_of(c, &c->rows->rows[i], &n);

		if (g)
			g->members[n]++;
	}
}

/*
 * Gives the new entry its group: none if it is the only member left, or if it
 * turns out not to be what the first member is.
 */
static void join_group(struct compose *c, const struct cm_merge_row *row,
		       struct cm_entry *e)
{
	const struct cm_entry *first;
	uint32_t n;
	struct groups *g = group_of(c, row, &n);

	e->hlink = 0;
	if (!g || g->members[n] < 2)
		return;
	if (!g->first[n]) {
		g->first[n] = (uint32_t)(e - c->t->entries) + 1;
		e->hlink = ++c->groups;
		return;
	}
	first = &c->t->entries[g->first[n] - 1];
	if (cm_entry_same_metadata(first, e) && first->chunk == e->chunk &&
	    first->offset == e->offset)
		e->hlink = first->hlink;
}

/* ---- chunks ----------------------------------------------------------- */

static int map_chunks(struct compose *c, struct cm_error *err)
{
	struct cm_chunk_list list = {0};
	int r;

	for (size_t i = 0; i < c->rows->len; i++) {
		const struct cm_merge_row *row = &c->rows->rows[i];

		if (row->pick == CM_PICK_THEIRS)
			cm_chunk_map_use(&c->theirs_map, row->theirs);
		else if (row->pick == CM_PICK_OURS)
			cm_chunk_map_use(&c->ours_map, row->ours);
	}
	r = cm_chunk_map_append(&c->theirs_map, &list, err);
	if (r == 0)
		r = cm_chunk_map_append(&c->ours_map, &list, err);
	if (r == 0)
		r = cm_tree_set_chunks(c->t, list.chunks, list.len, err);
	cm_chunk_list_release(&list);
	return r;
}

static void move_content(const struct compose *c, uint8_t pick,
			 struct cm_entry *e)
{
	if (cm_entry_stored(e) == 0)
		e->chunk = e->offset = 0;
	else if (pick == CM_PICK_THEIRS)
		e->chunk = c->theirs_map.to[e->chunk];
	else
		e->chunk = c->ours_map.to[e->chunk];
}

/* ---- the disk --------------------------------------------------------- */

static struct cm_disk_id disk_of(const struct compose *c,
				 const struct cm_entry *ours)
{
	static const struct cm_disk_id unknown;

	return ours ? c->ours->disk[ours - c->ours->tree->entries] : unknown;
}

/* The flags of a picked entry: what the disk is to it. */
static uint8_t flags_of(const struct cm_merge_row *row,
			const struct cm_disk_id *disk)
{
	const struct cm_entry *o = row->ours;

	if (!o || (o->flags & CM_ENTRY_ABSENT))
		return CM_ENTRY_ABSENT;
	if (row->pick == CM_PICK_OURS)
		return o->flags & CM_ENTRY_STALE;
	return row->same || !disk->ino ? 0 : CM_ENTRY_STALE;
}

static void add_picked(struct compose *c, const struct cm_merge_row *row)
{
	struct cm_entry *e = &c->t->entries[c->t->len];
	struct cm_disk_id *disk = &c->disk[c->t->len];

	*e = *cm_merge_picked(row);
	*disk = disk_of(c, row->ours);
	e->flags = flags_of(row, disk);
	move_content(c, row->pick, e);
	join_group(c, row, e);
	if (e->type != CM_ENTRY_DIR)
		c->blocking = e;
	c->t->len++;
}

/* What is on disk and no longer in the tree, unless a file is in its way. */
static void add_ghost(struct compose *c, const struct cm_merge_row *row)
{
	struct cm_disk_id disk = disk_of(c, row->ours);
	struct cm_entry *e;

	if (!disk.ino ||
	    (c->blocking &&
	     cm_path_below(c->blocking->path, c->blocking->path_len,
			   row->ours->path, row->ours->path_len)))
		return;
	e = &c->t->entries[c->t->len];
	*e = *row->ours;
	e->flags = CM_ENTRY_GHOST;
	e->hlink = e->chunk = e->offset = 0;
	c->disk[c->t->len++] = disk;
	if (e->type != CM_ENTRY_DIR)
		c->blocking = e;
}

static void add_all(struct compose *c)
{
	for (size_t i = 0; i < c->rows->len; i++) {
		const struct cm_merge_row *row = &c->rows->rows[i];

		if (cm_merge_picked(row))
			add_picked(c, row);
		else if (row->ours)
			add_ghost(c, row);
	}
}

/* Whatever went wrong: a tree that a client would refuse is not published. */
static int check_all(const struct cm_tree *t, struct cm_error *err)
{
	static const struct cm_tree_limits limits = {INT64_MAX, INT64_MAX};
	struct cm_tree_checker checker;
	int r = cm_tree_checker_init(&checker, &limits, err);

	for (size_t i = 0; r == 0 && i < t->len; i++)
		if (!cm_tree_check(&checker, t, &t->entries[i]))
			r = cm_error_set(err, CM_ERR_INTERNAL,
					 "the merge made no tree: %s",
					 checker.why);
	cm_tree_checker_release(&checker);
	return r;
}

static int compose(struct compose *c, const struct cm_tree *theirs,
		   struct cm_error *err)
{
	const struct cm_tree *ours = c->ours ? c->ours->tree : NULL;
	int r = cm_chunk_map_init(&c->theirs_map, theirs, err);

	if (r == 0)
		r = cm_chunk_map_init(&c->ours_map, ours, err);
	if (r == 0)
		r = groups_init(&c->ours_groups, ours, err);
	if (r == 0)
		r = groups_init(&c->theirs_groups, theirs, err);
	if (r == 0)
		r = map_chunks(c, err);
	if (r < 0)
		return r;
	tie_groups(c);
	count_members(c);
	add_all(c);
	return check_all(c->t, err);
}

static void compose_release(struct compose *c)
{
	cm_chunk_map_release(&c->ours_map);
	cm_chunk_map_release(&c->theirs_map);
	groups_release(&c->ours_groups);
	groups_release(&c->theirs_groups);
}

int cm_compose(const struct cm_merge_rows *m, const struct cm_state *ours,
	       const struct cm_tree *theirs, struct cm_state **ret,
	       struct cm_error *err)
{
	cm_auto(state) struct cm_state *s = NULL;
	struct compose c = {.rows = m, .ours = ours};
	int r = cm_tree_new(NULL, 0, &c.t, err);

	if (r < 0)
		return r;
	c.t->cap = c.t->len = m->len;
	c.t->entries = calloc(m->len + 1, sizeof(*c.t->entries));
	r = cm_state_new(c.t, &s, err);
	if (r < 0)
		return r;
	if (!c.t->entries)
		return cm_error_nomem(err);
	c.t->len = 0;
	c.disk = s->disk;
	r = compose(&c, theirs, err);
	compose_release(&c);
	if (r == 0)
		*ret = cm_take_ptr(s);
	return r;
}
