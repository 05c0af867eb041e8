/*
 * schema.h - the index's tables, and their migrations. Private to storage/.
 */
#ifndef CM_SCHEMA_H
#define CM_SCHEMA_H

#include "index_db.h"

/*
 * Brings the index to the newest schema, one transaction a step.
 * CM_ERR_UNSUPPORTED if a newer cachemount wrote it.
 */
int cm_schema_migrate(struct cm_db *db, struct cm_error *err);

/* Is it at the newest schema? */
int cm_schema_is_current(struct cm_db *db, bool *ret, struct cm_error *err);

#endif
