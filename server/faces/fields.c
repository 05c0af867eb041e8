/* fields.c - parsing of header fields and query arguments. */
#include <string.h>
#include <strings.h>

#include "faces/fields.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* OWS of RFC 9110 §5.6.3. */
static const char *skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/*
 * Reads digits, stopping at INT64_MAX: a number that large is beyond the end
 * of anything. Returns what follows, or NULL if there is no digit.
 */
static const char *read_number(const char *s, int64_t *ret)
{
	int64_t value = 0;

	if (!is_digit(*s))
		return NULL;
	for (; is_digit(*s); s++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *s - '0', &value))
			value = INT64_MAX;
	*ret = value;
	return s;
}

/* "-N": the last N bytes. Nothing has a last byte if there is none. */
static enum cm_range_kind range_suffix(const char *s, int64_t size,
				       int64_t *ret_offset, int64_t *ret_len)
{
	int64_t n;

	s = read_number(s, &n);
	if (!s || *skip_blanks(s) != '\0')
		return CM_RANGE_WHOLE;
	if (n == 0)
		return CM_RANGE_UNSATISFIABLE;
	if (size == 0)
		return CM_RANGE_WHOLE;
	*ret_len = n < size ? n : size;
	*ret_offset = size - *ret_len;
	return CM_RANGE_PART;
}

/* "A-" or "A-B". */
static enum cm_range_kind range_from(const char *s, int64_t size,
				     int64_t *ret_offset, int64_t *ret_len)
{
	int64_t first, last = INT64_MAX;

	s = read_number(s, &first);
	if (!s || *s++ != '-')
		return CM_RANGE_WHOLE;
	if (is_digit(*s))
		s = read_number(s, &last);
	if (*skip_blanks(s) != '\0')
		return CM_RANGE_WHOLE;
	if (first >= size || last < first)
		return CM_RANGE_UNSATISFIABLE;
	if (last >= size)
		last = size - 1;
	*ret_offset = first;
	*ret_len = last - first + 1;
	return CM_RANGE_PART;
}

enum cm_range_kind cm_field_range(const char *value, int64_t size,
				  int64_t *ret_offset, int64_t *ret_len)
{
	static const char unit[] = "bytes=";

	if (!value)
		return CM_RANGE_WHOLE;
	value = skip_blanks(value);
	if (strncasecmp(value, unit, sizeof(unit) - 1) != 0)
		return CM_RANGE_WHOLE;
	value = skip_blanks(value + sizeof(unit) - 1);
	if (*value == '-')
		return range_suffix(value + 1, size, ret_offset, ret_len);
	return range_from(value, size, ret_offset, ret_len);
}

int cm_field_chunk_range(const char *value, int64_t *ret_first,
			 int64_t *ret_last, struct cm_error *err)
{
	int64_t first = 0, last = 0;
	const char *s = read_number(value, &first);

	if (s && *s == '-')
		s = read_number(s + 1, &last);
	else
		s = NULL;
	if (!s || *s || last < first || last == INT64_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "Content-Range \"%.60s\" is not of the "
				    "form <first>-<last>, in bytes, both "
				    "included",
				    value);
	*ret_first = first;
	*ret_last = last;
	return 0;
}

/* etagc of RFC 9110 §8.8.3. */
static bool etag_char(unsigned char c)
{
	return c == 0x21 || (c >= 0x23 && c != 0x7f);
}

/* Reads one quoted tag at `s`; returns what follows, or NULL. */
static const char *read_etag(const char *s, struct cm_etag *ret)
{
	if (*s != '"')
		return NULL;
	ret->text = ++s;
	while (etag_char((unsigned char)*s))
		s++;
	if (*s != '"')
		return NULL;
	ret->len = (size_t)(s - ret->text);
	return s + 1;
}

int cm_field_etag_next(const char **cursor, struct cm_etag *ret)
{
	const char *s = *cursor;

	memset(ret, 0, sizeof(*ret));
	do {
		s = skip_blanks(s);
	} while (*s == ',' && s++);
	*cursor = s;
	if (*s == '\0')
		return 0;
	if (*s == '*') {
		ret->any = true;
		s++;
	} else {
		ret->weak = s[0] == 'W' && s[1] == '/';
		s = read_etag(ret->weak ? s + 2 : s, ret);
		if (!s)
			return CM_ERR_INVALID;
	}
	s = skip_blanks(s);
	if (*s != '\0' && *s != ',')
		return CM_ERR_INVALID;
	*cursor = s;
	return 1;
}

static bool etag_equals(const struct cm_etag *e, const char *tag,
			enum cm_etag_comparison how)
{
	if (!tag)
		return false;
	if (e->any)
		return true;
	return (how == CM_ETAG_WEAK || !e->weak) && strlen(tag) == e->len &&
	       memcmp(tag, e->text, e->len) == 0;
}

int cm_field_etag_match(const char *list, const char *tag,
			enum cm_etag_comparison how, struct cm_error *err)
{
	const char *cursor = list;
	bool any = false, matched = false;
	struct cm_etag e;
	size_t n = 0;
	int r;

	while ((r = cm_field_etag_next(&cursor, &e)) > 0) {
		any |= e.any;
		matched |= etag_equals(&e, tag, how);
		n++;
	}
	if (r < 0 || n == 0 || (any && n > 1))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.100s\" is neither * nor a list of "
				    "quoted entity tags",
				    list);
	return matched;
}

bool cm_field_if_range(const char *value, const char *tag)
{
	struct cm_etag e;

	if (!value)
		return true;
	return cm_field_etag_next(&value, &e) > 0 && *value == '\0' && !e.any &&
	       etag_equals(&e, tag, CM_ETAG_STRONG);
}

int cm_field_coding(const char *value, enum cm_encoding *ret,
		    struct cm_error *err)
{
	*ret = CM_ENCODING_IDENTITY;
	if (!value || !*value || strcasecmp(value, "identity") == 0)
		return 0;
	if (strcasecmp(value, "zstd") != 0)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "Content-Encoding \"%.60s\" is not "
				    "offered; send zstd or none",
				    value);
	*ret = CM_ENCODING_ZSTD;
	return 0;
}

const char *cm_field_media_type(const char *value,
				char out[static CM_MEDIA_TYPE_SIZE])
{
	size_t len;

	if (!value)
		return NULL;
	value = skip_blanks(value);
	len = strcspn(value, "; \t");
	if (len == 0)
		return NULL;
	if (len >= CM_MEDIA_TYPE_SIZE)
		len = CM_MEDIA_TYPE_SIZE - 1;
	memcpy(out, value, len);
	out[len] = '\0';
	return out;
}

int cm_field_count(const char *name, const char *value, int64_t max,
		   int64_t *ret, struct cm_error *err)
{
	const char *end = read_number(value, ret);

	if (!end || *end)
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s=%.60s: %s must be a decimal number",
				    name, value, name);
	if (*ret > max)
		*ret = max;
	return 0;
}
