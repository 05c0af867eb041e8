/*
 * cmd_verify.c - are the stored bytes what their digests say?
 *
 * Our server reads its own disk again. Another registry has no such call:
 * there every blob is fetched and checked here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/manifest.h>
#include <cachemount/protocol.h>

#include "cli.h"
#include "output.h"

#define FETCH_MAX (64 << 20) /* a blob that is checked here */

struct verify {
	struct cm_cli *cli;
	int64_t checked, bad, skipped;
	json_t *damaged;
};

static int note_bad(struct verify *v, const char *repo, const char *digest,
		    const char *status, struct cm_error *err)
{
	v->bad++;
	if (!v->cli->json)
		cm_say("%s: %s is %s", repo, digest, status);
	if (json_array_append_new(v->damaged,
				  json_pack("{s:s, s:s, s:s}", "repository",
					    repo, "digest", digest, "status",
					    status)) < 0)
		return cm_error_nomem(err);
	return 0;
}

static int take_results(struct verify *v, const char *repo, const json_t *o,
			struct cm_error *err)
{
	const json_t *results = json_object_get(o, "results"), *one;
	size_t i;
	int r = 0;

	json_array_foreach (results, i, one) {
		v->checked++;
		if (strcmp(cm_json_text(one, "status"), "ok") == 0)
			continue;
		r = note_bad(v, repo, cm_json_text(one, "digest"),
			     cm_json_text(one, "status"), err);
		if (r < 0)
			break;
	}
	return r;
}

static int verify_at_server(struct verify *v, const char *repo,
			    const char *reference, struct cm_error *err)
{
	int64_t offset = 0;
	bool more = true;
	int r = 0;

	while (r == 0 && more) {
		cm_autojson json_t *answer = NULL;
		cm_autojson json_t *body =
			json_pack("{s:s, s:I}", "repository", repo, "offset",
				  (json_int_t)offset);

		if (!body)
			return cm_error_nomem(err);
		if (strchr(reference, ':'))
			json_object_set_new(body, "digests",
					    json_pack("[s]", reference));
		else
			json_object_set_new(body, "tag",
					    json_string(reference));
		r = cm_cli_api(v->cli, "POST", CM_API_VERIFY, body, &answer,
			       err);
		if (r == 0)
			r = take_results(v, repo, answer, err);
		more = json_is_true(json_object_get(answer, "more")) &&
		       cm_json_number(answer, "next") > offset;
		offset = cm_json_number(answer, "next");
	}
	return r;
}

static int fetch_one(struct verify *v, struct cm_connection *c,
		     const char *repo, const struct cm_descriptor *d,
		     struct cm_error *err)
{
	cm_autofree void *buf = NULL;
	char digest[CM_DIGEST_TEXT_SIZE];
	struct cm_error why = {0};
	int r;

	if (d->size > FETCH_MAX || d->sha512) {
		v->skipped++;
		return 0;
	}
	buf = malloc((size_t)d->size + 1);
	if (!buf)
		return cm_error_nomem(err);
	v->checked++;
	r = cm_remote_blob_get(c, repo, &d->digest, buf, (size_t)d->size, &why);
	cm_digest_format(&d->digest, digest);
	if (r == CM_ERR_DIGEST || r == CM_ERR_SIZE)
		return note_bad(v, repo, digest, "corrupt", err);
	if (r == CM_ERR_NOT_FOUND)
		return note_bad(v, repo, digest, "missing", err);
	if (r < 0)
		*err = why;
	return r;
}

static int verify_here(struct verify *v, const char *repo,
		       const char *reference, struct cm_error *err)
{
	cm_auto(connection) struct cm_connection *c = NULL;
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_remote_manifest got = {0};
	int r = cm_connection_new(v->cli->remote, &c, err);

	if (r == 0)
		r = cm_remote_manifest_get(c, repo, reference, NULL, &got, err);
	if (r == 0)
		r = cm_manifest_parse(got.bytes, got.len, got.media_type, &m,
				      err);
	for (size_t i = 0; r == 0 && i < m->descriptors_len; i++)
		r = fetch_one(v, c, repo, &m->descriptors[i], err);
	cm_remote_manifest_release(&got);
	return r;
}

static int verify_one(struct verify *v, const char *repo, const char *reference,
		      struct cm_error *err)
{
	int r = verify_at_server(v, repo, reference, err);

	if (r == CM_ERR_UNSUPPORTED)
		r = verify_here(v, repo, reference, err);
	return r;
}

static int verify_tag(void *arg, const json_t *tag, struct cm_error *err)
{
	return verify_one(arg, cm_json_text(tag, "repository"),
			  cm_json_text(tag, "tag"), err);
}

static int report(struct verify *v)
{
	cm_autojson json_t *o = NULL;
	char blobs[CM_COUNT_TEXT_SIZE];

	if (v->cli->json) {
		o = json_pack("{s:i, s:I, s:I, s:I, s:O}", "version", 1,
			      "checked", (json_int_t)v->checked, "bad",
			      (json_int_t)v->bad, "skipped",
			      (json_int_t)v->skipped, "damaged", v->damaged);
		if (cm_print_json(o) < 0)
			return CM_EXIT_FAILED;
	} else {
		printf("%s checked, %" PRId64 " bad\n",
		       cm_count(v->checked, "blob", blobs), v->bad);
		if (v->skipped > 0)
			printf("%" PRId64
			       " not checked: too large to fetch, or named "
			       "by sha512\n",
			       v->skipped);
	}
	return v->bad > 0 ? CM_EXIT_DAMAGED : CM_EXIT_OK;
}

static int verify_references(struct verify *v, const struct cm_verb *verb,
			     char **references, int n, struct cm_error *err)
{
	struct cm_reference ref;
	int r = 0;

	for (int i = 0; i < n && r == 0; i++) {
		if (cm_reference_parse(references[i], &ref, err) < 0)
			return cm_cli_usage(verb, "%s", err->text);
		r = verify_one(v, ref.repo, ref.reference, err);
	}
	return r;
}

int cm_cmd_verify(struct cm_cli *cli, int argc, char **argv)
{
	const struct cm_verb *verb = cm_verb_find("verify");
	cm_autojson json_t *damaged = json_array();
	struct verify v = {.cli = cli, .damaged = damaged};
	struct cm_error err = {0};
	const char *value;
	bool all = false;
	int at = 0, key, r;

	while ((key = cm_cli_option(cli, verb, argc, argv, &at, &value)) != 0) {
		if (key == 'h')
			return cm_cmd_help(cli, 1, (char *[]){argv[-1]});
		if (key != 'a')
			return CM_EXIT_USAGE;
		all = true;
	}
	if (all == (at < argc))
		return cm_cli_usage(verb, "give references, or --all");
	r = cm_cli_finish(cli);
	if (r != 0)
		return r;
	if (all)
		r = cm_cli_each_tag(cli, NULL, verify_tag, &v, &err);
	else
		r = verify_references(&v, verb, argv + at, argc - at, &err);
	if (r > 0)
		return r;
	return r < 0 ? cm_cli_fail(cli, &err) : report(&v);
}
