/* test_common_error.c - recording, wrapping and naming of failures. */
#include <errno.h>
#include <string.h>

#include "test.h"

static void test_error__set_returns_status_and_keeps_errno(void **state)
{
	struct cm_error err = {0};

	(void)state;
	errno = EAGAIN;
	assert_int_equal(cm_error_set(&err, CM_ERR_BUSY, "slot %d", 7),
			 CM_ERR_BUSY);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(err.status, CM_ERR_BUSY);
	assert_int_equal(err.os_errno, 0);
	assert_string_equal(err.text, "slot 7");
}

static void test_error__null_err_is_legal(void **state)
{
	(void)state;
	errno = ENOSPC;
	assert_int_equal(cm_error_set(NULL, CM_ERR_SIZE, "x"), CM_ERR_SIZE);
	assert_int_equal(cm_error_errno(NULL, "x"), CM_ERR_NO_SPACE);
	assert_int_equal(cm_error_nomem(NULL), CM_ERR_NO_MEMORY);
	assert_int_equal(cm_error_wrap(NULL, "x"), CM_ERR_INTERNAL);
}

static void test_error__errno_picks_status(void **state)
{
	static const struct {
		int os_errno;
		enum cm_status status;
	} rows[] = {
		{ENOSPC, CM_ERR_NO_SPACE},  {EDQUOT, CM_ERR_NO_SPACE},
		{ENOENT, CM_ERR_NOT_FOUND}, {ENOMEM, CM_ERR_NO_MEMORY},
		{EIO, CM_ERR_IO},	    {EROFS, CM_ERR_IO},
		{EACCES, CM_ERR_IO},
	};
	struct cm_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&err, 0, sizeof(err));
		errno = rows[i].os_errno;
		assert_int_equal(cm_error_errno(&err, "write %s", "f"),
				 rows[i].status);
		assert_int_equal(errno, rows[i].os_errno);
		assert_int_equal(err.os_errno, rows[i].os_errno);
		assert_memory_equal(err.text, "write f: ", 9);
		assert_true(strlen(err.text) > 9);
	}
}

static void test_error__long_text_is_cut(void **state)
{
	char longer[2 * CM_ERROR_TEXT_MAX];
	struct cm_error err;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cm_error_set(&err, CM_ERR_INVALID, "%s", longer);
	assert_int_equal(strlen(err.text), CM_ERROR_TEXT_MAX - 1);
	cm_error_wrap(&err, "%s", longer);
	assert_int_equal(strlen(err.text), CM_ERROR_TEXT_MAX - 1);
	errno = EIO;
	cm_error_errno(&err, "%s", longer);
	assert_int_equal(strlen(err.text), CM_ERROR_TEXT_MAX - 1);
}

static void test_error__text_is_one_plain_line(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"a\nb\tc\x1b[31m\x7f", "a?b?c?[31m?"},
		{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x8b",
		 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x8b"},
		{"latin\xe9", "latin?"},
		{"\xff\xfe", "??"},
		{"\xc0\xaf", "??"},	      /* overlong "/" */
		{"\xe0\x80\xaf", "???"},      /* the same, longer */
		{"\xed\xa0\x80", "???"},      /* a surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* over U+10FFFF */
		{"\xc2\x9b", "??"},	      /* CSI in one character */
		{"\xe2\x82", "??"},	      /* cut */
		{"\xf0\x9f\x90", "???"},      /* cut */
		{"\xe2\x82\xac", "\xe2\x82\xac"},
	};
	struct cm_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cm_error_set(&err, CM_ERR_INVALID, "%s", rows[i].in);
		assert_string_equal(err.text, rows[i].out);
		cm_error_wrap(&err, "%s", rows[i].in);
		assert_memory_equal(err.text, rows[i].out, strlen(rows[i].out));
	}
}

static void test_error__cut_inside_a_character_is_still_utf8(void **state)
{
	char longer[CM_ERROR_TEXT_MAX + 8];
	struct cm_error err;

	(void)state;
	memset(longer, 'x', sizeof(longer));
	strcpy(longer + CM_ERROR_TEXT_MAX - 2, "\xe2\x82\xac");
	cm_error_set(&err, CM_ERR_INVALID, "%s", longer);
	assert_int_equal(strlen(err.text), CM_ERROR_TEXT_MAX - 1);
	assert_int_equal(err.text[CM_ERROR_TEXT_MAX - 2], '?');
	/* Wrapped, the character that was whole is cut at the end. */
	strcpy(longer + CM_ERROR_TEXT_MAX - 5, "\xe2\x82\xac");
	cm_error_set(&err, CM_ERR_INVALID, "%s", longer);
	cm_error_wrap(&err, "c");
	assert_int_equal(err.text[CM_ERROR_TEXT_MAX - 2], '?');
}

static void test_error__wrap_prepends(void **state)
{
	struct cm_error err = {0};

	(void)state;
	cm_error_set(&err, CM_ERR_DIGEST, "bytes differ");
	assert_int_equal(cm_error_wrap(&err, "chunk %d", 3), CM_ERR_DIGEST);
	assert_int_equal(cm_error_wrap(&err, "restore"), CM_ERR_DIGEST);
	assert_string_equal(err.text, "restore: chunk 3: bytes differ");
}

static void test_error__wrap_of_nothing_is_internal(void **state)
{
	struct cm_error err = {0};

	(void)state;
	assert_int_equal(cm_error_wrap(&err, "x"), CM_ERR_INTERNAL);
}

static void test_error__wrap_keeps_the_os_errno(void **state)
{
	struct cm_error err = {0};

	(void)state;
	errno = EROFS;
	cm_error_errno(&err, "open");
	cm_error_wrap(&err, "store");
	assert_int_equal(err.os_errno, EROFS);
}

static void test_error__every_status_has_its_own_name(void **state)
{
	(void)state;
	assert_string_equal(cm_status_name(CM_OK), "ok");
	for (int a = CM_OK; a >= CM_ERR_INTERNAL; a--) {
		assert_string_not_equal(cm_status_name((enum cm_status)a),
					"unknown");
		for (int b = a - 1; b >= CM_ERR_INTERNAL; b--)
			assert_string_not_equal(
				cm_status_name((enum cm_status)a),
				cm_status_name((enum cm_status)b));
	}
	assert_string_equal(cm_status_name((enum cm_status) - 99), "unknown");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_error__set_returns_status_and_keeps_errno),
		cmocka_unit_test(test_error__null_err_is_legal),
		cmocka_unit_test(test_error__errno_picks_status),
		cmocka_unit_test(test_error__long_text_is_cut),
		cmocka_unit_test(test_error__text_is_one_plain_line),
		cmocka_unit_test(
			test_error__cut_inside_a_character_is_still_utf8),
		cmocka_unit_test(test_error__wrap_prepends),
		cmocka_unit_test(test_error__wrap_of_nothing_is_internal),
		cmocka_unit_test(test_error__wrap_keeps_the_os_errno),
		cmocka_unit_test(test_error__every_status_has_its_own_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
