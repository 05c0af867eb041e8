/*
 * tree.c - looks at, makes and edits directory trees for the benchmarks. All
 * choices follow from the seed, and names are visited in byte order, so that a
 * run can be repeated.
 *
 *	tree stat DIR                      files, bytes and median size
 *	tree make DIR FILES BYTES [SEED]   a stand-in for an installed
 *environment tree edit-files DIR PERMILLE [SEED] tree edit-runs DIR PERMILLE
 *[SEED] tree edit-scattered DIR PERMILLE [SEED]
 *
 * The edits change PERMILLE of the tree's bytes and print how many. Changed
 * bytes are flipped in their lowest bit: every one differs and the content
 * compresses as before.
 *
 *	edit-files      whole files, picked at random until there are enough
 *	edit-runs       one run in the middle of each file of 1 MiB or more
 *	edit-scattered  runs of 64 KiB at random places in such files
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#define LARGE	  (1 << 20)
#define SCATTERED (64 << 10)

struct file {
	char *path;
	int64_t size;
};

struct list {
	struct file *files;
	size_t len, cap;
	int64_t bytes;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static int add_file(struct list *l, const char *path, int64_t size)
{
	char *copy = strdup(path);

	if (l->len == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4096;
		struct file *files = realloc(l->files, cap * sizeof(*files));

		if (!files) {
			free(copy);
			return -1;
		}
		l->files = files;
		l->cap = cap;
	}
	if (!copy)
		return -1;
	l->files[l->len++] = (struct file){copy, size};
	l->bytes += size;
	return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int list_files(const char *dir, struct list *l)
{
	char *root = (char *)(uintptr_t)dir;
	char *roots[] = {root, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	FTSENT *e;
	int rc = fts ? 0 : -1;

	while (rc == 0 && (e = fts_read(fts))) {
		if (e->fts_info == FTS_F)
			rc = add_file(l, e->fts_path, e->fts_statp->st_size);
	}
	if (fts)
		fts_close(fts);
	return rc;
}

static void free_list(struct list *l)
{
	for (size_t i = 0; i < l->len; i++)
		free(l->files[i].path);
	free(l->files);
}

static int by_size(const void *a, const void *b)
{
	int64_t x = ((const struct file *)a)->size;
	int64_t y = ((const struct file *)b)->size;

	return (x > y) - (x < y);
}

/* Flips the lowest bit of `len` bytes at `offset`. */
static int flip(const char *path, int64_t offset, int64_t len)
{
	cm_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	cm_autofree unsigned char *buf = malloc((size_t)len + 1);

	if (fd < 0 || !buf || pread(fd, buf, (size_t)len, offset) != len)
		return -1;
	for (int64_t i = 0; i < len; i++)
		buf[i] ^= 1;
	return pwrite(fd, buf, (size_t)len, offset) == len ? 0 : -1;
}

static int64_t edit_files(struct list *l, int64_t want, uint64_t *seed)
{
	int64_t done = 0;

	while (done < want && l->len > 0) {
		size_t i = next_random(seed) % l->len;
		struct file picked = l->files[i];
		int rc = 0;

		/* Large files are the other edits' matter. */
		if (picked.size < LARGE) {
			rc = flip(picked.path, 0, picked.size);
			done += picked.size;
		}
		free(picked.path);
		l->files[i] = l->files[--l->len];
		if (rc)
			return -1;
	}
	return done;
}

static int64_t large_bytes(const struct list *l)
{
	int64_t sum = 0;

	for (size_t i = 0; i < l->len; i++)
		sum += l->files[i].size >= LARGE ? l->files[i].size : 0;
	return sum;
}

static int64_t edit_runs(struct list *l, int64_t want)
{
	int64_t large = large_bytes(l), done = 0;

	for (size_t i = 0; i < l->len && large > 0; i++) {
		const struct file *f = &l->files[i];
		double share = (double)f->size / (double)large;
		int64_t len = (int64_t)((double)want * share);

		if (f->size < LARGE)
			continue;
		if (len > f->size / 2)
			len = f->size / 2;
		if (flip(f->path, (f->size - len) / 2, len))
			return -1;
		done += len;
	}
	return done;
}

static int64_t edit_scattered(struct list *l, int64_t want, uint64_t *seed)
{
	int64_t large = large_bytes(l), done = 0;

	while (done < want && large > 0) {
		int64_t at = (int64_t)(next_random(seed) % (uint64_t)large);

		for (size_t i = 0; i < l->len; i++) {
			const struct file *f = &l->files[i];

			if (f->size < LARGE)
				continue;
			if (at >= f->size) {
				at -= f->size;
				continue;
			}
			if (at > f->size - SCATTERED)
				at = f->size - SCATTERED;
			if (flip(f->path, at, SCATTERED))
				return -1;
			break;
		}
		done += SCATTERED;
	}
	return done;
}

/* Text-like bytes: words from a small vocabulary, so that zstd gets about 4. */
static void fill_text(char *buf, size_t len, uint64_t *seed)
{
	size_t at = 0;

	while (at < len) {
		uint64_t r = next_random(seed);
		char word[17];
		int n = snprintf(word, sizeof(word), "%s%02x%s",
				 r & 1 ? "self." : "    ",
				 (unsigned)(r >> 8) & 0xff, r & 2 ? "(" : "\n");
		size_t room = len - at;

		memcpy(buf + at, word, (size_t)n < room ? (size_t)n : room);
		at += (size_t)n;
	}
}

static int make_file(const char *dir, size_t i, size_t size, uint64_t *seed)
{
	cm_autofree char *path = NULL, *folder = NULL, *buf = malloc(size + 1);
	cm_autofd int fd = -1;

	if (!buf || asprintf(&folder, "%s/pkg%03zu", dir, i / 40) < 0 ||
	    asprintf(&path, "%s/mod%02zu.py", folder, i % 40) < 0)
		return -1;
	if (mkdir(folder, 0755) && errno != EEXIST)
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	fill_text(buf, size, seed);
	return fd >= 0 && write(fd, buf, size) == (ssize_t)size ? 0 : -1;
}

/*
 * Sizes fall off as in an installed environment: a median near 4 KiB, and half
 * of the bytes in a few libraries, one every 200 files.
 */
static int make_tree(const char *dir, size_t files, int64_t bytes,
		     uint64_t seed)
{
	size_t small = (size_t)bytes / 2 / files;
	size_t large = (size_t)bytes / 2 / (files / 200 + 1);

	if (mkdir(dir, 0755) && errno != EEXIST)
		return -1;
	for (size_t i = 0; i < files; i++) {
		uint64_t r = next_random(&seed);
		size_t top = (small / 16) << (r % 8);
		size_t size = (size_t)(r >> 16) % (top + 1);

		if (make_file(dir, i, i % 200 == 0 ? large : size, &seed))
			return -1;
	}
	return 0;
}

static int print_stat(struct list *l)
{
	qsort(l->files, l->len, sizeof(*l->files), by_size);
	printf("files=%zu bytes=%" PRId64 " median=%" PRId64 " largest=%" PRId64
	       "\n",
	       l->len, l->bytes, l->len ? l->files[l->len / 2].size : 0,
	       l->len ? l->files[l->len - 1].size : 0);
	return 0;
}

static int edit(const char *how, struct list *l, int64_t permille,
		uint64_t seed)
{
	int64_t want = l->bytes * permille / 1000, done = -1;

	if (strcmp(how, "edit-files") == 0)
		done = edit_files(l, want, &seed);
	else if (strcmp(how, "edit-runs") == 0)
		done = edit_runs(l, want);
	else if (strcmp(how, "edit-scattered") == 0)
		done = edit_scattered(l, want, &seed);
	if (done < 0)
		return -1;
	printf("bytes=%" PRId64 "\n", done);
	return 0;
}

static uint64_t seed_of(const char *text)
{
	return (text ? strtoull(text, NULL, 10) : 1) * 0x9e3779b97f4a7c15ULL +
	       1;
}

int main(int argc, char **argv)
{
	struct list l = {0};
	int rc = -1;

	if (argc >= 5 && strcmp(argv[1], "make") == 0)
		rc = make_tree(argv[2], strtoul(argv[3], NULL, 10),
			       strtoll(argv[4], NULL, 10), seed_of(argv[5]));
	else if (argc >= 3 && list_files(argv[2], &l) == 0)
		rc = argc == 3 && strcmp(argv[1], "stat") == 0
			     ? print_stat(&l)
			     : edit(argv[1], &l,
				    argc > 3 ? strtoll(argv[3], NULL, 10) : 0,
				    seed_of(argc > 4 ? argv[4] : NULL));
	if (rc)
		fprintf(stderr, "tree: %s\n",
			errno ? strerror(errno) : "usage: see tree.c");
	free_list(&l);
	return rc ? 1 : 0;
}
