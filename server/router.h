/*
 * router.h - from a method and a decoded path to a row of a face's table.
 *
 * The tables of the faces are taken apart once, at start; a request then costs
 * one split of its path and a comparison from the right, where paths differ.
 * The rules of a pattern are those of struct cm_route. Rows are tried in the
 * order of the table, faces in the order given: a face whose prefix is "/"
 * stands last and takes what no other took.
 *
 * Threads: a router never changes, so all threads share one.
 */
#ifndef CM_SERVER_ROUTER_H
#define CM_SERVER_ROUTER_H

#include <stddef.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "request.h"

#define CM_MATCH_PARAMS_MAX 4
#define CM_MATCH_ALLOW_SIZE 64

struct cm_router;

struct cm_match_param {
	const char *name; /* inside the pattern, not ended by NUL */
	size_t name_len;
	const char *value;
};

struct cm_match {
	const struct cm_face *face;
	const struct cm_route *route; /* NULL: no row knows the path */
	size_t row;		      /* its number, if there is one */
	size_t params_len;
	struct cm_match_param params[CM_MATCH_PARAMS_MAX];
	char allow[CM_MATCH_ALLOW_SIZE]; /* for 405: "GET, HEAD, PUT" */
};

/*
 * Takes the tables of `faces` apart. They are borrowed until the router is
 * freed. CM_ERR_INTERNAL names a pattern that breaks the rules. Caller frees.
 */
int cm_router_new(const struct cm_face *const *faces, size_t faces_len,
		  struct cm_router **ret, struct cm_error *err);

/* Frees the router; NULL is legal. */
void cm_router_free(struct cm_router *r);

CM_DEFINE_CLEANUP(router, struct cm_router, cm_router_free);

/* Whose prefix `path` has, decoded or not; NULL if nobody's. */
const struct cm_face *cm_router_face(const struct cm_router *r,
				     const char *path);

/*
 * Finds the row for `path`, which is decoded and starts with "/". On success
 * and for CM_ERR_INVALID `path` is cut up: the match's values point into it.
 *
 * CM_ERR_NOT_FOUND    no row has the path; `ret->face` owns the prefix, or is
 *		       NULL
 * CM_ERR_UNSUPPORTED  the path is known with other methods: `ret->allow`
 * CM_ERR_INVALID      {name} is no legal repository name: it is then missing
 *		       among the parameters, and the route is set
 */
int cm_router_match(const struct cm_router *r, const char *method, char *path,
		    struct cm_match *ret, struct cm_error *err);

/* How many rows all tables have together. */
size_t cm_router_rows(const struct cm_router *r);

/* The route of row `row`, below cm_router_rows(). */
const struct cm_route *cm_router_route(const struct cm_router *r, size_t row);

/* The value of a parameter of the match, or NULL. */
const char *cm_match_param(const struct cm_match *m, const char *name);

#endif
