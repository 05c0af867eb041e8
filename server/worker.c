/*
 * worker.c - a ring of jobs under one lock.
 *
 * `work` is signalled when a job comes or the pool stops; `idle` when a thread
 * ends. A stopped pool runs what it has queued, then its threads end.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "worker.h"

struct job {
	void (*fn)(void *arg);
	void *arg;
};

struct cm_workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t idle;
	bool stopping;
	size_t threads_len; /* started */
	size_t running;	    /* not ended yet */
	pthread_t *threads;
	size_t first, queued, capacity;
	struct job ring[];
};

static bool take(struct cm_workers *w, struct job *ret)
{
	while (w->queued == 0 && !w->stopping)
		pthread_cond_wait(&w->work, &w->lock);
	if (w->queued == 0)
		return false;
	*ret = w->ring[w->first];
	w->first = (w->first + 1) % w->capacity;
	w->queued--;
	return true;
}

static void *worker_main(void *arg)
{
	struct cm_workers *w = arg;
	struct job job;

	pthread_mutex_lock(&w->lock);
	while (take(w, &job)) {
		pthread_mutex_unlock(&w->lock);
		job.fn(job.arg);
		pthread_mutex_lock(&w->lock);
	}
	w->running--;
	pthread_cond_signal(&w->idle);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_threads(struct cm_workers *w, size_t n, struct cm_error *err)
{
	while (w->threads_len < n) {
		pthread_mutex_lock(&w->lock);
		w->running++;
		pthread_mutex_unlock(&w->lock);
		errno = pthread_create(&w->threads[w->threads_len], NULL,
				       worker_main, w);
		if (errno != 0) {
			pthread_mutex_lock(&w->lock);
			w->running--;
			pthread_mutex_unlock(&w->lock);
			return cm_error_errno(err, "cannot start a worker");
		}
		w->threads_len++;
	}
	return 0;
}

int cm_workers_new(size_t threads, size_t queue_max, struct cm_workers **ret,
		   struct cm_error *err)
{
	cm_auto(workers) struct cm_workers *w = NULL;
	pthread_condattr_t attr;
	int rc;

	w = calloc(1, sizeof(*w) + queue_max * sizeof(w->ring[0]));
	if (!w)
		return cm_error_nomem(err);
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->work, &attr);
	pthread_cond_init(&w->idle, &attr);
	pthread_condattr_destroy(&attr);
	w->capacity = queue_max;
	w->threads = calloc(threads, sizeof(*w->threads));
	if (!w->threads)
		return cm_error_nomem(err);
	rc = start_threads(w, threads, err);
	if (rc < 0)
		return rc;
	*ret = cm_take_ptr(w);
	return 0;
}

static int enqueue(struct cm_workers *w, const struct job *job,
		   struct cm_error *err)
{
	if (w->stopping)
		return cm_error_set(err, CM_ERR_UNAVAILABLE,
				    "the server is shutting down");
	if (w->queued == w->capacity)
		return cm_error_set(err, CM_ERR_BUSY,
				    "too many requests wait for the disk");
	w->ring[(w->first + w->queued) % w->capacity] = *job;
	w->queued++;
	pthread_cond_signal(&w->work);
	return 0;
}

int cm_workers_submit(struct cm_workers *w, void (*fn)(void *arg), void *arg,
		      struct cm_error *err)
{
	struct job job = {fn, arg};
	int rc;

	pthread_mutex_lock(&w->lock);
	rc = enqueue(w, &job, err);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

bool cm_workers_stop(struct cm_workers *w, int timeout_ms)
{
	struct timespec until;
	bool ended;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->work);
	while (w->running > 0)
		if (pthread_cond_timedwait(&w->idle, &w->lock, &until) != 0)
			break;
	ended = w->running == 0;
	pthread_mutex_unlock(&w->lock);
	return ended;
}

void cm_workers_free(struct cm_workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < w->threads_len; i++)
		pthread_join(w->threads[i], NULL);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->idle);
	free(w->threads);
	free(w);
}
