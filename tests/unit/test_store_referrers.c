/* test_store_referrers.c - manifests that name a subject, and their listing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_fixture.h"

#include <cachemount/protocol.h>

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

static const char config[] = "{}";

static struct cm_any_digest digest_of(enum cm_algorithm algorithm,
				      const char *text)
{
	struct cm_any_digest d;

	assert_int_equal(
		cm_any_digest_of(algorithm, text, strlen(text), &d, NULL), 0);
	return d;
}

static void push_config(struct store_fixture *f, const char *repo)
{
	struct content c = content_noise(0, strlen(config));

	memcpy(c.data, config, c.len);
	assert_int_equal(cm_digest_of(c.data, c.len, &c.digest, NULL), 0);
	assert_ok(store_push(f, repo, &c, NULL), &f->err);
	content_free(&c);
}

/* Puts an artifact with a subject, `salt` and `padding` to be one of its own.
 */
static struct cm_digest put(struct store_fixture *f, const char *repo,
			    const struct cm_any_digest *subject,
			    const char *type, unsigned int salt, int padding)
{
	char on[CM_ANY_DIGEST_TEXT_SIZE], own[CM_ANY_DIGEST_TEXT_SIZE];
	struct cm_any_digest c = digest_of(CM_SHA256, config);
	cm_auto(manifest) struct cm_manifest *m = NULL;
	cm_autofree char *json = NULL;
	struct cm_manifest_put job = {.repo = repo};
	struct cm_digest d;

	assert_true(asprintf(&json,
			     "{\"schemaVersion\":2,%s%s%s\"config\":{"
			     "\"mediaType\":\"x/config\",\"digest\":\"%s\","
			     "\"size\":2},\"layers\":[],\"subject\":{"
			     "\"mediaType\":\"x/y\",\"digest\":\"%s\","
			     "\"size\":1},\"annotations\":{\"n\":\"%u%*d\"}}",
			     type ? "\"artifactType\":\"" : "",
			     type ? type : "", type ? "\"," : "",
			     cm_any_digest_format(&c, own),
			     cm_any_digest_format(subject, on), salt, padding,
			     0) > 0);
	job.bytes = json;
	job.len = strlen(json);
	assert_ok(cm_manifest_parse(json, job.len, CM_MEDIA_OCI_MANIFEST, &m,
				    &f->err),
		  &f->err);
	job.parsed = m;
	assert_ok(cm_store_manifest_put(f->store, &job, &d, &f->err), &f->err);
	return d;
}

/* What a listing told. */
struct listed {
	size_t len;
	struct cm_digest digests[16];
	char types[16][32];
};

static int note(void *arg, const struct cm_referrer *r)
{
	struct listed *l = arg;

	assert_true(l->len < ROWS(l->digests));
	assert_string_equal(r->media_type, CM_MEDIA_OCI_MANIFEST);
	assert_true(r->size > 100);
	strcpy(l->types[l->len], r->artifact_type ? r->artifact_type : "");
	l->digests[l->len++] = r->digest;
	return 0;
}

static struct listed list(struct store_fixture *f, const char *repo,
			  const struct cm_any_digest *subject, const char *type)
{
	struct cm_referrer_filter filter = {
		.repo = repo,
		.subject = subject,
		.artifact_type = type,
		.limit = 16,
	};
	struct listed l = {0};

	assert_ok(cm_store_referrers(f->store, &filter, note, &l, &f->err),
		  &f->err);
	for (size_t i = 1; i < l.len; i++)
		assert_true(cm_digest_compare(&l.digests[i - 1],
					      &l.digests[i]) < 0);
	return l;
}

static size_t count(struct store_fixture *f, const char *repo,
		    const struct cm_any_digest *subject)
{
	return list(f, repo, subject, NULL).len;
}

static void test_store_referrers__none(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");

	assert_int_equal(count(f, "main/a", &s), 0);
	push_config(f, "main/a");
	assert_int_equal(count(f, "main/a", &s), 0);
}

static void test_store_referrers__listed_by_subject(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");
	struct cm_any_digest long_s = digest_of(CM_SHA512, "subject");
	struct cm_any_digest other = digest_of(CM_SHA256, "other");
	struct listed l;

	push_config(f, "main/a");
	push_config(f, "main/b");
	put(f, "main/a", &s, "x/sbom", 1, 1);
	put(f, "main/a", &s, "x/signature", 2, 1);
	put(f, "main/a", &s, NULL, 3, 1);
	put(f, "main/a", &long_s, "x/sbom", 4, 1);
	put(f, "main/b", &s, "x/sbom", 5, 1);
	assert_int_equal(count(f, "main/a", &s), 3);
	assert_int_equal(count(f, "main/a", &long_s), 1);
	assert_int_equal(count(f, "main/a", &other), 0);
	assert_int_equal(count(f, "main/b", &s), 1);
	l = list(f, "main/a", &s, "x/sbom");
	assert_int_equal(l.len, 1);
	assert_string_equal(l.types[0], "x/sbom");
	l = list(f, "main/a", &s, "x/config");
	assert_int_equal(l.len, 1);
	assert_string_equal(l.types[0], "x/config");
	assert_int_equal(list(f, "main/a", &s, "x/none").len, 0);
	/* Again is once. */
	put(f, "main/a", &s, "x/sbom", 1, 1);
	assert_int_equal(count(f, "main/a", &s), 3);
	assert_consistent(f);
	store_reopen(f);
	assert_int_equal(count(f, "main/a", &s), 3);
}

static void test_store_referrers__pages(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");
	struct cm_referrer_filter filter = {
		.repo = "main/a",
		.subject = &s,
		.limit = 3,
	};
	struct listed l = {0};
	struct cm_digest last;

	push_config(f, "main/a");
	for (unsigned int i = 0; i < 8; i++)
		put(f, "main/a", &s, i % 2 ? "x/odd" : "x/even", i, 1);
	for (size_t have = 0; have < 8; have = l.len) {
		assert_ok(cm_store_referrers(f->store, &filter, note, &l,
					     &f->err),
			  &f->err);
		assert_int_equal(l.len, have + 3 < 8 ? have + 3 : 8);
		last = l.digests[l.len - 1];
		filter.after = &last;
	}
	assert_ok(cm_store_referrers(f->store, &filter, note, &l, &f->err),
		  &f->err);
	assert_int_equal(l.len, 8);
	filter = (struct cm_referrer_filter){
		.repo = "main/a",
		.subject = &s,
		.artifact_type = "x/odd",
		.limit = 3,
	};
	l.len = 0;
	assert_ok(cm_store_referrers(f->store, &filter, note, &l, &f->err),
		  &f->err);
	assert_int_equal(l.len, 3);
	last = l.digests[2];
	filter.after = &last;
	assert_ok(cm_store_referrers(f->store, &filter, note, &l, &f->err),
		  &f->err);
	assert_int_equal(l.len, 4);
}

static int stop(void *arg, const struct cm_referrer *r)
{
	(void)r;
	return ++*(int *)arg == 2 ? 77 : 0;
}

static void test_store_referrers__stops_when_told(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");
	struct cm_referrer_filter filter = {
		.repo = "main/a",
		.subject = &s,
		.limit = 10,
	};
	int seen = 0;

	push_config(f, "main/a");
	for (unsigned int i = 0; i < 4; i++)
		put(f, "main/a", &s, NULL, i, 1);
	assert_int_equal(
		cm_store_referrers(f->store, &filter, stop, &seen, &f->err),
		77);
	assert_int_equal(seen, 2);
}

/* It goes with itself, and with nothing else. */
static void test_store_referrers__deleting(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);
	struct cm_any_digest s = {.algorithm = CM_SHA256, .sha256 = m.digest};
	struct cm_digest d;

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	push_config(f, "main/a");
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	d = put(f, "main/a", &s, "x/sbom", 1, 1);
	put(f, "main/a", &s, "x/sbom", 2, 1);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &m.digest,
					   &f->err),
		  &f->err);
	assert_int_equal(count(f, "main/a", &s), 2);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_int_equal(count(f, "main/a", &s), 2);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &d, &f->err),
		  &f->err);
	assert_int_equal(count(f, "main/a", &s), 1);
	assert_consistent(f);
	manifest_free(&m);
	content_free(&c);
}

/* One that cannot be restored is not listed, until it can. */
static void test_store_referrers__damage(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");
	struct cm_any_digest c = digest_of(CM_SHA256, config);

	push_config(f, "main/a");
	put(f, "main/a", &s, "x/sbom", 1, 1);
	store_sql(f, "UPDATE blob_data SET data = x'0000'"
		     " WHERE length(data) = 2");
	assert_fails(
		cm_store_blob_verify(f->store, "main/a", &c.sha256, &f->err),
		CM_ERR_CORRUPT, &f->err);
	assert_int_equal(count(f, "main/a", &s), 0);
	push_config(f, "main/a");
	assert_int_equal(count(f, "main/a", &s), 1);
	assert_consistent(f);
}

/* Puts the index back to before the table of referrers was there. */
static void forget_referrers(struct store_fixture *f)
{
	store_sql(f, "DELETE FROM referrers");
	store_sql(f, "DELETE FROM referrers_fill");
	store_sql(f, "INSERT INTO referrers_fill VALUES(0, x'')");
}

static void test_store_referrers__of_before(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");
	struct cm_any_digest long_s = digest_of(CM_SHA512, "subject");
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c)};

	push_config(f, "main/a");
	push_config(f, "main/b");
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	/* More than a batch; among them a few to be found, one in a file. */
	for (unsigned int i = 0; i < 600; i++) {
		struct test_manifest m =
			manifest_make(i % 7 ? IMAGE : INDEX, REFS(refs), i, 0);

		assert_ok(store_put(f, "main/a", NULL, &m), &f->err);
		manifest_free(&m);
	}
	put(f, "main/a", &s, "x/sbom", 1, 1);
	put(f, "main/a", &s, NULL, 2, 60000);
	put(f, "main/b", &s, "x/sbom", 3, 1);
	put(f, "main/b", &long_s, "x/sbom", 4, 1);
	forget_referrers(f);
	store_reopen(f);
	assert_int_equal(count(f, "main/a", &s), 0);
	/* One that is put again need not wait. */
	put(f, "main/b", &s, "x/sbom", 3, 1);
	assert_int_equal(count(f, "main/b", &s), 1);
	store_sweep(f);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM referrers_fill"),
			 0);
	assert_int_equal(count(f, "main/a", &s), 2);
	assert_int_equal(list(f, "main/a", &s, "x/config").len, 1);
	assert_int_equal(count(f, "main/b", &s), 1);
	assert_int_equal(count(f, "main/b", &long_s), 1);
	assert_consistent(f);
	content_free(&c);
}

/* A batch is bounded by bytes as well, and goes on where it was. */
static void test_store_referrers__large_ones_of_before(void **state)
{
	struct store_fixture *f = *state;
	struct cm_any_digest s = digest_of(CM_SHA256, "subject");
	struct cm_sweep_result once;

	push_config(f, "main/a");
	for (unsigned int i = 0; i < 5; i++)
		put(f, "main/a", &s, NULL, i, 4000000);
	forget_referrers(f);
	assert_ok(cm_store_sweep(f->store, &once, &f->err), &f->err);
	assert_true(once.more);
	assert_int_equal(count(f, "main/a", &s), 3);
	store_reopen(f);
	store_sweep(f);
	assert_int_equal(count(f, "main/a", &s), 5);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM referrers_fill"),
			 0);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_referrers__##name,          \
					store_setup, store_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(none),	 TEST(listed_by_subject),
		TEST(pages),	 TEST(stops_when_told),
		TEST(deleting),	 TEST(damage),
		TEST(of_before), TEST(large_ones_of_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
