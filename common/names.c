/* names.c - the grammars of repository names, tags, patterns, mount ids. */
#include <string.h>

#include <cachemount/digest.h>
#include <cachemount/names.h>

/* Bytes of a mount id's readable part, and of the hash behind it. */
#define MOUNT_READABLE_MAX 64
#define MOUNT_HASH_LEN	   12

static bool alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The length of a legal separator at `s`, 0 if there is none. */
static size_t separator(const char *s, size_t len)
{
	size_t n = 0;

	if (s[0] == '.')
		return 1;
	if (s[0] == '_')
		return len > 1 && s[1] == '_' ? 2 : 1;
	while (n < len && s[n] == '-')
		n++;
	return n;
}

static bool component_valid(const char *s, size_t len)
{
	size_t i = 0, n;

	if (len == 0 || !alphanumeric(s[0]) || !alphanumeric(s[len - 1]))
		return false;
	while (i < len) {
		if (alphanumeric(s[i])) {
			i++;
			continue;
		}
		n = separator(s + i, len - i);
		if (n == 0 || i + n >= len || !alphanumeric(s[i + n]))
			return false;
		i += n;
	}
	return true;
}

bool cm_repository_valid(const char *name, size_t len)
{
	const char *end = name + len, *slash;

	if (len == 0 || len > CM_REPOSITORY_MAX)
		return false;
	while ((slash = memchr(name, '/', (size_t)(end - name)))) {
		if (!component_valid(name, (size_t)(slash - name)))
			return false;
		name = slash + 1;
	}
	return component_valid(name, (size_t)(end - name));
}

static bool tag_char(char c, bool first)
{
	if (alphanumeric(c) || (c >= 'A' && c <= 'Z') || c == '_')
		return true;
	return !first && (c == '.' || c == '-');
}

bool cm_tag_valid(const char *tag, size_t len)
{
	if (len == 0 || len > CM_TAG_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!tag_char(tag[i], i == 0))
			return false;
	return true;
}

/* Writes the readable part of a mount id; returns its length. */
static size_t mount_readable(const char *id, char *out)
{
	size_t n = 0;
	char c;

	for (; *id && n < MOUNT_READABLE_MAX; id++) {
		c = *id >= 'A' && *id <= 'Z' ? (char)(*id - 'A' + 'a') : *id;
		if (alphanumeric(c))
			out[n++] = c;
		else if (n > 0 && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n > 0 && out[n - 1] == '-')
		n--;
	return n;
}

int cm_mount_repository(const char *id, char out[static CM_REPOSITORY_MAX + 1],
			struct cm_error *err)
{
	size_t len = strlen(id), n;
	char hex[CM_DIGEST_HEX_LEN + 1];
	struct cm_digest d;
	int r;

	if (len == 0 || len > CM_MOUNT_ID_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "a mount id has 1 to %d bytes, not %zu",
				    CM_MOUNT_ID_MAX, len);
	if (cm_repository_valid(id, len)) {
		memcpy(out, id, len + 1);
		return 0;
	}
	r = cm_digest_of(id, len, &d, err);
	if (r < 0)
		return r;
	n = mount_readable(id, out);
	if (n == 0) {
		memcpy(out, "id", 2);
		n = 2;
	}
	out[n++] = '-';
	memcpy(out + n, cm_digest_hex(&d, hex), MOUNT_HASH_LEN);
	out[n + MOUNT_HASH_LEN] = '\0';
	return 0;
}

/* The stars at the pattern's end, and the length of what is before them. */
static int pattern_stars(const char *pattern, size_t *ret_base)
{
	size_t len = strlen(pattern);
	int stars = 0;

	while (stars < 2 && len > 0 && pattern[len - 1] == '*') {
		stars++;
		len--;
	}
	*ret_base = len;
	return stars;
}

bool cm_repository_pattern_valid(const char *pattern)
{
	size_t base;
	int stars = pattern_stars(pattern, &base);

	if (base == 0)
		return stars > 0;
	if (stars == 0)
		return cm_repository_valid(pattern, base);
	return pattern[base - 1] == '/' &&
	       cm_repository_valid(pattern, base - 1);
}

bool cm_repository_pattern_match(const char *pattern, const char *name)
{
	size_t base;
	int stars = pattern_stars(pattern, &base);

	if (stars == 0)
		return strcmp(pattern, name) == 0;
	if (stars == 2 && base > 0 && strlen(name) == base - 1)
		return memcmp(pattern, name, base - 1) == 0;
	if (strncmp(pattern, name, base) != 0 || name[base] == '\0')
		return false;
	return stars == 2 || !strchr(name + base, '/');
}
