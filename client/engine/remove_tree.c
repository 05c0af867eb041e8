/*
 * remove_tree.c - rm -r without recursion and without following links.
 *
 * It stays on the file system it starts on: another mount below is not ours to
 * empty. The way back up is "..", taken only after a look that it is the
 * directory we came from, since somebody may have moved the one we are in.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "root.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* The directories from the top down to the one being emptied. */
struct removal {
	struct level {
		dev_t dev;
		ino_t ino;
		char name[256]; /* in the directory above */
	} * levels;
	size_t len, cap;
	int fd; /* of the lowest level */
};

static int push(struct removal *r, int fd, const char *name)
{
	size_t cap = r->cap ? r->cap * 2 : 16;
	struct level *grown;
	struct stat st;

	if (r->len == r->cap) {
		grown = reallocarray(r->levels, cap, sizeof(*grown));
		if (!grown)
			return -1;
		r->levels = grown;
		r->cap = cap;
	}
	if (fstat(fd, &st) < 0)
		return -1;
	if (r->len > 0 && st.st_dev != r->levels[0].dev) {
		errno = EXDEV;
		return -1;
	}
	r->levels[r->len].dev = st.st_dev;
	r->levels[r->len].ino = st.st_ino;
	snprintf(r->levels[r->len].name, sizeof(r->levels[r->len].name), "%s",
		 name);
	r->len++;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = fd;
	return 0;
}

/* A directory that its owner may not write to is made so first. */
static int open_for_removal(int dir, const char *name)
{
	int fd = openat(dir, name, DIR_FLAGS);

	if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
		fd = openat(dir, name, DIR_FLAGS);
	if (fd >= 0)
		fchmod(fd, 0700);
	return fd;
}

/* Goes down into `name`. */
static int descend(struct removal *r, const char *name)
{
	int fd = open_for_removal(r->fd, name);

	if (fd < 0)
		return -1;
	if (push(r, fd, name) < 0) {
		close(fd);
		return -1;
	}
	return 0;
}

/* Goes up one level and removes the directory just emptied. */
static int ascend(struct removal *r)
{
	struct level *above = &r->levels[r->len - 2];
	int fd = openat(r->fd, "..", DIR_FLAGS);
	struct stat st;

	if (fd < 0)
		return -1;
	close(r->fd);
	r->fd = fd;
	if (fstat(fd, &st) < 0)
		return -1;
	if (st.st_dev != above->dev || st.st_ino != above->ino) {
		errno = ESTALE;
		return -1;
	}
	r->len--;
	return unlinkat(fd, r->levels[r->len].name, AT_REMOVEDIR);
}

/*
 * Unlinks what it can in the lowest level. 1 with the name of a directory that
 * is in the way, 0 if all is gone.
 */
static int empty_level(struct removal *r, char name[static 256])
{
	int fd = openat(r->fd, ".", DIR_FLAGS);
	cm_autodir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(r->fd, e->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return -1;
		snprintf(name, 256, "%s", e->d_name);
		return 1;
	}
	return 0;
}

static int remove_content(struct removal *r)
{
	char name[256];
	int more;

	for (;;) {
		more = empty_level(r, name);
		if (more < 0)
			return -1;
		if (more > 0) {
			if (descend(r, name) < 0)
				return -1;
			continue;
		}
		if (r->len == 1)
			return 0;
		if (ascend(r) < 0)
			return -1;
	}
}

int cm_remove_tree(int dir, const char *name)
{
	struct removal r = {.fd = -1};
	int fd, status, saved;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	fd = open_for_removal(dir, name);
	if (fd < 0)
		return -1;
	status = push(&r, fd, name);
	if (status < 0)
		close(fd);
	else
		status = remove_content(&r);
	saved = errno;
	if (r.fd >= 0)
		close(r.fd);
	free(r.levels);
	errno = saved;
	return status < 0 ? status : unlinkat(dir, name, AT_REMOVEDIR);
}
