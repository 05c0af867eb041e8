/*
 * scan.h - what is on disk: a walk over the mount that opens directories and
 * stats names, and reads no file.
 */
#ifndef CM_ENGINE_SCAN_H
#define CM_ENGINE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "arena.h"

struct cm_root;

/*
 * What tells that a file is still the one it was. ctime moves with every
 * change of content, mode, owner or name, and nobody can set it; so mode and
 * owner need not be here.
 */
struct cm_disk_id {
	uint64_t ino; /* 0: unknown, equals nothing */
	int64_t ctime_ns, mtime_ns, size;
};

static inline bool cm_disk_id_equal(const struct cm_disk_id *a,
				    const struct cm_disk_id *b)
{
	return a->ino && a->ino == b->ino && a->ctime_ns == b->ctime_ns &&
	       a->mtime_ns == b->mtime_ns && a->size == b->size;
}

static inline int64_t cm_timespec_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

void cm_disk_id_of(const struct stat *st, struct cm_disk_id *ret);

struct cm_scan_entry {
	const char *path; /* owned by the scan */
	uint32_t path_len;
	uint32_t mode; /* st_mode, type included */
	uint32_t uid, gid;
	uint32_t nlink;
	bool unreadable;   /* a directory whose content is not known */
	int64_t allocated; /* bytes on disk; with holes, less than the size */
	struct cm_disk_id id;
};

struct cm_scan {
	struct cm_scan_entry *entries; /* in tree order */
	size_t len;
	struct cm_arena arena;
};

/*
 * Walks the mount with up to `threads` threads. Leaves out .cachectl, and the
 * content of directories that are other file systems or may not be read, whose
 * entries are marked `unreadable`. CM_ERR_SIZE beyond `max_entries` entries.
 * Caller frees with cm_scan_free().
 */
int cm_scan_mount(const struct cm_root *m, unsigned threads,
		  int64_t max_entries, struct cm_scan **ret,
		  struct cm_error *err);
void cm_scan_free(struct cm_scan *s);

CM_DEFINE_CLEANUP(scan, struct cm_scan, cm_scan_free);

/*
 * Waits until the clock that file systems stamp with has passed `ctime_ns`,
 * so that a later change can't bear the same ctime. At most 50 ms: false if it
 * has not passed by then (a file from the future).
 */
bool cm_wait_past(int64_t ctime_ns);

/* Has it passed already? */
bool cm_clock_is_past(int64_t ctime_ns);

#endif
