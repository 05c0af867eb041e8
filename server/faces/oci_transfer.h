/*
 * oci_transfer.h - a blob's bytes on their way from a request into an upload,
 * in whatever request they come, and the replies about it.
 *
 * Bytes go into the upload as they come, on the network thread. A body that is
 * cut off leaves them in the session, where GET tells how many there are; an
 * upload without a session is gone with its request. Only finish, on a worker,
 * syncs and commits.
 *
 * The upload is let go before the reply is made: a client that has the reply
 * may send the next request at once, on another connection, and would find the
 * session in use.
 */
#ifndef CM_FACES_OCI_TRANSFER_H
#define CM_FACES_OCI_TRANSFER_H

#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>
#include <cachemount/store.h>

#include "request.h"

/* The state of a request that writes to an upload. */
struct cm_transfer {
	struct cm_upload *upload;    /* NULL when let go */
	struct cm_any_digest digest; /* PUT and single POST: of the whole */
	int64_t room; /* bytes the Content-Range has left, or -1 */
};

/* Makes the request's state, without an upload yet. NULL without memory. */
struct cm_transfer *cm_transfer_new(struct cm_request *r);

/* Lets go of the upload. */
void cm_transfer_end(struct cm_transfer *t);

/* Frees a struct cm_transfer and its upload; NULL is legal. */
void cm_transfer_free(void *state);

/*
 * Checks Content-Range against the length announced and the upload's offset.
 * CM_ERR_RANGE, with Location and Range added to the reply, if it begins
 * elsewhere.
 */
int cm_transfer_check_range(struct cm_request *r, struct cm_transfer *t,
			    struct cm_error *err);

/*
 * Sets what Content-Encoding says. Another coding than zstd makes the reply:
 * 415 with the codings that we take (RFC 9110 §12.5.3), the upload let go.
 */
int cm_transfer_set_coding(struct cm_request *r, struct cm_transfer *t,
			   struct cm_error *err);

/* A handler's `body`: appends. A request without state takes no body. */
int cm_transfer_body(struct cm_request *r, const void *data, size_t len,
		     struct cm_error *err);

/* CM_ERR_INVALID if the body was shorter than its Content-Range. */
int cm_transfer_check_complete(const struct cm_transfer *t,
			       struct cm_error *err);

/* BLOCKING. Commits, lets go and replies 201. */
int cm_transfer_commit(struct cm_request *r, struct cm_transfer *t,
		       struct cm_error *err);

/*
 * Adds where a session is and how far: Location, Range, Docker-Upload-UUID. A
 * session without bytes says "0-0" too, by custom: clients parse it, and the
 * spec has no way to say "none".
 */
int cm_oci_session_headers(struct cm_request *r, const char *session,
			   int64_t offset, struct cm_error *err);

/*
 * Replies 201 with the place of a blob that is now in the repository, by the
 * digest that the client gave.
 */
int cm_oci_reply_created(struct cm_request *r, const struct cm_any_digest *d,
			 struct cm_error *err);

#endif
