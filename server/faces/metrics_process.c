/* metrics_process.c - figures of the process, from /proc and the kernel. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "faces/metrics_process.h"

/* Resident and virtual pages. */
static void memory(struct cm_metrics_text *t)
{
	cm_autofile FILE *f = fopen("/proc/self/statm", "re");
	int64_t page = sysconf(_SC_PAGESIZE), all, resident;

	if (!f || fscanf(f, "%" SCNd64 " %" SCNd64, &all, &resident) != 2)
		return;
	cm_metrics_gauge(t, "process_resident_memory_bytes", resident * page,
			 "Resident memory.");
	cm_metrics_gauge(t, "process_virtual_memory_bytes", all * page,
			 "Virtual memory.");
}

static void descriptors(struct cm_metrics_text *t)
{
	cm_autodir DIR *dir = opendir("/proc/self/fd");
	struct rlimit limit;
	int64_t n = -3; /* ".", "..", and the one that reads */

	if (!dir)
		return;
	while (readdir(dir))
		n++;
	cm_metrics_gauge(t, "process_open_fds", n, "Open file descriptors.");
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return;
	cm_metrics_gauge(t, "process_max_fds", (int64_t)limit.rlim_cur,
			 "Limit on open file descriptors.");
}

static void processor(struct cm_metrics_text *t)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) < 0)
		return;
	cm_metrics_family(t, "process_cpu_seconds_total", "counter",
			  "Processor time, user and system.");
	cm_metrics_millionths(t, NULL,
			      (u.ru_utime.tv_sec + u.ru_stime.tv_sec) *
					      INT64_C(1000000) +
				      u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

void cm_metrics_process(struct cm_metrics_text *t, int64_t started_ms)
{
	memory(t);
	descriptors(t);
	processor(t);
	cm_metrics_family(t, "process_start_time_seconds", "gauge",
			  "When the process started, since 1970.");
	cm_metrics_millionths(t, NULL, started_ms * 1000);
}
