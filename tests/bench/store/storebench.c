/*
 * storebench.c - the store by itself, without HTTP: what a lookup and a durable
 * commit cost.
 *
 *	storebench DIR [BLOBS]
 *
 * Fills the store in DIR with BLOBS blobs of 1 KiB (default 20,000) from 32
 * threads: durable commits a second. Then asks for random ones, named by a
 * manifest and not, from one thread and from two: lookups a second. Then opens
 * it again. The processor time of each is told beside it, which other work on
 * the machine disturbs less.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cachemount/digest.h>
#include <cachemount/protocol.h>
#include <cachemount/store.h>

#define PUSHERS 32
#define SIZE	1024
#define SECONDS 2.0
#define REPO	"bench/store"

struct bench {
	struct cm_store *store;
	struct cm_digest *digests;
	size_t blobs;
	atomic_size_t next;
	atomic_size_t done;
	double end;
};

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double now(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

static double cpu(void)
{
	return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void must(int r, const struct cm_error *err)
{
	if (r >= 0)
		return;
	fprintf(stderr, "storebench: %s\n", err->text);
	exit(1);
}

static void body_of(size_t i, char out[static SIZE])
{
	memset(out, 0, SIZE);
	snprintf(out, SIZE, "blob %zu", i);
}

static void push(struct bench *b, size_t i)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	struct cm_error err;
	char body[SIZE];

	body_of(i, body);
	must(cm_digest_of(body, SIZE, &b->digests[i], &err), &err);
	must(cm_upload_open_single(b->store, REPO, &u, &err), &err);
	must(cm_upload_append(u, body, SIZE, &err), &err);
	must(cm_upload_commit(u, &b->digests[i], &info, &err), &err);
}

static void *push_main(void *arg)
{
	struct bench *b = arg;
	size_t i;

	while ((i = atomic_fetch_add(&b->next, 1)) < b->blobs)
		push(b, i);
	return NULL;
}

static void *stat_main(void *arg)
{
	struct bench *b = arg;
	unsigned int seed = (unsigned int)atomic_fetch_add(&b->next, 1);
	struct cm_blob_info info;
	struct cm_error err;
	size_t n = 0;

	while (now() < b->end)
		for (int i = 0; i < 1000; i++, n++)
			must(cm_store_blob_stat(
				     b->store, REPO,
				     &b->digests[(size_t)rand_r(&seed) %
						 b->blobs],
				     &info, &err),
			     &err);
	atomic_fetch_add(&b->done, n);
	return NULL;
}

static double run(struct bench *b, void *(*fn)(void *), size_t n)
{
	pthread_t threads[PUSHERS];
	double begin = now();

	for (size_t i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, fn, b) != 0)
			abort();
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return now() - begin;
}

static void lookups(struct bench *b, const char *what)
{
	for (size_t threads = 1; threads <= 2; threads++) {
		double used = cpu(), seconds;

		atomic_store(&b->done, 0);
		b->end = now() + SECONDS;
		seconds = run(b, stat_main, threads);
		used = cpu() - used;
		printf("lookups of %s blobs, %zu thread%s: %.0f/s, cpu %.2f "
		       "us\n",
		       what, threads, threads > 1 ? "s" : " ",
		       (double)b->done / seconds, used * 1e6 / (double)b->done);
	}
}

/* A manifest of the first 10,000, which are then named. */
static void name_some(struct bench *b)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_manifest_put put = {.repo = REPO, .tag = "t"};
	struct cm_digest d;
	struct cm_error err;
	char digest[CM_DIGEST_TEXT_SIZE];
	char *json = NULL;
	FILE *out = open_memstream(&json, &put.len);

	if (b->blobs > 10000)
		b->blobs = 10000;
	fputs("{\"schemaVersion\":2,", out);
	for (size_t i = 0; i < b->blobs; i++)
		fprintf(out,
			"%s{\"mediaType\":\"application/octet-stream\","
			"\"digest\":\"%s\",\"size\":%d}",
			i == 0	 ? "\"config\":"
			: i == 1 ? ",\"layers\":["
				 : ",",
			cm_digest_format(&b->digests[i], digest), SIZE);
	fputs("]}", out);
	fclose(out);
	must(cm_manifest_parse(json, put.len, CM_MEDIA_OCI_MANIFEST, &m, &err),
	     &err);
	put.bytes = json;
	put.parsed = m;
	must(cm_store_manifest_put(b->store, &put, &d, &err), &err);
	free(json);
}

int main(int argc, char **argv)
{
	struct cm_store_options options = {.data_dir = argv[1]};
	struct bench b = {.blobs = 20000};
	struct cm_error err;
	double begin, used;

	if (argc < 2) {
		fprintf(stderr, "usage: storebench DIR [BLOBS]\n");
		return 2;
	}
	if (argc > 2)
		b.blobs = strtoul(argv[2], NULL, 10);
	if (b.blobs < 2)
		b.blobs = 2;
	b.digests = calloc(b.blobs, sizeof(*b.digests));
	if (!b.digests)
		return 1;
	must(cm_store_open(&options, &b.store, &err), &err);
	used = cpu();
	begin = run(&b, push_main, PUSHERS);
	printf("commits of 1 KiB, %d threads: %.0f/s, cpu %.1f us\n", PUSHERS,
	       (double)b.blobs / begin, (cpu() - used) * 1e6 / (double)b.blobs);
	lookups(&b, "unnamed");
	name_some(&b);
	lookups(&b, "named");
	cm_store_close(b.store);
	begin = now();
	must(cm_store_open(&options, &b.store, &err), &err);
	printf("open: %.1f ms\n", (now() - begin) * 1e3);
	cm_store_close(b.store);
	free(b.digests);
	return 0;
}
