/*
 * token_file.h - the file of named tokens, parsed whole or not at all.
 *
 *	# who   may        where     secret
 *	ci      pull,push  **        sha256:<64 hex digits>   # since May
 *
 * A line is a name, a comma list of pull, push, delete, admin, a pattern of
 * repositories and the SHA-256 of the secret. Blank lines and what follows a
 * "#" do not count. A secret may stand on several lines of one name: it holds
 * what they grant together. A name may have several secrets, so that one can
 * be replaced without a gap. Only the hash is known here; secrets are long and
 * random, so it needs no salt.
 */
#ifndef CM_SERVER_TOKEN_FILE_H
#define CM_SERVER_TOKEN_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>

#define CM_TOKEN_NAME_MAX      64
#define CM_TOKEN_FILE_MAX      (4 << 20)
#define CM_TOKEN_GRANTS_MAX    10000
#define CM_TOKEN_SECRET_PREFIX "cmt_"
#define CM_TOKEN_SECRET_SIZE   48 /* the prefix, 32 bytes in base64url, NUL */

/* One line of the file. */
struct cm_grant {
	char *name;
	char *pattern;
	unsigned permissions; /* of enum cm_permission */
	struct cm_digest hash;
	size_t secret; /* grants of one secret share this number */
};

/* A parsed file. Never changes; shared by counting references. */
struct cm_tokens {
	unsigned references;
	size_t len;
	struct cm_grant grants[];
};

/*
 * Parses `len` bytes. Errors are CM_ERR_INVALID and name `file`, the line and
 * what to put right. Caller releases with cm_tokens_unref().
 */
int cm_tokens_parse(const char *text, size_t len, const char *file,
		    struct cm_tokens **ret, struct cm_error *err);

/* Reads and parses a file. Caller releases with cm_tokens_unref(). */
int cm_tokens_load(const char *file, struct cm_tokens **ret,
		   struct cm_error *err);

/* One more holder; returns `t`. */
struct cm_tokens *cm_tokens_ref(struct cm_tokens *t);

/* One holder less; the last one frees. NULL is legal. */
void cm_tokens_unref(struct cm_tokens *t);

CM_DEFINE_CLEANUP(tokens, struct cm_tokens, cm_tokens_unref);

/*
 * Parses "pull,push" into a set of enum cm_permission. CM_ERR_INVALID names
 * the word that is none.
 */
int cm_permissions_parse(const char *text, unsigned *ret, struct cm_error *err);

/* Is `name` fit for a token: 1 to 64 of letters, digits and "._@-"? */
bool cm_token_name_valid(const char *name);

/*
 * Makes a random secret and writes the line of the file that lets it in, with
 * its newline. CM_ERR_INVALID if name, permissions or pattern are malformed;
 * CM_ERR_SIZE if the line does not fit.
 */
int cm_token_make(const char *name, const char *permissions,
		  const char *pattern,
		  char ret_secret[static CM_TOKEN_SECRET_SIZE], char *ret_line,
		  size_t line_size, struct cm_error *err);

#endif
