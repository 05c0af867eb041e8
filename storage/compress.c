/* compress.c - probing, making, checking and reading of zstd frames. */
#define ZSTD_STATIC_LINKING_ONLY
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <cachemount/cleanup.h>
#include <cachemount/protocol.h>

#include "bytes.h"
#include "compress.h"

#define PROBE_SIZE		   (128 << 10)
#define PIECE_SIZE		   (128 << 10)
#define LEVEL			   3
#define BOMB_FREE_BYTES		   (16LL << 20)
#define BOMB_RATIO		   256
#define SAVES_ENOUGH(stored, size) ((stored) <= (size) - (size) / 10)

CM_DEFINE_CLEANUP(zstd_cctx, ZSTD_CCtx, ZSTD_freeCCtx);

static ssize_t source_read(const struct cm_source *src, void *buf, size_t len,
			   int64_t offset, struct cm_error *err)
{
	int64_t left = src->size - offset;

	if (left <= 0)
		return 0;
	if ((int64_t)len > left)
		len = (size_t)left;
	if (!src->memory)
		return cm_bytes_read(src->fd, buf, len, offset, err);
	memcpy(buf, (const char *)src->memory + offset, len);
	return (ssize_t)len;
}

bool cm_compress_pays(const struct cm_source *src)
{
	cm_autofree char *in = malloc(PROBE_SIZE);
	cm_autofree char *out = malloc(ZSTD_compressBound(PROBE_SIZE));
	ssize_t n;
	size_t stored;

	if (!in || !out)
		return false;
	n = source_read(src, in, PROBE_SIZE, 0, NULL);
	if (n <= 0)
		return false;
	stored = ZSTD_compress(out, ZSTD_compressBound(PROBE_SIZE), in,
			       (size_t)n, LEVEL);
	return !ZSTD_isError(stored) && SAVES_ENOUGH((ssize_t)stored, n);
}

static int new_cctx(int64_t size, ZSTD_CCtx **ret, struct cm_error *err)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (!c)
		return cm_error_nomem(err);
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, CM_STORED_WINDOW_LOG);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	ZSTD_CCtx_setPledgedSrcSize(c, (unsigned long long)size);
	*ret = c;
	return 0;
}

/* Feeds one piece through the compressor and writes what comes out. */
static int compress_piece(ZSTD_CCtx *c, ZSTD_inBuffer *in, bool last, void *buf,
			  int out_fd, int64_t *at, struct cm_error *err)
{
	ZSTD_EndDirective mode = last ? ZSTD_e_end : ZSTD_e_continue;
	ZSTD_outBuffer out;
	size_t left;
	int r;

	do {
		out = (ZSTD_outBuffer){buf, PIECE_SIZE, 0};
		left = ZSTD_compressStream2(c, &out, in, mode);
		if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
			return cm_error_nomem(err);
		if (ZSTD_isError(left))
			return cm_error_set(err, CM_ERR_INTERNAL, "zstd: %s",
					    ZSTD_getErrorName(left));
		r = cm_bytes_write(out_fd, buf, out.pos, *at, err);
		if (r < 0)
			return r;
		*at += (int64_t)out.pos;
	} while (last ? left > 0 : in->pos < in->size);
	return 0;
}

int cm_compress_file(const struct cm_source *src, int out_fd, int64_t *ret_size,
		     struct cm_error *err)
{
	cm_auto(zstd_cctx) ZSTD_CCtx *c = NULL;
	cm_autofree char *buf = malloc(PIECE_SIZE);
	cm_autofree char *out = malloc(PIECE_SIZE);
	int64_t offset = 0, written = 0;
	ZSTD_inBuffer in;
	ssize_t n;
	int r;

	if (!buf || !out)
		return cm_error_nomem(err);
	r = new_cctx(src->size, &c, err);
	while (r == 0 && offset < src->size) {
		n = source_read(src, buf, PIECE_SIZE, offset, err);
		if (n <= 0)
			return n < 0 ? (int)n
				     : cm_error_set(err, CM_ERR_IO,
						    "a blob's file ends early");
		offset += n;
		in = (ZSTD_inBuffer){buf, (size_t)n, 0};
		r = compress_piece(c, &in, offset == src->size, out, out_fd,
				   &written, err);
	}
	if (r < 0)
		return r;
	*ret_size = written;
	if (!SAVES_ENOUGH(written, src->size))
		return cm_error_set(err, CM_ERR_SIZE,
				    "compression saves less "
				    "than a tenth");
	return 0;
}

/* ---- decoding ---------------------------------------------------------- */

struct cm_decoder {
	struct cm_source src;
	ZSTD_DCtx *dctx;
	char *piece;
	ZSTD_inBuffer in;
	int64_t offset; /* of the source, read so far */
	bool ended;
};

int cm_decoder_new(const struct cm_source *src, int window_log_max,
		   struct cm_decoder **ret, struct cm_error *err)
{
	struct cm_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return cm_error_nomem(err);
	d->src = *src;
	d->dctx = ZSTD_createDCtx();
	d->piece = malloc(PIECE_SIZE);
	if (!d->dctx || !d->piece) {
		cm_decoder_free(d);
		return cm_error_nomem(err);
	}
	ZSTD_DCtx_setParameter(d->dctx, ZSTD_d_windowLogMax, window_log_max);
	*ret = d;
	return 0;
}

void cm_decoder_free(struct cm_decoder *d)
{
	if (!d)
		return;
	ZSTD_freeDCtx(d->dctx);
	free(d->piece);
	free(d);
}

static int refill(struct cm_decoder *d, struct cm_error *err)
{
	ssize_t n = source_read(&d->src, d->piece, PIECE_SIZE, d->offset, err);

	if (n < 0)
		return (int)n;
	if (n == 0)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "the zstd frame is cut off");
	d->offset += n;
	d->in = (ZSTD_inBuffer){d->piece, (size_t)n, 0};
	return 0;
}

ssize_t cm_decoder_read(struct cm_decoder *d, void *buf, size_t len,
			struct cm_error *err)
{
	ZSTD_outBuffer out = {buf, len, 0};
	size_t left, before;
	int r;

	while (!d->ended && out.pos == 0 && len > 0) {
		before = d->in.pos;
		left = ZSTD_decompressStream(d->dctx, &out, &d->in);
		if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
			return cm_error_nomem(err);
		if (ZSTD_isError(left))
			return cm_error_set(err, CM_ERR_CORRUPT, "zstd: %s",
					    ZSTD_getErrorName(left));
		if (left == 0) {
			d->ended = true;
		} else if (out.pos == 0 && d->in.pos == before) {
			r = refill(d, err);
			if (r < 0)
				return r;
		}
	}
	return (ssize_t)out.pos;
}

bool cm_decoder_exhausted(const struct cm_decoder *d)
{
	return d->ended && d->in.pos == d->in.size && d->offset == d->src.size;
}

static int hash_plain(const struct cm_source *src, struct cm_hasher *h,
		      char *buf, struct cm_error *err)
{
	int64_t at = 0;
	ssize_t n = 0;
	int r = 0;

	while (r == 0 && (n = source_read(src, buf, PIECE_SIZE, at, err)) > 0) {
		r = cm_hasher_update(h, buf, (size_t)n, err);
		at += n;
	}
	return r < 0 ? r : n < 0 ? (int)n : 0;
}

static int hash_frame(const struct cm_source *src, struct cm_hasher *h,
		      char *buf, struct cm_error *err)
{
	cm_auto(decoder) struct cm_decoder *d = NULL;
	ssize_t n = 0;
	int r = cm_decoder_new(src, CM_ZSTD_WINDOW_LOG_MAX, &d, err);

	if (r < 0)
		return r;
	while (r == 0 && (n = cm_decoder_read(d, buf, PIECE_SIZE, err)) > 0)
		r = cm_hasher_update(h, buf, (size_t)n, err);
	return r < 0 ? r : n < 0 ? (int)n : 0;
}

int cm_source_digest(const struct cm_source *src, bool frame,
		     enum cm_algorithm algorithm, struct cm_any_digest *ret,
		     struct cm_error *err)
{
	cm_auto(hasher) struct cm_hasher *h = NULL;
	cm_autofree char *buf = malloc(PIECE_SIZE);
	int r = buf ? cm_hasher_new_of(algorithm, &h, err)
		    : cm_error_nomem(err);

	if (r == 0)
		r = frame ? hash_frame(src, h, buf, err)
			  : hash_plain(src, h, buf, err);
	return r < 0 ? r : cm_hasher_final_any(h, ret, err);
}

/* The client's side of a bad frame: its input, not our data. */
static int blame_client(struct cm_error *err)
{
	if (err && err->status == CM_ERR_CORRUPT) {
		err->status = CM_ERR_INVALID;
		cm_error_wrap(err, "body is no zstd frame that can be read");
		return CM_ERR_INVALID;
	}
	return err ? err->status : CM_ERR_INVALID;
}

static int read_header(const struct cm_source *src, ZSTD_frameHeader *ret,
		       struct cm_error *err)
{
	char head[ZSTD_FRAMEHEADERSIZE_MAX];
	ssize_t n = source_read(src, head, sizeof(head), 0, err);

	if (n < 0)
		return (int)n;
	if (ZSTD_getFrameHeader(ret, head, (size_t)n) != 0 ||
	    ret->frameType != ZSTD_frame)
		return cm_error_set(err, CM_ERR_INVALID,
				    "body does not begin with a zstd frame, "
				    "though Content-Encoding says zstd");
	if (ret->windowSize > 1ULL << CM_ZSTD_WINDOW_LOG_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the zstd frame's window is %llu bytes; at "
				    "most 8 MiB are allowed (RFC 9659)",
				    ret->windowSize);
	return 0;
}

static int64_t content_limit(int64_t frame_size)
{
	int64_t limit = CM_BLOB_MAX;

	if (frame_size < CM_BLOB_MAX / BOMB_RATIO)
		limit = frame_size * BOMB_RATIO;
	return limit > BOMB_FREE_BYTES ? limit : BOMB_FREE_BYTES;
}

/* Decodes to the end, hashing, and writing if asked. */
static int drain(struct cm_decoder *d, struct cm_hasher *h, int out_fd,
		 int64_t limit, int64_t *ret_size, struct cm_error *err)
{
	cm_autofree char *buf = malloc(PIECE_SIZE);
	int64_t size = 0;
	ssize_t n = 0;
	int r = 0;

	if (!buf)
		return cm_error_nomem(err);
	while (r == 0) {
		n = cm_decoder_read(d, buf, PIECE_SIZE, err);
		if (n <= 0)
			break;
		if (size + n > limit)
			return cm_error_set(err, CM_ERR_SIZE,
					    "the zstd frame decodes to more "
					    "than %lld bytes, too much for its "
					    "size",
					    (long long)limit);
		r = cm_hasher_update(h, buf, (size_t)n, err);
		if (r == 0 && out_fd >= 0)
			r = cm_bytes_write(out_fd, buf, (size_t)n, size, err);
		size += n;
	}
	if (r < 0)
		return r;
	if (n < 0)
		return blame_client(err);
	*ret_size = size;
	return 0;
}

int cm_frame_check(const struct cm_source *src, int out_fd,
		   struct cm_frame *ret, struct cm_error *err)
{
	cm_auto(decoder) struct cm_decoder *d = NULL;
	cm_auto(hasher) struct cm_hasher *h = NULL;
	struct cm_error own = {0};
	ZSTD_frameHeader header;
	int r;

	if (!err)
		err = &own;
	r = read_header(src, &header, err);
	if (r == 0)
		r = cm_decoder_new(src, CM_ZSTD_WINDOW_LOG_MAX, &d, err);
	if (r == 0)
		r = cm_hasher_new(&h, err);
	if (r == 0)
		r = drain(d, h, out_fd, content_limit(src->size), &ret->size,
			  err);
	if (r < 0)
		return r;
	if (!cm_decoder_exhausted(d))
		return cm_error_set(err, CM_ERR_INVALID,
				    "body goes on behind its one zstd frame");
	ret->keep = header.windowSize <= 1ULL << CM_STORED_WINDOW_LOG &&
		    header.dictID == 0 && SAVES_ENOUGH(src->size, ret->size);
	return cm_hasher_final(h, &ret->digest, err);
}
