/*
 * store_fixture.h - a real store in a temporary folder, and the few calls that
 * most of its tests make.
 */
#ifndef CM_STORE_FIXTURE_H
#define CM_STORE_FIXTURE_H

#include <stdbool.h>

#include "test.h"

#include <cachemount/manifest.h>
#include <cachemount/store.h>

struct store_fixture {
	char dir[64];
	struct cm_store_options options;
	struct cm_store *store;
	struct cm_error err;
};

/* cmocka's setup and teardown; leases and lifetimes are the defaults. */
int store_setup(void **state);
int store_teardown(void **state);

/* Closes the store and opens it again, as a restart does. */
void store_reopen(struct store_fixture *f);

/* Opens with other times; 0 keeps the default. */
void store_reopen_with(struct store_fixture *f, int64_t lease_ms,
		       int64_t upload_ttl_ms, int64_t replaced_ttl_ms);

/* Bytes that do not compress, the same for the same seed. Caller frees. */
unsigned char *random_bytes(size_t len, unsigned seed);

/* Uploads in one request; the digest. */
struct cm_digest push(struct store_fixture *f, const char *repo,
		      const void *data, size_t len);

/* What a GET would give; caller frees. */
unsigned char *pull(struct store_fixture *f, const char *repo,
		    const struct cm_digest *d, size_t *ret_len);

/* Does the repository have it? */
bool has(struct store_fixture *f, const char *repo, const struct cm_digest *d);

/*
 * Puts a manifest that names `n` blobs, each of the size it has in `repo`;
 * `extra` is one more JSON member with a comma behind it, or "".
 */
int put_manifest(struct store_fixture *f, const char *repo, const char *tag,
		 const struct cm_digest *blobs, size_t n, const char *extra,
		 enum cm_tag_condition condition, const struct cm_digest *match,
		 struct cm_digest *ret);

/* Sweeps until nothing more is due; what went in all. */
struct cm_sweep_result sweep_all(struct store_fixture *f);

/* Files below blobs/, and below uploads/. */
int files_in(struct store_fixture *f, const char *folder);

#endif
