/* units.c - sizes, durations and times as text. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <cachemount/units.h>

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit size_units[] = {
	{"", 1},
	{"b", 1},
	{"k", 1LL << 10},
	{"kib", 1LL << 10},
	{"kb", 1000LL},
	{"m", 1LL << 20},
	{"mib", 1LL << 20},
	{"mb", 1000LL * 1000},
	{"g", 1LL << 30},
	{"gib", 1LL << 30},
	{"gb", 1000LL * 1000 * 1000},
	{"t", 1LL << 40},
	{"tib", 1LL << 40},
	{"tb", 1000LL * 1000 * 1000 * 1000},
};

static const struct unit duration_units[] = {
	{"ms", 1},
	{"s", 1000},
	{"m", 60 * 1000},
	{"h", 3600 * 1000},
	{"d", 24 * 3600 * 1000},
	{"w", 7 * 24 * 3600 * 1000},
};

#define UNITS_LEN(u) (sizeof(u) / sizeof((u)[0]))

static int64_t unit_factor(const struct unit *units, size_t n, const char *name,
			   size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(units[i].name) == len &&
		    strncasecmp(units[i].name, name, len) == 0)
			return units[i].factor;
	return 0;
}

/* A decimal number as written: whole + fraction. */
struct number {
	uint64_t whole;	 /* UINT64_MAX: that or more */
	double fraction; /* 0 <= fraction < 1 */
};

/* Reads digits with an optional fraction; returns what follows, or NULL. */
static const char *read_number(const char *s, struct number *ret)
{
	struct number n = {0, 0};
	double scale = 0.1;
	const char *start = s;

	for (; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(n.whole, 10, &n.whole) ||
		    __builtin_add_overflow(n.whole, *s - '0', &n.whole))
			n.whole = UINT64_MAX;
	if (s == start)
		return NULL;
	if (*s == '.') {
		if (!isdigit((unsigned char)*++s))
			return NULL;
		for (; isdigit((unsigned char)*s); s++, scale /= 10)
			n.fraction += (*s - '0') * scale;
	}
	*ret = n;
	return s;
}

/* Adds n * factor to `*total`; false beyond INT64_MAX. Whole parts are exact.
 */
static bool add_scaled(struct number n, int64_t factor, int64_t *total)
{
	int64_t product, rest = llround(n.fraction * (double)factor);

	return !__builtin_mul_overflow(n.whole, factor, &product) &&
	       !__builtin_add_overflow(product, rest, &product) &&
	       !__builtin_add_overflow(*total, product, total);
}

int cm_size_parse(const char *text, int64_t *ret_bytes, struct cm_error *err)
{
	const char *s;
	struct number number = {0, 0};
	int64_t factor = 0, bytes = 0;

	s = read_number(text, &number);
	if (s) {
		while (*s == ' ')
			s++;
		factor = unit_factor(size_units, UNITS_LEN(size_units), s,
				     strlen(s));
	}
	if (factor == 0 || !add_scaled(number, factor, &bytes))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.60s\" is no size; write for example "
				    "512MiB, 10GB or 20g",
				    text);
	*ret_bytes = bytes;
	return 0;
}

/* The unit at `*s`, moving past it; a bare number alone is seconds. */
static int64_t duration_factor(const char **s, bool alone)
{
	const char *name = *s;
	size_t len = 0;

	while (isalpha((unsigned char)name[len]))
		len++;
	*s += len;
	if (len == 0 && **s == '\0' && alone)
		return 1000;
	return unit_factor(duration_units, UNITS_LEN(duration_units), name,
			   len);
}

int cm_duration_parse(const char *text, int64_t *ret_ms, struct cm_error *err)
{
	const char *s = text;
	struct number number;
	int64_t factor, ms = 0;
	bool first = true;

	do {
		s = read_number(s, &number);
		factor = s ? duration_factor(&s, first) : 0;
		if (factor == 0 || !add_scaled(number, factor, &ms))
			return cm_error_set(err, CM_ERR_INVALID,
					    "\"%.60s\" is no duration; write "
					    "for example 30s, 36h or 14d",
					    text);
		first = false;
	} while (*s);
	*ret_ms = ms;
	return 0;
}

char *cm_size_format(int64_t bytes, char out[static CM_SIZE_TEXT_SIZE])
{
	static const char *const names[] = {"B",   "KiB", "MiB", "GiB",
					    "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t i = 0;

	while (fabs(value) >= 1023.95 && i + 1 < UNITS_LEN(names)) {
		value /= 1024;
		i++;
	}
	snprintf(out, CM_SIZE_TEXT_SIZE, i == 0 ? "%.0f %s" : "%.1f %s", value,
		 names[i]);
	return out;
}

char *cm_duration_format(int64_t ms, char out[static CM_DURATION_TEXT_SIZE])
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(out, CM_DURATION_TEXT_SIZE, "%" PRId64 " ms", ms);
	else if (s < 60) /* cut, not rounded: 59.99 s are no "60.0 s" */
		snprintf(out, CM_DURATION_TEXT_SIZE,
			 "%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
	else if (s < 3600)
		snprintf(out, CM_DURATION_TEXT_SIZE,
			 "%" PRId64 "m %" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, CM_DURATION_TEXT_SIZE,
			 "%" PRId64 "h %" PRId64 "m", s / 3600, s % 3600 / 60);
	else
		snprintf(out, CM_DURATION_TEXT_SIZE,
			 "%" PRId64 "d %" PRId64 "h", s / 86400,
			 s % 86400 / 3600);
	return out;
}

char *cm_time_format(int64_t unix_ms, char out[static CM_TIME_TEXT_SIZE])
{
	time_t t = (time_t)(unix_ms / 1000 - (unix_ms % 1000 < 0));
	struct tm tm;

	if (!gmtime_r(&t, &tm) ||
	    strftime(out, CM_TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(out, CM_TIME_TEXT_SIZE, "1970-01-01T00:00:00Z");
	return out;
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t cm_now_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t cm_monotonic_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t cm_monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
