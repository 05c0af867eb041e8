/*
 * test_store_manifests.c - manifests, tags, and the listings of both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_fixture.h"

#include <cachemount/protocol.h>

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

static const struct cm_digest no_digest;

/* A blob in `repo` and a manifest that names it. */
static struct test_manifest manifest_with(struct store_fixture *f,
					  const char *repo,
					  enum manifest_kind kind,
					  unsigned int salt)
{
	struct content c = content_noise(salt, 1000 + salt);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(kind, REFS(refs), salt, 0);

	assert_ok(store_push(f, repo, &c, NULL), &f->err);
	content_free(&c);
	return m;
}

static struct test_ref ref_of(const struct test_manifest *m)
{
	return (struct test_ref){m->digest, (int64_t)m->len};
}

static void by_digest(struct store_fixture *f, const char *repo,
		      const struct test_manifest *m, int want)
{
	struct cm_stored_manifest got = {0};

	assert_int_equal(cm_store_manifest_get(f->store, repo, NULL, &m->digest,
					       false, &got, &f->err),
			 want);
	if (want == 0) {
		assert_null(got.bytes);
		assert_int_equal(got.size, m->len);
		assert_string_equal(got.media_type, m->parsed->media_type);
	}
	cm_stored_manifest_release(&got);
}

static void test_store_manifests__put_and_get(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest m = manifest_with(f, "main/a", IMAGE, 1);
	struct cm_digest d;

	assert_no_tag(f, "main/a", "t");
	by_digest(f, "main/a", &m, CM_ERR_NOT_FOUND);
	assert_ok(store_put_if(f, "main/a", "t", &m, CM_TAG_ANY, NULL, &d),
		  &f->err);
	assert_true(cm_digest_equal(&d, &m.digest));
	assert_tagged(f, "main/a", "t", &m);
	by_digest(f, "main/a", &m, 0);
	by_digest(f, "main/b", &m, CM_ERR_NOT_FOUND);
	assert_no_tag(f, "main/a", "T");
	assert_no_tag(f, "main/b", "t");
	/* Its bytes are a blob of the repository as well. */
	assert_ok(store_stat(f, "main/a", &m.digest, NULL), &f->err);
	assert_consistent(f);
	store_reopen(f);
	assert_tagged(f, "main/a", "t", &m);
	manifest_free(&m);
}

static void test_store_manifests__by_digest_only(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest m = manifest_with(f, "main/a", IMAGE, 1);
	struct cm_store_stats st;

	assert_ok(store_put(f, "main/a", NULL, &m), &f->err);
	by_digest(f, "main/a", &m, 0);
	assert_ok(cm_store_stats(f->store, &st, &f->err), &f->err);
	assert_int_equal(st.tags, 0);
	assert_int_equal(st.manifests, 1);
	assert_consistent(f);
	manifest_free(&m);
}

static void test_store_manifests__large(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c)};

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	for (unsigned int i = 0; i < 3; i++) {
		struct test_manifest m = manifest_make(
			IMAGE, REFS(refs), i, (size_t)17000 << (4 * i));

		assert_ok(store_put(f, "main/a", "t", &m), &f->err);
		assert_tagged(f, "main/a", "t", &m);
		assert_ok(store_put(f, "main/a", "again", &m), &f->err);
		assert_tagged(f, "main/a", "again", &m);
		manifest_free(&m);
	}
	assert_consistent(f);
	assert_int_equal(store_files(f), 3);
	content_free(&c);
}

static void test_store_manifests__missing_blobs(void **state)
{
	struct store_fixture *f = *state;
	struct content a = content_noise(1, 100), b = content_noise(2, 200);
	struct test_ref refs[] = {REF(&a), REF(&b)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);
	char digest[CM_DIGEST_TEXT_SIZE];

	cm_digest_format(&b.digest, digest);
	assert_ok(store_push(f, "main/a", &a, NULL), &f->err);
	assert_ok(store_push(f, "main/b", &b, NULL), &f->err);
	assert_fails(store_put(f, "main/a", "t", &m), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_non_null(strstr(f->err.text, digest));
	assert_no_tag(f, "main/a", "t");
	by_digest(f, "main/a", &m, CM_ERR_NOT_FOUND);
	assert_absent(f, "main/a", &m.digest);
	assert_consistent(f);
	/* Also where nothing has ever been. */
	assert_fails(store_put(f, "main/new", "t", &m), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_ok(store_push(f, "main/a", &b, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_tagged(f, "main/a", "t", &m);
	assert_consistent(f);
	manifest_free(&m);
	content_free(&a);
	content_free(&b);
}

static void test_store_manifests__wrong_size(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c), REF(&c)};
	struct test_manifest m;

	refs[1].size++;
	m = manifest_make(IMAGE, REFS(refs), 1, 0);
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_fails(store_put(f, "main/a", "t", &m), CM_ERR_SIZE, &f->err);
	assert_no_tag(f, "main/a", "t");
	assert_consistent(f);
	manifest_free(&m);
	content_free(&c);
}

/* The same blob many times over counts once. */
static void test_store_manifests__doubled_descriptors(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c), REF(&c), REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_consistent(f);
	assert_int_equal(store_sql(f, "SELECT content_size FROM manifests"),
			 c.len + m.len);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &m.digest,
					   &f->err),
		  &f->err);
	assert_consistent(f);
	manifest_free(&m);
	content_free(&c);
}

static void test_store_manifests__conditions(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest a = manifest_with(f, "main/a", IMAGE, 1);
	struct test_manifest b = manifest_with(f, "main/a", IMAGE, 2);
	struct cm_digest d = a.digest;

	assert_fails(
		store_put_if(f, "main/a", "t", &b, CM_TAG_MATCH, &a.digest, &d),
		CM_ERR_PRECONDITION, &f->err);
	assert_true(cm_digest_equal(&d, &no_digest));
	assert_no_tag(f, "main/a", "t");
	assert_ok(store_put_if(f, "main/a", "t", &a, CM_TAG_ABSENT, NULL, &d),
		  &f->err);
	assert_true(cm_digest_equal(&d, &a.digest));
	assert_fails(
		store_put_if(f, "main/a", "t", &b, CM_TAG_ABSENT, NULL, &d),
		CM_ERR_PRECONDITION, &f->err);
	assert_true(cm_digest_equal(&d, &a.digest));
	assert_fails(
		store_put_if(f, "main/a", "t", &b, CM_TAG_MATCH, &b.digest, &d),
		CM_ERR_PRECONDITION, &f->err);
	assert_true(cm_digest_equal(&d, &a.digest));
	/* Refused, so there is no trace of it. */
	by_digest(f, "main/a", &b, CM_ERR_NOT_FOUND);
	assert_tagged(f, "main/a", "t", &a);
	assert_ok(
		store_put_if(f, "main/a", "t", &b, CM_TAG_MATCH, &a.digest, &d),
		&f->err);
	assert_true(cm_digest_equal(&d, &b.digest));
	assert_tagged(f, "main/a", "t", &b);
	by_digest(f, "main/a", &a, 0);
	assert_consistent(f);
	manifest_free(&a);
	manifest_free(&b);
}

static void test_store_manifests__put_again(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest a = manifest_with(f, "main/a", IMAGE, 1);
	struct test_manifest b = manifest_with(f, "main/a", SNAPSHOT, 2);

	assert_ok(store_put(f, "main/a", "t", &a), &f->err);
	assert_ok(store_put(f, "main/a", "t", &a), &f->err);
	assert_ok(store_put(f, "main/a", "u", &a), &f->err);
	assert_consistent(f);
	assert_ok(store_put(f, "main/a", "t", &b), &f->err);
	assert_ok(store_put(f, "main/a", "t", &a), &f->err);
	assert_ok(store_put(f, "main/a", "u", &b), &f->err);
	assert_ok(store_put(f, "main/a", NULL, &b), &f->err);
	assert_tagged(f, "main/a", "t", &a);
	assert_tagged(f, "main/a", "u", &b);
	assert_consistent(f);
	manifest_free(&a);
	manifest_free(&b);
}

static void test_store_manifests__indexes(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest a = manifest_with(f, "main/a", IMAGE, 1);
	struct test_manifest b = manifest_with(f, "main/a", IMAGE, 2);
	struct test_ref refs[] = {ref_of(&a), ref_of(&b)};
	struct test_manifest ix = manifest_make(INDEX, REFS(refs), 3, 0);

	assert_ok(store_put(f, "main/a", NULL, &a), &f->err);
	assert_fails(store_put(f, "main/a", "t", &ix), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_ok(store_put(f, "main/a", "b", &b), &f->err);
	assert_ok(store_put(f, "main/a", "t", &ix), &f->err);
	assert_tagged(f, "main/a", "t", &ix);
	assert_consistent(f);
	assert_fails(cm_store_manifest_delete(f->store, "main/a", &a.digest,
					      &f->err),
		     CM_ERR_PRECONDITION, &f->err);
	assert_tagged(f, "main/a", "b", &b);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &ix.digest,
					   &f->err),
		  &f->err);
	assert_no_tag(f, "main/a", "t");
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &a.digest,
					   &f->err),
		  &f->err);
	by_digest(f, "main/a", &a, CM_ERR_NOT_FOUND);
	assert_tagged(f, "main/a", "b", &b);
	assert_consistent(f);
	manifest_free(&a);
	manifest_free(&b);
	manifest_free(&ix);
}

/* BuildKit once put children as blobs; one may become a manifest later. */
static void test_store_manifests__an_index_of_blobs(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest a = manifest_with(f, "main/a", IMAGE, 1);
	struct test_ref refs[] = {ref_of(&a)};
	struct test_manifest ix = manifest_make(INDEX, REFS(refs), 3, 0);
	struct content c = {(unsigned char *)a.json, a.len, a.digest};

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &ix), &f->err);
	assert_ok(store_put(f, "main/a", NULL, &a), &f->err);
	assert_consistent(f);
	assert_fails(cm_store_manifest_delete(f->store, "main/a", &a.digest,
					      &f->err),
		     CM_ERR_PRECONDITION, &f->err);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &ix.digest,
					   &f->err),
		  &f->err);
	assert_consistent(f);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &a.digest,
					   &f->err),
		  &f->err);
	assert_consistent(f);
	manifest_free(&a);
	manifest_free(&ix);
}

static void test_store_manifests__deletes(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest a = manifest_with(f, "main/a", IMAGE, 1);

	assert_fails(cm_store_tag_delete(f->store, "main/a", "t", &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_manifest_delete(f->store, "main/a", &a.digest,
					      &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(store_put(f, "main/a", "t", &a), &f->err);
	assert_ok(store_put(f, "main/a", "u", &a), &f->err);
	assert_fails(cm_store_manifest_delete(f->store, "main/b", &a.digest,
					      &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_tag_delete(f->store, "main/b", "t", &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_store_tag_delete(f->store, "main/a", "t", &f->err),
		  &f->err);
	assert_no_tag(f, "main/a", "t");
	assert_tagged(f, "main/a", "u", &a);
	assert_ok(cm_store_tag_delete(f->store, "main/a", "u", &f->err),
		  &f->err);
	by_digest(f, "main/a", &a, 0);
	assert_consistent(f);
	assert_ok(store_put(f, "main/a", "t", &a), &f->err);
	assert_ok(store_put(f, "main/a", "u", &a), &f->err);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &a.digest,
					   &f->err),
		  &f->err);
	assert_no_tag(f, "main/a", "t");
	assert_no_tag(f, "main/a", "u");
	assert_consistent(f);
	manifest_free(&a);
}

/*
 * The manifest's own bytes are lost: it reads as absent, and putting it again
 * makes it whole.
 */
static void test_store_manifests__lost_bytes(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 20000);
	struct cm_stored_manifest got = {0};

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	if (remove(store_blob_path(f, &m.digest, CM_ENCODING_ZSTD)) < 0)
		remove(store_blob_path(f, &m.digest, CM_ENCODING_IDENTITY));
	assert_fails(cm_store_manifest_get(f->store, "main/a", "t", NULL, true,
					   &got, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_no_tag(f, "main/a", "t");
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_tagged(f, "main/a", "t", &m);
	assert_consistent(f);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &m.digest,
					   &f->err),
		  &f->err);
	assert_consistent(f);
	manifest_free(&m);
	content_free(&c);
}

/* ---- listings -------------------------------------------------------------
 */

struct listing {
	char text[4096];
	size_t lines;
	size_t stop_after; /* 0: never */
	char last_repo[256], last_tag[129];
};

static int note_tag(void *arg, const struct cm_tag_info *tag)
{
	struct listing *l = arg;
	size_t len = strlen(l->text);

	snprintf(l->text + len, sizeof(l->text) - len, "%s:%s ", tag->repo,
		 tag->tag);
	strcpy(l->last_repo, tag->repo);
	strcpy(l->last_tag, tag->tag);
	return ++l->lines == l->stop_after ? 77 : 0;
}

static int note_repo(void *arg, const char *repo)
{
	struct listing *l = arg;
	size_t len = strlen(l->text);

	snprintf(l->text + len, sizeof(l->text) - len, "%s ", repo);
	strcpy(l->last_repo, repo);
	return ++l->lines == l->stop_after ? 77 : 0;
}

/* All pages of `limit` in a row. */
static void list_tags(struct store_fixture *f, const char *repo,
		      const char *prefix, size_t limit, const char *want)
{
	struct cm_tag_filter filter = {
		.repo = repo, .repo_prefix = prefix, .limit = limit};
	struct listing l = {0};

	do {
		l.lines = 0;
		assert_ok(
			cm_store_tags(f->store, &filter, note_tag, &l, &f->err),
			&f->err);
		filter.after_repo = l.last_repo;
		filter.after_tag = l.last_tag;
	} while (l.lines == limit);
	assert_string_equal(l.text, want);
}

static void list_repos(struct store_fixture *f, const char *prefix,
		       size_t limit, const char *want)
{
	struct listing l = {0};

	do {
		l.lines = 0;
		assert_ok(cm_store_repositories(f->store, prefix,
						l.last_repo[0] ? l.last_repo
							       : NULL,
						limit, note_repo, &l, &f->err),
			  &f->err);
	} while (l.lines == limit);
	assert_string_equal(l.text, want);
}

static void fill(struct store_fixture *f)
{
	static const char *const repos[] = {
		"main",	  "main/x", "main/x/y", "main-x",
		"main.x", "mai",    "main0",
	};
	static const char *const tags[] = {"b", "B", "a-1", "1"};

	for (unsigned int i = 0; i < ROWS(repos); i++) {
		struct test_manifest m = manifest_with(f, repos[i], IMAGE, i);

		for (size_t t = 0; t < (i < 2 ? ROWS(tags) : 1); t++)
			assert_ok(store_put(f, repos[i], tags[t], &m), &f->err);
		manifest_free(&m);
	}
}

static void test_store_manifests__lists(void **state)
{
	static const char all[] = "mai:b main:1 main:B main:a-1 main:b main-x:b"
				  " main.x:b main/x:1 main/x:B main/x:a-1"
				  " main/x:b main/x/y:b main0:b ";
	static const char main_only[] =
		"main:1 main:B main:a-1 main:b main/x:1 main/x:B main/x:a-1"
		" main/x:b main/x/y:b ";
	struct store_fixture *f = *state;

	fill(f);
	for (size_t limit = 1; limit < 15; limit++) {
		list_tags(f, NULL, NULL, limit, all);
		list_tags(f, NULL, "", limit, all);
		list_tags(f, NULL, "main", limit, main_only);
		list_tags(f, NULL, "main/", limit, main_only);
		list_tags(f, "main", NULL, limit,
			  "main:1 main:B main:a-1 main:b ");
		list_tags(f, NULL, "main/x/y", limit, "main/x/y:b ");
		list_tags(f, NULL, "ma", limit, "");
		list_repos(f, NULL, limit,
			   "mai main main-x main.x main/x main/x/y main0 ");
		list_repos(f, "main", limit, "main main/x main/x/y ");
		list_repos(f, "main/x", limit, "main/x main/x/y ");
		list_repos(f, "none", limit, "");
	}
}

static void test_store_manifests__lists_that_stop(void **state)
{
	struct cm_tag_filter filter = {.limit = 100};
	struct listing l = {.stop_after = 2};
	struct store_fixture *f = *state;

	fill(f);
	assert_int_equal(
		cm_store_tags(f->store, &filter, note_tag, &l, &f->err), 77);
	assert_int_equal(l.lines, 2);
	l = (struct listing){.stop_after = 3};
	assert_int_equal(cm_store_repositories(f->store, NULL, NULL, 100,
					       note_repo, &l, &f->err),
			 77);
	assert_int_equal(l.lines, 3);
	filter.limit = 0;
	l = (struct listing){0};
	assert_ok(cm_store_tags(f->store, &filter, note_tag, &l, &f->err),
		  &f->err);
	assert_int_equal(l.lines, 0);
	filter = (struct cm_tag_filter){.repo = "no/where", .limit = 1};
	assert_fails(cm_store_tags(f->store, &filter, note_tag, &l, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
}

static int check_info(void *arg, const struct cm_tag_info *tag)
{
	const struct test_manifest *m = arg;

	assert_true(cm_digest_equal(&tag->digest, &m->digest));
	assert_string_equal(tag->media_type, CM_MEDIA_OCI_MANIFEST);
	assert_string_equal(tag->artifact_type, CM_MEDIA_SNAPSHOT);
	assert_string_equal(tag->writer, "tester");
	assert_int_equal(tag->content_size, 1001 + m->len);
	assert_true(tag->created_ms > 0);
	assert_true(tag->updated_ms >= tag->created_ms);
	assert_true(tag->pulled_ms >= tag->created_ms);
	return 5;
}

static void test_store_manifests__what_a_list_says(void **state)
{
	struct cm_tag_filter filter = {.repo = "main/a", .limit = 9};
	struct store_fixture *f = *state;
	struct test_manifest m = manifest_with(f, "main/a", SNAPSHOT, 1);

	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_tagged(f, "main/a", "t", &m);
	assert_ok(cm_store_flush(f->store, &f->err), &f->err);
	assert_int_equal(
		cm_store_tags(f->store, &filter, check_info, &m, &f->err), 5);
	manifest_free(&m);
}

/* A repository is listed while it has manifests, known while it has blobs. */
static void test_store_manifests__a_repository_ends(void **state)
{
	struct cm_tag_filter filter = {.repo = "main/a", .limit = 9};
	struct store_fixture *f = *state;
	struct test_manifest m = manifest_with(f, "main/a", IMAGE, 1);
	struct content c = content_noise(1, 1001);
	struct listing l = {0};

	list_repos(f, NULL, 5, "");
	assert_ok(cm_store_tags(f->store, &filter, note_tag, &l, &f->err),
		  &f->err);
	assert_ok(store_put(f, "main/a", NULL, &m), &f->err);
	list_repos(f, NULL, 5, "main/a ");
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &m.digest,
					   &f->err),
		  &f->err);
	list_repos(f, NULL, 5, "");
	assert_ok(cm_store_blob_delete(f->store, "main/a", &m.digest, &f->err),
		  &f->err);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		  &f->err);
	assert_fails(cm_store_tags(f->store, &filter, note_tag, &l, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_consistent(f);
	manifest_free(&m);
	content_free(&c);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_manifests__##name,          \
					store_setup, store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(put_and_get),
		CASE(by_digest_only),
		CASE(large),
		CASE(missing_blobs),
		CASE(wrong_size),
		CASE(doubled_descriptors),
		CASE(conditions),
		CASE(put_again),
		CASE(indexes),
		CASE(an_index_of_blobs),
		CASE(deletes),
		CASE(lost_bytes),
		CASE(lists),
		CASE(lists_that_stop),
		CASE(what_a_list_says),
		CASE(a_repository_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
