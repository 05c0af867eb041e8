/* test_faces_oci_error.c - which code a client reads for which failure. */
#include "test.h"

#include <string.h>

#include "faces/oci.h"
#include "faces/oci_error.h"

static void test_faces_oci_error__subject_of_a_route(void **state)
{
	(void)state;
	assert_int_equal(cm_oci_subject_of(NULL), CM_OCI_OTHER);
	assert_int_equal(cm_oci_subject_of("/v2/"), CM_OCI_OTHER);
	assert_int_equal(cm_oci_subject_of("/v2/{name}/tags/list"),
			 CM_OCI_OTHER);
	assert_int_equal(cm_oci_subject_of("/v2/{name}/blobs/{digest}"),
			 CM_OCI_BLOB);
	assert_int_equal(cm_oci_subject_of("/v2/{name}/blobs/uploads/"),
			 CM_OCI_UPLOAD);
	assert_int_equal(
		cm_oci_subject_of("/v2/{name}/blobs/uploads/{session}"),
		CM_OCI_UPLOAD);
	assert_int_equal(cm_oci_subject_of("/v2/{name}/manifests/{reference}"),
			 CM_OCI_MANIFEST);
}

static void test_faces_oci_error__codes(void **state)
{
	static const struct {
		enum cm_status status;
		enum cm_oci_subject subject;
		const char *code;
	} cases[] = {
		{CM_ERR_NOT_FOUND, CM_OCI_BLOB, "BLOB_UNKNOWN"},
		{CM_ERR_NOT_FOUND, CM_OCI_UPLOAD, "BLOB_UPLOAD_UNKNOWN"},
		{CM_ERR_NOT_FOUND, CM_OCI_MANIFEST, "MANIFEST_UNKNOWN"},
		{CM_ERR_NOT_FOUND, CM_OCI_OTHER, "NAME_UNKNOWN"},
		{CM_ERR_INVALID, CM_OCI_NAME, "NAME_INVALID"},
		{CM_ERR_INVALID, CM_OCI_UPLOAD, "BLOB_UPLOAD_INVALID"},
		{CM_ERR_INVALID, CM_OCI_MANIFEST, "MANIFEST_INVALID"},
		{CM_ERR_DIGEST, CM_OCI_UPLOAD, "DIGEST_INVALID"},
		{CM_ERR_SIZE, CM_OCI_MANIFEST, "SIZE_INVALID"},
		{CM_ERR_RANGE, CM_OCI_UPLOAD, "BLOB_UPLOAD_INVALID"},
		{CM_ERR_MISSING_BLOB, CM_OCI_MANIFEST, "MANIFEST_BLOB_UNKNOWN"},
		{CM_ERR_UNSUPPORTED, CM_OCI_BLOB, "UNSUPPORTED"},
		{CM_ERR_DENIED, CM_OCI_BLOB, "DENIED"},
		{CM_ERR_UNAUTHORIZED, CM_OCI_BLOB, "UNAUTHORIZED"},
		{CM_ERR_BUSY, CM_OCI_UPLOAD, "TOOMANYREQUESTS"},
		{CM_ERR_NO_SPACE, CM_OCI_UPLOAD, "INSUFFICIENT_STORAGE"},
		{CM_ERR_IO, CM_OCI_BLOB, "UNKNOWN"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(
			cm_oci_error_code(cases[i].status, cases[i].subject),
			cases[i].code);
}

/* "The code field … containing only uppercase alphabetic characters and
 * underscores." */
static void test_faces_oci_error__codes_are_of_the_grammar(void **state)
{
	(void)state;
	for (int status = CM_ERR_INVALID; status >= CM_ERR_INTERNAL; status--) {
		for (int subject = 0; subject <= CM_OCI_MANIFEST; subject++) {
			const char *code =
				cm_oci_error_code((enum cm_status)status,
						  (enum cm_oci_subject)subject);

			assert_int_equal(strspn(code, "ABCDEFGHIJKLMNOPQRSTUV"
						      "WXYZ_"),
					 strlen(code));
			assert_true(*code);
		}
	}
}

static void test_faces_oci_error__malformed_digests(void **state)
{
	struct cm_error err = {0};
	struct cm_digest d;

	(void)state;
	assert_fails(cm_oci_digest("digest", NULL, &d, &err), CM_ERR_DIGEST,
		     &err);
	assert_non_null(strstr(err.text, "digest is missing"));
	assert_fails(cm_oci_digest("mount", "", &d, &err), CM_ERR_DIGEST, &err);
	assert_fails(cm_oci_digest("mount", "sha256:x", &d, &err),
		     CM_ERR_DIGEST, &err);
	assert_fails(cm_oci_digest("mount", "sha512:ab", &d, &err),
		     CM_ERR_UNSUPPORTED, &err);
	assert_int_equal(cm_oci_digest("mount", "sha256:x", &d, NULL),
			 CM_ERR_DIGEST);
}

static void test_faces_oci_error__a_held_thing_is_a_conflict(void **state)
{
	struct cm_error err = {0};

	(void)state;
	cm_error_set(&err, CM_ERR_PRECONDITION, "held");
	assert_int_equal(cm_oci_delete_failed(CM_ERR_PRECONDITION, &err),
			 CM_ERR_EXISTS);
	assert_int_equal(err.status, CM_ERR_EXISTS);
	assert_string_equal(err.text, "held");
	cm_error_set(&err, CM_ERR_NOT_FOUND, "gone");
	assert_int_equal(cm_oci_delete_failed(CM_ERR_NOT_FOUND, &err),
			 CM_ERR_NOT_FOUND);
	assert_int_equal(err.status, CM_ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faces_oci_error__subject_of_a_route),
		cmocka_unit_test(test_faces_oci_error__codes),
		cmocka_unit_test(
			test_faces_oci_error__codes_are_of_the_grammar),
		cmocka_unit_test(test_faces_oci_error__malformed_digests),
		cmocka_unit_test(
			test_faces_oci_error__a_held_thing_is_a_conflict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
