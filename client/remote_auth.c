/*
 * remote_auth.c - registries with a token service: a 401 that asks for Bearer
 * names the service, a token is fetched there, with the user's password or
 * without, and the exchange is tried again (Docker's token authentication
 * specification).
 *
 * A connection keeps the last token it was given, and sends it until a 401
 * says that another is due. Only one thread has a connection, so no lock is
 * needed; that each fetches its own costs one request.
 */
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "remote_private.h"

#define ANSWER_MAX (64 << 10)
#define TOKEN_MAX  (16 << 10)
#define BASIC	   "Authorization: Basic "

static inline void cm_cleanup_curltext(char **text)
{
	curl_free(*text);
}

/* ---- the challenge ----------------------------------------------------- */

/*
 * Reads a parameter's value, a token or a quoted string, to `out`; one that
 * does not fit, or has a control byte, makes it empty. Moves on behind it.
 */
static void read_value(const char **at, char *out, size_t size)
{
	const char *p = *at;
	bool quoted = *p == '"', bad = false;
	size_t n = 0;

	for (p += quoted; *p && (quoted ? *p != '"' : !strchr(" \t,", *p));
	     p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		bad |= n + 1 >= size || (unsigned char)*p < ' ' || *p == 0x7f;
		if (!bad)
			out[n++] = *p;
	}
	out[bad ? 0 : n] = '\0';
	*at = p + (quoted && *p == '"');
}

static void take_parameter(struct cm_challenge *c, const char *name, size_t len,
			   const char *value)
{
	const struct {
		const char *name;
		char *out;
		size_t size;
	} known[] = {
		{"realm", c->realm, sizeof(c->realm)},
		{"service", c->service, sizeof(c->service)},
		{"scope", c->scope, sizeof(c->scope)},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len &&
		    strncasecmp(known[i].name, name, len) == 0)
			snprintf(known[i].out, known[i].size, "%s", value);
}

bool cm_challenge_parse(const char *text, struct cm_challenge *ret)
{
	char value[CM_CHALLENGE_VALUE_SIZE];
	const char *word;
	bool bearer = false;
	size_t len, blanks;

	*ret = (struct cm_challenge){0};
	for (;;) {
		text += strspn(text, " \t,");
		word = text;
		len = strcspn(text, " \t,=\"");
		text += len;
		blanks = strspn(text, " \t");
		if (text[blanks] == '=' && len > 0) {
			text += blanks + 1;
			text += strspn(text, " \t");
			read_value(&text, value, sizeof(value));
			if (bearer)
				take_parameter(ret, word, len, value);
			continue;
		}
		/* Another scheme, or what is none. */
		if (len == 0 || (bearer && ret->realm[0]))
			return ret->realm[0] != '\0';
		bearer = len == 6 && strncasecmp(word, "Bearer", 6) == 0;
	}
}

/* The Bearer challenge of the last answer; false if there is none. */
static bool find_challenge(struct cm_connection *c, struct cm_challenge *ret)
{
	struct curl_header *h;

	for (size_t i = 0; curl_easy_header(c->curl, "WWW-Authenticate", i,
					    CURLH_HEADER, -1, &h) == CURLHE_OK;
	     i++)
		if (cm_challenge_parse(h->value, ret))
			return true;
	return false;
}

/* ---- the token --------------------------------------------------------- */

/* Where to ask: the realm with service and scope behind. Caller frees. */
static int token_url(struct cm_connection *c, const struct cm_challenge *ch,
		     char **ret, struct cm_error *err)
{
	cm_auto(curltext) char *service =
		curl_easy_escape(c->curl, ch->service, 0);
	cm_auto(curltext) char *scope = curl_easy_escape(c->curl, ch->scope, 0);
	bool https = strncasecmp(ch->realm, "https://", 8) == 0;

	if (!https && (strncasecmp(ch->realm, "http://", 7) != 0 ||
		       strncmp(c->remote->base, "https:", 6) == 0))
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "%s: its token service \"%.200s\" is no "
				    "address to send a password to",
				    c->remote->base, ch->realm);
	if (!service || !scope ||
	    asprintf(ret, "%s%cservice=%s%s%s", ch->realm,
		     strchr(ch->realm, '?') ? '&' : '?', service,
		     *scope ? "&scope=" : "", scope) < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

static bool token_valid(const char *token)
{
	size_t len = token ? strlen(token) : 0;

	for (size_t i = 0; i < len; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return false;
	return len > 0 && len <= TOKEN_MAX;
}

void cm_auth_forget(struct cm_connection *c)
{
	if (c->bearer)
		OPENSSL_cleanse(c->bearer, strlen(c->bearer));
	free(c->bearer);
	c->bearer = NULL;
}

/* Keeps the token of the service's answer: 1, or 0 if it has none. */
static int keep_token(struct cm_connection *c, struct cm_error *err)
{
	json_t *root = c->body.len == 0
			       ? NULL
			       : json_loadb(c->body.data, c->body.len, 0, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	int r = 0;

	if (!token)
		token = json_string_value(
			json_object_get(root, "access_token"));
	cm_auth_forget(c);
	if (token_valid(token)) {
		r = asprintf(&c->bearer, "Authorization: Bearer %s", token);
		if (r < 0)
			c->bearer = NULL;
		r = r < 0 ? cm_error_nomem(err) : 1;
	}
	json_decref(root);
	return r;
}

int cm_auth_answer(struct cm_connection *c, struct cm_error *err)
{
	const char *own = c->remote->authorization;
	struct cm_challenge challenge;
	cm_autofree char *url = NULL;
	struct cm_exchange x = {
		.method = "GET",
		.foreign = true,
		.limit = ANSWER_MAX,
	};
	int r;

	/* A token of the user's own goes as it is, and was refused. */
	if ((own && strncmp(own, BASIC, strlen(BASIC)) != 0) ||
	    !find_challenge(c, &challenge))
		return 0;
	r = token_url(c, &challenge, &url, err);
	if (r < 0)
		return r;
	x.url = url;
	x.headers[0] = own;
	r = cm_http_exchange(c, &x, err);
	if (r < 0)
		return cm_error_wrap(err, "token service");
	return x.status == 200 ? keep_token(c, err) : 0;
}
