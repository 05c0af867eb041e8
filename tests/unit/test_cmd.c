/* test_cmd.c - the words behind a verb of cachemountd. */
#include "test.h"

#include <string.h>

#include "cmd.h"

static int parse(const char *verb, char *const *words, struct cm_cmd_args *ret,
		 struct cm_error *err)
{
	int argc = 0;

	while (words[argc])
		argc++;
	assert_non_null(cm_cmd_find(verb));
	return cm_cmd_parse(cm_cmd_find(verb), argc, words, ret, err);
}

#define PARSE(verb, args, err, ...)                                            \
	parse((verb), (char *const[]){(char[]){verb}, ##__VA_ARGS__, NULL},    \
	      (args), (err))
#define W(word) ((char[]){word})

static void test_cmd__only_known_verbs(void **state)
{
	(void)state;
	assert_non_null(cm_cmd_find("fsck"));
	assert_non_null(cm_cmd_find("backup"));
	assert_non_null(cm_cmd_find("rebuild"));
	assert_null(cm_cmd_find("--data"));
	assert_null(cm_cmd_find(""));
	assert_null(cm_cmd_find("fsc"));
}

static void test_cmd__options(void **state)
{
	struct cm_cmd_args a;
	struct cm_error err = {0};

	(void)state;
	assert_ok(PARSE("fsck", &a, &err, W("--data=/d"), W("--repair"),
			W("--read-data")),
		  &err);
	assert_string_equal(a.data, "/d");
	assert_true(a.repair && a.read_data && !a.help);
	assert_ok(PARSE("rebuild", &a, &err, W("--from"), W("f"), W("--empty"),
			W("--force"), W("--config"), W("c")),
		  &err);
	assert_string_equal(a.from, "f");
	assert_string_equal(a.config, "c");
	assert_true(a.empty && a.force);
	assert_null(a.data);
	assert_ok(PARSE("backup", &a, &err, W("--data"), W("/d"), W("out")),
		  &err);
	assert_string_equal(a.operand, "out");
	assert_ok(PARSE("backup", &a, &err, W("--help")), &err);
	assert_true(a.help);
}

static void test_cmd__wrong_use(void **state)
{
	struct cm_cmd_args a;
	struct cm_error err = {0};

	(void)state;
	assert_fails(PARSE("fsck", &a, &err, W("--force")), CM_ERR_INVALID,
		     &err);
	assert_non_null(strstr(err.text, "--force"));
	assert_fails(PARSE("rebuild", &a, &err, W("--repair")), CM_ERR_INVALID,
		     &err);
	assert_fails(PARSE("fsck", &a, &err, W("--nonsense")), CM_ERR_INVALID,
		     &err);
	assert_fails(PARSE("fsck", &a, &err, W("-x")), CM_ERR_INVALID, &err);
	assert_fails(PARSE("fsck", &a, &err, W("--data")), CM_ERR_INVALID,
		     &err);
	assert_fails(PARSE("fsck", &a, &err, W("folder")), CM_ERR_INVALID,
		     &err);
	assert_fails(PARSE("backup", &a, &err), CM_ERR_INVALID, &err);
	assert_fails(PARSE("backup", &a, &err, W("a"), W("b")), CM_ERR_INVALID,
		     &err);
}

static void test_cmd__exit_statuses(void **state)
{
	(void)state;
	assert_int_equal(cm_exit_of(CM_OK), CM_EXIT_OK);
	assert_int_equal(cm_exit_of(CM_ERR_BUSY), CM_EXIT_BUSY);
	assert_int_equal(cm_exit_of(CM_ERR_CORRUPT), CM_EXIT_CORRUPT);
	assert_int_equal(cm_exit_of(CM_ERR_NO_SPACE), CM_EXIT_DATA);
	assert_int_equal(cm_exit_of(CM_ERR_PRECONDITION), CM_EXIT_FAILURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmd__only_known_verbs),
		cmocka_unit_test(test_cmd__options),
		cmocka_unit_test(test_cmd__wrong_use),
		cmocka_unit_test(test_cmd__exit_statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
