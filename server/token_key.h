/*
 * token_key.h - the key that access tokens are sealed with, kept in the data
 * folder so that a restart doesn't void the tokens of builds under way.
 */
#ifndef CM_SERVER_TOKEN_KEY_H
#define CM_SERVER_TOKEN_KEY_H

#include "access.h"

/*
 * Reads the key of a data folder, or makes one. The caller must be the only one
 * that has the folder. A file of another length is replaced. On failure the
 * caller may go on without.
 */
int cm_token_key_load(const char *data_dir,
		      uint8_t ret[static CM_ACCESS_KEY_LEN],
		      struct cm_error *err);

#endif
