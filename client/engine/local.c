/*
 * local.c - the disk against the base: one step over both, in tree order.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "local.h"
#include "root.h"

struct diff {
	struct cm_job *job;
	const struct cm_state *base; /* NULL: none */
	const struct cm_scan *scan;
	bool deep;
	struct cm_local *l;
	struct cm_tree *t;	 /* being built */
	struct cm_disk_id *disk; /* its other half */
	size_t cap;		 /* entries that fit: no more will come */
	struct cm_dir_cache dirs;
	const struct cm_scan_entry *closed; /* unreadable directory, or NULL */
	uint32_t group;			    /* last hard-link group given out */
	struct cm_error *err;
};

static struct cm_entry *add(struct diff *d, uint32_t base, uint32_t scan)
{
	size_t i = d->t->len++;

	d->l->base_of[i] = base;
	d->l->scan_of[i] = scan;
	return &d->t->entries[i];
}

/* Takes the base's entry as it is, and `id` as what is on disk. */
static void keep(struct diff *d, uint32_t base, uint32_t scan,
		 const struct cm_disk_id *id)
{
	struct cm_entry *e = add(d, base, scan);

	*e = d->base->tree->entries[base];
	d->disk[d->t->len - 1] = *id;
}

static int type_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return CM_ENTRY_FILE;
	case S_IFDIR:
		return CM_ENTRY_DIR;
	case S_IFLNK:
		return CM_ENTRY_SYMLINK;
	case S_IFIFO:
		return CM_ENTRY_FIFO;
	default:
		return -1;
	}
}

static void left_out(struct diff *d, const struct cm_scan_entry *s,
		     const char *why)
{
	char shown[CM_SHOWN_SIZE];

	if (!d->deep)
		return;
	d->job->result->left_out++;
	cm_job_warn(d->job, "%s: %s", cm_shown(s->path, shown), why);
}

/* 0 with the target in the arena, or -1 if the link is gone or unfit. */
static int read_target(struct diff *d, const struct cm_scan_entry *s,
		       struct cm_entry_extra *x)
{
	char target[CM_TREE_TARGET_MAX + 1];
	const char *name;
	int dir = cm_dir_cache_parent(&d->dirs, s->path, s->path_len, &name);
	ssize_t n =
		dir < 0 ? -1 : readlinkat(dir, name, target, sizeof(target));

	if (n <= 0 || n > CM_TREE_TARGET_MAX)
		return -1;
	x->target = cm_arena_copy(&d->t->arena, target, (size_t)n);
	x->target_len = (size_t)n;
	return x->target ? 0 : -1;
}

/* What only a closer look tells; -1 if the entry must be left out. */
static int look_closer(struct diff *d, const struct cm_scan_entry *s,
		       struct cm_entry *e)
{
	struct cm_entry_extra x = {0}, *kept;
	cm_autofd int fd = -1;

	if (e->type == CM_ENTRY_SYMLINK && read_target(d, s, &x) < 0)
		return -1;
	if (e->type == CM_ENTRY_DIR && !s->unreadable) {
		fd = cm_root_open_dir(d->dirs.mount, s->path, s->path_len);
		if (fd >= 0 && cm_read_xattrs(fd, &d->t->arena, &x.xattrs,
					      &x.xattrs_len, NULL) < 0)
			return -1;
	}
	if (!x.target && !x.xattrs)
		return 0;
	kept = cm_arena_alloc(&d->t->arena, sizeof(*kept));
	if (!kept)
		return -1;
	*kept = x;
	e->extra = kept;
	return 0;
}

static void describe(struct diff *d, const struct cm_scan_entry *s, int type,
		     struct cm_entry *e)
{
	*e = (struct cm_entry){
		.path = s->path,
		.path_len = s->path_len,
		.type = (uint8_t)type,
		.mode = type == CM_ENTRY_SYMLINK ? 0777
						 : (uint16_t)(s->mode & 07777),
		.flags = CM_ENTRY_CHANGED,
		.uid = s->uid,
		.gid = s->gid,
		.mtime_ns = s->id.mtime_ns,
		.size = type == CM_ENTRY_FILE ? s->id.size : 0,
	};
	if (!d->deep || type == CM_ENTRY_FILE)
		e->flags |= CM_ENTRY_UNREAD;
}

/* Something on disk that the base does not hold, or not like this. */
static void add_changed(struct diff *d, uint32_t base, uint32_t scan)
{
	const struct cm_scan_entry *s = &d->scan->entries[scan];
	const struct cm_entry *b =
		base == CM_NO_INDEX ? NULL : &d->base->tree->entries[base];
	int type = type_of(s->mode);
	struct cm_entry e;

	if (type < 0) {
		left_out(d, s, "sockets and devices are not saved");
		return;
	}
	describe(d, s, type, &e);
	if (d->deep && look_closer(d, s, &e) < 0) {
		left_out(d, s, "cannot be read");
		return;
	}
	if (b && !(b->flags & ~CM_ENTRY_ABSENT) &&
	    !(e.flags & CM_ENTRY_UNREAD) && cm_entry_same_metadata(&e, b)) {
		keep(d, base, scan, &s->id);
		d->t->entries[d->t->len - 1].flags = 0;
		return;
	}
	*add(d, base, scan) = e;
	d->disk[d->t->len - 1] = s->id;
	d->l->changed++;
	if (s->id.ctime_ns > d->l->latest_ctime_ns)
		d->l->latest_ctime_ns = s->id.ctime_ns;
}

/* Something of the base that is not on disk. */
static void base_only(struct diff *d, uint32_t base)
{
	static const struct cm_disk_id unknown;
	const struct cm_entry *b = &d->base->tree->entries[base];

	if (b->flags & CM_ENTRY_GHOST)
		return;
	if ((b->flags & CM_ENTRY_ABSENT) ||
	    (d->closed && cm_path_below(d->closed->path, d->closed->path_len,
					b->path, b->path_len)))
		keep(d, base, CM_NO_INDEX, &unknown);
	else
		d->l->deleted++;
}

static void on_disk(struct diff *d, uint32_t base, uint32_t scan)
{
	const struct cm_scan_entry *s = &d->scan->entries[scan];

	if (s->unreadable) {
		d->closed = s;
		left_out(d, s, "another file system, or it may not be read");
	}
	if (base != CM_NO_INDEX &&
	    cm_disk_id_equal(&d->base->disk[base], &s->id))
		keep(d, base, scan, &s->id);
	else
		add_changed(d, base, scan);
}

static int compare_at(const struct diff *d, size_t base, size_t base_len,
		      size_t scan)
{
	const struct cm_entry *b;
	const struct cm_scan_entry *s;

	if (base == base_len)
		return 1;
	if (scan == d->scan->len)
		return -1;
	b = &d->base->tree->entries[base];
	s = &d->scan->entries[scan];
	return cm_path_compare(b->path, b->path_len, s->path, s->path_len);
}

static void step_over_both(struct diff *d)
{
	size_t base_len = d->base ? d->base->tree->len : 0;
	uint32_t b = 0, s = 0;

	while (b < base_len || s < d->scan->len) {
		int order = compare_at(d, b, base_len, s);

		if (order < 0)
			base_only(d, b++);
		else if (order > 0)
			on_disk(d, CM_NO_INDEX, s++);
		else
			on_disk(d, b++, s++);
	}
}

/* ---- hard links ------------------------------------------------------- */

struct link {
	uint64_t ino;
	uint32_t entry;
};

static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->entry > y->entry) - (x->entry < y->entry);
}

/*
 * Gives one group to the changed files that are one inode. All names of an
 * inode share its ctime, so they are changed or kept together, and a kept one
 * has its group from the base.
 */
static int group_links(struct diff *d)
{
	cm_autofree struct link *links = calloc(d->t->len + 1, sizeof(*links));
	size_t n = 0;

	if (!links)
		return cm_error_nomem(d->err);
	for (uint32_t i = 0; i < d->t->len; i++) {
		const struct cm_entry *e = &d->t->entries[i];
		uint32_t scan = d->l->scan_of[i];

		if ((e->flags & CM_ENTRY_CHANGED) && e->type == CM_ENTRY_FILE &&
		    d->scan->entries[scan].nlink > 1)
			links[n++] =
				(struct link){d->scan->entries[scan].id.ino, i};
	}
	qsort(links, n, sizeof(*links), compare_links);
	d->group = cm_tree_last_group(d->t);
	for (size_t i = 1; i < n; i++) {
		struct cm_entry *before = &d->t->entries[links[i - 1].entry];

		if (links[i].ino != links[i - 1].ino)
			continue;
		if (before->hlink == 0)
			before->hlink = ++d->group;
		d->t->entries[links[i].entry].hlink = before->hlink;
	}
	return 0;
}

static int prepare(struct diff *d)
{
	size_t n = d->scan->len + (d->base ? d->base->tree->len : 0);
	const struct cm_tree *bt = d->base ? d->base->tree : NULL;
	struct cm_tree *t = NULL;
	int r;

	if (n >= CM_NO_INDEX)
		return cm_error_set(d->err, CM_ERR_SIZE, "too many entries");
	r = cm_tree_new(bt ? bt->chunks : NULL, bt ? bt->chunks_len : 0, &t,
			d->err);
	if (r < 0)
		return r;
	t->entries = calloc(n + 1, sizeof(*t->entries));
	t->cap = n + 1;
	/* For the second half of the state to be as long, until it is filled.
	 */
	t->len = n;
	r = cm_state_new(t, &d->l->ours, d->err);
	t = r < 0 ? NULL : d->l->ours->tree;
	if (r < 0)
		return r;
	t->len = 0;
	d->t = t;
	d->disk = d->l->ours->disk;
	d->l->base_of = calloc(n + 1, sizeof(*d->l->base_of));
	d->l->scan_of = calloc(n + 1, sizeof(*d->l->scan_of));
	return t->entries && d->l->base_of && d->l->scan_of
		       ? 0
		       : cm_error_nomem(d->err);
}

int cm_local_diff(struct cm_job *j, const struct cm_root *m,
		  const struct cm_state *base, const struct cm_scan *scan,
		  bool deep, struct cm_local **ret, struct cm_error *err)
{
	cm_auto(local) struct cm_local *l = calloc(1, sizeof(*l));
	struct diff d = {.job = j,
			 .base = base,
			 .scan = scan,
			 .deep = deep,
			 .l = l,
			 .err = err};
	int r;

	if (!l)
		return cm_error_nomem(err);
	r = prepare(&d);
	if (r < 0)
		return r;
	cm_dir_cache_init(&d.dirs, m);
	step_over_both(&d);
	cm_dir_cache_release(&d.dirs);
	r = group_links(&d);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(l);
	return 0;
}

void cm_local_free(struct cm_local *l)
{
	if (!l)
		return;
	cm_state_free(l->ours);
	free(l->base_of);
	free(l->scan_of);
	free(l);
}
