/*
 * offline.h - a data folder without a server: locked, its index open on
 * request, nothing running in the background. Private to storage/.
 */
#ifndef CM_OFFLINE_H
#define CM_OFFLINE_H

#include "store_private.h"

/*
 * Locks a data folder and makes a store of it that has no index yet.
 * CM_ERR_NOT_FOUND if it is no data folder, CM_ERR_BUSY if it is in use. Caller
 * frees with cm_offline_close().
 */
int cm_offline_open(const char *data_dir, struct cm_store **ret,
		    struct cm_error *err);
void cm_offline_close(struct cm_store *s);

CM_DEFINE_CLEANUP(offline, struct cm_store, cm_offline_close);

enum cm_offline_mode {
	CM_OFFLINE_CURRENT, /* refuses (CM_ERR_UNSUPPORTED) an older schema */
	CM_OFFLINE_MIGRATE, /* migrates it */
};

/* Opens the index of the folder. CM_ERR_CORRUPT if it is gone or damaged. */
int cm_offline_open_index(struct cm_store *s, enum cm_offline_mode mode,
			  struct cm_error *err);

/* Opens another file as its index, migrating it, and making it if absent. */
int cm_offline_open_index_at(struct cm_store *s, const char *path,
			     struct cm_error *err);

/*
 * The checks of cm_check() on an offline store whose index is open. With
 * `keep_files`, files that no row names stay though the rest be repaired.
 */
int cm_check_store(struct cm_store *s, const struct cm_check_options *options,
		   bool keep_files, struct cm_check_result *ret,
		   struct cm_error *err);

#endif
