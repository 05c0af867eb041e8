/*
 * test_store_crash.c - kill -9 at random instants (design §4, invariants 1, 2).
 *
 * A child loads a store with several threads and says through a pipe what was
 * acknowledged. The parent kills it, opens the store and checks every word.
 * Each thread has names of its own, so that what must be there is certain: an
 * intent is said before a call, an acknowledgement after it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

#define ROUNDS	15
#define THREADS 4
#define STEPS	20000
#define TAGS	5

/* One line of a thread's diary; a pipe takes it whole. */
struct word {
	enum { WILL_TAG, DID_TAG, WILL_DROP, DID_DROP } what;
	unsigned int thread;
	unsigned int seed; /* of the content */
	unsigned int tag;
};

/* What the parent knows of one tag. */
struct known {
	unsigned int seed; /* 0: no tag */
	unsigned int maybe;
	bool pending; /* an intent without an answer: `maybe` may be true */
};

struct loader {
	struct cm_store *store;
	unsigned int number, round;
	int pipe;
};

/* Small ones, noise in files, text in compressed files. */
static struct content content_of(unsigned int seed)
{
	switch (seed % 3) {
	case 0:
		return content_noise(seed, 300 + seed % 1000);
	case 1:
		return content_noise(seed, 17000 + seed % 50000);
	default:
		return content_text(seed, 40000 + seed % 100000);
	}
}

static struct test_manifest manifest_of(const struct content *c,
					unsigned int seed)
{
	struct test_ref refs[] = {REF(c)};

	return manifest_make(seed % 2 ? SNAPSHOT : IMAGE, REFS(refs), seed,
			     seed % 5 ? 0 : 20000);
}

static void say(struct loader *l, int what, unsigned int seed, unsigned int tag)
{
	struct word w = {what, l->number, seed, tag};

	if (write(l->pipe, &w, sizeof(w)) != sizeof(w))
		_exit(3);
}

static void repo_of(unsigned int thread, char out[16])
{
	snprintf(out, 16, "crash/t%u", thread);
}

/* A push as a client does it: the blob by a session or at once, then the tag.
 */
static int push(struct store_fixture *f, const char *repo, const char *tag,
		unsigned int seed)
{
	struct content c = content_of(seed);
	struct test_manifest m = manifest_of(&c, seed);
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_upload *u = NULL;
	struct cm_blob_info info;
	int r;

	if (seed % 4 == 0) {
		r = cm_upload_begin(f->store, repo, id, &f->err);
		if (r == 0)
			r = cm_upload_open(f->store, repo, id, &u, &f->err);
		if (r == 0)
			r = cm_upload_append(u, c.data, c.len, &f->err);
		if (r == 0)
			r = cm_upload_sync(u, &f->err);
		if (r == 0)
			r = cm_upload_commit(u, &c.digest, &info, &f->err);
		cm_upload_close(u);
	} else {
		r = store_push(f, repo, &c, NULL);
	}
	if (r == 0)
		r = store_put(f, repo, tag, &m);
	manifest_free(&m);
	content_free(&c);
	return r;
}

/* A slow push may outlive its lease: then it begins again. */
static void push_or_die(struct store_fixture *f, const char *repo,
			const char *tag, unsigned int seed)
{
	int r = CM_ERR_MISSING_BLOB;

	for (int i = 0; i < 50 && r == CM_ERR_MISSING_BLOB; i++)
		r = push(f, repo, tag, seed);
	if (r == 0)
		return;
	fprintf(stderr, "push: %s\n", f->err.text);
	_exit(4);
}

static void *load_main(void *arg)
{
	struct loader *l = arg;
	struct store_fixture f = {.store = l->store};
	unsigned int rng = l->round * 1000 + l->number, seed, tag;
	char repo[16], name[16];

	repo_of(l->number, repo);
	for (unsigned int i = 0; i < STEPS; i++) {
		tag = (unsigned int)rand_r(&rng) % TAGS;
		/* Contents that threads and rounds share, and some fresh. */
		seed = 1 + (unsigned int)rand_r(&rng) % 400;
		snprintf(name, sizeof(name), "tag%u", tag);
		if (rand_r(&rng) % 5 == 0) {
			say(l, WILL_DROP, 0, tag);
			cm_store_tag_delete(f.store, repo, name, &f.err);
			say(l, DID_DROP, 0, tag);
		} else {
			say(l, WILL_TAG, seed, tag);
			push_or_die(&f, repo, name, seed);
			say(l, DID_TAG, seed, tag);
		}
	}
	return NULL;
}

static void *upkeep_main(void *arg)
{
	struct loader *l = arg;
	struct cm_sweep_result r;
	struct cm_error err;

	for (;;) {
		if (cm_store_sweep(l->store, &r, &err) < 0)
			_exit(5);
		usleep(2000);
	}
	return NULL;
}

static struct cm_store_options options_of(const char *dir)
{
	/* Everything that nobody names goes fast. */
	return (struct cm_store_options){
		.data_dir = dir,
		.lease_ms = 100,
		.replaced_ttl_ms = 1,
		.upload_ttl_ms = 1000,
	};
}

static void child(const char *dir, unsigned int round, int pipe)
{
	struct cm_store_options options = options_of(dir);
	struct loader loaders[THREADS + 1];
	struct cm_store *s;
	struct cm_error err;
	pthread_t thread;

	if (cm_store_open(&options, &s, &err) < 0) {
		fprintf(stderr, "open: %s\n", err.text);
		_exit(2);
	}
	for (unsigned int i = 0; i <= THREADS; i++) {
		loaders[i] = (struct loader){s, i, round, pipe};
		if (pthread_create(&thread, NULL,
				   i < THREADS ? load_main : upkeep_main,
				   &loaders[i]) != 0)
			_exit(2);
	}
	for (;;)
		pause();
}

static void hear(struct known known[THREADS][TAGS], const struct word *w)
{
	struct known *k = &known[w->thread][w->tag];

	if (w->what == WILL_TAG || w->what == WILL_DROP) {
		k->maybe = w->seed;
		k->pending = true;
	} else {
		k->seed = w->seed;
		k->pending = false;
	}
}

/* What the tag names: the seed whose manifest it is, among two; -1: other. */
static int64_t seed_named(struct store_fixture *f, const char *repo,
			  const char *tag, const struct known *k)
{
	struct cm_stored_manifest got = {0};
	unsigned int candidates[] = {k->seed, k->maybe};
	int64_t found = -1;
	int r = cm_store_manifest_get(f->store, repo, tag, NULL, true, &got,
				      &f->err);

	if (r == CM_ERR_NOT_FOUND)
		return 0;
	assert_ok(r, &f->err);
	for (size_t i = 0; i < 2; i++) {
		struct content c = content_of(candidates[i]);
		struct test_manifest m = manifest_of(&c, candidates[i]);

		if (candidates[i] && cm_digest_equal(&m.digest, &got.digest) &&
		    memcmp(got.bytes, m.json, m.len) == 0) {
			assert_ok(store_compare(f->store, repo, &c, &f->err),
				  &f->err);
			found = candidates[i];
		}
		manifest_free(&m);
		content_free(&c);
	}
	cm_stored_manifest_release(&got);
	return found;
}

static void check(struct store_fixture *f, unsigned int thread,
		  unsigned int tag, struct known *k)
{
	char repo[16], name[16];
	int64_t seed;

	repo_of(thread, repo);
	snprintf(name, sizeof(name), "tag%u", tag);
	seed = seed_named(f, repo, name, k);
	if (seed != k->seed && !(k->pending && seed == k->maybe))
		fail_msg("%s:%s names %lld, not %u (or %u: %d)", repo, name,
			 (long long)seed, k->seed, k->maybe, k->pending);
	*k = (struct known){.seed = (unsigned int)seed};
}

/* Runs a child for a while, kills it, and hears all that it said: how much. */
static size_t run_and_kill(const char *dir, unsigned int round, unsigned int ms,
			   struct known known[THREADS][TAGS])
{
	struct word w;
	int fds[2], status;
	size_t words = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	/* Room for all that is said, so that nobody waits for the parent. */
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(dir, round, fds[1]);
	close(fds[1]);
	usleep(ms * 1000);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	for (; (n = read(fds[0], &w, sizeof(w))) == sizeof(w); words++)
		hear(known, &w);
	assert_int_equal(n, 0);
	close(fds[0]);
	return words;
}

static void test_store_crash__what_was_acknowledged_is_there(void **state)
{
	static struct known known[THREADS][TAGS];
	struct store_fixture *f = *state;
	unsigned int rng = (unsigned int)getpid();
	size_t words = 0;

	f->options = options_of(f->dir);
	print_message("# seed %u\n", rng);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		cm_store_close(f->store);
		f->store = NULL;
		words += run_and_kill(f->dir, round,
				      50 + (unsigned int)rand_r(&rng) % 700,
				      known);
		store_reopen(f);
		for (unsigned int t = 0; t < THREADS; t++)
			for (unsigned int i = 0; i < TAGS; i++)
				check(f, t, i, &known[t][i]);
		assert_consistent(f);
		assert_int_equal(store_sql(f, "SELECT count(*) FROM"
					      " pragma_integrity_check WHERE"
					      " integrity_check <> 'ok'"),
				 0);
	}
	print_message("# %zu words heard\n", words);
	assert_true(words > 100);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_store_crash__what_was_acknowledged_is_there,
			store_setup, store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
