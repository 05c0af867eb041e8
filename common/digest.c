/* digest.c - digests as text and as a running hash. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/digest.h>

static const char prefix[] = "sha256:";
#define PREFIX_LEN (sizeof(prefix) - 1)

struct cm_hasher {
	EVP_MD_CTX *ctx;
	enum cm_algorithm algorithm;
};

struct algorithm {
	const char *prefix;
	size_t len; /* of the digest, bytes */
	const char *name;
};

static const struct algorithm algorithms[] = {
	[CM_SHA256] = {"sha256:", CM_SHA256_LEN, "SHA-256"},
	[CM_SHA512] = {"sha512:", CM_SHA512_LEN, "SHA-512"},
};

#define ALGORITHMS_LEN (sizeof(algorithms) / sizeof(algorithms[0]))

/*
 * The implementations, looked up once: a lookup by name for each hash costs
 * three times the hash of a short message.
 */
static const EVP_MD *implementations[ALGORITHMS_LEN];
static pthread_once_t implementations_once = PTHREAD_ONCE_INIT;

static void fetch_implementations(void)
{
	for (size_t i = 0; i < ALGORITHMS_LEN; i++)
		implementations[i] =
			EVP_MD_fetch(NULL, algorithms[i].name, NULL);
}

static int implementation_of(enum cm_algorithm algorithm, const EVP_MD **ret,
			     struct cm_error *err)
{
	pthread_once(&implementations_once, fetch_implementations);
	*ret = implementations[algorithm];
	if (*ret)
		return 0;
	return cm_error_set(err, CM_ERR_INTERNAL, "libcrypto offers no %s",
			    algorithms[algorithm].name);
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

/* Reads exactly `len` bytes from their hex digits. */
static bool parse_hex(const char *hex, size_t hex_len, uint8_t *ret, size_t len)
{
	int hi, lo;

	if (hex_len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		hi = hex_value(hex[2 * i]);
		lo = hex_value(hex[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static void format_hex(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

/* Which algorithm a text names; NULL for none of ours. */
static const struct algorithm *algorithm_of(const char *text, size_t len)
{
	for (size_t i = 0; i < ALGORITHMS_LEN; i++)
		if (len >= PREFIX_LEN &&
		    memcmp(text, algorithms[i].prefix, PREFIX_LEN) == 0)
			return &algorithms[i];
	return NULL;
}

/* What is wrong with a text that is no digest of ours. */
static int refuse(const char *text, size_t len, const struct algorithm *a,
		  struct cm_error *err)
{
	int shown = len > 140 ? 140 : (int)len;

	if (!well_formed(text, len))
		return cm_error_set(err, CM_ERR_INVALID,
				    "digest \"%.*s\" is not of the form "
				    "sha256:<64 hex digits>",
				    shown, text);
	if (!a)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "digest \"%.*s\": only sha256 and sha512 "
				    "are offered",
				    shown, text);
	return cm_error_set(err, CM_ERR_INVALID,
			    "digest \"%.*s\" does not have %zu lower-case hex "
			    "digits",
			    shown, text, 2 * a->len);
}

int cm_any_digest_parse(const char *text, size_t len, struct cm_any_digest *ret,
			struct cm_error *err)
{
	const struct algorithm *a = algorithm_of(text, len);
	struct cm_any_digest d = {0};

	if (!a ||
	    !parse_hex(text + PREFIX_LEN, len - PREFIX_LEN, d.sha512, a->len))
		return refuse(text, len, a, err);
	d.algorithm = (enum cm_algorithm)(a - algorithms);
	*ret = d;
	return 0;
}

int cm_digest_parse(const char *text, size_t len, struct cm_digest *ret,
		    struct cm_error *err)
{
	int shown = len > 140 ? 140 : (int)len;
	struct cm_any_digest d;
	int r;

	if (algorithm_of(text, len) != &algorithms[CM_SHA256] &&
	    well_formed(text, len))
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "digest \"%.*s\": only sha256 is offered",
				    shown, text);
	r = cm_any_digest_parse(text, len, &d, err);
	if (r == 0)
		*ret = d.sha256;
	return r;
}

char *cm_digest_hex(const struct cm_digest *d,
		    char out[static CM_DIGEST_HEX_LEN + 1])
{
	format_hex(d->sha256, CM_SHA256_LEN, out);
	return out;
}

char *cm_digest_format(const struct cm_digest *d,
		       char out[static CM_DIGEST_TEXT_SIZE])
{
	memcpy(out, prefix, PREFIX_LEN);
	cm_digest_hex(d, out + PREFIX_LEN);
	return out;
}

char *cm_any_digest_format(const struct cm_any_digest *d,
			   char out[static CM_ANY_DIGEST_TEXT_SIZE])
{
	const struct algorithm *a = &algorithms[d->algorithm];

	memcpy(out, a->prefix, PREFIX_LEN);
	format_hex(d->sha512, a->len, out + PREFIX_LEN);
	return out;
}

int cm_digest_compare(const struct cm_digest *a, const struct cm_digest *b)
{
	return memcmp(a->sha256, b->sha256, CM_SHA256_LEN);
}

const uint8_t *cm_any_digest_bytes(const struct cm_any_digest *d,
				   size_t *ret_len)
{
	*ret_len = algorithms[d->algorithm].len;
	return d->sha512; /* both begin at the same place */
}

bool cm_any_digest_equal(const struct cm_any_digest *a,
			 const struct cm_any_digest *b)
{
	return a->algorithm == b->algorithm &&
	       memcmp(a->sha512, b->sha512, algorithms[a->algorithm].len) == 0;
}

int cm_any_digest_of(enum cm_algorithm algorithm, const void *data, size_t len,
		     struct cm_any_digest *ret, struct cm_error *err)
{
	const EVP_MD *md;
	int r = implementation_of(algorithm, &md, err);

	if (r < 0)
		return r;
	ret->algorithm = algorithm;
	if (!EVP_Digest(data, len, ret->sha512, NULL, md, NULL))
		return cm_error_nomem(err);
	return 0;
}

int cm_digest_of(const void *data, size_t len, struct cm_digest *ret,
		 struct cm_error *err)
{
	struct cm_any_digest d;
	int r = cm_any_digest_of(CM_SHA256, data, len, &d, err);

	if (r == 0)
		*ret = d.sha256;
	return r;
}

int cm_hasher_new_of(enum cm_algorithm algorithm, struct cm_hasher **ret,
		     struct cm_error *err)
{
	cm_auto(hasher) struct cm_hasher *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return cm_error_nomem(err);
	h->algorithm = algorithm;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx)
		return cm_error_nomem(err);
	r = cm_hasher_reset(h, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(h);
	return 0;
}

int cm_hasher_new(struct cm_hasher **ret, struct cm_error *err)
{
	return cm_hasher_new_of(CM_SHA256, ret, err);
}

static int failed(const struct cm_hasher *h, struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_INTERNAL, "%s failed",
			    algorithms[h->algorithm].name);
}

int cm_hasher_update(struct cm_hasher *h, const void *data, size_t len,
		     struct cm_error *err)
{
	if (!EVP_DigestUpdate(h->ctx, data, len))
		return failed(h, err);
	return 0;
}

int cm_hasher_final_any(struct cm_hasher *h, struct cm_any_digest *ret,
			struct cm_error *err)
{
	ret->algorithm = h->algorithm;
	if (!EVP_DigestFinal_ex(h->ctx, ret->sha512, NULL))
		return failed(h, err);
	return 0;
}

int cm_hasher_final(struct cm_hasher *h, struct cm_digest *ret,
		    struct cm_error *err)
{
	struct cm_any_digest d;
	int r;

	if (h->algorithm != CM_SHA256)
		return failed(h, err);
	r = cm_hasher_final_any(h, &d, err);
	if (r == 0)
		*ret = d.sha256;
	return r;
}

int cm_hasher_reset(struct cm_hasher *h, struct cm_error *err)
{
	const EVP_MD *md;
	int r = implementation_of(h->algorithm, &md, err);

	if (r < 0)
		return r;
	if (!EVP_DigestInit_ex2(h->ctx, md, NULL))
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
