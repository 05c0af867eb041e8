/*
 * log.h - the daemon's log: one line an event, one line a request, on stderr.
 *
 * A line is JSON (default) or text for people. Bytes that could break a line
 * or a terminal are escaped; secrets never get here, as no caller passes a
 * header's value but traceparent's.
 *
 * Nobody waits for stderr: a line goes into a bounded buffer that one thread
 * writes out. When the buffer is full the line is dropped and counted, and the
 * count is told once there is room again.
 *
 * Threads: any thread may log. This is the project's one mutable global.
 */
#ifndef CM_SERVER_LOG_H
#define CM_SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <cachemount/error.h>

enum cm_log_level {
	CM_LOG_DEBUG,
	CM_LOG_INFO,
	CM_LOG_WARN,
	CM_LOG_ERROR,
};

enum cm_log_format {
	CM_LOG_AUTO, /* text on a terminal, else JSON */
	CM_LOG_JSON,
	CM_LOG_TEXT,
};

/*
 * Starts the thread that writes. Before, and after cm_log_stop(), lines are
 * written at once by the caller.
 */
int cm_log_start(enum cm_log_format format, enum cm_log_level level,
		 struct cm_error *err);

/*
 * Writes out what is buffered, waiting at most a second for a stuck stderr,
 * and ends the thread.
 */
void cm_log_stop(void);

/* Is `level` logged? For callers whose line is dear to make. */
bool cm_log_enabled(enum cm_log_level level);

/* Logs that `event` (a short lower-case word with "-") happened. */
void cm_log(enum cm_log_level level, const char *event, const char *fmt, ...)
	CM_PRINTF(3, 4);

/* What is told of a finished request. Strings may be NULL: left out. */
struct cm_log_request {
	const char *method;
	const char *path; /* raw, without query */
	int status;	  /* 0: no reply was made */
	int64_t received_bytes;
	int64_t sent_bytes;
	int64_t duration_us;
	const char *identity;
	const char *remote;
	const char *result;
	const char *trace; /* trace id, 32 hex digits */
};

/* Logs a request: level info, error for a status of 500 and above. */
void cm_log_request(enum cm_log_level level, const struct cm_log_request *r);

#endif
