/*
 * healthcheck.c - the client half of /readyz, for container health checks.
 *
 * Runs in a process of its own, so one alarm bounds all of it: the look-up of a
 * host name, a server that does not answer, one that answers byte by byte.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "listen.h"
#include "server.h"

/* Less than what the health checks of deploy/ grant it. */
#define TIMEOUT_S 3

static void too_late(int sig)
{
	static const char text[] = "cachemountd: no answer in time\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)sig;
	(void)written;
	_exit(CM_EXIT_FAILURE);
}

static int connect_to(const struct cm_address *addr, struct cm_error *err)
{
	cm_autofd int fd = -1;

	fd = socket(addr->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cm_error_errno(err, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)&addr->storage, addr->len) < 0)
		return cm_error_errno(err, "cannot connect");
	return cm_take_fd(&fd);
}

/* Reads until `size` is full or the server closes; ends with NUL. */
static int read_answer(int fd, char *buf, size_t size, struct cm_error *err)
{
	size_t got = 0;
	ssize_t n;

	do {
		n = recv(fd, buf + got, size - 1 - got, 0);
		if (n < 0)
			return cm_error_errno(err, "no answer");
		got += (size_t)n;
	} while (n > 0 && got < size - 1);
	buf[got] = '\0';
	return 0;
}

static int ask(const struct cm_address *addr, struct cm_error *err)
{
	static const char request[] = "GET /readyz HTTP/1.1\r\n"
				      "Host: localhost\r\n"
				      "Connection: close\r\n\r\n";
	char answer[2048];
	const char *body;
	cm_autofd int fd = -1;

	fd = connect_to(addr, err);
	if (fd < 0)
		return fd;
	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		return cm_error_errno(err, "cannot ask");
	if (read_answer(fd, answer, sizeof(answer), err) < 0)
		return err->status;
	if (strncmp(answer, "HTTP/1.1 200 ", 13) == 0)
		return 0;
	body = strstr(answer, "\r\n\r\n");
	return cm_error_set(err, CM_ERR_UNAVAILABLE, "not ready: %.*s",
			    (int)strcspn(body ? body + 4 : answer, "\r\n"),
			    body ? body + 4 : answer);
}

enum cm_exit cm_healthcheck(const struct cm_config *config,
			    struct cm_error *err)
{
	char text[CM_ADDRESS_TEXT_SIZE];
	struct cm_address addr;

	signal(SIGALRM, too_late);
	alarm(TIMEOUT_S);
	if (cm_address_parse(config->listen, &addr, err) < 0) {
		cm_error_wrap(err, "listen");
		return CM_EXIT_FAILURE;
	}
	cm_address_local(&addr, &addr);
	if (ask(&addr, err) == 0)
		return CM_EXIT_OK;
	cm_error_wrap(err, "%s",
		      cm_address_format((const struct sockaddr *)&addr.storage,
					text));
	return CM_EXIT_FAILURE;
}
