/*
 * health.h - is the server alive, is it ready, and the routes that say so.
 *
 * /livez answers 200 as long as the program turns. /readyz (alias /health)
 * answers 503 when the server drains, when the store cannot take a write, or
 * when it has not answered that question for STUCK_MS. Both take no lock and
 * touch no disk: cm_health_check(), called by the upkeep thread, asks the
 * store and keeps the answer; about once a second while somebody asks for
 * /readyz, twice a minute otherwise.
 */
#ifndef CM_SERVER_HEALTH_H
#define CM_SERVER_HEALTH_H

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "request.h"

struct cm_health;
struct cm_store;

/* The server's life; it only moves forward. */
enum cm_phase {
	CM_PHASE_UP,
	CM_PHASE_DRAINING, /* not ready; replies close their connection */
	CM_PHASE_REFUSING, /* new requests but probes are answered 503 */
};

/* Caller frees. */
int cm_health_new(struct cm_health **ret, struct cm_error *err);

/* NULL is legal. */
void cm_health_free(struct cm_health *h);

CM_DEFINE_CLEANUP(health, struct cm_health, cm_health_free);

void cm_health_set_phase(struct cm_health *h, enum cm_phase phase);
enum cm_phase cm_health_phase(const struct cm_health *h);

/* Asks the store, if it is time to. BLOCKING; for one thread. */
void cm_health_check(struct cm_health *h, struct cm_store *store);

/* The routes, as a face that owns every path no other face has. */
extern const struct cm_face cm_health_face;

#endif
