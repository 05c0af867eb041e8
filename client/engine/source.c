/* source.c - reading one file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "local.h"
#include "scan.h"
#include "source.h"

static int add_extent(struct cm_source *s, size_t *cap, int64_t from,
		      int64_t to)
{
	struct cm_extent *grown;

	if (s->extents_len == CM_TREE_EXTENTS_MAX) {
		errno = EFBIG;
		return -1;
	}
	if (s->extents_len == *cap) {
		*cap = *cap ? *cap * 2 : 16;
		grown = reallocarray(s->extents, *cap, sizeof(*grown));
		if (!grown)
			return -1;
		s->extents = grown;
	}
	s->extents[s->extents_len++] = (struct cm_extent){from, to - from};
	s->stored += to - from;
	return 0;
}

/* Lists the stretches of data. */
static int find_extents(struct cm_source *s)
{
	int64_t size = s->st.st_size, from = 0, to = 0;
	size_t cap = 0;

	s->stored = 0;
	while (to < size) {
		from = lseek(s->fd, to, SEEK_DATA);
		if (from < 0 && errno == ENXIO)
			break;
		if (from < 0)
			return -1;
		to = lseek(s->fd, from, SEEK_HOLE);
		if (to < 0)
			return -1;
		if (to > size)
			to = size;
		if (from >= to)
			break;
		if (add_extent(s, &cap, from, to) < 0)
			return -1;
	}
	s->sparse = s->stored < size;
	return 0;
}

int cm_source_open(struct cm_dir_cache *dirs, const char *path, size_t len,
		   bool look_for_holes, struct cm_source *ret)
{
	const char *name;
	int dir = cm_dir_cache_parent(dirs, path, len, &name);
	struct cm_source s = {.fd = -1};

	if (dir < 0)
		return -1;
	/* Should a fifo have taken the file's place, it must not block. */
	s.fd = openat(dir, name,
		      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (s.fd < 0)
		return -1;
	*ret = s;
	if (fstat(s.fd, &ret->st) < 0)
		return -1;
	if (!S_ISREG(ret->st.st_mode)) {
		errno = EISDIR;
		return -1;
	}
	ret->stored = ret->st.st_size;
	return look_for_holes ? find_extents(ret) : 0;
}

int cm_source_settle(struct cm_source *s)
{
	int64_t size = s->st.st_size;

	if (cm_clock_is_past(cm_timespec_ns(&s->st.st_ctim)))
		return 0;
	cm_wait_past(cm_timespec_ns(&s->st.st_ctim));
	if (fstat(s->fd, &s->st) < 0)
		return -1;
	/* As large as when it was opened, or it is changing under us. */
	s->st.st_size = size;
	return 0;
}

void cm_source_close(struct cm_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->extents);
	*s = (struct cm_source){.fd = -1};
}

/* Where the bytes to read next are, and how many lie there together. */
static int64_t next_stretch(struct cm_source *s, int64_t *ret_at)
{
	if (!s->sparse) {
		*ret_at = s->done;
		return s->st.st_size - s->done;
	}
	while (s->extent < s->extents_len &&
	       s->done == s->extents[s->extent].len) {
		s->extent++;
		s->done = 0;
	}
	if (s->extent == s->extents_len)
		return 0;
	*ret_at = s->extents[s->extent].offset + s->done;
	return s->extents[s->extent].len - s->done;
}

ssize_t cm_source_read(struct cm_source *s, void *buf, size_t n)
{
	size_t done = 0;
	int64_t left, at;
	ssize_t got;

	while (done < n && (left = next_stretch(s, &at)) > 0) {
		if ((uint64_t)left > n - done)
			left = (int64_t)(n - done);
		got = pread(s->fd, (char *)buf + done, (size_t)left, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		s->done += got;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

bool cm_source_unchanged(const struct cm_source *s)
{
	struct cm_disk_id before, after;
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return false;
	cm_disk_id_of(&s->st, &before);
	cm_disk_id_of(&st, &after);
	return cm_disk_id_equal(&before, &after);
}

int cm_source_describe(const struct cm_source *s, struct cm_arena *arena,
		       struct cm_entry *e, struct cm_error *err)
{
	struct cm_entry_extra x = {.sparse = s->sparse, .stored = s->stored};
	struct cm_entry_extra *kept;
	int r = cm_read_xattrs(s->fd, arena, &x.xattrs, &x.xattrs_len, err);

	if (r < 0)
		return r;
	e->mode = s->st.st_mode & 07777;
	e->uid = s->st.st_uid;
	e->gid = s->st.st_gid;
	e->mtime_ns = cm_timespec_ns(&s->st.st_mtim);
	e->size = s->st.st_size;
	e->extra = NULL;
	if (!s->sparse && !x.xattrs)
		return 0;
	if (s->sparse) {
		x.extents_len = s->extents_len;
		x.extents = (const void *)cm_arena_copy(
			arena, s->extents,
			s->extents_len * sizeof(*s->extents));
		if (!x.extents)
			return cm_error_nomem(err);
	}
	kept = cm_arena_alloc(arena, sizeof(*kept));
	if (!kept)
		return cm_error_nomem(err);
	*kept = x;
	e->extra = kept;
	return 0;
}
