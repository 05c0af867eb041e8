/* faces.h - the faces that faces.c puts into its table. */
#ifndef CM_FACES_FACES_H
#define CM_FACES_FACES_H

#include "request.h"

extern const struct cm_face cm_api_face;
extern const struct cm_face cm_metrics_face;
extern const struct cm_face cm_oci_face;

#endif
