/*
 * index.c - connections and the group-committing writer.
 *
 * One thread writes. It takes everything that is queued, up to a limit, runs
 * each caller's function inside a savepoint, commits once, and wakes the
 * callers: the more callers, the fewer syncs each one costs.
 *
 * Locks: `lock` guards the queue and the pool of connections and is held for
 * a few instructions only; never while SQLite runs.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <cachemount/units.h>

#include "index.h"
#include "schema.h"

#define BATCH_MAX 256
#define QUEUE_MAX 8192
/*
 * In pages of 4 KiB: the checkpointing thread is woken whenever the log has
 * grown by the first; at the second the writer itself starts the log over.
 */
#define WAKE_WAL_PAGES	   4096
#define RESTART_WAL_PAGES  32768
#define RESTART_TIMEOUT_MS 200

struct job {
	cm_index_fn fn;
	void *arg;
	struct cm_error own_err;
	int result;
	bool done;
	pthread_cond_t wake;
	struct job *next;
};

struct cm_index {
	char *path;
	pthread_t writer;
	bool writer_runs;
	struct cm_db *write_db;

	pthread_mutex_t lock;
	pthread_cond_t queued;
	struct job *first, **last;
	size_t queue_len;
	bool closing;
	struct cm_db *idle; /* readers */
	void (*on_growth)(void *arg);
	void *on_growth_arg;
	void (*on_commit)(void *arg, bool over_quota);
	void *on_commit_arg;

	/* After the last commit; written by the writer, read by anybody. */
	_Atomic int64_t totals[CM_TOTALS_LEN];
	_Atomic int64_t bytes;
	_Atomic int64_t clock; /* the last number of the order of use */

	/* The writer's. */
	int wal_pages;	/* after the last commit */
	int wake_at;	/* at how many to wake the checkpointing thread */
	int restart_at; /* how many are too many */
	int64_t saved_clock;
};

static const char *const total_names[CM_TOTALS_LEN] = {
	[CM_TOTAL_REPOSITORIES] = "repositories",
	[CM_TOTAL_TAGS] = "tags",
	[CM_TOTAL_MANIFESTS] = "manifests",
	[CM_TOTAL_BLOBS] = "blobs",
	[CM_TOTAL_CONTENT_BYTES] = "content_bytes",
	[CM_TOTAL_STORED_BYTES] = "stored_bytes",
	[CM_TOTAL_REFERENCED_BYTES] = "referenced_bytes",
	[CM_TOTAL_UPLOADS] = "uploads",
	[CM_TOTAL_QUARANTINED] = "quarantined",
	[CM_TOTAL_FILE_BYTES] = "file_bytes",
	[CM_TOTAL_PINNED_TAGS] = "pinned_tags",
	[CM_TOTAL_PINNED_BYTES] = "pinned_bytes",
};

/* ---- transactions ----------------------------------------------------- */

static int write_totals(struct cm_tx *tx, struct cm_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < CM_TOTALS_LEN; i++)
		if (tx->totals[i] != 0)
			r = cm_db_run(tx->db,
				      "INSERT INTO totals VALUES(?1, ?2)"
				      " ON CONFLICT(name) DO UPDATE SET"
				      " value = value + ?2",
				      err, CM_TEXT(total_names[i]),
				      CM_INT(tx->totals[i]));
	return r;
}

/*
 * Takes back what a failed job did. A failure of the machine (a full disk, no
 * memory) may have made SQLite end the transaction: then the job's reason is
 * the one to tell the others.
 */
static int undo_job(struct cm_tx *tx, const struct job *j, struct cm_error *err)
{
	int r;

	tx->db->repos_generation++;
	if (sqlite3_get_autocommit(tx->db->handle)) {
		*err = j->own_err;
		return j->result;
	}
	r = cm_db_run(tx->db, "ROLLBACK TO job", err);
	return r == 0 ? cm_db_run(tx->db, "RELEASE job", err) : r;
}

/*
 * Runs one job in a savepoint, so that its failure is its own. Fails only when
 * the whole batch has.
 */
static int run_job(struct cm_tx *tx, struct job *j, struct cm_error *err)
{
	int64_t totals[CM_TOTALS_LEN];
	bool over_quota = tx->over_quota;
	int r = cm_db_run(tx->db, "SAVEPOINT job", err);

	if (r < 0)
		return r;
	memcpy(totals, tx->totals, sizeof(totals));
	j->result = j->fn(tx, j->arg, &j->own_err);
	if (j->result >= 0 && cm_scope_flush(tx, &j->own_err) < 0)
		j->result = j->own_err.status;
	if (j->result >= 0)
		return cm_db_run(tx->db, "RELEASE job", err);
	tx->scope_loss = 0;
	memcpy(tx->totals, totals, sizeof(totals));
	tx->over_quota = over_quota;
	return undo_job(tx, j, err);
}

/* One number that a statement gives. */
static int read_number(struct cm_db *db, const char *sql, int64_t *ret,
		       struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(db, sql, &st, err);

	*ret = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	return r < 0 ? r : 0;
}

/* Free pages are not counted: what is written next goes there. */
static int measure(struct cm_db *db, int64_t *ret, struct cm_error *err)
{
	int64_t pages = 0, unused = 0, size = 0;
	int r = read_number(db, "PRAGMA page_count", &pages, err);

	if (r == 0)
		r = read_number(db, "PRAGMA freelist_count", &unused, err);
	if (r == 0)
		r = read_number(db, "PRAGMA page_size", &size, err);
	*ret = (pages - unused) * size;
	return r;
}

/* Never behind a number that a row has. */
static int write_clock(struct cm_tx *tx, int64_t clock, struct cm_error *err)
{
	if (clock == tx->index->saved_clock)
		return 0;
	return cm_db_run(tx->db,
			 "INSERT OR REPLACE INTO state VALUES('clock', ?)", err,
			 CM_INT(clock));
}

static int commit(struct cm_tx *tx, struct cm_error *err)
{
	int64_t bytes = 0, clock = cm_index_clock(tx->index);
	int r = write_totals(tx, err);

	if (r == 0)
		r = write_clock(tx, clock, err);
	if (r == 0)
		r = measure(tx->db, &bytes, err);
	if (r == 0)
		r = cm_db_run(tx->db, "COMMIT", err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < CM_TOTALS_LEN; i++)
		if (tx->totals[i] != 0)
			atomic_fetch_add(&tx->index->totals[i], tx->totals[i]);
	atomic_store(&tx->index->bytes, bytes);
	tx->index->saved_clock = clock;
	return 0;
}

static void tell_commit(struct cm_index *ix, bool over_quota)
{
	void (*fn)(void *, bool);
	void *arg;

	pthread_mutex_lock(&ix->lock);
	fn = ix->on_commit;
	arg = ix->on_commit_arg;
	pthread_mutex_unlock(&ix->lock);
	if (fn)
		fn(arg, over_quota);
}

/* After a failure that took the whole transaction with it. */
static void fail_batch(struct cm_db *db, struct job *jobs,
		       const struct cm_error *why)
{
	if (!sqlite3_get_autocommit(db->handle))
		cm_db_exec(db, "ROLLBACK", NULL);
	db->repos_generation++;
	for (struct job *j = jobs; j; j = j->next) {
		if (j->result < 0)
			continue; /* has its own reason */
		j->result = why->status;
		j->own_err = *why;
	}
}

static void run_batch(struct cm_index *ix, struct job *jobs)
{
	struct cm_tx tx = {
		.db = ix->write_db,
		.index = ix,
		.now_ms = cm_now_ms(),
	};
	struct cm_error err = {0};
	int r;

	r = cm_db_run(tx.db, "BEGIN IMMEDIATE", &err);
	for (struct job *j = jobs; r == 0 && j; j = j->next)
		r = run_job(&tx, j, &err);
	if (r == 0)
		r = commit(&tx, &err);
	if (r < 0)
		fail_batch(tx.db, jobs, &err);
	else
		tell_commit(ix, tx.over_quota);
}

/* Cuts up to BATCH_MAX jobs off the queue; waits for the first. */
static struct job *take_batch(struct cm_index *ix)
{
	struct job *jobs, *j;
	size_t n = 1;

	pthread_mutex_lock(&ix->lock);
	while (!ix->first && !ix->closing)
		pthread_cond_wait(&ix->queued, &ix->lock);
	jobs = j = ix->first;
	if (j) {
		for (; j->next && n < BATCH_MAX; n++)
			j = j->next;
		ix->first = j->next;
		if (!ix->first)
			ix->last = &ix->first;
		j->next = NULL;
		ix->queue_len -= n;
	}
	pthread_mutex_unlock(&ix->lock);
	return jobs;
}

static void wake_all(struct cm_index *ix, struct job *jobs)
{
	struct job *next;

	pthread_mutex_lock(&ix->lock);
	for (struct job *j = jobs; j; j = next) {
		next = j->next; /* the job is the caller's again once done */
		j->done = true;
		pthread_cond_signal(&j->wake);
	}
	pthread_mutex_unlock(&ix->lock);
}

static int note_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct cm_index *ix = arg;
	void (*fn)(void *);
	void *fn_arg;

	(void)db;
	(void)name;
	ix->wal_pages = pages;
	if (pages < WAKE_WAL_PAGES)
		ix->wake_at = WAKE_WAL_PAGES;
	if (pages < ix->wake_at)
		return SQLITE_OK;
	ix->wake_at = pages + WAKE_WAL_PAGES;
	pthread_mutex_lock(&ix->lock);
	fn = ix->on_growth;
	fn_arg = ix->on_growth_arg;
	pthread_mutex_unlock(&ix->lock);
	if (fn)
		fn(fn_arg);
	return SQLITE_OK;
}

/*
 * Starts the log over, which needs a moment in which nobody reads from it. A
 * reader that takes long (a large dry run) must not hold up every write: then
 * the log grows by a quarter before the next try.
 */
static void restart_log(struct cm_index *ix)
{
	sqlite3 *handle = ix->write_db->handle;
	int rc;

	sqlite3_busy_timeout(handle, RESTART_TIMEOUT_MS);
	rc = sqlite3_wal_checkpoint_v2(handle, NULL, SQLITE_CHECKPOINT_RESTART,
				       NULL, NULL);
	sqlite3_busy_timeout(handle, CM_DB_BUSY_TIMEOUT_MS);
	ix->restart_at = RESTART_WAL_PAGES;
	if (rc != SQLITE_OK)
		ix->restart_at = ix->wal_pages + RESTART_WAL_PAGES / 4;
}

static void *writer_main(void *arg)
{
	struct cm_index *ix = arg;
	struct job *jobs;

	while ((jobs = take_batch(ix))) {
		run_batch(ix, jobs);
		wake_all(ix, jobs);
		/* Only if the checkpointing thread can't keep up. */
		if (ix->wal_pages > ix->restart_at)
			restart_log(ix);
	}
	return NULL;
}

int cm_index_write(struct cm_index *ix, cm_index_fn fn, void *arg,
		   struct cm_error *err)
{
	struct job j = {.fn = fn, .arg = arg};

	pthread_cond_init(&j.wake, NULL);
	pthread_mutex_lock(&ix->lock);
	if (ix->queue_len >= QUEUE_MAX) {
		pthread_mutex_unlock(&ix->lock);
		return cm_error_set(err, CM_ERR_BUSY,
				    "too many writes are waiting");
	}
	*ix->last = &j;
	ix->last = &j.next;
	if (ix->queue_len++ == 0)
		pthread_cond_signal(&ix->queued);
	while (!j.done)
		pthread_cond_wait(&j.wake, &ix->lock);
	pthread_mutex_unlock(&ix->lock);
	pthread_cond_destroy(&j.wake);
	if (j.result < 0 && err)
		*err = j.own_err;
	return j.result;
}

/* ---- opening, connections --------------------------------------------- */

static int load_totals(struct cm_index *ix, struct cm_error *err)
{
	int64_t totals[CM_TOTALS_LEN], bytes = 0;
	int r = cm_index_totals(ix->write_db, totals, err);

	for (size_t i = 0; r == 0 && i < CM_TOTALS_LEN; i++)
		atomic_store(&ix->totals[i], totals[i]);
	if (r == 0)
		r = measure(ix->write_db, &bytes, err);
	atomic_store(&ix->bytes, bytes);
	if (r == 0)
		r = read_number(ix->write_db,
				"SELECT value FROM state WHERE name = 'clock'",
				&ix->saved_clock, err);
	atomic_store(&ix->clock, ix->saved_clock);
	return r;
}

int cm_index_open(const char *path, struct cm_index **ret, struct cm_error *err)
{
	struct cm_index *ix = calloc(1, sizeof(*ix));
	int r;

	if (!ix)
		return cm_error_nomem(err);
	pthread_mutex_init(&ix->lock, NULL);
	pthread_cond_init(&ix->queued, NULL);
	ix->last = &ix->first;
	ix->wake_at = WAKE_WAL_PAGES;
	ix->restart_at = RESTART_WAL_PAGES;
	ix->path = strdup(path);
	r = ix->path ? cm_db_open(path, true, &ix->write_db, err)
		     : cm_error_nomem(err);
	/* A batch of an eviction touches more pages than a reader ever does. */
	if (r == 0)
		r = cm_db_exec(ix->write_db, "PRAGMA cache_size = -16384", err);
	if (r == 0)
		r = cm_schema_migrate(ix->write_db, err);
	if (r == 0)
		r = load_totals(ix, err);
	if (r == 0) {
		sqlite3_wal_hook(ix->write_db->handle, note_wal, ix);
		if (pthread_create(&ix->writer, NULL, writer_main, ix) != 0)
			r = cm_error_set(err, CM_ERR_IO,
					 "cannot start the writer thread");
		else
			ix->writer_runs = true;
	}
	if (r < 0) {
		cm_index_close(ix);
		return r;
	}
	*ret = ix;
	return 0;
}

void cm_index_close(struct cm_index *ix)
{
	struct cm_db *db;

	if (!ix)
		return;
	pthread_mutex_lock(&ix->lock);
	ix->closing = true;
	pthread_cond_signal(&ix->queued);
	pthread_mutex_unlock(&ix->lock);
	if (ix->writer_runs)
		pthread_join(ix->writer, NULL);
	while ((db = ix->idle)) {
		ix->idle = db->next;
		cm_db_close(db);
	}
	cm_db_close(ix->write_db);
	pthread_cond_destroy(&ix->queued);
	pthread_mutex_destroy(&ix->lock);
	free(ix->path);
	free(ix);
}

int cm_index_connect(struct cm_index *ix, struct cm_db **ret,
		     struct cm_error *err)
{
	return cm_db_open(ix->path, false, ret, err);
}

int cm_index_reader(struct cm_index *ix, struct cm_db **ret,
		    struct cm_error *err)
{
	struct cm_db *db;
	int r;

	pthread_mutex_lock(&ix->lock);
	db = ix->idle;
	if (db)
		ix->idle = db->next;
	pthread_mutex_unlock(&ix->lock);
	if (!db) {
		r = cm_db_open(ix->path, false, &db, err);
		if (r < 0)
			return r;
		db->index = ix;
	}
	*ret = db;
	return 0;
}

void cm_index_reader_done(struct cm_db *db)
{
	struct cm_index *ix;

	if (!db)
		return;
	ix = db->index;
	pthread_mutex_lock(&ix->lock);
	db->next = ix->idle;
	ix->idle = db;
	pthread_mutex_unlock(&ix->lock);
}

void cm_index_on_growth(struct cm_index *ix, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&ix->lock);
	ix->on_growth_arg = arg;
	ix->on_growth = fn;
	pthread_mutex_unlock(&ix->lock);
}

void cm_index_on_commit(struct cm_index *ix,
			void (*fn)(void *arg, bool over_quota), void *arg)
{
	pthread_mutex_lock(&ix->lock);
	ix->on_commit_arg = arg;
	ix->on_commit = fn;
	pthread_mutex_unlock(&ix->lock);
}

int64_t cm_index_tick(struct cm_index *ix)
{
	return atomic_fetch_add(&ix->clock, 1) + 1;
}

int64_t cm_index_clock(struct cm_index *ix)
{
	return atomic_load(&ix->clock);
}

int64_t cm_index_total(struct cm_index *ix, enum cm_total which)
{
	return atomic_load(&ix->totals[which]);
}

int64_t cm_index_bytes(struct cm_index *ix)
{
	return atomic_load(&ix->bytes);
}

int cm_index_checkpoint(struct cm_index *ix, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int r = cm_index_reader(ix, &db, err);

	if (r < 0)
		return r;
	return cm_db_exec(db, "PRAGMA wal_checkpoint(PASSIVE)", err);
}

int cm_tx_total(struct cm_tx *tx, enum cm_total which, int64_t *ret,
		struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int r = cm_db_query(tx->db, "SELECT value FROM totals WHERE name = ?",
			    &st, err, CM_TEXT(total_names[which]));

	*ret = tx->totals[which];
	if (r > 0)
		*ret += sqlite3_column_int64(st, 0);
	return r < 0 ? r : 0;
}

int cm_index_totals(struct cm_db *db, int64_t ret[static CM_TOTALS_LEN],
		    struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	const char *name;
	int r;

	memset(ret, 0, CM_TOTALS_LEN * sizeof(ret[0]));
	r = cm_db_query(db, "SELECT name, value FROM totals", &st, err);
	for (; r > 0; r = cm_db_next(st, err)) {
		name = (const char *)sqlite3_column_text(st, 0);
		for (size_t i = 0; name && i < CM_TOTALS_LEN; i++)
			if (strcmp(name, total_names[i]) == 0)
				ret[i] = sqlite3_column_int64(st, 1);
	}
	return r;
}
