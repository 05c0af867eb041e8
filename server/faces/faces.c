/*
 * faces.c - the table of faces. A new face is a row here, a line in
 * meson.build and its own files.
 */
#include "faces/faces.h"

/* In order of name. */
const struct cm_face *const cm_faces[] = {
	&cm_api_face,
	&cm_metrics_face,
	&cm_oci_face,
};

const size_t cm_faces_len = sizeof(cm_faces) / sizeof(cm_faces[0]);
