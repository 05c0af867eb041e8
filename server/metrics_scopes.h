/*
 * metrics_scopes.h - traffic by scope and kind, in tables that stay small
 * whatever clients ask for. Private to metrics*.c, and for its test.
 *
 * A scope is the first component of a repository's name. Who asks for names
 * that are nowhere makes no series: a scope gets a row of its own in the long
 * run only by a lookup that found something or by a write that was accepted.
 * All else counts in the rest, as do scopes whose name is long, and one that is
 * called as the rest is.
 */
#ifndef CM_SERVER_METRICS_SCOPES_H
#define CM_SERVER_METRICS_SCOPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics.h"

struct cm_scopes {
	size_t len;
	struct cm_scope rows[CM_COUNTED_SCOPES_MAX];
	struct cm_scope rest;
};

/*
 * Writes the scope of a repository: false, and "", if it counts in the rest.
 * `repo` may be NULL.
 */
bool cm_counted_scope(const char *repo, char out[static CM_SCOPE_SIZE]);

/*
 * The row for a scope ("": the rest) in a table that is emptied every second.
 * One that has earned nothing gets at most half of the rows; when none is left,
 * it is the rest.
 */
struct cm_scope *cm_scopes_brief(struct cm_scopes *t, const char *name,
				 bool earned);

/* Empties a table. */
void cm_scopes_clear(struct cm_scopes *t);

/*
 * Adds all of a brief table to a lasting one. A scope that is new and has
 * earned it gets a free row, or that of the scope which has been silent
 * longest, if that is CM_SCOPE_SILENT_MS or more and all of it is saved.
 */
void cm_scopes_add(struct cm_scopes *lasting, const struct cm_scopes *brief,
		   int64_t now_ms);

#define CM_SCOPE_SILENT_MS 3600000

#endif
