/*
 * state_format.h - the bytes of .cachectl/state, known to state_read.c and
 * state_write.c only:
 *
 *	header | chunks | records | pool
 *
 * The pool holds what has no fixed size. A place in it is an offset from its
 * start; every text in it ends with a NUL.
 */
#ifndef CM_ENGINE_STATE_FORMAT_H
#define CM_ENGINE_STATE_FORMAT_H

#include <stdint.h>

#include "scan.h"
#include "tree.h"

#define CM_STATE_MAGIC	    "cmstate\n"
#define CM_STATE_VERSION    1
#define CM_STATE_BYTE_ORDER 0x01020304
#define CM_STATE_FILE_MAX   (4LL << 30)

struct cm_state_header {
	char magic[8];
	uint32_t version;
	uint32_t byte_order;
	struct cm_digest checksum; /* of all bytes behind this field */
	struct cm_digest manifest;
	uint64_t chunks_len, records_len, pool_len;
	uint32_t repo_len, tag_len; /* at the pool's start, in this order */
};

struct cm_state_record {
	uint64_t path;	/* in the pool */
	uint64_t extra; /* of a cm_state_extra in the pool, or 0 */
	uint32_t path_len;
	uint16_t mode;
	uint8_t type;
	uint8_t flags;
	uint32_t uid, gid;
	uint32_t hlink, chunk, offset;
	uint32_t reserved;
	int64_t mtime_ns, size;
	struct cm_disk_id disk;
};

/* Followed, unaligned, by target and NUL, xattrs, and extents. */
struct cm_state_extra {
	uint32_t target_len; /* 0: no target */
	uint32_t xattrs_len;
	uint32_t extents_len;
	uint32_t sparse;
};

/* Followed by the name and a NUL, and the value. */
struct cm_state_xattr {
	uint32_t name_len, value_len;
};

/* Bytes of `n` chunks, filled up so that the records are aligned. */
static inline size_t cm_state_chunks_size(size_t n)
{
	return (n * sizeof(struct cm_chunk) + 7) & ~(size_t)7;
}

#define CM_STATE_CHECKED_FROM                                                  \
	(offsetof(struct cm_state_header, checksum) + sizeof(struct cm_digest))

#endif
