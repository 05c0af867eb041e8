/* gc.c - a collection on demand: all that is due, now. */
#include <string.h>

#include <cachemount/units.h>

#include "store_private.h"

#define GC_MS 30000

static void add_swept(struct cm_sweep_result *sum,
		      const struct cm_sweep_result *part)
{
	sum->uploads += part->uploads;
	sum->manifests += part->manifests;
	sum->blobs += part->blobs;
	sum->bytes += part->bytes;
	sum->more = part->more;
}

/* Sweeps until nothing is due, or the time is up. */
static int sweep_all(struct cm_store *s, int64_t until_ms,
		     struct cm_sweep_result *sum, struct cm_error *err)
{
	struct cm_sweep_result part = {0};
	int r;

	do {
		r = cm_store_sweep(s, &part, err);
		if (r == 0)
			add_swept(sum, &part);
	} while (r == 0 && part.more && cm_monotonic_ms() < until_ms);
	return r;
}

int cm_store_gc(struct cm_store *s, struct cm_gc_result *ret,
		struct cm_error *err)
{
	int64_t until = cm_monotonic_ms() + GC_MS;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = sweep_all(s, until, &ret->swept, err);
	if (r == 0)
		r = cm_evictor_collect(s->evictor, until, &ret->evicted, err);
	ret->more = cm_monotonic_ms() >= until;
	return r;
}
