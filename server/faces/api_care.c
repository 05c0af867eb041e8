/*
 * api_care.c - how the store is kept whole: the scrub and the backups in
 * GET /api/v1/stats, and /api/v1/backup.
 */
#include <cachemount/care.h>
#include <cachemount/units.h>

#include "faces/api.h"
#include "faces/body.h"

/* A time, or null for what never was. */
static json_t *time_json(int64_t unix_ms)
{
	char text[CM_TIME_TEXT_SIZE];

	return unix_ms == 0 ? json_null()
			    : json_string(cm_time_format(unix_ms, text));
}

int cm_api_scrub_json(struct cm_store *store, json_t **ret,
		      struct cm_error *err)
{
	struct cm_scrub_status s;
	int status = cm_store_scrub_status(store, &s, err);

	if (status < 0)
		return status;
	*ret = json_pack("{s:b,s:f,s:o,s:o}", "running", s.running, "progress",
			 s.progress, "began", time_json(s.began_ms), "ended",
			 time_json(s.ended_ms));
	return *ret ? 0 : cm_error_nomem(err);
}

static const char *state_of(const struct cm_backup_status *b)
{
	if (b->running || b->wanted)
		return "running";
	if (b->failure.status != CM_OK)
		return "failed";
	return b->count > 0 ? "done" : "none";
}

int cm_api_backup_json(struct cm_store *store, json_t **ret,
		       struct cm_error *err)
{
	struct cm_backup_status b;
	int status = cm_store_backup_status(store, &b, err);

	if (status < 0)
		return status;
	*ret = json_pack(
		"{s:s,s:I,s:s?,s:I,s:o,s:s?}", "state", state_of(&b), "count",
		(json_int_t)b.count, "file", b.count > 0 ? b.file : NULL,
		"bytes", (json_int_t)b.size, "made", time_json(b.made_ms),
		"failure", b.failure.status == CM_OK ? NULL : b.failure.text);
	return *ret ? 0 : cm_error_nomem(err);
}

/* A copy of the index has everybody's names in it. */
static int require_admin(struct cm_request *r, struct cm_error *err)
{
	if (cm_api_may_all(r, CM_PERM_ADMIN, ""))
		return 0;
	return cm_error_set(err, CM_ERR_DENIED,
			    "this needs the permission \"admin\" on **");
}

static int reply_state(struct cm_request *r, struct cm_error *err)
{
	json_t *body = NULL;
	int status = cm_api_backup_json(cm_request_store(r), &body, err);

	return status < 0 ? status : cm_reply_json(r, 200, body, err);
}

static int backup_get(struct cm_request *r, struct cm_error *err)
{
	int status = require_admin(r, err);

	return status < 0 ? status : reply_state(r, err);
}

static int backup_post(struct cm_request *r, struct cm_error *err)
{
	static const char *const fields[] = {NULL};
	cm_auto(json) json_t *body = NULL;
	int status = require_admin(r, err);

	if (status == 0)
		status = cm_body_json(r, &body, err);
	if (status == 0)
		status = cm_api_known_fields(body, fields, err);
	if (status < 0)
		return status;
	cm_store_backup_request(cm_request_store(r));
	return reply_state(r, err);
}

const struct cm_handler cm_api_backup_get = {
	.finish = backup_get,
	.blocking = true,
};

const struct cm_handler cm_api_backup_post = {
	.body = cm_body_collect,
	.finish = backup_post,
	.release = cm_body_free,
	.blocking = true,
	.body_max = 4096,
};
