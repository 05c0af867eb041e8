/* test_config.c - settings from flags, environment and file. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "request.h"

#define ARGS_MAX 20

struct fixture {
	struct cm_config config;
	struct cm_error err;
	char file[64];
};

static struct fixture fixture;

static int setup(void **state)
{
	int fd;

	fixture = (struct fixture){.file = "test_config.XXXXXX"};
	fd = mkstemp(fixture.file);
	*state = &fixture;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cm_config_release(&f->config);
	return unlink(f->file);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Loads with the words of `args` behind the program's name. */
static int load(struct fixture *f, char *const environment[], const char *args)
{
	char *argv[ARGS_MAX] = {(char *)(uintptr_t) "cachemountd"},
	     *save = NULL;
	char *copy = strdup(args), *word;
	int argc = 1, rc;

	assert_non_null(copy);
	word = strtok_r(copy, " ", &save);
	for (; word && argc < ARGS_MAX - 1; argc++) {
		argv[argc] = word;
		word = strtok_r(NULL, " ", &save);
	}
	argv[argc] = NULL;
	cm_config_release(&f->config);
	rc = cm_config_load(argc, argv, environment, &f->config, &f->err);
	free(copy);
	return rc;
}

static char *no_environment[] = {NULL};

static void test_config__defaults(void **state)
{
	struct fixture *f = *state;

	assert_ok(load(f, no_environment, ""), &f->err);
	assert_string_equal(f->config.listen, "127.0.0.1:8080");
	assert_non_null(f->config.data);
	assert_null(f->config.token_file);
	assert_false(f->config.anonymous_set);
	assert_int_equal(f->config.workers, 32);
	assert_int_equal(f->config.lease_ms, 3600000);
	assert_int_equal(f->config.drain_timeout_ms, 30000);
	assert_int_equal(f->config.mode, CM_MODE_SERVE);
	assert_true(f->config.access_log);
}

static void test_config__flags_over_environment_over_file(void **state)
{
	char *environment[] = {
		(char *)(uintptr_t) "CACHEMOUNT_WORKERS=5",
		(char *)(uintptr_t) "CACHEMOUNT_LEASE=2h",
		NULL,
	};
	struct fixture *f = *state;
	char args[128];

	write_file(f->file, "workers = 4\nlease = 3h\nupload-ttl=5h\n");
	snprintf(args, sizeof(args), "--config %s --workers=6", f->file);
	assert_ok(load(f, environment, args), &f->err);
	assert_int_equal(f->config.workers, 6);
	assert_int_equal(f->config.lease_ms, 2 * 3600000);
	assert_int_equal(f->config.upload_ttl_ms, 5 * 3600000);
}

static void test_config__limits(void **state)
{
	char *environment[] = {
		(char *)(uintptr_t) "CACHEMOUNT_QUOTA=main=2GiB,pr-1=5MiB",
		NULL,
	};
	struct fixture *f = *state;
	char args[128];

	assert_ok(load(f, no_environment, ""), &f->err);
	assert_int_equal(f->config.max_bytes, CM_MAX_BYTES_AUTO);
	assert_int_equal(f->config.high_percent, 95);
	assert_int_equal(f->config.low_percent, 90);
	assert_int_equal(f->config.quotas_len, 0);
	write_file(f->file,
		   "max-size = 10GiB\nquota = main=1GiB\nquota = x=7KiB\n");
	snprintf(args, sizeof(args),
		 "--config %s --quota pr-1=6MiB --quota pr-2=1MiB", f->file);
	assert_ok(load(f, environment, args), &f->err);
	assert_int_equal(f->config.max_bytes, 10LL << 30);
	assert_int_equal(f->config.quotas_len, 4);
	assert_string_equal(f->config.quotas[0].scope, "main");
	assert_int_equal(f->config.quotas[0].bytes, 2LL << 30);
	assert_string_equal(f->config.quotas[1].scope, "x");
	assert_string_equal(f->config.quotas[2].scope, "pr-1");
	assert_int_equal(f->config.quotas[2].bytes, 6 << 20);
	assert_ok(load(f, no_environment, "--max-size none"), &f->err);
	assert_int_equal(f->config.max_bytes, CM_MAX_BYTES_NONE);
}

static void test_config__bad_limits(void **state)
{
	static const char *const bad[] = {
		"--max-size=0",		  "--max-size=1000",
		"--max-size=-5GiB",	  "--max-size=much",
		"--high-watermark=101",	  "--high-watermark=90",
		"--low-watermark=95",	  "--quota=main",
		"--quota=main=",	  "--quota==5GiB",
		"--quota=main/a=5GiB",	  "--quota=Main=5GiB",
		"--quota=a=1GiB,",	  "--quota=main=0",
		"--quota=main=99999999T",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (load(f, no_environment, bad[i]) != CM_ERR_INVALID)
			fail_msg("%s is taken", bad[i]);
}

static void test_config__file_named_by_environment(void **state)
{
	struct fixture *f = *state;
	char variable[128];
	char *environment[] = {variable, NULL};

	write_file(f->file, "allow-anonymous = pull\n");
	snprintf(variable, sizeof(variable), "CACHEMOUNT_CONFIG=%s", f->file);
	assert_ok(load(f, environment, ""), &f->err);
	assert_true(f->config.anonymous_set);
	assert_int_equal(f->config.anonymous, CM_PERM_PULL);
}

static void test_config__every_setting_by_flag(void **state)
{
	struct fixture *f = *state;

	assert_ok(load(f, no_environment,
		       "--data=/d --listen [::1]:0 --token-file t "
		       "--allow-anonymous=push --workers=1 "
		       "--max-connections=100 --lease=1s --upload-ttl=1w "
		       "--log-format=json --log-level=error "
		       "--public-url=https://cache.example:8443/"),
		  &f->err);
	assert_string_equal(f->config.data, "/d");
	assert_string_equal(f->config.listen, "[::1]:0");
	assert_string_equal(f->config.token_file, "t");
	assert_int_equal(f->config.anonymous, CM_PERM_PULL | CM_PERM_PUSH);
	assert_int_equal(f->config.max_connections, 100);
	assert_int_equal(f->config.log_format, CM_LOG_JSON);
	assert_int_equal(f->config.log_level, CM_LOG_ERROR);
	assert_string_equal(f->config.public_url, "https://cache.example:8443");
	assert_ok(load(f, no_environment, "--access-log=off"), &f->err);
	assert_false(f->config.access_log);
}

static void test_config__care(void **state)
{
	struct fixture *f = *state;

	assert_ok(load(f, no_environment, ""), &f->err);
	assert_int_equal(f->config.scrub_rate, 8 << 20);
	assert_int_equal(f->config.scrub_every_ms, 7 * 24 * 3600000LL);
	assert_int_equal(f->config.backup_every_ms, 6 * 3600000LL);
	assert_int_equal(f->config.backup_keep, 2);
	assert_ok(load(f, no_environment,
		       "--scrub-rate=64k/s --scrub-every=1d --backup-every=0 "
		       "--backup-keep=1"),
		  &f->err);
	assert_int_equal(f->config.scrub_rate, 64 << 10);
	assert_int_equal(f->config.backup_every_ms, 0);
	assert_ok(load(f, no_environment, "--scrub-rate=0"), &f->err);
	assert_int_equal(f->config.scrub_rate, 0);
	assert_ok(load(f, no_environment, "--scrub-rate=10MB"), &f->err);
	assert_int_equal(f->config.scrub_rate, 10000000);
	for (size_t i = 0; i < 5; i++) {
		static const char *const bad[] = {
			"--scrub-rate=fast", "--scrub-rate=/s",
			"--scrub-rate=8MiB/h", "--scrub-rate=9999TiB/s",
			"--backup-keep=0"};

		assert_fails(load(f, no_environment, bad[i]), CM_ERR_INVALID,
			     &f->err);
	}
}

static void test_config__kubernetes_variables(void **state)
{
	char *environment[] = {
		(char *)(uintptr_t) "CACHEMOUNT_PORT=tcp://10.0.0.1:8080",
		(char *)(uintptr_t) "CACHEMOUNT_PORT_8080_TCP_ADDR=10.0.0.1",
		(char *)(uintptr_t) "CACHEMOUNT_SERVICE_HOST=10.0.0.1",
		(char *)(uintptr_t) "CACHEMOUNT_SERVICE_PORT_HTTP=8080",
		(char *)(uintptr_t) "CACHEMOUNT_DATA_PORT=tcp://10.0.0.1:1",
		(char *)(uintptr_t) "CACHEMOUNT_DATA_SERVICE_HOST=10.0.0.1",
		(char *)(uintptr_t) "CACHEMOUNT_SERVER=http://client.too:1",
		(char *)(uintptr_t) "CACHEMOUNT_",
		(char *)(uintptr_t) "CACHEMOUNT",
		(char *)(uintptr_t) "OTHER=x",
		NULL,
	};
	struct fixture *f = *state;

	assert_ok(load(f, environment, ""), &f->err);
	assert_string_equal(f->config.listen, "127.0.0.1:8080");
}

static void test_config__bad_flags(void **state)
{
	static const struct {
		const char *args, *said;
	} cases[] = {
		{"--workers=0", "--workers: \"0\" is no number from 1"},
		{"--workers=9999999", "--workers"},
		{"--workers=x", "--workers"},
		{"--workers=", "--workers"},
		{"--workers", "needs a value"},
		{"--lease=fast", "--lease"},
		{"--lease=1ms", "--lease"},
		{"--log-level=loud", "none of debug, info, warn, error"},
		{"--access-log=maybe", "on nor off"},
		{"--allow-anonymous=delete", "none of pull, push"},
		{"--data=", "empty"},
		{"--public-url=cache.example", "http://HOST"},
		{"--public-url=https://", "http://HOST"},
		{"--public-url=https://a/b", "http://HOST"},
		{"--public-url=ftp://a", "http://HOST"},
		{"--public-url=https://a\"b", "http://HOST"},
		{"--max-conections=5", "did you mean --max-connections"},
		{"--frobnicate", "unknown option --frobnicate"},
		{"-x", "unknown option -x"},
		{"serve", "unexpected argument serve"},
		{"--permissions=pull", "--new-token"},
		{"--config=/nonexistent/file", "/nonexistent/file"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(load(f, no_environment, cases[i].args) < 0);
		if (!strstr(f->err.text, cases[i].said))
			fail_msg("%s: \"%s\" does not say \"%s\"",
				 cases[i].args, f->err.text, cases[i].said);
	}
}

static void test_config__bad_variables(void **state)
{
	char *bad[] = {(char *)(uintptr_t) "CACHEMOUNT_WORKERS=many", NULL};
	char *near[] = {(char *)(uintptr_t) "CACHEMOUNT_WORKER=4", NULL};
	struct fixture *f = *state;

	assert_fails(load(f, bad, ""), CM_ERR_INVALID, &f->err);
	assert_non_null(strstr(f->err.text, "CACHEMOUNT_WORKERS: "));
	assert_fails(load(f, near, ""), CM_ERR_INVALID, &f->err);
	assert_non_null(strstr(f->err.text, "--workers"));
	/* What cannot matter must not be in the way of help. */
	assert_ok(load(f, bad, "--help"), &f->err);
	assert_int_equal(f->config.mode, CM_MODE_HELP);
}

static void test_config__bad_files(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"workers = 4\n\nworkers = 5\n",
		 ":3: \"workers\" is set twice"},
		{"wrokers = 4\n", ":1: unknown setting \"wrokers\", did you "
				  "mean \"workers\"?"},
		{"# x\nfoo = bar\n", ":2: unknown setting \"foo\""},
		{"workers\n", ":1: expected \"key = value\""},
		{"workers = lots\n", ":1: workers: \"lots\""},
		{"[server]\nworkers = 4\n", ":2: sections"},
		{"lease = 1h\n  2h\n", ":2: "},
	};
	struct fixture *f = *state;
	char longest[400], args[128];

	snprintf(args, sizeof(args), "--config=%s", f->file);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(f->file, cases[i].text);
		assert_fails(load(f, no_environment, args), CM_ERR_INVALID,
			     &f->err);
		if (!strstr(f->err.text, cases[i].said))
			fail_msg("\"%s\" does not say \"%s\"", f->err.text,
				 cases[i].said);
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	write_file(f->file, longest);
	assert_fails(load(f, no_environment, args), CM_ERR_INVALID, &f->err);
	assert_non_null(strstr(f->err.text, ":1: "));
}

static void test_config__odd_but_good_files(void **state)
{
	struct fixture *f = *state;
	char args[128];

	snprintf(args, sizeof(args), "--config=%s", f->file);
	write_file(f->file, "; a comment\r\n# another\r\n\r\n"
			    "  workers=7\r\nlisten : [::1]:9\nlease = 2h ; x");
	assert_ok(load(f, no_environment, args), &f->err);
	assert_int_equal(f->config.workers, 7);
	assert_string_equal(f->config.listen, "[::1]:9");
	assert_int_equal(f->config.lease_ms, 2 * 3600000);
	write_file(f->file, "");
	assert_ok(load(f, no_environment, args), &f->err);
}

static void test_config__new_token(void **state)
{
	struct fixture *f = *state;

	assert_ok(load(f, no_environment, "--new-token ci"), &f->err);
	assert_int_equal(f->config.mode, CM_MODE_NEW_TOKEN);
	assert_string_equal(f->config.permissions, "pull,push");
	assert_string_equal(f->config.pattern, "**");
	assert_ok(load(f, no_environment,
		       "--new-token ci --permissions pull --pattern a/*"),
		  &f->err);
	assert_string_equal(f->config.new_token, "ci");
	assert_string_equal(f->config.permissions, "pull");
	assert_string_equal(f->config.pattern, "a/*");
}

static void test_config__help_tells_every_setting(void **state)
{
	cm_autofree char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	cm_config_help(out);
	fclose(out);
	assert_non_null(strstr(text, "--max-connections N"));
	assert_non_null(strstr(text, "--new-token"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config__defaults),
		cmocka_unit_test(test_config__flags_over_environment_over_file),
		cmocka_unit_test(test_config__limits),
		cmocka_unit_test(test_config__bad_limits),
		cmocka_unit_test(test_config__file_named_by_environment),
		cmocka_unit_test(test_config__every_setting_by_flag),
		cmocka_unit_test(test_config__care),
		cmocka_unit_test(test_config__kubernetes_variables),
		cmocka_unit_test(test_config__bad_flags),
		cmocka_unit_test(test_config__bad_variables),
		cmocka_unit_test(test_config__bad_files),
		cmocka_unit_test(test_config__odd_but_good_files),
		cmocka_unit_test(test_config__new_token),
		cmocka_unit_test(test_config__help_tells_every_setting),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
