/*
 * session.c - which upload sessions are in a request's hands, and the running
 * hashes of those that are not, so that the next chunk need not read the
 * earlier ones again. A bounded table: a hash that is pushed out is computed
 * again from the file.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store_private.h"

#define REMEMBERED_MAX 1024

struct session {
	char id[CM_UPLOAD_ID_SIZE];
	bool open;
	struct cm_hasher *hasher;
	int64_t offset;
	struct session *next; /* most recently used first */
};

struct cm_sessions {
	pthread_mutex_t lock;
	struct session *first;
	size_t remembered; /* not open */
};

int cm_sessions_new(struct cm_sessions **ret, struct cm_error *err)
{
	struct cm_sessions *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return cm_error_nomem(err);
	pthread_mutex_init(&ss->lock, NULL);
	*ret = ss;
	return 0;
}

void cm_sessions_free(struct cm_sessions *ss)
{
	struct session *s;

	if (!ss)
		return;
	while ((s = ss->first)) {
		ss->first = s->next;
		cm_hasher_free(s->hasher);
		free(s);
	}
	pthread_mutex_destroy(&ss->lock);
	free(ss);
}

static struct session *unlink_session(struct cm_sessions *ss, const char *id)
{
	struct session **at = &ss->first, *s;

	while ((s = *at) && strcmp(s->id, id) != 0)
		at = &s->next;
	if (s)
		*at = s->next;
	return s;
}

static void push_front(struct cm_sessions *ss, struct session *s)
{
	s->next = ss->first;
	ss->first = s;
}

/* The session's entry, made if there is none; NULL: out of memory. */
static struct session *entry_of(struct cm_sessions *ss, const char *id)
{
	struct session *s = unlink_session(ss, id);

	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		strncpy(s->id, id, sizeof(s->id) - 1);
		ss->remembered++;
	}
	push_front(ss, s);
	return s;
}

int cm_sessions_take(struct cm_sessions *ss, const char *id,
		     struct cm_hasher **ret_hasher, int64_t *ret_offset,
		     struct cm_error *err)
{
	struct session *s;
	int r = 0;

	pthread_mutex_lock(&ss->lock);
	s = entry_of(ss, id);
	if (!s) {
		r = cm_error_nomem(err);
	} else if (s->open) {
		r = cm_error_set(err, CM_ERR_BUSY,
				 "another request is writing to upload %s", id);
	} else {
		s->open = true;
		ss->remembered--;
		*ret_hasher = cm_take_ptr(s->hasher);
		*ret_offset = s->offset;
	}
	pthread_mutex_unlock(&ss->lock);
	return r;
}

/* Drops the least recently used hashes beyond the limit. */
static void forget_oldest(struct cm_sessions *ss)
{
	struct session **at = &ss->first, **oldest = NULL, *s;

	while (ss->remembered > REMEMBERED_MAX) {
		for (at = &ss->first; *at; at = &(*at)->next)
			if (!(*at)->open)
				oldest = at;
		if (!oldest)
			return;
		s = *oldest;
		*oldest = s->next;
		cm_hasher_free(s->hasher);
		free(s);
		ss->remembered--;
	}
}

void cm_sessions_give(struct cm_sessions *ss, const char *id,
		      struct cm_hasher *hasher, int64_t offset)
{
	struct session *s;

	pthread_mutex_lock(&ss->lock);
	s = unlink_session(ss, id);
	if (s && hasher) {
		s->open = false;
		s->hasher = cm_take_ptr(hasher);
		s->offset = offset;
		ss->remembered++;
		push_front(ss, s);
		forget_oldest(ss);
	} else {
		free(s);
	}
	pthread_mutex_unlock(&ss->lock);
	cm_hasher_free(hasher);
}
