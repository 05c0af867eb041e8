/*
 * bytes_private.h - the data folder's descriptors, for the files bytes*.c.
 */
#ifndef CM_BYTES_PRIVATE_H
#define CM_BYTES_PRIVATE_H

#include <dirent.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "bytes.h"

struct cm_bytes {
	char *data_dir;
	int dir_fd; /* the data folder itself */
	int lock_fd;
	int blobs_fd; /* blobs/sha256 */
	int uploads_fd;
	int quarantine_fd;
	int backups_fd;
	char boot[17]; /* names this run's temporary files */
	_Atomic uint64_t next_temp;
	_Atomic int64_t uploads; /* bytes in each of the three folders */
	_Atomic int64_t quarantined;
	_Atomic int64_t backed_up;
	/* The walk of cm_bytes_walk(). */
	DIR *walk;
	unsigned int walk_shard;
};

/* Reads a file name of a shard; false for what is no blob's name. */
bool cm_bytes_parse_name(const char *name, struct cm_bytes_file *ret);

/*
 * Opens a folder for reading its names, from the start whoever else reads it.
 * Caller closes.
 */
int cm_bytes_list(int folder_fd, DIR **ret, struct cm_error *err);

/* When a file was last changed or renamed (ms since 1970). */
int64_t cm_bytes_ctime_ms(const struct stat *st);

#endif
