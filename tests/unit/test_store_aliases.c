/* test_store_aliases.c - blobs and manifests named by their SHA-512. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_fixture.h"

#include <cachemount/protocol.h>

static const struct cm_digest nothing;

static struct cm_any_digest sha512_of(const void *data, size_t len)
{
	struct cm_any_digest d;

	assert_int_equal(cm_any_digest_of(CM_SHA512, data, len, &d, NULL), 0);
	return d;
}

static void assert_resolves(struct store_fixture *f, const char *repo,
			    const struct cm_any_digest *name,
			    const struct cm_digest *want)
{
	struct cm_digest got;

	assert_ok(cm_store_resolve(f->store, repo, name, &got, &f->err),
		  &f->err);
	assert_true(cm_digest_equal(&got, want));
}

static void assert_unknown(struct store_fixture *f, const char *repo,
			   const struct cm_any_digest *name)
{
	struct cm_digest got;

	assert_fails(cm_store_resolve(f->store, repo, name, &got, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
}

static void test_store_aliases__a_sha256_is_itself(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 10);
	struct cm_any_digest name = {.algorithm = CM_SHA256,
				     .sha256 = c.digest};

	/* Not looked up: it is found, or not, where it is used. */
	assert_resolves(f, "main/none", &name, &c.digest);
	content_free(&c);
}

/* In the index, in a file, compressible, empty: whatever is done with it. */
static void test_store_aliases__push(void **state)
{
	static const size_t lens[] = {0, 1, 1000, 20000, 3000000};
	struct store_fixture *f = *state;

	for (unsigned int i = 0; i < 10; i++) {
		struct content c = i % 2 ? content_text(i, lens[i / 2])
					 : content_noise(i, lens[i / 2]);
		struct cm_any_digest name = sha512_of(c.data, c.len);
		struct cm_blob_info info;

		assert_ok(store_push_as(f, "main/a", &name,
					CM_ENCODING_IDENTITY, c.data, c.len,
					&info),
			  &f->err);
		assert_true(cm_digest_equal(&info.digest, &c.digest));
		assert_resolves(f, "main/a", &name, &c.digest);
		assert_stored(f, "main/a", &c);
		assert_unknown(f, "main/b", &name);
		assert_resolves(f, NULL, &name, &c.digest);
		content_free(&c);
	}
	assert_consistent(f);
	store_reopen(f);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM aliases"), 9);
}

/* A frame that is kept, and one that is not worth it: of what it decodes to. */
static void test_store_aliases__frames(void **state)
{
	struct store_fixture *f = *state;
	struct content c[] = {content_text(1, 200000),
			      content_noise(2, 200000)};

	for (size_t i = 0; i < 2; i++) {
		struct cm_any_digest name = sha512_of(c[i].data, c[i].len);
		struct cm_any_digest wrong = sha512_of("x", 1);
		struct cm_blob_info info;
		size_t len;
		cm_autofree void *frame = content_frame(&c[i], 0, &len);

		assert_fails(store_push_as(f, "main/a", &wrong,
					   CM_ENCODING_ZSTD, frame, len, &info),
			     CM_ERR_DIGEST, &f->err);
		assert_absent(f, "main/a", &c[i].digest);
		assert_ok(store_push_as(f, "main/a", &name, CM_ENCODING_ZSTD,
					frame, len, &info),
			  &f->err);
		assert_resolves(f, "main/a", &name, &c[i].digest);
		assert_stored(f, "main/a", &c[i]);
		content_free(&c[i]);
	}
	assert_consistent(f);
}

static void test_store_aliases__wrong_bytes(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 5000);
	struct cm_any_digest name = sha512_of("other", 5);
	struct cm_blob_info info;

	assert_fails(store_push_as(f, "main/a", &name, CM_ENCODING_IDENTITY,
				   c.data, c.len, &info),
		     CM_ERR_DIGEST, &f->err);
	assert_non_null(strstr(f->err.text, "sha512:"));
	assert_unknown(f, NULL, &name);
	assert_absent(f, "main/a", &c.digest);
	assert_consistent(f);
	content_free(&c);
}

/* A blob that is there by its SHA-256 gets a second name. */
static void test_store_aliases__second_name(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	struct cm_any_digest name = sha512_of(c.data, c.len);
	struct cm_blob_info info;

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_unknown(f, "main/a", &name);
	for (int i = 0; i < 2; i++)
		assert_ok(store_push_as(f, "main/b", &name,
					CM_ENCODING_IDENTITY, c.data, c.len,
					&info),
			  &f->err);
	assert_resolves(f, "main/b", &name, &c.digest);
	assert_resolves(f, "main/a", &name, &c.digest);
	assert_int_equal(store_files(f), 1);
	assert_consistent(f);
	content_free(&c);
}

static void test_store_aliases__goes_with_the_blob(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	struct cm_any_digest name = sha512_of(c.data, c.len);
	struct cm_blob_info info;

	assert_ok(store_push_as(f, "main/a", &name, CM_ENCODING_IDENTITY,
				c.data, c.len, &info),
		  &f->err);
	assert_ok(store_push(f, "main/b", &c, NULL), &f->err);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		  &f->err);
	/* Another repository has it still. */
	assert_unknown(f, "main/a", &name);
	assert_resolves(f, "main/b", &name, &c.digest);
	assert_ok(cm_store_blob_delete(f->store, "main/b", &c.digest, &f->err),
		  &f->err);
	assert_unknown(f, NULL, &name);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM aliases"), 0);
	assert_consistent(f);
	content_free(&c);
}

/* What names a lost blob by its SHA-512 finds it when it has come back. */
static void test_store_aliases__outlives_damage(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	struct cm_any_digest name = sha512_of(c.data, c.len);
	struct cm_blob_info info;

	assert_ok(store_push_as(f, "main/a", &name, CM_ENCODING_IDENTITY,
				c.data, c.len, &info),
		  &f->err);
	assert_int_equal(
		truncate(store_blob_path(f, &c.digest, CM_ENCODING_IDENTITY),
			 100),
		0);
	assert_fails(
		cm_store_blob_verify(f->store, "main/a", &c.digest, &f->err),
		CM_ERR_CORRUPT, &f->err);
	assert_unknown(f, "main/a", &name);
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_resolves(f, "main/a", &name, &c.digest);
	assert_consistent(f);
	content_free(&c);
}

/* ---- manifests --------------------------------------------------------------
 */

/* An image of one blob, which it names by SHA-512. */
static char *image_of(const struct cm_any_digest *name, size_t size)
{
	char digest[CM_ANY_DIGEST_TEXT_SIZE], *json = NULL;

	assert_true(asprintf(&json,
			     "{\"schemaVersion\":2,\"config\":{\"mediaType\":"
			     "\"x/y\",\"digest\":\"%s\",\"size\":%zu},"
			     "\"layers\":[]}",
			     cm_any_digest_format(name, digest), size) > 0);
	return json;
}

static int put_json(struct store_fixture *f, const char *json,
		    const char *const *tags, size_t tags_len,
		    const struct cm_any_digest *name, struct cm_digest *ret)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_manifest_put put = {
		.repo = "main/a",
		.more_tags = tags,
		.more_tags_len = tags_len,
		.name = name,
		.bytes = json,
		.len = strlen(json),
	};

	assert_ok(cm_manifest_parse(json, put.len, CM_MEDIA_OCI_MANIFEST, &m,
				    &f->err),
		  &f->err);
	assert_ok(cm_store_resolve_manifest(f->store, put.repo, m, &f->err),
		  &f->err);
	put.parsed = m;
	return cm_store_manifest_put(f->store, &put, ret, &f->err);
}

static void assert_tag_name(struct store_fixture *f, const char *tag,
			    const struct cm_any_digest *want)
{
	struct cm_stored_manifest got = {0};

	assert_ok(cm_store_manifest_get(f->store, "main/a", tag, NULL, false,
					&got, &f->err),
		  &f->err);
	assert_true(cm_any_digest_equal(&got.name, want));
	cm_stored_manifest_release(&got);
}

static void test_store_aliases__manifest_names_blobs(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 1000);
	struct cm_any_digest blob = sha512_of(c.data, c.len);
	cm_autofree char *json = image_of(&blob, c.len);
	struct cm_blob_info info;
	struct cm_digest d;

	assert_fails(put_json(f, json, NULL, 0, NULL, &d), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_non_null(strstr(f->err.text, "sha512:"));
	/* By its SHA-256 nobody knows that it is meant. */
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_fails(put_json(f, json, NULL, 0, NULL, &d), CM_ERR_MISSING_BLOB,
		     &f->err);
	assert_ok(store_push_as(f, "main/a", &blob, CM_ENCODING_IDENTITY,
				c.data, c.len, &info),
		  &f->err);
	assert_ok(put_json(f, json, NULL, 0, NULL, &d), &f->err);
	assert_consistent(f);
	assert_fails(
		cm_store_blob_delete(f->store, "main/a", &c.digest, &f->err),
		CM_ERR_PRECONDITION, &f->err);
	content_free(&c);
}

static void test_store_aliases__manifest_by_sha512(void **state)
{
	static const char *const tags[] = {"a", "b"};
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 1000);
	struct cm_any_digest blob = sha512_of(c.data, c.len), name, plain;
	cm_autofree char *json = image_of(&blob, c.len);
	struct cm_blob_info info;
	struct cm_digest d;

	name = sha512_of(json, strlen(json));
	assert_ok(store_push_as(f, "main/a", &blob, CM_ENCODING_IDENTITY,
				c.data, c.len, &info),
		  &f->err);
	assert_ok(put_json(f, json, tags, 2, &name, &d), &f->err);
	assert_resolves(f, "main/a", &name, &d);
	assert_tag_name(f, "a", &name);
	assert_tag_name(f, "b", &name);
	/* The same by SHA-256: that tag tells that, the other stays. */
	plain = (struct cm_any_digest){.algorithm = CM_SHA256, .sha256 = d};
	assert_ok(put_json(f, json, tags, 1, NULL, &d), &f->err);
	assert_tag_name(f, "a", &plain);
	assert_tag_name(f, "b", &name);
	assert_consistent(f);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &d, &f->err),
		  &f->err);
	assert_no_tag(f, "main/a", "a");
	assert_no_tag(f, "main/a", "b");
	assert_consistent(f);
	content_free(&c);
}

/* All or none: the manifest is refused, so is each of its tags. */
static void test_store_aliases__tags_in_one_transaction(void **state)
{
	static const char *const tags[] = {"a", "b", "c"};
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 1000);
	struct cm_any_digest blob = sha512_of(c.data, c.len);
	cm_autofree char *json = image_of(&blob, c.len);
	struct cm_store_stats st;
	struct cm_blob_info info;
	struct cm_digest d;

	assert_fails(put_json(f, json, tags, 3, NULL, &d), CM_ERR_MISSING_BLOB,
		     &f->err);
	for (size_t i = 0; i < 3; i++)
		assert_no_tag(f, "main/a", tags[i]);
	assert_ok(store_push_as(f, "main/a", &blob, CM_ENCODING_IDENTITY,
				c.data, c.len, &info),
		  &f->err);
	assert_ok(put_json(f, json, tags, 3, NULL, &d), &f->err);
	assert_ok(cm_store_stats(f->store, &st, &f->err), &f->err);
	assert_int_equal(st.tags, 3);
	assert_int_equal(st.manifests, 1);
	assert_consistent(f);
	assert_false(cm_digest_equal(&d, &nothing));
	content_free(&c);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_aliases__##name,            \
					store_setup, store_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_sha256_is_itself),
		TEST(push),
		TEST(frames),
		TEST(wrong_bytes),
		TEST(second_name),
		TEST(goes_with_the_blob),
		TEST(outlives_damage),
		TEST(manifest_names_blobs),
		TEST(manifest_by_sha512),
		TEST(tags_in_one_transaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
