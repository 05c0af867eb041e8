/* metrics_text.c - the exposition format, line by line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "faces/metrics_text.h"

#define LABELS_MAX	14 /* names and values, with the NULL */
#define MILLIONTHS_SIZE 32
#define FIRST_CAPACITY	16384

static bool make_room(struct cm_metrics_text *t, size_t len)
{
	size_t wanted = t->capacity ? t->capacity : FIRST_CAPACITY;
	char *grown;

	if (t->failed)
		return false;
	while (wanted - t->len < len)
		wanted *= 2;
	if (wanted == t->capacity)
		return true;
	grown = realloc(t->bytes, wanted);
	if (!grown) {
		t->failed = true;
		return false;
	}
	t->bytes = grown;
	t->capacity = wanted;
	return true;
}

static void put(struct cm_metrics_text *t, const char *text, size_t len)
{
	if (!make_room(t, len))
		return;
	memcpy(t->bytes + t->len, text, len);
	t->len += len;
}

static void put_text(struct cm_metrics_text *t, const char *text)
{
	put(t, text, strlen(text));
}

/* A label's value: backslash, quote and newline have an escape. */
static void put_escaped(struct cm_metrics_text *t, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			put(t, "\\n", 2);
		else if (*value == '"' || *value == '\\')
			put(t, (const char[]){'\\', *value}, 2);
		else
			put(t, value, 1);
	}
}

static void put_labels(struct cm_metrics_text *t, const char *const *labels)
{
	if (!labels || !labels[0])
		return;
	for (size_t i = 0; labels[i]; i += 2) {
		put(t, i > 0 ? "," : "{", 1);
		put_text(t, labels[i]);
		put(t, "=\"", 2);
		put_escaped(t, labels[i + 1]);
		put(t, "\"", 1);
	}
	put(t, "}", 1);
}

static void put_sample(struct cm_metrics_text *t, const char *suffix,
		       const char *const *labels, const char *value)
{
	put_text(t, t->family);
	put_text(t, suffix);
	put_labels(t, labels);
	put(t, " ", 1);
	put_text(t, value);
	put(t, "\n", 1);
}

/* "0.0005", "1.0": the shortest form that shows a fraction. */
static const char *millionths(int64_t value, char out[static MILLIONTHS_SIZE])
{
	size_t len;

	snprintf(out, MILLIONTHS_SIZE, "%s%" PRIu64 ".%06" PRIu64,
		 value < 0 ? "-" : "", (uint64_t)llabs(value) / 1000000,
		 (uint64_t)llabs(value) % 1000000);
	for (len = strlen(out); out[len - 1] == '0' && out[len - 2] != '.';)
		out[--len] = '\0';
	return out;
}

/* Has an element of an Accept field the weight zero? */
static bool refused(const char *element, size_t len)
{
	const char *q = memmem(element, len, "q=0", 3);

	if (!q)
		return false;
	q += 3 + strspn(q + 3, "0.");
	return *q < '1' || *q > '9';
}

bool cm_metrics_wants_openmetrics(const char *accept)
{
	static const char type[] = "application/openmetrics-text";
	const char *at = accept;
	size_t len;

	while (at && *at) {
		at += strspn(at, ", \t");
		len = strcspn(at, ",");
		if (strcspn(at, ",; \t") == sizeof(type) - 1 &&
		    strncasecmp(at, type, sizeof(type) - 1) == 0)
			return !refused(at, len);
		at += len;
	}
	return false;
}

void cm_metrics_family(struct cm_metrics_text *t, const char *name,
		       const char *type, const char *help)
{
	size_t len = strlen(name);

	if (t->openmetrics && strcmp(type, "counter") == 0)
		len -= strlen("_total");
	t->family = name;
	put_text(t, "# HELP ");
	put(t, name, len);
	put(t, " ", 1);
	put_text(t, help);
	put_text(t, "\n# TYPE ");
	put(t, name, len);
	put(t, " ", 1);
	put_text(t, type);
	put(t, "\n", 1);
}

void cm_metrics_sample(struct cm_metrics_text *t, const char *const *labels,
		       int64_t value)
{
	char text[MILLIONTHS_SIZE];

	snprintf(text, sizeof(text), "%" PRId64, value);
	put_sample(t, "", labels, text);
}

void cm_metrics_gauge(struct cm_metrics_text *t, const char *name,
		      int64_t value, const char *help)
{
	cm_metrics_family(t, name, "gauge", help);
	cm_metrics_sample(t, NULL, value);
}

void cm_metrics_millionths(struct cm_metrics_text *t, const char *const *labels,
			   int64_t value)
{
	char text[MILLIONTHS_SIZE];

	put_sample(t, "", labels, millionths(value, text));
}

void cm_metrics_histogram(struct cm_metrics_text *t, const char *const *labels,
			  const int64_t *bounds, const int64_t *counts,
			  size_t n, int64_t sum)
{
	char bound[MILLIONTHS_SIZE], value[MILLIONTHS_SIZE];
	const char *with_bound[LABELS_MAX] = {NULL};
	int64_t total = 0;
	size_t at = 0;

	while (labels[at] && at + 4 < LABELS_MAX) {
		with_bound[at] = labels[at];
		with_bound[at + 1] = labels[at + 1];
		at += 2;
	}
	with_bound[at] = "le";
	for (size_t i = 0; i <= n; i++) {
		total += counts[i];
		with_bound[at + 1] =
			i < n ? millionths(bounds[i], bound) : "+Inf";
		snprintf(value, sizeof(value), "%" PRId64, total);
		put_sample(t, "_bucket", with_bound, value);
	}
	put_sample(t, "_count", labels, value);
	put_sample(t, "_sum", labels, millionths(sum, value));
}

int cm_metrics_text_end(struct cm_metrics_text *t, struct cm_error *err)
{
	if (t->openmetrics)
		put_text(t, "# EOF\n");
	return t->failed ? cm_error_nomem(err) : 0;
}
