/* test_common_names.c - grammars of names, tags, patterns and mount ids. */
#include <string.h>

#include "test.h"

#include <cachemount/names.h>

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

static bool repository(const char *s)
{
	return cm_repository_valid(s, strlen(s));
}

static bool tag(const char *s)
{
	return cm_tag_valid(s, strlen(s));
}

static void test_repository__legal(void **state)
{
	static const char *const names[] = {
		"a",	      "0",
		"pip",	      "main/pip",
		"a.b",	      "a_b",
		"a__b",	      "a-b",
		"a---b",      "a/b/c/d/e/f",
		"a.b_c__d-e", "library/hello-world",
		"pr-12/uv",   "cachemount/cachectl",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(names); i++)
		if (!repository(names[i]))
			fail_msg("\"%s\" must be legal", names[i]);
}

static void test_repository__illegal(void **state)
{
	static const char *const names[] = {
		"",
		"/",
		"a/",
		"/a",
		"a//b",
		"A",
		"a/B",
		"a b",
		"a..b",
		"a___b",
		"a._b",
		"a_.b",
		"a-.b",
		".a",
		"a.",
		"_a",
		"a_",
		"-a",
		"a-",
		"..",
		"a/..",
		"../a",
		"a/../b",
		".",
		"a/.",
		"a%2fb",
		"a\\b",
		"a:b",
		"a@b",
		"a\n",
		"a\tb",
		"\xc3\xa9",
		"a*",
		"*",
		"_cachemount/x",
		"a/_cachemount",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(names); i++)
		if (repository(names[i]))
			fail_msg("\"%s\" must be illegal", names[i]);
	assert_false(cm_repository_valid("a\0b", 3));
	assert_false(cm_repository_valid("a\0", 2));
}

static void test_repository__length_limit(void **state)
{
	char name[CM_REPOSITORY_MAX + 2];

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_true(cm_repository_valid(name, CM_REPOSITORY_MAX));
	assert_false(cm_repository_valid(name, CM_REPOSITORY_MAX + 1));
	/* Only `len` bytes are looked at. */
	assert_true(cm_repository_valid("ab/", 2));
}

static void test_tag__grammar(void **state)
{
	static const char *const legal[] = {
		"latest", "v1.0", "_",	"A", "0", "linux-amd64-glibc2.36",
		"a..b",	  "a--",  "__",
	};
	static const char *const illegal[] = {
		"",    ".",    "..",  "-a",	  ".a",	 "a/b", "a:b",
		"a b", "a%2f", "a\n", "\xc3\xa9", "a+b", "a*",
	};
	char longest[CM_TAG_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ROWS(legal); i++)
		if (!tag(legal[i]))
			fail_msg("\"%s\" must be legal", legal[i]);
	for (size_t i = 0; i < ROWS(illegal); i++)
		if (tag(illegal[i]))
			fail_msg("\"%s\" must be illegal", illegal[i]);
	assert_false(cm_tag_valid("a\0b", 3));
	memset(longest, 'x', sizeof(longest));
	assert_true(cm_tag_valid(longest, CM_TAG_MAX));
	assert_false(cm_tag_valid(longest, CM_TAG_MAX + 1));
}

/*
 * The rule never changes: caches are found by these names. A row that has to
 * be edited is a broken promise, not a test to be brought up to date.
 */
static void test_mount__stable_names(void **state)
{
	static const struct {
		const char *id, *name;
	} rows[] = {
		{"pip", "pip"},
		{"team/pip-3.12", "team/pip-3.12"},
		{"/root/.cache/pip", "root-cache-pip-bf3b04da7be5"},
		{"/root/.cache/uv", "root-cache-uv-c8f4fd703e35"},
		{"/var/cache/apt", "var-cache-apt-e0f0d92cbaf6"},
		{"/go/pkg/mod", "go-pkg-mod-a944c31a2c8e"},
		{"Pip", "pip-cf648810607d"},
		{"a_", "a-571fb0e30b4d"},
		{"..", "id-5ec1f7e700f3"},
		{" ", "id-36a9e7f1c95b"},
		{"\xc3\xa4pfel", "pfel-30400a85b379"},
	};
	char out[CM_REPOSITORY_MAX + 1];
	struct cm_error err = {0};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_ok(cm_mount_repository(rows[i].id, out, &err), &err);
		assert_string_equal(out, rows[i].name);
	}
}

static void test_mount__ids_that_read_alike_differ(void **state)
{
	static const char *const ids[] = {
		"/root/.cache/pip",
		"root/.cache/pip",
		"/ROOT/.cache/pip",
		"/root/.cache/pip/",
		"root-cache-pip",
		"root  cache  pip",
		"\xff\xfe",
		"\xff",
		" ",
		"\n",
		"..",
		"../..",
	};
	char names[ROWS(ids)][CM_REPOSITORY_MAX + 1];
	struct cm_error err = {0};

	(void)state;
	for (size_t i = 0; i < ROWS(ids); i++) {
		assert_ok(cm_mount_repository(ids[i], names[i], &err), &err);
		assert_true(repository(names[i]));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
	assert_memory_equal(names[6], "id-", 3);
	assert_int_equal(strlen(names[6]), 3 + 12);
}

static void test_mount__length_limits(void **state)
{
	char id[CM_MOUNT_ID_MAX + 2], out[CM_REPOSITORY_MAX + 1];
	struct cm_error err = {0};

	(void)state;
	memset(id, 'A', sizeof(id));
	id[CM_MOUNT_ID_MAX] = '\0';
	assert_ok(cm_mount_repository(id, out, &err), &err);
	assert_int_equal(strlen(out), 64 + 1 + 12);
	assert_true(repository(out));
	/* Cut behind a separator: no run of two. */
	id[63] = '/';
	assert_ok(cm_mount_repository(id, out, &err), &err);
	assert_int_equal(strlen(out), 63 + 1 + 12);
	assert_true(repository(out));
	id[63] = id[CM_MOUNT_ID_MAX] = 'A';
	id[CM_MOUNT_ID_MAX + 1] = '\0';
	assert_fails(cm_mount_repository(id, out, &err), CM_ERR_INVALID, &err);
	assert_fails(cm_mount_repository("", out, &err), CM_ERR_INVALID, &err);
}

static void test_pattern__grammar(void **state)
{
	static const char *const legal[] = {
		"a", "main/pip", "main/*", "main/**", "*", "**", "a/b/c/**",
	};
	static const char *const illegal[] = {
		"",    "/",	  "/*",	  "/**",  "a*",
		"a**", "a/***",	  "***",  "*/a",  "a/*/b",
		"A/*", "main/*/", "a//*", "../*", "a/**/*",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(legal); i++)
		if (!cm_repository_pattern_valid(legal[i]))
			fail_msg("\"%s\" must be legal", legal[i]);
	for (size_t i = 0; i < ROWS(illegal); i++)
		if (cm_repository_pattern_valid(illegal[i]))
			fail_msg("\"%s\" must be illegal", illegal[i]);
}

static void test_pattern__match(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool match;
	} rows[] = {
		{"main", "main", true},
		{"main", "main/pip", false},
		{"main", "maine", false},
		{"main/*", "main/pip", true},
		{"main/*", "main", false},
		{"main/*", "main/a/b", false},
		{"main/*", "maine/a", false},
		{"main/**", "main", true},
		{"main/**", "main/a", true},
		{"main/**", "main/a/b/c", true},
		{"main/**", "maine", false},
		{"main/**", "maine/a", false},
		{"main/**", "mai", false},
		{"main/**", "pr/main/a", false},
		{"main/**", "nain", false},
		{"*", "a", true},
		{"*", "a/b", false},
		{"**", "a", true},
		{"**", "a/b/c", true},
		{"**", "", false},
		{"*", "", false},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		if (cm_repository_pattern_match(rows[i].pattern,
						rows[i].name) != rows[i].match)
			fail_msg("\"%s\" on \"%s\" must be %d", rows[i].pattern,
				 rows[i].name, rows[i].match);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repository__legal),
		cmocka_unit_test(test_repository__illegal),
		cmocka_unit_test(test_repository__length_limit),
		cmocka_unit_test(test_tag__grammar),
		cmocka_unit_test(test_mount__stable_names),
		cmocka_unit_test(test_mount__ids_that_read_alike_differ),
		cmocka_unit_test(test_mount__length_limits),
		cmocka_unit_test(test_pattern__grammar),
		cmocka_unit_test(test_pattern__match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
