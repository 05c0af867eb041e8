/* router.c - compiled tables of routes, matched from the right. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>

#include "router.h"

#define PATTERN_SEGMENTS_MAX 8

/* A repository name of CM_REPOSITORY_MAX bytes has at most half as many. */
#define PATH_SEGMENTS_MAX (CM_REPOSITORY_MAX / 2 + 1 + PATTERN_SEGMENTS_MAX)

struct segment {
	const char *text;
	size_t len;
};

struct row {
	const struct cm_face *face;
	const struct cm_route *route;
	size_t len;
	bool has_name;
	size_t name_at; /* index of {name} if it has one */
	struct segment segments[PATTERN_SEGMENTS_MAX];
};

struct cm_router {
	const struct cm_face *const *faces;
	size_t faces_len;
	size_t rows_len;
	struct row rows[];
};

struct path {
	char *text;
	size_t len;
	struct segment segments[PATH_SEGMENTS_MAX];
};

/* Cuts "/a/b/" into "a", "b", "". Returns false if there are over `max`. */
static bool split(const char *text, struct segment *out, size_t max,
		  size_t *ret_len)
{
	size_t n = 0, len;

	while (*text == '/') {
		text++;
		len = strcspn(text, "/");
		if (n == max)
			return false;
		out[n++] = (struct segment){text, len};
		text += len;
	}
	*ret_len = n;
	return *text == '\0';
}

static bool is_param(const struct segment *s)
{
	return s->len >= 2 && s->text[0] == '{';
}

static bool is_name(const struct segment *s)
{
	return s->len == 6 && memcmp(s->text, "{name}", 6) == 0;
}

static int compile(const struct cm_face *face, const struct cm_route *route,
		   struct row *row, struct cm_error *err)
{
	size_t params = 0;

	row->face = face;
	row->route = route;
	if (!split(route->pattern, row->segments, PATTERN_SEGMENTS_MAX,
		   &row->len))
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "route pattern %s is malformed",
				    route->pattern);
	for (size_t i = 0; i < row->len; i++) {
		params += is_param(&row->segments[i]);
		if (!is_name(&row->segments[i]))
			continue;
		if (row->has_name)
			params = CM_MATCH_PARAMS_MAX + 1;
		row->has_name = true;
		row->name_at = i;
	}
	if (params > CM_MATCH_PARAMS_MAX)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "route pattern %s has too many parameters",
				    route->pattern);
	return 0;
}

int cm_router_new(const struct cm_face *const *faces, size_t faces_len,
		  struct cm_router **ret, struct cm_error *err)
{
	cm_auto(router) struct cm_router *r = NULL;
	size_t rows = 0;
	int rc;

	for (size_t i = 0; i < faces_len; i++)
		rows += faces[i]->routes_len;
	r = calloc(1, sizeof(*r) + rows * sizeof(r->rows[0]));
	if (!r)
		return cm_error_nomem(err);
	r->faces = faces;
	r->faces_len = faces_len;
	for (size_t i = 0; i < faces_len; i++) {
		for (size_t j = 0; j < faces[i]->routes_len; j++) {
			rc = compile(faces[i], &faces[i]->routes[j],
				     &r->rows[r->rows_len++], err);
			if (rc < 0)
				return rc;
		}
	}
	*ret = cm_take_ptr(r);
	return 0;
}

void cm_router_free(struct cm_router *r)
{
	free(r);
}

static bool segment_matches(const struct segment *pattern,
			    const struct segment *s)
{
	if (is_param(pattern))
		return s->len > 0;
	return pattern->len == s->len &&
	       memcmp(pattern->text, s->text, s->len) == 0;
}

/* Compares from the right, up to {name} if there is one, then the rest. */
static bool row_matches(const struct row *row, const struct path *p)
{
	size_t right = row->has_name ? row->len - row->name_at - 1 : row->len;
	size_t left = row->has_name ? row->name_at : 0;

	if (row->has_name ? p->len < row->len : p->len != row->len)
		return false;
	for (size_t i = 1; i <= right; i++)
		if (!segment_matches(&row->segments[row->len - i],
				     &p->segments[p->len - i]))
			return false;
	for (size_t i = 0; i < left; i++)
		if (!segment_matches(&row->segments[i], &p->segments[i]))
			return false;
	return true;
}

static bool method_matches(const struct cm_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
	       (strcmp(method, "HEAD") == 0 &&
		strcmp(route->method, "GET") == 0);
}

static void allow_add(char allow[static CM_MATCH_ALLOW_SIZE],
		      const char *method)
{
	size_t used = strlen(allow);

	if (strstr(allow, method) ||
	    used + strlen(method) + 3 > CM_MATCH_ALLOW_SIZE)
		return;
	if (used > 0) {
		memcpy(allow + used, ", ", 2);
		used += 2;
	}
	memcpy(allow + used, method, strlen(method) + 1);
}

/* The segments of the path that {name} of the row takes, as one. */
static struct segment name_span(const struct row *row, const struct path *p)
{
	const struct segment *first = &p->segments[row->name_at];
	const struct segment *last =
		&p->segments[p->len - (row->len - row->name_at)];

	return (struct segment){first->text,
				(size_t)(last->text + last->len - first->text)};
}

static bool name_valid(const struct row *row, const struct path *p)
{
	struct segment name;

	if (!row->has_name)
		return true;
	name = name_span(row, p);
	return cm_repository_valid(name.text, name.len);
}

static void add_param(struct cm_match *m, const struct segment *pattern,
		      const struct segment *value, struct path *p)
{
	size_t end = (size_t)(value->text - p->text) + value->len;

	p->text[end] = '\0';
	m->params[m->params_len++] = (struct cm_match_param){
		.name = pattern->text + 1,
		.name_len = pattern->len - 2,
		.value = value->text,
	};
}

static void fill(const struct row *row, struct path *p, bool named,
		 struct cm_match *m)
{
	size_t shift = p->len - row->len;
	struct segment span;

	m->route = row->route;
	for (size_t i = 0; i < row->len; i++) {
		if (!is_param(&row->segments[i]))
			continue;
		if (row->has_name && i == row->name_at) {
			span = name_span(row, p);
			if (named)
				add_param(m, &row->segments[i], &span, p);
			continue;
		}
		add_param(m, &row->segments[i],
			  &p->segments[row->has_name && i > row->name_at
					       ? i + shift
					       : i],
			  p);
	}
}

const struct cm_face *cm_router_face(const struct cm_router *r,
				     const char *path)
{
	for (size_t i = 0; i < r->faces_len; i++)
		if (strncmp(path, r->faces[i]->prefix,
			    strlen(r->faces[i]->prefix)) == 0)
			return r->faces[i];
	return NULL;
}

/* Why no row was taken: a wrong name, another method, or nothing there. */
static int explain(const struct row *misnamed, struct path *p,
		   struct cm_match *m, const char *method, struct cm_error *err)
{
	if (misnamed) {
		fill(misnamed, p, false, m);
		return cm_error_set(err, CM_ERR_INVALID,
				    "not a legal repository name");
	}
	if (m->allow[0])
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "%.16s is not offered here, only %s",
				    method, m->allow);
	return cm_error_set(err, CM_ERR_NOT_FOUND, "no such path");
}

int cm_router_match(const struct cm_router *r, const char *method, char *path,
		    struct cm_match *ret, struct cm_error *err)
{
	const struct row *misnamed = NULL;
	struct path p = {.text = path};

	*ret = (struct cm_match){.face = cm_router_face(r, path)};
	if (!ret->face || !split(path, p.segments, PATH_SEGMENTS_MAX, &p.len))
		return cm_error_set(err, CM_ERR_NOT_FOUND, "no such path");
	for (size_t i = 0; i < r->rows_len; i++) {
		const struct row *row = &r->rows[i];

		if (row->face != ret->face || !row_matches(row, &p))
			continue;
		if (!method_matches(row->route, method)) {
			allow_add(ret->allow, row->route->method);
			if (strcmp(row->route->method, "GET") == 0)
				allow_add(ret->allow, "HEAD");
		} else if (!name_valid(row, &p)) {
			misnamed = misnamed ? misnamed : row;
		} else {
			fill(row, &p, true, ret);
			ret->row = i;
			return 0;
		}
	}
	return explain(misnamed, &p, ret, method, err);
}

size_t cm_router_rows(const struct cm_router *r)
{
	return r->rows_len;
}

const struct cm_route *cm_router_route(const struct cm_router *r, size_t row)
{
	return r->rows[row].route;
}

const char *cm_match_param(const struct cm_match *m, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < m->params_len; i++)
		if (m->params[i].name_len == len &&
		    memcmp(m->params[i].name, name, len) == 0)
			return m->params[i].value;
	return NULL;
}
