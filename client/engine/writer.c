/* writer.c - entries onto the disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "metadata.h"
#include "writer.h"

static int fail(const struct cm_entry *e, const char *what,
		struct cm_error *err)
{
	char shown[CM_SHOWN_SIZE];

	return cm_error_errno(err, "cannot %s %s", what,
			      cm_shown(e->path, shown));
}

int cm_writer_init(struct cm_writer *w, struct cm_job *j,
		   const struct cm_root *m, struct cm_stage *stage, int tmp,
		   unsigned number, struct cm_error *err)
{
	char name[16];

	memset(w, 0, sizeof(*w));
	w->job = j;
	w->mount = m;
	w->stage = stage;
	w->tmp = tmp;
	w->number = number;
	cm_dir_cache_init(&w->dirs, m);
	cm_dir_cache_init(&w->staged_dirs, &stage->root);
	snprintf(name, sizeof(name), "%u", number);
	if (mkdirat(tmp, name, 0700) < 0)
		return cm_error_errno(err, "cannot make %s/tmp/%s",
				      CM_MOUNT_STATE_DIR, name);
	return 0;
}

void cm_writer_release(struct cm_writer *w)
{
	cm_dir_cache_release(&w->dirs);
	cm_dir_cache_release(&w->staged_dirs);
}

/* The directory that the entry is in or is to be made in. */
static int parent_of(struct cm_writer *w, const struct cm_entry *e,
		     const char **ret_name)
{
	return cm_dir_cache_parent(cm_stage_has(w->stage, e) ? &w->staged_dirs
							     : &w->dirs,
				   e->path, e->path_len, ret_name);
}

static const char *next_name(struct cm_writer *w,
			     char name[static CM_TEMP_NAME_SIZE])
{
	snprintf(name, CM_TEMP_NAME_SIZE, "%u/%u", w->number, w->made++);
	return name;
}

int cm_writer_create(struct cm_writer *w, const struct cm_entry *e,
		     struct cm_temp *ret, struct cm_error *err)
{
	const char *name;
	int dir = w->tmp;

	ret->dir = w->tmp;
	ret->name[0] = '\0';
	if (cm_stage_has(w->stage, e))
		dir = parent_of(w, e, &name);
	else
		name = next_name(w, ret->name);
	/* What the umask takes from the mode is given later. */
	ret->fd = dir < 0 ? -1
			  : openat(dir, name,
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					   O_CLOEXEC,
				   e->mode & 0777);
	return ret->fd < 0 ? fail(e, "make", err) : 0;
}

void cm_temp_drop(struct cm_temp *t)
{
	if (t->fd < 0)
		return;
	close(t->fd);
	/* The stage goes as a whole. */
	if (t->name[0])
		unlinkat(t->dir, t->name, 0);
	t->fd = -1;
}

static int write_at(int fd, const char *bytes, size_t len, int64_t at)
{
	ssize_t n;

	while (len > 0) {
		n = pwrite(fd, bytes, len, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		bytes += n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* Spreads the stored bytes from `at` on over the extents they belong to. */
static int write_sparse(int fd, const struct cm_entry_extra *x, int64_t at,
			const char *bytes, size_t len)
{
	int64_t room;

	for (size_t i = 0; i < x->extents_len && len > 0; i++) {
		const struct cm_extent *extent = &x->extents[i];

		if (at >= extent->len) {
			at -= extent->len;
			continue;
		}
		room = extent->len - at;
		if ((uint64_t)room > len)
			room = (int64_t)len;
		if (write_at(fd, bytes, (size_t)room, extent->offset + at) < 0)
			return -1;
		bytes += room;
		len -= (size_t)room;
		at = 0;
	}
	return 0;
}

int cm_temp_write(const struct cm_temp *t, const struct cm_entry *e, int64_t at,
		  const void *bytes, size_t len, struct cm_error *err)
{
	int r;

	if (e->extra && e->extra->sparse)
		r = write_sparse(t->fd, e->extra, at, bytes, len);
	else
		r = write_at(t->fd, bytes, len, at);
	return r < 0 ? fail(e, "write", err) : 0;
}

/* Moves the temporary `name` of `tmp` to the entry's place. */
static int put_into_place(struct cm_writer *w, const char *name,
			  const struct cm_entry *e, struct cm_error *err)
{
	const char *last;
	int dir = parent_of(w, e, &last);

	if (dir < 0 || renameat(w->tmp, name, dir, last) < 0)
		return fail(e, "put into place", err);
	return 0;
}

int cm_writer_commit(struct cm_writer *w, struct cm_temp *t,
		     const struct cm_entry *e, struct cm_disk_id *ret_id,
		     struct cm_error *err)
{
	struct stat st;
	int r = 0;

	if (e->extra && e->extra->sparse && ftruncate(t->fd, e->size) < 0)
		r = fail(e, "set the size of", err);
	if (r == 0)
		r = cm_set_metadata(w, t->fd, e, true, err);
	if (r == 0 && t->name[0])
		r = put_into_place(w, t->name, e, err);
	if (r == 0 && fstat(t->fd, &st) < 0)
		r = fail(e, "look at", err);
	if (r < 0) {
		cm_temp_drop(t);
		return r;
	}
	cm_disk_id_of(&st, ret_id);
	close(t->fd);
	t->fd = -1;
	return 0;
}

int cm_writer_look(struct cm_writer *w, const struct cm_entry *e,
		   struct cm_disk_id *ret_id, struct cm_error *err)
{
	const char *last;
	int dir = parent_of(w, e, &last);
	struct stat st;

	if (dir < 0 || fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(e, "look at", err);
	cm_disk_id_of(&st, ret_id);
	return 0;
}

int cm_writer_special(struct cm_writer *w, const struct cm_entry *e,
		      struct cm_disk_id *ret_id, struct cm_error *err)
{
	struct timespec times[2] = {{0, UTIME_OMIT},
				    cm_ns_timespec(e->mtime_ns)};
	bool link = e->type == CM_ENTRY_SYMLINK;
	char name[CM_TEMP_NAME_SIZE];
	int r;

	next_name(w, name);
	r = link ? symlinkat(e->extra->target, w->tmp, name)
		 : mkfifoat(w->tmp, name, 0600);
	if (r < 0)
		return fail(e, "make", err);
	r = cm_set_owner(w, w->tmp, name, AT_SYMLINK_NOFOLLOW, e, err);
	if (r < 0)
		return r;
	if ((!link &&
	     fchmodat(w->tmp, name, cm_entry_disk_mode(w->job, e), 0) < 0) ||
	    utimensat(w->tmp, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(e, "set mode and time of", err);
	r = put_into_place(w, name, e, err);
	return r < 0 ? r : cm_writer_look(w, e, ret_id, err);
}

int cm_writer_link(struct cm_writer *w, const struct cm_entry *carrier,
		   const struct cm_entry *e, struct cm_error *err)
{
	char name[CM_TEMP_NAME_SIZE];
	const char *last;
	int dir = parent_of(w, carrier, &last);
	int r;

	next_name(w, name);
	if (dir < 0 || linkat(dir, last, w->tmp, name, 0) < 0)
		return fail(e, "link", err);
	r = put_into_place(w, name, e, err);
	/* A rename over another name of the same file leaves both. */
	unlinkat(w->tmp, name, 0);
	return r;
}

int cm_writer_mkdir(struct cm_writer *w, const struct cm_entry *e,
		    struct cm_error *err)
{
	return cm_stage_mkdir(w->stage, &w->staged_dirs, e, err);
}

int cm_writer_settle(struct cm_writer *w, struct cm_error *err)
{
	int r = cm_stage_settle(w->stage, &w->staged_dirs, &w->dirs, err);

	w->stage = NULL;
	return r;
}

/* Opens it to set its metadata, which its owner may also if not read it. */
static int open_for_metadata(struct cm_writer *w, const struct cm_entry *e)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	const char *last;
	int dir, fd;

	/* A directory's parent is seldom the one before's. */
	if (e->type == CM_ENTRY_DIR) {
		fd = cm_root_open_dir(w->mount, e->path, e->path_len);
		if (fd >= 0 || errno != EACCES)
			return fd;
	}
	dir = cm_dir_cache_parent(&w->dirs, e->path, e->path_len, &last);
	if (dir < 0)
		return -1;
	fd = openat(dir, last, flags);
	if (fd < 0 && errno == EACCES &&
	    fchmodat(dir, last, e->type == CM_ENTRY_DIR ? 0700 : 0600, 0) == 0)
		fd = openat(dir, last, flags);
	return fd;
}

int cm_writer_metadata(struct cm_writer *w, const struct cm_entry *e,
		       bool fresh, struct cm_disk_id *ret_id,
		       struct cm_error *err)
{
	cm_autofd int fd = open_for_metadata(w, e);
	struct stat st;
	int r;

	if (fd < 0)
		return fail(e, "open", err);
	r = cm_set_metadata(w, fd, e, fresh, err);
	if (r == 0 && fstat(fd, &st) < 0)
		r = fail(e, "look at", err);
	if (r == 0)
		cm_disk_id_of(&st, ret_id);
	return r;
}
