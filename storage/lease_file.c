/* lease_file.c - a head of one page, then the leases as they lie in memory. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "lease_file.h"

#define MAGIC	   "cmlease" /* and its NUL */
#define MAGIC_LEN  8
#define BOOT_LEN   36
#define HEAD_SIZE  4096
#define ZERO_PIECE 65536

struct head {
	char magic[MAGIC_LEN];
	char boot[BOOT_LEN + 4];
	int64_t size; /* of the leases */
	int64_t all_until_ms;
};

static bool read_boot(char out[static BOOT_LEN])
{
	cm_autofd int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, out, BOOT_LEN) == BOOT_LEN;
}

static bool write_all(int fd, const void *data, size_t len, size_t offset)
{
	return pwrite(fd, data, len, (off_t)offset) == (ssize_t)len;
}

/* Space is taken now, so that a full disk does not matter later. */
static bool make_empty(int fd, size_t size)
{
	static const char zeroes[ZERO_PIECE];
	size_t len;

	if (ftruncate(fd, 0) < 0)
		return false;
	for (size_t at = 0; at < HEAD_SIZE + size; at += len) {
		len = HEAD_SIZE + size - at;
		if (len > ZERO_PIECE)
			len = ZERO_PIECE;
		if (!write_all(fd, zeroes, len, at))
			return false;
	}
	return true;
}

static void give_up(struct cm_lease_file *f)
{
	if (f->fd < 0)
		return;
	/* Whoever comes next must not believe it. */
	if (ftruncate(f->fd, 0) == 0)
		close(cm_take_fd(&f->fd));
	f->fd = -1;
}

static bool usable(int fd, const struct head *want, struct head *got)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	       st.st_size == (off_t)(HEAD_SIZE + (size_t)want->size) &&
	       pread(fd, got, sizeof(*got), 0) == sizeof(*got) &&
	       memcmp(got->magic, want->magic, MAGIC_LEN) == 0 &&
	       memcmp(got->boot, want->boot, sizeof(want->boot)) == 0 &&
	       got->size == want->size;
}

bool cm_lease_file_open(struct cm_lease_file *f, int fd, size_t size,
			int64_t *ret_all_until_ms)
{
	struct head want = {.magic = MAGIC, .size = (int64_t)size}, got;

	*ret_all_until_ms = 0;
	f->fd = fd;
	if (fd < 0)
		return false;
	if (!read_boot(want.boot)) {
		give_up(f);
		return false;
	}
	if (usable(fd, &want, &got)) {
		*ret_all_until_ms = got.all_until_ms;
		return true;
	}
	if (!make_empty(fd, size) || !write_all(fd, &want, sizeof(want), 0))
		give_up(f);
	return false;
}

bool cm_lease_file_read(struct cm_lease_file *f, size_t offset, void *data,
			size_t len)
{
	return f->fd >= 0 && pread(f->fd, data, len,
				   (off_t)(HEAD_SIZE + offset)) == (ssize_t)len;
}

void cm_lease_file_write(struct cm_lease_file *f, size_t offset,
			 const void *data, size_t len)
{
	if (f->fd >= 0 && !write_all(f->fd, data, len, HEAD_SIZE + offset))
		give_up(f);
}

void cm_lease_file_hold(struct cm_lease_file *f, int64_t all_until_ms)
{
	if (f->fd >= 0 && !write_all(f->fd, &all_until_ms, sizeof(all_until_ms),
				     offsetof(struct head, all_until_ms)))
		give_up(f);
}

void cm_lease_file_close(struct cm_lease_file *f)
{
	if (f->fd >= 0)
		close(cm_take_fd(&f->fd));
}
