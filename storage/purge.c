/*
 * purge.c - removing tags that match a filter, and what falls with them.
 *
 * A reader finds tags, a hundred at a time; the writer removes them in bounded
 * transactions (index_purge.c); after each the bytes that nobody was promised
 * are freed, as the sweep would.
 */
#include <string.h>

#include "index_purge.h"
#include "store_private.h"

#define PURGE_A_LOOK 100

struct purge_job {
	struct cm_store *store;
	const struct cm_purge_filter *filter;
	const struct cm_purge_tag *tags;
	size_t len;
	size_t taken;
	struct cm_purge_result result;
};

static int purge_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	struct purge_job *j = arg;
	int r = cm_purge_tables(tx->db, NULL, err);

	if (r == 0)
		r = cm_purge_take(tx->db, j->filter, j->tags, j->len, false,
				  &j->taken, err);
	if (r == 0)
		r = cm_purge_count(tx->db, &j->result, err);
	if (r == 0 && j->result.tags > 0)
		r = cm_purge_apply(tx, j->store->leases, err);
	return r;
}

/* Frees what the purge made due; the sweep does the rest. */
static int reap_purged(struct cm_store *s, struct cm_error *err)
{
	struct cm_sweep_result swept;
	int r = 0;

	do {
		memset(&swept, 0, sizeof(swept));
		r = cm_store_reap(s, 0, &swept, err);
	} while (r == 0 && swept.more);
	return r;
}

static void add_result(struct cm_purge_result *sum,
		       const struct cm_purge_result *part)
{
	sum->tags += part->tags;
	sum->manifests += part->manifests;
	sum->blobs += part->blobs;
	sum->bytes += part->bytes;
}

/* Removes tags in as many transactions as it takes. */
static int purge_tags(struct cm_store *s, const struct cm_purge_filter *filter,
		      const struct cm_purge_tag *tags, size_t n,
		      struct cm_purge_result *ret, struct cm_error *err)
{
	struct purge_job j = {.store = s, .filter = filter};
	int r = 0;

	for (size_t at = 0; r == 0 && at < n; at += j.taken) {
		j.tags = tags + at;
		j.len = n - at;
		r = cm_index_write(s->index, purge_tx, &j, err);
		if (r == 0) {
			add_result(ret, &j.result);
			r = reap_purged(s, err);
		}
	}
	return r;
}

static int find_tags(struct cm_store *s, const struct cm_purge_filter *filter,
		     struct cm_purge_place *place, struct cm_purge_tag *tags,
		     size_t *ret, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int r = cm_index_reader(s->index, &db, err);

	return r < 0 ? r
		     : cm_purge_find(db, filter, place, tags, PURGE_A_LOOK, ret,
				     err);
}

static int purge_for_real(struct cm_store *s,
			  const struct cm_purge_filter *filter,
			  struct cm_purge_result *ret, struct cm_error *err)
{
	struct cm_purge_tag tags[PURGE_A_LOOK];
	struct cm_purge_place place = {0};
	size_t n = 1;
	int r = 0;

	while (r == 0 && n > 0) {
		r = find_tags(s, filter, &place, tags, &n, err);
		if (r == 0)
			r = purge_tags(s, filter, tags, n, ret, err);
	}
	return r;
}

/* Chooses all tags of one snapshot of the index, and counts. */
static int count_purge(struct cm_db *db, const struct cm_purge_filter *filter,
		       struct cm_purge_result *ret, struct cm_error *err)
{
	struct cm_purge_tag tags[PURGE_A_LOOK];
	struct cm_purge_place place = {0};
	size_t n = 1, taken;
	int r = cm_db_exec(db, "BEGIN", err);

	while (r == 0 && n > 0) {
		r = cm_purge_find(db, filter, &place, tags, PURGE_A_LOOK, &n,
				  err);
		if (r == 0)
			r = cm_purge_take(db, filter, tags, n, true, &taken,
					  err);
	}
	return r < 0 ? r : cm_purge_count(db, ret, err);
}

/* On a connection of its own, which goes with all that it made. */
static int purge_dry(struct cm_store *s, const struct cm_purge_filter *filter,
		     struct cm_purge_result *ret, struct cm_error *err)
{
	cm_autofree char *path = NULL;
	struct cm_temp scratch = {.fd = -1};
	struct cm_db *db = NULL;
	int r = cm_bytes_temp_new(s->bytes, &scratch, err);

	if (r == 0)
		r = cm_bytes_temp_path(s->bytes, &scratch, &path, err);
	if (r == 0)
		r = cm_index_connect(s->index, &db, err);
	if (r == 0)
		r = cm_purge_tables(db, path, err);
	if (r == 0)
		r = count_purge(db, filter, ret, err);
	cm_db_close(db);
	cm_bytes_temp_discard(s->bytes, &scratch);
	return r;
}

int cm_store_purge(struct cm_store *s, const struct cm_purge_filter *filter,
		   struct cm_purge_result *ret, struct cm_error *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	/*
	 * Who was pulled a moment ago is not unused. Without that question a
	 * purge works on a full disk, too.
	 */
	r = cm_store_flush(s, filter->pulled_before_ms ? err : NULL);
	if (r < 0 && filter->pulled_before_ms)
		return r;
	if (filter->dry_run)
		return purge_dry(s, filter, ret, err);
	r = purge_for_real(s, filter, ret, err);
	cm_count_evicted(s, "purge",
			 &(struct cm_evict_result){
				 .tags = ret->tags,
				 .manifests = ret->manifests,
				 .blobs = ret->blobs,
				 .bytes = ret->bytes,
			 });
	return r;
}
