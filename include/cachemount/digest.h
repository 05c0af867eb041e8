/*
 * digest.h - the name of a blob: the SHA-256 of its content, as
 * "sha256:<64 lower-case hex>" (OCI image-spec, descriptor, "Digests").
 */
#ifndef CACHEMOUNT_DIGEST_H
#define CACHEMOUNT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#define CM_SHA256_LEN	    32
#define CM_DIGEST_HEX_LEN   64
#define CM_DIGEST_TEXT_SIZE 72 /* "sha256:" + hex + NUL */

struct cm_digest {
	uint8_t sha256[CM_SHA256_LEN];
};

/*
 * Parses exactly `len` bytes of `text`. Fails with CM_ERR_INVALID for what is
 * no digest by the grammar, CM_ERR_UNSUPPORTED for a well-formed digest of an
 * algorithm other than sha256.
 */
int cm_digest_parse(const char *text, size_t len, struct cm_digest *ret,
		    struct cm_error *err);

/* Writes "sha256:…" and a NUL into `out`; returns `out`. */
char *cm_digest_format(const struct cm_digest *d,
		       char out[static CM_DIGEST_TEXT_SIZE]);

/* Writes the 64 hex characters and a NUL into `out`; returns `out`. */
char *cm_digest_hex(const struct cm_digest *d,
		    char out[static CM_DIGEST_HEX_LEN + 1]);

/* <0, 0, >0 like memcmp; not constant time: a digest is no secret. */
int cm_digest_compare(const struct cm_digest *a, const struct cm_digest *b);

static inline bool cm_digest_equal(const struct cm_digest *a,
				   const struct cm_digest *b)
{
	return cm_digest_compare(a, b) == 0;
}

/* The digest of `len` bytes at `data`, in one go. */
int cm_digest_of(const void *data, size_t len, struct cm_digest *ret,
		 struct cm_error *err);

/* A running SHA-256. Not shared between threads without a lock. */
struct cm_hasher;

/* A new, empty hash. Caller frees with cm_hasher_free(). */
int cm_hasher_new(struct cm_hasher **ret, struct cm_error *err);

/* Adds `len` bytes. */
int cm_hasher_update(struct cm_hasher *h, const void *data, size_t len,
		     struct cm_error *err);

/* Ends the hash and writes it to `*ret`; cm_hasher_reset() starts another. */
int cm_hasher_final(struct cm_hasher *h, struct cm_digest *ret,
		    struct cm_error *err);

/* Empties the hash for another use. */
int cm_hasher_reset(struct cm_hasher *h, struct cm_error *err);

/* Frees the hash; NULL is legal. */
void cm_hasher_free(struct cm_hasher *h);

CM_DEFINE_CLEANUP(hasher, struct cm_hasher, cm_hasher_free);

#endif
