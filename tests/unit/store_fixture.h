/*
 * store_fixture.h - what the tests of storage/ share: a real store in a
 * temporary folder, contents to push, manifests to put, and a recount of the
 * index by SQL.
 *
 * The index is locked for one process, but this process may open it again, with
 * the same VFS: that is how store_sql() looks behind the store's back.
 */
#ifndef CM_STORE_FIXTURE_H
#define CM_STORE_FIXTURE_H

#include <stdbool.h>

#include "test.h"

#include <cachemount/digest.h>
#include <cachemount/manifest.h>
#include <cachemount/store.h>

struct store_fixture {
	char dir[64];
	struct cm_store_options options; /* for store_reopen() */
	struct cm_store *store;
	struct cm_error err; /* of the last call */
};

/* A new store in a new folder as `*state`; and its end. */
int store_setup(void **state);
int store_teardown(void **state);

/* Closes and opens, with the fixture's options. */
void store_reopen(struct store_fixture *f);

/* ---- contents ---------------------------------------------------------- */

struct content {
	unsigned char *data;
	size_t len;
	struct cm_digest digest;
};

/* Bytes that zstd can't shrink, or can, the same for the same seed. */
struct content content_noise(unsigned int seed, size_t len);
struct content content_text(unsigned int seed, size_t len);
void content_free(struct content *c);

/* One zstd frame of `c`; caller frees. `window_log` 0: the library's choice. */
void *content_frame(const struct content *c, int window_log, size_t *ret_len);

/* ---- blobs --------------------------------------------------------------- */

/* Each returns the store's status, its error in `f->err`. */
int store_push(struct store_fixture *f, const char *repo,
	       const struct content *c, struct cm_blob_info *ret);
int store_push_frame(struct store_fixture *f, const char *repo,
		     const struct cm_digest *d, const void *frame, size_t len,
		     struct cm_blob_info *ret);
int store_push_as(struct store_fixture *f, const char *repo,
		  const struct cm_any_digest *name, enum cm_encoding encoding,
		  const void *data, size_t len, struct cm_blob_info *ret);
int store_stat(struct store_fixture *f, const char *repo,
	       const struct cm_digest *d, struct cm_blob_info *ret);

/* Reads all of a blob and compares; or 0 and the reason in `err`. */
int store_compare(struct cm_store *s, const char *repo, const struct content *c,
		  struct cm_error *err);

void assert_stored(struct store_fixture *f, const char *repo,
		   const struct content *c);
void assert_absent(struct store_fixture *f, const char *repo,
		   const struct cm_digest *d);

/* ---- manifests ------------------------------------------------------------
 */

enum manifest_kind { IMAGE, SNAPSHOT, INDEX };

struct test_manifest {
	char *json;
	size_t len;
	struct cm_digest digest;
	struct cm_manifest *parsed;
};

/* What a manifest of the test names. */
struct test_ref {
	struct cm_digest digest;
	int64_t size;
};

#define REF(c)	((struct test_ref){(c)->digest, (int64_t)(c)->len})
#define REFS(r) (r), sizeof(r) / sizeof((r)[0])

/*
 * A manifest of `n` references (an image: the first is its config), with
 * `salt` in it to tell it from its like and `padding` bytes more.
 */
struct test_manifest manifest_make(enum manifest_kind kind,
				   const struct test_ref *refs, size_t n,
				   unsigned int salt, size_t padding);
void manifest_free(struct test_manifest *m);

int store_put(struct store_fixture *f, const char *repo, const char *tag,
	      const struct test_manifest *m);

/* With a condition; `ret` is what the store says the digest is. */
int store_put_if(struct store_fixture *f, const char *repo, const char *tag,
		 const struct test_manifest *m, enum cm_tag_condition condition,
		 const struct cm_digest *match, struct cm_digest *ret);

/* Whether the tag names the manifest, and its bytes read back. */
void assert_tagged(struct store_fixture *f, const char *repo, const char *tag,
		   const struct test_manifest *m);
void assert_no_tag(struct store_fixture *f, const char *repo, const char *tag);

/* ---- behind the store's back ----------------------------------------------
 */

/* The first column of the first row, a number. */
int64_t store_sql(struct store_fixture *f, const char *sql);

/* Totals, reference and holder counts must be what a recount gives. */
void assert_consistent(struct store_fixture *f);

/* Files under blobs/: how many; each must have its row. */
int64_t store_files(struct store_fixture *f);

/* The path of a blob's file; borrowed until the next call. */
const char *store_blob_path(struct store_fixture *f, const struct cm_digest *d,
			    enum cm_encoding encoding);

/* Lets a file look as if it had last changed so long ago. */
void age_file(const char *path, int seconds);

/* Sweeps until there is no more; the sums. */
struct cm_sweep_result store_sweep(struct store_fixture *f);

#endif
