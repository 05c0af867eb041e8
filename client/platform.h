/*
 * platform.h - what the environment that a command runs in is called: the
 * default tag of a snapshot (design §7).
 *
 *	linux-<arch>-glibc<major>.<minor>
 *	linux-<arch>-musl<major>.<minor>
 *	linux-<arch>			no C library was found
 *
 * <arch> is OCI's name (amd64, arm64, …). The C library is that of the file
 * system, found by looking at it: this program brings its own.
 */
#ifndef CM_CLIENT_PLATFORM_H
#define CM_CLIENT_PLATFORM_H

#include <cachemount/names.h>

/* Writes the platform of the file system below `root` ("/" as a rule). */
void cm_platform_tag(const char *root, char out[static CM_TAG_MAX + 1]);

#endif
