/*
 * evictbench.c - a store of many blobs at its limit, without HTTP.
 *
 *	evictbench DIR [BLOBS]
 *
 * Fills DIR with images of 10 small blobs until it has BLOBS of them (default
 * 10,000), from 32 threads; one that is there already is not filled again. Then
 * tells: the time from opening to the first answer; lookups and reads of random
 * blobs (p50, p99); what is resident; how fast images come in without a limit,
 * and at it, where as much must go as comes, with the processor time of each,
 * which other work on the machine disturbs less; and for how long a batch of
 * the eviction has held the writer at most. In one line of NAME=VALUE each.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cachemount/digest.h>
#include <cachemount/protocol.h>
#include <cachemount/store.h>
#include <cachemount/units.h>

#define PUSHERS	 32
#define PARTS	 10 /* blobs of an image */
#define SIZE	 512
#define SAMPLES	 100000
#define SECONDS	 10
#define LEASE_MS 1000

struct bench {
	struct cm_store *store;
	size_t images;
	size_t salt; /* tells what is pushed later from what was filled in */
	atomic_size_t next;
	int64_t until_ms;
};

static void must(int r, const struct cm_error *err)
{
	if (r >= 0)
		return;
	fprintf(stderr, "evictbench: %s\n", err->text);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- images ---------------------------------------------------------------
 */

static void digest_of(size_t salt, size_t n, char body[static SIZE],
		      struct cm_digest *ret)
{
	memset(body, 0, SIZE);
	snprintf(body, SIZE, "blob %zu of %zu", n, salt);
	must(cm_digest_of(body, SIZE, ret, NULL), NULL);
}

static void repo_of(size_t image, char out[static 64])
{
	snprintf(out, 64, "bench/r%zu", image % 100);
}

static void push_blob(struct bench *b, const char *repo, size_t n,
		      struct cm_digest *ret)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	struct cm_error err = {0};
	char body[SIZE];

	digest_of(b->salt, n, body, ret);
	must(cm_upload_open_single(b->store, repo, &u, &err), &err);
	must(cm_upload_append(u, body, SIZE, &err), &err);
	must(cm_upload_commit(u, ret, &info, &err), &err);
}

static void push_image(struct bench *b, size_t image)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_manifest_put put = {0};
	char repo[64], tag[32], text[CM_DIGEST_TEXT_SIZE], *json = NULL;
	FILE *out = open_memstream(&json, &put.len);
	struct cm_error err = {0};
	struct cm_digest d;

	repo_of(image, repo);
	snprintf(tag, sizeof(tag), "t%zu-%zu", b->salt, image);
	fputs("{\"schemaVersion\":2,", out);
	for (size_t i = 0; i < PARTS; i++) {
		push_blob(b, repo, image * PARTS + i, &d);
		fprintf(out,
			"%s{\"mediaType\":\"application/octet-stream\","
			"\"digest\":\"%s\",\"size\":%d}",
			i == 0	 ? "\"config\":"
			: i == 1 ? ",\"layers\":["
				 : ",",
			cm_digest_format(&d, text), SIZE);
	}
	fputs("]}", out);
	fclose(out);
	must(cm_manifest_parse(json, put.len, CM_MEDIA_OCI_MANIFEST, &m, &err),
	     &err);
	put.repo = repo;
	put.tag = tag;
	put.bytes = json;
	put.parsed = m;
	must(cm_store_manifest_put(b->store, &put, &d, &err), &err);
	free(json);
}

static void *push_main(void *arg)
{
	struct bench *b = arg;
	size_t i;

	while ((b->until_ms == 0 || cm_monotonic_ms() < b->until_ms) &&
	       (i = atomic_fetch_add(&b->next, 1)) < b->images)
		push_image(b, i);
	return NULL;
}

/* Images from several threads: tells how many a second. */
static void push_all(struct bench *b, const char *what)
{
	pthread_t threads[PUSHERS];
	double begin = now_us(), used = cpu_us();
	size_t pushed;

	atomic_store(&b->next, 0);
	for (size_t i = 0; i < PUSHERS; i++)
		if (pthread_create(&threads[i], NULL, push_main, b) != 0)
			abort();
	for (size_t i = 0; i < PUSHERS; i++)
		pthread_join(threads[i], NULL);
	pushed = atomic_load(&b->next);
	if (pushed > b->images)
		pushed = b->images;
	printf("%s_per_s=%.0f\n%s_cpu_us=%.0f\n", what,
	       (double)pushed * 1e6 / (now_us() - begin), what,
	       (cpu_us() - used) / (double)pushed);
}

static void push_for(struct bench *b, size_t salt, const char *what)
{
	struct bench more = {
		.store = b->store,
		.images = SIZE_MAX,
		.salt = salt,
		.until_ms = cm_monotonic_ms() + SECONDS * 1000,
	};

	push_all(&more, what);
}

/* ---- the store ------------------------------------------------------------
 */

static void open_store(struct bench *b, const char *dir, int64_t max_bytes)
{
	struct cm_store_options options = {
		.data_dir = dir,
		.lease_ms = LEASE_MS,
		.max_bytes = max_bytes,
	};
	struct cm_error err = {0};

	must(cm_store_open(&options, &b->store, &err), &err);
}

static struct cm_store_stats stats_of(struct bench *b)
{
	struct cm_store_stats s;
	struct cm_error err = {0};

	must(cm_store_stats(b->store, &s, &err), &err);
	return s;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Asks for a random blob, or reads it. */
static double one(struct bench *b, unsigned int *seed, bool read)
{
	size_t n = ((size_t)rand_r(seed) << 16 ^ (size_t)rand_r(seed)) %
		   (b->images * PARTS);
	cm_auto(blob) struct cm_blob *blob = NULL;
	struct cm_blob_info info;
	struct cm_error err = {0};
	struct cm_digest d;
	char repo[64], body[SIZE];
	double begin;

	digest_of(0, n, body, &d);
	repo_of(n / PARTS, repo);
	begin = now_us();
	if (!read) {
		must(cm_store_blob_stat(b->store, repo, &d, &info, &err), &err);
		return now_us() - begin;
	}
	must(cm_store_blob_open(b->store, repo, &d, &blob, &err), &err);
	must((int)cm_blob_read(blob, body, SIZE, &err), &err);
	return now_us() - begin;
}

static void lookups(struct bench *b, const char *what, bool read)
{
	static double us[SAMPLES];
	unsigned int seed = 1;

	for (size_t i = 0; i < SAMPLES / 5; i++)
		one(b, &seed, read);
	for (size_t i = 0; i < SAMPLES; i++)
		us[i] = one(b, &seed, read);
	qsort(us, SAMPLES, sizeof(us[0]), by_value);
	printf("%s_p50_us=%.1f\n%s_p99_us=%.1f\n", what, us[SAMPLES / 2], what,
	       us[SAMPLES / 100 * 99]);
}

/* Memory of our own; what is mapped of the index the kernel takes back. */
static void resident(void)
{
	char line[128];
	long kib;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			printf("resident_own_kib=%ld\n", kib);
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			printf("resident_kib=%ld\n", kib);
	}
	if (f)
		fclose(f);
}

static void at_the_limit(struct bench *b, const char *dir)
{
	struct cm_store_stats s;

	push_for(b, 1, "free");
	s = stats_of(b);
	cm_store_close(b->store);
	/* The high watermark is where we are. */
	open_store(b, dir, s.used_bytes / 95 * 100);
	push_for(b, 2, "limited");
	s = stats_of(b);
	printf("use_percent=%.1f\nstuck=%d\nbatch_ms=%.1f\n",
	       100.0 * (double)s.used_bytes / (double)s.limit_bytes,
	       s.eviction_stuck, (double)s.slowest_batch_us / 1e3);
}

int main(int argc, char **argv)
{
	struct bench b = {.images = 1000};
	double begin;
	unsigned int seed = 7;

	if (argc < 2) {
		fprintf(stderr, "usage: evictbench DIR [BLOBS]\n");
		return 2;
	}
	if (argc > 2)
		b.images = strtoul(argv[2], NULL, 10) / PARTS;
	if (b.images < 100)
		b.images = 100;
	open_store(&b, argv[1], 0);
	if (stats_of(&b).tags < (int64_t)b.images)
		push_all(&b, "fill");
	cm_store_close(b.store);
	begin = now_us();
	open_store(&b, argv[1], 0);
	one(&b, &seed, true);
	printf("blobs=%zu\nfirst_ms=%.1f\n", b.images * PARTS,
	       (now_us() - begin) / 1e3);
	lookups(&b, "stat", false);
	lookups(&b, "read", true);
	at_the_limit(&b, argv[1]);
	resident();
	cm_store_close(b.store);
	return 0;
}
