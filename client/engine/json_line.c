/* json_line.c - JSON, a line at a time. */
#include <string.h>

#include "json_line.h"

static int fail(struct cm_json_line *l, const char *why)
{
	l->why = why;
	return -1;
}

void cm_json_start(struct cm_json_line *l, char *line, size_t len)
{
	l->p = line;
	l->end = line + len;
	l->why = NULL;
}

static void blanks(struct cm_json_line *l)
{
	while (l->p < l->end &&
	       (*l->p == ' ' || *l->p == '\t' || *l->p == '\r'))
		l->p++;
}

/* The next byte that is no blank, left in place; NUL at the line's end. */
static char peek(struct cm_json_line *l)
{
	blanks(l);
	return l->p < l->end ? *l->p : '\0';
}

int cm_json_finish(struct cm_json_line *l)
{
	blanks(l);
	return l->p == l->end ? 0 : fail(l, "bytes behind the value");
}

int cm_json_open(struct cm_json_line *l, char bracket)
{
	if (peek(l) != bracket)
		return fail(l,
			    bracket == '{' ? "not an object" : "not an array");
	l->p++;
	return 0;
}

/* Before an element or member: 1 if there is one, 0 behind the end. */
static int step(struct cm_json_line *l, bool *first, char bracket)
{
	char c = peek(l);

	if (c == bracket) {
		l->p++;
		return 0;
	}
	if (!*first) {
		if (c != ',')
			return fail(l, "comma or closing bracket expected");
		l->p++;
	}
	*first = false;
	return 1;
}

int cm_json_key(struct cm_json_line *l, bool *first, struct cm_json_text *ret)
{
	int r = step(l, first, '}');

	if (r <= 0)
		return r;
	if (cm_json_string(l, ret) < 0)
		return -1;
	if (peek(l) != ':')
		return fail(l, "colon expected");
	l->p++;
	return 1;
}

int cm_json_element(struct cm_json_line *l, bool *first)
{
	return step(l, first, ']');
}

/* Four hex digits at `s`, or -1. */
static int32_t hex4(const char *s, const char *end)
{
	int32_t v = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = s[i];

		v <<= 4;
		if (c >= '0' && c <= '9')
			v |= c - '0';
		else if (c >= 'a' && c <= 'f')
			v |= c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			v |= c - 'A' + 10;
		else
			return -1;
	}
	return v;
}

static char *put_utf8(char *out, int32_t v)
{
	if (v < 0x80) {
		*out++ = (char)v;
	} else if (v < 0x800) {
		*out++ = (char)(0xc0 | v >> 6);
		*out++ = (char)(0x80 | (v & 63));
	} else if (v < 0x10000) {
		*out++ = (char)(0xe0 | v >> 12);
		*out++ = (char)(0x80 | (v >> 6 & 63));
		*out++ = (char)(0x80 | (v & 63));
	} else {
		*out++ = (char)(0xf0 | v >> 18);
		*out++ = (char)(0x80 | (v >> 12 & 63));
		*out++ = (char)(0x80 | (v >> 6 & 63));
		*out++ = (char)(0x80 | (v & 63));
	}
	return out;
}

/* A \u escape, `l->p` behind the "u"; a pair of surrogates counts as one. */
static int unicode_escape(struct cm_json_line *l, char **out)
{
	int32_t v = hex4(l->p, l->end), low;

	if (v < 0)
		return fail(l, "bad \\u escape");
	l->p += 4;
	if (v == 0)
		return fail(l, "NUL in a string");
	if (v >= 0xdc00 && v <= 0xdfff)
		return fail(l, "lone surrogate");
	if (v >= 0xd800 && v <= 0xdbff) {
		if (l->end - l->p < 6 || l->p[0] != '\\' || l->p[1] != 'u')
			return fail(l, "lone surrogate");
		low = hex4(l->p + 2, l->end);
		if (low < 0xdc00 || low > 0xdfff)
			return fail(l, "lone surrogate");
		l->p += 6;
		v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
	}
	*out = put_utf8(*out, v);
	return 0;
}

static int escape(struct cm_json_line *l, char **out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	char c;

	if (l->p == l->end)
		return fail(l, "string without end");
	c = *l->p++;
	if (c == 'u')
		return unicode_escape(l, out);
	at = c ? strchr(from, c) : NULL;
	if (!at)
		return fail(l, "unknown escape");
	*(*out)++ = to[at - from];
	return 0;
}

int cm_json_string(struct cm_json_line *l, struct cm_json_text *ret)
{
	bool ascii = true;
	char *start, *out;

	if (peek(l) != '"')
		return fail(l, "string expected");
	start = out = ++l->p;
	for (;;) {
		if (l->p == l->end)
			return fail(l, "string without end");
		if (*l->p == '"')
			break;
		if ((unsigned char)*l->p < 0x20)
			return fail(l, "control character in a string");
		if (*l->p == '\\') {
			l->p++;
			if (escape(l, &out) < 0)
				return -1;
			continue;
		}
		ascii &= !(*l->p & 0x80);
		*out++ = *l->p++;
	}
	l->p++;
	*out = '\0';
	ret->s = start;
	ret->len = (size_t)(out - start);
	if (!ascii && !cm_utf8_valid(ret->s, ret->len))
		return fail(l, "string is not UTF-8");
	return 0;
}

int cm_json_integer(struct cm_json_line *l, int64_t *ret)
{
	bool negative = peek(l) == '-', overflow = false;
	const char *digits;
	int64_t v = 0;

	if (negative)
		l->p++;
	digits = l->p;
	for (; l->p < l->end && *l->p >= '0' && *l->p <= '9'; l->p++) {
		/* Downwards, for the lowest number has no positive twin. */
		overflow |= __builtin_mul_overflow(v, 10, &v);
		overflow |= __builtin_sub_overflow(v, *l->p - '0', &v);
	}
	if (l->p == digits || (*digits == '0' && l->p - digits > 1))
		return fail(l, "integer expected");
	if (l->p < l->end && (*l->p == '.' || *l->p == 'e' || *l->p == 'E'))
		return fail(l, "integer expected");
	if (!negative)
		overflow |= __builtin_sub_overflow(0, v, &v);
	if (overflow)
		return fail(l, "integer beyond 64 bits");
	*ret = v;
	return 0;
}

/* true, false, null, or a number of any kind, loosely. */
static int skip_scalar(struct cm_json_line *l)
{
	const char *start = l->p;

	while (l->p < l->end &&
	       (strchr("+-.", *l->p) || (*l->p >= '0' && *l->p <= '9') ||
		(*l->p >= 'a' && *l->p <= 'z') || *l->p == 'E') &&
	       *l->p)
		l->p++;
	return l->p > start ? 0 : fail(l, "value expected");
}

/*
 * Reads over one token of a value that is not understood. Brackets are
 * counted and matched; what stands between them is only tokenised, since
 * nobody reads it.
 */
static int skip_token(struct cm_json_line *l, char *stack, int *depth)
{
	struct cm_json_text text;
	char c = peek(l);

	if (c == '"')
		return cm_json_string(l, &text);
	if (c == '{' || c == '[') {
		if (*depth == CM_JSON_DEPTH_MAX)
			return fail(l, "nested too deep");
		stack[(*depth)++] = c == '{' ? '}' : ']';
		l->p++;
		return 0;
	}
	if (*depth > 0 && c == stack[*depth - 1]) {
		(*depth)--;
		l->p++;
		return 0;
	}
	if (*depth > 0 && (c == ',' || c == ':')) {
		l->p++;
		return 0;
	}
	return skip_scalar(l);
}

int cm_json_skip(struct cm_json_line *l)
{
	char stack[CM_JSON_DEPTH_MAX];
	int depth = 0;

	do {
		if (skip_token(l, stack, &depth) < 0)
			return -1;
	} while (depth > 0);
	return 0;
}

/* Bytes of the UTF-8 sequence at `s`, or 0 if it is not well formed. */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n = s[0] < 0xc2	 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 0;

	if (s[0] < 0x80)
		return 1;
	if (n == 0 || n > left)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0; /* overlong */
	if (s[0] == 0xed)
		high = 0x9f; /* surrogates */
	if (s[0] == 0xf0)
		low = 0x90; /* overlong */
	if (s[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool cm_utf8_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		n = utf8_sequence(p + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}
