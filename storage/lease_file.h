/*
 * lease_file.h - leases beside the index, so that they outlive the process.
 * Private to storage/.
 *
 * A lease is written to the file before the answer that promises it, without a
 * sync: the kernel has it then, and a process that is killed loses none. What a
 * crash of the machine leaves is not believed: the file names the boot that it
 * was written in, whose monotonic clock its times are of.
 */
#ifndef CM_LEASE_FILE_H
#define CM_LEASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cm_lease_file {
	int fd; /* -1: none, or not usable any more */
};

/*
 * Takes `fd` (-1: none). True if `size` bytes of leases of this boot are there,
 * to be read, and `*ret_all_until_ms` is until when all was held. Else the file
 * is empty now, all zeroes, or `f->fd` is -1.
 */
bool cm_lease_file_open(struct cm_lease_file *f, int fd, size_t size,
			int64_t *ret_all_until_ms);

/* Reads part of the leases. False if that fails. */
bool cm_lease_file_read(struct cm_lease_file *f, size_t offset, void *data,
			size_t len);

/* Writes part of them. If that fails, the file is given up. */
void cm_lease_file_write(struct cm_lease_file *f, size_t offset,
			 const void *data, size_t len);

/* Writes until when everything is held. */
void cm_lease_file_hold(struct cm_lease_file *f, int64_t all_until_ms);

void cm_lease_file_close(struct cm_lease_file *f);

#endif
