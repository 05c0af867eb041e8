/*
 * remote_manifest.c - manifests and the tags that name them.
 */
#include <stdio.h>
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>

#include "remote_private.h"

#define ANSWER_MAX (64 << 10)
#define ETAG_SIZE  (CM_DIGEST_TEXT_SIZE + 32)
#define TYPE_MAX   255

static const char accept_line[] =
	"Accept: " CM_MEDIA_OCI_MANIFEST ", " CM_MEDIA_OCI_INDEX
	", " CM_MEDIA_DOCKER_MANIFEST ", " CM_MEDIA_DOCKER_LIST;

void cm_remote_manifest_release(struct cm_remote_manifest *m)
{
	free(m->media_type);
	free(m->bytes);
	*m = (struct cm_remote_manifest){0};
}

static int manifest_path(const char *repo, const char *reference, char **ret,
			 struct cm_error *err)
{
	size_t len = strlen(reference);
	struct cm_digest d;

	if (!cm_tag_valid(reference, len) &&
	    cm_digest_parse(reference, len, &d, NULL) < 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.128s\" is no tag and no digest",
				    reference);
	return cm_remote_path(repo, "/manifests/", reference, ret, err);
}

static bool is_zero(const struct cm_digest *d)
{
	static const struct cm_digest zero;

	return cm_digest_equal(d, &zero);
}

/* The digest that the last answer names; false if none, or no SHA-256. */
static bool answer_digest(struct cm_connection *c, struct cm_digest *ret)
{
	const char *text = cm_http_header(c, "Docker-Content-Digest");

	return text && cm_digest_parse(text, strlen(text), ret, NULL) == 0;
}

/* ---- get -------------------------------------------------------------- */

static int digest_wrong(const struct cm_connection *c, const char *repo,
			const char *reference, struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_DIGEST,
			    "%s: the manifest that came is not what %s names "
			    "as %s",
			    c->remote->base, repo, reference);
}

/* The digest of the bytes counts; whatever else names one must agree. */
static int manifest_verify(struct cm_connection *c, const char *repo,
			   const char *reference, struct cm_digest *ret,
			   struct cm_error *err)
{
	struct cm_digest said;
	int r = cm_digest_of(c->body.data, c->body.len, ret, err);

	if (r < 0)
		return r;
	if (answer_digest(c, &said) && !cm_digest_equal(&said, ret))
		return digest_wrong(c, repo, reference, err);
	if (cm_digest_parse(reference, strlen(reference), &said, NULL) == 0 &&
	    !cm_digest_equal(&said, ret))
		return digest_wrong(c, repo, reference, err);
	return 0;
}

static int manifest_take(struct cm_connection *c, const struct cm_digest *d,
			 struct cm_remote_manifest *ret, struct cm_error *err)
{
	const char *type = cm_http_header(c, "Content-Type");
	struct cm_remote_manifest m = {.digest = *d, .len = c->body.len};

	m.media_type = strndup(type ? type : "", TYPE_MAX);
	m.bytes = malloc(m.len + 1);
	if (!m.media_type || !m.bytes) {
		cm_remote_manifest_release(&m);
		return cm_error_nomem(err);
	}
	memcpy(m.bytes, c->body.data, m.len);
	m.bytes[m.len] = '\0';
	*ret = m;
	return 0;
}

static int manifest_answer(struct cm_connection *c, const struct cm_exchange *x,
			   const char *repo, const char *reference,
			   const struct cm_digest *known,
			   struct cm_remote_manifest *ret, struct cm_error *err)
{
	char what[CM_REPOSITORY_MAX + CM_TAG_MAX + 16];
	struct cm_digest d;
	int r;

	if (x->status == 304 && known) {
		*ret = (struct cm_remote_manifest){.digest = *known};
		return 0;
	}
	if (x->status != 200) {
		snprintf(what, sizeof(what), "fetching %s:%s", repo, reference);
		return cm_http_refused(c, x, what, err);
	}
	if (c->body.len == 0)
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "%s: an empty manifest", c->remote->base);
	r = manifest_verify(c, repo, reference, &d, err);
	if (r < 0)
		return r;
	if (known && cm_digest_equal(&d, known)) {
		*ret = (struct cm_remote_manifest){.digest = d};
		return 0;
	}
	return manifest_take(c, &d, ret, err);
}

int cm_remote_manifest_get(struct cm_connection *c, const char *repo,
			   const char *reference, const struct cm_digest *known,
			   struct cm_remote_manifest *ret, struct cm_error *err)
{
	char text[CM_DIGEST_TEXT_SIZE], match[ETAG_SIZE];
	struct cm_exchange x = {
		.method = "GET",
		.headers = {accept_line},
		.limit = CM_MANIFEST_MAX,
	};
	cm_autofree char *path = NULL;
	int r = manifest_path(repo, reference, &path, err);

	if (r < 0)
		return r;
	if (known) {
		snprintf(match, sizeof(match), "If-None-Match: \"%s\"",
			 cm_digest_format(known, text));
		x.headers[1] = match;
	}
	x.path = path;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	return manifest_answer(c, &x, repo, reference, known, ret, err);
}

/* ---- put -------------------------------------------------------------- */

static int moved(const struct cm_connection *c, const char *repo,
		 const char *tag, struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_PRECONDITION,
			    "%s: %s:%s has been moved meanwhile",
			    c->remote->base, repo, tag);
}

/* Without If-Match: asks what the tag names just before it is moved. */
static int expect_by_head(struct cm_connection *c, const char *repo,
			  const char *tag, const char *path,
			  const struct cm_digest *expect, struct cm_error *err)
{
	struct cm_exchange x = {
		.method = "HEAD",
		.path = path,
		.headers = {accept_line},
	};
	struct cm_digest is = {0};
	int r = cm_http_exchange(c, &x, err);

	if (r < 0)
		return r;
	if (x.status != 200 && x.status != 404)
		return cm_http_refused(c, &x, "looking for a tag", err);
	if (x.status == 200 && !answer_digest(c, &is))
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "%s: a tag without Docker-Content-Digest",
				    c->remote->base);
	return cm_digest_equal(&is, expect) ? 0 : moved(c, repo, tag, err);
}

static void expect_header(struct cm_exchange *x, const struct cm_digest *expect,
			  char line[static ETAG_SIZE])
{
	char text[CM_DIGEST_TEXT_SIZE];

	if (is_zero(expect))
		snprintf(line, ETAG_SIZE, "If-None-Match: *");
	else
		snprintf(line, ETAG_SIZE, "If-Match: \"%s\"",
			 cm_digest_format(expect, text));
	x->headers[1] = line;
}

/* Sees that the tag is where `expect` wants it: by header, or right now. */
static int expect_set(struct cm_connection *c, const char *repo,
		      const char *tag, const struct cm_digest *expect,
		      struct cm_exchange *x, char line[static ETAG_SIZE],
		      struct cm_error *err)
{
	struct cm_remote_features f;
	int r;

	if (!expect)
		return 0;
	r = cm_remote_features(c->remote, c, &f, err);
	if (r < 0)
		return r;
	if (!f.if_match)
		return expect_by_head(c, repo, tag, x->path, expect, err);
	expect_header(x, expect, line);
	return 0;
}

int cm_remote_manifest_put(struct cm_connection *c, const char *repo,
			   const char *tag, const char *media_type,
			   const void *bytes, size_t len,
			   const struct cm_digest *expect,
			   struct cm_digest *ret_digest, struct cm_error *err)
{
	char type[TYPE_MAX + 16], match[ETAG_SIZE];
	struct cm_exchange x = {
		.method = "PUT",
		.headers = {type},
		.body = bytes,
		.body_len = len,
		.limit = ANSWER_MAX,
	};
	cm_autofree char *path = NULL;
	int r = manifest_path(repo, tag, &path, err);

	if (r < 0)
		return r;
	snprintf(type, sizeof(type), "Content-Type: %s", media_type);
	x.path = path;
	r = expect_set(c, repo, tag, expect, &x, match, err);
	if (r < 0)
		return r;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return r;
	if (x.status == 412)
		return moved(c, repo, tag, err);
	if (x.status != 201 && x.status != 200)
		return cm_http_refused(c, &x, "publishing a manifest", err);
	return cm_digest_of(bytes, len, ret_digest, err);
}
