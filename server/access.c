/* access.c - access tokens: scopes, the bytes, the seal. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "access.h"

#define VERSION	     1
#define SEAL_LEN     32
#define PREFIX_LEN   (sizeof(CM_ACCESS_PREFIX) - 1)
#define CLOCK_SLIP_S 60 /* a clock set back by so much costs no token */

_Static_assert(CM_ACCESS_TEXT_SIZE >
		       PREFIX_LEN + (CM_ACCESS_BYTES_MAX + 2) / 3 * 4,
	       "room for the text");

/* ---- scopes ------------------------------------------------------------ */

static const struct {
	const char *word;
	unsigned actions;
} words[] = {
	{"pull", CM_PERM_PULL},
	{"push", CM_PERM_PUSH},
	{"delete", CM_PERM_DELETE},
	{"*", CM_ACCESS_ACTIONS_ALL},
};

#define PLAIN_WORDS 3

static unsigned parse_actions(const char *text, size_t len)
{
	unsigned actions = 0;
	const char *end = text + len;
	size_t word;

	while (text < end) {
		word = strcspn(text, ", ");
		if (word > (size_t)(end - text))
			word = (size_t)(end - text);
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strlen(words[i].word) == word &&
			    memcmp(words[i].word, text, word) == 0)
				actions |= words[i].actions;
		text += word + 1;
	}
	return actions;
}

/* The scope of a repository; a new one of no actions, or NULL if full. */
static struct cm_access_scope *scope_of(struct cm_access *a, const char *name,
					size_t len)
{
	struct cm_access_scope *s;

	for (size_t i = 0; i < a->scopes_len; i++)
		if (strlen(a->scopes[i].repository) == len &&
		    memcmp(a->scopes[i].repository, name, len) == 0)
			return &a->scopes[i];
	if (a->scopes_len == CM_ACCESS_SCOPES_MAX)
		return NULL;
	s = &a->scopes[a->scopes_len++];
	s->actions = 0;
	memcpy(s->repository, name, len);
	s->repository[len] = '\0';
	return s;
}

/* One scope, "repository:NAME:ACTIONS", of `len` bytes. */
static int add_scope(struct cm_access *a, const char *text, size_t len,
		     struct cm_error *err)
{
	static const char type[] = "repository:";
	const char *end = text + len, *name = text + sizeof(type) - 1, *colon;
	struct cm_access_scope *s;

	if (len < sizeof(type) || memcmp(text, type, sizeof(type) - 1) != 0)
		return 0;
	colon = memrchr(name, ':', (size_t)(end - name));
	if (!colon || !cm_repository_valid(name, (size_t)(colon - name)))
		return 0;
	s = scope_of(a, name, (size_t)(colon - name));
	if (!s)
		return cm_error_set(err, CM_ERR_SIZE,
				    "more than %d repositories in a scope",
				    CM_ACCESS_SCOPES_MAX);
	s->actions |= parse_actions(colon + 1, (size_t)(end - colon - 1));
	return 0;
}

int cm_access_add_scopes(struct cm_access *a, const char *text,
			 struct cm_error *err)
{
	size_t len;
	int rc = 0;

	for (; rc == 0 && *text; text += len) {
		text += strspn(text, " ");
		len = strcspn(text, " ");
		rc = add_scope(a, text, len, err);
	}
	return rc;
}

void cm_access_format_actions(unsigned actions, char out[static 32])
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < PLAIN_WORDS; i++)
		if (actions & words[i].actions)
			used += (size_t)snprintf(out + used, 32 - used, "%s%s",
						 used > 0 ? "," : "",
						 words[i].word);
}

void cm_access_format_scopes(const struct cm_access *a, char *out, size_t size)
{
	char actions[32];
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < a->scopes_len && used < size; i++) {
		cm_access_format_actions(a->scopes[i].actions, actions);
		used += (size_t)snprintf(
			out + used, size - used, "%srepository:%s:%s",
			used > 0 ? " " : "", a->scopes[i].repository, actions);
	}
}

bool cm_access_covers(const struct cm_access *a, enum cm_permission p,
		      const char *repo)
{
	if (p == CM_PERM_NONE)
		return true;
	for (size_t i = 0; repo && i < a->scopes_len; i++)
		if (a->scopes[i].actions & (unsigned)p &&
		    strcmp(a->scopes[i].repository, repo) == 0)
			return true;
	return false;
}

/* ---- bytes ------------------------------------------------------------- */

int cm_access_secret_id(const struct cm_digest *hash,
			uint8_t ret[static CM_ACCESS_SECRET_ID],
			struct cm_error *err)
{
	struct cm_digest again;
	int rc = cm_digest_of(hash->sha256, CM_SHA256_LEN, &again, err);

	if (rc == 0)
		memcpy(ret, again.sha256, CM_ACCESS_SECRET_ID);
	return rc;
}

struct writer {
	uint8_t bytes[CM_ACCESS_BYTES_MAX];
	size_t len;
	bool full;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
	if (len > sizeof(w->bytes) - w->len) {
		w->full = true;
		return;
	}
	memcpy(w->bytes + w->len, bytes, len);
	w->len += len;
}

static void put_byte(struct writer *w, size_t value)
{
	uint8_t byte = (uint8_t)value;

	put(w, &byte, 1);
}

static void put_access(struct writer *w, const struct cm_access *a)
{
	size_t name = strlen(a->name), len;

	put_byte(w, VERSION);
	for (int shift = 56; shift >= 0; shift -= 8)
		put_byte(w, (uint64_t)a->expires_s >> shift & 0xff);
	put_byte(w, name);
	put(w, a->name, name);
	if (name > 0)
		put(w, a->secret_id, CM_ACCESS_SECRET_ID);
	for (size_t i = 0; i < a->scopes_len; i++) {
		len = strlen(a->scopes[i].repository);
		put_byte(w, a->scopes[i].actions);
		put_byte(w, len);
		put(w, a->scopes[i].repository, len);
	}
}

static bool make_seal(const uint8_t *bytes, size_t len,
		      const uint8_t key[static CM_ACCESS_KEY_LEN],
		      uint8_t ret[static SEAL_LEN])
{
	unsigned got = 0;

	return HMAC(EVP_sha256(), key, CM_ACCESS_KEY_LEN, bytes, len, ret,
		    &got) &&
	       got == SEAL_LEN;
}

int cm_access_seal(const struct cm_access *a,
		   const uint8_t key[static CM_ACCESS_KEY_LEN],
		   char ret[static CM_ACCESS_TEXT_SIZE], struct cm_error *err)
{
	struct writer w = {.len = 0};
	uint8_t seal[SEAL_LEN];

	put_access(&w, a);
	if (!make_seal(w.bytes, w.len, key, seal))
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "cannot seal an access token");
	put(&w, seal, sizeof(seal));
	if (w.full)
		return cm_error_set(err, CM_ERR_SIZE,
				    "the names in the scope are too long for "
				    "one token");
	memcpy(ret, CM_ACCESS_PREFIX, PREFIX_LEN);
	EVP_EncodeBlock((unsigned char *)ret + PREFIX_LEN, w.bytes, (int)w.len);
	return 0;
}

struct reader {
	const uint8_t *at, *end;
	bool bad; /* more was asked for than there is */
};

static const uint8_t *take(struct reader *r, size_t len)
{
	const uint8_t *at = r->at;

	if (len > (size_t)(r->end - r->at)) {
		r->bad = true;
		return NULL;
	}
	r->at += len;
	return at;
}

static unsigned take_byte(struct reader *r)
{
	const uint8_t *byte = take(r, 1);

	return byte ? *byte : 0;
}

static void take_head(struct reader *r, struct cm_access *a)
{
	uint64_t expires = 0;
	const uint8_t *id, *name;
	size_t len;

	r->bad = take_byte(r) != VERSION;
	for (int i = 0; i < 8; i++)
		expires = expires << 8 | take_byte(r);
	a->expires_s = expires > INT64_MAX ? INT64_MAX : (int64_t)expires;
	len = take_byte(r);
	name = take(r, len);
	if (len == 0)
		return;
	id = take(r, CM_ACCESS_SECRET_ID);
	if (!name || !id || len > CM_TOKEN_NAME_MAX) {
		r->bad = true;
		return;
	}
	memcpy(a->name, name, len);
	r->bad |= !cm_token_name_valid(a->name) || strlen(a->name) != len;
	memcpy(a->secret_id, id, CM_ACCESS_SECRET_ID);
}

static void take_scope(struct reader *r, struct cm_access *a)
{
	unsigned actions = take_byte(r);
	size_t len = take_byte(r);
	const char *name = (const char *)take(r, len);

	if (!name || !cm_repository_valid(name, len) ||
	    actions & ~CM_ACCESS_ACTIONS_ALL ||
	    a->scopes_len == CM_ACCESS_SCOPES_MAX)
		r->bad = true;
	else
		scope_of(a, name, len)->actions |= actions;
}

static int malformed(struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_UNAUTHORIZED,
			    "the access token is malformed");
}

int cm_access_parse(const uint8_t *bytes, size_t len, struct cm_access *ret,
		    struct cm_error *err)
{
	struct reader r = {.at = bytes, .end = bytes + len};

	*ret = (struct cm_access){0};
	take_head(&r, ret);
	while (!r.bad && r.at < r.end)
		take_scope(&r, ret);
	return r.bad ? malformed(err) : 0;
}

/* Decodes Base64 to `out`, of CM_ACCESS_BYTES_MAX + 2 bytes; 0 if malformed. */
static size_t decode(const char *text, uint8_t *out)
{
	size_t len = strlen(text), padding = 0;
	int n;

	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	if (len == 0 || len % 4 != 0 ||
	    len > (CM_ACCESS_BYTES_MAX + 2) / 3 * 4 ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789+/") != len - padding)
		return 0;
	n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
	return n > (int)padding ? (size_t)n - padding : 0;
}

int cm_access_open(const char *text,
		   const uint8_t key[static CM_ACCESS_KEY_LEN], int64_t now_s,
		   struct cm_access *ret, struct cm_error *err)
{
	uint8_t bytes[CM_ACCESS_BYTES_MAX + 2], seal[SEAL_LEN];
	size_t len;
	int rc;

	if (strncmp(text, CM_ACCESS_PREFIX, PREFIX_LEN) != 0)
		return malformed(err);
	len = decode(text + PREFIX_LEN, bytes);
	if (len <= SEAL_LEN)
		return malformed(err);
	len -= SEAL_LEN;
	if (!make_seal(bytes, len, key, seal) ||
	    CRYPTO_memcmp(seal, bytes + len, SEAL_LEN) != 0)
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "the access token is not of this server");
	rc = cm_access_parse(bytes, len, ret, err);
	if (rc < 0)
		return rc;
	if (ret->expires_s <= now_s ||
	    ret->expires_s - now_s > CM_ACCESS_LIFETIME_S + CLOCK_SLIP_S)
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "the access token has expired");
	return 0;
}
