/*
 * tree_line.c - the members of a line, each by its name.
 */
#include <string.h>

#include "base64.h"
#include "tree_line.h"

int cm_tree_line_refuse(struct cm_tree_line *l, const char *why)
{
	l->json.why = why;
	return -1;
}

int cm_tree_line_nomem(struct cm_tree_line *l)
{
	l->no_memory = true;
	return cm_tree_line_refuse(l, "out of memory");
}

static int read_text(struct cm_tree_line *l, bool base64,
		     struct cm_json_text *ret)
{
	if (cm_json_string(&l->json, ret) < 0)
		return -1;
	if (base64) {
		if (cm_base64_decode(ret->s, ret->len, ret->s, &ret->len) < 0)
			return cm_tree_line_refuse(l, "bad base64");
		ret->s[ret->len] = '\0';
	}
	return 0;
}

static int read_path_text(struct cm_tree_line *l, bool base64)
{
	struct cm_json_text text;

	if (l->e.path)
		return cm_tree_line_refuse(l, "both path and path64");
	if (read_text(l, base64, &text) < 0)
		return -1;
	if (text.len > CM_TREE_PATH_MAX)
		return cm_tree_line_refuse(l, "path is too long");
	l->e.path = text.s;
	l->e.path_len = (uint32_t)text.len;
	return 0;
}

static int read_path(struct cm_tree_line *l)
{
	return read_path_text(l, false);
}

static int read_path64(struct cm_tree_line *l)
{
	return read_path_text(l, true);
}

static int read_target_text(struct cm_tree_line *l, bool base64)
{
	struct cm_json_text text;

	if (l->x.target)
		return cm_tree_line_refuse(l, "both target and target64");
	if (read_text(l, base64, &text) < 0)
		return -1;
	if (text.len == 0 || text.len > CM_TREE_TARGET_MAX ||
	    memchr(text.s, '\0', text.len))
		return cm_tree_line_refuse(
			l, "target is empty, too long or holds a NUL");
	l->x.target = text.s;
	l->x.target_len = text.len;
	return 0;
}

static int read_target(struct cm_tree_line *l)
{
	return read_target_text(l, false);
}

static int read_target64(struct cm_tree_line *l)
{
	return read_target_text(l, true);
}

static int read_type(struct cm_tree_line *l)
{
	static const char *const names[] = {"file", "dir", "symlink", "fifo"};
	struct cm_json_text text;

	if (cm_json_string(&l->json, &text) < 0)
		return -1;
	for (uint8_t i = 0; i < 4; i++)
		if (strcmp(text.s, names[i]) == 0) {
			l->e.type = i;
			return 0;
		}
	return cm_tree_line_refuse(l,
				   "type is none of file, dir, symlink, fifo");
}

static int read_mode(struct cm_tree_line *l)
{
	struct cm_json_text text;
	unsigned mode = 0;

	if (cm_json_string(&l->json, &text) < 0)
		return -1;
	if (text.len == 0 || text.len > 4)
		return cm_tree_line_refuse(
			l, "mode is not up to four octal digits");
	for (size_t i = 0; i < text.len; i++) {
		if (text.s[i] < '0' || text.s[i] > '7')
			return cm_tree_line_refuse(
				l, "mode is not up to four octal digits");
		mode = mode << 3 | (unsigned)(text.s[i] - '0');
	}
	l->e.mode = (uint16_t)mode;
	return 0;
}

/* An integer of [0, UINT32_MAX - 1]. */
static int read_u32(struct cm_tree_line *l, uint32_t *ret)
{
	int64_t v;

	if (cm_json_integer(&l->json, &v) < 0)
		return -1;
	if (v < 0 || v >= UINT32_MAX)
		return cm_tree_line_refuse(l, "number is out of range");
	*ret = (uint32_t)v;
	return 0;
}

static int read_uid(struct cm_tree_line *l)
{
	return read_u32(l, &l->e.uid);
}

static int read_gid(struct cm_tree_line *l)
{
	return read_u32(l, &l->e.gid);
}

static int read_hlink(struct cm_tree_line *l)
{
	if (read_u32(l, &l->e.hlink) < 0)
		return -1;
	return l->e.hlink ? 0 : cm_tree_line_refuse(l, "hlink counts from 1");
}

static int read_chunk(struct cm_tree_line *l)
{
	return read_u32(l, &l->e.chunk);
}

static int read_offset(struct cm_tree_line *l)
{
	return read_u32(l, &l->e.offset);
}

static int read_mtime(struct cm_tree_line *l)
{
	return cm_json_integer(&l->json, &l->e.mtime_ns);
}

static int read_size(struct cm_tree_line *l)
{
	return cm_json_integer(&l->json, &l->e.size);
}

/* [offset,length]; that they are in order is checked with the entry. */
static int read_extent(struct cm_json_line *json, struct cm_extent *ret)
{
	bool first = true;

	if (cm_json_open(json, '[') < 0 || cm_json_element(json, &first) != 1 ||
	    cm_json_integer(json, &ret->offset) < 0 ||
	    cm_json_element(json, &first) != 1 ||
	    cm_json_integer(json, &ret->len) < 0 ||
	    cm_json_element(json, &first) != 0) {
		json->why = "extent is not [offset,length]";
		return -1;
	}
	return 0;
}

static int read_data(struct cm_tree_line *l)
{
	struct cm_extent *extents = NULL, *grown;
	size_t cap = 0;
	bool first = true;
	int r;

	if (cm_json_open(&l->json, '[') < 0)
		return -1;
	l->x.sparse = true;
	while ((r = cm_json_element(&l->json, &first)) == 1) {
		if (l->x.extents_len == CM_TREE_EXTENTS_MAX)
			return cm_tree_line_refuse(l,
						   "more extents than allowed");
		if (l->x.extents_len == cap) {
			cap = cap ? cap * 2 : 8;
			grown = cm_arena_alloc(l->arena, cap * sizeof(*grown));
			if (!grown)
				return cm_tree_line_nomem(l);
			if (extents)
				memcpy(grown, extents,
				       l->x.extents_len * sizeof(*grown));
			extents = grown;
		}
		if (read_extent(&l->json, &extents[l->x.extents_len]) < 0)
			return -1;
		if (__builtin_add_overflow(l->x.stored,
					   extents[l->x.extents_len].len,
					   &l->x.stored))
			return cm_tree_line_refuse(l, "extents are too large");
		l->x.extents_len++;
	}
	l->x.extents = extents;
	return r;
}

static int read_xattr(struct cm_tree_line *l, const struct cm_json_text *name,
		      struct cm_xattr *ret)
{
	struct cm_json_text value;

	if (strncmp(name->s, "user.", 5) != 0 || name->len == 5 ||
	    name->len > CM_TREE_NAME_MAX)
		return cm_tree_line_refuse(
			l, "xattr is not in the namespace user");
	if (read_text(l, true, &value) < 0)
		return -1;
	if (value.len > CM_TREE_XATTR_MAX)
		return cm_tree_line_refuse(l, "xattr is too large");
	*ret = (struct cm_xattr){name->s, value.s, value.len};
	return 0;
}

static int read_xattrs(struct cm_tree_line *l)
{
	struct cm_xattr found[CM_TREE_XATTRS_MAX], *kept;
	struct cm_json_text name;
	bool first = true;
	size_t n = 0;
	int r;

	if (cm_json_open(&l->json, '{') < 0)
		return -1;
	while ((r = cm_json_key(&l->json, &first, &name)) == 1) {
		if (n == CM_TREE_XATTRS_MAX)
			return cm_tree_line_refuse(l,
						   "more xattrs than allowed");
		if (n > 0 && strcmp(found[n - 1].name, name.s) >= 0)
			return cm_tree_line_refuse(
				l, "xattrs are not sorted by name");
		if (read_xattr(l, &name, &found[n]) < 0)
			return -1;
		n++;
	}
	if (r < 0 || n == 0)
		return r;
	kept = cm_arena_alloc(l->arena, n * sizeof(*kept));
	if (!kept)
		return cm_tree_line_nomem(l);
	memcpy(kept, found, n * sizeof(*kept));
	l->x.xattrs = kept;
	l->x.xattrs_len = n;
	return 0;
}

/* The commonest first, for they are searched in this order. */
static const struct {
	const char *name;
	int (*read)(struct cm_tree_line *l);
} tree_keys[CM_KEYS] = {
	[CM_KEY_PATH] = {"path", read_path},
	[CM_KEY_TYPE] = {"type", read_type},
	[CM_KEY_MODE] = {"mode", read_mode},
	[CM_KEY_MTIME] = {"mtime_ns", read_mtime},
	[CM_KEY_SIZE] = {"size", read_size},
	[CM_KEY_CHUNK] = {"chunk", read_chunk},
	[CM_KEY_OFFSET] = {"offset", read_offset},
	[CM_KEY_UID] = {"uid", read_uid},
	[CM_KEY_GID] = {"gid", read_gid},
	[CM_KEY_HLINK] = {"hlink", read_hlink},
	[CM_KEY_TARGET] = {"target", read_target},
	[CM_KEY_XATTRS] = {"xattrs", read_xattrs},
	[CM_KEY_DATA] = {"data", read_data},
	[CM_KEY_PATH64] = {"path64", read_path64},
	[CM_KEY_TARGET64] = {"target64", read_target64},
};

static int read_member(struct cm_tree_line *l, const struct cm_json_text *key)
{
	for (uint32_t i = 0; i < CM_KEYS; i++) {
		if (strcmp(tree_keys[i].name, key->s) != 0)
			continue;
		if (l->seen >> i & 1)
			return cm_tree_line_refuse(l, "key is there twice");
		l->seen |= 1u << i;
		return tree_keys[i].read(l);
	}
	return cm_json_skip(&l->json);
}

int cm_tree_line_read(struct cm_tree_line *l)
{
	struct cm_json_text key;
	bool first = true;
	int r;

	if (cm_json_open(&l->json, '{') < 0)
		return -1;
	while ((r = cm_json_key(&l->json, &first, &key)) == 1)
		if (read_member(l, &key) < 0)
			return -1;
	return r < 0 ? r : cm_json_finish(&l->json);
}
