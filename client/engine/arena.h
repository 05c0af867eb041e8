/*
 * arena.h - memory for the many small, never changing pieces of a tree, freed
 * in one go. Not shared between threads without a lock.
 */
#ifndef CM_ENGINE_ARENA_H
#define CM_ENGINE_ARENA_H

#include <stddef.h>

struct cm_arena_block;

/* All zero is an empty arena. */
struct cm_arena {
	struct cm_arena_block *head;
	size_t left; /* bytes free in `head` */
};

/* `n` bytes, aligned for any type, uninitialised; NULL when out of memory. */
void *cm_arena_alloc(struct cm_arena *a, size_t n);

/* A copy of `n` bytes and a NUL behind them; NULL when out of memory. */
char *cm_arena_copy(struct cm_arena *a, const void *bytes, size_t n);

/* Moves everything that `from` holds into `to`, and empties `from`. */
void cm_arena_adopt(struct cm_arena *to, struct cm_arena *from);

/* Frees all that was allocated; the arena is empty and usable again. */
void cm_arena_release(struct cm_arena *a);

#endif
