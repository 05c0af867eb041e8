/*
 * remote_api.c - the administration API of cachemountd (protocol.h,
 * CM_API_*): JSON in, JSON out.
 */
#include <string.h>

#include "remote_private.h"

#define API_ANSWER_MAX (64 << 20)

/* A purge or a verify may think longer than a transfer may be silent. */
#define API_STALL_MS 60000

/* Only cachemountd has this API; another registry answers anything at all. */
static int api_offered(struct cm_connection *c, struct cm_error *err)
{
	struct cm_remote_features f;
	int r = cm_remote_features(c->remote, c, &f, err);

	if (r < 0)
		return r;
	if (!f.missing && !f.zstd && !f.if_match)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "%s: is no cachemountd, so it has no "
				    "administration API",
				    c->remote->base);
	return 0;
}

int cm_remote_api(struct cm_connection *c, const char *method,
		  const char *path_and_query, const char *body, char **ret_body,
		  struct cm_error *err)
{
	struct cm_exchange x = {
		.method = method,
		.path = path_and_query,
		.headers = {body ? "Content-Type: application/json" : NULL},
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.limit = API_ANSWER_MAX,
		.stall_ms = API_STALL_MS,
	};
	int r = api_offered(c, err);

	if (r < 0)
		return r;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	if (x.status != 200)
		return cm_http_refused(c, &x, path_and_query, err);
	*ret_body = malloc(c->body.len + 1);
	if (!*ret_body)
		return cm_error_nomem(err);
	if (c->body.len > 0)
		memcpy(*ret_body, c->body.data, c->body.len);
	(*ret_body)[c->body.len] = '\0';
	return 0;
}
