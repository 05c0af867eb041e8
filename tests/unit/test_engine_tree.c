/* test_engine_tree.c - the tree blob: what is read, what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "engine/base64.h"
#include "engine/json_line.h"
#include "engine/tree.h"

#define HEAD "{\"cachemount\":\"tree\",\"version\":1}\n"

#define FILE_(path, more)                                                      \
	"{\"path\":\"" path "\",\"type\":\"file\",\"mode\":\"644\","           \
	"\"mtime_ns\":1" more "}\n"
#define DIR_(path)                                                             \
	"{\"path\":\"" path "\",\"type\":\"dir\",\"mode\":\"755\","            \
	"\"mtime_ns\":1}\n"

static const struct cm_tree_limits roomy = {1000, 1LL << 40};

static const struct cm_chunk chunks[] = {{{{1}}, 1000}, {{{2}}, 500}};

static int parse_with(const char *text, size_t len,
		      const struct cm_tree_limits *limits, struct cm_tree **ret,
		      struct cm_error *err)
{
	char *copy = malloc(len + 1);

	memcpy(copy, text, len);
	return cm_tree_parse(copy, len, chunks, 2, limits, ret, err);
}

static struct cm_tree *parse(const char *text)
{
	struct cm_error err = {0};
	struct cm_tree *t = NULL;

	assert_ok(parse_with(text, strlen(text), &roomy, &t, &err), &err);
	return t;
}

static void assert_refused(const char *text, enum cm_status status,
			   const char *why)
{
	struct cm_error err = {0};
	struct cm_tree *t = NULL;
	int r = parse_with(text, strlen(text), &roomy, &t, &err);

	if (r == 0)
		fail_msg("accepted: %s", text);
	if (r != (int)status || !strstr(err.text, why))
		fail_msg("%s: %s (%s), not %s", text, err.text,
			 cm_status_name((enum cm_status)r), why);
	assert_null(t);
}

static void test_tree__reads_everything(void **state)
{
	static const char text[] = HEAD DIR_(
		"a") "{\"path\":\"a/b\",\"type\":\"file\",\"mode\":\"4755\","
		     "\"uid\":1,\"gid\":2,\"mtime_ns\":-5,\"size\":1200,"
		     "\"chunk\":0,\"offset\":10,\"xattrs\":{\"user.x\":\"AAE="
		     "\"},"
		     "\"hlink\":1,\"new key\":[{\"a\":[1,2.5e3,null]},true]}\n"
		     "{\"path\":\"a/c\",\"type\":\"file\",\"hlink\":1}\n" FILE_(
			     "a-b", ",\"size\":0")
			     FILE_("hole",
				   ",\"size\":99999,\"data\":[[5,10],[100,20]],"
				   "\"chunk\":1,\"offset\":3") "{\"path64\":\"/"
							       "w==\",\"type\":"
							       "\"symlink\","
							       "\"mode\":"
							       "\"777\","
							       "\"mtime_ns\":1,"
							       "\"target\":"
							       "\"x\\u00e4\\ud8"
							       "3d\\ude00\\n\"}"
							       "\n"
							       " { \"path64\" "
							       ": \"/ww=\" , "
							       "\"type\":"
							       "\"fifo\","
							       "\"mode\":\"0\","
							       "\"mtime_ns\":1}"
							       "\n";
	struct cm_tree *t = parse(text);
	const struct cm_entry *e = t->entries;

	(void)state;
	assert_int_equal(t->len, 7);
	assert_int_equal(e[1].mode, 04755);
	assert_int_equal(e[1].uid, 1);
	assert_int_equal(e[1].gid, 2);
	assert_int_equal(e[1].mtime_ns, -5);
	assert_int_equal(cm_entry_last_chunk(t, &e[1]), 1);
	assert_int_equal(e[1].extra->xattrs_len, 1);
	assert_memory_equal(e[1].extra->xattrs[0].value, "\0\1", 2);
	assert_string_equal(e[2].path, "a/c");
	assert_int_equal(e[2].size, 1200);
	assert_int_equal(e[2].offset, 10);
	assert_int_equal(cm_entry_stored(&e[4]), 30);
	assert_string_equal(e[5].path, "\xff");
	assert_string_equal(e[5].extra->target, "x\xc3\xa4\xf0\x9f\x98\x80\n");
	assert_string_equal(e[6].path, "\xff\x0c");
	cm_tree_free(t);
}

static void test_tree__written_is_read_back(void **state)
{
	static const char text[] = HEAD
		"{\"path\":\" \\\"\\\\\\u0001\",\"type\":\"dir\","
		"\"mode\":\"1777\",\"uid\":7,\"gid\":8,\"mtime_ns\":-12}\n"
		"{\"path\":\"a\",\"type\":\"file\",\"hlink\":1,\"mode\":\"0\","
		"\"mtime_ns\":9223372036854775807,\"size\":20,\"chunk\":0,"
		"\"offset\":0,\"xattrs\":{\"user.a\":\"\",\"user.b\":\"eA==\"}}"
		"\n"
		"{\"path\":\"b\",\"type\":\"file\",\"hlink\":1}\n"
		"{\"path\":\"c\",\"type\":\"file\",\"mode\":\"644\","
		"\"mtime_ns\":0,\"size\":99,\"data\":[[1,2]],\"chunk\":1,"
		"\"offset\":499,\"x\":1}\n"
		"{\"path\":\"d\",\"type\":\"file\",\"mode\":\"644\","
		"\"mtime_ns\":0,\"size\":99,\"data\":[]}\n"
		"{\"path64\":\"gA==\",\"type\":\"symlink\",\"mode\":\"777\","
		"\"mtime_ns\":0,\"target64\":\"gIA=\"}\n";
	struct cm_error err = {0};
	char *once, *twice;
	size_t once_len, twice_len;
	struct cm_tree *t;

	(void)state;
	/* The sparse file runs out of the last chunk: one byte less. */
	assert_refused(text, CM_ERR_INVALID, "behind the last chunk");
	char *fixed = strdup(text);
	memcpy(strstr(fixed, "499"), "498", 3);
	t = parse(fixed);
	free(fixed);
	assert_ok(cm_tree_format(t, &once, &once_len, &err), &err);
	cm_tree_free(t);
	once = realloc(once, once_len + 1);
	once[once_len] = '\0';
	t = parse(once);
	assert_ok(cm_tree_format(t, &twice, &twice_len, &err), &err);
	cm_tree_free(t);
	assert_int_equal(once_len, twice_len);
	assert_memory_equal(once, twice, once_len);
	free(once);
	free(twice);
}

static void test_tree__refuses_bad_paths(void **state)
{
	static const struct {
		const char *path, *why;
	} rows[] = {
		{"/etc/passwd", "absolute"},
		{"", "empty"},
		{"..", "\"..\""},
		{"../x", "\"..\""},
		{"x/../y", "\"..\""},
		{"./x", "\".\""},
		{"x/.", "\".\""},
		{"x//y", "empty component"},
		{"x/", "empty component"},
		{".cachectl", "own directory"},
		{".cachectl/state", "own directory"},
		{"no/parent", "no directory"},
		{"nul\\u0000", "NUL"},
		{"lone\\ud800", "surrogate"},
		{"lone\\udc00", "surrogate"},
		{"bad\\x", "escape"},
		{"raw\ttab", "control"},
		{"raw\xff", "UTF-8"},
		{"\xc0\xaf", "UTF-8"},
		{"\xed\xa0\x80", "UTF-8"},
		{"\xf5\x80\x80\x80", "UTF-8"},
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text),
			 HEAD "{\"path\":\"%s\",\"type\":\"dir\",\"mode\":"
			      "\"755\",\"mtime_ns\":1}\n",
			 rows[i].path);
		assert_refused(text, CM_ERR_INVALID, rows[i].why);
		assert_refused(text, CM_ERR_INVALID, "line 2");
	}
	/* Through base64 too, where NUL and slashes can hide. */
	assert_refused(HEAD "{\"path64\":\"YQBi\",\"type\":\"dir\","
			    "\"mode\":\"755\",\"mtime_ns\":1}\n",
		       CM_ERR_INVALID, "NUL");
	assert_refused(HEAD "{\"path64\":\"Li4vYQ==\",\"type\":\"dir\","
			    "\"mode\":\"755\",\"mtime_ns\":1}\n",
		       CM_ERR_INVALID, "\"..\"");
	assert_refused(HEAD "{\"path64\":\"YR==\",\"type\":\"dir\","
			    "\"mode\":\"755\",\"mtime_ns\":1}\n",
		       CM_ERR_INVALID, "base64");
}

static void test_tree__refuses_long_paths(void **state)
{
	char name[400], *text = malloc(200000);
	size_t n = 0;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	snprintf(text, 200000,
		 HEAD "{\"path\":\"%s\",\"type\":\"dir\",\"mode\":\"755\","
		      "\"mtime_ns\":1}\n",
		 name);
	assert_refused(text, CM_ERR_INVALID, "component that is too long");
	n = (size_t)sprintf(text, HEAD "{\"path\":\"");
	for (int i = 0; i < 20000; i++)
		n += (size_t)sprintf(text + n, "d/");
	sprintf(text + n, "x\",\"type\":\"dir\",\"mode\":\"755\","
			  "\"mtime_ns\":1}\n");
	assert_refused(text, CM_ERR_INVALID, "path is too long");
	free(text);
}

static void test_tree__refuses_bad_structure(void **state)
{
	(void)state;
	assert_refused("", CM_ERR_INVALID, "empty");
	assert_refused("{}\n", CM_ERR_INVALID, "line 1");
	assert_refused("{\"cachemount\":\"tree\"}\n", CM_ERR_INVALID, "line 1");
	assert_refused("{\"cachemount\":\"tree\",\"version\":2}\n",
		       CM_ERR_UNSUPPORTED, "version 2");
	assert_refused("{\"cachemount\":\"tree\",\"version\":1}",
		       CM_ERR_INVALID, "newline");
	assert_refused(HEAD "\n", CM_ERR_INVALID, "line 2");
	assert_refused(HEAD "[]\n", CM_ERR_INVALID, "object");
	assert_refused(HEAD DIR_("a") DIR_("a"), CM_ERR_INVALID, "twice");
	assert_refused(HEAD DIR_("b") DIR_("a"), CM_ERR_INVALID, "order");
	assert_refused(HEAD DIR_("b") DIR_("a"), CM_ERR_INVALID, "line 3");
	/* "a/b" comes before "a-b". */
	assert_refused(HEAD DIR_("a") DIR_("a-b") DIR_("a/b"), CM_ERR_INVALID,
		       "order");
	assert_refused(HEAD FILE_("a", ",\"size\":0") DIR_("a/b"),
		       CM_ERR_INVALID, "no directory");
	assert_refused(HEAD
		       "{\"path\":\"l\",\"type\":\"symlink\",\"mode\":"
		       "\"777\",\"mtime_ns\":1,\"target\":\"/etc\"}\n" FILE_(
			       "l/passwd", ",\"size\":0"),
		       CM_ERR_INVALID, "no directory");
	assert_refused(HEAD DIR_("a") DIR_("b") DIR_("a/c"), CM_ERR_INVALID,
		       "order");
	assert_refused(HEAD DIR_("a") DIR_("ab") DIR_("ab/c/d"), CM_ERR_INVALID,
		       "no directory");
}

static void test_tree__refuses_bad_members(void **state)
{
	static const struct {
		const char *line, *why;
	} rows[] = {
		{"{\"type\":\"dir\",\"mode\":\"755\",\"mtime_ns\":1}",
		 "missing"},
		{"{\"path\":\"a\",\"mode\":\"755\",\"mtime_ns\":1}", "missing"},
		{"{\"path\":\"a\",\"type\":\"dir\",\"mtime_ns\":1}", "missing"},
		{"{\"path\":\"a\",\"type\":\"dir\",\"mode\":\"755\"}",
		 "missing"},
		{"{\"path\":\"a\",\"path\":\"b\"}", "twice"},
		{"{\"path\":\"a\",\"path64\":\"YQ==\"}", "both"},
		{"{\"path\":\"a\",\"type\":\"char\"}", "none of"},
		{"{\"path\":\"a\",\"type\":\"block\"}", "none of"},
		{"{\"path\":\"a\",\"type\":\"file\\u0000\"}", "NUL"},
		{"{\"path\":\"a\",\"mode\":\"788\"}", "octal"},
		{"{\"path\":\"a\",\"mode\":\"10000\"}", "octal"},
		{"{\"path\":\"a\",\"mode\":\"\"}", "octal"},
		{"{\"path\":\"a\",\"mode\":493}", "string"},
		{"{\"path\":\"a\",\"uid\":-1}", "range"},
		{"{\"path\":\"a\",\"uid\":4294967295}", "range"},
		{"{\"path\":\"a\",\"uid\":1.5}", "integer"},
		{"{\"path\":\"a\",\"uid\":1e3}", "integer"},
		{"{\"path\":\"a\",\"uid\":01}", "integer"},
		{"{\"path\":\"a\",\"uid\":}", "integer"},
		{"{\"path\":\"a\",\"mtime_ns\":9223372036854775808}", "64"},
		{"{\"path\":\"a\",\"mtime_ns\":99999999999999999999}", "64"},
		{"{\"path\":\"a\",\"hlink\":0}", "counts from 1"},
		{"{\"path\":\"a\",\"x\":}", "value"},
		{"{\"path\":\"a\",\"x\":[}", "value"},
		{"{\"path\":\"a\",\"x\":[[[[[[[[[[[[[[[[[[[]]]}", "deep"},
		{"{\"path\":\"a\",}", "string"},
		{"{\"path\":\"a\"", "bracket"},
		{"{\"path\":\"a", "end"},
		{"{\"path\" \"a\"}", "colon"},
		{"{\"path\":\"a\"}}", "behind"},
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), HEAD "%s\n", rows[i].line);
		assert_refused(text, CM_ERR_INVALID, rows[i].why);
	}
}

static void test_tree__refuses_bad_content(void **state)
{
	static const struct {
		const char *more, *why;
	} rows[] = {
		{"", "size belongs"},
		{",\"size\":-1", "negative"},
		{",\"size\":5", "missing"},
		{",\"size\":5,\"chunk\":0", "missing"},
		{",\"size\":5,\"chunk\":2,\"offset\":0", "bounds"},
		{",\"size\":5,\"chunk\":0,\"offset\":1000", "bounds"},
		{",\"size\":1501,\"chunk\":0,\"offset\":0", "behind the last"},
		{",\"size\":2,\"chunk\":1,\"offset\":499", "behind the last"},
		{",\"size\":9223372036854775807,\"chunk\":0,\"offset\":1",
		 "behind the last"},
		{",\"size\":9,\"data\":[[5,5]],\"chunk\":0,\"offset\":0",
		 "outside the file"},
		{",\"size\":9,\"data\":[[0,5],[4,2]],\"chunk\":0,\"offset\":0",
		 "overlap"},
		{",\"size\":9,\"data\":[[5,1],[0,1]],\"chunk\":0,\"offset\":0",
		 "order"},
		{",\"size\":9,\"data\":[[0,0]],\"chunk\":0,\"offset\":0",
		 "overlap"},
		{",\"size\":9,\"data\":[[-1,2]],\"chunk\":0,\"offset\":0",
		 "overlap"},
		{",\"size\":9,\"data\":[[1]],\"chunk\":0,\"offset\":0",
		 "extent"},
		{",\"size\":9,\"data\":[[1,2,3]],\"chunk\":0,\"offset\":0",
		 "extent"},
		{",\"size\":9,\"data\":[[1,9223372036854775807],"
		 "[1,9223372036854775807]],\"chunk\":0,\"offset\":0",
		 "too large"},
		{",\"size\":0,\"target\":\"x\"", "target"},
		{",\"size\":0,\"hlink\":2", "next number"},
		{",\"size\":0,\"xattrs\":{\"security.capability\":\"AA==\"}",
		 "namespace"},
		{",\"size\":0,\"xattrs\":{\"user.\":\"AA==\"}", "namespace"},
		{",\"size\":0,\"xattrs\":{\"user.b\":\"\",\"user.a\":\"\"}",
		 "sorted"},
		{",\"size\":0,\"xattrs\":{\"user.b\":\"\",\"user.b\":\"\"}",
		 "sorted"},
		{",\"size\":0,\"xattrs\":{\"user.b\":\"A\"}", "base64"},
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text),
			 HEAD "{\"path\":\"a\",\"type\":\"file\",\"mode\":"
			      "\"644\",\"mtime_ns\":1%s}\n",
			 rows[i].more);
		assert_refused(text, CM_ERR_INVALID, rows[i].why);
	}
	assert_refused(HEAD "{\"path\":\"a\",\"type\":\"symlink\",\"mode\":"
			    "\"777\",\"mtime_ns\":1}\n",
		       CM_ERR_INVALID, "target");
	assert_refused(HEAD "{\"path\":\"a\",\"type\":\"symlink\",\"mode\":"
			    "\"777\",\"mtime_ns\":1,\"target\":\"\"}\n",
		       CM_ERR_INVALID, "target");
	assert_refused(HEAD "{\"path\":\"a\",\"type\":\"dir\",\"mode\":"
			    "\"777\",\"mtime_ns\":1,\"hlink\":1}\n",
		       CM_ERR_INVALID, "only files");
	assert_refused(HEAD "{\"path\":\"a\",\"type\":\"fifo\",\"mode\":"
			    "\"777\",\"mtime_ns\":1,\"size\":0}\n",
		       CM_ERR_INVALID, "size belongs");
	assert_refused(HEAD FILE_("a", ",\"size\":0,\"hlink\":1")
			       FILE_("b", ",\"size\":0,\"hlink\":1"),
		       CM_ERR_INVALID, "first member");
}

static void test_tree__limits(void **state)
{
	static const char text[] =
		HEAD FILE_("a", ",\"size\":600,\"chunk\":0,\"offset\":0")
			FILE_("b", ",\"size\":600,\"chunk\":0,\"offset\":0");
	struct cm_tree_limits limits = {2, 1200};
	struct cm_error err = {0};
	struct cm_tree *t = NULL;

	(void)state;
	assert_ok(parse_with(text, strlen(text), &limits, &t, &err), &err);
	cm_tree_free(t);
	limits.max_bytes = 1199;
	assert_fails(parse_with(text, strlen(text), &limits, &t, &err),
		     CM_ERR_SIZE, &err);
	limits = (struct cm_tree_limits){1, 1200};
	assert_fails(parse_with(text, strlen(text), &limits, &t, &err),
		     CM_ERR_SIZE, &err);
}

static void test_path__order(void **state)
{
	static const char *const sorted[] = {
		"a",	 "a/a", "a/a/b", "a/b", "a\x01", "a ",	"a-b",
		"a-b/c", "a.b", "a0",	 "aa",	"b",	 "\xff"};
	size_t n = sizeof(sorted) / sizeof(sorted[0]);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			int r = cm_path_compare(sorted[i], strlen(sorted[i]),
						sorted[k], strlen(sorted[k]));

			assert_int_equal((r > 0) - (r < 0), (i > k) - (i < k));
		}
	assert_true(cm_path_below("a", 1, "a/b", 3));
	assert_true(cm_path_below("", 0, "a", 1));
	assert_false(cm_path_below("a", 1, "a", 1));
	assert_false(cm_path_below("a", 1, "ab/c", 4));
}

static void test_base64__both_ways(void **state)
{
	unsigned char bytes[256], back[256];
	char text[400];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		cm_base64_encode(bytes, len, text);
		assert_int_equal(
			cm_base64_decode(text, cm_base64_size(len), back, &n),
			0);
		assert_int_equal(n, len);
		assert_memory_equal(bytes, back, len);
	}
	assert_int_equal(cm_base64_decode("AA=A", 4, back, &n), -1);
	assert_int_equal(cm_base64_decode("A===", 4, back, &n), -1);
	assert_int_equal(cm_base64_decode("AAA", 3, back, &n), -1);
	assert_int_equal(cm_base64_decode("AB==", 4, back, &n), -1);
	assert_int_equal(cm_base64_decode("AA==AAAA", 8, back, &n), -1);
	assert_int_equal(cm_base64_decode("A A=", 4, back, &n), -1);
}

/* A tree of many entries is read in reasonable time and memory. */
static void test_tree__many_entries(void **state)
{
	static const struct cm_tree_limits limits = {1 << 20, 1LL << 40};
	const int n = 200000;
	struct cm_error err = {0};
	struct cm_tree *t = NULL;
	size_t len;
	char *text = malloc((size_t)n * 120 + 100);

	(void)state;
	len = (size_t)sprintf(text, HEAD);
	for (int i = 0; i < n; i++)
		len += (size_t)sprintf(
			text + len,
			"{\"path\":\"file-%09d\",\"type\":\"file\",\"mode\":"
			"\"644\",\"mtime_ns\":1700000000000000000,\"size\":9,"
			"\"chunk\":0,\"offset\":%d}\n",
			i, i % 900);
	assert_ok(cm_tree_parse(text, len, chunks, 2, &limits, &t, &err), &err);
	assert_int_equal(t->len, n);
	assert_int_equal(cm_tree_search(t, "file-000123456", 14), 123456);
	cm_tree_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree__reads_everything),
		cmocka_unit_test(test_tree__written_is_read_back),
		cmocka_unit_test(test_tree__refuses_bad_paths),
		cmocka_unit_test(test_tree__refuses_long_paths),
		cmocka_unit_test(test_tree__refuses_bad_structure),
		cmocka_unit_test(test_tree__refuses_bad_members),
		cmocka_unit_test(test_tree__refuses_bad_content),
		cmocka_unit_test(test_tree__limits),
		cmocka_unit_test(test_tree__many_entries),
		cmocka_unit_test(test_path__order),
		cmocka_unit_test(test_base64__both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
