/*
 * tree_read.c - the tree blob, read.
 *
 * Paths and targets stay where they stand in the blob, unescaped in place, so
 * a tree of a million entries costs the blob and 64 bytes an entry.
 */
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "json_line.h"
#include "tree.h"

#define TREE_VERSION 1

struct tree_reader {
	struct cm_tree *t;
	struct cm_tree_checker checker;
	uint32_t *groups; /* index of each hard-link group's first member */
	uint32_t groups_len, groups_cap;
};

/* One line as read: the entry, and which keys were there. */
struct tree_line {
	struct tree_reader *reader;
	struct cm_json_line json;
	struct cm_entry e;
	struct cm_entry_extra x;
	uint32_t seen; /* bit per row of tree_keys[] */
};

/* Any failure of a line: its reason stands in the JSON reader. */
static int refuse(struct tree_line *l, const char *why)
{
	l->json.why = why;
	return -1;
}

static int nomem(struct tree_line *l)
{
	return refuse(l, "out of memory");
}

static int read_text(struct tree_line *l, bool base64, struct cm_json_text *ret)
{
	if (cm_json_string(&l->json, ret) < 0)
		return -1;
	if (base64) {
		if (cm_base64_decode(ret->s, ret->len, ret->s, &ret->len) < 0)
			return refuse(l, "bad base64");
		ret->s[ret->len] = '\0';
	}
	return 0;
}

static int read_path_text(struct tree_line *l, bool base64)
{
	struct cm_json_text text;

	if (l->e.path)
		return refuse(l, "both path and path64");
	if (read_text(l, base64, &text) < 0)
		return -1;
	if (text.len > CM_TREE_PATH_MAX)
		return refuse(l, "path is too long");
	l->e.path = text.s;
	l->e.path_len = (uint32_t)text.len;
	return 0;
}

static int read_path(struct tree_line *l)
{
	return read_path_text(l, false);
}

static int read_path64(struct tree_line *l)
{
	return read_path_text(l, true);
}

static int read_target_text(struct tree_line *l, bool base64)
{
	struct cm_json_text text;

	if (l->x.target)
		return refuse(l, "both target and target64");
	if (read_text(l, base64, &text) < 0)
		return -1;
	if (text.len == 0 || text.len > CM_TREE_TARGET_MAX ||
	    memchr(text.s, '\0', text.len))
		return refuse(l, "target is empty, too long or holds a NUL");
	l->x.target = text.s;
	l->x.target_len = text.len;
	return 0;
}

static int read_target(struct tree_line *l)
{
	return read_target_text(l, false);
}

static int read_target64(struct tree_line *l)
{
	return read_target_text(l, true);
}

static int read_type(struct tree_line *l)
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
	return refuse(l, "type is none of file, dir, symlink, fifo");
}

static int read_mode(struct tree_line *l)
{
	struct cm_json_text text;
	unsigned mode = 0;

	if (cm_json_string(&l->json, &text) < 0)
		return -1;
	if (text.len == 0 || text.len > 4)
		return refuse(l, "mode is not up to four octal digits");
	for (size_t i = 0; i < text.len; i++) {
		if (text.s[i] < '0' || text.s[i] > '7')
			return refuse(l, "mode is not up to four octal digits");
		mode = mode << 3 | (unsigned)(text.s[i] - '0');
	}
	l->e.mode = (uint16_t)mode;
	return 0;
}

/* An integer of [0, UINT32_MAX - 1]. */
static int read_u32(struct tree_line *l, uint32_t *ret)
{
	int64_t v;

	if (cm_json_integer(&l->json, &v) < 0)
		return -1;
	if (v < 0 || v >= UINT32_MAX)
		return refuse(l, "number is out of range");
	*ret = (uint32_t)v;
	return 0;
}

static int read_uid(struct tree_line *l)
{
	return read_u32(l, &l->e.uid);
}

static int read_gid(struct tree_line *l)
{
	return read_u32(l, &l->e.gid);
}

static int read_hlink(struct tree_line *l)
{
	if (read_u32(l, &l->e.hlink) < 0)
		return -1;
	return l->e.hlink ? 0 : refuse(l, "hlink counts from 1");
}

static int read_chunk(struct tree_line *l)
{
	return read_u32(l, &l->e.chunk);
}

static int read_offset(struct tree_line *l)
{
	return read_u32(l, &l->e.offset);
}

static int read_mtime(struct tree_line *l)
{
	return cm_json_integer(&l->json, &l->e.mtime_ns);
}

static int read_size(struct tree_line *l)
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

static int read_data(struct tree_line *l)
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
			return refuse(l, "more extents than allowed");
		if (l->x.extents_len == cap) {
			cap = cap ? cap * 2 : 8;
			grown = cm_arena_alloc(&l->reader->t->arena,
					       cap * sizeof(*grown));
			if (!grown)
				return nomem(l);
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
			return refuse(l, "extents are too large");
		l->x.extents_len++;
	}
	l->x.extents = extents;
	return r;
}

static int read_xattr(struct tree_line *l, const struct cm_json_text *name,
		      struct cm_xattr *ret)
{
	struct cm_json_text value;

	if (strncmp(name->s, "user.", 5) != 0 || name->len == 5 ||
	    name->len > CM_TREE_NAME_MAX)
		return refuse(l, "xattr is not in the namespace user");
	if (read_text(l, true, &value) < 0)
		return -1;
	if (value.len > CM_TREE_XATTR_MAX)
		return refuse(l, "xattr is too large");
	*ret = (struct cm_xattr){name->s, value.s, value.len};
	return 0;
}

static int read_xattrs(struct tree_line *l)
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
			return refuse(l, "more xattrs than allowed");
		if (n > 0 && strcmp(found[n - 1].name, name.s) >= 0)
			return refuse(l, "xattrs are not sorted by name");
		if (read_xattr(l, &name, &found[n]) < 0)
			return -1;
		n++;
	}
	if (r < 0 || n == 0)
		return r;
	kept = cm_arena_alloc(&l->reader->t->arena, n * sizeof(*kept));
	if (!kept)
		return nomem(l);
	memcpy(kept, found, n * sizeof(*kept));
	l->x.xattrs = kept;
	l->x.xattrs_len = n;
	return 0;
}

enum tree_key {
	KEY_PATH,
	KEY_TYPE,
	KEY_MODE,
	KEY_MTIME,
	KEY_SIZE,
	KEY_CHUNK,
	KEY_OFFSET,
	KEY_UID,
	KEY_GID,
	KEY_HLINK,
	KEY_TARGET,
	KEY_XATTRS,
	KEY_DATA,
	KEY_PATH64,
	KEY_TARGET64,
	KEYS
};

/* The commonest first, for they are searched in this order. */
static const struct {
	const char *name;
	int (*read)(struct tree_line *l);
} tree_keys[KEYS] = {
	[KEY_PATH] = {"path", read_path},
	[KEY_TYPE] = {"type", read_type},
	[KEY_MODE] = {"mode", read_mode},
	[KEY_MTIME] = {"mtime_ns", read_mtime},
	[KEY_SIZE] = {"size", read_size},
	[KEY_CHUNK] = {"chunk", read_chunk},
	[KEY_OFFSET] = {"offset", read_offset},
	[KEY_UID] = {"uid", read_uid},
	[KEY_GID] = {"gid", read_gid},
	[KEY_HLINK] = {"hlink", read_hlink},
	[KEY_TARGET] = {"target", read_target},
	[KEY_XATTRS] = {"xattrs", read_xattrs},
	[KEY_DATA] = {"data", read_data},
	[KEY_PATH64] = {"path64", read_path64},
	[KEY_TARGET64] = {"target64", read_target64},
};

static bool has(const struct tree_line *l, enum tree_key key)
{
	return l->seen >> key & 1;
}

static int read_member(struct tree_line *l, const struct cm_json_text *key)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		if (strcmp(tree_keys[i].name, key->s) != 0)
			continue;
		if (l->seen >> i & 1)
			return refuse(l, "key is there twice");
		l->seen |= 1u << i;
		return tree_keys[i].read(l);
	}
	return cm_json_skip(&l->json);
}

static int read_members(struct tree_line *l)
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

/* A group's later members take everything but the path from the first. */
static int join_group(struct tree_line *l)
{
	struct tree_reader *r = l->reader;
	uint32_t cap = r->groups_cap ? r->groups_cap * 2 : 64, *grown;
	struct cm_entry first;

	if (l->e.hlink <= r->groups_len) {
		first = r->t->entries[r->groups[l->e.hlink - 1]];
		if (l->seen & ~(1u << KEY_PATH | 1u << KEY_PATH64 |
				1u << KEY_TYPE | 1u << KEY_HLINK))
			return refuse(l, "only a group's first member has "
					 "more than path, type and hlink");
		first.path = l->e.path;
		first.path_len = l->e.path_len;
		l->e = first;
		return 0;
	}
	if (l->e.hlink != r->groups_len + 1)
		return refuse(l, "hlink is not the next number");
	if (r->groups_len == r->groups_cap) {
		grown = reallocarray(r->groups, cap, sizeof(*grown));
		if (!grown)
			return nomem(l);
		r->groups = grown;
		r->groups_cap = cap;
	}
	r->groups[r->groups_len++] = (uint32_t)r->t->len;
	return 0;
}

static int keep_extra(struct tree_line *l)
{
	struct cm_entry_extra *kept;

	if (!l->x.target && l->x.xattrs_len == 0 && !l->x.sparse)
		return 0;
	kept = cm_arena_alloc(&l->reader->t->arena, sizeof(*kept));
	if (!kept)
		return nomem(l);
	*kept = l->x;
	l->e.extra = kept;
	return 0;
}

/* What a line must and must not have, beyond what cm_tree_check() checks. */
static int check_keys(struct tree_line *l)
{
	if (!l->e.path || !has(l, KEY_TYPE))
		return refuse(l, "path or type is missing");
	if (has(l, KEY_HLINK) && l->e.type != CM_ENTRY_FILE)
		return refuse(l, "only files can be hard links");
	if (l->e.hlink && l->e.hlink <= l->reader->groups_len)
		return 0;
	if (!has(l, KEY_MODE) || !has(l, KEY_MTIME))
		return refuse(l, "mode or mtime_ns is missing");
	if ((l->e.type == CM_ENTRY_FILE) != has(l, KEY_SIZE))
		return refuse(l, "size belongs to a file, and only there");
	if (l->x.sparse && l->e.type != CM_ENTRY_FILE)
		return refuse(l, "data belongs to a file");
	if (l->e.size > 0 && (!l->x.sparse || l->x.stored > 0) &&
	    (!has(l, KEY_CHUNK) || !has(l, KEY_OFFSET)))
		return refuse(l, "chunk or offset is missing");
	return 0;
}

static int add_line(struct tree_line *l)
{
	struct tree_reader *r = l->reader;
	struct cm_entry *e;

	if (check_keys(l) < 0 || keep_extra(l) < 0)
		return -1;
	if (l->e.hlink && join_group(l) < 0)
		return -1;
	if (!cm_tree_check(&r->checker, r->t, &l->e))
		return refuse(l, r->checker.why);
	e = cm_tree_add(r->t);
	if (!e)
		return nomem(l);
	*e = l->e;
	return 0;
}

/* The line that says what the blob is. */
static int read_header(struct cm_json_line *json, int64_t *ret_version)
{
	bool first = true, is_tree = false;
	struct cm_json_text key, value;
	int r;

	if (cm_json_open(json, '{') < 0)
		return -1;
	while ((r = cm_json_key(json, &first, &key)) == 1) {
		if (strcmp(key.s, "cachemount") == 0) {
			if (cm_json_string(json, &value) < 0)
				return -1;
			is_tree = strcmp(value.s, "tree") == 0;
		} else if (strcmp(key.s, "version") == 0) {
			if (cm_json_integer(json, ret_version) < 0)
				return -1;
		} else if (cm_json_skip(json) < 0) {
			return -1;
		}
	}
	if (r < 0 || cm_json_finish(json) < 0)
		return -1;
	json->why = "first line says nothing of a tree and its version";
	return is_tree && *ret_version ? 0 : -1;
}

static int check_header(char *line, size_t len, struct cm_error *err)
{
	struct cm_json_line json;
	int64_t version = 0;

	cm_json_start(&json, line, len);
	if (read_header(&json, &version) < 0)
		return cm_error_set(err, CM_ERR_INVALID, "tree, line 1: %s",
				    json.why);
	if (version != TREE_VERSION)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "tree is of version %lld, of which this "
				    "client knows nothing",
				    (long long)version);
	return 0;
}

static int parse_line(struct tree_reader *r, char *line, size_t len,
		      size_t number, struct cm_error *err)
{
	struct tree_line l = {.reader = r};

	cm_json_start(&l.json, line, len);
	if (read_members(&l) == 0 && add_line(&l) == 0)
		return 0;
	return cm_error_set(err,
			    r->checker.too_much ? CM_ERR_SIZE : CM_ERR_INVALID,
			    "tree, line %zu: %s", number, l.json.why);
}

static int parse_lines(struct tree_reader *r, char *text, size_t len,
		       struct cm_error *err)
{
	char *p = text, *end = text + len, *newline;
	int status;

	for (size_t number = 1; p < end; number++) {
		newline = memchr(p, '\n', (size_t)(end - p));
		if (!newline)
			return cm_error_set(err, CM_ERR_INVALID,
					    "tree, line %zu: no newline at "
					    "its end",
					    number);
		if (number == 1)
			status = check_header(p, (size_t)(newline - p), err);
		else
			status = parse_line(r, p, (size_t)(newline - p), number,
					    err);
		if (status < 0)
			return status;
		p = newline + 1;
	}
	return len > 0 ? 0 : cm_error_set(err, CM_ERR_INVALID, "tree is empty");
}

int cm_tree_parse(char *text, size_t len, const struct cm_chunk *chunks,
		  size_t n, const struct cm_tree_limits *limits,
		  struct cm_tree **ret, struct cm_error *err)
{
	cm_autofree char *owned = text;
	cm_auto(tree) struct cm_tree *t = NULL;
	struct tree_reader r = {0};
	int status = cm_tree_new(chunks, n, &t, err);

	if (status < 0)
		return status;
	t->text = cm_take_ptr(owned);
	r.t = t;
	status = cm_tree_checker_init(&r.checker, limits, err);
	if (status == 0)
		status = parse_lines(&r, t->text, len, err);
	cm_tree_checker_release(&r.checker);
	free(r.groups);
	if (status < 0)
		return status;
	*ret = cm_take_ptr(t);
	return 0;
}
