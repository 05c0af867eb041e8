/* care.c - the scrubbing and the backing-up thread. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cachemount/care.h>
#include <cachemount/store.h>
#include <cachemount/units.h>

#include "care.h"
#include "log.h"

#define TICK_MS	      1000
#define IDLE_MS	      60000
#define TRIM_MS	      (3600 * 1000LL)
#define FIRST_MS      (600 * 1000LL) /* a start has better to do */
#define BACKUP_RATE   (64 << 20)     /* bytes a second */
#define SHORTEST_NAP  50	     /* ms: small blobs go in bursts */
#define STOP_WAIT_S   5
#define IOPRIO_THREAD 1 /* linux/ioprio.h, which C libraries do not have */
#define IOPRIO_IDLE   (3 << 13)

/* When the next piece may be read: ns of the monotonic clock. */
struct pacer {
	struct cm_care *care;
	int64_t rate;
	int64_t free_ns;
};

struct cm_care {
	struct cm_care_options options;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping; /* under the lock */
	pthread_t scrubber;
	pthread_t keeper;
	struct pacer scrub_pace, backup_pace;
	struct cm_scrub_result round; /* since its begin, or the start */
	int64_t trimmed_ms;
};

/* ---- waiting --------------------------------------------------------- */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits until a time; false when it is time to end. */
static bool wait_until(struct cm_care *c, int64_t at_ns)
{
	struct timespec until = {
		.tv_sec = at_ns / 1000000000,
		.tv_nsec = at_ns % 1000000000,
	};
	bool stopping;

	pthread_mutex_lock(&c->lock);
	while (!c->stopping)
		if (pthread_cond_timedwait(&c->wake, &c->lock, &until) != 0)
			break;
	stopping = c->stopping;
	pthread_mutex_unlock(&c->lock);
	return !stopping;
}

static bool wait_ms(struct cm_care *c, int64_t ms)
{
	return wait_until(c, now_ns() + ms * 1000000);
}

/* The rate holds over time: a slow read is not made up for with a burst. */
static int pace(void *arg, int64_t bytes)
{
	struct pacer *p = arg;
	int64_t now = now_ns();
	double cost = (double)bytes * 1e9 / (double)p->rate;

	if (p->free_ns < now)
		p->free_ns = now;
	p->free_ns += (int64_t)cost;
	if (p->free_ns - now < SHORTEST_NAP * 1000000)
		return !wait_until(p->care, now);
	return !wait_until(p->care, p->free_ns);
}

/* Others' reads and writes go first, where the disk's scheduler can tell. */
static void yield_the_disk(void)
{
	(void)syscall(SYS_ioprio_set, IOPRIO_THREAD, 0, IOPRIO_IDLE);
}

/* ---- scrub ----------------------------------------------------------- */

static void log_damaged(void *arg, const struct cm_digest *d, const char *why)
{
	char text[CM_DIGEST_TEXT_SIZE];

	(void)arg;
	cm_log(CM_LOG_ERROR, "blob-damaged",
	       "%s: %s; it is in quarantine and reads as absent",
	       cm_digest_format(d, text), why);
}

static void log_failure(const char *event, const struct cm_error *err)
{
	if (err->status == CM_ERR_CORRUPT)
		cm_log(CM_LOG_ERROR, "index-damaged",
		       "%s; stop the server and run: cachemountd fsck",
		       err->text);
	else
		cm_log(CM_LOG_ERROR, event, "%s", err->text);
}

static void note_scrub(struct cm_care *c, const struct cm_scrub_result *r)
{
	struct cm_store *store = c->options.store;

	cm_store_counter_add(store, "scrub_blobs", r->blobs);
	cm_store_counter_add(store, "scrub_bytes", r->bytes);
	cm_store_counter_add(store, "scrub_damaged", r->damaged);
	cm_store_counter_add(store, "scrub_unreadable", r->unreadable);
	c->round.blobs += r->blobs;
	c->round.bytes += r->bytes;
	c->round.damaged += r->damaged;
	c->round.unreadable += r->unreadable;
	if (!r->ended)
		return;
	cm_store_counter_add(store, "scrub_rounds", 1);
	cm_log(c->round.unreadable > 0 ? CM_LOG_WARN : CM_LOG_INFO, "scrubbed",
	       "%lld blobs (%lld bytes) read again, %lld damaged, "
	       "%lld unreadable",
	       (long long)c->round.blobs, (long long)c->round.bytes,
	       (long long)c->round.damaged, (long long)c->round.unreadable);
	c->round = (struct cm_scrub_result){0};
}

/* How long to wait after a batch. */
static int64_t scrub(struct cm_care *c)
{
	struct cm_scrub_options o = {
		.every_ms = c->options.scrub_every_ms,
		.pace = pace,
		.damaged = log_damaged,
		.arg = &c->scrub_pace,
	};
	struct cm_scrub_result result;
	struct cm_error err = {0};
	int r = cm_store_scrub(c->options.store, &o, &result, &err);

	note_scrub(c, &result);
	if (r < 0 && r != CM_ERR_CANCELLED)
		log_failure("scrub-failed", &err);
	if (r == 0 && !result.idle)
		return 0;
	return o.every_ms < IDLE_MS ? o.every_ms : IDLE_MS;
}

static void trim(struct cm_care *c)
{
	struct cm_error err;
	int64_t now = cm_monotonic_ms();

	if (c->trimmed_ms != 0 && now - c->trimmed_ms < TRIM_MS)
		return;
	c->trimmed_ms = now;
	if (cm_store_trim_quarantine(c->options.store, &err) < 0)
		cm_log(CM_LOG_ERROR, "quarantine-not-trimmed", "%s", err.text);
}

static void *scrubber_main(void *arg)
{
	struct cm_care *c = arg;
	int64_t next_ms;

	yield_the_disk();
	do {
		trim(c);
		next_ms = c->options.scrub_rate > 0 ? scrub(c) : IDLE_MS;
	} while (wait_ms(c, next_ms));
	return NULL;
}

/* ---- backups --------------------------------------------------------- */

static bool backup(struct cm_care *c)
{
	struct cm_backup_options o = {
		.keep = (size_t)c->options.backup_keep,
		.pace = pace,
		.arg = &c->backup_pace,
	};
	struct cm_backup_status status;
	struct cm_error err = {0};
	int64_t began = cm_monotonic_ms();
	int r = cm_store_backup(c->options.store, &o, &err);

	if (r == 0)
		r = cm_store_backup_status(c->options.store, &status, &err);
	if (r == 0)
		cm_log(CM_LOG_INFO, "backup", "%s, %lld bytes in %lld ms",
		       status.file, (long long)status.size,
		       (long long)(cm_monotonic_ms() - began));
	else if (r != CM_ERR_CANCELLED)
		log_failure("backup-failed", &err);
	cm_store_counter_add(c->options.store,
			     r == 0 ? "backups" : "backups_failed", 1);
	return r == 0;
}

bool cm_care_backup_due(const struct cm_backup_status *status, int64_t every_ms,
			int64_t now_ms)
{
	int64_t age = now_ms - status->made_ms;

	return status->count == 0 || age < 0 || age >= every_ms;
}

static bool due(struct cm_care *c)
{
	struct cm_backup_status status;

	return cm_store_backup_status(c->options.store, &status, NULL) == 0 &&
	       cm_care_backup_due(&status, c->options.backup_every_ms,
				  cm_now_ms());
}

static void *keeper_main(void *arg)
{
	struct cm_care *c = arg;
	int64_t every = c->options.backup_every_ms;
	int64_t patience = every < FIRST_MS ? every : FIRST_MS;
	int64_t next_ms = cm_monotonic_ms() + patience;

	yield_the_disk();
	do {
		if (cm_store_backup_wanted(c->options.store))
			backup(c);
		if (every == 0 || cm_monotonic_ms() < next_ms)
			continue;
		next_ms =
			cm_monotonic_ms() + (every < IDLE_MS ? every : IDLE_MS);
		if (due(c) && !backup(c))
			next_ms = cm_monotonic_ms() + patience;
	} while (wait_ms(c, TICK_MS));
	return NULL;
}

/* ---- starting and ending --------------------------------------------- */

static bool join(pthread_t thread)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

static void tell_to_stop(struct cm_care *c)
{
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

static void care_free(struct cm_care *c)
{
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	free(c);
}

static struct cm_care *care_new(const struct cm_care_options *options)
{
	struct cm_care *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return NULL;
	c->options = *options;
	c->scrub_pace = (struct pacer){.care = c, .rate = options->scrub_rate};
	c->backup_pace = (struct pacer){.care = c, .rate = BACKUP_RATE};
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

int cm_care_start(const struct cm_care_options *options, struct cm_care **ret,
		  struct cm_error *err)
{
	struct cm_care *c = care_new(options);

	if (!c)
		return cm_error_nomem(err);
	errno = pthread_create(&c->scrubber, NULL, scrubber_main, c);
	if (errno != 0) {
		care_free(c);
		return cm_error_errno(err, "cannot start the scrub's thread");
	}
	errno = pthread_create(&c->keeper, NULL, keeper_main, c);
	if (errno != 0) {
		cm_error_errno(err, "cannot start the backups' thread");
		tell_to_stop(c);
		pthread_join(c->scrubber, NULL);
		care_free(c);
		return CM_ERR_IO;
	}
	*ret = c;
	return 0;
}

bool cm_care_stop(struct cm_care *c)
{
	if (!c)
		return true;
	tell_to_stop(c);
	if (!join(c->scrubber) || !join(c->keeper))
		return false;
	care_free(c);
	return true;
}
