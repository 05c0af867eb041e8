/* limits.h - the numbers that bound a connection, with their reasons. */
#ifndef CM_HTTP_LIMITS_H
#define CM_HTTP_LIMITS_H

/*
 * libmicrohttpd's memory of a connection. It is zeroed whole after every
 * request, so a large one costs each small reply and stays resident; body
 * pieces are half of it, so a small one costs uploads.
 */
#define CM_CONNECTION_MEMORY (64 * 1024)

#define CM_HEADERS_MS 10000 /* for a request's headers to come */
/*
 * Between requests; also for no progress at all. Longer than clients keep an
 * idle connection (BuildKit 120 s, crane 90 s): who closes first must not be
 * us, or it crosses a request on its way, and one with a body can't be
 * repeated.
 */
#define CM_IDLE_S	  130
#define CM_RATE_WINDOW_MS 30000
#define CM_RATE_BYTES	  (30 * 1024) /* in a window: 1 KiB/s */

#define CM_REQUEST_HEADER_MAX (32 * 1024) /* bytes of request line + fields */
#define CM_REQUEST_FIELDS_MAX 128

/*
 * A refused body is swallowed up to CM_DISCARD_MAX bytes, and the connection
 * lives on; a longer one is answered at once, then swallowed up to
 * CM_LINGER_MAX bytes or CM_LINGER_MS, whichever is first, and closed.
 */
#define CM_DISCARD_MAX (1 << 20)
#define CM_LINGER_MAX  (256 << 20)
#define CM_LINGER_MS   5000

/*
 * A TLS hello that was answered is swallowed up to so many bytes; one record
 * has at most 16 KiB (RFC 8446 §5.1).
 */
#define CM_HELLO_MAX (64 * 1024)

/* Replies of blobs; see reply_blob.c. */
#define CM_PREAD_MAX	   (32 * 1024)
#define CM_DECODE_BLOCK	   (128 * 1024)
#define CM_CACHED_BODY_MAX (64 * 1024)
#define CM_CACHE_BYTES	   (32 << 20)

#endif
