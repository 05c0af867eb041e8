/* test_care.c - the threads that scrub and back up, over a real store. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cachemount/care.h>
#include <cachemount/units.h>

#include "care.h"
#include "store_fixture.h"

#define REPO  "main/a"
#define BLOBS 60

static void push_blobs(struct store_fixture *f)
{
	for (unsigned int i = 0; i < BLOBS; i++) {
		struct content c = content_noise(i, 500 + i);

		assert_ok(store_push(f, REPO, &c, NULL), &f->err);
		content_free(&c);
	}
}

static struct cm_care *start(struct store_fixture *f, int64_t scrub_rate,
			     int64_t backup_every_ms)
{
	struct cm_care_options o = {
		.store = f->store,
		.scrub_rate = scrub_rate,
		.scrub_every_ms = 3600 * 1000,
		.backup_every_ms = backup_every_ms,
		.backup_keep = 1,
	};
	struct cm_care *c = NULL;

	assert_ok(cm_care_start(&o, &c, &f->err), &f->err);
	return c;
}

struct wanted {
	const char *name;
	int64_t value;
};

static int take_counter(void *arg, const char *name, int64_t value)
{
	struct wanted *w = arg;

	if (strcmp(name, w->name) == 0)
		w->value = value;
	return 0;
}

static int64_t counter(struct store_fixture *f, const char *name)
{
	struct wanted w = {.name = name};

	cm_store_counters(f->store, take_counter, &w, NULL);
	return w.value;
}

static bool await(struct store_fixture *f, const char *name, int64_t value)
{
	for (int i = 0; i < 1000 && counter(f, name) < value; i++)
		usleep(10000);
	return counter(f, name) >= value;
}

static void test_care__scrub_holds_to_its_rate(void **state)
{
	struct store_fixture *f = *state;
	int64_t began = cm_monotonic_ms(), took;
	struct cm_care *c;

	push_blobs(f);
	/* Each blob counts as 16 KiB at least: about a second for all. */
	began = cm_monotonic_ms();
	c = start(f, BLOBS * (16 << 10), 0);
	assert_true(await(f, "scrub_rounds", 1));
	took = cm_monotonic_ms() - began;
	assert_true(took >= 800);
	assert_int_equal(counter(f, "scrub_blobs"), BLOBS);
	assert_int_equal(counter(f, "scrub_damaged"), 0);
	assert_true(cm_care_stop(c));
}

/* However slow the rate is. */
static void test_care__stops_at_once(void **state)
{
	struct store_fixture *f = *state;
	struct cm_care *c;
	int64_t began;

	push_blobs(f);
	c = start(f, 1, 0);
	usleep(200000);
	began = cm_monotonic_ms();
	assert_true(cm_care_stop(c));
	assert_true(cm_monotonic_ms() - began < 2000);
	assert_true(counter(f, "scrub_blobs") < BLOBS);
}

static void test_care__no_scrub_at_rate_0(void **state)
{
	struct store_fixture *f = *state;
	struct cm_scrub_status status;
	struct cm_care *c;

	push_blobs(f);
	c = start(f, 0, 0);
	usleep(200000);
	assert_true(cm_care_stop(c));
	assert_ok(cm_store_scrub_status(f->store, &status, &f->err), &f->err);
	assert_int_equal(status.began_ms, 0);
	assert_int_equal(counter(f, "scrub_blobs"), 0);
}

static void test_care__backups_when_due_and_when_asked_for(void **state)
{
	struct store_fixture *f = *state;
	struct cm_backup_status status;
	struct cm_care *c;

	push_blobs(f);
	c = start(f, 0, 0);
	cm_store_backup_request(f->store);
	assert_true(await(f, "backups", 1));
	assert_true(cm_care_stop(c));
	c = start(f, 0, 1);
	assert_true(await(f, "backups", 3));
	assert_true(cm_care_stop(c));
	assert_ok(cm_store_backup_status(f->store, &status, &f->err), &f->err);
	assert_int_equal(status.count, 1);
}

static void test_care__due_whatever_the_clock_does(void **state)
{
	struct cm_backup_status s = {.count = 0};

	(void)state;
	assert_true(cm_care_backup_due(&s, 1000, 5000));
	s.count = 1;
	s.made_ms = 5000;
	assert_false(cm_care_backup_due(&s, 1000, 5000));
	assert_false(cm_care_backup_due(&s, 1000, 5999));
	assert_true(cm_care_backup_due(&s, 1000, 6000));
	assert_true(cm_care_backup_due(&s, 1000, 4999));
	assert_true(cm_care_backup_due(&s, INT64_MAX, 4999));
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_care__##name, store_setup,        \
					store_teardown)
	const struct CMUnitTest tests[] = {
		CASE(scrub_holds_to_its_rate),
		CASE(stops_at_once),
		CASE(no_scrub_at_rate_0),
		CASE(backups_when_due_and_when_asked_for),
		cmocka_unit_test(test_care__due_whatever_the_clock_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
