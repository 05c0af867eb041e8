/*
 * fields.h - values of HTTP header fields and query arguments, parsed strictly
 * and without allocation. Pure functions: no request, no store.
 */
#ifndef CM_FACES_FIELDS_H
#define CM_FACES_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>
#include <cachemount/store.h>

/* What a Range field asks of a representation. */
enum cm_range_kind {
	CM_RANGE_WHOLE,		/* nothing, or what is to be ignored: 200 */
	CM_RANGE_PART,		/* one part: 206 */
	CM_RANGE_UNSATISFIABLE, /* 416 */
};

/*
 * Reads a Range field (RFC 9110 §14.2) for `size` bytes; `value` may be NULL.
 * On CM_RANGE_PART the part is `*ret_len` bytes (at least one) from
 * `*ret_offset`, within `size`. Another unit, a set of several ranges and what
 * is no range are ignored, as the RFC allows; "last before first" is
 * CM_RANGE_UNSATISFIABLE.
 */
enum cm_range_kind cm_field_range(const char *value, int64_t size,
				  int64_t *ret_offset, int64_t *ret_len);

/*
 * Reads the Content-Range of an upload's chunk, "<first>-<last>" in bytes,
 * both included (distribution-spec, "Pushing a blob in chunks"; not the RFC's
 * field). CM_ERR_INVALID for anything else.
 */
int cm_field_chunk_range(const char *value, int64_t *ret_first,
			 int64_t *ret_last, struct cm_error *err);

/* One member of a list of entity tags. */
struct cm_etag {
	bool any;	  /* the "*", which stands alone */
	bool weak;	  /* W/"…" */
	const char *text; /* what is between the quotes, `len` bytes of it */
	size_t len;
};

/*
 * Steps through an If-Match or If-None-Match field (RFC 9110 §8.8.3, §13.1):
 * 1 with `*ret` filled, borrowing from the field; 0 at the end; CM_ERR_INVALID
 * for what is no entity tag. `*cursor` starts as the field's value.
 */
int cm_field_etag_next(const char **cursor, struct cm_etag *ret);

/* How entity tags are compared (RFC 9110 §8.8.3.2). */
enum cm_etag_comparison { CM_ETAG_STRONG, CM_ETAG_WEAK };

/*
 * Whether the list names `tag`, which is given without its quotes and is
 * strong: 1 or 0, or CM_ERR_INVALID with a message for a malformed list.
 * `tag` NULL says that there is nothing, which even "*" does not match.
 */
int cm_field_etag_match(const char *list, const char *tag,
			enum cm_etag_comparison how, struct cm_error *err);

/*
 * Whether If-Range lets Range stand: `value` is NULL or names `tag` strongly
 * (RFC 9110 §13.1.5). A date never does: nothing here has a Last-Modified.
 */
bool cm_field_if_range(const char *value, const char *tag);

/*
 * Reads the Content-Encoding of a request's body: none or "identity", or
 * "zstd". CM_ERR_UNSUPPORTED for any other coding.
 */
int cm_field_coding(const char *value, enum cm_encoding *ret,
		    struct cm_error *err);

#define CM_MEDIA_TYPE_SIZE 256

/*
 * Copies the media type of a Content-Type field to `out`, without parameters
 * and blanks. Returns `out`, or NULL if `value` is NULL or empty;
 * a longer one than fits is cut.
 */
const char *cm_field_media_type(const char *value,
				char out[static CM_MEDIA_TYPE_SIZE]);

/*
 * Reads a decimal count such as `n=100`, digits only; values over `max` are
 * taken as `max`. CM_ERR_INVALID with a message that names `name` otherwise.
 */
int cm_field_count(const char *name, const char *value, int64_t max,
		   int64_t *ret, struct cm_error *err);

#endif
