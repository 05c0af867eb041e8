/*
 * auth_issue.c - access tokens for identities. An identity that came with an
 * access token gets none, so what it may do here is what its holder may.
 */
#include <stdio.h>

#include <cachemount/units.h>

#include "auth.h"
#include "token_file.h"

/* Narrows a scope to what the holder may do. */
static void narrow(const struct cm_identity *id, struct cm_access_scope *s)
{
	static const enum cm_permission each[] = {CM_PERM_PULL, CM_PERM_PUSH,
						  CM_PERM_DELETE};

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
		if (!cm_identity_may(id, each[i], s->repository))
			s->actions &= ~(unsigned)each[i];
}

/* Names the holder in the token. */
static int fill_holder(const struct cm_identity *id, struct cm_access *access,
		       struct cm_error *err)
{
	access->name[0] = '\0';
	if (!id->tokens)
		return 0;
	for (size_t i = 0; i < id->tokens->len; i++) {
		const struct cm_grant *g = &id->tokens->grants[i];

		if (g->secret != id->secret)
			continue;
		snprintf(access->name, sizeof(access->name), "%s", g->name);
		return cm_access_secret_id(&g->hash, access->secret_id, err);
	}
	return cm_error_set(err, CM_ERR_INTERNAL, "an identity without grant");
}

int cm_auth_issue(struct cm_auth *a, const struct cm_identity *id,
		  struct cm_access *wanted,
		  char ret[static CM_ACCESS_TEXT_SIZE], struct cm_error *err)
{
	size_t kept = 0;
	int rc;

	if (id->access)
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "an access token gets no other one: send "
				    "the credentials");
	if (!cm_identity_may(id, CM_PERM_NONE, NULL))
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "authentication is required");
	for (size_t i = 0; i < wanted->scopes_len; i++) {
		narrow(id, &wanted->scopes[i]);
		if (wanted->scopes[i].actions != 0)
			wanted->scopes[kept++] = wanted->scopes[i];
	}
	wanted->scopes_len = kept;
	wanted->expires_s = cm_now_ms() / 1000 + CM_ACCESS_LIFETIME_S;
	rc = fill_holder(id, wanted, err);
	return rc < 0 ? rc : cm_access_seal(wanted, cm_auth_key(a), ret, err);
}
