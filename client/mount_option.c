/* mount_option.c - reading "pip=/root/.cache/pip,merge=union". */
#include <stdlib.h>
#include <string.h>

#include <cachemount/cleanup.h>

#include "mount_option.h"

#define FORM "ID=PATH[,merge=union|replace][,tag=TAG]"

int cm_merge_parse(const char *text, enum cm_merge *ret, struct cm_error *err)
{
	if (strcmp(text, "union") == 0)
		*ret = CM_MERGE_UNION;
	else if (strcmp(text, "replace") == 0)
		*ret = CM_MERGE_REPLACE;
	else
		return cm_error_set(err, CM_ERR_INVALID,
				    "merge is \"%.20s\"; it can be union or "
				    "replace",
				    text);
	return 0;
}

static int copy(const char *what, const char *text, size_t len, char *out,
		size_t size, struct cm_error *err)
{
	if (len == 0 || len >= size)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the %s has %zu bytes; 1 to %zu are "
				    "allowed (write " FORM ")",
				    what, len, size - 1);
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

static int set_tag(const char *tag, struct cm_mount_option *ret,
		   struct cm_error *err)
{
	if (!cm_tag_valid(tag, strlen(tag)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.140s\" is no tag: letters, digits, "
				    "_ . -, at most %d",
				    tag, CM_TAG_MAX);
	strcpy(ret->tag, tag);
	return 0;
}

int cm_mount_option_make(const char *id, const char *path, const char *tag,
			 struct cm_mount_option *ret, struct cm_error *err)
{
	int r = copy("id", id, strlen(id), ret->id, sizeof(ret->id), err);

	ret->merge = CM_MERGE_UNION;
	if (r == 0)
		r = copy("path", path, strlen(path), ret->path,
			 sizeof(ret->path), err);
	if (r == 0)
		r = cm_mount_repository(ret->id, ret->name, err);
	return r < 0 ? r : set_tag(tag, ret, err);
}

static int parse_one(char *text, struct cm_mount_option *ret,
		     struct cm_error *err)
{
	if (strncmp(text, "merge=", 6) == 0)
		return cm_merge_parse(text + 6, &ret->merge, err);
	if (strncmp(text, "tag=", 4) == 0)
		return set_tag(text + 4, ret, err);
	return cm_error_set(err, CM_ERR_INVALID,
			    "\"%.60s\" is no option of a mount; write " FORM,
			    text);
}

/*
 * Where the path ends: at the first ",word=", known or not, so that a slip of
 * the pen is told of and not taken for a part of the path; or NULL.
 */
static char *options_start(char *path)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz-_";
	size_t len;

	for (char *p = strchr(path, ','); p; p = strchr(p + 1, ',')) {
		len = strspn(p + 1, letters);
		if (len > 0 && p[1 + len] == '=')
			return p;
	}
	return NULL;
}

/* A shell expands "~" only where a word begins, so not behind "ID=". */
static int refuse_tilde(const char *path, struct cm_error *err)
{
	if (path[0] != '~' || (path[1] && path[1] != '/'))
		return 0;
	return cm_error_set(err, CM_ERR_INVALID,
			    "the shell has not expanded \"%.60s\"; write "
			    "$HOME%.60s",
			    path, path + 1);
}

int cm_mount_option_parse(const char *text, const char *default_tag,
			  struct cm_mount_option *ret, struct cm_error *err)
{
	cm_autofree char *own = strdup(text);
	char *path, *options, *save = NULL;
	int r;

	if (!own)
		return cm_error_nomem(err);
	path = strchr(own, '=');
	if (!path)
		return cm_error_set(err, CM_ERR_INVALID,
				    "-m \"%.80s\" has no path; write " FORM,
				    text);
	*path++ = '\0';
	options = options_start(path);
	if (options)
		*options++ = '\0';
	r = cm_mount_option_make(own, path, default_tag, ret, err);
	if (r == 0)
		r = refuse_tilde(ret->path, err);
	for (char *o = options ? strtok_r(options, ",", &save) : NULL;
	     o && r == 0; o = strtok_r(NULL, ",", &save))
		r = parse_one(o, ret, err);
	return r;
}
