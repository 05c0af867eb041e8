/* store_fixture.c - see the header. */
#include "store_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int store_setup(void **state)
{
	struct store_fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/cm-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->options.data_dir = f->dir;
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

int store_teardown(void **state)
{
	struct store_fixture *f = *state;

	cm_store_close(f->store);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

void store_reopen(struct store_fixture *f)
{
	cm_store_close(f->store);
	f->store = NULL;
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
}

void store_reopen_with(struct store_fixture *f, int64_t lease_ms,
		       int64_t upload_ttl_ms, int64_t replaced_ttl_ms)
{
	f->options.lease_ms = lease_ms;
	f->options.upload_ttl_ms = upload_ttl_ms;
	f->options.replaced_ttl_ms = replaced_ttl_ms;
	store_reopen(f);
}

unsigned char *random_bytes(size_t len, unsigned seed)
{
	unsigned char *bytes = malloc(len + 1);
	uint64_t x = seed * 2654435761u + 1;

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (unsigned char)x;
	}
	return bytes;
}

struct cm_digest push(struct store_fixture *f, const char *repo,
		      const void *data, size_t len)
{
	struct cm_upload *u = NULL;
	struct cm_blob_info info;
	struct cm_digest d;

	assert_ok(cm_digest_of(data, len, &d, &f->err), &f->err);
	assert_ok(cm_upload_open_single(f->store, repo, &u, &f->err), &f->err);
	assert_ok(cm_upload_append(u, data, len, &f->err), &f->err);
	assert_ok(cm_upload_commit(u, &d, &info, &f->err), &f->err);
	cm_upload_close(u);
	assert_int_equal(info.size, len);
	return d;
}

unsigned char *pull(struct store_fixture *f, const char *repo,
		    const struct cm_digest *d, size_t *ret_len)
{
	struct cm_blob *b = NULL;
	unsigned char *bytes;
	size_t len, got = 0;
	ssize_t n;

	assert_ok(cm_store_blob_open(f->store, repo, d, &b, &f->err), &f->err);
	len = (size_t)cm_blob_info(b)->size;
	bytes = malloc(len + 1);
	assert_non_null(bytes);
	while ((n = cm_blob_read(b, bytes + got, len + 1 - got, &f->err)) > 0)
		got += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(got, len);
	cm_blob_close(b);
	*ret_len = len;
	return bytes;
}

bool has(struct store_fixture *f, const char *repo, const struct cm_digest *d)
{
	struct cm_blob_info info;
	int r = cm_store_blob_stat(f->store, repo, d, &info, &f->err);

	assert_true(r == 0 || r == CM_ERR_NOT_FOUND);
	return r == 0;
}

/* Its size, or 1 if it is not there; unlike a stat it leases nothing. */
static int64_t size_of(struct store_fixture *f, const char *repo,
		       const struct cm_digest *d)
{
	cm_auto(blob) struct cm_blob *b = NULL;

	if (cm_store_blob_open(f->store, repo, d, &b, NULL) < 0)
		return 1;
	return cm_blob_info(b)->size;
}

int put_manifest(struct store_fixture *f, const char *repo, const char *tag,
		 const struct cm_digest *blobs, size_t n, const char *extra,
		 enum cm_tag_condition condition, const struct cm_digest *match,
		 struct cm_digest *ret)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	char text[8192], digest[CM_DIGEST_TEXT_SIZE];
	struct cm_manifest_put put = {.repo = repo, .tag = tag};
	int64_t size;
	int len;

	len = snprintf(text, sizeof(text),
		       "{\"schemaVersion\":2,%s\"mediaType\":\"application/"
		       "vnd.oci.image.manifest.v1+json\"",
		       extra);
	for (size_t i = 0; i < n; i++) {
		size = size_of(f, repo, &blobs[i]);
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				"%s{\"mediaType\":\"x/y\",\"digest\":\"%s\","
				"\"size\":%lld}%s",
				i == 0	 ? ",\"config\":"
				: i == 1 ? ""
					 : ",",
				cm_digest_format(&blobs[i], digest),
				(long long)size, i == 0 ? ",\"layers\":[" : "");
	}
	len += snprintf(text + len, sizeof(text) - (size_t)len, "]}");
	assert_ok(cm_manifest_parse(text, (size_t)len, NULL, &m, &f->err),
		  &f->err);
	put.bytes = text;
	put.len = (size_t)len;
	put.parsed = m;
	put.condition = condition;
	put.writer = "tester";
	if (match)
		put.match = *match;
	return cm_store_manifest_put(f->store, &put, ret, &f->err);
}

struct cm_sweep_result sweep_all(struct store_fixture *f)
{
	struct cm_sweep_result sum = {0}, one;
	int rounds = 0;

	do {
		assert_ok(cm_store_sweep(f->store, &one, &f->err), &f->err);
		sum.uploads += one.uploads;
		sum.manifests += one.manifests;
		sum.blobs += one.blobs;
		sum.bytes += one.bytes;
	} while (one.more && ++rounds < 1000);
	return sum;
}

static int counted;

static int count_one(const char *path, const struct stat *st, int flag,
		     struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	counted += flag == FTW_F;
	return 0;
}

int files_in(struct store_fixture *f, const char *folder)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, folder);
	counted = 0;
	nftw(path, count_one, 16, FTW_PHYS);
	return counted;
}
