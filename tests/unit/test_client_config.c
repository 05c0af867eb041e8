/* test_client_config.c - the client's settings, and where each comes from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "config.h"

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

struct fixture {
	struct cm_config config;
	struct cm_error err;
	char dir[64], user_file[128], token_file[128];
};

static struct fixture fixture;

static const char *const variables[] = {
	"CACHEMOUNT_SERVER",	    "CACHEMOUNT_SCOPE",
	"CACHEMOUNT_FALLBACK",	    "CACHEMOUNT_TOKEN_FILE",
	"CACHEMOUNT_CA_FILE",	    "CACHEMOUNT_CONNECT_TIMEOUT",
	"CACHEMOUNT_STALL_TIMEOUT", "CACHEMOUNT_JOBS",
	"CACHEMOUNT_STRICT",	    "CACHEMOUNT_CONFIG",
	"XDG_CONFIG_HOME",	    "CACHEMOUNT_PORT",
};

/* An empty home, and nothing in the environment. */
static int setup(void **state)
{
	char path[96];

	fixture = (struct fixture){.dir = "test_client_config.XXXXXX"};
	if (!mkdtemp(fixture.dir))
		return -1;
	for (size_t i = 0; i < ROWS(variables); i++)
		unsetenv(variables[i]);
	snprintf(path, sizeof(path), "%s/cachemount", fixture.dir);
	snprintf(fixture.user_file, sizeof(fixture.user_file),
		 "%s/cachectl.conf", path);
	snprintf(fixture.token_file, sizeof(fixture.token_file), "%s/token",
		 fixture.dir);
	*state = &fixture;
	return mkdir(path, 0700);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[96];

	cm_config_release(&f->config);
	unlink(f->user_file);
	unlink(f->token_file);
	snprintf(path, sizeof(path), "%s/cachemount", f->dir);
	rmdir(path);
	return rmdir(f->dir);
}

static void write_bytes(const char *name, const char *bytes, size_t len)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	fclose(f);
}

static void write_file(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

/* The user's file is found by an absolute $XDG_CONFIG_HOME only. */
static void use_home(const struct fixture *f)
{
	char *path = realpath(f->dir, NULL);

	assert_non_null(path);
	setenv("XDG_CONFIG_HOME", path, 1);
	free(path);
}

static int finish(struct fixture *f)
{
	f->err = (struct cm_error){0};
	return cm_config_finish(&f->config, &f->err);
}

static void set(struct fixture *f, enum cm_setting which, const char *value)
{
	assert_ok(cm_config_set(&f->config, which, value, "flag", &f->err),
		  &f->err);
}

static void says(const struct fixture *f, const char *words)
{
	if (!strstr(f->err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", f->err.text, words);
}

static void test_client_config__defaults(void **state)
{
	struct fixture *f = *state;

	assert_ok(finish(f), &f->err);
	assert_string_equal(f->config.values[CM_SET_SERVER],
			    "http://127.0.0.1:8080");
	assert_string_equal(f->config.origins[CM_SET_SERVER], "built in");
	assert_string_equal(f->config.values[CM_SET_SCOPE], "main");
	assert_null(f->config.values[CM_SET_CA_FILE]);
	assert_int_equal(f->config.connect_ms, 1000);
	assert_int_equal(f->config.stall_ms, 5000);
	assert_int_equal(f->config.jobs, 0);
	assert_int_equal(f->config.fallbacks_len, 0);
	assert_false(f->config.strict);
}

static void test_client_config__precedence(void **state)
{
	struct fixture *f = *state;

	use_home(f);
	write_file(f->user_file, "# mine\nserver = http://file:1\n"
				 "scope = from-file\njobs = 3\n");
	setenv("CACHEMOUNT_SERVER", "http://env:1", 1);
	setenv("CACHEMOUNT_SCOPE", "from-env", 1);
	set(f, CM_SET_SERVER, "http://flag:1");
	assert_ok(finish(f), &f->err);
	assert_string_equal(f->config.values[CM_SET_SERVER], "http://flag:1");
	assert_string_equal(f->config.origins[CM_SET_SERVER], "flag");
	assert_string_equal(f->config.values[CM_SET_SCOPE], "from-env");
	assert_string_equal(f->config.origins[CM_SET_SCOPE],
			    "environment CACHEMOUNT_SCOPE");
	assert_int_equal(f->config.jobs, 3);
	assert_non_null(strstr(f->config.origins[CM_SET_JOBS],
			       "/cachemount/cachectl.conf"));
}

static void test_client_config__named_file_alone(void **state)
{
	struct fixture *f = *state;

	use_home(f);
	write_file(f->user_file, "scope = users\n");
	write_file(f->token_file, "jobs = 5\n");
	setenv("CACHEMOUNT_CONFIG", f->token_file, 1);
	assert_ok(finish(f), &f->err);
	assert_int_equal(f->config.jobs, 5);
	assert_string_equal(f->config.values[CM_SET_SCOPE], "main");
	cm_config_release(&f->config);
	setenv("CACHEMOUNT_CONFIG", "/nonexistent/file", 1);
	assert_fails(finish(f), CM_ERR_NOT_FOUND, &f->err);
	says(f, "/nonexistent/file");
}

static void test_client_config__every_setting_everywhere(void **state)
{
	static const char *const values[CM_SETTINGS_LEN] = {
		[CM_SET_SERVER] = "http://x:1",
		[CM_SET_SCOPE] = "pr-12/a",
		[CM_SET_FALLBACK] = "main, base,trusted/x",
		[CM_SET_TOKEN_FILE] = "/tok",
		[CM_SET_CA_FILE] = "/ca",
		[CM_SET_CONNECT_TIMEOUT] = "250ms",
		[CM_SET_STALL_TIMEOUT] = "1m",
		[CM_SET_JOBS] = "64",
		[CM_SET_STRICT] = "on",
	};
	struct fixture *f = *state;
	char text[1024] = "", line[128];

	for (size_t i = 0; i < CM_SETTINGS_LEN; i++) {
		snprintf(line, sizeof(line), "%s = %s\n", cm_settings[i].name,
			 values[i]);
		strcat(text, line);
		setenv(variables[i], values[i], 1);
	}
	assert_ok(finish(f), &f->err);
	cm_config_release(&f->config);
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		unsetenv(variables[i]);
	assert_ok(cm_config_read(&f->config, text, "F", &f->err), &f->err);
	assert_ok(finish(f), &f->err);
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++) {
		assert_string_equal(f->config.values[i], values[i]);
		assert_string_equal(f->config.origins[i], "F");
	}
	assert_int_equal(f->config.fallbacks_len, 3);
	assert_string_equal(f->config.fallback_scopes[1], "base");
	assert_int_equal(f->config.connect_ms, 250);
	assert_int_equal(f->config.stall_ms, 60000);
	assert_int_equal(f->config.jobs, 64);
	assert_true(f->config.strict);
}

static void test_client_config__kubernetes_variables(void **state)
{
	struct fixture *f = *state;

	setenv("CACHEMOUNT_PORT", "tcp://10.0.0.1:8080", 1);
	setenv("CACHEMOUNT_SERVICE_HOST", "10.0.0.1", 1);
	setenv("CACHEMOUNT_SERVER_SERVICE_HOST", "10.0.0.1", 1);
	setenv("CACHEMOUNT_SERVER_PORT", "tcp://10.0.0.1:8080", 1);
	setenv("CACHEMOUNT_PORT_8080_TCP_ADDR", "10.0.0.1", 1);
	setenv("CACHEMOUNT_SCOPE", "", 1);
	assert_ok(finish(f), &f->err);
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		if (f->config.values[i] && i != CM_SET_TOKEN_FILE)
			assert_string_equal(f->config.origins[i], "built in");
}

static void test_client_config__wrong_values(void **state)
{
	static const struct {
		enum cm_setting which;
		const char *value, *said;
	} rows[] = {
		{CM_SET_SCOPE, "", "scope (flag): \"\" is no scope"},
		{CM_SET_SCOPE, "Main", "is no scope"},
		{CM_SET_SCOPE, "main/", "is no scope"},
		{CM_SET_SCOPE, "../x", "is no scope"},
		{CM_SET_FALLBACK, "main,Base", "fallback (flag): \"Base\""},
		{CM_SET_CONNECT_TIMEOUT, "soon", "connect-timeout (flag)"},
		{CM_SET_CONNECT_TIMEOUT, "", "connect-timeout"},
		{CM_SET_CONNECT_TIMEOUT, "0", "lets nothing through"},
		{CM_SET_STALL_TIMEOUT, "-1s", "stall-timeout"},
		{CM_SET_STALL_TIMEOUT, "0ms", "stall-timeout"},
		{CM_SET_JOBS, "65", "jobs (flag): \"65\" is no number from 0"},
		{CM_SET_JOBS, "-1", "jobs"},
		{CM_SET_JOBS, "", "jobs"},
		{CM_SET_JOBS, "4x", "jobs"},
		{CM_SET_JOBS, "99999999999999999999", "jobs"},
		{CM_SET_STRICT, "maybe", "strict (flag): \"maybe\" is neither"},
		{CM_SET_STRICT, "", "strict"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ROWS(rows); i++) {
		set(f, rows[i].which, rows[i].value);
		assert_fails(finish(f), CM_ERR_INVALID, &f->err);
		says(f, rows[i].said);
		cm_config_release(&f->config);
	}
}

static void test_client_config__limits(void **state)
{
	struct fixture *f = *state;
	char scope[130];

	set(f, CM_SET_FALLBACK, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p");
	assert_ok(finish(f), &f->err);
	assert_int_equal(f->config.fallbacks_len, CM_FALLBACKS_MAX);
	cm_config_release(&f->config);
	set(f, CM_SET_FALLBACK, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q");
	assert_fails(finish(f), CM_ERR_INVALID, &f->err);
	cm_config_release(&f->config);
	memset(scope, 'a', sizeof(scope));
	scope[128] = '\0';
	set(f, CM_SET_SCOPE, scope);
	assert_ok(finish(f), &f->err);
	cm_config_release(&f->config);
	scope[128] = 'a', scope[129] = '\0';
	set(f, CM_SET_SCOPE, scope);
	assert_fails(finish(f), CM_ERR_INVALID, &f->err);
}

static void test_client_config__bad_files(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{"scoop = x\n", "F: there is no setting \"scoop\""},
		{"[x]\nscope = x\n", "in a section"},
		{"scope\n", "F: line 1 is not of the form"},
		{"jobs = 1\nscope\n", "F: line 2"},
		{"jobs = 1\njobs = 2\n", "jobs is set twice"},
		{"fallback = a,\n  b\n", "goes on in the next line"},
	};
	static const char nul[] = "scope = a\0\njobs = 2\n";
	struct fixture *f = *state;
	char *big;

	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_fails(
			cm_config_read(&f->config, rows[i].text, "F", &f->err),
			CM_ERR_INVALID, &f->err);
		says(f, rows[i].said);
		cm_config_release(&f->config);
	}
	use_home(f);
	write_bytes(f->user_file, nul, sizeof(nul) - 1);
	assert_fails(finish(f), CM_ERR_INVALID, &f->err);
	says(f, "NUL");
	cm_config_release(&f->config);
	big = malloc(70000);
	assert_non_null(big);
	write_bytes(f->user_file, memset(big, '\n', 70000), 70000);
	assert_fails(finish(f), CM_ERR_SIZE, &f->err);
	free(big);
}

/* $HOME may be a file, or lie in the way; that is no reason to stop. */
static void test_client_config__odd_homes(void **state)
{
	struct fixture *f = *state;

	setenv("XDG_CONFIG_HOME", "/dev/null", 1);
	assert_ok(finish(f), &f->err);
	cm_config_release(&f->config);
	setenv("XDG_CONFIG_HOME", "relative", 1);
	setenv("HOME", "/nonexistent", 1);
	assert_ok(finish(f), &f->err);
	cm_config_release(&f->config);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("HOME");
	assert_ok(finish(f), &f->err);
}

static void test_client_config__token(void **state)
{
	static const char nul[] = "ab\0cd";
	struct fixture *f = *state;
	char long_token[5000];

	set(f, CM_SET_TOKEN_FILE, f->token_file);
	assert_ok(finish(f), &f->err);
	assert_fails(cm_config_token(&f->config, &f->err), CM_ERR_NOT_FOUND,
		     &f->err);
	says(f, "token-file (flag): ");
	write_file(f->token_file, "\r\nsecret\n");
	assert_fails(cm_config_token(&f->config, &f->err), CM_ERR_INVALID,
		     &f->err);
	says(f, "holds no token in its first line");
	write_bytes(f->token_file, nul, sizeof(nul));
	assert_fails(cm_config_token(&f->config, &f->err), CM_ERR_INVALID,
		     &f->err);
	memset(long_token, 'a', sizeof(long_token));
	write_bytes(f->token_file, long_token, sizeof(long_token));
	assert_fails(cm_config_token(&f->config, &f->err), CM_ERR_SIZE,
		     &f->err);
	assert_null(f->config.token);
	write_file(f->token_file, "secret\r\n# a comment\n");
	assert_ok(cm_config_token(&f->config, &f->err), &f->err);
	assert_string_equal(f->config.token, "secret");
	assert_ok(cm_config_token(&f->config, &f->err), &f->err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client_config__defaults,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_config__precedence,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_client_config__named_file_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_client_config__every_setting_everywhere, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_client_config__kubernetes_variables, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_client_config__wrong_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_config__limits,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_config__bad_files,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_config__odd_homes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_config__token,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
