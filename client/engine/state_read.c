/*
 * state_read.c - the mount's memory, read.
 *
 * The file lies where a build step can write, and a checksum is no signature:
 * every length and place is checked, and every entry goes through the same
 * rules as one from a registry.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "root.h"
#include "state.h"
#include "state_format.h"

int cm_state_new(struct cm_tree *tree, struct cm_state **ret,
		 struct cm_error *err)
{
	cm_auto(tree) struct cm_tree *owned = tree;
	cm_auto(state) struct cm_state *s = calloc(1, sizeof(*s));

	if (!s)
		return cm_error_nomem(err);
	s->disk = calloc(tree->len + 1, sizeof(*s->disk));
	if (!s->disk)
		return cm_error_nomem(err);
	s->tree = cm_take_ptr(owned);
	*ret = cm_take_ptr(s);
	return 0;
}

void cm_state_free(struct cm_state *s)
{
	if (!s)
		return;
	cm_tree_free(s->tree);
	free(s->disk);
	free(s->repo);
	free(s->tag);
	free(s->file);
	free(s);
}

int cm_state_name(struct cm_state *s, const char *repo, const char *tag,
		  const struct cm_digest *manifest, struct cm_error *err)
{
	char *new_repo = strdup(repo), *new_tag = strdup(tag);

	free(s->repo);
	free(s->tag);
	s->repo = new_repo;
	s->tag = new_tag;
	s->manifest = *manifest;
	return new_repo && new_tag ? 0 : cm_error_nomem(err);
}

/* The file in parts, as its header says. */
struct parts {
	const struct cm_state_header *head;
	const struct cm_chunk *chunks;
	const struct cm_state_record *records;
	const char *pool;
	size_t pool_len;
};

static int corrupt(struct cm_error *err, const char *why)
{
	return cm_error_set(err, CM_ERR_CORRUPT,
			    "the mount's state file is damaged: %s", why);
}

/* Finds the parts; false if the lengths don't add up to the file's. */
static bool split(const char *bytes, size_t len, struct parts *ret)
{
	const struct cm_state_header *head = (const void *)bytes;
	size_t left = len - sizeof(*head);

	if (head->chunks_len > left / sizeof(struct cm_chunk) ||
	    cm_state_chunks_size(head->chunks_len) > left)
		return false;
	left -= cm_state_chunks_size(head->chunks_len);
	if (head->records_len > left / sizeof(struct cm_state_record))
		return false;
	left -= head->records_len * sizeof(struct cm_state_record);
	ret->head = head;
	ret->chunks = (const void *)(head + 1);
	ret->records = (const void *)((const char *)ret->chunks +
				      cm_state_chunks_size(head->chunks_len));
	ret->pool = (const void *)(ret->records + head->records_len);
	ret->pool_len = head->pool_len;
	return head->pool_len == left;
}

/* The text of `n` bytes and a NUL at `at` in the pool, or NULL. */
static const char *pool_text(const struct parts *p, uint64_t at, uint64_t n)
{
	if (at >= p->pool_len || n >= p->pool_len - at || p->pool[at + n])
		return NULL;
	return p->pool + at;
}

/* `n` bytes at `*at`, which is moved behind them; NULL if they aren't there. */
static const char *pool_take(const struct parts *p, uint64_t *at, uint64_t n)
{
	if (*at > p->pool_len || n > p->pool_len - *at)
		return NULL;
	*at += n;
	return p->pool + *at - n;
}

static bool read_xattr(const struct parts *p, uint64_t *at,
		       struct cm_xattr *ret)
{
	const char *bytes = pool_take(p, at, sizeof(struct cm_state_xattr));
	struct cm_state_xattr head;

	if (!bytes)
		return false;
	memcpy(&head, bytes, sizeof(head));
	ret->name = pool_take(p, at, (uint64_t)head.name_len + 1);
	ret->value = pool_take(p, at, head.value_len);
	ret->len = head.value_len;
	return ret->name && ret->value && ret->name[head.name_len] == '\0' &&
	       strncmp(ret->name, "user.", 5) == 0 &&
	       head.value_len <= CM_TREE_XATTR_MAX;
}

static bool read_xattrs(struct cm_tree *t, const struct parts *p, uint64_t *at,
			uint32_t n, struct cm_entry_extra *x)
{
	struct cm_xattr *xattrs;

	if (n > CM_TREE_XATTRS_MAX)
		return false;
	xattrs = cm_arena_alloc(&t->arena, (n + 1) * sizeof(*xattrs));
	if (!xattrs)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!read_xattr(p, at, &xattrs[i]))
			return false;
	x->xattrs = xattrs;
	x->xattrs_len = n;
	return true;
}

static bool read_extents(struct cm_tree *t, const struct parts *p, uint64_t *at,
			 uint32_t n, struct cm_entry_extra *x)
{
	const char *bytes = pool_take(p, at, n * sizeof(struct cm_extent));
	struct cm_extent *extents;

	if (!bytes || n > CM_TREE_EXTENTS_MAX)
		return false;
	extents = cm_arena_alloc(&t->arena, (n + 1) * sizeof(*extents));
	if (!extents)
		return false;
	memcpy(extents, bytes, n * sizeof(*extents));
	for (uint32_t i = 0; i < n; i++)
		if (__builtin_add_overflow(x->stored, extents[i].len,
					   &x->stored))
			return false;
	x->extents = extents;
	x->extents_len = n;
	return true;
}

static const struct cm_entry_extra *
read_extra(struct cm_tree *t, const struct parts *p, uint64_t at)
{
	const char *bytes = pool_take(p, &at, sizeof(struct cm_state_extra));
	struct cm_entry_extra *x = cm_arena_alloc(&t->arena, sizeof(*x));
	struct cm_state_extra head;
	const char *target;

	if (!bytes || !x)
		return NULL;
	memset(x, 0, sizeof(*x));
	memcpy(&head, bytes, sizeof(head));
	target = pool_take(p, &at, (uint64_t)head.target_len + 1);
	if (!target || memchr(target, '\0', head.target_len) ||
	    target[head.target_len] || head.target_len > CM_TREE_TARGET_MAX)
		return NULL;
	if (head.target_len) {
		x->target = target;
		x->target_len = head.target_len;
	}
	x->sparse = head.sparse != 0;
	if (!read_xattrs(t, p, &at, head.xattrs_len, x) ||
	    !read_extents(t, p, &at, head.extents_len, x))
		return NULL;
	return x;
}

/* One record to an entry; false if it is damaged. */
static bool read_record(struct cm_state *s, const struct parts *p, size_t i,
			struct cm_tree_checker *checker)
{
	const struct cm_state_record *rec = &p->records[i];
	struct cm_entry *e = &s->tree->entries[i];

	*e = (struct cm_entry){
		.path = pool_text(p, rec->path, rec->path_len),
		.path_len = rec->path_len,
		.mode = rec->mode,
		.type = rec->type,
		.flags = rec->flags,
		.uid = rec->uid,
		.gid = rec->gid,
		.hlink = rec->hlink,
		.chunk = rec->chunk,
		.offset = rec->offset,
		.mtime_ns = rec->mtime_ns,
		.size = rec->size,
	};
	if (!e->path)
		return false;
	if (rec->extra) {
		e->extra = read_extra(s->tree, p, rec->extra);
		if (!e->extra)
			return false;
	}
	s->disk[i] = rec->disk;
	return (e->flags &
		~(CM_ENTRY_ABSENT | CM_ENTRY_STALE | CM_ENTRY_GHOST)) == 0 &&
	       cm_tree_check(checker, s->tree, e);
}

static int read_records(struct cm_state *s, const struct parts *p,
			struct cm_error *err)
{
	static const struct cm_tree_limits limits = {INT64_MAX, INT64_MAX};
	struct cm_tree_checker checker;
	int r = cm_tree_checker_init(&checker, &limits, err);

	for (size_t i = 0; r == 0 && i < p->head->records_len; i++)
		if (!read_record(s, p, i, &checker))
			r = corrupt(err,
				    checker.why ? checker.why : "a record");
	cm_tree_checker_release(&checker);
	return r;
}

static int read_chunks(const struct parts *p, struct cm_tree **ret,
		       struct cm_error *err)
{
	for (size_t i = 0; i < p->head->chunks_len; i++)
		if (p->chunks[i].size == 0 ||
		    p->chunks[i].size > CM_CHUNK_SIZE_MAX)
			return corrupt(err, "a chunk's size");
	return cm_tree_new(p->chunks, p->head->chunks_len, ret, err);
}

static int check_header(const char *bytes, size_t len, struct cm_error *err)
{
	const struct cm_state_header *head = (const void *)bytes;
	struct cm_digest sum;
	int r;

	if (len < sizeof(*head) ||
	    memcmp(head->magic, CM_STATE_MAGIC, sizeof(head->magic)) != 0)
		return corrupt(err, "no header");
	if (head->version != CM_STATE_VERSION ||
	    head->byte_order != CM_STATE_BYTE_ORDER)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "the mount's state file is of another "
				    "version");
	r = cm_digest_of(bytes + CM_STATE_CHECKED_FROM,
			 len - CM_STATE_CHECKED_FROM, &sum, err);
	if (r < 0)
		return r;
	return cm_digest_equal(&sum, &head->checksum)
		       ? 0
		       : corrupt(err, "checksum");
}

int cm_state_decode(void *bytes, size_t len, struct cm_state **ret,
		    struct cm_error *err)
{
	cm_autofree void *owned = bytes;
	cm_auto(state) struct cm_state *s = NULL;
	const char *repo, *tag;
	struct cm_tree *tree;
	struct parts p;
	int r = check_header(bytes, len, err);

	if (r < 0)
		return r;
	if (!split(bytes, len, &p))
		return corrupt(err, "lengths");
	repo = pool_text(&p, 0, p.head->repo_len);
	tag = pool_text(&p, (uint64_t)p.head->repo_len + 1, p.head->tag_len);
	if (!repo || !tag)
		return corrupt(err, "names");
	r = read_chunks(&p, &tree, err);
	if (r < 0)
		return r;
	tree->cap = tree->len = p.head->records_len;
	tree->entries = calloc(tree->cap + 1, sizeof(*tree->entries));
	if (!tree->entries) {
		cm_tree_free(tree);
		return cm_error_nomem(err);
	}
	r = cm_state_new(tree, &s, err);
	if (r == 0)
		r = cm_state_name(s, repo, tag, &p.head->manifest, err);
	if (r == 0)
		r = read_records(s, &p, err);
	if (r < 0)
		return r;
	s->file = cm_take_ptr(owned);
	*ret = cm_take_ptr(s);
	return 0;
}

static int read_whole(int fd, char *bytes, size_t len, struct cm_error *err)
{
	ssize_t n;

	for (size_t done = 0; done < len; done += (size_t)n) {
		n = read(fd, bytes + done, len - done);
		if (n < 0 && errno == EINTR) {
			n = 0;
			continue;
		}
		if (n < 0)
			return cm_error_errno(err, "cannot read the mount's "
						   "state file");
		if (n == 0)
			return corrupt(err, "it shrank");
	}
	return 0;
}

int cm_state_load(const struct cm_root *m, struct cm_state **ret,
		  struct cm_error *err)
{
	cm_autofd int fd =
		openat(m->ours, "state",
		       O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	cm_autofree char *bytes = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return cm_error_errno(err, "cannot open the mount's state "
					   "file");
	if (!S_ISREG(st.st_mode) || st.st_size > CM_STATE_FILE_MAX)
		return corrupt(err, "no file of a fit size");
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return cm_error_nomem(err);
	r = read_whole(fd, bytes, (size_t)st.st_size, err);
	if (r < 0)
		return r;
	return cm_state_decode(cm_take_ptr(bytes), (size_t)st.st_size, ret,
			       err);
}
