/*
 * remote.h - a registry as the snapshot engine sees it: repositories with
 * blobs, manifests and tags (OCI distribution-spec 1.1), and the extension of
 * protocol.h where the registry has it.
 *
 * A cm_remote is shared by threads; each thread that talks takes a
 * cm_connection of its own (one keep-alive HTTP connection).
 *
 * Failing open (design §7): limits on connecting, on a stalled transfer and on
 * the whole, and a circuit breaker: after the registry was found gone or hung,
 * every further call fails at once with CM_ERR_UNAVAILABLE.
 *
 * Errors of all calls: CM_ERR_NOT_FOUND (404), CM_ERR_PRECONDITION (412),
 * CM_ERR_UNAUTHORIZED, CM_ERR_DENIED, CM_ERR_NO_SPACE (507), CM_ERR_BUSY
 * (429, 503), CM_ERR_UNAVAILABLE (cannot connect, time out, cut off, 5xx),
 * CM_ERR_PROTOCOL (an answer outside the contract), CM_ERR_DIGEST (bytes are
 * not what the digest says), CM_ERR_SIZE, CM_ERR_MISSING_BLOB (a manifest put
 * names blobs that have gone), CM_ERR_CANCELLED, CM_ERR_NO_MEMORY. The message
 * holds the registry's own where it sent one.
 *
 * What is worth another try (429, 5xx, a connection cut midway) has been tried
 * again for about two seconds before a call fails.
 */
#ifndef CM_CLIENT_REMOTE_H
#define CM_CLIENT_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>

struct cm_remote;
struct cm_connection;

struct cm_remote_options {
	const char *url;     /* "http://host:port" or "https://…"; no path */
	const char *token;   /* "user:password": Basic; else Bearer; or NULL */
	const char *ca_file; /* NULL: the machine's, probed */
	int64_t connect_ms;  /* 0: 1,000 */
	int64_t stall_ms;    /* no byte moved for so long: gone; 0: 5,000 */
};

/* Makes a remote; no traffic yet. Caller frees with cm_remote_free(). */
int cm_remote_new(const struct cm_remote_options *options,
		  struct cm_remote **ret, struct cm_error *err);
void cm_remote_free(struct cm_remote *r);

CM_DEFINE_CLEANUP(remote, struct cm_remote, cm_remote_free);

/* What the extension offers; all false for another registry. */
struct cm_remote_features {
	bool missing;
	bool zstd;
	bool if_match;
};

/* Asks once, then remembers. */
int cm_remote_features(struct cm_remote *r, struct cm_connection *c,
		       struct cm_remote_features *ret, struct cm_error *err);

/*
 * Makes every call from now on fail with CM_ERR_CANCELLED; one that is under
 * way ends within a second. Async-signal-safe.
 */
void cm_remote_cancel(struct cm_remote *r);

/* The registry's address, "http://host:port". Lives as long as `r`. */
const char *cm_remote_url(const struct cm_remote *r);

/* Has the breaker opened? */
bool cm_remote_is_gone(struct cm_remote *r);

/* Closes the breaker: after a long build the registry may be back. */
void cm_remote_revive(struct cm_remote *r);

/* Bytes moved so far, as on the wire, headers excluded. Any thread. */
struct cm_remote_traffic {
	int64_t sent;
	int64_t received;
	int64_t requests;
};
void cm_remote_traffic(struct cm_remote *r, struct cm_remote_traffic *ret);

int cm_connection_new(struct cm_remote *r, struct cm_connection **ret,
		      struct cm_error *err);
void cm_connection_free(struct cm_connection *c);

CM_DEFINE_CLEANUP(connection, struct cm_connection, cm_connection_free);

/*
 * Sets missing[i] for each of `n` digests that `repo` does not have. Asks in
 * batches where the extension allows, else by HEAD. With `mount`, blobs that
 * the registry has elsewhere are made visible in `repo` on the way.
 */
int cm_remote_missing(struct cm_connection *c, const char *repo,
		      const struct cm_digest *digests, size_t n, bool mount,
		      bool *missing, struct cm_error *err);

/*
 * Fetches a blob into `buf`, whose size `size` must be the blob's exactly.
 * Decodes zstd from the wire; the digest has been verified on success.
 */
int cm_remote_blob_get(struct cm_connection *c, const char *repo,
		       const struct cm_digest *d, void *buf, size_t size,
		       struct cm_error *err);

/*
 * Uploads a blob of `size` bytes, as zstd if the registry takes it and it
 * pays. The caller has found it missing.
 */
int cm_remote_blob_put(struct cm_connection *c, const char *repo,
		       const struct cm_digest *d, const void *data, size_t size,
		       struct cm_error *err);

/* A manifest as fetched; `bytes` verified against `digest`. */
struct cm_remote_manifest {
	struct cm_digest digest;
	char *media_type;
	char *bytes; /* `len` of them and a NUL */
	size_t len;
};

void cm_remote_manifest_release(struct cm_remote_manifest *m);

/*
 * Fetches a manifest by tag or digest text. With `known` not NULL and the
 * registry still naming that digest, nothing is transferred: `bytes` is NULL
 * and `digest` is `*known`.
 */
int cm_remote_manifest_get(struct cm_connection *c, const char *repo,
			   const char *reference, const struct cm_digest *known,
			   struct cm_remote_manifest *ret,
			   struct cm_error *err);

/*
 * Puts a manifest under `tag`. `expect` NULL: whatever is there; all zero: the
 * tag must be absent; else it must name `*expect` (If-Match, where the registry
 * has it; elsewhere checked by a HEAD just before, which leaves a gap).
 * CM_ERR_PRECONDITION if not so.
 */
int cm_remote_manifest_put(struct cm_connection *c, const char *repo,
			   const char *tag, const char *media_type,
			   const void *bytes, size_t len,
			   const struct cm_digest *expect,
			   struct cm_digest *ret_digest, struct cm_error *err);

/*
 * Calls the administration API: `method` "GET" or "POST", `body` JSON text or
 * NULL. Writes the answer's JSON text (NUL-terminated, at most 64 MiB) to
 * `*ret_body`, which the caller frees. CM_ERR_UNSUPPORTED if the registry has
 * no such API.
 */
int cm_remote_api(struct cm_connection *c, const char *method,
		  const char *path_and_query, const char *body, char **ret_body,
		  struct cm_error *err);

#endif
