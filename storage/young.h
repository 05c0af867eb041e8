/*
 * young.h - upload sessions that hold no acknowledged byte yet. They live in
 * memory only: a session that ends with the request that follows its POST, as
 * nearly all do, costs the index one commit instead of two. A crash forgets
 * them, and their clients begin again, having lost nothing they were promised.
 *
 * Threads: any. Bounded: beyond CM_YOUNG_MAX the caller gives a session its row
 * in the index at once.
 */
#ifndef CM_STORAGE_YOUNG_H
#define CM_STORAGE_YOUNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>
#include <cachemount/store.h>

#define CM_YOUNG_MAX 1024

struct cm_young;

/* Caller frees with cm_young_free(). */
int cm_young_new(struct cm_young **ret, struct cm_error *err);
void cm_young_free(struct cm_young *y);

/* False if the table is full or memory is out. */
bool cm_young_add(struct cm_young *y, const char *id, const char *repo,
		  int64_t now_ms);

/* Is it young, and of this repository (any, if NULL)? */
bool cm_young_has(struct cm_young *y, const char *id, const char *repo);

/* Whether it was there, and of this repository (any, if NULL). */
bool cm_young_remove(struct cm_young *y, const char *id, const char *repo);

size_t cm_young_count(struct cm_young *y);

/* One session, copied out. */
struct cm_young_item {
	char id[CM_UPLOAD_ID_SIZE];
	char *repo; /* the caller frees it */
	int64_t begun_ms;
};

/* Copies out at most `max` sessions begun before a time; how many. */
size_t cm_young_list(struct cm_young *y, int64_t before_ms,
		     struct cm_young_item *ret, size_t max);

#endif
