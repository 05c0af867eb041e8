/*
 * fuzz-tree.c - the tree of a snapshot, as any registry may send it.
 *
 * Pattern: the first bytes choose the sizes of three chunks, the rest is the
 * blob. What is accepted must keep the promises of tree.h, and be the same
 * when it is written and read again.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cm_tree_limits limits = {100000, 1LL << 40};

static struct cm_tree *parse(const void *text, size_t len,
			     const struct cm_chunk *chunks)
{
	struct cm_error err = {0};
	struct cm_tree *t = NULL;
	char *copy = malloc(len + 1);
	int r;

	memcpy(copy, text, len);
	r = cm_tree_parse(copy, len, chunks, 3, &limits, &t, &err);
	assert(r == 0 || (t == NULL && r == (int)err.status && err.text[0]));
	return t;
}

/* Nothing that a restore would act on may lead out of the mount. */
static void check_entries(const struct cm_tree *t)
{
	struct cm_tree_totals totals;

	for (size_t i = 0; i < t->len; i++) {
		const struct cm_entry *e = &t->entries[i];

		assert(!cm_path_refuse(e->path, e->path_len));
		assert(e->path[e->path_len] == '\0');
		assert(e->mode <= 07777 && e->type <= CM_ENTRY_FIFO);
		if (i > 0)
			assert(cm_path_compare(e[-1].path, e[-1].path_len,
					       e->path, e->path_len) < 0);
		if (cm_entry_stored(e) > 0)
			assert(cm_entry_last_chunk(t, e) < t->chunks_len);
		assert(cm_tree_search(t, e->path, e->path_len) == i);
	}
	cm_tree_totals(t, &totals);
	assert(totals.entries == (int64_t)t->len);
	assert(totals.bytes <= limits.max_bytes);
}

static void check_again(const struct cm_tree *t, const struct cm_chunk *chunks)
{
	struct cm_error err = {0};
	struct cm_tree *again;
	char *text;
	size_t len;
	int r = cm_tree_format(t, &text, &len, &err);

	assert(r == 0);
	again = parse(text, len, chunks);
	assert(again && again->len == t->len);
	for (size_t i = 0; i < t->len; i++) {
		assert(cm_entry_same_metadata(&t->entries[i],
					      &again->entries[i]));
		assert(t->entries[i].type != CM_ENTRY_FILE ||
		       cm_entry_same_content(t, &t->entries[i], again,
					     &again->entries[i]));
	}
	cm_tree_free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cm_chunk chunks[3] = {0};
	struct cm_tree *t;

	if (size < 3)
		return -1;
	for (unsigned i = 0; i < 3; i++) {
		chunks[i].size = 1 + data[i] * 16u;
		chunks[i].digest.sha256[0] = (uint8_t)i;
	}
	t = parse(data + 3, size - 3, chunks);
	if (t) {
		check_entries(t);
		check_again(t, chunks);
	}
	cm_tree_free(t);
	return 0;
}
