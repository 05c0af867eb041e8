/* metrics_store.h - figures of the store. */
#ifndef CM_FACES_METRICS_STORE_H
#define CM_FACES_METRICS_STORE_H

#include <cachemount/store.h>

#include "faces/metrics_text.h"

/*
 * What it holds, how full it is, what went and why. Reads the index: not for a
 * network thread.
 */
int cm_metrics_store(struct cm_metrics_text *t, struct cm_store *s,
		     struct cm_error *err);

#endif
