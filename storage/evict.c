/*
 * evict.c - the thread that keeps the store to its limit, and each scope to its
 * quota.
 *
 * It is woken by a commit or an upload that passes a high watermark, and looks
 * at all limits (evict_pass.c). Who has to have room waits here
 * (cm_evictor_make_room) with a demand on a list. A pass that finds nothing to
 * evict is "stuck": the thread then looks again only after a while, and nobody
 * waits for it.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cachemount/units.h>

#include "evict.h"

#define STUCK_MS     200 /* doubled with each pass that is stuck … */
#define STUCK_MAX_MS 10000

int cm_evictor_new(struct cm_store *s, struct cm_evictor **ret,
		   struct cm_error *err)
{
	struct cm_evictor *e = calloc(1, sizeof(*e));
	pthread_condattr_t attr;

	if (!e)
		return cm_error_nomem(err);
	e->store = s;
	pthread_mutex_init(&e->one, NULL);
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &attr);
	pthread_cond_init(&e->passed, &attr);
	pthread_condattr_destroy(&attr);
	*ret = e;
	return 0;
}

void cm_evictor_free(struct cm_evictor *e)
{
	if (!e)
		return;
	pthread_cond_destroy(&e->passed);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->lock);
	pthread_mutex_destroy(&e->one);
	free(e);
}

int cm_evictor_collect(struct cm_evictor *e, int64_t until_ms,
		       struct cm_evict_result *ret, struct cm_error *err)
{
	int r = cm_evict_pass(e, true, until_ms, ret, err);

	return r < 0 ? r : 0;
}

/* ---- the thread -----------------------------------------------------------
 */

static void deadline(struct timespec *ret, int64_t ms)
{
	clock_gettime(CLOCK_MONOTONIC, ret);
	ret->tv_sec += ms / 1000;
	ret->tv_nsec += ms % 1000 * 1000000;
	ret->tv_sec += ret->tv_nsec / 1000000000;
	ret->tv_nsec %= 1000000000;
}

/*
 * Waits for work; false to end. After a pass that was stuck it looks again by
 * itself, after a while: a lease may have ended.
 */
static bool wait_for_work(struct cm_evictor *e)
{
	int64_t ms = STUCK_MAX_MS;
	struct timespec until;
	bool go_on;

	pthread_mutex_lock(&e->lock);
	if (e->stuck > 0 && e->stuck < 6)
		ms = STUCK_MS << (e->stuck - 1);
	deadline(&until, ms);
	while (e->stuck > 0 && !e->stopping &&
	       pthread_cond_timedwait(&e->wake, &e->lock, &until) == 0)
		;
	while (e->stuck == 0 && !e->wanted && !e->stopping)
		pthread_cond_wait(&e->wake, &e->lock);
	e->wanted = false;
	go_on = !e->stopping;
	pthread_mutex_unlock(&e->lock);
	return go_on;
}

/* Demands up to a number have been seen to, as far as it went. */
static void end_pass(struct cm_evictor *e, uint64_t number, bool stuck)
{
	pthread_mutex_lock(&e->lock);
	e->stuck = stuck ? e->stuck + 1 : 0;
	for (struct cm_demand *d = e->demands; d; d = d->next)
		d->met = d->met || d->number <= number;
	pthread_cond_broadcast(&e->passed);
	pthread_mutex_unlock(&e->lock);
}

static uint64_t newest_demand(struct cm_evictor *e)
{
	uint64_t number;

	pthread_mutex_lock(&e->lock);
	number = e->demands_made;
	pthread_mutex_unlock(&e->lock);
	return number;
}

/* A failure is met again, and told, by the next write of a client. */
static void *evictor_main(void *arg)
{
	struct cm_evictor *e = arg;
	struct cm_evict_result sum;
	uint64_t number;

	while (wait_for_work(e)) {
		memset(&sum, 0, sizeof(sum));
		number = newest_demand(e);
		end_pass(e, number,
			 cm_evict_pass(e, false, INT64_MAX, &sum, NULL) <= 0);
	}
	return NULL;
}

void cm_evictor_wake(struct cm_evictor *e)
{
	pthread_mutex_lock(&e->lock);
	e->wanted = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
}

void cm_evictor_retry(struct cm_evictor *e)
{
	pthread_mutex_lock(&e->lock);
	e->stuck = 0;
	e->wanted = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
}

/* Called by the index's writer after each commit. */
static void on_commit(void *arg, bool over_quota)
{
	struct cm_evictor *e = arg;
	struct cm_store *s = e->store;

	if (over_quota ||
	    (s->limit.hard > 0 && cm_limit_used(s) > s->limit.high))
		cm_evictor_wake(e);
}

int cm_evictor_start(struct cm_evictor *e, struct cm_error *err)
{
	cm_index_on_commit(e->store->index, on_commit, e);
	if (pthread_create(&e->thread, NULL, evictor_main, e) != 0)
		return cm_error_set(err, CM_ERR_IO,
				    "cannot start the eviction's thread");
	e->runs = true;
	/* The limit may be lower than when we stopped. */
	cm_evictor_wake(e);
	return 0;
}

void cm_evictor_stop(struct cm_evictor *e)
{
	if (!e || !e->runs)
		return;
	cm_index_on_commit(e->store->index, NULL, NULL);
	pthread_mutex_lock(&e->lock);
	e->stopping = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
	e->runs = false;
}

/* ---- those who wait -------------------------------------------------------
 */

static void unlink_demand(struct cm_evictor *e, struct cm_demand *d)
{
	struct cm_demand **at = &e->demands;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
}

void cm_evictor_make_room(struct cm_evictor *e, int64_t scope, int64_t bytes,
			  int64_t wait_ms)
{
	struct cm_demand d = {.scope = scope, .bytes = bytes > 0 ? bytes : 1};
	struct timespec until;

	deadline(&until, wait_ms);
	pthread_mutex_lock(&e->lock);
	d.number = ++e->demands_made;
	d.next = e->demands;
	e->demands = &d;
	e->wanted = true;
	pthread_cond_signal(&e->wake);
	while (!d.met && e->stuck == 0 &&
	       pthread_cond_timedwait(&e->passed, &e->lock, &until) == 0)
		;
	unlink_demand(e, &d);
	pthread_mutex_unlock(&e->lock);
}

void cm_evictor_state(struct cm_evictor *e, bool *ret_stuck,
		      int64_t *ret_last_idle_ms)
{
	pthread_mutex_lock(&e->lock);
	*ret_stuck = e->stuck > 0;
	*ret_last_idle_ms = e->last_idle_ms;
	pthread_mutex_unlock(&e->lock);
}
