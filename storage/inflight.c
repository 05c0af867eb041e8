/* inflight.c - the set of digests in flight: a few lists under one lock. */
#include <pthread.h>
#include <stdlib.h>

#include "inflight.h"

#define LISTS 64

struct cm_inflight {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct cm_inflight_entry *lists[LISTS];
};

int cm_inflight_new(struct cm_inflight **ret, struct cm_error *err)
{
	struct cm_inflight *f = calloc(1, sizeof(*f));

	if (!f)
		return cm_error_nomem(err);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->left, NULL);
	*ret = f;
	return 0;
}

void cm_inflight_free(struct cm_inflight *f)
{
	if (!f)
		return;
	pthread_cond_destroy(&f->left);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static struct cm_inflight_entry **list_of(struct cm_inflight *f,
					  const struct cm_digest *d)
{
	return &f->lists[d->sha256[0] % LISTS];
}

static bool held(struct cm_inflight *f, const struct cm_digest *d)
{
	struct cm_inflight_entry *e = *list_of(f, d);

	while (e && !cm_digest_equal(&e->digest, d))
		e = e->next;
	return e != NULL;
}

static void add(struct cm_inflight *f, struct cm_inflight_entry *e,
		const struct cm_digest *d)
{
	e->digest = *d;
	e->next = *list_of(f, d);
	*list_of(f, d) = e;
}

void cm_inflight_enter(struct cm_inflight *f, struct cm_inflight_entry *e,
		       const struct cm_digest *d)
{
	pthread_mutex_lock(&f->lock);
	while (held(f, d))
		pthread_cond_wait(&f->left, &f->lock);
	add(f, e, d);
	pthread_mutex_unlock(&f->lock);
}

bool cm_inflight_try(struct cm_inflight *f, struct cm_inflight_entry *e,
		     const struct cm_digest *d)
{
	bool free_now;

	pthread_mutex_lock(&f->lock);
	free_now = !held(f, d);
	if (free_now)
		add(f, e, d);
	pthread_mutex_unlock(&f->lock);
	return free_now;
}

void cm_inflight_leave(struct cm_inflight *f, struct cm_inflight_entry *e)
{
	struct cm_inflight_entry **at;

	pthread_mutex_lock(&f->lock);
	at = list_of(f, &e->digest);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	pthread_cond_broadcast(&f->left);
	pthread_mutex_unlock(&f->lock);
}
