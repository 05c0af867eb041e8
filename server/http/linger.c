/* linger.c - a reply to a request whose body nobody wants to wait for. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cachemount/units.h>

#include "http/internal.h"
#include "http/limits.h"

#define HEAD_MAX (CM_REPLY_HEADERS_SIZE + 512)

struct text {
	char bytes[HEAD_MAX];
	size_t len;
};

static void put(struct text *t, const char *bytes, size_t len)
{
	if (len > sizeof(t->bytes) - t->len)
		return;
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

static enum MHD_Result put_field(void *cls, enum MHD_ValueKind kind,
				 const char *name, const char *value)
{
	struct text *t = cls;

	(void)kind;
	put(t, name, strlen(name));
	put(t, ": ", 2);
	put(t, value, strlen(value));
	put(t, "\r\n", 2);
	return MHD_YES;
}

static void build_head(struct cm_request *r, struct text *t)
{
	char line[128];
	int n;

	n = snprintf(line, sizeof(line),
		     "HTTP/1.1 %d %s\r\nContent-Length: %lld\r\n"
		     "Connection: close\r\n",
		     r->reply.status,
		     MHD_get_reason_phrase_for((unsigned)r->reply.status),
		     (long long)r->reply.len);
	put(t, line, (size_t)n);
	MHD_get_response_headers(r->reply.response, put_field, t);
	put(t, "\r\n", 2);
}

bool cm_linger_start(struct cm_request *r)
{
	struct text head = {.len = 0};
	struct iovec parts[2];
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent;

	if (!r->conn || !r->reply.memory)
		return false;
	build_head(r, &head);
	parts[0] = (struct iovec){head.bytes, head.len};
	parts[1] = (struct iovec){(void *)(uintptr_t)r->reply.memory,
				  (size_t)r->reply.len};
	/* Nothing else was sent for this request, so there is room for it. */
	sent = sendmsg(r->conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 || (size_t)sent < head.len + (size_t)r->reply.len)
		return false;
	shutdown(r->conn->fd, SHUT_WR);
	r->stage = CM_STAGE_LINGER;
	r->linger_until_ms = cm_monotonic_ms() + CM_LINGER_MS;
	cm_conn_enter(r->conn, CM_CONN_LINGERING);
	return true;
}

bool cm_linger_over(const struct cm_request *r)
{
	return r->received > CM_LINGER_MAX ||
	       cm_monotonic_ms() > r->linger_until_ms;
}
