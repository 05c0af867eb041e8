/*
 * care.h - keeping a store whole for years: scrub and backup of a store that
 * is open, check and rebuild of a data folder that nobody serves.
 *
 * What a backup holds, and so what a rebuild brings back: repositories, tags,
 * manifests, small blobs (they lie in the index), and for each blob in a file
 * who has it. What was pushed since is a clean miss, what was deleted since is
 * back if its bytes still are; no tag resolves whose blobs are not there.
 */
#ifndef CACHEMOUNT_CARE_H
#define CACHEMOUNT_CARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

struct cm_store;

/*
 * Called while something long reads the disk, with how many bytes it took
 * since the last call: may sleep, to hold it to a rate. Nonzero asks it to
 * stop: it then fails with CM_ERR_CANCELLED.
 */
typedef int (*cm_pace_fn)(void *arg, int64_t bytes);

/* ---- quarantine ------------------------------------------------------ */

/* What is kept of blobs that failed: at most so much, for at most so long. */
#define CM_QUARANTINE_SIZE   (1LL << 30)
#define CM_QUARANTINE_AGE_MS (30LL * 24 * 3600 * 1000)

/* BLOCKING. Removes from the quarantine what is beyond these bounds. */
int cm_store_trim_quarantine(struct cm_store *s, struct cm_error *err);

/* ---- scrub ----------------------------------------------------------- */

struct cm_scrub_options {
	int64_t every_ms; /* a round begins so long after the last one did */
	cm_pace_fn pace;  /* NULL: as fast as it goes */
	/* Told of each blob that went to quarantine. May be NULL. */
	void (*damaged)(void *arg, const struct cm_digest *d, const char *why);
	void *arg;
};

struct cm_scrub_result {
	int64_t blobs;	    /* read again */
	int64_t bytes;	    /* stored bytes of them */
	int64_t damaged;    /* condemned */
	int64_t unreadable; /* the disk said no; they stay */
	bool ended;	    /* a round: all blobs have been read */
	bool idle;	    /* none is due yet */
};

/*
 * BLOCKING. One bounded batch of the scrub: reads some more blobs, from where
 * the last batch ended, also before a restart (after a crash, some seconds
 * earlier), hashes them, and condemns those that are not what their digests
 * say or whose file is gone. `ret` counts what was done though the call fails.
 * One thread at a time. Leaves nothing in the page cache that was not there.
 */
int cm_store_scrub(struct cm_store *s, const struct cm_scrub_options *options,
		   struct cm_scrub_result *ret, struct cm_error *err);

struct cm_scrub_status {
	bool running;
	int64_t began_ms; /* the last round; 0: none yet */
	int64_t ended_ms; /* the last one that came to its end; 0: none */
	double progress;  /* of the round under way, 0 to 1 */
};

/* As of some seconds ago. */
int cm_store_scrub_status(struct cm_store *s, struct cm_scrub_status *ret,
			  struct cm_error *err);

/* ---- backup ---------------------------------------------------------- */

struct cm_backup_options {
	size_t keep; /* how many there may be after this one; at least 1 */
	cm_pace_fn pace;
	void *arg;
};

/*
 * BLOCKING. Copies the index, as it is now, to backups/ in the data folder,
 * beside readers and writers; checks the copy; names it durably, and removes
 * all but the newest `keep`. Fails with CM_ERR_BUSY while another one is being
 * made, CM_ERR_NO_SPACE, changing nothing, if the disk lacks room for it,
 * CM_ERR_CORRUPT if the copy, and so the index, is damaged: then the backups
 * that there are stay.
 */
int cm_store_backup(struct cm_store *s, const struct cm_backup_options *options,
		    struct cm_error *err);

/*
 * Asks whoever makes the store's backups for one. cm_store_backup_wanted()
 * tells that there was such a question since the last backup began.
 */
void cm_store_backup_request(struct cm_store *s);
bool cm_store_backup_wanted(struct cm_store *s);

#define CM_BACKUP_FILE_SIZE 64

struct cm_backup_status {
	bool wanted, running;
	int64_t count;			/* backups that there are */
	char file[CM_BACKUP_FILE_SIZE]; /* the newest, "backups/…"; "": none */
	int64_t size;
	int64_t made_ms;
	struct cm_error failure; /* of the last try; CM_OK: none */
};

/* Reads the names in backups/. */
int cm_store_backup_status(struct cm_store *s, struct cm_backup_status *ret,
			   struct cm_error *err);

/*
 * BLOCKING. The same for a data folder that nobody serves: copies its index to
 * a new file at `path`. CM_ERR_BUSY if the folder is in use, CM_ERR_EXISTS if
 * there is such a file.
 */
int cm_backup_to_file(const char *data_dir, const char *path,
		      struct cm_error *err);

/* ---- check ----------------------------------------------------------- */

struct cm_finding {
	const char *kind; /* "index", "tables", "totals", "blob", "file" */
	const char *text; /* one line */
	bool harmless;	  /* a crash leaves it, and the server removes it */
	bool mended;
};

typedef void (*cm_finding_fn)(void *arg, const struct cm_finding *f);

struct cm_check_options {
	const char *data_dir;
	bool read_data; /* hash every blob */
	bool repair;
	cm_finding_fn finding; /* may be NULL */
	void *arg;
};

struct cm_check_result {
	int64_t blobs;	   /* looked at */
	int64_t bytes;	   /* stored bytes of them */
	int64_t lost;	   /* blobs whose bytes are gone or wrong */
	int64_t adopted;   /* blobs found as a file in another encoding */
	int64_t files;	   /* that no row names */
	int64_t harmful;   /* findings that are not harmless … */
	int64_t left;	   /* … and were not mended */
	bool index_broken; /* by SQLite's own check: only a rebuild helps */
};

/*
 * BLOCKING. Checks a data folder that nobody serves: the index by SQLite's
 * integrity check, its counts and totals against a recount, rows against files
 * and files against rows. With `repair` mends what can be mended without
 * guessing: counts and totals are set, what names nothing goes, a blob whose
 * bytes are gone or wrong is condemned. Killed at any time it can be run again.
 *
 * CM_ERR_BUSY if the folder is in use, CM_ERR_NOT_FOUND if it is none,
 * CM_ERR_CORRUPT if there is no index, or one that can't be opened,
 * CM_ERR_UNSUPPORTED if a newer version wrote it, or an older one that has to
 * be migrated first (with `repair` it is).
 */
int cm_check(const struct cm_check_options *options,
	     struct cm_check_result *ret, struct cm_error *err);

/* ---- rebuild --------------------------------------------------------- */

struct cm_rebuild_options {
	const char *data_dir;
	const char *backup;    /* this file; NULL: the newest that is whole */
	bool empty;	       /* without a backup: begin with no names */
	bool force;	       /* though the index is whole */
	cm_finding_fn finding; /* what differs from the backup; may be NULL */
	void *arg;
};

struct cm_rebuild_result {
	char from[256];	     /* the backup; "": none */
	int64_t made_ms;     /* when that was made; 0: not known */
	char aside[64];	     /* what the old index is called now; "": none */
	int64_t tags, blobs; /* that there are now */
	struct cm_check_result check;
};

/*
 * BLOCKING. Makes a new index from a backup and the blobs' files and puts it in
 * the place of one that is damaged or gone, which is kept. A blob of the backup
 * whose file is gone is forgotten, and manifests that name it read as absent;
 * files that the backup does not know stay, and are the server's to sweep.
 * Killed at any time it can be run again: the old index stays in place until
 * the new one is whole.
 *
 * CM_ERR_PRECONDITION if the index is whole, CM_ERR_NOT_FOUND if there is no
 * backup to begin with, else as cm_check().
 */
int cm_rebuild(const struct cm_rebuild_options *options,
	       struct cm_rebuild_result *ret, struct cm_error *err);

#endif
