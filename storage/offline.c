/* offline.c - a data folder without a server. */
#include <string.h>

#include "offline.h"
#include "schema.h"

int cm_offline_open(const char *data_dir, struct cm_store **ret,
		    struct cm_error *err)
{
	struct cm_store *s;
	int r;

	if (!cm_bytes_is_data_dir(data_dir))
		return cm_error_set(err, CM_ERR_NOT_FOUND,
				    "%s is no data folder", data_dir);
	s = calloc(1, sizeof(*s));
	if (!s)
		return cm_error_nomem(err);
	r = cm_bytes_open(data_dir, &s->bytes, err);
	if (r == 0)
		r = cm_inflight_new(&s->inflight, err);
	if (r < 0) {
		cm_offline_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void cm_offline_close(struct cm_store *s)
{
	if (!s)
		return;
	cm_index_close(s->index);
	cm_inflight_free(s->inflight);
	cm_bytes_close(s->bytes);
	free(s);
}

static int require_current(const char *path, struct cm_error *err)
{
	cm_auto(db) struct cm_db *db = NULL;
	bool current = false;
	int r = cm_db_open(path, false, &db, err);

	if (r == 0)
		r = cm_schema_is_current(db, &current, err);
	if (r == 0 && !current)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "an older or newer cachemountd wrote the "
				    "index: start the newest one once");
	return r;
}

int cm_offline_open_index(struct cm_store *s, enum cm_offline_mode mode,
			  struct cm_error *err)
{
	cm_autofree char *path = NULL;
	int r = cm_bytes_index_path(s->bytes, &path, err);

	if (r == 0)
		r = cm_bytes_require_index(s->bytes, err);
	if (r == 0 && mode == CM_OFFLINE_CURRENT)
		r = require_current(path, err);
	if (r == 0)
		r = cm_index_open(path, &s->index, err);
	return r;
}

int cm_offline_open_index_at(struct cm_store *s, const char *path,
			     struct cm_error *err)
{
	return cm_index_open(path, &s->index, err);
}
