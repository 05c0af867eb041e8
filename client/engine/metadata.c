/*
 * metadata.c - mode, owner, times and xattrs of what is already open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "metadata.h"

#define LIST_MAX (64 << 10)

struct timespec cm_ns_timespec(int64_t ns)
{
	struct timespec t = {ns / 1000000000, ns % 1000000000};

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return t;
}

mode_t cm_entry_disk_mode(const struct cm_job *j, const struct cm_entry *e)
{
	if (j->o->allow_setuid)
		return e->mode;
	/* On a directory setgid gives no rights: it hands down the group. */
	return e->mode &
	       (mode_t) ~(e->type == CM_ENTRY_DIR ? S_ISUID
						  : S_ISUID | S_ISGID);
}

/* A user namespace may not know the owner: then it is left. */
int cm_set_owner(struct cm_writer *w, int dir, const char *name, int flags,
		 const struct cm_entry *e, struct cm_error *err)
{
	char shown[CM_SHOWN_SIZE];

	if (!w->mount->superuser)
		return 0;
	if (fchownat(dir, name, e->uid, e->gid, flags) == 0)
		return 0;
	if (errno != EPERM && errno != EINVAL)
		return cm_error_errno(err, "cannot set the owner of %s",
				      cm_shown(e->path, shown));
	if (!w->warned_owner)
		cm_job_warn(w->job,
			    "%s: owner %u:%u cannot be set here, nor perhaps "
			    "others",
			    cm_shown(e->path, shown), e->uid, e->gid);
	w->warned_owner = true;
	return 0;
}

static bool has_xattr(const struct cm_entry *e, const char *name)
{
	for (size_t i = 0; e->extra && i < e->extra->xattrs_len; i++)
		if (strcmp(e->extra->xattrs[i].name, name) == 0)
			return true;
	return false;
}

static void remove_others(int fd, const struct cm_entry *e)
{
	cm_autofree char *list = NULL;
	ssize_t len = flistxattr(fd, NULL, 0);

	if (len <= 0)
		return;
	list = malloc(LIST_MAX + 1);
	len = list ? flistxattr(fd, list, LIST_MAX) : 0;
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(list + at) + 1)
		if (strncmp(list + at, "user.", 5) == 0 &&
		    !has_xattr(e, list + at))
			fremovexattr(fd, list + at);
}

int cm_set_xattrs(struct cm_writer *w, int fd, const struct cm_entry *e,
		  bool fresh, struct cm_error *err)
{
	char shown[CM_SHOWN_SIZE];

	if (!fresh)
		remove_others(fd, e);
	for (size_t i = 0; e->extra && i < e->extra->xattrs_len; i++) {
		const struct cm_xattr *x = &e->extra->xattrs[i];

		if (fsetxattr(fd, x->name, x->value, x->len, 0) == 0)
			continue;
		if (errno != ENOTSUP && errno != EPERM && errno != ENOSPC &&
		    errno != E2BIG)
			return cm_error_errno(err, "cannot set an xattr of %s",
					      cm_shown(e->path, shown));
		if (!w->warned_xattr)
			cm_job_warn(w->job,
				    "%s: xattrs cannot be set here, nor "
				    "perhaps others",
				    cm_shown(e->path, shown));
		w->warned_xattr = true;
	}
	return 0;
}

/* Is the owner right, or not ours to set? */
static bool owner_is_right(const struct cm_writer *w, const struct stat *st,
			   const struct cm_entry *e)
{
	return !w->mount->superuser ||
	       (st->st_uid == e->uid && st->st_gid == e->gid);
}

int cm_set_metadata(struct cm_writer *w, int fd, const struct cm_entry *e,
		    bool fresh, struct cm_error *err)
{
	struct timespec times[2] = {{0, UTIME_OMIT},
				    cm_ns_timespec(e->mtime_ns)};
	mode_t mode = cm_entry_disk_mode(w->job, e);
	char shown[CM_SHOWN_SIZE];
	struct stat st;
	bool owned;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return cm_error_errno(err, "cannot look at %s",
				      cm_shown(e->path, shown));
	owned = owner_is_right(w, &st, e);
	if (e->extra || !fresh)
		r = cm_set_xattrs(w, fd, e, fresh, err);
	if (r == 0 && !owned)
		r = cm_set_owner(w, fd, "", AT_EMPTY_PATH, e, err);
	if (r < 0)
		return r;
	/* After the owner, for a change of that clears bits of the mode. */
	if ((!owned || (st.st_mode & 07777) != mode) && fchmod(fd, mode) < 0)
		return cm_error_errno(err, "cannot set the mode of %s",
				      cm_shown(e->path, shown));
	if (futimens(fd, times) < 0)
		return cm_error_errno(err, "cannot set the time of %s",
				      cm_shown(e->path, shown));
	return 0;
}
