/*
 * arena.c - a chain of blocks, filled from the end of each.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define ALIGNMENT  16
#define BLOCK_SIZE (256 << 10)

struct cm_arena_block {
	struct cm_arena_block *next;
	size_t size;
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

static struct cm_arena_block *block_new(size_t size)
{
	struct cm_arena_block *b;

	if (size > SIZE_MAX - sizeof(*b))
		return NULL;
	b = malloc(sizeof(*b) + size);
	if (b)
		b->size = size;
	return b;
}

/* A piece too large to share a block gets its own, behind the current one. */
static void *alloc_alone(struct cm_arena *a, size_t n)
{
	struct cm_arena_block *b = block_new(n);

	if (!b)
		return NULL;
	if (!a->head) {
		b->next = NULL;
		a->head = b;
		a->left = 0;
	} else {
		b->next = a->head->next;
		a->head->next = b;
	}
	return b->bytes;
}

void *cm_arena_alloc(struct cm_arena *a, size_t n)
{
	struct cm_arena_block *b;

	if (n > SIZE_MAX - ALIGNMENT)
		return NULL;
	n = (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (n > a->left) {
		if (n > BLOCK_SIZE / 4)
			return alloc_alone(a, n);
		b = block_new(BLOCK_SIZE);
		if (!b)
			return NULL;
		b->next = a->head;
		a->head = b;
		a->left = BLOCK_SIZE;
	}
	a->left -= n;
	return a->head->bytes + a->left;
}

char *cm_arena_copy(struct cm_arena *a, const void *bytes, size_t n)
{
	char *copy = n < SIZE_MAX ? cm_arena_alloc(a, n + 1) : NULL;

	if (!copy)
		return NULL;
	if (n > 0)
		memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}

void cm_arena_adopt(struct cm_arena *to, struct cm_arena *from)
{
	struct cm_arena_block *last = from->head;

	if (!last)
		return;
	if (!to->head) {
		*to = *from;
	} else {
		while (last->next)
			last = last->next;
		last->next = to->head->next;
		to->head->next = from->head;
	}
	*from = (struct cm_arena){NULL, 0};
}

void cm_arena_release(struct cm_arena *a)
{
	struct cm_arena_block *next;

	for (struct cm_arena_block *b = a->head; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct cm_arena){NULL, 0};
}
