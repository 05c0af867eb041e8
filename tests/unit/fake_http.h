/*
 * fake_http.h - an HTTP server for tests, on loopback, that answers what the
 * test tells it to, misbehaviour included.
 */
#ifndef CM_TESTS_FAKE_HTTP_H
#define CM_TESTS_FAKE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct fake_http;

/* A request as it came. */
struct fake_request {
	char method[16];
	char target[2048];
	char head[16384]; /* all header lines, as sent */
	char *body;	  /* `body_len` bytes and a NUL */
	size_t body_len;
	unsigned number; /* 0 for the first that this server saw */
};

/*
 * Answers one request by writing to `fd`, raw. Returns whether the connection
 * stays open. Runs on a thread of the connection's own.
 */
typedef bool (*fake_handler)(int fd, const struct fake_request *r, void *arg);

/* Starts a server; stop it with fake_http_stop(). */
struct fake_http *fake_http_start(fake_handler handler, void *arg);
void fake_http_stop(struct fake_http *f);

/* "http://127.0.0.1:PORT"; lives as long as the server. */
const char *fake_http_url(const struct fake_http *f);

/* How many requests and connections came so far. */
unsigned fake_http_requests(struct fake_http *f);
unsigned fake_http_connections(struct fake_http *f);

/* Writes a whole answer with Content-Length; `headers` end in CRLF each. */
bool fake_answer(int fd, int status, const char *headers, const void *body,
		 size_t len);

/* The value of a header of the request, or NULL, in `out`. */
const char *fake_header(const struct fake_request *r, const char *name,
			char *out, size_t size);

#endif
