/* test_faces_api.c - reading the members of a question's JSON object. */
#include "test.h"

#include <string.h>

#include "faces/api.h"
#include "faces/body.h"

static json_t *parse(const char *text)
{
	json_t *object = json_loads(text, 0, NULL);

	assert_non_null(object);
	return object;
}

static void test_faces_api__unknown_fields(void **state)
{
	static const char *const fields[] = {"a", "bc", NULL};
	cm_auto(json) json_t *good = parse("{\"bc\":1,\"a\":2}");
	cm_auto(json) json_t *empty = parse("{}");
	cm_auto(json) json_t *bad = parse("{\"a\":1,\"b\":2}");
	struct cm_error err = {0};

	(void)state;
	assert_ok(cm_api_known_fields(good, fields, &err), &err);
	assert_ok(cm_api_known_fields(empty, fields, &err), &err);
	assert_fails(cm_api_known_fields(bad, fields, &err), CM_ERR_INVALID,
		     &err);
	assert_non_null(strstr(err.text, "\"b\""));
	assert_non_null(strstr(err.text, "a, bc"));
}

static void test_faces_api__strings(void **state)
{
	cm_auto(json) json_t *o = parse("{\"s\":\"text\",\"n\":5,\"z\":null}");
	struct cm_error err = {0};
	const char *s = "before";

	(void)state;
	assert_ok(cm_api_string(o, "absent", &s, &err), &err);
	assert_string_equal(s, "before");
	assert_ok(cm_api_string(o, "z", &s, &err), &err);
	assert_string_equal(s, "before");
	assert_ok(cm_api_string(o, "s", &s, &err), &err);
	assert_string_equal(s, "text");
	assert_fails(cm_api_string(o, "n", &s, &err), CM_ERR_INVALID, &err);
	assert_non_null(strstr(err.text, "n must be a string"));
}

static void test_faces_api__bools(void **state)
{
	cm_auto(json) json_t *o =
		parse("{\"t\":true,\"f\":false,\"s\":\"true\",\"n\":1}");
	struct cm_error err = {0};
	bool b = true;

	(void)state;
	assert_ok(cm_api_bool(o, "absent", &b, &err), &err);
	assert_true(b);
	assert_ok(cm_api_bool(o, "f", &b, &err), &err);
	assert_false(b);
	assert_ok(cm_api_bool(o, "t", &b, &err), &err);
	assert_true(b);
	assert_fails(cm_api_bool(o, "s", &b, &err), CM_ERR_INVALID, &err);
	assert_fails(cm_api_bool(o, "n", &b, &err), CM_ERR_INVALID, &err);
}

static void test_faces_api__repositories(void **state)
{
	cm_auto(json) json_t *o =
		parse("{\"r\":\"main/pip\",\"up\":\"../x\",\"e\":\"\"}");
	struct cm_error err = {0};
	const char *s = NULL;

	(void)state;
	assert_ok(cm_api_repository(o, "absent", &s, &err), &err);
	assert_null(s);
	assert_ok(cm_api_repository(o, "r", &s, &err), &err);
	assert_string_equal(s, "main/pip");
	assert_fails(cm_api_repository(o, "up", &s, &err), CM_ERR_INVALID,
		     &err);
	assert_fails(cm_api_repository(o, "e", &s, &err), CM_ERR_INVALID, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faces_api__unknown_fields),
		cmocka_unit_test(test_faces_api__strings),
		cmocka_unit_test(test_faces_api__bools),
		cmocka_unit_test(test_faces_api__repositories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
