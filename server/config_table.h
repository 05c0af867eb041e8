/* config_table.h - the one table of settings, private to config*.c. */
#ifndef CM_SERVER_CONFIG_TABLE_H
#define CM_SERVER_CONFIG_TABLE_H

#include <cachemount/cleanup.h>

#include "config.h"

enum cm_setting_kind {
	CM_SETTING_TEXT,
	CM_SETTING_ORIGIN, /* "https://host:port" */
	CM_SETTING_COUNT,
	CM_SETTING_DURATION,
	CM_SETTING_RATE, /* a size a second */
	CM_SETTING_CHOICE,
	CM_SETTING_SWITCH, /* on or off */
	CM_SETTING_SIZE,   /* bytes; "auto" and "none" as for max_bytes */
	CM_SETTING_QUOTAS, /* each value adds to the list */
};

struct cm_choice {
	const char *word; /* NULL ends the list */
	int value;
};

struct cm_setting {
	const char *name;
	enum cm_setting_kind kind;
	size_t offset;	  /* of the member in struct cm_config */
	int64_t min, max; /* of a count, of milliseconds, of bytes */
	const struct cm_choice *choices;
	const char *initial; /* text of the default; NULL: none */
	const char *operand; /* in the help text */
	const char *help;
};

extern const struct cm_setting cm_settings[];
extern const size_t cm_settings_len;

/* Finds a setting by its name; NULL if there is none. */
const struct cm_setting *cm_setting_find(const char *name);

/* The setting whose name is within two edits of `name`, or NULL. */
const struct cm_setting *cm_setting_near(const char *name);

/*
 * Parses `value` into the setting's member. The message says what would do,
 * without naming the place: the caller wraps it.
 */
int cm_setting_apply(const struct cm_setting *s, const char *value,
		     struct cm_config *config, struct cm_error *err);

/* Adds to the quotas: one for a scope that has one replaces it. */
int cm_setting_apply_quotas(const char *value, struct cm_config *c,
			    struct cm_error *err);

/* Frees them. */
void cm_quotas_release(struct cm_config *c);

#endif
