/* test_engine_roundtrip.c - a directory to a snapshot and back. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "test.h"

#include "engine_tree.h"
#include "fake_remote.h"

struct fixture {
	struct cm_remote *remote;
	char *a, *b; /* two builders' mounts */
	struct cm_snapshot_options oa, ob;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->remote = fake_remote_new();
	f->a = scratch_new();
	f->b = scratch_new();
	f->oa = options_for(f->remote, f->a);
	f->ob = options_for(f->remote, f->b);
	warnings_seen();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	scratch_free(f->a);
	scratch_free(f->b);
	cm_remote_free(f->remote);
	free(f);
	return 0;
}

static void test_roundtrip__plain_files(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_files(f->a, 300, 1);
	r = do_save(&f->oa);
	assert_true(r.published);
	assert_int_equal(r.files, 300);
	assert_int_equal(r.files_read, 300);
	r = do_restore(&f->ob);
	assert_true(r.hit);
	assert_false(r.unchanged);
	assert_int_equal(r.files_written, 300);
	assert_same_dirs(f->a, f->b);
	assert_int_equal(warnings_seen(), 0);
}

static void test_roundtrip__unchanged_costs_one_request(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_remote_traffic before, after;

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	do_restore(&f->ob);
	cm_remote_traffic(f->remote, &before);
	r = do_restore(&f->ob);
	assert_true(r.hit);
	assert_true(r.unchanged);
	cm_remote_traffic(f->remote, &after);
	assert_int_equal(after.requests - before.requests, 1);
	r = do_save(&f->ob);
	assert_true(r.unchanged);
	assert_false(r.published);
	r = do_save(&f->oa);
	assert_true(r.unchanged);
	cm_remote_traffic(f->remote, &after);
	assert_int_equal(after.requests - before.requests, 3);
}

static void make_odd(const char *dir)
{
	static const char long_name[] = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
					"nnnnnnnnnnnnnnnnnnnnnnnnn";

	make_text(at(dir, "new\nline"), "x");
	make_text(at(dir, "tab\t\"quote\\"), "y");
	make_text(at(dir, "\xff\xfe not utf-8"), "z");
	make_text(at(dir, "\xc3\xa4 utf-8"), "z");
	make_text(at(dir, " "), "blank");
	make_text(at(dir, long_name), "long");
	make_text(at(dir, "-rf"), "dash");
	make_text(at(dir, "empty"), "");
	make_dir(at(dir, "a"), 0755);
	make_text(at(dir, "a/b"), "in a");
	make_text(at(dir, "a-b"), "sorts before a/b as bytes");
	make_text(at(dir, "a.b"), "too");
	make_dir(at(dir, "empty dir"), 01777);
	make_dir(at(dir, "read only"), 0755);
	make_text(at(dir, "read only/f"), "f");
	chmod(at(dir, "read only/f"), 0444);
	chmod(at(dir, "read only"), 0555);
	make_text(at(dir, "secret"), "s");
	chmod(at(dir, "secret"), 0);
	make_text(at(dir, "old"), "o");
	set_mtime(at(dir, "old"), -1000000001);
	make_text(at(dir, "exact"), "e");
	set_mtime(at(dir, "exact"), 1234567890123456789);
	set_mtime(at(dir, "empty dir"), 1234567890000000001);
	assert_int_equal(symlink("/etc/passwd", at(dir, "absolute link")), 0);
	assert_int_equal(symlink("a/b", at(dir, "link")), 0);
	assert_int_equal(symlink("no where", at(dir, "dangling")), 0);
	assert_int_equal(symlink("\xff\xff", at(dir, "link not utf-8")), 0);
	set_mtime(at(dir, "link"), 1111111111222222222);
	assert_int_equal(mkfifo(at(dir, "fifo"), 0640), 0);
}

static void test_roundtrip__odd_names_and_types(void **state)
{
	struct fixture *f = *state;

	make_odd(f->a);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_true(do_save(&f->ob).unchanged);
	assert_true(do_restore(&f->ob).unchanged);
	assert_int_equal(warnings_seen(), 0);
}

static void test_roundtrip__hard_links(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct stat x, y;

	make_file(at(f->a, "one"), 5000, 1);
	assert_int_equal(link(at(f->a, "one"), at(f->a, "two")), 0);
	make_dir(at(f->a, "d"), 0755);
	assert_int_equal(link(at(f->a, "one"), at(f->a, "d/three")), 0);
	make_file(at(f->a, "big"), 3 << 20, 2);
	assert_int_equal(link(at(f->a, "big"), at(f->a, "d/big too")), 0);
	r = do_save(&f->oa);
	assert_int_equal(r.files_read, 2);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_int_equal(stat(at(f->b, "one"), &x), 0);
	assert_int_equal(stat(at(f->b, "d/three"), &y), 0);
	assert_int_equal(x.st_ino, y.st_ino);
	assert_true(do_save(&f->ob).unchanged);

	/* One name goes, one is no longer the same file. */
	assert_int_equal(unlink(at(f->a, "d/three")), 0);
	assert_int_equal(unlink(at(f->a, "d/big too")), 0);
	make_file(at(f->a, "d/big too"), 3 << 20, 3);
	r = do_save(&f->oa);
	assert_true(r.published);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_true(do_save(&f->ob).unchanged);
}

static void test_roundtrip__large_and_sparse(void **state)
{
	struct fixture *f = *state;
	int fd;

	make_file(at(f->a, "large"), 20 << 20, 1);
	make_file(at(f->a, "exactly"), 1 << 20, 2);
	make_file(at(f->a, "just below"), (1 << 20) - 1, 3);
	fd = open(at(f->a, "sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 5LL << 30), 0);
	assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
	assert_int_equal(pwrite(fd, "middle", 6, 3LL << 30), 6);
	close(fd);
	fd = open(at(f->a, "all hole"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 1LL << 32), 0);
	close(fd);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	fd = open(at(f->b, "sparse"), O_RDONLY | O_CLOEXEC);
	char buf[6];
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks < 1000);
	assert_int_equal(pread(fd, buf, 6, 3LL << 30), 6);
	assert_memory_equal(buf, "middle", 6);
	close(fd);
	assert_true(do_save(&f->ob).unchanged);
}

static void test_roundtrip__xattrs(void **state)
{
	struct fixture *f = *state;

	make_text(at(f->a, "f"), "f");
	make_dir(at(f->a, "d"), 0755);
	if (setxattr(at(f->a, "f"), "user.one", "1\0002", 3, 0) < 0)
		skip();
	setxattr(at(f->a, "f"), "user.another", "", 0, 0);
	setxattr(at(f->a, "d"), "user.dir", "d", 1, 0);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_true(do_save(&f->ob).unchanged);
	removexattr(at(f->a, "f"), "user.another");
	setxattr(at(f->a, "d"), "user.dir", "e", 1, 0);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

static void test_roundtrip__delta(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	int64_t stored;

	make_files(f->a, 400, 1);
	do_save(&f->oa);
	do_restore(&f->ob);
	stored = fake_remote_stored(f->remote);
	make_file(at(f->a, "d3/f60"), 3000, 77);
	make_text(at(f->a, "d3/new"), "new");
	assert_int_equal(unlink(at(f->a, "d4/f80")), 0);
	assert_int_equal(rename(at(f->a, "d5/f100"), at(f->a, "d5/moved")), 0);
	r = do_save(&f->oa);
	assert_true(r.published);
	assert_int_equal(r.files_read, 3);
	assert_true(r.bytes_moved < 30000);
	assert_true(fake_remote_stored(f->remote) - stored < 200000);
	r = do_restore(&f->ob);
	assert_int_equal(r.files_written, 3);
	assert_same_dirs(f->a, f->b);
}

static void test_roundtrip__touched_uploads_nothing(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_files(f->a, 200, 1);
	make_file(at(f->a, "large"), 5 << 20, 9);
	do_save(&f->oa);
	do_restore(&f->ob);
	set_mtime(at(f->a, "d1/f21"), 1700000000123456789);
	set_mtime(at(f->a, "large"), 1700000000123456789);
	chmod(at(f->a, "d2/f41"), 0755);
	r = do_save(&f->oa);
	assert_true(r.published);
	assert_int_equal(r.chunks_moved, 0);
	r = do_restore(&f->ob);
	assert_int_equal(r.files_written, 0);
	assert_int_equal(r.chunks_moved, 0);
	assert_same_dirs(f->a, f->b);

	/* Same size, same time, other bytes: not taken for touched. */
	make_file(at(f->a, "d1/f22"), 22 * 7919u % 20000 + 1, 555);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

static void test_roundtrip__types_change(void **state)
{
	struct fixture *f = *state;

	make_dir(at(f->a, "x"), 0755);
	make_dir(at(f->a, "x/sub"), 0755);
	make_text(at(f->a, "x/sub/f"), "f");
	make_text(at(f->a, "y"), "y");
	assert_int_equal(symlink("y", at(f->a, "z")), 0);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_int_equal(unlink(at(f->a, "x/sub/f")), 0);
	assert_int_equal(rmdir(at(f->a, "x/sub")), 0);
	assert_int_equal(rmdir(at(f->a, "x")), 0);
	make_text(at(f->a, "x"), "now a file");
	assert_int_equal(unlink(at(f->a, "y")), 0);
	make_dir(at(f->a, "y"), 0700);
	make_text(at(f->a, "y/in"), "in");
	assert_int_equal(unlink(at(f->a, "z")), 0);
	assert_int_equal(mkfifo(at(f->a, "z"), 0600), 0);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_true(do_save(&f->ob).unchanged);
}

static void test_restore__miss(void **state)
{
	struct fixture *f = *state;

	assert_false(do_restore(&f->oa).hit);
	f->oa.path = at(f->a, "made/on/the/way");
	assert_false(do_restore(&f->oa).hit);
	assert_true(exists(f->oa.path));
}

static void test_restore__fallback(void **state)
{
	static const char *const fallback[] = {"pr-1/none", "main/test", NULL};
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	int64_t stored;

	make_files(f->a, 50, 1);
	do_save(&f->oa);
	f->ob.repo = "pr-2/test";
	f->ob.fallback_repos = fallback;
	r = do_restore(&f->ob);
	assert_true(r.hit);
	assert_string_equal(r.repo, "main/test");
	assert_same_dirs(f->a, f->b);

	/* Unchanged, it needs no snapshot of its own. */
	r = do_save(&f->ob);
	assert_true(r.unchanged);
	assert_false(r.published);
	stored = fake_remote_stored(f->remote);
	make_text(at(f->b, "mine"), "mine");
	r = do_save(&f->ob);
	assert_true(r.published);
	assert_string_equal(r.repo, "pr-2/test");
	assert_int_equal(r.files, 51);
	assert_true(fake_remote_stored(f->remote) - stored < 20000);
	r = do_restore(&f->ob);
	assert_true(r.unchanged);
	assert_string_equal(r.repo, "pr-2/test");
}

/* One directory under two names: each has its snapshot. */
static void test_save__another_name(void **state)
{
	struct fixture *f = *state;

	make_files(f->a, 20, 1);
	do_save(&f->oa);
	f->oa.repo = f->ob.repo = "main/other";
	assert_true(do_save(&f->oa).published);
	assert_true(do_save(&f->oa).unchanged);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

static void test_restore__replace_removes_extras(void **state)
{
	struct fixture *f = *state;

	make_files(f->a, 50, 1);
	do_save(&f->oa);
	make_dir(at(f->b, "extra"), 0755);
	make_text(at(f->b, "extra/file"), "e");
	make_dir(at(f->b, "d0"), 0700);
	make_text(at(f->b, "d0/f1"), "newer, but not wanted");
	f->ob.merge = CM_MERGE_REPLACE;
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

static void test_restore__union_keeps_local(void **state)
{
	struct fixture *f = *state;
	char buf[16] = "";
	int fd;

	make_text(at(f->a, "both"), "theirs");
	set_mtime(at(f->a, "both"), 1000000000000000000);
	make_text(at(f->a, "older here"), "theirs");
	make_text(at(f->a, "only there"), "theirs");
	do_save(&f->oa);
	make_text(at(f->b, "both"), "ours");
	make_text(at(f->b, "older here"), "ours");
	set_mtime(at(f->b, "older here"), 1000000000000000000);
	make_text(at(f->b, "only here"), "ours");
	do_restore(&f->ob);
	fd = open(at(f->b, "both"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, buf, 4), 4);
	close(fd);
	assert_string_equal(buf, "ours");
	fd = open(at(f->b, "older here"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, buf, 6), 6);
	close(fd);
	assert_string_equal(buf, "theirs");
	assert_true(exists(at(f->b, "only there")));
	assert_true(exists(at(f->b, "only here")));

	/* What was kept is published by the next save. */
	assert_true(do_save(&f->ob).published);
	do_restore(&f->oa);
	assert_same_dirs(f->a, f->b);
}

static void test_restore__deletion_arrives(void **state)
{
	struct fixture *f = *state;

	make_files(f->a, 60, 1);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_int_equal(unlink(at(f->a, "d1/f21")), 0);
	assert_int_equal(unlink(at(f->a, "d1/f22")), 0);
	do_save(&f->oa);
	make_text(at(f->b, "d1/f22"), "changed here");
	do_restore(&f->ob);
	assert_false(exists(at(f->b, "d1/f21")));
	assert_true(exists(at(f->b, "d1/f22")));
	assert_true(do_save(&f->ob).published);
	do_restore(&f->oa);
	assert_same_dirs(f->a, f->b);
}

static void test_save__never_empty_over_full(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_text(at(f->a, "f"), "f");
	do_save(&f->oa);
	assert_int_equal(unlink(at(f->a, "f")), 0);
	r = do_save(&f->oa);
	assert_false(r.published);
	assert_non_null(r.skipped);
	r = do_restore(&f->ob);
	assert_int_equal(r.files, 1);
	f->oa.allow_empty = true;
	assert_true(do_save(&f->oa).published);
	r = do_restore(&f->ob);
	assert_int_equal(r.files, 0);
	assert_false(exists(at(f->b, "f")));
}

static void test_save__state_lost(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_int_equal(unlink(at(f->b, ".cachectl/state")), 0);
	assert_int_equal(unlink(at(f->b, "d1/f21")), 0);
	make_text(at(f->b, "mine"), "mine");
	r = do_save(&f->ob);
	assert_true(r.published);
	/* Without a past, nothing counts as deleted. */
	assert_int_equal(r.files, 101);
	do_restore(&f->oa);
	assert_true(exists(at(f->a, "d1/f21")));
	assert_true(exists(at(f->a, "mine")));
}

static void test_save__state_damaged(void **state)
{
	struct fixture *f = *state;
	int fd;

	make_files(f->a, 20, 1);
	do_save(&f->oa);
	fd = open(at(f->a, ".cachectl/state"), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "!", 1, 500), 1);
	close(fd);
	warnings_seen();
	do_save(&f->oa);
	assert_int_equal(warnings_seen(), 1);
	assert_non_null(strstr(last_warning(), "damaged"));
	assert_true(do_save(&f->oa).unchanged);
}

static void test_save__tag_evicted(void **state)
{
	struct fixture *f = *state;

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	fake_remote_drop_tag(f->remote, "main/test", "t");
	assert_true(do_save(&f->oa).published);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

static void test_save__unix_socket_is_left_out(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_text(at(f->a, "f"), "f");
	if (mknod(at(f->a, "sock"), S_IFSOCK | 0600, 0) < 0)
		skip();
	r = do_save(&f->oa);
	assert_int_equal(r.left_out, 1);
	assert_int_equal(warnings_seen(), 1);
	do_restore(&f->ob);
	assert_false(exists(at(f->b, "sock")));
	assert_true(exists(at(f->b, "f")));
}

static void test_restore__setuid_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	make_text(at(f->a, "su"), "su");
	chmod(at(f->a, "su"), 06755);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_int_equal(stat(at(f->b, "su"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_true(do_save(&f->ob).unchanged);
	assert_int_equal(unlink(at(f->b, "su")), 0);
	f->ob.allow_setuid = true;
	do_restore(&f->ob);
	assert_int_equal(stat(at(f->b, "su"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
}

static void test_restore__limits(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	f->ob.max_entries = 50;
	assert_fails(cm_snapshot_restore(&f->ob, &r, &err), CM_ERR_SIZE, &err);
	f->ob.max_entries = 0;
	f->ob.max_bytes = 10000;
	assert_fails(cm_snapshot_restore(&f->ob, &r, &err), CM_ERR_SIZE, &err);
	assert_false(exists(at(f->b, "d0")));
	f->oa.max_bytes = 10000;
	make_text(at(f->a, "more"), "more");
	assert_fails(cm_snapshot_save(&f->oa, &r, &err), CM_ERR_SIZE, &err);
}

#define unit(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_roundtrip__plain_files),
		unit(test_roundtrip__unchanged_costs_one_request),
		unit(test_roundtrip__odd_names_and_types),
		unit(test_roundtrip__hard_links),
		unit(test_roundtrip__large_and_sparse),
		unit(test_roundtrip__xattrs),
		unit(test_roundtrip__delta),
		unit(test_roundtrip__touched_uploads_nothing),
		unit(test_roundtrip__types_change),
		unit(test_restore__miss),
		unit(test_restore__fallback),
		unit(test_restore__replace_removes_extras),
		unit(test_restore__union_keeps_local),
		unit(test_restore__deletion_arrives),
		unit(test_save__never_empty_over_full),
		unit(test_save__state_lost),
		unit(test_save__state_damaged),
		unit(test_save__another_name),
		unit(test_save__tag_evicted),
		unit(test_save__unix_socket_is_left_out),
		unit(test_restore__setuid_is_dropped),
		unit(test_restore__limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
