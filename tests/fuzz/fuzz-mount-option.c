/*
 * fuzz-mount-option.c - the -m option of cachectl run.
 *
 * Pattern: as fuzz-names.c. What is taken has an id, a path, and a name and a
 * tag that are legal; written again from its parts it reads the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mount_option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_good(const struct cm_mount_option *m)
{
	static struct cm_mount_option again;
	static char text[CM_MOUNT_ID_MAX + 4096 + CM_TAG_MAX + 64];

	assert(m->id[0] && !strchr(m->id, '='));
	assert(m->path[0]);
	assert(cm_repository_valid(m->name, strlen(m->name)));
	assert(cm_tag_valid(m->tag, strlen(m->tag)));
	snprintf(text, sizeof(text), "%s=%s,merge=%s,tag=%s", m->id, m->path,
		 m->merge == CM_MERGE_UNION ? "union" : "replace", m->tag);
	assert(cm_mount_option_parse(text, "other", &again, NULL) == 0);
	assert(strcmp(again.id, m->id) == 0);
	assert(strcmp(again.path, m->path) == 0);
	assert(strcmp(again.tag, m->tag) == 0);
	assert(again.merge == m->merge);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cm_mount_option m;
	struct cm_error err = {0};
	char *text = malloc(size + 1);

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (cm_mount_option_parse(text, "linux-amd64", &m, &err) == 0)
		check_good(&m);
	else
		assert(err.text[0]);
	free(text);
	return 0;
}
