/* test_client_output.c - messages, tables, escapes and JSON. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#include "capture.h"
#include "output.h"

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

static void test_output__say(void **state)
{
	char *text;

	(void)state;
	capture_begin(stderr);
	cm_say("%s and %d", "one", 2);
	cm_say("a\033[2Jb\nc\xff"
	       "d\x9b"
	       "e\xc2\x9b"
	       "f");
	cm_say("schön … 漢");
	text = capture_end();
	assert_string_equal(text, "cachectl: one and 2\n"
				  "cachectl: a?[2Jb?c?d?e??f\n"
				  "cachectl: schön … 漢\n");
	free(text);
}

static void test_output__escaped(void **state)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"plain/path.py", "plain/path.py"},
		{"a\\b", "a\\\\b"},
		{"a\nb\tc\177", "a\\x0ab\\x09c\\x7f"},
		{"é漢😀", "é漢😀"},
		{"\xff\xfe", "\\xff\\xfe"},
		{"\xc3", "\\xc3"},
		{"\xc3(", "\\xc3("},
		{"\xc0\xaf", "\\xc0\\xaf"},	     /* overlong "/" */
		{"\xe0\x80\xaf", "\\xe0\\x80\\xaf"}, /* the same */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* a surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
		{"\xf0\x9f\x98", "\\xf0\\x9f\\x98"},
		{"\xc2\x9b"
		 "1m",
		 "\\xc2\\x9b1m"}, /* CSI as one character */
	};
	char *text;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		capture_begin(stdout);
		cm_print_escaped(stdout, rows[i][0]);
		text = capture_end();
		assert_string_equal(text, rows[i][1]);
		free(text);
	}
}

static void test_output__count(void **state)
{
	char out[CM_COUNT_TEXT_SIZE];

	(void)state;
	assert_string_equal(cm_count(0, "file", out), "0 files");
	assert_string_equal(cm_count(1, "file", out), "1 file");
	assert_string_equal(cm_count(2, "file", out), "2 files");
	assert_string_equal(cm_count(INT64_MIN, "file", out),
			    "-9223372036854775808 files");
}

static char *print(struct cm_table *t, bool *good)
{
	capture_begin(stdout);
	*good = cm_table_print(t);
	return capture_end();
}

static void test_output__table(void **state)
{
	static const char *const headings[] = {"NAME", ">SIZE", "LAST"};
	struct cm_table *t = cm_table_new(headings, 3);
	bool good;
	char *text;

	(void)state;
	cm_table_row(t, (const char *[]){"a", "1 B", "x"});
	cm_table_row(t, (const char *[]){"schön", "1000 B", ""});
	cm_table_row(t, (const char *[]){"\033[1m", NULL, "a\nb"});
	text = print(t, &good);
	assert_true(good);
	assert_string_equal(text, "NAME     SIZE  LAST\n"
				  "a         1 B  x\n"
				  "schön  1000 B  \n"
				  "?[1m           a?b\n");
	free(text);
}

static void test_output__table_many_rows(void **state)
{
	static const char *const headings[] = {"A", "B"};
	struct cm_table *t = cm_table_new(headings, 2);
	char *cell = malloc(10000), *text;
	size_t lines = 0;
	bool good;

	(void)state;
	assert_non_null(cell);
	memset(cell, 'x', 9999);
	cell[9999] = '\0';
	for (size_t i = 0; i < 500; i++)
		cm_table_row(t, (const char *[]){"a", i == 7 ? cell : "b"});
	text = print(t, &good);
	assert_true(good);
	for (char *p = text; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 501);
	free(cell);
	free(text);
}

static void test_output__table_without_memory(void **state)
{
	bool good;
	char *text;

	(void)state;
	cm_table_row(NULL, (const char *[]){"a"});
	text = print(NULL, &good);
	assert_false(good);
	assert_string_equal(text, "");
	free(text);
	cm_table_free(NULL);
}

static void test_output__full_stdout(void **state)
{
	json_t *o = json_pack("{s:i}", "version", 1);
	int saved = dup(STDOUT_FILENO);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int r;

	(void)state;
	if (full < 0)
		skip();
	fflush(stdout);
	dup2(full, STDOUT_FILENO);
	r = cm_print_json(o);
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	close(saved);
	close(full);
	json_decref(o);
	assert_int_equal(r, CM_ERR_IO);
	assert_int_equal(cm_print_json(NULL), CM_ERR_IO);
}

/* A captured log never holds a bar: stderr is no terminal here. */
static void test_output__no_bar(void **state)
{
	struct cm_progress p = {.what = "restore", .bytes_total = 10};
	char *text;

	(void)state;
	capture_begin(stderr);
	cm_bars_enable(true);
	for (int i = 0; i < 12; i++) {
		cm_bar_update(NULL, &p);
		usleep(100000);
	}
	cm_bar_end();
	text = capture_end();
	assert_string_equal(text, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output__say),
		cmocka_unit_test(test_output__escaped),
		cmocka_unit_test(test_output__count),
		cmocka_unit_test(test_output__table),
		cmocka_unit_test(test_output__table_many_rows),
		cmocka_unit_test(test_output__table_without_memory),
		cmocka_unit_test(test_output__full_stdout),
		cmocka_unit_test(test_output__no_bar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
