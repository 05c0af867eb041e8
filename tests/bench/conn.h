/*
 * conn.h - one keep-alive HTTP/1.1 connection for the load generators: raw,
 * non-blocking, one request at a time, no copy of a body in either direction,
 * so that the generator costs as little of the shared cores as can be.
 *
 * Only what the benchmarks send and the two registries answer is spoken:
 * replies have a Content-Length (none is chunked), bodies are counted and
 * thrown away. Anything else is an error of the connection.
 */
#ifndef BENCH_CONN_H
#define BENCH_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_reply {
	int status;
	int64_t length;	     /* announced body bytes, 0 for a HEAD */
	char location[1024]; /* path and query of Location, "" if none */
};

struct bench_conn {
	int fd;		 /* -1: closed */
	char head[2048]; /* the request's line and headers */
	size_t head_len, head_sent;
	const char *body; /* borrowed until the reply is complete */
	size_t body_len, body_sent;
	bool no_content; /* the request is a HEAD: its reply has no body */
	bool waiting;	 /* a request is under way */
	bool in_body;	 /* the reply's header has been read */
	char in[8192];
	size_t in_len;
	int64_t body_left; /* of the reply */
	struct bench_reply reply;
};

/* Connects (blocking, loopback) and turns the socket non-blocking. 0 or -1. */
int bench_conn_open(struct bench_conn *c, const struct sockaddr_in *addr);

/* Closes the socket; legal on a closed one. */
void bench_conn_close(struct bench_conn *c);

/*
 * Starts a request. `head` is a printf format of request line and headers
 * with their CRLFs and the empty line; `body` is borrowed. -1 if it is too long
 * or another request is under way.
 */
int bench_conn_request(struct bench_conn *c, bool no_content, const char *body,
		       size_t body_len, const char *head, ...)
	__attribute__((format(printf, 5, 6)));

/* True while there is something to write: the caller polls for EPOLLOUT. */
bool bench_conn_wants_write(const struct bench_conn *c);

/*
 * Writes at most `budget` bytes of the request. 0, or -1 if the peer is gone.
 * Stops early when the socket is full.
 */
int bench_conn_write(struct bench_conn *c, size_t budget);

/*
 * Reads at most `budget` bytes. 1 when the reply is complete (then `reply`
 * holds it and the next request may start), 0 when more is to come, -1 if the
 * peer is gone or answers nonsense.
 */
int bench_conn_read(struct bench_conn *c, size_t budget);

/* 127.0.0.1 and the port given as text. 0, or -1 if that is no port. */
int bench_address(const char *port, struct sockaddr_in *ret);

/* Seconds on the monotonic clock. */
double bench_now(void);

#endif
