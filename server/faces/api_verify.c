/*
 * api_verify.c - POST /api/v1/verify: reads what a tag holds, or blobs and
 * manifests by digest, again from disk and compares with the digests. A blob
 * that is damaged goes to quarantine and reads as absent from then on.
 *
 *	repository	where to look
 *	tag		what this tag names, indexes with all their entries …
 *	digests		… or these
 *	offset		go on here: the "next" of the last answer
 *
 * One request checks at most CHECKS_MAX digests and stops after WORK_MS; then
 * "more" is true and "next" is where to go on. The status of a result is "ok",
 * "corrupt" or "missing". Needs "push" on the repository, as it costs the
 * server's disk and can take a blob away.
 */
#include <stdlib.h>
#include <string.h>

#include <cachemount/manifest.h>
#include <cachemount/names.h>
#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "faces/api.h"
#include "faces/body.h"
#include "faces/oci.h"

#define CHECKS_MAX 1000
#define WORK_MS	   10000

/* As many digests as a manifest may name, indented JSON. */
#define VERIFY_BODY_MAX (CM_MANIFEST_DESCRIPTORS_MAX * 128)

/* Digests in the order in which they are checked. */
struct worklist {
	struct cm_digest *digests;
	size_t len;
	size_t capacity;
};

static void worklist_release(struct worklist *w)
{
	free(w->digests);
}

static int worklist_add(struct worklist *w, const struct cm_digest *d,
			struct cm_error *err)
{
	size_t capacity = w->capacity ? 2 * w->capacity : 64;
	struct cm_digest *grown;

	if (w->len == w->capacity) {
		grown = reallocarray(w->digests, capacity, sizeof(*grown));
		if (!grown)
			return cm_error_nomem(err);
		w->digests = grown;
		w->capacity = capacity;
	}
	w->digests[w->len++] = *d;
	return 0;
}

static int parse_digests(const json_t *array, struct worklist *w,
			 struct cm_error *err)
{
	const json_t *item;
	struct cm_digest d;
	size_t i;
	int status;

	if (!json_is_array(array))
		return cm_error_set(err, CM_ERR_INVALID,
				    "digests must be an array");
	if (json_array_size(array) > CM_MANIFEST_DESCRIPTORS_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "digests has %zu entries; at most %d are "
				    "allowed",
				    json_array_size(array),
				    CM_MANIFEST_DESCRIPTORS_MAX);
	json_array_foreach (array, i, item) {
		status = cm_oci_digest("digest", json_string_value(item), &d,
				       err);
		if (status == 0)
			status = worklist_add(w, &d, err);
		if (status < 0)
			return cm_error_wrap(err, "digests[%zu]", i);
	}
	return 0;
}

/* ---- what a tag holds -------------------------------------------------- */

static int parse_stored(const struct cm_stored_manifest *m,
			struct cm_manifest **ret, struct cm_error *err)
{
	return cm_manifest_parse(m->bytes, (size_t)m->size, m->media_type, ret,
				 err);
}

static int too_large(struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_SIZE,
			    "the tag holds too much to list at once; verify "
			    "its digests");
}

/* Adds what the manifest names; one that cannot be parsed names nothing. */
static int add_named(struct cm_store *store, const char *repo,
		     struct worklist *w, const struct cm_stored_manifest *m,
		     struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *parsed = NULL;
	int status;

	if (parse_stored(m, &parsed, NULL) < 0)
		return 0;
	status = cm_store_resolve_manifest(store, repo, parsed, err);
	for (size_t i = 0; i < parsed->descriptors_len && status == 0; i++) {
		if (w->len > CM_MANIFEST_DESCRIPTORS_MAX)
			return too_large(err);
		if (!parsed->descriptors[i].foreign)
			status = worklist_add(w, &parsed->descriptors[i].digest,
					      err);
	}
	return status;
}

/*
 * The manifest first, then what it names; entries of an index are looked up as
 * manifests in turn, without recursion: the list itself is the queue. An index
 * that names one large manifest ten thousand times costs WORK_MS, not more.
 */
static int expand_tag(struct cm_request *r, const char *repo, const char *tag,
		      struct worklist *w, struct cm_error *err)
{
	int64_t deadline = cm_monotonic_ms() + WORK_MS;
	struct cm_store *store = cm_request_store(r);
	struct cm_stored_manifest m;
	int status =
		cm_store_manifest_get(store, repo, tag, NULL, true, &m, err);

	if (status < 0)
		return status;
	status = worklist_add(w, &m.digest, err);
	if (status == 0)
		status = add_named(store, repo, w, &m, err);
	cm_stored_manifest_release(&m);
	for (size_t i = 1; i < w->len && status == 0; i++) {
		if (cm_monotonic_ms() > deadline)
			return too_large(err);
		if (cm_store_manifest_get(store, repo, NULL, &w->digests[i],
					  true, &m, NULL) < 0)
			continue;
		status = add_named(store, repo, w, &m, err);
		cm_stored_manifest_release(&m);
	}
	return status;
}

/* ---- checking ---------------------------------------------------------- */

/* CM_ERR_NOT_FOUND if it is no manifest of the repository. */
static int verify_manifest(struct cm_request *r, const char *repo,
			   const struct cm_digest *d, struct cm_error *err)
{
	struct cm_stored_manifest m;
	struct cm_digest actual;
	int status = cm_store_manifest_get(cm_request_store(r), repo, NULL, d,
					   true, &m, err);

	if (status < 0)
		return status;
	status = cm_digest_of(m.bytes, (size_t)m.size, &actual, err);
	cm_stored_manifest_release(&m);
	if (status == 0 && !cm_digest_equal(&actual, d))
		status = cm_error_set(err, CM_ERR_CORRUPT,
				      "the stored manifest has another digest");
	return status;
}

static json_t *result_json(const struct cm_digest *d, int status,
			   const struct cm_error *why)
{
	char text[CM_DIGEST_TEXT_SIZE];

	cm_digest_format(d, text);
	if (status == 0)
		return json_pack("{s:s,s:s}", "digest", text, "status", "ok");
	return json_pack("{s:s,s:s,s:s}", "digest", text, "status",
			 status == CM_ERR_CORRUPT ? "corrupt" : "missing",
			 "message", why->text);
}

/* Adds the result of one digest; fails if it could not be told. */
static int check(struct cm_request *r, const char *repo,
		 const struct cm_digest *d, json_t *results,
		 struct cm_error *err)
{
	struct cm_error why = {0};
	int status = verify_manifest(r, repo, d, &why);

	if (status == CM_ERR_NOT_FOUND)
		status = cm_store_blob_verify(cm_request_store(r), repo, d,
					      &why);
	if (status < 0 && status != CM_ERR_CORRUPT &&
	    status != CM_ERR_NOT_FOUND) {
		*err = why;
		return status;
	}
	if (json_array_append_new(results, result_json(d, status, &why)) < 0)
		return cm_error_nomem(err);
	return 0;
}

static int check_from(struct cm_request *r, const char *repo,
		      const struct worklist *w, size_t offset, json_t *results,
		      size_t *ret_next, struct cm_error *err)
{
	int64_t deadline = cm_monotonic_ms() + WORK_MS;
	size_t i;
	int status;

	for (i = offset; i < w->len; i++) {
		if (i - offset == CHECKS_MAX || cm_monotonic_ms() > deadline)
			break;
		status = check(r, repo, &w->digests[i], results, err);
		if (status < 0)
			return status;
	}
	*ret_next = i;
	return 0;
}

/* ---- the request ------------------------------------------------------- */

static int parse_offset(const json_t *body, size_t *ret, struct cm_error *err)
{
	const json_t *value = json_object_get(body, "offset");

	*ret = 0;
	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "offset must be a number, not negative");
	*ret = (size_t)json_integer_value(value);
	return 0;
}

static int parse_what(struct cm_request *r, const json_t *body,
		      const char *repo, struct worklist *w,
		      struct cm_error *err)
{
	const json_t *digests = json_object_get(body, "digests");
	const char *tag = NULL;
	int status = cm_api_string(body, "tag", &tag, err);

	if (status < 0)
		return status;
	if (!tag == !digests)
		return cm_error_set(err, CM_ERR_INVALID,
				    "give either tag or digests");
	if (digests)
		return parse_digests(digests, w, err);
	if (!cm_tag_valid(tag, strlen(tag)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "tag \"%.60s\" is no tag", tag);
	return expand_tag(r, repo, tag, w, err);
}

static int parse_repository(struct cm_request *r, json_t *body,
			    const char **ret, struct cm_error *err)
{
	static const char *const fields[] = {
		"repository", "tag", "digests", "offset", NULL,
	};
	int status = cm_api_known_fields(body, fields, err);

	if (status == 0)
		status = cm_api_repository(body, "repository", ret, err);
	if (status < 0)
		return status;
	if (!*ret)
		return cm_error_set(err, CM_ERR_INVALID,
				    "repository is missing");
	return cm_api_require(r, CM_PERM_PUSH, "push", *ret, err);
}

static int reply(struct cm_request *r, const struct worklist *w,
		 json_t *results, size_t next, struct cm_error *err)
{
	bool more = next < w->len;
	json_t *body = json_pack("{s:O,s:b}", "results", results, "more", more);

	if (!body)
		return cm_error_nomem(err);
	if (more && json_object_set_new(body, "next",
					json_integer((json_int_t)next)) < 0) {
		json_decref(body);
		return cm_error_nomem(err);
	}
	return cm_reply_json(r, 200, body, err);
}

static int verify(struct cm_request *r, struct cm_error *err)
{
	cm_auto(json) json_t *results = json_array(), *body = NULL;
	struct worklist w = {0};
	const char *repo = NULL;
	size_t offset, next;
	int status = cm_body_json(r, &body, err);

	if (status == 0)
		status = parse_repository(r, body, &repo, err);
	if (status == 0)
		status = parse_offset(body, &offset, err);
	if (status == 0)
		status = parse_what(r, body, repo, &w, err);
	if (status == 0)
		status = check_from(r, repo, &w, offset, results, &next, err);
	if (status == 0)
		status = reply(r, &w, results, next, err);
	worklist_release(&w);
	return status;
}

const struct cm_handler cm_api_verify = {
	.body = cm_body_collect,
	.finish = verify,
	.release = cm_body_free,
	.blocking = true,
	.body_max = VERIFY_BODY_MAX,
};
