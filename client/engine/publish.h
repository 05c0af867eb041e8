/*
 * publish.h - putting a tree under its tag, whoever else does so at once.
 */
#ifndef CM_ENGINE_PUBLISH_H
#define CM_ENGINE_PUBLISH_H

#include <cachemount/digest.h>
#include <cachemount/error.h>

#include "job.h"
#include "state.h"
#include "tree.h"

struct cm_connection;

/* What the tag names, as far as we know. */
struct cm_tag_state {
	bool exists;
	struct cm_digest digest;
	const struct cm_tree *tree; /* NULL: it holds nothing usable */
	struct cm_tree *fetched;    /* `tree`, if it is to be freed */
};

void cm_tag_state_release(struct cm_tag_state *t);

/*
 * Asks what the tag names; with `base` not NULL and still named, its tree is
 * taken. A snapshot that is refused or has lost its tree holds nothing usable,
 * is warned about, and may be replaced. CM_ERR_UNSUPPORTED if the tag names
 * something else than a snapshot.
 */
int cm_tag_ask(struct cm_job *j, struct cm_connection *c,
	       const struct cm_state *base, struct cm_tag_state *ret,
	       struct cm_error *err);

/*
 * Publishes `ours`, all of whose chunks are at the registry. While the tag
 * is moved by others, merges their tree with ours against `base` (NULL: no
 * common past) and tries again, a bounded number of times. `tag` is what is
 * known of the tag; it is updated. `*ret` is the new state of the mount, its
 * strings borrowed from `ours` and `tag`.
 *
 * CM_ERR_BUSY if others were faster every time. With the result's `skipped`
 * set, nothing was published, and `*ret` is NULL.
 */
int cm_publish(struct cm_job *j, struct cm_connection *c,
	       const struct cm_state *base, const struct cm_state *ours,
	       struct cm_tag_state *tag, struct cm_state **ret,
	       struct cm_error *err);

#endif
