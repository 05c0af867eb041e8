/* test_store_usage.c - the history of use: sums, order, and its bounds. */
#include <stdio.h>
#include <string.h>

#include "store_fixture.h"

#define TODAY 20000

static struct cm_usage_row row(int64_t day, const char *scope, const char *kind,
			       int64_t hits)
{
	return (struct cm_usage_row){
		.day = day,
		.scope = scope,
		.kind = kind,
		.usage = {hits, 2 * hits, 3, 4, 5, 6},
	};
}

static void add(struct store_fixture *f, int64_t day, const char *scope,
		const char *kind, int64_t hits)
{
	struct cm_usage_row r = row(day, scope, kind, hits);

	assert_ok(cm_store_usage_add(f->store, &r, 1, &f->err), &f->err);
}

/* The rows as text: "day scope kind hits/misses/errors/…", each and a ";". */
struct told {
	char text[4096];
};

static int tell(void *arg, const struct cm_usage_row *r)
{
	struct told *t = arg;
	size_t len = strlen(t->text);

	snprintf(t->text + len, sizeof(t->text) - len,
		 "%lld %s %s %lld/%lld/%lld/%lld/%lld/%lld;", (long long)r->day,
		 r->scope ? r->scope : "-", r->kind, (long long)r->usage.hits,
		 (long long)r->usage.misses, (long long)r->usage.errors,
		 (long long)r->usage.writes, (long long)r->usage.sent_bytes,
		 (long long)r->usage.received_bytes);
	return 0;
}

static void assert_days(struct store_fixture *f, int64_t since,
			const char *wanted)
{
	struct told t = {""};

	assert_ok(cm_store_usage_days(f->store, since, tell, &t, &f->err),
		  &f->err);
	assert_string_equal(t.text, wanted);
}

static void assert_scopes(struct store_fixture *f, int64_t since, size_t limit,
			  const char *wanted)
{
	struct told t = {""};

	assert_ok(cm_store_usage_scopes(f->store, since, limit, tell, &t,
					&f->err),
		  &f->err);
	assert_string_equal(t.text, wanted);
}

static void test_store_usage__days(void **state)
{
	struct store_fixture *f = *state;

	assert_days(f, 0, "");
	add(f, TODAY, "main", "blob", 10);
	add(f, TODAY, "main", "blob", 1);
	add(f, TODAY, "pr-1", "blob", 100);
	add(f, TODAY, "main", "image", 7);
	add(f, TODAY - 1, "", "blob", 5);
	store_reopen(f);
	assert_days(f, 0,
		    "19999 - blob 5/10/3/4/5/6;"
		    "20000 - blob 111/222/9/12/15/18;"
		    "20000 - image 7/14/3/4/5/6;");
	assert_days(f, TODAY,
		    "20000 - blob 111/222/9/12/15/18;"
		    "20000 - image 7/14/3/4/5/6;");
	assert_days(f, TODAY + 1, "");
}

static void test_store_usage__scopes(void **state)
{
	struct store_fixture *f = *state;

	add(f, TODAY - 1, "main", "blob", 10);
	add(f, TODAY, "main", "blob", 1);
	add(f, TODAY, "main", "image", 2);
	add(f, TODAY, "pr-1", "blob", 100);
	add(f, TODAY, "", "blob", 5);
	assert_scopes(f, 0, 10,
		      "0 pr-1 blob 100/200/3/4/5/6;"
		      "0 main blob 11/22/6/8/10/12;"
		      "0 main image 2/4/3/4/5/6;"
		      "0  blob 5/10/3/4/5/6;");
	assert_scopes(f, 0, 1, "0 pr-1 blob 100/200/3/4/5/6;");
	assert_scopes(f, TODAY, 3,
		      "0 pr-1 blob 100/200/3/4/5/6;"
		      "0  blob 5/10/3/4/5/6;"
		      "0 main blob 1/2/3/4/5/6;"
		      "0 main image 2/4/3/4/5/6;");
	assert_scopes(f, 0, 0, "");
}

static void test_store_usage__old_days_go(void **state)
{
	struct store_fixture *f = *state;

	add(f, TODAY, "a", "blob", 1);
	add(f, TODAY + CM_USAGE_DAYS - 1, "a", "blob", 2);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM usage"), 2);
	add(f, TODAY + CM_USAGE_DAYS, "a", "blob", 3);
	assert_int_equal(store_sql(f, "SELECT min(day) FROM usage"),
			 TODAY + CM_USAGE_DAYS - 1);
	/* What a clock that was far ahead has left goes as well. */
	add(f, TODAY - 2, "a", "blob", 4);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM usage"), 1);
}

static void test_store_usage__a_day_is_bounded(void **state)
{
	struct store_fixture *f = *state;
	char scope[16];

	for (int i = 0; i < CM_USAGE_DAY_ROWS + 50; i++) {
		snprintf(scope, sizeof(scope), "s%d", i);
		add(f, TODAY, scope, "blob", 1);
	}
	assert_int_equal(store_sql(f, "SELECT count(*) FROM usage"),
			 CM_USAGE_DAY_ROWS + 1);
	assert_int_equal(store_sql(f, "SELECT hits FROM usage WHERE"
				      " scope = ''"),
			 50);
	/* One that has a row keeps it, and another day has room. */
	add(f, TODAY, "s3", "blob", 1);
	add(f, TODAY + 1, "t", "blob", 1);
	assert_int_equal(store_sql(f, "SELECT sum(hits) FROM usage WHERE"
				      " scope = 's3'"),
			 2);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM usage WHERE"
				      " scope = 't'"),
			 1);
}

static void test_store_usage__all_or_nothing(void **state)
{
	struct store_fixture *f = *state;
	struct cm_usage_row rows[] = {row(TODAY, "a", "blob", 1),
				      row(TODAY, "b", NULL, 1)};

	/* A row without a kind breaks the schema's rule. */
	assert_true(cm_store_usage_add(f->store, rows, 2, &f->err) < 0);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM usage"), 0);
	assert_ok(cm_store_usage_add(f->store, rows, 1, &f->err), &f->err);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM usage"), 1);
}

static int stop(void *arg, const struct cm_usage_row *r)
{
	(void)r;
	++*(int *)arg;
	return 17;
}

static void test_store_usage__a_reader_may_stop(void **state)
{
	struct store_fixture *f = *state;
	int calls = 0;

	add(f, TODAY, "a", "blob", 1);
	add(f, TODAY, "b", "image", 1);
	assert_int_equal(cm_store_usage_days(f->store, 0, stop, &calls, NULL),
			 17);
	assert_int_equal(calls, 1);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_usage__##name, store_setup, \
					store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(days),	      CASE(scopes),
		CASE(old_days_go),    CASE(a_day_is_bounded),
		CASE(all_or_nothing), CASE(a_reader_may_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
