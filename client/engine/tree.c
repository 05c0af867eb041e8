/* tree.c - trees in memory: paths, order, content and where it lies. */
#include <stdlib.h>
#include <string.h>

#include "tree.h"

int cm_tree_new(const struct cm_chunk *chunks, size_t n, struct cm_tree **ret,
		struct cm_error *err)
{
	cm_auto(tree) struct cm_tree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return cm_error_nomem(err);
	r = cm_tree_set_chunks(t, chunks, n, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(t);
	return 0;
}

void cm_tree_free(struct cm_tree *t)
{
	if (!t)
		return;
	cm_arena_release(&t->arena);
	free(t->entries);
	free(t->chunks);
	free(t->starts);
	free(t->text);
	free(t);
}

int cm_tree_set_chunks(struct cm_tree *t, const struct cm_chunk *chunks,
		       size_t n, struct cm_error *err)
{
	cm_autofree struct cm_chunk *copy = NULL;
	cm_autofree int64_t *starts = NULL;

	if (n >= UINT32_MAX)
		return cm_error_set(err, CM_ERR_SIZE, "too many chunks");
	copy = calloc(n + 1, sizeof(*copy));
	starts = calloc(n + 1, sizeof(*starts));
	if (!copy || !starts)
		return cm_error_nomem(err);
	for (size_t i = 0; i < n; i++) {
		copy[i] = chunks[i];
		starts[i + 1] = starts[i] + chunks[i].size;
	}
	free(t->chunks);
	free(t->starts);
	t->chunks = cm_take_ptr(copy);
	t->starts = cm_take_ptr(starts);
	t->chunks_len = n;
	return 0;
}

struct cm_entry *cm_tree_add(struct cm_tree *t)
{
	size_t cap = t->cap ? t->cap * 2 : 256;
	struct cm_entry *grown;

	if (t->len == t->cap) {
		grown = reallocarray(t->entries, cap, sizeof(*grown));
		if (!grown)
			return NULL;
		t->entries = grown;
		t->cap = cap;
	}
	memset(&t->entries[t->len], 0, sizeof(*t->entries));
	return &t->entries[t->len++];
}

/* Groups are numbered by first appearance, so the highest so far tells. */
void cm_tree_totals(const struct cm_tree *t, struct cm_tree_totals *ret)
{
	struct cm_tree_totals sum = {0};
	uint32_t groups = 0;

	for (size_t i = 0; i < t->len; i++) {
		const struct cm_entry *e = &t->entries[i];

		if (e->flags & CM_ENTRY_GHOST)
			continue;
		sum.entries++;
		sum.files += e->type == CM_ENTRY_FILE;
		sum.others +=
			e->type == CM_ENTRY_SYMLINK || e->type == CM_ENTRY_FIFO;
		if (e->type == CM_ENTRY_FILE &&
		    (e->hlink == 0 || e->hlink > groups))
			sum.bytes += e->size;
		if (e->hlink > groups)
			groups = e->hlink;
	}
	*ret = sum;
}

uint32_t cm_tree_last_group(const struct cm_tree *t)
{
	uint32_t last = 0;

	for (size_t i = 0; i < t->len; i++)
		if (t->entries[i].hlink > last)
			last = t->entries[i].hlink;
	return last;
}

size_t cm_tree_search(const struct cm_tree *t, const char *path, size_t len)
{
	size_t low = 0, high = t->len, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (cm_path_compare(t->entries[mid].path,
				    t->entries[mid].path_len, path, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* How a byte counts in the order: "/" below all others. */
static int rank(char c)
{
	return c == '/' ? 0 : (unsigned char)c;
}

int cm_path_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len, i = 0;
	uint64_t x, y;

	for (; i + sizeof(x) <= n; i += sizeof(x)) {
		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		if (x != y)
			break;
	}
	for (; i < n; i++)
		if (a[i] != b[i])
			return rank(a[i]) - rank(b[i]);
	return (a_len > b_len) - (a_len < b_len);
}

bool cm_path_below(const char *dir, size_t dir_len, const char *path,
		   size_t len)
{
	if (dir_len == 0)
		return len > 0;
	return len > dir_len && path[dir_len] == '/' &&
	       memcmp(dir, path, dir_len) == 0;
}

size_t cm_path_parent(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);

	return slash ? (size_t)(slash - path) : 0;
}

static const char *component_refuse(const char *name, size_t len)
{
	if (len == 0)
		return "path has an empty component";
	if (len > CM_TREE_NAME_MAX)
		return "path has a component that is too long";
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return "path has a component \".\" or \"..\"";
	return NULL;
}

const char *cm_path_refuse(const char *path, size_t len)
{
	static const char ours[] = CM_MOUNT_STATE_DIR;
	const char *why, *slash;
	size_t from = 0, n;

	if (len == 0)
		return "path is empty";
	if (len > CM_TREE_PATH_MAX)
		return "path is too long";
	if (path[0] == '/')
		return "path is absolute";
	if (memchr(path, '\0', len))
		return "path holds a NUL";
	do {
		slash = memchr(path + from, '/', len - from);
		n = slash ? (size_t)(slash - path) - from : len - from;
		why = component_refuse(path + from, n);
		if (why)
			return why;
		if (from == 0 && n == sizeof(ours) - 1 &&
		    memcmp(path, ours, n) == 0)
			return "path is in cachectl's own directory";
		from += n + 1;
	} while (slash);
	return NULL;
}

size_t cm_entry_last_chunk(const struct cm_tree *t, const struct cm_entry *e)
{
	int64_t last = t->starts[e->chunk] + e->offset + cm_entry_stored(e) - 1;
	size_t low = e->chunk, high = t->chunks_len - 1, mid;

	/* Nearly every file ends in the chunk it starts in. */
	if (last < t->starts[low + 1])
		return low;
	while (low < high) {
		mid = low + (high - low) / 2;
		if (last < t->starts[mid + 1])
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static bool same_extents(const struct cm_entry *a, const struct cm_entry *b)
{
	bool sparse = a->extra && a->extra->sparse;

	if (sparse != (b->extra && b->extra->sparse))
		return false;
	return !sparse || (a->extra->extents_len == b->extra->extents_len &&
			   (a->extra->extents_len == 0 ||
			    memcmp(a->extra->extents, b->extra->extents,
				   a->extra->extents_len *
					   sizeof(struct cm_extent)) == 0));
}

bool cm_entry_same_content(const struct cm_tree *at, const struct cm_entry *a,
			   const struct cm_tree *bt, const struct cm_entry *b)
{
	size_t n;

	if (a->size != b->size || !same_extents(a, b))
		return false;
	if (cm_entry_stored(a) == 0)
		return true;
	if (a->offset != b->offset)
		return false;
	n = cm_entry_last_chunk(at, a) - a->chunk;
	if (n != cm_entry_last_chunk(bt, b) - b->chunk)
		return false;
	for (size_t i = 0; i <= n; i++)
		if (!cm_digest_equal(&at->chunks[a->chunk + i].digest,
				     &bt->chunks[b->chunk + i].digest))
			return false;
	return true;
}

static bool same_xattrs(const struct cm_entry_extra *a,
			const struct cm_entry_extra *b)
{
	size_t n = a ? a->xattrs_len : 0;

	if (n != (b ? b->xattrs_len : 0))
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct cm_xattr *x = &a->xattrs[i], *y = &b->xattrs[i];

		if (strcmp(x->name, y->name) != 0 || x->len != y->len ||
		    memcmp(x->value, y->value, x->len) != 0)
			return false;
	}
	return true;
}

static bool same_target(const struct cm_entry *a, const struct cm_entry *b)
{
	return a->type != CM_ENTRY_SYMLINK ||
	       (a->extra->target_len == b->extra->target_len &&
		memcmp(a->extra->target, b->extra->target,
		       a->extra->target_len) == 0);
}

bool cm_entry_same_metadata(const struct cm_entry *a, const struct cm_entry *b)
{
	return a->type == b->type && a->mode == b->mode && a->uid == b->uid &&
	       a->gid == b->gid && a->mtime_ns == b->mtime_ns &&
	       a->size == b->size && same_target(a, b) &&
	       same_xattrs(a->extra, b->extra);
}

int cm_entry_compare_places(const void *a, const void *b, void *arg)
{
	const struct cm_entry *entries = arg;
	const struct cm_entry *x = &entries[*(const uint32_t *)a];
	const struct cm_entry *y = &entries[*(const uint32_t *)b];

	if (x->chunk != y->chunk)
		return x->chunk < y->chunk ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}
