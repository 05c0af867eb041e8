/*
 * stats_view.h - the answer of GET /api/v1/stats as a person reads it: tables
 * on stdout. What the answer does not have is left out.
 */
#ifndef CM_CLIENT_STATS_VIEW_H
#define CM_CLIENT_STATS_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What was asked of the cache, and what moved. */
struct cm_traffic {
	int64_t hits; /* of lookups to read */
	int64_t misses;
	int64_t errors;
	int64_t spared; /* asked for before an upload, and there */
	int64_t needed; /* and not there */
	int64_t served; /* bytes of bodies, on the wire */
	int64_t uploaded;
};

/* Adds a "kinds" object of the history. NULL is legal. */
void cm_traffic_add(struct cm_traffic *t, const json_t *kinds);

/* The sum of the days of the last `span` days, today included. */
struct cm_traffic cm_traffic_of_days(const json_t *days, int64_t span);

#define CM_RATE_TEXT_SIZE 16

/* "93.1 %" of `part` in `whole`, or "-" where that is nothing. Returns out. */
const char *cm_rate_format(int64_t part, int64_t whole,
			   char out[static CM_RATE_TEXT_SIZE]);

#define CM_COUNT_SIZE 24

/* A number as text. Returns out. */
const char *cm_count_format(int64_t n, char out[static CM_COUNT_SIZE]);

/* Prints all of it. False if memory ran out or stdout failed. */
bool cm_stats_print(const json_t *stats);

/* The part about the store (stats_store.c): what it holds, its limit, what
 * went. */
bool cm_stats_print_store(const json_t *stats);

#endif
