/*
 * publish.c - merge, put if the tag is unmoved, and again.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "merge.h"
#include "publish.h"
#include "reuse.h"
#include "snapshot_manifest.h"

#define ROUNDS_MAX   30
#define PAUSE_MAX_MS 200

static const struct cm_digest absent;

void cm_tag_state_release(struct cm_tag_state *t)
{
	cm_tree_free(t->fetched);
	*t = (struct cm_tag_state){.exists = false};
}

/* Is this failure about the snapshot, and not about reaching it? */
static bool is_unusable(int status)
{
	return status == CM_ERR_INVALID || status == CM_ERR_SIZE ||
	       status == CM_ERR_DIGEST || status == CM_ERR_CORRUPT;
}

int cm_tag_ask(struct cm_job *j, struct cm_connection *c,
	       const struct cm_state *base, struct cm_tag_state *ret,
	       struct cm_error *err)
{
	struct cm_tag_state t = {.exists = true};
	int r = cm_snapshot_fetch(c, j->o->repo, j->o->tag,
				  base ? &base->manifest : NULL, &j->limits,
				  &t.fetched, &t.digest, err);
	bool answered = !cm_digest_equal(&t.digest, &absent);

	if (r == CM_ERR_NOT_FOUND) {
		t.exists = false;
		r = 0;
	} else if (answered && is_unusable(r)) {
		cm_job_warn(j, "%s:%s is unusable and will be replaced: %s",
			    j->o->repo, j->o->tag, err->text);
		r = 0;
	} else if (r == 0) {
		t.tree = t.fetched ? t.fetched : base->tree;
	}
	if (r == 0 && t.fetched)
		r = cm_reuse_theirs(j, c, t.fetched, err);
	if (r < 0) {
		cm_tag_state_release(&t);
		return r;
	}
	cm_tag_state_release(ret);
	*ret = t;
	return 0;
}

struct publish {
	struct cm_job *job;
	struct cm_connection *c;
	const struct cm_state *base, *ours;
	struct cm_tag_state *tag;
};

static bool is_empty(const struct cm_tree *t)
{
	struct cm_tree_totals totals;

	cm_tree_totals(t, &totals);
	return totals.files + totals.others == 0;
}

/* Over an empty snapshot an empty one may go; over nothing there is no use. */
static bool refuse_empty(const struct publish *p, const struct cm_tree *merged)
{
	return !p->job->o->allow_empty && is_empty(merged) &&
	       !(p->tag->tree && is_empty(p->tag->tree));
}

/* Our tree and the tag's, merged. `*ret_theirs`: nothing but the tag's own. */
static int merge(const struct publish *p, struct cm_state **ret,
		 bool *ret_theirs, struct cm_error *err)
{
	cm_auto(merge_rows) struct cm_merge_rows *rows = NULL;
	bool replace = p->job->o->merge == CM_MERGE_REPLACE;
	const struct cm_tree *theirs = replace ? NULL : p->tag->tree;
	/* Without a tree of theirs there is nothing that they deleted. */
	const struct cm_tree *base = p->base && theirs ? p->base->tree : NULL;
	int r = cm_merge(base, p->ours->tree, theirs, CM_RULE_SAVE, &rows, err);

	if (r < 0)
		return r;
	*ret_theirs = theirs && cm_merge_is_theirs(rows);
	return cm_compose(rows, p->ours, theirs, ret, err);
}

static int put_tree(const struct publish *p, const struct cm_tree *t,
		    struct cm_snapshot_manifest *ret, struct cm_error *err)
{
	cm_autofree char *text = NULL;
	size_t len;
	int r = cm_tree_format(t, &text, &len, err);

	if (r == 0)
		r = cm_digest_of(text, len, &ret->tree, err);
	if (r < 0)
		return r;
	ret->tree_size = (int64_t)len;
	ret->chunks = t->chunks;
	ret->chunks_len = t->chunks_len;
	r = cm_remote_blob_put(p->c, p->job->o->repo, &ret->tree, text, len,
			       err);
	return r < 0 ? cm_error_wrap(err, "uploading the tree") : 0;
}

/* Puts the snapshot if the tag is still what we know. */
static int put(const struct publish *p, const struct cm_tree *t,
	       struct cm_digest *ret, struct cm_error *err)
{
	const struct cm_digest *expect = p->job->o->merge == CM_MERGE_REPLACE
						 ? NULL
					 : p->tag->exists ? &p->tag->digest
							  : &absent;
	struct cm_snapshot_manifest m = {.chunks = NULL};
	cm_autofree char *json = NULL;
	size_t len;
	int r = put_tree(p, t, &m, err);

	if (r == 0)
		r = cm_snapshot_manifest_format(&m, &json, &len, err);
	if (r < 0)
		return r;
	return cm_remote_manifest_put(p->c, p->job->o->repo, p->job->o->tag,
				      CM_MEDIA_OCI_MANIFEST, json, len, expect,
				      ret, err);
}

/*
 * Waits a little, longer from round to round, and not as long as the others
 * do, so that the same one does not lose every time.
 */
static void pause_round(int round)
{
	struct timespec pause = {0, 0}, now;
	long most = 5L << (round < 6 ? round : 6);

	if (most > PAUSE_MAX_MS)
		most = PAUSE_MAX_MS;
	clock_gettime(CLOCK_MONOTONIC, &now);
	pause.tv_nsec = (now.tv_nsec / 100 % most) * 1000000 + 100000;
	nanosleep(&pause, NULL);
}

/* One attempt; CM_ERR_PRECONDITION if the tag was moved meanwhile. */
static int attempt(const struct publish *p, struct cm_state **ret,
		   struct cm_error *err)
{
	cm_auto(state) struct cm_state *merged = NULL;
	struct cm_snapshot_result *result = p->job->result;
	struct cm_digest digest = p->tag->digest;
	bool theirs = false;
	int r = merge(p, &merged, &theirs, err);

	if (r < 0)
		return r;
	if (refuse_empty(p, merged->tree)) {
		result->skipped = "the directory holds no files";
		return 0;
	}
	if (!theirs) {
		r = put(p, merged->tree, &digest, err);
		if (r < 0)
			return r;
	}
	result->published = !theirs;
	r = cm_state_name(merged, p->job->o->repo, p->job->o->tag, &digest,
			  err);
	if (r == 0)
		*ret = cm_take_ptr(merged);
	return r;
}

int cm_publish(struct cm_job *j, struct cm_connection *c,
	       const struct cm_state *base, const struct cm_state *ours,
	       struct cm_tag_state *tag, struct cm_state **ret,
	       struct cm_error *err)
{
	struct publish p = {j, c, base, ours, tag};
	int r;

	*ret = NULL;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		r = attempt(&p, ret, err);
		if (r != CM_ERR_PRECONDITION)
			return r;
		j->result->merges++;
		pause_round(round);
		r = cm_tag_ask(j, c, base, tag, err);
		if (r < 0)
			return r;
	}
	return cm_error_set(err, CM_ERR_BUSY,
			    "%s:%s was moved by others %d times in a row",
			    j->o->repo, j->o->tag, ROUNDS_MAX);
}
