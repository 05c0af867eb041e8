/*
 * digest.h - the name of a blob: the SHA-256 of its content, as
 * "sha256:<64 lower-case hex>" (OCI image-spec, descriptor, "Digests").
 *
 * Everything is kept under that name. A client may say the SHA-512 instead
 * ("sha512:<128 lower-case hex>"): struct cm_any_digest is either, and the
 * store knows which SHA-256 it stands for (cm_store_resolve()).
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

enum cm_algorithm {
	CM_SHA256 = 0,
	CM_SHA512 = 1,
};

#define CM_SHA512_LEN		64
#define CM_ANY_DIGEST_TEXT_SIZE 136 /* "sha512:" + hex + NUL */

/* A digest of either algorithm, as a client gives it. */
struct cm_any_digest {
	enum cm_algorithm algorithm;
	union {
		struct cm_digest sha256;
		uint8_t sha512[CM_SHA512_LEN];
	};
};

/* As cm_digest_parse(), of both algorithms. */
int cm_any_digest_parse(const char *text, size_t len, struct cm_any_digest *ret,
			struct cm_error *err);

/* Writes what cm_any_digest_parse() takes, and a NUL; returns `out`. */
char *cm_any_digest_format(const struct cm_any_digest *d,
			   char out[static CM_ANY_DIGEST_TEXT_SIZE]);

/* The same algorithm and the same bytes? */
bool cm_any_digest_equal(const struct cm_any_digest *a,
			 const struct cm_any_digest *b);

/* The digest's bytes, 32 or 64 of them; borrowed from `d`. */
const uint8_t *cm_any_digest_bytes(const struct cm_any_digest *d,
				   size_t *ret_len);

/* The digest of `len` bytes at `data` by `algorithm`, in one go. */
int cm_any_digest_of(enum cm_algorithm algorithm, const void *data, size_t len,
		     struct cm_any_digest *ret, struct cm_error *err);

/* A running hash. Not shared between threads without a lock. */
struct cm_hasher;

/* A new, empty SHA-256. Caller frees with cm_hasher_free(). */
int cm_hasher_new(struct cm_hasher **ret, struct cm_error *err);

/* The same of either algorithm. */
int cm_hasher_new_of(enum cm_algorithm algorithm, struct cm_hasher **ret,
		     struct cm_error *err);

/* Adds `len` bytes. */
int cm_hasher_update(struct cm_hasher *h, const void *data, size_t len,
		     struct cm_error *err);

/*
 * Ends a SHA-256 and writes it to `*ret`; cm_hasher_reset() starts another.
 */
int cm_hasher_final(struct cm_hasher *h, struct cm_digest *ret,
		    struct cm_error *err);

/* The same for a hash of either algorithm. */
int cm_hasher_final_any(struct cm_hasher *h, struct cm_any_digest *ret,
			struct cm_error *err);

/* Empties the hash for another use. */
int cm_hasher_reset(struct cm_hasher *h, struct cm_error *err);

/* Frees the hash; NULL is legal. */
void cm_hasher_free(struct cm_hasher *h);

CM_DEFINE_CLEANUP(hasher, struct cm_hasher, cm_hasher_free);

#endif
