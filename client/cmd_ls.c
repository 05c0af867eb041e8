/* cmd_ls.c - ls and du: what the cache holds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

/* Options of a verb that has none of its own; one operand at most. */
static int simple_options(struct cm_cli *cli, const char *name, int argc,
			  char **argv, const char **ret_operand)
{
	const struct cm_verb *verb = cm_verb_find(name);
	const char *value;
	int at = 0, key;

	key = cm_cli_option(cli, verb, argc, argv, &at, &value);
	if (key == 'h')
		return -1;
	if (key != 0)
		return CM_EXIT_USAGE;
	*ret_operand = at < argc ? argv[at++] : NULL;
	key = cm_cli_option(cli, verb, argc, argv, &at, &value);
	if (key != 0)
		return key == 'h' ? -1 : CM_EXIT_USAGE;
	if (at < argc)
		return cm_cli_usage(verb, "one prefix is enough");
	return cm_cli_finish(cli);
}

/* ---- ls ------------------------------------------------------------------ */

struct listing {
	struct cm_table *table; /* or */
	json_t *array;
	int64_t count;
	int64_t unimportable; /* build caches too large for BuildKit … */
	char first[512];      /* … and one of them */
};

/* "2026-01-31T09:30:00Z" as "2026-01-31 09:30"; "never" if there is none. */
static const char *short_time(const char *rfc3339, char out[20])
{
	if (strlen(rfc3339) < 16)
		return "never";
	snprintf(out, 20, "%.10s %.5s", rfc3339, rfc3339 + 11);
	return out;
}

static int ls_row(void *arg, const json_t *tag, struct cm_error *err)
{
	struct listing *l = arg;
	char ref[512], size[CM_SIZE_TEXT_SIZE], updated[20], pulled[20];
	const char *writer = cm_json_text(tag, "writer");
	json_t *copy;

	l->count++;
	if (json_is_false(json_object_get(tag, "importable")) &&
	    l->unimportable++ == 0)
		snprintf(l->first, sizeof(l->first), "%s:%s",
			 cm_json_text(tag, "repository"),
			 cm_json_text(tag, "tag"));
	if (l->array) {
		copy = json_deep_copy(tag);
		return json_array_append_new(l->array, copy) == 0
			       ? 0
			       : cm_error_nomem(err);
	}
	snprintf(ref, sizeof(ref), "%s:%s", cm_json_text(tag, "repository"),
		 cm_json_text(tag, "tag"));
	cm_table_row(l->table,
		     (const char *[]){
			     ref,
			     cm_size_format(cm_json_number(tag, "size"), size),
			     short_time(cm_json_text(tag, "updated"), updated),
			     short_time(cm_json_text(tag, "pulled"), pulled),
			     json_is_true(json_object_get(tag, "pinned"))
				     ? "yes"
				     : "-",
			     writer[0] ? writer : "-",
		     });
	return 0;
}

static void tell_unimportable(const struct listing *l)
{
	char caches[CM_COUNT_TEXT_SIZE];

	if (l->unimportable > 0)
		cm_say("BuildKit will not import %s, too large for it, such as "
		       "%s; see cachectl show",
		       cm_count(l->unimportable, "build cache", caches),
		       l->first);
}

static int tell_nothing(const char *prefix)
{
	cm_say("nothing is saved%s%s", prefix ? " below " : " yet",
	       prefix ? prefix : "");
	return CM_EXIT_OK;
}

int cm_cmd_ls(struct cm_cli *cli, int argc, char **argv)
{
	static const char *const headings[] = {"REFERENCE", ">SIZE",  "SAVED",
					       "PULLED",    "PINNED", "WRITER"};
	struct cm_error err = {0};
	struct listing l = {0};
	cm_autojson json_t *o = NULL;
	const char *prefix = NULL;
	int r = simple_options(cli, "ls", argc, argv, &prefix);

	if (r < 0)
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r > 0)
		return r;
	if (cli->json)
		l.array = json_array();
	else
		l.table = cm_table_new(headings, 6);
	r = cm_cli_each_tag(cli, prefix, ls_row, &l, &err);
	if (cli->json)
		o = json_pack("{s:i, s:o}", "version", 1, "tags", l.array);
	if (r < 0) {
		cm_table_free(l.table);
		return cm_cli_fail(cli, &err);
	}
	if (cli->json)
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	if (l.count == 0) {
		cm_table_free(l.table);
		return tell_nothing(prefix);
	}
	tell_unimportable(&l);
	return cm_table_print(l.table) ? CM_EXIT_OK : CM_EXIT_FAILED;
}

/* ---- du ------------------------------------------------------------------ */

/* Rows come by repository, so one sum at a time is enough. */
struct usage {
	struct cm_table *table; /* or */
	json_t *array;
	char repo[CM_REPOSITORY_MAX + 1];
	int64_t tags, bytes, total;
};

static void end_repository(struct usage *u)
{
	char size[CM_SIZE_TEXT_SIZE], tags[24];

	if (u->tags == 0)
		return;
	u->total += u->bytes;
	if (u->array)
		json_array_append_new(u->array,
				      json_pack("{s:s, s:I, s:I}", "repository",
						u->repo, "tags",
						(json_int_t)u->tags, "bytes",
						(json_int_t)u->bytes));
	snprintf(tags, sizeof(tags), "%" PRId64, u->tags);
	cm_table_row(u->table,
		     (const char *[]){u->repo, tags,
				      cm_size_format(u->bytes, size)});
	u->tags = u->bytes = 0;
}

static int du_row(void *arg, const json_t *tag, struct cm_error *err)
{
	struct usage *u = arg;
	const char *repo = cm_json_text(tag, "repository");

	(void)err;
	if (strcmp(repo, u->repo) != 0) {
		end_repository(u);
		snprintf(u->repo, sizeof(u->repo), "%s", repo);
	}
	u->tags++;
	u->bytes += cm_json_number(tag, "size");
	return 0;
}

static int print_usage(struct cm_cli *cli, struct usage *u, const char *prefix,
		       const json_t *store)
{
	int64_t content = cm_json_number(store, "content_bytes");
	int64_t stored = cm_json_number(store, "stored_bytes");
	char total[CM_SIZE_TEXT_SIZE], distinct[CM_SIZE_TEXT_SIZE];
	char disk[CM_SIZE_TEXT_SIZE];
	cm_autojson json_t *o = NULL;

	if (cli->json) {
		o = json_pack("{s:i, s:O, s:I, s:I, s:I}", "version", 1,
			      "repositories", u->array, "bytes",
			      (json_int_t)u->total, "store_content_bytes",
			      (json_int_t)content, "store_stored_bytes",
			      (json_int_t)stored);
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	}
	if (!u->repo[0])
		return tell_nothing(prefix);
	if (!cm_table_print(cm_take_ptr(u->table)))
		return CM_EXIT_FAILED;
	printf("\n%s in these; the whole store holds %s of distinct content, "
	       "%s on disk\n",
	       cm_size_format(u->total, total),
	       cm_size_format(content, distinct), cm_size_format(stored, disk));
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

int cm_cmd_du(struct cm_cli *cli, int argc, char **argv)
{
	static const char *const headings[] = {"REPOSITORY", ">TAGS",
					       ">CONTENT"};
	struct cm_error err = {0};
	struct usage u = {0};
	cm_autojson json_t *stats = NULL;
	cm_autojson json_t *array = NULL;
	const char *prefix = NULL;
	int r = simple_options(cli, "du", argc, argv, &prefix);

	if (r < 0)
		return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
	if (r > 0)
		return r;
	if (cli->json)
		u.array = array = json_array();
	else
		u.table = cm_table_new(headings, 3);
	r = cm_cli_each_tag(cli, prefix, du_row, &u, &err);
	if (r == 0)
		r = cm_cli_api(cli, "GET", CM_API_STATS, NULL, &stats, &err);
	end_repository(&u);
	if (r == 0)
		r = print_usage(cli, &u, prefix,
				json_object_get(stats, "store"));
	else
		r = cm_cli_fail(cli, &err);
	cm_table_free(u.table);
	return r;
}
