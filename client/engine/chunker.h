/*
 * chunker.h - where content is cut into chunks, decided by the content itself,
 * so that two builders who hold nearly the same bytes cut nearly the same
 * chunks (FastCDC: a gear hash, normalised around the average).
 *
 * Large files are cut by a rolling hash over their bytes. Small files share
 * chunks; there a cut falls only between two files, so that a restore of a
 * file needs one chunk, and is decided from the file before it.
 *
 * The constants are no part of the format: a reader takes any chunks. Changing
 * them costs every builder one upload of everything.
 */
#ifndef CM_ENGINE_CHUNKER_H
#define CM_ENGINE_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file of this size or more gets chunks of its own. */
#define CM_LARGE_FILE (1 << 20)

struct cm_chunk_sizes {
	size_t min, average, max; /* bytes */
};

/*
 * 256 KiB, 1 MiB, 4 MiB; up to four times that for a tree of so many bytes
 * that the manifest would grow out of bounds. It does beyond about 200 GB.
 */
void cm_chunk_sizes_for(int64_t bytes, struct cm_chunk_sizes *ret);

/* The cutter of one large file's bytes. */
struct cm_chunker {
	struct cm_chunk_sizes sizes;
	uint64_t gear[256];
	uint64_t mask_strict, mask_lax; /* before and behind the average */
	uint64_t hash;
	size_t at; /* bytes of the current chunk already looked at */
};

void cm_chunker_init(struct cm_chunker *c, const struct cm_chunk_sizes *sizes);

/* Starts on the bytes of another file. */
void cm_chunker_restart(struct cm_chunker *c);

/*
 * `data` is the current chunk as far as it is known, `len` bytes from its
 * start; on each call it has grown. Returns the chunk's length once it is
 * decided, and starts the next chunk; else 0. A `len` of the maximum or more
 * always decides.
 */
size_t cm_chunker_cut(struct cm_chunker *c, const uint8_t *data, size_t len);

/* Should the chunk of `filled` bytes end behind this small file's bytes? */
bool cm_chunker_ends_pack(const struct cm_chunk_sizes *sizes, size_t filled,
			  const uint8_t *file, size_t file_len);

#endif
