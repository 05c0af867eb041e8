/*
 * tree.h - one directory tree in memory, and as the JSON lines that a
 * snapshot's config blob holds (design §6).
 *
 * The blob. Lines of JSON in UTF-8, each ended by a newline. The first is
 *
 *	{"cachemount":"tree","version":1}
 *
 * and each other one an entry, its parent directory always before it:
 *
 *	{"path":"bin/pip","type":"file","mode":"755","mtime_ns":1700…,
 *	 "size":212,"chunk":0,"offset":4711}
 *
 *	path	 relative to the mount; path64 instead, base64, where the
 *		 name is not UTF-8
 *	type	 file, dir, symlink or fifo
 *	mode	 permission bits in octal, as text
 *	uid, gid	0 if left out
 *	mtime_ns nanoseconds since 1970
 *	size	 bytes of a file
 *	chunk, offset	where a file's bytes start: number of the layer,
 *		 counted from 0, and offset in it; they run on through the
 *		 following layers. Left out when a file has no bytes.
 *	data	 [[offset,length],…] of a sparse file: only these bytes are in
 *		 the chunks, holes are not
 *	target	 of a symbolic link; target64 if it is not UTF-8
 *	xattrs	 {"user.name":"base64"}; no other namespace is kept
 *	hlink	 number of a hard-link group, counted from 1 in the order of
 *		 first appearance. The first member says everything, each
 *		 other one only path, type and hlink.
 *
 * Unknown keys are ignored, so that a later version can add some; unknown
 * types, doubled keys and versions are refused.
 *
 * Order. By path, comparing bytes, with "/" below every other byte: "a",
 * "a/b", "a-b". So a directory's content follows it at once, which merging and
 * checking live on.
 */
#ifndef CM_ENGINE_TREE_H
#define CM_ENGINE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>

#include "arena.h"

#define CM_TREE_TEXT_MAX    (1LL << 30) /* bytes of a tree blob */
#define CM_TREE_PATH_MAX    32767	/* bytes, without the NUL */
#define CM_TREE_NAME_MAX    255
#define CM_TREE_TARGET_MAX  4095
#define CM_TREE_XATTRS_MAX  64	       /* of one entry */
#define CM_TREE_XATTR_MAX   (64 << 10) /* bytes of one value */
#define CM_TREE_EXTENTS_MAX (1 << 20)  /* of one file */
#define CM_CHUNK_SIZE_MAX   (64 << 20)

/* Ours, in the root of every mount; no tree may hold it. */
#define CM_MOUNT_STATE_DIR ".cachectl"

enum cm_entry_type {
	CM_ENTRY_FILE,
	CM_ENTRY_DIR,
	CM_ENTRY_SYMLINK,
	CM_ENTRY_FIFO,
};

/* What an entry of this machine's mount is, beside what a tree says. */
enum cm_entry_flag {
	CM_ENTRY_CHANGED = 1, /* on disk otherwise than in the base */
	CM_ENTRY_UNREAD = 2,  /* a file whose chunk and offset are not known */
	CM_ENTRY_ABSENT = 4,  /* in the tree, never put on this disk */
	CM_ENTRY_STALE = 8,   /* the disk holds an older version */
	CM_ENTRY_GHOST = 16,  /* on disk, but no longer in the tree */
	CM_ENTRY_MOVED = 32,  /* as in the base, but put into a new chunk */
};

struct cm_extent {
	int64_t offset, len;
};

struct cm_xattr {
	const char *name; /* starts with "user." */
	const void *value;
	size_t len;
};

/* What few entries have. */
struct cm_entry_extra {
	const char *target; /* of a symbolic link, else NULL */
	size_t target_len;
	const struct cm_xattr *xattrs;
	size_t xattrs_len;
	bool sparse; /* then only the extents are stored */
	const struct cm_extent *extents;
	size_t extents_len;
	int64_t stored; /* sum of the extents' lengths */
};

struct cm_entry {
	const char *path; /* with a NUL; owned by the tree or lent to it */
	uint32_t path_len;
	uint16_t mode; /* permission bits, at most 07777 */
	uint8_t type;
	uint8_t flags; /* enum cm_entry_flag; 0 in a tree that was fetched */
	uint32_t uid, gid;
	uint32_t hlink; /* 0: none. Each member of a group has all fields */
	uint32_t chunk, offset;
	int64_t mtime_ns;
	int64_t size;
	const struct cm_entry_extra *extra; /* NULL: none of it */
};

struct cm_chunk {
	struct cm_digest digest;
	uint32_t size;
};

struct cm_tree {
	struct cm_entry *entries;
	size_t len, cap;
	struct cm_chunk *chunks;
	int64_t *starts; /* of each chunk in the stream of all; and its end */
	size_t chunks_len;
	struct cm_arena arena;
	char *text; /* the blob that paths point into, or NULL */
};

/* An empty tree with a copy of `n` chunks. Caller frees with cm_tree_free(). */
int cm_tree_new(const struct cm_chunk *chunks, size_t n, struct cm_tree **ret,
		struct cm_error *err);
void cm_tree_free(struct cm_tree *t);

CM_DEFINE_CLEANUP(tree, struct cm_tree, cm_tree_free);

/* Replaces the chunks by a copy of `n` others; entries are untouched. */
int cm_tree_set_chunks(struct cm_tree *t, const struct cm_chunk *chunks,
		       size_t n, struct cm_error *err);

/*
 * Appends a zeroed entry and returns it; NULL when out of memory. Pointers to
 * earlier entries die.
 */
struct cm_entry *cm_tree_add(struct cm_tree *t);

/* What a tree holds, ghosts left out. */
struct cm_tree_totals {
	int64_t entries;
	int64_t files;	/* regular files, each hard link counted */
	int64_t others; /* symbolic links and fifos */
	int64_t bytes;	/* content of the files, hard links counted once */
};
void cm_tree_totals(const struct cm_tree *t, struct cm_tree_totals *ret);

/* The highest number of a hard-link group; 0 if there is none. */
uint32_t cm_tree_last_group(const struct cm_tree *t);

/*
 * Index of the first entry at or behind `path`, by binary search. It is the
 * path's own if its path equals.
 */
size_t cm_tree_search(const struct cm_tree *t, const char *path, size_t len);

/* ---- paths ----------------------------------------------------------- */

/* <0, 0, >0 in the order of a tree. */
int cm_path_compare(const char *a, size_t a_len, const char *b, size_t b_len);

/* Does `path` lie somewhere beneath `dir`? Not so for `dir` itself. */
bool cm_path_below(const char *dir, size_t dir_len, const char *path,
		   size_t len);

/* Bytes of the parent's path; 0 if that is the mount itself. */
size_t cm_path_parent(const char *path, size_t len);

/* NULL if it may stand in a tree, else why not, as static text. */
const char *cm_path_refuse(const char *path, size_t len);

/* ---- content --------------------------------------------------------- */

/* Bytes that a file has in the chunks: its size, less the holes. */
static inline int64_t cm_entry_stored(const struct cm_entry *e)
{
	if (e->type != CM_ENTRY_FILE)
		return 0;
	return e->extra && e->extra->sparse ? e->extra->stored : e->size;
}

/* The chunk of the last byte; the file must have bytes in the chunks. */
size_t cm_entry_last_chunk(const struct cm_tree *t, const struct cm_entry *e);

/*
 * For qsort_r() on indexes (uint32_t) into the entries at `arg`: by chunk, then
 * by offset, the order in which the files lie in the chunks.
 */
int cm_entry_compare_places(const void *a, const void *b, void *arg);

/* Do two files have the same bytes in the same places of the same chunks? */
bool cm_entry_same_content(const struct cm_tree *at, const struct cm_entry *a,
			   const struct cm_tree *bt, const struct cm_entry *b);

/* Are type, mode, owner, mtime, size, target and xattrs the same? */
bool cm_entry_same_metadata(const struct cm_entry *a, const struct cm_entry *b);

/* ---- the blob -------------------------------------------------------- */

struct cm_tree_limits {
	int64_t max_entries;
	int64_t max_bytes; /* sum of the files' sizes */
};

/*
 * Reads the tree blob `text` (`len` bytes, and room for one more) whose chunks
 * are the `n` at `chunks`. Takes `text` over, also on failure. Refused with
 * the line's number: anything outside the grammar above, a path that is
 * absolute, empty, too long, has a "." or ".." or empty component or is
 * beneath .cachectl; paths out of order or doubled; an entry whose parent is
 * no directory of the tree; bytes outside the chunks; extents that overlap,
 * are out of order or outside the file; totals over the limits.
 * CM_ERR_INVALID, CM_ERR_UNSUPPORTED (version), CM_ERR_SIZE (limits).
 */
int cm_tree_parse(char *text, size_t len, const struct cm_chunk *chunks,
		  size_t n, const struct cm_tree_limits *limits,
		  struct cm_tree **ret, struct cm_error *err);

/*
 * Writes the blob; ghosts are left out. Hard-link groups must be numbered as
 * above and each be of one content. Caller frees `*ret`.
 */
int cm_tree_format(const struct cm_tree *t, char **ret, size_t *ret_len,
		   struct cm_error *err);

/*
 * The rules that an entry must keep whatever it was read from (blob or state
 * file): type and mode in range, size, chunk and extents within bounds and
 * limits, path legal, parent a directory, order. `dirs` is the checker's
 * memory of the directories that are open; see cm_tree_checker.
 */
struct cm_tree_checker {
	const struct cm_tree_limits *limits;
	const char *last; /* the path before, NULL at the start */
	size_t last_len;
	uint32_t *dirs; /* lengths of `last`'s prefixes that are directories */
	size_t dirs_len;
	int64_t entries, bytes;
	uint32_t groups; /* highest hard-link group so far */
	const char *why; /* static text, set on refusal */
	bool too_much;	 /* the refusal is about a limit */
};

int cm_tree_checker_init(struct cm_tree_checker *c,
			 const struct cm_tree_limits *limits,
			 struct cm_error *err);
void cm_tree_checker_release(struct cm_tree_checker *c);

/* Checks the next entry of `t`; false with `why` set if it is refused. */
bool cm_tree_check(struct cm_tree_checker *c, const struct cm_tree *t,
		   const struct cm_entry *e);

#endif
