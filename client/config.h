/*
 * config.h - the client's settings, and where each came from: flag, then
 * environment (CACHEMOUNT_*), then the user's file, then the system's.
 */
#ifndef CM_CLIENT_CONFIG_H
#define CM_CLIENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

enum cm_setting {
	CM_SET_SERVER,
	CM_SET_SCOPE,
	CM_SET_FALLBACK,
	CM_SET_TOKEN_FILE,
	CM_SET_CA_FILE,
	CM_SET_CONNECT_TIMEOUT,
	CM_SET_STALL_TIMEOUT,
	CM_SET_JOBS,
	CM_SET_STRICT,
	CM_SETTINGS_LEN,
};

/* One setting's name and meaning; `name` as in files ("token-file"). */
struct cm_setting_info {
	const char *name;
	const char *argument; /* for --help; NULL: a switch */
	const char *fallback; /* used when nobody sets it; NULL: none */
	const char *help;
};

extern const struct cm_setting_info cm_settings[CM_SETTINGS_LEN];

#define CM_FALLBACKS_MAX 16

struct cm_config {
	char *values[CM_SETTINGS_LEN];
	char *origins[CM_SETTINGS_LEN]; /* "flag", "environment CACHE…", … */

	/* The same, read and checked by cm_config_finish(). */
	int64_t connect_ms, stall_ms;
	unsigned jobs; /* 0: chosen */
	bool strict;
	char *fallback_scopes[CM_FALLBACKS_MAX];
	size_t fallbacks_len;

	char *token; /* by cm_config_token(): NULL if there is none */
};

/* Sets one value; later calls do not replace it. Copies both texts. */
int cm_config_set(struct cm_config *c, enum cm_setting which, const char *value,
		  const char *origin, struct cm_error *err);

/*
 * Fills what flags left open from environment, files and built-in values, and
 * checks all. CM_ERR_INVALID with a message that names the setting, where it
 * stands and the fix. Once only.
 */
int cm_config_finish(struct cm_config *c, struct cm_error *err);

/*
 * Reads the token file that the settings name, if they do. Fails if it can't
 * be read or is empty, with a message that names it.
 */
int cm_config_token(struct cm_config *c, struct cm_error *err);

/*
 * Reads the settings of an INI text; `origin` is the file's name. Exposed for
 * the fuzz target.
 */
int cm_config_read(struct cm_config *c, const char *text, const char *origin,
		   struct cm_error *err);

/* Frees what the struct holds. */
void cm_config_release(struct cm_config *c);

#endif
