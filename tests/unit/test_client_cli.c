/* test_client_cli.c - options, references, exit codes, help of all verbs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "capture.h"
#include "cli.h"

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))
#define WORDS	12

static const struct cm_option options[] = {
	{'t', "tag", "TAG", ""},
	{'n', "dry-run", NULL, ""},
	{'1', "odd", "X", ""},
	{0, NULL, NULL, NULL},
};

static const struct cm_verb verb = {.name = "try", .options = options};

/*
 * Reads the words of `line` and writes what came of them: "t=TAG n | operand",
 * or what was said on stderr.
 */
static char *read_words(struct cm_cli *cli, const char *line)
{
	static char out[512];
	char *copy = strdup(line), *argv[WORDS + 1] = {NULL}, *save = NULL;
	char *said;
	const char *value;
	int argc = 0, at = 0, key;

	assert_non_null(copy);
	for (char *w = strtok_r(copy, " ", &save); w && argc < WORDS;
	     w = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(w, "''") == 0 ? w + 2 : w;
	out[0] = '\0';
	capture_begin(stderr);
	while ((key = cm_cli_option(cli, &verb, argc, argv, &at, &value)) &&
	       key != '?')
		sprintf(out + strlen(out), "%c%s%s ", key, value ? "=" : "",
			value ? value : "");
	said = capture_end();
	if (key == '?')
		snprintf(out, sizeof(out), "%s", said);
	else
		strcat(out, "|");
	for (; key != '?' && at < argc; at++)
		sprintf(out + strlen(out), " %s", argv[at]);
	free(said);
	free(copy);
	return out;
}

static void test_cli__options(void **state)
{
	static const char *const rows[][2] = {
		{"", "|"},
		{"a b", "| a b"},
		{"-t x", "t=x |"},
		{"-tx", "t=x |"},
		{"--tag x y", "t=x | y"},
		{"--tag=x", "t=x |"},
		{"--tag=", "t= |"},
		{"--tag ''", "t= |"},
		{"--tag --dry-run", "t=--dry-run |"},
		{"-n -n", "n n |"},
		{"--odd=1=2", "1=1=2 |"},
		{"-n -- -n", "n | -n"},
		{"-n a -n", "n | a -n"},
		{"-", "| -"},
		{"--json -q -v --no-color -n x", "n | x"},
		{"-h", "h |"},
		{"--help", "h |"},
		{"--scope s -n", "n |"},
		{"--strict -n", "n |"},
	};
	struct cm_cli cli = {0};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_string_equal(read_words(&cli, rows[i][0]), rows[i][1]);
	assert_true(cli.json && cli.quiet && cli.verbose && cli.no_color);
	assert_string_equal(cli.config.values[CM_SET_STRICT], "yes");
	assert_string_equal(cli.config.origins[CM_SET_STRICT], "flag --strict");
	cm_config_release(&cli.config);
}

static void test_cli__wrong_options(void **state)
{
	static const char *const rows[][2] = {
		{"-t", "-t needs TAG (see cachectl help try)"},
		{"--tag", "--tag needs TAG"},
		{"--scope", "--scope needs SCOPE"},
		{"-x", "there is no option -x"},
		{"-1", "there is no option -1"},
		{"-nn", "there is no option -nn"},
		{"--", ""},
		{"--nothing", "there is no option --nothing"},
		{"--nothing=x", "there is no option --nothing "},
		{"--=x", "there is no option -- "},
		{"--dry-run=yes", "--dry-run takes no value"},
		{"--json=yes", "--json takes no value"},
	};
	struct cm_cli cli = {0};
	const char *said;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		said = read_words(&cli, rows[i][0]);
		if (!strstr(said, rows[i][1]))
			fail_msg("%s: \"%s\" does not say \"%s\"", rows[i][0],
				 said, rows[i][1]);
	}
	cm_config_release(&cli.config);
}

static void test_cli__last_setting_wins(void **state)
{
	struct cm_cli cli = {0};

	(void)state;
	read_words(&cli, "--scope a --scope=b --strict=no");
	assert_string_equal(cli.config.values[CM_SET_SCOPE], "b");
	assert_string_equal(cli.config.values[CM_SET_STRICT], "no");
	cm_config_release(&cli.config);
}

static void test_cli__references(void **state)
{
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	static const char *const good[][3] = {
		{"main/pip:t", "main/pip", "t"},
		{"a:1.2-x_Y", "a", "1.2-x_Y"},
		{"a/b/c@sha256:" HEX, "a/b/c", "sha256:" HEX},
	};
	static const char *const bad[] = {
		"",
		"main",
		"main/pip",
		":t",
		"main/pip:",
		"main/pip:a b",
		"main/pip:-a",
		"Main/pip:t",
		"main//pip:t",
		"../x:t",
		"a:b:c",
		"host:5000/a:t",
		"a@sha256:12",
		"a@md5:" HEX,
		"a:t@sha256:" HEX,
		"@sha256:" HEX,
		"a@",
	};
	struct cm_reference ref;
	struct cm_error err = {0};
	char text[600];

	(void)state;
	for (size_t i = 0; i < ROWS(good); i++) {
		assert_ok(cm_reference_parse(good[i][0], &ref, &err), &err);
		assert_string_equal(ref.repo, good[i][1]);
		assert_string_equal(ref.reference, good[i][2]);
	}
	for (size_t i = 0; i < ROWS(bad); i++)
		if (cm_reference_parse(bad[i], &ref, &err) >= 0)
			fail_msg("\"%s\" must be refused", bad[i]);
	memset(text, 'a', sizeof(text));
	strcpy(text + CM_REPOSITORY_MAX + 1, ":t");
	assert_true(cm_reference_parse(text, &ref, &err) < 0);
	strcpy(text + CM_REPOSITORY_MAX, ":t");
	assert_ok(cm_reference_parse(text, &ref, &err), &err);
	assert_int_equal(strlen(ref.repo), CM_REPOSITORY_MAX);
	memset(text, 'a', sizeof(text));
	text[1] = ':';
	text[2 + CM_TAG_MAX] = '\0';
	assert_ok(cm_reference_parse(text, &ref, &err), &err);
	text[2 + CM_TAG_MAX] = 'a';
	text[3 + CM_TAG_MAX] = '\0';
	assert_true(cm_reference_parse(text, &ref, &err) < 0);
}

static void test_cli__failures(void **state)
{
	static const struct {
		enum cm_status status;
		int exit;
	} rows[] = {
		{CM_ERR_NOT_FOUND, 10},	   {CM_ERR_UNAVAILABLE, 11},
		{CM_ERR_BUSY, 11},	   {CM_ERR_DENIED, 12},
		{CM_ERR_UNAUTHORIZED, 12}, {CM_ERR_IO, 1},
		{CM_ERR_PROTOCOL, 1},
	};
	struct cm_cli cli = {.json = true};
	struct cm_error err = {0};
	char *said;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(cm_cli_exit(rows[i].status), rows[i].exit);
	cm_error_set(&err, CM_ERR_NOT_FOUND, "no \"x\"");
	capture_begin(stderr);
	assert_int_equal(cm_cli_fail(&cli, &err), 10);
	said = capture_end();
	assert_string_equal(said, "{\"error\":\"not-found\",\"message\":"
				  "\"no \\\"x\\\"\"}\n");
	free(said);
}

static void test_cli__json_of_text(void **state)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"é", "é"},
		{"a\xff"
		 "b",
		 "a?b"},
		{"é\xff", "???"},
	};
	json_t *o;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		o = cm_json_of_text(rows[i][0]);
		assert_string_equal(json_string_value(o), rows[i][1]);
		json_decref(o);
	}
}

/* The columns of a line: its characters. */
static size_t columns(const char *line)
{
	size_t n = 0;

	for (; *line; line++)
		n += (*line & 0xc0) != 0x80;
	return n;
}

static void check_help(const char *name)
{
	struct cm_cli cli = {0};
	char *words[] = {(char *)(uintptr_t)name}, *text, *save = NULL;

	capture_begin(stdout);
	assert_int_equal(cm_cmd_help(&cli, name ? 1 : 0, words), 0);
	text = capture_end();
	assert_true(strlen(text) > 100);
	for (char *l = strtok_r(text, "\n", &save); l;
	     l = strtok_r(NULL, "\n", &save))
		if (columns(l) > 80)
			fail_msg("help %s: over 80 columns: %s",
				 name ? name : "", l);
	free(text);
}

static void test_cli__help(void **state)
{
	(void)state;
	check_help(NULL);
	for (size_t i = 0; i < cm_verbs_len; i++) {
		assert_ptr_equal(cm_verb_find(cm_verbs[i].name), &cm_verbs[i]);
		check_help(cm_verbs[i].name);
	}
	assert_null(cm_verb_find("nothing"));
}

/* Two options of a verb that share a key would be taken for one another. */
static void test_cli__keys(void **state)
{
	const struct cm_option *a, *b;

	(void)state;
	for (size_t i = 0; i < cm_verbs_len; i++)
		for (a = cm_verbs[i].options; a && a->name; a++) {
			assert_null(strchr("hjqvC?", a->key));
			for (b = a + 1; b->name; b++)
				assert_int_not_equal(a->key, b->key);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cli__options),
		cmocka_unit_test(test_cli__wrong_options),
		cmocka_unit_test(test_cli__last_setting_wins),
		cmocka_unit_test(test_cli__references),
		cmocka_unit_test(test_cli__failures),
		cmocka_unit_test(test_cli__json_of_text),
		cmocka_unit_test(test_cli__help),
		cmocka_unit_test(test_cli__keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
