/* reuse.c - chunks of the base: gone, half dead, too small, or fine. */
#include <stdlib.h>
#include <string.h>

#include "chunker.h"
#include "reuse.h"

/* So many small chunks may lie about before they are put together. */
#define SMALL_CHUNKS_MAX 64

/* What the unchanged entries make of one chunk of the base. */
struct use {
	int64_t live;  /* bytes */
	bool pinned;   /* by an entry that can't be read from this disk */
	bool in_large; /* by a file that runs through several chunks */
	bool rewrite;
	bool gone;
};

static bool can_read(const struct cm_local *l, size_t i)
{
	const struct cm_entry *e = &l->ours->tree->entries[i];

	return l->scan_of[i] != CM_NO_INDEX && l->ours->disk[i].ino &&
	       !(e->flags & (CM_ENTRY_STALE | CM_ENTRY_ABSENT));
}

/* Does the entry lie in chunks of the base? */
static bool is_reused(const struct cm_entry *e)
{
	return !(e->flags & (CM_ENTRY_UNREAD | CM_ENTRY_GHOST)) &&
	       cm_entry_stored(e) > 0;
}

/* Adds up what lies in each chunk. Hard links lie there once. */
static void count_use(const struct cm_local *l, struct use *uses,
		      uint8_t *groups)
{
	const struct cm_tree *t = l->ours->tree;

	for (size_t i = 0; i < t->len; i++) {
		const struct cm_entry *e = &t->entries[i];
		size_t last;

		if (!is_reused(e))
			continue;
		last = cm_entry_last_chunk(t, e);
		for (size_t k = e->chunk; k <= last; k++) {
			uses[k].pinned |= !can_read(l, i);
			uses[k].in_large |= last > e->chunk;
		}
		if (last > e->chunk) {
			for (size_t k = e->chunk; k <= last; k++)
				uses[k].live = t->chunks[k].size;
		} else if (!groups[e->hlink]) {
			uses[last].live += cm_entry_stored(e);
		}
		groups[e->hlink] = e->hlink != 0;
	}
}

static bool is_small(const struct cm_tree *t, const struct use *uses, size_t k)
{
	struct cm_chunk_sizes sizes;

	cm_chunk_sizes_for(0, &sizes);
	return uses[k].live > 0 && !uses[k].in_large && !uses[k].pinned &&
	       t->chunks[k].size < sizes.min;
}

static void choose_rewrites(const struct cm_tree *t, struct use *uses)
{
	size_t small = 0;

	for (size_t k = 0; k < t->chunks_len; k++)
		small += is_small(t, uses, k);
	for (size_t k = 0; k < t->chunks_len; k++)
		uses[k].rewrite =
			(!uses[k].pinned && !uses[k].in_large &&
			 uses[k].live * 2 < t->chunks[k].size) ||
			(small > SMALL_CHUNKS_MAX && is_small(t, uses, k));
}

/* Asks for the chunks in use; sets `gone`. */
static int ask(struct cm_job *j, struct cm_connection *c,
	       const struct cm_tree *t, struct use *uses, struct cm_error *err)
{
	cm_autofree struct cm_digest *digests =
		calloc(t->chunks_len + 1, sizeof(*digests));
	cm_autofree bool *missing = calloc(t->chunks_len + 1, sizeof(*missing));
	size_t n = 0;
	int r;

	if (!digests || !missing)
		return cm_error_nomem(err);
	for (size_t k = 0; k < t->chunks_len; k++)
		if (uses[k].live > 0 && !uses[k].rewrite)
			digests[n++] = t->chunks[k].digest;
	if (n == 0)
		return 0;
	r = cm_remote_missing(c, j->o->repo, digests, n, true, missing, err);
	if (r < 0)
		return r;
	n = 0;
	for (size_t k = 0; k < t->chunks_len; k++)
		if (uses[k].live > 0 && !uses[k].rewrite)
			uses[k].gone = missing[n++];
	return 0;
}

/* Must the entry leave its chunks? `*ret_gone`: because one is gone. */
static bool must_move(const struct cm_tree *t, const struct use *uses,
		      const struct cm_entry *e, bool *ret_gone)
{
	size_t last = cm_entry_last_chunk(t, e);
	bool rewrite = false;

	*ret_gone = false;
	for (size_t k = e->chunk; k <= last; k++) {
		rewrite |= uses[k].rewrite;
		*ret_gone |= uses[k].gone;
	}
	return rewrite || *ret_gone;
}

static void warn_lost(struct cm_job *j, const struct cm_entry *e)
{
	char shown[CM_SHOWN_SIZE];

	j->result->left_out++;
	cm_job_warn(j, "%s: the registry has lost its content; left out",
		    cm_shown(e->path, shown));
}

static void move_entries(struct cm_job *j, struct cm_local *l,
			 const struct use *uses)
{
	struct cm_tree *t = l->ours->tree;
	size_t kept = 0;
	bool gone;

	for (size_t i = 0; i < t->len; i++) {
		struct cm_entry *e = &t->entries[i];

		if (is_reused(e) && must_move(t, uses, e, &gone)) {
			if (!can_read(l, i)) {
				warn_lost(j, e);
				continue;
			}
			e->flags |= CM_ENTRY_UNREAD | CM_ENTRY_MOVED;
			/* The old version can't stand in for it, nor be
			 * taken for it. */
			if (gone) {
				e->flags |= CM_ENTRY_CHANGED;
				l->base_of[i] = CM_NO_INDEX;
			}
		}
		t->entries[kept] = *e;
		l->ours->disk[kept] = l->ours->disk[i];
		l->base_of[kept] = l->base_of[i];
		l->scan_of[kept++] = l->scan_of[i];
	}
	t->len = kept;
}

int cm_reuse_theirs(struct cm_job *j, struct cm_connection *c,
		    struct cm_tree *t, struct cm_error *err)
{
	cm_autofree struct use *uses = calloc(t->chunks_len + 1, sizeof(*uses));
	size_t kept = 0;
	bool gone;
	int r;

	if (!uses)
		return cm_error_nomem(err);
	for (size_t k = 0; k < t->chunks_len; k++)
		uses[k].live = t->chunks[k].size;
	r = ask(j, c, t, uses, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->len; i++) {
		const struct cm_entry *e = &t->entries[i];

		if (is_reused(e) && must_move(t, uses, e, &gone))
			warn_lost(j, e);
		else
			t->entries[kept++] = *e;
	}
	t->len = kept;
	return 0;
}

int cm_reuse_chunks(struct cm_job *j, struct cm_connection *c,
		    struct cm_local *l, struct cm_error *err)
{
	const struct cm_tree *t = l->ours->tree;
	cm_autofree struct use *uses = calloc(t->chunks_len + 1, sizeof(*uses));
	cm_autofree uint8_t *groups = NULL;
	int r;

	groups = calloc((size_t)cm_tree_last_group(t) + 1, 1);
	if (!uses || !groups)
		return cm_error_nomem(err);
	count_use(l, uses, groups);
	choose_rewrites(t, uses);
	r = ask(j, c, t, uses, err);
	if (r == 0)
		move_entries(j, l, uses);
	return r;
}
