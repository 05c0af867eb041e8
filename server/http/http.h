/*
 * http.h - the server's HTTP engine as the rest of server/ sees it. Only the
 * files of this folder know libmicrohttpd.
 *
 * Network threads, one a core, parse, route, look up, send files and read
 * bodies. What may block runs on the worker pool while its connection is
 * suspended. One more thread watches for slow clients (conn.c).
 */
#ifndef CM_HTTP_H
#define CM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

#include "request.h"

struct cm_auth;
struct cm_health;
struct cm_http;
struct cm_metrics;
struct cm_router;
struct cm_workers;

/* All pointers are borrowed until cm_http_stop() returns. */
struct cm_http_options {
	int listen_fd; /* taken over when the start succeeds */
	unsigned threads;
	unsigned max_connections;
	bool access_log;
	const char *public_url; /* "https://host:port", or NULL: not known */
	struct cm_store *store;
	const struct cm_router *router;
	struct cm_auth *auth;
	struct cm_workers *workers;
	struct cm_health *health;
	struct cm_metrics *metrics;
	/*
	 * The engine that the figures are of, for one that only tells them; its
	 * own requests are not counted then. NULL: this one.
	 */
	struct cm_http *main;
};

/* Starts to serve. Caller ends it with cm_http_stop(). */
int cm_http_start(const struct cm_http_options *options, struct cm_http **ret,
		  struct cm_error *err);

/* Requests whose reply has not gone out yet. */
size_t cm_http_busy(const struct cm_http *h);

/* Connections open. */
size_t cm_http_connections(const struct cm_http *h);

/* Closes the connections on which no request is under way. */
void cm_http_close_idle(struct cm_http *h);

/*
 * Cuts all connections and frees. The workers must have stopped: libmicrohttpd
 * aborts when a suspended connection is left. NULL is legal.
 */
void cm_http_stop(struct cm_http *h);

/* The health, and the counts, of the server that a request came to. */
struct cm_health *cm_request_health(const struct cm_request *r);
struct cm_metrics *cm_request_metrics(const struct cm_request *r);

#endif
