/* plan.c - from picked sides to steps on the disk. */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "plan.h"
#include "root.h"

#define BLOCK 4096

struct planner {
	const struct cm_local *l;
	const struct cm_scan *scan;
	const struct cm_tree *theirs;
	bool superuser;
	struct cm_plan *plan;
};

static const struct cm_scan_entry *on_disk(const struct planner *p,
					   const struct cm_merge_row *row)
{
	uint32_t scan;

	if (!row->ours)
		return NULL;
	scan = p->l->scan_of[row->ours - p->l->ours->tree->entries];
	return scan == CM_NO_INDEX ? NULL : &p->scan->entries[scan];
}

static bool same_type(const struct cm_scan_entry *disk,
		      const struct cm_entry *e)
{
	return disk && (e->type == CM_ENTRY_DIR	   ? S_ISDIR(disk->mode)
			: e->type == CM_ENTRY_FILE ? S_ISREG(disk->mode)
						   : false);
}

/* Is the directory on disk as the entry says, as far as stat tells? */
static bool dir_is_right(const struct planner *p,
			 const struct cm_scan_entry *disk,
			 const struct cm_entry *e)
{
	return (disk->mode & 07777) == e->mode &&
	       disk->id.mtime_ns == e->mtime_ns &&
	       (!p->superuser || (disk->uid == e->uid && disk->gid == e->gid));
}

/* What to do for a path that is to be as theirs. */
static enum cm_action action_for_theirs(const struct planner *p,
					const struct cm_merge_row *row,
					const struct cm_scan_entry *disk)
{
	const struct cm_entry *t = row->theirs, *o = row->ours;

	if (row->same)
		return CM_DO_NOTHING;
	if (!same_type(disk, t))
		return CM_DO_WRITE;
	if (t->type == CM_ENTRY_DIR && (o->flags & CM_ENTRY_UNREAD))
		return dir_is_right(p, disk, t) && !t->extra ? CM_DO_NOTHING
							     : CM_DO_META;
	if (t->type == CM_ENTRY_DIR)
		return CM_DO_META;
	if (!(o->flags & (CM_ENTRY_UNREAD | CM_ENTRY_STALE | CM_ENTRY_GHOST)) &&
	    cm_entry_same_content(p->l->ours->tree, o, p->theirs, t))
		return CM_DO_META;
	return CM_DO_WRITE;
}

static const struct cm_entry *any_of(const struct cm_merge_row *row)
{
	return row->theirs ? row->theirs : row->ours ? row->ours : row->base;
}

static void plan_row(const struct planner *p, const struct cm_merge_row *row,
		     struct cm_step *step)
{
	if (step->left)
		return;
	if (row->pick == CM_PICK_THEIRS)
		step->action = (uint8_t)action_for_theirs(p, row, step->disk);
	else if (row->pick == CM_PICK_NONE && step->disk)
		step->action = CM_DO_REMOVE;
}

/*
 * Finds what is on disk, and what must be left: a directory that could not be
 * looked into may hold anything, also another mount.
 */
static void look(const struct planner *p)
{
	const struct cm_scan_entry *closed = NULL;

	for (size_t i = 0; i < p->plan->rows->len; i++) {
		const struct cm_merge_row *row = &p->plan->rows->rows[i];
		const struct cm_entry *e = any_of(row);
		struct cm_step *step = &p->plan->steps[i];

		step->disk = on_disk(p, row);
		if (step->disk && step->disk->unreadable)
			closed = step->disk;
		step->left =
			closed && (closed == step->disk ||
				   cm_path_below(closed->path, closed->path_len,
						 e->path, e->path_len));
	}
}

/* A directory where no directory is to be, or the other way round. */
static bool is_in_the_way(const struct cm_merge_row *row,
			  const struct cm_step *step)
{
	return step->action == CM_DO_WRITE && step->disk &&
	       S_ISDIR(step->disk->mode) != (row->theirs->type == CM_ENTRY_DIR);
}

/* Marks what must be removed before anything is written. */
static void plan_early(struct cm_plan *plan)
{
	const struct cm_scan_entry *gone = NULL;

	for (size_t i = 0; i < plan->rows->len; i++) {
		struct cm_step *step = &plan->steps[i];

		if (!step->disk)
			continue;
		if (is_in_the_way(&plan->rows->rows[i], step)) {
			step->early = true;
			gone = step->disk;
		} else if (gone && cm_path_below(gone->path, gone->path_len,
						 step->disk->path,
						 step->disk->path_len)) {
			step->early = true;
		}
	}
}

/* ---- hard links -------------------------------------------------------- */

static void plan_link(struct cm_plan *plan, size_t carrier, size_t i)
{
	const struct cm_step *first = &plan->steps[carrier];
	struct cm_step *step = &plan->steps[i];

	if (first->action != CM_DO_WRITE && step->action != CM_DO_WRITE &&
	    first->disk->id.ino == step->disk->id.ino)
		return;
	step->action = CM_DO_LINK;
	step->carrier = (uint32_t)carrier;
}

/* The first member of a group that is to be as theirs carries the content. */
static int plan_links(const struct planner *p, struct cm_error *err)
{
	const struct cm_merge_rows *rows = p->plan->rows;
	cm_autofree uint32_t *carriers = NULL;
	uint32_t group;

	carriers = calloc((size_t)cm_tree_last_group(p->theirs) + 1,
			  sizeof(*carriers));
	if (!carriers)
		return cm_error_nomem(err);
	for (size_t i = 0; i < rows->len; i++) {
		group = rows->rows[i].pick == CM_PICK_THEIRS &&
					!p->plan->steps[i].left
				? rows->rows[i].theirs->hlink
				: 0;
		if (!group)
			continue;
		if (carriers[group])
			plan_link(p->plan, carriers[group] - 1, i);
		else
			carriers[group] = (uint32_t)i + 1;
	}
	return 0;
}

/* ---- directories ------------------------------------------------------- */

static bool is_dir_row(const struct cm_merge_row *row,
		       const struct cm_step *step)
{
	return (step->disk && S_ISDIR(step->disk->mode)) ||
	       (row->theirs && row->theirs->type == CM_ENTRY_DIR);
}

/* Marks the directories in which something comes or goes. */
static int plan_touched(struct cm_plan *plan, struct cm_error *err)
{
	cm_autofree uint32_t *open = NULL; /* rows of the directories above */
	size_t depth = 0;

	open = calloc(CM_TREE_PATH_MAX, sizeof(*open));
	if (!open)
		return cm_error_nomem(err);
	for (uint32_t i = 0; i < plan->rows->len; i++) {
		const struct cm_entry *e = any_of(&plan->rows->rows[i]), *dir;
		const struct cm_step *step = &plan->steps[i];

		for (; depth > 0; depth--) {
			dir = any_of(&plan->rows->rows[open[depth - 1]]);
			if (cm_path_below(dir->path, dir->path_len, e->path,
					  e->path_len))
				break;
		}
		if (depth > 0 && step->action != CM_DO_NOTHING &&
		    step->action != CM_DO_META)
			plan->steps[open[depth - 1]].touched = true;
		if (is_dir_row(&plan->rows->rows[i], step))
			open[depth++] = i;
	}
	return 0;
}

static void sum_up(struct cm_plan *plan)
{
	for (size_t i = 0; i < plan->rows->len; i++) {
		const struct cm_entry *e = plan->rows->rows[i].theirs;
		int64_t stored;

		plan->work += plan->steps[i].action != CM_DO_NOTHING;
		if (plan->steps[i].action != CM_DO_WRITE)
			continue;
		stored = cm_entry_stored(e);
		plan->files += e->type == CM_ENTRY_FILE;
		plan->bytes += stored;
		plan->blocks += (stored + BLOCK - 1) / BLOCK * BLOCK;
	}
}

int cm_plan_make(const struct cm_merge_rows *rows, const struct cm_local *l,
		 const struct cm_scan *scan, const struct cm_tree *theirs,
		 bool superuser, struct cm_plan **ret, struct cm_error *err)
{
	cm_auto(plan) struct cm_plan *plan = calloc(1, sizeof(*plan));
	struct planner p = {l, scan, theirs, superuser, plan};
	int r;

	if (!plan)
		return cm_error_nomem(err);
	plan->rows = rows;
	plan->steps = calloc(rows->len + 1, sizeof(*plan->steps));
	if (!plan->steps)
		return cm_error_nomem(err);
	look(&p);
	for (size_t i = 0; i < rows->len; i++)
		plan_row(&p, &rows->rows[i], &plan->steps[i]);
	r = plan_links(&p, err);
	if (r == 0)
		r = plan_touched(plan, err);
	if (r < 0)
		return r;
	plan_early(plan);
	sum_up(plan);
	*ret = cm_take_ptr(plan);
	return 0;
}

void cm_plan_free(struct cm_plan *p)
{
	if (!p)
		return;
	free(p->steps);
	free(p);
}

int cm_plan_check_space(const struct cm_plan *p, const struct cm_root *m,
			struct cm_error *err)
{
	struct statvfs fs;
	int64_t room;

	/* If it can't be asked, the writes themselves will tell. */
	if (fstatvfs(m->dir, &fs) < 0 || fs.f_frsize == 0)
		return 0;
	room = (int64_t)(fs.f_bavail > INT64_MAX / fs.f_frsize
				 ? INT64_MAX
				 : fs.f_bavail * fs.f_frsize);
	if (p->blocks > room)
		return cm_error_set(
			err, CM_ERR_NO_SPACE,
			"no space: the mount has room for %lld bytes, "
			"%lld are to be written",
			(long long)room, (long long)p->blocks);
	if (fs.f_files > 0 && (uint64_t)p->files > fs.f_favail)
		return cm_error_set(
			err, CM_ERR_NO_SPACE,
			"no space: the mount has room for %llu files, "
			"%lld are to be written",
			(unsigned long long)fs.f_favail, (long long)p->files);
	return 0;
}
