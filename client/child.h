/*
 * child.h - running the build's command. One child at a time.
 */
#ifndef CM_CLIENT_CHILD_H
#define CM_CLIENT_CHILD_H

#include "remote.h"

/*
 * From now on SIGINT, SIGTERM and SIGHUP cancel `remote`'s traffic and, while
 * a child runs, are passed on to it, instead of ending this program.
 */
void cm_signals_take(struct cm_remote *remote);

/* Forgets the remote, which is about to be freed; signals stay taken. */
void cm_signals_detach(void);

/* The signal that came first, or 0. */
int cm_signals_caught(void);

/*
 * Runs `argv` (ended by NULL) and waits. Its exit status, 128 + signal if a
 * signal ended it, 126 or 127 if it could not be run. Where a signal came
 * before, nothing is run: 128 + that signal.
 */
int cm_child_run(char *const *argv);

#endif
