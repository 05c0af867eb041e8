/*
 * framing.c - what must hold before a request's body is believed.
 *
 * libmicrohttpd takes Transfer-Encoding together with Content-Length, and the
 * first of several lengths; either lets two parties on one connection disagree
 * on where a request ends. So such requests are refused and their connection
 * closed (RFC 9112 §6.1, §6.3).
 *
 * It also takes a bare LF for a line's end, a field without a name for the end
 * of the header, drops what a folded line adds, and cuts at NUL: all of which a
 * proxy in front may see otherwise. None shows in the values it hands out. But
 * those lie in the buffer as received, with CR and LF overwritten by NUL, so
 * the buffer tells: each field must begin two bytes behind the one before it,
 * and the last be followed by just the empty line. That holds for libmicrohttpd
 * 0.9.7x, so it is looked at only there; later ones can be strict themselves.
 */
#include <string.h>
#include <strings.h>

#include "http/internal.h"
#include "http/limits.h"

struct framing {
	bool layout_known;
	const char *next; /* where the next field must begin */
	bool old;	  /* HTTP/1.0 */
	size_t fields;
	size_t hosts;
	size_t lengths;
	size_t encodings;
	const char *length;
	const char *encoding;
	const char *expect;
	const char *fault; /* the first one found */
};

/* A field name is a token (RFC 9110 §5.6.2). */
static bool is_token(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789!#$%&'*+-.^_`|~");

	return len > 0 && name[len] == '\0';
}

/* No control bytes but tab (RFC 9110 §5.5). */
static bool is_field_value(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') ||
		    *value == 0x7f)
			return false;
	return true;
}

/* Does the field lie where it must? Moves on to the next. */
static bool in_place(struct framing *f, const char *name, const char *value)
{
	const char *at = name + strlen(name) + 1;

	if (name != f->next || value < at)
		return false;
	while (at < value && (*at == ' ' || *at == '\t'))
		at++;
	f->next = value + strlen(value) + 2;
	return at == value && f->next[-1] == '\0';
}

static enum MHD_Result look_at(void *cls, enum MHD_ValueKind kind,
			       const char *name, const char *value)
{
	struct framing *f = cls;

	(void)kind;
	f->fields++;
	if (!is_token(name))
		f->fault = "malformed field name";
	else if (!value || !is_field_value(value))
		f->fault = "control byte in a field value";
	else if (f->layout_known && !in_place(f, name, value))
		f->fault = "folded field, bare LF or NUL in the header";
	else if (strcasecmp(name, "Host") == 0)
		f->hosts++;
	else if (strcasecmp(name, "Content-Length") == 0) {
		f->lengths++;
		f->length = value;
	} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
		f->encodings++;
		f->encoding = value;
	} else if (strcasecmp(name, "Expect") == 0)
		f->expect = value;
	return f->fault ? MHD_NO : MHD_YES;
}

/* What contradicts itself, or NULL. */
static const char *contradiction(const struct framing *f)
{
	if (f->fault)
		return f->fault;
	if (f->hosts != 1 && (f->hosts > 1 || !f->old))
		return "exactly one Host is needed";
	if (f->lengths > 1)
		return "more than one Content-Length";
	if (f->encodings > 1)
		return "more than one Transfer-Encoding";
	if (f->encodings && f->lengths)
		return "Transfer-Encoding together with Content-Length";
	if (f->encodings && strcasecmp(f->encoding, "chunked") != 0)
		return "only Transfer-Encoding: chunked is known here";
	if (f->encodings && f->old)
		return "Transfer-Encoding in HTTP/1.0";
	return NULL;
}

/* Parses digits only; -1 for anything else. */
static int64_t parse_length(const char *text)
{
	int64_t n = 0;

	if (!*text)
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > (INT64_MAX - 9) / 10)
			return -1;
		n = n * 10 + (*text - '0');
	}
	return n;
}

static size_t header_size(const struct cm_request *r)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	return info ? info->header_size : 0;
}

static int check_size(struct cm_request *r, const struct framing *f,
		      struct cm_error *err)
{
	if (f->fields <= CM_REQUEST_FIELDS_MAX &&
	    header_size(r) <= CM_REQUEST_HEADER_MAX)
		return 0;
	r->forced_status = 431;
	return cm_error_set(err, CM_ERR_SIZE,
			    "request header over %d bytes or %d fields",
			    CM_REQUEST_HEADER_MAX, CM_REQUEST_FIELDS_MAX);
}

/* "METHOD NUL target NUL HTTP/1.1 NUL NUL": where the fields begin. */
static const char *fields_start(const struct cm_request *r, const char *version)
{
	const char *target = r->method + strlen(r->method) + 1;

	if (version != target + strlen(r->text) + 1)
		return NULL;
	return version + strlen(version) + 2;
}

static void look_at_all(struct cm_request *r, const char *version,
			struct framing *f)
{
	/* A target over the limit was cut, so its length is not known. */
	f->layout_known =
		strncmp(MHD_get_version(), "0.9.7", 5) == 0 && !r->uri_cut;
	f->old = strcmp(version, "HTTP/1.0") == 0;
	if (f->layout_known)
		f->next = fields_start(r, version);
	MHD_get_connection_values(r->connection, MHD_HEADER_KIND, look_at, f);
	if (f->layout_known && !f->fault &&
	    f->next + 2 != r->method + header_size(r))
		f->fault = "field without a name, or bare LF in the header";
}

int cm_framing_check(struct cm_request *r, const char *version,
		     struct cm_error *err)
{
	struct framing f = {0};
	const char *why;

	look_at_all(r, version, &f);
	r->forced_status = 400;
	why = contradiction(&f);
	if (why)
		return cm_error_set(err, CM_ERR_INVALID, "%s", why);
	if (f.length) {
		r->content_length = parse_length(f.length);
		if (r->content_length < 0)
			return cm_error_set(err, CM_ERR_INVALID,
					    "malformed Content-Length");
	}
	r->chunked = f.encodings > 0;
	r->expects_continue =
		f.expect && strcasecmp(f.expect, "100-continue") == 0;
	if (f.expect && !r->expects_continue) {
		r->forced_status = 417;
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "only Expect: 100-continue is known here");
	}
	r->forced_status = 0;
	return check_size(r, &f, err);
}
