/*
 * fuzz-url.c - a registry's address, and Location fields against it.
 *
 * The input's first line is an address, the rest a Location. What matters: the
 * token goes only where the address points, and no input makes a request that
 * is more than one line.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "remote_private.h"

#define INPUT_MAX 12000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const char *url)
{
	assert(strncmp(url, "http://", 7) == 0 ||
	       strncmp(url, "https://", 8) == 0);
	for (const char *p = url; *p; p++)
		assert((unsigned char)*p > ' ' && *p != 0x7f);
}

/* Scheme, host and port as text: "http://host:port". */
static size_t origin_length(const char *url)
{
	size_t scheme = (size_t)(strstr(url, "://") + 3 - url);

	return scheme + strcspn(url + scheme, "/?#");
}

/* A port that the scheme implies may be left out. */
static bool origin_equal(const char *base, const char *url)
{
	size_t a = origin_length(base), b = origin_length(url);
	size_t port = strncmp(base, "https:", 6) == 0 ? 4 : 3;
	const char *implied = port == 4 ? ":443" : ":80";

	if (a > port && strncmp(base + a - port, implied, port) == 0)
		a -= port;
	if (b > port && strncmp(url + b - port, implied, port) == 0)
		b -= port;
	return a == b && strncasecmp(base, url, a) == 0;
}

static void check_location(const char *base, const char *location)
{
	static const struct cm_digest zero;
	struct cm_error err = {0};
	bool foreign;
	char *url;

	if (cm_url_resolve(base, location, &zero, &url, &foreign, &err) < 0) {
		assert(err.status == CM_ERR_PROTOCOL ||
		       err.status == CM_ERR_NO_MEMORY);
		return;
	}
	check_address(url);
	assert(strstr(url, "digest=sha256:"));
	assert(!memchr(url, '@', origin_length(url)));
	assert(foreign || origin_equal(base, url));
	if (strncmp(base, "https:", 6) == 0)
		assert(strncmp(url, "https:", 6) == 0);
	free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[INPUT_MAX + 1], *location;
	struct cm_error err = {0};
	char *base;

	if (size > INPUT_MAX)
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	location = strchr(text, '\n');
	if (location)
		*location++ = '\0';
	if (cm_url_parse(text, &base, &err) < 0) {
		assert(err.status == CM_ERR_INVALID && err.text[0]);
		return 0;
	}
	check_address(base);
	assert(origin_length(base) == strlen(base));
	assert(!strchr(base, '@'));
	if (location)
		check_location(base, location);
	free(base);
	return 0;
}
