/* test_engine_state.c - the mount's memory, its damage, and the walk. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "engine/root.h"
#include "engine/scan.h"
#include "engine/state.h"
#include "engine_tree.h"

static const struct cm_chunk chunks[] = {
	{{{1}}, 1000}, {{{2}}, 500}, {{{3}}, 77}};

static const char text[] =
	"{\"cachemount\":\"tree\",\"version\":1}\n"
	"{\"path\":\"a\",\"type\":\"dir\",\"mode\":\"755\",\"mtime_ns\":1}\n"
	"{\"path\":\"a/f\",\"type\":\"file\",\"mode\":\"644\",\"mtime_ns\":2,"
	"\"size\":1200,\"chunk\":0,\"offset\":1,"
	"\"xattrs\":{\"user.a\":\"AAA=\",\"user.b\":\"\"}}\n"
	"{\"path\":\"h1\",\"type\":\"file\",\"hlink\":1,\"mode\":\"600\","
	"\"mtime_ns\":2,\"size\":9,\"chunk\":2,\"offset\":0}\n"
	"{\"path\":\"h2\",\"type\":\"file\",\"hlink\":1}\n"
	"{\"path\":\"l\",\"type\":\"symlink\",\"mode\":\"777\","
	"\"mtime_ns\":3,\"target\":\"a/f\"}\n"
	"{\"path\":\"s\",\"type\":\"file\",\"mode\":\"644\",\"mtime_ns\":2,"
	"\"size\":1200000,\"data\":[[7,3],[100,4]],\"chunk\":1,"
	"\"offset\":4}\n";

static struct cm_state *make_state(void)
{
	static const struct cm_tree_limits limits = {100, 1 << 30};
	struct cm_digest manifest = {{9, 9}};
	struct cm_error err = {0};
	struct cm_state *s = NULL;
	struct cm_tree *t = NULL;

	assert_ok(cm_tree_parse(strdup(text), strlen(text), chunks, 3, &limits,
				&t, &err),
		  &err);
	assert_ok(cm_state_new(t, &s, &err), &err);
	assert_ok(cm_state_name(s, "main/pip", "linux", &manifest, &err), &err);
	for (size_t i = 0; i < t->len; i++)
		s->disk[i] = (struct cm_disk_id){i + 1, 2, 3, 4};
	t->entries[5].flags = CM_ENTRY_STALE;
	return s;
}

static void test_state__written_is_read_back(void **state)
{
	struct cm_state *s = make_state(), *back = NULL;
	struct cm_error err = {0};
	void *bytes;
	size_t len;
	char *a, *b;
	size_t a_len, b_len;

	(void)state;
	assert_ok(cm_state_encode(s, &bytes, &len, &err), &err);
	assert_ok(cm_state_decode(bytes, len, &back, &err), &err);
	assert_string_equal(back->repo, "main/pip");
	assert_string_equal(back->tag, "linux");
	assert_true(cm_digest_equal(&back->manifest, &s->manifest));
	assert_int_equal(back->tree->len, s->tree->len);
	assert_int_equal(back->tree->chunks_len, 3);
	assert_memory_equal(back->disk, s->disk,
			    s->tree->len * sizeof(*s->disk));
	assert_int_equal(back->tree->entries[5].flags, CM_ENTRY_STALE);
	assert_ok(cm_tree_format(s->tree, &a, &a_len, &err), &err);
	assert_ok(cm_tree_format(back->tree, &b, &b_len, &err), &err);
	assert_int_equal(a_len, b_len);
	assert_memory_equal(a, b, a_len);
	free(a);
	free(b);
	cm_state_free(s);
	cm_state_free(back);
}

static void test_state__any_flipped_byte_is_noticed(void **state)
{
	struct cm_state *s = make_state(), *back = NULL;
	struct cm_error err = {0};
	char *bytes, *copy;
	void *out;
	size_t len;

	(void)state;
	assert_ok(cm_state_encode(s, &out, &len, &err), &err);
	bytes = out;
	for (size_t i = 0; i < len; i++) {
		copy = malloc(len);
		memcpy(copy, bytes, len);
		copy[i] ^= 0x41;
		assert_true(cm_state_decode(copy, len, &back, &err) < 0);
	}
	for (size_t i = 0; i < len; i++) {
		copy = malloc(i + 1);
		memcpy(copy, bytes, i);
		assert_true(cm_state_decode(copy, i, &back, &err) < 0);
	}
	free(bytes);
	cm_state_free(s);
}

static void test_state__on_disk(void **state)
{
	struct cm_state *s = make_state(), *back = NULL;
	char *dir = scratch_new();
	struct cm_error err = {0};
	struct cm_root *m;

	(void)state;
	assert_ok(cm_root_open(dir, false, &m, &err), &err);
	assert_fails(cm_state_load(m, &back, &err), CM_ERR_NOT_FOUND, &err);
	assert_ok(cm_state_save(m, s, &err), &err);
	assert_ok(cm_state_save(m, s, &err), &err);
	assert_ok(cm_state_load(m, &back, &err), &err);
	cm_state_free(back);
	back = NULL;
	/* A link in its place is not followed. */
	assert_int_equal(unlink(at(dir, ".cachectl/state")), 0);
	assert_int_equal(symlink("/etc/passwd", at(dir, ".cachectl/state")), 0);
	assert_true(cm_state_load(m, &back, &err) < 0);
	assert_ok(cm_state_save(m, s, &err), &err);
	assert_ok(cm_state_load(m, &back, &err), &err);
	cm_state_free(back);
	cm_root_close(m);
	cm_state_free(s);
	scratch_free(dir);
}

static void test_mount__refuses_a_linked_state_folder(void **state)
{
	char *dir = scratch_new(), *other = scratch_new();
	struct cm_error err = {0};
	struct cm_root *m = NULL;

	(void)state;
	assert_int_equal(symlink(other, at(dir, ".cachectl")), 0);
	assert_true(cm_root_open(dir, true, &m, &err) < 0);
	assert_false(exists(at(other, "lock")));
	scratch_free(dir);
	scratch_free(other);
}

static void test_mount__lock_is_exclusive(void **state)
{
	char *dir = scratch_new();
	struct cm_error err = {0};
	struct cm_root *a, *b;

	(void)state;
	assert_ok(cm_root_open(dir, true, &a, &err), &err);
	assert_ok(cm_root_open(dir, true, &b, &err), &err);
	assert_ok(cm_root_lock(a, 0, &err), &err);
	assert_fails(cm_root_lock(b, 50, &err), CM_ERR_BUSY, &err);
	cm_root_close(a);
	assert_ok(cm_root_lock(b, 0, &err), &err);
	cm_root_close(b);
	scratch_free(dir);
}

static void scan_and_check(const char *dir, struct cm_scan **ret)
{
	struct cm_error err = {0};
	struct cm_root *m;

	assert_ok(cm_root_open(dir, false, &m, &err), &err);
	assert_ok(cm_scan_mount(m, 4, 100000, ret, &err), &err);
	for (size_t i = 1; i < (*ret)->len; i++)
		assert_true(cm_path_compare((*ret)->entries[i - 1].path,
					    (*ret)->entries[i - 1].path_len,
					    (*ret)->entries[i].path,
					    (*ret)->entries[i].path_len) < 0);
	cm_root_close(m);
}

static void test_scan__order_and_bounds(void **state)
{
	char *dir = scratch_new(), *outside = scratch_new();
	struct cm_scan *s = NULL;
	struct cm_error err = {0};
	struct cm_root *m;

	(void)state;
	make_files(dir, 200, 1);
	make_text(at(outside, "secret"), "s");
	make_text(at(dir, "d1-x"), "between d1 and d1/…");
	assert_int_equal(symlink(outside, at(dir, "link")), 0);
	assert_int_equal(symlink("..", at(dir, "up")), 0);
	scan_and_check(dir, &s);
	assert_int_equal(s->len, 200 + 10 + 3);
	cm_scan_free(s);
	assert_ok(cm_root_open(dir, false, &m, &err), &err);
	assert_fails(cm_scan_mount(m, 2, 100, &s, &err), CM_ERR_SIZE, &err);
	cm_root_close(m);
	scratch_free(dir);
	scratch_free(outside);
}

/* Deeper than a path may be long, and than any stack would like. */
static void test_scan__deep(void **state)
{
	char *dir = scratch_new();
	struct cm_scan *s = NULL;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), next;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(fd, "deep", 0755), 0);
		next = openat(fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	scan_and_check(dir, &s);
	assert_int_equal(s->len, 3000);
	cm_scan_free(s);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cm_remove_tree(fd, "deep"), 0);
	assert_false(exists(at(dir, "deep")));
	close(fd);
	scratch_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state__written_is_read_back),
		cmocka_unit_test(test_state__any_flipped_byte_is_noticed),
		cmocka_unit_test(test_state__on_disk),
		cmocka_unit_test(test_mount__refuses_a_linked_state_folder),
		cmocka_unit_test(test_mount__lock_is_exclusive),
		cmocka_unit_test(test_scan__order_and_bounds),
		cmocka_unit_test(test_scan__deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
