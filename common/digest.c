/* digest.c - SHA-256 digests as text and as a running hash. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/digest.h>

static const char prefix[] = "sha256:";
#define PREFIX_LEN (sizeof(prefix) - 1)

struct cm_hasher {
	EVP_MD_CTX *ctx;
};

/*
 * The implementation of SHA-256, looked up once: a lookup by name for each
 * hash costs three times the hash of a short message.
 */
static const EVP_MD *sha256_md;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_fetch(void)
{
	sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static const EVP_MD *sha256(void)
{
	pthread_once(&sha256_once, sha256_fetch);
	return sha256_md;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool algorithm_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool encoded_char(char c)
{
	return algorithm_char(c) || (c >= 'A' && c <= 'Z') || c == '=' ||
	       c == '_' || c == '-';
}

/*
 * image-spec, descriptor, "Digests": algorithm components joined by one of
 * "+", ".", "_", "-"; then ":"; then the encoded part.
 */
static bool well_formed(const char *text, size_t len)
{
	bool component = false;
	size_t i;

	for (i = 0; i < len && text[i] != ':'; i++) {
		if (algorithm_char(text[i]))
			component = true;
		else if (component && memchr("+._-", text[i], 4))
			component = false;
		else
			return false;
	}
	if (!component || i == len || ++i == len)
		return false;
	for (; i < len; i++)
		if (!encoded_char(text[i]))
			return false;
	return true;
}

int cm_digest_parse(const char *text, size_t len, struct cm_digest *ret,
		    struct cm_error *err)
{
	struct cm_digest d;
	int shown = len > 100 ? 100 : (int)len;
	int hi, lo;

	if (!well_formed(text, len))
		return cm_error_set(err, CM_ERR_INVALID,
				    "digest \"%.*s\" is not of the form "
				    "sha256:<64 hex digits>",
				    shown, text);
	if (len < PREFIX_LEN || memcmp(text, prefix, PREFIX_LEN) != 0)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "digest \"%.*s\": only sha256 is offered",
				    shown, text);
	if (len != PREFIX_LEN + CM_DIGEST_HEX_LEN)
		return cm_error_set(err, CM_ERR_INVALID,
				    "digest \"%.*s\" does not have 64 hex "
				    "digits",
				    shown, text);
	text += PREFIX_LEN;
	for (size_t i = 0; i < CM_SHA256_LEN; i++) {
		hi = hex_value(text[2 * i]);
		lo = hex_value(text[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return cm_error_set(err, CM_ERR_INVALID,
					    "digest \"%.*s\" has a character "
					    "that is no lower-case hex digit",
					    shown, text - PREFIX_LEN);
		d.sha256[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = d;
	return 0;
}

char *cm_digest_hex(const struct cm_digest *d,
		    char out[static CM_DIGEST_HEX_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < CM_SHA256_LEN; i++) {
		out[2 * i] = digits[d->sha256[i] >> 4];
		out[2 * i + 1] = digits[d->sha256[i] & 15];
	}
	out[CM_DIGEST_HEX_LEN] = '\0';
	return out;
}

char *cm_digest_format(const struct cm_digest *d,
		       char out[static CM_DIGEST_TEXT_SIZE])
{
	memcpy(out, prefix, PREFIX_LEN);
	cm_digest_hex(d, out + PREFIX_LEN);
	return out;
}

int cm_digest_compare(const struct cm_digest *a, const struct cm_digest *b)
{
	return memcmp(a->sha256, b->sha256, CM_SHA256_LEN);
}

int cm_digest_of(const void *data, size_t len, struct cm_digest *ret,
		 struct cm_error *err)
{
	if (!sha256())
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "libcrypto offers no SHA-256");
	if (!EVP_Digest(data, len, ret->sha256, NULL, sha256(), NULL))
		return cm_error_nomem(err);
	return 0;
}

int cm_hasher_new(struct cm_hasher **ret, struct cm_error *err)
{
	cm_auto(hasher) struct cm_hasher *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return cm_error_nomem(err);
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx)
		return cm_error_nomem(err);
	r = cm_hasher_reset(h, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(h);
	return 0;
}

int cm_hasher_update(struct cm_hasher *h, const void *data, size_t len,
		     struct cm_error *err)
{
	if (!EVP_DigestUpdate(h->ctx, data, len))
		return cm_error_set(err, CM_ERR_INTERNAL, "SHA-256 failed");
	return 0;
}

int cm_hasher_final(struct cm_hasher *h, struct cm_digest *ret,
		    struct cm_error *err)
{
	if (!EVP_DigestFinal_ex(h->ctx, ret->sha256, NULL))
		return cm_error_set(err, CM_ERR_INTERNAL, "SHA-256 failed");
	return 0;
}

int cm_hasher_reset(struct cm_hasher *h, struct cm_error *err)
{
	if (!sha256())
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "libcrypto offers no SHA-256");
	if (!EVP_DigestInit_ex2(h->ctx, sha256(), NULL))
		return cm_error_nomem(err);
	return 0;
}

void cm_hasher_free(struct cm_hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}
