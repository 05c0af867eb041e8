/*
 * platform.c - finding the C library below a root folder.
 *
 * glibc's libc.so.6 holds a sentence with "release version 2.36"; musl's one
 * file is dynamic loader and library, and holds its version as text behind
 * "musl libc". Neither is run: in a foreign root it might not be runnable.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "platform.h"

#define LIBC_MAX     (16 << 20)
#define VERSION_SIZE 16

static const char *const lib_dirs[] = {"lib", "lib64", "usr/lib", "usr/lib64"};

static const char *oci_arch(const char *machine)
{
	static const char *const names[][2] = {
		{"x86_64", "amd64"},	{"aarch64", "arm64"},
		{"armv7l", "arm"},	{"armv6l", "arm"},
		{"i686", "386"},	{"i386", "386"},
		{"ppc64le", "ppc64le"}, {"s390x", "s390x"},
		{"riscv64", "riscv64"}, {"loongarch64", "loong64"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i][0], machine) == 0)
			return names[i][1];
	return "unknown";
}

/* Copies "<digits>.<digits>" from `text`; false if it does not start so. */
static bool copy_version(const char *text, size_t len, char out[VERSION_SIZE])
{
	size_t n = 0;
	int dots = 0;

	while (n < len && n < VERSION_SIZE - 1) {
		if (text[n] == '.' && dots++ > 0)
			break;
		if (text[n] != '.' && !isdigit((unsigned char)text[n]))
			break;
		out[n] = text[n];
		n++;
	}
	out[n] = '\0';
	return n >= 3 && dots > 0 && out[n - 1] != '.';
}

/* Finds `words` in the bytes and a version at most 64 bytes behind them. */
static bool version_behind(const char *bytes, size_t len, const char *words,
			   char out[VERSION_SIZE])
{
	size_t words_len = strlen(words);
	const char *at = memmem(bytes, len, words, words_len);
	const char *end = bytes + len;

	if (!at)
		return false;
	at += words_len;
	if (end - at > 64)
		end = at + 64;
	for (; at < end; at++)
		if (isdigit((unsigned char)*at) &&
		    copy_version(at, (size_t)(end - at), out))
			return true;
	return false;
}

/*
 * musl keeps its version as a string of its own, which no words precede in the
 * file: the first string that is nothing but "1.2.5" or the like.
 */
static bool version_alone(const char *bytes, size_t len, char out[VERSION_SIZE])
{
	const char *end = bytes + len, *at = bytes, *next;
	size_t n;

	for (; at < end; at = next + 1) {
		next = memchr(at, '\0', (size_t)(end - at));
		if (!next)
			return false;
		n = (size_t)(next - at);
		if (n >= 5 && n <= 8 && (at[0] == '1' || at[0] == '0') &&
		    at[1] == '.' && strspn(at, "0123456789.") == n &&
		    copy_version(at, n, out))
			return true;
	}
	return false;
}

typedef bool (*version_fn)(const char *bytes, size_t len,
			   char out[VERSION_SIZE]);

static bool glibc_version(const char *bytes, size_t len, char out[VERSION_SIZE])
{
	return version_behind(bytes, len, "release version ", out);
}

static bool musl_version(const char *bytes, size_t len, char out[VERSION_SIZE])
{
	return memmem(bytes, len, "musl libc", 9) &&
	       version_alone(bytes, len, out);
}

static bool read_version(int dir_fd, const char *name, version_fn fn,
			 char out[VERSION_SIZE])
{
	/* Not waiting for the other end, should it be a FIFO. */
	cm_autofd int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	void *bytes;
	bool found;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size < 1 || st.st_size > LIBC_MAX)
		return false;
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return false;
	found = fn(bytes, (size_t)st.st_size, out);
	munmap(bytes, (size_t)st.st_size);
	return found;
}

/* A folder's libc.so.6, or that of one of its "<arch>-linux-gnu*" folders. */
static bool find_glibc(int dir_fd, char out[VERSION_SIZE])
{
	cm_autodir DIR *dir = NULL;
	char path[NAME_MAX + sizeof("/libc.so.6")];
	struct dirent *e;
	int fd;

	if (read_version(dir_fd, "libc.so.6", glibc_version, out))
		return true;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	while (dir && (e = readdir(dir))) {
		if (!strstr(e->d_name, "-linux-gnu"))
			continue;
		snprintf(path, sizeof(path), "%s/libc.so.6", e->d_name);
		if (read_version(dir_fd, path, glibc_version, out))
			return true;
	}
	return false;
}

static bool find_musl(int dir_fd, char out[VERSION_SIZE])
{
	cm_autodir DIR *dir = NULL;
	struct dirent *e;
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	while (dir && (e = readdir(dir)))
		if (strncmp(e->d_name, "ld-musl-", 8) == 0 &&
		    read_version(dir_fd, e->d_name, musl_version, out))
			return true;
	return false;
}

/* The C library's part of the tag, with its dash; "" if none is found. */
static void libc_part(const char *root, char *out, size_t size)
{
	static const struct {
		const char *name;
		bool (*find)(int dir_fd, char out[VERSION_SIZE]);
	} kinds[] = {{"glibc", find_glibc}, {"musl", find_musl}};
	char version[VERSION_SIZE];

	out[0] = '\0';
	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < sizeof(lib_dirs) / sizeof(lib_dirs[0]);
		     i++) {
			char path[4096];
			cm_autofd int fd = -1;

			snprintf(path, sizeof(path), "%s/%s", root,
				 lib_dirs[i]);
			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd < 0 || !kinds[k].find(fd, version))
				continue;
			snprintf(out, size, "-%s%s", kinds[k].name, version);
			return;
		}
	}
}

void cm_platform_tag(const char *root, char out[static CM_TAG_MAX + 1])
{
	struct utsname u;
	char libc[48];

	libc_part(root, libc, sizeof(libc));
	snprintf(out, CM_TAG_MAX + 1, "linux-%s%s",
		 uname(&u) == 0 ? oci_arch(u.machine) : "unknown", libc);
}
