/*
 * statwalk.c - the least that a look at a directory tree can cost: openat,
 * readdir and one fstatat an entry, one thread, nothing kept but the names of
 * folders still to visit. What a save of an unchanged tree is measured against.
 *
 *	statwalk DIR
 *
 * prints entries and bytes of regular files.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

struct walk {
	char **todo; /* folders, relative to the root; each owned */
	size_t len, cap;
	uint64_t entries, bytes;
};

static int push_folder(struct walk *w, const char *folder, const char *name)
{
	char *path = NULL;

	if (w->len == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 256;
		char **todo = realloc(w->todo, cap * sizeof(*todo));

		if (!todo)
			return -1;
		w->todo = todo;
		w->cap = cap;
	}
	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return -1;
	w->todo[w->len++] = path;
	return 0;
}

static int visit_entry(struct walk *w, int dirfd, const char *folder,
		       const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return -1;
	w->entries++;
	if (S_ISREG(st.st_mode))
		w->bytes += (uint64_t)st.st_size;
	return S_ISDIR(st.st_mode) ? push_folder(w, folder, name) : 0;
}

static int visit_folder(struct walk *w, int root, const char *folder)
{
	int fd = openat(root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cm_autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir)
		return -1;
	while ((de = readdir(dir))) {
		if (visit_entry(w, fd, folder, de->d_name))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct walk w = {0};
	int root = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
	int rc = root < 0 ? -1 : visit_folder(&w, root, ".");

	while (rc == 0 && w.len > 0) {
		cm_autofree char *folder = w.todo[--w.len];

		rc = visit_folder(&w, root, folder);
	}
	if (rc)
		perror("statwalk");
	else
		printf("%" PRIu64 " %" PRIu64 "\n", w.entries, w.bytes);
	return rc ? 1 : 0;
}
