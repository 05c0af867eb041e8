/* test_metrics_text.c - the exposition formats, byte for byte. */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "faces/metrics_text.h"

/* Ends the text and compares it whole. */
static void assert_text(struct cm_metrics_text *t, const char *wanted)
{
	struct cm_error err = {0};

	assert_ok(cm_metrics_text_end(t, &err), &err);
	assert_int_equal(t->len, strlen(wanted));
	assert_memory_equal(t->bytes, wanted, t->len);
	free(t->bytes);
}

static void fill(struct cm_metrics_text *t)
{
	cm_metrics_family(t, "a_total", "counter", "Things.");
	cm_metrics_sample(t, (const char *[]){"k", "v", "l", "w", NULL}, 12);
	cm_metrics_family(t, "b_seconds", "gauge", "Others.");
	cm_metrics_millionths(t, NULL, 1500000);
}

static void test_metrics_text__families(void **state)
{
	struct cm_metrics_text t = {0}, o = {.openmetrics = true};

	(void)state;
	fill(&t);
	assert_text(&t, "# HELP a_total Things.\n# TYPE a_total counter\n"
			"a_total{k=\"v\",l=\"w\"} 12\n"
			"# HELP b_seconds Others.\n# TYPE b_seconds gauge\n"
			"b_seconds 1.5\n");
	fill(&o);
	assert_text(&o, "# HELP a Things.\n# TYPE a counter\n"
			"a_total{k=\"v\",l=\"w\"} 12\n"
			"# HELP b_seconds Others.\n# TYPE b_seconds gauge\n"
			"b_seconds 1.5\n# EOF\n");
}

static void test_metrics_text__escapes(void **state)
{
	struct cm_metrics_text t = {.family = "m"};

	(void)state;
	cm_metrics_sample(&t, (const char *[]){"k", "a\"b\\c\nd{}é", NULL}, 1);
	cm_metrics_sample(&t, (const char *[]){"k", "", NULL}, -5);
	assert_text(&t, "m{k=\"a\\\"b\\\\c\\nd{}é\"} 1\nm{k=\"\"} -5\n");
}

static void test_metrics_text__millionths(void **state)
{
	static const struct {
		int64_t value;
		const char *text;
	} rows[] = {
		{0, "m 0.0\n"},
		{1, "m 0.000001\n"},
		{500, "m 0.0005\n"},
		{1000000, "m 1.0\n"},
		{320000000, "m 320.0\n"},
		{-1500000, "m -1.5\n"},
		{INT64_MAX, "m 9223372036854.775807\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cm_metrics_text t = {.family = "m"};

		cm_metrics_millionths(&t, NULL, rows[i].value);
		assert_text(&t, rows[i].text);
	}
}

static void test_metrics_text__histogram(void **state)
{
	struct cm_metrics_text t = {.family = "h"};

	(void)state;
	cm_metrics_histogram(&t, (const char *[]){"k", "v", NULL},
			     (const int64_t[]){500, 2000000},
			     (const int64_t[]){3, 0, 2}, 2, 7000001);
	assert_text(&t, "h_bucket{k=\"v\",le=\"0.0005\"} 3\n"
			"h_bucket{k=\"v\",le=\"2.0\"} 3\n"
			"h_bucket{k=\"v\",le=\"+Inf\"} 5\n"
			"h_count{k=\"v\"} 5\n"
			"h_sum{k=\"v\"} 7.000001\n");
}

static void test_metrics_text__grows(void **state)
{
	struct cm_metrics_text t = {.family = "m"};
	struct cm_error err = {0};

	(void)state;
	for (int i = 0; i < 100000; i++)
		cm_metrics_sample(&t, (const char *[]){"k", "v", NULL}, 7);
	assert_ok(cm_metrics_text_end(&t, &err), &err);
	assert_int_equal(t.len, 100000 * strlen("m{k=\"v\"} 7\n"));
	assert_memory_equal(t.bytes + t.len - 11, "m{k=\"v\"} 7\n", 11);
	free(t.bytes);
}

static void test_metrics_text__accept(void **state)
{
	static const char *const yes[] = {
		"application/openmetrics-text",
		"text/plain, application/openmetrics-text",
		"application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
		"Application/OpenMetrics-Text; version=1.0.0; charset=utf-8",
	};
	static const char *const no[] = {
		"",
		"*/*",
		"text/plain;version=0.0.4",
		"application/openmetrics-textual",
		"application/openmetrics-text;q=0",
		"application/openmetrics-text; q=0.000, text/plain",
		",,,",
	};

	(void)state;
	assert_false(cm_metrics_wants_openmetrics(NULL));
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(cm_metrics_wants_openmetrics(yes[i]));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(cm_metrics_wants_openmetrics(no[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metrics_text__families),
		cmocka_unit_test(test_metrics_text__escapes),
		cmocka_unit_test(test_metrics_text__millionths),
		cmocka_unit_test(test_metrics_text__histogram),
		cmocka_unit_test(test_metrics_text__grows),
		cmocka_unit_test(test_metrics_text__accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
