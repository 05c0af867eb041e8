/*
 * server.c - assembling the daemon, waiting for signals, draining.
 *
 * Threads, from the outside in: network threads (http/), workers, the watch
 * over slow clients, two of upkeep, two of care, the log's. Signals are blocked
 * in all of them and taken by the main thread, here. Closing goes the other way
 * round of opening: workers first, since the engine must have no suspended
 * connection when it stops, the store last.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/cleanup.h>
#include <cachemount/store.h>
#include <cachemount/units.h>

#include "auth.h"
#include "care.h"
#include "figures.h"
#include "health.h"
#include "http/http.h"
#include "listen.h"
#include "log.h"
#include "metrics.h"
#include "router.h"
#include "server.h"
#include "token_key.h"
#include "upkeep.h"
#include "worker.h"

/* Jobs that may wait for a worker; beyond it, 503. */
#define QUEUE_PER_WORKER 32

#define FACES_MAX	8
#define GRACE_MS	1000 /* new requests are served as usual for so long */
#define DRAIN_STEP_MS	50
#define WORKERS_WAIT_MS 5000

/*
 * Blocks of this size and above go back to the system when they are freed.
 * Otherwise the C library learns to keep larger ones, and a burst of transfers
 * stays resident for good.
 */
#define MMAP_THRESHOLD (256 * 1024)

struct cm_server {
	const struct cm_config *config;
	struct cm_address address;
	unsigned anonymous;
	const struct cm_face *faces[FACES_MAX];
	struct cm_store *store;
	struct cm_auth *auth;
	struct cm_router *router;
	struct cm_health *health;
	struct cm_workers *workers;
	struct cm_metrics *metrics;
	struct cm_http *http;
	struct cm_figures *figures; /* NULL: no port of their own */
	struct cm_upkeep *upkeep;
	struct cm_care *care;
};

static void take_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error, no end */
}

/* What the anonymous may do: never more than somebody has said, or loopback. */
static enum cm_exit decide_anonymous(struct cm_server *s, struct cm_error *err)
{
	const struct cm_config *c = s->config;

	if (cm_address_parse(c->listen, &s->address, err) < 0) {
		cm_error_wrap(err, "listen");
		return CM_EXIT_USAGE;
	}
	s->anonymous = c->anonymous;
	if (c->anonymous_set || c->token_file)
		return CM_EXIT_OK;
	if (s->address.loopback) {
		s->anonymous = CM_PERM_PULL | CM_PERM_PUSH | CM_PERM_DELETE |
			       CM_PERM_ADMIN;
		return CM_EXIT_OK;
	}
	cm_error_set(err, CM_ERR_DENIED,
		     "%s can be reached from other machines: give "
		     "--token-file=FILE, or --allow-anonymous=pull|push",
		     c->listen);
	return CM_EXIT_USAGE;
}

static enum cm_exit open_store(struct cm_server *s, struct cm_error *err)
{
	struct cm_store_options options = {
		.data_dir = s->config->data,
		.lease_ms = s->config->lease_ms,
		.upload_ttl_ms = s->config->upload_ttl_ms,
		.max_bytes = s->config->max_bytes,
		.high_percent = (int)s->config->high_percent,
		.low_percent = (int)s->config->low_percent,
		.quotas = s->config->quotas,
		.quotas_len = s->config->quotas_len,
	};

	switch (cm_store_open(&options, &s->store, err)) {
	case CM_OK:
		return CM_EXIT_OK;
	case CM_ERR_BUSY:
		return CM_EXIT_BUSY;
	case CM_ERR_CORRUPT:
		return CM_EXIT_CORRUPT;
	case CM_ERR_UNSUPPORTED:
		return CM_EXIT_TOO_NEW;
	default:
		return CM_EXIT_DATA;
	}
}

/* A folder that takes no key costs a warning: tokens then end with the run. */
static void share_token_key(struct cm_server *s)
{
	uint8_t key[CM_ACCESS_KEY_LEN];
	struct cm_error err;

	if (!cm_auth_has_tokens(s->auth))
		return;
	if (cm_token_key_load(s->config->data, key, &err) == 0)
		cm_auth_use_key(s->auth, key);
	else
		cm_log(CM_LOG_WARN, "no-token-key",
		       "%s: access tokens end with this run", err.text);
	OPENSSL_cleanse(key, sizeof(key));
}

static enum cm_exit open_parts(struct cm_server *s, struct cm_error *err)
{
	size_t workers = (size_t)s->config->workers, n = 0;

	if (cm_auth_new(s->config->token_file, s->anonymous, &s->auth, err) < 0)
		return CM_EXIT_USAGE;
	share_token_key(s);
	while (n < cm_faces_len && n < FACES_MAX - 1) {
		s->faces[n] = cm_faces[n];
		n++;
	}
	s->faces[n++] = &cm_health_face;
	if (cm_router_new(s->faces, n, &s->router, err) < 0 ||
	    cm_metrics_new(s->router, &s->metrics, err) < 0 ||
	    cm_health_new(&s->health, err) < 0 ||
	    cm_workers_new(workers, workers * QUEUE_PER_WORKER, &s->workers,
			   err) < 0)
		return CM_EXIT_FAILURE;
	return CM_EXIT_OK;
}

static unsigned network_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
}

static unsigned connection_limit(const struct cm_config *c)
{
	size_t wanted = (size_t)c->max_connections;
	size_t limit = cm_listen_raise_limit(wanted);

	if (limit < wanted)
		cm_log(CM_LOG_WARN, "few-descriptors",
		       "only %zu of %zu connections fit into the limit on open "
		       "files (ulimit -n)",
		       limit, wanted);
	return (unsigned)limit;
}

static void announce(const struct cm_server *s, const struct cm_address *bound)
{
	char text[CM_ADDRESS_TEXT_SIZE];
	const char *port = strrchr(s->config->listen, ':');

	cm_address_format((const struct sockaddr *)&bound->storage, text);
	cm_log(CM_LOG_INFO, "listening", "http://%s, data in %s", text,
	       s->config->data);
	if (port && strcmp(port, ":0") == 0) {
		printf("http://%s\n", text);
		fflush(stdout);
	}
}

static int start_care(struct cm_server *s, struct cm_error *err)
{
	struct cm_care_options options = {
		.store = s->store,
		.scrub_rate = s->config->scrub_rate,
		.scrub_every_ms = s->config->scrub_every_ms,
		.backup_every_ms = s->config->backup_every_ms,
		.backup_keep = s->config->backup_keep,
	};

	return cm_care_start(&options, &s->care, err);
}

/* The port of --metrics-listen, if there is to be one. */
static enum cm_exit start_figures(struct cm_server *s,
				  const struct cm_http_options *options,
				  struct cm_error *err)
{
	const char *address = s->config->metrics_listen;
	int rc = address ? cm_figures_start(address, options, s->http,
					    &s->figures, err)
			 : 0;

	if (rc == 0)
		return CM_EXIT_OK;
	return rc == CM_ERR_INVALID ? CM_EXIT_USAGE : CM_EXIT_LISTEN;
}

static enum cm_exit start_serving(struct cm_server *s, struct cm_error *err)
{
	cm_autofd int fd = -1;
	struct cm_address bound;
	enum cm_exit code;
	struct cm_http_options options = {
		.threads = network_threads(),
		.max_connections = connection_limit(s->config),
		.access_log = s->config->access_log,
		.public_url = s->config->public_url,
		.store = s->store,
		.router = s->router,
		.auth = s->auth,
		.workers = s->workers,
		.health = s->health,
		.metrics = s->metrics,
	};

	if (cm_listen(&s->address, &fd, &bound, err) < 0)
		return CM_EXIT_LISTEN;
	options.listen_fd = fd;
	if (cm_http_start(&options, &s->http, err) < 0)
		return CM_EXIT_FAILURE;
	cm_take_fd(&fd);
	code = start_figures(s, &options, err);
	if (code != CM_EXIT_OK)
		return code;
	if (cm_upkeep_start(
		    &(struct cm_upkeep_options){
			    .store = s->store,
			    .auth = s->auth,
			    .health = s->health,
			    .metrics = s->metrics,
		    },
		    &s->upkeep, err) < 0 ||
	    start_care(s, err) < 0)
		return CM_EXIT_FAILURE;
	announce(s, &bound);
	return CM_EXIT_OK;
}

static void wait_for_end(struct cm_server *s, const sigset_t *set)
{
	int sig;

	for (;;) {
		if (sigwait(set, &sig) != 0)
			continue;
		if (sig != SIGHUP)
			return;
		cm_upkeep_reload(s->upkeep);
	}
}

/* Is there nothing left to wait for? */
static bool drained(struct cm_server *s, bool grace_over)
{
	if (grace_over) {
		cm_health_set_phase(s->health, CM_PHASE_REFUSING);
		cm_http_close_idle(s->http);
	}
	return cm_http_connections(s->http) == 0 ||
	       (grace_over && cm_http_busy(s->http) == 0);
}

/* Lets running requests finish; a second signal ends that. */
static void drain(struct cm_server *s, const sigset_t *set)
{
	struct timespec step = {.tv_nsec = DRAIN_STEP_MS * 1000000L};
	int64_t began = cm_monotonic_ms(), passed;
	int sig;

	cm_log(CM_LOG_INFO, "draining", "%zu requests under way",
	       cm_http_busy(s->http));
	cm_health_set_phase(s->health, CM_PHASE_DRAINING);
	do {
		passed = cm_monotonic_ms() - began;
		if (drained(s, passed >= GRACE_MS))
			return;
		sig = sigtimedwait(set, NULL, &step);
		if (sig == SIGTERM || sig == SIGINT)
			return;
	} while (passed < s->config->drain_timeout_ms);
	cm_log(CM_LOG_WARN, "drain-timeout", "%zu requests are cut off",
	       cm_http_busy(s->http));
}

/*
 * A thread that a dead disk holds up cannot be ended. All that was answered is
 * durable, so the process may go with it.
 */
static void give_up(const char *what)
{
	cm_log(CM_LOG_WARN, "stopped-hard", "%s did not end in time", what);
	cm_log_stop();
	_exit(CM_EXIT_OK);
}

static void close_all(struct cm_server *s)
{
	if (s->workers && !cm_workers_stop(s->workers, WORKERS_WAIT_MS))
		give_up("a worker");
	if (!cm_care_stop(s->care))
		give_up("the scrub or a backup");
	if (!cm_upkeep_stop(s->upkeep))
		give_up("the upkeep");
	cm_figures_stop(s->figures);
	cm_http_stop(s->http);
	cm_metrics_free(s->metrics);
	cm_workers_free(s->workers);
	cm_health_free(s->health);
	cm_router_free(s->router);
	cm_auth_free(s->auth);
	cm_store_close(s->store);
}

enum cm_exit cm_server_run(const struct cm_config *config, struct cm_error *err)
{
	struct cm_server s = {.config = config};
	enum cm_exit code;
	sigset_t signals;

	mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	take_signals(&signals);
	code = decide_anonymous(&s, err);
	if (code == CM_EXIT_OK &&
	    cm_log_start(config->log_format, config->log_level, err) < 0)
		code = CM_EXIT_FAILURE;
	if (code == CM_EXIT_OK)
		code = open_store(&s, err);
	if (code == CM_EXIT_OK)
		code = open_parts(&s, err);
	if (code == CM_EXIT_OK)
		code = start_serving(&s, err);
	if (code == CM_EXIT_OK) {
		wait_for_end(&s, &signals);
		drain(&s, &signals);
	}
	close_all(&s);
	if (code == CM_EXIT_OK)
		cm_log(CM_LOG_INFO, "stopped", "all is written");
	cm_log_stop();
	return code;
}
