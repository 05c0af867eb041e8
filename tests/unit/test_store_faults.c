/*
 * test_store_faults.c - the Nth system call, or allocation, of the store fails:
 * for each N until nothing is left to fail (as SQLite tests itself). Whatever
 * failed says so, changes nothing, and goes through when it is tried again.
 *
 * Only the store's own calls are wrapped; SQLite and zstd run as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_fixture.h"

#define CALLS_MAX 400 /* more than a workload makes */

enum fault {
	NONE,
	PREAD,
	PWRITE,
	FSYNC,
	FDATASYNC,
	RENAMEAT,
	LINKAT,
	MALLOC,
	CALLOC
};

/* Of this thread: what the store's own threads do is not ours to fail. */
static _Thread_local struct {
	enum fault what;
	int error;
	int countdown; /* the call that fails; negative: it has */
} fault;

static bool fails(enum fault what)
{
	if (fault.what != what || --fault.countdown != 0)
		return false;
	errno = fault.error;
	return true;
}

ssize_t __real_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_renameat(int from, const char *a, int to, const char *b);
int __wrap_renameat(int from, const char *a, int to, const char *b);
int __real_linkat(int from, const char *a, int to, const char *b, int flags);
int __wrap_linkat(int from, const char *a, int to, const char *b, int flags);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset)
{
	return fails(PREAD) ? -1 : __real_pread64(fd, buf, len, offset);
}

/* Half of what was asked is written first, as a disk that fills up does. */
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
	if (!fails(PWRITE))
		return __real_pwrite64(fd, buf, len, offset);
	if (__real_pwrite64(fd, buf, len / 2, offset) < 0)
		abort();
	errno = fault.error;
	return -1;
}

int __wrap_fsync(int fd)
{
	return fails(FSYNC) ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return fails(FDATASYNC) ? -1 : __real_fdatasync(fd);
}

int __wrap_renameat(int from, const char *a, int to, const char *b)
{
	return fails(RENAMEAT) ? -1 : __real_renameat(from, a, to, b);
}

int __wrap_linkat(int from, const char *a, int to, const char *b, int flags)
{
	return fails(LINKAT) ? -1 : __real_linkat(from, a, to, b, flags);
}

void *__wrap_malloc(size_t size)
{
	return fails(MALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails(CALLOC) ? NULL : __real_calloc(n, size);
}

/* ---- workloads -------------------------------------------------------------
 */

/* What a workload works with, made before anything fails. */
struct work {
	struct content small, noise, text, wide, named;
	struct cm_any_digest name; /* of `named`, a SHA-512 */
	void *frame, *wide_frame;
	size_t frame_len, wide_len;
	struct test_manifest manifest, large;
	char id[CM_UPLOAD_ID_SIZE];
};

static void work_init(struct work *w, unsigned int seed)
{
	struct test_ref refs[2];

	w->small = content_noise(seed, 700);
	w->noise = content_noise(seed, 60000);
	w->text = content_text(seed, 300000);
	w->wide = content_text(seed, 200000);
	w->named = content_text(seed, 100000);
	cm_any_digest_of(CM_SHA512, w->named.data, w->named.len, &w->name,
			 NULL);
	w->frame = content_frame(&w->text, 20, &w->frame_len);
	w->wide_frame = content_frame(&w->wide, 22, &w->wide_len);
	refs[0] = REF(&w->small);
	refs[1] = REF(&w->text);
	w->manifest = manifest_make(SNAPSHOT, refs, 2, seed, 0);
	w->large = manifest_make(IMAGE, refs, 2, seed, 20000);
}

static void work_release(struct work *w)
{
	content_free(&w->small);
	content_free(&w->noise);
	content_free(&w->text);
	content_free(&w->wide);
	content_free(&w->named);
	free(w->frame);
	free(w->wide_frame);
	manifest_free(&w->manifest);
	manifest_free(&w->large);
}

static int begin_session(struct store_fixture *f, struct work *w)
{
	return cm_upload_begin(f->store, "main/a", w->id, &f->err);
}

static int push_session(struct store_fixture *f, struct work *w)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	size_t at;
	int r = cm_upload_open(f->store, "main/a", w->id, &u, &f->err);

	/* A sync of it failed: it can't be continued, only done anew. */
	if (r == CM_ERR_NOT_FOUND)
		r = begin_session(f, w);
	if (r == 0 && !u)
		r = cm_upload_open(f->store, "main/a", w->id, &u, &f->err);
	if (r < 0)
		return r;
	at = (size_t)cm_upload_offset(u);
	for (; r == 0 && at < w->noise.len; at += 20000) {
		r = cm_upload_append(u, w->noise.data + at, 20000, &f->err);
		if (r == 0)
			r = cm_upload_sync(u, &f->err);
	}
	return r == 0 ? cm_upload_commit(u, &w->noise.digest, &info, &f->err)
		      : r;
}

static int run(struct store_fixture *f, struct work *w)
{
	int r = store_push(f, "main/a", &w->small, NULL);

	if (r == 0)
		r = store_push_frame(f, "main/a", &w->wide.digest,
				     w->wide_frame, w->wide_len, NULL);
	if (r == 0)
		r = store_push_frame(f, "main/a", &w->text.digest, w->frame,
				     w->frame_len, NULL);
	if (r == 0)
		r = store_push(f, "main/b", &w->wide, NULL);
	if (r == 0)
		r = store_push_as(f, "main/a", &w->name, CM_ENCODING_IDENTITY,
				  w->named.data, w->named.len, NULL);
	if (r == 0)
		r = store_put(f, "main/a", "t", &w->manifest);
	if (r == 0)
		r = store_put(f, "main/a", "u", &w->large);
	if (r == 0)
		r = store_compare(f->store, "main/a", &w->text, &f->err);
	return r == 0 ? push_session(f, w) : r;
}

/* All that was pushed is there, and nothing else lies about. */
static void check(struct store_fixture *f, struct work *w)
{
	struct cm_digest d;
	char path[128];

	assert_stored(f, "main/a", &w->small);
	assert_stored(f, "main/a", &w->noise);
	assert_stored(f, "main/a", &w->text);
	assert_stored(f, "main/b", &w->wide);
	assert_stored(f, "main/a", &w->named);
	assert_ok(cm_store_resolve(f->store, "main/a", &w->name, &d, &f->err),
		  &f->err);
	assert_true(cm_digest_equal(&d, &w->named.digest));
	assert_tagged(f, "main/a", "t", &w->manifest);
	assert_tagged(f, "main/a", "u", &w->large);
	assert_consistent(f);
	store_files(f);
	snprintf(path, sizeof(path), "%s/uploads", f->dir);
	if (rmdir(path) < 0)
		fail_msg("something is left in uploads/");
	store_reopen(f);
}

static void fail_each(struct store_fixture *f, enum fault what, int error,
		      int want)
{
	static unsigned int seed; /* no content is there yet */
	int n = 1, failures = 0, r;
	struct work w = {0};

	for (; n < CALLS_MAX; n++) {
		work_init(&w, ++seed);
		assert_ok(begin_session(f, &w), &f->err);
		memset(&f->err, 0, sizeof(f->err));
		fault.what = what;
		fault.error = error;
		fault.countdown = n;
		r = run(f, &w);
		fault.what = NONE;
		/* Nothing failed; or what failed was not needed. */
		if (r == 0 && fault.countdown > 0)
			break;
		if (r < 0) {
			failures++;
			if (r != want)
				fail_msg("call %d: %s (%s)", n,
					 cm_status_name((enum cm_status)r),
					 f->err.text);
			assert_int_equal(f->err.status, r);
			assert_string_not_equal(f->err.text, "");
			assert_consistent(f);
			r = run(f, &w);
		}
		if (r < 0)
			fail_msg("again after call %d: %s", n, f->err.text);
		check(f, &w);
		work_release(&w);
	}
	assert_true(n < CALLS_MAX);
	assert_true(failures > 0);
	check(f, &w);
	work_release(&w);
	print_message("# %d calls, %d failures\n", n - 1, failures);
}

static void test_store_faults__a_full_disk(void **state)
{
	fail_each(*state, PWRITE, ENOSPC, CM_ERR_NO_SPACE);
}

static void test_store_faults__a_write_error(void **state)
{
	fail_each(*state, PWRITE, EIO, CM_ERR_IO);
}

static void test_store_faults__fsync(void **state)
{
	fail_each(*state, FSYNC, EIO, CM_ERR_IO);
	fail_each(*state, FDATASYNC, EIO, CM_ERR_IO);
}

static void test_store_faults__names(void **state)
{
	fail_each(*state, RENAMEAT, EIO, CM_ERR_IO);
	fail_each(*state, LINKAT, EIO, CM_ERR_IO);
}

static void test_store_faults__memory(void **state)
{
	fail_each(*state, MALLOC, ENOMEM, CM_ERR_NO_MEMORY);
	fail_each(*state, CALLOC, ENOMEM, CM_ERR_NO_MEMORY);
}

/* ---- single cases ----------------------------------------------------------
 */

static void strike(enum fault what, int error, int countdown)
{
	fault.what = what;
	fault.error = error;
	fault.countdown = countdown;
}

/* The upload holds what it held, and goes on when there is room again. */
static void test_store_faults__a_full_disk_mid_upload(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(7, 400000);
	struct cm_blob_info info;
	struct cm_upload *u;

	assert_ok(cm_upload_open_single(f->store, "main/a", &u, &f->err),
		  &f->err);
	assert_ok(cm_upload_append(u, c.data, 100000, &f->err), &f->err);
	for (int i = 0; i < 3; i++) {
		strike(PWRITE, ENOSPC, 1);
		assert_fails(
			cm_upload_append(u, c.data + 100000, 300000, &f->err),
			CM_ERR_NO_SPACE, &f->err);
		assert_int_equal(fault.countdown, 0);
		assert_int_equal(cm_upload_offset(u), 100000);
	}
	assert_ok(cm_upload_append(u, c.data + 100000, 300000, &f->err),
		  &f->err);
	assert_ok(cm_upload_commit(u, &c.digest, &info, &f->err), &f->err);
	cm_upload_close(u);
	assert_stored(f, "main/a", &c);
	content_free(&c);
}

/*
 * After a failed sync the kernel may have dropped what it could not write, and
 * a second sync succeeds: so there is no second try.
 */
static void test_store_faults__a_failed_sync_ends_the_session(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(8, 100000);
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_upload *u;

	for (int n = 0; n < 2; n++) { /* the file's sync, then the folder's */
		assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err),
			  &f->err);
		assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err),
			  &f->err);
		assert_ok(cm_upload_append(u, c.data, c.len, &f->err), &f->err);
		strike(n == 0 ? FDATASYNC : FSYNC, EIO, 1);
		assert_fails(cm_upload_sync(u, &f->err), CM_ERR_IO, &f->err);
		assert_int_equal(fault.countdown, 0);
		cm_upload_close(u);
		assert_fails(
			cm_upload_open(f->store, "main/a", id, &u, &f->err),
			CM_ERR_NOT_FOUND, &f->err);
	}
	assert_consistent(f);
	content_free(&c);
}

/* Reading a session's file again fails half-way; the half is not remembered. */
static void test_store_faults__half_a_hash_is_not_remembered(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(9, 700000);
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_blob_info info;
	struct cm_upload *u;

	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_ok(cm_upload_append(u, c.data, c.len, &f->err), &f->err);
	assert_ok(cm_upload_sync(u, &f->err), &f->err);
	cm_upload_close(u);
	store_reopen(f);
	strike(PREAD, EIO, 2);
	assert_fails(cm_upload_open(f->store, "main/a", id, &u, &f->err),
		     CM_ERR_IO, &f->err);
	assert_int_equal(fault.countdown, 0);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_ok(cm_upload_commit(u, &c.digest, &info, &f->err), &f->err);
	cm_upload_close(u);
	assert_stored(f, "main/a", &c);
	content_free(&c);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_faults__##name,             \
					store_setup, store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(a_full_disk),
		CASE(a_write_error),
		CASE(fsync),
		CASE(names),
		CASE(memory),
		CASE(a_full_disk_mid_upload),
		CASE(a_failed_sync_ends_the_session),
		CASE(half_a_hash_is_not_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
