/*
 * test_client_url.c - Location fields against the registry's address: where an
 * upload goes, and whether the token may go there.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "remote_private.h"

#define DIGEST_QUERY                                                           \
	"digest=sha256:"                                                       \
	"0000000000000000000000000000000000000000000000000000000000000000"

static const struct cm_digest zero;

struct location {
	const char *base, *location, *url;
	bool foreign;
};

static const struct location good[] = {
	{"http://c:8080", "/v2/a/blobs/uploads/1",
	 "http://c:8080/v2/a/blobs/uploads/1?" DIGEST_QUERY, false},
	{"http://c:8080", "/u?state=a%2Fb",
	 "http://c:8080/u?state=a%2Fb&" DIGEST_QUERY, false},
	{"http://c:8080", "http://c:8080/u", "http://c:8080/u?" DIGEST_QUERY,
	 false},
	{"http://c", "http://c:80/u", "http://c:80/u?" DIGEST_QUERY, false},
	{"https://c", "https://C/u", "https://C/u?" DIGEST_QUERY, false},
	{"http://c:8080", "/u#part", "http://c:8080/u?" DIGEST_QUERY, false},
	{"http://c:8080", "http://c/u", "http://c/u?" DIGEST_QUERY, true},
	{"http://c", "https://c/u", "https://c/u?" DIGEST_QUERY, true},
	{"http://c", "//d/u", "http://d/u?" DIGEST_QUERY, true},
	{"http://c", "http://c.d/u", "http://c.d/u?" DIGEST_QUERY, true},
	{"http://[fe80::1%25a]", "/u", "http://[fe80::1%25a]/u?" DIGEST_QUERY,
	 false},
	{"http://[fe80::1%25a]", "http://[fe80::1%25b]/u",
	 "http://[fe80::1%25b]/u?" DIGEST_QUERY, true},
	{"http://[fe80::1%25a]", "http://[fe80::1]/u",
	 "http://[fe80::1]/u?" DIGEST_QUERY, true},
};

static void test_url__resolves_locations(void **state)
{
	struct cm_error err = {0};
	bool foreign;
	char *url;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(cm_url_resolve(good[i].base, good[i].location, &zero,
					 &url, &foreign, &err),
			  &err);
		assert_string_equal(url, good[i].url);
		assert_int_equal(foreign, good[i].foreign);
		free(url);
	}
}

static void test_url__refuses_locations(void **state)
{
	static const char *const bad[] = {
		"ftp://c/u", "file:///etc/passwd", "http://user:secret@c/u",
		"http://",   "http://a b/",	   "/u\r\nX-Header: y",
	};
	struct cm_error err = {0};
	char *url = NULL;
	bool foreign;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_fails(cm_url_resolve("http://c", bad[i], &zero, &url,
					    &foreign, &err),
			     CM_ERR_PROTOCOL, &err);
	/* The body would go in the clear. */
	assert_fails(cm_url_resolve("https://c", "http://c/u", &zero, &url,
				    &foreign, &err),
		     CM_ERR_PROTOCOL, &err);
}

static void test_url__refuses_a_location_without_end(void **state)
{
	struct cm_error err = {0};
	char *text = malloc(100001), *url = NULL;
	bool foreign;

	(void)state;
	memset(text, 'a', 100000);
	text[0] = '/';
	text[100000] = '\0';
	assert_fails(
		cm_url_resolve("http://c", text, &zero, &url, &foreign, &err),
		CM_ERR_PROTOCOL, &err);
	free(text);
}

static void test_url__parses_addresses(void **state)
{
	static const char *const table[][2] = {
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"http://cache/", "http://cache"},
		{"https://[::1]:5000", "https://[::1]:5000"},
		{"HTTP://cache:80", "http://cache:80"},
		{"http://[fe80::1%25eth0]", "http://[fe80::1%25eth0]"},
	};
	struct cm_error err = {0};
	char *base;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_ok(cm_url_parse(table[i][0], &base, &err), &err);
		assert_string_equal(base, table[i][1]);
		free(base);
	}
	/* Decoded it would be a number, which is an address. */
	assert_fails(cm_url_parse("http://%33333333", &base, &err),
		     CM_ERR_INVALID, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url__resolves_locations),
		cmocka_unit_test(test_url__refuses_locations),
		cmocka_unit_test(test_url__refuses_a_location_without_end),
		cmocka_unit_test(test_url__parses_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
