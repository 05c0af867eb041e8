/*
 * accept.c - connections from their accept to their first byte.
 *
 * A client that is told "insecure" tries TLS on this plain port first, and
 * falls back only when the answer begins with "HTTP/". libmicrohttpd reads a
 * hello as a request line, and where the random bytes of one hold a line's end
 * it closes without a word. So libmicrohttpd does not listen: one thread here
 * accepts, looks at the first byte without taking it, and hands the connection
 * on. No request begins with the byte of a TLS record (0x16, RFC 8446 §5.1),
 * so a hello is answered here, however it goes on.
 *
 * The thread never waits for a client: who has said nothing yet waits in an
 * epoll set, costs no memory of libmicrohttpd's, and is in the list of the
 * watch (conn.c), whose shutdown() shows here as the connection's end. A
 * connection that lives on costs nothing more after its first byte.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http/internal.h"
#include "http/limits.h"
#include "log.h"

#define TLS_HANDSHAKE 0x16
#define EVENTS	      64
#define ACCEPTS	      64 /* in a row, before those who wait get a turn */
#define PAUSE_MS      20 /* until it is looked whether there is room again */

/* A connection that has not been handed on. Only the acceptor's thread. */
struct waiter {
	struct waiter *prev, *next;
	struct cm_conn *conn;
	int fd;
	bool answered;	  /* it was a hello; its rest is swallowed */
	size_t swallowed; /* bytes */
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

struct cm_acceptor {
	struct cm_http *http;
	pthread_t thread;
	int listen_fd;
	int epoll_fd;
	int stop_fd; /* an eventfd; readable: the thread must end */
	bool paused; /* not accepting: no room, or no descriptors */
	struct waiter *waiters;
};

/* What the first byte says. */
enum first {
	FIRST_NONE, /* not here yet */
	FIRST_GONE, /* closed or broken */
	FIRST_TLS,
	FIRST_OTHER,
};

static enum first look_at(int fd)
{
	unsigned char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0)
		return byte == TLS_HANDSHAKE ? FIRST_TLS : FIRST_OTHER;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return FIRST_NONE;
	return FIRST_GONE;
}

static bool watch_fd(struct cm_acceptor *a, int fd, void *tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

	return epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Lets go of a waiter, but for its descriptor. */
static void forget(struct cm_acceptor *a, struct waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		a->waiters = w->next;
	if (w->next)
		w->next->prev = w->prev;
	cm_conns_drop(&a->http->conns, w->conn);
	free(w);
}

static void end(struct cm_acceptor *a, struct waiter *w)
{
	int fd = w->fd;

	/* First out of the watch's list: it must not shut a descriptor that is
	 * another's by then. */
	forget(a, w);
	close(fd);
}

/* libmicrohttpd owns `fd` from here on, even where it fails. */
static void hand_on(struct cm_acceptor *a, int fd, const void *addr,
		    socklen_t len)
{
	if (MHD_add_connection(a->http->daemon, fd, addr, len) != MHD_YES)
		cm_log(CM_LOG_DEBUG, "http", "a connection was not taken");
}

static void hand_on_waiter(struct cm_acceptor *a, struct waiter *w)
{
	struct sockaddr_storage addr = w->addr;
	socklen_t len = w->addr_len;
	int fd = w->fd;

	epoll_ctl(a->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	forget(a, w);
	hand_on(a, fd, &addr, len);
}

/*
 * Answers a hello. The rest of it is swallowed before the close, as a close
 * over unread bytes makes TCP take the answer back. An answer of this size
 * always has room in the socket's buffer: nothing else was sent.
 */
static void answer(struct cm_acceptor *a, struct waiter *w)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\n"
				   "Content-Type: text/plain; charset=utf-8\r\n"
				   "Content-Length: 39\r\n"
				   "Connection: close\r\n"
				   "\r\n"
				   "This port speaks plain HTTP, not TLS.\r\n";

	(void)send(w->fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(w->fd, SHUT_WR);
	w->answered = true;
	cm_conn_enter(w->conn, CM_CONN_LINGERING);
	cm_log(a->http->options.access_log ? CM_LOG_INFO : CM_LOG_DEBUG,
	       "tls-on-plain-port", "%s sent a TLS hello, answered 400",
	       w->conn->remote);
}

/* Reads on, one piece a turn; false when it is time to close. */
static bool swallow(struct waiter *w)
{
	char piece[16 * 1024];
	ssize_t n = recv(w->fd, piece, sizeof(piece), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	w->swallowed += (size_t)n;
	return n > 0 && w->swallowed <= CM_HELLO_MAX;
}

/* Something came on a connection that waits. */
static void serve_waiter(struct cm_acceptor *a, struct waiter *w)
{
	if (!w->answered) {
		switch (look_at(w->fd)) {
		case FIRST_NONE:
			return;
		case FIRST_OTHER:
			hand_on_waiter(a, w);
			return;
		case FIRST_GONE:
			end(a, w);
			return;
		case FIRST_TLS:
			answer(a, w);
			break;
		}
	}
	if (!swallow(w))
		end(a, w);
}

/* Puts a fresh connection among those that wait; false without memory. */
static bool keep(struct cm_acceptor *a, int fd, const void *addr, socklen_t len)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return false;
	w->fd = fd;
	memcpy(&w->addr, addr, len);
	w->addr_len = len;
	w->conn = cm_conns_add(&a->http->conns, fd, addr);
	if (!w->conn) {
		free(w);
		return false;
	}
	w->next = a->waiters;
	if (w->next)
		w->next->prev = w;
	a->waiters = w;
	if (watch_fd(a, fd, w))
		return true;
	forget(a, w);
	return false;
}

/* Accepts one; false when there is none, or none can be had now. */
static bool accept_one(struct cm_acceptor *a)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int fd = accept4(a->listen_fd, (struct sockaddr *)&addr, &len,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		a->paused = errno == EMFILE || errno == ENFILE ||
			    errno == ENOBUFS || errno == ENOMEM;
		return errno == EINTR || errno == ECONNABORTED;
	}
	if (look_at(fd) == FIRST_OTHER)
		hand_on(a, fd, &addr, len);
	else if (!keep(a, fd, &addr, len))
		close(fd);
	return true;
}

static bool room(const struct cm_acceptor *a)
{
	return cm_http_connections(a->http) < a->http->options.max_connections;
}

static void listen_for(struct cm_acceptor *a, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = a};

	epoll_ctl(a->epoll_fd, EPOLL_CTL_MOD, a->listen_fd, &event);
}

/* Without room the next ones wait in the kernel's queue. */
static void accept_some(struct cm_acceptor *a)
{
	bool was_paused = a->paused;

	a->paused = false;
	for (int i = 0; i < ACCEPTS && !a->paused; i++) {
		a->paused = !room(a);
		if (a->paused || !accept_one(a))
			break;
	}
	if (a->paused != was_paused)
		listen_for(a, a->paused ? 0 : EPOLLIN);
}

/* Deals with what happened; false when it is time to end. */
static bool serve(struct cm_acceptor *a, const struct epoll_event *events,
		  int len)
{
	for (int i = 0; i < len; i++) {
		if (events[i].data.ptr == &a->stop_fd)
			return false;
		if (events[i].data.ptr == a)
			accept_some(a);
		else
			serve_waiter(a, events[i].data.ptr);
	}
	return true;
}

static void *accept_main(void *arg)
{
	struct epoll_event events[EVENTS];
	struct cm_acceptor *a = arg;
	int n;

	do {
		n = epoll_wait(a->epoll_fd, events, EVENTS,
			       a->paused ? PAUSE_MS : -1);
		if (a->paused)
			accept_some(a);
	} while (serve(a, events, n));
	return NULL;
}

static void acceptor_free(struct cm_acceptor *a)
{
	while (a->waiters)
		end(a, a->waiters);
	if (a->epoll_fd >= 0)
		close(a->epoll_fd);
	if (a->stop_fd >= 0)
		close(a->stop_fd);
	free(a);
}

static bool prepare(struct cm_acceptor *a)
{
	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return a->epoll_fd >= 0 && a->stop_fd >= 0 &&
	       watch_fd(a, a->stop_fd, &a->stop_fd) &&
	       watch_fd(a, a->listen_fd, a);
}

int cm_acceptor_start(struct cm_http *h, struct cm_acceptor **ret,
		      struct cm_error *err)
{
	struct cm_acceptor *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return cm_error_nomem(err);
	a->http = h;
	a->listen_fd = h->options.listen_fd;
	if (!prepare(a)) {
		rc = cm_error_errno(err, "cannot wait for connections");
		acceptor_free(a);
		return rc;
	}
	errno = pthread_create(&a->thread, NULL, accept_main, a);
	if (errno != 0) {
		rc = cm_error_errno(err, "cannot start the acceptor's thread");
		acceptor_free(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void cm_acceptor_stop(struct cm_acceptor *a)
{
	uint64_t one = 1;

	if (!a)
		return;
	/* An eventfd that is not full takes it. */
	if (write(a->stop_fd, &one, sizeof(one)) != sizeof(one))
		cm_log(CM_LOG_ERROR, "http", "cannot wake the acceptor");
	pthread_join(a->thread, NULL);
	close(a->listen_fd);
	acceptor_free(a);
}
