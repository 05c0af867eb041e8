/* test_client_stats.c - the sums and the tables of stats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "capture.h"
#include "cli.h"
#include "stats_view.h"

#define KINDS                                                                  \
	"{\"blob\":{\"hits\":3,\"misses\":1,\"errors\":1,\"sent_bytes\":3072," \
	"\"received_bytes\":0},"                                               \
	"\"upload\":{\"hits\":1,\"misses\":3,\"errors\":0,\"sent_bytes\":0,"   \
	"\"received_bytes\":1024}}"

static const char answer[] =
	"{\"version\":\"9.8\","
	"\"server\":{\"uptime_ms\":4200,\"draining\":false},"
	"\"store\":{\"referenced_bytes\":4096,\"content_bytes\":2048,"
	"\"stored_bytes\":1024,\"repositories\":1,\"tags\":2,\"blobs\":3,"
	"\"uploads\":4,\"quarantined\":5,\"used_bytes\":3072,"
	"\"limit_bytes\":10240,\"high_bytes\":9728,\"low_bytes\":9216,"
	"\"pinned_tags\":1,\"pinned_bytes\":2048,\"longest_idle_ms\":90000,"
	"\"last_evicted_idle_ms\":0,\"eviction_stuck\":true},"
	"\"counters\":{\"evicted_tags_size\":3,\"evicted_manifests_size\":1,"
	"\"evicted_bytes_size\":4096,\"evicted_tags_purge\":9,"
	"\"unreadable_caches\":6,\"ghost_hits\":2,"
	"\"ghost_bytes\":1024},"
	"\"quotas\":[{\"scope\":\"pr-1\",\"bytes\":1024,\"quota\":4096}],"
	"\"scrub\":{\"running\":true,\"progress\":0.42},"
	"\"backup\":{\"made\":\"2026-01-30T09:00:00Z\",\"failure\":\"x\"},"
	"\"ratios\":{\"deduplication\":2.0,\"compression\":2.0,\"hits\":null},"
	"\"history\":{\"days\":["
	"{\"day\":\"2026-01-01\",\"age\":29,\"kinds\":" KINDS "},"
	"{\"day\":\"2026-01-24\",\"age\":6,\"kinds\":" KINDS "},"
	"{\"day\":\"2026-01-30\",\"age\":0,\"kinds\":{\"image\":{\"hits\":4}}}]"
	","
	"\"scopes\":[{\"scope\":\"main\",\"kinds\":" KINDS "},"
	"{\"scope\":\"other\",\"kinds\":{}}]}}";

static json_t *parse(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	return o;
}

static void test_stats__rates(void **state)
{
	char text[CM_RATE_TEXT_SIZE];

	(void)state;
	assert_string_equal(cm_rate_format(0, 0, text), "-");
	assert_string_equal(cm_rate_format(5, -1, text), "-");
	assert_string_equal(cm_rate_format(0, 3, text), "0.0 %");
	assert_string_equal(cm_rate_format(1, 3, text), "33.3 %");
	assert_string_equal(cm_rate_format(7, 7, text), "100.0 %");
	assert_string_equal(cm_rate_format(INT64_MAX, INT64_MAX, text),
			    "100.0 %");
}

static void test_stats__sums(void **state)
{
	cm_autojson json_t *o = parse(answer);
	const json_t *days =
		json_object_get(json_object_get(o, "history"), "days");
	struct cm_traffic t = cm_traffic_of_days(days, 1);

	(void)state;
	assert_int_equal(t.hits, 4);
	assert_int_equal(t.misses, 0);
	t = cm_traffic_of_days(days, 7);
	assert_int_equal(t.hits, 7);
	assert_int_equal(t.misses, 1);
	assert_int_equal(t.errors, 1);
	assert_int_equal(t.spared, 1);
	assert_int_equal(t.needed, 3);
	assert_int_equal(t.served, 3072);
	assert_int_equal(t.uploaded, 1024);
	t = cm_traffic_of_days(days, 30);
	assert_int_equal(t.hits, 10);
	t = cm_traffic_of_days(NULL, 30);
	assert_int_equal(t.hits, 0);
}

static char *printed(const char *text)
{
	cm_autojson json_t *o = parse(text);

	capture_begin(stdout);
	assert_true(cm_stats_print(o));
	return capture_end();
}

static void test_stats__tables(void **state)
{
	char *text = printed(answer);

	(void)state;
	assert_string_equal(
		text,
		"cachemountd 9.8, up for 4.2 s\n"
		"\n"
		"                     TODAY   7 DAYS  30 DAYS\n"
		"hit rate           100.0 %   87.5 %   83.3 %\n"
		"hits                     4        7       10\n"
		"misses                   0        1        2\n"
		"failed lookups           0        1        2\n"
		"hit rate by bytes        -   75.0 %   75.0 %\n"
		"served                 0 B  3.0 KiB  6.0 KiB\n"
		"uploaded               0 B  1.0 KiB  2.0 KiB\n"
		"uploads spared           -   25.0 %   25.0 %\n"
		"\n"
		"KIND, 30 DAYS  HIT RATE  HITS  MISSES   SERVED  UPLOADED\n"
		"blob             75.0 %     6       2  6.0 KiB       0 B\n"
		"upload           25.0 %     2       6      0 B   2.0 KiB\n"
		"image           100.0 %     4       0      0 B       0 B\n"
		"\n"
		"SCOPE, 30 DAYS  HIT RATE  HITS  MISSES   SERVED  UPLOADED\n"
		"main              75.0 %     3       1  3.0 KiB   1.0 KiB\n"
		"other                  -     0       0      0 B       0 B\n"
		"\n"
		"STORE                          NOW\n"
		"content, as named          4.0 KiB\n"
		"content, distinct          2.0 KiB\n"
		"on disk                    1.0 KiB\n"
		"deduplication                2.00x\n"
		"compression                  2.00x\n"
		"saved on disk      3.0 KiB, 75.0 %\n"
		"repositories                     1\n"
		"tags                             2\n"
		"blobs                            3\n"
		"uploads open                     4\n"
		"quarantined                      5\n"
		"caches too large                 6\n"
		"\n"
		"LIMIT                                  NOW\n"
		"used                       3.0 KiB, 30.0 %\n"
		"evicts from                9.5 KiB, 95.0 %\n"
		"evicts down to             9.0 KiB, 90.0 %\n"
		"limit                    10.0 KiB, 100.0 %\n"
		"pinned tags                     1, 2.0 KiB\n"
		"eviction                             stuck\n"
		"longest idle                        1m 30s\n"
		"idle when evicted, last                  -\n"
		"\n"
		"QUOTA OF     USED    QUOTA    FULL\n"
		"pr-1      1.0 KiB  4.0 KiB  25.0 %\n"
		"\n"
		"CARE                             LAST\n"
		"scrub                       42 % done\n"
		"index backed up  2026-01-30T09:00:00Z\n"
		"last backup                    failed\n"
		"\n"
		"REMOVED, EVER      TAGS  MANIFESTS  ON DISK\n"
		"for the limit         3          1  4.0 KiB\n"
		"for a quota           0          0      0 B\n"
		"by purge              9          0      0 B\n"
		"replaced, unnamed     0          0      0 B\n"
		"\n"
		"a larger limit would have answered 2 requests, 1.0 KiB\n");
	assert_null(strchr(text, '\033'));
	free(text);
}

static void test_stats__many_scopes(void **state)
{
	char answer_text[4096] = "{\"history\":{\"days\":[{\"age\":0,"
				 "\"kinds\":{}}],\"scopes\":[";
	size_t len = strlen(answer_text);
	char *text;

	(void)state;
	for (int i = 0; i < 23; i++)
		len += (size_t)snprintf(answer_text + len,
					sizeof(answer_text) - len,
					"%s{\"scope\":\"s%d\",\"kinds\":{}}",
					i > 0 ? "," : "", i);
	strcat(answer_text, "]}}");
	text = printed(answer_text);
	assert_non_null(strstr(text, "\ns19 "));
	assert_null(strstr(text, "\ns20 "));
	assert_non_null(strstr(text, "\nand 3 more, see --json\n"));
	free(text);
}

static void test_stats__scrub_at_rest(void **state)
{
	char *text = printed("{\"scrub\":{\"running\":false,\"progress\":0,"
			     "\"ended\":\"2026-01-30T09:00:00Z\"},"
			     "\"backup\":{\"made\":null,\"failure\":null}}");

	(void)state;
	assert_non_null(strstr(text,
			       "scrub            2026-01-30T09:00:00Z\n"
			       "index backed up                     -\n"));
	assert_null(strstr(text, "last backup"));
	free(text);
}

static void test_stats__a_new_store(void **state)
{
	char *text = printed("{\"version\":\"1\",\"history\":{\"days\":[]}}");

	(void)state;
	assert_non_null(strstr(text, "nothing was asked of it"));
	assert_null(strstr(text, "hit rate"));
	assert_non_null(strstr(text, "on disk"));
	assert_non_null(strstr(text, "limit   "));
	assert_null(strstr(text, "a larger limit"));
	assert_null(strstr(text, "QUOTA"));
	assert_null(strstr(text, "CARE"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stats__rates),
		cmocka_unit_test(test_stats__sums),
		cmocka_unit_test(test_stats__tables),
		cmocka_unit_test(test_stats__many_scopes),
		cmocka_unit_test(test_stats__scrub_at_rest),
		cmocka_unit_test(test_stats__a_new_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
