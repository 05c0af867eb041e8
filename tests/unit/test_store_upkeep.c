/* test_store_upkeep.c - manifests, tags, listings, purge and sweep. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/protocol.h>

#define SNAPSHOT "\"artifactType\":\"" CM_MEDIA_SNAPSHOT "\","

static void test_store__manifest_and_tag(void **state)
{
	struct store_fixture *f = *state;
	struct cm_digest blobs[2] = {push(f, "main/a", "config", 6),
				     push(f, "main/a", "layer", 5)};
	struct cm_stored_manifest m;
	struct cm_digest d, again;

	assert_ok(put_manifest(f, "main/a", "v1", blobs, 2, "", CM_TAG_ANY,
			       NULL, &d),
		  &f->err);
	for (int by_digest = 0; by_digest < 2; by_digest++) {
		assert_ok(cm_store_manifest_get(f->store, "main/a",
						by_digest ? NULL : "v1", &d,
						true, &m, &f->err),
			  &f->err);
		assert_true(cm_digest_equal(&m.digest, &d));
		assert_string_equal(m.media_type, CM_MEDIA_OCI_MANIFEST);
		assert_ok(
			cm_digest_of(m.bytes, (size_t)m.size, &again, &f->err),
			&f->err);
		assert_true(cm_digest_equal(&again, &d));
		cm_stored_manifest_release(&m);
		store_reopen(f);
	}
	assert_fails(cm_store_manifest_get(f->store, "main/a", "v2", NULL,
					   false, &m, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_manifest_get(f->store, "main/b", NULL, &d, false,
					   &m, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(
		cm_store_blob_delete(f->store, "main/a", &blobs[1], &f->err),
		CM_ERR_PRECONDITION, &f->err);
	assert_ok(cm_store_tag_delete(f->store, "main/a", "v1", &f->err),
		  &f->err);
	assert_fails(cm_store_tag_delete(f->store, "main/a", "v1", &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_store_manifest_delete(f->store, "main/a", &d, &f->err),
		  &f->err);
	assert_fails(cm_store_manifest_delete(f->store, "main/a", &d, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(cm_store_blob_delete(f->store, "main/a", &blobs[1], &f->err),
		  &f->err);
}

static void test_store__manifest_of_absent_blobs(void **state)
{
	struct store_fixture *f = *state;
	struct cm_digest blobs[2] = {push(f, "main/a", "config", 6), {{4}}};
	struct cm_store_stats stats;
	struct cm_digest d;

	assert_fails(put_manifest(f, "main/a", "v1", blobs, 2, "", CM_TAG_ANY,
				  NULL, &d),
		     CM_ERR_MISSING_BLOB, &f->err);
	/* In another repository is not in this one. */
	assert_fails(put_manifest(f, "main/b", "v1", blobs, 1, "", CM_TAG_ANY,
				  NULL, &d),
		     CM_ERR_MISSING_BLOB, &f->err);
	assert_ok(cm_store_stats(f->store, &stats, &f->err), &f->err);
	assert_int_equal(stats.manifests, 0);
	assert_int_equal(stats.tags, 0);
	assert_int_equal(stats.blobs, 1);
}

static void test_store__conditions(void **state)
{
	struct store_fixture *f = *state;
	struct cm_digest blob = push(f, "r", "config", 6), zero = {{0}};
	struct cm_digest one, two, got;

	assert_fails(put_manifest(f, "r", "t", &blob, 1, "", CM_TAG_MATCH,
				  &blob, &got),
		     CM_ERR_PRECONDITION, &f->err);
	assert_true(cm_digest_equal(&got, &zero));
	assert_ok(put_manifest(f, "r", "t", &blob, 1, "", CM_TAG_ABSENT, NULL,
			       &one),
		  &f->err);
	assert_fails(put_manifest(f, "r", "t", &blob, 1, SNAPSHOT,
				  CM_TAG_ABSENT, NULL, &got),
		     CM_ERR_PRECONDITION, &f->err);
	assert_true(cm_digest_equal(&got, &one));
	assert_ok(put_manifest(f, "r", "t", &blob, 1, SNAPSHOT, CM_TAG_MATCH,
			       &one, &two),
		  &f->err);
	assert_fails(put_manifest(f, "r", "t", &blob, 1, "", CM_TAG_MATCH, &one,
				  &got),
		     CM_ERR_PRECONDITION, &f->err);
	assert_true(cm_digest_equal(&got, &two));
}

/* ---- listings --------------------------------------------------------------
 */

struct names {
	char text[1024];
	size_t n;
};

static int add_tag(void *arg, const struct cm_tag_info *t)
{
	struct names *names = arg;

	assert_string_equal(t->writer, "tester");
	assert_true(t->content_size > 6 && t->created_ms > 0);
	snprintf(names->text + strlen(names->text), 100, "%s:%s ", t->repo,
		 t->tag);
	names->n++;
	return 0;
}

static int add_repository(void *arg, const char *repo)
{
	struct names *names = arg;

	snprintf(names->text + strlen(names->text), 100, "%s ", repo);
	names->n++;
	return 0;
}

static void test_store__listings(void **state)
{
	static const char *const repos[] = {"main",   "main-x", "main.x",
					    "main/x", "main/y", "mainx"};
	struct store_fixture *f = *state;
	struct names all = {{0}, 0}, some = {{0}, 0}, paged = {{0}, 0};
	struct cm_tag_filter filter = {.limit = 100};
	struct cm_digest blob, d;

	for (size_t i = 0; i < 6; i++) {
		blob = push(f, repos[i], "config", 6);
		put_manifest(f, repos[i], "b", &blob, 1, "", CM_TAG_ANY, NULL,
			     &d);
		put_manifest(f, repos[i], "a", &blob, 1, "", CM_TAG_ANY, NULL,
			     &d);
	}
	assert_ok(cm_store_tags(f->store, &filter, add_tag, &all, &f->err),
		  &f->err);
	assert_int_equal(all.n, 12);
	assert_int_equal(strncmp(all.text, "main:a main:b main-x:a", 22), 0);
	filter.repo_prefix = "main";
	assert_ok(cm_store_tags(f->store, &filter, add_tag, &some, &f->err),
		  &f->err);
	assert_string_equal(some.text, "main:a main:b main/x:a main/x:b "
				       "main/y:a main/y:b ");
	filter.after_repo = "main/x";
	filter.after_tag = "a";
	filter.limit = 2;
	assert_ok(cm_store_tags(f->store, &filter, add_tag, &paged, &f->err),
		  &f->err);
	assert_string_equal(paged.text, "main/x:b main/y:a ");
	memset(&paged, 0, sizeof(paged));
	assert_ok(cm_store_repositories(f->store, "main", "main", 9,
					add_repository, &paged, &f->err),
		  &f->err);
	assert_string_equal(paged.text, "main/x main/y ");
	filter = (struct cm_tag_filter){.repo = "absent", .limit = 1};
	assert_fails(cm_store_tags(f->store, &filter, add_tag, &paged, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
}

/* ---- purge -----------------------------------------------------------------
 */

static void test_store__purge_counts_what_it_frees(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(90000, 1);
	struct cm_digest shared = push(f, "pr-1/a", data, 30000);
	struct cm_digest own = push(f, "pr-1/a", data + 30000, 30000);
	struct cm_digest beside = push(f, "pr-10/a", "beside", 6);
	struct cm_digest pair[2] = {shared, own}, d;
	struct cm_purge_filter filter = {.repo_prefix = "pr-1",
					 .dry_run = true};
	struct cm_purge_result dry, real;
	struct cm_store_stats before, after;

	push(f, "main/a", data, 30000);
	put_manifest(f, "main/a", "t", &shared, 1, "", CM_TAG_ANY, NULL, &d);
	put_manifest(f, "pr-1/a", "t", pair, 2, "", CM_TAG_ANY, NULL, &d);
	put_manifest(f, "pr-1/a", "u", pair, 2, "", CM_TAG_ANY, NULL, &d);
	put_manifest(f, "pr-10/a", "t", &beside, 1, "", CM_TAG_ANY, NULL, &d);
	assert_ok(cm_store_flush(f->store, &f->err), &f->err);
	assert_ok(cm_store_stats(f->store, &before, &f->err), &f->err);
	assert_ok(cm_store_purge(f->store, &filter, &dry, &f->err), &f->err);
	assert_ok(cm_store_stats(f->store, &after, &f->err), &f->err);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(dry.tags, 2);
	assert_int_equal(dry.manifests, 1);
	assert_int_equal(dry.blobs, 2); /* the manifest, and its own layer */
	filter.dry_run = false;
	assert_ok(cm_store_purge(f->store, &filter, &real, &f->err), &f->err);
	assert_memory_equal(&dry, &real, sizeof(dry));
	assert_true(has(f, "main/a", &shared));
	assert_false(has(f, "pr-1/a", &own));
	assert_ok(cm_store_stats(f->store, &after, &f->err), &f->err);
	assert_int_equal(before.stored_bytes - after.stored_bytes, real.bytes);
	assert_int_equal(before.tags - after.tags, 2);
	assert_int_equal(files_in(f, "blobs"), 1);
	free(data);
}

static void test_store__purge_keeps_what_was_promised(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(30000, 1);
	struct cm_digest blob = push(f, "main/a", data, 30000), d;
	struct cm_purge_filter filter = {.repo = "main/a"};
	struct cm_purge_result result;

	put_manifest(f, "main/a", "t", &blob, 1, "", CM_TAG_ANY, NULL, &d);
	/* Another builder is told that it is there … */
	assert_true(has(f, "main/a", &blob));
	assert_ok(cm_store_purge(f->store, &filter, &result, &f->err), &f->err);
	sweep_all(f);
	/* … and may rely on it. */
	assert_ok(put_manifest(f, "main/a", "t", &blob, 1, "", CM_TAG_ANY, NULL,
			       &d),
		  &f->err);
	free(data);
}

/* ---- sweep -----------------------------------------------------------------
 */

static void test_store__sweep_waits_for_leases(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(60000, 2);
	struct cm_digest named, unnamed, d;

	store_reopen_with(f, 300, 0, 0);
	named = push(f, "main/a", data, 30000);
	unnamed = push(f, "main/a", data + 30000, 30000);
	put_manifest(f, "main/a", "t", &named, 1, "", CM_TAG_ANY, NULL, &d);
	assert_int_equal(sweep_all(f).blobs, 0);
	usleep(400 * 1000);
	assert_true(has(f, "main/a", &unnamed)); /* leased anew */
	assert_int_equal(sweep_all(f).blobs, 0);
	usleep(700 * 1000);
	assert_int_equal(sweep_all(f).blobs, 1);
	assert_false(has(f, "main/a", &unnamed));
	assert_true(has(f, "main/a", &named));
	assert_int_equal(files_in(f, "blobs"), 1);
	free(data);
}

static void test_store__sweep_honours_leases_of_a_crashed_run(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(30000, 2);
	struct cm_digest d = push(f, "main/a", data, 30000);

	store_reopen_with(f, 2000, 0, 0);
	assert_int_equal(sweep_all(f).blobs, 0);
	assert_true(has(f, "main/a", &d));
	free(data);
}

static void test_store__sweep_removes_replaced_snapshots(void **state)
{
	struct store_fixture *f = *state;
	struct cm_digest blobs[2], old, image, d;
	struct cm_stored_manifest m;

	store_reopen_with(f, 100, 0, 200);
	blobs[0] = push(f, "main/a", "one", 3);
	blobs[1] = push(f, "main/a", "two", 3);
	put_manifest(f, "main/a", "t", &blobs[0], 1, SNAPSHOT, CM_TAG_ANY, NULL,
		     &old);
	put_manifest(f, "main/a", "t", &blobs[1], 1, SNAPSHOT, CM_TAG_ANY, NULL,
		     &d);
	put_manifest(f, "main/a", NULL, &blobs[1], 1, "", CM_TAG_ANY, NULL,
		     &image);
	assert_int_equal(sweep_all(f).manifests, 0);
	usleep(400 * 1000);
	assert_int_equal(sweep_all(f).manifests, 1);
	assert_fails(cm_store_manifest_get(f->store, "main/a", NULL, &old,
					   false, &m, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	/* What is tagged stays, and so does an untagged image. */
	assert_ok(cm_store_manifest_get(f->store, "main/a", "t", NULL, false,
					&m, &f->err),
		  &f->err);
	cm_stored_manifest_release(&m);
	assert_ok(cm_store_manifest_get(f->store, "main/a", NULL, &image, false,
					&m, &f->err),
		  &f->err);
	cm_stored_manifest_release(&m);
}

static void test_store__sweep_removes_abandoned_uploads(void **state)
{
	struct store_fixture *f = *state;
	unsigned char *data = random_bytes(30000, 2);
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_upload *u;

	store_reopen_with(f, 0, 300, 0);
	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	usleep(400 * 1000);
	/* Somebody is at it: not abandoned. */
	assert_int_equal(sweep_all(f).uploads, 0);
	assert_ok(cm_upload_append(u, data, 30000, &f->err), &f->err);
	cm_upload_close(u);
	assert_int_equal(sweep_all(f).uploads, 0);
	usleep(500 * 1000);
	assert_int_equal(sweep_all(f).uploads, 1);
	assert_int_equal(files_in(f, "uploads"), 0);
	assert_fails(cm_upload_open(f->store, "main/a", id, &u, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	free(data);
}

/* ---- counters --------------------------------------------------------------
 */

static int read_counter(void *arg, const char *name, int64_t value)
{
	if (strcmp(name, "hits") == 0)
		*(int64_t *)arg = value;
	return 0;
}

static void test_store__counters_survive_a_restart(void **state)
{
	struct store_fixture *f = *state;
	int64_t hits = 0;

	cm_store_counter_add(f->store, "hits", 40);
	store_reopen(f);
	cm_store_counter_add(f->store, "hits", 2);
	assert_ok(cm_store_counters(f->store, read_counter, &hits, &f->err),
		  &f->err);
	assert_int_equal(hits, 42);
}

#define T(name)                                                                \
	cmocka_unit_test_setup_teardown(test_store__##name, store_setup,       \
					store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(manifest_and_tag),
		T(manifest_of_absent_blobs),
		T(conditions),
		T(listings),
		T(purge_counts_what_it_frees),
		T(purge_keeps_what_was_promised),
		T(sweep_waits_for_leases),
		T(sweep_honours_leases_of_a_crashed_run),
		T(sweep_removes_replaced_snapshots),
		T(sweep_removes_abandoned_uploads),
		T(counters_survive_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
