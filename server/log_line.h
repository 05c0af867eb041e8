/*
 * log_line.h - one line of the log, built field by field in caller memory.
 *
 * JSON: {"time":"…","level":"info","event":"request","path":"/v2/",…}
 * text: 2026-01-31T09:30:00.123Z info request path=/v2/ …
 *
 * In JSON, a byte below 0x20 or from 0x7f is written as \u00XX, so that a line
 * is valid whatever a client sent; in text as \xXX, and a value with spaces or
 * quotes stands in quotes. A line that grows beyond CM_LOG_LINE_MAX loses the
 * fields that do not fit; a value beyond CM_LOG_VALUE_MAX bytes is cut.
 */
#ifndef CM_SERVER_LOG_LINE_H
#define CM_SERVER_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CM_LOG_LINE_MAX	 4096
#define CM_LOG_VALUE_MAX 512

struct cm_log_line {
	char bytes[CM_LOG_LINE_MAX];
	size_t len;
	bool json;
};

/* Starts a line with the present time, level and event. */
void cm_log_line_begin(struct cm_log_line *line, bool json, const char *level,
		       const char *event);

/* Adds a text field; a NULL value is left out. */
void cm_log_line_text(struct cm_log_line *line, const char *key,
		      const char *value);

/* Adds an integer field. */
void cm_log_line_number(struct cm_log_line *line, const char *key,
			int64_t value);

/* Adds microseconds as milliseconds with three decimals. */
void cm_log_line_millis(struct cm_log_line *line, const char *key,
			int64_t microseconds);

/* Ends the line with a newline; borrowed until the line is changed. */
const char *cm_log_line_end(struct cm_log_line *line, size_t *ret_len);

#endif
