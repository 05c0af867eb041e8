/*
 * upload.c - the pipeline behind a save.
 *
 * Locks: `lock` covers every field of struct cm_upload that changes; a buffer
 * belongs to who took it, and in the queue to nobody.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_map.h"
#include "upload.h"

#define IN_FLIGHT_MAX (64 << 20)
#define BUFFERS_MIN   4
#define BUFFERS_MAX   16
#define BATCH_MAX     4

struct piece {
	uint8_t *bytes;
	size_t len;
	uint32_t number;
	struct cm_digest digest;
};

struct cm_upload {
	struct cm_job *job;
	size_t chunk_max;
	pthread_mutex_t lock;
	pthread_cond_t freed;  /* a buffer came back, or it failed */
	pthread_cond_t queued; /* a piece is there, or no more will come */
	uint8_t *buffers[BUFFERS_MAX]; /* those that are free */
	unsigned buffers_len, buffers_made, buffers_max;
	struct piece queue[BUFFERS_MAX]; /* a ring */
	unsigned queue_at, queue_len;
	bool ended; /* no piece will be queued any more */
	struct cm_chunk *chunks;
	size_t chunks_len, chunks_cap;
	struct cm_chunk_list seen;
	int status;
	struct cm_error err;
	pthread_t *workers;
	unsigned workers_len;
};

static void fail(struct cm_upload *u, int status, const struct cm_error *err)
{
	pthread_mutex_lock(&u->lock);
	if (u->status == 0) {
		u->status = status;
		u->err = *err;
	}
	pthread_cond_broadcast(&u->freed);
	pthread_cond_broadcast(&u->queued);
	pthread_mutex_unlock(&u->lock);
}

/*
 * Takes a share of what waits, so that the others have work too. 0: the end.
 */
static unsigned take_pieces(struct cm_upload *u, struct piece *out)
{
	unsigned n, i;

	pthread_mutex_lock(&u->lock);
	while (u->queue_len == 0 && !u->ended && u->status == 0)
		pthread_cond_wait(&u->queued, &u->lock);
	n = u->queue_len / u->workers_len;
	n = n < 1 ? 1 : n > BATCH_MAX ? BATCH_MAX : n;
	if (n > u->queue_len || u->status < 0)
		n = 0;
	for (i = 0; i < n; i++) {
		out[i] = u->queue[u->queue_at];
		u->queue_at = (u->queue_at + 1) % BUFFERS_MAX;
	}
	u->queue_len -= n;
	pthread_mutex_unlock(&u->lock);
	return n;
}

/* Books the digest; `*ret_new` if this save has not met the chunk before. */
static int book(struct cm_upload *u, const struct piece *p, bool *ret_new,
		struct cm_error *err)
{
	struct cm_chunk chunk = {p->digest, (uint32_t)p->len};
	int r;

	pthread_mutex_lock(&u->lock);
	u->chunks[p->number] = chunk;
	r = cm_chunk_list_add(&u->seen, &chunk, ret_new, err);
	pthread_mutex_unlock(&u->lock);
	return r;
}

/* Hashes the pieces; those new to this save come first in `out`. */
static int hash_pieces(struct cm_upload *u, struct piece *pieces, unsigned n,
		       unsigned *ret_new, struct cm_error *err)
{
	struct piece sorted[BATCH_MAX];
	unsigned front = 0, back = n;
	bool is_new;
	int r;

	for (unsigned i = 0; i < n; i++) {
		r = cm_digest_of(pieces[i].bytes, pieces[i].len,
				 &pieces[i].digest, err);
		if (r == 0)
			r = book(u, &pieces[i], &is_new, err);
		if (r < 0)
			return r;
		sorted[is_new ? front++ : --back] = pieces[i];
	}
	memcpy(pieces, sorted, n * sizeof(*pieces));
	*ret_new = front;
	return 0;
}

static int send_missing(struct cm_upload *u, struct cm_connection *c,
			const struct piece *pieces, unsigned n,
			struct cm_error *err)
{
	const char *repo = u->job->o->repo;
	struct cm_digest digests[BATCH_MAX];
	bool missing[BATCH_MAX];
	int r;

	if (n == 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		digests[i] = pieces[i].digest;
	r = cm_remote_missing(c, repo, digests, n, true, missing, err);
	for (unsigned i = 0; r == 0 && i < n; i++) {
		if (!missing[i])
			continue;
		r = cm_remote_blob_put(c, repo, &pieces[i].digest,
				       pieces[i].bytes, pieces[i].len, err);
		pthread_mutex_lock(&u->lock);
		u->job->result->chunks_moved++;
		u->job->result->bytes_moved += (int64_t)pieces[i].len;
		pthread_mutex_unlock(&u->lock);
	}
	return r;
}

static void *work(void *arg)
{
	struct cm_upload *u = arg;
	struct piece pieces[BATCH_MAX];
	cm_auto(connection) struct cm_connection *c = NULL;
	struct cm_error err = {0};
	unsigned n, fresh = 0;
	int r = cm_connection_new(u->job->o->remote, &c, &err);

	if (r < 0)
		fail(u, r, &err);
	while ((n = take_pieces(u, pieces)) > 0) {
		r = hash_pieces(u, pieces, n, &fresh, &err);
		if (r == 0)
			r = send_missing(u, c, pieces, fresh, &err);
		for (unsigned i = 0; i < n; i++) {
			cm_job_progress(u->job, 0, (int64_t)pieces[i].len);
			cm_upload_return(u, pieces[i].bytes);
		}
		if (r < 0)
			fail(u, r, &err);
	}
	return NULL;
}

/* With one worker fewer than asked it still works; with none it doesn't. */
static int start_workers(struct cm_upload *u, struct cm_error *err)
{
	unsigned n = u->job->threads;

	u->workers = calloc(n, sizeof(*u->workers));
	if (!u->workers)
		return cm_error_nomem(err);
	/* Before the first starts, for it shares the queue by this number. */
	u->workers_len = n;
	for (unsigned i = 0; i < n; i++) {
		if (pthread_create(&u->workers[i], NULL, work, u) == 0)
			continue;
		pthread_mutex_lock(&u->lock);
		u->workers_len = i ? i : 1;
		pthread_mutex_unlock(&u->lock);
		if (i > 0)
			return 0;
		free(u->workers);
		u->workers = NULL;
		return cm_error_set(err, CM_ERR_NO_MEMORY,
				    "cannot start a thread");
	}
	return 0;
}

int cm_upload_start(struct cm_job *j, size_t chunk_max, struct cm_upload **ret,
		    struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = calloc(1, sizeof(*u));
	size_t buffers = IN_FLIGHT_MAX / chunk_max;
	int r;

	if (!u)
		return cm_error_nomem(err);
	u->job = j;
	u->chunk_max = chunk_max;
	u->buffers_max = buffers < BUFFERS_MIN	 ? BUFFERS_MIN
			 : buffers > BUFFERS_MAX ? BUFFERS_MAX
						 : (unsigned)buffers;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->freed, NULL);
	pthread_cond_init(&u->queued, NULL);
	r = start_workers(u, err);
	if (r == 0)
		*ret = cm_take_ptr(u);
	return r;
}

static void end_workers(struct cm_upload *u)
{
	pthread_mutex_lock(&u->lock);
	u->ended = true;
	pthread_cond_broadcast(&u->queued);
	pthread_mutex_unlock(&u->lock);
	for (unsigned i = 0; u->workers && i < u->workers_len; i++)
		pthread_join(u->workers[i], NULL);
	free(u->workers);
	u->workers = NULL;
}

void cm_upload_free(struct cm_upload *u)
{
	static const struct cm_error given_up = {.status = CM_ERR_CANCELLED};

	if (!u)
		return;
	if (u->workers)
		fail(u, CM_ERR_CANCELLED, &given_up);
	end_workers(u);
	for (unsigned i = 0; i < u->queue_len; i++)
		free(u->queue[(u->queue_at + i) % BUFFERS_MAX].bytes);
	for (unsigned i = 0; i < u->buffers_len; i++)
		free(u->buffers[i]);
	cm_chunk_list_release(&u->seen);
	free(u->chunks);
	pthread_cond_destroy(&u->freed);
	pthread_cond_destroy(&u->queued);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

/* Room to book one more chunk, with the lock held; -1 when out of memory. */
static int reserve_chunk(struct cm_upload *u)
{
	size_t cap = u->chunks_cap ? u->chunks_cap * 2 : 256;
	struct cm_chunk *grown;

	/* As many as buffers may be submitted before this is asked again. */
	if (u->chunks_len + BUFFERS_MAX <= u->chunks_cap)
		return 0;
	grown = reallocarray(u->chunks, cap, sizeof(*grown));
	if (!grown)
		return -1;
	u->chunks = grown;
	u->chunks_cap = cap;
	return 0;
}

uint8_t *cm_upload_buffer(struct cm_upload *u)
{
	struct cm_error err;
	uint8_t *buffer = NULL;

	pthread_mutex_lock(&u->lock);
	while (u->buffers_len == 0 && u->buffers_made == u->buffers_max &&
	       u->status == 0)
		pthread_cond_wait(&u->freed, &u->lock);
	if (u->status == 0 && reserve_chunk(u) == 0) {
		if (u->buffers_len > 0) {
			buffer = u->buffers[--u->buffers_len];
		} else {
			buffer = malloc(u->chunk_max);
			u->buffers_made += buffer != NULL;
		}
	}
	pthread_mutex_unlock(&u->lock);
	if (!buffer) {
		cm_error_nomem(&err);
		fail(u, CM_ERR_NO_MEMORY, &err);
	}
	return buffer;
}

void cm_upload_return(struct cm_upload *u, uint8_t *buffer)
{
	if (!buffer)
		return;
	pthread_mutex_lock(&u->lock);
	u->buffers[u->buffers_len++] = buffer;
	pthread_cond_signal(&u->freed);
	pthread_mutex_unlock(&u->lock);
}

uint32_t cm_upload_submit(struct cm_upload *u, uint8_t *buffer, size_t len)
{
	unsigned at;
	uint32_t number;

	pthread_mutex_lock(&u->lock);
	at = (u->queue_at + u->queue_len++) % BUFFERS_MAX;
	number = (uint32_t)u->chunks_len++;
	u->queue[at] =
		(struct piece){.bytes = buffer, .len = len, .number = number};
	pthread_cond_signal(&u->queued);
	pthread_mutex_unlock(&u->lock);
	return number;
}

int cm_upload_finish(struct cm_upload *u, struct cm_chunk **ret, size_t *ret_n,
		     struct cm_error *err)
{
	end_workers(u);
	if (u->status < 0) {
		if (err)
			*err = u->err;
		return u->status;
	}
	*ret = cm_take_ptr(u->chunks);
	*ret_n = u->chunks_len;
	return 0;
}
