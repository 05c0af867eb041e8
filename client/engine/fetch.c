/*
 * fetch.c - fetch a chunk, verify it, write the files that lie in it.
 *
 * Each worker has its connection, its buffer and its writer. While the others
 * begin, the calling thread makes the fresh directories, in tree order; a file
 * waits for its own to be there. Then that thread is a worker too.
 *
 * Locks: `lock` covers which job is next, the error, how far the directories
 * are, and the fields of a long file that change; the job's own lock covers the
 * result. `progress` tells of all that somebody may wait for.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "fetch.h"
#include "fetch_jobs.h"
#include "writer.h"

struct fetch {
	struct cm_job *job;
	const struct cm_root *mount;
	struct cm_stage *stage;
	int tmp;
	const char *repo;
	const struct cm_tree *t;
	const struct cm_plan *plan;
	struct cm_disk_id *ids;
	struct cm_fetch_jobs jobs;
	pthread_mutex_t lock;
	pthread_cond_t progress; /* of directories, long files; or failure */
	uint32_t dirs_up_to;	 /* entries before this have their directory */
	size_t next;
	unsigned started;
	int status;
	struct cm_error err;
};

struct worker {
	struct fetch *f;
	struct cm_connection *c;
	uint8_t *buffer;
	struct cm_writer writer;
};

static void fail(struct fetch *f, int status, const struct cm_error *err)
{
	pthread_mutex_lock(&f->lock);
	if (f->status == 0) {
		f->status = status;
		f->err = *err;
	}
	pthread_cond_broadcast(&f->progress);
	pthread_mutex_unlock(&f->lock);
}

static struct cm_fetch_job *take_job(struct fetch *f)
{
	struct cm_fetch_job *job = NULL;

	pthread_mutex_lock(&f->lock);
	if (f->status == 0 && f->next < f->jobs.len)
		job = &f->jobs.jobs[f->next++];
	pthread_mutex_unlock(&f->lock);
	return job;
}

/* The chunk's bytes, verified, in the worker's buffer. */
static int fetch_chunk(struct worker *w, uint32_t number, struct cm_error *err)
{
	const struct cm_chunk *chunk = &w->f->t->chunks[number];
	struct cm_snapshot_result *result = w->f->job->result;
	int r = cm_remote_blob_get(w->c, w->f->repo, &chunk->digest, w->buffer,
				   chunk->size, err);

	if (r < 0)
		return cm_error_wrap(err, "fetching chunk %u", number);
	pthread_mutex_lock(&w->f->job->lock);
	result->chunks_moved++;
	result->bytes_moved += chunk->size;
	pthread_mutex_unlock(&w->f->job->lock);
	return 0;
}

/* Waits until the entry's directory is there; false if it won't be. */
static bool wait_for_dir(struct fetch *f, uint32_t index)
{
	bool there;

	pthread_mutex_lock(&f->lock);
	while (f->dirs_up_to <= index && f->status == 0)
		pthread_cond_wait(&f->progress, &f->lock);
	there = f->dirs_up_to > index;
	pthread_mutex_unlock(&f->lock);
	return there;
}

static int create(struct worker *w, struct cm_temp *ret, uint32_t index,
		  struct cm_error *err)
{
	if (w->f->plan->staged[index] && !wait_for_dir(w->f, index))
		return cm_error_set(err, CM_ERR_CANCELLED, "given up");
	return cm_writer_create(&w->writer, &w->f->t->entries[index], ret, err);
}

static int commit(struct worker *w, struct cm_temp *temp, uint32_t index,
		  struct cm_error *err)
{
	return cm_writer_commit(&w->writer, temp, &w->f->t->entries[index],
				&w->f->ids[index], err);
}

static void count(struct worker *w, int64_t files, int64_t bytes)
{
	pthread_mutex_lock(&w->f->job->lock);
	w->f->job->result->files_written += files;
	w->f->job->result->bytes_written += bytes;
	pthread_mutex_unlock(&w->f->job->lock);
	cm_job_progress(w->f->job, files, bytes);
}

static int write_packed(struct worker *w, uint32_t index, struct cm_error *err)
{
	const struct cm_entry *e = &w->f->t->entries[index];
	struct cm_temp temp;
	int r = create(w, &temp, index, err);

	if (r < 0)
		return r;
	r = cm_temp_write(&temp, e, 0, w->buffer + e->offset,
			  (size_t)cm_entry_stored(e), err);
	if (r < 0) {
		cm_temp_drop(&temp);
		return r;
	}
	return commit(w, &temp, index, err);
}

static int do_pack(struct worker *w, const struct cm_fetch_job *job,
		   struct cm_error *err)
{
	const uint32_t *packed = w->f->jobs.packed;
	const struct cm_entry *entries = w->f->t->entries;
	int64_t bytes = 0;
	int r = fetch_chunk(w, entries[packed[job->from]].chunk, err);

	for (uint32_t i = job->from; r == 0 && i < job->to; i++) {
		r = write_packed(w, packed[i], err);
		bytes += cm_entry_stored(&entries[packed[i]]);
	}
	if (r == 0)
		count(w, job->to - job->from, bytes);
	return r;
}

/* The first to come makes the file; the others wait for it. */
static int open_long(struct worker *w, struct cm_long_file *file,
		     struct cm_error *err)
{
	struct fetch *f = w->f;
	struct cm_temp temp;
	bool first;
	int r = 0;

	pthread_mutex_lock(&f->lock);
	first = !file->claimed;
	file->claimed = true;
	while (!first && file->temp.fd < 0 && f->status == 0)
		pthread_cond_wait(&f->progress, &f->lock);
	pthread_mutex_unlock(&f->lock);
	if (first)
		r = create(w, &temp, file->entry, err);
	pthread_mutex_lock(&f->lock);
	if (first && r == 0)
		file->temp = temp;
	if (file->temp.fd < 0 && r == 0)
		r = cm_error_set(err, CM_ERR_CANCELLED, "given up");
	pthread_cond_broadcast(&f->progress);
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* Writes what of the file lies in chunk `number`, which is in the buffer. */
static int write_piece(struct worker *w, const struct cm_long_file *file,
		       uint32_t number, struct cm_error *err)
{
	const struct cm_entry *e = &w->f->t->entries[file->entry];
	const int64_t *starts = w->f->t->starts;
	int64_t file_from = starts[e->chunk] + e->offset;
	int64_t file_to = file_from + cm_entry_stored(e);
	int64_t from = starts[number], to = starts[number + 1];

	if (from < file_from)
		from = file_from;
	if (to > file_to)
		to = file_to;
	count(w, 0, to - from);
	return cm_temp_write(&file->temp, e, from - file_from,
			     w->buffer + (from - starts[number]),
			     (size_t)(to - from), err);
}

static int do_part(struct worker *w, const struct cm_fetch_job *job,
		   struct cm_error *err)
{
	struct cm_long_file *file = job->file;
	bool last;
	int r = open_long(w, file, err);

	for (uint32_t k = job->from; r == 0 && k < job->to; k++) {
		r = fetch_chunk(w, k, err);
		if (r == 0)
			r = write_piece(w, file, k, err);
	}
	if (r < 0)
		return r;
	pthread_mutex_lock(&w->f->lock);
	last = --file->parts_left == 0;
	pthread_mutex_unlock(&w->f->lock);
	if (!last)
		return 0;
	count(w, 1, 0);
	return commit(w, &file->temp, file->entry, err);
}

static int worker_init(struct worker *w, struct cm_error *err)
{
	unsigned number;
	int r = cm_connection_new(w->f->job->o->remote, &w->c, err);

	if (r < 0)
		return r;
	w->buffer = malloc((size_t)w->f->jobs.chunk_max + 1);
	if (!w->buffer)
		return cm_error_nomem(err);
	pthread_mutex_lock(&w->f->lock);
	number = ++w->f->started;
	pthread_mutex_unlock(&w->f->lock);
	return cm_writer_init(&w->writer, w->f->job, w->f->mount, w->f->stage,
			      w->f->tmp, number, err);
}

static void *work(void *arg)
{
	struct worker w = {.f = arg};
	struct cm_fetch_job *job;
	struct cm_error err = {0};
	int r;

	cm_dir_cache_init(&w.writer.dirs, w.f->mount);
	cm_dir_cache_init(&w.writer.staged_dirs, w.f->mount);
	r = worker_init(&w, &err);
	while (r == 0 && (job = take_job(w.f)))
		r = job->file ? do_part(&w, job, &err) : do_pack(&w, job, &err);
	if (r < 0)
		fail(w.f, r, &err);
	cm_writer_release(&w.writer);
	free(w.buffer);
	cm_connection_free(w.c);
	return NULL;
}

/* Tells the workers how far the directories are. */
static void dirs_are_made(struct fetch *f, uint32_t up_to)
{
	pthread_mutex_lock(&f->lock);
	f->dirs_up_to = up_to;
	pthread_cond_broadcast(&f->progress);
	pthread_mutex_unlock(&f->lock);
}

/* In tree order, so each one's parent comes before it. */
static int make_dirs(struct fetch *f, struct cm_writer *w, struct cm_error *err)
{
	const struct cm_plan *plan = f->plan;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->rows->len; i++) {
		const struct cm_entry *e = plan->rows->rows[i].theirs;

		if (plan->steps[i].action != CM_DO_WRITE ||
		    e->type != CM_ENTRY_DIR)
			continue;
		dirs_are_made(f, (uint32_t)(e - f->t->entries));
		r = cm_writer_mkdir(w, e, err);
	}
	if (r == 0)
		dirs_are_made(f, UINT32_MAX);
	return r;
}

/* Runs as many workers as there are jobs for, this thread being one. */
static void run_workers(struct fetch *f, struct cm_writer *w)
{
	pthread_t threads[64];
	unsigned n = 0, max = f->job->threads;
	struct cm_error err = {0};
	int r;

	if (max > f->jobs.len)
		max = (unsigned)f->jobs.len;
	while (n + 1 < max && n < 64 &&
	       pthread_create(&threads[n], NULL, work, f) == 0)
		n++;
	r = make_dirs(f, w, &err);
	if (r < 0)
		fail(f, r, &err);
	else if (max > 0)
		work(f);
	while (n-- > 0)
		pthread_join(threads[n], NULL);
}

int cm_fetch_files(struct cm_job *j, struct cm_writer *w, const char *repo,
		   const struct cm_tree *theirs, const struct cm_plan *plan,
		   struct cm_disk_id *ids, struct cm_error *err)
{
	struct fetch f = {.job = j,
			  .mount = w->mount,
			  .stage = w->stage,
			  .tmp = w->tmp,
			  .repo = repo,
			  .t = theirs,
			  .plan = plan,
			  .ids = ids,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .progress = PTHREAD_COND_INITIALIZER};
	int r;

	cm_job_expect(j, plan->files, plan->bytes);
	r = cm_fetch_jobs_make(theirs, plan, &f.jobs, err);
	if (r == 0) {
		run_workers(&f, w);
		r = f.status;
		if (r < 0)
			*err = f.err;
	}
	cm_fetch_jobs_release(&f.jobs);
	return r;
}
