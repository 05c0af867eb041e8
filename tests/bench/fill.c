/*
 * fill.c - fills a store with small blobs, through the library as a server
 * would, to see what a start costs on a large index.
 *
 *	fill DIR BLOBS
 *
 * The blobs are 64 bytes each, all distinct, in one repository. Several
 * threads put them, so that group commit makes it bearable.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/digest.h>
#include <cachemount/store.h>

#define THREADS 48

struct fill {
	struct cm_store *store;
	size_t blobs;
	atomic_size_t next;
	atomic_bool failed;
};

static int put_blob(struct cm_store *store, size_t i, struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	struct cm_digest digest;
	char body[64] = {0};
	int rc;

	snprintf(body, sizeof(body), "blob %zu of a large index", i);
	rc = cm_digest_of(body, sizeof(body), &digest, err);
	if (rc == 0)
		rc = cm_upload_open_single(store, "bench/start", &u, err);
	if (rc == 0)
		rc = cm_upload_append(u, body, sizeof(body), err);
	if (rc == 0)
		rc = cm_upload_commit(u, &digest, &info, err);
	return rc;
}

static void *work(void *arg)
{
	struct fill *f = arg;
	struct cm_error err;
	size_t i;

	while ((i = atomic_fetch_add(&f->next, 1)) < f->blobs &&
	       !atomic_load(&f->failed)) {
		if (put_blob(f->store, i, &err)) {
			fprintf(stderr, "fill: %s\n", err.text);
			atomic_store(&f->failed, true);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct cm_store_options options = {.data_dir =
						   argc == 3 ? argv[1] : NULL};
	struct fill f = {.blobs = argc == 3 ? strtoul(argv[2], NULL, 10) : 0};
	pthread_t threads[THREADS];
	struct cm_error err;
	size_t started = 0;

	if (f.blobs == 0 || cm_store_open(&options, &f.store, &err)) {
		fprintf(stderr, "fill: %s\n",
			f.blobs ? err.text : "usage: fill DIR BLOBS");
		return 1;
	}
	while (started < THREADS &&
	       pthread_create(&threads[started], NULL, work, &f) == 0)
		started++;
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	cm_store_close(f.store);
	return atomic_load(&f.failed) || started == 0 ? 1 : 0;
}
