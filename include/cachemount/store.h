/*
 * store.h - libcmstore: blobs named by digest, under an index of
 * repositories, manifests and tags, in one data folder (design §4).
 *
 * Threads: every function may be called from any thread. A cm_blob and a
 * cm_upload belong to one thread at a time. Functions marked BLOCKING wait for
 * the disk (fsync, index commit) and are not for a network thread; the others
 * may read the index or write to the page cache, and never fsync.
 *
 * Visibility: a blob or manifest is reachable only through a repository that
 * has it. Everywhere, "not in this repository" and "nowhere" are both
 * CM_ERR_NOT_FOUND.
 *
 * Durability: when a BLOCKING function that writes returns 0, the effect
 * survives kill -9 and power loss. When it fails, there is no effect.
 */
#ifndef CACHEMOUNT_STORE_H
#define CACHEMOUNT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cachemount/cleanup.h>
#include <cachemount/digest.h>
#include <cachemount/error.h>
#include <cachemount/manifest.h>

struct cm_store;

#define CM_SCOPES_MAX 1024 /* scopes with a quota */

/*
 * How much content a scope may reference. A scope is the first part of a
 * repository's path: "main" of main/pip. Content counts once for each
 * repository that has it.
 */
struct cm_quota {
	const char *scope;
	int64_t bytes; /* at least 1 */
};

#define CM_MAX_BYTES_NONE 0
#define CM_MAX_BYTES_AUTO (-1) /* 90 % of what we use and what is free */

struct cm_store_options {
	const char *data_dir; /* created (0700) if absent */
	/*
	 * The limit, in bytes on disk: nothing is taken in beyond it. From the
	 * high watermark on the store evicts, until it is down to the low one;
	 * both in percent of the limit, 0: 95 and 90. The same watermarks hold
	 * for each quota.
	 */
	int64_t max_bytes;
	int high_percent;
	int low_percent;
	const struct cm_quota *quotas; /* borrowed for the call */
	size_t quotas_len;
	int64_t lease_ms;      /* promise of a HEAD; 0: one hour */
	int64_t upload_ttl_ms; /* idle upload sessions; 0: 24 hours */
	/*
	 * A snapshot manifest without a tag (lost to a newer one, removed, or
	 * never given) is swept when nobody has pulled it for so long; 0: 24
	 * hours. Untagged manifests that are no snapshots are kept.
	 */
	int64_t replaced_ttl_ms;
};

/*
 * Opens the store, creating or migrating it. Never reads all blobs, so it
 * takes the same time whatever the store holds. Fails with CM_ERR_BUSY if
 * another process has the folder, CM_ERR_UNSUPPORTED if a newer version wrote
 * it, CM_ERR_CORRUPT if the index is damaged, CM_ERR_IO otherwise. Caller
 * closes with cm_store_close().
 */
int cm_store_open(const struct cm_store_options *options, struct cm_store **ret,
		  struct cm_error *err);

/*
 * Flushes access times and counters and closes. No other call may be under
 * way, no cm_blob or cm_upload open. NULL is legal.
 */
void cm_store_close(struct cm_store *s);

/* 0 if the store can take a write now; else the reason (BLOCKING, brief). */
int cm_store_check_writable(struct cm_store *s, struct cm_error *err);

/* ---- names ---------------------------------------------------------- */

/*
 * The SHA-256 of what `repo` has under `name`. That of a SHA-256 is itself, and
 * nothing is looked up. CM_ERR_NOT_FOUND for a SHA-512 that nobody has pushed
 * by, or of something that `repo` does not have. `repo` NULL: whoever has it,
 * for a caller that checks then what it may have.
 */
int cm_store_resolve(struct cm_store *s, const char *repo,
		     const struct cm_any_digest *name, struct cm_digest *ret,
		     struct cm_error *err);

/*
 * Sets `digest` of those descriptors of `m` that are written by SHA-512. One
 * that `repo` does not have keeps its zeroes, which nothing is named by.
 */
int cm_store_resolve_manifest(struct cm_store *s, const char *repo,
			      struct cm_manifest *m, struct cm_error *err);

/* ---- blobs ---------------------------------------------------------- */

enum cm_encoding {
	CM_ENCODING_IDENTITY = 0,
	CM_ENCODING_ZSTD = 1, /* one zstd frame */
};

struct cm_blob_info {
	struct cm_digest digest;
	int64_t size;		   /* of the content */
	int64_t stored_size;	   /* as it lies on disk */
	enum cm_encoding encoding; /* as it lies on disk */
};

/* Looks a blob up in `repo` and leases it. */
int cm_store_blob_stat(struct cm_store *s, const char *repo,
		       const struct cm_digest *d, struct cm_blob_info *ret,
		       struct cm_error *err);

/*
 * Looks a blob up in `repo`, and does no more: it is not leased, and whether
 * its bytes are whole shows when it is opened.
 */
int cm_store_blob_find(struct cm_store *s, const char *repo,
		       const struct cm_digest *d, struct cm_blob_info *ret,
		       struct cm_error *err);

/*
 * Sets `missing[i]` for each of `n` digests that `repo` does not have, and
 * leases those it has.
 */
int cm_store_blobs_missing(struct cm_store *s, const char *repo,
			   const struct cm_digest *digests, size_t n,
			   bool *missing, struct cm_error *err);

/* An open blob. It stays readable though it be deleted meanwhile. */
struct cm_blob;

/*
 * Opens a blob of `repo`. It is not leased: an open blob can be read to its
 * end whatever becomes of it. Caller closes.
 */
int cm_store_blob_open(struct cm_store *s, const char *repo,
		       const struct cm_digest *d, struct cm_blob **ret,
		       struct cm_error *err);

/* Borrowed until the blob is closed. */
const struct cm_blob_info *cm_blob_info(const struct cm_blob *b);

/*
 * The stored bytes (info->stored_size of them, encoded as info->encoding) of
 * a blob that lives inside the index, borrowed until it is closed; NULL for
 * one that lives in a file.
 */
const void *cm_blob_memory(const struct cm_blob *b);

/*
 * Hands over a descriptor positioned nowhere in particular, whose bytes
 * 0 … info->stored_size are the stored bytes; -1 for a blob in memory or when
 * taken already. The caller closes it.
 */
int cm_blob_take_fd(struct cm_blob *b);

/*
 * Reads content (decoded) from the running offset: the number of bytes, 0 at
 * the end, or a negative status. Decodes at most about `len` bytes of work.
 * Not to be mixed with cm_blob_take_fd().
 */
ssize_t cm_blob_read(struct cm_blob *b, void *buf, size_t len,
		     struct cm_error *err);

/*
 * Moves the running offset forward to `offset` of the content. BLOCKING for
 * a blob stored as zstd, which is decoded up to there.
 */
int cm_blob_seek(struct cm_blob *b, int64_t offset, struct cm_error *err);

/*
 * Reads the content from the running offset 0 to its end into memory, with a
 * NUL behind it: for what is known to be small. Caller frees with free().
 */
int cm_blob_read_all(struct cm_blob *b, void **ret, struct cm_error *err);

/* Closes; NULL is legal. */
void cm_blob_close(struct cm_blob *b);

CM_DEFINE_CLEANUP(blob, struct cm_blob, cm_blob_close);

/*
 * Tells whether an identity may pull from a repository: asked for candidates
 * by cm_store_blob_mount().
 */
typedef bool (*cm_store_may_pull_fn)(void *arg, const char *repo);

/*
 * BLOCKING. Makes the blob of `from` visible in `to`, and leases it. With
 * `from` NULL, any repository that `may_pull` allows will do (at most 64 are
 * asked). CM_ERR_NOT_FOUND if there is none.
 */
int cm_store_blob_mount(struct cm_store *s, const char *from, const char *to,
			const struct cm_digest *d,
			cm_store_may_pull_fn may_pull, void *arg,
			struct cm_error *err);

/*
 * BLOCKING. Takes the blob out of `repo`; the bytes go when no repository has
 * it. CM_ERR_PRECONDITION if a manifest of `repo` names it.
 */
int cm_store_blob_delete(struct cm_store *s, const char *repo,
			 const struct cm_digest *d, struct cm_error *err);

/*
 * BLOCKING. Reads the stored bytes again and hashes them. A blob that fails
 * moves to quarantine and CM_ERR_CORRUPT is returned. From then on it reads as
 * absent, and so do the manifests that name it, until it is pushed again.
 */
int cm_store_blob_verify(struct cm_store *s, const char *repo,
			 const struct cm_digest *d, struct cm_error *err);

/* ---- uploads -------------------------------------------------------- */

#define CM_UPLOAD_ID_SIZE 33 /* 128 random bits as hex, and a NUL */

struct cm_upload;

/*
 * BLOCKING. Starts a session in `repo` (created with the first bytes that are
 * kept). Writes its id. The session survives a restart; a crash too, once bytes
 * of it have been acknowledged (cm_upload_sync).
 */
int cm_upload_begin(struct cm_store *s, const char *repo,
		    char ret_id[static CM_UPLOAD_ID_SIZE],
		    struct cm_error *err);

/*
 * The same where it need not wait, as it nearly always need not: 1, or 0 for
 * cm_upload_begin() to be called.
 */
int cm_upload_begin_now(struct cm_store *s, const char *repo,
			char ret_id[static CM_UPLOAD_ID_SIZE],
			struct cm_error *err);

/*
 * Opens a session to write to or ask. CM_ERR_BUSY while another request has
 * it open. Caller closes. May read the partial upload again to restore the
 * running hash, once after a restart.
 */
int cm_upload_open(struct cm_store *s, const char *repo, const char *id,
		   struct cm_upload **ret, struct cm_error *err);

/* An upload without a session: one request, gone if closed uncommitted. */
int cm_upload_open_single(struct cm_store *s, const char *repo,
			  struct cm_upload **ret, struct cm_error *err);

/* Bytes received so far (as sent: encoded bytes for a zstd body). */
int64_t cm_upload_offset(const struct cm_upload *u);

/*
 * Says that what follows is one zstd frame of the blob, to be checked and
 * decoded at commit. CM_ERR_RANGE if plain bytes have been received.
 */
int cm_upload_set_encoding(struct cm_upload *u, enum cm_encoding encoding,
			   struct cm_error *err);

/*
 * Appends bytes. CM_ERR_NO_SPACE on a full disk; CM_ERR_SIZE beyond
 * CM_BLOB_MAX. After a failure the upload holds what it held before.
 */
int cm_upload_append(struct cm_upload *u, const void *data, size_t len,
		     struct cm_error *err);

/*
 * BLOCKING. Makes what was appended durable, so that it may be acknowledged.
 * When the disk fails to (CM_ERR_IO), the session is gone: what was written
 * earlier can't be relied on either.
 */
int cm_upload_sync(struct cm_upload *u, struct cm_error *err);

/*
 * BLOCKING. Ends the upload: checks the digest, compresses or keeps the bytes
 * as they pay, makes the blob durable and visible in the repository, leases
 * it. CM_ERR_DIGEST if the bytes are others, CM_ERR_IO if the disk fails: the
 * session is then gone. A blob that the store has already costs no second
 * copy. The handle must still be closed.
 */
int cm_upload_commit(struct cm_upload *u, const struct cm_digest *expected,
		     struct cm_blob_info *ret, struct cm_error *err);

/*
 * The same for a digest of either algorithm. By a SHA-512 the blob is found
 * from then on (cm_store_resolve()); it is computed here, by reading the bytes
 * a second time. `ret` tells the SHA-256.
 */
int cm_upload_commit_as(struct cm_upload *u,
			const struct cm_any_digest *expected,
			struct cm_blob_info *ret, struct cm_error *err);

/* BLOCKING. Ends the session and removes its bytes. */
int cm_upload_cancel(struct cm_store *s, const char *repo, const char *id,
		     struct cm_error *err);

/* Closes the handle; a session stays open for more. NULL is legal. */
void cm_upload_close(struct cm_upload *u);

CM_DEFINE_CLEANUP(upload, struct cm_upload, cm_upload_close);

/* ---- manifests and tags --------------------------------------------- */

/* What a tag must name now for a put to go through (design §6, Merge). */
enum cm_tag_condition {
	CM_TAG_ANY,
	CM_TAG_ABSENT, /* If-None-Match: * */
	CM_TAG_MATCH,  /* If-Match: the digest in `match` */
};

struct cm_manifest_put {
	const char *repo;
	const char *tag; /* NULL: by digest only */
	/* Tags to point at it besides, without condition. */
	const char *const *more_tags;
	size_t more_tags_len;
	/*
	 * A digest of the bytes, which the caller has checked. By a SHA-512 it
	 * is found from then on, and its tags tell it; NULL: by SHA-256 only.
	 */
	const struct cm_any_digest *name;
	const void *bytes;
	size_t len;
	/* Of the same bytes, resolved (cm_store_resolve_manifest()). */
	const struct cm_manifest *parsed;
	enum cm_tag_condition condition;
	struct cm_digest match;
	const char *writer; /* who writes, recorded; NULL: anonymous */
};

/*
 * BLOCKING. Stores a manifest and points the tags at it, in one transaction.
 * One with a subject is among that one's referrers from then on.
 * Fails, changing nothing, with CM_ERR_MISSING_BLOB if `repo` lacks a blob or
 * manifest that it names (the message names the digest), CM_ERR_SIZE if a
 * descriptor's size is not the blob's, CM_ERR_PRECONDITION if the condition
 * does not hold: then `ret_digest` is what the tag names now, all zero if
 * nothing. On success `ret_digest` is the manifest's digest.
 */
int cm_store_manifest_put(struct cm_store *s, const struct cm_manifest_put *put,
			  struct cm_digest *ret_digest, struct cm_error *err);

/* A stored manifest, as found. */
struct cm_stored_manifest {
	struct cm_digest digest;
	/* What the tag was put by, of either algorithm; else `digest`. */
	struct cm_any_digest name;
	char *media_type;
	void *bytes; /* NULL if only asked about */
	int64_t size;
};

/*
 * Looks up a manifest of `repo` by `tag`, or by `d` if `tag` is NULL, and
 * notes that it was pulled. With `with_bytes` false, `bytes` stays NULL.
 * The blobs it names are protected for as long as a tag or manifest names
 * them; a manifest that is looked up is leased. Caller releases with
 * cm_stored_manifest_release().
 */
int cm_store_manifest_get(struct cm_store *s, const char *repo, const char *tag,
			  const struct cm_digest *d, bool with_bytes,
			  struct cm_stored_manifest *ret, struct cm_error *err);

/* Frees what the struct points to and zeroes it. */
void cm_stored_manifest_release(struct cm_stored_manifest *m);

/*
 * BLOCKING. Removes a manifest and the tags that name it. Its referrers stay:
 * each is a manifest of its own, listed for as long as it is there.
 * CM_ERR_PRECONDITION if an index of `repo` names it.
 */
int cm_store_manifest_delete(struct cm_store *s, const char *repo,
			     const struct cm_digest *d, struct cm_error *err);

/* BLOCKING. Removes a tag; the manifest stays, untagged. */
int cm_store_tag_delete(struct cm_store *s, const char *repo, const char *tag,
			struct cm_error *err);

/* ---- listing -------------------------------------------------------- */

struct cm_tag_info {
	const char *repo;
	const char *tag;
	struct cm_digest digest;
	const char *media_type;
	const char *artifact_type; /* NULL if none */
	int64_t content_size;	   /* of the manifest and all blobs it names */
	int64_t created_ms;	   /* the tag first appeared */
	int64_t updated_ms;	   /* the tag last moved */
	int64_t pulled_ms;	   /* last looked up; 0: never */
	const char *writer;	   /* NULL if anonymous */
	bool pinned;		   /* itself, or with its repository */
	bool importable;	   /* false: see cm_buildkit_unreadable() */
};

struct cm_tag_filter {
	const char *repo; /* exactly this one, or NULL */
	const char
		*repo_prefix; /* path prefix "main" covers "main/…"; or NULL */
	const char *after_repo; /* start behind (after_repo, after_tag) … */
	const char *after_tag;	/* … in byte order; NULL: from the start */
	size_t limit;		/* at most so many */
};

/*
 * Called once per item, in order; what it is given is borrowed for the call.
 * It must not call into the store. Nonzero stops the listing, and is then
 * the listing's result.
 */
typedef int (*cm_tag_fn)(void *arg, const struct cm_tag_info *tag);
typedef int (*cm_repository_fn)(void *arg, const char *repo);

/* Tags by (repository, tag), byte order. CM_ERR_NOT_FOUND: no such `repo`. */
int cm_store_tags(struct cm_store *s, const struct cm_tag_filter *filter,
		  cm_tag_fn fn, void *arg, struct cm_error *err);

/* Repositories in byte order, `prefix` and `after` may be NULL. */
int cm_store_repositories(struct cm_store *s, const char *prefix,
			  const char *after, size_t limit, cm_repository_fn fn,
			  void *arg, struct cm_error *err);

/* A manifest that names another one as its subject. */
struct cm_referrer {
	struct cm_digest digest;
	const char *media_type;
	const char *artifact_type; /* cm_manifest_referrer_type(); or NULL */
	int64_t size;		   /* of the manifest */
};

struct cm_referrer_filter {
	const char *repo;
	const struct cm_any_digest *subject; /* as the manifests write it */
	const char *artifact_type;	     /* exactly this one, or NULL */
	const struct cm_digest *after;	     /* start behind it, or NULL */
	size_t limit;			     /* at most so many */
};

/* As cm_tag_fn. */
typedef int (*cm_referrer_fn)(void *arg, const struct cm_referrer *referrer);

/*
 * The referrers of a subject, in order of their digests. There are none for a
 * repository or a subject that is not there. Manifests of before this was kept
 * are found by cm_store_sweep(), and missing here until then.
 */
int cm_store_referrers(struct cm_store *s,
		       const struct cm_referrer_filter *filter,
		       cm_referrer_fn fn, void *arg, struct cm_error *err);

/* ---- upkeep --------------------------------------------------------- */

struct cm_purge_filter {
	const char *repo;	   /* exactly this one, or NULL */
	const char *repo_prefix;   /* path prefix, or NULL; "" covers all */
	const char *tag;	   /* exactly this one, or NULL: all */
	int64_t updated_before_ms; /* tag moved before; 0: any */
	int64_t pulled_before_ms;  /* unused since; 0: any */
	const char *writer;	   /* written by, or NULL: anyone */
	bool dry_run;		   /* only count */
};

struct cm_purge_result {
	int64_t tags;
	int64_t manifests; /* that no tag or index names any more */
	int64_t blobs;	   /* whose last holder went */
	int64_t bytes;	   /* stored bytes of those blobs and manifests */
};

/*
 * BLOCKING. Removes the tags that match, their manifests that nothing else
 * names, and the blobs that nothing names after that. Shared blobs are not
 * counted. A dry run counts the same and changes nothing. Works in bounded
 * transactions: other writers get in between.
 */
int cm_store_purge(struct cm_store *s, const struct cm_purge_filter *filter,
		   struct cm_purge_result *ret, struct cm_error *err);

struct cm_sweep_result {
	int64_t uploads;   /* abandoned sessions removed */
	int64_t manifests; /* replaced snapshots removed */
	int64_t blobs;	   /* blobs removed from disk */
	int64_t bytes;	   /* stored bytes freed */
	bool more;	   /* the batch was full: call again soon */
};

/*
 * BLOCKING. One bounded batch of upkeep: abandoned uploads, replaced
 * snapshots, blobs that nothing names and no lease keeps, left-over files, and
 * referrers that an earlier version did not list. A lease that was given before
 * a crash is honoured.
 */
int cm_store_sweep(struct cm_store *s, struct cm_sweep_result *ret,
		   struct cm_error *err);

/* ---- limits (design §4, Eviction) ------------------------------------- */

struct cm_evict_result {
	int64_t tags;	   /* least recently used first */
	int64_t manifests; /* that no tag or index named (any more) */
	int64_t blobs;	   /* that nothing named after that */
	int64_t bytes;	   /* stored bytes of those blobs and manifests */
};

/* What a collection did. */
struct cm_gc_result {
	struct cm_sweep_result swept;
	struct cm_evict_result evicted;
	bool more; /* it took too long: call again */
};

/*
 * BLOCKING, for half a minute at most. Sweeps all that is due, and evicts until
 * the store and every scope are down to their low watermarks. Other writers get
 * in between.
 */
int cm_store_gc(struct cm_store *s, struct cm_gc_result *ret,
		struct cm_error *err);

/*
 * BLOCKING. Pins a tag of `repo`, or with `tag` NULL the repository with all
 * tags that it has and gets; or takes such a pin away. A tag stays pinned until
 * both its own pin and its repository's are gone. What is pinned is never
 * evicted; it can be purged and deleted. CM_ERR_NOT_FOUND if there is no such
 * tag, or nothing in such a repository.
 */
int cm_store_pin(struct cm_store *s, const char *repo, const char *tag,
		 bool pinned, struct cm_error *err);

struct cm_scope_info {
	const char *name;
	int64_t bytes; /* of content that its repositories reference */
	int64_t quota; /* 0: none */
};

/* As cm_tag_fn. */
typedef int (*cm_scope_fn)(void *arg, const struct cm_scope_info *scope);

/* Scopes in byte order of names, behind `after` (may be NULL). */
int cm_store_scopes(struct cm_store *s, const char *after, size_t limit,
		    cm_scope_fn fn, void *arg, struct cm_error *err);

/* Those that have a quota, in the same order: CM_SCOPES_MAX at most. */
int cm_store_quotas(struct cm_store *s, cm_scope_fn fn, void *arg,
		    struct cm_error *err);

/*
 * Writes out access times and counters that are due. The store does this on
 * its own too; a server calls it when draining. BLOCKING.
 */
int cm_store_flush(struct cm_store *s, struct cm_error *err);

struct cm_store_stats {
	int64_t repositories;
	int64_t tags;
	int64_t manifests;
	int64_t blobs;
	int64_t content_bytes;	  /* sizes of distinct blobs and manifests */
	int64_t stored_bytes;	  /* the same as they lie on disk */
	int64_t referenced_bytes; /* content, counted once per repository */
	int64_t uploads;	  /* sessions open */
	int64_t quarantined;

	/* The limit and its watermarks; all 0 without one. */
	int64_t limit_bytes; /* --max-size: the hard limit */
	int64_t high_bytes;
	int64_t low_bytes;
	/* What counts against it, in bytes on disk; the sum of the next four.
	 */
	int64_t used_bytes;
	int64_t file_bytes;	  /* files of blobs, in whole blocks */
	int64_t index_bytes;	  /* pages of the index that are in use */
	int64_t upload_bytes;	  /* uploads in progress */
	int64_t quarantine_bytes; /* files put away as damaged */
	int64_t backup_bytes;	  /* copies of the index */

	int64_t pinned_tags;
	int64_t pinned_bytes; /* content that they name, once for each tag */
	/*
	 * For how long the next tag or manifest to be evicted has not been
	 * used: what the limit lets the store remember. 0: there is none.
	 */
	int64_t longest_idle_ms;
	int64_t last_evicted_idle_ms; /* the same of the last one; 0: none */
	bool eviction_stuck;	      /* over the mark, and nothing may go */
	/* For how long eviction or sweep held up other writers, at most. */
	int64_t slowest_batch_us;
};

/*
 * Running totals: costs the same whatever the store holds.
 *
 * Beside them the store keeps counters (cm_store_counters()):
 *
 *	evicted_{tags,manifests,blobs,bytes}_REASON	what went, because of
 *		"size" (the limit), "quota", "purge", or "sweep" (replaced
 *		snapshots by age, and what nothing named after its lease).
 *		Blobs and bytes count once they are off the disk
 *	evicted_idle_seconds	for how long what went by size or quota had not
 *		been used, summed; divide by its tags and manifests
 *	ghost_hits	lookups of a tag that was evicted before: what a larger
 *		limit would have answered
 *	ghost_bytes	the sizes of what they asked for
 *	pulls_unnoted	uses that came too fast to be noted for the order
 */
int cm_store_stats(struct cm_store *s, struct cm_store_stats *ret,
		   struct cm_error *err);

/*
 * Adds to a named counter that lives across restarts (a crash may lose the
 * last seconds). Names are short lower-case words with "_". Never blocks.
 */
void cm_store_counter_add(struct cm_store *s, const char *name, int64_t delta);

typedef int (*cm_counter_fn)(void *arg, const char *name, int64_t value);

/* Each counter with its present value, in order of name. */
int cm_store_counters(struct cm_store *s, cm_counter_fn fn, void *arg,
		      struct cm_error *err);

/* Leases held now, about. Costs the same whatever the store holds. */
int64_t cm_store_leases(struct cm_store *s);

/* ---- history of use ------------------------------------------------- */

/* How the store was used: lookups, and bytes of bodies on the wire. */
struct cm_usage {
	int64_t hits;
	int64_t misses;
	int64_t errors; /* lookups that failed otherwise */
	int64_t writes; /* accepted requests to write */
	int64_t sent_bytes;
	int64_t received_bytes;
};

static inline void cm_usage_add(struct cm_usage *to, const struct cm_usage *u)
{
	to->hits += u->hits;
	to->misses += u->misses;
	to->errors += u->errors;
	to->writes += u->writes;
	to->sent_bytes += u->sent_bytes;
	to->received_bytes += u->received_bytes;
}

static inline void cm_usage_subtract(struct cm_usage *from,
				     const struct cm_usage *u)
{
	from->hits -= u->hits;
	from->misses -= u->misses;
	from->errors -= u->errors;
	from->writes -= u->writes;
	from->sent_bytes -= u->sent_bytes;
	from->received_bytes -= u->received_bytes;
}

#define CM_USAGE_DAYS	  30  /* that are kept, today included */
#define CM_USAGE_DAY_ROWS 512 /* of one day; beyond, scopes count as "" */

/* What one scope was used for on one day. */
struct cm_usage_row {
	int64_t day;	   /* since 1970, UTC */
	const char *scope; /* "": all scopes that have no row of their own */
	const char *kind;  /* the caller's word */
	struct cm_usage usage;
};

/*
 * BLOCKING. Adds `n` rows to the history, in one transaction, and forgets days
 * that are CM_USAGE_DAYS or more before the latest of them, or more than that
 * behind it. A day has at most CM_USAGE_DAY_ROWS rows, and those of "".
 */
int cm_store_usage_add(struct cm_store *s, const struct cm_usage_row *rows,
		       size_t n, struct cm_error *err);

/* Called once per row; the row is borrowed for the call. As cm_tag_fn. */
typedef int (*cm_usage_fn)(void *arg, const struct cm_usage_row *row);

/*
 * The history from `since_day` on: a row for each day and kind, in that order,
 * its `scope` NULL.
 */
int cm_store_usage_days(struct cm_store *s, int64_t since_day, cm_usage_fn fn,
			void *arg, struct cm_error *err);

/*
 * The same, a row for each scope and kind, its `day` 0: the `limit` scopes with
 * the most lookups, these first.
 */
int cm_store_usage_scopes(struct cm_store *s, int64_t since_day, size_t limit,
			  cm_usage_fn fn, void *arg, struct cm_error *err);

#endif
