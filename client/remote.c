/*
 * remote.c - a registry: its address and limits, whether it is still there
 * (the circuit breaker), what it offers, and how many bytes went to and fro.
 */
#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>

#include <cachemount/protocol.h>

#include "remote_private.h"

#define CONNECT_MS_DEFAULT 1000
#define STALL_MS_DEFAULT   5000

/* So many exchanges in a row that ended in 429 or 5xx open the breaker. */
#define BUSY_MAX 3

#define TOKEN_MAX    4096
#define FEATURES_MAX (64 << 10)

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/*
 * OpenSSL's own idea of where certificates lie is that of the machine it was
 * built for, so a static program looks where the distributions put them.
 */
static const char *ca_probe(void)
{
	static const char *const files[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine */
		"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
		"/etc/ssl/cert.pem",		      /* Alpine, BSDs */
	};
	const char *env = getenv("SSL_CERT_FILE");

	if (env && *env)
		return env;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (access(files[i], R_OK) == 0)
			return files[i];
	return NULL;
}

static int ca_set(struct cm_remote *r, const char *given, struct cm_error *err)
{
	const char *file = given ? given : ca_probe();

	if (!file)
		return 0;
	if (given && access(given, R_OK) != 0)
		return cm_error_errno(err, "CA file %s", given);
	r->ca_file = strdup(file);
	return r->ca_file ? 0 : cm_error_nomem(err);
}

/*
 * A token with a colon is "user:password", as other registries have it, and
 * goes as Basic; any other goes as Bearer.
 */
static int authorization_set(struct cm_remote *r, const char *token,
			     struct cm_error *err)
{
	size_t len = strlen(token);
	cm_autofree char *base64 = NULL;
	int n;

	if (len == 0 || len > TOKEN_MAX)
		return cm_error_set(err, CM_ERR_INVALID, "the token is %s",
				    len ? "too long" : "empty");
	for (size_t i = 0; i < len; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return cm_error_set(err, CM_ERR_INVALID,
					    "the token holds a blank or a "
					    "byte that is no ASCII");
	if (!strchr(token, ':')) {
		n = asprintf(&r->authorization, "Authorization: Bearer %s",
			     token);
	} else {
		base64 = malloc(len / 3 * 4 + 8);
		if (!base64)
			return cm_error_nomem(err);
		EVP_EncodeBlock((unsigned char *)base64,
				(const unsigned char *)token, (int)len);
		n = asprintf(&r->authorization, "Authorization: Basic %s",
			     base64);
	}
	if (n < 0) {
		r->authorization = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

int cm_remote_new(const struct cm_remote_options *options,
		  struct cm_remote **ret, struct cm_error *err)
{
	cm_auto(remote) struct cm_remote *r = calloc(1, sizeof(*r));
	int status;

	if (!r)
		return cm_error_nomem(err);
	pthread_mutex_init(&r->lock, NULL);
	pthread_once(&curl_once, curl_start);
	r->connect_ms = options->connect_ms > 0 ? options->connect_ms
						: CONNECT_MS_DEFAULT;
	r->stall_ms =
		options->stall_ms > 0 ? options->stall_ms : STALL_MS_DEFAULT;
	status = cm_url_parse(options->url, &r->base, err);
	if (status < 0)
		return status;
	status = ca_set(r, options->ca_file, err);
	if (status < 0)
		return status;
	if (options->token) {
		status = authorization_set(r, options->token, err);
		if (status < 0)
			return status;
	}
	*ret = cm_take_ptr(r);
	return 0;
}

void cm_remote_free(struct cm_remote *r)
{
	if (!r)
		return;
	if (r->authorization)
		OPENSSL_cleanse(r->authorization, strlen(r->authorization));
	free(r->authorization);
	free(r->base);
	free(r->ca_file);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

const char *cm_remote_url(const struct cm_remote *r)
{
	return r->base;
}

void cm_remote_cancel(struct cm_remote *r)
{
	atomic_store(&r->cancelled, true);
}

void cm_remote_traffic(struct cm_remote *r, struct cm_remote_traffic *ret)
{
	ret->sent = atomic_load(&r->sent);
	ret->received = atomic_load(&r->received);
	ret->requests = atomic_load(&r->requests);
}

/* ---- the breaker ------------------------------------------------------ */

int cm_remote_gate(struct cm_remote *r, struct cm_error *err)
{
	int status = 0;

	if (atomic_load(&r->cancelled))
		return cm_error_set(err, CM_ERR_CANCELLED, "cancelled");
	pthread_mutex_lock(&r->lock);
	if (r->gone)
		status = cm_error_set(err, CM_ERR_UNAVAILABLE, "%s",
				      r->why.text);
	pthread_mutex_unlock(&r->lock);
	return status;
}

void cm_remote_note_healthy(struct cm_remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->failures = 0;
	pthread_mutex_unlock(&r->lock);
}

void cm_remote_note_gone(struct cm_remote *r, const struct cm_error *why)
{
	pthread_mutex_lock(&r->lock);
	if (!r->gone)
		r->why = *why;
	r->gone = true;
	pthread_mutex_unlock(&r->lock);
}

void cm_remote_note_busy(struct cm_remote *r, long status)
{
	pthread_mutex_lock(&r->lock);
	if (++r->failures >= BUSY_MAX && !r->gone) {
		cm_error_set(&r->why, CM_ERR_UNAVAILABLE,
			     "%s: answers %ld again and again", r->base,
			     status);
		r->gone = true;
	}
	pthread_mutex_unlock(&r->lock);
}

bool cm_remote_is_gone(struct cm_remote *r)
{
	bool gone;

	pthread_mutex_lock(&r->lock);
	gone = r->gone;
	pthread_mutex_unlock(&r->lock);
	return gone;
}

void cm_remote_revive(struct cm_remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->gone = false;
	r->failures = 0;
	pthread_mutex_unlock(&r->lock);
}

/* ---- the extension ---------------------------------------------------- */

static void features_add(const char *name, struct cm_remote_features *f)
{
	if (strcmp(name, "missing") == 0)
		f->missing = true;
	else if (strcmp(name, "zstd") == 0)
		f->zstd = true;
	else if (strcmp(name, "if-match") == 0)
		f->if_match = true;
}

/* What any other answer than ours says: nothing is offered. */
static void features_parse(const char *json, size_t len,
			   struct cm_remote_features *f)
{
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	const char *name =
		json_string_value(json_object_get(root, "extension"));
	json_t *item;
	size_t i;

	if (name && strcmp(name, "cachemount") == 0 &&
	    json_integer_value(json_object_get(root, "version")) == 1)
		json_array_foreach (json_object_get(root, "features"), i, item)
			if (json_is_string(item))
				features_add(json_string_value(item), f);
	json_decref(root);
}

static int features_ask(struct cm_connection *c, struct cm_remote_features *f,
			struct cm_error *err)
{
	struct cm_exchange x = {
		.method = "GET",
		.path = CM_EXT_PATH,
		.limit = FEATURES_MAX,
	};
	int r = cm_http_exchange(c, &x, err);

	if (r == CM_ERR_SIZE)
		return 0;
	if (r < 0)
		return r;
	if (x.status == 401 || x.status == 429 || x.status >= 500)
		return cm_http_refused(c, &x, "asking what it offers", err);
	if (x.status == 200)
		features_parse(c->body.data, c->body.len, f);
	return 0;
}

int cm_remote_features(struct cm_remote *r, struct cm_connection *c,
		       struct cm_remote_features *ret, struct cm_error *err)
{
	struct cm_remote_features f = {0};
	bool known;
	int status;

	pthread_mutex_lock(&r->lock);
	known = r->features_known;
	*ret = r->features;
	pthread_mutex_unlock(&r->lock);
	if (known)
		return 0;
	status = features_ask(c, &f, err);
	if (status < 0)
		return status;
	pthread_mutex_lock(&r->lock);
	r->features = f;
	r->features_known = true;
	pthread_mutex_unlock(&r->lock);
	*ret = f;
	return 0;
}

/* ---- connections ------------------------------------------------------ */

int cm_connection_new(struct cm_remote *r, struct cm_connection **ret,
		      struct cm_error *err)
{
	cm_auto(connection) struct cm_connection *c = calloc(1, sizeof(*c));

	if (!c)
		return cm_error_nomem(err);
	c->remote = r;
	c->curl = curl_easy_init();
	if (!c->curl)
		return cm_error_nomem(err);
	*ret = cm_take_ptr(c);
	return 0;
}

void cm_connection_free(struct cm_connection *c)
{
	if (!c)
		return;
	if (c->curl)
		curl_easy_cleanup(c->curl);
	ZSTD_freeCCtx(c->compressor);
	ZSTD_freeDCtx(c->decompressor);
	cm_auth_forget(c);
	cm_buffer_release(&c->body);
	cm_buffer_release(&c->wire);
	free(c);
}
