/*
 * uri.h - the request target as it came over the wire (RFC 9112 §3.2, RFC
 * 3986): taken apart and decoded here, strictly, and nowhere else.
 *
 * What is refused: bytes outside 0x21-0x7e, a fragment, a percent sign without
 * two hex digits, and escapes that decode to a control byte. In a path also an
 * escape that decodes to "/".
 */
#ifndef CM_SERVER_URI_H
#define CM_SERVER_URI_H

#include <stddef.h>

#include <cachemount/error.h>

#define CM_URI_MAX	  8192 /* bytes, path and query */
#define CM_PATH_MAX	  2048
#define CM_QUERY_ARGS_MAX 32

/*
 * Checks a request target in origin form ("/path?query") or absolute form
 * ("http://host/path?query") and finds its parts. `ret_path` points at the
 * first "/" inside `uri`; `ret_query` behind the "?", or is NULL.
 * CM_ERR_INVALID with a reason for what is refused; CM_ERR_SIZE beyond
 * CM_URI_MAX or CM_PATH_MAX.
 */
int cm_uri_split(const char *uri, const char **ret_path, size_t *ret_path_len,
		 const char **ret_query, struct cm_error *err);

/*
 * Decodes the percent escapes of `len` bytes of a path into `out`, which has
 * room for len + 1 bytes, and ends it with NUL.
 */
int cm_uri_decode_path(const char *in, size_t len, char *out,
		       struct cm_error *err);

struct cm_query_arg {
	const char *name;
	const char *value; /* "" if there was no "=" */
};

struct cm_query {
	size_t args_len;
	struct cm_query_arg args[CM_QUERY_ARGS_MAX];
};

/*
 * Takes a query string apart and decodes it ("+" is a space). `query` may be
 * NULL. The arguments point into `out`, which has room for strlen(query) + 1
 * bytes. CM_ERR_SIZE for more than CM_QUERY_ARGS_MAX arguments.
 */
int cm_query_parse(const char *query, char *out, struct cm_query *ret,
		   struct cm_error *err);

/* The value of the first argument of that name, or NULL. */
const char *cm_query_get(const struct cm_query *q, const char *name);

/*
 * The values of all arguments of that name, in order: how many there are; the
 * first `max` of them in `ret`.
 */
size_t cm_query_all(const struct cm_query *q, const char *name,
		    const char **ret, size_t max);

#endif
