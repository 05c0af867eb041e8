/*
 * lease.c - leases in memory: 64 shards of open-addressed slots, a lock each.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/units.h>

#include "lease.h"
#include "lease_file.h"

#define SHARDS	     64
#define SLOTS	     4096 /* per shard: 256 Ki leases, 4 MiB in all */
#define PROBES_MAX   32
#define PROMISES_MAX 0xffff
#define CONDEMNED    32 /* per shard */

/* Cells of the filter: seconds until which what falls on it is leased. */
#define FILTER (1u << 21)

#define LEASE_MAX_MS (366 * 86400000LL) /* no setting allows more */

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
	uint64_t condemned[CONDEMNED];
	size_t condemned_len;
	struct lease slots[SLOTS];
};

struct cm_leases {
	int64_t lease_ms;
	_Atomic int64_t all_until_ms;
	_Atomic int64_t end_ms;
	_Atomic uint64_t generation;
	_Atomic bool filtered; /* somebody is in the filter */
	struct cm_lease_file file;
	bool restored;
	_Atomic int64_t saved_all_ms; /* in the file */
	struct shard shards[SHARDS];
	_Atomic uint32_t filter[FILTER]; /* untouched memory costs nothing */
};

static void raise_to(_Atomic int64_t *at, int64_t value)
{
	int64_t now = atomic_load(at);

	while (now < value && !atomic_compare_exchange_weak(at, &now, value))
		;
}

/* Where a shard's slots lie in the file. */
static size_t shard_offset(size_t shard)
{
	return shard * SLOTS * sizeof(struct lease);
}

/* With the shard's lock held. */
static void save(struct cm_leases *l, const struct shard *s,
		 const struct lease *slot)
{
	cm_lease_file_write(&l->file,
			    shard_offset((size_t)(s - l->shards)) +
				    (size_t)(slot - s->slots) * sizeof(*slot),
			    slot, sizeof(*slot));
}

/* When the last of a shard ends. A time that can't be ends now. */
static int64_t last_of(struct shard *s, int64_t now_ms)
{
	int64_t last = 0;

	for (size_t i = 0; i < SLOTS; i++) {
		if (s->slots[i].until_ms > now_ms + LEASE_MAX_MS)
			s->slots[i].until_ms = 0;
		if (s->slots[i].until_ms > last)
			last = s->slots[i].until_ms;
	}
	return last;
}

/* False: nothing was read that could be believed. */
static bool restore(struct cm_leases *l, int64_t all_until_ms)
{
	int64_t now = cm_monotonic_ms();

	for (size_t i = 0; i < SHARDS; i++)
		if (!cm_lease_file_read(&l->file, shard_offset(i),
					l->shards[i].slots,
					sizeof(l->shards[i].slots)))
			return false;
	for (size_t i = 0; i < SHARDS; i++)
		raise_to(&l->end_ms, last_of(&l->shards[i], now));
	if (all_until_ms <= now + LEASE_MAX_MS)
		cm_leases_hold_all(l, all_until_ms);
	return true;
}

int cm_leases_new(int64_t lease_ms, int fd, struct cm_leases **ret,
		  struct cm_error *err)
{
	struct cm_leases *l = calloc(1, sizeof(*l));
	int64_t all_until = 0;

	if (!l) {
		if (fd >= 0)
			close(fd);
		return cm_error_nomem(err);
	}
	l->lease_ms = lease_ms;
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&l->shards[i].lock, NULL);
	if (cm_lease_file_open(&l->file, fd,
			       SHARDS * SLOTS * sizeof(struct lease),
			       &all_until))
		l->restored = restore(l, all_until);
	*ret = l;
	return 0;
}

bool cm_leases_restored(const struct cm_leases *l)
{
	return l->restored;
}

void cm_leases_free(struct cm_leases *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&l->shards[i].lock);
	cm_lease_file_close(&l->file);
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

/* ---- the filter -----------------------------------------------------------
 */

/* The two cells of a fingerprint, apart from what picks shard and slot. */
static _Atomic uint32_t *cell(struct cm_leases *l, uint64_t key, int which)
{
	uint64_t h = (key ^ (uint64_t)which * 0x632BE59BD9B4E019u) *
		     0x9E3779B97F4A7C15u;

	return &l->filter[(h >> 40) % FILTER];
}

static void filter_add(struct cm_leases *l, uint64_t key, int64_t until_ms)
{
	uint32_t until = (uint32_t)(until_ms / 1000 + 1), now;
	_Atomic uint32_t *at;

	for (int i = 0; i < 2; i++) {
		at = cell(l, key, i);
		now = atomic_load(at);
		while (now < until &&
		       !atomic_compare_exchange_weak(at, &now, until))
			;
	}
	atomic_store(&l->filtered, true);
	/* The file has no filter: after a restart, all is held for them. */
	if (atomic_load(&l->saved_all_ms) < until_ms) {
		until_ms += l->lease_ms / 8; /* written not too often */
		atomic_store(&l->saved_all_ms, until_ms);
		cm_lease_file_hold(&l->file, until_ms);
	}
}

static bool filter_has(struct cm_leases *l, uint64_t key, int64_t now_ms)
{
	return atomic_load(&l->filtered) &&
	       atomic_load(cell(l, key, 0)) * 1000LL >= now_ms &&
	       atomic_load(cell(l, key, 1)) * 1000LL >= now_ms;
}

/* ---- leases ---------------------------------------------------------------
 */

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
		save(l, s, slot);
	} else {
		filter_add(l, key, until);
	}
	pthread_mutex_unlock(&s->lock);
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
	    slot->promises < PROMISES_MAX) {
		if (--slot->promises == 0)
			slot->until_ms = 0;
		save(l, s, slot);
	}
	pthread_mutex_unlock(&s->lock);
}

/* With the shard's lock held. */
static bool held(struct cm_leases *l, struct shard *s, uint64_t key,
		 int64_t now_ms)
{
	struct lease *slot = find(s, key, 0);

	if (slot && slot->key == key && slot->until_ms >= now_ms)
		return true;
	return filter_has(l, key, now_ms);
}

bool cm_lease_held(struct cm_leases *l, int64_t repo_id,
		   const struct cm_digest *d, int64_t now_ms)
{
	uint64_t key = key_of(repo_id, d);
	struct shard *s = &l->shards[key % SHARDS];
	bool yes;

	if (cm_leases_all_held(l, now_ms))
		return true;
	pthread_mutex_lock(&s->lock);
	yes = held(l, s, key, now_ms);
	pthread_mutex_unlock(&s->lock);
	return yes;
}

/* ---- eviction -------------------------------------------------------------
 */

bool cm_lease_condemn(struct cm_leases *l, int64_t repo_id,
		      const struct cm_digest *d, int64_t now_ms)
{
	uint64_t key = key_of(repo_id, d);
	struct shard *s = &l->shards[key % SHARDS];
	bool done;

	if (cm_leases_all_held(l, now_ms))
		return false;
	pthread_mutex_lock(&s->lock);
	done = s->condemned_len < CONDEMNED && !held(l, s, key, now_ms);
	if (done)
		s->condemned[s->condemned_len++] = key;
	pthread_mutex_unlock(&s->lock);
	return done;
}

void cm_leases_spare(struct cm_leases *l)
{
	atomic_fetch_add(&l->generation, 1);
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&l->shards[i].lock);
		l->shards[i].condemned_len = 0;
		pthread_mutex_unlock(&l->shards[i].lock);
	}
}

bool cm_lease_condemned(struct cm_leases *l, int64_t repo_id,
			const struct cm_digest *d)
{
	uint64_t key = key_of(repo_id, d);
	struct shard *s = &l->shards[key % SHARDS];
	bool found = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; !found && i < s->condemned_len; i++)
		found = s->condemned[i] == key;
	pthread_mutex_unlock(&s->lock);
	return found;
}

uint64_t cm_leases_generation(struct cm_leases *l)
{
	return atomic_load(&l->generation);
}

/* ---- all of them ----------------------------------------------------------
 */

int64_t cm_leases_end(struct cm_leases *l)
{
	return atomic_load(&l->end_ms);
}

void cm_leases_hold_all(struct cm_leases *l, int64_t until_ms)
{
	raise_to(&l->all_until_ms, until_ms);
	raise_to(&l->end_ms, until_ms);
	if (until_ms > atomic_load(&l->saved_all_ms)) {
		atomic_store(&l->saved_all_ms, until_ms);
		cm_lease_file_hold(&l->file, until_ms);
	}
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
