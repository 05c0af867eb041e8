/* metrics_scopes.c - bounded tables of traffic by scope. */
#include <string.h>

#include "metrics_scopes.h"

bool cm_counted_scope(const char *repo, char out[static CM_SCOPE_SIZE])
{
	size_t len = repo ? strcspn(repo, "/") : 0;

	out[0] = '\0';
	if (len == 0 || len >= CM_SCOPE_SIZE)
		return false;
	memcpy(out, repo, len);
	out[len] = '\0';
	if (strcmp(out, CM_SCOPE_REST) != 0)
		return true;
	out[0] = '\0';
	return false;
}

static struct cm_scope *find(struct cm_scopes *t, const char *name)
{
	for (size_t i = 0; i < t->len; i++)
		if (strcmp(t->rows[i].name, name) == 0)
			return &t->rows[i];
	return NULL;
}

static struct cm_scope *start_row(struct cm_scope *row, const char *name)
{
	memset(row, 0, sizeof(*row));
	strncpy(row->name, name, sizeof(row->name) - 1);
	return row;
}

struct cm_scope *cm_scopes_brief(struct cm_scopes *t, const char *name,
				 bool earned)
{
	size_t room =
		earned ? CM_COUNTED_SCOPES_MAX : CM_COUNTED_SCOPES_MAX / 2;
	struct cm_scope *row = *name ? find(t, name) : &t->rest;

	if (row)
		return row;
	if (t->len >= room)
		return &t->rest;
	return start_row(&t->rows[t->len++], name);
}

void cm_scopes_clear(struct cm_scopes *t)
{
	t->len = 0;
	memset(&t->rest, 0, sizeof(t->rest));
}

/* Found something, or had a write accepted: what a stranger cannot make up. */
static bool has_earned(const struct cm_scope *s)
{
	for (size_t i = 0; i < CM_KINDS_LEN; i++)
		if (s->kinds[i].hits > 0 || s->kinds[i].writes > 0)
			return true;
	return false;
}

static bool is_saved(const struct cm_scope *s)
{
	return memcmp(s->kinds, s->saved, sizeof(s->kinds)) == 0;
}

/* A row for a scope that has earned one; NULL if none can be had. */
static struct cm_scope *make_row(struct cm_scopes *t, const char *name,
				 int64_t now_ms)
{
	struct cm_scope *silent = &t->rows[0];

	if (t->len < CM_COUNTED_SCOPES_MAX)
		return start_row(&t->rows[t->len++], name);
	for (size_t i = 1; i < t->len; i++)
		if (t->rows[i].used_ms < silent->used_ms)
			silent = &t->rows[i];
	if (now_ms - silent->used_ms < CM_SCOPE_SILENT_MS || !is_saved(silent))
		return NULL;
	return start_row(silent, name);
}

static void add_row(struct cm_scope *to, const struct cm_scope *from,
		    int64_t now_ms)
{
	for (size_t i = 0; i < CM_KINDS_LEN; i++)
		cm_usage_add(&to->kinds[i], &from->kinds[i]);
	to->used_ms = now_ms;
}

void cm_scopes_add(struct cm_scopes *lasting, const struct cm_scopes *brief,
		   int64_t now_ms)
{
	add_row(&lasting->rest, &brief->rest, now_ms);
	for (size_t i = 0; i < brief->len; i++) {
		const struct cm_scope *from = &brief->rows[i];
		struct cm_scope *to = find(lasting, from->name);

		if (!to && has_earned(from))
			to = make_row(lasting, from->name, now_ms);
		add_row(to ? to : &lasting->rest, from, now_ms);
	}
}
