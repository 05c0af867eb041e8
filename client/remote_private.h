/*
 * remote_private.h - what the transport's own files share. No other file
 * includes it; everybody else sees remote.h.
 *
 *	remote.c           a remote: options, breaker, features, counters
 *	remote_http.c      one exchange on a connection: attempts and retries
 *	remote_auth.c      tokens of a registry's token service
 *	remote_error.c     an answer's status and body as a cm_error
 *	remote_url.c       addresses: the base, and Location against it
 *	remote_wire.c      zstd to and from the wire
 *	remote_blob.c      blobs
 *	remote_manifest.c  manifests and tags
 *	remote_api.c       the administration API
 */
#ifndef CM_CLIENT_REMOTE_PRIVATE_H
#define CM_CLIENT_REMOTE_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zstd.h>

#include "remote.h"

/*
 * `lock` guards `gone`, `why`, `failures`, `features_known` and `features`; it
 * is never held during traffic. The counters and `cancelled` are atomic. The
 * rest is fixed once made.
 */
struct cm_remote {
	char *base;	     /* "http://host:port", no slash at the end */
	char *authorization; /* a whole header line, or NULL */
	char *ca_file;	     /* NULL: what libcurl was built with */
	int64_t connect_ms;
	int64_t stall_ms;

	atomic_bool cancelled;
	atomic_int_least64_t sent, received, requests;

	pthread_mutex_t lock;
	bool gone;	     /* the breaker is open */
	struct cm_error why; /* what opened it */
	unsigned failures;   /* exchanges in a row that ended in 429 or 5xx */
	bool features_known;
	struct cm_remote_features features;
};

/* A growing buffer that its owner keeps for the next exchange. */
struct cm_buffer {
	char *data;
	size_t len, cap;
};

struct cm_connection {
	struct cm_remote *remote;
	CURL *curl;
	ZSTD_CCtx *compressor;	 /* made when first needed */
	ZSTD_DCtx *decompressor; /* likewise */
	struct cm_buffer body;	 /* the last answer, unless it went to `dst` */
	struct cm_buffer wire;	 /* a compressed upload */
	char *bearer; /* a header line with the last token fetched, or NULL */
	char curl_error[CURL_ERROR_SIZE];
};

#define CM_EXCHANGE_HEADERS_MAX 6

/* One request and what came back. Zero it, then fill the first part. */
struct cm_exchange {
	const char *method; /* "GET", "HEAD", "POST", "PUT" */
	const char *path;   /* "/v2/…" beneath the base; or NULL and */
	const char *url;    /* a whole address, of cm_url_resolve() */
	bool foreign;	    /* `url` is of another origin: no credentials */
	const char *headers[CM_EXCHANGE_HEADERS_MAX]; /* "Name: value" */
	const void *body;			      /* of a POST or PUT */
	size_t body_len;
	void *dst; /* an answer of 2xx goes here: exactly `dst_size` */
	size_t dst_size;
	size_t limit;	  /* without `dst`: bytes of a 2xx that fit */
	int64_t stall_ms; /* 0: the remote's */

	long status;
	bool zstd;	/* the answer is a zstd frame in c->body */
	size_t dst_len; /* bytes written to `dst` */
};

/*
 * Runs an exchange: refuses at once while the breaker is open, tries again
 * after 429, 5xx and cut connections for about two seconds, opens the breaker.
 * A 401 that names a token service is answered once with a token of it.
 * Success means that an answer came, of whatever `status`. Without `dst` the
 * answer's body is in c->body until the next exchange.
 */
int cm_http_exchange(struct cm_connection *c, struct cm_exchange *x,
		     struct cm_error *err);

/*
 * The last answer's header `name`, or NULL. Borrowed until the next exchange.
 */
const char *cm_http_header(struct cm_connection *c, const char *name);

/*
 * Turns an answer that the caller can't use into a failure: status and the
 * message of the registry's own error body. Returns err->status.
 */
int cm_http_refused(struct cm_connection *c, const struct cm_exchange *x,
		    const char *what, struct cm_error *err);

/* ---- remote_auth.c --------------------------------------------------- */

#define CM_CHALLENGE_VALUE_SIZE 1024

/* A Bearer challenge's parameters; "" where one is not there. */
struct cm_challenge {
	char realm[CM_CHALLENGE_VALUE_SIZE]; /* never "" */
	char service[CM_CHALLENGE_VALUE_SIZE];
	char scope[CM_CHALLENGE_VALUE_SIZE];
};

/*
 * Finds the first Bearer challenge with a realm in a WWW-Authenticate field
 * (RFC 9110 §11.6.1); false if there is none.
 */
bool cm_challenge_parse(const char *text, struct cm_challenge *ret);

/*
 * The last answer was a 401: fetches a token of the service that it names, for
 * the exchange to be tried again. 1 if there is one now, 0 if not: the service
 * refuses, or nothing names one. CM_ERR_PROTOCOL for a service that would have
 * a password sent less safely than the registry has it.
 */
int cm_auth_answer(struct cm_connection *c, struct cm_error *err);

/* Drops the token. */
void cm_auth_forget(struct cm_connection *c);

/* ---- remote.c -------------------------------------------------------- */

/* Fails with the breaker's reason if calls are refused now. */
int cm_remote_gate(struct cm_remote *r, struct cm_error *err);

/* An answer came that shows a healthy registry. */
void cm_remote_note_healthy(struct cm_remote *r);

/* An exchange ended in 429 or 5xx, all tries used. */
void cm_remote_note_busy(struct cm_remote *r, long status);

/* The registry is gone or hung, says `why`. */
void cm_remote_note_gone(struct cm_remote *r, const struct cm_error *why);

/* Appends to `b`, growing it up to `limit` bytes; CM_ERR_SIZE beyond. */
int cm_buffer_append(struct cm_buffer *b, const void *data, size_t len,
		     size_t limit, struct cm_error *err);

/* Makes room for `cap` bytes in all. */
int cm_buffer_reserve(struct cm_buffer *b, size_t cap, struct cm_error *err);

/* Empties `b`; memory beyond what a chunk needs is given back. */
void cm_buffer_reset(struct cm_buffer *b);
void cm_buffer_release(struct cm_buffer *b);

/* ---- remote_url.c ---------------------------------------------------- */

/*
 * Checks a registry's address, "http://host[:port]" or https, without user,
 * path, query or fragment, and writes it without a final slash. Caller frees.
 * CM_ERR_INVALID with a message that names what is wrong.
 */
int cm_url_parse(const char *text, char **ret_base, struct cm_error *err);

/*
 * Resolves a Location against `base` and adds "digest=" to its query. Caller
 * frees. `*ret_foreign` says that it is of another origin (scheme, host,
 * port), which must not see our credentials. CM_ERR_PROTOCOL for what is no
 * http(s) address, and for one that falls from https to http.
 */
int cm_url_resolve(const char *base, const char *location,
		   const struct cm_digest *d, char **ret_url, bool *ret_foreign,
		   struct cm_error *err);

/* ---- remote_wire.c --------------------------------------------------- */

/*
 * Compresses `data` into c->wire if that pays; `*ret_len` 0 says that it does
 * not, or that it failed, which costs only bandwidth.
 */
void cm_wire_encode(struct cm_connection *c, const void *data, size_t size,
		    size_t *ret_len);

/*
 * Decompresses c->body into `dst`, which it must fill exactly. CM_ERR_SIZE for
 * another length, CM_ERR_PROTOCOL for what is no zstd.
 */
int cm_wire_decode(struct cm_connection *c, void *dst, size_t size,
		   struct cm_error *err);

/* The most bytes that a zstd body of `size` bytes may have. */
size_t cm_wire_bound(size_t size);

/* The registry's name for this path: "/v2/REPO/KIND/REFERENCE" or an error. */
int cm_remote_path(const char *repo, const char *kind, const char *reference,
		   char **ret, struct cm_error *err);

#endif
