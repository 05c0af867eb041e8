/*
 * fake_remote.h - a registry in memory, for tests of the snapshot engine:
 * implements remote.h, counts what it is asked, and fails when told to.
 */
#ifndef CM_FAKE_REMOTE_H
#define CM_FAKE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/digest.h>

#include "remote.h"

struct cm_remote *fake_remote_new(void);

enum fake_call {
	FAKE_MISSING,
	FAKE_BLOB_GET,
	FAKE_BLOB_PUT,
	FAKE_MANIFEST_GET,
	FAKE_MANIFEST_PUT,
	FAKE_CALLS
};

/* The `nth` call of that kind from now on, counted from 1, and every later
 * one fails with `status`; 0 ends that. */
void fake_remote_fail(struct cm_remote *r, enum fake_call call, int nth,
		      enum cm_status status);

/* How often a call was made. */
int fake_remote_calls(struct cm_remote *r, enum fake_call call);

/* Blobs' bytes taken in so far. */
int64_t fake_remote_stored(struct cm_remote *r);

/* Calls `fn` before every call of that kind; NULL: no more. */
void fake_remote_before(struct cm_remote *r, enum fake_call call,
			void (*fn)(void *), void *arg);

/* Drops a blob, or a tag, as an eviction would. */
void fake_remote_drop_blob(struct cm_remote *r, const struct cm_digest *d);
void fake_remote_drop_tag(struct cm_remote *r, const char *repo,
			  const char *tag);

/* Puts any bytes under their digest. */
void fake_remote_add_blob(struct cm_remote *r, const void *bytes, size_t len,
			  struct cm_digest *ret);

/* Puts any bytes under a tag, whatever they are. */
void fake_remote_add_manifest(struct cm_remote *r, const char *repo,
			      const char *tag, const void *bytes, size_t len);

#endif
