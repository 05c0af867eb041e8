/*
 * cache.c - the hottest small replies, ready made and shared.
 *
 * A table of buckets and a list by use, under one lock that is held for a
 * lookup only. An entry holds one reference to itself while it is in the
 * cache, and one for each request that uses it, so eviction never pulls a
 * response away. A doorkeeper lets in what is asked for a second time: it
 * remembers a few thousand digests, roughly the latest, by one word each.
 */
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

#define BUCKETS	     4096
#define ENTRY_WEIGHT 1024 /* beside the body: response, headers, entry */

struct cm_cached {
	struct cm_cached *chain;	 /* in its bucket */
	struct cm_cached *newer, *older; /* by use */
	_Atomic unsigned references;
	struct MHD_Response *response;
	struct cm_digest digest;
	bool stored;
	size_t weight;
	size_t headers_len;
	char headers[];
};

struct cm_cache {
	pthread_mutex_t lock;
	size_t weight, max;
	struct cm_cached *newest, *oldest;
	struct cm_cached *buckets[BUCKETS];
	uint32_t doorkeeper[BUCKETS];
};

int cm_cache_new(size_t max_bytes, struct cm_cache **ret, struct cm_error *err)
{
	struct cm_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return cm_error_nomem(err);
	pthread_mutex_init(&c->lock, NULL);
	c->max = max_bytes;
	*ret = c;
	return 0;
}

/* A digest is random, so any of its bytes make a hash. */
static uint32_t word_of(const struct cm_digest *d, size_t at)
{
	uint32_t word;

	memcpy(&word, d->sha256 + at, sizeof(word));
	return word;
}

static size_t bucket_of(const struct cm_digest *d)
{
	return word_of(d, 0) % BUCKETS;
}

void cm_cached_release(struct cm_cached *e)
{
	if (!e || atomic_fetch_sub(&e->references, 1) > 1)
		return;
	MHD_destroy_response(e->response);
	free(e);
}

struct MHD_Response *cm_cached_response(const struct cm_cached *e)
{
	return e->response;
}

/* The list by use; all under the lock. */
static void list_add(struct cm_cache *c, struct cm_cached *e)
{
	e->newer = NULL;
	e->older = c->newest;
	if (e->older)
		e->older->newer = e;
	c->newest = e;
	if (!c->oldest)
		c->oldest = e;
}

static void list_drop(struct cm_cache *c, struct cm_cached *e)
{
	if (e->newer)
		e->newer->older = e->older;
	else
		c->newest = e->older;
	if (e->older)
		e->older->newer = e->newer;
	else
		c->oldest = e->newer;
}

static void evict_oldest(struct cm_cache *c)
{
	struct cm_cached *e = c->oldest;
	struct cm_cached **link = &c->buckets[bucket_of(&e->digest)];

	while (*link != e)
		link = &(*link)->chain;
	*link = e->chain;
	list_drop(c, e);
	c->weight -= e->weight;
	cm_cached_release(e);
}

void cm_cache_free(struct cm_cache *c)
{
	if (!c)
		return;
	while (c->oldest)
		evict_oldest(c);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct cm_cached *find(struct cm_cache *c,
			      const struct cm_cache_key *key)
{
	struct cm_cached *e = c->buckets[bucket_of(&key->digest)];

	for (; e; e = e->chain)
		if (e->stored == key->stored &&
		    e->headers_len == key->headers_len &&
		    cm_digest_equal(&e->digest, &key->digest) &&
		    memcmp(e->headers, key->headers, key->headers_len) == 0)
			return e;
	return NULL;
}

bool cm_cache_has(struct cm_cache *c, const struct cm_digest *d)
{
	struct cm_cached *e;

	pthread_mutex_lock(&c->lock);
	e = c->buckets[bucket_of(d)];
	while (e && !cm_digest_equal(&e->digest, d))
		e = e->chain;
	pthread_mutex_unlock(&c->lock);
	return e != NULL;
}

struct cm_cached *cm_cache_get(struct cm_cache *c,
			       const struct cm_cache_key *key, bool *ret_wanted)
{
	uint32_t *seen = &c->doorkeeper[bucket_of(&key->digest)];
	uint32_t mark = word_of(&key->digest, 4);
	struct cm_cached *e;

	pthread_mutex_lock(&c->lock);
	e = find(c, key);
	if (e) {
		atomic_fetch_add(&e->references, 1);
		list_drop(c, e);
		list_add(c, e);
	}
	*ret_wanted = *seen == mark;
	*seen = mark;
	pthread_mutex_unlock(&c->lock);
	return e;
}

static void insert(struct cm_cache *c, struct cm_cached *e)
{
	struct cm_cached **bucket = &c->buckets[bucket_of(&e->digest)];

	e->chain = *bucket;
	*bucket = e;
	list_add(c, e);
	c->weight += e->weight;
	while (c->weight > c->max && c->oldest != e)
		evict_oldest(c);
}

struct cm_cached *cm_cache_put(struct cm_cache *c,
			       const struct cm_cache_key *key,
			       struct MHD_Response *response, size_t body_len)
{
	struct cm_cached *e = calloc(1, sizeof(*e) + key->headers_len);

	if (!e) {
		MHD_destroy_response(response);
		return NULL;
	}
	e->response = response;
	e->digest = key->digest;
	e->stored = key->stored;
	e->weight = body_len + ENTRY_WEIGHT;
	e->headers_len = key->headers_len;
	memcpy(e->headers, key->headers, key->headers_len);
	pthread_mutex_lock(&c->lock);
	/* Two requests may have made the same one: the second stays outside. */
	e->references = 1;
	if (!find(c, key)) {
		e->references = 2;
		insert(c, e);
	}
	pthread_mutex_unlock(&c->lock);
	return e;
}
