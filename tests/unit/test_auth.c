/* test_auth.c - token files, identities, and what they may do. */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth.h"
#include "token_file.h"

struct fixture {
	char file[64];
	struct cm_error err;
};

static struct fixture fixture;

static int setup(void **state)
{
	int fd;

	strcpy(fixture.file, "test_auth.XXXXXX");
	fd = mkstemp(fixture.file);
	*state = &fixture;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	return unlink(f->file);
}

/* Appends a line for a token whose secret is its name doubled: "cici". */
static void add_line(char *text, const char *name, const char *rest)
{
	char secret[64], digest[CM_DIGEST_TEXT_SIZE];
	struct cm_digest d;

	snprintf(secret, sizeof(secret), "%s%s", name, name);
	cm_digest_of(secret, strlen(secret), &d, NULL);
	sprintf(text + strlen(text), "%s %s %s # made by a test\n", name, rest,
		cm_digest_format(&d, digest));
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static struct cm_auth *make_auth(struct fixture *f, unsigned anonymous)
{
	char text[2048] = "# a comment\n\n";
	struct cm_auth *a = NULL;

	add_line(text, "ci", "pull,push main/**");
	add_line(text, "ci", "delete main/tmp");
	add_line(text, "root", "pull,push,delete,admin **");
	add_line(text, "part", "delete,admin team/**");
	write_file(f->file, text);
	assert_ok(cm_auth_new(f->file, anonymous, &a, &f->err), &f->err);
	return a;
}

static void test_token_file__refuses(void **state)
{
#define HEX32 "0123456789abcdef0123456789abcdef"
	static const struct {
		const char *text, *where;
	} cases[] = {
		{"ci", "t:1: "},
		{"\n\nci pull **", "t:3: "},
		{"ci pull ** sha256:" HEX32, "t:1: "},
		{"ci pull ** sha512:" HEX32 HEX32, "t:1: "},
		{"ci pull ** sha256:" HEX32 HEX32 " more", "t:1: "},
		{"ci read ** sha256:" HEX32 HEX32, "\"read\""},
		{"ci pull, ** sha256:" HEX32 HEX32, "t:1: "},
		{"ci pull a**b sha256:" HEX32 HEX32, "pattern"},
		{"c/i pull ** sha256:" HEX32 HEX32, "name"},
		{"a pull ** sha256:" HEX32 HEX32
		 "\nb pull ** sha256:" HEX32 HEX32,
		 "t:2: "},
	};
	struct cm_tokens *t = NULL;
	struct cm_error err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_fails(cm_tokens_parse(cases[i].text,
					     strlen(cases[i].text), "t", &t,
					     &err),
			     CM_ERR_INVALID, &err);
		assert_non_null(strstr(err.text, cases[i].where));
	}
	assert_fails(cm_tokens_parse("a\0b", 3, "t", &t, &err), CM_ERR_INVALID,
		     &err);
}

static void test_token_file__accepts(void **state)
{
	static const char text[] =
		"# only a comment\n   \r\n"
		"\tci\tpull,admin   a/*  sha256:" HEX32 HEX32 "#x\r\n"
		"ci push b/** sha256:" HEX32 HEX32;
	cm_auto(tokens) struct cm_tokens *t = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_ok(cm_tokens_parse(text, sizeof(text) - 1, "t", &t, &err), &err);
	assert_int_equal(t->len, 2);
	assert_string_equal(t->grants[0].name, "ci");
	assert_string_equal(t->grants[0].pattern, "a/*");
	assert_int_equal(t->grants[0].permissions,
			 CM_PERM_PULL | CM_PERM_ADMIN);
	assert_int_equal(t->grants[0].secret, t->grants[1].secret);
}

static void test_token__made_lines_parse(void **state)
{
	char secret[CM_TOKEN_SECRET_SIZE], line[256];
	cm_auto(tokens) struct cm_tokens *t = NULL;
	struct cm_error err = {0};
	struct cm_digest d;

	(void)state;
	assert_ok(cm_token_make("ci", "pull,push", "main/**", secret, line,
				sizeof(line), &err),
		  &err);
	assert_int_equal(strlen(secret), CM_TOKEN_SECRET_SIZE - 1);
	assert_null(strstr(line, secret));
	assert_ok(cm_tokens_parse(line, strlen(line), "t", &t, &err), &err);
	assert_ok(cm_digest_of(secret, strlen(secret), &d, &err), &err);
	assert_true(cm_digest_equal(&d, &t->grants[0].hash));
	assert_fails(cm_token_make("c i", "pull", "**", secret, line,
				   sizeof(line), &err),
		     CM_ERR_INVALID, &err);
	assert_fails(cm_token_make("ci", "all", "**", secret, line,
				   sizeof(line), &err),
		     CM_ERR_INVALID, &err);
	assert_fails(cm_token_make("ci", "pull", "", secret, line, sizeof(line),
				   &err),
		     CM_ERR_INVALID, &err);
	assert_fails(cm_token_make("ci", "pull", "**", secret, line, 20, &err),
		     CM_ERR_SIZE, &err);
}

static void test_auth__who(void **state)
{
	static const struct {
		const char *header, *name; /* "" for anonymous, NULL refused */
	} cases[] = {
		{NULL, ""},
		{"Bearer cici", "ci"},
		{"bearer  rootroot", "root"},
		{"Basic eDpjaWNp", "ci"},  /* x:cici */
		{"basic OmNpY2k=", "ci"},  /* :cici */
		{"Basic Og==", ""},	   /* : */
		{"Basic eDo=", NULL},	   /* x: */
		{"Basic eDpuaWw=", NULL},  /* x:nil */
		{"Basic eA==", NULL},	   /* x */
		{"Basic eDpjaWN", NULL},   /* cut */
		{"Basic eDpj aWNp", NULL}, /* blank inside */
		{"Basic ", NULL},
		{"Basic ====", NULL},
		{"Bearer cicix", NULL},
		{"Bearer ", NULL},
		{"Digest cici", NULL},
		{"cici", NULL},
		{"", NULL},
	};
	struct fixture *f = *state;
	struct cm_auth *a = make_auth(f, 0);
	struct cm_identity id;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc = cm_auth_identify(a, cases[i].header, &id, &f->err);

		if (!cases[i].name)
			assert_int_equal(rc, CM_ERR_UNAUTHORIZED);
		else if (!*cases[i].name)
			assert_true(rc == 0 && !id.name);
		else
			assert_string_equal(rc == 0 ? id.name : "refused",
					    cases[i].name);
		cm_identity_release(&id);
	}
	cm_auth_free(a);
}

static void test_auth__long_header(void **state)
{
	struct fixture *f = *state;
	struct cm_auth *a = make_auth(f, 0);
	struct cm_identity id;
	char header[5000];

	memset(header, 'A', sizeof(header));
	memcpy(header, "Basic ", 6);
	header[sizeof(header) - 1] = '\0';
	for (size_t len = 900; len < sizeof(header); len += 401) {
		header[len] = '\0';
		assert_fails(cm_auth_identify(a, header, &id, &f->err),
			     CM_ERR_UNAUTHORIZED, &f->err);
		header[len] = 'A';
	}
	cm_auth_free(a);
}

static void test_auth__may(void **state)
{
	static const struct {
		const char *secret;
		enum cm_permission p;
		const char *repo;
		bool may;
	} cases[] = {
		{"cici", CM_PERM_PULL, "main/a", true},
		{"cici", CM_PERM_PUSH, "main/a", true},
		{"cici", CM_PERM_PULL, "other", false},
		{"cici", CM_PERM_DELETE, "main/a", false},
		{"cici", CM_PERM_DELETE, "main/tmp", true},
		{"cici", CM_PERM_ADMIN, "main/a", false},
		{"cici", CM_PERM_NONE, NULL, true},
		{"cici", CM_PERM_PULL, NULL, true},
		{"cici", CM_PERM_DELETE, NULL, false},
		{"rootroot", CM_PERM_DELETE, NULL, true},
		{"rootroot", CM_PERM_ADMIN, NULL, true},
		{"partpart", CM_PERM_ADMIN, NULL, false},
		{"partpart", CM_PERM_ADMIN, "team/x", true},
		{"partpart", CM_PERM_PULL, "team/x", false},
	};
	struct fixture *f = *state;
	struct cm_auth *a = make_auth(f, CM_PERM_PULL);
	struct cm_identity id;
	char header[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(header, sizeof(header), "Bearer %s", cases[i].secret);
		assert_ok(cm_auth_identify(a, header, &id, &f->err), &f->err);
		assert_int_equal(
			cm_identity_may(&id, cases[i].p, cases[i].repo),
			cases[i].may);
		cm_identity_release(&id);
	}
	cm_auth_free(a);
}

static void test_auth__check_asks_only_whom_it_helps(void **state)
{
	struct fixture *f = *state;
	struct cm_auth *a = make_auth(f, CM_PERM_PULL), *open = NULL;
	struct cm_identity id;

	assert_ok(cm_auth_identify(a, NULL, &id, &f->err), &f->err);
	assert_ok(cm_auth_check(a, &id, CM_PERM_NONE, NULL, &f->err), &f->err);
	assert_ok(cm_auth_check(a, &id, CM_PERM_PULL, "x", &f->err), &f->err);
	assert_fails(cm_auth_check(a, &id, CM_PERM_PUSH, "x", &f->err),
		     CM_ERR_UNAUTHORIZED, &f->err);
	assert_ok(cm_auth_identify(a, "Bearer cici", &id, &f->err), &f->err);
	assert_fails(cm_auth_check(a, &id, CM_PERM_PUSH, "x", &f->err),
		     CM_ERR_DENIED, &f->err);
	cm_identity_release(&id);
	cm_auth_free(a);
	/* Without tokens, logging in would not help; nor does a wrong one hurt.
	 */
	assert_ok(cm_auth_new(NULL, CM_PERM_PULL, &open, &f->err), &f->err);
	assert_ok(cm_auth_identify(open, "Bearer x", &id, &f->err), &f->err);
	assert_fails(cm_auth_check(open, &id, CM_PERM_PUSH, "x", &f->err),
		     CM_ERR_DENIED, &f->err);
	cm_auth_free(open);
}

static void test_auth__closed_to_the_anonymous(void **state)
{
	struct fixture *f = *state;
	struct cm_auth *a = make_auth(f, 0);
	struct cm_identity id;

	assert_ok(cm_auth_identify(a, NULL, &id, &f->err), &f->err);
	assert_fails(cm_auth_check(a, &id, CM_PERM_NONE, NULL, &f->err),
		     CM_ERR_UNAUTHORIZED, &f->err);
	cm_auth_free(a);
}

static void test_auth__reloads(void **state)
{
	struct fixture *f = *state;
	struct cm_auth *a = make_auth(f, 0);
	struct cm_identity held, id;
	char text[512] = "";

	assert_int_equal(cm_auth_reload(a, false, &f->err), 0);
	assert_ok(cm_auth_identify(a, "Bearer cici", &held, &f->err), &f->err);
	/* A bad file is told once and changes nothing. */
	write_file(f->file, "nonsense\n");
	assert_fails(cm_auth_reload(a, false, &f->err), CM_ERR_INVALID,
		     &f->err);
	assert_int_equal(cm_auth_reload(a, false, &f->err), 0);
	assert_ok(cm_auth_identify(a, "Bearer cici", &id, &f->err), &f->err);
	cm_identity_release(&id);
	/* A good one replaces all; who is known already stays known. */
	add_line(text, "new", "pull **");
	write_file(f->file, text);
	assert_int_equal(cm_auth_reload(a, true, &f->err), 1);
	assert_ok(cm_auth_identify(a, "Bearer newnew", &id, &f->err), &f->err);
	cm_identity_release(&id);
	assert_fails(cm_auth_identify(a, "Bearer cici", &id, &f->err),
		     CM_ERR_UNAUTHORIZED, &f->err);
	assert_string_equal(held.name, "ci");
	assert_true(cm_identity_may(&held, CM_PERM_PUSH, "main/a"));
	cm_identity_release(&held);
	cm_auth_free(a);
}

static void test_auth__needs_its_file(void **state)
{
	struct cm_error err = {0};
	struct cm_auth *a = NULL;

	(void)state;
	assert_fails(cm_auth_new("/nonexistent/tokens", 0, &a, &err),
		     CM_ERR_NOT_FOUND, &err);
	assert_fails(cm_auth_new("/dev/zero", 0, &a, &err), CM_ERR_INVALID,
		     &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_token_file__refuses),
		cmocka_unit_test(test_token_file__accepts),
		cmocka_unit_test(test_token__made_lines_parse),
		cmocka_unit_test(test_auth__who),
		cmocka_unit_test(test_auth__long_header),
		cmocka_unit_test(test_auth__may),
		cmocka_unit_test(test_auth__check_asks_only_whom_it_helps),
		cmocka_unit_test(test_auth__closed_to_the_anonymous),
		cmocka_unit_test(test_auth__reloads),
		cmocka_unit_test(test_auth__needs_its_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
