/* body.c - collecting a request body in memory. */
#include <stdlib.h>
#include <string.h>

#include "faces/body.h"

#define BODY_FIRST 4096

static int body_reserve(struct cm_body *b, size_t more, struct cm_error *err)
{
	size_t need, capacity = b->capacity ? b->capacity : BODY_FIRST;
	char *bytes;

	if (__builtin_add_overflow(b->len, more, &need))
		return cm_error_nomem(err);
	if (need <= b->capacity)
		return 0;
	while (capacity < need)
		if (__builtin_mul_overflow(capacity, 2, &capacity))
			return cm_error_nomem(err);
	bytes = realloc(b->bytes, capacity);
	if (!bytes)
		return cm_error_nomem(err);
	b->bytes = bytes;
	b->capacity = capacity;
	return 0;
}

int cm_body_collect(struct cm_request *r, const void *data, size_t len,
		    struct cm_error *err)
{
	struct cm_body *b = cm_request_state(r);
	int status;

	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return cm_error_nomem(err);
		cm_request_set_state(r, b);
	}
	status = body_reserve(b, len, err);
	if (status < 0)
		return status;
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
	return 0;
}

void cm_body_get(struct cm_request *r, const char **ret_bytes, size_t *ret_len)
{
	const struct cm_body *b = cm_request_state(r);

	*ret_bytes = b && b->bytes ? b->bytes : "";
	*ret_len = b ? b->len : 0;
}

void cm_body_free(void *body)
{
	struct cm_body *b = body;

	if (!b)
		return;
	free(b->bytes);
	free(b);
}

int cm_body_json(struct cm_request *r, json_t **ret, struct cm_error *err)
{
	json_error_t why;
	const char *bytes;
	json_t *root;
	size_t len;

	cm_body_get(r, &bytes, &len);
	root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the body is no JSON: line %d: %s",
				    why.line, why.text);
	if (!json_is_object(root)) {
		json_decref(root);
		return cm_error_set(err, CM_ERR_INVALID,
				    "the body must be a JSON object");
	}
	*ret = root;
	return 0;
}
