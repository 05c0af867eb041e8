/*
 * conn.c - open connections, and the watch that closes slow ones.
 *
 * libmicrohttpd only knows a limit of idle time, which one byte a second
 * escapes. The watch looks at every connection twice a second:
 *
 *	headers    due HEADERS_MS after accept, after the first byte (accept.c),
 *		   or after the request line on a connection used before
 *	body,      RATE_BYTES must move in each window of RATE_WINDOW_MS, both
 *	sending    directions together, as TCP counts them
 *	idle       libmicrohttpd's limit holds; the watch backs it up against
 *		   a request line sent byte by byte
 *	lingering  LINGER_MS
 *
 * It also notices clients that have closed: when data and the end come together
 * libmicrohttpd 0.9.75 reads the data and may never hear of the end, so that a
 * cut upload would hold its session until it counts as slow.
 *
 * It closes by shutdown(): the network thread then sees the end and cleans up.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <cachemount/units.h>

#include "http/internal.h"
#include "http/limits.h"
#include "listen.h"
#include "log.h"

#define WATCH_MS 500
#define FRESH_MS 500

/* tcpi_state of a peer that has sent its end; the kernel's headers for us lack
 * the name. */
#define STATE_CLOSE_WAIT 8

/* Looks at which a sender must have been gone, to be sure; and how long after
 * a change of phase it is looked for. */
#define GONE_LOOKS 2
#define GONE_MS	   3000

struct cm_conn *cm_conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void cm_conn_enter(struct cm_conn *c, enum cm_conn_phase phase)
{
	if (!c)
		return;
	/* A fresh connection's headers are due from its accept on. */
	if (phase != CM_CONN_HEADERS || atomic_load(&c->used))
		atomic_store_explicit(&c->since_ms, cm_monotonic_ms(),
				      memory_order_relaxed);
	atomic_store(&c->used, true);
	atomic_store_explicit(&c->phase, (int)phase, memory_order_relaxed);
}

struct cm_conn *cm_conns_add(struct cm_conns *conns, int fd,
			     const struct sockaddr *addr)
{
	struct cm_conn *c = calloc(1, sizeof(*c));

	_Static_assert(CM_REMOTE_SIZE >= CM_ADDRESS_TEXT_SIZE, "room");
	if (!c)
		return NULL;
	c->fd = fd;
	c->since_ms = cm_monotonic_ms();
	if (addr)
		cm_address_format(addr, c->remote);
	pthread_mutex_lock(&conns->lock);
	c->next = conns->head;
	if (c->next)
		c->next->prev = c;
	conns->head = c;
	pthread_mutex_unlock(&conns->lock);
	atomic_fetch_add(&conns->len, 1);
	return c;
}

void cm_conns_drop(struct cm_conns *conns, struct cm_conn *c)
{
	pthread_mutex_lock(&conns->lock);
	if (c->prev)
		c->prev->next = c->next;
	else
		conns->head = c->next;
	if (c->next)
		c->next->prev = c->prev;
	pthread_mutex_unlock(&conns->lock);
	atomic_fetch_sub(&conns->len, 1);
	free(c);
}

/* A conn for what libmicrohttpd has taken; NULL without memory. */
static struct cm_conn *take_on(struct cm_conns *conns,
			       struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int fd;

	if (!info)
		return NULL;
	fd = info->connect_fd;
	info = MHD_get_connection_info(connection,
				       MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	return cm_conns_add(conns, fd, info ? info->client_addr : NULL);
}

void cm_conns_notify(void *cls, struct MHD_Connection *connection,
		     void **context, enum MHD_ConnectionNotificationCode what)
{
	struct cm_conns *conns = cls;
	struct cm_conn *c = *context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = take_on(conns, connection);
	} else if (c) {
		*context = NULL;
		cm_conns_drop(conns, c);
	}
}

static bool tcp_info_of(int fd, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);

	*ret = (struct tcp_info){0};
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

/* Bytes that TCP has moved on a connection, acknowledged, both ways. */
static bool moved_bytes(int fd, uint64_t *ret)
{
	struct tcp_info info;

	if (!tcp_info_of(fd, &info))
		return false;
	*ret = info.tcpi_bytes_acked + info.tcpi_bytes_received;
	return true;
}

/*
 * Has the client closed, and all that it sent been read, at GONE_LOOKS looks
 * in a row with nothing happening between? Looked for only while bytes may
 * have come with the end; an end that comes alone is always heard of.
 */
static bool sender_gone(struct cm_conn *c, int64_t since)
{
	struct tcp_info info;
	int unread;

	if (c->gone_since_ms != since)
		c->gone_looks = 0;
	c->gone_since_ms = since;
	if (tcp_info_of(c->fd, &info) && info.tcpi_state == STATE_CLOSE_WAIT &&
	    ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0)
		c->gone_looks++;
	else
		c->gone_looks = 0;
	return c->gone_looks >= GONE_LOOKS;
}

/* Has the connection moved too little in a window that is over? */
static bool too_slow(struct cm_conn *c, int64_t since, int64_t now)
{
	bool fresh = c->window_ms < since;
	uint64_t moved;
	bool slow;

	if (!fresh && now - c->window_ms < CM_RATE_WINDOW_MS)
		return false;
	if (!moved_bytes(c->fd, &moved))
		return false;
	slow = !fresh && moved - c->window_bytes < CM_RATE_BYTES;
	c->window_ms = now;
	c->window_bytes = moved;
	return slow;
}

/* Why a connection must go, or NULL. */
static const char *overdue(struct cm_conn *c, int64_t now)
{
	int64_t since =
		atomic_load_explicit(&c->since_ms, memory_order_relaxed);

	switch ((enum cm_conn_phase)atomic_load_explicit(
		&c->phase, memory_order_relaxed)) {
	case CM_CONN_HEADERS:
		if (now - since < GONE_MS && sender_gone(c, since))
			return "request cut off";
		return now - since > CM_HEADERS_MS ? "headers overdue" : NULL;
	case CM_CONN_BODY:
		if (sender_gone(c, since))
			return "request body cut off";
		return too_slow(c, since, now) ? "request body too slow" : NULL;
	case CM_CONN_SENDING:
		return too_slow(c, since, now) ? "reply read too slowly" : NULL;
	case CM_CONN_IDLE:
		if (now - since < GONE_MS && sender_gone(c, since))
			return "closed";
		return now - since > CM_IDLE_S * 1000 + CM_HEADERS_MS
			       ? "request line overdue"
			       : NULL;
	case CM_CONN_LINGERING:
		return now - since > CM_LINGER_MS ? "rest of a refused body"
						  : NULL;
	case CM_CONN_WORKING:
		break;
	}
	return NULL;
}

static void look(struct cm_conns *conns)
{
	int64_t now = cm_monotonic_ms();
	const char *why;

	pthread_mutex_lock(&conns->lock);
	for (struct cm_conn *c = conns->head; c; c = c->next) {
		why = overdue(c, now);
		if (!why)
			continue;
		shutdown(c->fd, SHUT_RDWR);
		cm_log(CM_LOG_DEBUG, "slow-client", "%s: %s", c->remote, why);
	}
	pthread_mutex_unlock(&conns->lock);
}

/* Waits a turn; false when it is time to end. */
static bool wait_turn(struct cm_conns *c)
{
	struct timespec until;
	bool stopping;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += WATCH_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&c->stop_lock);
	if (!c->stopping)
		pthread_cond_timedwait(&c->stop_wake, &c->stop_lock, &until);
	stopping = c->stopping;
	pthread_mutex_unlock(&c->stop_lock);
	return !stopping;
}

static void *watch_main(void *arg)
{
	struct cm_conns *conns = arg;

	while (wait_turn(conns))
		look(conns);
	return NULL;
}

int cm_conns_start(struct cm_conns *c, struct cm_error *err)
{
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->stop_lock, NULL);
	pthread_cond_init(&c->stop_wake, NULL);
	errno = pthread_create(&c->watch, NULL, watch_main, c);
	if (errno != 0)
		return cm_error_errno(err, "cannot start the watch's thread");
	return 0;
}

void cm_conns_stop(struct cm_conns *c)
{
	pthread_mutex_lock(&c->stop_lock);
	c->stopping = true;
	pthread_cond_signal(&c->stop_wake);
	pthread_mutex_unlock(&c->stop_lock);
	pthread_join(c->watch, NULL);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->stop_lock);
	pthread_cond_destroy(&c->stop_wake);
}

/* A fresh connection is given a moment to say what it came for. */
static bool at_rest(const struct cm_conn *c, int64_t now)
{
	int phase = atomic_load_explicit(&c->phase, memory_order_relaxed);
	int64_t since =
		atomic_load_explicit(&c->since_ms, memory_order_relaxed);

	return phase == CM_CONN_IDLE ||
	       (phase == CM_CONN_HEADERS && !atomic_load(&c->used) &&
		now - since > FRESH_MS);
}

void cm_conns_shut_idle(struct cm_conns *c)
{
	int64_t now = cm_monotonic_ms();

	pthread_mutex_lock(&c->lock);
	for (struct cm_conn *p = c->head; p; p = p->next)
		if (at_rest(p, now))
			shutdown(p->fd, SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
}
