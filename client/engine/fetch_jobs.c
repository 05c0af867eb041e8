/* fetch_jobs.c - dealing files out. */
#include <stdlib.h>
#include <string.h>

#include "fetch_jobs.h"

#define CHUNKS_PER_PART 4

struct dealer {
	const struct cm_tree *t;
	struct cm_fetch_jobs *jobs;
};

static void see_chunk(struct dealer *d, uint32_t chunk)
{
	if (d->t->chunks[chunk].size > d->jobs->chunk_max)
		d->jobs->chunk_max = d->t->chunks[chunk].size;
}

static int add_job(struct dealer *d, const struct cm_fetch_job *job,
		   struct cm_error *err)
{
	struct cm_fetch_jobs *j = d->jobs;
	size_t cap = j->cap ? j->cap * 2 : 256;
	struct cm_fetch_job *grown;

	if (j->len == j->cap) {
		grown = reallocarray(j->jobs, cap, sizeof(*grown));
		if (!grown)
			return cm_error_nomem(err);
		j->jobs = grown;
		j->cap = cap;
	}
	j->jobs[j->len++] = *job;
	return 0;
}

/* Sorts out what must be fetched: files within a chunk, and long ones. */
static int sort_out(struct dealer *d, const struct cm_plan *plan,
		    struct cm_error *err)
{
	struct cm_fetch_jobs *j = d->jobs;

	j->packed = calloc((size_t)plan->files + 1, sizeof(*j->packed));
	j->files = calloc((size_t)plan->files + 1, sizeof(*j->files));
	if (!j->packed || !j->files)
		return cm_error_nomem(err);
	for (size_t i = 0; i < plan->rows->len; i++) {
		const struct cm_entry *e = plan->rows->rows[i].theirs;
		uint32_t index, last;

		if (plan->steps[i].action != CM_DO_WRITE ||
		    cm_entry_stored(e) == 0)
			continue;
		index = (uint32_t)(e - d->t->entries);
		last = (uint32_t)cm_entry_last_chunk(d->t, e);
		if (last == e->chunk)
			j->packed[j->packed_len++] = index;
		else
			j->files[j->files_len++] =
				(struct cm_long_file){.entry = index,
						      .last_chunk = last,
						      .temp = {.fd = -1}};
	}
	return 0;
}

static int deal_file(struct dealer *d, struct cm_long_file *f,
		     struct cm_error *err)
{
	uint32_t from = d->t->entries[f->entry].chunk, to;
	int r = 0;

	for (; r == 0 && from <= f->last_chunk; from = to) {
		to = from + CHUNKS_PER_PART;
		if (to > f->last_chunk)
			to = f->last_chunk + 1;
		for (uint32_t k = from; k < to; k++)
			see_chunk(d, k);
		f->parts_left++;
		r = add_job(d, &(struct cm_fetch_job){f, from, to}, err);
	}
	return r;
}

static int deal_packs(struct dealer *d, struct cm_error *err)
{
	const struct cm_entry *entries = d->t->entries;
	const struct cm_fetch_jobs *j = d->jobs;
	uint32_t to;
	int r = 0;

	qsort_r(d->jobs->packed, j->packed_len, sizeof(*j->packed),
		cm_entry_compare_places, d->t->entries);
	for (uint32_t from = 0; r == 0 && from < j->packed_len; from = to) {
		uint32_t chunk = entries[j->packed[from]].chunk;

		to = from + 1;
		while (to < j->packed_len &&
		       entries[j->packed[to]].chunk == chunk)
			to++;
		see_chunk(d, chunk);
		r = add_job(d, &(struct cm_fetch_job){NULL, from, to}, err);
	}
	return r;
}

int cm_fetch_jobs_make(const struct cm_tree *t, const struct cm_plan *plan,
		       struct cm_fetch_jobs *ret, struct cm_error *err)
{
	struct dealer d = {t, ret};
	int r;

	memset(ret, 0, sizeof(*ret));
	r = sort_out(&d, plan, err);
	/* The long files first, for at the end there should be small jobs. */
	for (size_t i = 0; r == 0 && i < ret->files_len; i++)
		r = deal_file(&d, &ret->files[i], err);
	if (r == 0)
		r = deal_packs(&d, err);
	return r;
}

void cm_fetch_jobs_release(struct cm_fetch_jobs *jobs)
{
	for (size_t i = 0; i < jobs->files_len; i++)
		cm_temp_drop(&jobs->files[i].temp);
	free(jobs->packed);
	free(jobs->files);
	free(jobs->jobs);
}
