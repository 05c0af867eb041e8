/*
 * bytes.c - files below the data folder.
 *
 * Everything goes through descriptors of the folders, opened once, so that a
 * path is never built from more than a hex digest or a name made here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cachemount/cleanup.h>
#include <cachemount/units.h>

#include "bytes_private.h"

#define SETTLED_MS	  (3600 * 1000LL) /* a file this old is nobody's work */
#define SESSION_NAME_SIZE 64
#define USER_VERSION_AT	  60 /* in the header of an SQLite file */
#define NAME_SIZE	  (CM_DIGEST_HEX_LEN + sizeof("ab/.zst"))

static int make_dir(int parent, const char *name, int *ret_fd,
		    struct cm_error *err)
{
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return cm_error_errno(err, "cannot create folder \"%s\"", name);
	*ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return cm_error_errno(err, "cannot open folder \"%s\"", name);
	return 0;
}

/*
 * A folder that was made is only there for good when its parent is synced. One
 * that may be written to but not read can't be.
 */
static int sync_parent(const char *path, struct cm_error *err)
{
	cm_autofree char *copy = strdup(path);
	cm_autofd int fd = -1;

	if (!copy)
		return cm_error_nomem(err);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		return 0;
	if (fd < 0 || fsync(fd) < 0)
		return cm_error_errno(err, "cannot sync the folder of \"%s\"",
				      path);
	return 0;
}

static int make_path(const char *path, mode_t mode, struct cm_error *err)
{
	if (mkdir(path, mode) == 0)
		return sync_parent(path, err);
	if (errno == EEXIST)
		return 0;
	return cm_error_errno(err, "cannot create folder \"%s\"", path);
}

/* Makes the data folder, and each missing one on the way to it. */
static int make_data_dir(const char *path, struct cm_error *err)
{
	cm_autofree char *copy = strdup(path);
	int r = 0;

	if (!copy)
		return cm_error_nomem(err);
	for (char *p = copy; r == 0 && (p = strchr(p + 1, '/'));) {
		*p = '\0';
		r = make_path(copy, 0755, err);
		*p = '/';
	}
	return r == 0 ? make_path(path, 0700, err) : r;
}

static int take_lock(struct cm_bytes *b, int dir_fd, struct cm_error *err)
{
	b->lock_fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (b->lock_fd < 0)
		return cm_error_errno(err,
				      "data folder \"%s\" is not "
				      "writable",
				      b->data_dir);
	if (flock(b->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return cm_error_set(err, CM_ERR_BUSY,
				    "data folder \"%s\" is in use by another "
				    "cachemountd",
				    b->data_dir);
	return cm_error_errno(err, "cannot lock data folder \"%s\"",
			      b->data_dir);
}

static int open_folders(struct cm_bytes *b, struct cm_error *err)
{
	cm_autofd int blobs_fd = -1;
	char shard[3];
	int r;

	r = make_data_dir(b->data_dir, err);
	if (r == 0)
		r = make_dir(AT_FDCWD, b->data_dir, &b->dir_fd, err);
	if (r == 0)
		r = take_lock(b, b->dir_fd, err);
	if (r == 0)
		r = make_dir(b->dir_fd, "blobs", &blobs_fd, err);
	if (r == 0)
		r = make_dir(blobs_fd, "sha256", &b->blobs_fd, err);
	if (r == 0)
		r = make_dir(b->dir_fd, "uploads", &b->uploads_fd, err);
	if (r == 0)
		r = make_dir(b->dir_fd, "quarantine", &b->quarantine_fd, err);
	if (r == 0)
		r = make_dir(b->dir_fd, "backups", &b->backups_fd, err);
	/* All shards at once: no folder needs a sync of its parent later. */
	for (unsigned int i = 0; r == 0 && i < 256; i++) {
		snprintf(shard, sizeof(shard), "%02x", i);
		if (mkdirat(b->blobs_fd, shard, 0700) < 0 && errno != EEXIST)
			r = cm_error_errno(err, "cannot create a blob folder");
	}
	if (r == 0 && (fsync(b->blobs_fd) < 0 || fsync(blobs_fd) < 0 ||
		       fsync(b->dir_fd) < 0))
		r = cm_error_errno(err, "cannot sync the data folder");
	return r;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- how much there is ----------------------------------------------------
 */

int64_t cm_bytes_uploads(struct cm_bytes *b)
{
	return atomic_load(&b->uploads);
}

int64_t cm_bytes_quarantined(struct cm_bytes *b)
{
	return atomic_load(&b->quarantined);
}

int64_t cm_bytes_backed_up(struct cm_bytes *b)
{
	return atomic_load(&b->backed_up);
}

int64_t cm_bytes_count(struct cm_bytes *b, int64_t delta)
{
	return atomic_fetch_add(&b->uploads, delta) + delta;
}

static int count_folder(int folder_fd, _Atomic int64_t *sum,
			struct cm_error *err)
{
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cm_autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!dir) {
		close_fd(fd);
		return cm_error_errno(err, "cannot read a data folder");
	}
	while ((e = readdir(dir)))
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISREG(st.st_mode))
			atomic_fetch_add(sum, st.st_size);
	return 0;
}

/* What an earlier run left in these folders. */
static int count_left(struct cm_bytes *b, struct cm_error *err)
{
	int r = count_folder(b->uploads_fd, &b->uploads, err);

	if (r == 0)
		r = count_folder(b->quarantine_fd, &b->quarantined, err);
	return r < 0 ? r : count_folder(b->backups_fd, &b->backed_up, err);
}

int cm_bytes_free(struct cm_bytes *b, int64_t *ret, struct cm_error *err)
{
	struct statvfs st;

	if (fstatvfs(b->uploads_fd, &st) < 0)
		return cm_error_errno(err, "cannot look at the file system");
	*ret = (int64_t)st.f_bavail * (int64_t)st.f_frsize;
	return 0;
}

/* Unlinks a file of uploads/, and counts that it has gone. */
static int unlink_upload(struct cm_bytes *b, const char *name)
{
	struct stat st = {.st_size = 0};

	fstatat(b->uploads_fd, name, &st, AT_SYMLINK_NOFOLLOW);
	if (unlinkat(b->uploads_fd, name, 0) < 0)
		return -1;
	cm_bytes_count(b, -st.st_size);
	return 0;
}

/* ---- opening ---------------------------------------------------------------
 */

int cm_bytes_open(const char *data_dir, struct cm_bytes **ret,
		  struct cm_error *err)
{
	struct cm_bytes *b = calloc(1, sizeof(*b));
	uint64_t boot;
	int r;

	if (!b)
		return cm_error_nomem(err);
	b->dir_fd = b->lock_fd = b->blobs_fd = -1;
	b->uploads_fd = b->quarantine_fd = b->backups_fd = -1;
	b->data_dir = strdup(data_dir);
	if (!b->data_dir)
		r = cm_error_nomem(err);
	else if (getrandom(&boot, sizeof(boot), 0) != sizeof(boot))
		r = cm_error_errno(err, "cannot get random bytes");
	else
		r = open_folders(b, err);
	if (r == 0)
		r = count_left(b, err);
	if (r < 0) {
		cm_bytes_close(b);
		return r;
	}
	snprintf(b->boot, sizeof(b->boot), "%016" PRIx64, boot);
	*ret = b;
	return 0;
}

void cm_bytes_close(struct cm_bytes *b)
{
	if (!b)
		return;
	if (b->walk)
		closedir(b->walk);
	close_fd(b->backups_fd);
	close_fd(b->quarantine_fd);
	close_fd(b->uploads_fd);
	close_fd(b->blobs_fd);
	close_fd(b->lock_fd);
	close_fd(b->dir_fd);
	free(b->data_dir);
	free(b);
}

int cm_bytes_open_leases(struct cm_bytes *b)
{
	return openat(b->uploads_fd, "../leases", O_RDWR | O_CREAT | O_CLOEXEC,
		      0600);
}

int cm_bytes_index_path(struct cm_bytes *b, char **ret, struct cm_error *err)
{
	if (asprintf(ret, "%s/index.db", b->data_dir) < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

/* ---- temporary files, uploads ---------------------------------------------
 */

int cm_bytes_temp_new(struct cm_bytes *b, struct cm_temp *ret,
		      struct cm_error *err)
{
	ret->spoilt = false;
	ret->counted = 0;
	snprintf(ret->name, sizeof(ret->name), "t-%s-%" PRIu64, b->boot,
		 atomic_fetch_add(&b->next_temp, 1));
	ret->fd = openat(b->uploads_fd, ret->name,
			 O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (ret->fd < 0)
		return cm_error_errno(err, "cannot create a temporary file");
	return 0;
}

int cm_bytes_temp_path(struct cm_bytes *b, const struct cm_temp *t, char **ret,
		       struct cm_error *err)
{
	if (asprintf(ret, "%s/uploads/%s", b->data_dir, t->name) < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

static void session_name(const char *id, enum cm_encoding encoding,
			 char out[static SESSION_NAME_SIZE])
{
	snprintf(out, SESSION_NAME_SIZE, "%s%s", id,
		 encoding == CM_ENCODING_ZSTD ? ".zst" : "");
}

int cm_bytes_session_open(struct cm_bytes *b, const char *id,
			  enum cm_encoding encoding, bool create,
			  struct cm_temp *ret, struct cm_error *err)
{
	struct stat st;

	ret->spoilt = false;
	session_name(id, encoding, ret->name);
	ret->fd = openat(b->uploads_fd, ret->name,
			 O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
	if (ret->fd < 0 || fstat(ret->fd, &st) < 0)
		return cm_error_errno(err, "cannot open upload %s", id);
	ret->counted = st.st_size;
	return 0;
}

int cm_bytes_session_sync(struct cm_bytes *b, struct cm_temp *t,
			  struct cm_error *err)
{
	if (fdatasync(t->fd) < 0 || fsync(b->uploads_fd) < 0) {
		t->spoilt = true;
		return cm_error_errno(err, "cannot sync an upload");
	}
	return 0;
}

int cm_bytes_session_remove(struct cm_bytes *b, const char *id,
			    struct cm_error *err)
{
	char name[SESSION_NAME_SIZE];

	for (int e = CM_ENCODING_IDENTITY; e <= CM_ENCODING_ZSTD; e++) {
		session_name(id, (enum cm_encoding)e, name);
		if (unlink_upload(b, name) < 0 && errno != ENOENT)
			return cm_error_errno(err, "cannot remove upload %s",
					      id);
	}
	return 0;
}

static int64_t mtime_ms(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000 +
	       st->st_mtim.tv_nsec / 1000000;
}

int64_t cm_bytes_session_touched(struct cm_bytes *b, const char *id)
{
	char name[SESSION_NAME_SIZE];
	int64_t touched = 0;
	struct stat st;

	for (int e = CM_ENCODING_IDENTITY; e <= CM_ENCODING_ZSTD; e++) {
		session_name(id, (enum cm_encoding)e, name);
		if (fstatat(b->uploads_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			touched = mtime_ms(&st) > touched ? mtime_ms(&st)
							  : touched;
	}
	return touched;
}

void cm_bytes_temp_discard(struct cm_bytes *b, struct cm_temp *t)
{
	if (t->fd < 0)
		return;
	if (unlinkat(b->uploads_fd, t->name, 0) == 0)
		cm_bytes_count(b, -t->counted);
	close(cm_take_fd(&t->fd));
}

void cm_bytes_temp_keep(struct cm_temp *t)
{
	if (t->fd >= 0)
		close(cm_take_fd(&t->fd));
}

int cm_bytes_write(int fd, const void *data, size_t len, int64_t offset,
		   struct cm_error *err)
{
	const char *p = data;
	ssize_t n;

	while (len > 0) {
		n = pwrite(fd, p, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cm_error_errno(err, "cannot write to the data "
						   "folder");
		p += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

void cm_bytes_begin_writeback(int fd, int64_t offset, int64_t len)
{
	sync_file_range(fd, offset, len, SYNC_FILE_RANGE_WRITE);
}

ssize_t cm_bytes_read(int fd, void *buf, size_t len, int64_t offset,
		      struct cm_error *err)
{
	ssize_t n;

	do {
		n = pread(fd, buf, len, offset);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return cm_error_errno(err, "cannot read from the data folder");
	return n;
}

/* "ab/<hex>[.zst]" */
static const char *blob_name(const struct cm_digest *d,
			     enum cm_encoding encoding, char out[NAME_SIZE])
{
	char hex[CM_DIGEST_HEX_LEN + 1];

	cm_digest_hex(d, hex);
	snprintf(out, NAME_SIZE, "%.2s/%s%s", hex, hex,
		 encoding == CM_ENCODING_ZSTD ? ".zst" : "");
	return out;
}

static int sync_shard(struct cm_bytes *b, const char *name,
		      struct cm_error *err)
{
	char shard[3] = {name[0], name[1], '\0'};
	cm_autofd int fd =
		openat(b->blobs_fd, shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return cm_error_errno(err, "cannot sync a blob folder");
	return 0;
}

/* A second name for the file; one that was left over makes room. */
static int link_blob(struct cm_bytes *b, const struct cm_temp *t,
		     const char *name)
{
	int r = linkat(b->uploads_fd, t->name, b->blobs_fd, name, 0);

	if (r == 0 || errno != EEXIST)
		return r;
	if (unlinkat(b->blobs_fd, name, 0) < 0)
		return -1;
	return linkat(b->uploads_fd, t->name, b->blobs_fd, name, 0);
}

int cm_bytes_publish(struct cm_bytes *b, struct cm_temp *t, bool keep,
		     const struct cm_digest *d, enum cm_encoding encoding,
		     struct cm_error *err)
{
	char name[NAME_SIZE];
	int r;

	blob_name(d, encoding, name);
	if (fsync(t->fd) < 0) {
		t->spoilt = true;
		return cm_error_errno(err, "cannot sync a blob");
	}
	r = keep ? link_blob(b, t, name)
		 : renameat(b->uploads_fd, t->name, b->blobs_fd, name);
	if (r < 0)
		return cm_error_errno(err, "cannot publish a blob");
	if (!keep) {
		cm_bytes_count(b, -t->counted);
		cm_bytes_temp_keep(t);
	}
	r = sync_shard(b, name, err);
	if (r < 0)
		unlinkat(b->blobs_fd, name, 0);
	return r;
}

int cm_bytes_open_blob(struct cm_bytes *b, const struct cm_digest *d,
		       enum cm_encoding encoding, int *ret_fd,
		       int64_t *ret_size, struct cm_error *err)
{
	char name[NAME_SIZE];
	struct stat st;
	cm_autofd int fd = openat(b->blobs_fd, blob_name(d, encoding, name),
				  O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) < 0)
		return cm_error_errno(err, "cannot open a blob");
	*ret_size = st.st_size;
	*ret_fd = cm_take_fd(&fd);
	return 0;
}

int cm_bytes_remove(struct cm_bytes *b, const struct cm_digest *d,
		    enum cm_encoding encoding, struct cm_error *err)
{
	char name[NAME_SIZE];

	if (unlinkat(b->blobs_fd, blob_name(d, encoding, name), 0) < 0 &&
	    errno != ENOENT)
		return cm_error_errno(err, "cannot remove a blob");
	return 0;
}

int cm_bytes_quarantine(struct cm_bytes *b, const struct cm_digest *d,
			enum cm_encoding encoding, struct cm_error *err)
{
	char name[NAME_SIZE];
	struct stat st = {.st_size = 0};
	int r;

	blob_name(d, encoding, name);
	fstatat(b->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW);
	r = renameat(b->blobs_fd, name, b->quarantine_fd, name + 3);
	if (r < 0 && errno != ENOENT)
		return cm_error_errno(err, "cannot move a blob to quarantine");
	if (r == 0)
		atomic_fetch_add(&b->quarantined, st.st_size);
	return 0;
}

bool cm_bytes_parse_name(const char *name, struct cm_bytes_file *ret)
{
	char text[CM_DIGEST_TEXT_SIZE];
	size_t len = strlen(name);

	if (len < CM_DIGEST_HEX_LEN)
		return false;
	if (strcmp(name + CM_DIGEST_HEX_LEN, ".zst") == 0)
		ret->encoding = CM_ENCODING_ZSTD;
	else if (len == CM_DIGEST_HEX_LEN)
		ret->encoding = CM_ENCODING_IDENTITY;
	else
		return false;
	snprintf(text, sizeof(text), "sha256:%.64s", name);
	return cm_digest_parse(text, strlen(text), &ret->digest, NULL) == 0;
}

static int walk_next_shard(struct cm_bytes *b, struct cm_error *err)
{
	char shard[3];
	int fd;

	snprintf(shard, sizeof(shard), "%02x", b->walk_shard);
	b->walk_shard = (b->walk_shard + 1) % 256;
	fd = openat(b->blobs_fd, shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cm_error_errno(err, "cannot open a blob folder");
	b->walk = fdopendir(fd);
	if (!b->walk) {
		close(fd);
		return cm_error_errno(err, "cannot read a blob folder");
	}
	return 0;
}

/* 1 if some file has a blob's name, 0 if none, <0. Stops at the first. */
static int any_blob(struct cm_bytes *b, struct cm_error *err)
{
	struct cm_bytes_file file;
	struct dirent *e;
	int r = 0;

	for (int shard = 0; r == 0 && shard < 256; shard++) {
		r = walk_next_shard(b, err);
		while (r == 0 && (e = readdir(b->walk)))
			r = cm_bytes_parse_name(e->d_name, &file);
		if (b->walk)
			closedir(b->walk);
		b->walk = NULL;
	}
	return r;
}

/*
 * An index whose log was lost before its tables came from there: a database,
 * but of version 0, and with nothing beside it.
 */
static bool without_tables(struct cm_bytes *b)
{
	cm_autofd int fd = openat(b->dir_fd, "index.db", O_RDONLY | O_CLOEXEC);
	struct stat wal = {.st_size = 0};
	unsigned char version[4];

	return fd >= 0 &&
	       pread(fd, version, sizeof(version), USER_VERSION_AT) ==
		       (ssize_t)sizeof(version) &&
	       memcmp(version, "\0\0\0\0", sizeof(version)) == 0 &&
	       (fstatat(b->dir_fd, "index.db-wal", &wal, 0) < 0 ||
		wal.st_size == 0);
}

int cm_bytes_require_index(struct cm_bytes *b, struct cm_error *err)
{
	struct stat st = {.st_size = 0};

	if (fstatat(b->dir_fd, "index.db", &st, 0) < 0 && errno != ENOENT)
		return cm_error_errno(err, "cannot look at the index");
	if (st.st_size > 0 && !without_tables(b))
		return 0;
	return cm_error_set(err, CM_ERR_CORRUPT, "the index is gone");
}

int cm_bytes_check_index(struct cm_bytes *b, struct cm_error *err)
{
	struct cm_error gone;
	int r = cm_bytes_require_index(b, &gone);

	if (r != CM_ERR_CORRUPT) {
		if (r < 0 && err)
			*err = gone;
		return r;
	}
	r = any_blob(b, err);
	if (r == 0)
		r = cm_bytes_any_backup(b, err);
	if (r > 0 && err)
		*err = gone;
	return r > 0 ? CM_ERR_CORRUPT : r;
}

static bool settled(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       cm_now_ms() - mtime_ms(&st) > SETTLED_MS;
}

int cm_bytes_walk(struct cm_bytes *b, struct cm_bytes_file *files, size_t max,
		  struct cm_error *err)
{
	struct dirent *e;
	size_t n = 0;
	int r;

	if (!b->walk) {
		r = walk_next_shard(b, err);
		if (r < 0)
			return r;
	}
	while (n < max && (e = readdir(b->walk)))
		if (cm_bytes_parse_name(e->d_name, &files[n]) &&
		    settled(dirfd(b->walk), e->d_name))
			n++;
	if (n < max) {
		closedir(b->walk);
		b->walk = NULL;
	}
	return (int)n;
}

static bool earlier_temporary(struct cm_bytes *b, const char *name)
{
	return strncmp(name, "t-", 2) == 0 &&
	       strncmp(name + 2, b->boot, strlen(b->boot)) != 0;
}

int cm_bytes_clear_uploads(struct cm_bytes *b, size_t max,
			   bool (*orphan)(void *arg, const char *id), void *arg,
			   struct cm_error *err)
{
	int fd = openat(b->uploads_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cm_autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char id[CM_UPLOAD_ID_SIZE];
	struct dirent *e;

	if (!dir) {
		close_fd(fd);
		return cm_error_errno(err, "cannot read the uploads folder");
	}
	while (max > 0 && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(id, sizeof(id), "%.32s", e->d_name);
		if (!earlier_temporary(b, e->d_name) &&
		    (strncmp(e->d_name, "t-", 2) == 0 ||
		     !settled(b->uploads_fd, e->d_name) || !orphan(arg, id)))
			continue;
		unlink_upload(b, e->d_name);
		max--;
	}
	return 0;
}
