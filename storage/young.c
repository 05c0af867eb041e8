/*
 * young.c - see young.h. A hash table of fixed size with chains; the ids are
 * random, so their first byte spreads them.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/cleanup.h>

#include "young.h"

#define BUCKETS 256

struct entry {
	char id[CM_UPLOAD_ID_SIZE];
	int64_t begun_ms;
	struct entry *next;
	char repo[];
};

struct cm_young {
	pthread_mutex_t lock;
	size_t len;
	struct entry *buckets[BUCKETS];
};

int cm_young_new(struct cm_young **ret, struct cm_error *err)
{
	struct cm_young *y = calloc(1, sizeof(*y));

	if (!y)
		return cm_error_nomem(err);
	pthread_mutex_init(&y->lock, NULL);
	*ret = y;
	return 0;
}

void cm_young_free(struct cm_young *y)
{
	struct entry *e;

	if (!y)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while ((e = y->buckets[i])) {
			y->buckets[i] = e->next;
			free(e);
		}
	}
	pthread_mutex_destroy(&y->lock);
	free(y);
}

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The place of the pointer to the session's entry, or to the chain's end. */
static struct entry **find(struct cm_young *y, const char *id)
{
	unsigned bucket = (unsigned)(hex_value(id[0]) << 4 | hex_value(id[1]));
	struct entry **at = &y->buckets[bucket % BUCKETS];

	while (*at && strcmp((*at)->id, id) != 0)
		at = &(*at)->next;
	return at;
}

bool cm_young_add(struct cm_young *y, const char *id, const char *repo,
		  int64_t now_ms)
{
	size_t len = strlen(repo) + 1;
	struct entry *e = calloc(1, sizeof(*e) + len), **at;
	bool room;

	if (!e)
		return false;
	memcpy(e->id, id, CM_UPLOAD_ID_SIZE);
	memcpy(e->repo, repo, len);
	e->begun_ms = now_ms;
	pthread_mutex_lock(&y->lock);
	room = y->len < CM_YOUNG_MAX;
	if (room) {
		at = find(y, id);
		e->next = *at;
		*at = e;
		y->len++;
	}
	pthread_mutex_unlock(&y->lock);
	if (!room)
		free(e);
	return room;
}

bool cm_young_has(struct cm_young *y, const char *id, const char *repo)
{
	struct entry *e;
	bool has;

	pthread_mutex_lock(&y->lock);
	e = *find(y, id);
	has = e && (!repo || strcmp(e->repo, repo) == 0);
	pthread_mutex_unlock(&y->lock);
	return has;
}

bool cm_young_remove(struct cm_young *y, const char *id, const char *repo)
{
	struct entry **at, *e;

	pthread_mutex_lock(&y->lock);
	at = find(y, id);
	e = *at;
	if (e && repo && strcmp(e->repo, repo) != 0)
		e = NULL;
	if (e) {
		*at = e->next;
		y->len--;
	}
	pthread_mutex_unlock(&y->lock);
	free(e);
	return e != NULL;
}

size_t cm_young_count(struct cm_young *y)
{
	size_t len;

	pthread_mutex_lock(&y->lock);
	len = y->len;
	pthread_mutex_unlock(&y->lock);
	return len;
}

static bool copy_out(const struct entry *e, struct cm_young_item *ret)
{
	ret->repo = strdup(e->repo);
	memcpy(ret->id, e->id, sizeof(ret->id));
	ret->begun_ms = e->begun_ms;
	return ret->repo != NULL;
}

size_t cm_young_list(struct cm_young *y, int64_t before_ms,
		     struct cm_young_item *ret, size_t max)
{
	size_t n = 0;

	pthread_mutex_lock(&y->lock);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct entry *e = y->buckets[i]; e && n < max; e = e->next)
			if (e->begun_ms < before_ms && copy_out(e, &ret[n]))
				n++;
	pthread_mutex_unlock(&y->lock);
	return n;
}
