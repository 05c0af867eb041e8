/* metrics_process.h - figures of the process, as Prometheus clients name them.
 */
#ifndef CM_FACES_METRICS_PROCESS_H
#define CM_FACES_METRICS_PROCESS_H

#include "faces/metrics_text.h"

/*
 * Memory, descriptors, processor time and start. What the system does not tell
 * is left out. Reads /proc: not for a network thread.
 */
void cm_metrics_process(struct cm_metrics_text *t, int64_t started_ms);

#endif
