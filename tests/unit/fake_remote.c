/* fake_remote.c - a registry in memory. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/manifest.h>

#include "fake_remote.h"

struct blob {
	struct cm_digest digest;
	void *bytes;
	size_t len;
	struct blob *next;
};

struct tag {
	char name[512]; /* "repo:tag" */
	struct cm_digest digest;
	struct tag *next;
};

struct fault {
	int after;
	enum cm_status status;
	int calls;
	void (*before)(void *);
	void *arg;
};

struct cm_remote {
	pthread_mutex_t lock;
	struct blob *buckets[4096]; /* manifests too */
	struct tag *tags;
	struct fault faults[FAKE_CALLS];
	int64_t stored, sent, received, requests;
	bool cancelled;
};

struct cm_connection {
	struct cm_remote *remote;
};

struct cm_remote *fake_remote_new(void)
{
	struct cm_remote *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

static void free_tags(struct cm_remote *r)
{
	struct tag *next;

	for (struct tag *t = r->tags; t; t = next) {
		next = t->next;
		free(t);
	}
}

void cm_remote_free(struct cm_remote *r)
{
	struct blob *next;

	if (!r)
		return;
	for (int i = 0; i < 4096; i++) {
		for (struct blob *b = r->buckets[i]; b; b = next) {
			next = b->next;
			free(b->bytes);
			free(b);
		}
	}
	free_tags(r);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static struct blob **find(struct cm_remote *r, const struct cm_digest *d)
{
	unsigned bucket = (d->sha256[0] | d->sha256[1] << 8) % 4096;
	struct blob **p = &r->buckets[bucket];

	while (*p && !cm_digest_equal(&(*p)->digest, d))
		p = &(*p)->next;
	return p;
}

static void add(struct cm_remote *r, const struct cm_digest *d,
		const void *bytes, size_t len)
{
	struct blob **p = find(r, d), *b;

	if (*p)
		return;
	b = calloc(1, sizeof(*b));
	if (!b || !(b->bytes = malloc(len + 1)))
		abort();
	b->digest = *d;
	b->len = len;
	memcpy(b->bytes, bytes, len);
	*p = b;
	r->stored += (int64_t)len;
}

void fake_remote_fail(struct cm_remote *r, enum fake_call call, int nth,
		      enum cm_status status)
{
	pthread_mutex_lock(&r->lock);
	r->faults[call].after = r->faults[call].calls + nth;
	r->faults[call].status = status;
	pthread_mutex_unlock(&r->lock);
}

int fake_remote_calls(struct cm_remote *r, enum fake_call call)
{
	return r->faults[call].calls;
}

int64_t fake_remote_stored(struct cm_remote *r)
{
	return r->stored;
}

void fake_remote_before(struct cm_remote *r, enum fake_call call,
			void (*fn)(void *), void *arg)
{
	r->faults[call].before = fn;
	r->faults[call].arg = arg;
}

void fake_remote_drop_blob(struct cm_remote *r, const struct cm_digest *d)
{
	struct blob **p = find(r, d), *b = *p;

	if (!b)
		abort();
	*p = b->next;
	free(b->bytes);
	free(b);
}

static struct tag **find_tag(struct cm_remote *r, const char *repo,
			     const char *tag)
{
	struct tag **p = &r->tags;
	char name[512];

	snprintf(name, sizeof(name), "%s:%s", repo, tag);
	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	return p;
}

void fake_remote_drop_tag(struct cm_remote *r, const char *repo,
			  const char *tag)
{
	struct tag **p = find_tag(r, repo, tag), *t = *p;

	if (!t)
		abort();
	*p = t->next;
	free(t);
}

void fake_remote_add_blob(struct cm_remote *r, const void *bytes, size_t len,
			  struct cm_digest *ret)
{
	if (cm_digest_of(bytes, len, ret, NULL) < 0)
		abort();
	add(r, ret, bytes, len);
}

static void set_tag(struct cm_remote *r, const char *repo, const char *tag,
		    const struct cm_digest *d)
{
	struct tag **p = find_tag(r, repo, tag);

	if (!*p) {
		*p = calloc(1, sizeof(**p));
		if (!*p)
			abort();
		snprintf((*p)->name, sizeof((*p)->name), "%s:%s", repo, tag);
	}
	(*p)->digest = *d;
}

void fake_remote_add_manifest(struct cm_remote *r, const char *repo,
			      const char *tag, const void *bytes, size_t len)
{
	struct cm_digest d;

	fake_remote_add_blob(r, bytes, len, &d);
	set_tag(r, repo, tag, &d);
}

/* Counts the call, and fails it if it is to fail. */
static int enter(struct cm_remote *r, enum fake_call call, struct cm_error *err)
{
	struct fault *f = &r->faults[call];

	if (f->before)
		f->before(f->arg);
	pthread_mutex_lock(&r->lock);
	r->requests++;
	f->calls++;
	if (r->cancelled || (f->status && f->calls >= f->after)) {
		pthread_mutex_unlock(&r->lock);
		return cm_error_set(err,
				    r->cancelled ? CM_ERR_CANCELLED : f->status,
				    "made to fail");
	}
	return 0;
}

static int leave(struct cm_remote *r, int status)
{
	pthread_mutex_unlock(&r->lock);
	return status;
}

int cm_remote_features(struct cm_remote *r, struct cm_connection *c,
		       struct cm_remote_features *ret, struct cm_error *err)
{
	(void)r;
	(void)c;
	(void)err;
	*ret = (struct cm_remote_features){true, true, true};
	return 0;
}

void cm_remote_cancel(struct cm_remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->cancelled = true;
	pthread_mutex_unlock(&r->lock);
}

void cm_remote_traffic(struct cm_remote *r, struct cm_remote_traffic *ret)
{
	pthread_mutex_lock(&r->lock);
	*ret = (struct cm_remote_traffic){r->sent, r->received, r->requests};
	pthread_mutex_unlock(&r->lock);
}

int cm_connection_new(struct cm_remote *r, struct cm_connection **ret,
		      struct cm_error *err)
{
	struct cm_connection *c = calloc(1, sizeof(*c));

	if (!c)
		return cm_error_nomem(err);
	c->remote = r;
	*ret = c;
	return 0;
}

void cm_connection_free(struct cm_connection *c)
{
	free(c);
}

int cm_remote_missing(struct cm_connection *c, const char *repo,
		      const struct cm_digest *digests, size_t n, bool mount,
		      bool *missing, struct cm_error *err)
{
	int r = enter(c->remote, FAKE_MISSING, err);

	(void)repo;
	(void)mount;
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		missing[i] = !*find(c->remote, &digests[i]);
	return leave(c->remote, 0);
}

int cm_remote_blob_get(struct cm_connection *c, const char *repo,
		       const struct cm_digest *d, void *buf, size_t size,
		       struct cm_error *err)
{
	int r = enter(c->remote, FAKE_BLOB_GET, err);
	struct blob *b;

	(void)repo;
	if (r < 0)
		return r;
	b = *find(c->remote, d);
	if (!b)
		return leave(c->remote, cm_error_set(err, CM_ERR_NOT_FOUND,
						     "no such blob"));
	if (b->len != size)
		return leave(c->remote,
			     cm_error_set(err, CM_ERR_SIZE, "wrong size"));
	memcpy(buf, b->bytes, size);
	c->remote->received += (int64_t)size;
	return leave(c->remote, 0);
}

int cm_remote_blob_put(struct cm_connection *c, const char *repo,
		       const struct cm_digest *d, const void *data, size_t size,
		       struct cm_error *err)
{
	struct cm_digest is;
	int r = enter(c->remote, FAKE_BLOB_PUT, err);

	(void)repo;
	if (r < 0)
		return r;
	if (cm_digest_of(data, size, &is, NULL) < 0 || !cm_digest_equal(d, &is))
		abort();
	add(c->remote, d, data, size);
	c->remote->sent += (int64_t)size;
	return leave(c->remote, 0);
}

void cm_remote_manifest_release(struct cm_remote_manifest *m)
{
	free(m->bytes);
	free(m->media_type);
	memset(m, 0, sizeof(*m));
}

int cm_remote_manifest_get(struct cm_connection *c, const char *repo,
			   const char *reference, const struct cm_digest *known,
			   struct cm_remote_manifest *ret, struct cm_error *err)
{
	int r = enter(c->remote, FAKE_MANIFEST_GET, err);
	struct blob *b;
	struct tag *t;

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	t = *find_tag(c->remote, repo, reference);
	if (!t)
		return leave(c->remote, cm_error_set(err, CM_ERR_NOT_FOUND,
						     "no such tag"));
	ret->digest = t->digest;
	if (known && cm_digest_equal(known, &t->digest))
		return leave(c->remote, 0);
	b = *find(c->remote, &t->digest);
	ret->bytes = calloc(1, b->len + 1);
	ret->media_type = strdup("application/json");
	if (!ret->bytes || !ret->media_type)
		abort();
	memcpy(ret->bytes, b->bytes, b->len);
	ret->len = b->len;
	c->remote->received += (int64_t)b->len;
	return leave(c->remote, 0);
}

/* Like the server: a manifest whose blobs are not all there is refused. */
static int check_blobs(struct cm_remote *r, const void *bytes, size_t len,
		       struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	int status = cm_manifest_parse(bytes, len, NULL, &m, err);

	if (status < 0)
		return status;
	for (size_t i = 0; i < m->descriptors_len; i++) {
		struct blob *b = *find(r, &m->descriptors[i].digest);

		if (!b || (int64_t)b->len != m->descriptors[i].size)
			return cm_error_set(err, CM_ERR_MISSING_BLOB,
					    "blob %zu is missing", i);
	}
	return 0;
}

int cm_remote_manifest_put(struct cm_connection *c, const char *repo,
			   const char *tag, const char *media_type,
			   const void *bytes, size_t len,
			   const struct cm_digest *expect,
			   struct cm_digest *ret_digest, struct cm_error *err)
{
	static const struct cm_digest absent;
	struct cm_remote *r = c->remote;
	struct tag *t;
	int status;

	(void)media_type;
	status = enter(r, FAKE_MANIFEST_PUT, err);
	if (status < 0)
		return status;
	t = *find_tag(r, repo, tag);
	if (expect && !cm_digest_equal(expect, t ? &t->digest : &absent))
		return leave(r, cm_error_set(err, CM_ERR_PRECONDITION,
					     "the tag was moved"));
	status = check_blobs(r, bytes, len, err);
	if (status < 0)
		return leave(r, status);
	fake_remote_add_blob(r, bytes, len, ret_digest);
	set_tag(r, repo, tag, ret_digest);
	r->sent += (int64_t)len;
	return leave(r, 0);
}

int cm_remote_api(struct cm_connection *c, const char *method,
		  const char *path_and_query, const char *body, char **ret_body,
		  struct cm_error *err)
{
	(void)c;
	(void)method;
	(void)path_and_query;
	(void)body;
	(void)ret_body;
	return cm_error_set(err, CM_ERR_UNSUPPORTED, "not here");
}
