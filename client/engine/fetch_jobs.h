/*
 * fetch_jobs.h - the files of a restore dealt out as jobs, each of which one
 * thread does on its own. Used by fetch.c only.
 *
 * A pack is one chunk and all files that lie in it whole. A file that runs
 * through several chunks is dealt out in parts, behind one another, so that at
 * any time only as many files are open as there are threads, and one.
 */
#ifndef CM_ENGINE_FETCH_JOBS_H
#define CM_ENGINE_FETCH_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

#include "plan.h"
#include "tree.h"
#include "writer.h"

/* A file that runs through several chunks. */
struct cm_long_file {
	uint32_t entry;
	uint32_t last_chunk;
	uint32_t parts_left; /* the one who does the last part commits */
	bool claimed;	     /* somebody is making it */
	struct cm_temp temp; /* made by the one who does the first */
};

struct cm_fetch_job {
	struct cm_long_file *file; /* NULL: a pack */
	uint32_t from,
		to; /* chunks of the file's part, or places in `packed` */
};

struct cm_fetch_jobs {
	uint32_t *packed; /* entries, by chunk and offset */
	size_t packed_len;
	struct cm_long_file *files;
	size_t files_len;
	struct cm_fetch_job *jobs;
	size_t len, cap;
	uint32_t chunk_max; /* bytes of the largest chunk needed */
};

int cm_fetch_jobs_make(const struct cm_tree *t, const struct cm_plan *plan,
		       struct cm_fetch_jobs *ret, struct cm_error *err);
void cm_fetch_jobs_release(struct cm_fetch_jobs *jobs);

#endif
