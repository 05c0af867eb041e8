/* internal.h - what the files of this folder share; nobody else includes it. */
#ifndef CM_HTTP_INTERNAL_H
#define CM_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "auth.h"
#include "http/http.h"
#include "router.h"
#include "uri.h"

#define CM_REPLY_HEADERS_SIZE 4096 /* OCI-Tag may name many tags */
#define CM_NOTE_SIZE	      32
#define CM_REMOTE_SIZE	      80

/* ---- conn.c: connections, and the watch over slow ones --------------- */

/* What a connection is at; decides which limit of time holds. */
enum cm_conn_phase {
	CM_CONN_HEADERS,   /* fresh, or a request line came: headers due */
	CM_CONN_BODY,	   /* a body comes: minimum rate */
	CM_CONN_WORKING,   /* waits for a worker: no limit */
	CM_CONN_SENDING,   /* a reply goes: minimum rate */
	CM_CONN_IDLE,	   /* between requests */
	CM_CONN_LINGERING, /* replied early, swallowing the rest */
};

/*
 * One per connection, in a list under conns->lock: until its first byte one of
 * the acceptor's, then one of its network thread's. That thread writes used,
 * phase and since_ms; the watch reads them, and owns the rest.
 */
struct cm_conn {
	struct cm_conn *prev, *next;
	int fd;		   /* open for as long as the conn is in the list */
	_Atomic bool used; /* has had a request */
	_Atomic int phase;
	_Atomic int64_t since_ms;
	int64_t window_ms;     /* start of the present window of the rate */
	uint64_t window_bytes; /* moved when it started */
	unsigned gone_looks;   /* in a row that found the sender gone, */
	int64_t gone_since_ms; /* while since_ms was this */
	char remote[CM_REMOTE_SIZE];
};

struct cm_conns {
	pthread_mutex_t lock;
	struct cm_conn *head; /* under the lock */
	_Atomic size_t len;
	pthread_t watch;
	pthread_mutex_t stop_lock;
	pthread_cond_t stop_wake;
	bool stopping; /* under stop_lock */
};

/* Starts the watch. Caller ends it with cm_conns_stop(). */
int cm_conns_start(struct cm_conns *c, struct cm_error *err);
void cm_conns_stop(struct cm_conns *c);

/* libmicrohttpd's notice of an accepted or closed connection. */
void cm_conns_notify(void *cls, struct MHD_Connection *connection,
		     void **context, enum MHD_ConnectionNotificationCode what);

/*
 * Puts a connection on `fd` into the list; `addr`, whom it is from, may be
 * NULL. NULL without memory. Caller ends it with cm_conns_drop(), before it
 * closes the descriptor.
 */
struct cm_conn *cm_conns_add(struct cm_conns *conns, int fd,
			     const struct sockaddr *addr);

/* Takes a connection out of the list and frees it. */
void cm_conns_drop(struct cm_conns *conns, struct cm_conn *c);

/* The conn of a connection; NULL if there was no memory for it. */
struct cm_conn *cm_conn_of(struct MHD_Connection *connection);

/* Moves on to a phase, now. `c` may be NULL. */
void cm_conn_enter(struct cm_conn *c, enum cm_conn_phase phase);

/* Shuts down connections without a request; libmicrohttpd then closes them. */
void cm_conns_shut_idle(struct cm_conns *c);

/* ---- accept.c: connections before their first byte --------------------- */

struct cm_acceptor;

/*
 * Starts to accept from h->options.listen_fd, on a thread of its own, for
 * h->daemon. Caller ends it with cm_acceptor_stop(). On failure the descriptor
 * is still the caller's.
 */
int cm_acceptor_start(struct cm_http *h, struct cm_acceptor **ret,
		      struct cm_error *err);

/* Closes the listening socket and who waits. NULL is legal. */
void cm_acceptor_stop(struct cm_acceptor *a);

/* ---- cache.c: replies that many requests share ------------------------ */

struct cm_cache;

/* A response in the cache; holders count. */
struct cm_cached;

/* A cache of at most `max_bytes`. Caller frees; no holder may be left. */
int cm_cache_new(size_t max_bytes, struct cm_cache **ret, struct cm_error *err);
void cm_cache_free(struct cm_cache *c);

/* What makes two replies the same: the content, and every header. */
struct cm_cache_key {
	struct cm_digest digest;
	bool stored;	     /* the stored bytes, whatever their coding */
	const char *headers; /* as in struct cm_request */
	size_t headers_len;
};

/* Is there any reply of this content? */
bool cm_cache_has(struct cm_cache *c, const struct cm_digest *d);

/*
 * Looks a reply up; NULL if it is not there. `*ret_wanted` then says whether
 * it has been asked for lately, so that it is worth cm_cache_put(). Caller
 * lets go with cm_cached_release().
 */
struct cm_cached *cm_cache_get(struct cm_cache *c,
			       const struct cm_cache_key *key,
			       bool *ret_wanted);

/*
 * Puts a response of `body_len` bytes in, taking it over in any case. Returns
 * a holder, to be released, or NULL without memory.
 */
struct cm_cached *cm_cache_put(struct cm_cache *c,
			       const struct cm_cache_key *key,
			       struct MHD_Response *response, size_t body_len);

/* Borrowed until released. */
struct MHD_Response *cm_cached_response(const struct cm_cached *e);

/* NULL is legal. */
void cm_cached_release(struct cm_cached *e);

/* ---- the engine and a request ----------------------------------------- */

struct cm_http {
	struct cm_http_options options;
	struct MHD_Daemon *daemon;
	struct cm_acceptor *acceptor;
	struct cm_conns conns;
	struct cm_cache *cache;
	int64_t started_ms;
	_Atomic int64_t busy;
};

/* Where a request is; exchange.c moves it on. */
enum cm_stage {
	CM_STAGE_HEADERS, /* nothing decided yet */
	CM_STAGE_BODY,	  /* pieces go to the handler */
	CM_STAGE_DISCARD, /* the reply is made, the body's rest is dropped */
	CM_STAGE_LINGER,  /* the reply is out by hand, see linger.c */
	CM_STAGE_FINISH,  /* the body is whole */
	CM_STAGE_WORKING, /* suspended; a worker has it */
	CM_STAGE_QUEUED,  /* the reply is libmicrohttpd's */
};

/* A reply that was made and not handed to libmicrohttpd yet. */
struct cm_reply {
	int status; /* 0: none made */
	struct MHD_Response *response;
	struct cm_cached *cached; /* if the response is shared */
	const void *memory; /* the body, if it lies in memory; else NULL */
	int64_t len;	    /* of the body that goes out */
};

/* Memory that lives as long as the request, for the odd joined header. */
struct cm_scrap {
	struct cm_scrap *next;
	char bytes[];
};

/*
 * One request, from the request line to libmicrohttpd's notice that it is
 * over. One thread at a time has it: the network thread of its connection,
 * or, while suspended, a worker.
 */
struct cm_request {
	struct cm_http *http;
	struct MHD_Connection *connection;
	struct cm_conn *conn; /* may be NULL */
	enum cm_stage stage;
	bool started; /* the gates were passed, or failed */
	bool expects_continue;
	bool chunked;
	bool head;
	bool uri_cut; /* longer than CM_URI_MAX */
	int64_t began_us;
	int64_t content_length; /* announced; -1: none */
	int64_t received;	/* bytes of body */
	int64_t linger_until_ms;
	const char *method;
	const char *raw_path;
	struct cm_query query;
	struct cm_match match;
	struct cm_identity identity;
	void *state;
	int (*deferred)(struct cm_request *r, struct cm_error *err);
	int forced_status; /* a gate's, whatever the face says; 0: none */
	char note[CM_NOTE_SIZE];
	bool looked_up; /* kind and lookups are set */
	enum cm_kind kind;
	struct cm_usage lookups; /* hits, misses and errors only */
	struct cm_reply reply;
	size_t headers_len;
	/* Fields of the reply to come: name NUL value NUL, repeated. */
	char headers[CM_REPLY_HEADERS_SIZE];
	struct cm_scrap *scraps;
	char *path;  /* decoded, cut up by the router; in text[] */
	char *args;  /* decoded query; in text[] */
	char text[]; /* the raw target, then room for the two above */
};

/* request.c: a request for the raw target `uri`; NULL without memory. */
struct cm_request *cm_request_new(struct cm_http *h, const char *uri);

/* Lets go of all it holds; the handler's release is called. */
void cm_request_free(struct cm_request *r);

/*
 * framing.c: what libmicrohttpd lets pass and must not (RFC 9112 §6): fills
 * in content_length, chunked and expects_continue. After a failure the
 * connection must be closed; r->forced_status is set.
 */
int cm_framing_check(struct cm_request *r, const char *version,
		     struct cm_error *err);

/*
 * gates.c: splits, routes, identifies, checks. On failure r->forced_status
 * may be set.
 */
int cm_gates_pass(struct cm_request *r, struct cm_error *err);

/* exchange.c: libmicrohttpd's callbacks. */
void *cm_exchange_begin(void *cls, const char *uri,
			struct MHD_Connection *connection);
enum MHD_Result cm_exchange_access(void *cls, struct MHD_Connection *connection,
				   const char *url, const char *method,
				   const char *version, const char *data,
				   size_t *size, void **context);
void cm_exchange_end(void *cls, struct MHD_Connection *connection,
		     void **context, enum MHD_RequestTerminationCode why);

/* reply.c: makes the reply for a failure, by the face's fail(). */
void cm_reply_fail(struct cm_request *r, const struct cm_error *err);

/* Takes back the reply made so far; its header fields stay. */
void cm_reply_drop(struct cm_request *r);

/*
 * Makes `response` the reply, taking it over in any case: adds the headers.
 * `memory` and `len` as in struct cm_reply. NULL stands for no memory.
 */
int cm_reply_take(struct cm_request *r, int status,
		  struct MHD_Response *response, const void *memory,
		  int64_t len, struct cm_error *err);

/* Makes a shared response the reply, taking the holder over. */
void cm_reply_share(struct cm_request *r, struct cm_cached *cached,
		    int64_t len);

/* Adds Content-Type to the headers; NULL: application/octet-stream. */
int cm_reply_type(struct cm_request *r, const char *content_type,
		  struct cm_error *err);

/* Copies the headers so far to a response; false without memory. */
bool cm_reply_add_headers(const struct cm_request *r,
			  struct MHD_Response *response);

/* Hands the reply to libmicrohttpd. */
enum MHD_Result cm_reply_queue(struct cm_request *r);

/*
 * challenge.c: adds the WWW-Authenticate that a 401 brings with it, and says
 * that it must not be stored.
 */
void cm_challenge_add(struct cm_request *r);

/*
 * linger.c: answers a request whose body is still coming, past libmicrohttpd,
 * which takes no reply then: writes the reply to the socket, ends our
 * direction, and swallows what comes for a while, so that the client reads the
 * reply before it is told of the closed connection. False if it cannot: the
 * connection must be closed.
 */
bool cm_linger_start(struct cm_request *r);

/* Is it time to close? */
bool cm_linger_over(const struct cm_request *r);

/* Microseconds of a clock that never jumps. */
int64_t cm_http_now_us(void);

#endif
