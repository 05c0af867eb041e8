/*
 * fuzz-access.c - the scopes that clients ask for, and the bytes of a token.
 *
 * The first byte picks which. What is promised is checked: a scope is a legal
 * repository with known actions, what was read can be written and read again,
 * and no text is a token of a key that did not seal it.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "access.h"

#define INPUT_MAX 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[CM_ACCESS_KEY_LEN] = "nobody knows this key";

static void check_scopes(const struct cm_access *a)
{
	assert(a->scopes_len <= CM_ACCESS_SCOPES_MAX);
	for (size_t i = 0; i < a->scopes_len; i++) {
		const struct cm_access_scope *s = &a->scopes[i];

		assert(cm_repository_valid(s->repository,
					   strlen(s->repository)));
		assert(!(s->actions & ~(unsigned)CM_ACCESS_ACTIONS_ALL));
		for (size_t j = 0; j < i; j++)
			assert(strcmp(s->repository, a->scopes[j].repository) !=
			       0);
	}
}

/* What is sealed opens again as it was. */
static void check_seal(struct cm_access *a)
{
	char text[CM_ACCESS_TEXT_SIZE];
	struct cm_access again;
	struct cm_error err = {0};

	if (cm_access_seal(a, key, text, &err) < 0) {
		assert(err.status == CM_ERR_SIZE);
		return;
	}
	if (a->expires_s <= 1)
		return;
	assert(cm_access_open(text, key, a->expires_s - 1, &again, &err) == 0);
	assert(strcmp(again.name, a->name) == 0);
	assert(again.scopes_len == a->scopes_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cm_access a = {0};
	char text[INPUT_MAX + 1];
	struct cm_error err = {0};

	if (size == 0 || size > INPUT_MAX)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] % 3 == 0) {
		assert(cm_access_open(text, key, 1000, &a, &err) < 0);
		assert(err.status == CM_ERR_UNAUTHORIZED && err.text[0]);
	} else if (data[0] % 3 == 1) {
		cm_access_add_scopes(&a, text, &err);
		check_scopes(&a);
		a.expires_s = 1000;
		check_seal(&a);
	} else if (cm_access_parse(data + 1, size - 1, &a, &err) == 0) {
		check_scopes(&a);
		check_seal(&a);
	}
	return 0;
}
