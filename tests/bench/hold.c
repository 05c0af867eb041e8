/*
 * hold.c - keeps large transfers in flight at once, to see what memory the
 * server needs for them.
 *
 *	hold PORT REPO DIGEST -u UPLOADS -g DOWNLOADS -s SIZE -m MOVE [-d SEC]
 *
 * Opens UPLOADS sessions and announces a PUT of SIZE random bytes in each,
 * starts DOWNLOADS GETs of DIGEST, then moves all of them forward in turns, a
 * little each, until every one has moved MOVE bytes (or SEC seconds have
 * passed). As MOVE is below SIZE none of them ends: all are in flight together.
 * Then it cuts off and prints
 *
 *	uploads=N downloads=N least=BYTES seconds=S
 *
 * N are those still alive at the end, `least` the bytes of the slowest.
 * Exits 1 if one was lost or stayed below MOVE.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"

#define SLICE	      (64 << 10) /* bytes a transfer may move in its turn */
#define TRANSFERS_MAX 512
#define NO_DIGEST                                                              \
	"sha256:00000000000000000000000000000000"                              \
	"00000000000000000000000000000000"

struct transfer {
	struct bench_conn conn;
	bool upload;
	int64_t moved;
};

struct hold {
	struct sockaddr_in addr;
	const char *repo, *digest;
	unsigned uploads, downloads;
	int64_t size, move;
	double seconds;
	char *body; /* `size` bytes, one for all uploads */
	struct transfer all[TRANSFERS_MAX];
};

/* Waits for one reply. 0 if it has this status. */
static int wait_reply(struct bench_conn *c, int status)
{
	for (int i = 0; i < 3000; i++) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int rc;

		if (bench_conn_write(c, SIZE_MAX))
			return -1;
		rc = bench_conn_read(c, SIZE_MAX);
		if (rc)
			return rc > 0 && c->reply.status == status ? 0 : -1;
		poll(&p, 1, 10);
	}
	return -1;
}

static int start_upload(struct hold *h, struct transfer *t)
{
	char path[sizeof(t->conn.reply.location)];

	if (bench_conn_request(&t->conn, false, NULL, 0,
			       "POST /v2/%s/blobs/uploads/ HTTP/1.1\r\n"
			       "Host: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
			       h->repo) ||
	    wait_reply(&t->conn, 202))
		return -1;
	snprintf(path, sizeof(path), "%s", t->conn.reply.location);
	return bench_conn_request(&t->conn, false, h->body, (size_t)h->size,
				  "PUT %s%cdigest=" NO_DIGEST " HTTP/1.1\r\n"
				  "Host: 127.0.0.1\r\n"
				  "Content-Length: %lld\r\n\r\n",
				  path, strchr(path, '?') ? '&' : '?',
				  (long long)h->size);
}

static int start_transfer(struct hold *h, struct transfer *t, bool upload)
{
	t->conn.fd = -1;
	if (bench_conn_open(&t->conn, &h->addr))
		return -1;
	t->upload = upload;
	if (upload)
		return start_upload(h, t);
	return bench_conn_request(&t->conn, false, NULL, 0,
				  "GET /v2/%s/blobs/%s HTTP/1.1\r\n"
				  "Host: 127.0.0.1\r\n\r\n",
				  h->repo, h->digest);
}

/* One turn of a transfer; closes it when it is lost or ends early. */
static void step(struct transfer *t)
{
	struct bench_conn *c = &t->conn;
	int rc = bench_conn_write(c, SLICE);

	/* An upload is answered only once it is whole, or refused. */
	if (rc == 0)
		rc = bench_conn_read(c, SLICE);
	if (rc != 0) {
		fprintf(stderr, "hold: %s ended early, status %d\n",
			t->upload ? "an upload" : "a download",
			c->reply.status);
		bench_conn_close(c);
		return;
	}
	if (t->upload)
		t->moved = (int64_t)c->body_sent;
	else if (c->in_body && c->reply.status == 200)
		t->moved = c->reply.length - c->body_left;
}

/* One turn for each that has not moved enough; returns how many those are. */
static unsigned turn(struct hold *h, struct pollfd *polls)
{
	unsigned behind = 0, n = h->uploads + h->downloads;

	for (unsigned i = 0; i < n; i++) {
		struct transfer *t = &h->all[i];
		bool todo = t->conn.fd >= 0 && t->moved < h->move;

		polls[i] = (struct pollfd){.fd = todo ? t->conn.fd : -1};
		polls[i].events = bench_conn_wants_write(&t->conn)
					  ? POLLIN | POLLOUT
					  : POLLIN;
		behind += todo;
	}
	if (behind == 0 || poll(polls, n, 1000) < 0)
		return behind;
	for (unsigned i = 0; i < n; i++) {
		if (polls[i].fd >= 0 && polls[i].revents)
			step(&h->all[i]);
	}
	return behind;
}

static int report(struct hold *h, double took)
{
	unsigned up = 0, down = 0;
	int64_t least = INT64_MAX;

	for (unsigned i = 0; i < h->uploads + h->downloads; i++) {
		struct transfer *t = &h->all[i];

		if (t->moved < least)
			least = t->moved;
		if (t->conn.fd >= 0)
			*(t->upload ? &up : &down) += 1;
		bench_conn_close(&t->conn);
	}
	printf("uploads=%u downloads=%u least=%lld seconds=%.3f\n", up, down,
	       (long long)least, took);
	return up == h->uploads && down == h->downloads && least >= h->move ? 0
									    : 1;
}

static int run(struct hold *h)
{
	struct pollfd polls[TRANSFERS_MAX];
	double start = bench_now();

	for (unsigned i = 0; i < h->uploads + h->downloads; i++) {
		if (start_transfer(h, &h->all[i], i < h->uploads)) {
			fprintf(stderr, "hold: transfer %u did not start\n", i);
			return 1;
		}
	}
	while (bench_now() < start + h->seconds && turn(h, polls) > 0)
		;
	return report(h, bench_now() - start);
}

/* Bytes that zstd can't shrink. */
static char *make_body(size_t size)
{
	uint64_t state = 88172645463325252ULL;
	char *body = malloc(size + 8);

	for (size_t i = 0; body && i < size; i += 8) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		memcpy(body + i, &state, 8);
	}
	return body;
}

static int parse_options(struct hold *h, int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "u:g:s:m:d:")) != -1) {
		switch (opt) {
		case 'u':
			h->uploads = (unsigned)atoi(optarg);
			break;
		case 'g':
			h->downloads = (unsigned)atoi(optarg);
			break;
		case 's':
			h->size = atoll(optarg);
			break;
		case 'm':
			h->move = atoll(optarg);
			break;
		case 'd':
			h->seconds = atof(optarg);
			break;
		default:
			return -1;
		}
	}
	return h->uploads > TRANSFERS_MAX / 2 ||
	       h->downloads > TRANSFERS_MAX / 2 || h->size <= 0 ||
	       h->move >= h->size;
}

int main(int argc, char **argv)
{
	static struct hold h = {.uploads = 64,
				.downloads = 64,
				.seconds = 300,
				.size = 1 << 30,
				.move = 64 << 20};
	int rc;

	if (argc < 4 || bench_address(argv[1], &h.addr) ||
	    parse_options(&h, argc - 3, argv + 3)) {
		fprintf(stderr, "usage: hold PORT REPO DIGEST [-u N] [-g N] "
				"[-s SIZE] [-m MOVE] [-d SECONDS]\n");
		return 2;
	}
	h.repo = argv[2];
	h.digest = argv[3];
	h.body = make_body((size_t)h.size);
	if (!h.body)
		return 1;
	rc = run(&h);
	free(h.body);
	return rc;
}
