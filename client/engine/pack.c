/*
 * pack.c - files into chunks.
 *
 * Small files share a chunk, the pack; it stays open while a large file goes
 * by, whose chunks must be neighbours. Whatever is read lands in the buffer
 * that is uploaded: bytes are copied once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunker.h"
#include "pack.h"
#include "root.h"
#include "source.h"
#include "upload.h"

/* Read in pieces of this size, of which at most one is copied at a cut. */
#define READ_SIZE (256 << 10)

struct pack {
	struct cm_job *job;
	const struct cm_state *base;
	const struct cm_scan *scan;
	struct cm_local *l;
	struct cm_tree *t;
	struct cm_upload *upload;
	struct cm_dir_cache dirs;
	struct cm_chunker chunker;
	uint32_t first_chunk; /* number of the first new one in the tree */

	uint8_t *buffer; /* the open pack, or NULL */
	size_t filled;
	uint32_t *waiting; /* entries in it, which learn its number when it
			      is closed */
	size_t waiting_len, waiting_cap;
	struct cm_error *err;
};

/* How reading one file went. */
enum outcome {
	READ_OK,
	READ_CHANGED, /* it did while it was read */
	READ_UNFIT,   /* can't be read; errno says why */
	READ_FAILED,  /* the save has failed; the error is set */
};

static enum outcome failed_upload(struct pack *p)
{
	/* cm_upload_finish() will say more. */
	cm_error_set(p->err, CM_ERR_CANCELLED, "an upload failed");
	return READ_FAILED;
}

static void close_pack(struct pack *p)
{
	uint32_t number;

	if (p->filled == 0)
		return;
	number = cm_upload_submit(p->upload, p->buffer, p->filled);
	for (size_t i = 0; i < p->waiting_len; i++)
		p->t->entries[p->waiting[i]].chunk = p->first_chunk + number;
	p->buffer = NULL;
	p->filled = 0;
	p->waiting_len = 0;
}

static int wait_for_number(struct pack *p, uint32_t index)
{
	size_t cap = p->waiting_cap ? p->waiting_cap * 2 : 256;
	uint32_t *grown;

	if (p->waiting_len == p->waiting_cap) {
		grown = reallocarray(p->waiting, cap, sizeof(*grown));
		if (!grown)
			return cm_error_nomem(p->err);
		p->waiting = grown;
		p->waiting_cap = cap;
	}
	p->waiting[p->waiting_len++] = index;
	return 0;
}

/* Reads all of a small file to the end of the open pack. */
static enum outcome read_small(struct pack *p, struct cm_source *s,
			       uint32_t index)
{
	struct cm_entry *e = &p->t->entries[index];
	ssize_t n;

	if (!p->buffer)
		p->buffer = cm_upload_buffer(p->upload);
	if (!p->buffer)
		return failed_upload(p);
	n = cm_source_read(s, p->buffer + p->filled, (size_t)s->stored);
	if (n < 0)
		return READ_UNFIT;
	if (n != s->stored || !cm_source_unchanged(s))
		return READ_CHANGED;
	e->offset = (uint32_t)p->filled;
	if (n > 0 && wait_for_number(p, index) < 0)
		return READ_FAILED;
	p->filled += (size_t)n;
	if (cm_chunker_ends_pack(&p->chunker.sizes, p->filled,
				 p->buffer + p->filled - n, (size_t)n))
		close_pack(p);
	return READ_OK;
}

/* Where the cutting of a large file stands. */
struct stretch {
	uint8_t *buffer; /* the chunk as far as it is read */
	size_t len;
	bool started;
	uint32_t first; /* number of the file's first chunk */
};

static void submit(struct pack *p, struct stretch *x, size_t len)
{
	uint32_t number = cm_upload_submit(p->upload, x->buffer, len);

	if (!x->started)
		x->first = number;
	x->started = true;
	x->buffer = NULL;
}

/* Submits what can be cut off the stretch; false if the upload has failed. */
static bool cut(struct pack *p, struct stretch *x)
{
	uint8_t *next;
	size_t n;

	while ((n = cm_chunker_cut(&p->chunker, x->buffer, x->len)) > 0) {
		next = cm_upload_buffer(p->upload);
		if (!next)
			return false;
		memcpy(next, x->buffer + n, x->len - n);
		submit(p, x, n);
		x->buffer = next;
		x->len -= n;
	}
	return true;
}

static enum outcome read_stretches(struct pack *p, struct cm_source *s,
				   struct stretch *x)
{
	int64_t left = s->stored;
	size_t room;
	ssize_t n;

	while (left > 0) {
		room = p->chunker.sizes.max - x->len;
		n = cm_source_read(s, x->buffer + x->len,
				   room < READ_SIZE ? room : READ_SIZE);
		if (n < 0)
			return READ_UNFIT;
		if (n == 0)
			return READ_CHANGED;
		left -= n;
		x->len += (size_t)n;
		if (!cut(p, x))
			return failed_upload(p);
	}
	if (x->len > 0)
		submit(p, x, x->len);
	return cm_source_unchanged(s) ? READ_OK : READ_CHANGED;
}

static enum outcome read_large(struct pack *p, struct cm_source *s,
			       uint32_t index)
{
	struct cm_entry *e = &p->t->entries[index];
	struct stretch x = {.buffer = cm_upload_buffer(p->upload)};
	enum outcome outcome;

	if (!x.buffer)
		return failed_upload(p);
	cm_chunker_restart(&p->chunker);
	outcome = read_stretches(p, s, &x);
	cm_upload_return(p->upload, x.buffer);
	e->chunk = p->first_chunk + x.first;
	e->offset = 0;
	return outcome;
}

static enum outcome read_once(struct pack *p, uint32_t index)
{
	struct cm_entry *e = &p->t->entries[index];
	const struct cm_scan_entry *on_disk =
		&p->scan->entries[p->l->scan_of[index]];
	struct cm_source s = {.fd = -1};
	enum outcome outcome = READ_UNFIT;
	int saved;

	if (cm_source_open(&p->dirs, e->path, e->path_len,
			   on_disk->allocated < on_disk->id.size, &s) == 0 &&
	    cm_source_settle(&s) == 0) {
		if (s.stored < CM_LARGE_FILE)
			outcome = read_small(p, &s, index);
		else
			outcome = read_large(p, &s, index);
	}
	if (outcome == READ_OK) {
		cm_disk_id_of(&s.st, &p->l->ours->disk[index]);
		if (cm_source_describe(&s, &p->t->arena, e, p->err) < 0)
			outcome = READ_FAILED;
	}
	saved = errno;
	cm_source_close(&s);
	errno = saved;
	return outcome;
}

static void leave_out(struct pack *p, const struct cm_entry *e,
		      enum outcome outcome)
{
	char shown[CM_SHOWN_SIZE], reason[128];

	p->job->result->left_out++;
	cm_job_warn(p->job, "%s: %s", cm_shown(e->path, shown),
		    outcome == READ_CHANGED
			    ? "changed while it was read; left out"
			    : strerror_r(errno, reason, sizeof(reason)));
}

/* Reads a file, once more if it changed; leaves it UNREAD if it can't be. */
static int read_file(struct pack *p, uint32_t index)
{
	struct cm_entry *e = &p->t->entries[index];
	enum outcome outcome = read_once(p, index);

	if (outcome == READ_CHANGED)
		outcome = read_once(p, index);
	if (outcome == READ_FAILED)
		return p->err ? p->err->status : CM_ERR_CANCELLED;
	if (outcome != READ_OK) {
		leave_out(p, e, outcome);
		return 0;
	}
	e->flags &= (uint8_t)~CM_ENTRY_UNREAD;
	p->job->result->files_read++;
	p->job->result->bytes_read += cm_entry_stored(e);
	cm_job_progress(p->job, 1, 0);
	return 0;
}

/* The groups of which a member is known already, and the rest. */
static uint8_t *known_groups(const struct cm_tree *t)
{
	uint32_t last = cm_tree_last_group(t);
	uint8_t *groups = calloc((size_t)last + 1, 1);

	for (size_t i = 0; groups && i < t->len; i++)
		if (!(t->entries[i].flags & CM_ENTRY_UNREAD))
			groups[t->entries[i].hlink] = 1;
	if (groups)
		groups[0] = 0;
	return groups;
}

static int read_files(struct pack *p)
{
	cm_autofree uint8_t *groups = known_groups(p->t);
	int r = 0;

	if (!groups)
		return cm_error_nomem(p->err);
	for (uint32_t i = 0; r == 0 && i < p->t->len; i++) {
		struct cm_entry *e = &p->t->entries[i];

		if (!(e->flags & CM_ENTRY_UNREAD) || groups[e->hlink])
			continue;
		r = read_file(p, i);
		groups[e->hlink] = e->hlink != 0;
	}
	close_pack(p);
	return r;
}

/* ---- afterwards -------------------------------------------------------- */

/* The other names of an inode get what its first known one has. */
static int copy_to_links(struct pack *p)
{
	cm_autofree uint32_t *known = NULL;

	known = calloc((size_t)cm_tree_last_group(p->t) + 1, sizeof(*known));
	if (!known)
		return cm_error_nomem(p->err);
	for (uint32_t i = 0; i < p->t->len; i++)
		if (!(p->t->entries[i].flags & CM_ENTRY_UNREAD))
			known[p->t->entries[i].hlink] = i + 1;
	for (uint32_t i = 0; i < p->t->len; i++) {
		struct cm_entry *e = &p->t->entries[i], copy;

		if (!e->hlink || !known[e->hlink] ||
		    !(e->flags & CM_ENTRY_UNREAD))
			continue;
		copy = p->t->entries[known[e->hlink] - 1];
		copy.path = e->path;
		copy.path_len = e->path_len;
		copy.flags = e->flags & (uint8_t)~CM_ENTRY_UNREAD;
		*e = copy;
		p->l->ours->disk[i] = p->l->ours->disk[known[e->hlink] - 1];
	}
	return 0;
}

/* Drops what could not be read, or puts the base's version in its place. */
static void drop_unread(struct pack *p)
{
	static const struct cm_disk_id unknown;
	size_t kept = 0;

	for (size_t i = 0; i < p->t->len; i++) {
		struct cm_entry *e = &p->t->entries[i];
		uint32_t base = p->l->base_of[i];

		if (e->flags & CM_ENTRY_UNREAD) {
			if (base == CM_NO_INDEX ||
			    (p->base->tree->entries[base].flags &
			     CM_ENTRY_GHOST))
				continue;
			*e = p->base->tree->entries[base];
			p->l->ours->disk[i] = unknown;
		}
		p->t->entries[kept] = *e;
		p->l->ours->disk[kept] = p->l->ours->disk[i];
		p->l->base_of[kept] = base;
		p->l->scan_of[kept++] = p->l->scan_of[i];
	}
	p->t->len = kept;
}

static int append_chunks(struct pack *p)
{
	cm_autofree struct cm_chunk *fresh = NULL, *all = NULL;
	size_t n = 0;
	int r = cm_upload_finish(p->upload, &fresh, &n, p->err);

	if (r < 0)
		return r;
	all = calloc(p->first_chunk + n + 1, sizeof(*all));
	if (!all)
		return cm_error_nomem(p->err);
	memcpy(all, p->t->chunks, p->first_chunk * sizeof(*all));
	if (n > 0)
		memcpy(all + p->first_chunk, fresh, n * sizeof(*all));
	return cm_tree_set_chunks(p->t, all, p->first_chunk + n, p->err);
}

/*
 * Tells what is to come, and sums up what the new tree will store: by its
 * blocks where a file has holes.
 */
static void expect(struct pack *p, int64_t *ret_stored)
{
	int64_t files = 0, bytes = 0, stored;

	*ret_stored = 0;
	for (size_t i = 0; i < p->t->len; i++) {
		const struct cm_entry *e = &p->t->entries[i];
		const struct cm_scan_entry *on_disk;

		stored = cm_entry_stored(e);
		if (e->flags & CM_ENTRY_UNREAD) {
			on_disk = &p->scan->entries[p->l->scan_of[i]];
			if (on_disk->allocated < stored)
				stored = on_disk->allocated;
			files++;
			bytes += stored;
		}
		*ret_stored += stored;
	}
	cm_job_expect(p->job, files, bytes);
}

static int pack_all(struct pack *p)
{
	int r = read_files(p), finished;

	/* An upload's failure is the reason, if there was one. */
	finished = r < 0 && r != CM_ERR_CANCELLED ? r : append_chunks(p);
	if (r == 0)
		r = finished;
	if (r < 0)
		return finished < 0 ? finished : r;
	r = copy_to_links(p);
	if (r == 0)
		drop_unread(p);
	return r;
}

int cm_pack(struct cm_job *j, const struct cm_root *m,
	    const struct cm_state *base, const struct cm_scan *scan,
	    struct cm_local *l, struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *upload = NULL;
	struct pack p = {.job = j,
			 .base = base,
			 .scan = scan,
			 .l = l,
			 .t = l->ours->tree,
			 .first_chunk = (uint32_t)l->ours->tree->chunks_len,
			 .err = err};
	struct cm_chunk_sizes sizes;
	int64_t stored;
	int r;

	expect(&p, &stored);
	cm_chunk_sizes_for(stored, &sizes);
	cm_chunker_init(&p.chunker, &sizes);
	r = cm_upload_start(j, sizes.max, &upload, err);
	if (r < 0)
		return r;
	p.upload = upload;
	cm_dir_cache_init(&p.dirs, m);
	r = pack_all(&p);
	cm_dir_cache_release(&p.dirs);
	cm_upload_return(upload, p.buffer);
	free(p.waiting);
	return r;
}
