/*
 * fuzz-config.c - what an operator writes: configuration file, token file.
 *
 * The first byte chooses the parser. A file is taken or refused with a reason
 * that names the line; what a token file grants is of the grammars promised,
 * and its lines, written out again, say the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/names.h>

#include "auth.h"
#include "config.h"
#include "token_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_config(const char *text, size_t len)
{
	struct cm_config config;
	struct cm_error err = {0};
	int rc;

	assert(cm_config_defaults(&config, &err) == 0);
	rc = cm_config_parse_file(text, len, "file", &config, &err);
	if (rc < 0)
		assert(rc == err.status && strncmp(err.text, "file:", 5) == 0);
	assert(config.workers >= 1 && config.workers <= 1024);
	assert(config.listen && *config.listen);
	cm_config_release(&config);
}

static void check_again(const struct cm_tokens *t)
{
	cm_auto(tokens) struct cm_tokens *again = NULL;
	char digest[CM_DIGEST_TEXT_SIZE];
	cm_autofree char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert(out);
	for (size_t i = 0; i < t->len; i++)
		fprintf(out, "%s pull %s %s\n", t->grants[i].name,
			t->grants[i].pattern,
			cm_digest_format(&t->grants[i].hash, digest));
	fclose(out);
	assert(cm_tokens_parse(text, len, "again", &again, NULL) == 0);
	assert(again->len == t->len);
	for (size_t i = 0; i < t->len; i++)
		assert(again->grants[i].secret == t->grants[i].secret);
}

static void try_tokens(const char *text, size_t len)
{
	cm_auto(tokens) struct cm_tokens *t = NULL;
	struct cm_error err = {0};
	int rc = cm_tokens_parse(text, len, "file", &t, &err);

	if (rc < 0) {
		assert(rc == err.status && strncmp(err.text, "file:", 5) == 0);
		return;
	}
	for (size_t i = 0; i < t->len; i++) {
		assert(cm_token_name_valid(t->grants[i].name));
		assert(cm_repository_pattern_valid(t->grants[i].pattern));
		assert(t->grants[i].permissions != 0);
	}
	check_again(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return -1;
	if (data[0] & 1)
		try_config((const char *)data + 1, size - 1);
	else
		try_tokens((const char *)data + 1, size - 1);
	return 0;
}
