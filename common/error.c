/* error.c - recording, wrapping and naming of failures. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/error.h>

static int continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/*
 * The length of the UTF-8 character at `s` if it is one that a terminal, a
 * log line and a JSON string can bear as it is; 0 for a control character, for
 * a sequence that is cut, overlong or a surrogate, and at the end.
 */
static size_t plain_character(const unsigned char *s)
{
	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (s[0] < 0xc2 || s[0] > 0xf4 || !continuation(s[1]))
		return 0;
	if (s[0] < 0xe0) /* U+0080 to U+009F are controls, too */
		return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : 2;
	if (!continuation(s[2]))
		return 0;
	if (s[0] < 0xf0) {
		if ((s[0] == 0xe0 && s[1] < 0xa0) ||
		    (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (!continuation(s[3]) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return 4;
}

/* Puts a "?" for every byte that would not be one line of plain UTF-8. */
static void make_plain(char *text)
{
	size_t n;

	for (; *text; text += n) {
		n = plain_character((const unsigned char *)text);
		if (n == 0) {
			*text = '?';
			n = 1;
		}
	}
}

CM_PRINTF(2, 0)
static void error_text(struct cm_error *err, const char *fmt, va_list ap)
{
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	make_plain(err->text);
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
	make_plain(err->text + used);
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
