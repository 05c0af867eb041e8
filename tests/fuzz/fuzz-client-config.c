/*
 * fuzz-client-config.c - cachectl's settings file.
 *
 * Pattern: as fuzz-names.c. A text that is taken fills settings with values of
 * its own, and reads the same a second time; one that is not leaves a message.
 * Whatever was read goes through the checks, which either refuse it with a
 * message or leave numbers within their bounds.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>

#include "config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No settings but the input's: no environment, no home. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	clearenv();
	return 0;
}

static void check_finished(const struct cm_config *c)
{
	assert(c->connect_ms >= 1 && c->stall_ms >= 1);
	assert(c->jobs <= 64);
	assert(c->fallbacks_len <= CM_FALLBACKS_MAX);
	for (size_t i = 0; i < c->fallbacks_len; i++)
		assert(cm_repository_valid(c->fallback_scopes[i],
					   strlen(c->fallback_scopes[i])));
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		assert(!c->values[i] == !c->origins[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cm_config c = {0}, again = {0};
	struct cm_error err = {0};
	char *text = malloc(size + 1);
	int r;

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	r = cm_config_read(&c, text, "input", &err);
	assert((r == 0) == (err.text[0] == '\0'));
	assert(cm_config_read(&again, text, "input", NULL) == r);
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++)
		assert((!c.values[i] && !again.values[i]) ||
		       strcmp(c.values[i], again.values[i]) == 0);
	if (r == 0) {
		r = cm_config_finish(&c, &err);
		assert((r == 0) == (err.text[0] == '\0'));
		if (r == 0)
			check_finished(&c);
	}
	cm_config_release(&c);
	cm_config_release(&again);
	free(text);
	return 0;
}
