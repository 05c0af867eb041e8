/*
 * mount_option.h - the -m option: ID=PATH[,merge=union|replace][,tag=TAG].
 */
#ifndef CM_CLIENT_MOUNT_OPTION_H
#define CM_CLIENT_MOUNT_OPTION_H

#include <cachemount/error.h>
#include <cachemount/names.h>

#include "snapshot.h"

struct cm_mount_option {
	char id[CM_MOUNT_ID_MAX + 1];
	char path[4096];
	char name[CM_REPOSITORY_MAX + 1]; /* of the id, without the scope */
	char tag[CM_TAG_MAX + 1];
	enum cm_merge merge;
};

/*
 * Reads the option. The id ends at the first "=", so an id may hold commas and
 * slashes; options begin at the first ",word=", where the word is of a-z - _.
 * `default_tag` is used where none is given. A path that starts with an
 * unexpanded "~" is refused. CM_ERR_INVALID with a message that shows the form.
 */
int cm_mount_option_parse(const char *text, const char *default_tag,
			  struct cm_mount_option *ret, struct cm_error *err);

/* Fills an option from an id and a path that came as two arguments. */
int cm_mount_option_make(const char *id, const char *path, const char *tag,
			 struct cm_mount_option *ret, struct cm_error *err);

/* "union" or "replace". */
int cm_merge_parse(const char *text, enum cm_merge *ret, struct cm_error *err);

#endif
