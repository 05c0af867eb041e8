/*
 * json_line.h - a strict, in-place reader of one line of JSON (RFC 8259), for
 * trees of a million lines: no allocation, no recursion, strings unescaped
 * where they stand.
 *
 * Every function returns 0 or a positive answer, or -1 with `why` set to a
 * static text. Blanks between tokens are accepted, as JSON has it.
 */
#ifndef CM_ENGINE_JSON_LINE_H
#define CM_ENGINE_JSON_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CM_JSON_DEPTH_MAX 16

struct cm_json_line {
	char *p;   /* next byte to read */
	char *end; /* one behind the line's last byte */
	const char *why;
};

/* A string or key: `len` bytes of UTF-8 in the line, and a NUL. */
struct cm_json_text {
	char *s;
	size_t len;
};

/* Starts on a line of `len` bytes, without its newline. */
void cm_json_start(struct cm_json_line *l, char *line, size_t len);

/* Nothing but blanks may be left. */
int cm_json_finish(struct cm_json_line *l);

/* Steps into an object ('{') or an array ('['). */
int cm_json_open(struct cm_json_line *l, char bracket);

/*
 * Steps to the next member of the object, over its key and colon; `*first`
 * starts true. Returns 1, or 0 behind the object's end.
 */
int cm_json_key(struct cm_json_line *l, bool *first, struct cm_json_text *ret);

/* The same for the elements of an array. */
int cm_json_element(struct cm_json_line *l, bool *first);

/* Reads a string; NUL inside and lone surrogates are refused. */
int cm_json_string(struct cm_json_line *l, struct cm_json_text *ret);

/* Reads an integer: no fraction, no exponent, within 64 bits. */
int cm_json_integer(struct cm_json_line *l, int64_t *ret);

/* Reads over any value, at most CM_JSON_DEPTH_MAX deep. */
int cm_json_skip(struct cm_json_line *l);

/* Is it well-formed UTF-8 (RFC 3629)? */
bool cm_utf8_valid(const char *s, size_t len);

#endif
