/* daemon.c - starting and stopping libmicrohttpd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cachemount/units.h>

#include "http/internal.h"
#include "http/limits.h"
#include "log.h"

#define SPARE_PER_THREAD 256

/* libmicrohttpd's own messages: about clients, so for debugging only. */
static void on_message(void *cls, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void on_message(void *cls, const char *fmt, va_list ap)
{
	char text[512];
	int n;

	(void)cls;
	if (!cm_log_enabled(CM_LOG_DEBUG))
		return;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	while (n > 0 && n < (int)sizeof(text) && text[n - 1] == '\n')
		text[--n] = '\0';
	cm_log(CM_LOG_DEBUG, "http", "%s", text);
}

/* Beyond our own limit, so that each thread's share never comes first. */
static unsigned spare_connections(const struct cm_http_options *o)
{
	return o->max_connections + o->threads * SPARE_PER_THREAD;
}

/*
 * It does not listen; accept.c does. Without MHD_OPTION_STRICT_FOR_CLIENT: all
 * that it refuses framing.c and uri.c refuse too, with a reply that is our own
 * and whole.
 */
static struct MHD_Daemon *start_daemon(struct cm_http *h)
{
	const struct cm_http_options *o = &h->options;

	return MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
			MHD_USE_ERROR_LOG,
		0, NULL, NULL, cm_exchange_access, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
		MHD_OPTION_THREAD_POOL_SIZE, o->threads > 1 ? o->threads : 0,
		MHD_OPTION_CONNECTION_LIMIT, spare_connections(o),
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CM_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CM_CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
		cm_exchange_begin, h, MHD_OPTION_NOTIFY_COMPLETED,
		cm_exchange_end, h, MHD_OPTION_NOTIFY_CONNECTION,
		cm_conns_notify, &h->conns, MHD_OPTION_END);
}

int cm_http_start(const struct cm_http_options *options, struct cm_http **ret,
		  struct cm_error *err)
{
	struct cm_http *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return cm_error_nomem(err);
	h->options = *options;
	h->started_ms = cm_now_ms();
	rc = cm_cache_new(CM_CACHE_BYTES, &h->cache, err);
	if (rc < 0) {
		free(h);
		return rc;
	}
	rc = cm_conns_start(&h->conns, err);
	if (rc < 0) {
		cm_cache_free(h->cache);
		free(h);
		return rc;
	}
	h->daemon = start_daemon(h);
	if (!h->daemon) {
		rc = cm_error_errno(err, "cannot start the HTTP engine");
		cm_http_stop(h);
		return rc;
	}
	rc = cm_acceptor_start(h, &h->acceptor, err);
	if (rc < 0) {
		cm_http_stop(h);
		return rc;
	}
	*ret = h;
	return 0;
}

size_t cm_http_busy(const struct cm_http *h)
{
	int64_t n = atomic_load(&h->busy);

	return n > 0 ? (size_t)n : 0;
}

size_t cm_http_connections(const struct cm_http *h)
{
	return atomic_load(&h->conns.len);
}

void cm_http_close_idle(struct cm_http *h)
{
	cm_conns_shut_idle(&h->conns);
}

void cm_http_stop(struct cm_http *h)
{
	if (!h)
		return;
	cm_acceptor_stop(h->acceptor);
	if (h->daemon)
		MHD_stop_daemon(h->daemon);
	cm_conns_stop(&h->conns);
	cm_cache_free(h->cache);
	free(h);
}
