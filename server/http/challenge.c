/*
 * challenge.c - how a client is asked to name itself (RFC 9110 §11.6.1).
 *
 * Basic is what every client knows, and is always taken. But where the
 * anonymous may pull, a registry's clients are asked for Bearer: told Basic,
 * some give up for want of a password, while an access token they fetch for
 * themselves even without one. Others take a challenge only from the answer to
 * their first request, and send pushes without credentials if there was none.
 *
 * The address of the token endpoint must be absolute. It is the --public-url,
 * or what this client itself has used: its Host, or what a proxy in front says
 * of it. It goes back to the same client only, which is why it can be believed:
 * the reply says that nobody may store it.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"

#define HOST_MAX 255

static bool is_token_endpoint(const struct cm_request *r)
{
	return r->match.route &&
	       strcmp(r->match.route->pattern, r->match.face->token_path) == 0;
}

/* A client that sends Bearer is answered in Bearer. */
static bool wants_bearer(const struct cm_request *r)
{
	return r->match.face && r->match.face->token_path &&
	       !is_token_endpoint(r) &&
	       (cm_auth_anonymous(r->http->options.auth) != 0 ||
		r->identity.bearer);
}

/* The first member of a list; its length. */
static size_t first_of(const char *list)
{
	return strcspn(list, ", \t");
}

/* Copies a host with or without port; false if it is none. */
static bool copy_host(const char *value, char out[static HOST_MAX + 1])
{
	size_t len = value ? first_of(value) : 0;

	if (len == 0 || len > HOST_MAX ||
	    strspn(value, "abcdefghijklmnopqrstuvwxyz"
			  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			  "0123456789-._:[]") < len)
		return false;
	memcpy(out, value, len);
	out[len] = '\0';
	return true;
}

static bool forwarded_https(const struct cm_request *r)
{
	const char *proto = cm_request_header(r, "X-Forwarded-Proto");

	return proto && first_of(proto) == 5 &&
	       strncasecmp(proto, "https", 5) == 0;
}

/* Where this client reaches the server; false if that can't be known. */
static bool origin(const struct cm_request *r, char *out, size_t size)
{
	const char *known = r->http->options.public_url;
	char host[HOST_MAX + 1];

	if (known)
		return (size_t)snprintf(out, size, "%s", known) < size;
	if (!copy_host(cm_request_header(r, "X-Forwarded-Host"), host) &&
	    !copy_host(cm_request_header(r, "Host"), host))
		return false;
	return (size_t)snprintf(out, size, "%s://%s",
				forwarded_https(r) ? "https" : "http",
				host) < size;
}

/* What the request would have needed, as a parameter: ",scope=…". */
static void format_scope(const struct cm_request *r, char *out, size_t size)
{
	const struct cm_route *route = r->match.route;
	const char *name = cm_match_param(&r->match, "name");
	unsigned needed = route ? (unsigned)route->permission : 0;
	char actions[32];

	out[0] = '\0';
	/* Who pushes also asks what is there already. */
	if (needed == CM_PERM_PUSH)
		needed |= CM_PERM_PULL;
	cm_access_format_actions(needed, actions);
	if (name && actions[0])
		snprintf(out, size, ",scope=\"repository:%s:%s\"", name,
			 actions);
}

/* Why the credentials that came did not do (RFC 6750 §3.1). */
static const char *reason(const struct cm_request *r)
{
	if (r->identity.access)
		return ",error=\"insufficient_scope\"";
	return r->identity.bearer ? ",error=\"invalid_token\"" : "";
}

static bool add_bearer(struct cm_request *r)
{
	char from[HOST_MAX + 16], scope[CM_REPOSITORY_MAX + 64];

	if (!origin(r, from, sizeof(from)))
		return false;
	format_scope(r, scope, sizeof(scope));
	return cm_reply_header(
		       r, "WWW-Authenticate",
		       "Bearer realm=\"%s%s\",service=\"cachemount\"%s%s", from,
		       r->match.face->token_path, scope, reason(r)) == 0;
}

void cm_challenge_add(struct cm_request *r)
{
	cm_reply_header(r, "Cache-Control", "no-store");
	if (!wants_bearer(r) || !add_bearer(r))
		cm_reply_header(r, "WWW-Authenticate",
				"Basic realm=\"cachemount\"");
}
