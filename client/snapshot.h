/*
 * snapshot.h - the snapshot engine: a directory to a snapshot and back
 * (design §6). What the verbs restore, save and run call.
 */
#ifndef CM_CLIENT_SNAPSHOT_H
#define CM_CLIENT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

#include "remote.h"

/* How a save meets a tag that somebody else moved, and a restore local files.
 */
enum cm_merge {
	CM_MERGE_UNION,	  /* both sides' files; newest wins on one path */
	CM_MERGE_REPLACE, /* the whole tree, theirs or ours */
};

/* How far along; called from any thread, now and then. */
struct cm_progress {
	const char *what; /* "restore pip" */
	int64_t files_done, files_total;
	int64_t bytes_done, bytes_total; /* content bytes; total 0: unknown */
};
typedef void (*cm_progress_fn)(void *arg, const struct cm_progress *p);

/* Told of what was left out or looks odd; one line without newline. */
typedef void (*cm_warning_fn)(void *arg, const char *text);

struct cm_snapshot_options {
	struct cm_remote *remote;
	const char *id;	  /* the mount's id, for messages */
	const char *path; /* the directory */
	const char *repo; /* own repository: SCOPE/NAME */
	const char *tag;
	const char *const *fallback_repos; /* read after `repo`, NULL-ended */
	enum cm_merge merge;
	unsigned jobs;		 /* threads and connections; 0: chosen */
	bool allow_setuid;	 /* restore setuid and setgid bits */
	bool allow_empty;	 /* publish an empty tree over a full one */
	int64_t max_bytes;	 /* refuse trees beyond; 0: 1 TiB */
	int64_t max_entries;	 /* refuse trees beyond; 0: 10,000,000 */
	cm_progress_fn progress; /* may be NULL */
	cm_warning_fn warning;	 /* may be NULL */
	void *arg;
};

struct cm_snapshot_result {
	bool hit;	     /* restore: there was a snapshot */
	bool unchanged;	     /* nothing had to be done */
	bool published;	     /* save: the tag was moved */
	const char *skipped; /* why nothing was done; static text, or NULL */
	struct cm_digest manifest; /* restored or published */
	char repo[256];		   /* where it was found or published */
	int64_t files, bytes; /* regular files in the tree, content bytes */
	int64_t files_written, bytes_written; /* restore: on disk */
	int64_t files_read, bytes_read;	      /* save: from disk */
	int64_t chunks_moved, bytes_moved;    /* fetched or uploaded, content */
	int64_t sent, received; /* on the wire meanwhile, by all who share the
				   remote */
	int64_t left_out;	/* save: entries not saved, each warned about */
	int64_t merges;		/* save: rounds after a 412 */
	int64_t ms;
};

/*
 * Makes `path` (created if absent) hold the newest snapshot. A miss is success
 * with hit false. On failure the directory holds no half-written file, and
 * what was there before stays usable.
 */
int cm_snapshot_restore(const struct cm_snapshot_options *o,
			struct cm_snapshot_result *ret, struct cm_error *err);

/*
 * Publishes what `path` holds. Never an empty tree over a full one, never a
 * file that changed while it was read.
 */
int cm_snapshot_save(const struct cm_snapshot_options *o,
		     struct cm_snapshot_result *ret, struct cm_error *err);

/* ---- for the verbs that look at snapshots --------------------------- */

struct cm_tree;

/*
 * Fetches the tree of a snapshot by tag or digest text. Caller frees with
 * cm_tree_free(). CM_ERR_UNSUPPORTED if the manifest is no snapshot.
 */
int cm_snapshot_fetch_tree(struct cm_connection *c, const char *repo,
			   const char *reference, struct cm_tree **ret,
			   struct cm_digest *ret_manifest,
			   struct cm_error *err);

#endif
