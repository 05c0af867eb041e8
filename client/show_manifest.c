/* show_manifest.c - any manifest, as people and programs read it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cachemount/buildkit.h>
#include <cachemount/units.h>

#include "output.h"
#include "show_manifest.h"

/* What is told of a manifest. */
struct facts {
	const char *kind;
	size_t parts;	/* descriptors */
	int64_t bytes;	/* of all it names */
	int64_t config; /* bytes of a build cache's configuration, or -1 */
	bool unreadable;
	int64_t too_large; /* bytes of what makes it so */
};

static void gather(const struct cm_manifest *m, int64_t size, struct facts *ret)
{
	const struct cm_descriptor *config = cm_buildkit_config(m);

	*ret = (struct facts){
		.kind = config	   ? "build cache"
			: m->index ? "index"
				   : "image",
		.parts = m->descriptors_len,
		.config = config ? config->size : -1,
	};
	if (!config && m->artifact_type)
		ret->kind = "artifact";
	for (size_t i = 0; i < m->descriptors_len; i++)
		if (__builtin_add_overflow(ret->bytes, m->descriptors[i].size,
					   &ret->bytes))
			ret->bytes = INT64_MAX;
	ret->unreadable = cm_buildkit_unreadable(m, size, &ret->too_large);
}

static void print_facts(const struct cm_reference *ref,
			const struct cm_digest *d, const struct cm_manifest *m,
			const struct facts *f)
{
	char digest[CM_DIGEST_TEXT_SIZE], size[CM_SIZE_TEXT_SIZE];
	char config[CM_SIZE_TEXT_SIZE], parts[CM_COUNT_TEXT_SIZE];

	printf("reference  %s%s%s\n", ref->repo,
	       strchr(ref->reference, ':') ? "@" : ":", ref->reference);
	printf("manifest   %s\n", cm_digest_format(d, digest));
	printf("kind       %s, ", f->kind);
	cm_print_escaped(stdout,
			 m->artifact_type ? m->artifact_type : m->media_type);
	printf("\ncontent    %s in %s\n", cm_size_format(f->bytes, size),
	       cm_count((int64_t)f->parts, "part", parts));
	if (f->config >= 0)
		printf("steps      %s of configuration\n",
		       cm_size_format(f->config, config));
}

static json_t *facts_json(const struct cm_reference *ref,
			  const struct cm_digest *d,
			  const struct cm_manifest *m, const struct facts *f)
{
	char digest[CM_DIGEST_TEXT_SIZE];

	return json_pack(
		"{s:i, s:s, s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:o, s:b}",
		"version", 1, "repository", ref->repo, "reference",
		ref->reference, "manifest", cm_digest_format(d, digest), "kind",
		f->kind, "mediaType", m->media_type, "artifactType",
		m->artifact_type, "bytes", (json_int_t)f->bytes, "parts",
		(json_int_t)f->parts, "config_bytes",
		f->config < 0 ? json_null() : json_integer(f->config),
		"importable", !f->unreadable);
}

static void warn(const struct facts *f)
{
	char is[CM_SIZE_TEXT_SIZE], most[CM_SIZE_TEXT_SIZE];

	if (f->unreadable)
		cm_say("BuildKit will not import this cache: %s of "
		       "configuration, and it reads at most %s; mode=min or "
		       "fewer steps make it smaller",
		       cm_size_format(f->too_large, is),
		       cm_size_format(CM_BUILDKIT_READ_MAX, most));
}

static int print(struct cm_cli *cli, const struct cm_reference *ref,
		 const struct cm_remote_manifest *got,
		 const struct cm_manifest *m)
{
	cm_autojson json_t *o = NULL;
	struct facts f;

	gather(m, (int64_t)got->len, &f);
	warn(&f);
	if (cli->json) {
		o = facts_json(ref, &got->digest, m, &f);
		return cm_print_json(o) < 0 ? CM_EXIT_FAILED : CM_EXIT_OK;
	}
	print_facts(ref, &got->digest, m, &f);
	return fflush(stdout) == 0 ? CM_EXIT_OK : CM_EXIT_FAILED;
}

int cm_show_manifest(struct cm_cli *cli, struct cm_connection *c,
		     const struct cm_reference *ref)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_remote_manifest got = {0};
	struct cm_error err = {0};
	int r = cm_remote_manifest_get(c, ref->repo, ref->reference, NULL, &got,
				       &err);

	if (r == 0)
		r = cm_manifest_parse(got.bytes, got.len,
				      *got.media_type ? got.media_type : NULL,
				      &m, &err);
	r = r < 0 ? cm_cli_fail(cli, &err) : print(cli, ref, &got, m);
	cm_remote_manifest_release(&got);
	return r;
}
