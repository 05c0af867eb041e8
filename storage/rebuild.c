/*
 * rebuild.c - a new index for a folder whose own is damaged or gone.
 *
 * Names, manifests and small blobs lie in the index alone, so it begins with a
 * copy of it: the newest backup that is whole. That is brought in line with the
 * blobs' files by the checks of fsck, under a name of its own; when all of it
 * is on disk it takes the place of the old one. Until then nothing but that
 * name has changed: whoever kills it can run it again.
 */
#include <string.h>

#include "index_check.h"
#include "offline.h"

struct rebuilding {
	struct cm_store *store;
	const struct cm_rebuild_options *options;
	char *index; /* paths */
	char *rebuild;
	struct cm_rebuild_result *ret;
};

/* CM_ERR_PRECONDITION if there is nothing to rebuild. */
static int refuse_whole(struct rebuilding *rb, struct cm_error *err)
{
	struct cm_error why;
	int r;

	if (rb->options->force)
		return 0;
	r = cm_bytes_require_index(rb->store->bytes, &why);
	if (r == 0)
		r = cm_index_check_file(rb->index, false, false, &why);
	if (r == 0)
		return cm_error_set(err, CM_ERR_PRECONDITION,
				    "the index is whole: there is nothing to "
				    "rebuild");
	if (r == CM_ERR_CORRUPT)
		return 0;
	if (err)
		*err = why;
	return r;
}

/* CM_ERR_CORRUPT if the copy is of no use. */
static int begin_with(struct rebuilding *rb, const char *path,
		      struct cm_error *err)
{
	int r = cm_bytes_rebuild_discard(rb->store->bytes, err);

	if (r == 0)
		r = cm_bytes_copy_file(path, rb->rebuild, err);
	if (r == 0)
		r = cm_index_check_file(rb->rebuild, false, true, err);
	if (r == 0)
		r = cm_offline_open_index_at(rb->store, rb->rebuild, err);
	if (r == 0)
		snprintf(rb->ret->from, sizeof(rb->ret->from), "%.250s", path);
	return r;
}

static void tell_useless(struct rebuilding *rb, const char *path,
			 const char *why)
{
	char text[CM_ERROR_TEXT_MAX];
	struct cm_finding f = {.kind = "backup", .text = text};

	snprintf(text, sizeof(text), "%.200s is of no use: %.200s", path, why);
	if (rb->options->finding)
		rb->options->finding(rb->options->arg, &f);
}

/* CM_ERR_NOT_FOUND if none is whole. */
static int begin_with_newest(struct rebuilding *rb, struct cm_error *err)
{
	struct cm_bytes_backup list[CM_BACKUPS_MAX];
	struct cm_error why = {0};
	int n = cm_bytes_backups(rb->store->bytes, list, err);
	int r = n < 0 ? n : CM_ERR_CORRUPT;

	for (int i = 0; r == CM_ERR_CORRUPT && i < n; i++) {
		cm_autofree char *path = NULL;

		r = cm_bytes_backup_path(rb->store->bytes, list[i].number,
					 &path, &why);
		if (r == 0)
			r = begin_with(rb, path, &why);
		if (r == CM_ERR_CORRUPT)
			tell_useless(rb, path, why.text);
		rb->ret->made_ms = list[i].made_ms;
	}
	if (r == CM_ERR_CORRUPT)
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "there is no backup of the index that is "
				    "whole");
	if (r < 0 && n >= 0 && err)
		*err = why;
	return r;
}

static int begin(struct rebuilding *rb, struct cm_error *err)
{
	struct cm_error why = {0};
	int r;

	if (rb->options->backup)
		return begin_with(rb, rb->options->backup, err);
	r = begin_with_newest(rb, &why);
	if (r == CM_ERR_NOT_FOUND && rb->options->empty) {
		rb->ret->made_ms = 0;
		r = cm_bytes_rebuild_discard(rb->store->bytes, &why);
		if (r == 0)
			r = cm_offline_open_index_at(rb->store, rb->rebuild,
						     &why);
	}
	if (r < 0 && err)
		*err = why;
	return r;
}

static int bring_in_line(struct rebuilding *rb, struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	struct cm_check_options o = {
		.repair = true,
		.finding = rb->options->finding,
		.arg = rb->options->arg,
	};
	struct cm_rebuild_result *ret = rb->ret;
	int r = cm_check_store(rb->store, &o, true, &ret->check, err);

	if (r == 0 && ret->check.index_broken)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "the copy of the index is damaged");
	if (r == 0)
		r = cm_index_write(rb->store->index, cm_scrub_restart_tx, NULL,
				   err);
	if (r == 0)
		r = cm_index_reader(rb->store->index, &db, err);
	if (r == 0)
		r = cm_index_count(db, &ret->tags, &ret->blobs, err);
	return r;
}

static int rebuild(struct rebuilding *rb, struct cm_error *err)
{
	int r = refuse_whole(rb, err);

	if (r == 0)
		r = begin(rb, err);
	if (r == 0)
		r = bring_in_line(rb, err);
	cm_index_close(cm_take_ptr(rb->store->index));
	if (r == 0)
		r = cm_bytes_rebuild_place(rb->store->bytes, rb->ret->aside,
					   err);
	if (r < 0)
		cm_bytes_rebuild_discard(rb->store->bytes, NULL);
	return r;
}

int cm_rebuild(const struct cm_rebuild_options *options,
	       struct cm_rebuild_result *ret, struct cm_error *err)
{
	cm_auto(offline) struct cm_store *s = NULL;
	cm_autofree char *index = NULL;
	cm_autofree char *path = NULL;
	struct rebuilding rb = {.options = options, .ret = ret};
	int r = cm_offline_open(options->data_dir, &s, err);

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = cm_bytes_index_path(s->bytes, &index, err);
	if (r == 0)
		r = cm_bytes_rebuild_path(s->bytes, &path, err);
	if (r < 0)
		return r;
	rb.store = s;
	rb.index = index;
	rb.rebuild = path;
	return rebuild(&rb, err);
}
