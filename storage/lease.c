/*
 * lease.c - leases in memory: 64 shards of open-addressed slots, a lock each.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lease.h"

#define SHARDS	     64
#define SLOTS	     4096 /* per shard: 256 Ki leases, 4 MiB in all */
#define PROBES_MAX   32
#define PROMISES_MAX 0xffff

/*
 * `promises` counts to whom the blob was promised since the lease began; a
 * count that has reached its limit is not believed any more, only the time.
 */
struct lease {
	uint64_t key; /* 0: free */
	int64_t until_ms : 48;
	uint64_t promises : 16;
};

struct shard {
	pthread_mutex_t lock;
	struct lease slots[SLOTS];
};

struct cm_leases {
	int64_t lease_ms;
	_Atomic int64_t all_until_ms;
	_Atomic int64_t end_ms;
	struct shard shards[SHARDS];
};

int cm_leases_new(int64_t lease_ms, struct cm_leases **ret,
		  struct cm_error *err)
{
	struct cm_leases *l = calloc(1, sizeof(*l));

	if (!l)
		return cm_error_nomem(err);
	l->lease_ms = lease_ms;
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&l->shards[i].lock, NULL);
	*ret = l;
	return 0;
}

void cm_leases_free(struct cm_leases *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&l->shards[i].lock);
	free(l);
}

/* A digest is random already; the repository only has to change it. */
static uint64_t key_of(int64_t repo_id, const struct cm_digest *d)
{
	uint64_t key;

	memcpy(&key, d->sha256, sizeof(key));
	key ^= (uint64_t)repo_id * 0x9E3779B97F4A7C15u;
	return key ? key : 1;
}

static void raise_to(_Atomic int64_t *at, int64_t value)
{
	int64_t now = atomic_load(at);

	while (now < value && !atomic_compare_exchange_weak(at, &now, value))
		;
}

/* The slot of `key`, or one that may be used for it; NULL if all are taken. */
static struct lease *find(struct shard *s, uint64_t key, int64_t now_ms)
{
	struct lease *usable = NULL, *slot;
	size_t at = (key >> 6) % SLOTS;

	for (size_t i = 0; i < PROBES_MAX; i++) {
		slot = &s->slots[(at + i) % SLOTS];
		if (slot->key == key)
			return slot;
		if (!usable && (slot->key == 0 || slot->until_ms < now_ms))
			usable = slot;
	}
	return usable;
}

void cm_lease_take(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d, int64_t now_ms)
{
	uint64_t key = key_of(repo_id, d);
	struct shard *s = &l->shards[key % SHARDS];
	int64_t until = now_ms + l->lease_ms;
	struct lease *slot;

	pthread_mutex_lock(&s->lock);
	slot = find(s, key, now_ms);
	if (slot) {
		if (slot->key != key || slot->until_ms < now_ms)
			slot->promises = 0;
		if (slot->promises < PROMISES_MAX)
			slot->promises++;
		slot->key = key;
		slot->until_ms = until;
	}
	pthread_mutex_unlock(&s->lock);
	if (!slot)
		raise_to(&l->all_until_ms, until);
	raise_to(&l->end_ms, until);
}

void cm_lease_drop(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d)
{
	uint64_t key = key_of(repo_id, d);
	struct shard *s = &l->shards[key % SHARDS];
	struct lease *slot;

	pthread_mutex_lock(&s->lock);
	slot = find(s, key, 0);
	/* The key stays: others may have been placed behind it. */
	if (slot && slot->key == key && slot->promises > 0 &&
	    slot->promises < PROMISES_MAX && --slot->promises == 0)
		slot->until_ms = 0;
	pthread_mutex_unlock(&s->lock);
}

bool cm_lease_held(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d, int64_t now_ms)
{
	uint64_t key = key_of(repo_id, d);
	struct shard *s = &l->shards[key % SHARDS];
	struct lease *slot;
	bool held;

	if (cm_leases_all_held(l, now_ms))
		return true;
	pthread_mutex_lock(&s->lock);
	slot = find(s, key, 0);
	held = slot && slot->key == key && slot->until_ms >= now_ms;
	pthread_mutex_unlock(&s->lock);
	return held;
}

int64_t cm_leases_end(struct cm_leases *l)
{
	return atomic_load(&l->end_ms);
}

void cm_leases_hold_all(struct cm_leases *l, int64_t until_ms)
{
	raise_to(&l->all_until_ms, until_ms);
	raise_to(&l->end_ms, until_ms);
}

bool cm_leases_all_held(struct cm_leases *l, int64_t now_ms)
{
	return atomic_load(&l->all_until_ms) > now_ms;
}

int64_t cm_leases_count(struct cm_leases *l, int64_t now_ms)
{
	int64_t n = 0;

	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *s = &l->shards[i];

		pthread_mutex_lock(&s->lock);
		for (size_t j = 0; j < SLOTS; j++)
			n += s->slots[j].key != 0 &&
			     s->slots[j].until_ms >= now_ms;
		pthread_mutex_unlock(&s->lock);
	}
	return n;
}
