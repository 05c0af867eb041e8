/*
 * units.h - sizes, durations and times as people write and read them.
 */
#ifndef CACHEMOUNT_UNITS_H
#define CACHEMOUNT_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

/*
 * "512", "64KiB", "10GB", "1.5 GiB", "20g": bytes. KB, MB, GB, TB count in
 * thousands; KiB … TiB and the bare letters k m g t in 1024s; any case.
 * CM_ERR_INVALID for anything else, and for values over INT64_MAX.
 */
int cm_size_parse(const char *text, int64_t *ret_bytes, struct cm_error *err);

/*
 * "500ms", "30s", "36h", "14d", "2w", "1h30m": milliseconds. A bare number
 * is seconds. CM_ERR_INVALID for anything else, and on overflow.
 */
int cm_duration_parse(const char *text, int64_t *ret_ms, struct cm_error *err);

#define CM_SIZE_TEXT_SIZE     24
#define CM_DURATION_TEXT_SIZE 24
#define CM_TIME_TEXT_SIZE     40

/* "0 B", "4.0 KiB", "1.2 GiB": IEC, for people. Returns `out`. */
char *cm_size_format(int64_t bytes, char out[static CM_SIZE_TEXT_SIZE]);

/* "85 ms", "4.2 s", "3m 20s", "5h 10m", "12d 4h". Returns `out`. */
char *cm_duration_format(int64_t ms, char out[static CM_DURATION_TEXT_SIZE]);

/* RFC 3339 in UTC, whole seconds: "2026-01-31T09:30:00Z". Returns `out`. */
char *cm_time_format(int64_t unix_ms, char out[static CM_TIME_TEXT_SIZE]);

/* Milliseconds since 1970, wall clock. */
int64_t cm_now_ms(void);

/* Milliseconds of a clock that never jumps; only differences mean anything. */
int64_t cm_monotonic_ms(void);
int64_t cm_monotonic_us(void); /* microseconds of it */

#endif
