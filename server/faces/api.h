/* api.h - what the files of the administration face share. */
#ifndef CM_FACES_API_H
#define CM_FACES_API_H

#include <jansson.h>
#include <stdbool.h>

#include <cachemount/error.h>

#include "request.h"

extern const struct cm_handler cm_api_stats;
extern const struct cm_handler cm_api_repositories;
extern const struct cm_handler cm_api_tags;
extern const struct cm_handler cm_api_purge;
extern const struct cm_handler cm_api_verify;
extern const struct cm_handler cm_api_backup_get;
extern const struct cm_handler cm_api_backup_post;

/* How far the scrub is, and what backups there are (api.c). Caller decrefs. */
int cm_api_scrub_json(struct cm_store *store, json_t **ret,
		      struct cm_error *err);
int cm_api_backup_json(struct cm_store *store, json_t **ret,
		       struct cm_error *err);
extern const struct cm_handler cm_api_pin;
extern const struct cm_handler cm_api_gc;
extern const struct cm_handler cm_api_scopes;

/*
 * Checks that each key of `object` is among `fields`, which ends with NULL.
 * CM_ERR_INVALID names one that is not and the ones that are.
 */
int cm_api_known_fields(json_t *object, const char *const *fields,
			struct cm_error *err);

/*
 * Reads members of an object. An absent member or null leaves `*ret` as it
 * was; another type is CM_ERR_INVALID. Strings are borrowed from the object.
 */
int cm_api_string(const json_t *object, const char *key, const char **ret,
		  struct cm_error *err);
int cm_api_bool(const json_t *object, const char *key, bool *ret,
		struct cm_error *err);

/* The same for the name of a repository, which must be legal. */
int cm_api_repository(const json_t *object, const char *key, const char **ret,
		      struct cm_error *err);

/*
 * BLOCKING. The history of use as GET /api/v1/stats tells it, of the scopes
 * that the identity may pull all of. Caller decrefs.
 */
int cm_api_history(struct cm_request *r, json_t **ret, struct cm_error *err);

/*
 * CM_ERR_DENIED unless the identity may do `p` on `repo`; `word` is how the
 * message calls it.
 */
int cm_api_require(struct cm_request *r, enum cm_permission p, const char *word,
		   const char *repo, struct cm_error *err);

/*
 * May the identity do `p` on every repository beneath `prefix`, and on one of
 * that name? With "", on all there are or will be.
 */
bool cm_api_may_all(const struct cm_request *r, enum cm_permission p,
		    const char *prefix);

#endif
