/* test_common_units.c - sizes, durations and times as text. */
#include <string.h>

#include "test.h"

#include <cachemount/units.h>

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

struct parse_row {
	const char *text;
	int64_t value;
};

static void test_size__parse(void **state)
{
	static const struct parse_row rows[] = {
		{"0", 0},
		{"512", 512},
		{"512b", 512},
		{"64KiB", 65536},
		{"64kib", 65536},
		{"64k", 65536},
		{"64K", 65536},
		{"64kb", 64000},
		{"10GB", 10000000000},
		{"10 GB", 10000000000},
		{"20g", 20LL << 30},
		{"1.5 GiB", 3LL << 29},
		{"0.1kb", 100},
		{"1.0000000000000000000000000001k", 1024},
		{"2TiB", 2LL << 40},
		{"2tb", 2000000000000},
		{"9007199254740993", 9007199254740993}, /* 2^53 + 1 */
		{"9223372036854775807", INT64_MAX},
		{"0000000000000000000000000000000000000007", 7},
	};
	struct cm_error err = {0};
	int64_t bytes;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_ok(cm_size_parse(rows[i].text, &bytes, &err), &err);
		assert_int_equal(bytes, rows[i].value);
	}
}

static void test_size__refuse(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"-1",
		"+1",
		"k",
		"1x",
		"1kk",
		"1 k b",
		".5k",
		"1.",
		"1.k",
		"1e9",
		"0x10",
		"1,5g",
		"inf",
		"nan",
		"9223372036854775808",
		"8388608t",
		"9999999999999999999999",
		"1g\n",
		"18446744073709551616",
		"18446744073709551615",
		"9223372036854775807.6",
	};
	struct cm_error err;
	int64_t bytes;

	(void)state;
	for (size_t i = 0; i < ROWS(texts); i++) {
		memset(&err, 0, sizeof(err));
		bytes = -7;
		assert_fails(cm_size_parse(texts[i], &bytes, &err),
			     CM_ERR_INVALID, &err);
		assert_int_equal(bytes, -7);
	}
}

static void test_duration__parse(void **state)
{
	static const struct parse_row rows[] = {
		{"0", 0},
		{"30", 30000},
		{"1.5", 1500},
		{"500ms", 500},
		{"30s", 30000},
		{"36h", 129600000},
		{"14d", 1209600000},
		{"2w", 1209600000},
		{"1h30m", 5400000},
		{"1d2h3m4s5ms", 93784005},
		{"0.5s", 500},
		{"1H", 3600000},
		{"0s", 0},
		{"9223372036854775807ms", INT64_MAX},
	};
	struct cm_error err = {0};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_ok(cm_duration_parse(rows[i].text, &ms, &err), &err);
		assert_int_equal(ms, rows[i].value);
	}
}

static void test_duration__refuse(void **state)
{
	static const char *const texts[] = {
		"",
		"s",
		"-5s",
		"5 s",
		"1h 30m",
		"1h30",
		"0s5",
		"0h0",
		"1y",
		"1.s",
		"5s ",
		"1h-30m",
		"9223372036854775808ms",
		"9223372036854775807ms1ms",
		"15250284453w",
		"1e3s",
		"99999999999999999999999999s",
	};
	struct cm_error err;
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ROWS(texts); i++) {
		memset(&err, 0, sizeof(err));
		ms = -7;
		assert_fails(cm_duration_parse(texts[i], &ms, &err),
			     CM_ERR_INVALID, &err);
		assert_int_equal(ms, -7);
	}
}

struct format_row {
	int64_t value;
	const char *text;
};

static void test_size__format(void **state)
{
	static const struct format_row rows[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{4096, "4.0 KiB"},
		{1048575, "1.0 MiB"},
		{1288490189, "1.2 GiB"},
		{1LL << 60, "1.0 EiB"},
		{INT64_MAX, "8.0 EiB"},
		{INT64_MIN, "-8.0 EiB"},
		{-2048, "-2.0 KiB"},
	};
	char out[CM_SIZE_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_string_equal(cm_size_format(rows[i].value, out),
				    rows[i].text);
}

static void test_duration__format(void **state)
{
	static const struct format_row rows[] = {
		{0, "0 ms"},
		{85, "85 ms"},
		{999, "999 ms"},
		{1000, "1.0 s"},
		{4200, "4.2 s"},
		{59999, "59.9 s"},
		{60000, "1m 0s"},
		{200000, "3m 20s"},
		{18600000, "5h 10m"},
		{1051200000, "12d 4h"},
		{INT64_MAX, "106751991167d 7h"},
	};
	char out[CM_DURATION_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_string_equal(cm_duration_format(rows[i].value, out),
				    rows[i].text);
}

static void test_time__format(void **state)
{
	static const struct format_row rows[] = {
		{0, "1970-01-01T00:00:00Z"},
		{999, "1970-01-01T00:00:00Z"},
		{-1, "1969-12-31T23:59:59Z"},
		{-1000, "1969-12-31T23:59:59Z"},
		{1769851800000, "2026-01-31T09:30:00Z"},
		{951782400000, "2000-02-29T00:00:00Z"},
	};
	char out[CM_TIME_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_string_equal(cm_time_format(rows[i].value, out),
				    rows[i].text);
	/* Beyond any calendar: some text, in bounds. */
	assert_true(strlen(cm_time_format(INT64_MAX, out)) < sizeof(out));
	assert_true(strlen(cm_time_format(INT64_MIN, out)) < sizeof(out));
}

static void test_clock__moves_forward(void **state)
{
	int64_t before = cm_monotonic_ms();

	(void)state;
	assert_true(cm_monotonic_ms() >= before);
	assert_true(cm_now_ms() > 1577836800000); /* 2020 */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size__parse),
		cmocka_unit_test(test_size__refuse),
		cmocka_unit_test(test_size__format),
		cmocka_unit_test(test_duration__parse),
		cmocka_unit_test(test_duration__refuse),
		cmocka_unit_test(test_duration__format),
		cmocka_unit_test(test_time__format),
		cmocka_unit_test(test_clock__moves_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
