/*
 * tree_read.c - the tree blob, read.
 *
 * Paths and targets stay where they stand in the blob, unescaped in place, so
 * a tree of a million entries costs the blob and 64 bytes an entry.
 */
#include <stdlib.h>
#include <string.h>

#include "json_line.h"
#include "tree.h"
#include "tree_line.h"

#define TREE_VERSION 1

struct tree_reader {
	struct cm_tree *t;
	struct cm_tree_checker checker;
	uint32_t *groups; /* index of each hard-link group's first member */
	uint32_t groups_len, groups_cap;
};

/* A group's later members take everything but the path from the first. */
static int join_group(struct tree_reader *r, struct cm_tree_line *l)
{
	uint32_t cap = r->groups_cap ? r->groups_cap * 2 : 64, *grown;
	struct cm_entry first;

	if (l->e.hlink <= r->groups_len) {
		first = r->t->entries[r->groups[l->e.hlink - 1]];
		if (l->seen & ~(1u << CM_KEY_PATH | 1u << CM_KEY_PATH64 |
				1u << CM_KEY_TYPE | 1u << CM_KEY_HLINK))
			return cm_tree_line_refuse(
				l, "only a group's first member has "
				   "more than path, type and hlink");
		first.path = l->e.path;
		first.path_len = l->e.path_len;
		l->e = first;
		return 0;
	}
	if (l->e.hlink != r->groups_len + 1)
		return cm_tree_line_refuse(l, "hlink is not the next number");
	if (r->groups_len == r->groups_cap) {
		grown = reallocarray(r->groups, cap, sizeof(*grown));
		if (!grown)
			return cm_tree_line_nomem(l);
		r->groups = grown;
		r->groups_cap = cap;
	}
	r->groups[r->groups_len++] = (uint32_t)r->t->len;
	return 0;
}

static int keep_extra(struct cm_tree_line *l)
{
	struct cm_entry_extra *kept;

	if (!l->x.target && l->x.xattrs_len == 0 && !l->x.sparse)
		return 0;
	kept = cm_arena_alloc(l->arena, sizeof(*kept));
	if (!kept)
		return cm_tree_line_nomem(l);
	*kept = l->x;
	l->e.extra = kept;
	return 0;
}

/* What a line must and must not have, beyond what cm_tree_check() checks. */
static int check_keys(const struct tree_reader *r, struct cm_tree_line *l)
{
	if (!l->e.path || !cm_tree_line_has(l, CM_KEY_TYPE))
		return cm_tree_line_refuse(l, "path or type is missing");
	if (cm_tree_line_has(l, CM_KEY_HLINK) && l->e.type != CM_ENTRY_FILE)
		return cm_tree_line_refuse(l, "only files can be hard links");
	if (l->e.hlink && l->e.hlink <= r->groups_len)
		return 0;
	if (!cm_tree_line_has(l, CM_KEY_MODE) ||
	    !cm_tree_line_has(l, CM_KEY_MTIME))
		return cm_tree_line_refuse(l, "mode or mtime_ns is missing");
	if ((l->e.type == CM_ENTRY_FILE) != cm_tree_line_has(l, CM_KEY_SIZE))
		return cm_tree_line_refuse(
			l, "size belongs to a file, and only there");
	if (l->x.sparse && l->e.type != CM_ENTRY_FILE)
		return cm_tree_line_refuse(l, "data belongs to a file");
	if (l->e.size > 0 && (!l->x.sparse || l->x.stored > 0) &&
	    (!cm_tree_line_has(l, CM_KEY_CHUNK) ||
	     !cm_tree_line_has(l, CM_KEY_OFFSET)))
		return cm_tree_line_refuse(l, "chunk or offset is missing");
	return 0;
}

static int add_line(struct tree_reader *r, struct cm_tree_line *l)
{
	struct cm_entry *e;

	if (check_keys(r, l) < 0 || keep_extra(l) < 0)
		return -1;
	if (l->e.hlink && join_group(r, l) < 0)
		return -1;
	if (!cm_tree_check(&r->checker, r->t, &l->e))
		return cm_tree_line_refuse(l, r->checker.why);
	e = cm_tree_add(r->t);
	if (!e)
		return cm_tree_line_nomem(l);
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
	struct cm_tree_line l = {.arena = &r->t->arena};

	cm_json_start(&l.json, line, len);
	if (cm_tree_line_read(&l) == 0 && add_line(r, &l) == 0)
		return 0;
	return cm_error_set(err,
			    l.no_memory		  ? CM_ERR_NO_MEMORY
			    : r->checker.too_much ? CM_ERR_SIZE
						  : CM_ERR_INVALID,
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
