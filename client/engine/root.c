/* root.c - opening the mount and what is beneath it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cachemount/units.h>

#include "root.h"
#include "tree.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

static int open_beneath(int root, const char *path)
{
	struct open_how how = {
		.flags = DIR_FLAGS | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* A kernel before 5.6 has no openat2; old container runtimes forbid it. */
static bool probe_openat2(int root)
{
	int fd = open_beneath(root, ".");

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* One component after the other, so that no link in the middle is followed. */
static int open_stepwise(int root, const char *path, size_t len)
{
	char name[CM_TREE_NAME_MAX + 1];
	int fd = openat(root, ".", DIR_FLAGS), next;

	for (size_t from = 0; fd >= 0 && from < len;) {
		const char *slash = memchr(path + from, '/', len - from);
		size_t n = slash ? (size_t)(slash - path) - from : len - from;

		if (n > CM_TREE_NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path + from, n);
		name[n] = '\0';
		next = openat(fd, name, DIR_FLAGS | O_NOFOLLOW);
		close(fd);
		fd = next;
		from += n + 1;
	}
	return fd;
}

int cm_root_open_dir(const struct cm_root *m, const char *path, size_t len)
{
	char copy[PATH_MAX];

	if (len == 0)
		return openat(m->dir, ".", DIR_FLAGS);
	if (!m->has_openat2 || len >= sizeof(copy))
		return open_stepwise(m->dir, path, len);
	memcpy(copy, path, len);
	copy[len] = '\0';
	return open_beneath(m->dir, copy);
}

/* mkdir -p: each directory above `path` that is missing, then itself. */
static int make_path(const char *path, struct cm_error *err)
{
	cm_autofree char *copy = strdup(path);

	if (!copy)
		return cm_error_nomem(err);
	for (char *p = copy + 1; copy[0] && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return cm_error_errno(err, "cannot make %s", copy);
		*p = '/';
	}
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return cm_error_errno(err, "cannot make %s", path);
	return 0;
}

static int open_ours(struct cm_root *m, struct cm_error *err)
{
	if (mkdirat(m->dir, CM_MOUNT_STATE_DIR, 0755) < 0 && errno != EEXIST)
		return cm_error_errno(err, "cannot make %s in the mount",
				      CM_MOUNT_STATE_DIR);
	m->ours = openat(m->dir, CM_MOUNT_STATE_DIR, DIR_FLAGS | O_NOFOLLOW);
	if (m->ours < 0)
		return cm_error_errno(err, "cannot open %s in the mount",
				      CM_MOUNT_STATE_DIR);
	m->lock = openat(m->ours, "lock",
			 O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (m->lock < 0)
		return cm_error_errno(err, "cannot make %s/lock in the mount",
				      CM_MOUNT_STATE_DIR);
	return 0;
}

int cm_root_open(const char *path, bool create, struct cm_root **ret,
		 struct cm_error *err)
{
	cm_auto(root) struct cm_root *m = calloc(1, sizeof(*m));
	struct stat st;
	int r;

	if (!m)
		return cm_error_nomem(err);
	m->dir = m->ours = m->lock = -1;
	m->dir = open(path, DIR_FLAGS);
	if (m->dir < 0 && errno == ENOENT && create) {
		r = make_path(path, err);
		if (r < 0)
			return r;
		m->dir = open(path, DIR_FLAGS);
	}
	if (m->dir < 0 || fstat(m->dir, &st) < 0)
		return cm_error_errno(err, "cannot open %s", path);
	m->dev = st.st_dev;
	m->superuser = geteuid() == 0;
	m->has_openat2 = probe_openat2(m->dir);
	r = open_ours(m, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(m);
	return 0;
}

void cm_root_close(struct cm_root *m)
{
	if (!m)
		return;
	if (m->lock >= 0)
		close(m->lock);
	if (m->ours >= 0)
		close(m->ours);
	if (m->dir >= 0)
		close(m->dir);
	free(m);
}

int cm_root_lock(struct cm_root *m, int64_t wait_ms, struct cm_error *err)
{
	const struct timespec pause = {0, 20 * 1000 * 1000};
	int64_t until = cm_monotonic_ms() + wait_ms;

	while (flock(m->lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return cm_error_errno(err, "cannot lock the mount");
		if (cm_monotonic_ms() >= until)
			return cm_error_set(err, CM_ERR_BUSY,
					    "another cachectl is at work in "
					    "the mount");
		nanosleep(&pause, NULL);
	}
	return 0;
}

void cm_dir_cache_init(struct cm_dir_cache *c, const struct cm_root *m)
{
	*c = (struct cm_dir_cache){.mount = m, .fd = -1};
}

void cm_dir_cache_release(struct cm_dir_cache *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->path);
	cm_dir_cache_init(c, c->mount);
}

int cm_dir_cache_parent(struct cm_dir_cache *c, const char *path, size_t len,
			const char **ret_name)
{
	size_t parent = cm_path_parent(path, len);
	char *copy;

	*ret_name = parent ? path + parent + 1 : path;
	if (c->fd >= 0 && c->len == parent &&
	    memcmp(c->path, path, parent) == 0)
		return c->fd;
	copy = malloc(parent + 1);
	if (!copy)
		return -1;
	memcpy(copy, path, parent);
	copy[parent] = '\0';
	cm_dir_cache_release(c);
	c->path = copy;
	c->len = parent;
	c->fd = cm_root_open_dir(c->mount, copy, parent);
	return c->fd;
}

int cm_root_fresh_tmp(struct cm_root *m, int *ret, struct cm_error *err)
{
	if (cm_remove_tree(m->ours, "tmp") < 0 ||
	    mkdirat(m->ours, "tmp", 0700) < 0)
		return cm_error_errno(err, "cannot make %s/tmp in the mount",
				      CM_MOUNT_STATE_DIR);
	*ret = openat(m->ours, "tmp", DIR_FLAGS | O_NOFOLLOW);
	if (*ret < 0)
		return cm_error_errno(err, "cannot open %s/tmp in the mount",
				      CM_MOUNT_STATE_DIR);
	return 0;
}

void cm_root_remove_tmp(struct cm_root *m)
{
	cm_remove_tree(m->ours, "tmp");
}
