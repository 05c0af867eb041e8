/*
 * index.h - the index: readers that come and go, and one writer that commits
 * many callers' changes in one transaction. Private to storage/.
 *
 * Reading: take a connection with cm_index_reader(), run statements, give it
 * back (cm_auto(reader)). Writing: hand a function to cm_index_write(), which
 * returns after the commit that holds its effect. A function that fails is
 * rolled back alone; the others of its batch commit.
 */
#ifndef CM_INDEX_H
#define CM_INDEX_H

#include <cachemount/care.h>
#include <cachemount/store.h>

#include "index_db.h"

struct cm_leases;

/* Running totals, by their place in a transaction's sums. */
enum cm_total {
	CM_TOTAL_REPOSITORIES,
	CM_TOTAL_TAGS,
	CM_TOTAL_MANIFESTS,
	CM_TOTAL_BLOBS,
	CM_TOTAL_CONTENT_BYTES,
	CM_TOTAL_STORED_BYTES,
	CM_TOTAL_REFERENCED_BYTES,
	CM_TOTAL_UPLOADS,
	CM_TOTAL_QUARANTINED,
	CM_TOTAL_FILE_BYTES, /* of files of blobs, in whole blocks */
	CM_TOTAL_PINNED_TAGS,
	CM_TOTAL_PINNED_BYTES, /* content that they name, once for each tag */
	CM_TOTALS_LEN,
};

/* What a file of so many bytes takes on disk. */
#define CM_FILE_BLOCK 4096
static inline int64_t cm_file_bytes(int64_t size)
{
	return (size + CM_FILE_BLOCK - 1) / CM_FILE_BLOCK * CM_FILE_BLOCK;
}

static inline int64_t cm_percent(int64_t whole, int percent)
{
	return whole / 100 * percent + whole % 100 * percent / 100;
}

/* The transaction under way, on the writer thread. */
struct cm_tx {
	struct cm_db *db;
	struct cm_index *index;
	int64_t now_ms;
	int64_t totals[CM_TOTALS_LEN]; /* changes of this transaction */
	bool over_quota; /* a scope has passed its high watermark */
	/* What a repository's scope has lost, and is still to be told of. */
	int64_t scope_repo;
	int64_t scope_loss;
};

/* Changes the index; runs on the writer thread and must not wait. */
typedef int (*cm_index_fn)(struct cm_tx *tx, void *arg, struct cm_error *err);

/* Opens or creates the index at `path` and starts its writer. */
int cm_index_open(const char *path, struct cm_index **ret,
		  struct cm_error *err);

/* Stops the writer after what is queued, and closes. NULL is legal. */
void cm_index_close(struct cm_index *ix);

/* A connection of one's own, for work that leaves traces in it. */
int cm_index_connect(struct cm_index *ix, struct cm_db **ret,
		     struct cm_error *err);

/* A connection to read with. */
int cm_index_reader(struct cm_index *ix, struct cm_db **ret,
		    struct cm_error *err);

/* Gives it back; NULL is legal. */
void cm_index_reader_done(struct cm_db *db);

CM_DEFINE_CLEANUP(reader, struct cm_db, cm_index_reader_done);

/*
 * BLOCKING. Runs `fn` in the next transaction and waits for its commit.
 * Returns what `fn` returned if that is negative, else the commit's result,
 * else what `fn` returned. CM_ERR_BUSY if too many are waiting.
 */
int cm_index_write(struct cm_index *ix, cm_index_fn fn, void *arg,
		   struct cm_error *err);

/*
 * Has `fn(arg)` called by the writer each time the write-ahead log has grown
 * by enough to be worth a checkpoint; NULL: nobody. It must not wait.
 */
void cm_index_on_growth(struct cm_index *ix, void (*fn)(void *arg), void *arg);

/*
 * Has `fn(arg, over_quota)` called by the writer after each commit; NULL:
 * nobody. It must not wait.
 */
void cm_index_on_commit(struct cm_index *ix,
			void (*fn)(void *arg, bool over_quota), void *arg);

/*
 * The order of use (schema.c, `used`): the next number. Any thread. The number
 * is written with each commit; so after a restart it goes on behind all that
 * are in the index.
 */
int64_t cm_index_tick(struct cm_index *ix);

/* The number given last. */
int64_t cm_index_clock(struct cm_index *ix);

/* A running total after the last commit, without reading the index. */
int64_t cm_index_total(struct cm_index *ix, enum cm_total which);

/* Bytes in pages of the index that are in use, after the last commit. */
int64_t cm_index_bytes(struct cm_index *ix);

/* Moves what the write-ahead log holds into the index, as far as it can. */
int cm_index_checkpoint(struct cm_index *ix, struct cm_error *err);

/* A running total as the transaction sees it. */
int cm_tx_total(struct cm_tx *tx, enum cm_total which, int64_t *ret,
		struct cm_error *err);

/* The running totals; any connection. */
int cm_index_totals(struct cm_db *db, int64_t ret[static CM_TOTALS_LEN],
		    struct cm_error *err);

/* ---- looking after the index (index_care.c) --------------------------- */

/* A figure that the store remembers of its own life; 0 if it does not. */
int cm_state_read(struct cm_db *db, const char *name, int64_t *ret,
		  struct cm_error *err);
int cm_state_write(struct cm_tx *tx, const char *name, int64_t value,
		   struct cm_error *err);

/* A connection that maps nothing, for who reads all. Caller closes. */
int cm_index_connect_aside(struct cm_index *ix, struct cm_db **ret,
			   struct cm_error *err);

struct cm_blob_row;

/* The next blobs behind `after`, in order of digest, at most `max`. */
int cm_blobs_behind(struct cm_db *db, const struct cm_digest *after,
		    struct cm_blob_row *rows, size_t max, size_t *ret,
		    struct cm_error *err);

typedef void (*cm_index_line_fn)(void *arg, const char *line);

/*
 * SQLite's own check of the file, `quick` without comparing its indexes: 0, or
 * 1 after telling `fn` (may be NULL) what is wrong, or a negative status.
 */
int cm_index_integrity(struct cm_db *db, bool quick, cm_index_line_fn fn,
		       void *arg, struct cm_error *err);

/*
 * The same for an index in a file: CM_ERR_CORRUPT if it is damaged, or is none.
 * Without `touch` its log stays as it is, for who wants to look into it.
 */
int cm_index_check_file(const char *path, bool quick, bool touch,
			struct cm_error *err);

/* How many bytes a copy of the index has. */
int cm_index_size(struct cm_db *db, int64_t *ret, struct cm_error *err);

/*
 * Copies the index that `from` is connected to, as it is now, to a new file.
 * Neither syncs it nor removes it on failure. BLOCKING.
 */
int cm_index_copy(struct cm_db *from, const char *path, cm_pace_fn pace,
		  void *arg, struct cm_error *err);

/* ---- repositories (index_repos.c) ------------------------------------ */

/* The number of a repository, 0 if it is not known. */
int cm_repo_find(struct cm_db *db, const char *name, int64_t *ret_id,
		 struct cm_error *err);

/* The same, created if new. */
int cm_repo_make(struct cm_tx *tx, const char *name, int64_t *ret_id,
		 struct cm_error *err);

/*
 * The repositories that a listing or a purge is about: "exact" itself, and the
 * names from "from" up to, not including, "until", in byte order. All of them
 * are >= "exact".
 */
struct cm_name_range {
	char exact[CM_REPOSITORY_MAX + 2];
	char from[CM_REPOSITORY_MAX + 2];
	char until[CM_REPOSITORY_MAX + 2];
};

/* Only `repo`; or, with that NULL, path prefix `prefix` (NULL or "": all). */
void cm_name_range_of(const char *repo, const char *prefix,
		      struct cm_name_range *ret);

/* ---- scopes (index_scopes.c) ------------------------------------------ */

/* The number of the scope of a repository's name, made if new. */
int cm_scope_make(struct cm_tx *tx, const char *repo, int64_t *ret_id,
		  struct cm_error *err);

/*
 * Counts content of a repository in its scope. CM_ERR_NO_SPACE, and a message
 * that names the scope, when `delta` is more than its quota leaves.
 */
int cm_scope_add(struct cm_tx *tx, int64_t repo_id, int64_t delta,
		 struct cm_error *err);

/* Writes what cm_scope_add() has only summed up; at the end of each job. */
int cm_scope_flush(struct cm_tx *tx, struct cm_error *err);

/* Sets the quotas to these, and none for other scopes. */
struct cm_quotas_job {
	const struct cm_quota *quotas;
	size_t len;
	int high_percent; /* of their watermarks */
};
int cm_scope_quotas_tx(struct cm_tx *tx, void *arg, struct cm_error *err);

/* A scope with a quota. */
struct cm_scope_use {
	int64_t id;
	int64_t bytes;
	int64_t quota;
};

/* The scopes that have a quota, at most `max`: how many, or <0. */
int cm_scope_limited(struct cm_db *db, struct cm_scope_use *ret, size_t max,
		     struct cm_error *err);

/* How much content a scope references. */
int cm_scope_bytes(struct cm_db *db, int64_t id, int64_t *ret,
		   struct cm_error *err);

/* The scope of a repository, if that has a quota: 1, else 0, <0. */
int cm_scope_of(struct cm_db *db, const char *repo, struct cm_scope_use *ret,
		struct cm_error *err);

/* ---- links and blobs (index_blobs.c) ---------------------------------- */

/* A row of blobs. */
struct cm_blob_row {
	struct cm_blob_info info;
	int64_t inline_id; /* 0: in a file */
	int64_t refs;	   /* of the link it was found through */
};

/* A blob through its link in a repository: 1 found, 0 not, <0. */
int cm_blob_find(struct cm_db *db, int64_t repo_id, const struct cm_digest *d,
		 struct cm_blob_row *ret, struct cm_error *err);

/* A blob, whoever holds it: 1 found, 0 not, <0. `refs` is not set. */
int cm_blob_find_any(struct cm_db *db, const struct cm_digest *d,
		     struct cm_blob_row *ret, struct cm_error *err);

/* Copies the bytes of an inline blob; caller frees. */
int cm_blob_load_inline(struct cm_db *db, const struct cm_blob_row *row,
			void **ret, struct cm_error *err);

/* Adds a blob's row, unless there is one. `inline_data` NULL: in a file. */
int cm_blob_insert(struct cm_tx *tx, const struct cm_blob_info *info,
		   const void *inline_data, struct cm_error *err);

/*
 * The row of a blob whose file is lost: says how its new bytes lie on disk. The
 * links stay.
 */
int cm_blob_mend(struct cm_tx *tx, const struct cm_blob_info *info,
		 const void *inline_data, struct cm_error *err);

/* Links a blob that exists to a repository, or renews the link's time. */
int cm_link_add(struct cm_tx *tx, int64_t repo_id, const struct cm_digest *d,
		int64_t size, struct cm_error *err);

/*
 * Removes a link. 1 if the blob's row went with it: then `ret` is what it was,
 * and a file's bytes are to be removed after the commit; 0 if others hold it.
 */
int cm_link_remove(struct cm_tx *tx, int64_t repo_id, const struct cm_digest *d,
		   struct cm_blob_row *ret, struct cm_error *err);

/* Forgets a damaged blob: its links and its row. 1 if there was one. */
int cm_blob_forget(struct cm_tx *tx, const struct cm_digest *d,
		   struct cm_error *err);

/* ---- aliases of blobs (index_aliases.c) -------------------------------- */

/*
 * Notes that `name` stands for the blob `d`; nothing to do if it is NULL or a
 * SHA-256. The caller has checked that it does.
 */
int cm_alias_add(struct cm_tx *tx, const struct cm_any_digest *name,
		 const struct cm_digest *d, struct cm_error *err);

/* The blob's row goes for good. */
int cm_alias_remove(struct cm_tx *tx, const struct cm_digest *d,
		    struct cm_error *err);

/*
 * What the SHA-512 `name` stands for, if the repository has it: 1 found, 0
 * not, <0. The other one finds it whoever has it.
 */
int cm_alias_find(struct cm_db *db, int64_t repo_id,
		  const struct cm_any_digest *name, struct cm_digest *ret,
		  struct cm_error *err);
int cm_alias_find_any(struct cm_db *db, const struct cm_any_digest *name,
		      struct cm_digest *ret, struct cm_error *err);

/* ---- referrers (index_referrers.c) -------------------------------------- */

/* Lists the manifest under its subject, if it has one. */
int cm_referrer_add(struct cm_tx *tx, int64_t repo_id,
		    const struct cm_digest *d, const struct cm_manifest *m,
		    struct cm_error *err);

/* A manifest that is being removed is listed no more. */
int cm_referrer_remove(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, struct cm_error *err);

/* cm_store_referrers(), of a repository by number. */
int cm_referrer_list(struct cm_db *db, int64_t repo_id,
		     const struct cm_referrer_filter *filter, cm_referrer_fn fn,
		     void *arg, struct cm_error *err);

/* A manifest of before the table of referrers. */
struct cm_old_manifest {
	int64_t repo_id;
	struct cm_digest digest;
	char *media_type; /* caller frees */
	struct cm_manifest *parsed;
};

/* One batch of them, in the order of the index. */
struct cm_referrer_fill {
	struct cm_old_manifest *items;
	size_t len;
	bool last; /* there are none behind them */
};

/*
 * Finds at most `max` manifests that were not looked through: 1, with `last`
 * set if there are no more; 0 if all were; <0. `parsed` stays NULL.
 */
int cm_referrer_fill_find(struct cm_db *db, struct cm_referrer_fill *fill,
			  size_t max, struct cm_error *err);

/* Lists those that have a subject, and are still there; notes how far it is. */
int cm_referrer_fill_tx(struct cm_tx *tx, void *arg, struct cm_error *err);

/* ---- what damage breaks (index_damage.c) ------------------------------- */

/*
 * Counts in the manifests of a repository that it has lost a blob, or
 * (`lost` false) that it is back. Call it while, and only if, manifests name
 * it.
 */
int cm_damage_spread(struct cm_tx *tx, int64_t repo_id,
		     const struct cm_digest *d, bool lost,
		     struct cm_error *err);

/* Drops the note on a manifest that is being removed. */
int cm_damage_forget(struct cm_tx *tx, int64_t repo_id,
		     const struct cm_digest *d, struct cm_error *err);

/* 1 if the manifest can't be restored, and so reads as absent; 0; <0. */
int cm_damage_find(struct cm_db *db, int64_t repo_id, const struct cm_digest *d,
		   struct cm_error *err);

/* ---- manifests (index_manifests.c) ------------------------------------ */

/*
 * Removes a manifest's row and what it names; its tags must be gone. The
 * blobs it named stay linked, unnamed from `since_ms` on.
 */
int cm_manifest_remove(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, int64_t since_ms,
		       struct cm_error *err);

/*
 * The same in bounded pieces: it is gone at once, but what a large one names
 * stays named until cm_manifest_release() has come to it. Then unnamed blobs
 * are due.
 */
int cm_manifest_retire(struct cm_tx *tx, int64_t repo_id,
		       const struct cm_digest *d, struct cm_error *err);

/* One such piece: 1 if there may be more, 0 if there was none, <0. */
int cm_manifest_release(struct cm_tx *tx, struct cm_error *err);

/* How many rows removing a manifest changes, about. */
int cm_manifest_weight(struct cm_db *db, int64_t repo_id,
		       const struct cm_digest *d, int64_t *ret,
		       struct cm_error *err);

/* What cm_manifest_put_tx() works on. */
struct cm_manifest_put_job {
	const struct cm_manifest_put *put;
	const struct cm_blob_info *info; /* of the manifest's bytes */
	const void *inline_data;	 /* NULL: published as a file */
	bool snapshot;
	struct cm_leases *leases;      /* the manifest is leased on the way */
	struct cm_digest *ret_current; /* on CM_ERR_PRECONDITION */
	int64_t repo_id;	       /* out */
};

/* cm_store_manifest_put(), on the writer; `arg` is a cm_manifest_put_job. */
int cm_manifest_put_tx(struct cm_tx *tx, void *arg, struct cm_error *err);

/* What the two deletions work on. */
struct cm_delete_job {
	const char *repo;
	const char *tag;
	const struct cm_digest *digest;
};

/* cm_store_manifest_delete() and _tag_delete(), on the writer. */
int cm_manifest_delete_tx(struct cm_tx *tx, void *arg, struct cm_error *err);
int cm_tag_delete_tx(struct cm_tx *tx, void *arg, struct cm_error *err);

struct cm_manifest_row {
	struct cm_digest digest;
	char *media_type; /* caller frees */
	/* By tag: what the tag's manifest was put by. Else `digest`. */
	struct cm_any_digest name;
};

/*
 * A manifest by tag, or by digest if `tag` is NULL: 1 found, 0 not, <0. One
 * that is broken is not found.
 */
int cm_manifest_find(struct cm_db *db, int64_t repo_id, const char *tag,
		     const struct cm_digest *d, struct cm_manifest_row *ret,
		     struct cm_error *err);

/* Removes a tag; counts its manifest down. 1 if there was one. */
int cm_tag_remove(struct cm_tx *tx, int64_t repo_id, const char *tag,
		  struct cm_error *err);

/* ---- pins (index_pins.c) ------------------------------------------------ */

/* Counts that a tag of the manifest became pinned (1), or is no more (-1). */
int cm_pin_count(struct cm_tx *tx, int64_t repo_id, const struct cm_digest *d,
		 int sign, struct cm_error *err);

/* ---- what was evicted (index_evict.c) ----------------------------------- */

/* Remembers a tag that is being evicted, and the size of what it named. */
int cm_ghost_add(struct cm_tx *tx, int64_t repo_id, const char *tag,
		 int64_t bytes, struct cm_error *err);

/* It is there again. */
int cm_ghost_forget(struct cm_tx *tx, int64_t repo_id, const char *tag,
		    struct cm_error *err);

/* Was it evicted, of those remembered? 1 and the size, 0, <0. */
int cm_ghost_find(struct cm_db *db, int64_t repo_id, const char *tag,
		  int64_t *ret_bytes, struct cm_error *err);

#endif
