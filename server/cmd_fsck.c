/* cmd_fsck.c - cachemountd fsck, and backup: the folder as it is. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include <cachemount/care.h>
#include <cachemount/units.h>

#include "cmd.h"

/* A line a finding: what it is about, what it is, what became of it. */
static void print_finding(void *arg, const struct cm_finding *f)
{
	(void)arg;
	printf("%s: %s%s%s\n", f->kind, f->text,
	       f->harmless ? " (harmless)" : "", f->mended ? " (mended)" : "");
}

static void print_sum(const struct cm_check_result *r)
{
	char bytes[CM_SIZE_TEXT_SIZE];

	printf("%" PRId64 " blobs (%s) checked, %" PRId64
	       " harmful findings, %" PRId64 " left; %" PRId64
	       " files without a row\n",
	       r->blobs, cm_size_format(r->bytes, bytes), r->harmful, r->left,
	       r->files);
}

static void say_rebuild(const char *data, struct cm_error *err)
{
	cm_cmd_hint(err,
		    "to rebuild the index, run: cachemountd rebuild --data %s",
		    data);
}

enum cm_exit cm_cmd_fsck(const struct cm_cmd_args *args, const char *data,
			 struct cm_error *err)
{
	struct cm_check_options options = {
		.data_dir = data,
		.read_data = args->read_data,
		.repair = args->repair,
		.finding = print_finding,
	};
	struct cm_check_result result;
	int r = cm_check(&options, &result, err);

	if (r == CM_ERR_CORRUPT)
		say_rebuild(data, err);
	if (r < 0)
		return cm_exit_of((enum cm_status)r);
	if (result.index_broken) {
		cm_error_set(err, CM_ERR_CORRUPT, "the index is damaged");
		say_rebuild(data, err);
		return CM_EXIT_CORRUPT;
	}
	print_sum(&result);
	return result.left > 0 ? CM_EXIT_FINDINGS : CM_EXIT_OK;
}

enum cm_exit cm_cmd_backup(const struct cm_cmd_args *args, const char *data,
			   struct cm_error *err)
{
	int r;

	signal(SIGXFSZ, SIG_IGN);
	r = cm_backup_to_file(data, args->operand, err);
	if (r == CM_ERR_BUSY)
		cm_cmd_hint(err, "of a running server, make one with: cachectl "
				 "backup");
	else if (r == CM_ERR_CORRUPT)
		say_rebuild(data, err);
	return cm_exit_of((enum cm_status)r);
}
