/* test_metrics.c - counts are exactly what happened, and stay few. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "store_fixture.h"

#include "metrics.h"
#include "metrics_scopes.h"
#include "router.h"

#define THREADS	 4
#define REQUESTS 5000

static const struct cm_handler handler;

static const struct cm_route routes[] = {
	{"GET", "/v2/{name}/blobs/{digest}", CM_PERM_PULL, &handler},
	{"PUT", "/v2/{name}/manifests/{reference}", CM_PERM_PUSH, &handler},
};

static const struct cm_face face = {
	.name = "face",
	.prefix = "/v2/",
	.routes = routes,
	.routes_len = 2,
};

static const struct cm_face *const faces[] = {&face};

static struct fixture {
	struct cm_router *router;
	struct cm_metrics *metrics;
	struct cm_metrics_copy *copy;
	struct cm_error err;
} fixture;

static int setup(void **state)
{
	struct fixture *f = *state = &fixture;

	*f = (struct fixture){0};
	return cm_router_new(faces, 1, &f->router, &f->err) < 0 ||
			       cm_metrics_new(f->router, &f->metrics, &f->err) <
				       0
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->copy);
	cm_metrics_free(f->metrics);
	cm_router_free(f->router);
	return 0;
}

/* A GET of a blob that took a millisecond. */
static struct cm_observation observation(const char *repo, int64_t hits,
					 int64_t misses)
{
	return (struct cm_observation){
		.matched = true,
		.delivered = true,
		.status = hits > 0 ? 200 : 404,
		.repo = repo,
		.kind = CM_KIND_BLOB,
		.duration_us = 1000,
		.usage = {.hits = hits, .misses = misses, .sent_bytes = 10},
	};
}

static void observe(struct fixture *f, const char *repo, int64_t hits,
		    int64_t misses)
{
	struct cm_observation o = observation(repo, hits, misses);

	cm_metrics_observe(f->metrics, &o);
}

/* The sums, anew; borrowed from the fixture. */
static const struct cm_metrics_copy *sums(struct fixture *f)
{
	free(f->copy);
	assert_ok(cm_metrics_copy(f->metrics, &f->copy, &f->err), &f->err);
	return f->copy;
}

/* A scope's row; an empty one if it has none. */
static const struct cm_scope *scope(const struct cm_metrics_copy *c,
				    const char *name)
{
	static const struct cm_scope none;

	for (size_t i = 0; i < c->scopes_len; i++)
		if (strcmp(c->scopes[i].name, name) == 0)
			return &c->scopes[i];
	return &none;
}

static void test_metrics__buckets(void **state)
{
	(void)state;
	assert_int_equal(cm_duration_bucket(0), 0);
	assert_int_equal(cm_duration_bucket(500), 0);
	assert_int_equal(cm_duration_bucket(501), 1);
	assert_int_equal(cm_duration_bucket(320000000), CM_DURATIONS_LEN - 1);
	assert_int_equal(cm_duration_bucket(320000001), CM_DURATIONS_LEN);
	assert_int_equal(cm_duration_bucket(INT64_MAX), CM_DURATIONS_LEN);
	for (size_t i = 1; i < CM_DURATIONS_LEN; i++)
		assert_true(cm_durations_us[i - 1] < cm_durations_us[i]);
}

static void test_metrics__routes(void **state)
{
	struct fixture *f = *state;
	struct cm_observation o = observation("main/a", 1, 0);
	const struct cm_metrics_copy *c;

	cm_metrics_observe(f->metrics, &o);
	o.head = true;
	o.duration_us = 400000000;
	cm_metrics_observe(f->metrics, &o);
	o.head = false;
	o.row = 1;
	o.status = 503;
	cm_metrics_observe(f->metrics, &o);
	o.matched = false;
	o.status = 0;
	cm_metrics_observe(f->metrics, &o);
	c = sums(f);
	assert_int_equal(c->routes_len, 5);
	assert_int_equal(c->routes[0].statuses[2], 1);
	assert_int_equal(c->routes[0].durations[1], 1);
	assert_int_equal(c->routes[0].sum_us, 1000);
	assert_int_equal(c->routes[1].durations[CM_DURATIONS_LEN], 1);
	assert_int_equal(c->routes[2].statuses[5], 1);
	assert_int_equal(c->routes[3].sum_us, 0);
	assert_int_equal(c->routes[4].statuses[0], 1);
	assert_int_equal(c->denied[CM_DENIED_BUSY], 1);
}

static void test_metrics__totals(void **state)
{
	struct fixture *f = *state;
	struct cm_observation o = observation("main/a", 1, 0);
	struct cm_request_totals t;

	cm_metrics_observe(f->metrics, &o);
	observe(f, "main/a", 0, 1);
	/* A question before an upload says nothing of the hit rate. */
	o.kind = CM_KIND_UPLOAD;
	o.usage = (struct cm_usage){.hits = 5, .misses = 7};
	cm_metrics_observe(f->metrics, &o);
	o.usage = (struct cm_usage){.received_bytes = 100};
	o.delivered = false;
	o.status = 507;
	cm_metrics_observe(f->metrics, &o);
	/* A probe counts in its route alone. */
	o.probe = true;
	cm_metrics_observe(f->metrics, &o);
	cm_metrics_take(f->metrics, &t);
	assert_int_equal(t.requests, 4);
	assert_int_equal(t.hits, 1);
	assert_int_equal(t.misses, 1);
	assert_int_equal(t.failed, 1);
	assert_int_equal(t.aborted, 1);
	assert_int_equal(t.sent_bytes, 20);
	assert_int_equal(t.received_bytes, 100);
	assert_int_equal(sums(f)->denied[CM_DENIED_NO_SPACE], 1);
	cm_metrics_take(f->metrics, &t);
	assert_int_equal(t.requests, 0);
	cm_metrics_totals(f->metrics, &t);
	assert_int_equal(t.requests, 4);
}

static void test_metrics__denials(void **state)
{
	static const struct {
		int status;
		enum cm_denial reason;
	} rows[] = {
		{401, CM_DENIED_UNAUTHENTICATED},
		{403, CM_DENIED_FORBIDDEN},
		{413, CM_DENIED_TOO_LARGE},
		{429, CM_DENIED_BUSY},
		{503, CM_DENIED_BUSY},
		{507, CM_DENIED_NO_SPACE},
	};
	int64_t wanted[CM_DENIALS_LEN] = {0};
	struct fixture *f = *state;
	struct cm_observation o = observation("main/a", 0, 0);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		o.status = rows[i].status;
		cm_metrics_observe(f->metrics, &o);
		wanted[rows[i].reason]++;
	}
	o.status = 404;
	cm_metrics_observe(f->metrics, &o);
	assert_memory_equal(sums(f)->denied, wanted, sizeof(wanted));
}

static void *hammer(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < REQUESTS; i++)
		observe(f, i % 2 ? "main/a" : "pr-1/b", 1, 2);
	return NULL;
}

static void test_metrics__nothing_is_lost_between_threads(void **state)
{
	struct fixture *f = *state;
	const struct cm_metrics_copy *c;
	struct cm_request_totals t;
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, f),
				 0);
	for (size_t i = 0; i < 200; i++)
		cm_metrics_totals(f->metrics, &t);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	c = sums(f);
	assert_int_equal(c->totals.requests, THREADS * REQUESTS);
	assert_int_equal(c->routes[0].durations[1], THREADS * REQUESTS);
	assert_int_equal(scope(c, "main")->kinds[CM_KIND_BLOB].hits,
			 THREADS * REQUESTS / 2);
	assert_int_equal(scope(c, "pr-1")->kinds[CM_KIND_BLOB].misses,
			 THREADS * REQUESTS);
}

/* ---- scopes ---------------------------------------------------------------
 */

static void test_metrics__scope_of_a_repository(void **state)
{
	char longest[CM_SCOPE_SIZE + 8], out[CM_SCOPE_SIZE];

	(void)state;
	assert_true(cm_counted_scope("main/pip/x", out));
	assert_string_equal(out, "main");
	assert_true(cm_counted_scope("alpine", out));
	assert_string_equal(out, "alpine");
	assert_false(cm_counted_scope(NULL, out));
	assert_string_equal(out, "");
	assert_false(cm_counted_scope("", out));
	/* One that is called as the rest is must not make a second series. */
	assert_false(cm_counted_scope("other/pip", out));
	assert_string_equal(out, "");
	memset(longest, 'a', sizeof(longest));
	strcpy(longest + CM_SCOPE_SIZE - 1, "/x");
	assert_true(cm_counted_scope(longest, out));
	assert_int_equal(strlen(out), CM_SCOPE_SIZE - 1);
	memset(longest, 'a', CM_SCOPE_SIZE);
	strcpy(longest + CM_SCOPE_SIZE, "/x");
	assert_false(cm_counted_scope(longest, out));
}

static void test_metrics__misses_make_no_scope(void **state)
{
	struct fixture *f = *state;
	const struct cm_metrics_copy *c;
	char repo[64];

	observe(f, "main/a", 1, 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(repo, sizeof(repo), "garbage%d/x", i);
		observe(f, repo, 0, 1);
	}
	/* Even in the same second a scope that earns its row gets it. */
	observe(f, "late/a", 1, 0);
	observe(f, "main/a", 0, 1);
	c = sums(f);
	assert_int_equal(c->scopes_len, 3);
	assert_int_equal(scope(c, "main")->kinds[CM_KIND_BLOB].misses, 1);
	assert_int_equal(scope(c, "late")->kinds[CM_KIND_BLOB].hits, 1);
	assert_int_equal(scope(c, "")->kinds[CM_KIND_BLOB].misses, 1000);
}

static void test_metrics__a_write_makes_a_scope(void **state)
{
	struct fixture *f = *state;
	struct cm_observation o = observation("new/a", 0, 0);

	o.kind = CM_KIND_UPLOAD;
	o.usage = (struct cm_usage){.writes = 1, .received_bytes = 5};
	cm_metrics_observe(f->metrics, &o);
	assert_int_equal(scope(sums(f), "new")->kinds[CM_KIND_UPLOAD].writes,
			 1);
	/* From now on its misses are its own. */
	observe(f, "new/b", 0, 3);
	assert_int_equal(scope(sums(f), "new")->kinds[CM_KIND_BLOB].misses, 3);
}

static void test_metrics__scopes_are_few(void **state)
{
	struct fixture *f = *state;
	const struct cm_metrics_copy *c;
	char repo[64];

	for (int i = 0; i < 10 * CM_COUNTED_SCOPES_MAX; i++) {
		snprintf(repo, sizeof(repo), "pr-%d/x", i);
		observe(f, repo, 1, 0);
		if (i % 20 == 0)
			sums(f);
	}
	c = sums(f);
	assert_int_equal(c->scopes_len, CM_COUNTED_SCOPES_MAX + 1);
	assert_int_equal(scope(c, "")->kinds[CM_KIND_BLOB].hits,
			 9 * CM_COUNTED_SCOPES_MAX);
	assert_int_equal(c->totals.hits, 10 * CM_COUNTED_SCOPES_MAX);
}

/* A brief table of one scope with hits. */
static void add_brief(struct cm_scopes *lasting, const char *name,
		      int64_t now_ms)
{
	struct cm_scopes *brief = calloc(1, sizeof(*brief));

	assert_non_null(brief);
	cm_scopes_brief(brief, name, true)->kinds[CM_KIND_BLOB].hits = 1;
	cm_scopes_add(lasting, brief, now_ms);
	free(brief);
}

static void test_metrics__a_silent_scope_gives_way(void **state)
{
	struct cm_scopes *t = calloc(1, sizeof(*t));
	char name[CM_SCOPE_SIZE];

	(void)state;
	assert_non_null(t);
	for (int i = 0; i < CM_COUNTED_SCOPES_MAX; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		add_brief(t, name, 1000 + i);
	}
	add_brief(t, "soon", 1000 + CM_SCOPE_SILENT_MS - 1);
	assert_int_equal(t->rest.kinds[CM_KIND_BLOB].hits, 1);
	/* The first is silent long enough now, but not saved. */
	add_brief(t, "soon", 1000 + CM_SCOPE_SILENT_MS);
	assert_int_equal(t->rest.kinds[CM_KIND_BLOB].hits, 2);
	memcpy(t->rows[0].saved, t->rows[0].kinds, sizeof(t->rows[0].saved));
	add_brief(t, "soon", 1000 + CM_SCOPE_SILENT_MS);
	assert_int_equal(t->rest.kinds[CM_KIND_BLOB].hits, 2);
	assert_string_equal(t->rows[0].name, "soon");
	assert_int_equal(t->rows[0].kinds[CM_KIND_BLOB].hits, 1);
	assert_int_equal(t->len, CM_COUNTED_SCOPES_MAX);
	free(t);
}

/* ---- history --------------------------------------------------------------
 */

static void test_metrics__save(void **state)
{
	struct fixture *f = *state;
	struct store_fixture *s;
	void *store = NULL;

	assert_int_equal(store_setup(&store), 0);
	s = store;
	observe(f, "main/a", 1, 0);
	observe(f, "nowhere/a", 0, 1);
	for (int i = 0; i < 2; i++) {
		assert_ok(cm_metrics_save(f->metrics, s->store, &f->err),
			  &f->err);
		assert_int_equal(store_sql(s, "SELECT count(*) FROM usage"), 2);
	}
	observe(f, "main/b", 2, 0);
	assert_ok(cm_metrics_save(f->metrics, s->store, &f->err), &f->err);
	assert_int_equal(store_sql(s, "SELECT hits FROM usage WHERE"
				      " scope = 'main' AND kind = 'blob'"),
			 3);
	assert_int_equal(store_sql(s, "SELECT sent_bytes FROM usage WHERE"
				      " scope = '' AND kind = 'blob'"),
			 10);
	store_teardown(&store);
}

/* How large a file may become; 0: as large as it likes. */
static void limit_files(rlim_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes > 0 ? bytes : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void test_metrics__a_save_that_failed_is_made_up_for(void **state)
{
	struct fixture *f = *state;
	struct store_fixture *s;
	void *store = NULL;
	int r;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(store_setup(&store), 0);
	s = store;
	observe(f, "main/a", 1, 0);
	assert_ok(cm_metrics_save(f->metrics, s->store, &f->err), &f->err);
	observe(f, "main/a", 1, 0);
	limit_files(1);
	r = cm_metrics_save(f->metrics, s->store, &f->err);
	limit_files(0);
	assert_true(r < 0);
	assert_int_equal(store_sql(s, "SELECT sum(hits) FROM usage"), 1);
	observe(f, "main/a", 1, 0);
	assert_ok(cm_metrics_save(f->metrics, s->store, &f->err), &f->err);
	assert_int_equal(store_sql(s, "SELECT sum(hits) FROM usage"), 3);
	store_teardown(&store);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_metrics__##name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		CASE(buckets),
		CASE(routes),
		CASE(totals),
		CASE(denials),
		CASE(nothing_is_lost_between_threads),
		CASE(scope_of_a_repository),
		CASE(misses_make_no_scope),
		CASE(a_write_makes_a_scope),
		CASE(scopes_are_few),
		CASE(a_silent_scope_gives_way),
		CASE(save),
		CASE(a_save_that_failed_is_made_up_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
