/*
 * log.c - lines into a bounded buffer, and the thread that empties it.
 *
 * Two halves of LOG_BUFFER_SIZE bytes: producers append to `fill` under the
 * lock, the writer swaps the halves and writes the full one without it. The
 * writer is woken once for many lines: it sleeps BATCH_MS between a wake-up
 * and the swap, so that a line costs its producer a lock and a copy, and no
 * system call.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "log.h"
#include "log_line.h"

#define LOG_BUFFER_SIZE (512 * 1024)
#define BATCH_MS	10
#define STOP_WAIT_S	1

struct half {
	char bytes[LOG_BUFFER_SIZE];
	size_t len;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct half *fill;  /* of producers, under the lock */
	struct half *drain; /* of the writer */
	int64_t dropped;    /* lines, since last told */
	bool running;
	bool stopping;
	bool waiting; /* the writer wants a signal */
	bool json;
	enum cm_log_level level;
} log_sink = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
	.json = false,
	.level = CM_LOG_INFO,
};

static const char *const level_names[] = {
	[CM_LOG_DEBUG] = "debug",
	[CM_LOG_INFO] = "info",
	[CM_LOG_WARN] = "warn",
	[CM_LOG_ERROR] = "error",
};

static void write_all(const char *bytes, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(STDERR_FILENO, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		bytes += n;
		len -= (size_t)n;
	}
}

/* Under the lock: appends if there is room, else counts. */
static void append(const char *bytes, size_t len)
{
	struct half *h = log_sink.fill;

	if (len > sizeof(h->bytes) - h->len) {
		log_sink.dropped++;
		return;
	}
	memcpy(h->bytes + h->len, bytes, len);
	h->len += len;
	if (log_sink.waiting) {
		log_sink.waiting = false;
		pthread_cond_signal(&log_sink.wake);
	}
}

static void emit(struct cm_log_line *line)
{
	size_t len;
	const char *bytes = cm_log_line_end(line, &len);

	pthread_mutex_lock(&log_sink.lock);
	if (log_sink.running)
		append(bytes, len);
	else
		write_all(bytes, len);
	pthread_mutex_unlock(&log_sink.lock);
}

/* Under the lock: tells of dropped lines, now that there is room. */
static void report_dropped(void)
{
	struct cm_log_line line;
	size_t len;
	const char *bytes;

	if (log_sink.dropped == 0)
		return;
	cm_log_line_begin(&line, log_sink.json, level_names[CM_LOG_WARN],
			  "log-dropped");
	cm_log_line_number(&line, "lines", log_sink.dropped);
	bytes = cm_log_line_end(&line, &len);
	log_sink.dropped = 0;
	append(bytes, len);
}

static void pause_ms(long ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000L};

	nanosleep(&t, NULL);
}

/* Under the lock: waits for lines; false when all is written and it ends. */
static bool wait_for_lines(void)
{
	while (log_sink.fill->len == 0 && !log_sink.stopping) {
		log_sink.waiting = true;
		pthread_cond_wait(&log_sink.wake, &log_sink.lock);
	}
	log_sink.waiting = false;
	return log_sink.fill->len > 0;
}

static void *writer_main(void *arg)
{
	struct half *full;
	bool stopping;

	(void)arg;
	pthread_mutex_lock(&log_sink.lock);
	while (wait_for_lines()) {
		stopping = log_sink.stopping;
		pthread_mutex_unlock(&log_sink.lock);
		if (!stopping)
			pause_ms(BATCH_MS);
		pthread_mutex_lock(&log_sink.lock);
		full = log_sink.fill;
		log_sink.fill = log_sink.drain;
		log_sink.drain = full;
		report_dropped();
		pthread_mutex_unlock(&log_sink.lock);
		write_all(full->bytes, full->len);
		full->len = 0;
		pthread_mutex_lock(&log_sink.lock);
	}
	pthread_mutex_unlock(&log_sink.lock);
	return NULL;
}

int cm_log_start(enum cm_log_format format, enum cm_log_level level,
		 struct cm_error *err)
{
	cm_autofree struct half *a = calloc(1, sizeof(*a));
	cm_autofree struct half *b = calloc(1, sizeof(*b));

	log_sink.json = format == CM_LOG_JSON ||
			(format == CM_LOG_AUTO && !isatty(STDERR_FILENO));
	log_sink.level = level;
	if (!a || !b)
		return cm_error_nomem(err);
	log_sink.fill = a;
	log_sink.drain = b;
	log_sink.stopping = false;
	errno = pthread_create(&log_sink.thread, NULL, writer_main, NULL);
	if (errno != 0)
		return cm_error_errno(err, "cannot start the log's thread");
	cm_take_ptr(a);
	cm_take_ptr(b);
	log_sink.running = true;
	return 0;
}

void cm_log_stop(void)
{
	struct timespec until;

	if (!log_sink.running)
		return;
	pthread_mutex_lock(&log_sink.lock);
	log_sink.stopping = true;
	pthread_cond_signal(&log_sink.wake);
	pthread_mutex_unlock(&log_sink.lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	/* A thread that stderr holds up keeps its buffers: leave them to it. */
	if (pthread_timedjoin_np(log_sink.thread, NULL, &until) != 0)
		return;
	pthread_mutex_lock(&log_sink.lock);
	log_sink.running = false;
	pthread_mutex_unlock(&log_sink.lock);
	free(cm_take_ptr(log_sink.fill));
	free(cm_take_ptr(log_sink.drain));
}

bool cm_log_enabled(enum cm_log_level level)
{
	return level >= log_sink.level;
}

void cm_log(enum cm_log_level level, const char *event, const char *fmt, ...)
{
	struct cm_log_line line;
	char message[1024];
	va_list ap;

	if (!cm_log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	cm_log_line_begin(&line, log_sink.json, level_names[level], event);
	cm_log_line_text(&line, "message", message);
	emit(&line);
}

void cm_log_request(enum cm_log_level level, const struct cm_log_request *r)
{
	struct cm_log_line line;

	if (!cm_log_enabled(level))
		return;
	cm_log_line_begin(&line, log_sink.json, level_names[level], "request");
	cm_log_line_text(&line, "method", r->method);
	cm_log_line_text(&line, "path", r->path);
	cm_log_line_number(&line, "status", r->status);
	cm_log_line_number(&line, "bytes_in", r->received_bytes);
	cm_log_line_number(&line, "bytes_out", r->sent_bytes);
	cm_log_line_millis(&line, "duration_ms", r->duration_us);
	cm_log_line_text(&line, "identity", r->identity);
	cm_log_line_text(&line, "remote", r->remote);
	cm_log_line_text(&line, "result", r->result);
	cm_log_line_text(&line, "trace_id", r->trace);
	emit(&line);
}
