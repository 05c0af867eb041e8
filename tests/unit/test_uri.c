/* test_uri.c - request targets: split, decoded, refused. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "uri.h"

static void test_uri__splits(void **state)
{
	static const struct {
		const char *uri, *path, *query;
	} cases[] = {
		{"/", "/", NULL},
		{"/a/b?x=1", "/a/b", "x=1"},
		{"/a?", "/a", ""},
		{"/a?b?c", "/a", "b?c"},
		{"http://host:1/a?b", "/a", "b"},
		{"HTTPS://host/a", "/a", NULL},
		{"//a", "//a", NULL},
	};
	struct cm_error err = {0};
	const char *path, *query;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ok(cm_uri_split(cases[i].uri, &path, &len, &query, &err),
			  &err);
		assert_int_equal(len, strlen(cases[i].path));
		assert_memory_equal(path, cases[i].path, len);
		if (cases[i].query)
			assert_string_equal(query, cases[i].query);
		else
			assert_null(query);
	}
}

static void test_uri__refuses(void **state)
{
	static const char *const uris[] = {
		"",
		"*",
		"a",
		"host:80",
		"http://",
		"http://host",
		"http://host?x=/",
		"/a b",
		"/a\x01",
		"/a\x7f",
		"/a\xc3\xa9",
		"/a#b",
		"/a\r\n",
	};
	struct cm_error err = {0};
	const char *path, *query;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++)
		assert_fails(cm_uri_split(uris[i], &path, &len, &query, &err),
			     CM_ERR_INVALID, &err);
}

static void test_uri__limits(void **state)
{
	static char uri[CM_URI_MAX + 2];
	struct cm_error err = {0};
	const char *path, *query;
	size_t len;

	(void)state;
	memset(uri, 'a', sizeof(uri) - 1);
	uri[0] = '/';
	assert_fails(cm_uri_split(uri, &path, &len, &query, &err), CM_ERR_SIZE,
		     &err);
	uri[CM_URI_MAX] = '\0';
	assert_fails(cm_uri_split(uri, &path, &len, &query, &err), CM_ERR_SIZE,
		     &err);
	uri[CM_PATH_MAX] = '?';
	assert_ok(cm_uri_split(uri, &path, &len, &query, &err), &err);
	assert_int_equal(len, CM_PATH_MAX);
}

static void test_uri__decodes_a_path(void **state)
{
	struct cm_error err = {0};
	char out[64];

	(void)state;
	assert_ok(cm_uri_decode_path("/a%3ab%7E+%25", 13, out, &err), &err);
	assert_string_equal(out, "/a:b~+%");
	assert_ok(cm_uri_decode_path("", 0, out, &err), &err);
	assert_string_equal(out, "");
}

static void test_uri__refuses_escapes(void **state)
{
	static const char *const paths[] = {
		"/%",	"/%4",	"/%zz", "/%4g", "/%00",
		"/%0a", "/%1F", "/%7f", "/%2f", "/%2F",
	};
	struct cm_error err = {0};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_fails(cm_uri_decode_path(paths[i], strlen(paths[i]), out,
						&err),
			     CM_ERR_INVALID, &err);
}

static void assert_arg(const struct cm_query *q, const char *name,
		       const char *want)
{
	const char *got = cm_query_get(q, name);

	if (!want) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got, want);
}

static void test_query__parses(void **state)
{
	struct cm_error err = {0};
	struct cm_query q;
	char out[128];

	(void)state;
	assert_ok(cm_query_parse("digest=sha256%3Aab&&from=a/b&n=&last&"
				 "n=2&t=x+y%26z&=v",
				 out, &q, &err),
		  &err);
	assert_arg(&q, "digest", "sha256:ab");
	assert_arg(&q, "from", "a/b");
	assert_arg(&q, "n", "");
	assert_arg(&q, "last", "");
	assert_arg(&q, "t", "x y&z");
	assert_arg(&q, "", "v");
	assert_arg(&q, "none", NULL);
	assert_ok(cm_query_parse(NULL, out, &q, &err), &err);
	assert_int_equal(q.args_len, 0);
}

static void test_query__repeated(void **state)
{
	const char *got[2] = {NULL, NULL};
	struct cm_error err = {0};
	struct cm_query q;
	char out[128];

	(void)state;
	assert_ok(
		cm_query_parse("tag=a&n=1&tag=b&Tag=x&tag=%63", out, &q, &err),
		&err);
	assert_int_equal(cm_query_all(&q, "tag", got, 2), 3);
	assert_string_equal(got[0], "a");
	assert_string_equal(got[1], "b");
	assert_int_equal(cm_query_all(&q, "tag", NULL, 0), 3);
	assert_int_equal(cm_query_all(&q, "none", got, 2), 0);
}

static void test_query__refuses(void **state)
{
	char many[CM_QUERY_ARGS_MAX * 2 + 3], out[128];
	struct cm_error err = {0};
	struct cm_query q;

	(void)state;
	assert_fails(cm_query_parse("a=%", out, &q, &err), CM_ERR_INVALID,
		     &err);
	assert_fails(cm_query_parse("%00=a", out, &q, &err), CM_ERR_INVALID,
		     &err);
	for (size_t i = 0; i + 1 < sizeof(many); i += 2)
		memcpy(many + i, "a&", 2);
	many[sizeof(many) - 1] = '\0';
	assert_fails(cm_query_parse(many, out, &q, &err), CM_ERR_SIZE, &err);
	many[CM_QUERY_ARGS_MAX * 2] = '\0';
	assert_ok(cm_query_parse(many, out, &q, &err), &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uri__splits),
		cmocka_unit_test(test_uri__refuses),
		cmocka_unit_test(test_uri__limits),
		cmocka_unit_test(test_uri__decodes_a_path),
		cmocka_unit_test(test_uri__refuses_escapes),
		cmocka_unit_test(test_query__parses),
		cmocka_unit_test(test_query__repeated),
		cmocka_unit_test(test_query__refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
