/* test_log_line.c - a line is one line, whatever is in it. */
#include "test.h"

#include <jansson.h>
#include <string.h>

#include "log_line.h"

static const char *finish(struct cm_log_line *line)
{
	size_t len;
	const char *text = cm_log_line_end(line, &len);

	line->bytes[len - 1] = '\0'; /* the newline */
	assert_null(strchr(text, '\n'));
	return text;
}

static void test_log_line__json(void **state)
{
	struct cm_log_line line;
	json_t *j;

	(void)state;
	cm_log_line_begin(&line, true, "info", "request");
	cm_log_line_text(&line, "path", "/a\"\\\n\x01\x7f\xff/");
	cm_log_line_text(&line, "none", NULL);
	cm_log_line_number(&line, "status", -12);
	cm_log_line_number(&line, "least", INT64_MIN);
	cm_log_line_millis(&line, "duration_ms", 1234567);
	j = json_loads(finish(&line), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "path")),
			    "/a\"\\\n\x01\x7f\xc3\xbf/");
	assert_null(json_object_get(j, "none"));
	assert_int_equal(json_integer_value(json_object_get(j, "status")), -12);
	assert_true(json_integer_value(json_object_get(j, "least")) ==
		    INT64_MIN);
	assert_true(json_real_value(json_object_get(j, "duration_ms")) ==
		    1234.567);
	assert_int_equal(strlen(json_string_value(json_object_get(j, "time"))),
			 strlen("2026-01-31T09:30:00.123Z"));
	json_decref(j);
}

static void test_log_line__text(void **state)
{
	struct cm_log_line line;
	const char *text;

	(void)state;
	cm_log_line_begin(&line, false, "warn", "event");
	cm_log_line_text(&line, "bare", "/v2/");
	cm_log_line_text(&line, "quoted", "a b\x1b[31m\"");
	cm_log_line_text(&line, "empty", "");
	text = strchr(finish(&line), ' ');
	assert_string_equal(text, " warn event bare=/v2/ "
				  "quoted=\"a b\\x1b[31m\\\"\" empty=\"\"");
}

static void test_log_line__never_overflows(void **state)
{
	char value[2 * CM_LOG_VALUE_MAX];
	struct cm_log_line line;
	json_t *j;

	(void)state;
	memset(value, 1, sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	cm_log_line_begin(&line, true, "info", "e");
	for (int i = 0; i < 20; i++) {
		char key[3] = {'k', (char)('a' + i), '\0'};

		cm_log_line_text(&line, key, value);
		cm_log_line_number(&line, key + 1, INT64_MAX);
	}
	j = json_loads(finish(&line), 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_string_length(json_object_get(j, "ka")),
			 CM_LOG_VALUE_MAX);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_line__json),
		cmocka_unit_test(test_log_line__text),
		cmocka_unit_test(test_log_line__never_overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
