/* test_common_buildkit.c - which manifests are build caches, and too large. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include <cachemount/buildkit.h>
#include <cachemount/protocol.h>

#define DIGEST                                                                 \
	"sha256:0123456789abcdef0123456789abcdef"                              \
	"0123456789abcdef0123456789abcdef"
#define IMAGE_CONFIG "application/vnd.oci.image.config.v1+json"
#define LAYER	     "application/vnd.oci.image.layer.v1.tar+gzip"

static struct cm_manifest *parse(const char *text)
{
	struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	assert_ok(cm_manifest_parse(text, strlen(text), NULL, &m, &err), &err);
	return m;
}

/* As BuildKit writes one now: the configuration is the image's config. */
static struct cm_manifest *image(const char *config, long long size)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":"
		 "{\"mediaType\":\"%s\",\"digest\":\"" DIGEST
		 "\",\"size\":%lld},\"layers\":[{\"mediaType\":\"" LAYER
		 "\",\"digest\":\"" DIGEST "\",\"size\":99999999}]}",
		 CM_MEDIA_OCI_MANIFEST, config, size);
	return parse(text);
}

/* As it wrote one before 0.21: an index of layers, the configuration last. */
static struct cm_manifest *index_of(long long size)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":"
		 "[{\"mediaType\":\"" LAYER "\",\"digest\":\"" DIGEST
		 "\",\"size\":99999999},{\"mediaType\":\"%s\",\"digest\":"
		 "\"" DIGEST "\",\"size\":%lld}]}",
		 CM_MEDIA_OCI_INDEX, CM_MEDIA_BUILDKIT_CACHE, size);
	return parse(text);
}

static void assert_unreadable(struct cm_manifest *m, int64_t manifest_size,
			      int64_t wanted)
{
	int64_t size = -1;

	assert_int_equal(cm_buildkit_unreadable(m, manifest_size, &size),
			 wanted > 0);
	if (wanted > 0)
		assert_int_equal(size, wanted);
	cm_manifest_free(m);
}

static void test_buildkit__tells_a_cache(void **state)
{
	struct cm_manifest *m = image(CM_MEDIA_BUILDKIT_CACHE, 7);

	(void)state;
	assert_int_equal(cm_buildkit_config(m)->size, 7);
	cm_manifest_free(m);
	m = index_of(8);
	assert_int_equal(cm_buildkit_config(m)->size, 8);
	cm_manifest_free(m);
	m = image(IMAGE_CONFIG, 7);
	assert_null(cm_buildkit_config(m));
	cm_manifest_free(m);
}

static void test_buildkit__tells_what_is_too_large(void **state)
{
	(void)state;
	assert_unreadable(image(CM_MEDIA_BUILDKIT_CACHE, CM_BUILDKIT_READ_MAX),
			  500, 0);
	assert_unreadable(
		image(CM_MEDIA_BUILDKIT_CACHE, CM_BUILDKIT_READ_MAX + 1), 500,
		CM_BUILDKIT_READ_MAX + 1);
	assert_unreadable(index_of(CM_BUILDKIT_READ_MAX + 2), 500,
			  CM_BUILDKIT_READ_MAX + 2);
	assert_unreadable(index_of(5), CM_BUILDKIT_READ_MAX + 3,
			  CM_BUILDKIT_READ_MAX + 3);
	assert_unreadable(image(IMAGE_CONFIG, CM_BUILDKIT_READ_MAX + 1),
			  CM_BUILDKIT_READ_MAX + 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buildkit__tells_a_cache),
		cmocka_unit_test(test_buildkit__tells_what_is_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
