/*
 * engine_tree.h - directories for tests of the snapshot engine: making them,
 * changing them, and comparing two by content and metadata.
 */
#ifndef CM_TEST_ENGINE_TREE_H
#define CM_TEST_ENGINE_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"

/* A new directory under TMPDIR. Removed with scratch_free(). */
char *scratch_new(void);
void scratch_free(char *dir);

/* "dir/name"; freed with scratch_free()'s process, that is never: tests. */
const char *at(const char *dir, const char *name);

void make_dir(const char *path, unsigned mode);
/* A file of `size` bytes that depend on `seed`, compressible. */
void make_file(const char *path, size_t size, unsigned seed);
void make_text(const char *path, const char *text);
void set_mtime(const char *path, int64_t ns);
int exists(const char *path);

/* A tree of `n` files in several directories, of mixed sizes. */
void make_files(const char *dir, unsigned n, unsigned seed);

/*
 * All of `dir` as text, one line an entry: type, mode, owner, size, mtime,
 * link target, xattrs, inode groups and a digest of the content; .cachectl left
 * out. Caller frees.
 */
char *describe(const char *dir);

/* Fails the test unless both directories are the same in all of that. */
void assert_same_dirs(const char *a, const char *b);

/* Options for saving and restoring `path` as main/test:t. */
struct cm_snapshot_options options_for(struct cm_remote *r, const char *path);

/* Save or restore, which must succeed. */
struct cm_snapshot_result do_save(const struct cm_snapshot_options *o);
struct cm_snapshot_result do_restore(const struct cm_snapshot_options *o);

/* How many warnings came since the last call, and the last of them. */
int warnings_seen(void);
const char *last_warning(void);

#endif
