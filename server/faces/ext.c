/*
 * ext.c - our extension of the OCI face (protocol.h): what it offers, and which
 * of many blobs a repository lacks.
 */
#include <stdlib.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "faces/body.h"
#include "faces/oci.h"

/* 74 bytes a digest as compact JSON; room for indented. */
#define MISSING_BODY_MAX (CM_MISSING_DIGESTS_MAX * 128)

/*
 * A mount waits for the disk. What is not mounted by then is answered as
 * missing, which is always legal: the client uploads it.
 */
#define MOUNT_MS_MAX 5000

static int describe(struct cm_request *r, struct cm_error *err)
{
	json_t *body = json_pack(
		"{s:s,s:i,s:[s,s,s],s:{s:i,s:i,s:I}}", "extension",
		"cachemount", "version", 1, "features", "missing", "zstd",
		"if-match", "limits", "missing_digests", CM_MISSING_DIGESTS_MAX,
		"manifest_bytes", CM_MANIFEST_MAX, "blob_bytes",
		(json_int_t)CM_BLOB_MAX);

	if (!body)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, body, err);
}

const struct cm_handler cm_ext_describe = {.start = describe};

/* The question, parsed. */
struct question {
	bool mount;
	size_t len;
	struct cm_digest *digests;
	bool *missing;
};

static void question_release(struct question *q)
{
	free(q->digests);
	free(q->missing);
}

static int parse_digests(const json_t *array, struct question *q,
			 struct cm_error *err)
{
	const json_t *item;
	size_t i;
	int status;

	if (!json_is_array(array))
		return cm_error_set(err, CM_ERR_INVALID,
				    "digests must be an array");
	if (json_array_size(array) > CM_MISSING_DIGESTS_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "digests has %zu entries; ask for at most "
				    "%d at once",
				    json_array_size(array),
				    CM_MISSING_DIGESTS_MAX);
	q->digests = calloc(json_array_size(array) + 1, sizeof(*q->digests));
	q->missing = calloc(json_array_size(array) + 1, sizeof(*q->missing));
	if (!q->digests || !q->missing)
		return cm_error_nomem(err);
	json_array_foreach (array, i, item) {
		status = cm_oci_digest("digest", json_string_value(item),
				       &q->digests[i], err);
		if (status < 0)
			return cm_error_wrap(err, "digests[%zu]", i);
	}
	q->len = json_array_size(array);
	return 0;
}

static int parse_question(json_t *root, struct question *q,
			  struct cm_error *err)
{
	const json_t *mount = json_object_get(root, "mount");

	if (mount && !json_is_boolean(mount))
		return cm_error_set(err, CM_ERR_INVALID,
				    "mount must be true or false");
	q->mount = json_is_true(mount);
	return parse_digests(json_object_get(root, "digests"), q, err);
}

static bool may_pull(void *arg, const char *repo)
{
	return cm_request_may(arg, CM_PERM_PULL, repo);
}

/* Mounts what is missing and can be had from another repository. */
static int mount_missing(struct cm_request *r, struct question *q,
			 struct cm_error *err)
{
	int64_t deadline = cm_monotonic_ms() + MOUNT_MS_MAX;
	const char *name = cm_request_param(r, "name");
	int status;

	for (size_t i = 0; i < q->len && cm_monotonic_ms() < deadline; i++) {
		if (!q->missing[i])
			continue;
		status = cm_store_blob_mount(cm_request_store(r), NULL, name,
					     &q->digests[i], may_pull, r, err);
		if (status < 0 && status != CM_ERR_NOT_FOUND)
			return status;
		q->missing[i] = status < 0;
	}
	return 0;
}

static int answer(struct cm_request *r, const struct question *q,
		  struct cm_error *err)
{
	cm_auto(json) json_t *missing = json_array();
	char text[CM_DIGEST_TEXT_SIZE];
	size_t absent;
	json_t *body;

	for (size_t i = 0; i < q->len; i++)
		if (q->missing[i] &&
		    json_array_append_new(missing,
					  json_string(cm_digest_format(
						  &q->digests[i], text))) < 0)
			return cm_error_nomem(err);
	absent = json_array_size(missing);
	cm_request_looked_up(r, CM_KIND_UPLOAD, (int64_t)(q->len - absent),
			     (int64_t)absent);
	body = json_pack("{s:O}", "missing", missing);
	if (!body)
		return cm_error_nomem(err);
	return cm_reply_json(r, 200, body, err);
}

static int ask(struct cm_request *r, struct question *q, struct cm_error *err)
{
	const char *name = cm_request_param(r, "name");
	int status = cm_store_blobs_missing(
		cm_request_store(r), name, q->digests, q->len, q->missing, err);

	if (status < 0)
		return status;
	if (q->mount && cm_request_may(r, CM_PERM_PUSH, name)) {
		status = mount_missing(r, q, err);
		if (status < 0)
			return status;
	}
	return answer(r, q, err);
}

static int missing_finish(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *root = NULL;
	struct question q = {0};
	int status = cm_body_json(r, &root, err);

	if (status < 0)
		return status;
	status = parse_question(root, &q, err);
	if (status == 0)
		status = ask(r, &q, err);
	question_release(&q);
	return status;
}

/* On a worker: a thousand look-ups, and mounts, which wait for the disk. */
const struct cm_handler cm_ext_missing = {
	.body = cm_body_collect,
	.finish = missing_finish,
	.release = cm_body_free,
	.blocking = true,
	.body_max = MISSING_BODY_MAX,
};
