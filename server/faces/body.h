/*
 * body.h - a request body that is needed whole, in one buffer. The handler
 * sets `body` to cm_body_collect and `release` to cm_body_free; the request's
 * state is then the buffer. http.c holds the body to the handler's body_max.
 */
#ifndef CM_FACES_BODY_H
#define CM_FACES_BODY_H

#include <jansson.h>
#include <stddef.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "request.h"

struct cm_body {
	char *bytes;
	size_t len;
	size_t capacity;
};

/*
 * Appends a piece to the request's buffer. Grows by doubling rather than to
 * the announced length: memory goes only to bytes that came.
 */
int cm_body_collect(struct cm_request *r, const void *data, size_t len,
		    struct cm_error *err);

/* The bytes collected; empty if none came. Borrowed from the request. */
void cm_body_get(struct cm_request *r, const char **ret_bytes, size_t *ret_len);

/* Frees a struct cm_body; NULL is legal. */
void cm_body_free(void *body);

/*
 * Parses the collected bytes as one JSON object. CM_ERR_INVALID with the line
 * for what is none, or has a key twice. Caller decrefs.
 */
int cm_body_json(struct cm_request *r, json_t **ret, struct cm_error *err);

CM_DEFINE_CLEANUP(json, json_t, json_decref);

#endif
