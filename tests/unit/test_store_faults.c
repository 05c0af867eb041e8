/*
 * test_store_faults.c - the Nth system call, or the Nth allocation, fails.
 *
 * Each operation is tried again and again, with the first, the second, the
 * third … call failing, until it goes through without meeting the fault. After
 * each failure: an error that says so, nothing half visible, totals that a
 * recount agrees with, and the same operation succeeds without the fault.
 *
 * The wrapped calls are those of libcmstore and of the test; SQLite, a shared
 * library, keeps its own. The fault fires once, on whatever thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "store_fixture.h"

#define FAULTS_MAX 200

/* ---- the fault ---------------------------------------------------------- */

enum fault_kind { NO_FAULT, FAIL_IO, FAIL_SPACE, FAIL_MEMORY };

static _Atomic int fault_kind;
static atomic_int fault_in; /* calls until then */
static atomic_bool fault_met;

static void arm(enum fault_kind kind, int n)
{
	atomic_store(&fault_met, false);
	atomic_store(&fault_in, n);
	atomic_store(&fault_kind, kind);
}

/* True if the fault was met. */
static bool disarm(void)
{
	atomic_store(&fault_kind, NO_FAULT);
	return atomic_load(&fault_met);
}

static bool strikes(enum fault_kind kind)
{
	if (atomic_load(&fault_kind) != (int)kind)
		return false;
	if (atomic_fetch_sub(&fault_in, 1) != 0)
		return false;
	atomic_store(&fault_met, true);
	return true;
}

/* A call that may fail for either reason. */
static bool io_strikes(void)
{
	if (strikes(FAIL_IO)) {
		errno = EIO;
		return true;
	}
	if (strikes(FAIL_SPACE)) {
		errno = ENOSPC;
		return true;
	}
	return false;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __real_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset);
int __real_renameat(int from, const char *a, int to, const char *b);
int __wrap_renameat(int from, const char *a, int to, const char *b);
int __real_linkat(int from, const char *a, int to, const char *b, int flags);
int __wrap_linkat(int from, const char *a, int to, const char *b, int flags);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

int __wrap_fsync(int fd)
{
	return io_strikes() ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return io_strikes() ? -1 : __real_fdatasync(fd);
}

/* A full disk takes half of the piece first. */
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
	if (io_strikes()) {
		if (errno == ENOSPC && len > 1)
			(void)!__real_pwrite64(fd, buf, len / 2, offset);
		return -1;
	}
	return __real_pwrite64(fd, buf, len, offset);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset)
{
	if (strikes(FAIL_IO)) {
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, buf, len, offset);
}

int __wrap_renameat(int from, const char *a, int to, const char *b)
{
	return io_strikes() ? -1 : __real_renameat(from, a, to, b);
}

int __wrap_linkat(int from, const char *a, int to, const char *b, int flags)
{
	return io_strikes() ? -1 : __real_linkat(from, a, to, b, flags);
}

void *__wrap_malloc(size_t size)
{
	return strikes(FAIL_MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return strikes(FAIL_MEMORY) ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return strikes(FAIL_MEMORY) ? NULL : __real_reallocarray(p, n, size);
}

/* ---- the operations -------------------------------------------------------
 */

/* What an operation works with; all is made before the fault is armed. */
struct plan {
	struct content content;
	void *frame; /* of the content, or NULL */
	size_t frame_len;
	struct test_manifest manifest;
	char session[CM_UPLOAD_ID_SIZE];
};

typedef int (*operation)(struct store_fixture *f, struct plan *p);

static int push_plain(struct store_fixture *f, struct plan *p)
{
	return store_push(f, "main/a", &p->content, NULL);
}

static int push_frame(struct store_fixture *f, struct plan *p)
{
	return store_push_frame(f, "main/a", &p->content.digest, p->frame,
				p->frame_len, NULL);
}

/* Two pieces, the first acknowledged. */
static int push_session(struct store_fixture *f, struct plan *p)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	size_t half = p->content.len / 2;
	struct cm_blob_info info;
	int r = cm_upload_begin(f->store, "main/a", p->session, &f->err);

	if (r == 0)
		r = cm_upload_open(f->store, "main/a", p->session, &u, &f->err);
	if (r == 0)
		r = cm_upload_append(u, p->content.data, half, &f->err);
	if (r == 0)
		r = cm_upload_sync(u, &f->err);
	cm_upload_close(cm_take_ptr(u));
	if (r == 0)
		r = cm_upload_open(f->store, "main/a", p->session, &u, &f->err);
	if (r == 0)
		r = cm_upload_append(u, p->content.data + half,
				     p->content.len - half, &f->err);
	if (r == 0)
		r = cm_upload_commit(u, &p->content.digest, &info, &f->err);
	return r;
}

static int put(struct store_fixture *f, struct plan *p)
{
	return store_put(f, "main/a", "t", &p->manifest);
}

static int get(struct store_fixture *f, struct plan *p)
{
	struct cm_stored_manifest got = {0};
	int r = cm_store_manifest_get(f->store, "main/a", "t", NULL, true, &got,
				      &f->err);

	if (r == 0)
		assert_memory_equal(got.bytes, p->manifest.json,
				    p->manifest.len);
	cm_stored_manifest_release(&got);
	return r;
}

static int verify(struct store_fixture *f, struct plan *p)
{
	return cm_store_blob_verify(f->store, "main/a", &p->content.digest,
				    &f->err);
}

static int read_all(struct store_fixture *f, struct plan *p)
{
	return store_compare(f->store, "main/a", &p->content, &f->err);
}

static int purge(struct store_fixture *f, bool dry_run)
{
	struct cm_purge_filter filter = {.repo = "main/a", .dry_run = dry_run};
	struct cm_purge_result result;

	return cm_store_purge(f->store, &filter, &result, &f->err);
}

static int purge_dry(struct store_fixture *f, struct plan *p)
{
	(void)p;
	return purge(f, true);
}

static int purge_all(struct store_fixture *f, struct plan *p)
{
	(void)p;
	return purge(f, false);
}

/* ---- trying ----------------------------------------------------------------
 */

static enum cm_status status_of(enum fault_kind kind)
{
	switch (kind) {
	case FAIL_SPACE:
		return CM_ERR_NO_SPACE;
	case FAIL_MEMORY:
		return CM_ERR_NO_MEMORY;
	default:
		return CM_ERR_IO;
	}
}

/*
 * Runs `op` with each fault in turn. `reset` brings back the state that it
 * starts from, and is given whether it succeeded.
 */
static void try_all(struct store_fixture *f, struct plan *p,
		    enum fault_kind kind, operation op,
		    void (*reset)(struct store_fixture *f, struct plan *p,
				  bool done))
{
	bool met = true;
	int n, r;

	for (n = 0; met && n < FAULTS_MAX; n++) {
		arm(kind, n);
		r = op(f, p);
		met = disarm();
		if (r != 0) {
			assert_true(met);
			assert_int_equal(r, status_of(kind));
			assert_int_equal(f->err.status, r);
		}
		assert_consistent(f);
		reset(f, p, r == 0);
	}
	assert_false(met);
	assert_true(n > 1);
}

static void drop_blob(struct store_fixture *f, struct plan *p, bool done)
{
	if (!done) {
		assert_absent(f, "main/a", &p->content.digest);
		assert_ok(push_plain(f, p), &f->err);
	}
	assert_stored(f, "main/a", &p->content);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &p->content.digest,
				       &f->err),
		  &f->err);
	assert_int_equal(store_files(f), 0);
	cm_upload_cancel(f->store, "main/a", p->session, NULL);
}

static void push_each(struct store_fixture *f, enum fault_kind kind)
{
	static const size_t sizes[] = {1000, 100000};
	struct plan p = {.session = ""};

	for (size_t i = 0; i < 2; i++) {
		p.content = content_noise(1, sizes[i]);
		try_all(f, &p, kind, push_session, drop_blob);
		/* A small one touches no file before SQLite does. */
		if (i == 1 || kind == FAIL_MEMORY)
			try_all(f, &p, kind, push_plain, drop_blob);
		content_free(&p.content);
	}
	p.content = content_text(2, 300000);
	p.frame = content_frame(&p.content, 0, &p.frame_len);
	try_all(f, &p, kind, push_plain, drop_blob);
	try_all(f, &p, kind, push_frame, drop_blob);
	free(p.frame);
	/* A window too large to keep: decoded to a second file. */
	p.frame = content_frame(&p.content, 22, &p.frame_len);
	try_all(f, &p, kind, push_frame, drop_blob);
	free(p.frame);
	content_free(&p.content);
}

static void test_store_faults__push_and_io_errors(void **state)
{
	push_each(*state, FAIL_IO);
}

static void test_store_faults__push_and_a_full_disk(void **state)
{
	push_each(*state, FAIL_SPACE);
}

static void test_store_faults__push_and_no_memory(void **state)
{
	push_each(*state, FAIL_MEMORY);
}

static void drop_tag(struct store_fixture *f, struct plan *p, bool done)
{
	if (!done) {
		assert_no_tag(f, "main/a", "t");
		assert_ok(put(f, p), &f->err);
	}
	assert_tagged(f, "main/a", "t", &p->manifest);
	assert_ok(cm_store_manifest_delete(f->store, "main/a",
					   &p->manifest.digest, &f->err),
		  &f->err);
}

static void keep(struct store_fixture *f, struct plan *p, bool done)
{
	(void)done;
	assert_tagged(f, "main/a", "t", &p->manifest);
	assert_stored(f, "main/a", &p->content);
}

static void fill_again(struct store_fixture *f, struct plan *p, bool done)
{
	if (done)
		assert_no_tag(f, "main/a", "t");
	assert_ok(push_plain(f, p), &f->err);
	assert_ok(put(f, p), &f->err);
}

/* A manifest in the index, then one that is a file. */
static void manifests_each(struct store_fixture *f, enum fault_kind kind)
{
	struct plan p = {.content = content_text(3, 100000)};
	struct test_ref refs[] = {REF(&p.content)};

	assert_ok(push_plain(f, &p), &f->err);
	p.manifest = manifest_make(IMAGE, REFS(refs), 1, 20000);
	try_all(f, &p, kind, put, drop_tag);
	assert_ok(put(f, &p), &f->err);
	if (kind != FAIL_SPACE) {
		try_all(f, &p, kind, get, keep);
		try_all(f, &p, kind, read_all, keep);
	}
	if (kind == FAIL_MEMORY)
		try_all(f, &p, kind, verify, keep);
	if (kind == FAIL_MEMORY)
		try_all(f, &p, kind, purge_dry, keep);
	if (kind == FAIL_MEMORY)
		try_all(f, &p, kind, purge_all, fill_again);
	manifest_free(&p.manifest);
	content_free(&p.content);
}

static void test_store_faults__manifests_and_io_errors(void **state)
{
	manifests_each(*state, FAIL_IO);
}

static void test_store_faults__manifests_and_a_full_disk(void **state)
{
	manifests_each(*state, FAIL_SPACE);
}

static void test_store_faults__manifests_and_no_memory(void **state)
{
	manifests_each(*state, FAIL_MEMORY);
}

/* ---- single cases ----------------------------------------------------------
 */

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
		arm(FAIL_SPACE, 0);
		assert_fails(
			cm_upload_append(u, c.data + 100000, 300000, &f->err),
			CM_ERR_NO_SPACE, &f->err);
		assert_true(disarm());
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
		arm(FAIL_IO, n);
		assert_fails(cm_upload_sync(u, &f->err), CM_ERR_IO, &f->err);
		assert_true(disarm());
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
	arm(FAIL_IO, 1);
	assert_fails(cm_upload_open(f->store, "main/a", id, &u, &f->err),
		     CM_ERR_IO, &f->err);
	assert_true(disarm());
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
	const struct CMUnitTest tests[] = {
		CASE(push_and_io_errors),
		CASE(push_and_a_full_disk),
		CASE(push_and_no_memory),
		CASE(manifests_and_io_errors),
		CASE(manifests_and_a_full_disk),
		CASE(manifests_and_no_memory),
		CASE(a_full_disk_mid_upload),
		CASE(a_failed_sync_ends_the_session),
		CASE(half_a_hash_is_not_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
