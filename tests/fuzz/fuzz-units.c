/*
 * fuzz-units.c - sizes and durations as people write them.
 *
 * Pattern: as fuzz-names.c. What parses is not negative, and reads the same
 * when written as a bare number; what does not parse leaves the output alone.
 * The formatters get the input's first bytes as a number.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/units.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_size(const char *text)
{
	struct cm_error err = {0};
	int64_t bytes = -7, again;
	char plain[32];

	if (cm_size_parse(text, &bytes, &err) < 0) {
		assert(bytes == -7 && err.status == CM_ERR_INVALID);
		return;
	}
	assert(bytes >= 0);
	snprintf(plain, sizeof(plain), "%" PRId64, bytes);
	assert(cm_size_parse(plain, &again, &err) == 0 && again == bytes);
}

static void check_duration(const char *text)
{
	struct cm_error err = {0};
	int64_t ms = -7, again;
	char plain[32];

	if (cm_duration_parse(text, &ms, &err) < 0) {
		assert(ms == -7 && err.status == CM_ERR_INVALID);
		return;
	}
	assert(ms >= 0);
	snprintf(plain, sizeof(plain), "%" PRId64 "ms", ms);
	assert(cm_duration_parse(plain, &again, &err) == 0 && again == ms);
}

static void check_formats(int64_t value)
{
	char size[CM_SIZE_TEXT_SIZE], duration[CM_DURATION_TEXT_SIZE];
	char time[CM_TIME_TEXT_SIZE];

	assert(strlen(cm_size_format(value, size)) < sizeof(size));
	assert(strchr(size, 'B'));
	assert(strlen(cm_duration_format(value, duration)) < sizeof(duration));
	assert(strchr(duration, ' '));
	cm_time_format(value, time);
	assert(time[strlen(time) - 1] == 'Z');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t value = 0;
	char text[256];

	if (size >= sizeof(text))
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	check_size(text);
	check_duration(text);
	memcpy(&value, data, size < sizeof(value) ? size : sizeof(value));
	check_formats(value);
	return 0;
}
