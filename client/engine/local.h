/*
 * local.h - the disk against what it was last known to hold.
 */
#ifndef CM_ENGINE_LOCAL_H
#define CM_ENGINE_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "job.h"
#include "scan.h"
#include "state.h"

struct cm_root;

#define CM_NO_INDEX UINT32_MAX

/*
 * Our side of a merge. Entries that are as they were are the base's, chunk
 * and offset included; others are marked CM_ENTRY_CHANGED and described from
 * the disk. The tree's chunks are the base's. Its strings belong to the base
 * and the scan, which must outlive it.
 */
struct cm_local {
	struct cm_state *ours;
	uint32_t *base_of;	 /* index in the base, or CM_NO_INDEX */
	uint32_t *scan_of;	 /* index in the scan, or CM_NO_INDEX */
	size_t changed;		 /* entries to publish that the base lacks so */
	size_t deleted;		 /* entries of the base that the disk lacks */
	int64_t latest_ctime_ns; /* of the changed ones */
};

/*
 * Compares. `base` NULL: nothing is known of the mount. With `deep`, links are
 * read, xattrs of directories too, and what is out of a snapshot's reach
 * (sockets, devices, unreadable directories) is warned about and counted;
 * files are marked CM_ENTRY_UNREAD. Without, everything changed is. Caller
 * frees with cm_local_free().
 */
int cm_local_diff(struct cm_job *j, const struct cm_root *m,
		  const struct cm_state *base, const struct cm_scan *scan,
		  bool deep, struct cm_local **ret, struct cm_error *err);
void cm_local_free(struct cm_local *l);

CM_DEFINE_CLEANUP(local, struct cm_local, cm_local_free);

/*
 * Reads the xattrs of the namespace "user" that `fd` has, sorted by name, into
 * `arena`: `*ret` is NULL and `*ret_n` 0 if there are none or the file system
 * knows none. Those that a tree can't hold are left out.
 */
int cm_read_xattrs(int fd, struct cm_arena *arena, const struct cm_xattr **ret,
		   size_t *ret_n, struct cm_error *err);

#endif
