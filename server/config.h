/*
 * config.h - the daemon's settings: flags > environment > file > default.
 *
 * Every setting has one name, "max-connections", and three spellings:
 * --max-connections=N, CACHEMOUNT_MAX_CONNECTIONS=N and, in the file of
 * --config, `max-connections = N`. One table (config_table.c) makes all three,
 * and the help text.
 *
 * A list (quota) may be given several times; each adds to it, and the one that
 * wins for a scope is the last, in the order above.
 *
 * An unknown or doubled key, or a bad value, is CM_ERR_INVALID with a message
 * that names the place and the way out. In the environment only a name close to
 * a real one is an error: others with the prefix belong to the client, or are
 * what Kubernetes injects for a service called "cachemount"
 * (CACHEMOUNT_PORT=tcp://…, CACHEMOUNT_SERVICE_HOST), and are never read.
 */
#ifndef CM_SERVER_CONFIG_H
#define CM_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cachemount/error.h>
#include <cachemount/store.h>

#include "log.h"

/* What the command line asks the program to do. */
enum cm_mode {
	CM_MODE_SERVE,
	CM_MODE_HEALTHCHECK,
	CM_MODE_NEW_TOKEN,
	CM_MODE_HELP,
	CM_MODE_VERSION,
};

struct cm_config {
	enum cm_mode mode;
	char *data;
	char *listen;
	char *metrics_listen; /* NULL: no port of their own */
	char *token_file;     /* NULL: none */
	unsigned anonymous;   /* of enum cm_permission */
	bool anonymous_set;
	char *public_url;  /* without a slash at the end; NULL: not said */
	int64_t max_bytes; /* as in struct cm_store_options */
	int64_t high_percent;
	int64_t low_percent;
	struct cm_quota *quotas;
	size_t quotas_len;
	int64_t workers;
	int64_t max_connections;
	int64_t lease_ms;
	int64_t upload_ttl_ms;
	int64_t drain_timeout_ms;
	int64_t scrub_rate; /* bytes a second; 0: off */
	int64_t scrub_every_ms;
	int64_t backup_every_ms; /* 0: off */
	int64_t backup_keep;
	enum cm_log_format log_format;
	enum cm_log_level log_level;
	bool access_log;
	char *new_token; /* the name, in CM_MODE_NEW_TOKEN */
	char *permissions;
	char *pattern;
};

/*
 * Reads all three sources. `environment` is a NULL-ended list of NAME=VALUE.
 * Caller releases.
 */
int cm_config_load(int argc, char *const argv[], char *const environment[],
		   struct cm_config *ret, struct cm_error *err);

/* Frees what the struct holds and zeroes it. */
void cm_config_release(struct cm_config *c);

/* Writes the help text. */
void cm_config_help(FILE *out);

/*
 * Applies the text of a configuration file (`name` is for messages) to
 * `config`, which has the defaults. For cm_config_load(), tests and fuzzing.
 */
int cm_config_parse_file(const char *text, size_t len, const char *name,
			 struct cm_config *config, struct cm_error *err);

/* Fills in the defaults; release the config afterwards. */
int cm_config_defaults(struct cm_config *ret, struct cm_error *err);

#endif
