/*
 * reply.c - making a reply, of any body but a blob's, and handing it over.
 *
 * A reply can be made on any thread and long before libmicrohttpd takes one;
 * it waits in r->reply. Its header fields gather in r->headers as text.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.h"
#include "http/internal.h"

int cm_reply_header(struct cm_request *r, const char *name, const char *fmt,
		    ...)
{
	size_t room = sizeof(r->headers) - r->headers_len;
	size_t name_size = strlen(name) + 1;
	char *value = r->headers + r->headers_len + name_size;
	va_list ap;
	int n;

	if (name_size >= room)
		return CM_ERR_SIZE;
	va_start(ap, fmt);
	n = vsnprintf(value, room - name_size, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room - name_size)
		return CM_ERR_SIZE;
	for (int i = 0; i < n; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return CM_ERR_INVALID;
	memcpy(r->headers + r->headers_len, name, name_size);
	r->headers_len += name_size + (size_t)n + 1;
	return 0;
}

bool cm_reply_add_headers(const struct cm_request *r,
			  struct MHD_Response *response)
{
	const char *at = r->headers, *end = r->headers + r->headers_len;
	const char *value;

	while (at < end) {
		value = at + strlen(at) + 1;
		if (MHD_add_response_header(response, at, value) != MHD_YES)
			return false;
		at = value + strlen(value) + 1;
	}
	return true;
}

int cm_reply_type(struct cm_request *r, const char *content_type,
		  struct cm_error *err)
{
	int rc = cm_reply_header(r, "Content-Type", "%s",
				 content_type ? content_type
					      : "application/octet-stream");

	return rc == 0 ? 0
		       : cm_error_set(err, CM_ERR_INTERNAL,
				      "too many header fields in a reply");
}

void cm_reply_drop(struct cm_request *r)
{
	if (r->reply.cached)
		cm_cached_release(r->reply.cached);
	else if (r->reply.response)
		MHD_destroy_response(r->reply.response);
	r->reply = (struct cm_reply){0};
}

/* Fields that a status brings with it. */
static void add_status_headers(struct cm_request *r, int status)
{
	if (status == 401)
		cm_challenge_add(r);
	if (status == 405)
		cm_reply_header(r, "Allow", "%s", r->match.allow);
	if (status == 503)
		cm_reply_header(r, "Retry-After", "1");
}

int cm_reply_take(struct cm_request *r, int status,
		  struct MHD_Response *response, const void *memory,
		  int64_t len, struct cm_error *err)
{
	if (!response)
		return cm_error_nomem(err);
	if (r->reply.status != 0) {
		MHD_destroy_response(response);
		return cm_error_set(err, CM_ERR_INTERNAL, "a second reply");
	}
	if (r->forced_status != 0)
		status = r->forced_status;
	add_status_headers(r, status);
	if (!cm_reply_add_headers(r, response)) {
		MHD_destroy_response(response);
		return cm_error_nomem(err);
	}
	r->reply = (struct cm_reply){
		.status = status,
		.response = response,
		.memory = memory,
		.len = r->head ? 0 : len,
	};
	return 0;
}

void cm_reply_share(struct cm_request *r, struct cm_cached *cached, int64_t len)
{
	r->reply = (struct cm_reply){
		.status = MHD_HTTP_OK,
		.response = cm_cached_response(cached),
		.cached = cached,
		.len = r->head ? 0 : len,
	};
}

int cm_reply_status(struct cm_request *r, int status, struct cm_error *err)
{
	static const char none[] = "";

	return cm_reply_take(
		r, status,
		MHD_create_response_from_buffer(0, (void *)(uintptr_t)none,
						MHD_RESPMEM_PERSISTENT),
		none, 0, err);
}

/* Takes `text` over in any case. */
static int reply_text(struct cm_request *r, int status, const char *type,
		      char *text, size_t len, struct cm_error *err)
{
	struct MHD_Response *response;
	int rc = cm_reply_type(r, type, err);

	if (rc < 0) {
		free(text);
		return rc;
	}
	response = MHD_create_response_from_buffer(len, text,
						   MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	return cm_reply_take(r, status, response, text, (int64_t)len, err);
}

int cm_reply_bytes(struct cm_request *r, int status, const char *content_type,
		   const void *bytes, size_t len, struct cm_error *err)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (!copy)
		return cm_error_nomem(err);
	memcpy(copy, bytes, len);
	return reply_text(r, status, content_type, copy, len, err);
}

int cm_reply_json(struct cm_request *r, int status, json_t *body,
		  struct cm_error *err)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 2) : NULL;

	json_decref(body);
	if (!line) {
		free(text);
		return cm_error_nomem(err);
	}
	memcpy(line + len, "\n", 2);
	return reply_text(r, status, "application/json", line, len + 1, err);
}

static ssize_t no_body(void *cls, uint64_t pos, char *buf, size_t max)
{
	(void)cls;
	(void)pos;
	(void)buf;
	(void)max;
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

int cm_reply_head(struct cm_request *r, int status, const char *content_type,
		  int64_t len, struct cm_error *err)
{
	int rc;

	if (!r->head || len < 0)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "a reply without body to a request that "
				    "wants one");
	rc = cm_reply_type(r, content_type, err);
	if (rc < 0)
		return rc;
	return cm_reply_take(r, status,
			     MHD_create_response_from_callback(
				     (uint64_t)len, 1, no_body, NULL, NULL),
			     NULL, len, err);
}

void cm_reply_fail(struct cm_request *r, const struct cm_error *err)
{
	const struct cm_face *face =
		r->match.face ? r->match.face : &cm_health_face;

	/* Fields that the handler has added go out with its failure. */
	cm_reply_drop(r);
	face->fail(r, err);
	if (r->reply.status != 0)
		return;
	r->headers_len = 0;
	cm_reply_status(r, cm_status_to_http(err->status), NULL);
	/* Without memory even for that, the connection is closed. */
	if (r->reply.status == 0)
		r->reply.status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

enum MHD_Result cm_reply_queue(struct cm_request *r)
{
	struct cm_reply *reply = &r->reply;

	if (!reply->response)
		return MHD_NO;
	if (!reply->cached &&
	    cm_health_phase(r->http->options.health) != CM_PHASE_UP)
		MHD_add_response_header(reply->response, "Connection", "close");
	r->stage = CM_STAGE_QUEUED;
	cm_conn_enter(r->conn, CM_CONN_SENDING);
	return MHD_queue_response(r->connection, (unsigned)reply->status,
				  reply->response);
}
