/* cmd_rebuild.c - cachemountd rebuild: a new index from a backup. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include <cachemount/care.h>
#include <cachemount/units.h>

#include "cmd.h"

/* What the files lack is summed up below; each of a million helps nobody. */
static void print_finding(void *arg, const struct cm_finding *f)
{
	static const char *const summed[] = {"blob", "file"};

	(void)arg;
	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++)
		if (f->kind[0] == summed[i][0] && f->kind[1] == summed[i][1])
			return;
	printf("%s: %s%s\n", f->kind, f->text, f->mended ? " (mended)" : "");
}

static void print_result(const struct cm_rebuild_result *r)
{
	char made[CM_TIME_TEXT_SIZE];

	if (r->from[0] == '\0')
		puts("from nothing: there was no backup");
	else if (r->made_ms > 0)
		printf("from %s, made %s\n", r->from,
		       cm_time_format(r->made_ms, made));
	else
		printf("from %s\n", r->from);
	if (r->check.lost > 0)
		printf("%" PRId64 " of its blobs are gone: what names them is "
		       "a miss until they are pushed again\n",
		       r->check.lost);
	if (r->check.files > 0)
		printf("%" PRId64 " files are of blobs that it does not know: "
		       "the server removes them in time\n",
		       r->check.files);
	printf("the index now has %" PRId64 " tags and %" PRId64 " blobs\n",
	       r->tags, r->blobs);
	if (r->aside[0])
		printf("the old index is kept as %s\n", r->aside);
}

enum cm_exit cm_cmd_rebuild(const struct cm_cmd_args *args, const char *data,
			    struct cm_error *err)
{
	struct cm_rebuild_options options = {
		.data_dir = data,
		.backup = args->from,
		.empty = args->empty,
		.force = args->force,
		.finding = print_finding,
	};
	struct cm_rebuild_result result;
	int r;

	signal(SIGXFSZ, SIG_IGN);
	r = cm_rebuild(&options, &result, err);
	if (r == CM_ERR_NOT_FOUND && !args->from)
		cm_cmd_hint(err, "--empty begins with no names at all");
	else if (r == CM_ERR_PRECONDITION)
		cm_cmd_hint(err, "--force does it all the same");
	if (r < 0)
		return cm_exit_of((enum cm_status)r);
	print_result(&result);
	return CM_EXIT_OK;
}
