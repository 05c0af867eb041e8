/*
 * fuzz-router.c - request targets, queries, and the daemon's own routes.
 *
 * The input is a request target, as it comes over the wire. What the headers
 * promise of it is checked: parts lie inside it, what is decoded has no control
 * bytes, a matched path fits its pattern when the parameters are put back.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>

#include "health.h"
#include "request.h"
#include "router.h"
#include "uri.h"

#define INPUT_MAX (CM_URI_MAX + 64)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const methods[] = {"GET",   "HEAD",	 "PUT", "POST",
				      "PATCH", "DELETE", "BREW"};

static struct cm_router *router(void)
{
	static const struct cm_face *faces[8];
	static struct cm_router *r;
	size_t n = 0;

	if (r)
		return r;
	while (n < cm_faces_len && n < 7) {
		faces[n] = cm_faces[n];
		n++;
	}
	faces[n++] = &cm_health_face;
	assert(cm_router_new(faces, n, &r, NULL) == 0);
	return r;
}

static void check_plain(const char *text)
{
	for (; *text; text++)
		assert((unsigned char)*text >= 0x20 && *text != 0x7f);
}

/* The pattern with its parameters filled in is the path again. */
static void check_match(const struct cm_match *m, const char *path)
{
	const char *pattern = m->route->pattern;
	const char *value;
	char name[32];
	size_t len;

	while (*pattern) {
		if (*pattern != '{') {
			assert(*pattern++ == *path++);
			continue;
		}
		len = strcspn(++pattern, "}");
		assert(len < sizeof(name));
		memcpy(name, pattern, len);
		name[len] = '\0';
		pattern += len + 1;
		value = cm_match_param(m, name);
		assert(value && *value);
		assert(strncmp(path, value, strlen(value)) == 0);
		if (strcmp(name, "name") == 0)
			assert(cm_repository_valid(value, strlen(value)));
		else
			assert(!strchr(value, '/'));
		path += strlen(value);
	}
	assert(*path == '\0');
}

static void try_methods(const char *path)
{
	char cut[CM_PATH_MAX + 1];
	struct cm_match m;
	struct cm_error err;
	int rc;

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		strcpy(cut, path);
		rc = cm_router_match(router(), methods[i], cut, &m, &err);
		if (rc == 0)
			check_match(&m, path);
		else
			assert(rc == err.status && err.text[0]);
		if (rc == CM_ERR_UNSUPPORTED)
			assert(m.allow[0] && !m.route);
		if (rc == CM_ERR_INVALID)
			assert(m.route && !cm_match_param(&m, "name"));
	}
}

static void try_query(const char *query)
{
	char out[INPUT_MAX + 1];
	struct cm_query q;

	if (cm_query_parse(query, out, &q, NULL) < 0)
		return;
	for (size_t i = 0; i < q.args_len; i++) {
		check_plain(q.args[i].name);
		check_plain(q.args[i].value);
		assert(cm_query_get(&q, q.args[i].name));
		assert(q.args[i].value + strlen(q.args[i].value) <=
		       out + strlen(query));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char uri[INPUT_MAX + 1], decoded[CM_PATH_MAX + 1];
	const char *path, *query;
	size_t len;

	if (size > INPUT_MAX || memchr(data, '\0', size))
		return -1;
	memcpy(uri, data, size);
	uri[size] = '\0';
	if (cm_uri_split(uri, &path, &len, &query, NULL) < 0)
		return 0;
	assert(path >= uri && path + len <= uri + size && *path == '/');
	assert(len <= CM_PATH_MAX);
	if (query)
		try_query(query);
	if (cm_uri_decode_path(path, len, decoded, NULL) < 0)
		return 0;
	check_plain(decoded);
	assert(strlen(decoded) <= len);
	try_methods(decoded);
	return 0;
}
