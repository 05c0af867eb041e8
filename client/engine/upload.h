/*
 * upload.h - chunks on their way to the registry: one thread fills buffers,
 * several hash them, ask which are missing, and send those.
 *
 * Memory is bounded by the buffers, and so is everything that waits.
 */
#ifndef CM_ENGINE_UPLOAD_H
#define CM_ENGINE_UPLOAD_H

#include <stddef.h>
#include <stdint.h>

#include <cachemount/cleanup.h>
#include <cachemount/error.h>

#include "job.h"
#include "tree.h"

struct cm_upload;

/*
 * Starts the workers, each with a connection; chunks have at most `chunk_max`
 * bytes. Caller frees with cm_upload_free().
 */
int cm_upload_start(struct cm_job *j, size_t chunk_max, struct cm_upload **ret,
		    struct cm_error *err);

/*
 * Gives up what still waits, ends the workers and frees. After
 * cm_upload_finish() there is nothing left to give up.
 */
void cm_upload_free(struct cm_upload *u);

CM_DEFINE_CLEANUP(upload, struct cm_upload, cm_upload_free);

/*
 * A buffer of `chunk_max` bytes, which goes back with cm_upload_submit() or
 * cm_upload_return(). Waits for one. NULL once a worker has failed, of which
 * cm_upload_finish() tells. A caller may hold three.
 */
uint8_t *cm_upload_buffer(struct cm_upload *u);
void cm_upload_return(struct cm_upload *u, uint8_t *buffer);

/*
 * Hands a chunk of `len` bytes over. Returns its number, counted from 0 in the
 * order of submission.
 */
uint32_t cm_upload_submit(struct cm_upload *u, uint8_t *buffer, size_t len);

/*
 * Waits until all chunks are at the registry. Writes them in order to
 * `*ret`, which the caller frees.
 */
int cm_upload_finish(struct cm_upload *u, struct cm_chunk **ret, size_t *ret_n,
		     struct cm_error *err);

#endif
