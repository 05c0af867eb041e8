/*
 * auth.h - who sends a request, and what that identity may do.
 *
 * An identity is a named token, sent as the password of Basic (any user name;
 * RFC 7617) or as Bearer (RFC 6750), or the anonymous one. Without a token
 * file, credentials are not looked at and everyone is anonymous. Basic with
 * user and password empty, which some clients send when asked for Basic and
 * given nothing, is anonymous too.
 *
 * Threads: all functions may be called from any thread. An identity keeps the
 * token file that it came from, so a reload never pulls it away.
 */
#ifndef CM_SERVER_AUTH_H
#define CM_SERVER_AUTH_H

#include <stdbool.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "request.h"

struct cm_auth;
struct cm_tokens;

struct cm_identity {
	struct cm_tokens *tokens; /* NULL: anonymous */
	size_t secret;
	const char *name;   /* borrowed from tokens; NULL: anonymous */
	unsigned anonymous; /* what it may do if anonymous */
};

/*
 * `token_file` may be NULL; `anonymous` is a set of enum cm_permission.
 * A token file that cannot be read or parsed is an error. Caller frees.
 */
int cm_auth_new(const char *token_file, unsigned anonymous,
		struct cm_auth **ret, struct cm_error *err);

/* Frees; no identity may be held. NULL is legal. */
void cm_auth_free(struct cm_auth *a);

CM_DEFINE_CLEANUP(auth, struct cm_auth, cm_auth_free);

/*
 * Reads the token file again, if `force` or if it has changed since. 1 if it
 * was read, 0 if not; on failure the tokens stay what they were, and the
 * same bad file is not tried again unless forced.
 */
int cm_auth_reload(struct cm_auth *a, bool force, struct cm_error *err);

/*
 * Finds the identity of an Authorization header's value (NULL: none sent).
 * CM_ERR_UNAUTHORIZED if it is malformed or of no known token. Secrets are
 * compared by hash, in constant time. Caller releases the identity.
 */
int cm_auth_identify(struct cm_auth *a, const char *authorization,
		     struct cm_identity *ret, struct cm_error *err);

/* Releases an identity; one of all zeroes is legal. */
void cm_identity_release(struct cm_identity *id);

/*
 * May it do `p`? With `repo` NULL the server is asked about as a whole: then
 * any pattern will do for pull and push, while delete and admin need a pattern
 * that covers all. CM_PERM_NONE is granted to whoever may do anything at all.
 */
bool cm_identity_may(const struct cm_identity *id, enum cm_permission p,
		     const char *repo);

/*
 * Checks a permission of a request. CM_ERR_UNAUTHORIZED asks an anonymous
 * client to name itself where there are tokens; else CM_ERR_DENIED.
 */
int cm_auth_check(const struct cm_auth *a, const struct cm_identity *id,
		  enum cm_permission p, const char *repo, struct cm_error *err);

#endif
