/*
 * test_engine_faults.c - the snapshot engine when luck is bad: the registry
 * gone, wrong or hostile, the process killed, files that change, no rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#include <cachemount/protocol.h>

#include "engine/tree.h"
#include "engine_tree.h"
#include "fake_remote.h"

struct fixture {
	struct cm_remote *remote;
	char *a, *b;
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

/* ---- the registry goes away -------------------------------------------- */

static void test_faults__save_at_every_call(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};
	int failures = 0;

	make_files(f->a, 150, 1);
	make_file(at(f->a, "large"), 9 << 20, 2);
	for (int call = 0; call < FAKE_CALLS; call++) {
		for (int nth = 1; nth < 40; nth++) {
			make_text(at(f->a, "new"), "n");
			fake_remote_fail(f->remote, (enum fake_call)call, nth,
					 CM_ERR_UNAVAILABLE);
			if (cm_snapshot_save(&f->oa, &r, &err) == 0)
				break;
			assert_int_equal(err.status, CM_ERR_UNAVAILABLE);
			failures++;
		}
		fake_remote_fail(f->remote, (enum fake_call)call, 1, CM_OK);
	}
	assert_true(failures > 8);
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

/* Every file in `dir` must be whole: as it is in `source`. */
static void assert_no_half_files(const char *dir, const char *source)
{
	char *have = describe(dir), *want = describe(source);

	for (char *line = strtok(have, "\n"); line; line = strtok(NULL, "\n")) {
		/* Directories get their time and mode at the very end. */
		if (strstr(line, " 40") != NULL)
			continue;
		if (!strstr(want, line))
			fail_msg("half done: %s", line);
	}
	free(have);
	free(want);
}

static void test_faults__restore_at_every_call(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};
	int failures = 0;

	make_files(f->a, 150, 1);
	make_file(at(f->a, "large"), 9 << 20, 2);
	do_save(&f->oa);
	for (int nth = 1; nth < 40; nth++) {
		fake_remote_fail(f->remote, FAKE_BLOB_GET, nth,
				 CM_ERR_UNAVAILABLE);
		if (cm_snapshot_restore(&f->ob, &r, &err) == 0)
			break;
		assert_int_equal(err.status, CM_ERR_UNAVAILABLE);
		assert_no_half_files(f->b, f->a);
		assert_false(exists(at(f->b, ".cachectl/state")));
		assert_false(exists(at(f->b, ".cachectl/tmp")));
		failures++;
	}
	assert_true(failures > 5);
	assert_same_dirs(f->a, f->b);
}

static void test_faults__cancelled(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	make_files(f->a, 50, 1);
	cm_remote_cancel(f->remote);
	assert_fails(cm_snapshot_save(&f->oa, &r, &err), CM_ERR_CANCELLED,
		     &err);
	assert_fails(cm_snapshot_restore(&f->ob, &r, &err), CM_ERR_CANCELLED,
		     &err);
}

/* ---- killed -------------------------------------------------------------- */

static void nap(long us)
{
	struct timespec t = {0, us * 1000};

	nanosleep(&t, NULL);
}

static void slow_down(void *arg)
{
	(void)arg;
	nap(500);
}

static void test_faults__killed_while_restoring(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	unsigned seed = 7;
	pid_t pid;

	make_files(f->a, 300, 1);
	make_file(at(f->a, "large"), 6 << 20, 2);
	do_save(&f->oa);
	fake_remote_before(f->remote, FAKE_BLOB_GET, slow_down, NULL);
	for (int i = 0; i < 25; i++) {
		pid = fork();
		if (pid == 0) {
			cm_snapshot_restore(&f->ob, &r, NULL);
			_exit(0);
		}
		nap(rand_r(&seed) % 15000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_no_half_files(f->b, f->a);
	}
	fake_remote_before(f->remote, FAKE_BLOB_GET, NULL, NULL);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_false(exists(at(f->b, ".cachectl/tmp")));
}

/* ---- others at work in the mount ----------------------------------------- */

struct neighbour {
	struct fixture *f;
	int calls_left; /* of the restore, before it acts */
};

/* A build step next door makes a directory that the restore is about to. */
static void make_their_own(void *arg)
{
	struct neighbour *n = arg;
	struct fixture *f = n->f;

	if (--n->calls_left != 0)
		return;
	make_dir(at(f->b, "d1"), 0755);
	make_text(at(f->b, "d1/own"), "own");
	make_text(at(f->b, "d1/f21"), "newer");
}

/* `nth`: before the tree is fetched, or when the plan is made already. */
static void meet_at_call(struct fixture *f, int nth)
{
	struct neighbour n = {f, nth};

	make_files(f->a, 100, 1);
	do_save(&f->oa);
	f->ob.jobs = 1;
	fake_remote_before(f->remote, FAKE_BLOB_GET, make_their_own, &n);
	do_restore(&f->ob);
	fake_remote_before(f->remote, FAKE_BLOB_GET, NULL, NULL);
	assert_true(n.calls_left <= 0);
	assert_true(exists(at(f->b, "d1/own")));
	assert_true(exists(at(f->b, "d4/f99")));
	/* What they made is newer, and is published. */
	assert_true(do_save(&f->ob).published);
	do_restore(&f->oa);
	assert_same_dirs(f->a, f->b);
}

static void test_others__make_a_directory_before_the_plan(void **state)
{
	meet_at_call(*state, 1);
}

static void test_others__make_a_directory_after_the_plan(void **state)
{
	meet_at_call(*state, 2);
}

static void take_away(void *arg)
{
	struct neighbour *n = arg;

	if (--n->calls_left == 0)
		rename(at(n->f->b, "d"), at(n->f->b, "away"));
}

/* That is no lack of a snapshot: `cachectl restore` would exit with 10. */
static void test_others__take_a_directory_away(void **state)
{
	struct fixture *f = *state;
	struct neighbour n = {f, 2};
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	make_dir(at(f->a, "d"), 0755);
	make_text(at(f->a, "d/first"), "1");
	do_save(&f->oa);
	do_restore(&f->ob);
	make_text(at(f->a, "d/second"), "2");
	do_save(&f->oa);
	fake_remote_before(f->remote, FAKE_BLOB_GET, take_away, &n);
	assert_fails(cm_snapshot_restore(&f->ob, &r, &err), CM_ERR_IO, &err);
	fake_remote_before(f->remote, FAKE_BLOB_GET, NULL, NULL);
	assert_false(exists(at(f->b, ".cachectl/tmp")));
}

/* A new directory in one that is there, a new one in that, and so on. */
static void test_others__new_below_old(void **state)
{
	struct fixture *f = *state;

	make_dir(at(f->a, "old"), 0755);
	make_dir(at(f->a, "old/older"), 0755);
	do_save(&f->oa);
	make_text(at(f->a, "f"), "f");
	do_save(&f->oa);
	do_restore(&f->ob);
	make_dir(at(f->a, "old/older/new"), 02755);
	make_dir(at(f->a, "old/older/new/newer"), 0500);
	make_text(at(f->a, "old/older/new/newer/in"), "in");
	make_file(at(f->a, "old/older/new/large"), 6 << 20, 3);
	assert_int_equal(
		link(at(f->a, "old/older/new/large"), at(f->a, "old/link")), 0);
	assert_int_equal(symlink("in", at(f->a, "old/older/new/newer/sym")), 0);
	assert_int_equal(mkfifo(at(f->a, "old/older/new/fifo"), 0600), 0);
	make_text(at(f->a, "old/beside"), "b");
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	assert_true(do_save(&f->ob).unchanged);
	assert_false(exists(at(f->b, ".cachectl/tmp")));
}

/* ---- files that change --------------------------------------------------- */

struct grower {
	const char *path;
	atomic_bool stop;
	pthread_t thread;
};

static void *grow(void *arg)
{
	struct grower *g = arg;
	int fd = open(g->path, O_WRONLY | O_APPEND | O_CLOEXEC);

	while (!g->stop && write(fd, "more", 4) == 4)
		nap(200);
	close(fd);
	return NULL;
}

/* Saves while the file at `path` grows all the time. */
static struct cm_snapshot_result save_while_growing(struct fixture *f,
						    const char *path)
{
	struct grower g = {.path = path};
	struct cm_snapshot_result r;

	pthread_create(&g.thread, NULL, grow, &g);
	r = do_save(&f->oa);
	g.stop = true;
	pthread_join(g.thread, NULL);
	return r;
}

static void test_faults__file_changes_while_read(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_file(at(f->a, "busy"), 70 << 20, 1);
	make_text(at(f->a, "calm"), "c");
	r = save_while_growing(f, at(f->a, "busy"));
	assert_int_equal(r.left_out, 1);
	assert_int_equal(warnings_seen(), 1);
	assert_non_null(strstr(last_warning(), "changed while"));
	do_restore(&f->ob);
	assert_false(exists(at(f->b, "busy")));
	assert_true(exists(at(f->b, "calm")));

	/* It is saved when it has come to rest. */
	assert_true(do_save(&f->oa).published);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);

	/* While it changes again, the last whole version stays. */
	make_text(at(f->a, "calm"), "changed");
	set_mtime(at(f->a, "busy"), 1);
	r = save_while_growing(f, at(f->a, "busy"));
	assert_true(r.published);
	assert_int_equal(warnings_seen(), 1);
	do_restore(&f->ob);
	assert_true(exists(at(f->b, "busy")));
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

/* ---- the registry loses things ------------------------------------------- */

static struct cm_tree *fetch_tree(struct fixture *f)
{
	struct cm_error err = {0};
	struct cm_connection *c;
	struct cm_digest digest;
	struct cm_tree *t;

	assert_ok(cm_connection_new(f->remote, &c, &err), &err);
	assert_ok(
		cm_snapshot_fetch_tree(c, "main/test", "t", &t, &digest, &err),
		&err);
	cm_connection_free(c);
	return t;
}

static void test_faults__lost_chunks_are_sent_again(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};
	struct cm_tree *t;

	make_files(f->a, 300, 1);
	do_save(&f->oa);
	t = fetch_tree(f);
	fake_remote_drop_blob(f->remote, &t->chunks[0].digest);
	cm_tree_free(t);
	assert_fails(cm_snapshot_restore(&f->ob, &r, &err), CM_ERR_NOT_FOUND,
		     &err);
	assert_no_half_files(f->b, f->a);
	make_text(at(f->a, "new"), "n");
	assert_true(do_save(&f->oa).published);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

/* A builder that has not the lost files publishes the rest. */
static void test_faults__lost_chunks_of_others(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_tree *t;

	make_files(f->a, 40, 1);
	do_save(&f->oa);
	t = fetch_tree(f);
	for (size_t i = 0; i < t->chunks_len; i++)
		fake_remote_drop_blob(f->remote, &t->chunks[i].digest);
	cm_tree_free(t);
	make_text(at(f->b, "mine"), "m");
	r = do_save(&f->ob);
	assert_true(r.published);
	assert_true(r.left_out > 30);
	assert_true(warnings_seen() > 0);
	do_restore(&f->ob);
	/* And the one who has them brings them back. */
	do_save(&f->oa);
	make_text(at(f->a, "and"), "a");
	do_save(&f->oa);
	do_restore(&f->ob);
	assert_true(exists(at(f->b, "mine")));
	assert_true(exists(at(f->b, "d1/f21")));
}

/* ---- hostile snapshots --------------------------------------------------- */

#define HEAD "{\"cachemount\":\"tree\",\"version\":1}\n"
#define META "\"mode\":\"755\",\"mtime_ns\":1"

/* Publishes `text` as the tree, with one chunk of 5 bytes. */
static void put_snapshot(struct fixture *f, const char *text)
{
	char json[2048], tree_text[CM_DIGEST_TEXT_SIZE],
		chunk_text[CM_DIGEST_TEXT_SIZE];
	struct cm_digest tree, chunk;
	int n;

	fake_remote_add_blob(f->remote, text, strlen(text), &tree);
	fake_remote_add_blob(f->remote, "chunk", 5, &chunk);
	n = snprintf(json, sizeof(json),
		     "{\"schemaVersion\":2,\"mediaType\":"
		     "\"" CM_MEDIA_OCI_MANIFEST "\",\"artifactType\":"
		     "\"" CM_MEDIA_SNAPSHOT "\",\"config\":{\"mediaType\":"
		     "\"" CM_MEDIA_TREE "\",\"digest\":\"%s\",\"size\":%zu},"
		     "\"layers\":[{\"mediaType\":\"" CM_MEDIA_CHUNK "\","
		     "\"digest\":\"%s\",\"size\":5}]}",
		     cm_digest_format(&tree, tree_text), strlen(text),
		     cm_digest_format(&chunk, chunk_text));
	fake_remote_add_manifest(f->remote, "main/test", "t", json, (size_t)n);
}

static void test_hostile__refused_trees(void **state)
{
	static const char *const texts[] = {
		HEAD "{\"path\":\"/tmp/x\",\"type\":\"dir\"," META "}\n",
		HEAD "{\"path\":\"../x\",\"type\":\"dir\"," META "}\n",
		HEAD
		"{\"path\":\"l\",\"type\":\"symlink\",\"target\":\"/\"," META
		"}\n{\"path\":\"l/x\",\"type\":\"file\",\"size\":0," META "}\n",
		HEAD "{\"path\":\"d\",\"type\":\"char\"," META "}\n",
		HEAD "{\"path\":\".cachectl/state\",\"type\":\"file\","
		     "\"size\":5,\"chunk\":0,\"offset\":0," META "}\n",
		HEAD "{\"path\":\"f\",\"type\":\"file\",\"size\":6,\"chunk\":0,"
		     "\"offset\":0," META "}\n",
		HEAD "{\"path\":\"f\",\"type\":\"file\",\"size\":9,\"chunk\":0,"
		     "\"offset\":0,\"data\":[[0,3],[2,2]]," META "}\n",
		"no tree at all",
		"",
	};
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};
	char *found;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put_snapshot(f, texts[i]);
		if (cm_snapshot_restore(&f->ob, &r, &err) == 0)
			fail_msg("restored: %s", texts[i]);
		assert_non_null(strstr(err.text, "tree"));
		found = describe(f->b);
		assert_string_equal(found, "");
		free(found);
	}
	/* What nobody can restore does not stop a builder from saving. */
	make_text(at(f->a, "f"), "f");
	assert_true(do_save(&f->oa).published);
	assert_int_equal(warnings_seen(), 1);
	assert_non_null(strstr(last_warning(), "will be replaced"));
	assert_true(do_restore(&f->ob).hit);
}

static void test_hostile__refused_manifests(void **state)
{
	static const char image[] =
		"{\"schemaVersion\":2,\"mediaType\":"
		"\"" CM_MEDIA_OCI_MANIFEST "\",\"config\":{\"mediaType\":"
		"\"application/json\",\"digest\":\"sha256:"
		"00000000000000000000000000000000"
		"00000000000000000000000000000000\",\"size\":2},"
		"\"layers\":[]}";
	struct fixture *f = *state;
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	fake_remote_add_manifest(f->remote, "main/test", "t", image,
				 strlen(image));
	assert_fails(cm_snapshot_restore(&f->ob, &r, &err), CM_ERR_UNSUPPORTED,
		     &err);
	/* An image is not overwritten by a cache. */
	make_text(at(f->a, "f"), "f");
	assert_fails(cm_snapshot_save(&f->oa, &r, &err), CM_ERR_UNSUPPORTED,
		     &err);
}

/* Links on this disk, where the snapshot has directories and files. */
static void test_hostile__links_on_disk_are_replaced(void **state)
{
	struct fixture *f = *state;
	char *outside = scratch_new(), *found;

	make_dir(at(f->a, "d"), 0755);
	make_text(at(f->a, "d/f"), "inside");
	make_text(at(f->a, "g"), "inside");
	make_dir(at(f->a, "e"), 0755);
	do_save(&f->oa);
	make_text(at(outside, "target"), "untouched");
	set_mtime(at(outside, "target"), 1000000000);
	assert_int_equal(symlink(outside, at(f->b, "d")), 0);
	assert_int_equal(symlink(outside, at(f->b, "e")), 0);
	assert_int_equal(symlink(at(outside, "target"), at(f->b, "g")), 0);
	set_mtime(at(f->b, "g"), 1000000000);
	set_mtime(at(f->b, "e"), 1000000000);
	found = describe(outside);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
	char *after = describe(outside);
	assert_string_equal(found, after);
	free(found);
	free(after);
	scratch_free(outside);
}

/* ---- other file systems below the mount --------------------------------- */

static void test_mounts__nested_one_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct cm_snapshot_result r;

	make_dir(at(f->a, "inner"), 0755);
	make_text(at(f->a, "inner/f"), "theirs");
	make_text(at(f->a, "outer"), "o");
	do_save(&f->oa);
	make_dir(at(f->b, "inner"), 0755);
	if (mount("none", at(f->b, "inner"), "tmpfs", 0, "size=1m") < 0)
		skip();
	make_text(at(f->b, "inner/own"), "own");
	f->ob.merge = CM_MERGE_REPLACE;
	do_restore(&f->ob);
	assert_true(exists(at(f->b, "outer")));
	assert_true(exists(at(f->b, "inner/own")));
	assert_false(exists(at(f->b, "inner/f")));

	/* Nor is what it hides taken for deleted. */
	f->ob.merge = CM_MERGE_UNION;
	make_text(at(f->b, "new"), "n");
	r = do_save(&f->ob);
	assert_int_equal(r.left_out, 1);
	do_restore(&f->oa);
	assert_true(exists(at(f->a, "inner/f")));
	assert_false(exists(at(f->a, "inner/own")));

	/* Not even when the directory is to go. */
	assert_int_equal(unlink(at(f->a, "inner/f")), 0);
	assert_int_equal(rmdir(at(f->a, "inner")), 0);
	make_text(at(f->a, "inner"), "now a file");
	do_save(&f->oa);
	f->ob.merge = CM_MERGE_REPLACE;
	do_restore(&f->ob);
	assert_true(exists(at(f->b, "inner/own")));
	assert_int_equal(umount(at(f->b, "inner")), 0);
	do_restore(&f->ob);
	assert_same_dirs(f->a, f->b);
}

/* ---- without rights ------------------------------------------------------ */

/* Runs `fn` as nobody in a process of its own; its result, or skip. */
static int as_nobody(struct fixture *f, int (*fn)(struct fixture *))
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		return fn(f);
	assert_int_equal(chown(f->a, 65534, 65534), 0);
	assert_int_equal(chown(f->b, 65534, 65534), 0);
	pid = fork();
	if (pid == 0) {
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(99);
		_exit(fn(f));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

#define must(what)                                                             \
	do {                                                                   \
		if (!(what)) {                                                 \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what,  \
				err.text);                                     \
			return 1;                                              \
		}                                                              \
	} while (0)

/* A tree of read-only directories, like the ones of Go's modules. */
static int read_only_tree(struct fixture *f)
{
	struct cm_snapshot_result r;
	struct cm_error err = {0};
	struct stat st;

	make_dir(at(f->a, "mod"), 0755);
	make_dir(at(f->a, "mod/sub"), 0755);
	make_text(at(f->a, "mod/one"), "1");
	make_text(at(f->a, "mod/sub/two"), "2");
	chmod(at(f->a, "mod/one"), 0444);
	chmod(at(f->a, "mod/sub"), 0555);
	chmod(at(f->a, "mod"), 0555);
	must(cm_snapshot_save(&f->oa, &r, &err) == 0);
	must(cm_snapshot_restore(&f->ob, &r, &err) == 0);
	must(stat(at(f->b, "mod/sub"), &st) == 0);
	must((st.st_mode & 07777) == 0555);

	/* Changed, added and removed inside them. */
	chmod(at(f->a, "mod"), 0755);
	chmod(at(f->a, "mod/sub"), 0755);
	make_text(at(f->a, "mod/sub/three"), "3");
	must(unlink(at(f->a, "mod/sub/two")) == 0);
	must(unlink(at(f->a, "mod/one")) == 0);
	make_text(at(f->a, "mod/one"), "changed");
	chmod(at(f->a, "mod/sub"), 0555);
	chmod(at(f->a, "mod"), 0555);
	must(cm_snapshot_save(&f->oa, &r, &err) == 0);
	must(cm_snapshot_restore(&f->ob, &r, &err) == 0);
	char *x = describe(f->a), *y = describe(f->b);
	must(strcmp(x, y) == 0);
	free(x);
	free(y);
	must(cm_snapshot_save(&f->ob, &r, &err) == 0 && r.unchanged);

	/* And all of it removed. */
	chmod(at(f->a, "mod"), 0755);
	must(rename(at(f->a, "mod"), at(f->a, "moved")) == 0);
	chmod(at(f->a, "moved"), 0555);
	must(cm_snapshot_save(&f->oa, &r, &err) == 0);
	must(cm_snapshot_restore(&f->ob, &r, &err) == 0);
	must(!exists(at(f->b, "mod")) && exists(at(f->b, "moved/one")));
	return 0;
}

static void test_rights__read_only_directories(void **state)
{
	assert_int_equal(as_nobody(*state, read_only_tree), 0);
}

static int unreadable_tree(struct fixture *f)
{
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	make_dir(at(f->a, "closed"), 0755);
	make_text(at(f->a, "closed/in"), "i");
	make_text(at(f->a, "secret"), "s");
	make_text(at(f->a, "open"), "o");
	must(cm_snapshot_save(&f->oa, &r, &err) == 0);

	/* What can't be read any more is not taken for deleted. */
	chmod(at(f->a, "closed"), 0);
	make_text(at(f->a, "secret"), "changed");
	chmod(at(f->a, "secret"), 0);
	make_text(at(f->a, "new secret"), "n");
	chmod(at(f->a, "new secret"), 0);
	make_text(at(f->a, "open"), "opened");
	must(cm_snapshot_save(&f->oa, &r, &err) == 0);
	must(r.published && r.left_out == 3);
	must(cm_snapshot_restore(&f->ob, &r, &err) == 0);
	chmod(at(f->b, "closed"), 0755);
	must(exists(at(f->b, "closed/in")) && exists(at(f->b, "secret")));
	must(!exists(at(f->b, "new secret")));
	chmod(at(f->a, "closed"), 0755);
	return 0;
}

static void test_rights__unreadable_is_kept(void **state)
{
	assert_int_equal(as_nobody(*state, unreadable_tree), 0);
}

static int unwritable_mount(struct fixture *f)
{
	struct cm_snapshot_result r;
	struct cm_error err = {0};

	make_text(at(f->a, "f"), "f");
	must(cm_snapshot_save(&f->oa, &r, &err) == 0);
	chmod(f->b, 0555);
	must(cm_snapshot_restore(&f->ob, &r, &err) == CM_ERR_IO);
	must(strstr(err.text, "Permission denied") != NULL);
	chmod(f->b, 0755);
	f->ob.path = "/proc/nowhere/at/all";
	must(cm_snapshot_restore(&f->ob, &r, &err) < 0);
	return 0;
}

static void test_rights__unwritable_mount(void **state)
{
	assert_int_equal(as_nobody(*state, unwritable_mount), 0);
}

#define unit(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_faults__save_at_every_call),
		unit(test_faults__restore_at_every_call),
		unit(test_faults__cancelled),
		unit(test_faults__killed_while_restoring),
		unit(test_others__make_a_directory_before_the_plan),
		unit(test_others__make_a_directory_after_the_plan),
		unit(test_others__take_a_directory_away),
		unit(test_others__new_below_old),
		unit(test_faults__file_changes_while_read),
		unit(test_faults__lost_chunks_are_sent_again),
		unit(test_faults__lost_chunks_of_others),
		unit(test_hostile__refused_trees),
		unit(test_hostile__refused_manifests),
		unit(test_hostile__links_on_disk_are_replaced),
		unit(test_mounts__nested_one_is_left_alone),
		unit(test_rights__read_only_directories),
		unit(test_rights__unreadable_is_kept),
		unit(test_rights__unwritable_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
