/* stage.c - whole directories, out of sight until they are. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job.h"
#include "stage.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int cm_stage_init(struct cm_stage *s, const struct cm_root *mount, int tmp,
		  const struct cm_tree *theirs, const struct cm_plan *plan,
		  struct cm_error *err)
{
	s->theirs = theirs;
	s->plan = plan;
	s->root = *mount;
	s->root.dir = -1;
	if (mkdirat(tmp, "new", 0700) == 0)
		s->root.dir = openat(tmp, "new", DIR_FLAGS);
	if (s->root.dir < 0)
		return cm_error_errno(err, "cannot make %s/tmp/new",
				      CM_MOUNT_STATE_DIR);
	return 0;
}

void cm_stage_release(struct cm_stage *s)
{
	if (s->root.dir >= 0)
		close(s->root.dir);
	s->root.dir = -1;
}

/* Mirrors the directories above `path`, which the mount has already. */
static int mirror_parents(const struct cm_stage *s, const char *path,
			  size_t len)
{
	char name[CM_TREE_NAME_MAX + 1];
	cm_autofd int fd = openat(s->root.dir, ".", DIR_FLAGS);
	size_t end = cm_path_parent(path, len), n;
	int next;

	for (size_t from = 0; fd >= 0 && from < end; from += n + 1) {
		const char *slash = memchr(path + from, '/', end - from);

		n = slash ? (size_t)(slash - path) - from : end - from;
		memcpy(name, path + from, n);
		name[n] = '\0';
		if (mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
			return -1;
		next = openat(fd, name, DIR_FLAGS);
		close(fd);
		fd = next;
	}
	return fd < 0 ? -1 : 0;
}

int cm_stage_mkdir(struct cm_stage *s, struct cm_dir_cache *dirs,
		   const struct cm_entry *e, struct cm_error *err)
{
	char shown[CM_SHOWN_SIZE];
	const char *name;
	int dir = cm_dir_cache_parent(dirs, e->path, e->path_len, &name);

	if (dir < 0 && errno == ENOENT &&
	    mirror_parents(s, e->path, e->path_len) == 0) {
		cm_dir_cache_release(dirs);
		dir = cm_dir_cache_parent(dirs, e->path, e->path_len, &name);
	}
	if (dir < 0 || mkdirat(dir, name, (e->mode & 0777) | S_IRWXU) < 0)
		return cm_error_errno(err, "cannot make %s",
				      cm_shown(e->path, shown));
	return 0;
}

static int move(const struct cm_entry *e, struct cm_dir_cache *from,
		struct cm_dir_cache *to, struct cm_error *err)
{
	char shown[CM_SHOWN_SIZE];
	const char *name;
	int source = cm_dir_cache_parent(from, e->path, e->path_len, &name);
	int target = cm_dir_cache_parent(to, e->path, e->path_len, &name);
	int r = source < 0 || target < 0 ? -1
					 : renameat(source, name, target, name);

	/* A socket or device, which the plan knows nothing of. */
	if (r < 0 && errno == ENOTDIR && target >= 0 &&
	    unlinkat(target, name, 0) == 0)
		r = renameat(source, name, target, name);
	if (r == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return cm_error_set(err, CM_ERR_EXISTS,
				    "%s was made by somebody else meanwhile",
				    cm_shown(e->path, shown));
	return cm_error_errno(err, "cannot put %s into place",
			      cm_shown(e->path, shown));
}

int cm_stage_settle(struct cm_stage *s, struct cm_dir_cache *from,
		    struct cm_dir_cache *to, struct cm_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->plan->rows->len; i++)
		if (s->plan->steps[i].top)
			r = move(s->plan->rows->rows[i].theirs, from, to, err);
	return r;
}
