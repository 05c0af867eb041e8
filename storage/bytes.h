/*
 * bytes.h - blob bytes in files: the only place that knows a path below the
 * data folder (design §4). Private to storage/.
 *
 *	leases			      lease_file.h
 *	blobs/sha256/ab/<hex>[.zst]   published, immutable
 *	uploads/<session id>[.zst]    a session in progress
 *	uploads/t-<boot>-<number>     a temporary file of this run
 *	quarantine/<hex>[.zst]        failed verification
 *	backups/index-<number>.db     copies of the index (bytes_index.c)
 *	index.db.rebuild              an index that is being rebuilt
 *	index.db.damaged-<number>     one that was replaced by a rebuild
 *
 * A name says nothing by itself: a blob exists when the index has its row.
 */
#ifndef CM_BYTES_H
#define CM_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/care.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>
#include <cachemount/store.h>

struct cm_bytes;

/*
 * Opens the data folder, creating what is absent, and locks it. CM_ERR_BUSY
 * if another process holds the lock. Caller closes with cm_bytes_close().
 */
int cm_bytes_open(const char *data_dir, struct cm_bytes **ret,
		  struct cm_error *err);
void cm_bytes_close(struct cm_bytes *b);

/* Opens the file of the leases, made if it is not there; -1: it can't be. */
int cm_bytes_open_leases(struct cm_bytes *b);

/* The path of a file of the index in the data folder; caller frees. */
int cm_bytes_index_path(struct cm_bytes *b, char **ret, struct cm_error *err);

/*
 * Refuses (CM_ERR_CORRUPT) a folder that holds blobs or backups and has no
 * index, or an empty one: the sweep of a new index would take the blobs for
 * left-overs. Looks at the folders only then.
 */
int cm_bytes_check_index(struct cm_bytes *b, struct cm_error *err);

/* Refuses (CM_ERR_CORRUPT) any folder that has no index, or an empty one. */
int cm_bytes_require_index(struct cm_bytes *b, struct cm_error *err);

/* A file being written. Unlinked on release unless published or kept. */
struct cm_temp {
	int fd; /* -1: none */
	char name[64];
	int64_t counted; /* bytes of it in cm_bytes_uploads() */
	/*
	 * A sync failed: the kernel may have dropped pages it could not write
	 * and call the next sync a success, so the bytes can't be trusted.
	 */
	bool spoilt;
};

/*
 * Bytes in uploads/, and in quarantine/. What is written to a file is counted
 * by the writer, beforehand, with cm_bytes_count() and in the file's `counted`;
 * what goes is counted here.
 */
int64_t cm_bytes_uploads(struct cm_bytes *b);
int64_t cm_bytes_quarantined(struct cm_bytes *b);
int64_t cm_bytes_backed_up(struct cm_bytes *b); /* in backups/ */

/* Adds to the bytes in uploads/; the new sum. */
int64_t cm_bytes_count(struct cm_bytes *b, int64_t delta);

/* Bytes that are free on the file system for us. */
int cm_bytes_free(struct cm_bytes *b, int64_t *ret, struct cm_error *err);

/* Creates a temporary file of this run. */
int cm_bytes_temp_new(struct cm_bytes *b, struct cm_temp *ret,
		      struct cm_error *err);

/* Its path, for those who open files themselves (SQLite). Caller frees. */
int cm_bytes_temp_path(struct cm_bytes *b, const struct cm_temp *t, char **ret,
		       struct cm_error *err);

/*
 * Opens (or, with `create`, makes) the file of a session whose body has this
 * encoding: the name remembers it across a restart.
 */
int cm_bytes_session_open(struct cm_bytes *b, const char *id,
			  enum cm_encoding encoding, bool create,
			  struct cm_temp *ret, struct cm_error *err);

/* Removes the file of a session, if there is one. */
int cm_bytes_session_remove(struct cm_bytes *b, const char *id,
			    struct cm_error *err);

/* Makes a session's bytes durable, and its name. BLOCKING. */
int cm_bytes_session_sync(struct cm_bytes *b, struct cm_temp *t,
			  struct cm_error *err);

/* When the file of a session last changed (ms since 1970); 0: no file. */
int64_t cm_bytes_session_touched(struct cm_bytes *b, const char *id);

/* Closes and unlinks; a released temp is a no-op. */
void cm_bytes_temp_discard(struct cm_bytes *b, struct cm_temp *t);

/* Closes and leaves the file. */
void cm_bytes_temp_keep(struct cm_temp *t);

/* Writes all of `len` bytes at `offset`. CM_ERR_NO_SPACE on a full disk. */
int cm_bytes_write(int fd, const void *data, size_t len, int64_t offset,
		   struct cm_error *err);

/*
 * Asks the kernel to begin writing a range to disk, so that the sync at the
 * end finds little left to do. Promises nothing.
 */
void cm_bytes_begin_writeback(int fd, int64_t offset, int64_t len);

/* Reads up to `len` bytes at `offset`: the number read, 0 at the end. */
ssize_t cm_bytes_read(int fd, void *buf, size_t len, int64_t offset,
		      struct cm_error *err);

/*
 * Syncs the file, gives it its blob's name, syncs the folder. A file that lay
 * under that name without a row goes. The temp is released, or, with `keep`,
 * stays as it is: the file then has both names. BLOCKING.
 */
int cm_bytes_publish(struct cm_bytes *b, struct cm_temp *t, bool keep,
		     const struct cm_digest *d, enum cm_encoding encoding,
		     struct cm_error *err);

/* Opens a published blob for reading. CM_ERR_NOT_FOUND if it is not there. */
int cm_bytes_open_blob(struct cm_bytes *b, const struct cm_digest *d,
		       enum cm_encoding encoding, int *ret_fd,
		       int64_t *ret_size, struct cm_error *err);

/* Unlinks a published blob; absent is fine. */
int cm_bytes_remove(struct cm_bytes *b, const struct cm_digest *d,
		    enum cm_encoding encoding, struct cm_error *err);

/* Moves a published blob to quarantine; absent is fine. */
int cm_bytes_quarantine(struct cm_bytes *b, const struct cm_digest *d,
			enum cm_encoding encoding, struct cm_error *err);

/*
 * A walk over the published files, a few at a time, that starts over when it
 * has seen all 256 folders: names of at most `max` files that have not changed
 * for an hour. One thread at a time. Returns how many, or a negative status;
 * fewer than `max` says that a folder ended.
 */
struct cm_bytes_file {
	struct cm_digest digest;
	enum cm_encoding encoding;
};
int cm_bytes_walk(struct cm_bytes *b, struct cm_bytes_file *files, size_t max,
		  struct cm_error *err);

/*
 * Clears uploads/ of at most `max` files: temporaries of earlier runs, and
 * session files that have not changed for an hour and for which `orphan`
 * returns true.
 */
int cm_bytes_clear_uploads(struct cm_bytes *b, size_t max,
			   bool (*orphan)(void *arg, const char *id), void *arg,
			   struct cm_error *err);

/* ---- keeping whole (bytes_care.c) -------------------------------------- */

/* Does `path` look like a data folder: has it an index, blobs or backups? */
bool cm_bytes_is_data_dir(const char *path);

/*
 * Removes the oldest files of the quarantine until those that are left came
 * there within the last `age_ms` and have at most `size` bytes together, and
 * looks at no more than some thousands of files: the rest waits for the next
 * call.
 */
int cm_bytes_quarantine_trim(struct cm_bytes *b, int64_t size, int64_t age_ms,
			     struct cm_error *err);

/* Does some of the file's beginning lie in the page cache? */
bool cm_bytes_is_cached(int fd);

/* Gives back the page cache that holds the file's bytes up to `until`. */
void cm_bytes_uncache(int fd, int64_t until);

/*
 * Calls `fn` with every file under blobs/ that has a blob's name, in no order.
 * Nonzero from `fn` ends the walk, and is its result.
 */
int cm_bytes_each(struct cm_bytes *b,
		  int (*fn)(void *arg, const struct cm_bytes_file *f,
			    int64_t size, struct cm_error *err),
		  void *arg, struct cm_error *err);

/* ---- copies of the index (bytes_index.c) ------------------------------- */

#define CM_BACKUPS_MAX 128 /* looked at */

struct cm_bytes_backup {
	int64_t number; /* a newer one has a higher one, whatever the clock */
	int64_t size;
	int64_t made_ms;
};

/* The backups, newest first, at most CM_BACKUPS_MAX: how many, or <0. */
int cm_bytes_backups(struct cm_bytes *b,
		     struct cm_bytes_backup ret[static CM_BACKUPS_MAX],
		     struct cm_error *err);

/* What a backup is called below the data folder: "backups/…". */
void cm_bytes_backup_name(int64_t number, char ret[static CM_BACKUP_FILE_SIZE]);

/* 1 if there is a backup, 0, <0. */
int cm_bytes_any_backup(struct cm_bytes *b, struct cm_error *err);

/* The path of a backup, or (0) of the one being made. Caller frees. */
int cm_bytes_backup_path(struct cm_bytes *b, int64_t number, char **ret,
			 struct cm_error *err);

/* Removes what is left of a backup that was being made. */
void cm_bytes_backup_discard(struct cm_bytes *b);

/*
 * Syncs the backup that was made, gives it the next number and syncs the
 * folder; then removes all but the newest `keep`. BLOCKING.
 */
int cm_bytes_backup_publish(struct cm_bytes *b, size_t keep,
			    struct cm_bytes_backup *ret, struct cm_error *err);

/*
 * CM_ERR_NO_SPACE unless the disk has room for a copy of `size` bytes, and for
 * what others need meanwhile.
 */
int cm_bytes_backup_room(struct cm_bytes *b, int64_t size,
			 struct cm_error *err);

/* Copies a file byte by byte, and syncs the copy. BLOCKING. */
int cm_bytes_copy_file(const char *from, const char *to, struct cm_error *err);

/* The path of the index that is being rebuilt. Caller frees. */
int cm_bytes_rebuild_path(struct cm_bytes *b, char **ret, struct cm_error *err);

/* Removes what is left of an index that was being rebuilt. */
int cm_bytes_rebuild_discard(struct cm_bytes *b, struct cm_error *err);

/*
 * Puts the rebuilt index in the place of the one that is there, which gets the
 * name that is written to `ret_aside` ("" if there was none), with its log.
 * CM_ERR_IO if the rebuilt one was not closed whole. BLOCKING.
 */
#define CM_ASIDE_SIZE 64
int cm_bytes_rebuild_place(struct cm_bytes *b,
			   char ret_aside[static CM_ASIDE_SIZE],
			   struct cm_error *err);

#endif
