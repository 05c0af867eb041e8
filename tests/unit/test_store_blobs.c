/* test_store_blobs.c - blobs and uploads, on a real store. */
#include "store_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cachemount/protocol.h>

/* Sizes on both sides of the limit between index and file. */
static const size_t sizes[] = {0, 1, 1000, 16384, 16385, 300000};

static void round_trip(struct store_fixture *f, const void *data, size_t len)
{
	struct cm_digest d = push(f, "main/a", data, len);
	unsigned char *got;
	size_t got_len;

	for (int restarted = 0; restarted < 2; restarted++) {
		got = pull(f, "main/a", &d, &got_len);
		assert_int_equal(got_len, len);
		assert_memory_equal(got, data, len);
		free(got);
		store_reopen(f);
	}
}

static void test_store__round_trip(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		data = random_bytes(sizes[i], (unsigned)i + 1);
		round_trip(f, data, sizes[i]);
		free(data);
	}
	assert_int_equal(files_in(f, "blobs"), 2);
	assert_int_equal(files_in(f, "uploads"), 0);
}

static void test_store__compresses_what_pays(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = malloc(1 << 20), part[1000];
	struct cm_blob_info info;
	struct cm_blob *b;
	struct cm_digest d;

	for (int i = 0; i < 1 << 20; i++)
		data[i] = (unsigned char)("0123456789abcdef"[i / 7 % 16]);
	round_trip(f, data, 1 << 20);
	d = push(f, "main/a", data, 1 << 20);
	assert_ok(cm_store_blob_stat(f->store, "main/a", &d, &info, &f->err),
		  &f->err);
	assert_int_equal(info.encoding, CM_ENCODING_ZSTD);
	assert_true(info.stored_size < info.size / 10);
	assert_ok(cm_store_blob_open(f->store, "main/a", &d, &b, &f->err),
		  &f->err);
	assert_ok(cm_blob_seek(b, 500000, &f->err), &f->err);
	assert_int_equal(cm_blob_read(b, part, sizeof(part), &f->err),
			 sizeof(part));
	assert_memory_equal(part, data + 500000, sizeof(part));
	assert_fails(cm_blob_seek(b, 1, &f->err), CM_ERR_RANGE, &f->err);
	cm_blob_close(b);
	free(data);
}

static void test_store__one_copy_separate_views(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(50000, 7);
	struct cm_store_stats stats;
	struct cm_digest d = push(f, "main/a", data, 50000);

	assert_false(has(f, "main/b", &d));
	assert_false(has(f, "nowhere", &d));
	push(f, "main/b", data, 50000);
	assert_true(has(f, "main/b", &d));
	assert_int_equal(files_in(f, "blobs"), 1);
	assert_ok(cm_store_stats(f->store, &stats, &f->err), &f->err);
	assert_int_equal(stats.blobs, 1);
	assert_int_equal(stats.content_bytes, 50000);
	assert_int_equal(stats.referenced_bytes, 100000);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &d, &f->err),
		  &f->err);
	assert_false(has(f, "main/a", &d));
	assert_true(has(f, "main/b", &d));
	assert_ok(cm_store_blob_delete(f->store, "main/b", &d, &f->err),
		  &f->err);
	assert_int_equal(files_in(f, "blobs"), 0);
	assert_fails(cm_store_blob_delete(f->store, "main/b", &d, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	free(data);
}

static void test_store__wrong_digest(void **state)
{
	struct store_fixture *f = *state;
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_digest other = {{1}};
	struct cm_blob_info info;
	struct cm_upload *u;

	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_ok(cm_upload_append(u, "hello", 5, &f->err), &f->err);
	assert_fails(cm_upload_commit(u, &other, &info, &f->err), CM_ERR_DIGEST,
		     &f->err);
	cm_upload_close(u);
	assert_fails(cm_upload_open(f->store, "main/a", id, &u, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_false(has(f, "main/a", &other));
	assert_int_equal(files_in(f, "uploads"), 0);
}

static void append_part(struct store_fixture *f, const char *id,
			const unsigned char *data, size_t len, int64_t before)
{
	struct cm_upload *u, *second;

	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_fails(cm_upload_open(f->store, "main/a", id, &second, &f->err),
		     CM_ERR_BUSY, &f->err);
	assert_int_equal(cm_upload_offset(u), before);
	assert_ok(cm_upload_append(u, data, len, &f->err), &f->err);
	assert_ok(cm_upload_sync(u, &f->err), &f->err);
	cm_upload_close(u);
}

static void test_store__session_survives_restarts(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(100000, 3), *got;
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_blob_info info;
	struct cm_upload *u;
	struct cm_digest d;
	size_t len;

	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	store_reopen(f);
	append_part(f, id, data, 10, 0);
	store_reopen(f);
	append_part(f, id, data + 10, 40000, 10);
	append_part(f, id, data + 40010, 10000, 40010);
	store_reopen(f);
	assert_fails(cm_upload_open(f->store, "main/b", id, &u, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_int_equal(cm_upload_offset(u), 50010);
	assert_ok(cm_upload_append(u, data + 50010, 49990, &f->err), &f->err);
	assert_ok(cm_digest_of(data, 100000, &d, &f->err), &f->err);
	assert_ok(cm_upload_commit(u, &d, &info, &f->err), &f->err);
	cm_upload_close(u);
	got = pull(f, "main/a", &d, &len);
	assert_memory_equal(got, data, len);
	free(got);
	free(data);
}

static void test_store__cancel(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(30000, 3);
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_store_stats stats;

	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	append_part(f, id, data, 30000, 0);
	assert_fails(cm_upload_cancel(f->store, "main/b", id, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_upload_cancel(f->store, "main/a", id, &f->err), &f->err);
	assert_fails(cm_upload_cancel(f->store, "main/a", id, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(
		cm_upload_cancel(f->store, "main/a", "../../lock", &f->err),
		CM_ERR_NOT_FOUND, &f->err);
	assert_int_equal(files_in(f, "uploads"), 0);
	assert_ok(cm_store_stats(f->store, &stats, &f->err), &f->err);
	assert_int_equal(stats.uploads, 0);
	free(data);
}

/* ---- zstd bodies --------------------------------------------------------- */

static int put_frame(struct store_fixture *f, const void *frame, size_t len,
		     const struct cm_digest *d, struct cm_blob_info *info)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	int r;

	assert_ok(cm_upload_open_single(f->store, "main/z", &u, &f->err),
		  &f->err);
	assert_ok(cm_upload_set_encoding(u, CM_ENCODING_ZSTD, &f->err),
		  &f->err);
	r = cm_upload_append(u, frame, len, &f->err);
	return r < 0 ? r : cm_upload_commit(u, d, info, &f->err);
}

static size_t compress_with(const void *data, size_t len, int window_log,
			    void *out, size_t size)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t n;

	ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	n = ZSTD_compress2(c, out, size, data, len);
	ZSTD_freeCCtx(c);
	assert_false(ZSTD_isError(n));
	return n;
}

static void test_store__zstd_body(void **state)
{
	static const int windows[] = {20, 23};
	struct store_fixture *f = *state;
	size_t len = 9 << 20, size = ZSTD_compressBound(len), n, got_len;
	unsigned char *data = malloc(len), *frame = malloc(size), *got;
	struct cm_blob_info info;
	struct cm_digest d;

	for (int w = 0; w < 2; w++) {
		for (size_t i = 0; i < len; i++)
			data[i] = (unsigned char)(i / 3000 * 7 + i % 13 + w);
		n = compress_with(data, len, windows[w], frame, size);
		assert_ok(cm_digest_of(data, len, &d, &f->err), &f->err);
		assert_ok(put_frame(f, frame, n, &d, &info), &f->err);
		assert_int_equal(info.size, len);
		/* A small window is kept to the byte, a large one is not. */
		assert_int_equal(info.encoding, CM_ENCODING_ZSTD);
		assert_true((info.stored_size == (int64_t)n) == (w == 0));
		got = pull(f, "main/z", &d, &got_len);
		assert_memory_equal(got, data, len);
		free(got);
	}
	free(data);
	free(frame);
}

static void test_store__zstd_bodies_that_are_refused(void **state)
{
	struct store_fixture *f = *state;
	size_t size = ZSTD_compressBound(64 << 20), n;
	unsigned char *data = calloc(1, 64 << 20), *frame = malloc(size);
	struct cm_blob_info info;
	struct cm_digest d;

	assert_ok(cm_digest_of(data, 5000, &d, &f->err), &f->err);
	n = compress_with(data, 5000, 18, frame, size);
	assert_fails(put_frame(f, "no frame at all", 15, &d, &info),
		     CM_ERR_INVALID, &f->err);
	assert_fails(put_frame(f, frame, n - 3, &d, &info), CM_ERR_INVALID,
		     &f->err);
	memcpy(frame + n, frame, n);
	assert_fails(put_frame(f, frame, 2 * n, &d, &info), CM_ERR_INVALID,
		     &f->err);
	assert_fails(put_frame(f, frame, n + 1, &d, &info), CM_ERR_INVALID,
		     &f->err);
	assert_fails(put_frame(f, "", 0, &d, &info), CM_ERR_INVALID, &f->err);
	/* 64 MiB of nothing in a few KiB. */
	n = compress_with(data, 64 << 20, 20, frame, size);
	assert_fails(put_frame(f, frame, n, &d, &info), CM_ERR_SIZE, &f->err);
	free(data);
	data = random_bytes(20 << 20, 9);
	n = compress_with(data, 20 << 20, 24, frame, size);
	assert_fails(put_frame(f, frame, n, &d, &info), CM_ERR_INVALID,
		     &f->err);
	assert_non_null(strstr(f->err.text, "8 MiB"));
	assert_int_equal(files_in(f, "blobs"), 0);
	assert_int_equal(files_in(f, "uploads"), 0);
	free(data);
	free(frame);
}

/* ---- missing, mount --------------------------------------------------------
 */

static bool only_b(void *arg, const char *repo)
{
	(void)arg;
	return strcmp(repo, "main/b") == 0;
}

static bool nobody(void *arg, const char *repo)
{
	(void)arg;
	(void)repo;
	return false;
}

static void test_store__missing_and_mount(void **state)
{
	struct store_fixture *f = *state;
	struct cm_digest d[3] = {push(f, "main/a", "one", 3),
				 push(f, "main/b", "two", 3),
				 {{9}}};
	bool missing[3];

	assert_ok(cm_store_blobs_missing(f->store, "main/a", d, 3, missing,
					 &f->err),
		  &f->err);
	assert_false(missing[0]);
	assert_true(missing[1] && missing[2]);
	assert_ok(
		cm_store_blobs_missing(f->store, "new", d, 3, missing, &f->err),
		&f->err);
	assert_true(missing[0] && missing[1] && missing[2]);
	assert_ok(cm_store_blob_mount(f->store, "main/a", "new", &d[0], NULL,
				      NULL, &f->err),
		  &f->err);
	assert_true(has(f, "new", &d[0]));
	assert_fails(cm_store_blob_mount(f->store, "main/a", "new", &d[1], NULL,
					 NULL, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_blob_mount(f->store, NULL, "new", &d[1], nobody,
					 NULL, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_store_blob_mount(f->store, NULL, "new", &d[1], only_b,
				      NULL, &f->err),
		  &f->err);
	assert_true(has(f, "new", &d[1]));
}

/* ---- damage ----------------------------------------------------------------
 */

static void blob_path(struct store_fixture *f, const struct cm_digest *d,
		      char out[256])
{
	char hex[CM_DIGEST_HEX_LEN + 1];

	cm_digest_hex(d, hex);
	snprintf(out, 256, "%s/blobs/sha256/%.2s/%s", f->dir, hex, hex);
}

static void test_store__lost_or_cut_file_reads_as_absent(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(40000, 5);
	struct cm_digest d, m;
	struct cm_blob *b;
	char path[256];

	for (int cut = 0; cut < 2; cut++) {
		d = push(f, "main/a", data, 40000);
		assert_ok(put_manifest(f, "main/a", "t", &d, 1, "", CM_TAG_ANY,
				       NULL, &m),
			  &f->err);
		blob_path(f, &d, path);
		assert_int_equal(cut ? truncate(path, 100) : unlink(path), 0);
		assert_fails(
			cm_store_blob_open(f->store, "main/a", &d, &b, &f->err),
			CM_ERR_NOT_FOUND, &f->err);
		assert_false(has(f, "main/a", &d));
		/* Pushed again it is there, and named as before. */
		push(f, "main/a", data, 40000);
		assert_fails(
			cm_store_blob_delete(f->store, "main/a", &d, &f->err),
			CM_ERR_PRECONDITION, &f->err);
	}
	free(data);
}

static void test_store__verify_finds_a_flipped_bit(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(40000, 6);
	struct cm_digest d = push(f, "main/a", data, 40000);
	struct cm_digest small = push(f, "main/a", "small", 5);
	struct cm_store_stats stats;
	char path[256];
	int fd;

	assert_ok(cm_store_blob_verify(f->store, "main/a", &d, &f->err),
		  &f->err);
	assert_ok(cm_store_blob_verify(f->store, "main/a", &small, &f->err),
		  &f->err);
	blob_path(f, &d, path);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0 && pwrite(fd, "!?", 2, 777) == 2);
	close(fd);
	assert_fails(cm_store_blob_verify(f->store, "main/a", &d, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_false(has(f, "main/a", &d));
	assert_int_equal(files_in(f, "quarantine"), 1);
	assert_ok(cm_store_stats(f->store, &stats, &f->err), &f->err);
	assert_int_equal(stats.quarantined, 1);
	assert_int_equal(stats.blobs, 1);
	assert_int_equal(stats.referenced_bytes, 5);
	round_trip(f, data, 40000);
	free(data);
}

static void test_store__one_process_a_folder(void **state)
{
	struct store_fixture *f = *state;
	struct cm_store *second;

	assert_fails(cm_store_open(&f->options, &second, &f->err), CM_ERR_BUSY,
		     &f->err);
	assert_ok(cm_store_check_writable(f->store, &f->err), &f->err);
}

#define T(name)                                                                \
	cmocka_unit_test_setup_teardown(test_store__##name, store_setup,       \
					store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(round_trip),
		T(compresses_what_pays),
		T(one_copy_separate_views),
		T(wrong_digest),
		T(session_survives_restarts),
		T(cancel),
		T(zstd_body),
		T(zstd_bodies_that_are_refused),
		T(missing_and_mount),
		T(lost_or_cut_file_reads_as_absent),
		T(verify_finds_a_flipped_bit),
		T(one_process_a_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
