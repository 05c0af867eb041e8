/*
 * reply_blob.c - a blob as a reply, each by the way that is fastest for it.
 *
 *	in the index	     from the store's memory
 *	up to CM_PREAD_MAX   read into memory: header and body leave in one
 *			     packet, where sendfile would take two
 *	larger files	     sendfile
 *	to be decoded	     a reader, CM_DECODE_BLOCK at most at a time
 *
 * A small blob that is asked for again and again is kept as a whole response
 * (cache.c). That never widens who may see it: the store was asked for the
 * blob in the request's repository before we get here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "health.h"
#include "http/internal.h"
#include "http/limits.h"
#include "log.h"

/* What is sent of a blob: `len` bytes of stored bytes from `offset`, or the
 * decoded content from its running offset. */
struct slice {
	bool decode;
	bool whole;
	int64_t offset;
	int64_t len;
};

static struct slice slice_of(const struct cm_blob *b,
			     const struct cm_blob_part *part)
{
	const struct cm_blob_info *info = cm_blob_info(b);

	if (part->stored)
		return (struct slice){.whole = true, .len = info->stored_size};
	return (struct slice){
		.decode = info->encoding != CM_ENCODING_IDENTITY,
		.whole = part->offset == 0 && part->len == info->size,
		.offset = part->offset,
		.len = part->len,
	};
}

static int read_all(int fd, char *buf, size_t len, int64_t offset,
		    struct cm_error *err)
{
	ssize_t n;

	while (len > 0) {
		n = pread(fd, buf, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cm_error_errno(err, "cannot read a blob");
		if (n == 0)
			return cm_error_set(err, CM_ERR_CORRUPT,
					    "a blob's file is too short");
		buf += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

/* Copies a slice of stored bytes to fresh memory. Caller frees. */
static int copy_slice(struct cm_blob *b, const struct slice *s, char **ret,
		      struct cm_error *err)
{
	const char *memory = cm_blob_memory(b);
	cm_autofree char *copy = malloc(s->len > 0 ? (size_t)s->len : 1);
	cm_autofd int fd = -1;
	int rc;

	if (!copy)
		return cm_error_nomem(err);
	if (memory) {
		memcpy(copy, memory + s->offset, (size_t)s->len);
	} else {
		fd = cm_blob_take_fd(b);
		rc = read_all(fd, copy, (size_t)s->len, s->offset, err);
		if (rc < 0)
			return rc;
	}
	*ret = cm_take_ptr(copy);
	return 0;
}

static struct MHD_Response *from_copy(char *copy, int64_t len)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		(size_t)len, copy, MHD_RESPMEM_MUST_FREE);

	if (!response)
		free(copy);
	return response;
}

static void close_blob(void *cls)
{
	cm_blob_close(cls);
}

/* From the store's memory; takes the blob over. */
static struct MHD_Response *from_memory(struct cm_blob *b,
					const struct slice *s)
{
	const char *memory = cm_blob_memory(b);
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback_cls(
			(size_t)s->len, (void *)(uintptr_t)(memory + s->offset),
			close_blob, b);

	if (!response)
		cm_blob_close(b);
	return response;
}

static struct MHD_Response *from_file(struct cm_blob *b, const struct slice *s)
{
	int fd = cm_blob_take_fd(b);
	struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(
		(uint64_t)s->len, fd, (uint64_t)s->offset);

	if (!response && fd >= 0)
		close(fd);
	return response;
}

struct decoder {
	struct cm_blob *blob;
	int64_t left;
};

/* Anything short of the promised length must not look like its end. */
static ssize_t decode(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct decoder *d = cls;
	struct cm_error err;
	ssize_t n;

	(void)pos;
	if ((int64_t)max > d->left)
		max = (size_t)d->left;
	n = cm_blob_read(d->blob, buf, max, &err);
	if (n < 0)
		cm_log(CM_LOG_ERROR, "blob-unreadable", "%s", err.text);
	if (n <= 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	d->left -= n;
	return n;
}

static void free_decoder(void *cls)
{
	struct decoder *d = cls;

	cm_blob_close(d->blob);
	free(d);
}

/* Decodes while sending; takes the blob over. */
static struct MHD_Response *from_decoder(struct cm_blob *b,
					 const struct slice *s)
{
	struct decoder *d = malloc(sizeof(*d));
	struct MHD_Response *response = NULL;
	size_t block =
		s->len < CM_DECODE_BLOCK ? (size_t)s->len : CM_DECODE_BLOCK;

	if (d) {
		*d = (struct decoder){b, s->len};
		response = MHD_create_response_from_callback(
			(uint64_t)s->len, block > 0 ? block : 1, decode, d,
			free_decoder);
	}
	if (!response) {
		free(d);
		cm_blob_close(b);
	}
	return response;
}

/* Takes the blob over. */
static int reply_once(struct cm_request *r, int status, struct cm_blob *b,
		      const struct slice *s, struct cm_error *err)
{
	struct MHD_Response *response;
	char *copy;
	int rc;

	if (s->decode) {
		response = from_decoder(b, s);
	} else if (cm_blob_memory(b)) {
		response = from_memory(b, s);
	} else if (s->len > CM_PREAD_MAX) {
		response = from_file(b, s);
		cm_blob_close(b);
	} else {
		rc = copy_slice(b, s, &copy, err);
		cm_blob_close(b);
		if (rc < 0)
			return rc;
		response = from_copy(copy, s->len);
	}
	return cm_reply_take(r, status, response, NULL, s->len, err);
}

/* Makes the shared response of a blob and puts it into the cache. */
static struct cm_cached *share(struct cm_request *r, struct cm_blob *b,
			       const struct slice *s,
			       const struct cm_cache_key *key)
{
	struct MHD_Response *response;
	char *copy;

	if (copy_slice(b, s, &copy, NULL) < 0)
		return NULL;
	response = from_copy(copy, s->len);
	if (!response)
		return NULL;
	if (!cm_reply_add_headers(r, response)) {
		MHD_destroy_response(response);
		return NULL;
	}
	return cm_cache_put(r->http->cache, key, response, (size_t)s->len);
}

/* While it drains, each reply says that the connection ends. */
static bool may_share(const struct cm_request *r)
{
	return r->reply.status == 0 &&
	       cm_health_phase(r->http->options.health) == CM_PHASE_UP;
}

static bool shareable(const struct cm_request *r, int status,
		      const struct slice *s)
{
	return status == MHD_HTTP_OK && s->whole && !s->decode &&
	       s->len <= CM_CACHED_BODY_MAX && may_share(r);
}

/* Replies by a shared response, if there is one or should be. */
static bool reply_shared(struct cm_request *r, struct cm_blob *b,
			 const struct slice *s, bool stored)
{
	struct cm_cache_key key = {
		.digest = cm_blob_info(b)->digest,
		.stored = stored,
		.headers = r->headers,
		.headers_len = r->headers_len,
	};
	struct cm_cached *cached;
	bool wanted;

	cached = cm_cache_get(r->http->cache, &key, &wanted);
	if (!cached && wanted)
		cached = share(r, b, s, &key);
	if (!cached)
		return false;
	cm_reply_share(r, cached, s->len);
	return true;
}

/* Takes the blob over. */
static int reply(struct cm_request *r, int status, struct cm_blob *b,
		 const struct cm_blob_part *part, const char *content_type,
		 struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *blob = b;
	struct slice s = slice_of(b, part);
	int rc;

	if (r->head)
		return cm_reply_head(r, status, content_type, s.len, err);
	rc = cm_reply_type(r, content_type, err);
	if (rc < 0)
		return rc;
	if (shareable(r, status, &s) && reply_shared(r, b, &s, part->stored))
		return 0;
	return reply_once(r, status, cm_take_ptr(blob), &s, err);
}

int cm_reply_blob(struct cm_request *r, int status, struct cm_blob *b,
		  const struct cm_blob_part *part, const char *content_type,
		  struct cm_error *err)
{
	int rc = reply(r, status, b, part, content_type, err);

	/* Content-Encoding and its like must not describe an error's body. */
	if (rc < 0)
		r->headers_len = 0;
	return rc;
}

bool cm_reply_blob_kept(struct cm_request *r, const struct cm_digest *d)
{
	return may_share(r) && cm_cache_has(r->http->cache, d);
}

int cm_reply_blob_ready(struct cm_request *r, const struct cm_blob_info *info,
			bool stored, struct cm_error *err)
{
	struct cm_cache_key key = {.digest = info->digest, .stored = stored};
	struct cm_cached *cached;
	bool wanted;
	int rc = cm_reply_type(r, NULL, err);

	if (rc < 0)
		return rc;
	key.headers = r->headers;
	key.headers_len = r->headers_len;
	cached = cm_cache_get(r->http->cache, &key, &wanted);
	if (!cached) {
		r->headers_len = 0;
		return 0;
	}
	cm_reply_share(r, cached, stored ? info->stored_size : info->size);
	return 1;
}
