/*
 * auth.c - identities from Authorization headers.
 *
 * The parsed token file is immutable; `lock` guards only the pointer to the
 * present one, for as long as it takes to count a reference.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <cachemount/digest.h>
#include <cachemount/names.h>
#include <cachemount/units.h>

#include "auth.h"
#include "token_file.h"

/* Longest Authorization header that is looked at: an access token's. */
#define CREDENTIALS_MAX 4096

struct cm_auth {
	char *file; /* NULL: no tokens */
	unsigned anonymous;
	uint8_t key[CM_ACCESS_KEY_LEN];
	pthread_mutex_t lock;
	struct cm_tokens *tokens;  /* under the lock */
	struct stat seen;	   /* of the file when last tried */
	pthread_mutex_t reloading; /* guards `seen` */
};

int cm_auth_new(const char *token_file, unsigned anonymous,
		struct cm_auth **ret, struct cm_error *err)
{
	cm_auto(auth) struct cm_auth *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return cm_error_nomem(err);
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->reloading, NULL);
	a->anonymous = anonymous;
	if (RAND_bytes(a->key, sizeof(a->key)) != 1)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "no random bytes to be had");
	if (token_file) {
		a->file = strdup(token_file);
		if (!a->file)
			return cm_error_nomem(err);
		rc = cm_auth_reload(a, true, err);
		if (rc < 0)
			return rc;
	}
	*ret = cm_take_ptr(a);
	return 0;
}

void cm_auth_free(struct cm_auth *a)
{
	if (!a)
		return;
	cm_tokens_unref(a->tokens);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->reloading);
	OPENSSL_cleanse(a->key, sizeof(a->key));
	free(a->file);
	free(a);
}

void cm_auth_use_key(struct cm_auth *a,
		     const uint8_t key[static CM_ACCESS_KEY_LEN])
{
	memcpy(a->key, key, sizeof(a->key));
}

const uint8_t *cm_auth_key(const struct cm_auth *a)
{
	return a->key;
}

bool cm_auth_has_tokens(const struct cm_auth *a)
{
	return a->file != NULL;
}

unsigned cm_auth_anonymous(const struct cm_auth *a)
{
	return a->anonymous;
}

/* Under `reloading`: notes the file's state; has it changed? */
static bool file_changed(struct cm_auth *a)
{
	struct stat now = {0}, was = a->seen;

	if (stat(a->file, &now) < 0)
		now = (struct stat){0};
	a->seen = now;
	return now.st_ino != was.st_ino || now.st_dev != was.st_dev ||
	       now.st_size != was.st_size ||
	       now.st_mtim.tv_sec != was.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != was.st_mtim.tv_nsec;
}

static int load(struct cm_auth *a, struct cm_error *err)
{
	struct cm_tokens *fresh = NULL, *old;
	int rc = cm_tokens_load(a->file, &fresh, err);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&a->lock);
	old = a->tokens;
	a->tokens = fresh;
	pthread_mutex_unlock(&a->lock);
	cm_tokens_unref(old);
	return 1;
}

int cm_auth_reload(struct cm_auth *a, bool force, struct cm_error *err)
{
	int rc = 0;

	if (!a->file)
		return 0;
	pthread_mutex_lock(&a->reloading);
	if (file_changed(a) || force)
		rc = load(a, err);
	pthread_mutex_unlock(&a->reloading);
	return rc;
}

static int refuse(struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_UNAUTHORIZED,
			    "the credentials are not known here");
}

/* Decodes Basic credentials to `out`, of at least strlen(text) bytes. */
static int decode_basic(const char *text, char *out, struct cm_error *err)
{
	size_t len = strlen(text), padding = 0;
	int n;

	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	if (len == 0 || len % 4 != 0 ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789+/") != len - padding)
		return refuse(err);
	n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text,
			    (int)len);
	if (n < (int)padding)
		return refuse(err);
	out[n - (int)padding] = '\0';
	return 0;
}

/*
 * Finds the secret in an Authorization header; `ret` points into it or into
 * `buf`, and is NULL for empty Basic credentials.
 */
static int find_secret(const char *authorization, char *buf, const char **ret,
		       struct cm_error *err)
{
	char *colon;
	int rc;

	if (strncasecmp(authorization, "Bearer ", 7) == 0) {
		*ret = authorization + 7 + strspn(authorization + 7, " ");
		return 0;
	}
	if (strncasecmp(authorization, "Basic ", 6) != 0)
		return refuse(err);
	authorization += 6;
	authorization += strspn(authorization, " ");
	rc = decode_basic(authorization, buf, err);
	if (rc < 0)
		return rc;
	colon = strchr(buf, ':');
	if (!colon)
		return refuse(err);
	*ret = colon == buf && colon[1] == '\0' ? NULL : colon + 1;
	return 0;
}

/* Compares with every grant, however early one fits. */
static int find_grant(struct cm_tokens *t, const char *secret,
		      struct cm_identity *ret, struct cm_error *err)
{
	const struct cm_grant *found = NULL;
	struct cm_digest hash;
	int rc = cm_digest_of(secret, strlen(secret), &hash, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < t->len; i++)
		if (CRYPTO_memcmp(hash.sha256, t->grants[i].hash.sha256,
				  CM_SHA256_LEN) == 0)
			found = &t->grants[i];
	if (!found)
		return refuse(err);
	ret->tokens = cm_tokens_ref(t);
	ret->secret = found->secret;
	ret->name = found->name;
	return 0;
}

static struct cm_tokens *present_tokens(struct cm_auth *a)
{
	struct cm_tokens *t;

	pthread_mutex_lock(&a->lock);
	t = cm_tokens_ref(a->tokens);
	pthread_mutex_unlock(&a->lock);
	return t;
}

/* Finds the holder of an access token among the present tokens. */
static int find_holder(struct cm_tokens *t, const struct cm_access *access,
		       struct cm_identity *ret, struct cm_error *err)
{
	uint8_t id[CM_ACCESS_SECRET_ID];
	int rc;

	for (size_t i = 0; i < t->len; i++) {
		if (strcmp(t->grants[i].name, access->name) != 0)
			continue;
		rc = cm_access_secret_id(&t->grants[i].hash, id, err);
		if (rc < 0)
			return rc;
		if (CRYPTO_memcmp(id, access->secret_id, sizeof(id)) != 0)
			continue;
		ret->tokens = cm_tokens_ref(t);
		ret->secret = t->grants[i].secret;
		ret->name = t->grants[i].name;
		return 0;
	}
	return cm_error_set(err, CM_ERR_UNAUTHORIZED,
			    "the access token's holder is not known any more");
}

static int identify_access(struct cm_auth *a, const char *text,
			   struct cm_identity *ret, struct cm_error *err)
{
	cm_auto(tokens) struct cm_tokens *t = NULL;
	cm_autofree struct cm_access *access = malloc(sizeof(*access));
	int rc;

	if (!access)
		return cm_error_nomem(err);
	rc = cm_access_open(text, a->key, cm_now_ms() / 1000, access, err);
	if (rc == 0 && access->name[0]) {
		t = present_tokens(a);
		rc = find_holder(t, access, ret, err);
	}
	if (rc == 0)
		ret->access = cm_take_ptr(access);
	return rc;
}

static int identify_secret(struct cm_auth *a, const char *secret,
			   struct cm_identity *ret, struct cm_error *err)
{
	cm_auto(tokens) struct cm_tokens *t = present_tokens(a);

	return find_grant(t, secret, ret, err);
}

int cm_auth_identify(struct cm_auth *a, const char *authorization,
		     struct cm_identity *ret, struct cm_error *err)
{
	char buf[CREDENTIALS_MAX + 1];
	const char *secret = NULL;
	int rc;

	*ret = (struct cm_identity){.anonymous = a->anonymous};
	if (!a->file || !authorization)
		return 0;
	ret->bearer = strncasecmp(authorization, "Bearer ", 7) == 0;
	if (strlen(authorization) > CREDENTIALS_MAX)
		return refuse(err);
	rc = find_secret(authorization, buf, &secret, err);
	if (rc == 0 && secret && ret->bearer &&
	    strncmp(secret, CM_ACCESS_PREFIX, strlen(CM_ACCESS_PREFIX)) == 0)
		rc = identify_access(a, secret, ret, err);
	else if (rc == 0 && secret)
		rc = identify_secret(a, secret, ret, err);
	OPENSSL_cleanse(buf, sizeof(buf));
	return rc;
}

int cm_auth_identify_secret(struct cm_auth *a, const char *secret,
			    struct cm_identity *ret, struct cm_error *err)
{
	*ret = (struct cm_identity){.anonymous = a->anonymous};
	return a->file && *secret ? identify_secret(a, secret, ret, err) : 0;
}

void cm_identity_release(struct cm_identity *id)
{
	cm_tokens_unref(id->tokens);
	free(id->access);
	*id = (struct cm_identity){0};
}

static bool grant_covers(const struct cm_grant *g, enum cm_permission p,
			 const char *repo)
{
	if (p != CM_PERM_NONE && !(g->permissions & (unsigned)p))
		return false;
	if (repo)
		return cm_repository_pattern_match(g->pattern, repo);
	return !((unsigned)p & (CM_PERM_DELETE | CM_PERM_ADMIN)) ||
	       strcmp(g->pattern, "**") == 0;
}

/* May the holder do it, whatever access token it came with? */
static bool holder_may(const struct cm_identity *id, enum cm_permission p,
		       const char *repo)
{
	if (!id->tokens)
		return p == CM_PERM_NONE ? id->anonymous != 0
					 : (id->anonymous & (unsigned)p) != 0;
	for (size_t i = 0; i < id->tokens->len; i++)
		if (id->tokens->grants[i].secret == id->secret &&
		    grant_covers(&id->tokens->grants[i], p, repo))
			return true;
	return false;
}

bool cm_identity_may(const struct cm_identity *id, enum cm_permission p,
		     const char *repo)
{
	if (id->access && !cm_access_covers(id->access, p, repo))
		return false;
	return holder_may(id, p, repo);
}

static const char *permission_name(enum cm_permission p)
{
	switch (p) {
	case CM_PERM_PULL:
		return "pull";
	case CM_PERM_PUSH:
		return "push";
	case CM_PERM_DELETE:
		return "delete";
	case CM_PERM_ADMIN:
		return "admin";
	case CM_PERM_NONE:
	case CM_PERM_OPEN:
		break;
	}
	return "access";
}

int cm_auth_check(const struct cm_auth *a, const struct cm_identity *id,
		  enum cm_permission p, const char *repo, struct cm_error *err)
{
	if (cm_identity_may(id, p, repo))
		return 0;
	if (id->access && holder_may(id, p, repo))
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "the access token's scope does not cover "
				    "this");
	if (!id->tokens && a->file)
		return cm_error_set(err, CM_ERR_UNAUTHORIZED,
				    "authentication is required");
	return cm_error_set(err, CM_ERR_DENIED, "%s may not %s%s%s",
			    id->name ? id->name : "an anonymous client",
			    permission_name(p), repo ? " " : "",
			    repo ? repo : "");
}
