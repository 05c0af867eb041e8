/*
 * apply.c - removing, making, linking, and at last the directories.
 *
 * In this order, so that nothing stands in the way of what comes, and that
 * each directory gets its time and mode when nothing in it changes any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "fetch.h"
#include "metadata.h"
#include "root.h"
#include "writer.h"

struct apply {
	struct cm_job *job;
	struct cm_root *mount;
	const char *repo;
	const struct cm_tree *theirs;
	const struct cm_plan *plan;
	struct cm_disk_id *ids;
	struct cm_writer writer;
	int tmp;
};

static const struct cm_entry *theirs_of(const struct apply *a, size_t i)
{
	return a->plan->rows->rows[i].theirs;
}

static struct cm_disk_id *id_of(const struct apply *a, size_t i)
{
	return &a->ids[theirs_of(a, i) - a->theirs->entries];
}

/* ---- removing ---------------------------------------------------------- */

/*
 * Removes what is at a row's path. A directory that still holds something is
 * left, unless the tree is to be theirs exactly: what is in it is no business
 * of ours (a socket, or a file made meanwhile).
 */
static int remove_row(struct apply *a, size_t i, struct cm_error *err)
{
	const struct cm_scan_entry *disk = a->plan->steps[i].disk;
	bool dir = S_ISDIR(disk->mode);
	char shown[CM_SHOWN_SIZE];
	const char *name;
	int parent = cm_dir_cache_parent(&a->writer.dirs, disk->path,
					 disk->path_len, &name);
	int r;

	if (parent < 0)
		r = -1;
	else if (dir && (a->job->o->merge == CM_MERGE_REPLACE ||
			 a->plan->steps[i].early))
		r = cm_remove_tree(parent, name);
	else
		r = unlinkat(parent, name, dir ? AT_REMOVEDIR : 0);
	if (r == 0 || errno == ENOENT ||
	    (dir && (errno == ENOTEMPTY || errno == EEXIST)))
		return 0;
	return cm_error_errno(err, "cannot remove %s",
			      cm_shown(disk->path, shown));
}

/* Backwards: what is in a directory goes before it. */
static int remove_rows(struct apply *a, bool early, struct cm_error *err)
{
	int r = 0;

	for (size_t i = a->plan->rows->len; r == 0 && i-- > 0;) {
		const struct cm_step *step = &a->plan->steps[i];

		if (early ? step->early
			  : step->action == CM_DO_REMOVE && !step->early)
			r = remove_row(a, i, err);
	}
	return r;
}

/* ---- directories ------------------------------------------------------- */

static bool is_theirs_dir(const struct apply *a, size_t i)
{
	return a->plan->rows->rows[i].pick == CM_PICK_THEIRS &&
	       theirs_of(a, i)->type == CM_ENTRY_DIR;
}

/* Lets the owner into a directory that is to be changed and forbids it. */
static int open_up(struct apply *a, size_t i, struct cm_error *err)
{
	const struct cm_scan_entry *disk = a->plan->steps[i].disk;
	char shown[CM_SHOWN_SIZE];
	const char *name;
	int parent;

	if (a->mount->superuser || (disk->mode & S_IRWXU) == S_IRWXU)
		return 0;
	parent = cm_dir_cache_parent(&a->writer.dirs, disk->path,
				     disk->path_len, &name);
	if (parent < 0 ||
	    fchmodat(parent, name, (disk->mode & 07777) | S_IRWXU, 0) < 0)
		return cm_error_errno(err, "cannot open up %s",
				      cm_shown(disk->path, shown));
	return 0;
}

/* Opens up those that are there, so that things can be removed from them. */
static int open_up_touched(struct apply *a, struct cm_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->plan->rows->len; i++)
		if (a->plan->steps[i].touched && a->plan->steps[i].disk &&
		    S_ISDIR(a->plan->steps[i].disk->mode))
			r = open_up(a, i, err);
	return r;
}

/* A directory that is not theirs to set gets back what it had. */
static int put_back(struct apply *a, size_t i, struct cm_error *err)
{
	const struct cm_scan_entry *disk = a->plan->steps[i].disk;
	struct timespec times[2] = {{0, UTIME_OMIT},
				    cm_ns_timespec(disk->id.mtime_ns)};
	char shown[CM_SHOWN_SIZE];
	const char *name;
	int parent = cm_dir_cache_parent(&a->writer.dirs, disk->path,
					 disk->path_len, &name);

	if (parent < 0)
		return errno == ENOENT
			       ? 0
			       : cm_error_errno(err, "cannot look at %s",
						cm_shown(disk->path, shown));
	if (!a->mount->superuser)
		fchmodat(parent, name, disk->mode & 07777, 0);
	utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int finish_dir(struct apply *a, size_t i, struct cm_error *err)
{
	const struct cm_step *step = &a->plan->steps[i];
	bool made = step->action == CM_DO_WRITE;

	if (step->action == CM_DO_REMOVE)
		return 0;
	if (!is_theirs_dir(a, i))
		return step->touched && step->disk && !step->early
			       ? put_back(a, i, err)
			       : 0;
	if (step->action == CM_DO_NOTHING && !step->touched)
		return 0;
	return cm_writer_metadata(&a->writer, theirs_of(a, i), made,
				  id_of(a, i), err);
}

/*
 * Backwards, so that a directory is done when all in it is. All of them, also
 * after a failure: they may have been opened up.
 */
static int finish_dirs(struct apply *a, struct cm_error *err)
{
	struct cm_error ignored;
	int first = 0, r;

	for (size_t i = a->plan->rows->len; i-- > 0;) {
		r = finish_dir(a, i, first < 0 ? &ignored : err);
		if (first == 0)
			first = r;
	}
	return first;
}

/* After a failure: the directories made for files that never came. */
static void remove_empty_dirs(struct apply *a)
{
	const char *name;
	int parent;

	for (size_t i = a->plan->rows->len; i-- > 0;) {
		const struct cm_entry *e = theirs_of(a, i);

		if (a->plan->steps[i].action != CM_DO_WRITE ||
		    !is_theirs_dir(a, i))
			continue;
		parent = cm_dir_cache_parent(&a->writer.dirs, e->path,
					     e->path_len, &name);
		if (parent >= 0)
			unlinkat(parent, name, AT_REMOVEDIR);
	}
}

/* ---- everything else --------------------------------------------------- */

static int make_empty(struct apply *a, size_t i, struct cm_error *err)
{
	struct cm_temp temp;
	int r = cm_writer_create(&a->writer, &temp, err);

	if (r < 0)
		return r;
	a->job->result->files_written++;
	return cm_writer_commit(&a->writer, &temp, theirs_of(a, i), id_of(a, i),
				err);
}

/* What needs no chunk: empty files, links, fifos, metadata. */
static int make_small(struct apply *a, size_t i, struct cm_error *err)
{
	const struct cm_entry *e = theirs_of(a, i);
	uint8_t action = a->plan->steps[i].action;

	if (e->type == CM_ENTRY_DIR)
		return 0;
	if (action == CM_DO_META)
		return cm_writer_metadata(&a->writer, e, false, id_of(a, i),
					  err);
	if (action != CM_DO_WRITE)
		return 0;
	if (e->type != CM_ENTRY_FILE)
		return cm_writer_special(&a->writer, e, id_of(a, i), err);
	return cm_entry_stored(e) == 0 ? make_empty(a, i, err) : 0;
}

static int make_rest(struct apply *a, struct cm_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->plan->rows->len; i++)
		if (a->plan->rows->rows[i].pick == CM_PICK_THEIRS)
			r = make_small(a, i, err);
	for (size_t i = 0; r == 0 && i < a->plan->rows->len; i++)
		if (a->plan->steps[i].action == CM_DO_LINK)
			r = cm_writer_link(
				&a->writer,
				theirs_of(a, a->plan->steps[i].carrier),
				theirs_of(a, i), err);
	return r;
}

/*
 * A name made or removed changes the ctime of the file under its others. A file
 * that was kept must be what it was but for that, or its old ctime stands, and
 * the next save will see that it changed.
 */
static int look_at_link(struct apply *a, size_t i, struct cm_error *err)
{
	struct cm_disk_id *id = id_of(a, i), now;
	int r = cm_writer_look(&a->writer, theirs_of(a, i), &now, err);

	if (r == 0 && (a->plan->steps[i].action != CM_DO_NOTHING ||
		       (now.ino == id->ino && now.mtime_ns == id->mtime_ns &&
			now.size == id->size)))
		*id = now;
	return r;
}

/* Is it a file with several names, or was it? */
static bool has_names(const struct apply *a, size_t i)
{
	const struct cm_scan_entry *disk = a->plan->steps[i].disk;

	return theirs_of(a, i)->hlink ||
	       (disk && S_ISREG(disk->mode) && disk->nlink > 1);
}

static int look_at_links(struct apply *a, struct cm_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->plan->rows->len; i++)
		if (a->plan->rows->rows[i].pick == CM_PICK_THEIRS &&
		    !a->plan->steps[i].left && has_names(a, i))
			r = look_at_link(a, i, err);
	return r;
}

static int apply(struct apply *a, struct cm_error *err)
{
	struct cm_error ignored;
	int r = open_up_touched(a, err), dirs;

	if (r == 0)
		r = remove_rows(a, true, err);
	if (r == 0)
		r = cm_fetch_files(a->job, &a->writer, a->repo, a->theirs,
				   a->plan, a->ids, err);
	if (r == 0)
		r = make_rest(a, err);
	if (r == 0)
		r = remove_rows(a, false, err);
	if (r < 0)
		remove_empty_dirs(a);
	dirs = finish_dirs(a, r == 0 ? err : &ignored);
	if (r == 0)
		r = dirs;
	return r == 0 ? look_at_links(a, err) : r;
}

int cm_apply_plan(struct cm_job *j, struct cm_root *m, const char *repo,
		  const struct cm_tree *theirs, const struct cm_plan *plan,
		  struct cm_disk_id *ids, struct cm_error *err)
{
	struct apply a = {.job = j,
			  .mount = m,
			  .repo = repo,
			  .theirs = theirs,
			  .plan = plan,
			  .ids = ids,
			  .tmp = -1};
	int r = cm_root_fresh_tmp(m, &a.tmp, err);

	if (r < 0)
		return r;
	r = cm_writer_init(&a.writer, j, m, a.tmp, 0, err);
	if (r == 0)
		r = apply(&a, err);
	cm_writer_release(&a.writer);
	close(a.tmp);
	cm_root_remove_tmp(m);
	return r;
}
