/*
 * fuzz-manifest.c - a snapshot's manifest, as any registry may send it.
 *
 * Pattern: what is accepted keeps the limits of snapshot_manifest.h, and is
 * the same when it is written and read again.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/snapshot_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct cm_snapshot_manifest *m)
{
	struct cm_snapshot_manifest again = {.chunks = NULL};
	struct cm_error err = {0};
	char *json;
	size_t len;
	int r = cm_snapshot_manifest_format(m, &json, &len, &err);

	assert(r == 0);
	r = cm_snapshot_manifest_parse(json, len, &again, &err);
	assert(r == 0 && again.chunks_len == m->chunks_len);
	assert(cm_digest_equal(&again.tree, &m->tree));
	assert(again.tree_size == m->tree_size);
	for (size_t i = 0; i < m->chunks_len; i++) {
		assert(cm_digest_equal(&again.chunks[i].digest,
				       &m->chunks[i].digest));
		assert(again.chunks[i].size == m->chunks[i].size);
	}
	cm_snapshot_manifest_release(&again);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cm_snapshot_manifest m = {.chunks = NULL};
	struct cm_error err = {0};
	int r = cm_snapshot_manifest_parse((const char *)data, size, &m, &err);

	assert(r == 0 || (m.chunks == NULL && r == (int)err.status));
	if (r < 0)
		return 0;
	assert(m.tree_size >= 0 && m.tree_size <= CM_TREE_TEXT_MAX);
	for (size_t i = 0; i < m.chunks_len; i++)
		assert(m.chunks[i].size >= 1 &&
		       m.chunks[i].size <= CM_CHUNK_SIZE_MAX);
	check_again(&m);
	cm_snapshot_manifest_release(&m);
	return 0;
}
