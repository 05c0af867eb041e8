/*
 * scan.c - the stat walk.
 *
 * Threads take directories off a common stack, and push the ones they find.
 * Each directory becomes a node with its names sorted; when the stack is
 * empty, one walk over the nodes puts the entries into tree order. A directory
 * is opened anew by its path from the mount, so no descriptor waits.
 *
 * Locks: `lock` covers the stack, the counters and the error. A node belongs
 * to the thread that took it; `arena` and `entries` of a worker are its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "root.h"
#include "scan.h"
#include "tree.h"

#define THREADS_MAX 16
#define DENTS_SIZE  (64 << 10)

struct node {
	struct node *below; /* in the stack */
	const char *path;
	uint32_t path_len;
	bool unreadable;
	struct item *items; /* sorted by name */
	size_t len;
};

struct item {
	struct cm_scan_entry e;
	struct node *node; /* of a directory, else NULL */
};

struct walk {
	const struct cm_root *mount;
	int64_t max_entries;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct node *stack;
	unsigned busy; /* threads that hold a node, and may push more */
	int64_t entries;
	int status;
	struct cm_error err;
};

struct worker {
	struct walk *walk;
	struct cm_arena arena;
	struct item *items; /* of the directory being read */
	size_t len, cap;
	char *dents;
	pthread_t thread;
};

void cm_disk_id_of(const struct stat *st, struct cm_disk_id *ret)
{
	ret->ino = st->st_ino;
	ret->ctime_ns = cm_timespec_ns(&st->st_ctim);
	ret->mtime_ns = cm_timespec_ns(&st->st_mtim);
	ret->size = st->st_size;
}

static bool is_ours(const struct node *n, const char *name)
{
	return n->path_len == 0 && strcmp(name, CM_MOUNT_STATE_DIR) == 0;
}

static struct item *add_item(struct worker *w)
{
	size_t cap = w->cap ? w->cap * 2 : 64;
	struct item *grown;

	if (w->len == w->cap) {
		grown = reallocarray(w->items, cap, sizeof(*grown));
		if (!grown)
			return NULL;
		w->items = grown;
		w->cap = cap;
	}
	return &w->items[w->len++];
}

/* "dir/name" in the worker's arena. */
static const char *join_path(struct worker *w, const struct node *n,
			     const char *name, uint32_t *ret_len)
{
	size_t name_len = strlen(name),
	       from = n->path_len ? n->path_len + 1 : 0;
	char *path = cm_arena_alloc(&w->arena, from + name_len + 1);

	if (!path)
		return NULL;
	if (from) {
		memcpy(path, n->path, n->path_len);
		path[n->path_len] = '/';
	}
	memcpy(path + from, name, name_len + 1);
	*ret_len = (uint32_t)(from + name_len);
	return path;
}

/* The node of a directory found; it will be pushed when its parent is done. */
static int add_node(struct worker *w, struct item *item, dev_t dev)
{
	struct node *n = cm_arena_alloc(&w->arena, sizeof(*n));

	if (!n)
		return -1;
	memset(n, 0, sizeof(*n));
	n->path = item->e.path;
	n->path_len = item->e.path_len;
	n->unreadable = dev != w->walk->mount->dev;
	item->node = n;
	return 0;
}

static int add_name(struct worker *w, const struct node *n, int fd,
		    const char *name)
{
	struct item *item;
	struct stat st;

	/* Gone since it was listed: nothing to tell. */
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -1;
	if (n->path_len + strlen(name) + 1 > CM_TREE_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	item = add_item(w);
	if (!item)
		return -1;
	memset(item, 0, sizeof(*item));
	item->e.path = join_path(w, n, name, &item->e.path_len);
	if (!item->e.path)
		return -1;
	item->e.mode = st.st_mode;
	item->e.uid = st.st_uid;
	item->e.gid = st.st_gid;
	item->e.nlink = (uint32_t)st.st_nlink;
	item->e.allocated = (int64_t)st.st_blocks * 512;
	cm_disk_id_of(&st, &item->e.id);
	return S_ISDIR(st.st_mode) ? add_node(w, item, st.st_dev) : 0;
}

static int list_names(struct worker *w, const struct node *n, int fd)
{
	const struct dirent64 *d;
	ssize_t got;

	while ((got = getdents64(fd, w->dents, DENTS_SIZE)) > 0) {
		for (ssize_t at = 0; at < got; at += d->d_reclen) {
			d = (const void *)(w->dents + at);
			if (strcmp(d->d_name, ".") == 0 ||
			    strcmp(d->d_name, "..") == 0 ||
			    is_ours(n, d->d_name))
				continue;
			if (add_name(w, n, fd, d->d_name) < 0)
				return -1;
		}
	}
	return got < 0 ? -1 : 0;
}

/* Names of one directory, so their paths differ behind the same prefix. */
static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return strcmp(x->e.path, y->e.path);
}

/* Reads the directory of `n`; -1 with errno. */
static int read_node(struct worker *w, struct node *n)
{
	cm_autofd int fd = -1;

	if (n->unreadable)
		return 0;
	fd = cm_root_open_dir(w->walk->mount, n->path, n->path_len);
	if (fd < 0) {
		/* Gone, replaced or forbidden: its content is not known. */
		n->unreadable = true;
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
				       errno == EACCES
			       ? 0
			       : -1;
	}
	w->len = 0;
	if (list_names(w, n, fd) < 0)
		return -1;
	if (w->len == 0)
		return 0;
	qsort(w->items, w->len, sizeof(*w->items), compare_items);
	n->items = cm_arena_alloc(&w->arena, w->len * sizeof(*w->items));
	if (!n->items)
		return -1;
	memcpy(n->items, w->items, w->len * sizeof(*w->items));
	n->len = w->len;
	return 0;
}

/* The next directory to read, or NULL when there are and will be no more. */
static struct node *take_node(struct walk *walk)
{
	struct node *n = NULL;

	pthread_mutex_lock(&walk->lock);
	while (!walk->stack && walk->busy > 0 && walk->status == 0)
		pthread_cond_wait(&walk->wake, &walk->lock);
	if (walk->stack && walk->status == 0) {
		n = walk->stack;
		walk->stack = n->below;
		walk->busy++;
	}
	pthread_mutex_unlock(&walk->lock);
	return n;
}

static void fail(struct walk *walk, const struct node *n)
{
	if (walk->status < 0)
		return;
	walk->status = cm_error_errno(&walk->err, "cannot scan %s",
				      n->path_len ? n->path : "the mount");
}

/* Hands the node back: pushes its directories, wakes who waits. */
static void finish_node(struct walk *walk, struct node *n, int r)
{
	pthread_mutex_lock(&walk->lock);
	walk->busy--;
	walk->entries += (int64_t)n->len;
	if (r < 0)
		fail(walk, n);
	else if (walk->entries > walk->max_entries && walk->status == 0)
		walk->status = cm_error_set(&walk->err, CM_ERR_SIZE,
					    "the mount has more than %lld "
					    "entries",
					    (long long)walk->max_entries);
	for (size_t i = n->len; i-- > 0;) {
		if (!n->items[i].node)
			continue;
		n->items[i].node->below = walk->stack;
		walk->stack = n->items[i].node;
	}
	pthread_cond_broadcast(&walk->wake);
	pthread_mutex_unlock(&walk->lock);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct node *n;
	int r;

	while ((n = take_node(w->walk))) {
		errno = ENOMEM;
		r = w->dents ? read_node(w, n) : -1;
		finish_node(w->walk, n, r);
	}
	return NULL;
}

/* Where the walk over the finished nodes stands. */
struct cursor {
	const struct node *node;
	size_t next;
};

/* Puts the nodes' entries into tree order: parent, then children by name. */
static int collect(const struct node *root, struct cm_scan *s)
{
	cm_autofree struct cursor *stack = NULL;
	size_t depth = 1, cap = 64;

	stack = calloc(cap, sizeof(*stack));
	if (!stack)
		return -1;
	stack[0].node = root;
	while (depth > 0) {
		struct cursor *top = &stack[depth - 1], *grown;
		const struct item *item;

		if (top->next == top->node->len) {
			depth--;
			continue;
		}
		item = &top->node->items[top->next++];
		s->entries[s->len++] = item->e;
		if (!item->node)
			continue;
		s->entries[s->len - 1].unreadable = item->node->unreadable;
		if (depth == cap) {
			cap *= 2;
			grown = reallocarray(stack, cap, sizeof(*stack));
			if (!grown)
				return -1;
			stack = grown;
		}
		stack[depth++] = (struct cursor){item->node, 0};
	}
	return 0;
}

/* Runs `n` workers, this thread being the first of them. */
static void run_workers(struct worker *workers, unsigned n)
{
	unsigned started = 1;

	while (started < n && pthread_create(&workers[started].thread, NULL,
					     work, &workers[started]) == 0)
		started++;
	work(&workers[0]);
	while (--started > 0)
		pthread_join(workers[started].thread, NULL);
}

static void finish_workers(struct worker *workers, unsigned n,
			   struct cm_scan *s)
{
	for (unsigned i = 0; i < n; i++) {
		cm_arena_adopt(&s->arena, &workers[i].arena);
		free(workers[i].items);
		free(workers[i].dents);
	}
}

int cm_scan_mount(const struct cm_root *m, unsigned threads,
		  int64_t max_entries, struct cm_scan **ret,
		  struct cm_error *err)
{
	cm_auto(scan) struct cm_scan *s = calloc(1, sizeof(*s));
	struct node root = {.path = ""};
	struct worker workers[THREADS_MAX] = {0};
	struct walk walk = {.mount = m,
			    .max_entries = max_entries,
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .wake = PTHREAD_COND_INITIALIZER,
			    .stack = &root};

	if (!s)
		return cm_error_nomem(err);
	threads = threads < 1		  ? 1
		  : threads > THREADS_MAX ? THREADS_MAX
					  : threads;
	for (unsigned i = 0; i < threads; i++) {
		workers[i].walk = &walk;
		workers[i].dents = malloc(DENTS_SIZE);
	}
	run_workers(workers, threads);
	finish_workers(workers, threads, s);
	if (walk.status == 0 && root.unreadable)
		walk.status = cm_error_set(&walk.err, CM_ERR_IO,
					   "the mount may not be read");
	if (walk.status < 0) {
		if (err)
			*err = walk.err;
		return walk.status;
	}
	s->entries = calloc((size_t)walk.entries + 1, sizeof(*s->entries));
	if (!s->entries || collect(&root, s) < 0)
		return cm_error_nomem(err);
	*ret = cm_take_ptr(s);
	return 0;
}

void cm_scan_free(struct cm_scan *s)
{
	if (!s)
		return;
	cm_arena_release(&s->arena);
	free(s->entries);
	free(s);
}

bool cm_clock_is_past(int64_t ctime_ns)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return cm_timespec_ns(&now) > ctime_ns;
}

bool cm_wait_past(int64_t ctime_ns)
{
	const struct timespec pause = {0, 1000 * 1000};

	for (int i = 0; i < 50; i++) {
		if (cm_clock_is_past(ctime_ns))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}
