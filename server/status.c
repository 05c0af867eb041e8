/* status.c - the one table from a failure to HTTP (RFC 9110 §15). */
#include "request.h"

int cm_status_to_http(enum cm_status status)
{
	switch (status) {
	case CM_OK:
		return 200;
	case CM_ERR_INVALID:
	case CM_ERR_DIGEST:
	case CM_ERR_SIZE:
	case CM_ERR_MISSING_BLOB:
		return 400;
	case CM_ERR_UNAUTHORIZED:
		return 401;
	case CM_ERR_DENIED:
		return 403;
	case CM_ERR_NOT_FOUND:
		return 404;
	case CM_ERR_UNSUPPORTED:
		return 415;
	case CM_ERR_EXISTS:
		return 409;
	case CM_ERR_PRECONDITION:
		return 412;
	case CM_ERR_RANGE:
		return 416;
	case CM_ERR_BUSY:
	case CM_ERR_UNAVAILABLE:
	case CM_ERR_CANCELLED:
		return 503;
	case CM_ERR_PROTOCOL:
		return 502;
	case CM_ERR_NO_SPACE:
		return 507;
	case CM_ERR_IO:
	case CM_ERR_CORRUPT:
	case CM_ERR_NO_MEMORY:
	case CM_ERR_INTERNAL:
		break;
	}
	return 500;
}
