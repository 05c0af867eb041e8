/*
 * test_client_auth.c - a registry with a token service: the challenge, the
 * token, and what is never sent where.
 */
#include "test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fake_http.h"
#include "remote_private.h"

#define BLOB "the bytes"

static void test_challenge__finds_bearer(void **state)
{
	static const struct {
		const char *text, *realm, *service, *scope;
	} cases[] = {
		{"Bearer realm=\"https://a/t\",service=\"s\","
		 "scope=\"repository:a/b:pull,push\"",
		 "https://a/t", "s", "repository:a/b:pull,push"},
		{"bearer REALM=x", "x", "", ""},
		{"Basic realm=\"no\", Bearer realm=\"yes\"", "yes", "", ""},
		{"Bearer realm=\"yes\", Basic realm=\"no\"", "yes", "", ""},
		{"Bearer realm=\"a\\\"b\" , service = x", "a\"b", "x", ""},
		{"Negotiate, Bearer realm=r", "r", "", ""},
		{"Bearer error=\"x\",realm=\"r", "r", "", ""},
	};
	static const char *const none[] = {
		"",
		"Basic realm=\"x\"",
		"Bearer",
		"Bearer realm=\"\"",
		"Bearer realm",
		"realm=x",
		"Bearer realm=\"a\tb\"",
		",,,=",
	};
	struct cm_challenge c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(cm_challenge_parse(cases[i].text, &c));
		assert_string_equal(c.realm, cases[i].realm);
		assert_string_equal(c.service, cases[i].service);
		assert_string_equal(c.scope, cases[i].scope);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(cm_challenge_parse(none[i], &c));
}

/* A registry and its token service, in one. */
struct script {
	const char *scheme;   /* of the realm */
	const char *password; /* that the service wants, as Basic; NULL: none */
	atomic_int fetches, unnamed;
	atomic_int good; /* the number of the token that does */
};

struct fixture {
	struct script script;
	struct fake_http *server;
	struct cm_remote *remote;
	struct cm_connection *c;
	struct cm_digest digest;
	struct cm_error err;
};

static bool issue(int fd, const struct fake_request *r, struct script *s)
{
	char text[256], body[64];
	const char *sent = fake_header(r, "Authorization", text, sizeof(text));
	int n;

	assert_non_null(strstr(r->target, "service=a%20b"));
	assert_non_null(
		strstr(r->target, "scope=repository%3Amain%2Fa%3Apull"));
	if (s->password && (!sent || strcmp(sent, s->password) != 0))
		return fake_answer(fd, 401, "", "", 0);
	if (!s->password)
		assert_null(sent);
	n = snprintf(body, sizeof(body), "{\"token\":\"t%d\"}",
		     atomic_fetch_add(&s->fetches, 1) + 1);
	return fake_answer(fd, 200, "", body, (size_t)n);
}

static bool registry(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char text[256], host[64], good[32], headers[256];
	const char *sent = fake_header(r, "Authorization", text, sizeof(text));

	if (strncmp(r->target, "/t?", 3) == 0)
		return issue(fd, r, s);
	if (strncmp(r->target, "/v2/_", 5) == 0)
		return fake_answer(fd, 404, "", "", 0);
	snprintf(good, sizeof(good), "Bearer t%d", s->good);
	if (sent && strcmp(sent, good) == 0)
		return fake_answer(fd, 200, "", BLOB, strlen(BLOB));
	atomic_fetch_add(&s->unnamed, 1);
	snprintf(headers, sizeof(headers),
		 "WWW-Authenticate: Bearer realm=\"%s://%s/t\","
		 "service=\"a b\",scope=\"repository:main/a:pull\"\r\n",
		 s->scheme, fake_header(r, "Host", host, sizeof(host)));
	return fake_answer(fd, 401, headers, "", 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	cm_digest_of(BLOB, strlen(BLOB), &f->digest, NULL);
	f->script.scheme = "http";
	f->script.good = 1;
	*state = f;
	return 0;
}

static void start(struct fixture *f, const char *token)
{
	struct cm_remote_options o = {.stall_ms = 2000, .token = token};

	f->server = fake_http_start(registry, &f->script);
	o.url = fake_http_url(f->server);
	assert_ok(cm_remote_new(&o, &f->remote, &f->err), &f->err);
	assert_ok(cm_connection_new(f->remote, &f->c, &f->err), &f->err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cm_connection_free(f->c);
	cm_remote_free(f->remote);
	fake_http_stop(f->server);
	free(f);
	return 0;
}

static int get(struct fixture *f)
{
	char buf[sizeof(BLOB)];

	return cm_remote_blob_get(f->c, "main/a", &f->digest, buf, strlen(BLOB),
				  &f->err);
}

static void test_auth__fetches_a_token_and_keeps_it(void **state)
{
	struct fixture *f = *state;

	start(f, NULL);
	for (int i = 0; i < 5; i++)
		assert_ok(get(f), &f->err);
	assert_int_equal(f->script.fetches, 1);
	assert_int_equal(f->script.unnamed, 1);
}

static void test_auth__fetches_another_when_one_has_expired(void **state)
{
	struct fixture *f = *state;

	start(f, NULL);
	assert_ok(get(f), &f->err);
	f->script.good = 2;
	assert_ok(get(f), &f->err);
	assert_ok(get(f), &f->err);
	assert_int_equal(f->script.fetches, 2);
}

static void test_auth__asks_once(void **state)
{
	struct fixture *f = *state;

	f->script.good = 1000;
	start(f, NULL);
	assert_fails(get(f), CM_ERR_UNAUTHORIZED, &f->err);
	assert_int_equal(f->script.fetches, 1);
}

static void test_auth__a_password_goes_to_the_service(void **state)
{
	struct fixture *f = *state;

	f->script.password = "Basic dTpw";
	start(f, "u:p");
	assert_ok(get(f), &f->err);
	assert_int_equal(f->script.fetches, 1);
}

static void test_auth__a_service_that_refuses_is_a_401(void **state)
{
	struct fixture *f = *state;

	f->script.password = "Basic dTpw";
	start(f, "u:wrong");
	assert_fails(get(f), CM_ERR_UNAUTHORIZED, &f->err);
	assert_false(cm_remote_is_gone(f->remote));
}

static void test_auth__a_token_of_the_users_is_not_traded(void **state)
{
	struct fixture *f = *state;

	start(f, "s3cret");
	assert_fails(get(f), CM_ERR_UNAUTHORIZED, &f->err);
	assert_int_equal(f->script.fetches, 0);
}

static void test_auth__an_odd_service_gets_nothing(void **state)
{
	struct fixture *f = *state;

	f->script.scheme = "file";
	start(f, "u:p");
	assert_fails(get(f), CM_ERR_PROTOCOL, &f->err);
	assert_int_equal(f->script.fetches, 0);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_challenge__finds_bearer),
		WITH(test_auth__fetches_a_token_and_keeps_it),
		WITH(test_auth__fetches_another_when_one_has_expired),
		WITH(test_auth__asks_once),
		WITH(test_auth__a_password_goes_to_the_service),
		WITH(test_auth__a_service_that_refuses_is_a_401),
		WITH(test_auth__a_token_of_the_users_is_not_traded),
		WITH(test_auth__an_odd_service_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
