/*
 * bytes.h - blob bytes in files: the only place that knows a path below the
 * data folder (design §4). Private to storage/.
 *
 *	leases			      lease_file.h
 *	blobs/sha256/ab/<hex>[.zst]   published, immutable
 *	uploads/<session id>[.zst]    a session in progress
 *	uploads/t-<boot>-<number>     a temporary file of this run
 *	quarantine/<hex>[.zst]        failed verification
 *
 * A name says nothing by itself: a blob exists when the index has its row.
 */
#ifndef CM_BYTES_H
#define CM_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * Refuses (CM_ERR_CORRUPT) a folder that holds blobs and has no index, or an
 * empty one: the sweep of a new index would take the blobs for left-overs.
 * Looks at the blobs' folders only then.
 */
int cm_bytes_check_index(struct cm_bytes *b, struct cm_error *err);

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

#endif
