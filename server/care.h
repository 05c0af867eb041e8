/*
 * care.h - the server's long-term work on the store, on two threads of the
 * lowest I/O priority: the scrub, held to a rate, with the quarantine's bounds;
 * and backups of the index, when they are due or asked for.
 *
 * Counters that are kept in the store, over restarts:
 *
 *	scrub_blobs, scrub_bytes	read again and hashed
 *	scrub_damaged			found damaged, and in quarantine now
 *	scrub_unreadable		the disk refused to read them
 *	scrub_rounds			that came to their end
 *	backups, backups_failed
 */
#ifndef CM_SERVER_CARE_H
#define CM_SERVER_CARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

struct cm_backup_status;
struct cm_care;
struct cm_store;

struct cm_care_options {
	struct cm_store
		*store;	    /* borrowed until cm_care_stop() returned true */
	int64_t scrub_rate; /* bytes a second; 0: no scrub */
	int64_t scrub_every_ms;
	int64_t backup_every_ms; /* 0: only when asked for */
	int64_t backup_keep;
};

/*
 * Is it time for another backup? A clock that was set back must not put one off
 * until it has caught up.
 */
bool cm_care_backup_due(const struct cm_backup_status *status, int64_t every_ms,
			int64_t now_ms);

/* Starts both threads. Caller ends them with cm_care_stop(). */
int cm_care_start(const struct cm_care_options *options, struct cm_care **ret,
		  struct cm_error *err);

/*
 * Ends the threads and frees. False if the disk holds one up for longer than a
 * few seconds: nothing is freed then, and the store must not be closed. NULL is
 * legal.
 */
bool cm_care_stop(struct cm_care *c);

#endif
