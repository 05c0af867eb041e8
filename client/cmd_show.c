/* cmd_show.c - one snapshot, or another manifest: what is in it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/units.h>

#include "cli.h"
#include "engine/tree.h"
#include "output.h"
#include "show_manifest.h"

static const char *const type_names[] = {
	[CM_ENTRY_FILE] = "file",
	[CM_ENTRY_DIR] = "dir",
	[CM_ENTRY_SYMLINK] = "symlink",
	[CM_ENTRY_FIFO] = "fifo",
};

struct summary {
	struct cm_tree_totals totals;
	int64_t dirs, largest, chunk_bytes;
	const char *largest_path;
};

static void summarize(const struct cm_tree *t, struct summary *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->largest_path = "";
	cm_tree_totals(t, &ret->totals);
	for (size_t i = 0; i < t->len; i++) {
		if (t->entries[i].type == CM_ENTRY_DIR)
			ret->dirs++;
		if (t->entries[i].type != CM_ENTRY_FILE ||
		    t->entries[i].size <= ret->largest)
			continue;
		ret->largest = t->entries[i].size;
		ret->largest_path = t->entries[i].path;
	}
	for (size_t i = 0; i < t->chunks_len; i++)
		ret->chunk_bytes += t->chunks[i].size;
}

static void print_files(const struct cm_tree *t)
{
	char time[CM_TIME_TEXT_SIZE];
	const struct cm_entry *e;

	for (size_t i = 0; i < t->len; i++) {
		e = &t->entries[i];
		printf("%-7s %04o %5" PRIu32 ":%-5" PRIu32 " %12" PRId64 " %s ",
		       type_names[e->type], e->mode, e->uid, e->gid, e->size,
		       cm_time_format(e->mtime_ns / 1000000, time));
		cm_print_escaped(stdout, e->path);
		if (e->extra && e->extra->target) {
			fputs(" -> ", stdout);
			cm_print_escaped(stdout, e->extra->target);
		}
		putchar('\n');
	}
}

struct look {
	const struct cm_reference *ref;
	bool pinned;
};

static int note_pin(void *arg, const json_t *tag, struct cm_error *err)
{
	struct look *look = arg;

	(void)err;
	if (strcmp(cm_json_text(tag, "repository"), look->ref->repo) == 0 &&
	    strcmp(cm_json_text(tag, "tag"), look->ref->reference) == 0)
		look->pinned = json_is_true(json_object_get(tag, "pinned"));
	return 0;
}

/* Whether our server keeps it from eviction; another server can't say. */
static bool is_pinned(struct cm_cli *cli, const struct cm_reference *ref)
{
	struct look look = {.ref = ref};

	cm_cli_each_tag(cli, ref->repo, note_pin, &look, NULL);
	return look.pinned;
}

static void print_summary(const struct cm_reference *ref,
			  const struct cm_digest *d, const struct summary *s,
			  size_t chunks)
{
	char digest[CM_DIGEST_TEXT_SIZE], size[CM_SIZE_TEXT_SIZE];
	char chunk_size[CM_SIZE_TEXT_SIZE], largest[CM_SIZE_TEXT_SIZE];
	char files[CM_COUNT_TEXT_SIZE], dirs[CM_COUNT_TEXT_SIZE];

	printf("reference  %s%s%s\n", ref->repo,
	       strchr(ref->reference, ':') ? "@" : ":", ref->reference);
	printf("manifest   %s\n", cm_digest_format(d, digest));
	printf("content    %s in %s, %s, %" PRId64 " links and others\n",
	       cm_size_format(s->totals.bytes, size),
	       cm_count(s->totals.files, "file", files),
	       cm_count(s->dirs, "folder", dirs), s->totals.others);
	printf("chunks     %zu, %s\n", chunks,
	       cm_size_format(s->chunk_bytes, chunk_size));
	if (s->largest > 0) {
		printf("largest    %s, ", cm_size_format(s->largest, largest));
		cm_print_escaped(stdout, s->largest_path);
		putchar('\n');
	}
}

static json_t *summary_json(const struct cm_reference *ref,
			    const struct cm_digest *d, const struct summary *s,
			    size_t chunks)
{
	char digest[CM_DIGEST_TEXT_SIZE];

	return json_pack(
		"{s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "version",
		1, "repository", ref->repo, "reference", ref->reference,
		"manifest", cm_digest_format(d, digest), "bytes",
		(json_int_t)s->totals.bytes, "files",
		(json_int_t)s->totals.files, "folders", (json_int_t)s->dirs,
		"others", (json_int_t)s->totals.others, "chunks",
		(json_int_t)chunks, "chunk_bytes", (json_int_t)s->chunk_bytes);
}

/* The tree's own JSON lines are the one faithful form of any path. */
static int print_tree_text(const struct cm_tree *t)
{
	cm_autofree char *text = NULL;
	struct cm_error err = {0};
	size_t len;

	if (cm_tree_format(t, &text, &len, &err) < 0) {
		cm_say("%s", err.text);
		return CM_EXIT_FAILED;
	}
	if (fwrite(text, 1, len, stdout) != len || fflush(stdout) != 0)
		return CM_EXIT_FAILED;
	return CM_EXIT_OK;
}

static int show_tree(struct cm_cli *cli, const struct cm_reference *ref,
		     const struct cm_digest *d, const struct cm_tree *t,
		     bool files)
{
	cm_autojson json_t *o = NULL;
	struct summary s;

	if (files && cli->json)
		return print_tree_text(t);
	summarize(t, &s);
	if (cli->json) {
		o = summary_json(ref, d, &s, t->chunks_len);
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	}
	if (files)
		print_files(t);
	else
		print_summary(ref, d, &s, t->chunks_len);
	if (!files && is_pinned(cli, ref))
		puts("pinned     yes");
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

static int show(struct cm_cli *cli, const struct cm_reference *ref, bool files)
{
	cm_auto(connection) struct cm_connection *c = NULL;
	cm_auto(tree) struct cm_tree *t = NULL;
	struct cm_error err = {0};
	struct cm_digest d;
	int r = cm_cli_remote(cli, &err);

	if (r == 0)
		r = cm_connection_new(cli->remote, &c, &err);
	if (r == 0)
		r = cm_snapshot_fetch_tree(c, ref->repo, ref->reference, &t, &d,
					   &err);
	if (r == CM_ERR_UNSUPPORTED && !files)
		return cm_show_manifest(cli, c, ref);
	if (r < 0)
		return cm_cli_fail(cli, &err);
	return show_tree(cli, ref, &d, t, files);
}

int cm_cmd_show(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("show");
	const char *value, *operand = NULL;
	struct cm_error err = {0};
	struct cm_reference ref;
	bool files = false;
	int at = 0, key, r;

	do {
		while ((key = cm_cli_option(cli, verb, argc, argv, &at,
					    &value)) != 0) {
			if (key == 'h')
				return cm_cmd_help(cli, 1,
						   (char *[]){argv[-1]});
			if (key != 'f')
				return CM_EXIT_USAGE;
			files = true;
		}
		if (at < argc && operand)
			return cm_cli_usage(verb, "one reference at a time");
		if (at < argc)
			operand = argv[at++];
	} while (at < argc);
	if (!operand)
		return cm_cli_usage(verb, "which snapshot?");
	r = cm_cli_finish(cli);
	if (r != 0)
		return r;
	if (cm_reference_parse(operand, &ref, &err) < 0)
		return cm_cli_usage(verb, "%s", err.text);
	return show(cli, &ref, files);
}
