/*
 * backup.c - copies of the index beside it, so that it can be rebuilt.
 *
 * The copy reads one state of the index, a mebibyte at a time, at the pace of
 * whoever asked for it: the writer commits meanwhile, into its log, which can't
 * start over before the copy is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "offline.h"

static int make_copy(struct cm_store *s, const struct cm_backup_options *o,
		     struct cm_error *err)
{
	cm_auto(db) struct cm_db *db = NULL;
	cm_autofree char *path = NULL;
	int64_t size;
	int r = cm_bytes_backup_path(s->bytes, 0, &path, err);

	if (r == 0)
		r = cm_index_connect_aside(s->index, &db, err);
	if (r == 0)
		r = cm_index_size(db, &size, err);
	if (r == 0)
		r = cm_bytes_backup_room(s->bytes, size, err);
	if (r == 0)
		r = cm_index_copy(db, path, o->pace, o->arg, err);
	if (r == 0)
		r = cm_index_check_file(path, true, true, err);
	return r;
}

static int make_backup(struct cm_store *s, const struct cm_backup_options *o,
		       struct cm_error *err)
{
	struct cm_bytes_backup made;
	int r;

	cm_bytes_backup_discard(s->bytes); /* of a run that was killed */
	r = make_copy(s, o, err);
	if (r == 0)
		r = cm_bytes_backup_publish(s->bytes, o->keep > 0 ? o->keep : 1,
					    &made, err);
	if (r < 0)
		cm_bytes_backup_discard(s->bytes);
	return r;
}

int cm_store_backup(struct cm_store *s, const struct cm_backup_options *options,
		    struct cm_error *err)
{
	struct cm_backup_state *state = &s->backup;
	struct cm_error why = {.status = CM_OK};
	bool taken;
	int r;

	pthread_mutex_lock(&state->lock);
	taken = !state->running;
	if (taken) {
		state->running = true;
		state->wanted = false;
	}
	pthread_mutex_unlock(&state->lock);
	if (!taken)
		return cm_error_set(err, CM_ERR_BUSY,
				    "a backup is being made already");
	r = make_backup(s, options, &why);
	pthread_mutex_lock(&state->lock);
	state->running = false;
	state->failure = why;
	pthread_mutex_unlock(&state->lock);
	if (r < 0 && err)
		*err = why;
	return r;
}

void cm_store_backup_request(struct cm_store *s)
{
	pthread_mutex_lock(&s->backup.lock);
	s->backup.wanted = true;
	pthread_mutex_unlock(&s->backup.lock);
}

bool cm_store_backup_wanted(struct cm_store *s)
{
	bool wanted;

	pthread_mutex_lock(&s->backup.lock);
	wanted = s->backup.wanted;
	pthread_mutex_unlock(&s->backup.lock);
	return wanted;
}

int cm_store_backup_status(struct cm_store *s, struct cm_backup_status *ret,
			   struct cm_error *err)
{
	struct cm_bytes_backup list[CM_BACKUPS_MAX];
	int n;

	memset(ret, 0, sizeof(*ret));
	/* First, so that who sees it ended sees its file too. */
	pthread_mutex_lock(&s->backup.lock);
	ret->wanted = s->backup.wanted;
	ret->running = s->backup.running;
	ret->failure = s->backup.failure;
	pthread_mutex_unlock(&s->backup.lock);
	n = cm_bytes_backups(s->bytes, list, err);
	if (n <= 0)
		return n;
	ret->count = n;
	ret->size = list[0].size;
	ret->made_ms = list[0].made_ms;
	cm_bytes_backup_name(list[0].number, ret->file);
	return 0;
}

/* ---- of a folder that nobody serves ---------------------------------- */

static int sync_file(const char *path, struct cm_error *err)
{
	cm_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return cm_error_errno(err, "cannot sync %s", path);
	return 0;
}

static int copy_offline(const char *data_dir, const char *path,
			struct cm_error *err)
{
	cm_auto(offline) struct cm_store *s = NULL;
	cm_auto(db) struct cm_db *db = NULL;
	int r = cm_offline_open(data_dir, &s, err);

	if (r == 0)
		r = cm_offline_open_index(s, CM_OFFLINE_CURRENT, err);
	if (r == 0)
		r = cm_index_connect_aside(s->index, &db, err);
	if (r == 0)
		r = cm_index_copy(db, path, NULL, NULL, err);
	if (r == 0)
		r = cm_index_check_file(path, true, true, err);
	return r == 0 ? sync_file(path, err) : r;
}

int cm_backup_to_file(const char *data_dir, const char *path,
		      struct cm_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0 && errno == EEXIST)
		return cm_error_set(err, CM_ERR_EXISTS, "%s exists", path);
	if (fd < 0)
		return cm_error_errno(err, "cannot create %s", path);
	close(fd);
	r = copy_offline(data_dir, path, err);
	if (r < 0)
		unlink(path);
	return r;
}
