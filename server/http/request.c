/* request.c - a request's life in memory, and what a face reads of it. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "health.h"
#include "http/internal.h"
#include "metrics.h"

int64_t cm_http_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct cm_request *cm_request_new(struct cm_http *h, const char *uri)
{
	size_t len = strnlen(uri, CM_URI_MAX + 1);
	struct cm_request *r = malloc(sizeof(*r) + 3 * (len + 1));

	if (!r)
		return NULL;
	/* The header buffer needs no zeroes; the fields before it do. */
	memset(r, 0, offsetof(struct cm_request, headers));
	r->scraps = NULL;
	r->http = h;
	r->content_length = -1;
	r->began_us = cm_http_now_us();
	r->uri_cut = len > CM_URI_MAX;
	memcpy(r->text, uri, len);
	r->text[len] = '\0';
	r->path = r->text + len + 1;
	r->args = r->path + len + 1;
	r->raw_path = r->text;
	return r;
}

static void release_state(struct cm_request *r)
{
	const struct cm_route *route = r->match.route;

	if (route && route->handler->release && r->state)
		route->handler->release(r->state);
}

void cm_request_free(struct cm_request *r)
{
	struct cm_scrap *next;

	cm_reply_drop(r);
	release_state(r);
	cm_identity_release(&r->identity);
	for (struct cm_scrap *s = r->scraps; s; s = next) {
		next = s->next;
		free(s);
	}
	free(r);
}

struct cm_store *cm_request_store(struct cm_request *r)
{
	return r->http->options.store;
}

struct cm_health *cm_request_health(const struct cm_request *r)
{
	return r->http->options.health;
}

struct cm_metrics *cm_request_metrics(const struct cm_request *r)
{
	return r->http->options.metrics;
}

bool cm_request_is_head(const struct cm_request *r)
{
	return r->head;
}

const struct cm_route *cm_request_route(const struct cm_request *r)
{
	return r->match.route;
}

const char *cm_request_param(const struct cm_request *r, const char *name)
{
	return cm_match_param(&r->match, name);
}

const char *cm_request_query(const struct cm_request *r, const char *name)
{
	return cm_query_get(&r->query, name);
}

size_t cm_request_query_all(const struct cm_request *r, const char *name,
			    const char **ret, size_t max)
{
	return cm_query_all(&r->query, name, ret, max);
}

/* What is gathered of the fields of one name. */
struct gathered {
	const char *name;
	const char *first;
	size_t fields;
	size_t len; /* of all values and the separators between */
	char *join; /* second pass: where the next value goes */
};

static enum MHD_Result gather(void *cls, enum MHD_ValueKind kind,
			      const char *name, const char *value)
{
	struct gathered *g = cls;
	size_t len = value ? strlen(value) : 0;

	(void)kind;
	if (!value || strcasecmp(name, g->name) != 0)
		return MHD_YES;
	if (g->join) {
		memcpy(g->join, value, len);
		memcpy(g->join + len, ", ", 2);
		g->join += len + 2;
	}
	if (g->fields++ == 0)
		g->first = value;
	g->len += len + 2;
	return MHD_YES;
}

/* Joins the fields in memory of the request; NULL without memory. */
static const char *join(struct cm_request *r, struct gathered *g)
{
	struct cm_scrap *s = malloc(sizeof(*s) + g->len + 1);

	if (!s)
		return NULL;
	s->next = r->scraps;
	r->scraps = s;
	g->join = s->bytes;
	MHD_get_connection_values(r->connection, MHD_HEADER_KIND, gather, g);
	g->join[-2] = '\0';
	return s->bytes;
}

const char *cm_request_header(const struct cm_request *r, const char *name)
{
	/* Only the scraps change, which no one can tell. */
	struct cm_request *mine = (struct cm_request *)(uintptr_t)r;
	struct gathered g = {.name = name};

	MHD_get_connection_values(r->connection, MHD_HEADER_KIND, gather, &g);
	return g.fields <= 1 ? g.first : join(mine, &g);
}

int64_t cm_request_content_length(const struct cm_request *r)
{
	return r->content_length;
}

const char *cm_request_identity(const struct cm_request *r)
{
	return r->identity.name;
}

bool cm_request_may(const struct cm_request *r, enum cm_permission p,
		    const char *repo)
{
	return cm_identity_may(&r->identity, p, repo);
}

bool cm_request_has_credentials(const struct cm_request *r)
{
	return !cm_auth_has_tokens(r->http->options.auth) ||
	       r->identity.tokens || r->identity.access;
}

int cm_request_issue(struct cm_request *r, const char *secret,
		     struct cm_access *wanted, char *ret, struct cm_error *err)
{
	struct cm_auth *auth = r->http->options.auth;
	struct cm_identity id = {0};
	int rc;

	if (!secret)
		return cm_auth_issue(auth, &r->identity, wanted, ret, err);
	rc = cm_auth_identify_secret(auth, secret, &id, err);
	if (rc == 0)
		rc = cm_auth_issue(auth, &id, wanted, ret, err);
	cm_identity_release(&id);
	return rc;
}

void *cm_request_state(const struct cm_request *r)
{
	return r->state;
}

void cm_request_set_state(struct cm_request *r, void *state)
{
	r->state = state;
}

/* Has one element of Accept-Encoding a weight of zero ("zstd;q=0.0")? */
static bool weight_zero(const char *element, size_t len)
{
	const char *q = memchr(element, ';', len);

	if (!q)
		return false;
	q += 1 + strspn(q + 1, " \t");
	if (strncasecmp(q, "q=", 2) != 0)
		return false;
	q += 2 + strspn(q + 2, "0.");
	return !(*q >= '1' && *q <= '9');
}

bool cm_request_accepts_zstd(const struct cm_request *r)
{
	const char *at = cm_request_header(r, "Accept-Encoding");
	size_t len, word;

	while (at && *at) {
		at += strspn(at, ", \t");
		len = strcspn(at, ",");
		word = strcspn(at, ",; \t");
		if (word == 4 && strncasecmp(at, "zstd", 4) == 0)
			return !weight_zero(at, len);
		at += len;
	}
	return false;
}

void cm_request_note(struct cm_request *r, const char *result)
{
	size_t len = strnlen(result, sizeof(r->note) - 1);

	memcpy(r->note, result, len);
	r->note[len] = '\0';
}

void cm_request_looked_up(struct cm_request *r, enum cm_kind kind, int64_t hits,
			  int64_t misses)
{
	r->looked_up = true;
	r->kind = kind;
	r->lookups.hits = hits;
	r->lookups.misses = misses;
}

void cm_request_lookup(struct cm_request *r, enum cm_kind kind, int status)
{
	bool miss = status == CM_ERR_NOT_FOUND;

	cm_request_looked_up(r, kind, status == 0, miss);
	r->lookups.errors = status < 0 && !miss;
	cm_request_note(r, status == 0 ? "hit" : miss ? "miss" : "error");
}

int cm_request_defer(struct cm_request *r,
		     int (*fn)(struct cm_request *r, struct cm_error *err),
		     struct cm_error *err)
{
	if (r->reply.status != 0 || r->deferred)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "deferred after a reply");
	r->deferred = fn;
	return 0;
}

void cm_server_figures(const struct cm_request *r,
		       struct cm_server_figures *ret)
{
	struct cm_http *main = r->http->options.main;
	struct cm_http *h = main ? main : r->http;
	struct cm_request_totals totals;

	cm_metrics_totals(h->options.metrics, &totals);
	*ret = (struct cm_server_figures){
		.started_ms = h->started_ms,
		.connections = (int64_t)cm_http_connections(h),
		.under_way = (int64_t)cm_http_busy(h),
		.requests = totals.requests,
		.sent_bytes = totals.sent_bytes,
		.received_bytes = totals.received_bytes,
	};
	ret->draining = cm_health_phase(h->options.health) != CM_PHASE_UP;
}
