/*
 * state.h - what the client remembers of a mount between two runs, inside the
 * mount itself: the snapshot last restored or published, and for each entry
 * what it looked like on disk then (.cachectl/state).
 *
 * The file is this machine's own: native byte order and sizes, a version and a
 * SHA-256 over all of it. Whatever is odd about it makes it unknown, never a
 * failure: the next save then reads every file once.
 *
 * It is written to a temporary name and renamed, without fsync: after a crash
 * the ctimes and sizes on disk tell which entries it is still right about.
 */
#ifndef CM_ENGINE_STATE_H
#define CM_ENGINE_STATE_H

#include <stdbool.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>

#include "scan.h"
#include "tree.h"

struct cm_root;

/*
 * A tree together with the disk under it. For each entry of `tree`, `disk`
 * tells what lay at its path when disk and tree were last compared:
 *
 *	flags 0, id known	the disk holds the entry
 *	flags 0, id unknown	the disk holds something that needs a look
 *	CM_ENTRY_STALE		the disk holds an older version; not ours to
 *				publish again, and to be replaced by a restore
 *	CM_ENTRY_ABSENT		merged in from another builder's snapshot and
 *				never put on this disk, so not deleted here
 *	CM_ENTRY_GHOST		not in the tree: deleted by another builder,
 *				still on this disk
 */
struct cm_state {
	struct cm_digest manifest; /* of the snapshot that is `tree` */
	char *repo;
	char *tag;
	struct cm_tree *tree;
	struct cm_disk_id *disk; /* one for each entry */
	void *file;		 /* what the tree's paths point into, or NULL */
};

/* Takes over `tree`; `disk` is zeroed. Caller frees with cm_state_free(). */
int cm_state_new(struct cm_tree *tree, struct cm_state **ret,
		 struct cm_error *err);
void cm_state_free(struct cm_state *s);

CM_DEFINE_CLEANUP(state, struct cm_state, cm_state_free);

/* Says what snapshot it is of. */
int cm_state_name(struct cm_state *s, const char *repo, const char *tag,
		  const struct cm_digest *manifest, struct cm_error *err);

/*
 * Reads the mount's state. CM_ERR_NOT_FOUND if there is none,
 * CM_ERR_UNSUPPORTED if it is of another version, CM_ERR_CORRUPT if it is not
 * what was written; other errors are the disk's.
 */
int cm_state_load(const struct cm_root *m, struct cm_state **ret,
		  struct cm_error *err);

/* Replaces the mount's state. */
int cm_state_save(const struct cm_root *m, const struct cm_state *s,
		  struct cm_error *err);

/* The file's bytes to a state and back: for the two above, and for tests. */
int cm_state_decode(void *bytes, size_t len, struct cm_state **ret,
		    struct cm_error *err);
int cm_state_encode(const struct cm_state *s, void **ret, size_t *ret_len,
		    struct cm_error *err);

#endif
