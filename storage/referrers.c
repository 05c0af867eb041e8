/*
 * referrers.c - listing the referrers of a manifest, and finding those that
 * were put before the index kept them: a few a batch, in the background, since
 * it reads each manifest once.
 */
#include "store_private.h"

/* A batch of the search; in bytes, so that no batch is all large manifests. */
#define FILL_A_BATCH	 256
#define FILL_BYTES_BATCH (8LL << 20)

int cm_store_referrers(struct cm_store *s,
		       const struct cm_referrer_filter *filter,
		       cm_referrer_fn fn, void *arg, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int64_t repo_id = 0;
	int r = cm_index_reader(s->index, &db, err);

	if (r == 0)
		r = cm_repo_find(db, filter->repo, &repo_id, err);
	if (r < 0 || repo_id == 0)
		return r;
	return cm_referrer_list(db, repo_id, filter, fn, arg, err);
}

/* One that can't be read or parsed has no subject that anyone could see. */
static int64_t look_at(struct cm_store *s, struct cm_old_manifest *item)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	cm_autofree void *bytes = NULL;
	struct cm_blob_row row;

	if (cm_blob_open_any(s, &item->digest, &row, &b, NULL) < 0 ||
	    cm_blob_read_all(b, &bytes, NULL) < 0)
		return 0;
	cm_manifest_parse(bytes, (size_t)row.info.size, item->media_type,
			  &item->parsed, NULL);
	if (item->parsed && !item->parsed->has_subject)
		cm_manifest_free(cm_take_ptr(item->parsed));
	return row.info.size;
}

/* Looks at as many as a batch may read; the others are left for the next. */
static void look_at_all(struct cm_store *s, struct cm_referrer_fill *fill)
{
	int64_t bytes = 0;
	size_t i;

	for (i = 0; i < fill->len && bytes < FILL_BYTES_BATCH; i++)
		bytes += look_at(s, &fill->items[i]);
	for (size_t j = i; j < fill->len; j++)
		free(fill->items[j].media_type);
	if (i < fill->len)
		fill->last = false;
	fill->len = i;
}

static void release(struct cm_referrer_fill *fill)
{
	for (size_t i = 0; i < fill->len; i++) {
		free(fill->items[i].media_type);
		cm_manifest_free(fill->items[i].parsed);
	}
}

static int find(struct cm_store *s, struct cm_referrer_fill *fill,
		struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int r = cm_index_reader(s->index, &db, err);

	return r < 0 ? r : cm_referrer_fill_find(db, fill, FILL_A_BATCH, err);
}

int cm_store_fill_referrers(struct cm_store *s, bool *ret_more,
			    struct cm_error *err)
{
	cm_autofree struct cm_old_manifest *items =
		calloc(FILL_A_BATCH, sizeof(*items));
	struct cm_referrer_fill fill = {.items = items};
	int r = items ? find(s, &fill, err) : cm_error_nomem(err);

	if (r > 0) {
		look_at_all(s, &fill);
		r = cm_index_write(s->index, cm_referrer_fill_tx, &fill, err);
		*ret_more = *ret_more || !fill.last;
	}
	release(&fill);
	return r < 0 ? r : 0;
}
