/*
 * cmd.h - what cachemountd does when its first word is a verb: fsck, backup,
 * rebuild, on a data folder that no server has.
 */
#ifndef CM_SERVER_CMD_H
#define CM_SERVER_CMD_H

#include <stdbool.h>

#include "server.h"

/* What the words behind the verb say. Borrowed from argv. */
struct cm_cmd_args {
	const char *data;   /* NULL: as the server's settings have it */
	const char *config; /* the server's configuration file, or NULL */
	const char *from;   /* --from: a backup */
	bool read_data;
	bool repair;
	bool empty;
	bool force;
	bool help;
	const char *operand; /* NULL: none */
};

struct cm_cmd {
	const char *name;
	const char *options; /* which of them it takes, by letter (cmd.c) */
	bool operand;	     /* it needs one */
	const char *help;
	enum cm_exit (*run)(const struct cm_cmd_args *args, const char *data,
			    struct cm_error *err);
};

/* The verb of that name, or NULL. */
const struct cm_cmd *cm_cmd_find(const char *name);

/*
 * Reads the words behind the verb `argv[0]`. CM_ERR_INVALID with a message for
 * a wrong use.
 */
int cm_cmd_parse(const struct cm_cmd *cmd, int argc, char *const argv[],
		 struct cm_cmd_args *ret, struct cm_error *err);

/* Runs a verb; tells of a failure on stderr. The program's exit status. */
enum cm_exit cm_cmd_main(const struct cm_cmd *cmd, int argc,
			 char *const argv[]);

/* Adds a way out to a failure's message. */
void cm_cmd_hint(struct cm_error *err, const char *fmt, ...) CM_PRINTF(2, 3);

/* The exit status for a failure of a data folder. */
enum cm_exit cm_exit_of(enum cm_status status);

/* The verbs. */
enum cm_exit cm_cmd_fsck(const struct cm_cmd_args *args, const char *data,
			 struct cm_error *err);
enum cm_exit cm_cmd_backup(const struct cm_cmd_args *args, const char *data,
			   struct cm_error *err);
enum cm_exit cm_cmd_rebuild(const struct cm_cmd_args *args, const char *data,
			    struct cm_error *err);

#endif
