/*
 * inflight.h - digests whose bytes somebody is placing or removing. Private to
 * storage/.
 *
 * The rule that keeps index and files together: whoever renames a blob's file
 * into place, or unlinks it, holds the digest from before its check of the
 * index until after its commit. A publisher waits for its turn; the sweep
 * never waits, it takes another blob.
 */
#ifndef CM_INFLIGHT_H
#define CM_INFLIGHT_H

#include <stdbool.h>

#include <cachemount/digest.h>
#include <cachemount/error.h>

struct cm_inflight;

int cm_inflight_new(struct cm_inflight **ret, struct cm_error *err);
void cm_inflight_free(struct cm_inflight *f);

/* Holds a digest; lives on the holder's stack until it leaves. */
struct cm_inflight_entry {
	struct cm_digest digest;
	struct cm_inflight_entry *next;
};

/* Waits until nobody holds `d`, and holds it. */
void cm_inflight_enter(struct cm_inflight *f, struct cm_inflight_entry *e,
		       const struct cm_digest *d);

/* Holds `d` if nobody does. */
bool cm_inflight_try(struct cm_inflight *f, struct cm_inflight_entry *e,
		     const struct cm_digest *d);

void cm_inflight_leave(struct cm_inflight *f, struct cm_inflight_entry *e);

#endif
