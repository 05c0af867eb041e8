/*
 * scrub.c - reading everything again, slowly: what rots is found before a
 * build wants it.
 *
 * A round goes through all blobs in order of their digests. Digests are spread
 * evenly, so the first bytes of the one it has come to are its place, which is
 * written down every few seconds, and also tell how much of the round is done.
 * Readers see nothing of it: a batch reads its rows, ends its look at the
 * index, and then reads the blobs one by one.
 */
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

#define ROWS_A_BATCH 64
#define SAVE_MS	     10000
/* What opening a blob costs, in bytes read: small ones come in millions. */
#define BLOB_COST (16 << 10)

struct cm_scrub {
	struct cm_db *db; /* maps nothing */
	bool running;
	int64_t began_ms, ended_ms;
	struct cm_digest after; /* the last blob that was read */
	int64_t saved_ms;	/* monotonic */
};

void cm_scrub_free(struct cm_scrub *scrub)
{
	if (!scrub)
		return;
	cm_db_close(scrub->db);
	free(scrub);
}

/* ---- its place ------------------------------------------------------- */

/* The first 8 bytes of a digest as a number, and back. */
static int64_t place_of(const struct cm_digest *d)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | d->sha256[i];
	return (int64_t)n;
}

static void digest_at(int64_t place, struct cm_digest *ret)
{
	uint64_t n = (uint64_t)place;

	memset(ret, 0, sizeof(*ret));
	for (int i = 7; i >= 0; i--, n >>= 8)
		ret->sha256[i] = n & 0xff;
}

static int load(struct cm_scrub *sc, struct cm_error *err)
{
	int64_t running, place;
	int r = cm_state_read(sc->db, "scrub_running", &running, err);

	if (r == 0)
		r = cm_state_read(sc->db, "scrub_began_ms", &sc->began_ms, err);
	if (r == 0)
		r = cm_state_read(sc->db, "scrub_ended_ms", &sc->ended_ms, err);
	if (r == 0)
		r = cm_state_read(sc->db, "scrub_place", &place, err);
	if (r < 0)
		return r;
	sc->running = running != 0;
	digest_at(place, &sc->after);
	return 0;
}

static int save_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct cm_scrub *sc = arg;
	int r = cm_state_write(tx, "scrub_running", sc->running, err);

	if (r == 0)
		r = cm_state_write(tx, "scrub_began_ms", sc->began_ms, err);
	if (r == 0)
		r = cm_state_write(tx, "scrub_ended_ms", sc->ended_ms, err);
	if (r == 0)
		r = cm_state_write(tx, "scrub_place", place_of(&sc->after),
				   err);
	return r;
}

int cm_scrub_restart_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct cm_scrub fresh = {.running = false};

	(void)arg;
	return save_tx(tx, &fresh, err);
}

static int save(struct cm_store *s, struct cm_error *err)
{
	s->scrub->saved_ms = cm_monotonic_ms();
	return cm_index_write(s->index, save_tx, s->scrub, err);
}

static int begin(struct cm_store *s, struct cm_error *err)
{
	struct cm_scrub *sc;
	int r;

	if (s->scrub)
		return 0;
	sc = calloc(1, sizeof(*sc));
	if (!sc)
		return cm_error_nomem(err);
	r = cm_index_connect_aside(s->index, &sc->db, err);
	if (r == 0)
		r = load(sc, err);
	if (r < 0) {
		cm_scrub_free(sc);
		return r;
	}
	s->scrub = sc;
	return 0;
}

/* ---- a batch --------------------------------------------------------- */

static int pace(const struct cm_scrub_options *o, int64_t bytes,
		struct cm_error *err)
{
	if (!o->pace || o->pace(o->arg, bytes) == 0)
		return 0;
	return cm_error_set(err, CM_ERR_CANCELLED, "asked to stop");
}

/*
 * A row may be gone, or another, by the time that its blob is read. One that
 * can't be condemned (a full disk) is met again in the next round.
 */
static void condemn(struct cm_store *s, const struct cm_blob_row *row,
		    const struct cm_scrub_options *o, const char *why,
		    struct cm_scrub_result *ret)
{
	int r = cm_store_condemn(s, &row->info.digest, NULL);

	if (r < 0)
		ret->unreadable++;
	if (r <= 0)
		return;
	ret->damaged++;
	if (o->damaged)
		o->damaged(o->arg, &row->info.digest, why);
}

static int check_one(struct cm_store *s, const struct cm_blob_row *row,
		     const struct cm_scrub_options *o,
		     struct cm_scrub_result *ret, struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	struct cm_error why = {0};
	int r = cm_blob_open_row(s, s->scrub->db, row, &b, &why);

	if (r == 0)
		r = cm_store_check_content(b, o->pace, o->arg, &why);
	if (r == CM_ERR_CANCELLED || r == CM_ERR_NO_MEMORY) {
		if (err)
			*err = why;
		return r;
	}
	ret->blobs++;
	ret->bytes += row->info.stored_size;
	/* That the disk can't be read now says nothing of the bytes. */
	if (r == CM_ERR_CORRUPT)
		condemn(s, row, o, why.text, ret);
	else if (r < 0)
		ret->unreadable++;
	return pace(o, BLOB_COST, err);
}

static int check_batch(struct cm_store *s, const struct cm_scrub_options *o,
		       struct cm_scrub_result *ret, struct cm_error *err)
{
	struct cm_blob_row rows[ROWS_A_BATCH];
	struct cm_scrub *sc = s->scrub;
	size_t n = 0;
	int r = cm_blobs_behind(sc->db, &sc->after, rows, ROWS_A_BATCH, &n,
				err);

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = check_one(s, &rows[i], o, ret, err);
		if (r == 0)
			sc->after = rows[i].info.digest;
		if (r == 0 && cm_monotonic_ms() - sc->saved_ms > SAVE_MS)
			r = save(s, err);
	}
	ret->ended = r == 0 && n < ROWS_A_BATCH;
	return r;
}

/* A clock that was set back must not put a round off for years. */
static bool due(const struct cm_scrub *sc, int64_t every_ms, int64_t now)
{
	return sc->began_ms == 0 || now < sc->began_ms ||
	       now - sc->began_ms >= every_ms;
}

static int run_batch(struct cm_store *s, const struct cm_scrub_options *o,
		     struct cm_scrub_result *ret, struct cm_error *err)
{
	struct cm_scrub *sc = s->scrub;
	int64_t now = cm_now_ms();
	int r;

	if (!sc->running && !due(sc, o->every_ms, now)) {
		ret->idle = true;
		return 0;
	}
	if (!sc->running) {
		sc->running = true;
		sc->began_ms = now;
		memset(&sc->after, 0, sizeof(sc->after));
	}
	r = check_batch(s, o, ret, err);
	if (r == CM_ERR_CANCELLED)
		save(s, NULL);
	if (!ret->ended)
		return r;
	sc->running = false;
	sc->ended_ms = cm_now_ms();
	return save(s, err);
}

int cm_store_scrub(struct cm_store *s, const struct cm_scrub_options *options,
		   struct cm_scrub_result *ret, struct cm_error *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = begin(s, err);
	return r == 0 ? run_batch(s, options, ret, err) : r;
}

int cm_store_scrub_status(struct cm_store *s, struct cm_scrub_status *ret,
			  struct cm_error *err)
{
	struct cm_scrub sc = {.running = false};
	cm_auto(reader) struct cm_db *db = NULL;
	int r = cm_index_reader(s->index, &db, err);

	sc.db = db;
	if (r == 0)
		r = load(&sc, err);
	if (r < 0)
		return r;
	*ret = (struct cm_scrub_status){
		.running = sc.running,
		.began_ms = sc.began_ms,
		.ended_ms = sc.ended_ms,
		.progress = (double)(uint64_t)place_of(&sc.after) /
			    18446744073709551616.0,
	};
	return 0;
}
