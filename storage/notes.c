/*
 * notes.c - what is written down late: when tags were pulled, and counters.
 *
 * Both are collected in fixed tables and written every FLUSH_SECONDS, or sooner
 * when many have come, by one thread, which also checkpoints the index, so that
 * no request waits for either. A crash loses what came since. A pull has its
 * place in the order of use from the moment it is noted, so that the order is
 * exact up to there: after a crash, as if the pulls of the last FLUSH_SECONDS
 * (and of the write under way) had not been. The counters' table holds
 * their values, read once at the start, so that they never run backwards.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cachemount/names.h>
#include <cachemount/units.h>

#include "store_private.h"

#define PULLS_MAX	 16384 /* a power of two */
#define PULL_PROBES	 64
#define PULLS_DUE	 (PULLS_MAX / 4) /* written before their time */
#define PULLS_A_BATCH	 512		 /* in one transaction */
#define COUNTERS_MAX	 64
#define COUNTER_NAME_MAX 48
#define FLUSH_SECONDS	 2

struct pull {
	int64_t repo_id; /* 0: free */
	int64_t at_ms;
	int64_t used; /* its place in the order of use */
	bool by_tag;
	char tag[CM_TAG_MAX + 1];
	struct cm_digest digest;
};

struct counter {
	char name[COUNTER_NAME_MAX];
	int64_t value;
	bool changed; /* since it was written out */
};

struct cm_notes {
	struct cm_store *store;
	pthread_t thread;
	bool runs;
	pthread_mutex_t flush_one; /* one flush at a time, so in order */
	pthread_mutex_t lock;	   /* guards all below */
	pthread_cond_t stop_wanted;
	bool stopping;
	bool due; /* a checkpoint, or the pulls, can't wait for their turn */
	struct pull pulls[PULLS_MAX];
	size_t pulls_len;
	struct counter counters[COUNTERS_MAX];
	size_t counters_len;
};

/* What a flush carries to the writer: a copy, so that noting goes on. */
struct flush_job {
	struct pull pulls[PULLS_MAX];
	size_t at; /* those before have been written */
	struct counter counters[COUNTERS_MAX];
	size_t counters_len;
};

static struct counter *counter_named(struct cm_notes *n, const char *name)
{
	struct counter *c;

	for (size_t i = 0; i < n->counters_len; i++)
		if (strcmp(n->counters[i].name, name) == 0)
			return &n->counters[i];
	if (n->counters_len == COUNTERS_MAX || strlen(name) >= COUNTER_NAME_MAX)
		return NULL;
	c = &n->counters[n->counters_len++];
	*c = (struct counter){.value = 0};
	strcpy(c->name, name);
	return c;
}

static int load_counters(struct cm_notes *n, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	struct counter *c;
	const char *name;
	int r = cm_index_reader(n->store->index, &db, err);

	if (r == 0)
		r = cm_db_query(db, "SELECT name, value FROM counters LIMIT ?",
				&st, err, CM_INT(COUNTERS_MAX));
	for (; r > 0; r = cm_db_next(st, err)) {
		name = (const char *)sqlite3_column_text(st, 0);
		if (!name)
			return cm_error_nomem(err);
		c = counter_named(n, name);
		if (c)
			c->value = sqlite3_column_int64(st, 1);
	}
	return r;
}

int cm_notes_new(struct cm_store *s, struct cm_notes **ret,
		 struct cm_error *err)
{
	struct cm_notes *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return cm_error_nomem(err);
	n->store = s;
	pthread_mutex_init(&n->flush_one, NULL);
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->stop_wanted, NULL);
	r = load_counters(n, err);
	if (r < 0) {
		cm_notes_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void cm_notes_free(struct cm_notes *n)
{
	if (!n)
		return;
	pthread_cond_destroy(&n->stop_wanted);
	pthread_mutex_destroy(&n->lock);
	pthread_mutex_destroy(&n->flush_one);
	free(n);
}

/* ---- noting -------------------------------------------------------------- */

static bool same_pull(const struct pull *p, int64_t repo_id, const char *tag,
		      const struct cm_digest *d)
{
	if (p->repo_id != repo_id || p->by_tag != (tag != NULL))
		return false;
	return tag ? strcmp(p->tag, tag) == 0 : cm_digest_equal(&p->digest, d);
}

static size_t pull_slot(int64_t repo_id, const struct cm_digest *d)
{
	size_t h;

	memcpy(&h, d->sha256, sizeof(h));
	return (h ^ (size_t)repo_id * 0x9E3779B1u) & (PULLS_MAX - 1);
}

/* False if there is no room for it. */
static bool note_pull(struct cm_notes *n, int64_t repo_id, const char *tag,
		      const struct cm_digest *d, int64_t at_ms, int64_t used)
{
	size_t at = pull_slot(repo_id, d);
	struct pull *p;

	for (size_t i = 0; i < PULL_PROBES; i++) {
		p = &n->pulls[(at + i) & (PULLS_MAX - 1)];
		if (p->repo_id != 0 && !same_pull(p, repo_id, tag, d))
			continue;
		if (p->repo_id == 0)
			n->pulls_len++;
		p->repo_id = repo_id;
		p->by_tag = tag != NULL;
		p->digest = *d;
		strncpy(p->tag, tag ? tag : "", CM_TAG_MAX);
		if (p->used < used) {
			p->used = used;
			p->at_ms = at_ms;
		}
		return true;
	}
	return false;
}

void cm_notes_pulled(struct cm_notes *n, int64_t repo_id, const char *tag,
		     const struct cm_digest *d)
{
	bool noted;

	pthread_mutex_lock(&n->lock);
	noted = note_pull(n, repo_id, tag, d, cm_now_ms(),
			  cm_index_tick(n->store->index));
	if (n->pulls_len >= PULLS_DUE && !n->due) {
		n->due = true;
		pthread_cond_signal(&n->stop_wanted);
	}
	pthread_mutex_unlock(&n->lock);
	if (!noted)
		cm_store_counter_add(n->store, "pulls_unnoted", 1);
}

void cm_store_counter_add(struct cm_store *s, const char *name, int64_t delta)
{
	struct counter *c;

	pthread_mutex_lock(&s->notes->lock);
	c = counter_named(s->notes, name);
	if (c) {
		c->value += delta;
		c->changed = true;
	}
	pthread_mutex_unlock(&s->notes->lock);
}

/* ---- writing out --------------------------------------------------------- */

static int write_pull(struct cm_tx *tx, const struct pull *p,
		      struct cm_error *err)
{
	int r = 0;

	if (p->by_tag)
		r = cm_db_run(tx->db,
			      "UPDATE tags SET pulled_ms = ?,"
			      " used = max(used, ?)"
			      " WHERE repo_id = ? AND name = ?",
			      err, CM_INT(p->at_ms), CM_INT(p->used),
			      CM_INT(p->repo_id), CM_TEXT(p->tag));
	if (r == 0)
		r = cm_db_run(tx->db,
			      "UPDATE manifests SET used_ms = ?,"
			      " used = max(used, ?)"
			      " WHERE repo_id = ? AND digest = ?",
			      err, CM_INT(p->at_ms),
			      CM_INT(p->by_tag ? 0 : p->used),
			      CM_INT(p->repo_id), CM_DIGEST(&p->digest));
	return r;
}

/* As many pulls as one transaction takes. */
static int pulls_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct flush_job *j = arg;
	size_t at = j->at, written = 0;
	int r = 0;

	for (; r == 0 && at < PULLS_MAX && written < PULLS_A_BATCH; at++) {
		if (j->pulls[at].repo_id == 0)
			continue;
		r = write_pull(tx, &j->pulls[at], err);
		written++;
	}
	if (r == 0)
		j->at = at;
	return r;
}

static int counters_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct flush_job *j = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < j->counters_len; i++)
		if (j->counters[i].changed)
			r = cm_db_run(tx->db,
				      "INSERT OR REPLACE INTO counters"
				      " VALUES(?, ?)",
				      err, CM_TEXT(j->counters[i].name),
				      CM_INT(j->counters[i].value));
	return r;
}

/* Cuts what has been noted over to `j`; false if there is nothing. */
static bool take(struct cm_notes *n, struct flush_job *j)
{
	bool any;

	pthread_mutex_lock(&n->lock);
	j->at = n->pulls_len > 0 ? 0 : PULLS_MAX;
	any = n->pulls_len > 0;
	for (size_t i = 0; i < n->counters_len; i++)
		any |= n->counters[i].changed;
	if (any) {
		if (n->pulls_len > 0) {
			memcpy(j->pulls, n->pulls, sizeof(j->pulls));
			memset(n->pulls, 0, sizeof(n->pulls));
		}
		n->pulls_len = 0;
		memcpy(j->counters, n->counters, sizeof(j->counters));
		j->counters_len = n->counters_len;
		for (size_t i = 0; i < n->counters_len; i++)
			n->counters[i].changed = false;
	}
	pthread_mutex_unlock(&n->lock);
	return any;
}

/* A flush that failed: all that it carried is still owed. */
static void put_back(struct cm_notes *n, const struct flush_job *j)
{
	const struct pull *p;

	pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < j->counters_len; i++)
		n->counters[i].changed |= j->counters[i].changed;
	for (size_t i = j->at; i < PULLS_MAX; i++) {
		p = &j->pulls[i];
		if (p->repo_id != 0)
			note_pull(n, p->repo_id, p->by_tag ? p->tag : NULL,
				  &p->digest, p->at_ms, p->used);
	}
	pthread_mutex_unlock(&n->lock);
}

/* Other writers get in between the pieces. */
static int write_out(struct cm_index *ix, struct flush_job *j,
		     struct cm_error *err)
{
	int r = 0;

	while (r == 0 && j->at < PULLS_MAX)
		r = cm_index_write(ix, pulls_tx, j, err);
	return r < 0 ? r : cm_index_write(ix, counters_tx, j, err);
}

int cm_store_flush(struct cm_store *s, struct cm_error *err)
{
	cm_autofree struct flush_job *j = malloc(sizeof(*j));
	int r = 0;

	if (!j)
		return cm_error_nomem(err);
	pthread_mutex_lock(&s->notes->flush_one);
	if (take(s->notes, j))
		r = write_out(s->index, j, err);
	if (r < 0)
		put_back(s->notes, j);
	pthread_mutex_unlock(&s->notes->flush_one);
	return r;
}

static bool wait_for_turn(struct cm_notes *n)
{
	struct timespec until;
	bool stopping;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FLUSH_SECONDS;
	pthread_mutex_lock(&n->lock);
	while (!n->stopping && !n->due &&
	       pthread_cond_timedwait(&n->stop_wanted, &n->lock, &until) == 0)
		;
	n->due = false;
	stopping = n->stopping;
	pthread_mutex_unlock(&n->lock);
	return !stopping;
}

/* Failures are met again, and told, by the next write of a client. */
static void *notes_main(void *arg)
{
	struct cm_notes *n = arg;

	while (wait_for_turn(n)) {
		cm_store_flush(n->store, NULL);
		cm_index_checkpoint(n->store->index, NULL);
	}
	return NULL;
}

/* Called by the index's writer. */
static void note_growth(void *arg)
{
	struct cm_notes *n = arg;

	pthread_mutex_lock(&n->lock);
	n->due = true;
	pthread_cond_signal(&n->stop_wanted);
	pthread_mutex_unlock(&n->lock);
}

int cm_notes_start(struct cm_notes *n, struct cm_error *err)
{
	cm_index_on_growth(n->store->index, note_growth, n);
	if (pthread_create(&n->thread, NULL, notes_main, n) != 0)
		return cm_error_set(err, CM_ERR_IO,
				    "cannot start the store's thread");
	n->runs = true;
	return 0;
}

void cm_notes_stop(struct cm_notes *n)
{
	if (!n || !n->runs)
		return;
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	pthread_cond_signal(&n->stop_wanted);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
	cm_index_on_growth(n->store->index, NULL, NULL);
	n->runs = false;
}

/* ---- reading back -------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct counter *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int cm_store_counters(struct cm_store *s, cm_counter_fn fn, void *arg,
		      struct cm_error *err)
{
	struct counter counters[COUNTERS_MAX];
	size_t len;
	int r = 0;

	(void)err; /* nothing of ours can fail */
	pthread_mutex_lock(&s->notes->lock);
	len = s->notes->counters_len;
	memcpy(counters, s->notes->counters, len * sizeof(counters[0]));
	pthread_mutex_unlock(&s->notes->lock);
	qsort(counters, len, sizeof(counters[0]), by_name);
	for (size_t i = 0; r == 0 && i < len; i++)
		r = fn(arg, counters[i].name, counters[i].value);
	return r;
}
