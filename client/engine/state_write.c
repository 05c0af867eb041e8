/* state_write.c - the mount's memory, written. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "root.h"
#include "state.h"
#include "state_format.h"

/* The pool being filled; it is measured first, so it never grows. */
struct pool {
	char *bytes;
	size_t len;
};

static uint64_t pool_put(struct pool *p, const void *bytes, size_t n)
{
	uint64_t at = p->len;

	if (n > 0)
		memcpy(p->bytes + p->len, bytes, n);
	p->len += n;
	return at;
}

static uint64_t pool_put_text(struct pool *p, const char *s, size_t n)
{
	uint64_t at = pool_put(p, s, n);

	p->bytes[p->len++] = '\0';
	return at;
}

static size_t extra_size(const struct cm_entry_extra *x)
{
	size_t n = sizeof(struct cm_state_extra) + x->target_len + 1 +
		   x->extents_len * sizeof(struct cm_extent);

	for (size_t i = 0; i < x->xattrs_len; i++)
		n += sizeof(struct cm_state_xattr) + strlen(x->xattrs[i].name) +
		     1 + x->xattrs[i].len;
	return n;
}

static size_t pool_size(const struct cm_state *s)
{
	size_t n = strlen(s->repo) + 1 + strlen(s->tag) + 1;

	for (size_t i = 0; i < s->tree->len; i++) {
		const struct cm_entry *e = &s->tree->entries[i];

		n += e->path_len + 1;
		if (e->extra)
			n += extra_size(e->extra);
	}
	return n;
}

static uint64_t put_extra(struct pool *p, const struct cm_entry_extra *x)
{
	struct cm_state_extra head = {
		.target_len = (uint32_t)x->target_len,
		.xattrs_len = (uint32_t)x->xattrs_len,
		.extents_len = (uint32_t)x->extents_len,
		.sparse = x->sparse,
	};
	uint64_t at = pool_put(p, &head, sizeof(head));

	pool_put_text(p, x->target, x->target_len);
	for (size_t i = 0; i < x->xattrs_len; i++) {
		struct cm_state_xattr xattr = {
			(uint32_t)strlen(x->xattrs[i].name),
			(uint32_t)x->xattrs[i].len};

		pool_put(p, &xattr, sizeof(xattr));
		pool_put_text(p, x->xattrs[i].name, xattr.name_len);
		pool_put(p, x->xattrs[i].value, xattr.value_len);
	}
	pool_put(p, x->extents, x->extents_len * sizeof(*x->extents));
	return at;
}

static void put_record(struct pool *p, const struct cm_entry *e,
		       const struct cm_disk_id *disk,
		       struct cm_state_record *ret)
{
	*ret = (struct cm_state_record){
		.path = pool_put_text(p, e->path, e->path_len),
		.path_len = e->path_len,
		.mode = e->mode,
		.type = e->type,
		.flags = e->flags,
		.uid = e->uid,
		.gid = e->gid,
		.hlink = e->hlink,
		.chunk = e->chunk,
		.offset = e->offset,
		.mtime_ns = e->mtime_ns,
		.size = e->size,
		.disk = *disk,
	};
	if (e->extra)
		ret->extra = put_extra(p, e->extra);
}

static void put_all(const struct cm_state *s, char *bytes)
{
	struct cm_state_header *head = (struct cm_state_header *)bytes;
	struct cm_chunk *chunks = (struct cm_chunk *)(head + 1);
	struct cm_state_record *records =
		(struct cm_state_record *)((char *)chunks +
					   cm_state_chunks_size(
						   s->tree->chunks_len));
	struct pool pool = {(char *)(records + s->tree->len), 0};

	memcpy(head->magic, CM_STATE_MAGIC, sizeof(head->magic));
	head->version = CM_STATE_VERSION;
	head->byte_order = CM_STATE_BYTE_ORDER;
	head->manifest = s->manifest;
	head->chunks_len = s->tree->chunks_len;
	head->records_len = s->tree->len;
	head->repo_len = (uint32_t)strlen(s->repo);
	head->tag_len = (uint32_t)strlen(s->tag);
	memcpy(chunks, s->tree->chunks, s->tree->chunks_len * sizeof(*chunks));
	pool_put_text(&pool, s->repo, head->repo_len);
	pool_put_text(&pool, s->tag, head->tag_len);
	for (size_t i = 0; i < s->tree->len; i++)
		put_record(&pool, &s->tree->entries[i], &s->disk[i],
			   &records[i]);
	head->pool_len = pool.len;
}

int cm_state_encode(const struct cm_state *s, void **ret, size_t *ret_len,
		    struct cm_error *err)
{
	size_t len = sizeof(struct cm_state_header) +
		     cm_state_chunks_size(s->tree->chunks_len) +
		     s->tree->len * sizeof(struct cm_state_record) +
		     pool_size(s);
	cm_autofree char *bytes = calloc(1, len);
	struct cm_state_header *head = (struct cm_state_header *)bytes;
	int r;

	if (!bytes)
		return cm_error_nomem(err);
	put_all(s, bytes);
	r = cm_digest_of(bytes + CM_STATE_CHECKED_FROM,
			 len - CM_STATE_CHECKED_FROM, &head->checksum, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(bytes);
	*ret_len = len;
	return 0;
}

static int write_file(int dir, const char *name, const char *bytes, size_t len,
		      struct cm_error *err)
{
	cm_autofd int fd = openat(
		dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		0644);
	ssize_t n;

	if (fd < 0)
		return cm_error_errno(err, "cannot make %s", name);
	for (size_t done = 0; done < len; done += (size_t)n) {
		n = write(fd, bytes + done, len - done);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			return cm_error_errno(err, "cannot write %s", name);
	}
	return 0;
}

int cm_state_save(const struct cm_root *m, const struct cm_state *s,
		  struct cm_error *err)
{
	static const char temporary[] = "state.new";
	cm_autofree void *bytes = NULL;
	size_t len;
	int r = cm_state_encode(s, &bytes, &len, err);

	if (r < 0)
		return r;
	unlinkat(m->ours, temporary, 0);
	r = write_file(m->ours, temporary, bytes, len, err);
	if (r == 0 && renameat(m->ours, temporary, m->ours, "state") < 0)
		r = cm_error_errno(err, "cannot rename %s", temporary);
	if (r < 0)
		unlinkat(m->ours, temporary, 0);
	return r;
}
