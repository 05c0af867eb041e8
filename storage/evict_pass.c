/*
 * evict_pass.c - one look at the limits: what has to go, goes.
 *
 * Batch by batch: the writer takes tags and manifests out (index_evict.c), for
 * a few milliseconds at a time; what nothing names after that goes as in the
 * sweep (upkeep.c): rows, commit, files. Then it measures again. So it never
 * evicts more than it must by more than one entry, but for blobs that are
 * leased: they go later.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/units.h>

#include "evict.h"
#include "index_evict.h"

#define NAME_MAX_LEN 48

/* What one goal of a pass is: down to so many bytes. */
struct goal {
	const char *reason;
	int64_t scope; /* 0: the store */
	int64_t target;
};

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

void cm_note_batch(struct cm_store *s, int64_t began_us)
{
	int64_t us = cm_monotonic_us() - began_us;

	/* The writer alone comes here. */
	if (us > atomic_load(&s->slowest_batch_us))
		atomic_store(&s->slowest_batch_us, us);
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

struct batch_job {
	struct cm_store *store;
	struct cm_evict_job evict;
};

static int batch_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct batch_job *j = arg;
	int64_t began_us = cm_monotonic_us();
	int r = cm_evict_tx(tx, &j->evict, err);

	cm_note_batch(j->store, began_us);
	return r;
}

/* Evicts about so many bytes: 1, 0 if nothing is left that may go, <0. */
static int batch(struct cm_evictor *e, const struct goal *g, int64_t bytes,
		 int64_t before, struct cm_evict_result *sum,
		 struct cm_error *err)
{
	struct cm_store *s = e->store;
	struct cm_evict_result part = {0};
	struct batch_job j = {
		.store = s,
		.evict =
			{
				.leases = s->leases,
				.scope = g->scope,
				.bytes = bytes,
				.before = before,
			},
	};
	int r = cm_index_write(s->index, batch_tx, &j, err);

	cm_leases_spare(s->leases);
	if (r < 0)
		return r;
	part.tags = j.evict.tags;
	part.manifests = j.evict.manifests;
	r = reap(s, &part, err);
	note_batch(e, &j.evict, g->reason, &part);
	add_result(sum, &part);
	return r < 0 ? r : !j.evict.ended || part.bytes > 0;
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
	for (struct cm_demand *d = e->demands; d; d = d->next)
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

int cm_evict_pass(struct cm_evictor *e, bool force, int64_t until_ms,
		  struct cm_evict_result *sum, struct cm_error *err)
{
	int store, scopes;

	/*
	 * Who was pulled a moment ago is not the next to go. On a full disk,
	 * where that can't be written down, its lease keeps it.
	 */
	cm_store_flush(e->store, NULL);
	pthread_mutex_lock(&e->one);
	scopes = pass_scopes(e, force, until_ms, sum, err);
	store = scopes < 0 ? scopes : pass_store(e, force, until_ms, sum, err);
	pthread_mutex_unlock(&e->one);
	return store < 0 ? store : store && scopes;
}
