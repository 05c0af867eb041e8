/*
 * job.h - one restore or save on its way: the caller's options, the result
 * that is filled in, and who is told of progress and oddities.
 */
#ifndef CM_ENGINE_JOB_H
#define CM_ENGINE_JOB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <cachemount/error.h>

#include "../snapshot.h"
#include "tree.h"

struct cm_job {
	const struct cm_snapshot_options *o;
	struct cm_snapshot_result *result;
	unsigned threads; /* that transfer and pack, one connection each */
	struct cm_tree_limits limits;
	int64_t started_ms;
	struct cm_remote_traffic before; /* of the remote, at the start */

	pthread_mutex_t lock; /* of all below, and of the callbacks */
	struct cm_progress progress;
	int64_t told_ms;
	unsigned warnings;
};

/* Fills in what the options leave open; zeroes the result. */
void cm_job_init(struct cm_job *j, const char *verb,
		 const struct cm_snapshot_options *o,
		 struct cm_snapshot_result *result);

/*
 * Writes time and traffic to the result, and tells how many warnings went
 * untold. Traffic is the remote's since the job's start: jobs that run at once
 * on one remote count each other's.
 */
void cm_job_finish(struct cm_job *j);

/* One line about something left out or odd; after twenty only counted. */
void cm_job_warn(struct cm_job *j, const char *fmt, ...) CM_PRINTF(2, 3);

/* Sets what there is to do in all. */
void cm_job_expect(struct cm_job *j, int64_t files, int64_t bytes);

/* Adds to what is done, and tells, at most ten times a second. */
void cm_job_progress(struct cm_job *j, int64_t files, int64_t bytes);

/* A path fit to be shown in one line: control characters as "?". */
#define CM_SHOWN_SIZE 200
const char *cm_shown(const char *path, char out[static CM_SHOWN_SIZE]);

#endif
