/*
 * oci_token.c - /v2/token, where a registry's client fetches the access token
 * that a Bearer challenge asks for (Docker's token authentication
 * specification, and its OAuth 2 form).
 *
 * GET ?service=&scope=&client_id=&account=, credentials as Basic or none
 *	200 {"token","access_token","expires_in","issued_at"}
 * POST grant_type=password&username=&password=&scope=… or
 *	grant_type=refresh_token&refresh_token=&scope=…
 *	200 {"access_token","token","scope","expires_in","issued_at"}, and with
 *	access_type=offline "refresh_token": the secret that was given, which
 *	serves as one and is revoked like one
 *
 * `scope` may be repeated. What is asked for and may not be done is left out of
 * the token; the request that needs it then fails with insufficient_scope.
 * There is one service, so `service` is not looked at.
 */
#include <string.h>

#include <cachemount/units.h>

#include "access.h"
#include "faces/body.h"
#include "faces/oci.h"
#include "uri.h"

#define FORM_MAX (16 * 1024)

/* Issues and replies; `refresh` may be NULL. */
static int reply_token(struct cm_request *r, const char *secret,
		       struct cm_access *wanted, bool oauth,
		       const char *refresh, struct cm_error *err)
{
	char token[CM_ACCESS_TEXT_SIZE], issued[CM_TIME_TEXT_SIZE];
	char scope[CM_ACCESS_TEXT_SIZE];
	json_t *body;
	int rc = cm_request_issue(r, secret, wanted, token, err);

	if (rc < 0)
		return rc;
	cm_access_format_scopes(wanted, scope, sizeof(scope));
	cm_time_format((wanted->expires_s - CM_ACCESS_LIFETIME_S) * 1000,
		       issued);
	body = json_pack("{s:s, s:s, s:i, s:s, s:s*, s:s*}", "token", token,
			 "access_token", token, "expires_in",
			 CM_ACCESS_LIFETIME_S, "issued_at", issued, "scope",
			 oauth ? scope : NULL, "refresh_token", refresh);
	if (!body || cm_reply_header(r, "Cache-Control", "no-store") < 0) {
		json_decref(body);
		return cm_error_nomem(err);
	}
	return cm_reply_json(r, 200, body, err);
}

static int get(struct cm_request *r, struct cm_error *err)
{
	const char *scopes[CM_QUERY_ARGS_MAX];
	size_t len =
		cm_request_query_all(r, "scope", scopes, CM_QUERY_ARGS_MAX);
	struct cm_access wanted = {0};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < len; i++)
		rc = cm_access_add_scopes(&wanted, scopes[i], err);
	return rc < 0 ? rc : reply_token(r, NULL, &wanted, false, NULL, err);
}

/* The secret of a form, by its grant; NULL with `err` filled. */
static const char *secret_of(const struct cm_query *form, struct cm_error *err)
{
	const char *grant = cm_query_get(form, "grant_type");
	const char *field = NULL, *secret;

	if (grant && strcmp(grant, "password") == 0)
		field = "password";
	else if (grant && strcmp(grant, "refresh_token") == 0)
		field = "refresh_token";
	if (!field) {
		cm_error_set(err, CM_ERR_INVALID,
			     "grant_type must be password or refresh_token");
		return NULL;
	}
	secret = cm_query_get(form, field);
	if (!secret || !*secret) {
		cm_error_set(err, CM_ERR_INVALID, "%s is missing", field);
		return NULL;
	}
	return secret;
}

static int answer_form(struct cm_request *r, const struct cm_query *form,
		       struct cm_error *err)
{
	const char *secret = secret_of(form, err);
	const char *type = cm_query_get(form, "access_type");
	bool offline = type && strcmp(type, "offline") == 0;
	struct cm_access wanted = {0};
	int rc = secret ? 0 : CM_ERR_INVALID;

	for (size_t i = 0; rc == 0 && i < form->args_len; i++)
		if (strcmp(form->args[i].name, "scope") == 0)
			rc = cm_access_add_scopes(&wanted, form->args[i].value,
						  err);
	return rc < 0 ? rc
		      : reply_token(r, secret, &wanted, true,
				    offline ? secret : NULL, err);
}

static int post(struct cm_request *r, struct cm_error *err)
{
	cm_autofree char *text = NULL, *decoded = NULL;
	struct cm_query form;
	const char *bytes;
	size_t len;
	int rc;

	cm_body_get(r, &bytes, &len);
	if (memchr(bytes, '\0', len))
		return cm_error_set(err, CM_ERR_INVALID, "NUL in a form");
	text = strndup(bytes, len);
	decoded = malloc(len + 1);
	if (!text || !decoded)
		return cm_error_nomem(err);
	rc = cm_query_parse(text, decoded, &form, err);
	return rc < 0 ? rc : answer_form(r, &form, err);
}

const struct cm_handler cm_oci_token_get = {.start = get};

const struct cm_handler cm_oci_token_post = {
	.body = cm_body_collect,
	.finish = post,
	.release = cm_body_free,
	.body_max = FORM_MAX,
};
