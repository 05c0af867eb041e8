/*
 * access.h - access tokens: what the token endpoint issues to a registry's
 * client, and the client sends back as "Authorization: Bearer".
 *
 * A token says who it was issued to, what for and until when, and is sealed
 * with a key that only the server has (HMAC-SHA-256), so nothing is kept of it.
 * What it allows is the lesser of two: its scopes, and what its holder may do
 * at the time of the request. Who is removed from the token file is out at
 * once, whatever tokens there still are.
 *
 * The text is "cma_" and Base64 of, one after the other:
 *
 *	1 byte	  version, 1
 *	8 bytes	  when it expires, seconds since 1970, big-endian
 *	1 byte	  length of the holder's name, 0 for the anonymous; the name
 *	8 bytes	  with a name only: which of the name's secrets (see
 *		  cm_access_secret_id())
 *	any	  scopes: a byte of actions, a byte of length, a repository
 *	32 bytes  the seal over all before it
 *
 * Pure functions; any thread.
 */
#ifndef CM_SERVER_ACCESS_H
#define CM_SERVER_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>
#include <cachemount/names.h>

#include "request.h"
#include "token_file.h"

#define CM_ACCESS_PREFIX      "cma_"
#define CM_ACCESS_KEY_LEN     32
#define CM_ACCESS_LIFETIME_S  300
#define CM_ACCESS_SCOPES_MAX  16
#define CM_ACCESS_BYTES_MAX   2048 /* of a token, before Base64 */
#define CM_ACCESS_TEXT_SIZE   2752 /* of its text, with the NUL */
#define CM_ACCESS_SECRET_ID   8
#define CM_ACCESS_ACTIONS_ALL (CM_PERM_PULL | CM_PERM_PUSH | CM_PERM_DELETE)

/* What a token allows on one repository. */
struct cm_access_scope {
	unsigned actions; /* of enum cm_permission; never CM_PERM_ADMIN */
	char repository[CM_REPOSITORY_MAX + 1];
};

struct cm_access {
	int64_t expires_s;		  /* seconds since 1970, wall clock */
	char name[CM_TOKEN_NAME_MAX + 1]; /* "": anonymous */
	uint8_t secret_id[CM_ACCESS_SECRET_ID];
	size_t scopes_len;
	struct cm_access_scope scopes[CM_ACCESS_SCOPES_MAX];
};

/*
 * Adds what a `scope` parameter asks for (Docker's token specification:
 * "repository:main/app:pull,push", several separated by blanks). What is no
 * repository or no action that is known here is passed over, as nothing of it
 * can be granted; "*" stands for pull, push and delete. CM_ERR_SIZE for more
 * than CM_ACCESS_SCOPES_MAX repositories.
 */
int cm_access_add_scopes(struct cm_access *a, const char *text,
			 struct cm_error *err);

/* Writes scopes as cm_access_add_scopes() takes them; cut to `size`. */
void cm_access_format_scopes(const struct cm_access *a, char *out, size_t size);

/* Writes actions as a scope has them: "pull,push". */
void cm_access_format_actions(unsigned actions, char out[static 32]);

/*
 * Does it hold `p` on `repo`? Without a repository (NULL) only for
 * CM_PERM_NONE: no scope is about the server as a whole.
 */
bool cm_access_covers(const struct cm_access *a, enum cm_permission p,
		      const char *repo);

/* Tells the secrets of one name apart, without telling their hash. */
int cm_access_secret_id(const struct cm_digest *hash,
			uint8_t ret[static CM_ACCESS_SECRET_ID],
			struct cm_error *err);

/* Seals a token. CM_ERR_SIZE if its scopes are too long together. */
int cm_access_seal(const struct cm_access *a,
		   const uint8_t key[static CM_ACCESS_KEY_LEN],
		   char ret[static CM_ACCESS_TEXT_SIZE], struct cm_error *err);

/*
 * Opens a token at `now_s`. CM_ERR_UNAUTHORIZED, with a message that tells
 * which, for one that is malformed, not of this key, or expired; also for one
 * that expires later than any issued now could (the clock was set back).
 */
int cm_access_open(const char *text,
		   const uint8_t key[static CM_ACCESS_KEY_LEN], int64_t now_s,
		   struct cm_access *ret, struct cm_error *err);

/*
 * Parses the bytes of a token without their seal. For cm_access_open(), tests
 * and fuzzing. CM_ERR_UNAUTHORIZED if they are malformed.
 */
int cm_access_parse(const uint8_t *bytes, size_t len, struct cm_access *ret,
		    struct cm_error *err);

#endif
