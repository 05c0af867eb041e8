/* test_listen.c - addresses, told apart and bound. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "listen.h"

static void test_address__parses(void **state)
{
	static const struct {
		const char *text, *canonical;
		bool loopback;
	} cases[] = {
		{"127.0.0.1:8080", "127.0.0.1:8080", true},
		{"127.5.0.1:1", "127.5.0.1:1", true},
		{"0.0.0.0:8080", "0.0.0.0:8080", false},
		{"10.1.2.3:80", "10.1.2.3:80", false},
		{"[::1]:8080", "[::1]:8080", true},
		{"[::]:8080", "[::]:8080", false},
		{"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", true},
		{"[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1", false},
		{"[fe80::1]:65535", "[fe80::1]:65535", false},
	};
	char text[CM_ADDRESS_TEXT_SIZE];
	struct cm_error err = {0};
	struct cm_address a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ok(cm_address_parse(cases[i].text, &a, &err), &err);
		cm_address_format((const struct sockaddr *)&a.storage, text);
		assert_string_equal(text, cases[i].canonical);
		assert_int_equal(a.loopback, cases[i].loopback);
	}
	assert_ok(cm_address_parse(":8080", &a, &err), &err);
	assert_false(a.loopback);
}

static void test_address__refuses(void **state)
{
	static const char *const texts[] = {
		"",
		"8080",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:x",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1:123456",
		"::1:8080",
		"[::1]",
		"[::1:80",
		"tcp://10.0.0.1:8080",
		"256.0.0.1.:1",
	};
	struct cm_error err = {0};
	struct cm_address a;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_fails(cm_address_parse(texts[i], &a, &err),
			     CM_ERR_INVALID, &err);
}

static void test_address__local(void **state)
{
	char text[CM_ADDRESS_TEXT_SIZE];
	struct cm_error err = {0};
	struct cm_address a;

	(void)state;
	assert_ok(cm_address_parse("0.0.0.0:80", &a, &err), &err);
	cm_address_local(&a, &a);
	assert_string_equal(
		cm_address_format((const struct sockaddr *)&a.storage, text),
		"127.0.0.1:80");
	/* A container often has no ::1. */
	assert_ok(cm_address_parse("[::]:80", &a, &err), &err);
	cm_address_local(&a, &a);
	assert_string_equal(
		cm_address_format((const struct sockaddr *)&a.storage, text),
		"127.0.0.1:80");
	assert_ok(cm_address_parse("[::1]:80", &a, &err), &err);
	cm_address_local(&a, &a);
	assert_string_equal(
		cm_address_format((const struct sockaddr *)&a.storage, text),
		"[::1]:80");
	assert_ok(cm_address_parse("10.1.2.3:80", &a, &err), &err);
	cm_address_local(&a, &a);
	assert_string_equal(
		cm_address_format((const struct sockaddr *)&a.storage, text),
		"10.1.2.3:80");
}

/* Without an address, IPv4 and, where there is any, IPv6 are served. */
static void test_listen__all_addresses(void **state)
{
	struct cm_address a, bound, local;
	struct cm_error err = {0};
	int fd, six, client;

	(void)state;
	assert_ok(cm_address_parse(":0", &a, &err), &err);
	six = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(a.storage.ss_family, six < 0 ? AF_INET : AF_INET6);
	if (six >= 0)
		close(six);
	assert_ok(cm_listen(&a, &fd, &bound, &err), &err);
	cm_address_local(&bound, &local);
	assert_int_equal(local.storage.ss_family, AF_INET);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(
		connect(client, (const void *)&local.storage, local.len),
		errno);
	close(client);
	close(fd);
}

static void test_listen__taken_port(void **state)
{
	struct cm_address a, bound, again;
	struct cm_error err = {0};
	int first, second;

	(void)state;
	assert_ok(cm_address_parse("127.0.0.1:0", &a, &err), &err);
	assert_ok(cm_listen(&a, &first, &bound, &err), &err);
	assert_int_not_equal(((struct sockaddr_in *)&bound.storage)->sin_port,
			     0);
	assert_fails(cm_listen(&bound, &second, &again, &err), CM_ERR_IO, &err);
	assert_non_null(strstr(err.text, "127.0.0.1:"));
	assert_non_null(strstr(err.text, "in use"));
	close(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address__parses),
		cmocka_unit_test(test_address__refuses),
		cmocka_unit_test(test_address__local),
		cmocka_unit_test(test_listen__all_addresses),
		cmocka_unit_test(test_listen__taken_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
