/*
 * names.h - the grammars of repository names, tags and scopes
 * (distribution-spec, "Pulling manifests": <name>, <reference>), and the
 * stable rule that maps a mount id to a repository name.
 */
#ifndef CACHEMOUNT_NAMES_H
#define CACHEMOUNT_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include <cachemount/error.h>

#define CM_REPOSITORY_MAX 255 /* bytes, without the NUL */
#define CM_TAG_MAX	  128
#define CM_MOUNT_ID_MAX	  4096

/*
 * Is `name` (`len` bytes) a legal repository name? Path components of
 * [a-z0-9]+ joined inside by one of "." "_" "__" or a run of "-", the
 * components joined by "/", at most CM_REPOSITORY_MAX bytes.
 */
bool cm_repository_valid(const char *name, size_t len);

/* Is `tag` (`len` bytes) legal: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}? */
bool cm_tag_valid(const char *tag, size_t len);

/*
 * Maps a mount id, which BuildKit lets be any text ("/root/.cache/pip"), to a
 * repository name, by a rule that never changes:
 *
 * - an id that is a legal repository name is its own name;
 * - else it is lower-cased, each run of bytes outside [a-z0-9] becomes one
 *   "-", leading and trailing "-" go, it is cut to 64 bytes (then again
 *   without trailing "-"), and "-" plus the first 12 hex digits of the SHA-256
 *   of the untouched id is appended, so that ids that read alike get names of
 *   their own. An id with nothing left is "id-" plus the digits.
 *
 * Writes the name and a NUL to `out`. CM_ERR_INVALID if `id` is empty or over
 * CM_MOUNT_ID_MAX bytes.
 */
int cm_mount_repository(const char *id, char out[static CM_REPOSITORY_MAX + 1],
			struct cm_error *err);

/*
 * Does `pattern` cover the repository `name`? A pattern is a repository name
 * whose last component may be one star (any one component) or two stars (any
 * number of them, none included). Two stars alone cover every name; behind
 * "main" they cover "main" itself and all beneath it.
 */
bool cm_repository_pattern_match(const char *pattern, const char *name);

/* Is `pattern` of the grammar that cm_repository_pattern_match() takes? */
bool cm_repository_pattern_valid(const char *pattern);

#endif
