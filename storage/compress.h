/*
 * compress.h - zstd at rest (design §4). Private to storage/.
 *
 * Frames made here have a window of at most 1 MiB, so that a reader costs
 * about that much memory whatever the blob's size.
 */
#ifndef CM_COMPRESS_H
#define CM_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

#define CM_STORED_WINDOW_LOG 20

/* Where bytes come from: at most `len` at `offset`; the number, 0: end, <0. */
struct cm_source {
	const void *memory; /* or NULL, then */
	int fd;
	int64_t size; /* bytes in all */
};

/*
 * Would zstd save a tenth or more? Judged by the first 128 KiB. An error of
 * reading or of memory counts as no.
 */
bool cm_compress_pays(const struct cm_source *src);

/*
 * Compresses all of `src` into one frame at `out_fd`. CM_ERR_SIZE if that
 * turns out to save less than a tenth.
 */
int cm_compress_file(const struct cm_source *src, int out_fd, int64_t *ret_size,
		     struct cm_error *err);

/* What a frame that a client sent turned out to hold. */
struct cm_frame {
	struct cm_digest digest; /* of the decoded bytes */
	int64_t size;		 /* of the decoded bytes */
	bool keep;		 /* small window, saves a tenth: store as is */
};

/*
 * Decodes a client's frame to the end and hashes it; with `out_fd` not -1 the
 * decoded bytes are written there. Refuses (CM_ERR_INVALID) anything but one
 * whole frame, a window beyond 8 MiB, and (CM_ERR_SIZE) content beyond
 * CM_BLOB_MAX or beyond 256 times the frame (16 MiB are always allowed).
 */
int cm_frame_check(const struct cm_source *src, int out_fd,
		   struct cm_frame *ret, struct cm_error *err);

/*
 * The digest of all of the content of `src`, by `algorithm`. With `frame` the
 * source is one zstd frame, checked before, and the content what it decodes to.
 */
int cm_source_digest(const struct cm_source *src, bool frame,
		     enum cm_algorithm algorithm, struct cm_any_digest *ret,
		     struct cm_error *err);

/* Reads the content of a stored frame piece by piece. */
struct cm_decoder;

int cm_decoder_new(const struct cm_source *src, int window_log_max,
		   struct cm_decoder **ret, struct cm_error *err);
void cm_decoder_free(struct cm_decoder *d);

CM_DEFINE_CLEANUP(decoder, struct cm_decoder, cm_decoder_free);

/*
 * The next bytes of the content, at most `len`: the number, 0 at the end of
 * the frame, or a negative status (CM_ERR_CORRUPT: damaged or cut off).
 */
ssize_t cm_decoder_read(struct cm_decoder *d, void *buf, size_t len,
			struct cm_error *err);

/* After the end: have all bytes of the source been consumed? */
bool cm_decoder_exhausted(const struct cm_decoder *d);

#endif
