/* test_client_mount_option.c - "-m ID=PATH[,merge=…][,tag=…]". */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "mount_option.h"

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

static int parse(const char *text, struct cm_mount_option *ret,
		 struct cm_error *err)
{
	memset(ret, 0, sizeof(*ret));
	*err = (struct cm_error){0};
	return cm_mount_option_parse(text, "linux-amd64", ret, err);
}

static void test_mount_option__good(void **state)
{
	static const struct {
		const char *text, *id, *path, *name, *tag;
		enum cm_merge merge;
	} rows[] = {
		{"pip=/c", "pip", "/c", "pip", "linux-amd64", CM_MERGE_UNION},
		{"pip=rel/ative", "pip", "rel/ative", "pip", "linux-amd64",
		 CM_MERGE_UNION},
		{"pip=/a=b", "pip", "/a=b", "pip", "linux-amd64",
		 CM_MERGE_UNION},
		{"pip=/a,b", "pip", "/a,b", "pip", "linux-amd64",
		 CM_MERGE_UNION},
		{"pip=/a,B=c", "pip", "/a,B=c", "pip", "linux-amd64",
		 CM_MERGE_UNION},
		{"v=/v,merge=replace", "v", "/v", "v", "linux-amd64",
		 CM_MERGE_REPLACE},
		{"v=/v,merge=union", "v", "/v", "v", "linux-amd64",
		 CM_MERGE_UNION},
		{"v=/v,tag=py3.12", "v", "/v", "v", "py3.12", CM_MERGE_UNION},
		{"v=/v,tag=t,merge=replace", "v", "/v", "v", "t",
		 CM_MERGE_REPLACE},
		{"v=/v,merge=replace,tag=t", "v", "/v", "v", "t",
		 CM_MERGE_REPLACE},
		{"v=/v,tag=one,tag=two", "v", "/v", "v", "two", CM_MERGE_UNION},
		{"v=/~", "v", "/~", "v", "linux-amd64", CM_MERGE_UNION},
		{"v=~user/x", "v", "~user/x", "v", "linux-amd64",
		 CM_MERGE_UNION},
		{"a/b=/x", "a/b", "/x", "a/b", "linux-amd64", CM_MERGE_UNION},
	};
	struct cm_mount_option m;
	struct cm_error err;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_ok(parse(rows[i].text, &m, &err), &err);
		assert_string_equal(m.id, rows[i].id);
		assert_string_equal(m.path, rows[i].path);
		assert_string_equal(m.name, rows[i].name);
		assert_string_equal(m.tag, rows[i].tag);
		assert_int_equal(m.merge, rows[i].merge);
	}
}

static void test_mount_option__odd_ids(void **state)
{
	static const char *const ids[] = {
		"/root/.cache/pip",
		"a,b",
		"a,merge",
		"Pip",
		"id with spaces",
		"\xff",
		"…",
		"\n",
		"a//b",
		"../etc",
		",tag",
	};
	struct cm_mount_option m;
	struct cm_error err;
	char text[64];

	(void)state;
	for (size_t i = 0; i < ROWS(ids); i++) {
		snprintf(text, sizeof(text), "%s=/x,merge=replace", ids[i]);
		assert_ok(parse(text, &m, &err), &err);
		assert_string_equal(m.id, ids[i]);
		assert_string_equal(m.path, "/x");
		assert_int_equal(m.merge, CM_MERGE_REPLACE);
		assert_true(cm_repository_valid(m.name, strlen(m.name)));
	}
}

static void test_mount_option__bad(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{"", "has no path"},
		{"pip", "has no path"},
		{"=/x", "the id has 0 bytes"},
		{"pip=", "the path has 0 bytes"},
		{"pip=,merge=union", "the path has 0 bytes"},
		{"pip=/x,merge=", "merge is \"\""},
		{"pip=/x,merge=UNION", "union or replace"},
		{"pip=/x,merge=union,", ""},
		{"pip=/x,tag=", "is no tag"},
		{"pip=/x,tag=a/b", "is no tag"},
		{"pip=/x,tag=-a", "is no tag"},
		{"pip=/x,tag=a,path=/y", "\"path=/y\" is no option"},
		{"pip=/x,marge=union", "\"marge=union\" is no option"},
		{"pip=/x,tag=a,merge", "\"merge\" is no option"},
		{"pip=~", "write $HOME"},
		{"pip=~/c", "write $HOME/c"},
	};
	struct cm_mount_option m;
	struct cm_error err;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		if (!rows[i].said[0]) { /* a comma too many is no harm */
			assert_ok(parse(rows[i].text, &m, &err), &err);
			continue;
		}
		assert_fails(parse(rows[i].text, &m, &err), CM_ERR_INVALID,
			     &err);
		if (!strstr(err.text, rows[i].said))
			fail_msg("\"%s\" does not say \"%s\"", err.text,
				 rows[i].said);
	}
}

/* Each part at its limit, and one byte beyond. */
static void test_mount_option__long(void **state)
{
	static const struct {
		size_t id, path, tag;
		int r;
	} rows[] = {
		{CM_MOUNT_ID_MAX, 4095, CM_TAG_MAX, 0},
		{CM_MOUNT_ID_MAX + 1, 1, 1, CM_ERR_INVALID},
		{1, 4096, 1, CM_ERR_INVALID},
		{1, 1, CM_TAG_MAX + 1, CM_ERR_INVALID},
	};
	struct cm_mount_option m;
	struct cm_error err;
	char *text = malloc(16384), *p;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < ROWS(rows); i++) {
		p = text;
		p = (char *)memset(p, 'i', rows[i].id) + rows[i].id;
		*p++ = '=';
		p = (char *)memset(p, 'p', rows[i].path) + rows[i].path;
		p = stpcpy(p, ",tag=");
		p = (char *)memset(p, 't', rows[i].tag) + rows[i].tag;
		*p = '\0';
		assert_int_equal(parse(text, &m, &err), rows[i].r);
		if (rows[i].r == 0)
			assert_int_equal(strlen(m.path), 4095);
	}
	free(text);
}

static void test_mount_option__make(void **state)
{
	struct cm_error err = {0};
	struct cm_mount_option m;

	(void)state;
	assert_ok(cm_mount_option_make("id", "~/,merge=x", "t", &m, &err),
		  &err);
	assert_string_equal(m.path, "~/,merge=x");
	assert_fails(cm_mount_option_make("id", "", "t", &m, &err),
		     CM_ERR_INVALID, &err);
	assert_fails(cm_mount_option_make("id", "x", "", &m, &err),
		     CM_ERR_INVALID, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mount_option__good),
		cmocka_unit_test(test_mount_option__odd_ids),
		cmocka_unit_test(test_mount_option__bad),
		cmocka_unit_test(test_mount_option__long),
		cmocka_unit_test(test_mount_option__make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
