/*
 * test_store_blobs.c - blobs of a real store: how they lie on disk, who sees
 * them, and what happens to damaged ones.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_fixture.h"

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

static void test_store_blobs__sizes_around_the_inline_limit(void **state)
{
	static const size_t sizes[] = {0,     1,     100,    16383,
				       16384, 16385, 131072, 1 << 20};
	struct store_fixture *f = *state;
	struct cm_blob_info info;

	for (size_t i = 0; i < ROWS(sizes); i++) {
		struct content c = content_noise((unsigned int)i, sizes[i]);

		assert_absent(f, "main/a", &c.digest);
		assert_ok(store_push(f, "main/a", &c, &info), &f->err);
		assert_int_equal(info.size, c.len);
		assert_int_equal(info.stored_size, c.len);
		assert_int_equal(info.encoding, CM_ENCODING_IDENTITY);
		assert_stored(f, "main/a", &c);
		content_free(&c);
	}
	assert_int_equal(store_files(f), 3);
	assert_consistent(f);
	store_reopen(f);
	for (size_t i = 0; i < ROWS(sizes); i++) {
		struct content c = content_noise((unsigned int)i, sizes[i]);

		assert_stored(f, "main/a", &c);
		content_free(&c);
	}
}

static void test_store_blobs__text_is_compressed_at_rest(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(1, 3000000);
	struct cm_blob_info info;

	assert_ok(store_push(f, "main/a", &c, &info), &f->err);
	assert_int_equal(info.encoding, CM_ENCODING_ZSTD);
	assert_int_equal(info.size, c.len);
	assert_true(info.stored_size < info.size / 2);
	assert_int_equal(
		access(store_blob_path(f, &c.digest, CM_ENCODING_ZSTD), F_OK),
		0);
	assert_stored(f, "main/a", &c);
	/* A small one is kept as it is: it costs less than a frame. */
	content_free(&c);
	c = content_text(1, 9000);
	assert_ok(store_push(f, "main/a", &c, &info), &f->err);
	assert_int_equal(info.encoding, CM_ENCODING_IDENTITY);
	assert_stored(f, "main/a", &c);
	assert_consistent(f);
	content_free(&c);
}

/* Begins as text, goes on as noise: what was tried is not kept. */
static void test_store_blobs__compression_that_does_not_pay(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(5, 4000000);
	struct content text = content_text(5, 200000);
	struct cm_blob_info info;

	memcpy(c.data, text.data, text.len);
	assert_ok(cm_digest_of(c.data, c.len, &c.digest, &f->err), &f->err);
	assert_ok(store_push(f, "main/a", &c, &info), &f->err);
	assert_int_equal(info.encoding, CM_ENCODING_IDENTITY);
	assert_stored(f, "main/a", &c);
	store_files(f);
	content_free(&c);
	content_free(&text);
}

static void seek_and_read(struct store_fixture *f, const struct content *c,
			  int64_t offset)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	unsigned char buf[1000];
	size_t want = c->len - (size_t)offset;
	size_t got = 0;
	ssize_t n;

	assert_ok(
		cm_store_blob_open(f->store, "main/a", &c->digest, &b, &f->err),
		&f->err);
	assert_ok(cm_blob_seek(b, offset, &f->err), &f->err);
	if (want > sizeof(buf))
		want = sizeof(buf);
	assert_int_equal(cm_blob_read(b, buf, 0, &f->err), 0);
	while (got < want) {
		n = cm_blob_read(b, buf + got, want - got, &f->err);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(buf, c->data + offset, want);
	if ((size_t)offset + want == c->len)
		assert_int_equal(cm_blob_read(b, buf, 1, &f->err), 0);
}

static void test_store_blobs__find(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 30000);
	struct cm_blob_info info;
	char id[CM_UPLOAD_ID_SIZE];

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(cm_store_blob_find(f->store, "main/a", &c.digest, &info,
				     &f->err),
		  &f->err);
	assert_int_equal(info.size, 30000);
	assert_true(cm_digest_equal(&info.digest, &c.digest));
	assert_fails(cm_store_blob_find(f->store, "main/b", &c.digest, &info,
					&f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		  &f->err);
	assert_fails(cm_store_blob_find(f->store, "main/a", &c.digest, &info,
					&f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_int_equal(cm_upload_begin_now(f->store, "main/a", id, &f->err),
			 1);
	assert_ok(cm_upload_cancel(f->store, "main/a", id, &f->err), &f->err);
	content_free(&c);
}

static void test_store_blobs__seek(void **state)
{
	struct store_fixture *f = *state;
	struct content contents[] = {
		content_noise(1, 9000),
		content_noise(2, 300000),
		content_text(3, 900000),
	};

	for (size_t i = 0; i < ROWS(contents); i++) {
		const struct content *c = &contents[i];
		cm_auto(blob) struct cm_blob *b = NULL;
		int64_t len = (int64_t)c->len;

		assert_ok(store_push(f, "main/a", c, NULL), &f->err);
		seek_and_read(f, c, 0);
		seek_and_read(f, c, 1);
		seek_and_read(f, c, len / 2);
		seek_and_read(f, c, len - 1);
		seek_and_read(f, c, len);
		assert_ok(cm_store_blob_open(f->store, "main/a", &c->digest, &b,
					     &f->err),
			  &f->err);
		assert_fails(cm_blob_seek(b, len + 1, &f->err), CM_ERR_RANGE,
			     &f->err);
		assert_ok(cm_blob_seek(b, 7, &f->err), &f->err);
		assert_fails(cm_blob_seek(b, 6, &f->err), CM_ERR_RANGE,
			     &f->err);
		content_free(&contents[i]);
	}
}

static void test_store_blobs__memory_or_descriptor(void **state)
{
	struct store_fixture *f = *state;
	struct content small = content_noise(1, 500);
	struct content large = content_noise(2, 50000);
	cm_auto(blob) struct cm_blob *a = NULL;
	cm_auto(blob) struct cm_blob *b = NULL;
	cm_autofd int fd = -1;
	char buf[4];

	assert_ok(store_push(f, "main/a", &small, NULL), &f->err);
	assert_ok(store_push(f, "main/a", &large, NULL), &f->err);
	assert_ok(cm_store_blob_open(f->store, "main/a", &small.digest, &a,
				     &f->err),
		  &f->err);
	assert_memory_equal(cm_blob_memory(a), small.data, small.len);
	assert_int_equal(cm_blob_take_fd(a), -1);
	assert_ok(cm_store_blob_open(f->store, "main/a", &large.digest, &b,
				     &f->err),
		  &f->err);
	assert_null(cm_blob_memory(b));
	assert_int_equal(cm_blob_info(b)->stored_size, large.len);
	fd = cm_blob_take_fd(b);
	assert_true(fd >= 0);
	assert_int_equal(cm_blob_take_fd(b), -1);
	/* An open blob can be read whatever becomes of it. */
	assert_ok(cm_store_blob_delete(f->store, "main/a", &large.digest,
				       &f->err),
		  &f->err);
	assert_int_equal(pread(fd, buf, 4, 1000), 4);
	assert_memory_equal(buf, large.data + 1000, 4);
	content_free(&small);
	content_free(&large);
}

static void test_store_blobs__visible_only_where_it_is(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	struct cm_store_stats st;

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_absent(f, "main/b", &c.digest);
	assert_fails(
		cm_store_blob_delete(f->store, "main/b", &c.digest, &f->err),
		CM_ERR_NOT_FOUND, &f->err);
	assert_fails(
		cm_store_blob_verify(f->store, "main/b", &c.digest, &f->err),
		CM_ERR_NOT_FOUND, &f->err);
	/* Pushed there too, it costs nothing. */
	assert_ok(store_push(f, "main/b", &c, NULL), &f->err);
	assert_stored(f, "main/b", &c);
	assert_ok(cm_store_stats(f->store, &st, &f->err), &f->err);
	assert_int_equal(st.blobs, 1);
	assert_int_equal(st.stored_bytes, c.len);
	assert_int_equal(st.referenced_bytes, 2 * c.len);
	assert_int_equal(store_files(f), 1);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		  &f->err);
	assert_absent(f, "main/a", &c.digest);
	assert_stored(f, "main/b", &c);
	assert_ok(cm_store_blob_delete(f->store, "main/b", &c.digest, &f->err),
		  &f->err);
	assert_int_equal(store_files(f), 0);
	assert_consistent(f);
	content_free(&c);
}

static void test_store_blobs__missing_in_order(void **state)
{
	struct store_fixture *f = *state;
	struct content c[4];
	struct cm_digest digests[4];
	bool missing[4];

	for (unsigned int i = 0; i < 4; i++) {
		c[i] = content_noise(i, 100 + i);
		digests[i] = c[i].digest;
	}
	assert_ok(store_push(f, "main/a", &c[1], NULL), &f->err);
	assert_ok(store_push(f, "main/a", &c[3], NULL), &f->err);
	assert_ok(cm_store_blobs_missing(f->store, "main/a", digests, 4,
					 missing, &f->err),
		  &f->err);
	assert_true(missing[0] && !missing[1] && missing[2] && !missing[3]);
	assert_ok(cm_store_blobs_missing(f->store, "no/where", digests, 4,
					 missing, &f->err),
		  &f->err);
	assert_true(missing[0] && missing[1] && missing[2] && missing[3]);
	for (unsigned int i = 0; i < 4; i++)
		content_free(&c[i]);
}

static bool may_pull(void *arg, const char *repo)
{
	return strcmp(repo, arg) == 0;
}

static void test_store_blobs__mount(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	char b[] = "main/b", nobody[] = "main/x";

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_fails(cm_store_blob_mount(f->store, "main/b", "main/c",
					 &c.digest, NULL, NULL, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_blob_mount(f->store, NULL, "main/c", &c.digest,
					 may_pull, nobody, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_absent(f, "main/c", &c.digest);
	assert_ok(cm_store_blob_mount(f->store, "main/a", "main/b", &c.digest,
				      NULL, NULL, &f->err),
		  &f->err);
	assert_stored(f, "main/b", &c);
	assert_ok(cm_store_blob_mount(f->store, NULL, "main/c", &c.digest,
				      may_pull, b, &f->err),
		  &f->err);
	assert_stored(f, "main/c", &c);
	/* Once more changes nothing. */
	assert_ok(cm_store_blob_mount(f->store, "main/a", "main/c", &c.digest,
				      NULL, NULL, &f->err),
		  &f->err);
	assert_int_equal(store_files(f), 1);
	assert_consistent(f);
	content_free(&c);
}

static void test_store_blobs__delete_of_a_named_one(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(store_push(f, "main/b", &c, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_fails(
		cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		CM_ERR_PRECONDITION, &f->err);
	assert_fails(
		cm_store_blob_delete(f->store, "main/a", &m.digest, &f->err),
		CM_ERR_PRECONDITION, &f->err);
	assert_ok(cm_store_blob_delete(f->store, "main/b", &c.digest, &f->err),
		  &f->err);
	assert_stored(f, "main/a", &c);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &m.digest,
					   &f->err),
		  &f->err);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		  &f->err);
	assert_consistent(f);
	assert_int_equal(store_files(f), 0);
	manifest_free(&m);
	content_free(&c);
}

/* ---- damage ---------------------------------------------------------------
 */

static void damage_removed(struct store_fixture *f, const char *path)
{
	(void)f;
	assert_int_equal(unlink(path), 0);
}

static void damage_cut(struct store_fixture *f, const char *path)
{
	(void)f;
	assert_int_equal(truncate(path, 1000), 0);
}

/*
 * A file that is lost or cut: reads as absent, for every repository, and can be
 * pushed again, after which the manifests that name it have it.
 */
static void lost_and_back(struct store_fixture *f, const struct content *c,
			  enum cm_encoding encoding,
			  void (*damage)(struct store_fixture *, const char *))
{
	struct test_ref refs[] = {REF(c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);
	struct cm_blob *b = NULL;

	assert_ok(store_push(f, "main/a", c, NULL), &f->err);
	assert_ok(store_push(f, "main/b", c, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	damage(f, store_blob_path(f, &c->digest, encoding));
	assert_fails(
		cm_store_blob_open(f->store, "main/b", &c->digest, &b, &f->err),
		CM_ERR_NOT_FOUND, &f->err);
	assert_absent(f, "main/a", &c->digest);
	assert_absent(f, "main/b", &c->digest);
	assert_fails(store_put(f, "main/a", "again", &m), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_ok(store_push(f, "main/a", c, NULL), &f->err);
	assert_stored(f, "main/a", c);
	assert_absent(f, "main/b", &c->digest);
	assert_consistent(f);
	assert_fails(
		cm_store_blob_delete(f->store, "main/a", &c->digest, &f->err),
		CM_ERR_PRECONDITION, &f->err);
	store_files(f);
	manifest_free(&m);
}

static void test_store_blobs__lost_files(void **state)
{
	struct store_fixture *f = *state;
	struct content plain = content_noise(1, 50000);
	struct content text = content_text(2, 500000);
	struct content other = content_noise(3, 60000);

	lost_and_back(f, &plain, CM_ENCODING_IDENTITY, damage_removed);
	lost_and_back(f, &other, CM_ENCODING_IDENTITY, damage_cut);
	lost_and_back(f, &text, CM_ENCODING_ZSTD, damage_cut);
	content_free(&plain);
	content_free(&text);
	content_free(&other);
}

/* A push of a blob whose file was lost unnoticed brings it back. */
static void test_store_blobs__a_push_mends(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(1, 500000);
	cm_autofree void *frame = NULL;
	struct cm_blob_info info;
	size_t len;

	assert_ok(store_push(f, "main/a", &c, &info), &f->err);
	assert_int_equal(info.encoding, CM_ENCODING_ZSTD);
	assert_int_equal(
		unlink(store_blob_path(f, &c.digest, CM_ENCODING_ZSTD)), 0);
	frame = content_frame(&c, 18, &len);
	assert_ok(store_push_frame(f, "main/b", &c.digest, frame, len, &info),
		  &f->err);
	assert_stored(f, "main/a", &c);
	assert_stored(f, "main/b", &c);
	assert_consistent(f);
	store_files(f);
	content_free(&c);
}

static void flip(const char *path, off_t at)
{
	cm_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void verify_finds(struct store_fixture *f, const struct content *c,
			 enum cm_encoding encoding)
{
	struct cm_store_stats before, after;

	assert_ok(store_push(f, "main/a", c, NULL), &f->err);
	assert_ok(cm_store_blob_verify(f->store, "main/a", &c->digest, &f->err),
		  &f->err);
	assert_ok(cm_store_stats(f->store, &before, &f->err), &f->err);
	flip(store_blob_path(f, &c->digest, encoding), 10000);
	assert_fails(
		cm_store_blob_verify(f->store, "main/a", &c->digest, &f->err),
		CM_ERR_CORRUPT, &f->err);
	assert_absent(f, "main/a", &c->digest);
	assert_ok(cm_store_stats(f->store, &after, &f->err), &f->err);
	assert_int_equal(after.quarantined, before.quarantined + 1);
	assert_int_equal(after.blobs, before.blobs - 1);
	store_files(f);
	assert_consistent(f);
	assert_ok(store_push(f, "main/a", c, NULL), &f->err);
	assert_stored(f, "main/a", c);
}

static void test_store_blobs__verify_quarantines(void **state)
{
	struct store_fixture *f = *state;
	struct content plain = content_noise(1, 50000);
	struct content text = content_text(2, 500000);
	char path[128];

	verify_finds(f, &plain, CM_ENCODING_IDENTITY);
	verify_finds(f, &text, CM_ENCODING_ZSTD);
	snprintf(path, sizeof(path), "%s/quarantine", f->dir);
	assert_int_equal(rmdir(path), -1); /* not empty */
	content_free(&plain);
	content_free(&text);
}

/* The bytes inside the index go wrong: found, and forgotten. */
static void test_store_blobs__verify_looks_into_the_index(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 500);

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(cm_store_blob_verify(f->store, "main/a", &c.digest, &f->err),
		  &f->err);
	store_sql(f, "UPDATE blob_data SET data = zeroblob(500)");
	assert_fails(
		cm_store_blob_verify(f->store, "main/a", &c.digest, &f->err),
		CM_ERR_CORRUPT, &f->err);
	assert_absent(f, "main/a", &c.digest);
	assert_consistent(f);
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	store_sql(f, "UPDATE blob_data SET data = x'00'");
	assert_fails(store_compare(f->store, "main/a", &c, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_absent(f, "main/a", &c.digest);
	assert_consistent(f);
	content_free(&c);
}

/* A frame's checksum is its last word: a reader never gets to a good end. */
static void test_store_blobs__a_damaged_frame_never_ends_well(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(2, 500000);
	int r;

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	for (off_t at = 0; at < 5000; at += 97) {
		flip(store_blob_path(f, &c.digest, CM_ENCODING_ZSTD), at);
		r = store_compare(f->store, "main/a", &c, &f->err);
		assert_true(r == CM_ERR_CORRUPT || r == CM_ERR_DIGEST);
		flip(store_blob_path(f, &c.digest, CM_ENCODING_ZSTD), at);
	}
	assert_stored(f, "main/a", &c);
	content_free(&c);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_blobs__##name, store_setup, \
					store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(sizes_around_the_inline_limit),
		CASE(text_is_compressed_at_rest),
		CASE(compression_that_does_not_pay),
		CASE(find),
		CASE(seek),
		CASE(memory_or_descriptor),
		CASE(visible_only_where_it_is),
		CASE(missing_in_order),
		CASE(mount),
		CASE(delete_of_a_named_one),
		CASE(lost_files),
		CASE(a_push_mends),
		CASE(verify_quarantines),
		CASE(verify_looks_into_the_index),
		CASE(a_damaged_frame_never_ends_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
