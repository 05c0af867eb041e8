/* upkeep.c - the ticking and the sweeping thread. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <cachemount/store.h>
#include <cachemount/units.h>

#include "auth.h"
#include "health.h"
#include "log.h"
#include "metrics.h"
#include "upkeep.h"

#define TICK_MS	    1000
#define SAVE_TICKS  10
#define SWEEP_MS    60000
#define STOP_WAIT_S 5

struct cm_upkeep {
	struct cm_upkeep_options options;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping; /* under the lock */
	pthread_t ticker;
	pthread_t sweeper;
	bool told_pinned, told_stuck; /* the sweeper's */
};

/* Waits; false when it is time to end. */
static bool wait_ms(struct cm_upkeep *u, long ms)
{
	struct timespec until;
	bool stopping;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	pthread_mutex_lock(&u->lock);
	while (!u->stopping)
		if (pthread_cond_timedwait(&u->wake, &u->lock, &until) != 0)
			break;
	stopping = u->stopping;
	pthread_mutex_unlock(&u->lock);
	return !stopping;
}

static void reload_tokens(struct cm_upkeep *u, bool force)
{
	struct cm_error err;
	int rc = cm_auth_reload(u->options.auth, force, &err);

	if (rc < 0)
		cm_log(CM_LOG_ERROR, "tokens-kept",
		       "the token file is not usable, the tokens stay what "
		       "they were: %s",
		       err.text);
	if (rc > 0)
		cm_log(CM_LOG_INFO, "tokens-loaded", "the token file was read");
}

void cm_upkeep_reload(struct cm_upkeep *u)
{
	reload_tokens(u, true);
}

static void hand_over_counts(struct cm_upkeep *u)
{
	struct cm_request_totals c;

	cm_metrics_take(u->options.metrics, &c);
	const struct {
		const char *name;
		int64_t delta;
	} figures[] = {
		{"requests", c.requests},
		{"requests_failed", c.failed},
		{"requests_aborted", c.aborted},
		{"hits", c.hits},
		{"misses", c.misses},
		{"sent_bytes", c.sent_bytes},
		{"received_bytes", c.received_bytes},
	};
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (figures[i].delta != 0)
			cm_store_counter_add(u->options.store, figures[i].name,
					     figures[i].delta);
}

/* A store that cannot write is told of by the health check. */
static void save_history(struct cm_upkeep *u)
{
	struct cm_error err;

	if (cm_metrics_save(u->options.metrics, u->options.store, &err) < 0)
		cm_log(CM_LOG_DEBUG, "history-unsaved", "%s", err.text);
}

static void *ticker_main(void *arg)
{
	struct cm_upkeep *u = arg;
	unsigned ticks = 0;

	do {
		cm_health_check(u->options.health, u->options.store);
		reload_tokens(u, false);
		hand_over_counts(u);
		if (++ticks % SAVE_TICKS == 0)
			save_history(u);
	} while (wait_ms(u, TICK_MS));
	return NULL;
}

static void note_sweep(struct cm_upkeep *u, const struct cm_sweep_result *s)
{
	struct cm_store *store = u->options.store;

	if (s->blobs == 0 && s->uploads == 0 && s->manifests == 0)
		return;
	cm_store_counter_add(store, "swept_blobs", s->blobs);
	cm_store_counter_add(store, "swept_bytes", s->bytes);
	cm_store_counter_add(store, "swept_uploads", s->uploads);
	cm_store_counter_add(store, "swept_manifests", s->manifests);
	cm_log(CM_LOG_INFO, "swept",
	       "%lld blobs (%lld bytes), %lld uploads, %lld manifests",
	       (long long)s->blobs, (long long)s->bytes, (long long)s->uploads,
	       (long long)s->manifests);
}

/* The limit was set below what may not go. */
static void tell_pinned(const struct cm_store_stats *s)
{
	char pinned[CM_SIZE_TEXT_SIZE], low[CM_SIZE_TEXT_SIZE];

	cm_log(CM_LOG_WARN, "pinned-over-limit",
	       "%lld pinned tags name %s of content, which may not fit below "
	       "the low watermark of %s: unpin some, or raise --max-size",
	       (long long)s->pinned_tags,
	       cm_size_format(s->pinned_bytes, pinned),
	       cm_size_format(s->low_bytes, low));
}

static void tell_stuck(const struct cm_store_stats *s)
{
	char used[CM_SIZE_TEXT_SIZE], limit[CM_SIZE_TEXT_SIZE];

	cm_log(CM_LOG_WARN, "eviction-stuck",
	       "nothing more may be evicted: what is left is pinned, leased or "
	       "being uploaded. %s of the limit of %s are in use",
	       cm_size_format(s->used_bytes, used),
	       cm_size_format(s->limit_bytes, limit));
}

/* Says once that it begins, and again only after it has ended. */
static void watch_limits(struct cm_upkeep *u)
{
	struct cm_store_stats s;
	bool pinned, stuck;

	if (cm_store_stats(u->options.store, &s, NULL) < 0)
		return;
	pinned = s.limit_bytes > 0 && s.pinned_bytes > s.low_bytes;
	stuck = s.eviction_stuck;
	if (pinned && !u->told_pinned)
		tell_pinned(&s);
	if (stuck && !u->told_stuck)
		tell_stuck(&s);
	u->told_pinned = pinned;
	u->told_stuck = stuck;
}

static void *sweeper_main(void *arg)
{
	struct cm_upkeep *u = arg;
	struct cm_sweep_result result;
	struct cm_error err;
	bool more;

	do {
		result = (struct cm_sweep_result){0};
		more = false;
		if (cm_store_sweep(u->options.store, &result, &err) < 0)
			cm_log(CM_LOG_ERROR, "sweep-failed", "%s", err.text);
		else
			more = result.more;
		note_sweep(u, &result);
		watch_limits(u);
	} while (wait_ms(u, more ? 0 : SWEEP_MS));
	return NULL;
}

static bool join(pthread_t thread)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

static void tell_to_stop(struct cm_upkeep *u)
{
	pthread_mutex_lock(&u->lock);
	u->stopping = true;
	pthread_cond_broadcast(&u->wake);
	pthread_mutex_unlock(&u->lock);
}

static void upkeep_free(struct cm_upkeep *u)
{
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->wake);
	free(u);
}

int cm_upkeep_start(const struct cm_upkeep_options *options,
		    struct cm_upkeep **ret, struct cm_error *err)
{
	struct cm_upkeep *u = calloc(1, sizeof(*u));

	if (!u)
		return cm_error_nomem(err);
	u->options = *options;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->wake, NULL);
	errno = pthread_create(&u->ticker, NULL, ticker_main, u);
	if (errno != 0) {
		upkeep_free(u);
		return cm_error_errno(err, "cannot start the upkeep's thread");
	}
	errno = pthread_create(&u->sweeper, NULL, sweeper_main, u);
	if (errno != 0) {
		cm_error_errno(err, "cannot start the sweep's thread");
		tell_to_stop(u);
		pthread_join(u->ticker, NULL);
		upkeep_free(u);
		return CM_ERR_IO;
	}
	*ret = u;
	return 0;
}

bool cm_upkeep_stop(struct cm_upkeep *u)
{
	if (!u)
		return true;
	tell_to_stop(u);
	if (!join(u->ticker) || !join(u->sweeper))
		return false;
	hand_over_counts(u);
	save_history(u);
	upkeep_free(u);
	return true;
}
