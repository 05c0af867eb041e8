/*
 * metrics_text.h - writing figures as Prometheus and OpenMetrics read them.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ (0.0.4) and
 * OpenMetrics 1.0. The two differ here in three things: OpenMetrics calls a
 * counter's family by the name without "_total", ends with "# EOF", and has a
 * media type of its own.
 *
 * A family is begun with cm_metrics_family(); samples of it follow. Running out
 * of memory is noted and told by cm_metrics_text_end().
 */
#ifndef CM_FACES_METRICS_TEXT_H
#define CM_FACES_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cachemount/error.h>

#define CM_METRICS_TEXT_0_0_4 "text/plain; version=0.0.4; charset=utf-8"
#define CM_METRICS_OPENMETRICS                                                 \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Starts as all zeroes but `openmetrics`; the caller frees `bytes`. */
struct cm_metrics_text {
	char *bytes;
	size_t len;
	size_t capacity;
	bool openmetrics;
	bool failed;
	const char *family; /* the present one, with any "_total" */
};

/* Does an Accept field's value (NULL: none) ask for OpenMetrics? */
bool cm_metrics_wants_openmetrics(const char *accept);

/*
 * Begins a family. `type` is "counter", whose name ends in "_total", "gauge" or
 * "histogram". Both strings are borrowed until the next family.
 */
void cm_metrics_family(struct cm_metrics_text *t, const char *name,
		       const char *type, const char *help);

/* A gauge of one sample without labels. */
void cm_metrics_gauge(struct cm_metrics_text *t, const char *name,
		      int64_t value, const char *help);

/*
 * A sample of the present family. `labels` is names and values in turns, ended
 * by NULL; or NULL. Values may be any text: they are escaped.
 */
void cm_metrics_sample(struct cm_metrics_text *t, const char *const *labels,
		       int64_t value);

/* The same, of a value in millionths: microseconds become seconds. */
void cm_metrics_millionths(struct cm_metrics_text *t, const char *const *labels,
			   int64_t value);

/*
 * The samples of a histogram of microseconds, in seconds: `n` buckets with
 * these bounds, and one more without. `counts` are of each bucket alone. At
 * most six labels.
 */
void cm_metrics_histogram(struct cm_metrics_text *t, const char *const *labels,
			  const int64_t *bounds, const int64_t *counts,
			  size_t n, int64_t sum);

/* Ends the text: 0 or CM_ERR_NO_MEMORY. */
int cm_metrics_text_end(struct cm_metrics_text *t, struct cm_error *err);

#endif
