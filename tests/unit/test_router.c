/* test_router.c - from method and path to a row, and its parameters. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "router.h"

static const struct cm_handler handler;

static const struct cm_route registry_routes[] = {
	{"GET", "/v2/", CM_PERM_NONE, &handler},
	{"GET", "/v2/_ext/v1", CM_PERM_NONE, &handler},
	{"GET", "/v2/{name}/blobs/{digest}", CM_PERM_PULL, &handler},
	{"DELETE", "/v2/{name}/blobs/{digest}", CM_PERM_DELETE, &handler},
	{"POST", "/v2/{name}/blobs/uploads/", CM_PERM_PUSH, &handler},
	{"PUT", "/v2/{name}/blobs/uploads/{session}", CM_PERM_PUSH, &handler},
	{"GET", "/v2/{name}/tags/list", CM_PERM_PULL, &handler},
};

static const struct cm_route other_routes[] = {
	{"GET", "/", CM_PERM_NONE, &handler},
	{"GET", "/livez", CM_PERM_NONE, &handler},
};

static const struct cm_face registry = {
	.name = "registry",
	.prefix = "/v2/",
	.routes = registry_routes,
	.routes_len = 7,
};

static const struct cm_face other = {
	.name = "other",
	.prefix = "/",
	.routes = other_routes,
	.routes_len = 2,
};

static const struct cm_face *const faces[] = {&registry, &other};

struct fixture {
	struct cm_router *router;
	struct cm_match match;
	struct cm_error err;
	char path[4096];
};

static struct fixture fixture;

static int setup(void **state)
{
	*state = &fixture;
	return cm_router_new(faces, 2, &fixture.router, &fixture.err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cm_router_free(f->router);
	return 0;
}

static int match(struct fixture *f, const char *method, const char *path)
{
	snprintf(f->path, sizeof(f->path), "%s", path);
	return cm_router_match(f->router, method, f->path, &f->match, &f->err);
}

static void assert_param(struct fixture *f, const char *name, const char *want)
{
	const char *got = cm_match_param(&f->match, name);

	if (!want) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got, want);
}

static void test_router__picks_the_row(void **state)
{
	static const struct {
		const char *method, *path, *pattern, *name;
	} cases[] = {
		{"GET", "/v2/", "/v2/", NULL},
		{"HEAD", "/v2/", "/v2/", NULL},
		{"GET", "/v2/_ext/v1", "/v2/_ext/v1", NULL},
		{"GET", "/v2/a/blobs/x", "/v2/{name}/blobs/{digest}", "a"},
		{"HEAD", "/v2/a/blobs/x", "/v2/{name}/blobs/{digest}", "a"},
		{"GET", "/v2/a/b/c/blobs/x", "/v2/{name}/blobs/{digest}",
		 "a/b/c"},
		{"GET", "/v2/blobs/blobs/blobs/x", "/v2/{name}/blobs/{digest}",
		 "blobs/blobs"},
		{"GET", "/v2/tags/list/tags/list", "/v2/{name}/tags/list",
		 "tags/list"},
		{"POST", "/v2/a/blobs/uploads/", "/v2/{name}/blobs/uploads/",
		 "a"},
		{"PUT", "/v2/a/blobs/uploads/1",
		 "/v2/{name}/blobs/uploads/{session}", "a"},
		{"GET", "/", "/", NULL},
		{"GET", "/livez", "/livez", NULL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ok(match(f, cases[i].method, cases[i].path), &f->err);
		assert_string_equal(f->match.route->pattern, cases[i].pattern);
		assert_param(f, "name", cases[i].name);
	}
}

static void test_router__cuts_out_parameters(void **state)
{
	struct fixture *f = *state;

	assert_ok(match(f, "DELETE", "/v2/a/b/blobs/sha256:12"), &f->err);
	assert_param(f, "name", "a/b");
	assert_param(f, "digest", "sha256:12");
	assert_param(f, "session", NULL);
	assert_param(f, "nam", NULL);
	assert_ptr_equal(f->match.face, &registry);
}

static void test_router__unknown_path(void **state)
{
	static const char *const paths[] = {
		"/v2",	       "/v2/a",	      "/v2//",		"/v2/a/blobs/",
		"/v2/a/blobs", "/v2/blobs/x", "/v2/a/blobs/x/", "/livez/",
		"/LIVEZ",      "//livez",     "/v2/_ext/v1/",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_fails(match(f, "GET", paths[i]), CM_ERR_NOT_FOUND,
			     &f->err);
		assert_null(f->match.route);
		assert_non_null(f->match.face);
	}
}

static void test_router__other_method(void **state)
{
	struct fixture *f = *state;

	assert_fails(match(f, "PATCH", "/v2/a/blobs/x"), CM_ERR_UNSUPPORTED,
		     &f->err);
	assert_string_equal(f->match.allow, "GET, HEAD, DELETE");
	assert_fails(match(f, "GET", "/v2/a/blobs/uploads/"),
		     CM_ERR_UNSUPPORTED, &f->err);
	assert_string_equal(f->match.allow, "POST");
	assert_fails(match(f, "get", "/livez"), CM_ERR_UNSUPPORTED, &f->err);
}

static void test_router__illegal_name(void **state)
{
	static const char *const names[] = {"A", "a//b", "-a", "a/..", "_x"};
	struct fixture *f = *state;
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/v2/%s/blobs/x", names[i]);
		assert_fails(match(f, "GET", path), CM_ERR_INVALID, &f->err);
		assert_non_null(f->match.route);
		assert_param(f, "name", NULL);
		assert_param(f, "digest", "x");
	}
}

static void test_router__very_many_segments(void **state)
{
	struct fixture *f = *state;
	char path[2100] = "/v2/";

	for (size_t i = 4; i < 2000; i += 2)
		memcpy(path + i, "a/", 2);
	memcpy(path + 2000, "tags/list", 10);
	assert_fails(match(f, "GET", path), CM_ERR_NOT_FOUND, &f->err);
}

static void test_router__longest_name(void **state)
{
	struct fixture *f = *state;
	char path[400] = "/v2/";

	for (size_t i = 4; i < 4 + 254; i += 2)
		memcpy(path + i, "a/", 2);
	memcpy(path + 4 + 254, "a/tags/list", 12);
	assert_ok(match(f, "GET", path), &f->err);
	assert_int_equal(strlen(cm_match_param(&f->match, "name")), 255);
}

static void test_router__refuses_a_bad_table(void **state)
{
	static const struct cm_route two_names[] = {
		{"GET", "/x/{name}/y/{name}", CM_PERM_NONE, &handler},
	};
	static const struct cm_face bad = {
		.prefix = "/x/", .routes = two_names, .routes_len = 1};
	const struct cm_face *const table[] = {&bad};
	struct cm_router *r = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_fails(cm_router_new(table, 1, &r, &err), CM_ERR_INTERNAL, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_router__picks_the_row),
		cmocka_unit_test(test_router__cuts_out_parameters),
		cmocka_unit_test(test_router__unknown_path),
		cmocka_unit_test(test_router__other_method),
		cmocka_unit_test(test_router__illegal_name),
		cmocka_unit_test(test_router__very_many_segments),
		cmocka_unit_test(test_router__longest_name),
		cmocka_unit_test(test_router__refuses_a_bad_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
