/*
 * metrics.c - shards, and the sums of them.
 *
 * Locks: a shard's, for a few additions; and `lock` for the sums, taken before
 * a shard's. The router's rows decide how many route counts there are.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/units.h>

#include "metrics.h"
#include "metrics_scopes.h"
#include "router.h"

#define SHARDS_MAX 64
#define DAY_MS	   86400000

const int64_t cm_durations_us[CM_DURATIONS_LEN] = {
	500,	  1000,	    2500,     5000,	 10000,	    25000,   50000,
	100000,	  250000,   500000,   1000000,	 2500000,   5000000, 10000000,
	20000000, 40000000, 80000000, 160000000, 320000000,
};

/* What is counted, in a shard since the last gathering, and in the sums. */
struct tally {
	struct cm_request_totals totals;
	int64_t denied[CM_DENIALS_LEN];
	struct cm_scopes scopes;
	struct cm_route_counts *routes; /* of routes_len */
};

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	bool touched;
	struct tally tally;
};

struct cm_metrics {
	const struct cm_router *router;
	size_t routes_len;
	size_t shards_len;
	struct shard *shards[SHARDS_MAX];
	pthread_mutex_t save_one; /* one at a time, taken first */
	pthread_mutex_t lock;	  /* guards all below */
	struct tally sums;
	struct cm_request_totals taken;
};

const char *cm_kind_name(enum cm_kind kind)
{
	static const char *const names[CM_KINDS_LEN] = {
		[CM_KIND_BLOB] = "blob",
		[CM_KIND_MANIFEST] = "manifest",
		[CM_KIND_SNAPSHOT] = "snapshot",
		[CM_KIND_IMAGE] = "image",
		[CM_KIND_BUILDKIT_CACHE] = "buildkit-cache",
		[CM_KIND_UPLOAD] = "upload",
		[CM_KIND_OTHER] = "other",
	};

	return names[kind];
}

size_t cm_duration_bucket(int64_t us)
{
	size_t i = 0;

	while (i < CM_DURATIONS_LEN && us > cm_durations_us[i])
		i++;
	return i;
}

/* ---- making and freeing ------------------------------------------------ */

static struct shard *shard_new(size_t routes_len)
{
	struct shard *s = aligned_alloc(_Alignof(struct shard), sizeof(*s));

	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->tally.routes = calloc(routes_len, sizeof(*s->tally.routes));
	if (s->tally.routes)
		return s;
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static size_t processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	return n < 1 ? 1 : n > SHARDS_MAX ? SHARDS_MAX : (size_t)n;
}

int cm_metrics_new(const struct cm_router *router, struct cm_metrics **ret,
		   struct cm_error *err)
{
	cm_auto(metrics) struct cm_metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return cm_error_nomem(err);
	pthread_mutex_init(&m->save_one, NULL);
	pthread_mutex_init(&m->lock, NULL);
	m->router = router;
	m->routes_len = 2 * cm_router_rows(router) + 1;
	m->sums.routes = calloc(m->routes_len, sizeof(*m->sums.routes));
	if (!m->sums.routes)
		return cm_error_nomem(err);
	for (size_t n = processors(); m->shards_len < n; m->shards_len++) {
		m->shards[m->shards_len] = shard_new(m->routes_len);
		if (!m->shards[m->shards_len])
			return cm_error_nomem(err);
	}
	*ret = cm_take_ptr(m);
	return 0;
}

void cm_metrics_free(struct cm_metrics *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->shards_len; i++) {
		pthread_mutex_destroy(&m->shards[i]->lock);
		free(m->shards[i]->tally.routes);
		free(m->shards[i]);
	}
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->save_one);
	free(m->sums.routes);
	free(m);
}

const struct cm_router *cm_metrics_router(const struct cm_metrics *m)
{
	return m->router;
}

/* ---- counting ----------------------------------------------------------- */

static void count_totals(struct cm_request_totals *t,
			 const struct cm_observation *o)
{
	if (o->probe)
		return;
	t->requests++;
	t->failed += o->status >= 500;
	t->aborted += !o->delivered;
	t->sent_bytes += o->usage.sent_bytes;
	t->received_bytes += o->usage.received_bytes;
	if (o->kind == CM_KIND_UPLOAD)
		return;
	t->hits += o->usage.hits;
	t->misses += o->usage.misses;
}

static void count_denied(int64_t denied[static CM_DENIALS_LEN], int status)
{
	switch (status) {
	case 401:
		denied[CM_DENIED_UNAUTHENTICATED]++;
		break;
	case 403:
		denied[CM_DENIED_FORBIDDEN]++;
		break;
	case 413:
		denied[CM_DENIED_TOO_LARGE]++;
		break;
	case 429:
	case 503:
		denied[CM_DENIED_BUSY]++;
		break;
	case 507:
		denied[CM_DENIED_NO_SPACE]++;
		break;
	}
}

static void count_route(struct cm_route_counts *c,
			const struct cm_observation *o)
{
	c->statuses[o->status >= 100 && o->status < 600 ? o->status / 100
							: 0]++;
	c->durations[cm_duration_bucket(o->duration_us)]++;
	c->sum_us += o->duration_us;
}

static void count_scope(struct cm_scopes *t, const struct cm_observation *o)
{
	bool earned = o->usage.hits > 0 || o->usage.writes > 0;
	char name[CM_SCOPE_SIZE];
	struct cm_scope *row;

	cm_counted_scope(o->repo, name);
	row = cm_scopes_brief(t, name, earned);
	cm_usage_add(&row->kinds[o->kind], &o->usage);
}

/* A shard that hardly anybody else uses at this moment. */
static struct shard *shard_here(struct cm_metrics *m)
{
	int cpu = sched_getcpu();

	return m->shards[cpu < 0 ? 0 : (size_t)cpu % m->shards_len];
}

void cm_metrics_observe(struct cm_metrics *m, const struct cm_observation *o)
{
	size_t route = o->matched ? 2 * o->row + o->head : m->routes_len - 1;
	struct shard *s = shard_here(m);

	pthread_mutex_lock(&s->lock);
	s->touched = true;
	count_totals(&s->tally.totals, o);
	count_route(&s->tally.routes[route], o);
	if (!o->probe) {
		count_denied(s->tally.denied, o->status);
		count_scope(&s->tally.scopes, o);
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- gathering ---------------------------------------------------------- */

static void add_totals(struct cm_request_totals *to,
		       const struct cm_request_totals *t)
{
	to->requests += t->requests;
	to->failed += t->failed;
	to->aborted += t->aborted;
	to->hits += t->hits;
	to->misses += t->misses;
	to->sent_bytes += t->sent_bytes;
	to->received_bytes += t->received_bytes;
}

static void add_route(struct cm_route_counts *to,
		      const struct cm_route_counts *c)
{
	for (size_t i = 0; i < 6; i++)
		to->statuses[i] += c->statuses[i];
	for (size_t i = 0; i <= CM_DURATIONS_LEN; i++)
		to->durations[i] += c->durations[i];
	to->sum_us += c->sum_us;
}

/* Moves what a shard has to the sums. Under both locks. */
static void empty_shard(struct cm_metrics *m, struct shard *s, int64_t now_ms)
{
	struct tally *t = &s->tally;

	add_totals(&m->sums.totals, &t->totals);
	for (size_t i = 0; i < CM_DENIALS_LEN; i++)
		m->sums.denied[i] += t->denied[i];
	for (size_t i = 0; i < m->routes_len; i++)
		add_route(&m->sums.routes[i], &t->routes[i]);
	cm_scopes_add(&m->sums.scopes, &t->scopes, now_ms);
	memset(&t->totals, 0, sizeof(t->totals));
	memset(t->denied, 0, sizeof(t->denied));
	memset(t->routes, 0, m->routes_len * sizeof(t->routes[0]));
	cm_scopes_clear(&t->scopes);
	s->touched = false;
}

static void gather(struct cm_metrics *m)
{
	int64_t now_ms = cm_monotonic_ms();

	for (size_t i = 0; i < m->shards_len; i++) {
		pthread_mutex_lock(&m->shards[i]->lock);
		if (m->shards[i]->touched)
			empty_shard(m, m->shards[i], now_ms);
		pthread_mutex_unlock(&m->shards[i]->lock);
	}
}

void cm_metrics_totals(struct cm_metrics *m, struct cm_request_totals *ret)
{
	pthread_mutex_lock(&m->lock);
	gather(m);
	*ret = m->sums.totals;
	pthread_mutex_unlock(&m->lock);
}

void cm_metrics_take(struct cm_metrics *m, struct cm_request_totals *ret)
{
	struct cm_request_totals now, before;

	pthread_mutex_lock(&m->lock);
	gather(m);
	now = m->sums.totals;
	before = m->taken;
	m->taken = now;
	pthread_mutex_unlock(&m->lock);
	*ret = (struct cm_request_totals){
		.requests = now.requests - before.requests,
		.failed = now.failed - before.failed,
		.aborted = now.aborted - before.aborted,
		.hits = now.hits - before.hits,
		.misses = now.misses - before.misses,
		.sent_bytes = now.sent_bytes - before.sent_bytes,
		.received_bytes = now.received_bytes - before.received_bytes,
	};
}

int cm_metrics_copy(struct cm_metrics *m, struct cm_metrics_copy **ret,
		    struct cm_error *err)
{
	size_t routes = m->routes_len * sizeof(m->sums.routes[0]);
	struct cm_metrics_copy *copy = calloc(1, sizeof(*copy) + routes);

	if (!copy)
		return cm_error_nomem(err);
	pthread_mutex_lock(&m->lock);
	gather(m);
	copy->totals = m->sums.totals;
	memcpy(copy->denied, m->sums.denied, sizeof(copy->denied));
	copy->scopes_len = m->sums.scopes.len + 1;
	memcpy(copy->scopes, m->sums.scopes.rows,
	       m->sums.scopes.len * sizeof(copy->scopes[0]));
	copy->scopes[copy->scopes_len - 1] = m->sums.scopes.rest;
	copy->routes_len = m->routes_len;
	memcpy(copy->routes, m->sums.routes, routes);
	pthread_mutex_unlock(&m->lock);
	*ret = copy;
	return 0;
}

/* ---- history ------------------------------------------------------------ */

static const struct cm_usage nothing;

/* What a scope has of a kind that the store does not; false if nothing. */
static bool unsaved(const struct cm_scope *s, size_t kind,
		    struct cm_usage_row *ret)
{
	struct cm_usage delta = s->kinds[kind];

	cm_usage_subtract(&delta, &s->saved[kind]);
	*ret = (struct cm_usage_row){
		.day = cm_now_ms() / DAY_MS,
		.scope = s->name,
		.kind = cm_kind_name((enum cm_kind)kind),
		.usage = delta,
	};
	return memcmp(&delta, &nothing, sizeof(delta)) != 0;
}

/* Notes that all of `copy` is saved. A row may be another scope's by now. */
static void note_saved(struct cm_metrics *m, const struct cm_metrics_copy *copy)
{
	size_t rows = copy->scopes_len - 1;
	struct cm_scopes *t = &m->sums.scopes;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < rows; i++)
		if (strcmp(t->rows[i].name, copy->scopes[i].name) == 0)
			memcpy(t->rows[i].saved, copy->scopes[i].kinds,
			       sizeof(t->rows[i].saved));
	memcpy(t->rest.saved, copy->scopes[rows].kinds, sizeof(t->rest.saved));
	pthread_mutex_unlock(&m->lock);
}

static int save(struct cm_metrics *m, struct cm_store *store,
		struct cm_error *err)
{
	struct cm_usage_row rows[(CM_COUNTED_SCOPES_MAX + 1) * CM_KINDS_LEN];
	cm_autofree struct cm_metrics_copy *copy = NULL;
	size_t n = 0;
	int r = cm_metrics_copy(m, &copy, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < copy->scopes_len; i++)
		for (size_t kind = 0; kind < CM_KINDS_LEN; kind++)
			n += unsaved(&copy->scopes[i], kind, &rows[n]);
	if (n == 0)
		return 0;
	r = cm_store_usage_add(store, rows, n, err);
	if (r == 0)
		note_saved(m, copy);
	return r;
}

int cm_metrics_save(struct cm_metrics *m, struct cm_store *store,
		    struct cm_error *err)
{
	int r;

	pthread_mutex_lock(&m->save_one);
	r = save(m, store, err);
	pthread_mutex_unlock(&m->save_one);
	return r;
}
