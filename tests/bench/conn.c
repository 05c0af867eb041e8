/*
 * conn.c - see conn.h. A request goes out with writev (header and body in one
 * call); a reply's header is collected in `in`, its body is dropped.
 */
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int bench_conn_open(struct bench_conn *c, const struct sockaddr_in *addr)
{
	const int one = 1;

	memset(c, 0, sizeof(*c));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -1;
	if (connect(c->fd, (const struct sockaddr *)addr, sizeof(*addr)) ||
	    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    fcntl(c->fd, F_SETFL, O_NONBLOCK)) {
		bench_conn_close(c);
		return -1;
	}
	return 0;
}

void bench_conn_close(struct bench_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int bench_conn_request(struct bench_conn *c, bool no_content, const char *body,
		       size_t body_len, const char *head, ...)
{
	va_list ap;
	int n;

	if (c->waiting)
		return -1;
	va_start(ap, head);
	n = vsnprintf(c->head, sizeof(c->head), head, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(c->head))
		return -1;
	c->head_len = (size_t)n;
	c->head_sent = 0;
	c->body = body;
	c->body_len = body_len;
	c->body_sent = 0;
	c->no_content = no_content;
	c->waiting = true;
	c->in_body = false;
	memset(&c->reply, 0, sizeof(c->reply));
	return 0;
}

bool bench_conn_wants_write(const struct bench_conn *c)
{
	return c->waiting &&
	       (c->head_sent < c->head_len || c->body_sent < c->body_len);
}

/* One writev of what is left, within the budget. Bytes, 0 if full, -1. */
static ssize_t write_some(struct bench_conn *c, size_t budget)
{
	size_t head_left = c->head_len - c->head_sent;
	size_t body_left = c->body_len - c->body_sent;
	struct iovec iov[2] = {
		{c->head + c->head_sent, head_left},
		{(char *)(uintptr_t)(c->body) + c->body_sent,
		 body_left < budget ? body_left : budget},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	size_t of_head;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	of_head = (size_t)n < head_left ? (size_t)n : head_left;
	c->head_sent += of_head;
	c->body_sent += (size_t)n - of_head;
	return n;
}

int bench_conn_write(struct bench_conn *c, size_t budget)
{
	while (bench_conn_wants_write(c) && budget > 0) {
		ssize_t n = write_some(c, budget);

		if (n <= 0)
			return (int)n;
		budget -= (size_t)n < budget ? (size_t)n : budget;
	}
	return 0;
}

/* Keeps path and query of a Location, which may be absolute. */
static int take_location(struct bench_conn *c, const char *value, size_t len)
{
	const char *end = value + len;
	const char *scheme = memmem(value, len, "://", 3);

	if (scheme) {
		value = memchr(scheme + 3, '/', (size_t)(end - scheme - 3));
		if (!value)
			return -1;
	}
	len = (size_t)(end - value);
	if (len >= sizeof(c->reply.location))
		return -1;
	memcpy(c->reply.location, value, len);
	c->reply.location[len] = '\0';
	return 0;
}

/* The value of a header line if it has this name, else NULL. */
static const char *header_value(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) || line[n] != ':')
		return NULL;
	line += n + 1;
	while (*line == ' ')
		line++;
	return line;
}

static int parse_header_line(struct bench_conn *c, const char *line, size_t len)
{
	const char *v;

	v = header_value(line, len, "Content-Length");
	if (v)
		c->reply.length = strtoll(v, NULL, 10);
	v = header_value(line, len, "Location");
	if (v)
		return take_location(c, v, (size_t)(line + len - v));
	if (header_value(line, len, "Transfer-Encoding"))
		return -1;
	return 0;
}

/* Parses the header that ends at `end` (behind its empty line). */
static int parse_header(struct bench_conn *c, const char *end)
{
	const char *line = c->in;

	if (sscanf(line, "HTTP/1.1 %d", &c->reply.status) != 1)
		return -1;
	while (line < end) {
		const char *eol = memmem(line, (size_t)(end - line), "\r\n", 2);

		if (!eol)
			break;
		if (parse_header_line(c, line, (size_t)(eol - line)))
			return -1;
		line = eol + 2;
	}
	if (c->no_content || c->reply.status == 204)
		c->reply.length = 0;
	c->body_left = c->reply.length;
	return 0;
}

/* Looks for a whole header in `in`; what follows it counts as body. */
static int take_header(struct bench_conn *c)
{
	const char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
	int64_t rest;

	if (!end)
		return c->in_len < sizeof(c->in) ? 0 : -1;
	end += 4;
	if (parse_header(c, end))
		return -1;
	rest = (int64_t)(c->in_len - (size_t)(end - c->in));
	c->in_len = 0;
	if (c->reply.status == 100)
		return rest == 0 ? 0 : -1;
	if (rest > c->body_left)
		return -1; /* nobody asked for more */
	c->body_left -= rest;
	c->in_body = true;
	return 0;
}

int bench_conn_read(struct bench_conn *c, size_t budget)
{
	static _Thread_local char sink[1 << 17];

	while (c->waiting && budget > 0) {
		char *to = c->in_body ? sink : c->in + c->in_len;
		size_t room =
			c->in_body ? sizeof(sink) : sizeof(c->in) - c->in_len;
		ssize_t n = recv(c->fd, to, room < budget ? room : budget, 0);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if (n == 0)
			return -1;
		budget -= (size_t)n;
		if (c->in_body) {
			c->body_left -= n;
		} else {
			c->in_len += (size_t)n;
			if (take_header(c))
				return -1;
		}
		if (c->in_body && c->body_left <= 0)
			c->waiting = false;
	}
	return c->waiting ? 0 : 1;
}

int bench_address(const char *port, struct sockaddr_in *ret)
{
	char *end;
	unsigned long n = strtoul(port, &end, 10);

	if (*end || n == 0 || n > 65535)
		return -1;
	memset(ret, 0, sizeof(*ret));
	ret->sin_family = AF_INET;
	ret->sin_port = htons((uint16_t)n);
	ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return 0;
}

double bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}
