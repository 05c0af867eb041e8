/*
 * firstanswer.c - how long a server takes from exec to its first answer.
 *
 *	firstanswer PORT PATH CMD ARG…
 *
 * Starts the command, asks for PATH again and again (a connection at a time,
 * half a millisecond apart) until a reply comes, prints
 *
 *	seconds=S status=N
 *
 * and ends the server with SIGTERM, after 10 s with SIGKILL. Gives up after
 * 60 s or when the server ends by itself. Exits 0 if the status was 200.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn.h"

#define GIVE_UP 60.0 /* seconds */

/* The status of one try, -1 if nobody answers yet. */
static int ask(const struct sockaddr_in *addr, const char *path)
{
	struct bench_conn c;
	double until = bench_now() + 5;
	int rc = bench_conn_open(&c, addr);

	if (rc)
		return -1;
	rc = bench_conn_request(&c, false, NULL, 0,
				"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
				path);
	if (rc == 0)
		rc = bench_conn_write(&c, SIZE_MAX);
	while (rc == 0 && bench_now() < until) {
		rc = bench_conn_read(&c, SIZE_MAX);
		if (rc == 0)
			usleep(50);
	}
	bench_conn_close(&c);
	return rc == 1 ? c.reply.status : -1;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGTERM);
	for (int i = 0; i < 1000; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr;
	double start;
	int status = -1;
	pid_t pid;

	if (argc < 4 || bench_address(argv[1], &addr)) {
		fprintf(stderr, "usage: firstanswer PORT PATH CMD [ARG...]\n");
		return 2;
	}
	start = bench_now();
	pid = vfork();
	if (pid == 0) {
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	while (pid > 0 && status < 0 && bench_now() < start + GIVE_UP &&
	       waitpid(pid, NULL, WNOHANG) == 0) {
		status = ask(&addr, argv[2]);
		if (status < 0)
			usleep(500);
	}
	printf("seconds=%.6f status=%d\n", bench_now() - start, status);
	if (pid > 0)
		end_child(pid);
	return status == 200 ? 0 : 1;
}
