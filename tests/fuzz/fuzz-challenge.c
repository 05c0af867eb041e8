/*
 * fuzz-challenge.c - WWW-Authenticate fields that registries send.
 *
 * A challenge that was found has a realm, and holds nothing that a header line
 * or an address could not.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "remote_private.h"

#define INPUT_MAX 4000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const char *value)
{
	for (; *value; value++)
		assert((unsigned char)*value >= ' ' && *value != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cm_challenge c;
	char text[INPUT_MAX + 1];

	if (size > INPUT_MAX)
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	if (!cm_challenge_parse(text, &c))
		return 0;
	assert(c.realm[0]);
	assert(strcasestr(text, "bearer"));
	check_value(c.realm);
	check_value(c.service);
	check_value(c.scope);
	return 0;
}
