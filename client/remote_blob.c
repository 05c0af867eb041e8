/*
 * remote_blob.c - blobs: which are missing, fetch, upload (distribution-spec
 * 1.1, "Pull" and "Push").
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>

#include "remote_private.h"

#define DIGEST_JSON (CM_DIGEST_TEXT_SIZE - 1 + 3) /* with quotes and comma */
#define ANSWER_MAX  (64 << 10)

int cm_remote_path(const char *repo, const char *kind, const char *reference,
		   char **ret, struct cm_error *err)
{
	if (!cm_repository_valid(repo, strlen(repo)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.255s\" is no repository name", repo);
	if (asprintf(ret, "/v2/%s%s%s", repo, kind, reference) < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

static int blob_path(const char *repo, const struct cm_digest *d, char **ret,
		     struct cm_error *err)
{
	char text[CM_DIGEST_TEXT_SIZE];

	return cm_remote_path(repo, "/blobs/", cm_digest_format(d, text), ret,
			      err);
}

/* ---- missing ---------------------------------------------------------- */

static int missing_by_head(struct cm_connection *c, const char *repo,
			   const struct cm_digest *d, bool *missing,
			   struct cm_error *err)
{
	struct cm_exchange x = {.method = "HEAD"};
	cm_autofree char *path = NULL;
	int r = blob_path(repo, d, &path, err);

	if (r < 0)
		return r;
	x.path = path;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	if (x.status != 200 && x.status != 404)
		return cm_http_refused(c, &x, "looking for a blob", err);
	*missing = x.status == 404;
	return 0;
}

static char *missing_question(const struct cm_digest *digests, size_t n,
			      bool mount, size_t *ret_len)
{
	static const char end[] = "],\"mount\":true}";
	size_t size = 16 + n * DIGEST_JSON + sizeof(end), len;
	char text[CM_DIGEST_TEXT_SIZE], *json = malloc(size);

	if (!json)
		return NULL;
	len = (size_t)snprintf(json, size, "{\"digests\":[");
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(json + len, size - len, "%s\"%s\"",
					i ? "," : "",
					cm_digest_format(&digests[i], text));
	len += (size_t)snprintf(json + len, size - len, "%s",
				mount ? end : "]}");
	*ret_len = len;
	return json;
}

/*
 * Marks what the answer names. Its order is the question's, so each name is
 * found behind the one before.
 */
static int missing_mark(json_t *list, const struct cm_digest *digests, size_t n,
			bool *missing)
{
	struct cm_digest d;
	size_t i, at = 0;
	json_t *item;

	if (!json_is_array(list))
		return -1;
	json_array_foreach (list, i, item) {
		if (!json_is_string(item) ||
		    cm_digest_parse(json_string_value(item),
				    json_string_length(item), &d, NULL) < 0)
			return -1;
		while (at < n && !cm_digest_equal(&digests[at], &d))
			at++;
		if (at == n)
			return -1;
		missing[at++] = true;
	}
	return 0;
}

static int missing_batch(struct cm_connection *c, const char *repo,
			 const struct cm_digest *digests, size_t n, bool mount,
			 bool *missing, struct cm_error *err)
{
	struct cm_exchange x = {
		.method = "POST",
		.headers = {"Content-Type: application/json"},
		.limit = 64 + n * DIGEST_JSON * 2,
	};
	cm_autofree char *path = NULL, *json = NULL;
	json_t *root;
	int r = cm_remote_path(repo, CM_EXT_MISSING_SUFFIX, "", &path, err);

	if (r < 0)
		return r;
	json = missing_question(digests, n, mount, &x.body_len);
	if (!json)
		return cm_error_nomem(err);
	x.path = path;
	x.body = json;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	if (x.status != 200)
		return cm_http_refused(c, &x, "asking which blobs are missing",
				       err);
	memset(missing, 0, n * sizeof(*missing));
	root = json_loadb(c->body.data ? c->body.data : "", c->body.len, 0,
			  NULL);
	r = missing_mark(json_object_get(root, "missing"), digests, n, missing);
	json_decref(root);
	return r == 0 ? 0
		      : cm_error_set(err, CM_ERR_PROTOCOL,
				     "%s: the list of missing blobs is not of "
				     "the agreed form",
				     c->remote->base);
}

int cm_remote_missing(struct cm_connection *c, const char *repo,
		      const struct cm_digest *digests, size_t n, bool mount,
		      bool *missing, struct cm_error *err)
{
	struct cm_remote_features f;
	size_t batch;
	int r = cm_remote_features(c->remote, c, &f, err);

	for (size_t i = 0; r == 0 && i < n; i += batch) {
		batch = f.missing ? CM_MISSING_DIGESTS_MAX : 1;
		if (batch > n - i)
			batch = n - i;
		r = f.missing ? missing_batch(c, repo, digests + i, batch,
					      mount, missing + i, err)
			      : missing_by_head(c, repo, digests + i,
						missing + i, err);
	}
	return r;
}

/* ---- fetch ------------------------------------------------------------ */

static int blob_verify(const struct cm_connection *c, const void *buf,
		       size_t size, const struct cm_digest *d,
		       struct cm_error *err)
{
	char text[CM_DIGEST_TEXT_SIZE];
	struct cm_digest is;
	int r = cm_digest_of(buf, size, &is, err);

	if (r < 0)
		return r;
	if (!cm_digest_equal(&is, d))
		return cm_error_set(err, CM_ERR_DIGEST,
				    "%s: the bytes that came are not blob %s",
				    c->remote->base, cm_digest_format(d, text));
	return 0;
}

int cm_remote_blob_get(struct cm_connection *c, const char *repo,
		       const struct cm_digest *d, void *buf, size_t size,
		       struct cm_error *err)
{
	char nothing;
	struct cm_exchange x = {
		.method = "GET",
		.headers = {"Accept-Encoding: zstd"},
		.dst = size ? buf : &nothing,
		.dst_size = size,
	};
	cm_autofree char *path = NULL;
	int r = blob_path(repo, d, &path, err);

	if (r < 0)
		return r;
	x.path = path;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	if (x.status != 200)
		return cm_http_refused(c, &x, "fetching a blob", err);
	if (x.zstd)
		r = cm_wire_decode(c, x.dst, size, err);
	else if (x.dst_len != size)
		r = cm_error_set(err, CM_ERR_SIZE,
				 "%zu bytes where %zu were expected", x.dst_len,
				 size);
	if (r < 0)
		return cm_error_wrap(err, "%s: %s", c->remote->base, path);
	return blob_verify(c, x.dst, size, d, err);
}

/* ---- upload ----------------------------------------------------------- */

/* What is sent: the blob as it is, or c->wire. */
struct upload {
	const char *repo;
	const struct cm_digest *digest;
	const void *data;
	size_t len;
	bool zstd;
};

static void upload_body(struct cm_exchange *x, const struct upload *u)
{
	x->headers[0] = "Content-Type: application/octet-stream";
	if (u->zstd)
		x->headers[1] = "Content-Encoding: zstd";
	x->body = u->data;
	x->body_len = u->len;
	x->limit = ANSWER_MAX;
}

/* The second half of POST + PUT: to where the registry's answer points. */
static int upload_put(struct cm_connection *c, const struct upload *u,
		      struct cm_error *err)
{
	struct cm_exchange x = {.method = "PUT"};
	const char *location = cm_http_header(c, "Location");
	cm_autofree char *url = NULL;
	int r;

	if (!location)
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "%s: began an upload, but says not where",
				    c->remote->base);
	r = cm_url_resolve(c->remote->base, location, u->digest, &url,
			   &x.foreign, err);
	if (r < 0)
		return r;
	x.url = url;
	upload_body(&x, u);
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	return x.status == 201
		       ? 0
		       : cm_http_refused(c, &x, "uploading a blob", err);
}

/*
 * POST with the whole body, where the registry is known to take it in one
 * request; else POST without one, and the body with PUT.
 */
static int upload_post(struct cm_connection *c, const struct upload *u,
		       bool whole, struct cm_error *err)
{
	struct cm_exchange x = {.method = "POST", .limit = ANSWER_MAX};
	char query[16 + CM_DIGEST_TEXT_SIZE] = "", text[CM_DIGEST_TEXT_SIZE];
	cm_autofree char *path = NULL;
	int r;

	if (whole) {
		snprintf(query, sizeof(query), "?digest=%s",
			 cm_digest_format(u->digest, text));
		upload_body(&x, u);
	}
	r = cm_remote_path(u->repo, "/blobs/uploads/", query, &path, err);
	if (r < 0)
		return r;
	x.path = path;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	if (x.status == 201 && whole)
		return 0;
	if (x.status == 202)
		return upload_put(c, u, err);
	return cm_http_refused(c, &x, "uploading a blob", err);
}

int cm_remote_blob_put(struct cm_connection *c, const char *repo,
		       const struct cm_digest *d, const void *data, size_t size,
		       struct cm_error *err)
{
	struct upload u = {repo, d, data, size, false};
	struct cm_remote_features f;
	size_t len = 0;
	int r = cm_remote_features(c->remote, c, &f, err);

	if (r < 0)
		return r;
	if (f.zstd)
		cm_wire_encode(c, data, size, &len);
	if (len > 0) {
		u.data = c->wire.data;
		u.len = len;
		u.zstd = true;
	}
	return upload_post(c, &u, f.missing || f.zstd || f.if_match, err);
}
