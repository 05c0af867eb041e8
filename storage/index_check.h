/*
 * index_check.h - the index against itself: what each count should be by a
 * recount. Private to storage/.
 */
#ifndef CM_INDEX_CHECK_H
#define CM_INDEX_CHECK_H

#include "index.h"

/* Told of each thing that is wrong; it has been mended if that was asked. */
typedef void (*cm_table_fn)(void *arg, const char *kind, const char *text,
			    bool mended);

/*
 * Compares references, counts and totals with a recount, and with `repair` sets
 * them right. For a connection that nobody else writes beside. Takes time and
 * temporary space with the number of rows.
 */
int cm_index_check_tables(struct cm_db *db, bool repair, cm_table_fn fn,
			  void *arg, struct cm_error *err);

/* The sums for a report. */
int cm_index_count(struct cm_db *db, int64_t *ret_tags, int64_t *ret_blobs,
		   struct cm_error *err);

#endif
