/*
 * evict.c - the thread that keeps the store to its limit, and each scope to its
 * quota.
 *
 * It is woken by a commit or an upload that passes a high watermark, and works
 * until the low one is reached, batch by batch: the writer takes tags and
 * manifests out (index_evict.c), for a few milliseconds at a time; what nothing
 * names after that goes as in the sweep (upkeep.c): rows, commit, files. Then
 * it measures again. So it never evicts more than it must by more than one
 * entry, but for blobs that are leased: they go later.
 *
 * Who has to have room waits here (cm_evictor_make_room) with a demand on a
 * list. A pass that finds nothing to evict is "stuck": the thread then looks
 * again only after a while, and nobody waits for it.
 *
 * Locks: `one` is held for a whole pass; `lock` guards the rest, and is held
 * for a few instructions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cachemount/units.h>

#include "index_evict.h"
#include "store_private.h"

#define STUCK_MS     200 /* doubled with each pass that is stuck … */
#define STUCK_MAX_MS 10000
#define NAME_MAX_LEN 48

struct demand {
	int64_t scope; /* 0: the store */
	int64_t bytes;
	uint64_t number;
	bool met; /* or can't be */
	struct demand *next;
};

struct cm_evictor {
	struct cm_store *store;
	pthread_t thread;
	bool runs;
	pthread_mutex_t one;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	pthread_cond_t passed;
	bool stopping;
	bool wanted;
	unsigned int stuck; /* passes in a row */
	int64_t last_idle_ms;
	struct demand *demands;
	uint64_t demands_made;
};

/* What one goal of a pass is: down to so many bytes. */
struct goal {
	const char *reason;
	int64_t scope; /* 0: the store */
	int64_t target;
};

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

static bool stopping(struct cm_evictor *e)
{
	bool yes;

	pthread_mutex_lock(&e->lock);
	yes = e->stopping;
	pthread_mutex_unlock(&e->lock);
	return yes;
}

/* ---- counting -------------------------------------------------------------
 */

static void count_one(struct cm_store *s, const char *what, const char *reason,
		      int64_t n)
{
	char name[NAME_MAX_LEN];

	if (n == 0)
		return;
	snprintf(name, sizeof(name), "evicted_%s_%s", what, reason);
	cm_store_counter_add(s, name, n);
}

void cm_count_evicted(struct cm_store *s, const char *reason,
		      const struct cm_evict_result *r)
{
	count_one(s, "tags", reason, r->tags);
	count_one(s, "manifests", reason, r->manifests);
	count_one(s, "blobs", reason, r->blobs);
	count_one(s, "bytes", reason, r->bytes);
}

static void add_result(struct cm_evict_result *sum,
		       const struct cm_evict_result *part)
{
	sum->tags += part->tags;
	sum->manifests += part->manifests;
	sum->blobs += part->blobs;
	sum->bytes += part->bytes;
}

/* ---- one batch ------------------------------------------------------------
 */

/* What the batch made due, and nobody was promised. */
static int reap(struct cm_store *s, struct cm_evict_result *part,
		struct cm_error *err)
{
	struct cm_sweep_result swept = {.more = true};
	int r = 0;

	while (r == 0 && swept.more) {
		swept.more = false;
		r = cm_store_reap(s, 0, &swept, err);
	}
	part->blobs = swept.blobs;
	part->bytes = swept.bytes;
	return r;
}

static void note_batch(struct cm_evictor *e, const struct cm_evict_job *j,
		       const char *reason, const struct cm_evict_result *part)
{
	cm_count_evicted(e->store, reason, part);
	if (j->tags + j->manifests == 0)
		return;
	cm_store_counter_add(e->store, "evicted_idle_seconds",
			     j->idle_ms / 1000);
	pthread_mutex_lock(&e->lock);
	e->last_idle_ms = j->last_idle_ms;
	pthread_mutex_unlock(&e->lock);
}

/* Evicts about so many bytes: 1, 0 if nothing is left that may go, <0. */
static int batch(struct cm_evictor *e, const struct goal *g, int64_t bytes,
		 int64_t before, struct cm_evict_result *sum,
		 struct cm_error *err)
{
	struct cm_store *s = e->store;
	struct cm_evict_result part = {0};
	struct cm_evict_job j = {
		.leases = s->leases,
		.scope = g->scope,
		.bytes = bytes,
		.before = before,
	};
	int r = cm_index_write(s->index, cm_evict_tx, &j, err);

	cm_leases_spare(s->leases);
	if (r < 0)
		return r;
	part.tags = j.tags;
	part.manifests = j.manifests;
	r = reap(s, &part, err);
	note_batch(e, &j, g->reason, &part);
	add_result(sum, &part);
	return r < 0 ? r : !j.ended || part.bytes > 0;
}

/* ---- goals ----------------------------------------------------------------
 */

static int in_use(struct cm_store *s, const struct goal *g, int64_t *ret,
		  struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int r = 0;

	*ret = cm_limit_used(s);
	if (g->scope != 0) {
		r = cm_index_reader(s->index, &db, err);
		if (r == 0)
			r = cm_scope_bytes(db, g->scope, ret, err);
	}
	return r;
}

/* Down to the goal: 1; 0 if nothing is left that may go, or time is up; <0. */
static int reach(struct cm_evictor *e, const struct goal *g, int64_t until_ms,
		 struct cm_evict_result *sum, struct cm_error *err)
{
	int64_t before = cm_index_clock(e->store->index), used = 0;
	int r = in_use(e->store, g, &used, err);

	while (r == 0 && used > g->target) {
		if (cm_leases_all_held(e->store->leases, cm_monotonic_ms()) ||
		    stopping(e) || cm_monotonic_ms() >= until_ms)
			return 0;
		r = batch(e, g, used - g->target, before, sum, err);
		if (r <= 0)
			return r;
		r = in_use(e->store, g, &used, err);
	}
	return r < 0 ? r : 1;
}

/* The most that somebody waits for. */
static int64_t demanded(struct cm_evictor *e, int64_t scope)
{
	int64_t most = 0;

	pthread_mutex_lock(&e->lock);
	for (struct demand *d = e->demands; d; d = d->next)
		if (d->scope == scope && d->bytes > most)
			most = d->bytes;
	pthread_mutex_unlock(&e->lock);
	return most;
}

/*
 * Where to go from `used`: the low watermark if the high one is passed, or if
 * `force`, or further down if somebody needs it. True if there is a way to go.
 */
static bool set_target(struct goal *g, int64_t used, int64_t whole,
		       const struct cm_store_options *o, int64_t need,
		       bool force)
{
	int64_t low = cm_percent(whole, o->low_percent);

	if (whole <= 0)
		return false;
	g->target = low;
	if (need > 0 && used > whole - need)
		g->target = whole - need < low ? whole - need : low;
	else if (!force && used <= cm_percent(whole, o->high_percent))
		return false;
	return used > g->target;
}

static int pass_store(struct cm_evictor *e, bool force, int64_t until_ms,
		      struct cm_evict_result *sum, struct cm_error *err)
{
	struct cm_store *s = e->store;
	struct goal g = {.reason = "size"};

	if (!set_target(&g, cm_limit_used(s), s->limit.hard, &s->options,
			demanded(e, 0), force))
		return 1;
	return reach(e, &g, until_ms, sum, err);
}

/* Each scope for itself: 0 if one of them is stuck. */
static int pass_scopes(struct cm_evictor *e, bool force, int64_t until_ms,
		       struct cm_evict_result *sum, struct cm_error *err)
{
	struct cm_store *s = e->store;
	struct goal g = {.reason = "quota"};
	struct cm_scope_use uses[CM_SCOPES_MAX];
	cm_auto(reader) struct cm_db *db = NULL;
	int n = cm_index_reader(s->index, &db, err), all = 1, r = 0;

	if (n == 0)
		n = cm_scope_limited(db, uses, CM_SCOPES_MAX, err);
	for (int i = 0; r >= 0 && i < n; i++) {
		g.scope = uses[i].id;
		if (!set_target(&g, uses[i].bytes, uses[i].quota, &s->options,
				demanded(e, uses[i].id), force))
			continue;
		r = reach(e, &g, until_ms, sum, err);
		all = all && r != 0;
	}
	return n < 0 ? n : r < 0 ? r : all;
}

/* One look at all limits: 1 if they are kept, 0 if that can't be, <0. */
static int pass(struct cm_evictor *e, bool force, int64_t until_ms,
		struct cm_evict_result *sum, struct cm_error *err)
{
	int store, scopes;

	/* Who was pulled a moment ago is not the next to go. */
	store = cm_store_flush(e->store, err);
	if (store < 0)
		return store;
	pthread_mutex_lock(&e->one);
	scopes = pass_scopes(e, force, until_ms, sum, err);
	store = scopes < 0 ? scopes : pass_store(e, force, until_ms, sum, err);
	pthread_mutex_unlock(&e->one);
	return store < 0 ? store : store && scopes;
}

int cm_evictor_collect(struct cm_evictor *e, int64_t until_ms,
		       struct cm_evict_result *ret, struct cm_error *err)
{
	int r = pass(e, true, until_ms, ret, err);

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
	for (struct demand *d = e->demands; d; d = d->next)
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
		end_pass(e, number, pass(e, false, INT64_MAX, &sum, NULL) <= 0);
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

static void unlink_demand(struct cm_evictor *e, struct demand *d)
{
	struct demand **at = &e->demands;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
}

void cm_evictor_make_room(struct cm_evictor *e, int64_t scope, int64_t bytes,
			  int64_t wait_ms)
{
	struct demand d = {.scope = scope, .bytes = bytes > 0 ? bytes : 1};
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
