/* listen.c - resolving, binding, and the limit on descriptors. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "listen.h"

#define BACKLOG	 1024
#define HOST_MAX 256

/* Descriptors for the store, the log, and files being sent or received. */
#define RESERVED_FILES 1024

static bool is_loopback(const struct sockaddr_storage *s)
{
	const struct sockaddr_in6 *six = (const void *)s;
	const struct sockaddr_in *four = (const void *)s;

	if (s->ss_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return six->sin6_addr.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

/* Cuts "host:port" or "[host]:port"; `host` may come out empty. */
static int cut(const char *text, char host[static HOST_MAX],
	       const char **ret_port, struct cm_error *err)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") > 5 ||
	    colon[1 + strspn(colon + 1, "0123456789")] ||
	    atoi(colon + 1) > 65535)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no ADDR:PORT, such as "
				    "127.0.0.1:8080 or [::1]:8080",
				    text);
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return cm_error_set(err, CM_ERR_INVALID,
				    "write the IPv6 address in brackets, such "
				    "as [::1]:8080");
	}
	if (len >= HOST_MAX)
		return cm_error_set(err, CM_ERR_INVALID, "host name too long");
	memcpy(host, text, len);
	host[len] = '\0';
	*ret_port = colon + 1;
	return 0;
}

/* An IPv6 socket takes IPv4 as well, where the kernel has IPv6 at all. */
static int family_of_all(void)
{
	cm_autofd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? AF_INET : AF_INET6;
}

int cm_address_parse(const char *text, struct cm_address *ret,
		     struct cm_error *err)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	};
	struct addrinfo *found = NULL;
	char host[HOST_MAX];
	const char *port = NULL;
	int rc = cut(text, host, &port, err);

	if (rc < 0)
		return rc;
	if (!*host)
		hints.ai_family = family_of_all();
	rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (rc != 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "cannot resolve \"%.64s\": %s", text,
				    gai_strerror(rc));
	*ret = (struct cm_address){.len = found->ai_addrlen};
	memcpy(&ret->storage, found->ai_addr, found->ai_addrlen);
	ret->loopback = is_loopback(&ret->storage);
	freeaddrinfo(found);
	return 0;
}

char *cm_address_format(const struct sockaddr *addr,
			char out[static CM_ADDRESS_TEXT_SIZE])
{
	const struct sockaddr_in6 *six = (const void *)addr;
	const struct sockaddr_in *four = (const void *)addr;
	char host[INET6_ADDRSTRLEN] = "?";

	if (addr->sa_family == AF_INET) {
		inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
		snprintf(out, CM_ADDRESS_TEXT_SIZE, "%s:%u", host,
			 ntohs(four->sin_port));
	} else if (addr->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
		snprintf(out, CM_ADDRESS_TEXT_SIZE, "[%s]:%u", host,
			 ntohs(six->sin6_port));
	} else {
		snprintf(out, CM_ADDRESS_TEXT_SIZE, "unknown");
	}
	return out;
}

static int open_socket(const struct cm_address *addr, struct cm_error *err)
{
	cm_autofd int fd = -1;
	int on = 1, off = 0;

	fd = socket(addr->storage.ss_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cm_error_errno(err, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (addr->storage.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)&addr->storage, addr->len) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return cm_error_errno(err, "cannot listen");
	return cm_take_fd(&fd);
}

int cm_listen(const struct cm_address *addr, int *ret_fd,
	      struct cm_address *ret_bound, struct cm_error *err)
{
	char text[CM_ADDRESS_TEXT_SIZE];
	int fd = open_socket(addr, err);

	if (fd < 0) {
		cm_error_wrap(
			err, "%s",
			cm_address_format((const void *)&addr->storage, text));
		return fd;
	}
	*ret_bound = *addr;
	ret_bound->len = sizeof(ret_bound->storage);
	getsockname(fd, (struct sockaddr *)&ret_bound->storage,
		    &ret_bound->len);
	*ret_fd = fd;
	return 0;
}

/*
 * A server on [::] answers on 127.0.0.1, which every network namespace has;
 * ::1 is missing in most containers.
 */
void cm_address_local(const struct cm_address *addr, struct cm_address *ret)
{
	const struct sockaddr_in6 *six = (const void *)&addr->storage;
	const struct sockaddr_in *four = (const void *)&addr->storage;
	struct sockaddr_in local = {
		.sin_family = AF_INET,
		.sin_port = addr->storage.ss_family == AF_INET6
				    ? six->sin6_port
				    : four->sin_port,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	bool all = addr->storage.ss_family == AF_INET6
			   ? IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr)
			   : four->sin_addr.s_addr == htonl(INADDR_ANY);

	*ret = *addr;
	if (!all)
		return;
	*ret = (struct cm_address){.len = sizeof(local), .loopback = true};
	memcpy(&ret->storage, &local, sizeof(local));
}

size_t cm_listen_raise_limit(size_t connections)
{
	struct rlimit want, limit;
	rlim_t need = (rlim_t)connections * 2 + RESERVED_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return connections;
	if (limit.rlim_cur < need) {
		/* Only a privileged process may raise the hard limit. */
		want = (struct rlimit){need, need};
		if (limit.rlim_max >= need)
			want.rlim_max = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &want) < 0) {
			want = (struct rlimit){limit.rlim_max, limit.rlim_max};
			setrlimit(RLIMIT_NOFILE, &want);
		}
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= need)
		return connections;
	if (limit.rlim_cur <= 2 * RESERVED_FILES)
		return limit.rlim_cur / 2;
	need = limit.rlim_cur - RESERVED_FILES;
	return need < connections ? (size_t)need : connections;
}
