/*
 * restore.c - a snapshot to a directory.
 *
 * In order: which snapshot, what is on disk, a merge of the two, a plan of
 * what that asks of the disk, the limits, the work, and a memory of it all.
 * An unchanged directory costs the walk and one request.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "job.h"
#include "local.h"
#include "merge.h"
#include "plan.h"
#include "root.h"
#include "scan.h"
#include "snapshot_manifest.h"
#include "state.h"

#define LOCK_WAIT_MS 5000
#define SCAN_THREADS 2
#define PLANS_MAX    3 /* more, when others make directories meanwhile */

struct restore {
	struct cm_job *job;
	struct cm_root *mount;
	struct cm_state *base; /* NULL: nothing is known of the mount */
	struct cm_connection *c;
	const char *repo; /* where the snapshot was found; NULL: nowhere */
	struct cm_digest digest;
	struct cm_state *theirs; /* the snapshot, and the mount's new state */
	struct cm_scan *scan;
	struct cm_local *local;
	struct cm_merge_rows *rows;
	struct cm_plan *plan;
};

static void restore_release(struct restore *s)
{
	cm_plan_free(s->plan);
	cm_merge_rows_free(s->rows);
	cm_local_free(s->local);
	cm_scan_free(s->scan);
	cm_state_free(s->theirs);
	cm_state_free(s->base);
	cm_connection_free(s->c);
	cm_root_close(s->mount);
}

static int load_base(struct restore *s, struct cm_error *err)
{
	int r = cm_state_load(s->mount, &s->base, err);

	if (r == CM_ERR_NO_MEMORY)
		return r;
	if (r < 0 && r != CM_ERR_NOT_FOUND)
		cm_job_warn(s->job, "%s", err->text);
	return 0;
}

/* ---- which snapshot ---------------------------------------------------- */

static bool base_is_of(const struct restore *s, const char *repo)
{
	return s->base && strcmp(s->base->repo, repo) == 0 &&
	       strcmp(s->base->tag, s->job->o->tag) == 0;
}

/* The tree that the mount's own state holds, without its ghosts. */
static int copy_base(const struct restore *s, struct cm_tree **ret,
		     struct cm_error *err)
{
	const struct cm_tree *bt = s->base->tree;
	cm_auto(tree) struct cm_tree *t = NULL;
	struct cm_entry *e;
	int r = cm_tree_new(bt->chunks, bt->chunks_len, &t, err);

	for (size_t i = 0; r == 0 && i < bt->len; i++) {
		if (bt->entries[i].flags & CM_ENTRY_GHOST)
			continue;
		e = cm_tree_add(t);
		if (!e)
			return cm_error_nomem(err);
		*e = bt->entries[i];
		e->flags = 0;
	}
	if (r == 0)
		*ret = cm_take_ptr(t);
	return r;
}

/* Looks in one repository. 1 if the snapshot is there, 0 if not. */
static int look_in(struct restore *s, const char *repo, struct cm_error *err)
{
	const struct cm_digest *known =
		base_is_of(s, repo) ? &s->base->manifest : NULL;
	struct cm_tree *t = NULL;
	int r = cm_snapshot_fetch(s->c, repo, s->job->o->tag, known,
				  &s->job->limits, &t, &s->digest, err);

	if (r == CM_ERR_NOT_FOUND)
		return 0;
	if (r == 0 && !t)
		r = copy_base(s, &t, err);
	if (r == 0)
		r = cm_state_new(t, &s->theirs, err);
	if (r < 0)
		return cm_error_wrap(err, "%s:%s", repo, s->job->o->tag);
	s->repo = repo;
	return 1;
}

/* Its own repository first. One that may not be read holds nothing for us. */
static int find_snapshot(struct restore *s, struct cm_error *err)
{
	const char *const *fallback = s->job->o->fallback_repos;
	int r = look_in(s, s->job->o->repo, err);

	while (r == 0 && fallback && *fallback) {
		r = look_in(s, *fallback++, err);
		if (r == CM_ERR_DENIED || r == CM_ERR_UNAUTHORIZED) {
			cm_job_warn(s->job, "%s", err->text);
			r = 0;
		}
	}
	return r < 0 ? r : 0;
}

/* ---- what to do -------------------------------------------------------- */

static int make_plan(struct restore *s, struct cm_error *err)
{
	enum cm_merge_rule rule = s->job->o->merge == CM_MERGE_REPLACE
					  ? CM_RULE_REPLACE
					  : CM_RULE_RESTORE;
	int r = cm_scan_mount(s->mount, SCAN_THREADS,
			      s->job->limits.max_entries, &s->scan, err);

	if (r == 0)
		r = cm_local_diff(s->job, s->mount, s->base, s->scan, false,
				  &s->local, err);
	if (r == 0)
		r = cm_merge(s->base ? s->base->tree : NULL,
			     s->local->ours->tree, s->theirs->tree, rule,
			     &s->rows, err);
	if (r == 0)
		r = cm_plan_make(s->rows, s->local, s->scan, s->theirs->tree,
				 s->mount->superuser, &s->plan, err);
	return r;
}

/* What is right on disk already is known from the walk. */
static void take_known_ids(struct restore *s)
{
	const struct cm_state *ours = s->local->ours;

	for (size_t i = 0; i < s->rows->len; i++) {
		const struct cm_merge_row *row = &s->rows->rows[i];

		if (row->pick == CM_PICK_THEIRS && s->plan->steps[i].disk &&
		    !s->plan->steps[i].left &&
		    s->plan->steps[i].action == CM_DO_NOTHING)
			s->theirs
				->disk[row->theirs - s->theirs->tree->entries] =
				ours->disk[row->ours - ours->tree->entries];
	}
}

static void warn_of_left(struct restore *s)
{
	char shown[CM_SHOWN_SIZE];

	for (size_t i = 0; i < s->scan->len; i++)
		if (s->scan->entries[i].unreadable)
			cm_job_warn(s->job,
				    "%s: another file system, or it may not be "
				    "read; left as it is",
				    cm_shown(s->scan->entries[i].path, shown));
}

/* ---- the memory -------------------------------------------------------- */

static int64_t latest_ctime(const struct cm_state *s)
{
	int64_t latest = 0;

	for (size_t i = 0; i < s->tree->len; i++)
		if (s->disk[i].ctime_ns > latest)
			latest = s->disk[i].ctime_ns;
	return latest;
}

static int remember(struct restore *s, struct cm_error *err)
{
	int r = cm_state_name(s->theirs, s->repo, s->job->o->tag, &s->digest,
			      err);

	if (r < 0)
		return r;
	/* So that any later change bears a later ctime. */
	cm_wait_past(latest_ctime(s->theirs));
	return cm_state_save(s->mount, s->theirs, err);
}

static bool is_remembered(const struct restore *s)
{
	return base_is_of(s, s->repo) &&
	       cm_digest_equal(&s->base->manifest, &s->digest) &&
	       s->plan->work == 0;
}

static void tell(struct restore *s)
{
	struct cm_snapshot_result *result = s->job->result;
	struct cm_tree_totals totals;

	cm_tree_totals(s->theirs->tree, &totals);
	result->hit = true;
	result->unchanged = s->plan->work == 0;
	result->manifest = s->digest;
	result->files = totals.files;
	result->bytes = totals.bytes;
	snprintf(result->repo, sizeof(result->repo), "%s", s->repo);
}

/* Forgets a plan that was overtaken by others who work in the mount. */
static void drop_plan(struct restore *s)
{
	cm_plan_free(cm_take_ptr(s->plan));
	cm_merge_rows_free(cm_take_ptr(s->rows));
	cm_local_free(cm_take_ptr(s->local));
	cm_scan_free(cm_take_ptr(s->scan));
	memset(s->theirs->disk, 0,
	       s->theirs->tree->len * sizeof(*s->theirs->disk));
}

static int plan_and_apply(struct restore *s, struct cm_error *err)
{
	int r = make_plan(s, err);

	if (r < 0)
		return r;
	take_known_ids(s);
	if (s->plan->work == 0)
		return 0;
	r = cm_plan_check_space(s->plan, s->mount, err);
	return r < 0 ? r
		     : cm_apply_plan(s->job, s->mount, s->repo, s->theirs->tree,
				     s->plan, s->theirs->disk, err);
}

/*
 * Others who work in the mount may take away what the restore is at, which is
 * no lack of a snapshot.
 */
static int taken_away(struct cm_error *err)
{
	if (err->os_errno == ENOENT)
		err->status = CM_ERR_IO;
	return err->status;
}

static int restore(struct restore *s, struct cm_error *err)
{
	int r = cm_connection_new(s->job->o->remote, &s->c, err);

	if (r == 0)
		r = load_base(s, err);
	if (r == 0)
		r = find_snapshot(s, err);
	if (r < 0 || !s->repo)
		return r;
	r = plan_and_apply(s, err);
	for (int again = 0; r == CM_ERR_EXISTS && again < PLANS_MAX; again++) {
		drop_plan(s);
		r = plan_and_apply(s, err);
	}
	if (r < 0)
		return taken_away(err);
	warn_of_left(s);
	if (!is_remembered(s))
		r = remember(s, err);
	if (r == 0)
		tell(s);
	return r;
}

/* Another cachectl in the mount is no failure: it restores what is there. */
static int lock_and_restore(struct restore *s, struct cm_error *err)
{
	int r = cm_root_open(s->job->o->path, true, &s->mount, err);

	if (r < 0)
		return r;
	r = cm_root_lock(s->mount, LOCK_WAIT_MS, err);
	if (r == CM_ERR_BUSY) {
		cm_job_warn(s->job, "%s", err->text);
		s->job->result->skipped = "another cachectl is at work in it";
		return 0;
	}
	return r < 0 ? r : restore(s, err);
}

int cm_snapshot_restore(const struct cm_snapshot_options *o,
			struct cm_snapshot_result *ret, struct cm_error *err)
{
	struct cm_error own = {0}; /* some failures inside are overcome */
	struct cm_job job;
	struct restore s = {.job = &job};
	int r;

	cm_job_init(&job, "restore", o, ret);
	r = lock_and_restore(&s, &own);
	restore_release(&s);
	cm_job_finish(&job);
	if (r < 0 && err)
		*err = own;
	return r;
}
