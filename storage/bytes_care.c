/*
 * bytes_care.c - walks over the files, the quarantine's bounds, and reading
 * without a trace in the page cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cachemount/cleanup.h>
#include <cachemount/units.h>

#include "bytes_private.h"

#define TRIM_FILES   4096 /* looked at in one call */
#define CACHED_PROBE (1 << 20)

int cm_bytes_list(int folder_fd, DIR **ret, struct cm_error *err)
{
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret = fd < 0 ? NULL : fdopendir(fd);
	if (*ret)
		return 0;
	cm_error_errno(err, "cannot read a folder");
	if (fd >= 0)
		close(fd);
	return CM_ERR_IO;
}

int64_t cm_bytes_ctime_ms(const struct stat *st)
{
	return (int64_t)st->st_ctim.tv_sec * 1000 +
	       st->st_ctim.tv_nsec / 1000000;
}

bool cm_bytes_is_data_dir(const char *path)
{
	cm_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && (faccessat(fd, "index.db", F_OK, 0) == 0 ||
			   faccessat(fd, "blobs/sha256", F_OK, 0) == 0 ||
			   faccessat(fd, "backups", F_OK, 0) == 0);
}

/* ---- quarantine ------------------------------------------------------ */

struct kept {
	char name[CM_DIGEST_HEX_LEN + sizeof(".zst")];
	int64_t since_ms;
	int64_t size;
};

static int by_age(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return x->since_ms < y->since_ms ? -1 : x->since_ms > y->since_ms;
}

/* What lies there, with when it came: a rename sets the ctime. */
static size_t list_kept(DIR *dir, struct kept *list)
{
	struct cm_bytes_file file;
	struct dirent *e;
	struct stat st;
	size_t n = 0;

	while (n < TRIM_FILES && (e = readdir(dir))) {
		if (!cm_bytes_parse_name(e->d_name, &file) ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) <
			    0)
			continue;
		strcpy(list[n].name, e->d_name);
		list[n].since_ms = cm_bytes_ctime_ms(&st);
		list[n++].size = st.st_size;
	}
	return n;
}

int cm_bytes_quarantine_trim(struct cm_bytes *b, int64_t size, int64_t age_ms,
			     struct cm_error *err)
{
	cm_autofree struct kept *list = calloc(TRIM_FILES, sizeof(*list));
	cm_autodir DIR *dir = NULL;
	int64_t sum = 0, since = cm_now_ms() - age_ms;
	size_t n;
	int r = list ? cm_bytes_list(b->quarantine_fd, &dir, err)
		     : cm_error_nomem(err);

	if (r < 0)
		return r;
	n = list_kept(dir, list);
	qsort(list, n, sizeof(*list), by_age);
	for (size_t i = 0; i < n; i++)
		sum += list[i].size;
	for (size_t i = 0; i < n; i++) {
		if (sum <= size && list[i].since_ms >= since)
			break;
		if (unlinkat(b->quarantine_fd, list[i].name, 0) < 0 &&
		    errno != ENOENT)
			return cm_error_errno(err, "cannot trim quarantine");
		atomic_fetch_sub(&b->quarantined, list[i].size);
		sum -= list[i].size;
	}
	return 0;
}

/* ---- the page cache -------------------------------------------------- */

bool cm_bytes_is_cached(int fd)
{
	unsigned char pages[CACHED_PROBE / 4096] = {0};
	bool cached = false;
	struct stat st;
	size_t len;
	void *map;

	if (fstat(fd, &st) < 0 || st.st_size == 0)
		return false;
	len = st.st_size < CACHED_PROBE ? (size_t)st.st_size : CACHED_PROBE;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return false;
	if (mincore(map, len, pages) == 0)
		for (size_t i = 0; i < sizeof(pages) && !cached; i++)
			cached = pages[i] & 1;
	munmap(map, len);
	return cached;
}

void cm_bytes_uncache(int fd, int64_t until)
{
	if (until > 0)
		posix_fadvise(fd, 0, until, POSIX_FADV_DONTNEED);
}

/* ---- all files ------------------------------------------------------- */

typedef int (*each_fn)(void *arg, const struct cm_bytes_file *f, int64_t size,
		       struct cm_error *err);

static int each_of_shard(int shard_fd, each_fn fn, void *arg,
			 struct cm_error *err)
{
	cm_autodir DIR *dir = NULL;
	struct cm_bytes_file file;
	struct dirent *e;
	struct stat st;
	int r = cm_bytes_list(shard_fd, &dir, err);

	while (r == 0 && (e = readdir(dir))) {
		if (!cm_bytes_parse_name(e->d_name, &file))
			continue;
		if (fstatat(shard_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return cm_error_errno(err, "cannot look at a blob");
		r = fn(arg, &file, st.st_size, err);
	}
	return r;
}

int cm_bytes_each(struct cm_bytes *b, each_fn fn, void *arg,
		  struct cm_error *err)
{
	char shard[3];
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < 256; i++) {
		cm_autofd int fd = -1;

		snprintf(shard, sizeof(shard), "%02x", i);
		fd = openat(b->blobs_fd, shard,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return cm_error_errno(err, "cannot open a blob folder");
		r = each_of_shard(fd, fn, arg, err);
	}
	return r;
}
