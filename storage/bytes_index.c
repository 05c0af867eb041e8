/*
 * bytes_index.c - copies of the index beside it: backups, and the one that a
 * rebuild makes.
 *
 * A backup has a number, not a time, in its name: the clock may jump, and the
 * newest must stay the newest. A file without a number is not whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cachemount/cleanup.h>
#include <cachemount/units.h>

#include "bytes_private.h"

#define BACKUP_TEMP   "index.tmp"
#define INDEX	      "index.db"
#define REBUILD	      INDEX ".rebuild"
#define COPY_PIECE    (1 << 20)
#define ROOM_AT_LEAST (16 << 20)
#define ASIDES_MAX    10000

/* What SQLite keeps beside a database file. */
static const char *const companions[] = {"-wal", "-shm", "-journal"};

#define COMPANIONS (sizeof(companions) / sizeof(companions[0]))

/* ---- backups --------------------------------------------------------- */

static bool parse_backup(const char *name, int64_t *ret)
{
	char again[64];
	char *end;

	if (strncmp(name, "index-", 6) != 0)
		return false;
	errno = 0;
	*ret = strtoll(name + 6, &end, 10);
	if (errno != 0 || *ret <= 0)
		return false;
	/* One name a number, or two files would be one backup. */
	snprintf(again, sizeof(again), "index-%06" PRId64 ".db", *ret);
	return strcmp(name, again) == 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct cm_bytes_backup *x = a, *y = b;

	return x->number < y->number ? 1 : -(x->number > y->number);
}

/* Keeps the list in order; with no room the oldest falls off its end. */
static int add_backup(struct cm_bytes_backup *list, int n,
		      const struct cm_bytes_backup *one)
{
	if (n == CM_BACKUPS_MAX && list[n - 1].number > one->number)
		return n;
	if (n == CM_BACKUPS_MAX)
		n--;
	list[n++] = *one;
	qsort(list, (size_t)n, sizeof(*list), newest_first);
	return n;
}

int cm_bytes_backups(struct cm_bytes *b,
		     struct cm_bytes_backup ret[static CM_BACKUPS_MAX],
		     struct cm_error *err)
{
	cm_autodir DIR *dir = NULL;
	struct cm_bytes_backup one;
	struct dirent *e;
	struct stat st;
	int n = 0, r = cm_bytes_list(b->backups_fd, &dir, err);

	while (r == 0 && (e = readdir(dir))) {
		if (!parse_backup(e->d_name, &one.number) ||
		    fstatat(b->backups_fd, e->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		one.size = st.st_size;
		one.made_ms = cm_bytes_ctime_ms(&st);
		n = add_backup(ret, n, &one);
	}
	return r < 0 ? r : n;
}

int cm_bytes_any_backup(struct cm_bytes *b, struct cm_error *err)
{
	struct cm_bytes_backup list[CM_BACKUPS_MAX];
	int n = cm_bytes_backups(b, list, err);

	return n > 0 ? 1 : n;
}

static void backup_name(int64_t number, char out[static CM_ASIDE_SIZE])
{
	if (number == 0)
		strcpy(out, BACKUP_TEMP);
	else
		snprintf(out, CM_ASIDE_SIZE, "index-%06" PRId64 ".db", number);
}

void cm_bytes_backup_name(int64_t number, char ret[static CM_BACKUP_FILE_SIZE])
{
	char name[CM_ASIDE_SIZE];

	backup_name(number, name);
	snprintf(ret, CM_BACKUP_FILE_SIZE, "backups/%.48s", name);
}

static int path_of(struct cm_bytes *b, const char *name, char **ret,
		   struct cm_error *err)
{
	if (asprintf(ret, "%s/%s", b->data_dir, name) < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

int cm_bytes_backup_path(struct cm_bytes *b, int64_t number, char **ret,
			 struct cm_error *err)
{
	char below[CM_BACKUP_FILE_SIZE];

	cm_bytes_backup_name(number, below);
	return path_of(b, below, ret, err);
}

/* Removes a database and what SQLite may have left beside it. */
static int discard(int folder_fd, const char *name, struct cm_error *err)
{
	char beside[CM_ASIDE_SIZE + 16];

	if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
		return cm_error_errno(err, "cannot remove %s", name);
	for (size_t i = 0; i < COMPANIONS; i++) {
		snprintf(beside, sizeof(beside), "%s%s", name, companions[i]);
		if (unlinkat(folder_fd, beside, 0) < 0 && errno != ENOENT)
			return cm_error_errno(err, "cannot remove %s", beside);
	}
	return 0;
}

void cm_bytes_backup_discard(struct cm_bytes *b)
{
	discard(b->backups_fd, BACKUP_TEMP, NULL);
}

static int sync_named(int folder_fd, const char *name, struct cm_error *err)
{
	cm_autofd int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return cm_error_errno(err, "cannot sync %s", name);
	/* Nobody is going to read it soon. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

int cm_bytes_backup_publish(struct cm_bytes *b, size_t keep,
			    struct cm_bytes_backup *ret, struct cm_error *err)
{
	struct cm_bytes_backup list[CM_BACKUPS_MAX];
	char name[CM_ASIDE_SIZE];
	int64_t sum = 0;
	int n = cm_bytes_backups(b, list, err);
	int r = n < 0 ? n : sync_named(b->backups_fd, BACKUP_TEMP, err);

	if (r < 0)
		return r;
	backup_name(n > 0 ? list[0].number + 1 : 1, name);
	if (renameat(b->backups_fd, BACKUP_TEMP, b->backups_fd, name) < 0 ||
	    fsync(b->backups_fd) < 0)
		return cm_error_errno(err, "cannot publish a backup");
	n = cm_bytes_backups(b, list, err);
	if (n < 1)
		return n < 0 ? n
			     : cm_error_set(err, CM_ERR_IO,
					    "a backup has disappeared");
	*ret = list[0];
	for (size_t i = 0; i < (size_t)n; i++) {
		if (i < keep) {
			sum += list[i].size;
			continue;
		}
		backup_name(list[i].number, name);
		discard(b->backups_fd, name, NULL);
	}
	atomic_store(&b->backed_up, sum);
	return 0;
}

int cm_bytes_backup_room(struct cm_bytes *b, int64_t size, struct cm_error *err)
{
	uint64_t need = (uint64_t)size + (uint64_t)size / 8 + ROOM_AT_LEAST;
	struct statvfs disk;

	if (fstatvfs(b->backups_fd, &disk) < 0)
		return cm_error_errno(err, "cannot look at the disk");
	if ((uint64_t)disk.f_bavail * disk.f_frsize >= need)
		return 0;
	return cm_error_set(err, CM_ERR_NO_SPACE,
			    "no space for a backup of the index: it needs "
			    "%" PRIu64 " bytes free",
			    need);
}

/* ---- the rebuilt index ----------------------------------------------- */

int cm_bytes_copy_file(const char *from, const char *to, struct cm_error *err)
{
	cm_autofree char *buf = malloc(COPY_PIECE);
	cm_autofd int in = open(from, O_RDONLY | O_CLOEXEC);
	cm_autofd int out = -1;
	int64_t at = 0;
	ssize_t n = 1;
	int r = buf ? 0 : cm_error_nomem(err);

	if (r == 0 && in < 0)
		return cm_error_errno(err, "cannot open %s", from);
	if (r == 0)
		out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (r == 0 && out < 0)
		return cm_error_errno(err, "cannot create %s", to);
	for (; r == 0 && n > 0; at += n) {
		n = cm_bytes_read(in, buf, COPY_PIECE, at, err);
		r = n < 0 ? (int)n
			  : cm_bytes_write(out, buf, (size_t)n, at, err);
	}
	if (r == 0 && fsync(out) < 0)
		return cm_error_errno(err, "cannot sync %s", to);
	return r;
}

int cm_bytes_rebuild_path(struct cm_bytes *b, char **ret, struct cm_error *err)
{
	return path_of(b, REBUILD, ret, err);
}

int cm_bytes_rebuild_discard(struct cm_bytes *b, struct cm_error *err)
{
	return discard(b->dir_fd, REBUILD, err);
}

/* The first name of its kind that is free, with all that goes beside it. */
static int free_aside(struct cm_bytes *b, char out[static CM_ASIDE_SIZE],
		      struct cm_error *err)
{
	char beside[CM_ASIDE_SIZE + 16];
	bool taken;

	for (int i = 1; i < ASIDES_MAX; i++) {
		snprintf(out, CM_ASIDE_SIZE, INDEX ".damaged-%d", i);
		taken = faccessat(b->dir_fd, out, F_OK, 0) == 0;
		for (size_t j = 0; j < COMPANIONS && !taken; j++) {
			snprintf(beside, sizeof(beside), "%s%s", out,
				 companions[j]);
			taken = faccessat(b->dir_fd, beside, F_OK, 0) == 0;
		}
		if (!taken)
			return 0;
	}
	return cm_error_set(err, CM_ERR_EXISTS,
			    "there are too many damaged indexes: remove some");
}

static int move(struct cm_bytes *b, const char *from, const char *to,
		bool *ret_moved, struct cm_error *err)
{
	*ret_moved = renameat(b->dir_fd, from, b->dir_fd, to) == 0;
	if (!*ret_moved && errno != ENOENT)
		return cm_error_errno(err, "cannot rename %s", from);
	return 0;
}

/*
 * The log must not outlive its index under the old name: SQLite would take it
 * for that of the new one. So the index first: without one nothing starts.
 */
static int move_aside(struct cm_bytes *b, char aside[static CM_ASIDE_SIZE],
		      struct cm_error *err)
{
	char from[32], to[CM_ASIDE_SIZE + 16];
	bool any, moved;
	int r = free_aside(b, aside, err);

	if (r == 0)
		r = move(b, INDEX, aside, &any, err);
	for (size_t i = 0; r == 0 && i < COMPANIONS; i++) {
		snprintf(from, sizeof(from), INDEX "%s", companions[i]);
		snprintf(to, sizeof(to), "%s%s", aside, companions[i]);
		r = move(b, from, to, &moved, err);
		any = any || moved;
	}
	if (r == 0 && !any)
		aside[0] = '\0';
	if (r == 0 && fsync(b->dir_fd) < 0)
		r = cm_error_errno(err, "cannot sync the data folder");
	return r;
}

int cm_bytes_rebuild_place(struct cm_bytes *b,
			   char ret_aside[static CM_ASIDE_SIZE],
			   struct cm_error *err)
{
	struct stat st;
	bool moved;
	int r;

	if (fstatat(b->dir_fd, REBUILD "-wal", &st, 0) == 0 && st.st_size > 0)
		return cm_error_set(err, CM_ERR_IO,
				    "the rebuilt index could not be closed: "
				    "is the disk full?");
	r = sync_named(b->dir_fd, REBUILD, err);
	if (r == 0)
		r = move_aside(b, ret_aside, err);
	if (r == 0)
		r = move(b, REBUILD, INDEX, &moved, err);
	if (r == 0 && fsync(b->dir_fd) < 0)
		r = cm_error_errno(err, "cannot sync the data folder");
	return r;
}
