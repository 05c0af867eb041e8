/* uri.c - strict splitting and decoding of a request target. */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "uri.h"

static int check_bytes(const char *uri, struct cm_error *err)
{
	size_t len = 0;

	for (const char *c = uri; *c; c++, len++) {
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return cm_error_set(err, CM_ERR_INVALID,
					    "byte 0x%02x in the request target",
					    (unsigned char)*c);
		if (*c == '#')
			return cm_error_set(err, CM_ERR_INVALID,
					    "fragment in the request target");
	}
	if (len > CM_URI_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "request target of %zu bytes, at most %d",
				    len, CM_URI_MAX);
	return 0;
}

/* Where the path starts in origin or absolute form; NULL if nowhere. */
static const char *find_path(const char *uri)
{
	if (uri[0] == '/')
		return uri;
	if (strncasecmp(uri, "http://", 7) == 0)
		return strchr(uri + 7, '/');
	if (strncasecmp(uri, "https://", 8) == 0)
		return strchr(uri + 8, '/');
	return NULL;
}

int cm_uri_split(const char *uri, const char **ret_path, size_t *ret_path_len,
		 const char **ret_query, struct cm_error *err)
{
	const char *path, *mark;
	size_t len;
	int rc = check_bytes(uri, err);

	if (rc < 0)
		return rc;
	path = find_path(uri);
	mark = path ? strchr(path, '?') : NULL;
	if (!path || memchr(uri, '?', (size_t)(path - uri)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "request target without a path");
	len = mark ? (size_t)(mark - path) : strlen(path);
	if (len > CM_PATH_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "path of %zu bytes, at most %d", len,
				    CM_PATH_MAX);
	*ret_path = path;
	*ret_path_len = len;
	*ret_query = mark ? mark + 1 : NULL;
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decodes one escape at `in`, of which `left` bytes remain; -1 if malformed. */
static int escape_value(const char *in, size_t left)
{
	int high, low;

	if (left < 3)
		return -1;
	high = hex_value(in[1]);
	low = hex_value(in[2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static int decode(const char *in, size_t len, bool query, char *out,
		  struct cm_error *err)
{
	int c;

	for (size_t i = 0; i < len; i++) {
		if (in[i] != '%') {
			*out++ = query && in[i] == '+' ? ' ' : in[i];
			continue;
		}
		c = escape_value(in + i, len - i);
		if (c < 0)
			return cm_error_set(err, CM_ERR_INVALID,
					    "malformed percent escape");
		if (c < 0x20 || c == 0x7f || (c == '/' && !query))
			return cm_error_set(err, CM_ERR_INVALID,
					    "escape %%%02X is not allowed", c);
		*out++ = (char)c;
		i += 2;
	}
	*out = '\0';
	return 0;
}

int cm_uri_decode_path(const char *in, size_t len, char *out,
		       struct cm_error *err)
{
	return decode(in, len, false, out, err);
}

/* Decodes "name=value" of `len` bytes to `out`, names it in `arg`. */
static int parse_arg(const char *in, size_t len, char *out,
		     struct cm_query_arg *arg, struct cm_error *err)
{
	const char *equals = memchr(in, '=', len);
	size_t name_len = equals ? (size_t)(equals - in) : len;
	int rc = decode(in, name_len, true, out, err);

	if (rc < 0)
		return rc;
	arg->name = out;
	if (!equals) {
		arg->value = out + strlen(out);
		return 0;
	}
	out += name_len + 1;
	arg->value = out;
	return decode(equals + 1, len - name_len - 1, true, out, err);
}

int cm_query_parse(const char *query, char *out, struct cm_query *ret,
		   struct cm_error *err)
{
	size_t len;
	int rc;

	ret->args_len = 0;
	while (query && *query) {
		len = strcspn(query, "&");
		if (len > 0 && ret->args_len == CM_QUERY_ARGS_MAX)
			return cm_error_set(err, CM_ERR_SIZE,
					    "more than %d query arguments",
					    CM_QUERY_ARGS_MAX);
		if (len > 0) {
			rc = parse_arg(query, len, out,
				       &ret->args[ret->args_len++], err);
			if (rc < 0)
				return rc;
		}
		out += len + 1;
		query += len + (query[len] == '&');
	}
	return 0;
}

const char *cm_query_get(const struct cm_query *q, const char *name)
{
	for (size_t i = 0; i < q->args_len; i++)
		if (strcmp(q->args[i].name, name) == 0)
			return q->args[i].value;
	return NULL;
}

size_t cm_query_all(const struct cm_query *q, const char *name,
		    const char **ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < q->args_len; i++) {
		if (strcmp(q->args[i].name, name) != 0)
			continue;
		if (n < max)
			ret[n] = q->args[i].value;
		n++;
	}
	return n;
}
