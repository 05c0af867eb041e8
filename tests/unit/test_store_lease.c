/*
 * test_store_lease.c - the table of leases by itself: more of them than it
 * holds, and what is told to those who evict and to those who look up.
 */
#include <stdio.h>
#include <string.h>

#include "test.h"

#include <cachemount/digest.h>

#include "lease.h"

#define LEASE_MS 10000
#define NOW	 1000000
#define MANY	 400000 /* the table has 256 Ki places */

static struct cm_digest digest_of(unsigned int n)
{
	struct cm_digest d;

	assert_int_equal(cm_digest_of(&n, sizeof(n), &d, NULL), 0);
	return d;
}

static int setup(void **state)
{
	struct cm_leases *l = NULL;

	assert_int_equal(cm_leases_new(LEASE_MS, -1, &l, NULL), 0);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	cm_leases_free(*state);
	return 0;
}

static void test_store_lease__ends_with_the_last_promise(void **state)
{
	struct cm_leases *l = *state;
	struct cm_digest d = digest_of(1);

	assert_false(cm_lease_held(l, 1, &d, NOW));
	cm_lease_take(l, 1, &d, NOW);
	cm_lease_take(l, 1, &d, NOW + 1);
	assert_true(cm_lease_held(l, 1, &d, NOW));
	assert_false(cm_lease_held(l, 2, &d, NOW));
	cm_lease_drop(l, 1, &d);
	assert_true(cm_lease_held(l, 1, &d, NOW));
	cm_lease_drop(l, 1, &d);
	assert_false(cm_lease_held(l, 1, &d, NOW));
	cm_lease_take(l, 1, &d, NOW);
	assert_true(cm_lease_held(l, 1, &d, NOW + LEASE_MS));
	assert_false(cm_lease_held(l, 1, &d, NOW + LEASE_MS + 1));
}

/* None is forgotten; some that nobody asked for count as leased, not all. */
static void test_store_lease__more_than_the_table_holds(void **state)
{
	struct cm_leases *l = *state;
	unsigned int strangers = 0;
	struct cm_digest d;

	for (unsigned int i = 0; i < MANY; i++) {
		d = digest_of(i);
		cm_lease_take(l, 1, &d, NOW);
	}
	for (unsigned int i = 0; i < MANY; i++) {
		d = digest_of(i);
		if (!cm_lease_held(l, 1, &d, NOW + LEASE_MS - 1000))
			fail_msg("lease %u is forgotten", i);
	}
	for (unsigned int i = MANY; i < 2 * MANY; i++) {
		d = digest_of(i);
		strangers += cm_lease_held(l, 1, &d, NOW);
	}
	assert_in_range(strangers, 0, MANY / 20);
	d = digest_of(3);
	assert_false(cm_lease_held(l, 1, &d, NOW + LEASE_MS + 2000));
}

static void test_store_lease__condemned_or_leased(void **state)
{
	struct cm_leases *l = *state;
	struct cm_digest a = digest_of(1), b = digest_of(2);
	uint64_t generation = cm_leases_generation(l);

	cm_lease_take(l, 1, &a, NOW);
	assert_false(cm_lease_condemn(l, 1, &a, NOW));
	assert_true(cm_lease_condemn(l, 1, &b, NOW));
	assert_false(cm_lease_condemned(l, 1, &a));
	assert_true(cm_lease_condemned(l, 1, &b));
	assert_false(cm_lease_condemned(l, 2, &b));
	/* A lookup that comes too late finds the mark. */
	cm_lease_take(l, 1, &b, NOW);
	assert_true(cm_lease_condemned(l, 1, &b));
	assert_int_equal(cm_leases_generation(l), generation);
	cm_leases_spare(l);
	assert_false(cm_lease_condemned(l, 1, &b));
	assert_int_not_equal(cm_leases_generation(l), generation);
	cm_leases_hold_all(l, NOW + 5);
	cm_lease_drop(l, 1, &b);
	assert_false(cm_lease_condemn(l, 1, &b, NOW));
	assert_true(cm_lease_condemn(l, 1, &b, NOW + 5));
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_lease__##name, setup,       \
					teardown)
	static const struct CMUnitTest tests[] = {
		CASE(ends_with_the_last_promise),
		CASE(more_than_the_table_holds),
		CASE(condemned_or_leased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
