/*
 * bench_store.c - what libcmstore can do by itself, without HTTP.
 *
 *	bench_store DIR [SECONDS]
 *
 * Measures on the store in DIR, which is made if absent: durable commits of
 * 1 KiB blobs by 32 threads, look-ups and reads of them by two, the opening
 * of the store, and a manifest of 10,000 layers. One line each. What
 *tests/bench measures through HTTP can't be faster than this.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cachemount/digest.h>
#include <cachemount/protocol.h>
#include <cachemount/store.h>
#include <cachemount/units.h>

#define REPO	      "bench/store"
#define PUSHERS	      32
#define READERS	      2
#define BLOB_SIZE     1024
#define LAYERS	      10000
#define LAYER_JSON    160
#define MANIFEST_ROOM (LAYERS * LAYER_JSON + 1024)

struct bench {
	struct cm_store *store;
	uint64_t run; /* makes the blobs of this run new ones */
	atomic_size_t pushed;
	atomic_size_t looked;
	atomic_bool stop;
	atomic_bool failed;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int fail(struct bench *b, const struct cm_error *err)
{
	fprintf(stderr, "bench_store: %s\n", err->text);
	atomic_store(&b->failed, true);
	atomic_store(&b->stop, true);
	return err->status;
}

static void blob_of(const struct bench *b, size_t i, char body[BLOB_SIZE])
{
	memset(body, 0, BLOB_SIZE);
	snprintf(body, BLOB_SIZE, "blob %zu of run %llu", i,
		 (unsigned long long)b->run);
}

static int push(struct bench *b, size_t i, struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	struct cm_digest digest;
	char body[BLOB_SIZE];
	int r;

	blob_of(b, i, body);
	r = cm_digest_of(body, sizeof(body), &digest, err);
	if (r == 0)
		r = cm_upload_open_single(b->store, REPO, &u, err);
	if (r == 0)
		r = cm_upload_append(u, body, sizeof(body), err);
	if (r == 0)
		r = cm_upload_commit(u, &digest, &info, err);
	return r;
}

static void *pusher(void *arg)
{
	struct bench *b = arg;
	struct cm_error err;

	while (!atomic_load(&b->stop))
		if (push(b, atomic_fetch_add(&b->pushed, 1), &err) < 0)
			fail(b, &err);
	return NULL;
}

static int digest_at(const struct bench *b, size_t i, struct cm_digest *ret)
{
	char body[BLOB_SIZE];

	blob_of(b, i, body);
	return cm_digest_of(body, sizeof(body), ret, NULL);
}

static void *asker(void *arg)
{
	struct bench *b = arg;
	struct cm_blob_info info;
	struct cm_digest digest;
	struct cm_error err;
	size_t i;

	while (!atomic_load(&b->stop)) {
		i = atomic_fetch_add(&b->looked, 1) * 7919;
		digest_at(b, i % atomic_load(&b->pushed), &digest);
		if (cm_store_blob_stat(b->store, REPO, &digest, &info, &err) <
		    0)
			fail(b, &err);
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct bench *b = arg;
	struct cm_digest digest;
	struct cm_error err;
	size_t i;

	while (!atomic_load(&b->stop)) {
		cm_auto(blob) struct cm_blob *blob = NULL;

		i = atomic_fetch_add(&b->looked, 1) * 7919;
		digest_at(b, i % atomic_load(&b->pushed), &digest);
		if (cm_store_blob_open(b->store, REPO, &digest, &blob, &err) <
		    0)
			fail(b, &err);
	}
	return NULL;
}

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/*
 * Runs `n` threads for a while and tells how often `count` rose per second,
 * and the processor time each took, which other work on the machine does not
 * change.
 */
static void rate(struct bench *b, const char *what, void *(*fn)(void *),
		 size_t n, double seconds, atomic_size_t *count)
{
	struct timespec pause = {.tv_sec = (time_t)seconds};
	size_t before = atomic_load(count), done;
	double start = now(), cpu = cpu_seconds();
	pthread_t threads[PUSHERS];

	atomic_store(&b->stop, false);
	for (size_t i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, fn, b);
	nanosleep(&pause, NULL);
	atomic_store(&b->stop, true);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	done = atomic_load(count) - before;
	printf("%s, %zu threads\t%.0f /s\t%.1f us of CPU each\n", what, n,
	       (double)done / (now() - start),
	       (cpu_seconds() - cpu) * 1e6 / (double)(done ? done : 1));
}

static long resident_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static size_t write_manifest(const struct bench *b, char *json)
{
	char text[CM_DIGEST_TEXT_SIZE];
	struct cm_digest digest;
	size_t len;

	len = (size_t)sprintf(json,
			      "{\"schemaVersion\":2,\"mediaType\":\"%s\","
			      "\"config\":",
			      CM_MEDIA_OCI_MANIFEST);
	for (size_t i = 0; i < LAYERS; i++) {
		digest_at(b, i, &digest);
		len += (size_t)sprintf(json + len,
				       "%s{\"mediaType\":\"a/b\",\"digest\":"
				       "\"%s\",\"size\":%d}",
				       i == 0	? ""
				       : i == 1 ? ",\"layers\":["
						: ",",
				       cm_digest_format(&digest, text),
				       BLOB_SIZE);
	}
	return len + (size_t)sprintf(json + len, "]}");
}

static int put_manifest(struct bench *b, struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *parsed = NULL;
	cm_autofree char *json = malloc(MANIFEST_ROOM);
	struct cm_manifest_put put = {
		.repo = REPO, .tag = "large", .bytes = json};
	struct cm_digest digest;
	int r;

	if (!json)
		return cm_error_nomem(err);
	put.len = write_manifest(b, json);
	r = cm_manifest_parse(json, put.len, NULL, &parsed, err);
	if (r < 0)
		return r;
	put.parsed = parsed;
	return cm_store_manifest_put(b->store, &put, &digest, err);
}

static void measure_manifest(struct bench *b)
{
	long before = resident_kib();
	struct cm_error err;
	double start;

	for (size_t i = atomic_load(&b->pushed); i < LAYERS; i++)
		if (push(b, atomic_fetch_add(&b->pushed, 1), &err) < 0)
			fail(b, &err);
	start = now();
	if (put_manifest(b, &err) < 0)
		fail(b, &err);
	printf("manifest of %d layers\t%.0f ms\t%ld KiB more resident\n",
	       LAYERS, (now() - start) * 1e3, resident_kib() - before);
}

static void measure_open(struct bench *b, const char *dir)
{
	struct cm_store_options options = {.data_dir = dir};
	struct cm_blob_info info;
	struct cm_digest digest;
	struct cm_error err;
	double start;

	cm_store_close(b->store);
	b->store = NULL;
	start = now();
	digest_at(b, 0, &digest);
	if (cm_store_open(&options, &b->store, &err) < 0 ||
	    cm_store_blob_stat(b->store, REPO, &digest, &info, &err) < 0)
		fail(b, &err);
	printf("open and first look-up\t%.1f ms\n", (now() - start) * 1e3);
}

static void measure(struct bench *b, const char *dir, double seconds)
{
	struct cm_store_stats stats;

	rate(b, "durable 1 KiB pushes", pusher, PUSHERS, seconds, &b->pushed);
	rate(b, "look-ups", asker, READERS, seconds, &b->looked);
	rate(b, "reads", reader, READERS, seconds, &b->looked);
	measure_manifest(b);
	measure_open(b, dir);
	if (b->store && cm_store_stats(b->store, &stats, NULL) == 0)
		printf("blobs in the store\t%lld\n", (long long)stats.blobs);
}

int main(int argc, char **argv)
{
	struct cm_store_options options = {0};
	struct bench b = {.run = (uint64_t)cm_now_ms()};
	struct cm_error err;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_store DIR [SECONDS]\n");
		return 2;
	}
	options.data_dir = argv[1];
	if (cm_store_open(&options, &b.store, &err) < 0)
		return fail(&b, &err), 1;
	measure(&b, argv[1], argc > 2 ? atof(argv[2]) : 3);
	cm_store_close(b.store);
	return atomic_load(&b.failed);
}
