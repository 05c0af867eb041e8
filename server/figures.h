/*
 * figures.h - the port of --metrics-listen: /metrics and the probes, for
 * everyone who can reach it, and nothing else.
 */
#ifndef CM_SERVER_FIGURES_H
#define CM_SERVER_FIGURES_H

#include <cachemount/error.h>

#include "http/http.h"

struct cm_figures;

/*
 * Listens on `address` ("ADDR:PORT") and tells of `main`, an engine that was
 * started with `options`; both are borrowed until cm_figures_stop(). With port
 * 0 the one that was picked is logged. On failure nothing is left behind.
 */
int cm_figures_start(const char *address, const struct cm_http_options *options,
		     struct cm_http *main, struct cm_figures **ret,
		     struct cm_error *err);

/* As cm_http_stop(): the workers must have stopped. NULL is legal. */
void cm_figures_stop(struct cm_figures *f);

#endif
