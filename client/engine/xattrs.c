/* xattrs.c - extended attributes of the namespace "user", read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "json_line.h"
#include "local.h"

#define LIST_MAX (64 << 10) /* the kernel's own limit */

static int compare_xattrs(const void *a, const void *b)
{
	const struct cm_xattr *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* One value; 1 if it was read, 0 if it went away or is none of ours. */
static int read_value(int fd, const char *name, struct cm_arena *arena,
		      struct cm_xattr *ret, struct cm_error *err)
{
	cm_autofree char *value = malloc(CM_TREE_XATTR_MAX);
	size_t name_len = strlen(name);
	ssize_t n;

	if (name_len <= 5 || strncmp(name, "user.", 5) != 0 ||
	    name_len > CM_TREE_NAME_MAX || !cm_utf8_valid(name, name_len))
		return 0;
	n = value ? fgetxattr(fd, name, value, CM_TREE_XATTR_MAX) : -1;
	if (n < 0)
		return value ? 0 : cm_error_nomem(err);
	ret->name = cm_arena_copy(arena, name, name_len);
	ret->value = cm_arena_copy(arena, value, (size_t)n);
	ret->len = (size_t)n;
	return ret->name && ret->value ? 1 : cm_error_nomem(err);
}

static int read_list(int fd, const char *list, size_t len,
		     struct cm_arena *arena, const struct cm_xattr **ret,
		     size_t *ret_n, struct cm_error *err)
{
	struct cm_xattr *found =
		cm_arena_alloc(arena, CM_TREE_XATTRS_MAX * sizeof(*found));
	size_t n = 0;
	int r;

	if (!found)
		return cm_error_nomem(err);
	for (size_t at = 0; at < len && n < CM_TREE_XATTRS_MAX;
	     at += strlen(list + at) + 1) {
		r = read_value(fd, list + at, arena, &found[n], err);
		if (r < 0)
			return r;
		n += (size_t)r;
	}
	qsort(found, n, sizeof(*found), compare_xattrs);
	*ret = n ? found : NULL;
	*ret_n = n;
	return 0;
}

int cm_read_xattrs(int fd, struct cm_arena *arena, const struct cm_xattr **ret,
		   size_t *ret_n, struct cm_error *err)
{
	cm_autofree char *list = NULL;
	ssize_t len = flistxattr(fd, NULL, 0);

	*ret = NULL;
	*ret_n = 0;
	if (len <= 0)
		return 0;
	list = malloc(LIST_MAX + 1);
	if (!list)
		return cm_error_nomem(err);
	len = flistxattr(fd, list, LIST_MAX);
	if (len <= 0)
		return 0;
	list[len] = '\0';
	return read_list(fd, list, (size_t)len, arena, ret, ret_n, err);
}
