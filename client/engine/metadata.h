/*
 * metadata.h - setting what an entry says of itself. Used by the writer only.
 *
 * What the machine does not allow (owners in a user namespace, xattrs on a
 * file system without them) is warned about once and left.
 */
#ifndef CM_ENGINE_METADATA_H
#define CM_ENGINE_METADATA_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include <cachemount/error.h>

#include "tree.h"
#include "writer.h"

/* Nanoseconds since 1970, also before. */
struct timespec cm_ns_timespec(int64_t ns);

/* The mode it gets: setuid and setgid only if they are allowed. */
mode_t cm_entry_disk_mode(const struct cm_job *j, const struct cm_entry *e);

/* Owner, if we may give files away; `flags` as of fchownat(). */
int cm_set_owner(struct cm_writer *w, int dir, const char *name, int flags,
		 const struct cm_entry *e, struct cm_error *err);

/* The entry's xattrs and, unless `fresh`, no others of the namespace. */
int cm_set_xattrs(struct cm_writer *w, int fd, const struct cm_entry *e,
		  bool fresh, struct cm_error *err);

/* All of it, where it differs. `fresh`: it has just been made by us. */
int cm_set_metadata(struct cm_writer *w, int fd, const struct cm_entry *e,
		    bool fresh, struct cm_error *err);

#endif
