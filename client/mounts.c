/*
 * mounts.c - restoring and saving the mounts of a build step, all at once, and
 * telling what became of each in one line.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/units.h>

#include "cli.h"
#include "output.h"

/* One mount in the hands of a thread. */
struct task {
	struct cm_cli *cli;
	struct cm_run_mount *mount;
	unsigned jobs;
	bool save;
	bool allow_setuid;
	bool allow_empty;
	pthread_t thread;
	bool runs;
};

static void warn(void *arg, const char *text)
{
	const struct task *t = arg;

	if (!t->cli->quiet)
		cm_say("%s: %s", t->mount->option.id, text);
}

static void progress(void *arg, const struct cm_progress *p)
{
	const struct task *t = arg;

	if (!t->cli->quiet)
		cm_bar_update(NULL, p);
}

/* SCOPE/NAME into `out`. */
static int repository(const char *scope, const char *name,
		      char out[static CM_REPOSITORY_MAX + 1],
		      struct cm_error *err)
{
	int n = snprintf(out, CM_REPOSITORY_MAX + 1, "%s/%s", scope, name);

	if (n > CM_REPOSITORY_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "scope and mount name are too long "
				    "together: %d bytes, at most %d",
				    n, CM_REPOSITORY_MAX);
	return 0;
}

/* The repositories to read from when the own one has nothing. */
struct fallbacks {
	char names[CM_FALLBACKS_MAX][CM_REPOSITORY_MAX + 1];
	const char *list[CM_FALLBACKS_MAX + 1];
};

static int fill_fallbacks(const struct cm_config *c, const char *name,
			  struct fallbacks *ret, struct cm_error *err)
{
	size_t n = 0;
	int r;

	for (size_t i = 0; i < c->fallbacks_len; i++) {
		if (strcmp(c->fallback_scopes[i], c->values[CM_SET_SCOPE]) == 0)
			continue;
		r = repository(c->fallback_scopes[i], name, ret->names[n], err);
		if (r < 0)
			return r;
		ret->list[n] = ret->names[n];
		n++;
	}
	ret->list[n] = NULL;
	return 0;
}

static int run_task(struct task *t, struct cm_error *err)
{
	const struct cm_mount_option *m = &t->mount->option;
	const struct cm_config *c = &t->cli->config;
	char repo[CM_REPOSITORY_MAX + 1];
	struct fallbacks fallbacks;
	struct cm_snapshot_options o = {
		.remote = t->cli->remote,
		.id = m->id,
		.path = m->path,
		.repo = repo,
		.tag = m->tag,
		.fallback_repos = fallbacks.list,
		.merge = m->merge,
		.jobs = t->jobs,
		.allow_setuid = t->allow_setuid,
		.allow_empty = t->allow_empty,
		.progress = progress,
		.warning = warn,
		.arg = t,
	};
	int r = repository(c->values[CM_SET_SCOPE], m->name, repo, err);

	if (r == 0)
		r = fill_fallbacks(c, m->name, &fallbacks, err);
	if (r < 0)
		return r;
	if (t->save)
		return cm_snapshot_save(&o, &t->mount->saved, err);
	return cm_snapshot_restore(&o, &t->mount->restored, err);
}

static void *task_main(void *arg)
{
	struct task *t = arg;
	struct cm_error *err =
		t->save ? &t->mount->save_error : &t->mount->restore_error;
	int r;

	memset(err, 0, sizeof(*err));
	r = run_task(t, err);
	/* A failure whose reason nobody recorded is one all the same. */
	if (r < 0 && err->status == CM_OK)
		cm_error_set(err, (enum cm_status)r, "%s",
			     cm_status_name((enum cm_status)r));
	return NULL;
}

static void run_all(struct task *tasks, size_t n)
{
	/* One mount needs no thread; what can't have one waits its turn. */
	for (size_t i = 1; i < n; i++)
		tasks[i].runs = pthread_create(&tasks[i].thread, NULL,
					       task_main, &tasks[i]) == 0;
	for (size_t i = 0; i < n; i++)
		if (!tasks[i].runs)
			task_main(&tasks[i]);
	for (size_t i = 1; i < n; i++)
		if (tasks[i].runs)
			pthread_join(tasks[i].thread, NULL);
	cm_bar_end();
}

/* ---- telling ------------------------------------------------------------- */

static void tell_restored(const struct cm_run_mount *m, const char *scope)
{
	const struct cm_snapshot_result *s = &m->restored;
	char size[CM_SIZE_TEXT_SIZE], time[CM_DURATION_TEXT_SIZE];
	char files[CM_COUNT_TEXT_SIZE];
	const char *id = m->option.id;

	cm_duration_format(s->ms, time);
	if (s->skipped)
		cm_say("%s: not restored: %s", id, s->skipped);
	else if (!s->hit)
		cm_say("%s: nothing saved yet as %s/%s:%s", id, scope,
		       m->option.name, m->option.tag);
	else if (s->unchanged)
		cm_say("%s: already as %s:%s, %s (%s)", id, s->repo,
		       m->option.tag, cm_count(s->files, "file", files), time);
	else
		cm_say("%s: restored %s, %s, in %s from %s:%s", id,
		       cm_count(s->files_written, "file", files),
		       cm_size_format(s->bytes_written, size), time, s->repo,
		       m->option.tag);
}

static void tell_saved(const struct cm_run_mount *m)
{
	const struct cm_snapshot_result *s = &m->saved;
	char sent[CM_SIZE_TEXT_SIZE], size[CM_SIZE_TEXT_SIZE];
	char time[CM_DURATION_TEXT_SIZE], files[CM_COUNT_TEXT_SIZE];

	cm_duration_format(s->ms, time);
	if (s->skipped)
		cm_say("%s: not saved: %s", m->option.id, s->skipped);
	else if (!s->published)
		cm_say("%s: unchanged, nothing to save (%s)", m->option.id,
		       time);
	else
		cm_say("%s: saved %s, %s, sending %s in %s%s", m->option.id,
		       cm_count(s->files, "file", files),
		       cm_size_format(s->bytes, size),
		       cm_size_format(s->sent, sent), time,
		       s->merges > 0 ? ", merged with another builder's" : "");
}

/*
 * One line for all mounts if the cache is gone, since the reason is the same;
 * else one for each.
 */
static void tell_failures(struct cm_cli *cli, struct cm_run_mount *mounts,
			  size_t n, bool save)
{
	const struct cm_error *e;
	bool told = false;

	for (size_t i = 0; i < n; i++) {
		e = save ? &mounts[i].save_error : &mounts[i].restore_error;
		/* Who sent the signal knows. */
		if (e->status == CM_OK || e->status == CM_ERR_CANCELLED)
			continue;
		if (e->status == CM_ERR_UNAVAILABLE) {
			if (!told)
				cm_say("cache unavailable%s: %s",
				       cli->config.strict
					       ? ""
					       : ", going on without",
				       e->text);
			told = true;
			continue;
		}
		cm_say("%s: not %s%s: %s", mounts[i].option.id,
		       save ? "saved" : "restored",
		       cli->config.strict ? "" : ", going on without", e->text);
	}
}

/* ---- both ways ------------------------------------------------------------
 */

static void work(struct cm_cli *cli, struct cm_run_mount *mounts, size_t n,
		 const struct task *form)
{
	struct task tasks[CM_MOUNTS_MAX];
	struct cm_error err = {0};
	int r = cm_cli_remote(cli, &err);

	for (size_t i = 0; i < n; i++) {
		if (form->save)
			mounts[i].save_tried = true;
		if (r < 0 && form->save)
			mounts[i].save_error = err;
		else if (r < 0)
			mounts[i].restore_error = err;
		tasks[i] = *form;
		tasks[i].cli = cli;
		tasks[i].mount = &mounts[i];
		tasks[i].jobs = cli->config.jobs;
	}
	if (r == 0)
		run_all(tasks, n);
	tell_failures(cli, mounts, n, form->save);
}

void cm_mounts_restore(struct cm_cli *cli, struct cm_run_mount *mounts,
		       size_t n, bool allow_setuid)
{
	work(cli, mounts, n, &(struct task){.allow_setuid = allow_setuid});
	for (size_t i = 0; i < n && !cli->quiet; i++)
		if (mounts[i].restore_error.status == CM_OK)
			tell_restored(&mounts[i],
				      cli->config.values[CM_SET_SCOPE]);
}

void cm_mounts_save(struct cm_cli *cli, struct cm_run_mount *mounts, size_t n,
		    bool allow_empty)
{
	work(cli, mounts, n,
	     &(struct task){.save = true, .allow_empty = allow_empty});
	for (size_t i = 0; i < n && !cli->quiet; i++)
		if (mounts[i].save_error.status == CM_OK)
			tell_saved(&mounts[i]);
}

/* ---- JSON ------------------------------------------------------------------
 */

static json_t *result_json(const struct cm_snapshot_result *s,
			   const struct cm_error *e, bool save)
{
	char digest[CM_DIGEST_TEXT_SIZE];
	json_t *o;

	if (e->status != CM_OK)
		return json_pack("{s:s, s:o}", "error",
				 cm_status_name(e->status), "message",
				 cm_json_of_text(e->text));
	o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "unchanged",
		      s->unchanged, "files", (json_int_t)s->files, "bytes",
		      (json_int_t)s->bytes, "sent_bytes", (json_int_t)s->sent,
		      "received_bytes", (json_int_t)s->received, "ms",
		      (json_int_t)s->ms);
	if (!o)
		return NULL;
	if (s->skipped)
		json_object_set_new(o, "skipped", json_string(s->skipped));
	if (save ? s->published : s->hit) {
		json_object_set_new(
			o, "manifest",
			json_string(cm_digest_format(&s->manifest, digest)));
		json_object_set_new(o, "repository", json_string(s->repo));
	}
	if (save) {
		json_object_set_new(o, "published", json_boolean(s->published));
		json_object_set_new(o, "merges", json_integer(s->merges));
		json_object_set_new(o, "left_out", json_integer(s->left_out));
		json_object_set_new(o, "read_bytes",
				    json_integer(s->bytes_read));
	} else {
		json_object_set_new(o, "hit", json_boolean(s->hit));
		json_object_set_new(o, "written_files",
				    json_integer(s->files_written));
		json_object_set_new(o, "written_bytes",
				    json_integer(s->bytes_written));
	}
	return o;
}

json_t *cm_mount_json(const struct cm_run_mount *m, bool restored, bool saved)
{
	json_t *o = json_pack(
		"{s:o, s:o, s:s}", "id", cm_json_of_text(m->option.id), "path",
		cm_json_of_text(m->option.path), "tag", m->option.tag);

	if (o && restored)
		json_object_set_new(
			o, "restored",
			result_json(&m->restored, &m->restore_error, false));
	if (o && saved)
		json_object_set_new(
			o, "saved",
			result_json(&m->saved, &m->save_error, true));
	return o;
}
