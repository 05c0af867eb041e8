/*
 * output.h - how cachectl speaks: data on stdout, messages and progress on
 * stderr; bars only on a terminal and only for work over a second.
 */
#ifndef CM_CLIENT_OUTPUT_H
#define CM_CLIENT_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cachemount/error.h>

#include "snapshot.h"

/* A line on stderr, "cachectl: …". Wipes a bar first. Any thread. */
void cm_say(const char *fmt, ...) CM_PRINTF(1, 2);

/* "1 file", "2 files": for cm_say() and printf(). Returns `out`. */
#define CM_COUNT_TEXT_SIZE 48
const char *cm_count(int64_t n, const char *one,
		     char out[static CM_COUNT_TEXT_SIZE]);

/* Text as a person may see it: controls and what is not UTF-8 as \xHH. */
void cm_print_escaped(FILE *f, const char *text);

/* Bars are drawn from now on, if stderr is a terminal that can. */
void cm_bars_enable(bool wanted);

/* A cm_progress_fn; `arg` is not used. */
void cm_bar_update(void *arg, const struct cm_progress *p);

/* Wipes the bar: the work is done. */
void cm_bar_end(void);

/* JSON on stdout, one line. 0, or CM_ERR_IO if stdout is closed or full. */
int cm_print_json(const json_t *value);

/* ---- tables ------------------------------------------------------------ */

#define CM_COLUMNS_MAX 8

struct cm_table;

/*
 * A table of `n` columns; a heading that starts with ">" is right-aligned.
 * NULL when out of memory, which the other calls accept.
 */
struct cm_table *cm_table_new(const char *const *headings, size_t n);

/* Adds a row of `n` texts; control characters are shown as "?". */
void cm_table_row(struct cm_table *t, const char *const *cells);

/* Frees without printing; NULL is legal. */
void cm_table_free(struct cm_table *t);

/* Prints to stdout and frees. False if memory ran out or stdout failed. */
bool cm_table_print(struct cm_table *t);

#endif
