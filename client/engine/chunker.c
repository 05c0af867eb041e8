/* chunker.c - content-defined cutting. */
#include <string.h>

#include "chunker.h"
#include "tree.h"

#define AVERAGE (1 << 20)
/*
 * The server takes a zstd frame of up to 16 MiB of content however small it
 * is; beyond, a chunk of zeros would look like a bomb.
 */
#define AVERAGE_MAX	(4 << 20)
#define CHUNKS_AIMED_AT 16384 /* of about 150 bytes in the manifest each */

/* How far the odds are bent towards the average on either side of it, in
 * bits (FastCDC's normalised chunking, level 2). */
#define NORMALISATION 2

void cm_chunk_sizes_for(int64_t bytes, struct cm_chunk_sizes *ret)
{
	size_t average = AVERAGE;

	while (average < AVERAGE_MAX &&
	       (int64_t)average * CHUNKS_AIMED_AT < bytes)
		average *= 2;
	*ret = (struct cm_chunk_sizes){average / 4, average, average * 4};
}

/* splitmix64: a stream of well mixed numbers, the same on every machine. */
static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* A mask that one value of 2^bits passes, of the bits that saw most bytes. */
static uint64_t mask_of(unsigned bits)
{
	return ~(uint64_t)0 << (64 - bits);
}

void cm_chunker_init(struct cm_chunker *c, const struct cm_chunk_sizes *sizes)
{
	uint64_t state = 0;
	unsigned bits = 0;

	memset(c, 0, sizeof(*c));
	c->sizes = *sizes;
	while ((size_t)1 << bits < sizes->average)
		bits++;
	c->mask_strict = mask_of(bits + NORMALISATION);
	c->mask_lax = mask_of(bits - NORMALISATION);
	for (int i = 0; i < 256; i++)
		c->gear[i] = mix(&state);
}

void cm_chunker_restart(struct cm_chunker *c)
{
	c->hash = 0;
	c->at = 0;
}

/* Rolls over data[from, to): the place behind a cut, or 0. */
static size_t roll(struct cm_chunker *c, const uint8_t *data, size_t from,
		   size_t to, uint64_t mask)
{
	uint64_t hash = c->hash;

	for (size_t i = from; i < to; i++) {
		hash = (hash << 1) + c->gear[data[i]];
		if (!(hash & mask)) {
			c->hash = hash;
			return i + 1;
		}
	}
	c->hash = hash;
	return 0;
}

size_t cm_chunker_cut(struct cm_chunker *c, const uint8_t *data, size_t len)
{
	size_t strict_end = len < c->sizes.average ? len : c->sizes.average;
	size_t lax_end = len < c->sizes.max ? len : c->sizes.max;
	size_t cut = 0;

	/* Nothing is cut below the minimum, so it need not be looked at. */
	if (c->at < c->sizes.min)
		c->at = c->sizes.min;
	if (c->at < strict_end)
		cut = roll(c, data, c->at, strict_end, c->mask_strict);
	if (!cut && c->at < strict_end)
		c->at = strict_end;
	if (!cut && c->at < lax_end)
		cut = roll(c, data, c->at, lax_end, c->mask_lax);
	if (!cut && c->at < lax_end)
		c->at = lax_end;
	if (!cut && len >= c->sizes.max)
		cut = c->sizes.max;
	if (cut)
		cm_chunker_restart(c);
	return cut;
}

/*
 * A number that depends on the file's first and last bytes and its size: well
 * enough spread, and cheap beside hashing all of a tree twice.
 */
static uint64_t sample(const uint8_t *file, size_t len)
{
	uint64_t state = len, word;

	for (size_t i = 0; i < 8; i++) {
		word = 0;
		if ((i + 1) * sizeof(word) <= len) {
			memcpy(&word, file + i * sizeof(word), sizeof(word));
			state ^= mix(&word);
			memcpy(&word, file + len - (i + 1) * sizeof(word),
			       sizeof(word));
		}
		state ^= word;
		state = mix(&state);
	}
	return state;
}

bool cm_chunker_ends_pack(const struct cm_chunk_sizes *sizes, size_t filled,
			  const uint8_t *file, size_t file_len)
{
	/*
	 * A cut once in `average` bytes behind the minimum: the longer the
	 * file, the likelier the cut behind it.
	 */
	size_t once_in = sizes->average - sizes->min;

	if (filled < sizes->min)
		return false;
	if (filled >= sizes->max - CM_LARGE_FILE)
		return true;
	return sample(file, file_len) % once_in < file_len;
}
