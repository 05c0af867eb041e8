/* test_access.c - access tokens: scopes, seal, and who gets what. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/units.h>

#include "access.h"
#include "auth.h"
#include "token_key.h"

#define NOW 1700000000

static const uint8_t key[CM_ACCESS_KEY_LEN] = {1, 2, 3};

static void add(struct cm_access *a, const char *scope)
{
	struct cm_error err = {0};

	assert_ok(cm_access_add_scopes(a, scope, &err), &err);
}

static void assert_scopes(const struct cm_access *a, const char *wanted)
{
	char text[CM_ACCESS_BYTES_MAX];

	cm_access_format_scopes(a, text, sizeof(text));
	assert_string_equal(text, wanted);
}

static void test_access__reads_scopes(void **state)
{
	static const struct {
		const char *given, *read;
	} cases[] = {
		{"repository:a/b:pull", "repository:a/b:pull"},
		{"repository:a:push,pull", "repository:a:pull,push"},
		{"repository:a:*", "repository:a:pull,push,delete"},
		{" repository:a:pull  repository:b:push ",
		 "repository:a:pull repository:b:push"},
		{"repository:a:pull repository:a:push",
		 "repository:a:pull,push"},
		{"repository:a:pull,admin,fly", "repository:a:pull"},
		{"registry:catalog:*", ""},
		{"repository:A:pull", ""},
		{"repository:a", ""},
		{"repository:", ""},
		{"repository::pull", ""},
		{"repository:../a:pull", ""},
		{"repository:a:", "repository:a:"},
		{"x", ""},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cm_access a = {0};

		add(&a, cases[i].given);
		assert_scopes(&a, cases[i].read);
	}
}

static void test_access__bounds_scopes(void **state)
{
	struct cm_access a = {0};
	struct cm_error err = {0};
	char scope[64];

	(void)state;
	for (int i = 0; i < CM_ACCESS_SCOPES_MAX; i++) {
		snprintf(scope, sizeof(scope), "repository:r%d:pull", i);
		add(&a, scope);
	}
	add(&a, "repository:r0:push");
	assert_int_equal(
		cm_access_add_scopes(&a, "repository:one-more:pull", &err),
		CM_ERR_SIZE);
}

static void test_access__covers_what_it_names(void **state)
{
	struct cm_access a = {0};

	(void)state;
	add(&a, "repository:main/app:pull repository:b:push,delete");
	assert_true(cm_access_covers(&a, CM_PERM_NONE, NULL));
	assert_true(cm_access_covers(&a, CM_PERM_PULL, "main/app"));
	assert_false(cm_access_covers(&a, CM_PERM_PUSH, "main/app"));
	assert_false(cm_access_covers(&a, CM_PERM_PULL, "main/ap"));
	assert_false(cm_access_covers(&a, CM_PERM_PULL, "main/app/x"));
	assert_false(cm_access_covers(&a, CM_PERM_PULL, NULL));
	assert_true(cm_access_covers(&a, CM_PERM_DELETE, "b"));
	assert_false(cm_access_covers(&a, CM_PERM_ADMIN, "b"));
}

static struct cm_access named(void)
{
	struct cm_access a = {.expires_s = NOW + 10, .name = "ci"};

	memcpy(a.secret_id, "12345678", CM_ACCESS_SECRET_ID);
	add(&a, "repository:main/app:pull,push");
	return a;
}

static void test_access__opens_what_it_sealed(void **state)
{
	struct cm_access a = named(), got;
	char text[CM_ACCESS_TEXT_SIZE];
	struct cm_error err = {0};

	(void)state;
	assert_ok(cm_access_seal(&a, key, text, &err), &err);
	assert_ok(cm_access_open(text, key, NOW, &got, &err), &err);
	assert_string_equal(got.name, "ci");
	assert_int_equal(got.expires_s, NOW + 10);
	assert_memory_equal(got.secret_id, a.secret_id, CM_ACCESS_SECRET_ID);
	assert_scopes(&got, "repository:main/app:pull,push");
	a = (struct cm_access){.expires_s = NOW + 10};
	assert_ok(cm_access_seal(&a, key, text, &err), &err);
	assert_ok(cm_access_open(text, key, NOW, &got, &err), &err);
	assert_string_equal(got.name, "");
	assert_int_equal(got.scopes_len, 0);
}

static void assert_refused(const char *text, const uint8_t *with, int64_t now,
			   const char *why)
{
	struct cm_error err = {0};
	struct cm_access got;

	assert_int_equal(cm_access_open(text, with, now, &got, &err),
			 CM_ERR_UNAUTHORIZED);
	assert_non_null(strstr(err.text, why));
}

static void test_access__refuses_what_does_not_hold(void **state)
{
	static const uint8_t other[CM_ACCESS_KEY_LEN] = {1, 2, 4};
	struct cm_access a = named();
	char text[CM_ACCESS_TEXT_SIZE];
	struct cm_error err = {0};

	(void)state;
	assert_ok(cm_access_seal(&a, key, text, &err), &err);
	assert_refused(text, key, NOW + 10, "expired");
	assert_refused(text, key, NOW - 1000, "expired");
	assert_refused(text, other, NOW, "not of this server");
	assert_refused("cma_", key, NOW, "malformed");
	assert_refused("cma_AAAA", key, NOW, "malformed");
	assert_refused("cma_@@@@", key, NOW, "malformed");
	assert_refused("cmt_AAAA", key, NOW, "malformed");
	for (size_t i = 4; text[i]; i++) {
		char was = text[i];

		text[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(cm_access_open(text, key, NOW, &a, NULL),
				 CM_ERR_UNAUTHORIZED);
		text[i] = was;
	}
}

static void test_access__bounds_its_length(void **state)
{
	struct cm_access a = {.expires_s = NOW};
	char text[CM_ACCESS_TEXT_SIZE], long_name[CM_REPOSITORY_MAX + 1] = "";
	struct cm_error err = {0};

	(void)state;
	memset(long_name, 'a', CM_REPOSITORY_MAX - 2);
	for (int i = 0; i < 10; i++) {
		char scope[CM_REPOSITORY_MAX + 64];

		snprintf(scope, sizeof(scope), "repository:%s%d:pull",
			 long_name, i);
		add(&a, scope);
	}
	assert_int_equal(cm_access_seal(&a, key, text, &err), CM_ERR_SIZE);
	a.scopes_len = 7;
	assert_ok(cm_access_seal(&a, key, text, &err), &err);
	assert_true(strlen(text) < CM_ACCESS_TEXT_SIZE);
}

/* ---- issued to an identity, and brought back --------------------------- */

static struct cm_auth *make_auth(const char *file, unsigned anonymous,
				 const char *lines)
{
	struct cm_auth *auth = NULL;
	struct cm_error err = {0};
	FILE *f = fopen(file, "we");

	assert_non_null(f);
	fputs(lines, f);
	fclose(f);
	assert_ok(cm_auth_new(file, anonymous, &auth, &err), &err);
	return auth;
}

/* A line for a token whose secret is its name. */
static void line(char *text, const char *name, const char *rest)
{
	char digest[CM_DIGEST_TEXT_SIZE];
	struct cm_digest d;

	cm_digest_of(name, strlen(name), &d, NULL);
	sprintf(text + strlen(text), "%s %s %s\n", name, rest,
		cm_digest_format(&d, digest));
}

#define FILE_NAME "test_access.tokens"

/* Issues for an Authorization header and identifies with what came of it. */
static void bring_back(struct cm_auth *auth, const char *authorization,
		       const char *scope, struct cm_identity *ret)
{
	char text[16 + CM_ACCESS_TEXT_SIZE] = "Bearer ";
	struct cm_access wanted = {0};
	struct cm_identity id;
	struct cm_error err = {0};

	assert_ok(cm_auth_identify(auth, authorization, &id, &err), &err);
	add(&wanted, scope);
	assert_ok(cm_auth_issue(auth, &id, &wanted, text + 7, &err), &err);
	cm_identity_release(&id);
	assert_ok(cm_auth_identify(auth, text, ret, &err), &err);
	assert_true(ret->bearer);
}

static int check(struct cm_auth *auth, const struct cm_identity *id,
		 enum cm_permission p, const char *repo)
{
	struct cm_error err = {0};

	return cm_auth_check(auth, id, p, repo, &err);
}

static void test_auth__issues_no_more_than_the_holder_has(void **state)
{
	char lines[512] = "";
	struct cm_auth *auth;
	struct cm_identity id;

	(void)state;
	line(lines, "ci", "pull,push main/**");
	auth = make_auth(FILE_NAME, 0, lines);
	bring_back(auth, "Bearer ci",
		   "repository:main/a:* repository:other:pull,push", &id);
	assert_string_equal(id.name, "ci");
	assert_scopes(id.access, "repository:main/a:pull,push");
	assert_int_equal(check(auth, &id, CM_PERM_PUSH, "main/a"), 0);
	assert_int_equal(check(auth, &id, CM_PERM_NONE, NULL), 0);
	/* The holder may, this token may not; and then what nobody may. */
	assert_int_equal(check(auth, &id, CM_PERM_PUSH, "main/b"),
			 CM_ERR_UNAUTHORIZED);
	assert_int_equal(check(auth, &id, CM_PERM_PULL, NULL),
			 CM_ERR_UNAUTHORIZED);
	assert_int_equal(check(auth, &id, CM_PERM_PUSH, "other"),
			 CM_ERR_DENIED);
	assert_int_equal(check(auth, &id, CM_PERM_DELETE, "main/a"),
			 CM_ERR_DENIED);
	cm_identity_release(&id);
	cm_auth_free(auth);
}

static void test_auth__issues_to_the_anonymous(void **state)
{
	char lines[512] = "", text[CM_ACCESS_TEXT_SIZE];
	struct cm_access wanted = {0};
	struct cm_auth *auth;
	struct cm_identity id;
	struct cm_error err = {0};

	(void)state;
	line(lines, "ci", "pull,push **");
	auth = make_auth(FILE_NAME, CM_PERM_PULL, lines);
	bring_back(auth, NULL, "repository:a:pull,push", &id);
	assert_null(id.name);
	assert_scopes(id.access, "repository:a:pull");
	assert_int_equal(check(auth, &id, CM_PERM_PULL, "a"), 0);
	assert_int_equal(check(auth, &id, CM_PERM_PULL, "b"),
			 CM_ERR_UNAUTHORIZED);
	assert_int_equal(check(auth, &id, CM_PERM_PUSH, "a"),
			 CM_ERR_UNAUTHORIZED);
	/* It buys no other. */
	assert_int_equal(cm_auth_issue(auth, &id, &wanted, text, &err),
			 CM_ERR_UNAUTHORIZED);
	cm_identity_release(&id);
	cm_auth_free(auth);
	auth = make_auth(FILE_NAME, 0, lines);
	assert_ok(cm_auth_identify(auth, NULL, &id, &err), &err);
	assert_int_equal(cm_auth_issue(auth, &id, &wanted, text, &err),
			 CM_ERR_UNAUTHORIZED);
	cm_auth_free(auth);
}

static void test_auth__a_removed_holder_is_out(void **state)
{
	char lines[512] = "", text[16 + CM_ACCESS_TEXT_SIZE] = "Bearer ";
	struct cm_access wanted = {0};
	struct cm_auth *auth;
	struct cm_identity id;
	struct cm_error err = {0};

	(void)state;
	line(lines, "ci", "pull **");
	auth = make_auth(FILE_NAME, CM_PERM_PULL, lines);
	assert_ok(cm_auth_identify_secret(auth, "ci", &id, &err), &err);
	assert_ok(cm_auth_issue(auth, &id, &wanted, text + 7, &err), &err);
	cm_identity_release(&id);
	/* The same name with another secret is not the holder. */
	*lines = '\0';
	strcat(lines, "ci pull ** sha256:"
		      "0123456789abcdef0123456789abcdef"
		      "0123456789abcdef0123456789abcdef\n");
	cm_auth_free(make_auth(FILE_NAME, 0, lines));
	assert_int_equal(cm_auth_reload(auth, true, &err), 1);
	assert_int_equal(cm_auth_identify(auth, text, &id, &err),
			 CM_ERR_UNAUTHORIZED);
	assert_non_null(strstr(err.text, "holder"));
	assert_true(id.bearer);
	assert_null(id.access);
	cm_identity_release(&id);
	cm_auth_free(auth);
}

static void test_token_key__is_kept(void **state)
{
	uint8_t first[CM_ACCESS_KEY_LEN], again[CM_ACCESS_KEY_LEN];
	char dir[] = "test_access.XXXXXX", file[64];
	struct cm_error err = {0};
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/token.key", dir);
	assert_ok(cm_token_key_load(dir, first, &err), &err);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_ok(cm_token_key_load(dir, again, &err), &err);
	assert_memory_equal(first, again, sizeof(first));
	assert_int_equal(truncate(file, 31), 0);
	assert_ok(cm_token_key_load(dir, again, &err), &err);
	assert_memory_not_equal(first, again, sizeof(first));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, CM_ACCESS_KEY_LEN);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(cm_token_key_load(dir, again, &err), CM_ERR_NOT_FOUND);
}

static int teardown(void **state)
{
	(void)state;
	unlink(FILE_NAME);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_access__reads_scopes),
		cmocka_unit_test(test_access__bounds_scopes),
		cmocka_unit_test(test_access__covers_what_it_names),
		cmocka_unit_test(test_access__opens_what_it_sealed),
		cmocka_unit_test(test_access__refuses_what_does_not_hold),
		cmocka_unit_test(test_access__bounds_its_length),
		cmocka_unit_test(test_auth__issues_no_more_than_the_holder_has),
		cmocka_unit_test(test_auth__issues_to_the_anonymous),
		cmocka_unit_test(test_auth__a_removed_holder_is_out),
		cmocka_unit_test(test_token_key__is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
