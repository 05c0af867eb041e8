/*
 * test_store_races.c - pushes against sweeps, deletes and purges.
 *
 * A few contents are pushed again and again to several repositories, while
 * their leases run out, a sweeper takes what nothing names, and others delete
 * and purge the same blobs elsewhere. The promise (design, invariant 2): what
 * was said to be there, by a stat, an upload or a mount, can be named by a
 * manifest for as long as the lease holds, and what a manifest names can be
 * read.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_fixture.h"

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#define LEASE_MS    400
#define RUN_MS	    4000
#define CONTENTS    6
#define CONTENT_MAX (64 * 1024)
#define RACERS	    6

struct raced {
	unsigned char bytes[CONTENT_MAX];
	size_t len;
	struct cm_digest digest;
};

struct race {
	char dir[PATH_MAX];
	struct cm_store *store;
	struct raced contents[CONTENTS];
	int64_t end_ms;
	atomic_int pushed, swept, purged, deleted;
	atomic_bool failed;
	char why[CM_ERROR_TEXT_MAX + 128];
};

struct racer {
	struct race *race;
	unsigned number, seed;
};

static bool going(struct race *r)
{
	return !atomic_load(&r->failed) && cm_monotonic_ms() < r->end_ms;
}

/* Records the first failure; the others only end. */
static void failed(struct race *r, const char *what, const struct cm_error *err)
{
	if (atomic_exchange(&r->failed, true))
		return;
	snprintf(r->why, sizeof(r->why), "%s: %s", what, err->text);
}

static const struct raced *pick(struct racer *me)
{
	return &me->race->contents[rand_r(&me->seed) % CONTENTS];
}

static int upload(struct race *r, const char *repo, const struct raced *c,
		  struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	int rc = cm_upload_open_single(r->store, repo, &u, err);

	if (rc == 0)
		rc = cm_upload_append(u, c->bytes, c->len, err);
	if (rc == 0)
		rc = cm_upload_commit(u, &c->digest, &info, err);
	return rc;
}

static int read_back(struct race *r, const char *repo, const struct raced *c,
		     struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	unsigned char buf[CONTENT_MAX];
	size_t got = 0;
	ssize_t n = cm_store_blob_open(r->store, repo, &c->digest, &b, err);

	if (n < 0)
		return (int)n;
	while ((n = cm_blob_read(b, buf + got, sizeof(buf) - got, err)) > 0)
		got += (size_t)n;
	if (n < 0)
		return (int)n;
	if (got != c->len || memcmp(buf, c->bytes, got) != 0)
		return cm_error_set(err, CM_ERR_DIGEST, "wrong bytes");
	return 0;
}

/* A manifest that names one content; returns its length. */
static int manifest_of(const struct raced *c, unsigned salt, char *out,
		       size_t size)
{
	char digest[CM_DIGEST_TEXT_SIZE];

	return snprintf(out, size,
			"{\"schemaVersion\":2,\"config\":{\"mediaType\":"
			"\"" CM_MEDIA_OCI_EMPTY "\",\"digest\":\"%s\","
			"\"size\":%zu},\"layers\":[],\"annotations\":"
			"{\"n\":\"%u\"}}",
			cm_digest_format(&c->digest, digest), c->len, salt);
}

static int put_manifest(struct race *r, const char *repo, const char *tag,
			const struct raced *c, unsigned salt,
			struct cm_digest *ret, struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_manifest_put put = {.repo = repo, .tag = tag};
	char json[512];
	int len = manifest_of(c, salt, json, sizeof(json));
	int rc = cm_manifest_parse(json, (size_t)len, CM_MEDIA_OCI_MANIFEST, &m,
				   err);

	if (rc < 0)
		return rc;
	put.bytes = json;
	put.len = (size_t)len;
	put.parsed = m;
	return cm_store_manifest_put(r->store, &put, ret, err);
}

/* As a client does: asks first, uploads what is missing. */
static int ensure(struct race *r, const char *repo, const struct raced *c,
		  struct cm_error *err)
{
	bool missing;
	int rc = cm_store_blobs_missing(r->store, repo, &c->digest, 1, &missing,
					err);

	/* A repository that is not there yet has nothing. */
	if (rc == CM_ERR_NOT_FOUND || (rc == 0 && missing))
		rc = upload(r, repo, c, err);
	return rc;
}

/*
 * One push, and the proof that it is whole. A push that took longer than the
 * lease proves nothing when the manifest is refused.
 */
static void push_once(struct racer *me, const char *repo)
{
	const struct raced *c = pick(me);
	struct race *r = me->race;
	struct cm_error err = {0};
	struct cm_digest digest;
	int64_t begin = cm_monotonic_ms();
	int rc = ensure(r, repo, c, &err);

	if (rc < 0) {
		failed(r, "ensure", &err);
		return;
	}
	rc = put_manifest(r, repo, "t", c, (unsigned)rand_r(&me->seed), &digest,
			  &err);
	if (rc == CM_ERR_MISSING_BLOB &&
	    cm_monotonic_ms() - begin > LEASE_MS / 2)
		return;
	if (rc < 0) {
		failed(r, "manifest", &err);
		return;
	}
	if (read_back(r, repo, c, &err) < 0) {
		failed(r, "read back", &err);
		return;
	}
	atomic_fetch_add(&r->pushed, 1);
	if (rand_r(&me->seed) % 4 == 0)
		usleep(1000 * (unsigned)(rand_r(&me->seed) % (2 * LEASE_MS)));
	if (cm_store_manifest_delete(r->store, repo, &digest, &err) < 0)
		failed(r, "manifest delete", &err);
}

static void *pusher(void *arg)
{
	struct racer *me = arg;
	char repo[32];

	snprintf(repo, sizeof(repo), "race/push%u", me->number);
	while (going(me->race))
		push_once(me, repo);
	return NULL;
}

static void *sweeper(void *arg)
{
	struct racer *me = arg;
	struct race *r = me->race;
	struct cm_sweep_result result;
	struct cm_error err = {0};

	while (going(r)) {
		if (cm_store_sweep(r->store, &result, &err) < 0)
			failed(r, "sweep", &err);
		else
			atomic_fetch_add(&r->swept, (int)result.blobs);
		usleep(500);
	}
	return NULL;
}

/* Puts the same contents elsewhere, and takes them away at once. */
static void *deleter(void *arg)
{
	struct racer *me = arg;
	struct race *r = me->race;
	struct cm_error err = {0};
	int rc;

	while (going(r)) {
		const struct raced *c = pick(me);

		rc = upload(r, "race/delete", c, &err);
		if (rc < 0)
			failed(r, "upload", &err);
		rc = cm_store_blob_delete(r->store, "race/delete", &c->digest,
					  &err);
		if (rc < 0)
			failed(r, "delete", &err);
		atomic_fetch_add(&r->deleted, 1);
	}
	return NULL;
}

static void *purger(void *arg)
{
	static const struct cm_purge_filter all = {.repo = "other/purge"};
	struct racer *me = arg;
	struct race *r = me->race;
	struct cm_purge_result result;
	struct cm_error err = {0};
	struct cm_digest digest;

	while (going(r)) {
		const struct raced *c = pick(me);

		if (upload(r, "other/purge", c, &err) < 0 ||
		    put_manifest(r, "other/purge", "t", c,
				 (unsigned)rand_r(&me->seed), &digest,
				 &err) < 0)
			failed(r, "push", &err);
		else if (cm_store_purge(r->store, &all, &result, &err) < 0)
			failed(r, "purge", &err);
		else
			atomic_fetch_add(&r->purged, (int)result.tags);
	}
	return NULL;
}

/* Noise, and text that is kept compressed; inside the index and in files. */
static void make_content(struct raced *c, unsigned i)
{
	unsigned seed = 7 + i;
	struct cm_error err = {0};

	c->len = i % 3 == 0 ? 900 : i % 3 == 1 ? 20000 : CONTENT_MAX;
	for (size_t at = 0; at < c->len; at++)
		c->bytes[at] = (unsigned char)(i % 2 ? rand_r(&seed)
						     : (int)(at % 64 + i));
	assert_ok(cm_digest_of(c->bytes, c->len, &c->digest, &err), &err);
}

static int setup(void **state)
{
	struct race *r = calloc(1, sizeof(*r));
	struct cm_store_options options = {.lease_ms = LEASE_MS};
	struct cm_error err = {0};

	assert_non_null(r);
	snprintf(r->dir, sizeof(r->dir), "%s/cm-races-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	for (unsigned i = 0; i < CONTENTS; i++)
		make_content(&r->contents[i], i);
	options.data_dir = r->dir;
	assert_ok(cm_store_open(&options, &r->store, &err), &err);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct race *r = *state;
	char command[PATH_MAX + 16];

	cm_store_close(r->store);
	snprintf(command, sizeof(command), "rm -rf -- '%s'", r->dir);
	if (system(command) != 0)
		print_message("%s is left\n", r->dir);
	free(r);
	return 0;
}

/* The index agrees with itself, and each file with its row. */
static void check_store(struct race *r)
{
	struct store_fixture f = {.store = r->store};

	strcpy(f.dir, r->dir);
	assert_consistent(&f);
	store_files(&f);
}

static void test_store__what_was_promised_can_be_named(void **state)
{
	void *(*const runs[RACERS])(void *) = {pusher,	pusher,	 pusher,
					       sweeper, deleter, purger};
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	struct race *r = *state;

	r->end_ms = cm_monotonic_ms() + RUN_MS;
	for (unsigned i = 0; i < RACERS; i++) {
		racers[i] = (struct racer){r, i, i * 7919 + 1};
		assert_int_equal(
			pthread_create(&threads[i], NULL, runs[i], &racers[i]),
			0);
	}
	for (unsigned i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	print_message("# %d pushed, %d swept, %d purged, %d deleted\n",
		      r->pushed, r->swept, r->purged, r->deleted);
	if (r->failed)
		fail_msg("%s", r->why);
	check_store(r);
	assert_true(r->pushed > 10);
	assert_true(r->swept > 0);
	assert_true(r->purged > 0);
}

/*
 * Client A and client B are told that a blob is there. A tags it and has its
 * tag purged before B comes with a manifest: B's promise still holds.
 */
static void test_store__a_promise_outlives_the_purge_of_anothers(void **state)
{
	static const struct cm_purge_filter all = {.repo = "race/both"};
	struct race *r = *state;
	const struct raced *c = &r->contents[0];
	struct cm_purge_result purged;
	struct cm_sweep_result swept;
	struct cm_blob_info info;
	struct cm_error err = {0};
	struct cm_digest digest;

	assert_ok(upload(r, "race/both", c, &err), &err);
	assert_ok(cm_store_blob_stat(r->store, "race/both", &c->digest, &info,
				     &err),
		  &err);
	assert_ok(put_manifest(r, "race/both", "a", c, 1, &digest, &err), &err);
	assert_ok(cm_store_purge(r->store, &all, &purged, &err), &err);
	assert_ok(cm_store_sweep(r->store, &swept, &err), &err);
	assert_ok(put_manifest(r, "race/both", "b", c, 2, &digest, &err), &err);
	assert_ok(read_back(r, "race/both", c, &err), &err);
}

/* With every promise kept, a purge frees at once. */
static void test_store__a_purge_frees_what_nobody_was_promised(void **state)
{
	static const struct cm_purge_filter all = {.repo = "race/free"};
	struct race *r = *state;
	const struct raced *c = &r->contents[0];
	struct cm_purge_result purged;
	struct cm_error err = {0};
	struct cm_digest digest;
	bool missing = false;

	assert_ok(cm_store_blobs_missing(r->store, "race/free", &c->digest, 1,
					 &missing, &err),
		  &err);
	assert_true(missing);
	assert_ok(upload(r, "race/free", c, &err), &err);
	assert_ok(put_manifest(r, "race/free", "a", c, 1, &digest, &err), &err);
	assert_ok(cm_store_purge(r->store, &all, &purged, &err), &err);
	assert_int_equal(purged.blobs, 2); /* it and the manifest */
	assert_fails(read_back(r, "race/free", c, &err), CM_ERR_NOT_FOUND,
		     &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_store__what_was_promised_can_be_named, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_store__a_promise_outlives_the_purge_of_anothers,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__a_purge_frees_what_nobody_was_promised,
			setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
