/*
 * fuzz-manifest-json.c - OCI and Docker manifests.
 *
 * Pattern: as fuzz-names.c. The first byte picks what the client says the body
 * is, the rest is the body. What parses keeps the promises of manifest.h; what
 * does not says why in one line.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include <cachemount/manifest.h>
#include <cachemount/protocol.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const content_types[] = {
	NULL,
	CM_MEDIA_OCI_MANIFEST,
	CM_MEDIA_OCI_INDEX,
	CM_MEDIA_DOCKER_MANIFEST,
	CM_MEDIA_DOCKER_LIST,
	"application/json",
};

static void check_refusal(int r, const struct cm_error *err)
{
	assert(r == err->status);
	assert(r == CM_ERR_INVALID || r == CM_ERR_UNSUPPORTED ||
	       r == CM_ERR_SIZE);
	assert(err->text[0]);
	for (const char *s = err->text; *s; s++)
		assert((unsigned char)*s >= 0x20 && *s != 0x7f);
}

static void check_manifest(const struct cm_manifest *m, const char *said)
{
	static const struct cm_digest nothing;

	assert(m->media_type && (!said || strcmp(m->media_type, said) == 0));
	assert(m->descriptors_len <= CM_MANIFEST_DESCRIPTORS_MAX);
	for (size_t i = 0; i < m->descriptors_len; i++) {
		const struct cm_descriptor *d = &m->descriptors[i];

		assert(d->media_type && d->size >= 0);
		assert(!d->sha512 || (m->has_sha512 &&
				      cm_digest_equal(&d->digest, &nothing)));
		if (m->index)
			assert(d->kind == CM_REF_MANIFEST);
		else
			assert(d->kind == (i ? CM_REF_LAYER : CM_REF_CONFIG));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t types = sizeof(content_types) / sizeof(content_types[0]);
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};
	const char *said;
	int r;

	if (size == 0)
		return -1;
	said = content_types[data[0] % types];
	r = cm_manifest_parse(data + 1, size - 1, said, &m, &err);
	if (r < 0)
		check_refusal(r, &err);
	else
		check_manifest(m, said);
	return 0;
}
