/*
 * fuzz-state.c - .cachectl/state, which lies where any build step can write.
 *
 * Pattern: the header's checksum and lengths are set right, for no input would
 * ever get past them by chance; the rest is the input's.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"
#include "engine/state_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Makes what the header says fit the size; the first bytes choose how. */
static void mend(uint8_t *bytes, size_t len)
{
	struct cm_state_header *head = (struct cm_state_header *)bytes;
	size_t left = len - sizeof(*head);
	struct cm_error err = {0};

	memcpy(head->magic, CM_STATE_MAGIC, sizeof(head->magic));
	head->version = CM_STATE_VERSION;
	head->byte_order = CM_STATE_BYTE_ORDER;
	head->chunks_len %= 4;
	head->records_len %= 8;
	if (cm_state_chunks_size(head->chunks_len) > left)
		head->chunks_len = 0;
	left -= cm_state_chunks_size(head->chunks_len);
	if (head->records_len * sizeof(struct cm_state_record) > left)
		head->records_len = left / sizeof(struct cm_state_record);
	left -= head->records_len * sizeof(struct cm_state_record);
	head->pool_len = left;
	cm_digest_of(bytes + CM_STATE_CHECKED_FROM, len - CM_STATE_CHECKED_FROM,
		     &head->checksum, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cm_state *s = NULL, *again = NULL;
	struct cm_error err = {0};
	uint8_t *bytes = malloc(size + 1);
	void *out;
	size_t len;
	int r;

	memcpy(bytes, data, size);
	if (size >= sizeof(struct cm_state_header))
		mend(bytes, size);
	r = cm_state_decode(bytes, size, &s, &err);
	assert(r == 0 || (s == NULL && r == (int)err.status && err.text[0]));
	if (r < 0)
		return 0;
	for (size_t i = 0; i < s->tree->len; i++)
		assert(!cm_path_refuse(s->tree->entries[i].path,
				       s->tree->entries[i].path_len));
	r = cm_state_encode(s, &out, &len, &err);
	assert(r == 0);
	r = cm_state_decode(out, len, &again, &err);
	assert(r == 0 && again->tree->len == s->tree->len);
	cm_state_free(again);
	cm_state_free(s);
	return 0;
}
