/*
 * timed.c - runs a command and appends what it took to a file.
 *
 *	timed FILE CMD ARG…
 *
 * One line: wall, user and system microseconds, peak resident KiB of the
 * largest process, exit status. User and system time include every child that
 * the command waited for. Exits with the command's status, 125 if it could not
 * be run.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long micros(struct timeval tv)
{
	return (long long)tv.tv_sec * 1000000 + tv.tv_usec;
}

static long long now_micros(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int append(const char *path, long long wall, const struct rusage *ru,
		  int status)
{
	FILE *f = fopen(path, "ae");

	if (!f)
		return -1;
	fprintf(f, "%lld %lld %lld %ld %d\n", wall, micros(ru->ru_utime),
		micros(ru->ru_stime), ru->ru_maxrss, status);
	return fclose(f);
}

int main(int argc, char **argv)
{
	struct rusage ru;
	long long start;
	int status;
	pid_t pid;

	if (argc < 3)
		return 125;
	start = now_micros();
	pid = vfork();
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		_exit(125);
	}
	if (pid < 0 || wait4(pid, &status, 0, &ru) < 0)
		return 125;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	if (append(argv[1], now_micros() - start, &ru, status)) {
		perror(argv[1]);
		return 125;
	}
	return status;
}
