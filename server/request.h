/*
 * request.h - what a face sees of HTTP: a request to read from, and one reply
 * to make. No face names libmicrohttpd; only http.c does.
 *
 * The life of a request, in order:
 *
 *	route      method and raw path pick a struct cm_route (router.c)
 *	gates      drain, framing, identity, permission on {name} (http.c)
 *	start      headers are in. Runs on a network thread: must not block.
 *	           Either makes the reply, or returns with none: then the body
 *	           is read, and finish is called.
 *	body       one call per piece, on a network thread, must not fsync
 *	finish     the body is whole, its length checked. On a worker if the
 *	           handler says `blocking`, else on the network thread. Must
 *	           make the reply, or fail.
 *	release    always once, after the reply has gone or the client has, on
 *	           any thread: frees r->state
 *
 * A handler that fails returns a negative status with `err` filled; the face's
 * `fail` turns that into its own error body. So do the gates, of whose failures
 * the server sets the HTTP status itself, whatever `fail` says: 405 (err is
 * CM_ERR_UNSUPPORTED), 413, 417, 431 (CM_ERR_SIZE, …), 503 with Retry-After
 * (CM_ERR_BUSY, CM_ERR_UNAVAILABLE). A path whose {name} is no legal repository
 * name is CM_ERR_INVALID, and is told from other faults of form by
 * cm_request_param(r, "name") being NULL while the route has a {name}:
 * cm_request_route(r) tells which one matched, NULL for an unknown path.
 *
 * A handler without `body` accepts no body: one that comes is refused (if
 * announced) with 400. A handler without `finish` must reply in start, or hand
 * over with cm_request_defer().
 */
#ifndef CM_SERVER_REQUEST_H
#define CM_SERVER_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>
#include <cachemount/store.h>

struct cm_access;
struct cm_server;
struct cm_request;

/* What an identity may do; a set of bits. None implies another. */
enum cm_permission {
	CM_PERM_NONE = 0,
	CM_PERM_PULL = 1 << 0,
	CM_PERM_PUSH = 1 << 1,
	CM_PERM_DELETE = 1 << 2,
	CM_PERM_ADMIN = 1 << 3,
	/* Of a route: everyone may, but credentials that come must be good. */
	CM_PERM_OPEN = 1 << 4,
};

struct cm_handler {
	int (*start)(struct cm_request *r, struct cm_error *err);
	int (*body)(struct cm_request *r, const void *data, size_t len,
		    struct cm_error *err);
	int (*finish)(struct cm_request *r, struct cm_error *err);
	void (*release)(void *state); /* of r's state; may be NULL */
	bool blocking;		      /* finish runs on a worker */
	int64_t body_max;	      /* bytes; a longer body is 413 */
};

/*
 * One row of a face's table. `pattern` is a path whose segments in braces are
 * parameters: {name} takes one or more segments and must be a legal
 * repository name, any other takes exactly one. Matching is done from the
 * right, on the raw path; a segment that holds a percent escape is decoded
 * first and refused if it decodes to "/" or NUL. "GET" serves HEAD as well.
 * A path that is known with another method is 405 with Allow; an unknown path
 * is 404. `permission` is checked on {name}, or, without one, on the server.
 */
struct cm_route {
	const char *method;
	const char *pattern;
	enum cm_permission permission;
	const struct cm_handler *handler;
};

/* A face: a table of routes under one prefix, and its own error body. */
struct cm_face {
	const char *name;   /* for logs and counters: "oci", "api" */
	const char *prefix; /* "/v2/", "/api/v1/" */
	const struct cm_route *routes;
	size_t routes_len;
	/*
	 * Where its clients fetch access tokens, if they know how to: they are
	 * then asked for Bearer credentials rather than Basic. NULL: they
	 * don't.
	 */
	const char *token_path;
	/* Makes the reply for a failed request; err is never CM_OK. */
	void (*fail)(struct cm_request *r, const struct cm_error *err);
};

/* The table of faces, in faces/faces.c: the one file a new face touches. */
extern const struct cm_face *const cm_faces[];
extern const size_t cm_faces_len;

/* ---- reading the request -------------------------------------------- */

/* All strings are borrowed until the request is released. */
struct cm_store *cm_request_store(struct cm_request *r);
bool cm_request_is_head(const struct cm_request *r);

/* The row of the table that was picked; NULL if no path matched. */
const struct cm_route *cm_request_route(const struct cm_request *r);

/* A path parameter by its name in the pattern ("name", "digest"), decoded. */
const char *cm_request_param(const struct cm_request *r, const char *name);

/* A query argument, decoded; NULL if absent; the first if repeated. */
const char *cm_request_query(const struct cm_request *r, const char *name);

/*
 * The values of a query argument that may be repeated, in order: how many there
 * are; the first `max` of them in `ret`.
 */
size_t cm_request_query_all(const struct cm_request *r, const char *name,
			    const char **ret, size_t max);

/* A header field's value; NULL if absent. Repeated lists are joined ", ". */
const char *cm_request_header(const struct cm_request *r, const char *name);

/* Announced Content-Length, or -1 (none, or chunked). */
int64_t cm_request_content_length(const struct cm_request *r);

/* The token's name, or NULL for an anonymous client. */
const char *cm_request_identity(const struct cm_request *r);

/* May this identity do `p` on `repo`? (For mount's `from`, listings.) */
bool cm_request_may(const struct cm_request *r, enum cm_permission p,
		    const char *repo);

/*
 * Has the client named itself, as far as it can? False if there are tokens, and
 * it sent none of any kind. It may still be allowed to go on.
 */
bool cm_request_has_credentials(const struct cm_request *r);

/*
 * Issues an access token to the request's identity, or, with `secret`, to the
 * identity of that: cm_auth_issue() of auth.h, which see.
 */
int cm_request_issue(struct cm_request *r, const char *secret,
		     struct cm_access *wanted, char *ret, struct cm_error *err);

/* The face's own data; freed by handler->release. */
void *cm_request_state(const struct cm_request *r);
void cm_request_set_state(struct cm_request *r, void *state);

/* What the handler expects as Content-Encoding of the reply's client. */
bool cm_request_accepts_zstd(const struct cm_request *r);

/* A result for the request's log line: "hit", "miss", … */
void cm_request_note(struct cm_request *r, const char *result);

/* What was looked up, as far as it can be told without asking the store. */
enum cm_kind {
	CM_KIND_BLOB,
	CM_KIND_MANIFEST, /* of no kind below, or it was not read or not there
			   */
	CM_KIND_SNAPSHOT,
	CM_KIND_IMAGE,
	CM_KIND_BUILDKIT_CACHE,
	CM_KIND_UPLOAD, /* asked for so as not to upload it; and uploads */
	CM_KIND_OTHER,	/* traffic that looks nothing up */
	CM_KINDS_LEN,
};

/*
 * Counts a lookup that ended with `status`: 0 a hit, CM_ERR_NOT_FOUND a miss,
 * else an error; and notes which for the log. Once a request.
 */
void cm_request_lookup(struct cm_request *r, enum cm_kind kind, int status);

/* The same for many at once, without a note. */
void cm_request_looked_up(struct cm_request *r, enum cm_kind kind, int64_t hits,
			  int64_t misses);

/*
 * From start: go on in `fn` on a worker, where blocking is allowed; the
 * connection waits. `fn` has finish's duties.
 */
int cm_request_defer(struct cm_request *r,
		     int (*fn)(struct cm_request *r, struct cm_error *err),
		     struct cm_error *err);

/* ---- making the reply: exactly one cm_reply_* call a request --------- */

/*
 * Adds a header field to the reply to come. Values with bytes below 0x20 are
 * refused. Content-Length and Connection are not the face's business.
 */
int cm_reply_header(struct cm_request *r, const char *name, const char *fmt,
		    ...) CM_PRINTF(3, 4);

/* A reply without body. */
int cm_reply_status(struct cm_request *r, int status, struct cm_error *err);

/* A JSON body, compact, with a final newline. Takes `body` in any case. */
int cm_reply_json(struct cm_request *r, int status, json_t *body,
		  struct cm_error *err);

/* Copies `len` bytes. `content_type` NULL: application/octet-stream. */
int cm_reply_bytes(struct cm_request *r, int status, const char *content_type,
		   const void *bytes, size_t len, struct cm_error *err);

/*
 * The reply to a HEAD whose GET would have `len` bytes of body.
 */
int cm_reply_head(struct cm_request *r, int status, const char *content_type,
		  int64_t len, struct cm_error *err);

/* How much of a blob, and in what coding, a reply sends. */
struct cm_blob_part {
	bool stored;	/* the stored bytes as they are (whole blob only) */
	int64_t offset; /* else: content from here … */
	int64_t len;	/* … so many bytes */
};

/*
 * Sends a blob or part of it; takes `b` in any case, and on failure drops the
 * header fields added so far, which described the blob. A part of a zstd blob
 * that is not sent as stored must have been sought with cm_blob_seek().
 * Content small enough is sent from memory, files by sendfile.
 */
int cm_reply_blob(struct cm_request *r, int status, struct cm_blob *b,
		  const struct cm_blob_part *part, const char *content_type,
		  struct cm_error *err);

/*
 * Is a reply with this content kept ready? It is of somebody who may have had
 * it: whether this request may is for the store to say.
 */
bool cm_reply_blob_kept(struct cm_request *r, const struct cm_digest *d);

/*
 * Sends a whole blob, with 200, as cm_reply_blob() would, from what is kept
 * ready, so that it need not be opened: 1. If none has these header fields, the
 * fields are dropped: 0. `stored`: as in struct cm_blob_part.
 */
int cm_reply_blob_ready(struct cm_request *r, const struct cm_blob_info *info,
			bool stored, struct cm_error *err);

/* The HTTP status that stands for a failure, where a face has no other idea. */
int cm_status_to_http(enum cm_status status);

/* ---- server figures (for the administration face) -------------------- */

struct cm_server_figures {
	int64_t started_ms; /* wall clock */
	int64_t connections;
	int64_t under_way; /* requests */
	int64_t requests;
	int64_t sent_bytes;
	int64_t received_bytes;
	bool draining;
};

void cm_server_figures(const struct cm_request *r,
		       struct cm_server_figures *ret);

#endif
