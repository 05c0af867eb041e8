/*
 * save.c - a directory to a snapshot.
 *
 * In order: what is on disk, what of it is new, what the tag names now, which
 * chunks can be reused, read and upload the rest, publish, remember. An
 * unchanged directory costs the walk and one request.
 */
#include <stdio.h>
#include <string.h>

#include "job.h"
#include "local.h"
#include "pack.h"
#include "publish.h"
#include "reuse.h"
#include "root.h"
#include "scan.h"
#include "state.h"

#define LOCK_WAIT_MS 5000
#define SCAN_THREADS 2

struct save {
	struct cm_job *job;
	struct cm_root *mount;
	struct cm_state *base; /* NULL: nothing is known of the mount */
	bool base_is_tag;      /* and it is a snapshot of the very tag */
	struct cm_scan *scan;
	struct cm_local *local;
	struct cm_connection *c;
	struct cm_tag_state tag;
	struct cm_state *state; /* the new one */
};

static void save_release(struct save *s)
{
	cm_state_free(s->state);
	cm_local_free(s->local);
	cm_tag_state_release(&s->tag);
	cm_scan_free(s->scan);
	cm_state_free(s->base);
	cm_connection_free(s->c);
	cm_root_close(s->mount);
}

/* A state that can't be used is as good as none. */
static int load_base(struct save *s, struct cm_error *err)
{
	int r = cm_state_load(s->mount, &s->base, err);

	if (r == CM_ERR_NO_MEMORY)
		return r;
	if (r < 0 && r != CM_ERR_NOT_FOUND)
		cm_job_warn(s->job, "%s", err->text);
	s->base_is_tag = s->base &&
			 strcmp(s->base->repo, s->job->o->repo) == 0 &&
			 strcmp(s->base->tag, s->job->o->tag) == 0;
	return 0;
}

static int look_at_disk(struct save *s, struct cm_error *err)
{
	int r = cm_scan_mount(s->mount, SCAN_THREADS,
			      s->job->limits.max_entries, &s->scan, err);

	if (r == 0)
		r = cm_local_diff(s->job, s->mount, s->base, s->scan, true,
				  &s->local, err);
	return r;
}

static int check_size(const struct save *s, struct cm_error *err)
{
	struct cm_tree_totals totals;

	cm_tree_totals(s->local->ours->tree, &totals);
	s->job->result->files = totals.files;
	s->job->result->bytes = totals.bytes;
	if (totals.bytes > s->job->limits.max_bytes)
		return cm_error_set(err, CM_ERR_SIZE,
				    "the mount holds %lld bytes; at most %lld "
				    "are allowed",
				    (long long)totals.bytes,
				    (long long)s->job->limits.max_bytes);
	return 0;
}

static bool is_unchanged(const struct save *s)
{
	return s->base && s->local->changed == 0 && s->local->deleted == 0;
}

/* Is the base a snapshot that a restore would fall back to? */
static bool base_is_fallback(const struct save *s)
{
	const char *const *repo = s->job->o->fallback_repos;

	for (; repo && *repo; repo++)
		if (strcmp(*repo, s->base->repo) == 0)
			return strcmp(s->base->tag, s->job->o->tag) == 0;
	return false;
}

/*
 * Is there nothing to publish? An unchanged copy of what is fallen back to
 * needs no snapshot of its own; one that the tag has moved on from adds
 * nothing. But a tag that is gone is put back.
 */
static int check_unchanged(struct save *s, struct cm_error *err)
{
	struct cm_remote_manifest m = {.bytes = NULL};
	int r;

	if (!is_unchanged(s) || !(s->base_is_tag || base_is_fallback(s)))
		return 0;
	s->job->result->unchanged = true;
	s->job->result->manifest = s->base->manifest;
	if (!s->base_is_tag)
		return 0;
	r = cm_remote_manifest_get(s->c, s->job->o->repo, s->job->o->tag,
				   &s->base->manifest, &m, err);
	cm_remote_manifest_release(&m);
	if (r != CM_ERR_NOT_FOUND)
		return r;
	s->job->result->unchanged = false;
	return 0;
}

static int upload(struct save *s, struct cm_error *err)
{
	int r = 0;

	/* From here on nothing can change and keep the ctime that was seen. */
	cm_wait_past(s->local->latest_ctime_ns);
	if (s->base)
		r = cm_reuse_touched(s->mount, s->base, s->local, err);
	if (r == 0)
		r = cm_reuse_chunks(s->job, s->c, s->local, err);
	if (r == 0)
		r = cm_pack(s->job, s->mount, s->base, s->scan, s->local, err);
	return r;
}

static int publish(struct save *s, struct cm_error *err)
{
	struct cm_snapshot_result *result = s->job->result;
	struct cm_tree_totals totals;
	int r = cm_publish(s->job, s->c, s->base_is_tag ? s->base : NULL,
			   s->local->ours, &s->tag, &s->state, err);

	if (r < 0 || !s->state)
		return r;
	cm_tree_totals(s->state->tree, &totals);
	result->files = totals.files;
	result->bytes = totals.bytes;
	result->manifest = s->state->manifest;
	return 0;
}

/* What was published is safe; not to remember it only costs time later. */
static void remember(struct save *s)
{
	struct cm_error err = {0};

	if (s->state && cm_state_save(s->mount, s->state, &err) < 0)
		cm_job_warn(s->job, "%s", err.text);
}

static int save(struct save *s, struct cm_error *err)
{
	int r = cm_connection_new(s->job->o->remote, &s->c, err);

	if (r == 0)
		r = load_base(s, err);
	if (r == 0)
		r = look_at_disk(s, err);
	if (r == 0)
		r = check_size(s, err);
	if (r == 0)
		r = check_unchanged(s, err);
	if (r < 0 || s->job->result->unchanged)
		return r;
	r = cm_tag_ask(s->job, s->c, s->base_is_tag ? s->base : NULL, &s->tag,
		       err);
	if (r == 0)
		r = upload(s, err);
	if (r == 0)
		r = publish(s, err);
	if (r == 0)
		remember(s);
	return r;
}

/* Another cachectl in the mount is no failure: it saves what is there. */
static int lock_and_save(struct save *s, struct cm_error *err)
{
	int r = cm_root_open(s->job->o->path, false, &s->mount, err);

	if (r < 0)
		return r;
	r = cm_root_lock(s->mount, LOCK_WAIT_MS, err);
	if (r == CM_ERR_BUSY) {
		cm_job_warn(s->job, "%s", err->text);
		s->job->result->skipped = "another cachectl is at work in it";
		return 0;
	}
	return r < 0 ? r : save(s, err);
}

int cm_snapshot_save(const struct cm_snapshot_options *o,
		     struct cm_snapshot_result *ret, struct cm_error *err)
{
	struct cm_error own = {0}; /* some failures inside are overcome */
	struct cm_job job;
	struct save s = {.job = &job};
	int r;

	cm_job_init(&job, "save", o, ret);
	snprintf(ret->repo, sizeof(ret->repo), "%s", o->repo);
	r = lock_and_save(&s, &own);
	save_release(&s);
	cm_job_finish(&job);
	if (r < 0 && err)
		*err = own;
	return r;
}
