/*
 * writer.h - making entries on disk. What belongs into a directory that is
 * there gets a temporary name in .cachectl/tmp, and is renamed into place when
 * it is complete with metadata; what belongs into a fresh one is made in the
 * stage, which is moved into place when all of it is. So nobody ever sees half
 * a file under its own name, and a link or file that is in its place is
 * replaced, not written through.
 */
#ifndef CM_ENGINE_WRITER_H
#define CM_ENGINE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cachemount/error.h>

#include "job.h"
#include "root.h"
#include "scan.h"
#include "stage.h"
#include "tree.h"

/* One thread's. */
struct cm_writer {
	struct cm_job *job;
	const struct cm_root *mount;
	struct cm_stage *stage; /* NULL: all is in place */
	struct cm_dir_cache dirs, staged_dirs;
	int tmp;	 /* .cachectl/tmp, borrowed */
	unsigned number; /* of its directory in there */
	unsigned made;	 /* temporary names given out */
	bool warned_owner, warned_xattr;
};

#define CM_TEMP_NAME_SIZE 32

/* A file that has no name in the tree yet. */
struct cm_temp {
	int fd;			      /* -1: none */
	int dir;		      /* .cachectl/tmp */
	char name[CM_TEMP_NAME_SIZE]; /* in it; empty: it is in the stage */
};

/*
 * `tmp` is .cachectl/tmp, which must stay open, as must the stage; the writer
 * makes the directory `number` in it.
 */
int cm_writer_init(struct cm_writer *w, struct cm_job *j,
		   const struct cm_root *m, struct cm_stage *stage, int tmp,
		   unsigned number, struct cm_error *err);
void cm_writer_release(struct cm_writer *w);

/* Makes an empty file that will be `e`; its directory must be there. */
int cm_writer_create(struct cm_writer *w, const struct cm_entry *e,
		     struct cm_temp *ret, struct cm_error *err);

/*
 * Writes `len` bytes that stand at `at` in the stored bytes of `e`, which for
 * a sparse file are those of its extents.
 */
int cm_temp_write(const struct cm_temp *t, const struct cm_entry *e, int64_t at,
		  const void *bytes, size_t len, struct cm_error *err);

/*
 * Gives the file its size and metadata and its place. Any writer may, not only
 * the one that created it. Fills `*ret_id`; the temporary is used up.
 */
int cm_writer_commit(struct cm_writer *w, struct cm_temp *t,
		     const struct cm_entry *e, struct cm_disk_id *ret_id,
		     struct cm_error *err);

/* Drops a temporary that will not be committed. */
void cm_temp_drop(struct cm_temp *t);

/* Makes a symbolic link or a fifo. */
int cm_writer_special(struct cm_writer *w, const struct cm_entry *e,
		      struct cm_disk_id *ret_id, struct cm_error *err);

/* Makes `e` another name of the file at `carrier`. */
int cm_writer_link(struct cm_writer *w, const struct cm_entry *carrier,
		   const struct cm_entry *e, struct cm_error *err);

/* Makes a fresh directory, in the stage. */
int cm_writer_mkdir(struct cm_writer *w, const struct cm_entry *e,
		    struct cm_error *err);

/* Moves the stage into place; from then on paths are the mount's. */
int cm_writer_settle(struct cm_writer *w, struct cm_error *err);

/*
 * Gives a file or directory that is there the entry's metadata. `fresh`: it
 * was made by this restore.
 */
int cm_writer_metadata(struct cm_writer *w, const struct cm_entry *e,
		       bool fresh, struct cm_disk_id *ret_id,
		       struct cm_error *err);

/* What is at the entry's path now. */
int cm_writer_look(struct cm_writer *w, const struct cm_entry *e,
		   struct cm_disk_id *ret_id, struct cm_error *err);

#endif
