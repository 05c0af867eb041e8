/* server.h - the daemon as a whole: opened, run until a signal, closed. */
#ifndef CM_SERVER_SERVER_H
#define CM_SERVER_SERVER_H

#include <cachemount/error.h>

#include "config.h"

/* The program's exit statuses, as its manual page tells them. */
enum cm_exit {
	CM_EXIT_OK = 0,
	CM_EXIT_FAILURE = 1,  /* anything else */
	CM_EXIT_USAGE = 2,    /* bad option, setting or token file */
	CM_EXIT_DATA = 3,     /* data folder missing, full or unwritable */
	CM_EXIT_BUSY = 4,     /* another cachemountd has the data folder */
	CM_EXIT_LISTEN = 5,   /* the address cannot be had */
	CM_EXIT_CORRUPT = 6,  /* the index is damaged */
	CM_EXIT_TOO_NEW = 7,  /* a newer version wrote the data folder */
	CM_EXIT_FINDINGS = 8, /* fsck: harmful findings are left */
};

/*
 * Serves until SIGTERM or SIGINT, then drains. On failure `err` has one line
 * for the user.
 */
enum cm_exit cm_server_run(const struct cm_config *config,
			   struct cm_error *err);

/*
 * Asks the server that `config` describes whether it is ready: CM_EXIT_OK, or
 * CM_EXIT_FAILURE with the reason. Takes SIGALRM and ends the process with
 * CM_EXIT_FAILURE when it has no answer within seconds.
 */
enum cm_exit cm_healthcheck(const struct cm_config *config,
			    struct cm_error *err);

/*
 * Makes a token: prints the secret to stdout, once, and appends its line to
 * config->token_file, or prints it to stderr.
 */
enum cm_exit cm_new_token(const struct cm_config *config, struct cm_error *err);

#endif
