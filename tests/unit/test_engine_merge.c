/* test_engine_merge.c - three trees to one, and two builders to one tag. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "engine/merge.h"
#include "engine_tree.h"
#include "fake_remote.h"

/*
 * A tree in short: entries of "PATH" (a directory if it ends in "/"), "@MTIME"
 * and "#CHUNK", such as "d/ d/f@3#1". The chunk stands for the content.
 */
static struct cm_tree *tree_of(const char *brief)
{
	static struct cm_chunk chunks[10];
	struct cm_error err = {0};
	struct cm_tree *t;
	char word[64];
	int n;

	for (unsigned i = 0; i < 10; i++) {
		chunks[i].digest.sha256[0] = (uint8_t)(i + 1);
		chunks[i].size = 100;
	}
	assert_ok(cm_tree_new(chunks, 10, &t, &err), &err);
	for (; sscanf(brief, " %63s%n", word, &n) == 1; brief += n) {
		struct cm_entry *e = cm_tree_add(t);
		char *mtime = strchr(word, '@'), *chunk = strchr(word, '#');
		size_t len = strcspn(word, "@#");

		e->type = word[len - 1] == '/' ? CM_ENTRY_DIR : CM_ENTRY_FILE;
		len -= e->type == CM_ENTRY_DIR;
		e->path = cm_arena_copy(&t->arena, word, len);
		e->path_len = (uint32_t)len;
		e->mtime_ns = mtime ? atoi(mtime + 1) : 1;
		e->chunk = chunk ? (uint32_t)atoi(chunk + 1) : 0;
		e->size = e->type == CM_ENTRY_FILE ? 10 : 0;
	}
	return t;
}

/* Marks ours where it differs from the base, as the diff would. */
static void mark_changes(struct cm_tree *ours, const struct cm_tree *base)
{
	for (size_t i = 0; i < ours->len; i++) {
		struct cm_entry *e = &ours->entries[i];
		size_t k = cm_tree_search(base, e->path, e->path_len);

		if (k == base->len ||
		    strcmp(base->entries[k].path, e->path) != 0 ||
		    !cm_entry_same_metadata(&base->entries[k], e) ||
		    base->entries[k].chunk != e->chunk)
			e->flags |= CM_ENTRY_CHANGED;
	}
}

static void show(const struct cm_tree *t, char *out)
{
	const char *blank = "";

	*out = '\0';
	for (size_t i = 0; i < t->len; i++) {
		const struct cm_entry *e = &t->entries[i];

		if (e->flags & CM_ENTRY_GHOST)
			continue;
		out += sprintf(out, "%s%s", blank, e->path);
		if (e->type == CM_ENTRY_DIR)
			out += sprintf(out, "/");
		else
			out += sprintf(out, "#%d",
				       t->chunks[e->chunk].digest.sha256[0] -
					       1);
		blank = " ";
	}
}

static void assert_merges(const char *base, const char *ours,
			  const char *theirs, enum cm_merge_rule rule,
			  const char *want)
{
	struct cm_tree *b = tree_of(base), *o = tree_of(ours),
		       *t = tree_of(theirs);
	struct cm_merge_rows *rows;
	struct cm_state *os, *s;
	struct cm_error err = {0};
	char got[1024];

	mark_changes(o, b);
	assert_ok(cm_state_new(o, &os, &err), &err);
	for (size_t i = 0; i < o->len; i++)
		os->disk[i].ino = 1;
	assert_ok(cm_merge(b, o, t, rule, &rows, &err), &err);
	if (cm_compose(rows, os, t, &s, &err) < 0)
		fail_msg("%s | %s | %s: %s", base, ours, theirs, err.text);
	show(s->tree, got);
	if (want && strcmp(got, want) != 0)
		fail_msg("%s | %s | %s: %s, not %s", base, ours, theirs, got,
			 want);
	cm_state_free(s);
	cm_merge_rows_free(rows);
	cm_state_free(os);
	cm_tree_free(b);
	cm_tree_free(t);
}

static void test_merge__paths(void **state)
{
	static const struct {
		const char *base, *ours, *theirs, *want;
	} rows[] = {
		/* New on either side, or on both. */
		{"", "a#1", "", "a#1"},
		{"", "", "a#1", "a#1"},
		{"", "a#1", "b#2", "a#1 b#2"},
		{"", "a@2#1", "a@1#2", "a#1"},
		{"", "a@1#1", "a@2#2", "a#2"},
		{"", "a@2#1", "a@2#2", "a#2"},
		{"", "d/ d/a#1", "d/ d/b#2", "d/ d/a#1 d/b#2"},
		/* Changed on one side, or on both. */
		{"a#1", "a#2", "a#1", "a#2"},
		{"a#1", "a#1", "a#2", "a#2"},
		{"a@9#1", "a@2#2", "a@3#3", "a#3"},
		{"a@9#1", "a@4#2", "a@3#3", "a#2"},
		/* Deleted on one side, or changed on the other. */
		{"a#1 b#1", "b#1", "a#1 b#1", "b#1"},
		{"a#1 b#1", "a#1 b#1", "b#1", "b#1"},
		{"a#1", "", "a@2#2", "a#2"},
		/* Only put into another chunk, which is no change. */
		{"a#1", "", "a#2", ""},
		{"a@3#1", "a@2#2", "a@3#3", "a#2"},
		{"a#1", "a#2", "", "a#2"},
		{"a#1 b#1", "b#1", "b#1", "b#1"},
		/* A directory deleted by one, added to by the other. */
		{"d/ d/a#1", "", "d/@2 d/a#1 d/b#2", "d/ d/b#2"},
		{"d/ d/a#1", "", "d/ d/a#1 d/b#2", "d/ d/b#2"},
		{"d/ d/a#1", "d/ d/a#1 d/b#2", "", "d/ d/b#2"},
		{"d/ d/e/ d/e/a#1", "", "d/ d/e/ d/e/a#1 d/e/b#2",
		 "d/ d/e/ d/e/b#2"},
		/* A file here, a directory there. */
		{"", "x@9#1", "x/ x/a#2", "x/ x/a#2"},
		{"", "x/ x/a#2", "x@9#1", "x/ x/a#2"},
		{"", "x@9#1", "x/@1", "x#1"},
		{"", "x@1#1", "x/@9", "x/"},
		{"x/ x/a#1", "x#2", "x/ x/a#1", "x#2"},
		{"x/ x/a#1", "x#2", "x/ x/a#1 x/b#3", "x/ x/b#3"},
		{"x#1", "x#1", "x/ x/a#2", "x/ x/a#2"},
		{"x#1", "x@5#3", "x/ x/y/ x/y/a#2", "x/ x/y/ x/y/a#2"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_merges(rows[i].base, rows[i].ours, rows[i].theirs,
			      CM_RULE_SAVE, rows[i].want);
}

static void test_merge__restoring(void **state)
{
	static const struct {
		const char *base, *ours, *theirs, *want;
	} rows[] = {
		{"a#1 b#1", "b#1", "a#1 b#1", "a#1 b#1"},
		{"a#1 b#1", "a#1 b#1", "b#1", "b#1"},
		{"a#1", "a#2", "a#1", "a#2"},
		{"", "a@1#1", "a@2#2", "a#2"},
		{"", "mine#1", "a#2", "a#2 mine#1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_merges(rows[i].base, rows[i].ours, rows[i].theirs,
			      CM_RULE_RESTORE, rows[i].want);
	assert_merges("a#1", "a#2 x/ x/b#1", "a#1 x#3", CM_RULE_REPLACE,
		      "a#1 x#3");
}

static enum cm_pick pick_of_unread(const char *ours, const char *theirs)
{
	struct cm_tree *b = tree_of("a@1#1"), *o = tree_of(ours),
		       *t = tree_of(theirs);
	struct cm_merge_rows *rows;
	struct cm_error err = {0};
	enum cm_pick pick;

	o->entries[0].flags = CM_ENTRY_CHANGED | CM_ENTRY_UNREAD;
	assert_ok(cm_merge(b, o, t, CM_RULE_RESTORE, &rows, &err), &err);
	assert_int_equal(rows->len, 1);
	pick = (enum cm_pick)rows->rows[0].pick;
	cm_merge_rows_free(rows);
	cm_tree_free(b);
	cm_tree_free(o);
	cm_tree_free(t);
	return pick;
}

/*
 * A killed restore has put files there that the state does not know. They are
 * the snapshot's, or a deletion that follows would spare them.
 */
static void test_merge__left_by_a_killed_restore(void **state)
{
	(void)state;
	assert_int_equal(pick_of_unread("a@1#1", "a@1#2"), CM_PICK_THEIRS);
	assert_int_equal(pick_of_unread("a@2#1", "a@2#2"), CM_PICK_THEIRS);
	/* Worked on since: by its time it is ours. */
	assert_int_equal(pick_of_unread("a@2#1", "a@1#2"), CM_PICK_OURS);
}

/*
 * A random tree of few names, in brief: each path is left out, a file or a
 * directory, and only below a directory that is there.
 */
static void random_tree(char *brief, unsigned *seed)
{
	static const char *const paths[] = {"a",   "a/b", "a/b/c", "a/b/c/d",
					    "a/e", "a-",  "b",	   "b/a"};
	size_t len = (size_t)sprintf(brief, " ");
	const char *slash;
	char parent[16];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		slash = strrchr(paths[i], '/');
		snprintf(parent, sizeof(parent), " %.*s/@",
			 slash ? (int)(slash - paths[i]) : 0, paths[i]);
		if (rand_r(seed) % 3 == 0 || (slash && !strstr(brief, parent)))
			continue;
		len += (size_t)sprintf(brief + len, "%s%s@%d#%d ", paths[i],
				       rand_r(seed) % 2 ? "/" : "",
				       rand_r(seed) % 4, rand_r(seed) % 4);
	}
}

/* Whatever three trees meet, the outcome is a tree; cm_compose() checks. */
static void test_merge__random_trees(void **state)
{
	char briefs[3][512];
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 5000; round++) {
		for (int k = 0; k < 3; k++)
			random_tree(briefs[k], &seed);
		for (int rule = 0; rule < 3; rule++)
			assert_merges(briefs[0], briefs[1], briefs[2],
				      (enum cm_merge_rule)rule, NULL);
	}
}

/* ---- builders ---------------------------------------------------------- */

struct builders {
	struct cm_remote *remote;
	char *a, *b, *c;
	struct cm_snapshot_options oa, ob, oc;
	int round;
};

static int setup(void **state)
{
	struct builders *f = calloc(1, sizeof(*f));

	f->remote = fake_remote_new();
	f->a = scratch_new();
	f->b = scratch_new();
	f->c = scratch_new();
	f->oa = options_for(f->remote, f->a);
	f->ob = options_for(f->remote, f->b);
	f->oc = options_for(f->remote, f->c);
	warnings_seen();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct builders *f = *state;

	scratch_free(f->a);
	scratch_free(f->b);
	scratch_free(f->c);
	cm_remote_free(f->remote);
	free(f);
	return 0;
}

static void test_builders__union_of_both(void **state)
{
	struct builders *f = *state;
	struct cm_snapshot_result r;

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	do_restore(&f->ob);
	make_text(at(f->a, "from a"), "a");
	make_text(at(f->b, "from b"), "b");
	assert_int_equal(unlink(at(f->a, "d1/f21")), 0);
	assert_int_equal(unlink(at(f->b, "d2/f41")), 0);
	do_save(&f->oa);
	r = do_save(&f->ob);
	assert_true(r.published);
	assert_int_equal(r.files, 100);
	do_restore(&f->oc);
	assert_true(exists(at(f->c, "from a")));
	assert_true(exists(at(f->c, "from b")));
	assert_false(exists(at(f->c, "d1/f21")));
	assert_false(exists(at(f->c, "d2/f41")));

	/*
	 * b has never had "from a" on its disk, and still has d1/f21; neither
	 * is its doing, so it publishes nothing.
	 */
	assert_true(do_save(&f->ob).unchanged);
	make_text(at(f->b, "more"), "m");
	r = do_save(&f->ob);
	assert_int_equal(r.files, 101);
	do_restore(&f->oc);
	assert_true(exists(at(f->c, "from a")));
	assert_false(exists(at(f->c, "d1/f21")));
	do_restore(&f->ob);
	assert_same_dirs(f->b, f->c);
	do_restore(&f->oa);
	assert_same_dirs(f->a, f->c);
}

static void test_builders__replace_takes_ours(void **state)
{
	struct builders *f = *state;

	make_text(at(f->a, "one"), "1");
	do_save(&f->oa);
	do_restore(&f->ob);
	make_text(at(f->a, "two"), "2");
	do_save(&f->oa);
	make_text(at(f->b, "three"), "3");
	f->ob.merge = CM_MERGE_REPLACE;
	assert_true(do_save(&f->ob).published);
	do_restore(&f->oc);
	assert_same_dirs(f->b, f->c);
}

static void test_builders__hard_links_stay_together(void **state)
{
	struct builders *f = *state;
	struct stat x, y;

	make_text(at(f->a, "one"), "linked");
	assert_int_equal(link(at(f->a, "one"), at(f->a, "two")), 0);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_int_equal(link(at(f->a, "one"), at(f->a, "three")), 0);
	assert_int_equal(link(at(f->b, "one"), at(f->b, "four")), 0);
	do_save(&f->oa);
	do_save(&f->ob);
	do_restore(&f->oc);
	assert_int_equal(stat(at(f->c, "one"), &x), 0);
	assert_int_equal(stat(at(f->c, "four"), &y), 0);
	assert_int_equal(x.st_ino, y.st_ino);
	assert_int_equal(x.st_nlink, 4);
	/* A file of one name gets a second one by each. */
	make_text(at(f->a, "single"), "s");
	do_save(&f->oa);
	do_restore(&f->ob);
	do_restore(&f->oc);
	assert_int_equal(link(at(f->b, "single"), at(f->b, "by b")), 0);
	assert_int_equal(link(at(f->c, "single"), at(f->c, "by c")), 0);
	do_save(&f->ob);
	do_save(&f->oc);
	do_restore(&f->oc);
	assert_int_equal(stat(at(f->c, "by b"), &x), 0);
	assert_int_equal(x.st_nlink, 3);

	/* The member that carries the content goes. */
	assert_int_equal(unlink(at(f->c, "four")), 0);
	do_save(&f->oc);
	do_restore(&f->oa);
	assert_same_dirs(f->a, f->c);
	do_restore(&f->ob);
	assert_same_dirs(f->b, f->c);
}

/* Somebody else moves the tag just before every put. */
static void other_builder(void *arg)
{
	struct builders *f = arg;
	char name[32];

	fake_remote_before(f->remote, FAKE_MANIFEST_PUT, NULL, NULL);
	snprintf(name, sizeof(name), "other %d", f->round++);
	make_text(at(f->b, name), name);
	do_save(&f->ob);
	if (f->round < 10)
		fake_remote_before(f->remote, FAKE_MANIFEST_PUT, other_builder,
				   f);
}

static void test_builders__storm(void **state)
{
	struct builders *f = *state;
	struct cm_snapshot_result r;

	make_files(f->a, 40, 1);
	fake_remote_before(f->remote, FAKE_MANIFEST_PUT, other_builder, f);
	r = do_save(&f->oa);
	assert_true(r.published);
	assert_int_equal(r.merges, 10);
	assert_int_equal(r.files, 50);
	do_restore(&f->oc);
	do_restore(&f->oa);
	assert_same_dirs(f->a, f->c);
}

static void test_builders__storm_without_end(void **state)
{
	struct builders *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	make_text(at(f->a, "f"), "f");
	fake_remote_fail(f->remote, FAKE_MANIFEST_PUT, 1, CM_ERR_PRECONDITION);
	assert_fails(cm_snapshot_save(&f->oa, &r, &err), CM_ERR_BUSY, &err);
	fake_remote_fail(f->remote, FAKE_MANIFEST_PUT, 1, CM_OK);
	assert_true(do_save(&f->oa).published);
}

struct writer {
	const struct cm_snapshot_options *o;
	const char *prefix;
	int failed;
};

static void *write_rounds(void *arg)
{
	struct writer *w = arg;
	struct cm_snapshot_result r;
	struct cm_error err = {0};
	char path[512];
	int fd;

	for (int i = 0; i < 50; i++) {
		snprintf(path, sizeof(path), "%s/%s-%d", w->o->path, w->prefix,
			 i);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		w->failed += write(fd, path, strlen(path)) < 0;
		close(fd);
		w->failed += cm_snapshot_save(w->o, &r, &err) < 0;
	}
	return NULL;
}

static void test_builders__two_at_once_lose_nothing(void **state)
{
	struct builders *f = *state;
	struct writer a = {&f->oa, "a", 0}, b = {&f->ob, "b", 0};
	pthread_t threads[2];
	char name[32];

	pthread_create(&threads[0], NULL, write_rounds, &a);
	pthread_create(&threads[1], NULL, write_rounds, &b);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	assert_int_equal(a.failed, 0);
	assert_int_equal(b.failed, 0);
	assert_int_equal(do_restore(&f->oc).files, 100);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "a-%d", i);
		assert_true(exists(at(f->c, name)));
		snprintf(name, sizeof(name), "b-%d", i);
		assert_true(exists(at(f->c, name)));
	}
}

/* Many small saves must not leave as many small chunks. */
static void test_builders__small_chunks_are_put_together(void **state)
{
	struct builders *f = *state;
	struct cm_error err = {0};
	struct cm_connection *c;
	struct cm_digest digest;
	struct cm_tree *t;
	char name[32];

	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		make_file(at(f->a, name), 1000, (unsigned)i);
		do_save(&f->oa);
	}
	assert_ok(cm_connection_new(f->remote, &c, &err), &err);
	assert_ok(
		cm_snapshot_fetch_tree(c, "main/test", "t", &t, &digest, &err),
		&err);
	assert_true(t->chunks_len < 80);
	cm_tree_free(t);
	cm_connection_free(c);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

/* A chunk that is mostly dead is written anew, with what lives in it. */
static void test_builders__dead_chunks_go(void **state)
{
	struct builders *f = *state;
	struct cm_snapshot_result r;
	char name[32];

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	for (int i = 0; i < 70; i++) {
		snprintf(name, sizeof(name), "d%d/f%d", i / 20, i);
		assert_int_equal(unlink(at(f->a, name)), 0);
	}
	r = do_save(&f->oa);
	assert_true(r.chunks_moved > 0);
	/* One of them is empty. */
	assert_int_equal(r.files_read, 29);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_true(do_save(&f->oa).unchanged);
}

#define unit(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge__paths),
		cmocka_unit_test(test_merge__restoring),
		cmocka_unit_test(test_merge__left_by_a_killed_restore),
		cmocka_unit_test(test_merge__random_trees),
		unit(test_builders__union_of_both),
		unit(test_builders__replace_takes_ours),
		unit(test_builders__hard_links_stay_together),
		unit(test_builders__storm),
		unit(test_builders__storm_without_end),
		unit(test_builders__two_at_once_lose_nothing),
		unit(test_builders__small_chunks_are_put_together),
		unit(test_builders__dead_chunks_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
