/* config_quota.c - the list of quotas: "main=50GiB,pr-12=2GiB". */
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/units.h>

#include "config_table.h"

/* The quota of a scope, with room for it if it is new; NULL: no memory. */
static struct cm_quota *quota_of(struct cm_config *c, const char *scope)
{
	struct cm_quota *grown;
	char *copy;

	for (size_t i = 0; i < c->quotas_len; i++)
		if (strcmp(c->quotas[i].scope, scope) == 0)
			return &c->quotas[i];
	grown = reallocarray(c->quotas, c->quotas_len + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	c->quotas = grown;
	copy = strdup(scope);
	if (!copy)
		return NULL;
	grown[c->quotas_len] = (struct cm_quota){.scope = copy};
	return &grown[c->quotas_len++];
}

static int apply_one(char *text, struct cm_config *c, struct cm_error *err)
{
	char *equals = strchr(text, '=');
	struct cm_quota *q;
	int64_t bytes;

	if (!equals)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is not of the form SCOPE=SIZE",
				    text);
	*equals = '\0';
	if (!cm_repository_valid(text, strlen(text)) || strchr(text, '/'))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no scope: a scope is the "
				    "first part of a repository's path, such "
				    "as main",
				    text);
	if (cm_size_parse(equals + 1, &bytes, err) < 0)
		return err ? err->status : CM_ERR_INVALID;
	if (bytes < 1)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the quota of \"%.64s\" leaves nothing",
				    text);
	if (c->quotas_len == CM_SCOPES_MAX)
		return cm_error_set(err, CM_ERR_INVALID, "more than %d quotas",
				    CM_SCOPES_MAX);
	q = quota_of(c, text);
	if (!q)
		return cm_error_nomem(err);
	q->bytes = bytes;
	return 0;
}

int cm_setting_apply_quotas(const char *value, struct cm_config *c,
			    struct cm_error *err)
{
	cm_autofree char *copy = strdup(value);
	char *at = copy, *item;
	int rc = 0;

	if (!copy)
		return cm_error_nomem(err);
	while (rc == 0 && (item = strsep(&at, ",")))
		rc = apply_one(item + strspn(item, " "), c, err);
	return rc;
}

void cm_quotas_release(struct cm_config *c)
{
	for (size_t i = 0; i < c->quotas_len; i++)
		free((void *)(uintptr_t)c->quotas[i].scope);
	free(c->quotas);
}
