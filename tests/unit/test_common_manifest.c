/* test_common_manifest.c - parsing of OCI and Docker manifests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include <cachemount/manifest.h>
#include <cachemount/protocol.h>

#define ROWS(r) (sizeof(r) / sizeof((r)[0]))

#define D(c) "\"sha256:" c c c c "\""
#define A16  "aaaaaaaaaaaaaaaa"
#define B16  "bbbbbbbbbbbbbbbb"

#define CONFIG                                                                 \
	"{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":" D(  \
		A16) ",\"size\":2}"
#define LAYER                                                                  \
	"{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\","           \
	"\"digest\":" D(B16) ",\"size\":1048576}"
#define MANIFEST(rest) "{\"schemaVersion\":2," rest "}"

static int parse(const char *json, const char *type, struct cm_manifest **ret,
		 struct cm_error *err)
{
	return cm_manifest_parse(json, strlen(json), type, ret, err);
}

static void refused(const char *json, const char *type, enum cm_status status,
		    const char *word)
{
	struct cm_manifest *m = NULL;
	struct cm_error err = {0};
	int r = parse(json, type, &m, &err);

	if (r != (int)status)
		fail_msg("%.200s: %s (%s), not %s", json,
			 cm_status_name((enum cm_status)r), err.text,
			 cm_status_name(status));
	if (!strstr(err.text, word))
		fail_msg("%.200s: \"%s\" does not say \"%s\"", json, err.text,
			 word);
	assert_null(m);
}

static void test_manifest__oci(void **state)
{
	static const char json[] = MANIFEST(
		"\"artifactType\":\"" CM_MEDIA_SNAPSHOT "\",\"config\":" CONFIG
		",\"layers\":[" LAYER "," CONFIG "],\"annotations\":{\"a\":"
		"\"b\"},\"subject\":" LAYER);
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_ok(parse(json, CM_MEDIA_OCI_MANIFEST, &m, &err), &err);
	assert_string_equal(m->media_type, CM_MEDIA_OCI_MANIFEST);
	assert_string_equal(m->artifact_type, CM_MEDIA_SNAPSHOT);
	assert_false(m->index);
	assert_true(m->has_subject);
	assert_int_equal(m->subject.algorithm, CM_SHA256);
	assert_int_equal(m->subject.sha256.sha256[0], 0xbb);
	assert_false(m->has_sha512);
	assert_int_equal(m->descriptors_len, 3);
	assert_int_equal(m->descriptors[0].kind, CM_REF_CONFIG);
	assert_int_equal(m->descriptors[0].digest.sha256[31], 0xaa);
	assert_int_equal(m->descriptors[0].size, 2);
	assert_int_equal(m->descriptors[1].kind, CM_REF_LAYER);
	assert_int_equal(m->descriptors[1].size, 1048576);
	assert_string_equal(m->descriptors[1].media_type,
			    "application/vnd.oci.image.layer.v1.tar");
	assert_false(m->descriptors[1].foreign);
}

static void test_manifest__type_from_the_body(void **state)
{
	static const char json[] =
		MANIFEST("\"mediaType\":\"" CM_MEDIA_DOCKER_MANIFEST
			 "\",\"config\":" CONFIG ",\"layers\":[]");
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_ok(parse(json, NULL, &m, &err), &err);
	assert_string_equal(m->media_type, CM_MEDIA_DOCKER_MANIFEST);
	assert_null(m->artifact_type);
	assert_false(m->has_subject);
	assert_int_equal(m->descriptors_len, 1);
}

static void test_manifest__index(void **state)
{
	static const char *const types[] = {CM_MEDIA_OCI_INDEX,
					    CM_MEDIA_DOCKER_LIST};
	static const char json[] =
		MANIFEST("\"manifests\":[" CONFIG "," LAYER "]");

	(void)state;
	for (size_t i = 0; i < ROWS(types); i++) {
		cm_auto(manifest) struct cm_manifest *m = NULL;
		struct cm_error err = {0};

		assert_ok(parse(json, types[i], &m, &err), &err);
		assert_true(m->index);
		assert_int_equal(m->descriptors_len, 2);
		assert_int_equal(m->descriptors[0].kind, CM_REF_MANIFEST);
		assert_int_equal(m->descriptors[1].kind, CM_REF_MANIFEST);
	}
}

static void test_manifest__sha512(void **state)
{
	static const char json[] = MANIFEST(
		"\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"x/y\","
		"\"digest\":\"sha512:" A16 A16 A16 A16 B16 B16 B16 B16
		"\",\"size\":1}],\"subject\":{\"mediaType\":\"x/y\","
		"\"digest\":\"sha512:" B16 B16 B16 B16 A16 A16 A16 A16
		"\",\"size\":1}");
	static const struct cm_digest nothing;
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_ok(parse(json, CM_MEDIA_OCI_MANIFEST, &m, &err), &err);
	assert_true(m->has_sha512);
	assert_null(m->descriptors[0].sha512);
	assert_non_null(m->descriptors[1].sha512);
	assert_int_equal(m->descriptors[1].sha512->algorithm, CM_SHA512);
	assert_int_equal(m->descriptors[1].sha512->sha512[0], 0xaa);
	assert_int_equal(m->descriptors[1].sha512->sha512[63], 0xbb);
	assert_true(cm_digest_equal(&m->descriptors[1].digest, &nothing));
	assert_int_equal(m->subject.algorithm, CM_SHA512);
	assert_int_equal(m->subject.sha512[0], 0xbb);
}

static void type_of(const char *json, const char *media_type, const char *want)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	assert_ok(parse(json, media_type, &m, &err), &err);
	if (want)
		assert_string_equal(cm_manifest_referrer_type(m), want);
	else
		assert_null(cm_manifest_referrer_type(m));
}

static void test_manifest__referrer_type(void **state)
{
	(void)state;
	type_of(MANIFEST("\"artifactType\":\"a/b\",\"config\":" CONFIG
			 ",\"layers\":[]"),
		CM_MEDIA_OCI_MANIFEST, "a/b");
	type_of(MANIFEST("\"artifactType\":\"\",\"config\":" CONFIG
			 ",\"layers\":[]"),
		CM_MEDIA_OCI_MANIFEST, CM_MEDIA_OCI_EMPTY);
	type_of(MANIFEST("\"config\":" CONFIG ",\"layers\":[]"),
		CM_MEDIA_OCI_MANIFEST, CM_MEDIA_OCI_EMPTY);
	type_of(MANIFEST("\"manifests\":[" CONFIG "]"), CM_MEDIA_OCI_INDEX,
		NULL);
	type_of(MANIFEST("\"artifactType\":\"a/b\",\"manifests\":[]"),
		CM_MEDIA_OCI_INDEX, "a/b");
}

static void test_manifest__empty_index_is_legal(void **state)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_ok(parse(MANIFEST("\"manifests\":[]"), CM_MEDIA_OCI_INDEX, &m,
			&err),
		  &err);
	assert_int_equal(m->descriptors_len, 0);
}

static void test_manifest__foreign_layers(void **state)
{
	static const char json[] =
		MANIFEST("\"config\":" CONFIG ",\"layers\":["
			 "{\"mediaType\":\"application/vnd.oci.image.layer."
			 "nondistributable.v1.tar\",\"digest\":" D(
				 A16) ",\"size\":1},"
				      "{\"mediaType\":\"application/"
				      "vnd.docker.image.rootfs.foreign."
				      "diff.tar.gzip\",\"digest\":" D(
					      B16) ",\"size\":1}]");
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_ok(parse(json, CM_MEDIA_OCI_MANIFEST, &m, &err), &err);
	assert_false(m->descriptors[0].foreign);
	assert_true(m->descriptors[1].foreign);
	assert_true(m->descriptors[2].foreign);
}

static void test_manifest__not_json(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"{",
		"nope",
		"{}garbage",
		"\xff\xfe",
		"{\"a\":\"\xff\"}",
		"{\"a\":\"\\u0000\"}",
		"{\"a\":1e999}",
		"{'a':1}",
		"{\"size\":99999999999999999999}",
		"{\"schemaVersion\":2,\"schemaVersion\":2}",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(texts); i++)
		refused(texts[i], CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID,
			"JSON");
	refused("[]", CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "object");
	refused("2", CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "");
}

static void test_manifest__null_body(void **state)
{
	struct cm_manifest *m = NULL;
	struct cm_error err = {0};

	(void)state;
	assert_fails(
		cm_manifest_parse(NULL, 0, CM_MEDIA_OCI_MANIFEST, &m, &err),
		CM_ERR_INVALID, &err);
	cm_manifest_free(NULL);
}

static void test_manifest__schema_version(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"schemaVersion\":1}",
		"{\"schemaVersion\":\"2\"}",
		"{\"schemaVersion\":2.0}",
		"{\"schemaVersion\":null}",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(texts); i++)
		refused(texts[i], CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID,
			"schemaVersion");
}

static void test_manifest__media_type(void **state)
{
	(void)state;
	refused(MANIFEST("\"layers\":[]"), NULL, CM_ERR_INVALID, "mediaType");
	refused(MANIFEST("\"mediaType\":7"), NULL, CM_ERR_INVALID, "mediaType");
	refused(MANIFEST("\"mediaType\":\"" CM_MEDIA_OCI_INDEX "\""),
		CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "mediaType");
	refused(MANIFEST("\"layers\":[]"), "text/plain", CM_ERR_UNSUPPORTED,
		"text/plain");
	refused(MANIFEST("\"layers\":[]"),
		"application/vnd.docker.distribution.manifest.v1+json",
		CM_ERR_UNSUPPORTED, "media type");
}

static void test_manifest__ambiguous(void **state)
{
	(void)state;
	refused(MANIFEST("\"config\":" CONFIG
			 ",\"layers\":[],\"manifests\":[]"),
		CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "manifests");
	refused(MANIFEST("\"manifests\":[],\"layers\":[]"), CM_MEDIA_OCI_INDEX,
		CM_ERR_INVALID, "layers");
	refused(MANIFEST("\"manifests\":[],\"config\":" CONFIG),
		CM_MEDIA_DOCKER_LIST, CM_ERR_INVALID, "config");
}

static void test_manifest__descriptors(void **state)
{
	static const struct {
		const char *layer, *word;
		enum cm_status status;
	} rows[] = {
		{"1", "layers[0]", CM_ERR_INVALID},
		{"null", "layers[0]", CM_ERR_INVALID},
		{"{}", "digest", CM_ERR_INVALID},
		{"{\"digest\":7}", "digest", CM_ERR_INVALID},
		{"{\"digest\":\"sha256:x\"}", "sha256", CM_ERR_INVALID},
		{"{\"digest\":\"sha384:abc\"}", "sha384", CM_ERR_UNSUPPORTED},
		{"{\"digest\":\"sha512:abc\"}", "sha512", CM_ERR_INVALID},
		{"{\"digest\":" D(A16) "}", "size", CM_ERR_INVALID},
		{"{\"digest\":" D(A16) ",\"size\":-1}", "size", CM_ERR_INVALID},
		{"{\"digest\":" D(A16) ",\"size\":1.5}", "size",
		 CM_ERR_INVALID},
		{"{\"digest\":" D(A16) ",\"size\":\"1\"}", "size",
		 CM_ERR_INVALID},
		{"{\"digest\":" D(A16) ",\"size\":1}", "mediaType",
		 CM_ERR_INVALID},
		{"{\"digest\":" D(A16) ",\"size\":1,\"mediaType\":[]}",
		 "mediaType", CM_ERR_INVALID},
	};
	char json[1024];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		snprintf(json, sizeof(json),
			 MANIFEST("\"config\":" CONFIG ",\"layers\":[%s]"),
			 rows[i].layer);
		refused(json, CM_MEDIA_OCI_MANIFEST, rows[i].status,
			rows[i].word);
	}
}

static void test_manifest__parts_of_the_wrong_type(void **state)
{
	(void)state;
	refused(MANIFEST("\"config\":" CONFIG), CM_MEDIA_OCI_MANIFEST,
		CM_ERR_INVALID, "layers");
	refused(MANIFEST("\"config\":" CONFIG ",\"layers\":{}"),
		CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "layers");
	refused(MANIFEST("\"layers\":[]"), CM_MEDIA_OCI_MANIFEST,
		CM_ERR_INVALID, "config");
	refused(MANIFEST("\"a\":1"), CM_MEDIA_OCI_INDEX, CM_ERR_INVALID,
		"manifests");
	refused(MANIFEST("\"config\":" CONFIG
			 ",\"layers\":[],\"artifactType\":1"),
		CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "artifactType");
	refused(MANIFEST("\"config\":" CONFIG ",\"layers\":[],\"subject\":1"),
		CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "subject");
	refused(MANIFEST("\"config\":" CONFIG ",\"layers\":[],\"subject\":{}"),
		CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "subject");
}

/* An index of `n` entries; the caller frees. */
static char *index_of(size_t n)
{
	static const char head[] = "{\"schemaVersion\":2,\"manifests\":[";
	char *json = malloc(sizeof(head) + n * (sizeof(CONFIG) + 1) + 3), *at;

	assert_non_null(json);
	at = stpcpy(json, head);
	for (size_t i = 0; i < n; i++)
		at = stpcpy(stpcpy(at, i ? "," : ""), CONFIG);
	strcpy(at, "]}");
	return json;
}

static void test_manifest__ten_thousand_entries(void **state)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	cm_autofree char *json = index_of(10000);
	struct cm_error err = {0};

	(void)state;
	assert_ok(parse(json, CM_MEDIA_OCI_INDEX, &m, &err), &err);
	assert_int_equal(m->descriptors_len, 10000);
}

static void test_manifest__descriptor_limit(void **state)
{
	cm_autofree char *json = malloc(CM_MANIFEST_MAX);
	char *at;

	(void)state;
	assert_non_null(json);
	at = stpcpy(json, "{\"schemaVersion\":2,\"manifests\":[0");
	for (size_t i = 1; i <= CM_MANIFEST_DESCRIPTORS_MAX; i++)
		at = stpcpy(at, ",0");
	strcpy(at, "]}");
	refused(json, CM_MEDIA_OCI_INDEX, CM_ERR_SIZE, "50001");
}

static void test_manifest__byte_limit(void **state)
{
	cm_autofree char *json = malloc(CM_MANIFEST_MAX + 2);
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_error err = {0};
	char *end;

	(void)state;
	assert_non_null(json);
	memset(json, ' ', CM_MANIFEST_MAX + 1);
	end = stpcpy(json, "{\"schemaVersion\":2,\"manifests\":[]}");
	*end = ' ';
	assert_ok(cm_manifest_parse(json, CM_MANIFEST_MAX, CM_MEDIA_OCI_INDEX,
				    &m, &err),
		  &err);
	json[CM_MANIFEST_MAX + 1] = '\0';
	refused(json, CM_MEDIA_OCI_INDEX, CM_ERR_SIZE, "8388609");
}

/* Two bytes of body must not buy hundreds of bytes of memory. */
static void test_manifest__many_small_values(void **state)
{
	cm_autofree char *json = malloc(CM_MANIFEST_MAX);
	char *at;

	(void)state;
	assert_non_null(json);
	at = stpcpy(json, "{\"schemaVersion\":2,\"manifests\":[],\"a\":[");
	while (at < json + CM_MANIFEST_MAX - 8)
		at = stpcpy(at, "{},");
	strcpy(at, "{}]}");
	refused(json, CM_MEDIA_OCI_INDEX, CM_ERR_SIZE, "values");
}

/* Brackets and commas in strings, behind escapes, are text. */
static void test_manifest__brackets_in_strings(void **state)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	cm_autofree char *json = malloc(CM_MANIFEST_MAX);
	struct cm_error err = {0};
	char *at;

	(void)state;
	assert_non_null(json);
	at = stpcpy(json, "{\"schemaVersion\":2,\"manifests\":[],"
			  "\"annotations\":{\"a\":\"\\\\\\\"");
	memset(at, '[', CM_MANIFEST_MAX / 2);
	memset(at + CM_MANIFEST_MAX / 2, ',', CM_MANIFEST_MAX / 4);
	strcpy(at + CM_MANIFEST_MAX / 4 * 3, "\"}}");
	assert_ok(parse(json, CM_MEDIA_OCI_INDEX, &m, &err), &err);
}

static void test_manifest__deep_nesting(void **state)
{
	size_t n = 100000;
	cm_autofree char *json = malloc(n + 1);

	(void)state;
	assert_non_null(json);
	memset(json, '[', n);
	json[n] = '\0';
	refused(json, CM_MEDIA_OCI_MANIFEST, CM_ERR_INVALID, "JSON");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest__oci),
		cmocka_unit_test(test_manifest__type_from_the_body),
		cmocka_unit_test(test_manifest__index),
		cmocka_unit_test(test_manifest__sha512),
		cmocka_unit_test(test_manifest__referrer_type),
		cmocka_unit_test(test_manifest__empty_index_is_legal),
		cmocka_unit_test(test_manifest__foreign_layers),
		cmocka_unit_test(test_manifest__not_json),
		cmocka_unit_test(test_manifest__null_body),
		cmocka_unit_test(test_manifest__schema_version),
		cmocka_unit_test(test_manifest__media_type),
		cmocka_unit_test(test_manifest__ambiguous),
		cmocka_unit_test(test_manifest__descriptors),
		cmocka_unit_test(test_manifest__parts_of_the_wrong_type),
		cmocka_unit_test(test_manifest__ten_thousand_entries),
		cmocka_unit_test(test_manifest__descriptor_limit),
		cmocka_unit_test(test_manifest__byte_limit),
		cmocka_unit_test(test_manifest__many_small_values),
		cmocka_unit_test(test_manifest__brackets_in_strings),
		cmocka_unit_test(test_manifest__deep_nesting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
