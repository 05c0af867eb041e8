/* log_line.c - building one line of the log without printf, as it is hot. */
#include <string.h>
#include <time.h>

#include "log_line.h"

/* What the end of a line needs: "}" and newline. */
#define TAIL_LEN 2

/* Room for the longest single escape: \u00XX. */
#define ESCAPE_MAX 6

static const char hex_digits[] = "0123456789abcdef";

static void put(struct cm_log_line *line, const char *bytes, size_t len)
{
	if (len > sizeof(line->bytes) - TAIL_LEN - line->len)
		return;
	memcpy(line->bytes + line->len, bytes, len);
	line->len += len;
}

static void put_text(struct cm_log_line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* Writes `value` in decimal with at least `width` digits. */
static void put_decimal(struct cm_log_line *line, uint64_t value, int width)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
		width--;
	} while (value > 0 || width > 0);
	put(line, digits + at, sizeof(digits) - at);
}

static void put_signed(struct cm_log_line *line, int64_t value)
{
	if (value < 0)
		put(line, "-", 1);
	put_decimal(line, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
}

/*
 * The text of the second that this thread logged last: breaking a time down
 * takes the C library's time zone lock, which all threads would meet at.
 */
static _Thread_local struct {
	time_t second;
	char text[sizeof("2026-01-31T09:30:00")];
} last_second;

static void put_time(struct cm_log_line *line)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != last_second.second) {
		gmtime_r(&now.tv_sec, &tm);
		strftime(last_second.text, sizeof(last_second.text),
			 "%Y-%m-%dT%H:%M:%S", &tm);
		last_second.second = now.tv_sec;
	}
	put_text(line, last_second.text);
	put(line, ".", 1);
	put_decimal(line, (uint64_t)now.tv_nsec / 1000000, 3);
	put(line, "Z", 1);
}

static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static size_t escape(bool json, unsigned char c, char out[static ESCAPE_MAX])
{
	if (plain(c)) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	if (c == '"' || c == '\\') {
		out[1] = (char)c;
		return 2;
	}
	memcpy(out + 1, json ? "u00" : "x", json ? 3 : 1);
	out[json ? 4 : 2] = hex_digits[c >> 4];
	out[json ? 5 : 3] = hex_digits[c & 15];
	return json ? 6 : 4;
}

/* Writes at most CM_LOG_VALUE_MAX bytes of `value`, escaped. */
static void put_escaped(struct cm_log_line *line, const char *value)
{
	char out[ESCAPE_MAX];
	size_t run;

	for (size_t i = 0; value[i] && i < CM_LOG_VALUE_MAX; i += run) {
		run = 0;
		while (i + run < CM_LOG_VALUE_MAX &&
		       plain((unsigned char)value[i + run]))
			run++;
		put(line, value + i, run);
		if (run > 0)
			continue;
		put(line, out,
		    escape(line->json, (unsigned char)value[i], out));
		run = 1;
	}
}

/* May the value stand bare in the text format? */
static bool bare(const char *value)
{
	for (const char *c = value; *c; c++)
		if (!plain((unsigned char)*c) || *c == ' ' || *c == '=')
			return false;
	return *value != '\0';
}

static void put_key(struct cm_log_line *line, const char *key)
{
	if (line->json) {
		put(line, ",\"", 2);
		put_text(line, key);
		put(line, "\":", 2);
	} else {
		put(line, " ", 1);
		put_text(line, key);
		put(line, "=", 1);
	}
}

/* Is there room for a field of `value_len` bytes before escaping? */
static bool fits(const struct cm_log_line *line, const char *key,
		 size_t value_len)
{
	return strlen(key) + value_len * ESCAPE_MAX + 8 <=
	       sizeof(line->bytes) - TAIL_LEN - line->len;
}

void cm_log_line_begin(struct cm_log_line *line, bool json, const char *level,
		       const char *event)
{
	line->json = json;
	line->len = 0;
	if (json)
		put_text(line, "{\"time\":\"");
	put_time(line);
	put_text(line, json ? "\",\"level\":\"" : " ");
	put_text(line, level);
	put_text(line, json ? "\",\"event\":\"" : " ");
	put_text(line, event);
	if (json)
		put(line, "\"", 1);
}

void cm_log_line_text(struct cm_log_line *line, const char *key,
		      const char *value)
{
	bool quoted;

	if (!value || !fits(line, key, strnlen(value, CM_LOG_VALUE_MAX)))
		return;
	quoted = line->json || !bare(value);
	put_key(line, key);
	if (quoted)
		put(line, "\"", 1);
	put_escaped(line, value);
	if (quoted)
		put(line, "\"", 1);
}

void cm_log_line_number(struct cm_log_line *line, const char *key,
			int64_t value)
{
	if (!fits(line, key, 20))
		return;
	put_key(line, key);
	put_signed(line, value);
}

void cm_log_line_millis(struct cm_log_line *line, const char *key,
			int64_t microseconds)
{
	if (!fits(line, key, 24))
		return;
	put_key(line, key);
	put_signed(line, microseconds / 1000);
	put(line, ".", 1);
	put_decimal(line, (uint64_t)(microseconds % 1000), 3);
}

const char *cm_log_line_end(struct cm_log_line *line, size_t *ret_len)
{
	if (line->json)
		line->bytes[line->len++] = '}';
	line->bytes[line->len++] = '\n';
	*ret_len = line->len;
	return line->bytes;
}
