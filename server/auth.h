/*
 * auth.h - who sends a request, and what that identity may do.
 *
 * An identity is a named token, sent as the password of Basic (any user name;
 * RFC 7617) or as Bearer (RFC 6750), or the anonymous one. Without a token
 * file, credentials are not looked at and everyone is anonymous. Basic with
 * user and password empty, which some clients send when asked for Basic and
 * given nothing, is anonymous too. A Bearer that begins with "cma_" is an
 * access token (access.h), which stands for either and allows less.
 *
 * Threads: all functions may be called from any thread. An identity keeps the
 * token file that it came from, so a reload never pulls it away.
 */
#ifndef CM_SERVER_AUTH_H
#define CM_SERVER_AUTH_H

#include <stdbool.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "access.h"
#include "request.h"

struct cm_auth;
struct cm_tokens;

struct cm_identity {
	struct cm_tokens *tokens; /* NULL: anonymous */
	size_t secret;
	const char *name;	  /* borrowed from tokens; NULL: anonymous */
	unsigned anonymous;	  /* what it may do if anonymous */
	struct cm_access *access; /* the access token it came with, or NULL */
	bool bearer;		  /* it came as Bearer, known or not */
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
 * Seals access tokens with this key, which outlives the process. Without it
 * they are sealed with one that cm_auth_new() made, and are void after a
 * restart. To be called before the first request.
 */
void cm_auth_use_key(struct cm_auth *a,
		     const uint8_t key[static CM_ACCESS_KEY_LEN]);

/* The key; CM_ACCESS_KEY_LEN bytes, for cm_auth_issue(). */
const uint8_t *cm_auth_key(const struct cm_auth *a);

/* Are there tokens by which a client can name itself? */
bool cm_auth_has_tokens(const struct cm_auth *a);

/* What the anonymous may do, of enum cm_permission. */
unsigned cm_auth_anonymous(const struct cm_auth *a);

/*
 * Finds the identity of an Authorization header's value (NULL: none sent).
 * CM_ERR_UNAUTHORIZED if it is malformed, of no known token, or an access
 * token that no longer holds; `ret->bearer` is set all the same. Secrets are
 * compared by hash, in constant time. Caller releases the identity, also after
 * a failure.
 */
int cm_auth_identify(struct cm_auth *a, const char *authorization,
		     struct cm_identity *ret, struct cm_error *err);

/*
 * The same for a secret that came in some other way. Empty, or without a token
 * file: the anonymous one.
 */
int cm_auth_identify_secret(struct cm_auth *a, const char *secret,
			    struct cm_identity *ret, struct cm_error *err);

/*
 * Issues an access token to an identity. `wanted` has the scopes asked for; it
 * is narrowed to what the identity may do, perhaps to nothing, and gets holder
 * and expiry. CM_ERR_UNAUTHORIZED for an identity that may do nothing at all,
 * and for one that itself came with an access token: it must not grow.
 */
int cm_auth_issue(struct cm_auth *a, const struct cm_identity *id,
		  struct cm_access *wanted,
		  char ret[static CM_ACCESS_TEXT_SIZE], struct cm_error *err);

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
 * client to name itself where there are tokens, and one whose access token
 * lacks the scope to fetch another; else CM_ERR_DENIED.
 */
int cm_auth_check(const struct cm_auth *a, const struct cm_identity *id,
		  enum cm_permission p, const char *repo, struct cm_error *err);

#endif
