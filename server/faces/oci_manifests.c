/*
 * oci_manifests.c - GET, HEAD, PUT and DELETE of a manifest by tag or digest
 * (distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting
 * Manifests"), and conditional PUTs (protocol.h).
 *
 * A manifest goes out as it came in, byte for byte and under the media type it
 * came with, whatever Accept says: a client that cannot read it knows better
 * than a 404 would tell it.
 */
#include <string.h>

#include <cachemount/buildkit.h>
#include <cachemount/manifest.h>
#include <cachemount/protocol.h>

#include "faces/body.h"
#include "faces/fields.h"
#include "faces/oci.h"
#include "faces/oci_error.h"
#include "faces/oci_put.h"
#include "log.h"

/* Times that a condition is looked at again after the tag moved meanwhile. */
#define CONDITION_TRIES 8

/* How much of a manifest's beginning and end says what it is. */
#define KIND_SPAN 2048

/* ---- GET and HEAD ------------------------------------------------------ */

/*
 * For 200 and 304 only, as with blobs. `name` is the digest that the client
 * asked for, or what the tag was put by.
 */
static int manifest_headers(struct cm_request *r,
			    const struct cm_any_digest *name,
			    const char *digest, bool by_tag,
			    struct cm_error *err)
{
	char text[CM_ANY_DIGEST_TEXT_SIZE];

	if (cm_reply_header(r, "Docker-Content-Digest", "%s",
			    cm_any_digest_format(name, text)) < 0 ||
	    cm_reply_header(r, "ETag", "\"%s\"", digest) < 0 ||
	    cm_reply_header(r, "Cache-Control",
			    by_tag ? "no-cache"
				   : "max-age=31536000, immutable") < 0)
		return cm_error_nomem(err);
	return 0;
}

static int send_manifest(struct cm_request *r,
			 const struct cm_stored_manifest *m,
			 const struct cm_oci_reference *ref,
			 struct cm_error *err)
{
	char digest[CM_DIGEST_TEXT_SIZE];
	int status, http;

	cm_digest_format(&m->digest, digest);
	http = cm_oci_precondition(r, digest, digest);
	if (http == 412)
		return cm_reply_status(r, 412, err);
	status = manifest_headers(r, ref->tag ? &m->name : &ref->digest, digest,
				  ref->tag != NULL, err);
	if (status < 0)
		return status;
	if (http == 304)
		return cm_reply_status(r, 304, err);
	if (cm_request_is_head(r))
		return cm_reply_head(r, 200, m->media_type, m->size, err);
	return cm_reply_bytes(r, 200, m->media_type, m->bytes, (size_t)m->size,
			      err);
}

/*
 * A tag that cannot be, and a digest of an algorithm that is not offered, name
 * nothing: 404, the one failure that the spec has for a GET.
 */
static int get_reference(struct cm_request *r, struct cm_oci_reference *ret,
			 struct cm_error *err)
{
	int status = cm_oci_reference(r, ret, err);

	if (status != CM_ERR_INVALID && status != CM_ERR_UNSUPPORTED)
		return status;
	err->status = CM_ERR_NOT_FOUND;
	return CM_ERR_NOT_FOUND;
}

/* Looks up what the reference names. */
static int find(struct cm_request *r, const struct cm_oci_reference *ref,
		bool with_bytes, struct cm_stored_manifest *ret,
		struct cm_error *err)
{
	struct cm_store *store = cm_request_store(r);
	const char *name = cm_request_param(r, "name");
	struct cm_digest d = {0};
	int status = 0;

	if (!ref->tag)
		status = cm_store_resolve(store, name, &ref->digest, &d, err);
	if (status < 0)
		return status;
	return cm_store_manifest_get(store, name, ref->tag, &d, with_bytes, ret,
				     err);
}

static bool says(const char *bytes, size_t len, const char *word)
{
	return memmem(bytes, len, word, strlen(word)) != NULL;
}

/*
 * What a manifest is, for the counts: media types stand near its beginning,
 * those of an index's last entries near its end. One that is only asked about,
 * or not there, is of a kind by who asks.
 */
static enum cm_kind kind_of(const struct cm_request *r,
			    const struct cm_stored_manifest *m)
{
	const char *agent = cm_request_header(r, "User-Agent"), *bytes, *tail;
	size_t len;

	if (!m || !m->bytes)
		return agent && strncmp(agent, "cachectl/", 9) == 0
			       ? CM_KIND_SNAPSHOT
			       : CM_KIND_MANIFEST;
	bytes = m->bytes;
	len = (size_t)m->size < KIND_SPAN ? (size_t)m->size : KIND_SPAN;
	tail = bytes + m->size - len;
	if (says(bytes, len, CM_MEDIA_SNAPSHOT))
		return CM_KIND_SNAPSHOT;
	if (says(bytes, len, CM_MEDIA_BUILDKIT_CACHE) ||
	    says(tail, len, CM_MEDIA_BUILDKIT_CACHE))
		return CM_KIND_BUILDKIT_CACHE;
	return says(bytes, len, "\"artifactType\"") ? CM_KIND_MANIFEST
						    : CM_KIND_IMAGE;
}

static int manifest_get(struct cm_request *r, struct cm_error *err)
{
	struct cm_stored_manifest m;
	struct cm_oci_reference ref;
	int status = get_reference(r, &ref, err);

	if (status < 0)
		return status;
	status = find(r, &ref, !cm_request_is_head(r), &m, err);
	cm_request_lookup(r, kind_of(r, status < 0 ? NULL : &m), status);
	if (status < 0)
		return status;
	status = send_manifest(r, &m, &ref, err);
	cm_stored_manifest_release(&m);
	return status;
}

const struct cm_handler cm_oci_manifest_get = {.start = manifest_get};

/* ---- PUT --------------------------------------------------------------- */

static int put_start(struct cm_request *r, struct cm_error *err)
{
	struct cm_oci_reference ref;
	struct cm_oci_tags tags;
	enum cm_encoding coding;
	int status = cm_oci_reference(r, &ref, err);

	if (status < 0)
		return status;
	if (cm_oci_tags_too_many(r))
		return cm_reply_error(r, 414, "SIZE_INVALID",
				      "more tags than one PUT may set", err);
	status = cm_oci_tags_read(r, &ref, &tags, err);
	if (status < 0)
		return status;
	status = cm_field_coding(cm_request_header(r, "Content-Encoding"),
				 &coding, err);
	if (status == 0 && coding == CM_ENCODING_IDENTITY)
		return 0;
	return cm_reply_error(r, 415, "UNSUPPORTED",
			      "a manifest is sent without Content-Encoding",
			      err);
}

/* What the reference names now; NULL if nothing. */
static int current_digest(struct cm_request *r,
			  const struct cm_oci_reference *ref,
			  struct cm_digest *buf, const struct cm_digest **ret,
			  struct cm_error *err)
{
	struct cm_stored_manifest m;
	int status = find(r, ref, false, &m, err);

	*ret = NULL;
	if (status == CM_ERR_NOT_FOUND)
		return 0;
	if (status < 0)
		return status;
	*buf = m.digest;
	*ret = buf;
	cm_stored_manifest_release(&m);
	return 0;
}

/* 412, with what the tag names now, so that the client need not ask. */
static int precondition_failed(struct cm_request *r,
			       const struct cm_digest *current,
			       struct cm_error *err)
{
	char digest[CM_DIGEST_TEXT_SIZE];

	if (!current)
		return cm_error_set(err, CM_ERR_PRECONDITION,
				    "If-Match: there is no such manifest now");
	cm_digest_format(current, digest);
	if (cm_reply_header(r, "ETag", "\"%s\"", digest) < 0 ||
	    cm_reply_header(r, "Docker-Content-Digest", "%s", digest) < 0)
		return cm_error_nomem(err);
	return cm_error_set(err, CM_ERR_PRECONDITION,
			    "If-Match or If-None-Match does not hold: the "
			    "manifest is now %s",
			    digest);
}

/*
 * Whether the request's conditions hold for `current` (NULL: nothing is
 * there): 1 or 0, or an error for a malformed field.
 */
static int conditions_hold(struct cm_request *r,
			   const struct cm_digest *current,
			   struct cm_error *err)
{
	const char *match = cm_request_header(r, "If-Match");
	const char *none = cm_request_header(r, "If-None-Match");
	char digest[CM_DIGEST_TEXT_SIZE];
	const char *tag = current ? cm_digest_format(current, digest) : NULL;
	int status = 1;

	if (match) {
		status = cm_field_etag_match(match, tag, CM_ETAG_STRONG, err);
		if (status < 0)
			return cm_error_wrap(err, "If-Match");
	}
	if (status > 0 && none) {
		status = cm_field_etag_match(none, tag, CM_ETAG_WEAK, err);
		if (status < 0)
			return cm_error_wrap(err, "If-None-Match");
		status = !status;
	}
	return status;
}

static bool has_conditions(const struct cm_request *r)
{
	return cm_request_header(r, "If-Match") ||
	       cm_request_header(r, "If-None-Match");
}

/*
 * Puts under the request's conditions. They are evaluated for what the tag
 * names now, and the store is then asked to put if it still names that; if not,
 * they are evaluated again for what it named instead.
 */
static int put_conditionally(struct cm_request *r,
			     const struct cm_oci_reference *ref,
			     struct cm_manifest_put *put,
			     struct cm_digest *ret_digest, struct cm_error *err)
{
	static const struct cm_digest nothing;
	struct cm_digest buf;
	const struct cm_digest *current;
	int status = current_digest(r, ref, &buf, &current, err);

	for (int i = 0; i < CONDITION_TRIES && status >= 0; i++) {
		status = conditions_hold(r, current, err);
		if (status < 0)
			return status;
		if (status == 0)
			return precondition_failed(r, current, err);
		if (put->tag) {
			put->condition = current ? CM_TAG_MATCH : CM_TAG_ABSENT;
			put->match = current ? *current : nothing;
		}
		status = cm_store_manifest_put(cm_request_store(r), put,
					       ret_digest, err);
		if (status != CM_ERR_PRECONDITION)
			return status;
		buf = *ret_digest;
		current = cm_digest_equal(&buf, &nothing) ? NULL : &buf;
		status = 0;
	}
	if (status < 0)
		return status;
	return cm_error_set(err, CM_ERR_BUSY,
			    "the tag moves faster than the condition can be "
			    "checked; try again");
}

static int put_parsed(struct cm_request *r, const struct cm_oci_reference *ref,
		      struct cm_manifest_put *put, struct cm_error *err)
{
	struct cm_digest d;
	int status = has_conditions(r)
			     ? put_conditionally(r, ref, put, &d, err)
			     : cm_store_manifest_put(cm_request_store(r), put,
						     &d, err);

	if (status == CM_ERR_SIZE)
		return cm_error_wrap(err, "size of a descriptor");
	if (status < 0)
		return status;
	status = cm_oci_put_headers(r, put, &d, err);
	return status < 0 ? status : cm_reply_status(r, 201, err);
}

static int check_digest(const struct cm_oci_reference *ref, const char *bytes,
			size_t len, struct cm_error *err)
{
	char text[CM_ANY_DIGEST_TEXT_SIZE];
	struct cm_any_digest d;
	int status;

	if (ref->tag)
		return 0;
	status = cm_any_digest_of(ref->digest.algorithm, bytes, len, &d, err);
	if (status < 0 || cm_any_digest_equal(&d, &ref->digest))
		return status;
	return cm_error_set(err, CM_ERR_DIGEST,
			    "the body's digest is %s, not the one in the path",
			    cm_any_digest_format(&d, text));
}

/*
 * A media type that is not offered is an invalid manifest to the spec's
 * clients, some of which then convert the manifest and try again.
 */
static int parse(struct cm_request *r, const char *bytes, size_t len,
		 struct cm_manifest **ret, struct cm_error *err)
{
	const char *field = cm_request_header(r, "Content-Type");
	char type[CM_MEDIA_TYPE_SIZE];
	int status = cm_manifest_parse(
		bytes, len, cm_field_media_type(field, type), ret, err);

	if (status == 0)
		status = cm_store_resolve_manifest(cm_request_store(r),
						   cm_request_param(r, "name"),
						   *ret, err);
	if (status != CM_ERR_UNSUPPORTED)
		return status;
	err->status = CM_ERR_INVALID;
	return CM_ERR_INVALID;
}

/*
 * BuildKit exports a cache that it will never import again and says
 * nothing, so the one who runs the server is told.
 */
static void tell_unreadable(struct cm_request *r,
			    const struct cm_oci_reference *ref,
			    const struct cm_manifest *m, size_t len)
{
	const char *writer = cm_request_identity(r);
	int64_t size;

	if (!cm_buildkit_unreadable(m, (int64_t)len, &size))
		return;
	cm_log(CM_LOG_WARN, "cache-too-large",
	       "%s%s%s, pushed by %s: BuildKit does not import a cache whose "
	       "configuration is over %d bytes, and this one has %lld; "
	       "mode=min or fewer steps make it smaller",
	       cm_request_param(r, "name"), ref->tag ? ":" : "",
	       ref->tag ? ref->tag : "", writer ? writer : "nobody known",
	       CM_BUILDKIT_READ_MAX, (long long)size);
	cm_store_counter_add(cm_request_store(r), "unreadable_caches", 1);
}

static int put_finish(struct cm_request *r, struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *parsed = NULL;
	struct cm_oci_reference ref;
	struct cm_oci_tags tags;
	const char *bytes;
	size_t len;
	int status = cm_oci_reference(r, &ref, err);

	if (status == 0)
		status = cm_oci_tags_read(r, &ref, &tags, err);
	if (status < 0)
		return status;
	cm_body_get(r, &bytes, &len);
	status = check_digest(&ref, bytes, len, err);
	if (status < 0)
		return status;
	status = parse(r, bytes, len, &parsed, err);
	if (status < 0)
		return status;
	status = put_parsed(r, &ref,
			    &(struct cm_manifest_put){
				    .repo = cm_request_param(r, "name"),
				    .tag = ref.tag,
				    .more_tags = tags.tags,
				    .more_tags_len = tags.len,
				    .name = ref.tag ? NULL : &ref.digest,
				    .bytes = bytes,
				    .len = len,
				    .parsed = parsed,
				    .writer = cm_request_identity(r),
			    },
			    err);
	if (status == 0)
		tell_unreadable(r, &ref, parsed, len);
	return status;
}

const struct cm_handler cm_oci_manifest_put = {
	.start = put_start,
	.body = cm_body_collect,
	.finish = put_finish,
	.release = cm_body_free,
	.blocking = true,
	.body_max = CM_MANIFEST_MAX,
};

/* ---- DELETE ------------------------------------------------------------ */

static int manifest_delete(struct cm_request *r, struct cm_error *err)
{
	const char *name = cm_request_param(r, "name");
	struct cm_store *store = cm_request_store(r);
	struct cm_oci_reference ref;
	struct cm_digest d;
	int status = get_reference(r, &ref, err);

	if (status == 0 && !ref.tag)
		status = cm_store_resolve(store, name, &ref.digest, &d, err);
	if (status < 0)
		return status;
	if (ref.tag)
		status = cm_store_tag_delete(store, name, ref.tag, err);
	else
		status = cm_store_manifest_delete(store, name, &d, err);
	if (status < 0)
		return cm_oci_delete_failed(status, err);
	return cm_reply_status(r, 202, err);
}

const struct cm_handler cm_oci_manifest_delete = {
	.finish = manifest_delete,
	.blocking = true,
};
