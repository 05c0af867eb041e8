/* listen.h - the address to serve, and the descriptors that takes. */
#ifndef CM_SERVER_LISTEN_H
#define CM_SERVER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cachemount/error.h>

#define CM_ADDRESS_TEXT_SIZE 80

struct cm_address {
	struct sockaddr_storage storage;
	socklen_t len;
	bool loopback; /* reachable from this machine only */
};

/*
 * Resolves "ADDR:PORT": an IPv4 address or host name, an IPv6 address in
 * brackets, or nothing, for all addresses of both kinds. CM_ERR_INVALID with
 * the reason.
 */
int cm_address_parse(const char *text, struct cm_address *ret,
		     struct cm_error *err);

/* Writes "127.0.0.1:8080" or "[::1]:8080"; returns `out`. */
char *cm_address_format(const struct sockaddr *addr,
			char out[static CM_ADDRESS_TEXT_SIZE]);

/*
 * Binds and listens. `ret_bound` is the address with the port that the kernel
 * picked, if it was 0. The caller closes the descriptor.
 */
int cm_listen(const struct cm_address *addr, int *ret_fd,
	      struct cm_address *ret_bound, struct cm_error *err);

/*
 * An address by which a server bound to `addr` is reached from here. `ret` may
 * be `addr`.
 */
void cm_address_local(const struct cm_address *addr, struct cm_address *ret);

/*
 * Raises RLIMIT_NOFILE as far as `connections` need, with as many files open
 * beside. Returns how many connections fit.
 */
size_t cm_listen_raise_limit(size_t connections);

#endif
