/* units.c - sizes, durations and times as text. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
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

/* Reads digits with an optional fraction; returns what follows, or NULL. */
static const char *read_number(const char *s, double *ret)
{
	double value = 0, scale = 0.1;
	const char *start = s;

	for (; isdigit((unsigned char)*s); s++)
		value = value * 10 + (*s - '0');
	if (s == start)
		return NULL;
	if (*s == '.') {
		if (!isdigit((unsigned char)*++s))
			return NULL;
		for (; isdigit((unsigned char)*s); s++, scale /= 10)
			value += (*s - '0') * scale;
	}
	*ret = value;
	return s;
}

int cm_size_parse(const char *text, int64_t *ret_bytes, struct cm_error *err)
{
	const char *s;
	double number = 0;
	int64_t factor = 0;

	s = read_number(text, &number);
	if (s) {
		while (*s == ' ')
			s++;
		factor = unit_factor(size_units, UNITS_LEN(size_units), s,
				     strlen(s));
	}
	if (factor == 0 || number * (double)factor >= 9.2e18)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.60s\" is no size; write for example "
				    "512MiB, 10GB or 20g",
				    text);
	*ret_bytes = (int64_t)llround(number * (double)factor);
	return 0;
}

int cm_duration_parse(const char *text, int64_t *ret_ms, struct cm_error *err)
{
	const char *s = text;
	double total = 0, number;
	int64_t factor;
	size_t len;

	do {
		s = read_number(s, &number);
		if (!s)
			break;
		for (len = 0; isalpha((unsigned char)s[len]);)
			len++;
		if (len == 0 && *s == '\0' && total == 0)
			factor = 1000;
		else
			factor = unit_factor(duration_units,
					     UNITS_LEN(duration_units), s, len);
		if (factor == 0)
			break;
		total += number * (double)factor;
		s += len;
	} while (*s);
	if (!s || *s || total >= 9.2e18)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.60s\" is no duration; write for "
				    "example 30s, 36h or 14d",
				    text);
	*ret_ms = (int64_t)llround(total);
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
	else if (s < 60)
		snprintf(out, CM_DURATION_TEXT_SIZE, "%.1f s",
			 (double)ms / 1000);
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
	time_t t = (time_t)(unix_ms / 1000);
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
