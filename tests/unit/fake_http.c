/* fake_http.c - the scripted HTTP server of the client's unit tests. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_http.h"

#define CONNECTIONS_MAX 64

struct fake_http {
	fake_handler handler;
	void *arg;
	int listener;
	char url[64];
	pthread_t acceptor;
	atomic_uint requests, connections;
	pthread_t threads[CONNECTIONS_MAX];
	int fds[CONNECTIONS_MAX];
};

struct connection {
	struct fake_http *server;
	int fd;
};

static bool read_head(int fd, char *head, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && recv(fd, head + n, 1, 0) == 1) {
		n++;
		head[n] = '\0';
		if (n >= 4 && strcmp(head + n - 4, "\r\n\r\n") == 0)
			return true;
	}
	return false;
}

static bool read_body(int fd, struct fake_request *r)
{
	char text[32];
	const char *value =
		fake_header(r, "Content-Length", text, sizeof(text));
	ssize_t got;

	r->body_len = value ? strtoul(value, NULL, 10) : 0;
	r->body = calloc(1, r->body_len + 1);
	for (size_t n = 0; n < r->body_len; n += (size_t)got) {
		got = recv(fd, r->body + n, r->body_len - n, 0);
		if (got <= 0)
			return false;
	}
	return true;
}

static bool serve(struct connection *c)
{
	struct fake_request r = {0};
	bool stays = false;

	if (read_head(c->fd, r.head, sizeof(r.head)) &&
	    sscanf(r.head, "%15s %2047s", r.method, r.target) == 2 &&
	    read_body(c->fd, &r)) {
		r.number = atomic_fetch_add(&c->server->requests, 1);
		stays = c->server->handler(c->fd, &r, c->server->arg);
	}
	free(r.body);
	return stays;
}

static void *connection_main(void *arg)
{
	struct connection *c = arg;

	while (serve(c))
		;
	shutdown(c->fd, SHUT_RDWR);
	free(c);
	return NULL;
}

static void *acceptor_main(void *arg)
{
	struct fake_http *f = arg;
	struct connection *c;
	unsigned n;
	int fd;

	while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
		n = atomic_load(&f->connections);
		if (n == CONNECTIONS_MAX) {
			close(fd);
			continue;
		}
		c = calloc(1, sizeof(*c));
		c->server = f;
		c->fd = fd;
		f->fds[n] = fd;
		pthread_create(&f->threads[n], NULL, connection_main, c);
		atomic_store(&f->connections, n + 1);
	}
	return NULL;
}

struct fake_http *fake_http_start(fake_handler handler, void *arg)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(a);
	struct fake_http *f = calloc(1, sizeof(*f));

	f->handler = handler;
	f->arg = arg;
	f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->listener < 0 ||
	    bind(f->listener, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    listen(f->listener, 64) != 0 ||
	    getsockname(f->listener, (struct sockaddr *)&a, &len) != 0)
		abort();
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d",
		 ntohs(a.sin_port));
	pthread_create(&f->acceptor, NULL, acceptor_main, f);
	return f;
}

void fake_http_stop(struct fake_http *f)
{
	unsigned n;

	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->acceptor, NULL);
	close(f->listener);
	n = atomic_load(&f->connections);
	for (unsigned i = 0; i < n; i++) {
		shutdown(f->fds[i], SHUT_RDWR);
		pthread_join(f->threads[i], NULL);
		close(f->fds[i]);
	}
	free(f);
}

const char *fake_http_url(const struct fake_http *f)
{
	return f->url;
}

unsigned fake_http_requests(struct fake_http *f)
{
	return atomic_load(&f->requests);
}

unsigned fake_http_connections(struct fake_http *f)
{
	return atomic_load(&f->connections);
}

static bool send_all(int fd, const char *data, size_t len)
{
	ssize_t n;

	for (; len > 0; data += n, len -= (size_t)n) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

bool fake_answer(int fd, int status, const char *headers, const void *body,
		 size_t len)
{
	char head[2048];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %d Fine\r\n%sContent-Length: %zu\r\n\r\n",
			 status, headers, len);

	return send_all(fd, head, (size_t)n) && send_all(fd, body, len);
}

const char *fake_header(const struct fake_request *r, const char *name,
			char *out, size_t size)
{
	size_t n = strlen(name);
	const char *line = r->head, *end;

	while ((line = strstr(line, "\r\n"))) {
		line += 2;
		if (strncasecmp(line, name, n) != 0 || line[n] != ':')
			continue;
		line += n + 1;
		line += strspn(line, " ");
		end = strstr(line, "\r\n");
		snprintf(out, size, "%.*s", (int)(end - line), line);
		return out;
	}
	return NULL;
}
