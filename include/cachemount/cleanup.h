/*
 * cleanup.h - scoped cleanup, the project's one cleanup idiom.
 *
 *	cm_autofree char *name = NULL;
 *	cm_autofd int fd = -1;
 *
 * The variable is released when its scope ends, however it ends. Ownership
 * is handed on with cm_take_ptr() or cm_take_fd(), so that it shows. A type of
 * our own gets its macro with CM_DEFINE_CLEANUP() beside its prototypes.
 */
#ifndef CACHEMOUNT_CLEANUP_H
#define CACHEMOUNT_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Defines cm_cleanup_NAME(), which calls `release` on the pointed-to pointer.
 * Every release function in this project accepts NULL.
 */
#define CM_DEFINE_CLEANUP(name, type, release)                                 \
	static inline void cm_cleanup_##name(type **p)                         \
	{                                                                      \
		release(*p);                                                   \
	}                                                                      \
	struct cm_cleanup_##name##_semicolon

#define cm_auto(name) __attribute__((cleanup(cm_cleanup_##name)))

static inline void cm_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cm_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cm_cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cm_cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define cm_autofree __attribute__((cleanup(cm_cleanup_free)))
#define cm_autofd   __attribute__((cleanup(cm_cleanup_fd)))
#define cm_autofile __attribute__((cleanup(cm_cleanup_file)))
#define cm_autodir  __attribute__((cleanup(cm_cleanup_dir)))

/* Yields the pointer and leaves NULL behind: ownership has moved on. */
#define cm_take_ptr(p)                                                         \
	({                                                                     \
		__typeof__(p) cm_taken_ = (p);                                 \
		(p) = NULL;                                                    \
		cm_taken_;                                                     \
	})

/* Yields the descriptor and leaves -1 behind: ownership has moved on. */
static inline int cm_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
