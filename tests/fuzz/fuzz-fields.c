/*
 * fuzz-fields.c - header fields and query arguments that clients send.
 *
 * The first byte picks a size, the rest is given to every parser. What each
 * promises is checked: a range lies within its size, a list of tags that has
 * been read to its end was made of its members, a copy is part of its source.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "faces/fields.h"
#include "faces/metrics_text.h"

#define INPUT_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_range(const char *text, int64_t size)
{
	int64_t offset = -1, len = -1;

	if (cm_field_range(text, size, &offset, &len) != CM_RANGE_PART)
		return;
	assert(offset >= 0 && len > 0);
	assert(offset <= size - len);
}

static void check_chunk_range(const char *text)
{
	int64_t first = -1, last = -1;
	struct cm_error err = {0};

	if (cm_field_chunk_range(text, &first, &last, &err) < 0) {
		assert(err.status == CM_ERR_INVALID && err.text[0]);
		return;
	}
	assert(first >= 0 && first <= last && last < INT64_MAX);
	assert(strspn(text, "0123456789-") == strlen(text));
}

/* Every tag of a good list matches it; strongly unless it is weak. */
static void check_etags(const char *text)
{
	struct cm_error err = {0};
	const char *cursor = text, *end = text + strlen(text);
	char tag[INPUT_MAX + 1];
	struct cm_etag e;
	int good = cm_field_etag_match(text, NULL, CM_ETAG_WEAK, &err);

	assert(good == 0 || err.status == CM_ERR_INVALID);
	while (cm_field_etag_next(&cursor, &e) > 0) {
		assert(cursor <= end);
		if (e.any)
			continue;
		assert(e.text > text && e.text + e.len < end);
		memcpy(tag, e.text, e.len);
		tag[e.len] = '\0';
		if (good < 0)
			continue;
		assert(cm_field_etag_match(text, tag, CM_ETAG_WEAK, NULL) == 1);
		if (!e.weak)
			assert(cm_field_etag_match(text, tag, CM_ETAG_STRONG,
						   NULL) == 1);
		if (cm_field_if_range(text, tag))
			assert(!e.weak);
	}
}

static void check_rest(const char *text)
{
	char type[CM_MEDIA_TYPE_SIZE];
	enum cm_encoding coding;
	int64_t n;

	if (cm_field_coding(text, &coding, NULL) == 0)
		assert(coding == CM_ENCODING_IDENTITY ||
		       strlen(text) == strlen("zstd"));
	if (cm_field_media_type(text, type))
		assert(type[0] && strstr(text, type));
	if (cm_field_count("n", text, 1000, &n, NULL) == 0)
		assert(n >= 0 && n <= 1000);
	if (cm_metrics_wants_openmetrics(text))
		assert(strcasestr(text, "application/openmetrics-text"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t sizes[] = {0, 1, 10, 1000, 1LL << 40, INT64_MAX};
	char text[INPUT_MAX + 1];

	if (size == 0 || size > INPUT_MAX)
		return -1;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	check_range(text, sizes[data[0] % (sizeof(sizes) / sizeof(sizes[0]))]);
	check_chunk_range(text);
	check_etags(text);
	check_rest(text);
	return 0;
}
