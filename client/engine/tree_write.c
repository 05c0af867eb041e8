/* tree_write.c - the tree blob, written. */
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "json_line.h"
#include "tree.h"

/* Text that grows; `failed` sticks, so that only the end must look. */
struct text {
	char *s;
	size_t len, cap;
	bool failed;
};

/* Room for `n` more bytes, or NULL. */
static char *text_room(struct text *t, size_t n)
{
	size_t cap = t->cap ? t->cap : 64 << 10;
	char *grown;

	if (t->failed)
		return NULL;
	while (cap - t->len < n) {
		if (__builtin_mul_overflow(cap, 2, &cap)) {
			t->failed = true;
			return NULL;
		}
	}
	if (cap != t->cap) {
		grown = realloc(t->s, cap);
		if (!grown) {
			t->failed = true;
			return NULL;
		}
		t->s = grown;
		t->cap = cap;
	}
	return t->s + t->len;
}

static void put(struct text *t, const char *s, size_t n)
{
	char *to = text_room(t, n);

	if (!to)
		return;
	memcpy(to, s, n);
	t->len += n;
}

#define put_literal(t, s) put(t, s, sizeof(s) - 1)

static void put_integer(struct text *t, int64_t v)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) > 0);
	if (v < 0)
		*--p = '-';
	put(t, p, (size_t)(digits + sizeof(digits) - p));
}

static void put_base64(struct text *t, const void *bytes, size_t n)
{
	char *to;

	put_literal(t, "\"");
	to = text_room(t, cm_base64_size(n));
	if (to) {
		cm_base64_encode(bytes, n, to);
		t->len += cm_base64_size(n);
	}
	put_literal(t, "\"");
}

/* A JSON string of UTF-8; only what JSON demands is escaped. */
static void put_string(struct text *t, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	char *to = text_room(t, 6 * n + 2);
	char *start = to;

	if (!to)
		return;
	*to++ = '"';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20) {
			memcpy(to, "\\u00", 4);
			to[4] = hex[c >> 4];
			to[5] = hex[c & 15];
			to += 6;
			continue;
		}
		if (c == '"' || c == '\\')
			*to++ = '\\';
		*to++ = (char)c;
	}
	*to++ = '"';
	t->len += (size_t)(to - start);
}

/* {"path": or ,"target":, with 64 behind the name where it must be base64. */
static void put_name(struct text *t, const char *key, const char *s, size_t n)
{
	bool utf8 = cm_utf8_valid(s, n);

	put(t, key, strlen(key));
	if (utf8)
		put_literal(t, "\":");
	else
		put_literal(t, "64\":");
	if (utf8)
		put_string(t, s, n);
	else
		put_base64(t, s, n);
}

static void put_mode(struct text *t, unsigned mode)
{
	char digits[4], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + (mode & 7));
	while ((mode >>= 3) > 0);
	put_literal(t, ",\"mode\":\"");
	put(t, p, (size_t)(digits + sizeof(digits) - p));
	put_literal(t, "\"");
}

static void put_extents(struct text *t, const struct cm_entry_extra *x)
{
	put_literal(t, ",\"data\":[");
	for (size_t i = 0; i < x->extents_len; i++) {
		if (i > 0)
			put_literal(t, ",");
		put_literal(t, "[");
		put_integer(t, x->extents[i].offset);
		put_literal(t, ",");
		put_integer(t, x->extents[i].len);
		put_literal(t, "]");
	}
	put_literal(t, "]");
}

static void put_xattrs(struct text *t, const struct cm_entry_extra *x)
{
	for (size_t i = 0; i < x->xattrs_len; i++) {
		put(t, i ? "," : ",\"xattrs\":{", i ? 1 : 11);
		put_string(t, x->xattrs[i].name, strlen(x->xattrs[i].name));
		put_literal(t, ":");
		put_base64(t, x->xattrs[i].value, x->xattrs[i].len);
	}
	if (x->xattrs_len > 0)
		put_literal(t, "}");
}

static void put_content(struct text *t, const struct cm_entry *e)
{
	put_literal(t, ",\"size\":");
	put_integer(t, e->size);
	if (e->extra && e->extra->sparse)
		put_extents(t, e->extra);
	if (cm_entry_stored(e) == 0)
		return;
	put_literal(t, ",\"chunk\":");
	put_integer(t, e->chunk);
	put_literal(t, ",\"offset\":");
	put_integer(t, e->offset);
}

static void put_metadata(struct text *t, const struct cm_entry *e)
{
	put_mode(t, e->mode);
	if (e->uid) {
		put_literal(t, ",\"uid\":");
		put_integer(t, e->uid);
	}
	if (e->gid) {
		put_literal(t, ",\"gid\":");
		put_integer(t, e->gid);
	}
	put_literal(t, ",\"mtime_ns\":");
	put_integer(t, e->mtime_ns);
	if (e->type == CM_ENTRY_FILE)
		put_content(t, e);
	if (e->extra && e->extra->target)
		put_name(t, ",\"target", e->extra->target,
			 e->extra->target_len);
	if (e->extra)
		put_xattrs(t, e->extra);
}

static void put_entry(struct text *t, const struct cm_entry *e,
		      uint32_t *groups)
{
	static const char *const types[] = {
		[CM_ENTRY_FILE] = ",\"type\":\"file\"",
		[CM_ENTRY_DIR] = ",\"type\":\"dir\"",
		[CM_ENTRY_SYMLINK] = ",\"type\":\"symlink\"",
		[CM_ENTRY_FIFO] = ",\"type\":\"fifo\"",
	};

	put_name(t, "{\"path", e->path, e->path_len);
	put(t, types[e->type], strlen(types[e->type]));
	if (e->hlink) {
		put_literal(t, ",\"hlink\":");
		put_integer(t, e->hlink);
	}
	if (e->hlink == 0 || e->hlink > *groups)
		put_metadata(t, e);
	if (e->hlink > *groups)
		*groups = e->hlink;
	put_literal(t, "}\n");
}

int cm_tree_format(const struct cm_tree *t, char **ret, size_t *ret_len,
		   struct cm_error *err)
{
	struct text text = {0};
	uint32_t groups = 0;

	put_literal(&text, "{\"cachemount\":\"tree\",\"version\":1}\n");
	for (size_t i = 0; i < t->len && !text.failed; i++)
		if (!(t->entries[i].flags & CM_ENTRY_GHOST))
			put_entry(&text, &t->entries[i], &groups);
	if (text.failed) {
		free(text.s);
		return cm_error_nomem(err);
	}
	if (text.len > CM_TREE_TEXT_MAX) {
		free(text.s);
		return cm_error_set(err, CM_ERR_SIZE,
				    "tree takes %zu bytes; at most %lld are "
				    "allowed",
				    text.len, CM_TREE_TEXT_MAX);
	}
	*ret = text.s;
	*ret_len = text.len;
	return 0;
}
