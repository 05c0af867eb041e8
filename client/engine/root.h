/*
 * root.h - the directory that is saved and restored, and ours inside it:
 *
 *	MOUNT/.cachectl/lock	flock()ed by the one cachectl at work
 *	MOUNT/.cachectl/state	the last known tree, see state.h
 *	MOUNT/.cachectl/tmp/	files that are not whole yet
 *
 * Everything beneath the mount is opened through here, and never through a
 * symbolic link: by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) where the
 * kernel has it, else component by component with O_NOFOLLOW.
 */
#ifndef CM_ENGINE_ROOT_H
#define CM_ENGINE_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

struct cm_root {
	int dir;  /* the directory itself */
	int ours; /* .cachectl */
	int lock;
	dev_t dev;	/* of the root: other file systems are not entered */
	bool superuser; /* may give files away */
	bool has_openat2;
};

/*
 * Opens the directory `path`, which the user may well have named through
 * links; with `create` it is made if absent, with the directories above it.
 * Makes .cachectl in it. Caller closes with cm_root_close().
 */
int cm_root_open(const char *path, bool create, struct cm_root **ret,
		 struct cm_error *err);
void cm_root_close(struct cm_root *m);

CM_DEFINE_CLEANUP(root, struct cm_root, cm_root_close);

/*
 * Waits at most `wait_ms` until no other cachectl works in the mount.
 * CM_ERR_BUSY if one still does. Held until cm_root_close().
 */
int cm_root_lock(struct cm_root *m, int64_t wait_ms, struct cm_error *err);

/*
 * Opens a directory beneath the mount for reading; `len` 0 is the mount
 * itself. Returns the descriptor, or -1 with errno.
 */
int cm_root_open_dir(const struct cm_root *m, const char *path, size_t len);

/*
 * The directory that the last path was in, kept open: paths come in tree
 * order, so the next one is most often in it too. One thread's.
 */
struct cm_dir_cache {
	const struct cm_root *mount;
	int fd;
	char *path;
	size_t len;
};

void cm_dir_cache_init(struct cm_dir_cache *c, const struct cm_root *m);
void cm_dir_cache_release(struct cm_dir_cache *c);

/*
 * The descriptor of the directory that `path` is in, borrowed until the next
 * call, and in `*ret_name` the last component. -1 with errno.
 */
int cm_dir_cache_parent(struct cm_dir_cache *c, const char *path, size_t len,
			const char **ret_name);

/*
 * Empties and makes .cachectl/tmp: what a killed run left there is garbage.
 * Only with the lock held. Returns the descriptor in `*ret`.
 */
int cm_root_fresh_tmp(struct cm_root *m, int *ret, struct cm_error *err);

/* Removes .cachectl/tmp and what is in it; failing is no matter. */
void cm_root_remove_tmp(struct cm_root *m);

/*
 * Removes whatever `name` in `dir` is, a directory with all its content.
 * Depth is bounded by the path's length, not by the stack. 0 or -1 with errno;
 * absence is success. Content of another file system is left: EXDEV.
 */
int cm_remove_tree(int dir, const char *name);

#endif
