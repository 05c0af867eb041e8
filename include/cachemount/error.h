/*
 * error.h - the one way in which cachemount's functions fail.
 *
 * A function that can fail returns 0 or a negative enum cm_status and takes a
 * caller-owned `struct cm_error *err` as its last argument. `err` may be NULL
 * for a caller that only wants the status. On success `*err` is untouched.
 *
 * Libraries return errors and never print them; server/ and client/ decide
 * once, at the edge, how a status is told (see cm_status_name()).
 */
#ifndef CACHEMOUNT_ERROR_H
#define CACHEMOUNT_ERROR_H

#include <stdarg.h>

#define CM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Why a call failed: one value per case that a caller can act on. */
enum cm_status {
	CM_OK = 0,
	CM_ERR_INVALID = -1,	   /* the caller's input is malformed */
	CM_ERR_NOT_FOUND = -2,	   /* no such blob, manifest, tag, upload */
	CM_ERR_EXISTS = -3,	   /* already there, and must not be */
	CM_ERR_PRECONDITION = -4,  /* If-Match / If-None-Match did not hold */
	CM_ERR_DIGEST = -5,	   /* bytes are not what the digest says */
	CM_ERR_SIZE = -6,	   /* wrong length, or over a stated limit */
	CM_ERR_RANGE = -7,	   /* range or offset out of bounds/order */
	CM_ERR_MISSING_BLOB = -8,  /* a manifest names blobs that are absent */
	CM_ERR_UNSUPPORTED = -9,   /* well-formed, but not offered here */
	CM_ERR_DENIED = -10,	   /* who you are does not allow it */
	CM_ERR_UNAUTHORIZED = -11, /* tell us who you are */
	CM_ERR_BUSY = -12,	   /* a bounded resource is taken; try again */
	CM_ERR_NO_SPACE = -13,	   /* disk or quota is full */
	CM_ERR_IO = -14,      /* the operating system said no; see os_errno */
	CM_ERR_CORRUPT = -15, /* stored data is damaged */
	CM_ERR_NO_MEMORY = -16,
	CM_ERR_UNAVAILABLE = -17, /* the other end is gone, hung or draining */
	CM_ERR_PROTOCOL = -18,	  /* the other end answered out of contract */
	CM_ERR_CANCELLED = -19,	  /* asked to stop */
	CM_ERR_INTERNAL = -20,	  /* a defect in this program */
};

#define CM_ERROR_TEXT_MAX 512

/* What failed and why. Caller-owned, fixed size, nothing to free. */
struct cm_error {
	enum cm_status status;
	int os_errno; /* errno of the failed call, or 0 */
	/*
	 * One line of UTF-8 without control characters, whatever names and
	 * bytes of a client's went in (a "?" stands for each byte that is
	 * not); no final full stop.
	 */
	char text[CM_ERROR_TEXT_MAX];
};

/*
 * Records a failure and returns `status`, so that a caller can write
 * `return cm_error_set(err, CM_ERR_INVALID, "…", …)`. A message longer than
 * CM_ERROR_TEXT_MAX is cut. `err` may be NULL. errno is preserved.
 */
int cm_error_set(struct cm_error *err, enum cm_status status, const char *fmt,
		 ...) CM_PRINTF(3, 4);

/*
 * Records a failed system call: takes errno, appends its text to the message
 * and picks the status (ENOSPC, EDQUOT: CM_ERR_NO_SPACE; ENOENT:
 * CM_ERR_NOT_FOUND; ENOMEM: CM_ERR_NO_MEMORY; anything else: CM_ERR_IO).
 * Returns that status.
 */
int cm_error_errno(struct cm_error *err, const char *fmt, ...) CM_PRINTF(2, 3);

/* Records CM_ERR_NO_MEMORY and returns it. */
int cm_error_nomem(struct cm_error *err);

/*
 * Puts "context: " before the message that `err` holds, on the way up.
 * Returns err->status (CM_ERR_INTERNAL if `err` is NULL or holds none).
 */
int cm_error_wrap(struct cm_error *err, const char *fmt, ...) CM_PRINTF(2, 3);

/* A short lower-case name of a status, for logs and JSON: "not-found". */
const char *cm_status_name(enum cm_status status);

#endif
