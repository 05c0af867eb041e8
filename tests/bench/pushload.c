/*
 * pushload.c - load on an OCI registry: HEAD of one path, or pushes of
 * distinct random blobs, from keep-alive connections spread over threads.
 *
 *	pushload head PORT PATH [-c CLIENTS] [-t THREADS] [-d SECONDS]
 *	pushload push PORT REPO [-n BLOBS] [-s BYTES] [-S SEED] [...]
 *	pushload post PORT REPO [-n BLOBS] [-s BYTES] [-S SEED] [...]
 *
 * `push` is POST for a session and one PUT, as BuildKit does it; `post` is the
 * one-request form. Bodies and digests are made before the clock starts, so
 * that only the registry is measured. The run ends with the last blob or after
 * SECONDS, whichever is first, and prints
 *
 *	done=N errors=N seconds=S
 *
 * where an error is a status other than the one the spec names, or a lost
 * connection; it exits 1 if there was any.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conn.h"

#define CLIENTS_MAX 1024
#define THREADS_MAX 64

enum mode { MODE_HEAD, MODE_PUSH, MODE_POST };

struct blob {
	char *bytes; /* in the arena */
	char digest[sizeof("sha256:") + 64];
};

struct job {
	enum mode mode;
	struct sockaddr_in addr;
	const char *target; /* path, or repository */
	unsigned clients, threads;
	double seconds, deadline;
	size_t size, blobs_len;
	uint64_t seed;
	char *arena;
	struct blob *blobs;
	atomic_size_t next, done, errors;
};

struct client {
	struct bench_conn conn;
	size_t blob;
	bool in_put; /* push: the session is open */
};

struct worker {
	struct job *job;
	struct client *clients;
	unsigned clients_len;
	pthread_t thread;
	int epoll;
};

/* xorshift64*: fast, and as incompressible as anything for zstd. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static int name_blob(struct blob *b, size_t size)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int md_len;
	char *p = b->digest + sprintf(b->digest, "sha256:");

	if (!EVP_Digest(b->bytes, size, md, &md_len, EVP_sha256(), NULL))
		return -1;
	for (unsigned int i = 0; i < md_len; i++)
		p += sprintf(p, "%02x", md[i]);
	return 0;
}

static int make_blobs(struct job *j)
{
	size_t padded = (j->size + 7) & ~(size_t)7;
	uint64_t state = j->seed * 0x9e3779b97f4a7c15ULL + 1;

	j->arena = malloc(padded * j->blobs_len);
	j->blobs = calloc(j->blobs_len, sizeof(*j->blobs));
	if (!j->arena || !j->blobs)
		return -1;
	for (size_t i = 0; i < padded * j->blobs_len; i += 8) {
		uint64_t r = next_random(&state);

		memcpy(j->arena + i, &r, 8);
	}
	for (size_t i = 0; i < j->blobs_len; i++) {
		j->blobs[i].bytes = j->arena + i * padded;
		if (name_blob(&j->blobs[i], j->size))
			return -1;
	}
	return 0;
}

/* The first request of the next unit of work. 1 if there is none left. */
static int start_unit(struct job *j, struct client *cl)
{
	const struct blob *b;

	if (bench_now() >= j->deadline)
		return 1;
	if (j->mode == MODE_HEAD)
		return bench_conn_request(&cl->conn, true, NULL, 0,
					  "HEAD %s HTTP/1.1\r\n"
					  "Host: 127.0.0.1\r\n\r\n",
					  j->target);
	cl->blob = atomic_fetch_add(&j->next, 1);
	if (cl->blob >= j->blobs_len)
		return 1;
	b = &j->blobs[cl->blob];
	cl->in_put = false;
	if (j->mode == MODE_PUSH)
		return bench_conn_request(
			&cl->conn, false, NULL, 0,
			"POST /v2/%s/blobs/uploads/ HTTP/1.1\r\n"
			"Host: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
			j->target);
	return bench_conn_request(
		&cl->conn, false, b->bytes, j->size,
		"POST /v2/%s/blobs/uploads/?digest=%s HTTP/1.1\r\n"
		"Host: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
		"Content-Length: %zu\r\n\r\n",
		j->target, b->digest, j->size);
}

static int start_put(struct job *j, struct client *cl)
{
	const struct blob *b = &j->blobs[cl->blob];
	const char *location = cl->conn.reply.location;
	char path[sizeof(cl->conn.reply.location)];

	snprintf(path, sizeof(path), "%s", location);
	cl->in_put = true;
	return bench_conn_request(
		&cl->conn, false, b->bytes, j->size,
		"PUT %s%cdigest=%s HTTP/1.1\r\n"
		"Host: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
		"Content-Length: %zu\r\n\r\n",
		path, strchr(path, '?') ? '&' : '?', b->digest, j->size);
}

/* What follows a whole reply. 1 if this client is done, -1 on an error. */
static int advance(struct job *j, struct client *cl)
{
	const int status = cl->conn.reply.status;

	if (j->mode == MODE_PUSH && !cl->in_put) {
		if (status != 202)
			return -1;
		return start_put(j, cl);
	}
	if (status != (j->mode == MODE_HEAD ? 200 : 201))
		return -1;
	atomic_fetch_add(&j->done, 1);
	return start_unit(j, cl);
}

/* Moves a client on until its socket would block. 1 done, -1 error. */
static int drive(struct job *j, struct client *cl)
{
	for (;;) {
		int rc;

		if (bench_conn_write(&cl->conn, SIZE_MAX))
			return -1;
		if (bench_conn_wants_write(&cl->conn))
			return 0;
		rc = bench_conn_read(&cl->conn, SIZE_MAX);
		if (rc <= 0)
			return rc;
		rc = advance(j, cl);
		if (rc)
			return rc;
	}
}

static int add_client(struct worker *w, struct client *cl)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
				 .data.ptr = cl};

	cl->conn.fd = -1;
	if (bench_conn_open(&cl->conn, &w->job->addr))
		return -1;
	if (start_unit(w->job, cl))
		return -1;
	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, cl->conn.fd, &ev);
}

/* One round of the event loop; returns how many clients have ended. */
static unsigned turn(struct worker *w)
{
	struct epoll_event events[64];
	unsigned ended = 0;
	int n = epoll_wait(w->epoll, events, 64, 1000);

	for (int i = 0; i < n; i++) {
		struct client *cl = events[i].data.ptr;
		int rc = cl->conn.fd < 0 ? 0 : drive(w->job, cl);

		if (rc == 0)
			continue;
		if (rc < 0)
			atomic_fetch_add(&w->job->errors, 1);
		bench_conn_close(&cl->conn);
		ended++;
	}
	return ended;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned alive = 0;

	for (unsigned i = 0; i < w->clients_len; i++) {
		if (add_client(w, &w->clients[i]) == 0)
			alive++;
		else
			bench_conn_close(&w->clients[i].conn);
	}
	/* A registry that hangs is given 30 s beyond the deadline. */
	while (alive > 0 && bench_now() < w->job->deadline + 30)
		alive -= turn(w);
	atomic_fetch_add(&w->job->errors, alive);
	for (unsigned i = 0; i < w->clients_len; i++)
		bench_conn_close(&w->clients[i].conn);
	return NULL;
}

static int start_worker(struct worker *w, struct job *j, unsigned index)
{
	w->job = j;
	w->clients_len = j->clients / j->threads +
			 (index < j->clients % j->threads ? 1 : 0);
	w->clients = calloc(w->clients_len + 1, sizeof(*w->clients));
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!w->clients || w->epoll < 0)
		return -1;
	return pthread_create(&w->thread, NULL, work, w);
}

static int run(struct job *j)
{
	struct worker workers[THREADS_MAX];
	double start = bench_now(), took;

	j->deadline = start + j->seconds;
	for (unsigned i = 0; i < j->threads; i++) {
		if (start_worker(&workers[i], j, i)) {
			perror("pushload: thread");
			exit(1);
		}
	}
	for (unsigned i = 0; i < j->threads; i++) {
		pthread_join(workers[i].thread, NULL);
		free(workers[i].clients);
		close(workers[i].epoll);
	}
	took = bench_now() - start;
	printf("done=%zu errors=%zu seconds=%.6f\n", atomic_load(&j->done),
	       atomic_load(&j->errors), took);
	return atomic_load(&j->errors) || !atomic_load(&j->done) ? 1 : 0;
}

static int parse_mode(const char *text, enum mode *ret)
{
	static const char *const names[] = {"head", "push", "post"};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum mode)i;
			return 0;
		}
	}
	return -1;
}

static int parse_options(struct job *j, int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "c:t:d:n:s:S:")) != -1) {
		switch (opt) {
		case 'c':
			j->clients = (unsigned)atoi(optarg);
			break;
		case 't':
			j->threads = (unsigned)atoi(optarg);
			break;
		case 'd':
			j->seconds = atof(optarg);
			break;
		case 'n':
			j->blobs_len = strtoul(optarg, NULL, 10);
			break;
		case 's':
			j->size = strtoul(optarg, NULL, 10);
			break;
		case 'S':
			j->seed = strtoull(optarg, NULL, 10);
			break;
		default:
			return -1;
		}
	}
	if (j->threads > j->clients)
		j->threads = j->clients;
	return j->clients < 1 || j->clients > CLIENTS_MAX || j->threads < 1 ||
	       j->threads > THREADS_MAX || j->size < 1 || j->blobs_len < 1;
}

int main(int argc, char **argv)
{
	struct job j = {.clients = 4,
			.threads = 2,
			.seconds = 5,
			.size = 1024,
			.blobs_len = 1000,
			.seed = 1};
	int rc;

	if (argc < 4 || parse_mode(argv[1], &j.mode) ||
	    bench_address(argv[2], &j.addr) ||
	    parse_options(&j, argc - 3, argv + 3)) {
		fprintf(stderr, "usage: pushload head|push|post PORT "
				"PATH|REPO [-c N] [-t N] [-d S] [-n N] "
				"[-s BYTES] [-S SEED]\n");
		return 2;
	}
	j.target = argv[3];
	if (j.mode != MODE_HEAD && make_blobs(&j)) {
		fprintf(stderr, "pushload: no memory for the blobs\n");
		return 1;
	}
	rc = run(&j);
	free(j.arena);
	free(j.blobs);
	return rc;
}
