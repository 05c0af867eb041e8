/* token_key.c - DATA/token.key: 32 random bytes, for the owner only. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "token_key.h"

#define NAME  "token.key"
#define FRESH "token.key.new"

/* 1 if there is a whole key, 0 if there is none. */
static int read_key(int dir, uint8_t ret[static CM_ACCESS_KEY_LEN],
		    struct cm_error *err)
{
	uint8_t bytes[CM_ACCESS_KEY_LEN + 1];
	cm_autofd int fd = openat(
		dir, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return cm_error_errno(err, "cannot open %s", NAME);
	n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return cm_error_errno(err, "cannot read %s", NAME);
	if (n != CM_ACCESS_KEY_LEN)
		return 0;
	memcpy(ret, bytes, CM_ACCESS_KEY_LEN);
	return 1;
}

/* Whole and synced under another name, then renamed. */
static int write_key(int dir, const uint8_t key[static CM_ACCESS_KEY_LEN],
		     struct cm_error *err)
{
	cm_autofd int fd = openat(
		dir, FRESH,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchmod(fd, 0600) < 0)
		return cm_error_errno(err, "cannot make %s", FRESH);
	if (write(fd, key, CM_ACCESS_KEY_LEN) != CM_ACCESS_KEY_LEN ||
	    fsync(fd) < 0)
		return cm_error_errno(err, "cannot write %s", FRESH);
	if (renameat(dir, FRESH, dir, NAME) < 0 || fsync(dir) < 0)
		return cm_error_errno(err, "cannot rename %s", FRESH);
	return 0;
}

int cm_token_key_load(const char *data_dir,
		      uint8_t ret[static CM_ACCESS_KEY_LEN],
		      struct cm_error *err)
{
	cm_autofd int dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (dir < 0)
		return cm_error_errno(err, "cannot open %s", data_dir);
	rc = read_key(dir, ret, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (RAND_bytes(ret, CM_ACCESS_KEY_LEN) != 1)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "no random bytes to be had");
	return write_key(dir, ret, err);
}
