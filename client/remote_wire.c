/*
 * remote_wire.c - zstd to and from the wire, and the buffers for it.
 *
 * One-shot calls over whole blobs: a blob here is a chunk of a few MiB or a
 * tree, its size is known, and so nothing but the two buffers is allocated,
 * whatever window a frame asks for.
 */
#include <string.h>
#include <zstd_errors.h>

#include "remote_private.h"

/* Fast enough to leave a core's time to reading and hashing (measured). */
#define WIRE_LEVEL 1
/* With at most 1 MiB the server keeps a frame as it comes. */
#define WIRE_WINDOW_LOG 20

/* What is too small to be worth a probe or a frame. */
#define WIRE_MIN	 512
#define WIRE_PROBE	 (32 << 10)
#define WIRE_PROBE_ABOVE (256 << 10)

#define BUFFER_KEEP (8 << 20)

int cm_buffer_reserve(struct cm_buffer *b, size_t cap, struct cm_error *err)
{
	char *data;

	if (cap <= b->cap)
		return 0;
	data = realloc(b->data, cap);
	if (!data)
		return cm_error_nomem(err);
	b->data = data;
	b->cap = cap;
	return 0;
}

int cm_buffer_append(struct cm_buffer *b, const void *data, size_t len,
		     size_t limit, struct cm_error *err)
{
	size_t cap = b->cap ? b->cap : 4096;
	int r;

	if (b->len > limit || len > limit - b->len)
		return cm_error_set(err, CM_ERR_SIZE,
				    "an answer of more than %zu bytes", limit);
	while (cap < b->len + len)
		cap *= 2;
	r = cm_buffer_reserve(b, cap, err);
	if (r < 0)
		return r;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

void cm_buffer_reset(struct cm_buffer *b)
{
	if (b->cap > BUFFER_KEEP)
		cm_buffer_release(b);
	b->len = 0;
}

void cm_buffer_release(struct cm_buffer *b)
{
	free(b->data);
	*b = (struct cm_buffer){0};
}

static ZSTD_CCtx *compressor(struct cm_connection *c)
{
	if (c->compressor)
		return c->compressor;
	c->compressor = ZSTD_createCCtx();
	if (!c->compressor)
		return NULL;
	ZSTD_CCtx_setParameter(c->compressor, ZSTD_c_compressionLevel,
			       WIRE_LEVEL);
	ZSTD_CCtx_setParameter(c->compressor, ZSTD_c_windowLog,
			       WIRE_WINDOW_LOG);
	return c->compressor;
}

static bool pays(size_t before, size_t after)
{
	return after < before - before / 16;
}

/* Compresses to c->wire; 0 for a failure. */
static size_t compress(struct cm_connection *c, const void *data, size_t size)
{
	ZSTD_CCtx *ctx = compressor(c);
	size_t n;

	cm_buffer_reset(&c->wire);
	if (!ctx ||
	    cm_buffer_reserve(&c->wire, ZSTD_compressBound(size), NULL) < 0)
		return 0;
	n = ZSTD_compress2(ctx, c->wire.data, c->wire.cap, data, size);
	return ZSTD_isError(n) ? 0 : n;
}

/* Wheels, archives and images don't shrink: two samples tell. */
static bool probe_pays(struct cm_connection *c, const char *data, size_t size)
{
	size_t middle = size / 2, n;

	if (size < WIRE_PROBE_ABOVE)
		return true;
	n = compress(c, data, WIRE_PROBE);
	if (n > 0 && pays(WIRE_PROBE, n))
		return true;
	n = compress(c, data + middle, WIRE_PROBE);
	return n > 0 && pays(WIRE_PROBE, n);
}

void cm_wire_encode(struct cm_connection *c, const void *data, size_t size,
		    size_t *ret_len)
{
	size_t n;

	*ret_len = 0;
	if (size < WIRE_MIN || !probe_pays(c, data, size))
		return;
	n = compress(c, data, size);
	if (n > 0 && pays(size, n))
		*ret_len = n;
}

size_t cm_wire_bound(size_t size)
{
	return ZSTD_compressBound(size) + 1024;
}

int cm_wire_decode(struct cm_connection *c, void *dst, size_t size,
		   struct cm_error *err)
{
	size_t n;

	if (!c->decompressor)
		c->decompressor = ZSTD_createDCtx();
	if (!c->decompressor)
		return cm_error_nomem(err);
	n = ZSTD_decompressDCtx(c->decompressor, dst, size, c->body.data,
				c->body.len);
	if (ZSTD_isError(n) &&
	    ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall)
		return cm_error_set(err, CM_ERR_SIZE,
				    "more than the %zu bytes expected", size);
	if (ZSTD_isError(n))
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "not the zstd frame of %zu bytes that was "
				    "expected: %s",
				    size, ZSTD_getErrorName(n));
	if (n != size)
		return cm_error_set(err, CM_ERR_SIZE,
				    "%zu bytes where %zu were expected", n,
				    size);
	return 0;
}
