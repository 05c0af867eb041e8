/*
 * remote_error.c - an answer that is no success, as a cm_error: its status by
 * the HTTP status and the registry's error code, its text the registry's own.
 */
#include <jansson.h>
#include <string.h>

#include "remote_private.h"

#define MESSAGE_MAX 240

/* What an error body says; both texts empty if it says nothing. */
struct refusal {
	char code[48];
	char message[MESSAGE_MAX];
};

/* Copies text of the other end: no control byte may reach a terminal. */
static void copy_plain(const char *from, char *to, size_t size)
{
	size_t n = 0;

	for (; *from && n + 1 < size; from++)
		to[n++] = (unsigned char)*from < ' ' || *from == 0x7f ? ' '
								      : *from;
	to[n] = '\0';
}

/*
 * The distribution-spec's {"errors":[{"code","message"}]}, of which the first
 * counts; the administration API's has the same form.
 */
static void refusal_parse(const struct cm_buffer *body, struct refusal *ret)
{
	json_t *root = body->len == 0
			       ? NULL
			       : json_loadb(body->data, body->len, 0, NULL);
	json_t *first = json_array_get(json_object_get(root, "errors"), 0);
	const char *code = json_string_value(json_object_get(first, "code"));
	const char *text = json_string_value(json_object_get(first, "message"));

	copy_plain(code ? code : "", ret->code, sizeof(ret->code));
	copy_plain(text ? text : "", ret->message, sizeof(ret->message));
	json_decref(root);
}

static enum cm_status status_of_http(long status)
{
	switch (status) {
	case 400:
		return CM_ERR_INVALID;
	case 401:
		return CM_ERR_UNAUTHORIZED;
	case 403:
		return CM_ERR_DENIED;
	case 404:
		return CM_ERR_NOT_FOUND;
	case 405:
	case 501:
		return CM_ERR_UNSUPPORTED;
	case 412:
		return CM_ERR_PRECONDITION;
	case 413:
		return CM_ERR_SIZE;
	case 416:
		return CM_ERR_RANGE;
	case 429:
	case 503:
		return CM_ERR_BUSY;
	case 500:
	case 502:
	case 504:
		return CM_ERR_UNAVAILABLE;
	case 507:
		return CM_ERR_NO_SPACE;
	default:
		return CM_ERR_PROTOCOL;
	}
}

/* The codes that say more than the HTTP status does (spec, "Error Codes"). */
static enum cm_status status_of_code(const char *code, enum cm_status otherwise)
{
	static const struct {
		const char *code;
		enum cm_status status;
	} table[] = {
		{"DIGEST_INVALID", CM_ERR_DIGEST},
		{"MANIFEST_BLOB_UNKNOWN", CM_ERR_MISSING_BLOB},
		{"SIZE_INVALID", CM_ERR_SIZE},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].code, code) == 0)
			return table[i].status;
	return otherwise;
}

int cm_http_refused(struct cm_connection *c, const struct cm_exchange *x,
		    const char *what, struct cm_error *err)
{
	struct refusal refusal;
	enum cm_status status;

	refusal_parse(&c->body, &refusal);
	status = status_of_http(x->status);
	if (x->status >= 400 && x->status < 500)
		status = status_of_code(refusal.code, status);
	return cm_error_set(err, status, "%s: %s: %ld%s%s%s%s", c->remote->base,
			    what, x->status, refusal.code[0] ? " " : "",
			    refusal.code, refusal.message[0] ? ": " : "",
			    refusal.message);
}
