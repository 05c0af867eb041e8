/*
 * test_store_evict.c - limits: the order of eviction, watermarks, quotas, pins,
 * leases against eviction, and what counts.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

#include <cachemount/units.h>

#define LEASE_MS 150
#define SIZE	 100000 /* of an image's one layer */
#define IMAGES	 20
#define MIB	 (1 << 20)

/* ---- a clock that jumps (--wrap) ------------------------------------------
 */

static int64_t jump_ms;

int64_t __real_cm_now_ms(void);
int64_t __wrap_cm_now_ms(void);

int64_t __wrap_cm_now_ms(void)
{
	return __real_cm_now_ms() + jump_ms;
}

/* ---- helpers --------------------------------------------------------------
 */

static const char *tag_of(unsigned int i)
{
	static char tag[16];

	snprintf(tag, sizeof(tag), "t%02u", i);
	return tag;
}

/* An image of one layer, both its own. */
static void push_image(struct store_fixture *f, const char *repo,
		       const char *tag, unsigned int seed, size_t size)
{
	struct content c = content_noise(seed, size);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), seed, 0);

	assert_ok(store_push(f, repo, &c, NULL), &f->err);
	assert_ok(store_put(f, repo, tag, &m), &f->err);
	manifest_free(&m);
	content_free(&c);
}

static void push_images(struct store_fixture *f, const char *repo,
			unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		push_image(f, repo, tag_of(i), i, SIZE);
}

static bool pull(struct store_fixture *f, const char *repo, const char *tag)
{
	struct cm_stored_manifest got = {0};
	int r = cm_store_manifest_get(f->store, repo, tag, NULL, true, &got,
				      &f->err);

	assert_true(r == 0 || r == CM_ERR_NOT_FOUND);
	cm_stored_manifest_release(&got);
	return r == 0;
}

/* Asks without pulling. */
static bool tag_exists(struct store_fixture *f, const char *tag)
{
	char sql[128];

	snprintf(sql, sizeof(sql),
		 "SELECT count(*) FROM tags WHERE name = '%s'", tag);
	return store_sql(f, sql) > 0;
}

static struct cm_store_stats stats_of(struct store_fixture *f)
{
	struct cm_store_stats s;

	assert_ok(cm_store_stats(f->store, &s, &f->err), &f->err);
	return s;
}

/* A recount is no single look: first the eviction must have come to rest. */
static void assert_settled(struct store_fixture *f)
{
	struct cm_store_stats s = stats_of(f);
	int64_t blobs;
	int same = 0;

	for (int i = 0; same < 10 && i < 500; i++) {
		blobs = s.blobs + s.tags;
		usleep(10000);
		s = stats_of(f);
		same = s.blobs + s.tags == blobs ? same + 1 : 0;
	}
	assert_consistent(f);
}

static int add_counter(void *arg, const char *name, int64_t value)
{
	const char *wanted = *(const char **)arg;

	if (strcmp(name, wanted) == 0)
		((int64_t *)arg)[1] = value;
	return 0;
}

static int64_t counter(struct store_fixture *f, const char *name)
{
	struct {
		const char *name;
		int64_t value;
	} c = {name, 0};

	assert_ok(cm_store_counters(f->store, add_counter, &c, &f->err),
		  &f->err);
	return c.value;
}

/* Opens again with so many bytes as the limit, and lets it get below. */
static struct cm_store_stats shrink_to(struct store_fixture *f, int64_t bytes)
{
	struct cm_store_stats s;

	f->options.max_bytes = bytes;
	store_reopen(f);
	for (int i = 0; i < 3000; i++) {
		s = stats_of(f);
		if (s.used_bytes <= s.high_bytes || s.eviction_stuck)
			break;
		usleep(10000);
	}
	return s;
}

/* Those in `order` went from its front on, and nothing else. How many. */
static unsigned int assert_went_in_order(struct store_fixture *f,
					 const unsigned int *order,
					 unsigned int n)
{
	unsigned int gone = 0;

	while (gone < n && !tag_exists(f, tag_of(order[gone])))
		gone++;
	for (unsigned int i = gone; i < n; i++)
		if (!tag_exists(f, tag_of(order[i])))
			fail_msg("%u of the order went before %u", i, gone);
	return gone;
}

/* Disk blocks of the files below a folder of the store. */
static int64_t blocks_below(struct store_fixture *f, const char *folder)
{
	char command[160], line[64] = "";
	FILE *out;

	snprintf(command, sizeof(command),
		 "find '%s/%s' -type f -printf '%%k\\n' |"
		 " awk '{ n += $1 } END { print n * 1024 }'",
		 f->dir, folder);
	out = popen(command, "r");
	assert_non_null(out);
	assert_non_null(fgets(line, sizeof(line), out));
	pclose(out);
	return strtoll(line, NULL, 10);
}

/* ---- the order ------------------------------------------------------------
 */

static void shuffle(unsigned int *order, unsigned int n, unsigned int seed)
{
	for (unsigned int i = 0; i < n; i++)
		order[i] = i;
	for (unsigned int i = n - 1; i > 0; i--) {
		unsigned int j = (unsigned int)rand_r(&seed) % (i + 1);
		unsigned int t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
}

/* By last pull, whatever the order of pushes, and after a restart. */
static void test_store_evict__least_recently_pulled_first(void **state)
{
	struct store_fixture *f = *state;
	unsigned int order[IMAGES], gone;
	struct cm_store_stats s;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	shuffle(order, IMAGES, 1);
	for (unsigned int i = 0; i < IMAGES; i++)
		assert_true(pull(f, "main/a", tag_of(order[i])));
	usleep(LEASE_MS * 1500);
	s = shrink_to(f, 3 * MIB / 2);
	assert_true(s.used_bytes <= s.low_bytes);
	gone = assert_went_in_order(f, order, IMAGES);
	assert_in_range(gone, 5, IMAGES - 5);
	/* No more than must be: one less would have been too many. */
	assert_true(s.used_bytes + 2 * SIZE > s.low_bytes);
	assert_settled(f);
	/* They are counted once the files have gone. */
	for (int i = 0; i < 3000 && counter(f, "evicted_tags_size") < gone; i++)
		usleep(10000);
	assert_int_equal(counter(f, "evicted_tags_size"), gone);
	assert_int_equal(counter(f, "evicted_manifests_size"), gone);
	assert_int_equal(counter(f, "evicted_blobs_size"), 2 * gone);
	assert_true(counter(f, "evicted_bytes_size") > (int64_t)gone * SIZE);
	assert_int_equal(store_files(f), IMAGES - gone);
}

/* A child pulls, notes are flushed, and it is gone without closing. */
static void pull_and_die(struct store_fixture *f, const unsigned int *order)
{
	struct store_fixture child = {.options = f->options};
	int status = 0;
	pid_t pid;

	cm_store_close(f->store);
	f->store = NULL;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (cm_store_open(&child.options, &child.store, NULL) < 0)
			_exit(1);
		for (unsigned int i = 0; i < IMAGES; i++)
			pull(&child, "main/a", tag_of(order[i]));
		if (cm_store_flush(child.store, NULL) < 0)
			_exit(2);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* Until the eviction is through, which may be a while on a busy machine. */
static void wait_for_low(struct store_fixture *f)
{
	struct cm_store_stats st;

	for (int i = 0; i < 3000; i++) {
		assert_ok(cm_store_stats(f->store, &st, &f->err), &f->err);
		if (st.used_bytes <= st.low_bytes)
			return;
		usleep(10000);
	}
	fail_msg("%lld bytes are used", (long long)st.used_bytes);
}

static void test_store_evict__order_after_a_kill(void **state)
{
	struct store_fixture *f = *state;
	unsigned int order[IMAGES], gone;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	shuffle(order, IMAGES, 2);
	pull_and_die(f, order);
	f->options.max_bytes = 3 * MIB / 2;
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
	wait_for_low(f);
	gone = assert_went_in_order(f, order, IMAGES);
	assert_in_range(gone, 5, IMAGES - 5);
	/* What is used now comes behind all that was used before the kill. */
	for (unsigned int i = gone; i < IMAGES; i++)
		assert_true(pull(f, "main/a", tag_of(order[i])));
	push_image(f, "main/a", "new", 99, SIZE);
	assert_settled(f);
}

/* Years forth and back again between pulls: the order is that of the pulls. */
static void test_store_evict__clock_jumps(void **state)
{
	static const int64_t jumps[] = {0, 86400000LL * 900, -86400000LL * 900,
					5000, -1};
	struct store_fixture *f = *state;
	unsigned int order[IMAGES];
	struct cm_store_stats s;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	shuffle(order, IMAGES, 3);
	for (unsigned int i = 0; i < IMAGES; i++) {
		jump_ms = jumps[i % 5];
		assert_true(pull(f, "main/a", tag_of(order[i])));
		if (i % 3 == 0)
			assert_ok(cm_store_flush(f->store, &f->err), &f->err);
	}
	jump_ms = 0;
	usleep(LEASE_MS * 1500);
	s = shrink_to(f, 3 * MIB / 2);
	assert_true(s.used_bytes <= s.low_bytes);
	assert_in_range(assert_went_in_order(f, order, IMAGES), 5, IMAGES);
	assert_true(s.longest_idle_ms >= 0);
	assert_true(s.last_evicted_idle_ms >= 0);
}

/* A pull by digest is a use of the tags that name the manifest. */
static void test_store_evict__pulls_by_digest(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(0, SIZE);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 0, 0);
	struct cm_stored_manifest got = {0};

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	assert_ok(cm_store_manifest_get(f->store, "main/a", NULL, &m.digest,
					false, &got, &f->err),
		  &f->err);
	cm_stored_manifest_release(&got);
	usleep(LEASE_MS * 1500);
	shrink_to(f, 3 * MIB / 2);
	assert_true(tag_exists(f, tag_of(0)));
	assert_false(tag_exists(f, tag_of(1)));
	manifest_free(&m);
	content_free(&c);
}

/* Untagged manifests have their place in the order, too. */
static void test_store_evict__untagged_manifests(void **state)
{
	struct store_fixture *f = *state;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	/* t00 leaves its first image behind, last of all. */
	push_image(f, "main/a", tag_of(0), 50, SIZE);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM manifests"),
			 IMAGES + 1);
	usleep(LEASE_MS * 1500);
	shrink_to(f, 3 * MIB / 2);
	assert_false(tag_exists(f, tag_of(1)));
	assert_int_equal(store_sql(f, "SELECT count(*) FROM manifests"
				      " WHERE tags = 0"),
			 1);
	shrink_to(f, MIB / 2 + MIB / 8);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM manifests"
				      " WHERE tags = 0"),
			 1);
	for (unsigned int i = 1; i < IMAGES - 2; i++)
		assert_false(tag_exists(f, tag_of(i)));
	assert_settled(f);
}

/* ---- what must hold -------------------------------------------------------
 */

/* A manifest that was looked up is there until its lease ends, all of it. */
static void test_store_evict__leases(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(0, SIZE);

	push_images(f, "main/a", IMAGES);
	store_sql(f, "UPDATE tags SET used = 0 WHERE name = 't00'");
	store_sql(f, "UPDATE manifests SET used = 0");
	f->options.lease_ms = 1500;
	f->options.max_bytes = 3 * MIB;
	store_reopen(f);
	assert_true(pull(f, "main/a", "t00"));
	assert_ok(cm_store_flush(f->store, &f->err), &f->err);
	/* As old as can be, but leased. */
	store_sql(f, "UPDATE tags SET used = 0 WHERE name = 't00'");
	for (unsigned int i = 0; i < 12; i++)
		push_image(f, "main/b", tag_of(i), 100 + i, SIZE);
	for (int i = 0; i < 3000 && counter(f, "evicted_tags_size") == 0; i++)
		usleep(10000);
	assert_true(counter(f, "evicted_tags_size") > 0);
	assert_true(tag_exists(f, "t00"));
	assert_stored(f, "main/a", &c);
	assert_settled(f);
	content_free(&c);
}

/* ---- leases over a kill ----------------------------------------------------
 */

/* Two blobs that nothing names: a child asks for the first, and is killed. */
static void lease_and_die(struct store_fixture *f, const struct content *c)
{
	struct store_fixture child = {.options = f->options};
	int status = 0;
	pid_t pid;

	assert_ok(store_push(f, "main/l", &c[0], NULL), &f->err);
	assert_ok(store_push(f, "main/l", &c[1], NULL), &f->err);
	usleep(LEASE_MS * 1500);
	cm_store_close(f->store);
	f->store = NULL;
	/* From now on leases last. */
	f->options.lease_ms = child.options.lease_ms = 60000;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (cm_store_open(&child.options, &child.store, NULL) < 0 ||
		    store_stat(&child, "main/l", &c[0].digest, NULL) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* As if they had been unnamed for long. */
static void make_due(struct store_fixture *f)
{
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
	store_sql(f, "UPDATE repo_blobs SET since_ms = 0");
}

/* What was promised just before the kill is kept, and nothing else is. */
static void test_store_evict__leases_outlive_a_kill(void **state)
{
	struct store_fixture *f = *state;
	struct content c[2] = {content_noise(1, SIZE), content_noise(2, SIZE)};

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	lease_and_die(f, c);
	make_due(f);
	assert_int_equal(store_sweep(f).blobs, 1);
	assert_stored(f, "main/l", &c[0]);
	assert_absent(f, "main/l", &c[1].digest);
	content_free(&c[0]);
	content_free(&c[1]);
}

/* Leases of another boot, or a file that is none: then all is held. */
static void test_store_evict__leases_that_are_not_believed(void **state)
{
	static const struct {
		off_t offset; /* -1: cut off */
		const char *bytes;
	} spoils[] = {{-1, ""}, {0, "nothing"}, {8, "another-boot"}};
	struct store_fixture *f = *state;
	struct content c[2] = {content_noise(1, SIZE), content_noise(2, SIZE)};
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/leases", f->dir);
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		f->options.lease_ms = LEASE_MS;
		store_reopen(f);
		lease_and_die(f, c);
		fd = open(path, O_WRONLY);
		assert_true(fd >= 0);
		if (spoils[i].offset < 0)
			assert_int_equal(ftruncate(fd, 5000), 0);
		else
			assert_true(pwrite(fd, spoils[i].bytes,
					   strlen(spoils[i].bytes),
					   spoils[i].offset) > 0);
		close(fd);
		make_due(f);
		assert_int_equal(store_sweep(f).blobs, 0);
		assert_stored(f, "main/l", &c[1]);
		/* The next run believes what this one writes. */
		f->options.lease_ms = LEASE_MS;
	}
	content_free(&c[0]);
	content_free(&c[1]);
}

/* An index goes first, its children after it, never the other way round. */
static void test_store_evict__indexes(void **state)
{
	struct store_fixture *f = *state;
	struct test_manifest m[2], index;
	struct test_ref refs[2], one[1];
	struct content c[2];

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	for (unsigned int i = 0; i < 2; i++) {
		c[i] = content_noise(200 + i, SIZE);
		one[0] = (struct test_ref){c[i].digest, SIZE};
		m[i] = manifest_make(IMAGE, REFS(one), i, 0);
		assert_ok(store_push(f, "main/i", &c[i], NULL), &f->err);
		assert_ok(store_put(f, "main/i", NULL, &m[i]), &f->err);
		refs[i] = (struct test_ref){m[i].digest, (int64_t)m[i].len};
	}
	index = manifest_make(INDEX, REFS(refs), 9, 0);
	assert_ok(store_put(f, "main/i", "all", &index), &f->err);
	push_images(f, "main/a", 9);
	assert_true(pull(f, "main/i", "all"));
	usleep(LEASE_MS * 1500);
	shrink_to(f, MIB);
	/* Children are older than all, but the index holds them. */
	assert_true(tag_exists(f, "all"));
	assert_stored(f, "main/i", &c[0]);
	for (unsigned int i = 0; i < 9; i++)
		pull(f, "main/a", tag_of(i));
	usleep(LEASE_MS * 1500);
	shrink_to(f, 3 * MIB / 4);
	assert_false(tag_exists(f, "all"));
	assert_settled(f);
	for (unsigned int i = 0; i < 2; i++) {
		content_free(&c[i]);
		manifest_free(&m[i]);
	}
	manifest_free(&index);
}

/* What many names share goes with the last of them, and counts once. */
static void test_store_evict__shared_blobs(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 10 * SIZE);
	struct test_ref refs[] = {REF(&c)};

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	for (unsigned int i = 0; i < 10; i++) {
		struct test_manifest m = manifest_make(IMAGE, REFS(refs), i, 0);

		assert_ok(store_put(f, "main/a", tag_of(i), &m), &f->err);
		manifest_free(&m);
	}
	usleep(LEASE_MS * 1500);
	shrink_to(f, MIB);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM tags"), 0);
	assert_int_equal(store_files(f), 0);
	assert_settled(f);
	content_free(&c);
}

/* ---- pins and quotas ------------------------------------------------------
 */

static void test_store_evict__pins(void **state)
{
	struct store_fixture *f = *state;
	struct cm_store_stats s;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	push_image(f, "main/p", "x", 300, SIZE);
	assert_ok(cm_store_pin(f->store, "main/a", "t00", true, &f->err),
		  &f->err);
	assert_ok(cm_store_pin(f->store, "main/a", "t00", true, &f->err),
		  &f->err);
	assert_ok(cm_store_pin(f->store, "main/p", NULL, true, &f->err),
		  &f->err);
	push_image(f, "main/p", "y", 301, SIZE);
	assert_int_equal(stats_of(f).pinned_tags, 3);
	assert_fails(cm_store_pin(f->store, "main/a", "none", true, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_pin(f->store, "main/none", NULL, true, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	usleep(LEASE_MS * 1500);
	s = shrink_to(f, MIB);
	assert_true(tag_exists(f, "t00") && tag_exists(f, "x") &&
		    tag_exists(f, "y"));
	assert_false(tag_exists(f, "t01"));
	assert_true(s.pinned_bytes > 3 * SIZE);
	assert_settled(f);
	/* Moved, removed: the totals follow. */
	push_image(f, "main/p", "x", 302, 2 * SIZE);
	assert_settled(f);
	assert_ok(cm_store_tag_delete(f->store, "main/p", "y", &f->err),
		  &f->err);
	assert_settled(f);
	assert_ok(cm_store_pin(f->store, "main/p", NULL, false, &f->err),
		  &f->err);
	assert_ok(cm_store_pin(f->store, "main/a", "t00", false, &f->err),
		  &f->err);
	assert_int_equal(stats_of(f).pinned_tags, 0);
	assert_int_equal(stats_of(f).pinned_bytes, 0);
	assert_settled(f);
}

static void test_store_evict__pins_of_many_tags(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);
	char tag[16];

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	for (unsigned int i = 0; i < 450; i++) {
		snprintf(tag, sizeof(tag), "n%u", i);
		assert_ok(store_put(f, "main/a", tag, &m), &f->err);
	}
	assert_ok(cm_store_pin(f->store, "main/a", NULL, true, &f->err),
		  &f->err);
	assert_int_equal(stats_of(f).pinned_tags, 450);
	assert_ok(cm_store_pin(f->store, "main/a", "n7", true, &f->err),
		  &f->err);
	assert_ok(cm_store_pin(f->store, "main/a", NULL, false, &f->err),
		  &f->err);
	assert_int_equal(stats_of(f).pinned_tags, 1);
	assert_settled(f);
	manifest_free(&m);
	content_free(&c);
}

static int64_t scope_bytes(struct store_fixture *f, const char *scope)
{
	char sql[160];

	snprintf(sql, sizeof(sql), "SELECT bytes FROM scopes WHERE name = '%s'",
		 scope);
	return store_sql(f, sql);
}

/* One scope's overflow is its own: no other loses anything. */
static void test_store_evict__quotas(void **state)
{
	static const struct cm_quota quotas[] = {{"pr-1", 10 * SIZE},
						 {"pr-2", 5 * SIZE}};
	struct store_fixture *f = *state;

	f->options.lease_ms = LEASE_MS;
	f->options.quotas = quotas;
	f->options.quotas_len = 2;
	store_reopen(f);
	push_images(f, "main/a", 10);
	for (unsigned int i = 0; i < 4; i++)
		push_image(f, "pr-2/x", tag_of(i + 40), 400 + i, SIZE);
	for (unsigned int i = 0; i < 40; i++)
		push_image(f, i % 2 ? "pr-1/x" : "pr-1", tag_of(50), 500 + i,
			   SIZE);
	for (int i = 0; i < 3000 && scope_bytes(f, "pr-1") > 9.5 * SIZE; i++)
		usleep(10000);
	assert_true(scope_bytes(f, "pr-1") <= 9.5 * SIZE);
	assert_true(scope_bytes(f, "pr-1") > 7 * SIZE);
	assert_true(tag_exists(f, tag_of(50)));
	for (unsigned int i = 0; i < 10; i++)
		assert_true(tag_exists(f, tag_of(i)));
	for (unsigned int i = 0; i < 4; i++)
		assert_true(tag_exists(f, tag_of(i + 40)));
	assert_true(counter(f, "evicted_manifests_quota") > 0);
	assert_int_equal(counter(f, "evicted_manifests_size"), 0);
	assert_settled(f);
}

/* What is larger than what its scope may hold is refused, and tells of it. */
static void test_store_evict__a_full_quota(void **state)
{
	static const struct cm_quota quotas[] = {{"pr-1", 3 * SIZE}};
	struct store_fixture *f = *state;
	struct content large = content_noise(1, 4 * SIZE);
	struct content half = content_noise(2, 2 * SIZE);

	f->options.lease_ms = LEASE_MS;
	f->options.quotas = quotas;
	f->options.quotas_len = 1;
	store_reopen(f);
	assert_fails(store_push(f, "pr-1/x", &large, NULL), CM_ERR_NO_SPACE,
		     &f->err);
	assert_non_null(strstr(f->err.text, "pr-1"));
	assert_non_null(strstr(f->err.text, "quota"));
	assert_ok(store_push(f, "main/x", &large, NULL), &f->err);
	assert_fails(cm_store_blob_mount(f->store, "main/x", "pr-1/x",
					 &large.digest, NULL, NULL, &f->err),
		     CM_ERR_NO_SPACE, &f->err);
	/* A blob of most of the quota pushes out what is there. */
	push_image(f, "pr-1/x", "a", 3, SIZE);
	push_image(f, "pr-1/x", "b", 4, SIZE / 2);
	assert_ok(store_push(f, "pr-1/x", &half, NULL), &f->err);
	assert_false(tag_exists(f, "a"));
	assert_int_equal(store_sql(f, "SELECT count(*) FROM blobs"),
			 store_sql(f, "SELECT count(*) FROM repo_blobs"));
	assert_settled(f);
	/* Without the quota in the next run, there is none. */
	f->options.quotas_len = 0;
	store_reopen(f);
	assert_ok(store_push(f, "pr-1/x", &large, NULL), &f->err);
	content_free(&large);
	content_free(&half);
}

/* ---- the limit ------------------------------------------------------------
 */

static void test_store_evict__watermarks(void **state)
{
	struct store_fixture *f = *state;
	struct cm_store_stats s = stats_of(f);

	assert_int_equal(s.limit_bytes, 0);
	assert_int_equal(s.high_bytes, 0);
	s = shrink_to(f, 1000000000007);
	assert_int_equal(s.limit_bytes, 1000000000007);
	assert_int_equal(s.high_bytes, 950000000006);
	assert_int_equal(s.low_bytes, 900000000006);
	f->options.high_percent = 80;
	f->options.low_percent = 70;
	s = shrink_to(f, INT64_MAX);
	assert_true(s.high_bytes > INT64_MAX / 10 * 7);
	assert_true(s.low_bytes < s.high_bytes);
	s = shrink_to(f, CM_MAX_BYTES_AUTO);
	assert_true(s.limit_bytes > MIB);
}

/* With nothing to evict, what comes is refused; then there is room again. */
static void test_store_evict__the_hard_limit(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1000, 10 * SIZE);
	struct cm_store_stats s;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", 15);
	assert_ok(cm_store_pin(f->store, "main/a", NULL, true, &f->err),
		  &f->err);
	usleep(LEASE_MS * 1500);
	s = shrink_to(f, 2 * MIB);
	assert_fails(store_push(f, "main/b", &c, NULL), CM_ERR_NO_SPACE,
		     &f->err);
	assert_non_null(strstr(f->err.text, "2.0 MiB"));
	assert_non_null(strstr(f->err.text, "--max-size"));
	s = stats_of(f);
	assert_int_equal(s.upload_bytes, 0);
	assert_int_equal(s.tags, 15);
	assert_ok(cm_store_pin(f->store, "main/a", NULL, false, &f->err),
		  &f->err);
	/* The upload, as it grows, pushes out what it needs. */
	for (int i = 0; i < 3000; i++) {
		if (store_push(f, "main/b", &c, NULL) == 0)
			break;
		usleep(100000);
	}
	assert_stored(f, "main/b", &c);
	s = stats_of(f);
	assert_true(s.used_bytes <= s.limit_bytes);
	assert_true(s.tags < 15);
	assert_settled(f);
	content_free(&c);
}

/* The limit below what is stored, even below what is pinned. */
static void test_store_evict__a_limit_below_the_pins(void **state)
{
	struct store_fixture *f = *state;
	struct cm_store_stats s;
	char id[CM_UPLOAD_ID_SIZE];

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", 15);
	push_image(f, "main/b", "x", 77, SIZE);
	assert_ok(cm_store_pin(f->store, "main/a", NULL, true, &f->err),
		  &f->err);
	usleep(LEASE_MS * 1500);
	s = shrink_to(f, MIB);
	for (int i = 0; i < 3000 && !s.eviction_stuck; i++) {
		usleep(10000);
		s = stats_of(f);
	}
	assert_true(s.eviction_stuck);
	assert_true(s.pinned_bytes > s.low_bytes);
	assert_int_equal(s.tags, 15);
	assert_true(pull(f, "main/a", "t03"));
	assert_fails(cm_upload_begin(f->store, "main/b", id, &f->err),
		     CM_ERR_NO_SPACE, &f->err);
	/* By itself, once it may. */
	assert_ok(cm_store_pin(f->store, "main/a", NULL, false, &f->err),
		  &f->err);
	for (int i = 0; i < 1500 && s.used_bytes > s.low_bytes; i++) {
		usleep(10000);
		s = stats_of(f);
	}
	assert_true(s.used_bytes <= s.low_bytes);
	assert_ok(cm_upload_begin(f->store, "main/b", id, &f->err), &f->err);
}

/* Uploads count while they are written, and what counts is what is there. */
static void test_store_evict__uploads_count(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 4 * SIZE);
	char id[CM_UPLOAD_ID_SIZE];
	struct cm_upload *u;
	struct cm_blob_info info;
	struct cm_store_stats s;

	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_ok(cm_upload_append(u, c.data, c.len / 2, &f->err), &f->err);
	assert_int_equal(stats_of(f).upload_bytes, c.len / 2);
	assert_ok(cm_upload_sync(u, &f->err), &f->err);
	cm_upload_close(u);
	store_reopen(f);
	assert_int_equal(stats_of(f).upload_bytes, c.len / 2);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_ok(cm_upload_append(u, c.data + c.len / 2, c.len / 2, &f->err),
		  &f->err);
	assert_int_equal(stats_of(f).upload_bytes, c.len);
	assert_ok(cm_upload_commit(u, &c.digest, &info, &f->err), &f->err);
	cm_upload_close(u);
	s = stats_of(f);
	assert_int_equal(s.upload_bytes, 0);
	assert_int_equal(s.file_bytes, blocks_below(f, "blobs"));
	/* Given up: cancelled, and wrong bytes. */
	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_ok(cm_upload_append(u, c.data, c.len - 1, &f->err), &f->err);
	cm_upload_close(u);
	assert_int_equal(stats_of(f).upload_bytes, c.len - 1);
	assert_ok(cm_upload_cancel(f->store, "main/a", id, &f->err), &f->err);
	assert_int_equal(stats_of(f).upload_bytes, 0);
	assert_ok(cm_upload_open_single(f->store, "main/a", &u, &f->err),
		  &f->err);
	assert_ok(cm_upload_append(u, c.data, c.len - 1, &f->err), &f->err);
	assert_fails(cm_upload_commit(u, &c.digest, &info, &f->err),
		     CM_ERR_DIGEST, &f->err);
	cm_upload_close(u);
	assert_int_equal(stats_of(f).upload_bytes, 0);
	content_free(&c);
}

/* Text is compressed, frames are decoded: the files are what is counted. */
static void test_store_evict__files_count_in_blocks(void **state)
{
	struct store_fixture *f = *state;
	struct cm_store_stats s;

	for (unsigned int i = 0; i < 8; i++) {
		struct content c = i % 2 ? content_text(i, 50000 + 7777 * i)
					 : content_noise(i, 17000 + 999 * i);
		size_t len;
		void *frame = content_frame(&c, 0, &len);

		if (i % 4 < 2)
			assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
		else
			assert_ok(store_push_frame(f, "main/a", &c.digest,
						   frame, len, NULL),
				  &f->err);
		free(frame);
		content_free(&c);
	}
	s = stats_of(f);
	assert_int_equal(s.upload_bytes, 0);
	assert_int_equal(s.file_bytes, blocks_below(f, "blobs"));
	assert_int_equal(s.used_bytes, s.file_bytes + s.index_bytes);
	assert_settled(f);
}

/* ---- in pieces ------------------------------------------------------------
 */

/* A manifest of very many parts goes in more than one transaction. */
static void test_store_evict__large_manifests(void **state)
{
	struct store_fixture *f = *state;
	static struct test_ref refs[1300];
	struct test_manifest m;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	for (unsigned int i = 0; i < 1300; i++) {
		struct content c = content_noise(i, 600);

		assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
		refs[i] = REF(&c);
		content_free(&c);
	}
	m = manifest_make(SNAPSHOT, refs, 1300, 1, 0);
	assert_ok(store_put(f, "main/a", "large", &m), &f->err);
	usleep(LEASE_MS * 1500);
	shrink_to(f, MIB);
	/* It stops when there is room; the sweep does the rest. */
	store_sweep(f);
	assert_no_tag(f, "main/a", "large");
	assert_int_equal(store_sql(f, "SELECT count(*) FROM blobs"), 0);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM dying"), 0);
	assert_settled(f);
	manifest_free(&m);
}

/* One that is put again before all its parts were let go. */
static void test_store_evict__put_while_it_goes(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, SIZE);
	struct test_ref refs[] = {REF(&c)};
	struct test_manifest m = manifest_make(IMAGE, REFS(refs), 1, 0);

	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	/* As a crash in the middle of its eviction leaves it. */
	store_sql(f, "INSERT INTO dying SELECT repo_id, digest FROM manifests");
	store_sql(f, "UPDATE repo_blobs SET refs = 0, since_ms = 0 WHERE digest"
		     " IN (SELECT digest FROM manifests)");
	store_sql(f, "DELETE FROM manifests");
	store_sql(f, "DELETE FROM tags");
	store_sql(f, "UPDATE repositories SET manifests = 0");
	store_sql(f, "UPDATE totals SET value = 0 WHERE name IN"
		     " ('tags', 'manifests', 'repositories')");
	store_reopen(f);
	assert_settled(f);
	assert_ok(store_put(f, "main/a", "t", &m), &f->err);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM dying"), 0);
	assert_tagged(f, "main/a", "t", &m);
	assert_settled(f);
	manifest_free(&m);
	content_free(&c);
}

/* ---- what is remembered, and gc -------------------------------------------
 */

static void test_store_evict__ghosts(void **state)
{
	struct store_fixture *f = *state;

	f->options.lease_ms = LEASE_MS;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	usleep(LEASE_MS * 1500);
	shrink_to(f, 3 * MIB / 2);
	assert_false(pull(f, "main/a", tag_of(0)));
	assert_false(pull(f, "main/a", "never"));
	assert_int_equal(counter(f, "ghost_hits"), 1);
	assert_in_range(counter(f, "ghost_bytes"), SIZE, SIZE + 1000);
	/* There again, gone again by a deletion: no ghost. */
	push_image(f, "main/a", tag_of(0), 0, SIZE);
	assert_ok(cm_store_tag_delete(f->store, "main/a", tag_of(0), &f->err),
		  &f->err);
	assert_false(pull(f, "main/a", tag_of(0)));
	assert_int_equal(counter(f, "ghost_hits"), 1);
}

static void test_store_evict__gc(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1000, SIZE);
	struct cm_gc_result r;
	struct cm_store_stats s;

	f->options.lease_ms = LEASE_MS;
	f->options.high_percent = 99;
	f->options.low_percent = 50;
	f->options.max_bytes = 3 * MIB;
	store_reopen(f);
	push_images(f, "main/a", IMAGES);
	assert_ok(store_push(f, "main/a", &c, NULL), &f->err);
	usleep(LEASE_MS * 1500);
	s = stats_of(f);
	assert_true(s.used_bytes > s.low_bytes);
	assert_ok(cm_store_gc(f->store, &r, &f->err), &f->err);
	assert_int_equal(r.swept.blobs, 1);
	assert_int_equal(r.swept.bytes, SIZE);
	assert_in_range(r.evicted.tags, 3, IMAGES);
	assert_true(r.evicted.bytes >= r.evicted.tags * SIZE);
	assert_false(r.more);
	s = stats_of(f);
	assert_true(s.used_bytes <= s.low_bytes);
	assert_int_equal(s.tags, IMAGES - r.evicted.tags);
	assert_ok(cm_store_gc(f->store, &r, &f->err), &f->err);
	assert_int_equal(r.evicted.tags + r.swept.blobs, 0);
	assert_settled(f);
	content_free(&c);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_evict__##name, store_setup, \
					store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(least_recently_pulled_first),
		CASE(order_after_a_kill),
		CASE(clock_jumps),
		CASE(pulls_by_digest),
		CASE(untagged_manifests),
		CASE(leases),
		CASE(leases_outlive_a_kill),
		CASE(leases_that_are_not_believed),
		CASE(indexes),
		CASE(shared_blobs),
		CASE(pins),
		CASE(pins_of_many_tags),
		CASE(quotas),
		CASE(a_full_quota),
		CASE(watermarks),
		CASE(the_hard_limit),
		CASE(a_limit_below_the_pins),
		CASE(uploads_count),
		CASE(files_count_in_blocks),
		CASE(large_manifests),
		CASE(put_while_it_goes),
		CASE(ghosts),
		CASE(gc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
