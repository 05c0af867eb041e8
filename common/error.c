/* error.c - recording, wrapping and naming of failures. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/error.h>

static void error_text(struct cm_error *err, const char *fmt, va_list ap)
{
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int cm_error_set(struct cm_error *err, enum cm_status status, const char *fmt,
		 ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		err->status = status;
		err->os_errno = 0;
		va_start(ap, fmt);
		error_text(err, fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return status;
}

static enum cm_status status_of_errno(int os_errno)
{
	switch (os_errno) {
	case ENOSPC:
	case EDQUOT:
		return CM_ERR_NO_SPACE;
	case ENOENT:
		return CM_ERR_NOT_FOUND;
	case ENOMEM:
		return CM_ERR_NO_MEMORY;
	default:
		return CM_ERR_IO;
	}
}

int cm_error_errno(struct cm_error *err, const char *fmt, ...)
{
	int saved = errno;
	enum cm_status status = status_of_errno(saved);
	char reason[128];
	size_t used;
	va_list ap;

	if (err) {
		err->status = status;
		err->os_errno = saved;
		va_start(ap, fmt);
		error_text(err, fmt, ap);
		va_end(ap);
		used = strlen(err->text);
		snprintf(err->text + used, sizeof(err->text) - used, ": %s",
			 strerror_r(saved, reason, sizeof(reason)));
	}
	errno = saved;
	return status;
}

int cm_error_nomem(struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_NO_MEMORY, "out of memory");
}

int cm_error_wrap(struct cm_error *err, const char *fmt, ...)
{
	char old[CM_ERROR_TEXT_MAX];
	size_t used;
	va_list ap;

	if (!err || err->status == CM_OK)
		return CM_ERR_INTERNAL;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	error_text(err, fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", old);
	return err->status;
}

const char *cm_status_name(enum cm_status status)
{
	switch (status) {
	case CM_OK:
		return "ok";
	case CM_ERR_INVALID:
		return "invalid";
	case CM_ERR_NOT_FOUND:
		return "not-found";
	case CM_ERR_EXISTS:
		return "exists";
	case CM_ERR_PRECONDITION:
		return "precondition-failed";
	case CM_ERR_DIGEST:
		return "digest-mismatch";
	case CM_ERR_SIZE:
		return "wrong-size";
	case CM_ERR_RANGE:
		return "out-of-range";
	case CM_ERR_MISSING_BLOB:
		return "missing-blob";
	case CM_ERR_UNSUPPORTED:
		return "unsupported";
	case CM_ERR_DENIED:
		return "denied";
	case CM_ERR_UNAUTHORIZED:
		return "unauthorized";
	case CM_ERR_BUSY:
		return "busy";
	case CM_ERR_NO_SPACE:
		return "no-space";
	case CM_ERR_IO:
		return "io-error";
	case CM_ERR_CORRUPT:
		return "corrupt";
	case CM_ERR_NO_MEMORY:
		return "no-memory";
	case CM_ERR_UNAVAILABLE:
		return "unavailable";
	case CM_ERR_PROTOCOL:
		return "protocol-error";
	case CM_ERR_CANCELLED:
		return "cancelled";
	case CM_ERR_INTERNAL:
		return "internal-error";
	}
	return "unknown";
}
