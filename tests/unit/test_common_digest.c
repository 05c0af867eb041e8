/* test_common_digest.c - digests as text and as a running hash. */
#include <string.h>

#include "test.h"

#include <cachemount/digest.h>

#define HEX_EMPTY                                                              \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX_ABC                                                                \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

#define HEX512_EMPTY                                                           \
	"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"     \
	"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
#define HEX512_ABC                                                             \
	"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"     \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static int parse(const char *text, struct cm_digest *ret, struct cm_error *err)
{
	return cm_digest_parse(text, strlen(text), ret, err);
}

static void test_digest__round_trip(void **state)
{
	char text[CM_DIGEST_TEXT_SIZE], hex[CM_DIGEST_HEX_LEN + 1];
	struct cm_error err = {0};
	struct cm_digest d;

	(void)state;
	assert_ok(parse("sha256:" HEX_ABC, &d, &err), &err);
	assert_ptr_equal(cm_digest_format(&d, text), text);
	assert_string_equal(text, "sha256:" HEX_ABC);
	assert_ptr_equal(cm_digest_hex(&d, hex), hex);
	assert_string_equal(hex, HEX_ABC);
}

static void test_digest__malformed_is_invalid(void **state)
{
	static const char *const texts[] = {
		"",
		":",
		"sha256",
		"sha256:",
		":" HEX_ABC,
		HEX_ABC,
		"SHA256:" HEX_ABC,
		"sha256:baddigeststring",
		"sha256:" HEX_ABC "0",
		"sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff6"
		"1f20015ad",
		"sha256:../../../../etc/passwd",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff6"
		"1f20015a/",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff6"
		"1f20015ag",
		" sha256:" HEX_ABC,
		("sha256:" HEX_ABC "\n"),
		"+sha256:" HEX_ABC,
		"sha256+:" HEX_ABC,
		"sha++256:" HEX_ABC,
		"sha256::" HEX_ABC,
	};
	struct cm_error err;
	struct cm_digest d;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		memset(&err, 0, sizeof(err));
		memset(&d, 0x5a, sizeof(d));
		assert_fails(parse(texts[i], &d, &err), CM_ERR_INVALID, &err);
		/* A failed parse writes nothing. */
		for (size_t j = 0; j < sizeof(d.sha256); j++)
			assert_int_equal(d.sha256[j], 0x5a);
	}
}

static void test_digest__other_algorithms_are_unsupported(void **state)
{
	static const char *const texts[] = {
		"sha512:" HEX_ABC HEX_ABC,
		"md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
		"multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4",
		"sha2:x",
		("sha2567:" HEX_ABC),
	};
	struct cm_error err;
	struct cm_digest d;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		memset(&err, 0, sizeof(err));
		assert_fails(parse(texts[i], &d, &err), CM_ERR_UNSUPPORTED,
			     &err);
	}
}

static void test_digest__length_counts_not_the_nul(void **state)
{
	static const char with_nul[] = "sha256:" HEX_ABC;
	char cut[] = "sha256:" HEX_ABC "garbage";
	struct cm_error err = {0};
	struct cm_digest d;

	(void)state;
	assert_ok(cm_digest_parse(cut, strlen(with_nul), &d, &err), &err);
	assert_fails(cm_digest_parse(with_nul, sizeof(with_nul), &d, &err),
		     CM_ERR_INVALID, &err);
	cut[20] = '\0';
	assert_fails(cm_digest_parse(cut, strlen(with_nul), &d, &err),
		     CM_ERR_INVALID, &err);
}

static void test_digest__of_known_answers(void **state)
{
	char hex[CM_DIGEST_HEX_LEN + 1];
	struct cm_error err = {0};
	struct cm_digest d;

	(void)state;
	assert_ok(cm_digest_of("", 0, &d, &err), &err);
	assert_string_equal(cm_digest_hex(&d, hex), HEX_EMPTY);
	assert_ok(cm_digest_of("abc", 3, &d, &err), &err);
	assert_string_equal(cm_digest_hex(&d, hex), HEX_ABC);
}

static void test_digest__compare_orders_as_bytes(void **state)
{
	struct cm_digest low = {{0}}, high = {{0}};

	(void)state;
	assert_true(cm_digest_equal(&low, &high));
	low.sha256[0] = 0x7f;
	high.sha256[0] = 0x80;
	assert_true(cm_digest_compare(&low, &high) < 0);
	assert_true(cm_digest_compare(&high, &low) > 0);
	assert_false(cm_digest_equal(&low, &high));
	high.sha256[0] = 0x7f;
	high.sha256[CM_SHA256_LEN - 1] = 1;
	assert_true(cm_digest_compare(&low, &high) < 0);
}

static void test_hasher__pieces_equal_whole(void **state)
{
	cm_auto(hasher) struct cm_hasher *h = NULL;
	struct cm_digest whole, pieces;
	struct cm_error err = {0};
	unsigned char data[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 31 + i / 251);
	assert_ok(cm_digest_of(data, sizeof(data), &whole, &err), &err);
	assert_ok(cm_hasher_new(&h, &err), &err);
	for (size_t at = 0, n = 1; at < sizeof(data); at += n, n = n * 2 + 1) {
		if (n > sizeof(data) - at)
			n = sizeof(data) - at;
		assert_ok(cm_hasher_update(h, data + at, n, &err), &err);
	}
	assert_ok(cm_hasher_update(h, data, 0, &err), &err);
	assert_ok(cm_hasher_final(h, &pieces, &err), &err);
	assert_true(cm_digest_equal(&whole, &pieces));
}

static void test_hasher__reset_starts_another(void **state)
{
	cm_auto(hasher) struct cm_hasher *h = NULL;
	char hex[CM_DIGEST_HEX_LEN + 1];
	struct cm_error err = {0};
	struct cm_digest d;

	(void)state;
	assert_ok(cm_hasher_new(&h, &err), &err);
	assert_ok(cm_hasher_update(h, "half of someth", 14, &err), &err);
	assert_ok(cm_hasher_reset(h, &err), &err);
	assert_ok(cm_hasher_update(h, "abc", 3, &err), &err);
	assert_ok(cm_hasher_final(h, &d, &err), &err);
	assert_string_equal(cm_digest_hex(&d, hex), HEX_ABC);
	assert_ok(cm_hasher_reset(h, &err), &err);
	assert_ok(cm_hasher_final(h, &d, &err), &err);
	assert_string_equal(cm_digest_hex(&d, hex), HEX_EMPTY);
	cm_hasher_free(NULL);
}

static int parse_any(const char *text, struct cm_any_digest *ret,
		     struct cm_error *err)
{
	return cm_any_digest_parse(text, strlen(text), ret, err);
}

static void test_any_digest__round_trip(void **state)
{
	static const char *const texts[] = {
		"sha256:" HEX_ABC,
		"sha256:" HEX_EMPTY,
		"sha512:" HEX512_ABC,
		"sha512:" HEX512_EMPTY,
	};
	char text[CM_ANY_DIGEST_TEXT_SIZE];
	struct cm_any_digest d[4];
	struct cm_error err = {0};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_ok(parse_any(texts[i], &d[i], &err), &err);
		assert_int_equal(d[i].algorithm, i < 2 ? CM_SHA256 : CM_SHA512);
		assert_ptr_equal(cm_any_digest_format(&d[i], text), text);
		assert_string_equal(text, texts[i]);
	}
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 4; j++)
			assert_int_equal(cm_any_digest_equal(&d[i], &d[j]),
					 i == j);
}

static void test_any_digest__refuses(void **state)
{
	static const char *const malformed[] = {
		"sha512:" HEX_ABC,
		"sha256:" HEX512_ABC,
		"sha512:" HEX512_ABC "0",
		"sha512:",
		"sha512:" HEX_ABC HEX_ABC "/",
		"sha512",
	};
	struct cm_any_digest d;
	struct cm_error err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		assert_fails(parse_any(malformed[i], &d, &err), CM_ERR_INVALID,
			     &err);
	assert_fails(parse_any("sha384:" HEX_ABC, &d, &err), CM_ERR_UNSUPPORTED,
		     &err);
}

static void test_any_digest__known_answers(void **state)
{
	cm_auto(hasher) struct cm_hasher *h = NULL;
	char text[CM_ANY_DIGEST_TEXT_SIZE];
	struct cm_any_digest d;
	struct cm_error err = {0};
	struct cm_digest narrow;
	size_t len;

	(void)state;
	assert_ok(cm_any_digest_of(CM_SHA512, "abc", 3, &d, &err), &err);
	assert_string_equal(cm_any_digest_format(&d, text),
			    "sha512:" HEX512_ABC);
	assert_int_equal(cm_any_digest_bytes(&d, &len)[0], 0xdd);
	assert_int_equal(len, CM_SHA512_LEN);
	assert_ok(cm_any_digest_of(CM_SHA256, "abc", 3, &d, &err), &err);
	assert_string_equal(cm_any_digest_format(&d, text), "sha256:" HEX_ABC);
	cm_any_digest_bytes(&d, &len);
	assert_int_equal(len, CM_SHA256_LEN);
	assert_ok(cm_hasher_new_of(CM_SHA512, &h, &err), &err);
	assert_ok(cm_hasher_update(h, "ab", 2, &err), &err);
	assert_ok(cm_hasher_update(h, "c", 1, &err), &err);
	assert_ok(cm_hasher_final_any(h, &d, &err), &err);
	assert_string_equal(cm_any_digest_format(&d, text),
			    "sha512:" HEX512_ABC);
	assert_ok(cm_hasher_reset(h, &err), &err);
	assert_ok(cm_hasher_final_any(h, &d, &err), &err);
	assert_string_equal(cm_any_digest_format(&d, text),
			    "sha512:" HEX512_EMPTY);
	/* A SHA-512 does not fit where a SHA-256 is wanted. */
	assert_ok(cm_hasher_reset(h, &err), &err);
	assert_fails(cm_hasher_final(h, &narrow, &err), CM_ERR_INTERNAL, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest__round_trip),
		cmocka_unit_test(test_digest__malformed_is_invalid),
		cmocka_unit_test(test_digest__other_algorithms_are_unsupported),
		cmocka_unit_test(test_digest__length_counts_not_the_nul),
		cmocka_unit_test(test_digest__of_known_answers),
		cmocka_unit_test(test_digest__compare_orders_as_bytes),
		cmocka_unit_test(test_any_digest__round_trip),
		cmocka_unit_test(test_any_digest__refuses),
		cmocka_unit_test(test_any_digest__known_answers),
		cmocka_unit_test(test_hasher__pieces_equal_whole),
		cmocka_unit_test(test_hasher__reset_starts_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
