/*
 * source.h - one file being read for a save: opened without following a link,
 * its holes left out, and told apart from one that changes meanwhile.
 */
#ifndef CM_ENGINE_SOURCE_H
#define CM_ENGINE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cachemount/error.h>

#include "root.h"
#include "tree.h"

struct cm_source {
	int fd;
	struct stat st; /* as it was opened */
	bool sparse;
	struct cm_extent *extents; /* of a sparse file; malloc()ed */
	size_t extents_len;
	int64_t stored; /* bytes outside the holes */
	size_t extent;	/* where reading stands */
	int64_t done;	/* bytes of that extent already read */
};

/*
 * Opens a regular file. `look_for_holes` where the scan saw too few blocks.
 * -1 with errno: gone, forbidden, no regular file (EISDIR), or with more
 * extents than a tree holds (EFBIG). Caller closes with cm_source_close().
 */
int cm_source_open(struct cm_dir_cache *dirs, const char *path, size_t len,
		   bool look_for_holes, struct cm_source *ret);
void cm_source_close(struct cm_source *s);

/*
 * Waits until a change of the file would show in its ctime, which may take a
 * clock's tick if it has just been written. 0, or -1 with errno.
 */
int cm_source_settle(struct cm_source *s);

/*
 * Reads up to `n` of the bytes outside the holes, in order. 0 at their end,
 * or where the file was cut short meanwhile; -1 with errno.
 */
ssize_t cm_source_read(struct cm_source *s, void *buf, size_t n);

/* Is the file still, by what stat tells, as it was when opened? */
bool cm_source_unchanged(const struct cm_source *s);

/*
 * Writes what was read to the entry: mode, owner, mtime, size, extents and
 * xattrs, the latter two into `arena`. `path`, `hlink`, `chunk`, `offset` are
 * left as they are.
 */
int cm_source_describe(const struct cm_source *s, struct cm_arena *arena,
		       struct cm_entry *e, struct cm_error *err);

#endif
