/*
 * touched.c - telling a touched file from a changed one, by the digest of the
 * chunk that it shares with others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunker.h"
#include "reuse.h"
#include "root.h"
#include "source.h"

struct touched {
	const struct cm_state *base;
	struct cm_local *l;
	struct cm_dir_cache dirs;
	uint32_t *ours_of; /* of each entry of the base; CM_NO_INDEX: gone */
	uint8_t *suspect;  /* chunks of the base with a touched file */
	uint32_t *files;   /* of the base, by chunk and offset */
	size_t files_len;
	uint8_t *buffer;
};

/* A small, plain file of the base: all of it in one chunk of several. */
static bool shares_chunk(const struct cm_entry *e)
{
	return e->type == CM_ENTRY_FILE && e->size > 0 &&
	       e->size < CM_LARGE_FILE && !(e->extra && e->extra->sparse) &&
	       !(e->flags &
		 (CM_ENTRY_GHOST | CM_ENTRY_ABSENT | CM_ENTRY_STALE));
}

/* Might ours have the base's content, though something about it changed? */
static bool is_candidate(const struct touched *x, size_t ours)
{
	const struct cm_entry *e = &x->l->ours->tree->entries[ours];
	uint32_t base = x->l->base_of[ours];

	return (e->flags & CM_ENTRY_CHANGED) && (e->flags & CM_ENTRY_UNREAD) &&
	       base != CM_NO_INDEX && e->type == CM_ENTRY_FILE &&
	       e->size == x->base->tree->entries[base].size &&
	       shares_chunk(&x->base->tree->entries[base]);
}

static size_t find_candidates(struct touched *x)
{
	const struct cm_tree *t = x->l->ours->tree;
	size_t n = 0;

	for (size_t i = 0; i < x->base->tree->len; i++)
		x->ours_of[i] = CM_NO_INDEX;
	for (uint32_t i = 0; i < t->len; i++) {
		uint32_t base = x->l->base_of[i];

		if (base == CM_NO_INDEX)
			continue;
		x->ours_of[base] = i;
		if (!is_candidate(x, i))
			continue;
		x->suspect[x->base->tree->entries[base].chunk] = 1;
		n++;
	}
	return n;
}

/* The files in suspect chunks, in the order in which they lie there. */
static void list_files(struct touched *x)
{
	const struct cm_tree *bt = x->base->tree;

	for (uint32_t i = 0; i < bt->len; i++) {
		const struct cm_entry *e = &bt->entries[i];

		if (shares_chunk(e) && x->suspect[e->chunk])
			x->files[x->files_len++] = i;
	}
	qsort_r(x->files, x->files_len, sizeof(*x->files),
		cm_entry_compare_places, bt->entries);
}

/* Reads one file to its place in the chunk; false if it isn't as it was. */
static bool read_to_place(struct touched *x, uint32_t base)
{
	const struct cm_entry *b = &x->base->tree->entries[base];
	struct cm_tree *t = x->l->ours->tree;
	uint32_t ours = x->ours_of[base];
	struct cm_source s = {.fd = -1};
	struct cm_disk_id id;
	bool ok;

	ok = cm_source_open(&x->dirs, b->path, b->path_len, false, &s) == 0 &&
	     s.st.st_size == b->size &&
	     cm_source_read(&s, x->buffer + b->offset, (size_t)b->size) ==
		     b->size &&
	     cm_source_unchanged(&s);
	if (ok) {
		cm_disk_id_of(&s.st, &id);
		ok = cm_disk_id_equal(&id, &x->l->ours->disk[ours]);
	}
	/* Its xattrs may be what changed. */
	if (ok && is_candidate(x, ours))
		ok = cm_source_describe(&s, &t->arena, &t->entries[ours],
					NULL) == 0;
	cm_source_close(&s);
	return ok;
}

/* Puts the chunk together from files[from, to); false if it can't be. */
static bool rebuild(struct touched *x, size_t from, size_t to, size_t size)
{
	const struct cm_entry *entries = x->base->tree->entries;
	size_t filled = 0;

	for (size_t i = from; i < to; i++) {
		const struct cm_entry *b = &entries[x->files[i]];

		/* Another name of the file before: its bytes are there. */
		if (i > from && b->offset == entries[x->files[i - 1]].offset &&
		    b->size == entries[x->files[i - 1]].size)
			continue;
		if (x->ours_of[x->files[i]] == CM_NO_INDEX ||
		    b->offset != filled || (size_t)b->size > size - filled ||
		    !read_to_place(x, x->files[i]))
			return false;
		filled += (size_t)b->size;
	}
	return filled == size;
}

/* The digest came out: the touched files are where they were. */
static void accept(struct touched *x, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		uint32_t ours = x->ours_of[x->files[i]];
		const struct cm_entry *b = &x->base->tree->entries[x->files[i]];
		struct cm_entry *e;

		if (ours == CM_NO_INDEX || !is_candidate(x, ours))
			continue;
		e = &x->l->ours->tree->entries[ours];
		e->chunk = b->chunk;
		e->offset = b->offset;
		e->flags &= (uint8_t)~CM_ENTRY_UNREAD;
	}
}

static int check_chunk(struct touched *x, size_t from, size_t to,
		       struct cm_error *err)
{
	const struct cm_chunk *chunk =
		&x->base->tree
			 ->chunks[x->base->tree->entries[x->files[from]].chunk];
	struct cm_digest digest;
	int r;

	if (!rebuild(x, from, to, chunk->size))
		return 0;
	r = cm_digest_of(x->buffer, chunk->size, &digest, err);
	if (r == 0 && cm_digest_equal(&digest, &chunk->digest))
		accept(x, from, to);
	return r;
}

static int check_chunks(struct touched *x, struct cm_error *err)
{
	const struct cm_entry *entries = x->base->tree->entries;
	size_t to;
	int r = 0;

	for (size_t from = 0; r == 0 && from < x->files_len; from = to) {
		to = from + 1;
		while (to < x->files_len &&
		       entries[x->files[to]].chunk ==
			       entries[x->files[from]].chunk)
			to++;
		r = check_chunk(x, from, to, err);
	}
	return r;
}

static int prepare(struct touched *x, struct cm_error *err)
{
	size_t largest = 1;

	for (size_t k = 0; k < x->base->tree->chunks_len; k++)
		if (x->base->tree->chunks[k].size > largest)
			largest = x->base->tree->chunks[k].size;
	x->ours_of = calloc(x->base->tree->len + 1, sizeof(*x->ours_of));
	x->files = calloc(x->base->tree->len + 1, sizeof(*x->files));
	x->suspect = calloc(x->base->tree->chunks_len + 1, 1);
	x->buffer = malloc(largest);
	return x->ours_of && x->files && x->suspect && x->buffer
		       ? 0
		       : cm_error_nomem(err);
}

int cm_reuse_touched(const struct cm_root *m, const struct cm_state *base,
		     struct cm_local *l, struct cm_error *err)
{
	struct touched x = {.base = base, .l = l};
	int r = prepare(&x, err);

	cm_dir_cache_init(&x.dirs, m);
	if (r == 0 && find_candidates(&x) > 0) {
		list_files(&x);
		r = check_chunks(&x, err);
	}
	cm_dir_cache_release(&x.dirs);
	free(x.ours_of);
	free(x.files);
	free(x.suspect);
	free(x.buffer);
	return r;
}
