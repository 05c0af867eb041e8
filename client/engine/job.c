/* job.c - options, results, progress and warnings of one restore or save. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/units.h>

#include "job.h"

#define WARNINGS_MAX	20
#define TELL_EVERY_MS	100
#define THREADS_MIN	4 /* also on few cores: a network has delays */
#define THREADS_MAX	8
#define THREADS_ASKED	64 /* the most that a caller gets */
#define DEFAULT_BYTES	(1LL << 40)
#define DEFAULT_ENTRIES 10000000

static unsigned choose_threads(unsigned asked)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (asked)
		return asked < THREADS_ASKED ? asked : THREADS_ASKED;
	return cores < THREADS_MIN   ? THREADS_MIN
	       : cores > THREADS_MAX ? THREADS_MAX
				     : (unsigned)cores;
}

void cm_job_init(struct cm_job *j, const char *verb,
		 const struct cm_snapshot_options *o,
		 struct cm_snapshot_result *result)
{
	memset(j, 0, sizeof(*j));
	memset(result, 0, sizeof(*result));
	pthread_mutex_init(&j->lock, NULL);
	j->o = o;
	j->result = result;
	j->threads = choose_threads(o->jobs);
	j->limits.max_bytes = o->max_bytes ? o->max_bytes : DEFAULT_BYTES;
	j->limits.max_entries =
		o->max_entries ? o->max_entries : DEFAULT_ENTRIES;
	j->started_ms = cm_monotonic_ms();
	j->told_ms = j->started_ms;
	cm_remote_traffic(o->remote, &j->before);
	j->progress.what = verb;
}

void cm_job_finish(struct cm_job *j)
{
	struct cm_remote_traffic traffic;
	unsigned untold =
		j->warnings > WARNINGS_MAX ? j->warnings - WARNINGS_MAX : 0;
	char text[64];

	if (untold && j->o->warning) {
		snprintf(text, sizeof(text), "and %u more warnings", untold);
		j->o->warning(j->o->arg, text);
	}
	cm_remote_traffic(j->o->remote, &traffic);
	j->result->sent = traffic.sent - j->before.sent;
	j->result->received = traffic.received - j->before.received;
	j->result->ms = cm_monotonic_ms() - j->started_ms;
	pthread_mutex_destroy(&j->lock);
}

void cm_job_warn(struct cm_job *j, const char *fmt, ...)
{
	char text[CM_ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&j->lock);
	if (j->warnings++ < WARNINGS_MAX && j->o->warning)
		j->o->warning(j->o->arg, text);
	pthread_mutex_unlock(&j->lock);
}

void cm_job_expect(struct cm_job *j, int64_t files, int64_t bytes)
{
	pthread_mutex_lock(&j->lock);
	j->progress.files_total = files;
	j->progress.bytes_total = bytes;
	pthread_mutex_unlock(&j->lock);
}

void cm_job_progress(struct cm_job *j, int64_t files, int64_t bytes)
{
	int64_t now;

	if (!j->o->progress)
		return;
	now = cm_monotonic_ms();
	pthread_mutex_lock(&j->lock);
	j->progress.files_done += files;
	j->progress.bytes_done += bytes;
	if (now - j->told_ms >= TELL_EVERY_MS) {
		j->told_ms = now;
		j->o->progress(j->o->arg, &j->progress);
	}
	pthread_mutex_unlock(&j->lock);
}

const char *cm_shown(const char *path, char out[static CM_SHOWN_SIZE])
{
	size_t n = strlen(path);
	bool cut = n >= CM_SHOWN_SIZE;

	if (cut)
		n = CM_SHOWN_SIZE - 4;
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)path[i] < 0x20 || path[i] == 0x7f
				 ? '?'
				 : path[i];
	memcpy(out + n, cut ? "..." : "", cut ? 4 : 1);
	return out;
}
