/*
 * gates.c - what every request passes before its handler, in one visible
 * order: target, route, drain, origin, permission, body.
 */
#include <string.h>

#include "health.h"
#include "http/internal.h"

/* Splits and decodes the request target. */
static int gate_target(struct cm_request *r, struct cm_error *err)
{
	const char *path, *query;
	size_t path_len;
	int rc;

	/* Whoever's target it is, that one's clients read the answer. */
	r->match.face = cm_router_face(r->http->options.router, r->text);
	if (r->uri_cut) {
		r->forced_status = 414;
		return cm_error_set(err, CM_ERR_SIZE,
				    "request target over %d bytes", CM_URI_MAX);
	}
	rc = cm_uri_split(r->text, &path, &path_len, &query, err);
	if (rc < 0) {
		r->forced_status = rc == CM_ERR_SIZE ? 414 : 400;
		return rc;
	}
	rc = cm_uri_decode_path(path, path_len, r->path, err);
	if (rc == 0)
		rc = cm_query_parse(query, r->args, &r->query, err);
	if (rc == CM_ERR_SIZE)
		r->forced_status = 414;
	r->raw_path = path;
	r->text[(size_t)(path - r->text) + path_len] = '\0';
	return rc;
}

static int gate_route(struct cm_request *r, struct cm_error *err)
{
	int rc = cm_router_match(r->http->options.router, r->method, r->path,
				 &r->match, err);

	if (rc == CM_ERR_UNSUPPORTED)
		r->forced_status = 405;
	return rc;
}

static bool is_probe(const struct cm_request *r)
{
	return r->match.face == &cm_health_face;
}

static int gate_drain(struct cm_request *r, struct cm_error *err)
{
	if (is_probe(r) ||
	    cm_health_phase(r->http->options.health) != CM_PHASE_REFUSING)
		return 0;
	r->forced_status = 503;
	return cm_error_set(err, CM_ERR_UNAVAILABLE,
			    "the server is shutting down");
}

/*
 * A web page that a developer has open may send requests to a server on
 * localhost, where everyone may do everything. No client of ours is a browser.
 */
static int gate_origin(struct cm_request *r, struct cm_error *err)
{
	const char *origin, *host;
	size_t len;

	if (strcmp(r->match.route->method, "GET") == 0)
		return 0;
	origin = cm_request_header(r, "Origin");
	if (!origin)
		return 0;
	host = cm_request_header(r, "Host");
	len = strcspn(origin, ":");
	if (host && strncmp(origin + len, "://", 3) == 0 &&
	    strcmp(origin + len + 3, host) == 0)
		return 0;
	return cm_error_set(
		err, CM_ERR_DENIED,
		"requests of web pages of another site are refused");
}

static int gate_permission(struct cm_request *r, struct cm_error *err)
{
	struct cm_auth *auth = r->http->options.auth;
	int rc;

	if (is_probe(r))
		return 0;
	rc = cm_auth_identify(auth, cm_request_header(r, "Authorization"),
			      &r->identity, err);
	if (rc < 0 || r->match.route->permission == CM_PERM_OPEN)
		return rc;
	return cm_auth_check(auth, &r->identity, r->match.route->permission,
			     cm_match_param(&r->match, "name"), err);
}

static int gate_body(struct cm_request *r, struct cm_error *err)
{
	const struct cm_handler *h = r->match.route->handler;

	if (r->content_length <= 0)
		return 0;
	if (!h->body) {
		r->forced_status = 400;
		return cm_error_set(err, CM_ERR_SIZE,
				    "a body is not expected here");
	}
	if (r->content_length > h->body_max) {
		r->forced_status = 413;
		return cm_error_set(
			err, CM_ERR_SIZE, "body of %lld bytes, at most %lld",
			(long long)r->content_length, (long long)h->body_max);
	}
	return 0;
}

int cm_gates_pass(struct cm_request *r, struct cm_error *err)
{
	static int (*const gates[])(struct cm_request *, struct cm_error *) = {
		gate_target, gate_route,      gate_drain,
		gate_origin, gate_permission, gate_body,
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(gates) / sizeof(gates[0]); i++)
		rc = gates[i](r, err);
	return rc;
}
