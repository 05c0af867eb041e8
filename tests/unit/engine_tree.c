/* engine_tree.c - directories for tests of the snapshot engine. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#include "engine_tree.h"

static int warnings;
static char warning[512];

char *scratch_new(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = NULL;

	if (asprintf(&dir, "%s/cachemount-engine.XXXXXX", tmp ? tmp : "/tmp") <
		    0 ||
	    !mkdtemp(dir))
		fail_msg("no scratch directory: %s", strerror(errno));
	return dir;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int open_one(const char *path, const struct stat *st, int type,
		    struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_D || type == FTW_DNR ? chmod(path, 0700) : 0;
}

void scratch_free(char *dir)
{
	if (!dir)
		return;
	nftw(dir, open_one, 16, FTW_PHYS);
	nftw(dir, remove_one, 16, FTW_PHYS | FTW_DEPTH);
	free(dir);
}

const char *at(const char *dir, const char *name)
{
	static char paths[16][8192];
	static unsigned next;
	char *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

void make_dir(const char *path, unsigned mode)
{
	if (mkdir(path, 0700) < 0 || chmod(path, mode) < 0)
		fail_msg("%s: %s", path, strerror(errno));
}

static void write_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || close(fd) < 0)
		fail_msg("%s: %s", path, strerror(errno));
}

void make_file(const char *path, size_t size, unsigned seed)
{
	uint64_t x = seed * 2654435761u + 1;
	char *bytes = malloc(size + 8);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(bytes + i, &x, 8);
		if (i % 32 == 0)
			memset(bytes + i, 'a', 8);
	}
	write_file(path, bytes, size);
	free(bytes);
}

void make_text(const char *path, const char *text)
{
	write_file(path, text, strlen(text));
}

void set_mtime(const char *path, int64_t ns)
{
	struct timespec times[2] = {{0, UTIME_OMIT},
				    {ns / 1000000000, ns % 1000000000}};

	if (ns < 0)
		times[1] = (struct timespec){ns / 1000000000 - 1,
					     1000000000 + ns % 1000000000};

	if (utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("%s: %s", path, strerror(errno));
}

int exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

void make_files(const char *dir, unsigned n, unsigned seed)
{
	char name[64];

	for (unsigned i = 0; i < n; i++) {
		if (i % 20 == 0) {
			snprintf(name, sizeof(name), "d%u", i / 20);
			if (!exists(at(dir, name)))
				make_dir(at(dir, name), 0755);
		}
		snprintf(name, sizeof(name), "d%u/f%u", i / 20, i);
		make_file(at(dir, name), (i * 7919u + seed) % 20000, i + seed);
	}
}

/* ---- describing -------------------------------------------------------- */

struct line {
	char *text;
	ino_t ino;
	const char *path;
};

static struct line lines[20000];
static size_t lines_len;
static const char *top;

static void add_digest(FILE *f, const char *path)
{
	char hex[CM_DIGEST_HEX_LEN + 1];
	struct cm_hasher *h = NULL;
	struct cm_digest d;
	char buf[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0 && cm_hasher_new(&h, NULL) == 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		cm_hasher_update(h, buf, (size_t)n, NULL);
	cm_hasher_final(h, &d, NULL);
	cm_hasher_free(h);
	close(fd);
	fprintf(f, " %s", cm_digest_hex(&d, hex));
}

/* Each a line of its own, so that their order is no matter. */
static void add_xattrs(const char *path)
{
	char list[4096], value[4096];
	ssize_t len = llistxattr(path, list, sizeof(list)), n;
	size_t size;
	FILE *f;

	for (ssize_t i = 0; i < len; i += (ssize_t)strlen(list + i) + 1) {
		if (strncmp(list + i, "user.", 5) != 0)
			continue;
		n = lgetxattr(path, list + i, value, sizeof(value));
		f = open_memstream(&lines[lines_len++].text, &size);
		fputs(path + strlen(top) + 1, f);
		fputc(' ', f);
		fputs(list + i, f);
		for (ssize_t k = 0; k < n; k++)
			fprintf(f, " %02x", (unsigned char)value[k]);
		fclose(f);
	}
}

static int describe_one(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	char target[4096] = "";
	size_t size;
	FILE *f;

	(void)type;
	if (ftw->level == 1 && strcmp(path + ftw->base, ".cachectl") == 0)
		return FTW_SKIP_SUBTREE;
	if (ftw->level == 0)
		return FTW_CONTINUE;
	f = open_memstream(&lines[lines_len].text, &size);
	if (S_ISLNK(st->st_mode) &&
	    readlink(path, target, sizeof(target) - 1) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	fprintf(f, "%s %o %u:%u %" PRId64 " %lld.%09ld %s",
		path + strlen(top) + 1, st->st_mode, st->st_uid, st->st_gid,
		S_ISREG(st->st_mode) ? (int64_t)st->st_size : 0,
		(long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, target);
	if (S_ISREG(st->st_mode) && st->st_size < (64 << 20))
		add_digest(f, path);
	if (S_ISREG(st->st_mode) && st->st_nlink > 1)
		fprintf(f, " nlink=%lu", (unsigned long)st->st_nlink);
	fclose(f);
	lines_len++;
	add_xattrs(path);
	return FTW_CONTINUE;
}

static int compare_lines(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return strcmp(x->text, y->text);
}

char *describe(const char *dir)
{
	char *text = NULL;
	size_t size;
	FILE *f;

	top = dir;
	lines_len = 0;
	if (nftw(dir, describe_one, 64, FTW_PHYS | FTW_ACTIONRETVAL) != 0)
		fail_msg("%s: %s", dir, strerror(errno));
	qsort(lines, lines_len, sizeof(lines[0]), compare_lines);
	f = open_memstream(&text, &size);
	for (size_t i = 0; i < lines_len; i++) {
		fprintf(f, "%s\n", lines[i].text);
		free(lines[i].text);
	}
	fclose(f);
	return text;
}

void assert_same_dirs(const char *a, const char *b)
{
	char *x = describe(a), *y = describe(b);

	assert_string_equal(x, y);
	free(x);
	free(y);
}

/* ---- saving and restoring ---------------------------------------------- */

static void warn(void *arg, const char *text)
{
	(void)arg;
	warnings++;
	snprintf(warning, sizeof(warning), "%s", text);
}

int warnings_seen(void)
{
	int n = warnings;

	warnings = 0;
	return n;
}

const char *last_warning(void)
{
	return warning;
}

struct cm_snapshot_options options_for(struct cm_remote *r, const char *path)
{
	return (struct cm_snapshot_options){.remote = r,
					    .id = "test",
					    .path = path,
					    .repo = "main/test",
					    .tag = "t",
					    .warning = warn};
}

struct cm_snapshot_result do_save(const struct cm_snapshot_options *o)
{
	struct cm_snapshot_result result;
	struct cm_error err = {0};

	assert_ok(cm_snapshot_save(o, &result, &err), &err);
	return result;
}

struct cm_snapshot_result do_restore(const struct cm_snapshot_options *o)
{
	struct cm_snapshot_result result;
	struct cm_error err = {0};

	assert_ok(cm_snapshot_restore(o, &result, &err), &err);
	return result;
}
