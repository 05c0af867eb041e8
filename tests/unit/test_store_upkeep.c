/*
 * test_store_upkeep.c - purge, sweep, totals, counters, and how a store opens.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_fixture.h"

#include <cachemount/units.h>

#define LEASE_MS 150
#define ROWS(r)	 (sizeof(r) / sizeof((r)[0]))

static void short_leases(struct store_fixture *f)
{
	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
}

static void outlive_leases(void)
{
	usleep((LEASE_MS + 60) * 1000);
}

static struct content push_noise(struct store_fixture *f, const char *repo,
				 unsigned int seed, size_t len)
{
	struct content c = content_noise(seed, len);

	assert_ok(store_push(f, repo, &c, NULL), &f->err);
	return c;
}

static void put_naming(struct store_fixture *f, const char *repo,
		       const char *tag, enum manifest_kind kind,
		       const struct content *c, unsigned int salt,
		       struct cm_digest *ret)
{
	struct test_ref refs[] = {REF(c)};
	struct test_manifest m = manifest_make(kind, REFS(refs), salt, 0);

	assert_ok(store_put(f, repo, tag, &m), &f->err);
	if (ret)
		*ret = m.digest;
	manifest_free(&m);
}

/* ---- sweep ----------------------------------------------------------------
 */

static void test_store_upkeep__unnamed_blobs_go_after_their_lease(void **state)
{
	struct store_fixture *f = *state;
	struct content a, b, named;
	struct cm_sweep_result r;

	short_leases(f);
	a = push_noise(f, "main/a", 1, 100);
	b = push_noise(f, "main/a", 2, 50000);
	named = push_noise(f, "main/a", 3, 60000);
	put_naming(f, "main/a", "t", IMAGE, &named, 1, NULL);
	assert_ok(store_push(f, "main/b", &named, NULL), &f->err);
	assert_int_equal(store_sweep(f).blobs, 0);
	outlive_leases();
	r = store_sweep(f);
	assert_int_equal(r.blobs, 2);
	assert_int_equal(r.bytes, 50100);
	assert_absent(f, "main/a", &a.digest);
	assert_absent(f, "main/a", &b.digest);
	assert_absent(f, "main/b", &named.digest);
	assert_stored(f, "main/a", &named);
	assert_int_equal(store_files(f), 1);
	assert_consistent(f);
	content_free(&a);
	content_free(&b);
	content_free(&named);
}

/* A HEAD, an answer to "missing", and a mount each renew the promise. */
static void test_store_upkeep__questions_lease(void **state)
{
	struct store_fixture *f = *state;
	struct content c;
	bool missing;

	short_leases(f);
	c = push_noise(f, "main/a", 1, 50000);
	for (int i = 0; i < 6; i++) {
		usleep(LEASE_MS * 500);
		if (i % 2)
			assert_ok(store_stat(f, "main/a", &c.digest, NULL),
				  &f->err);
		else
			assert_ok(cm_store_blobs_missing(f->store, "main/a",
							 &c.digest, 1, &missing,
							 &f->err),
				  &f->err);
		assert_int_equal(store_sweep(f).blobs, 0);
	}
	assert_ok(cm_store_blob_mount(f->store, "main/a", "main/b", &c.digest,
				      NULL, NULL, &f->err),
		  &f->err);
	assert_int_equal(store_sweep(f).blobs, 0);
	outlive_leases();
	outlive_leases();
	assert_int_equal(store_sweep(f).blobs, 1);
	content_free(&c);
}

/* What was promised before a restart is kept after it. */
static void test_store_upkeep__leases_outlive_a_restart(void **state)
{
	struct store_fixture *f = *state;
	struct content c;

	f->options.lease_ms = 600;
	store_reopen(f);
	c = push_noise(f, "main/a", 1, 50000);
	usleep(300 * 1000);
	assert_ok(store_stat(f, "main/a", &c.digest, NULL), &f->err);
	store_reopen(f);
	usleep(350 * 1000);
	store_sweep(f);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM blobs"), 1);
	usleep(800 * 1000);
	assert_int_equal(store_sweep(f).blobs, 1);
	content_free(&c);
}

static void test_store_upkeep__replaced_snapshots(void **state)
{
	struct store_fixture *f = *state;
	struct content a, b, shared;
	struct cm_digest old_image, pulled;
	struct cm_stored_manifest got = {0};
	struct cm_sweep_result r;

	f->options.replaced_ttl_ms = 400;
	short_leases(f);
	a = push_noise(f, "main/a", 1, 50000);
	b = push_noise(f, "main/a", 2, 50000);
	shared = push_noise(f, "main/a", 3, 50000);
	put_naming(f, "main/a", "s", SNAPSHOT, &a, 1, NULL);
	put_naming(f, "main/a", "s", SNAPSHOT, &shared, 2, &pulled);
	put_naming(f, "main/a", "s", SNAPSHOT, &b, 3, NULL);
	put_naming(f, "main/a", "i", IMAGE, &shared, 4, &old_image);
	put_naming(f, "main/a", "i", IMAGE, &b, 5, NULL);
	assert_int_equal(store_sweep(f).manifests, 0);
	usleep(300 * 1000);
	assert_ok(cm_store_manifest_get(f->store, "main/a", NULL, &pulled,
					false, &got, &f->err),
		  &f->err);
	cm_stored_manifest_release(&got);
	usleep(200 * 1000);
	/* The one that was pulled meanwhile stays. */
	assert_int_equal(store_sweep(f).manifests, 1);
	usleep(500 * 1000);
	assert_int_equal(store_sweep(f).manifests, 1);
	outlive_leases();
	r = store_sweep(f);
	assert_int_equal(r.manifests, 0);
	assert_absent(f, "main/a", &a.digest);
	assert_stored(f, "main/a", &b);
	/* An image that lost its tag is kept, and what it names. */
	assert_stored(f, "main/a", &shared);
	assert_ok(store_stat(f, "main/a", &old_image, NULL), &f->err);
	assert_consistent(f);
	content_free(&a);
	content_free(&b);
	content_free(&shared);
}

static void test_store_upkeep__abandoned_uploads(void **state)
{
	struct store_fixture *f = *state;
	char idle[CM_UPLOAD_ID_SIZE], empty[CM_UPLOAD_ID_SIZE],
		busy[CM_UPLOAD_ID_SIZE], fresh[CM_UPLOAD_ID_SIZE], path[128];
	struct cm_upload *u;

	f->options.upload_ttl_ms = 300;
	store_reopen(f);
	assert_ok(cm_upload_begin(f->store, "main/a", idle, &f->err), &f->err);
	assert_ok(cm_upload_begin(f->store, "main/a", empty, &f->err), &f->err);
	assert_ok(cm_upload_begin(f->store, "main/a", busy, &f->err), &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", idle, &u, &f->err),
		  &f->err);
	assert_ok(cm_upload_append(u, "abc", 3, &f->err), &f->err);
	cm_upload_close(u);
	assert_ok(cm_upload_open(f->store, "main/a", busy, &u, &f->err),
		  &f->err);
	assert_int_equal(store_sweep(f).uploads, 0);
	usleep(400 * 1000);
	assert_ok(cm_upload_begin(f->store, "main/a", fresh, &f->err), &f->err);
	assert_int_equal(store_sweep(f).uploads, 2);
	snprintf(path, sizeof(path), "%s/uploads/%s", f->dir, idle);
	assert_int_equal(access(path, F_OK), -1);
	assert_ok(cm_upload_append(u, "abc", 3, &f->err), &f->err);
	cm_upload_close(u);
	assert_ok(cm_upload_open(f->store, "main/a", busy, &u, &f->err),
		  &f->err);
	assert_int_equal(cm_upload_offset(u), 3);
	cm_upload_close(u);
	assert_fails(cm_upload_open(f->store, "main/a", empty, &u, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_consistent(f);
}

static void touch_file(const char *path, int age)
{
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	age_file(path, age);
}

/* Files that a crash left: gone once they are old enough to be nobody's. */
static void test_store_upkeep__left_over_files(void **state)
{
	struct store_fixture *f = *state;
	struct content kept = push_noise(f, "main/a", 1, 50000);
	struct content lost = content_noise(2, 50000);
	char young[128], temp[128], orphan[128], id[CM_UPLOAD_ID_SIZE],
		path[128];

	touch_file(store_blob_path(f, &lost.digest, CM_ENCODING_IDENTITY),
		   7200);
	touch_file(store_blob_path(f, &kept.digest, CM_ENCODING_ZSTD), 7200);
	age_file(store_blob_path(f, &kept.digest, CM_ENCODING_IDENTITY), 7200);
	snprintf(young, sizeof(young), "%s",
		 store_blob_path(f, &lost.digest, CM_ENCODING_ZSTD));
	touch_file(young, 60);
	snprintf(temp, sizeof(temp), "%s/uploads/t-0123456789abcdef-7", f->dir);
	touch_file(temp, 0);
	snprintf(orphan, sizeof(orphan),
		 "%s/uploads/0123456789abcdef0123456789abcdef.zst", f->dir);
	touch_file(orphan, 7200);
	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	snprintf(path, sizeof(path), "%s/uploads/%s", f->dir, id);
	touch_file(path, 7200);
	for (int i = 0; i < 300; i++)
		store_sweep(f);
	assert_int_equal(access(young, F_OK), 0);
	assert_int_equal(unlink(young), 0);
	assert_int_equal(store_files(f), 1);
	assert_int_equal(access(temp, F_OK), -1);
	assert_int_equal(access(orphan, F_OK), -1);
	assert_int_equal(access(path, F_OK), 0);
	assert_stored(f, "main/a", &kept);
	content_free(&kept);
	content_free(&lost);
}

/* Files that others put there are left alone. */
static void test_store_upkeep__strangers_files(void **state)
{
	struct store_fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/blobs/sha256/00/README", f->dir);
	touch_file(path, 7200);
	for (int i = 0; i < 260; i++)
		store_sweep(f);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(path), 0);
}

static void test_store_upkeep__a_full_batch_says_more(void **state)
{
	struct store_fixture *f = *state;
	struct cm_sweep_result r;
	int64_t first;

	short_leases(f);
	for (unsigned int i = 0; i < 450; i++) {
		struct content c = push_noise(f, "main/a", i, 10 + i);

		content_free(&c);
	}
	outlive_leases();
	assert_ok(cm_store_sweep(f->store, &r, &f->err), &f->err);
	assert_true(r.more);
	/* A slow machine's batch is cut by time, before it is full. */
	first = r.blobs;
	assert_in_range(first, 1, 200);
	assert_int_equal(store_sweep(f).blobs, 450 - first);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM repo_blobs"), 0);
	assert_consistent(f);
}

/* ---- purge ----------------------------------------------------------------
 */

static void purge_both(struct store_fixture *f,
		       const struct cm_purge_filter *filter,
		       struct cm_purge_result *ret)
{
	struct cm_purge_filter dry = *filter;
	struct cm_purge_result guess;
	struct cm_store_stats before, after;

	dry.dry_run = true;
	assert_ok(cm_store_stats(f->store, &before, &f->err), &f->err);
	assert_ok(cm_store_purge(f->store, &dry, &guess, &f->err), &f->err);
	assert_ok(cm_store_stats(f->store, &after, &f->err), &f->err);
	assert_int_equal(after.tags, before.tags);
	assert_int_equal(after.manifests, before.manifests);
	assert_int_equal(after.blobs, before.blobs);
	assert_int_equal(after.stored_bytes, before.stored_bytes);
	assert_int_equal(after.referenced_bytes, before.referenced_bytes);
	assert_int_equal(after.file_bytes, before.file_bytes);
	assert_ok(cm_store_purge(f->store, filter, ret, &f->err), &f->err);
	assert_int_equal(ret->tags, guess.tags);
	assert_int_equal(ret->manifests, guess.manifests);
	assert_int_equal(ret->blobs, guess.blobs);
	assert_int_equal(ret->bytes, guess.bytes);
	assert_consistent(f);
}

static void expect(const struct cm_purge_result *r, int64_t tags,
		   int64_t manifests, int64_t blobs)
{
	assert_int_equal(r->tags, tags);
	assert_int_equal(r->manifests, manifests);
	assert_int_equal(r->blobs, blobs);
}

/*
 * Two repositories share a blob; one has two tags of the same manifest, and
 * another manifest with a blob of its own.
 */
static void fill_for_purge(struct store_fixture *f, struct content c[3])
{
	c[0] = push_noise(f, "main/a", 1, 50000);
	c[1] = push_noise(f, "main/a", 2, 60000);
	c[2] = push_noise(f, "pr-1/a", 1, 50000);
	put_naming(f, "main/a", "t", IMAGE, &c[0], 1, NULL);
	put_naming(f, "main/a", "u", IMAGE, &c[0], 1, NULL);
	put_naming(f, "main/a", "v", IMAGE, &c[1], 2, NULL);
	put_naming(f, "pr-1/a", "t", IMAGE, &c[2], 3, NULL);
}

static void test_store_upkeep__purge(void **state)
{
	struct store_fixture *f = *state;
	struct cm_purge_result r;
	struct content c[3];

	short_leases(f);
	outlive_leases();
	fill_for_purge(f, c);
	purge_both(f,
		   &(struct cm_purge_filter){.repo = "main/a", .tag = "none"},
		   &r);
	expect(&r, 0, 0, 0);
	purge_both(f, &(struct cm_purge_filter){.repo = "main/a", .tag = "t"},
		   &r);
	expect(&r, 1, 0, 0);
	/* The shared blob stays: only the manifest's own bytes go. */
	purge_both(f, &(struct cm_purge_filter){.repo = "main/a", .tag = "u"},
		   &r);
	expect(&r, 1, 1, 1);
	/* To read it is no lease. */
	assert_ok(store_compare(f->store, "pr-1/a", &c[2], &f->err), &f->err);
	assert_absent(f, "main/a", &c[0].digest);
	purge_both(f, &(struct cm_purge_filter){.repo_prefix = "pr-1"}, &r);
	expect(&r, 1, 1, 2);
	assert_absent(f, "pr-1/a", &c[2].digest);
	purge_both(f, &(struct cm_purge_filter){.repo_prefix = ""}, &r);
	expect(&r, 1, 1, 2);
	assert_int_equal(store_files(f), 0);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM blobs"), 0);
	for (size_t i = 0; i < 3; i++)
		content_free(&c[i]);
}

static void test_store_upkeep__purge_of_both_holders(void **state)
{
	struct store_fixture *f = *state;
	struct cm_purge_result r;
	struct content c[3];

	short_leases(f);
	outlive_leases();
	fill_for_purge(f, c);
	purge_both(f, &(struct cm_purge_filter){.writer = "nobody"}, &r);
	expect(&r, 0, 0, 0);
	purge_both(f, &(struct cm_purge_filter){.writer = "tester"}, &r);
	expect(&r, 4, 3, 5);
	assert_int_equal(store_files(f), 0);
	for (size_t i = 0; i < 3; i++)
		content_free(&c[i]);
}

static void test_store_upkeep__purge_by_time(void **state)
{
	struct store_fixture *f = *state;
	struct cm_stored_manifest got = {0};
	struct cm_purge_result r;
	struct content c = push_noise(f, "main/a", 1, 100);
	int64_t between;

	put_naming(f, "main/a", "old", IMAGE, &c, 1, NULL);
	put_naming(f, "main/a", "used", IMAGE, &c, 2, NULL);
	usleep(5000);
	between = cm_now_ms();
	put_naming(f, "main/a", "new", IMAGE, &c, 3, NULL);
	assert_ok(cm_store_manifest_get(f->store, "main/a", "used", NULL, false,
					&got, &f->err),
		  &f->err);
	cm_stored_manifest_release(&got);
	purge_both(f, &(struct cm_purge_filter){.pulled_before_ms = between},
		   &r);
	expect(&r, 1, 1, 1);
	assert_no_tag(f, "main/a", "old");
	purge_both(f, &(struct cm_purge_filter){.updated_before_ms = between},
		   &r);
	assert_int_equal(r.tags, 1);
	assert_no_tag(f, "main/a", "used");
	purge_both(
		f,
		&(struct cm_purge_filter){.updated_before_ms = cm_now_ms() + 1},
		&r);
	assert_int_equal(r.tags, 1);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM tags"), 0);
	content_free(&c);
}

static void test_store_upkeep__purge_prefixes(void **state)
{
	static const char *const repos[] = {"main", "main-x", "main/x",
					    "main.x", "main0"};
	struct store_fixture *f = *state;
	struct cm_purge_result r;

	for (unsigned int i = 0; i < ROWS(repos); i++) {
		struct content c = push_noise(f, repos[i], i, 100 + i);

		put_naming(f, repos[i], "t", IMAGE, &c, i, NULL);
		content_free(&c);
	}
	purge_both(f, &(struct cm_purge_filter){.repo_prefix = "main"}, &r);
	assert_int_equal(r.tags, 2);
	purge_both(f, &(struct cm_purge_filter){.repo_prefix = "mai"}, &r);
	assert_int_equal(r.tags, 0);
	purge_both(f, &(struct cm_purge_filter){.repo_prefix = "main0/"}, &r);
	assert_int_equal(r.tags, 1);
	purge_both(f, &(struct cm_purge_filter){.repo = "main.x"}, &r);
	assert_int_equal(r.tags, 1);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM tags"), 1);
}

/* An index falls with its tag, its children with it unless tagged. */
static void test_store_upkeep__purge_of_indexes(void **state)
{
	struct store_fixture *f = *state;
	struct content c[3];
	struct test_manifest m[3], inner, outer;
	struct test_ref refs[3];
	struct cm_purge_result r;

	for (unsigned int i = 0; i < 3; i++) {
		c[i] = push_noise(f, "main/a", i, 20000 + i);
		refs[0] = REF(&c[i]);
		m[i] = manifest_make(IMAGE, refs, 1, i, 0);
		assert_ok(store_put(f, "main/a", i == 2 ? "two" : NULL, &m[i]),
			  &f->err);
	}
	refs[0] = (struct test_ref){m[0].digest, (int64_t)m[0].len};
	refs[1] = (struct test_ref){m[2].digest, (int64_t)m[2].len};
	inner = manifest_make(INDEX, refs, 2, 7, 0);
	assert_ok(store_put(f, "main/a", NULL, &inner), &f->err);
	refs[0] = (struct test_ref){inner.digest, (int64_t)inner.len};
	refs[1] = (struct test_ref){m[1].digest, (int64_t)m[1].len};
	outer = manifest_make(INDEX, refs, 2, 8, 0);
	assert_ok(store_put(f, "main/a", "all", &outer), &f->err);
	outer.parsed->index = true;
	assert_consistent(f);
	purge_both(f, &(struct cm_purge_filter){.tag = "two"}, &r);
	expect(&r, 1, 0, 0);
	assert_ok(store_put(f, "main/a", "two", &m[2]), &f->err);
	purge_both(f, &(struct cm_purge_filter){.tag = "all"}, &r);
	/* outer, inner and two of the three; their bytes and their blobs */
	expect(&r, 1, 4, 6);
	assert_tagged(f, "main/a", "two", &m[2]);
	assert_stored(f, "main/a", &c[2]);
	for (unsigned int i = 0; i < 3; i++) {
		content_free(&c[i]);
		manifest_free(&m[i]);
	}
	manifest_free(&inner);
	manifest_free(&outer);
}

/* More tags than one transaction takes. */
static void test_store_upkeep__purge_of_many(void **state)
{
	struct store_fixture *f = *state;
	struct cm_purge_result r;
	struct content c = push_noise(f, "main/a", 1, 20000);
	char tag[16];

	for (unsigned int i = 0; i < 250; i++) {
		snprintf(tag, sizeof(tag), "t%u", i);
		put_naming(f, "main/a", tag, IMAGE, &c, i / 2, NULL);
	}
	purge_both(f, &(struct cm_purge_filter){.repo = "main/a"}, &r);
	expect(&r, 250, 125, 126);
	assert_int_equal(store_files(f), 0);
	content_free(&c);
}

/* Manifests that name more than one transaction takes. */
static void test_store_upkeep__purge_of_large_manifests(void **state)
{
	struct store_fixture *f = *state;
	static struct test_ref refs[1300];
	struct cm_purge_result r;
	char tag[16];

	for (unsigned int i = 0; i < ROWS(refs); i++) {
		struct content c = push_noise(f, "main/a", i, 10);

		refs[i] = REF(&c);
		content_free(&c);
	}
	for (unsigned int i = 0; i < 6; i++) {
		struct test_manifest m =
			manifest_make(SNAPSHOT, refs, ROWS(refs), i, 0);

		snprintf(tag, sizeof(tag), "t%u", i);
		assert_ok(store_put(f, "main/a", tag, &m), &f->err);
		manifest_free(&m);
	}
	purge_both(f, &(struct cm_purge_filter){.tag = "t0"}, &r);
	expect(&r, 1, 1, 1);
	purge_both(f, &(struct cm_purge_filter){.repo_prefix = ""}, &r);
	expect(&r, 5, 5, ROWS(refs) + 5);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM blobs"), 0);
	assert_int_equal(store_files(f), 0);
}

/* A promise to somebody keeps the bytes; the tag goes. */
static void test_store_upkeep__purge_honours_leases(void **state)
{
	struct store_fixture *f = *state;
	struct cm_purge_result r;
	struct content c;

	short_leases(f);
	outlive_leases();
	c = push_noise(f, "main/a", 1, 20000);
	put_naming(f, "main/a", "t", IMAGE, &c, 1, NULL);
	assert_ok(store_stat(f, "main/a", &c.digest, NULL), &f->err);
	assert_ok(cm_store_purge(f->store, &(struct cm_purge_filter){0}, &r,
				 &f->err),
		  &f->err);
	assert_int_equal(r.tags, 1);
	assert_int_equal(store_files(f), 1);
	put_naming(f, "main/a", "t", IMAGE, &c, 2, NULL);
	assert_stored(f, "main/a", &c);
	content_free(&c);
}

/* ---- totals and counters ---------------------------------------------------
 */

static void random_step(struct store_fixture *f, unsigned int *seed)
{
	static const char *const repos[] = {"main/a", "main/b", "pr/c"};
	const char *repo = repos[rand_r(seed) % 3];
	const char *from = repos[rand_r(seed) % 3];
	struct content c =
		content_noise((unsigned int)rand_r(seed) % 12,
			      (size_t)(rand_r(seed) % 2 ? 300 : 20000));
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m =
		manifest_make((enum manifest_kind)(rand_r(seed) % 2),
			      REFS(refs), (unsigned int)rand_r(seed) % 3, 0);
	struct cm_purge_filter filter = {.repo = repo, .tag = "t"};
	struct cm_purge_result purged;
	const char *tag = rand_r(seed) % 2 ? "t" : "u";

	switch (rand_r(seed) % 9) {
	case 0:
	case 1:
		store_push(f, repo, &c, NULL);
		break;
	case 2:
	case 3:
		store_put(f, repo, tag, &m);
		break;
	case 4:
		cm_store_blob_mount(f->store, from, repo, &c.digest, NULL, NULL,
				    &f->err);
		break;
	case 5:
		cm_store_blob_delete(f->store, repo, &c.digest, &f->err);
		break;
	case 6:
		cm_store_manifest_delete(f->store, repo, &m.digest, &f->err);
		break;
	case 7:
		cm_store_tag_delete(f->store, repo, tag, &f->err);
		break;
	case 8:
		cm_store_purge(f->store, &filter, &purged, &f->err);
		break;
	}
	manifest_free(&m);
	content_free(&c);
}

static void test_store_upkeep__totals_after_random_steps(void **state)
{
	struct store_fixture *f = *state;
	unsigned int seed = 4711;

	f->options.replaced_ttl_ms = 1;
	f->options.lease_ms = 5;
	store_reopen(f);
	for (int i = 0; i < 1500; i++) {
		random_step(f, &seed);
		if (i % 100 == 99) {
			store_sweep(f);
			assert_consistent(f);
			store_files(f);
		}
	}
}

struct counted {
	char text[512];
};

static int note_counter(void *arg, const char *name, int64_t value)
{
	struct counted *c = arg;
	size_t len = strlen(c->text);

	snprintf(c->text + len, sizeof(c->text) - len, "%s=%lld ", name,
		 (long long)value);
	return 0;
}

static void assert_counters(struct store_fixture *f, const char *want)
{
	struct counted c = {0};

	assert_ok(cm_store_counters(f->store, note_counter, &c, &f->err),
		  &f->err);
	assert_string_equal(c.text, want);
}

static void test_store_upkeep__counters(void **state)
{
	struct store_fixture *f = *state;
	char name[64];

	assert_counters(f, "");
	cm_store_counter_add(f->store, "pulls", 2);
	cm_store_counter_add(f->store, "hits", 40);
	cm_store_counter_add(f->store, "pulls", 3);
	assert_counters(f, "hits=40 pulls=5 ");
	assert_ok(cm_store_flush(f->store, &f->err), &f->err);
	assert_counters(f, "hits=40 pulls=5 ");
	cm_store_counter_add(f->store, "hits", 2);
	assert_counters(f, "hits=42 pulls=5 ");
	store_reopen(f);
	assert_counters(f, "hits=42 pulls=5 ");
	cm_store_counter_add(f->store, "misses", 1);
	cm_store_counter_add(f->store, "hits", -42);
	assert_counters(f, "hits=0 misses=1 pulls=5 ");
	/* Too long a name, and too many: dropped, and nothing else happens. */
	memset(name, 'x', 63);
	name[63] = '\0';
	cm_store_counter_add(f->store, name, 1);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		cm_store_counter_add(f->store, name, 1);
	}
	store_reopen(f);
	assert_true(store_sql(f, "SELECT count(*) FROM counters") < 100);
}

/* ---- opening ---------------------------------------------------------------
 */

static int try_open(struct store_fixture *f, const char *dir)
{
	struct cm_store_options options = {.data_dir = dir};
	struct cm_store *s = NULL;
	int r;

	memset(&f->err, 0, sizeof(f->err));
	r = cm_store_open(&options, &s, &f->err);
	cm_store_close(s);
	return r;
}

static void test_store_upkeep__one_process_a_folder(void **state)
{
	struct store_fixture *f = *state;

	assert_fails(try_open(f, f->dir), CM_ERR_BUSY, &f->err);
	assert_non_null(strstr(f->err.text, f->dir));
	assert_ok(cm_store_check_writable(f->store, &f->err), &f->err);
	cm_store_close(f->store);
	f->store = NULL;
	assert_ok(try_open(f, f->dir), &f->err);
}

static void test_store_upkeep__folders_are_made(void **state)
{
	struct store_fixture *f = *state;
	char dir[128];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s/a/b/c", f->dir);
	assert_ok(try_open(f, dir), &f->err);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	snprintf(dir, sizeof(dir), "%s/d/", f->dir);
	assert_ok(try_open(f, dir), &f->err);
	snprintf(dir, sizeof(dir), "%s/index.db/x", f->dir);
	assert_int_equal(try_open(f, dir), CM_ERR_IO);
	assert_non_null(strstr(f->err.text, "index.db"));
}

static void test_store_upkeep__a_newer_index(void **state)
{
	struct store_fixture *f = *state;

	store_sql(f, "PRAGMA user_version = 9999");
	cm_store_close(f->store);
	f->store = NULL;
	assert_fails(try_open(f, f->dir), CM_ERR_UNSUPPORTED, &f->err);
	assert_non_null(strstr(f->err.text, "9999"));
	assert_non_null(strstr(f->err.text, f->dir));
	/* It was not touched. */
	assert_int_equal(store_sql(f, "PRAGMA user_version"), 9999);
}

static void overwrite(const char *path, const char *text, size_t times)
{
	cm_autofile FILE *out = fopen(path, "w");

	assert_non_null(out);
	for (size_t i = 0; i < times; i++)
		fputs(text, out);
}

static void test_store_upkeep__an_index_that_is_none(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push_noise(f, "main/a", 1, 50000);
	char path[128];

	cm_store_close(f->store);
	f->store = NULL;
	snprintf(path, sizeof(path), "%s/index.db", f->dir);
	overwrite(path, "this is no database\n", 1000);
	assert_fails(try_open(f, f->dir), CM_ERR_CORRUPT, &f->err);
	assert_non_null(strstr(f->err.text, path));
	/* Lost or empty, with blobs there: never taken for a new store. */
	overwrite(path, "", 1);
	assert_fails(try_open(f, f->dir), CM_ERR_CORRUPT, &f->err);
	assert_int_equal(unlink(path), 0);
	assert_fails(try_open(f, f->dir), CM_ERR_CORRUPT, &f->err);
	unlink(store_blob_path(f, &c.digest, CM_ENCODING_IDENTITY));
	assert_ok(try_open(f, f->dir), &f->err);
	content_free(&c);
}

static void test_store_upkeep__check_writable(void **state)
{
	struct store_fixture *f = *state;
	char uploads[128];

	assert_ok(cm_store_check_writable(f->store, &f->err), &f->err);
	snprintf(uploads, sizeof(uploads), "%s/uploads", f->dir);
	assert_int_equal(rmdir(uploads), 0);
	assert_true(cm_store_check_writable(f->store, &f->err) < 0);
	assert_string_not_equal(f->err.text, "");
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_upkeep__##name,             \
					store_setup, store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(unnamed_blobs_go_after_their_lease),
		CASE(questions_lease),
		CASE(leases_outlive_a_restart),
		CASE(replaced_snapshots),
		CASE(abandoned_uploads),
		CASE(left_over_files),
		CASE(strangers_files),
		CASE(a_full_batch_says_more),
		CASE(purge),
		CASE(purge_of_both_holders),
		CASE(purge_by_time),
		CASE(purge_prefixes),
		CASE(purge_of_indexes),
		CASE(purge_of_many),
		CASE(purge_of_large_manifests),
		CASE(purge_honours_leases),
		CASE(totals_after_random_steps),
		CASE(counters),
		CASE(one_process_a_folder),
		CASE(folders_are_made),
		CASE(a_newer_index),
		CASE(an_index_that_is_none),
		CASE(check_writable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
