/*
 * test_store_damage.c - a tag that resolves can be restored, damage or not
 * (design §4, invariants 2 and 3).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_fixture.h"

#define REPO "main/a"

static struct content push_noise(struct store_fixture *f, const char *repo,
				 unsigned int seed)
{
	struct content c = content_noise(seed, 20000 + seed);

	assert_ok(store_push(f, repo, &c, NULL), &f->err);
	return c;
}

/* Flips a bit of the file, and has the store find out. */
static void damage(struct store_fixture *f, const char *repo,
		   const struct content *c)
{
	const char *path = store_blob_path(f, &c->digest, CM_ENCODING_IDENTITY);
	unsigned char byte = c->data[100] ^ 1;
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
	close(fd);
	assert_fails(cm_store_blob_verify(f->store, repo, &c->digest, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_absent(f, repo, &c->digest);
	assert_consistent(f);
}

static struct test_ref ref_of(const struct test_manifest *m)
{
	return (struct test_ref){m->digest, (int64_t)m->len};
}

static int64_t broken(struct store_fixture *f)
{
	return store_sql(f, "SELECT count(*) FROM broken");
}

/* A manifest is absent, by tag and by digest. */
static void assert_unreadable(struct store_fixture *f, const char *repo,
			      const char *tag, const struct test_manifest *m)
{
	struct cm_stored_manifest got = {0};

	if (tag)
		assert_no_tag(f, repo, tag);
	assert_fails(cm_store_manifest_get(f->store, repo, NULL, &m->digest,
					   true, &got, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
}

static void test_store_damage__breaks_who_names_it(void **state)
{
	struct store_fixture *f = *state;
	struct content lost = push_noise(f, REPO, 1),
		       other = push_noise(f, REPO, 2);
	struct test_ref both[] = {REF(&lost), REF(&other)},
			one[] = {REF(&other)};
	struct test_manifest hit = manifest_make(SNAPSHOT, REFS(both), 1, 0),
			     whole = manifest_make(SNAPSHOT, REFS(one), 2, 0);

	assert_ok(store_put(f, REPO, "hit", &hit), &f->err);
	assert_ok(store_put(f, REPO, "whole", &whole), &f->err);
	damage(f, REPO, &lost);
	assert_unreadable(f, REPO, "hit", &hit);
	assert_tagged(f, REPO, "whole", &whole);
	assert_int_equal(broken(f), 1);
	/* It can't be put again either, until what it names is back. */
	assert_fails(store_put(f, REPO, "hit", &hit), CM_ERR_MISSING_BLOB,
		     &f->err);
	store_reopen(f);
	assert_unreadable(f, REPO, "hit", &hit);
	assert_ok(store_push(f, REPO, &lost, NULL), &f->err);
	assert_tagged(f, REPO, "hit", &hit);
	assert_stored(f, REPO, &lost);
	assert_int_equal(broken(f), 0);
	assert_consistent(f);
	content_free(&lost);
	content_free(&other);
	manifest_free(&hit);
	manifest_free(&whole);
}

/* Each repository is whole again when it has the blob again. */
static void test_store_damage__heals_by_repository(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push_noise(f, REPO, 1);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);

	assert_ok(store_push(f, "main/b", &c, NULL), &f->err);
	assert_ok(store_put(f, REPO, "t", &m), &f->err);
	assert_ok(store_put(f, "main/b", "t", &m), &f->err);
	damage(f, REPO, &c);
	assert_unreadable(f, REPO, "t", &m);
	assert_unreadable(f, "main/b", "t", &m);
	assert_ok(store_push(f, REPO, &c, NULL), &f->err);
	assert_tagged(f, REPO, "t", &m);
	assert_unreadable(f, "main/b", "t", &m);
	assert_ok(cm_store_blob_mount(f->store, REPO, "main/b", &c.digest, NULL,
				      NULL, &f->err),
		  &f->err);
	assert_tagged(f, "main/b", "t", &m);
	assert_int_equal(broken(f), 0);
	assert_consistent(f);
	content_free(&c);
	manifest_free(&m);
}

/* Through indexes of indexes, and two reasons are two. */
static void test_store_damage__reaches_indexes(void **state)
{
	struct store_fixture *f = *state;
	struct content a = push_noise(f, REPO, 1), b = push_noise(f, REPO, 2);
	struct test_ref refs[2] = {REF(&a), REF(&b)};
	struct test_manifest image = manifest_make(IMAGE, refs, 2, 1, 0), inner,
			     outer, another;

	assert_ok(store_put(f, REPO, NULL, &image), &f->err);
	refs[0] = ref_of(&image);
	inner = manifest_make(INDEX, refs, 1, 2, 0);
	assert_ok(store_put(f, REPO, NULL, &inner), &f->err);
	refs[1] = ref_of(&inner);
	outer = manifest_make(INDEX, refs, 2, 3, 0);
	assert_ok(store_put(f, REPO, "all", &outer), &f->err);
	another = manifest_make(INDEX, refs, 1, 4, 0);

	damage(f, REPO, &a);
	damage(f, REPO, &b);
	assert_unreadable(f, REPO, "all", &outer);
	assert_unreadable(f, REPO, NULL, &inner);
	assert_unreadable(f, REPO, NULL, &image);
	assert_fails(store_put(f, REPO, "new", &another), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_ok(store_push(f, REPO, &a, NULL), &f->err);
	assert_unreadable(f, REPO, "all", &outer);
	assert_ok(store_push(f, REPO, &b, NULL), &f->err);
	assert_tagged(f, REPO, "all", &outer);
	assert_ok(store_put(f, REPO, "new", &another), &f->err);
	assert_int_equal(broken(f), 0);
	assert_consistent(f);
	content_free(&a);
	content_free(&b);
	manifest_free(&image);
	manifest_free(&inner);
	manifest_free(&outer);
	manifest_free(&another);
}

/* The manifest's own bytes, when they lie in a file. */
static void test_store_damage__of_a_manifest_itself(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push_noise(f, REPO, 1);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 40000);
	const char *path;

	assert_ok(store_put(f, REPO, "t", &m), &f->err);
	path = store_blob_path(f, &m.digest, CM_ENCODING_IDENTITY);
	if (access(path, F_OK) < 0)
		path = store_blob_path(f, &m.digest, CM_ENCODING_ZSTD);
	assert_int_equal(truncate(path, 10), 0);
	assert_fails(cm_store_blob_verify(f->store, REPO, &m.digest, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_unreadable(f, REPO, "t", &m);
	assert_ok(store_put(f, REPO, "t", &m), &f->err);
	assert_tagged(f, REPO, "t", &m);
	assert_int_equal(broken(f), 0);
	assert_consistent(f);
	content_free(&c);
	manifest_free(&m);
}

/* A client that is told "no such tag" may create it. */
static void test_store_damage__a_broken_tag_can_be_replaced(void **state)
{
	struct store_fixture *f = *state;
	struct content lost = push_noise(f, REPO, 1),
		       c = push_noise(f, REPO, 2);
	struct test_ref old_refs[] = {REF(&lost)}, new_refs[] = {REF(&c)};
	struct test_manifest old = manifest_make(SNAPSHOT, REFS(old_refs), 1,
						 0),
			     new = manifest_make(SNAPSHOT, REFS(new_refs), 2,
						 0);
	struct cm_digest now;

	assert_ok(store_put(f, REPO, "t", &old), &f->err);
	damage(f, REPO, &lost);
	assert_fails(store_put_if(f, REPO, "t", &new, CM_TAG_MATCH, &old.digest,
				  &now),
		     CM_ERR_PRECONDITION, &f->err);
	assert_ok(store_put_if(f, REPO, "t", &new, CM_TAG_ABSENT, NULL, &now),
		  &f->err);
	assert_tagged(f, REPO, "t", &new);
	assert_consistent(f);
	content_free(&lost);
	content_free(&c);
	manifest_free(&old);
	manifest_free(&new);
}

/* What is broken can be removed like anything else, and leaves no trace. */
static void test_store_damage__broken_things_can_go(void **state)
{
	struct store_fixture *f = *state;
	struct content lost = push_noise(f, REPO, 1);
	struct test_ref refs[] = {REF(&lost)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);
	struct cm_purge_result r;

	assert_ok(store_put(f, REPO, "t", &m), &f->err);
	damage(f, REPO, &lost);
	assert_ok(cm_store_purge(f->store,
				 &(struct cm_purge_filter){.repo = REPO}, &r,
				 &f->err),
		  &f->err);
	assert_int_equal(r.tags, 1);
	assert_int_equal(r.manifests, 1);
	assert_int_equal(broken(f), 0);
	assert_ok(store_push(f, REPO, &lost, NULL), &f->err);
	assert_unreadable(f, REPO, "t", &m);
	assert_consistent(f);
	content_free(&lost);
	manifest_free(&m);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_damage__##name,             \
					store_setup, store_teardown)
	const struct CMUnitTest tests[] = {
		CASE(breaks_who_names_it),
		CASE(heals_by_repository),
		CASE(reaches_indexes),
		CASE(of_a_manifest_itself),
		CASE(a_broken_tag_can_be_replaced),
		CASE(broken_things_can_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
