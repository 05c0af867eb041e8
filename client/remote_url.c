/* remote_url.c - a registry's address, and Location fields against it. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "remote_private.h"

#define URL_MAX	     2048
#define LOCATION_MAX 8192

static inline void cm_cleanup_curlu(CURLU **u)
{
	curl_url_cleanup(*u);
}

static inline void cm_cleanup_curltext(char **text)
{
	curl_free(*text);
}

static int invalid(struct cm_error *err, const char *text, const char *why)
{
	return cm_error_set(err, CM_ERR_INVALID, "server \"%.200s\": %s", text,
			    why);
}

static bool has_part(CURLU *u, CURLUPart part)
{
	cm_auto(curltext) char *text = NULL;

	return curl_url_get(u, part, &text, 0) == CURLUE_OK && *text;
}

/* An empty one counts: it would be in the address again. */
static bool has_user(CURLU *u)
{
	cm_auto(curltext) char *user = NULL, *password = NULL;

	return curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK ||
	       curl_url_get(u, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK;
}

static bool has_path(CURLU *u)
{
	cm_auto(curltext) char *path = NULL;

	return curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
	       strcmp(path, "/") != 0;
}

static bool scheme_known(const char *url)
{
	return strncasecmp(url, "http://", 7) == 0 ||
	       strncasecmp(url, "https://", 8) == 0;
}

/* What must not be in a registry's address, and how to say it instead. */
static const char *base_wrong(CURLU *u)
{
	if (has_user(u))
		return "no user or password here; put the secret into a file "
		       "and name it with --token-file";
	if (has_path(u))
		return "a registry is at the root of its host; leave the path "
		       "out";
	if (has_part(u, CURLUPART_QUERY) || has_part(u, CURLUPART_FRAGMENT))
		return "leave out what is after the host";
	return NULL;
}

int cm_url_parse(const char *text, char **ret_base, struct cm_error *err)
{
	cm_auto(curlu) CURLU *u = curl_url();
	cm_auto(curltext) char *url = NULL;
	const char *wrong;
	CURLUcode code;
	char *base;

	if (!u)
		return cm_error_nomem(err);
	if (strlen(text) > URL_MAX)
		return invalid(err, text, "too long");
	if (!scheme_known(text))
		return invalid(err, text,
			       "write it as http://HOST:PORT or https://HOST");
	/*
	 * Decoded, a host's name may be read anew as something else, a number
	 * for one. What is in brackets may name an interface with it.
	 */
	if (strchr(text, '%') && !strchr(text, '['))
		return invalid(err, text, "write the host without \"%\"");
	code = curl_url_set(u, CURLUPART_URL, text, 0);
	if (code != CURLUE_OK)
		return invalid(err, text, curl_url_strerror(code));
	wrong = base_wrong(u);
	if (wrong)
		return invalid(err, text, wrong);
	code = curl_url_get(u, CURLUPART_URL, &url, 0);
	if (code != CURLUE_OK)
		return invalid(err, text, curl_url_strerror(code));
	base = strdup(url);
	if (!base)
		return cm_error_nomem(err);
	if (base[strlen(base) - 1] == '/')
		base[strlen(base) - 1] = '\0';
	*ret_base = base;
	return 0;
}

static bool part_equal(CURLU *a, CURLU *b, CURLUPart part)
{
	cm_auto(curltext) char *x = NULL, *y = NULL;

	return curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	       curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	       strcasecmp(x, y) == 0;
}

/* The interface of a link-local address, which curl keeps beside the host. */
static bool same_zone(CURLU *a, CURLU *b)
{
	cm_auto(curltext) char *x = NULL, *y = NULL;
	CURLUcode in_a = curl_url_get(a, CURLUPART_ZONEID, &x, 0);
	CURLUcode in_b = curl_url_get(b, CURLUPART_ZONEID, &y, 0);

	if (in_a == CURLUE_OK && in_b == CURLUE_OK)
		return strcmp(x, y) == 0;
	return in_a == CURLUE_NO_ZONEID && in_b == CURLUE_NO_ZONEID;
}

static bool same_origin(CURLU *a, CURLU *b)
{
	return part_equal(a, b, CURLUPART_SCHEME) &&
	       part_equal(a, b, CURLUPART_HOST) && same_zone(a, b) &&
	       part_equal(a, b, CURLUPART_PORT);
}

static int location_wrong(struct cm_error *err, const char *location)
{
	return cm_error_set(err, CM_ERR_PROTOCOL,
			    "the registry sends us to \"%.200s\", which is no "
			    "address to upload to",
			    location);
}

static CURLUcode location_set(CURLU *u, const char *location,
			      const struct cm_digest *d)
{
	char query[16 + CM_DIGEST_TEXT_SIZE], text[CM_DIGEST_TEXT_SIZE];
	CURLUcode code = curl_url_set(u, CURLUPART_URL, location, 0);

	if (code != CURLUE_OK)
		return code;
	snprintf(query, sizeof(query), "digest=%s", cm_digest_format(d, text));
	code = curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	if (code != CURLUE_OK)
		return code;
	return curl_url_set(u, CURLUPART_QUERY, query, CURLU_APPENDQUERY);
}

int cm_url_resolve(const char *base, const char *location,
		   const struct cm_digest *d, char **ret_url, bool *ret_foreign,
		   struct cm_error *err)
{
	cm_auto(curlu) CURLU *from = curl_url(), *to = curl_url();
	cm_auto(curltext) char *url = NULL;

	/* Not curl_url_dup(), which forgets the zone (curl 7.88). */
	if (!from || !to ||
	    curl_url_set(from, CURLUPART_URL, base, 0) != CURLUE_OK ||
	    curl_url_set(to, CURLUPART_URL, base, 0) != CURLUE_OK)
		return cm_error_nomem(err);
	if (strlen(location) > LOCATION_MAX ||
	    location_set(to, location, d) != CURLUE_OK ||
	    curl_url_get(to, CURLUPART_URL, &url, 0) != CURLUE_OK ||
	    !scheme_known(url) || has_user(to))
		return location_wrong(err, location);
	*ret_foreign = !same_origin(from, to);
	if (*ret_foreign && strncmp(base, "https:", 6) == 0 &&
	    strncmp(url, "https:", 6) != 0)
		return location_wrong(err, location);
	*ret_url = strdup(url);
	return *ret_url ? 0 : cm_error_nomem(err);
}
