/* test_faces_fields.c - header fields and query arguments, well and badly
 * formed. */
#include "test.h"

#include <string.h>

#include "faces/fields.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void test_faces_fields__range(void **state)
{
	static const struct {
		const char *value;
		int64_t size;
		enum cm_range_kind kind;
		int64_t offset, len;
	} cases[] = {
		{NULL, 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=0-0", 10, CM_RANGE_PART, 0, 1},
		{"bytes=2-5", 10, CM_RANGE_PART, 2, 4},
		{"bytes=2-", 10, CM_RANGE_PART, 2, 8},
		{"bytes=-3", 10, CM_RANGE_PART, 7, 3},
		{"bytes=-30", 10, CM_RANGE_PART, 0, 10},
		{"bytes=5-100", 10, CM_RANGE_PART, 5, 5},
		{"bytes=9-", 10, CM_RANGE_PART, 9, 1},
		{"Bytes=2-5", 10, CM_RANGE_PART, 2, 4},
		{" bytes= 2-5 ", 10, CM_RANGE_PART, 2, 4},
		{"bytes=0-99999999999999999999", 10, CM_RANGE_PART, 0, 10},
		{"bytes=-99999999999999999999", 10, CM_RANGE_PART, 0, 10},
		{"bytes=10-", 10, CM_RANGE_UNSATISFIABLE, 0, 0},
		{"bytes=10-20", 10, CM_RANGE_UNSATISFIABLE, 0, 0},
		{"bytes=99999999999999999999-", 10, CM_RANGE_UNSATISFIABLE, 0,
		 0},
		{"bytes=5-4", 10, CM_RANGE_UNSATISFIABLE, 0, 0},
		{"bytes=-0", 10, CM_RANGE_UNSATISFIABLE, 0, 0},
		{"bytes=0-", 0, CM_RANGE_UNSATISFIABLE, 0, 0},
		{"bytes=-5", 0, CM_RANGE_WHOLE, 0, 0},
		{"bytes=0-1,3-4", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=-1,0-0", 10, CM_RANGE_WHOLE, 0, 0},
		{"lines=0-1", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=-", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=a-b", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=1", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=1-2x", 10, CM_RANGE_WHOLE, 0, 0},
		{"bytes=+1-2", 10, CM_RANGE_WHOLE, 0, 0},
		{"", 10, CM_RANGE_WHOLE, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		int64_t offset = 0, len = 0;

		assert_int_equal(cm_field_range(cases[i].value, cases[i].size,
						&offset, &len),
				 cases[i].kind);
		if (cases[i].kind != CM_RANGE_PART)
			continue;
		assert_int_equal(offset, cases[i].offset);
		assert_int_equal(len, cases[i].len);
	}
}

static void test_faces_fields__chunk_range(void **state)
{
	static const char *const bad[] = {
		"",	"-",	     "0-",   "-5",
		"5",	"5-4",	     "a-b",  "0-5/10",
		"0-5 ", " 0-5",	     "0--5", "+0-5",
		"0-5x", "bytes 0-5", "0- 5", "0-9223372036854775807",
	};
	struct cm_error err = {0};
	int64_t first, last;

	(void)state;
	assert_ok(cm_field_chunk_range("0-0", &first, &last, &err), &err);
	assert_int_equal(first, 0);
	assert_int_equal(last, 0);
	assert_ok(cm_field_chunk_range("1048576-2097151", &first, &last, &err),
		  &err);
	assert_int_equal(first, 1048576);
	assert_int_equal(last, 2097151);
	for (size_t i = 0; i < LEN(bad); i++)
		assert_fails(cm_field_chunk_range(bad[i], &first, &last, &err),
			     CM_ERR_INVALID, &err);
}

static void test_faces_fields__etag_lists(void **state)
{
	static const struct {
		const char *list;
		int strong, weak; /* what a comparison with "a" gives */
	} cases[] = {
		{"\"a\"", 1, 1},
		{"W/\"a\"", 0, 1},
		{"\"b\"", 0, 0},
		{"\"b\", \"a\"", 1, 1},
		{"\"b\" ,W/\"a\" , \"c\"", 0, 1},
		{", ,\"a\",,", 1, 1},
		{"*", 1, 1},
		{" * ", 1, 1},
		{"\"\"", 0, 0},
		{"\"aa\"", 0, 0},
		{"\"a,b\"", 0, 0},
		{"", CM_ERR_INVALID, CM_ERR_INVALID},
		{",", CM_ERR_INVALID, CM_ERR_INVALID},
		{"a", CM_ERR_INVALID, CM_ERR_INVALID},
		{"\"a", CM_ERR_INVALID, CM_ERR_INVALID},
		{"\"a\"b", CM_ERR_INVALID, CM_ERR_INVALID},
		{"\"a\" \"b\"", CM_ERR_INVALID, CM_ERR_INVALID},
		{"\"a b\"", CM_ERR_INVALID, CM_ERR_INVALID},
		{"w/\"a\"", CM_ERR_INVALID, CM_ERR_INVALID},
		{"W/a", CM_ERR_INVALID, CM_ERR_INVALID},
		{"W/", CM_ERR_INVALID, CM_ERR_INVALID},
		{"*, \"a\"", CM_ERR_INVALID, CM_ERR_INVALID},
		{"\"a\", *", CM_ERR_INVALID, CM_ERR_INVALID},
		{"**", CM_ERR_INVALID, CM_ERR_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		assert_int_equal(cm_field_etag_match(cases[i].list, "a",
						     CM_ETAG_STRONG, NULL),
				 cases[i].strong);
		assert_int_equal(cm_field_etag_match(cases[i].list, "a",
						     CM_ETAG_WEAK, NULL),
				 cases[i].weak);
	}
}

static void test_faces_fields__nothing_matches_no_etag(void **state)
{
	struct cm_error err = {0};

	(void)state;
	assert_int_equal(cm_field_etag_match("*", NULL, CM_ETAG_STRONG, &err),
			 0);
	assert_int_equal(cm_field_etag_match("\"a\"", NULL, CM_ETAG_WEAK, &err),
			 0);
	assert_fails(cm_field_etag_match("a", NULL, CM_ETAG_WEAK, &err),
		     CM_ERR_INVALID, &err);
}

static void test_faces_fields__if_range(void **state)
{
	(void)state;
	assert_true(cm_field_if_range(NULL, "a"));
	assert_true(cm_field_if_range("\"a\"", "a"));
	assert_true(cm_field_if_range(" \"a\" ", "a"));
	assert_false(cm_field_if_range("W/\"a\"", "a"));
	assert_false(cm_field_if_range("\"b\"", "a"));
	assert_false(cm_field_if_range("\"a\", \"b\"", "a"));
	assert_false(cm_field_if_range("*", "a"));
	assert_false(cm_field_if_range("", "a"));
	assert_false(cm_field_if_range("Wed, 21 Oct 2015 07:28:00 GMT", "a"));
}

static void test_faces_fields__coding(void **state)
{
	static const char *const bad[] = {"gzip", "zstd, gzip", "zstd,zstd",
					  "x", "identity, zstd"};
	enum cm_encoding coding;
	struct cm_error err = {0};

	(void)state;
	assert_ok(cm_field_coding(NULL, &coding, &err), &err);
	assert_int_equal(coding, CM_ENCODING_IDENTITY);
	assert_ok(cm_field_coding("identity", &coding, &err), &err);
	assert_int_equal(coding, CM_ENCODING_IDENTITY);
	assert_ok(cm_field_coding("ZStd", &coding, &err), &err);
	assert_int_equal(coding, CM_ENCODING_ZSTD);
	for (size_t i = 0; i < LEN(bad); i++)
		assert_fails(cm_field_coding(bad[i], &coding, &err),
			     CM_ERR_UNSUPPORTED, &err);
}

static void test_faces_fields__media_type(void **state)
{
	char out[CM_MEDIA_TYPE_SIZE], lengthy[2 * CM_MEDIA_TYPE_SIZE];

	(void)state;
	assert_string_equal(cm_field_media_type("a/b", out), "a/b");
	assert_string_equal(cm_field_media_type(" a/b; charset=utf-8", out),
			    "a/b");
	assert_string_equal(cm_field_media_type("a/b ;x=y", out), "a/b");
	assert_null(cm_field_media_type(NULL, out));
	assert_null(cm_field_media_type("", out));
	assert_null(cm_field_media_type(" ; x", out));
	memset(lengthy, 'x', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = '\0';
	assert_int_equal(strlen(cm_field_media_type(lengthy, out)),
			 CM_MEDIA_TYPE_SIZE - 1);
}

static void test_faces_fields__count(void **state)
{
	static const char *const bad[] = {"",	"-1", "+1",   "1x",
					  " 1", "1 ", "0x10", "1.5"};
	struct cm_error err = {0};
	int64_t n;

	(void)state;
	assert_ok(cm_field_count("n", "0", 100, &n, &err), &err);
	assert_int_equal(n, 0);
	assert_ok(cm_field_count("n", "42", 100, &n, &err), &err);
	assert_int_equal(n, 42);
	assert_ok(cm_field_count("n", "99999999999999999999", 100, &n, &err),
		  &err);
	assert_int_equal(n, 100);
	for (size_t i = 0; i < LEN(bad); i++)
		assert_fails(cm_field_count("n", bad[i], 100, &n, &err),
			     CM_ERR_INVALID, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faces_fields__range),
		cmocka_unit_test(test_faces_fields__chunk_range),
		cmocka_unit_test(test_faces_fields__etag_lists),
		cmocka_unit_test(test_faces_fields__nothing_matches_no_etag),
		cmocka_unit_test(test_faces_fields__if_range),
		cmocka_unit_test(test_faces_fields__coding),
		cmocka_unit_test(test_faces_fields__media_type),
		cmocka_unit_test(test_faces_fields__count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
