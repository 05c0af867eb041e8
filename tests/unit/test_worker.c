/* test_worker.c - the pool: bounded, complete, and ended in time. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "worker.h"

static _Atomic int done;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void quick(void *arg)
{
	(void)arg;
	atomic_fetch_add(&done, 1);
}

static void gated(void *arg)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	quick(arg);
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&done, 0);
	return 0;
}

static void test_workers__run_all(void **state)
{
	struct cm_workers *w = NULL;
	struct cm_error err = {0};
	int sent = 0;

	(void)state;
	assert_ok(cm_workers_new(4, 8, &w, &err), &err);
	while (sent < 1000)
		if (cm_workers_submit(w, quick, NULL, &err) == 0)
			sent++;
	assert_true(cm_workers_stop(w, 5000));
	assert_int_equal(atomic_load(&done), 1000);
	assert_fails(cm_workers_submit(w, quick, NULL, &err),
		     CM_ERR_UNAVAILABLE, &err);
	cm_workers_free(w);
}

static void test_workers__queue_is_bounded(void **state)
{
	struct cm_workers *w = NULL;
	struct cm_error err = {0};
	int accepted = 0;

	(void)state;
	pthread_mutex_lock(&gate);
	assert_ok(cm_workers_new(1, 4, &w, &err), &err);
	for (int i = 0; i < 20; i++)
		accepted += cm_workers_submit(w, gated, NULL, &err) == 0;
	/* Four wait; one more if the thread has taken its job already. */
	assert_in_range(accepted, 4, 5);
	assert_int_equal(err.status, CM_ERR_BUSY);
	assert_false(cm_workers_stop(w, 20));
	pthread_mutex_unlock(&gate);
	assert_true(cm_workers_stop(w, 5000));
	assert_int_equal(atomic_load(&done), accepted);
	cm_workers_free(w);
	cm_workers_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_workers__run_all, setup),
		cmocka_unit_test_setup(test_workers__queue_is_bounded, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
