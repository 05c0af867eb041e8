/*
 * limit.c - how much the store may hold, and who is let in.
 *
 * What counts is what lies on disk: the files of blobs in whole blocks, uploads
 * in progress, what is in quarantine, backups of the index, and the pages of
 * the index that are in use. The index's write-ahead log comes on top; it is
 * bounded (index.c).
 *
 *	low	where the eviction stops
 *	high	where it begins
 *	hard	where nothing more is taken in
 *
 * All four figures are kept in memory, so asking costs nothing. Bytes of an
 * upload are counted before they are written, so that uploads side by side
 * can't pass the limit together.
 */
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

#define HIGH_PERCENT 95
#define LOW_PERCENT  90
#define AUTO_PERCENT 90
#define WRITE_TRIES  4
#define WAIT_MS	     3000 /* of those who may block */
#define PAUSE_MS     250  /* of those who should not */

static int percent_or(int percent, int otherwise)
{
	return percent > 0 ? percent : otherwise;
}

/*
 * What the file system leaves to us: what we have, and what is free. Where
 * others have filled it we stay as large as we are: a start does not evict.
 */
static int auto_limit(struct cm_store *s, int64_t *ret, struct cm_error *err)
{
	int64_t used = cm_limit_used(s), left = 0;
	int r = cm_bytes_free(s->bytes, &left, err);

	*ret = cm_percent(used + left, AUTO_PERCENT);
	if (cm_percent(*ret, s->options.high_percent) <= used)
		*ret = used / s->options.high_percent * 100 + 100;
	return r;
}

static int set_quotas(struct cm_store *s, struct cm_error *err)
{
	struct cm_quotas_job j = {
		.quotas = s->options.quotas,
		.len = s->options.quotas_len,
		.high_percent = s->options.high_percent,
	};
	int r = cm_index_write(s->index, cm_scope_quotas_tx, &j, err);

	/* On a full disk it serves, with those of the last run. */
	return r == CM_ERR_NO_SPACE ? 0 : r;
}

int cm_limit_init(struct cm_store *s, struct cm_error *err)
{
	struct cm_store_options *o = &s->options;
	int64_t hard = o->max_bytes;
	int r = 0;

	o->high_percent = percent_or(o->high_percent, HIGH_PERCENT);
	o->low_percent = percent_or(o->low_percent, LOW_PERCENT);
	if (hard == CM_MAX_BYTES_AUTO)
		r = auto_limit(s, &hard, err);
	if (hard > 0)
		s->limit = (struct cm_limit){
			.hard = hard,
			.high = cm_percent(hard, o->high_percent),
			.low = cm_percent(hard, o->low_percent),
		};
	return r < 0 ? r : set_quotas(s, err);
}

int64_t cm_limit_used(struct cm_store *s)
{
	return cm_index_total(s->index, CM_TOTAL_FILE_BYTES) +
	       cm_index_bytes(s->index) + cm_bytes_uploads(s->bytes) +
	       cm_bytes_quarantined(s->bytes) + cm_bytes_backed_up(s->bytes);
}

static int refuse(struct cm_store *s, int64_t bytes, struct cm_error *err)
{
	char used[CM_SIZE_TEXT_SIZE], limit[CM_SIZE_TEXT_SIZE];
	char more[CM_SIZE_TEXT_SIZE];

	return cm_error_set(err, CM_ERR_NO_SPACE,
			    "the store has no space left for %s: it uses %s of "
			    "its limit (--max-size) of %s, and what it could "
			    "evict is pinned, was used within the lease time, "
			    "or went too slowly; purge or unpin something, or "
			    "raise the limit",
			    cm_size_format(bytes > 0 ? bytes : 1, more),
			    cm_size_format(cm_limit_used(s), used),
			    cm_size_format(s->limit.hard, limit));
}

/* Counts first and looks then, so that two can't both take the last. */
static bool count(struct cm_store *s, int64_t bytes)
{
	cm_bytes_count(s->bytes, bytes);
	if (s->limit.hard == 0 || cm_limit_used(s) <= s->limit.high)
		return true;
	cm_evictor_wake(s->evictor);
	if (cm_limit_used(s) <= s->limit.hard)
		return true;
	cm_bytes_count(s->bytes, -bytes);
	return false;
}

int cm_limit_take(struct cm_store *s, struct cm_temp *t, size_t len,
		  struct cm_error *err)
{
	int64_t bytes = (int64_t)len;

	if (!count(s, bytes)) {
		cm_evictor_make_room(s->evictor, 0, bytes, PAUSE_MS);
		if (!count(s, bytes))
			return refuse(s, bytes, err);
	}
	t->counted += bytes;
	return 0;
}

void cm_limit_give(struct cm_store *s, struct cm_temp *t, size_t len)
{
	t->counted -= (int64_t)len;
	cm_bytes_count(s->bytes, -(int64_t)len);
}

bool cm_limit_fits(struct cm_store *s, int64_t bytes)
{
	return s->limit.hard == 0 || cm_limit_used(s) + bytes <= s->limit.hard;
}

int cm_limit_admit(struct cm_store *s, int64_t bytes, struct cm_error *err)
{
	if (cm_limit_fits(s, bytes))
		return 0;
	cm_evictor_make_room(s->evictor, 0, bytes, WAIT_MS);
	return cm_limit_fits(s, bytes) ? 0 : refuse(s, bytes, err);
}

/*
 * Has room made in the scope of a repository, if its quota is what was short:
 * whether to try again.
 */
static bool make_room(struct cm_store *s, const char *repo, int64_t bytes)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_scope_use use;
	int r = cm_index_reader(s->index, &db, NULL);

	if (r == 0)
		r = cm_scope_of(db, repo, &use, NULL);
	if (r <= 0 || bytes > use.quota)
		return false;
	if (use.bytes > use.quota - bytes)
		cm_evictor_make_room(s->evictor, use.id, bytes, WAIT_MS);
	return cm_scope_of(db, repo, &use, NULL) > 0 &&
	       use.bytes <= use.quota - bytes;
}

int cm_limit_write(struct cm_store *s, const char *repo, const int64_t *bytes,
		   cm_index_fn fn, void *arg, struct cm_error *err)
{
	int r = cm_index_write(s->index, fn, arg, err);

	for (int i = 1; r == CM_ERR_NO_SPACE && i < WRITE_TRIES; i++) {
		if (!make_room(s, repo, *bytes))
			break;
		r = cm_index_write(s->index, fn, arg, err);
	}
	return r;
}
