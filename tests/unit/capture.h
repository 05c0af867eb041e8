/*
 * capture.h - what a call prints to stdout or stderr, for tests of output.
 */
#ifndef CM_CAPTURE_H
#define CM_CAPTURE_H

#include <stdio.h>

/* Sends `stream` to a file of its own until capture_end(). One at a time. */
void capture_begin(FILE *stream);

/* What was printed meanwhile; caller frees. */
char *capture_end(void);

#endif
