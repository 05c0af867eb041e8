/*
 * chunk_map.h - the list of chunks of a new tree, put together from those of
 * older ones.
 *
 * What must hold: the chunks that one file runs through stay neighbours. So a
 * list is taken over in runs: maximal stretches of chunks that some file joins.
 */
#ifndef CM_ENGINE_CHUNK_MAP_H
#define CM_ENGINE_CHUNK_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

#include "tree.h"

/* The new list. All zero is empty. */
struct cm_chunk_list {
	struct cm_chunk *chunks;
	uint32_t *same; /* for each, the one before in its hash bucket, + 1 */
	size_t len, cap;
	uint32_t *buckets; /* last chunk of each, + 1 */
	size_t buckets_len;
};

/* Appends a chunk unless the list has it; `*ret_new` tells. */
int cm_chunk_list_add(struct cm_chunk_list *l, const struct cm_chunk *chunk,
		      bool *ret_new, struct cm_error *err);
void cm_chunk_list_release(struct cm_chunk_list *l);

/* Where each chunk of one older tree has gone. */
struct cm_chunk_map {
	const struct cm_tree *tree;
	uint8_t *use; /* per chunk */
	uint32_t *to; /* its number in the new list, where used */
};

int cm_chunk_map_init(struct cm_chunk_map *m, const struct cm_tree *t,
		      struct cm_error *err);
void cm_chunk_map_release(struct cm_chunk_map *m);

/* The file `e` of the map's tree will be in the new tree. */
void cm_chunk_map_use(struct cm_chunk_map *m, const struct cm_entry *e);

/*
 * Appends the used chunks to the list, except runs that stand in it already,
 * and fills in `to`.
 */
int cm_chunk_map_append(struct cm_chunk_map *m, struct cm_chunk_list *l,
			struct cm_error *err);

#endif
