/* chunk_map.c - taking chunks over from tree to tree, in runs. */
#include <stdlib.h>
#include <string.h>

#include "chunk_map.h"

#define USED   1
#define JOINED 2 /* with the next one, by a file that runs on */

/* A chunk of zeros may be there thousands of times; so many are looked at. */
#define CANDIDATES_MAX 16

void cm_chunk_list_release(struct cm_chunk_list *l)
{
	free(l->chunks);
	free(l->same);
	free(l->buckets);
	memset(l, 0, sizeof(*l));
}

int cm_chunk_map_init(struct cm_chunk_map *m, const struct cm_tree *t,
		      struct cm_error *err)
{
	size_t n = t ? t->chunks_len : 0;

	m->tree = t;
	m->use = calloc(n + 1, sizeof(*m->use));
	m->to = calloc(n + 1, sizeof(*m->to));
	return m->use && m->to ? 0 : cm_error_nomem(err);
}

void cm_chunk_map_release(struct cm_chunk_map *m)
{
	free(m->use);
	free(m->to);
}

void cm_chunk_map_use(struct cm_chunk_map *m, const struct cm_entry *e)
{
	size_t last;

	if (cm_entry_stored(e) == 0)
		return;
	last = cm_entry_last_chunk(m->tree, e);
	m->use[last] |= USED;
	for (size_t i = e->chunk; i < last; i++)
		m->use[i] |= USED | JOINED;
}

static uint32_t *bucket_of(struct cm_chunk_list *l, const struct cm_digest *d)
{
	uint64_t h;

	memcpy(&h, d->sha256, sizeof(h));
	return &l->buckets[h & (l->buckets_len - 1)];
}

static void enter(struct cm_chunk_list *l, size_t i)
{
	uint32_t *bucket = bucket_of(l, &l->chunks[i].digest);

	l->same[i] = *bucket;
	*bucket = (uint32_t)i + 1;
}

/* Room for `n` more chunks, and buckets for all of them. */
static int reserve(struct cm_chunk_list *l, size_t n, struct cm_error *err)
{
	size_t cap = l->cap ? l->cap : 256;
	struct cm_chunk *chunks;
	uint32_t *same, *buckets;

	if (l->cap - l->len >= n)
		return 0;
	while (cap - l->len < n)
		cap *= 2;
	if (cap >= UINT32_MAX)
		return cm_error_set(err, CM_ERR_SIZE, "too many chunks");
	chunks = reallocarray(l->chunks, cap, sizeof(*chunks));
	if (chunks)
		l->chunks = chunks;
	same = reallocarray(l->same, cap, sizeof(*same));
	if (same)
		l->same = same;
	buckets = reallocarray(l->buckets, cap, sizeof(*buckets));
	if (buckets)
		l->buckets = buckets;
	if (!chunks || !same || !buckets)
		return cm_error_nomem(err);
	l->cap = l->buckets_len = cap;
	memset(buckets, 0, cap * sizeof(*buckets));
	for (size_t i = 0; i < l->len; i++)
		enter(l, i);
	return 0;
}

static bool run_stands_at(const struct cm_chunk_list *l, size_t at,
			  const struct cm_chunk *run, size_t n)
{
	if (n > l->len - at)
		return false;
	for (size_t i = 0; i < n; i++)
		if (l->chunks[at + i].size != run[i].size ||
		    !cm_digest_equal(&l->chunks[at + i].digest, &run[i].digest))
			return false;
	return true;
}

/* Where the list has this run already; SIZE_MAX if it has not. */
static size_t find_run(struct cm_chunk_list *l, const struct cm_chunk *run,
		       size_t n)
{
	uint32_t at = l->len ? *bucket_of(l, &run[0].digest) : 0;

	for (int i = 0; at && i < CANDIDATES_MAX; i++, at = l->same[at - 1])
		if (run_stands_at(l, at - 1, run, n))
			return at - 1;
	return SIZE_MAX;
}

static int append_run(struct cm_chunk_list *l, const struct cm_chunk *run,
		      size_t n, size_t *ret_at, struct cm_error *err)
{
	int r = reserve(l, n, err);

	if (r < 0)
		return r;
	*ret_at = l->len;
	memcpy(l->chunks + l->len, run, n * sizeof(*run));
	for (size_t i = 0; i < n; i++)
		enter(l, l->len++);
	return 0;
}

int cm_chunk_list_add(struct cm_chunk_list *l, const struct cm_chunk *chunk,
		      bool *ret_new, struct cm_error *err)
{
	size_t at;

	*ret_new = find_run(l, chunk, 1) == SIZE_MAX;
	return *ret_new ? append_run(l, chunk, 1, &at, err) : 0;
}

int cm_chunk_map_append(struct cm_chunk_map *m, struct cm_chunk_list *l,
			struct cm_error *err)
{
	size_t len = m->tree ? m->tree->chunks_len : 0, n, at;
	int r;

	for (size_t i = 0; i < len; i += n) {
		n = 1;
		if (!(m->use[i] & USED))
			continue;
		while (m->use[i + n - 1] & JOINED)
			n++;
		at = find_run(l, &m->tree->chunks[i], n);
		if (at == SIZE_MAX) {
			r = append_run(l, &m->tree->chunks[i], n, &at, err);
			if (r < 0)
				return r;
		}
		for (size_t k = 0; k < n; k++)
			m->to[i + k] = (uint32_t)(at + k);
	}
	return 0;
}
