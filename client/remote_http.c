/*
 * remote_http.c - one exchange on a connection, the only file that drives
 * libcurl.
 *
 * An exchange is one or more attempts. An attempt ends in an answer, or
 * without one: then the registry could not be reached, went silent, or the
 * connection was cut midway. Only a cut is worth another attempt; the other
 * two have used up their time limits already.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include <cachemount/units.h>

#include "remote_private.h"

#define BUFFER_BYTES	 (512L << 10)
#define ERROR_BODY_MAX	 (64 << 10)
#define REDIRECTS_MAX	 5L
#define RETRY_MS	 2000 /* from the first failure on */
#define RETRY_FIRST_MS	 100
#define SLEEP_SLICE_MS	 20
#define WHOLE_MS	 60000 /* of an attempt, and besides … */
#define WHOLE_BYTES_RATE 64    /* … a millisecond for so many bytes */

/* Fewer body bytes than this in a stall limit count as silence. */
#define STALL_BYTES 1024

/* What one attempt's callbacks need. */
struct attempt {
	struct cm_connection *c;
	struct cm_exchange *x;
	int64_t stall_ms;
	int64_t mark_ms;       /* when bytes last moved … */
	curl_off_t mark_bytes; /* … and how many had by then */
	bool stalled;
	bool cut_short;	     /* an error's body that we read no further */
	struct cm_error why; /* why the answer was not taken */
};

enum outcome {
	OUT_ANSWER, /* x->status holds */
	OUT_CUT,    /* the connection broke: worth another attempt */
	OUT_GONE,   /* could not connect, or silent for the stall limit */
	OUT_FAILED, /* our own reason; not the registry's state */
};

/* ---- callbacks -------------------------------------------------------- */

static bool header_is(struct cm_connection *c, const char *name,
		      const char *value)
{
	const char *text = cm_http_header(c, name);

	return text && strcasecmp(text, value) == 0;
}

const char *cm_http_header(struct cm_connection *c, const char *name)
{
	struct curl_header *h;

	if (curl_easy_header(c->curl, name, 0, CURLH_HEADER, -1, &h) !=
	    CURLHE_OK)
		return NULL;
	return h->value;
}

/* Takes the first bytes of an answer: where do they go? */
static int answer_begin(struct attempt *a)
{
	struct cm_connection *c = a->c;
	struct cm_exchange *x = a->x;

	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &x->status);
	if (x->status < 200 || x->status > 299 ||
	    !cm_http_header(c, "Content-Encoding") ||
	    header_is(c, "Content-Encoding", "identity"))
		return 0;
	if (!x->dst || !header_is(c, "Content-Encoding", "zstd"))
		return cm_error_set(&a->why, CM_ERR_PROTOCOL,
				    "an answer with a content encoding that "
				    "was not asked for");
	x->zstd = true;
	return 0;
}

static int answer_to_dst(struct attempt *a, const char *data, size_t len)
{
	struct cm_exchange *x = a->x;

	if (len > x->dst_size - x->dst_len)
		return cm_error_set(&a->why, CM_ERR_SIZE,
				    "more than the %zu bytes expected",
				    x->dst_size);
	memcpy((char *)x->dst + x->dst_len, data, len);
	x->dst_len += len;
	return 0;
}

static int answer_take(struct attempt *a, const char *data, size_t len)
{
	struct cm_exchange *x = a->x;
	struct cm_buffer *body = &a->c->body;

	if (x->status == 0 && answer_begin(a) < 0)
		return -1;
	if (x->status < 200 || x->status > 299) {
		a->cut_short = body->len + len > ERROR_BODY_MAX;
		if (a->cut_short)
			return -1;
		return cm_buffer_append(body, data, len, ERROR_BODY_MAX,
					&a->why);
	}
	if (x->dst && !x->zstd)
		return answer_to_dst(a, data, len);
	return cm_buffer_append(body, data, len,
				x->dst ? cm_wire_bound(x->dst_size) : x->limit,
				&a->why);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	return answer_take(arg, data, size * n) < 0 ? CURL_WRITEFUNC_ERROR
						    : size * n;
}

/* libcurl calls this at least once a second, whether bytes move or not. */
static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl,
		       curl_off_t ul_total, curl_off_t ul)
{
	struct attempt *a = arg;
	int64_t now = cm_monotonic_ms();

	(void)dl_total;
	(void)ul_total;
	if (atomic_load(&a->c->remote->cancelled))
		return 1;
	if (dl + ul >= a->mark_bytes + STALL_BYTES) {
		a->mark_bytes = dl + ul;
		a->mark_ms = now;
	} else if (now - a->mark_ms >= a->stall_ms) {
		a->stalled = true;
		return 1;
	}
	return 0;
}

/* ---- one attempt ------------------------------------------------------ */

static int headers_add(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (!longer)
		return -1;
	*list = longer;
	return 0;
}

static struct curl_slist *headers_make(const struct cm_connection *c,
				       const struct cm_exchange *x)
{
	const char *own = c->bearer ? c->bearer : c->remote->authorization;
	struct curl_slist *list = NULL;
	int r = headers_add(&list, "Expect:");

	if (own && !x->foreign)
		r |= headers_add(&list, own);
	for (size_t i = 0; i < CM_EXCHANGE_HEADERS_MAX && x->headers[i]; i++)
		r |= headers_add(&list, x->headers[i]);
	if (r == 0)
		return list;
	curl_slist_free_all(list);
	return NULL;
}

static void options_of_method(CURL *h, const struct cm_exchange *x)
{
	if (strcmp(x->method, "HEAD") == 0) {
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	} else if (strcmp(x->method, "GET") == 0) {
		curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
	} else {
		curl_easy_setopt(h, CURLOPT_POST, 1L);
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, x->body ? x->body : "");
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)x->body_len);
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, x->method);
		return;
	}
	/* libcurl withholds our credentials from another origin. */
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(h, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
}

static void options_of_limits(CURL *h, const struct cm_remote *r,
			      const struct cm_exchange *x)
{
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_ms);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS,
			 (long)(WHOLE_MS + (x->body_len + x->dst_size) /
						   WHOLE_BYTES_RATE));
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Else a name server that is silent is waited for at the end. */
	curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(h, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
	curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
}

static void options_set(struct attempt *a, const char *url,
			struct curl_slist *headers)
{
	const struct cm_remote *r = a->c->remote;
	const char *protocols =
		strncmp(url, "https:", 6) == 0 ? "https" : "http,https";
	CURL *h = a->c->curl;

	curl_easy_reset(h);
	options_of_method(h, a->x);
	options_of_limits(h, r, a->x);
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "cachectl/" CM_VERSION);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(h, CURLOPT_XFERINFODATA, a);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, a->c->curl_error);
	if (r->ca_file)
		curl_easy_setopt(h, CURLOPT_CAINFO, r->ca_file);
}

static void traffic_count(struct cm_connection *c)
{
	curl_off_t sent = 0, received = 0;

	curl_easy_getinfo(c->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
	curl_easy_getinfo(c->curl, CURLINFO_SIZE_DOWNLOAD_T, &received);
	atomic_fetch_add(&c->remote->sent, sent);
	atomic_fetch_add(&c->remote->received, received);
	atomic_fetch_add(&c->remote->requests, 1);
}

static bool connected(struct cm_connection *c)
{
	curl_off_t us = 0;

	curl_easy_getinfo(c->curl, CURLINFO_PRETRANSFER_TIME_T, &us);
	return us > 0;
}

/* Why there is no usable answer. */
static enum outcome failure(struct attempt *a, CURLcode code,
			    struct cm_error *err)
{
	struct cm_remote *r = a->c->remote;
	const char *text = a->c->curl_error[0] ? a->c->curl_error
					       : curl_easy_strerror(code);

	if (atomic_load(&r->cancelled)) {
		cm_error_set(err, CM_ERR_CANCELLED, "cancelled");
		return OUT_FAILED;
	}
	if (a->why.status != CM_OK) {
		*err = a->why;
		cm_error_wrap(err, "%s: %s", r->base, a->x->method);
		return OUT_FAILED;
	}
	if (code == CURLE_OUT_OF_MEMORY) {
		cm_error_nomem(err);
		return OUT_FAILED;
	}
	if (a->stalled) {
		cm_error_set(err, CM_ERR_UNAVAILABLE,
			     "%s: silent for %" PRId64 " ms", r->base,
			     a->stall_ms);
		return OUT_GONE;
	}
	cm_error_set(err, CM_ERR_UNAVAILABLE, "%s: %s", r->base, text);
	/* A scheme that this libcurl was built without is a malformed URL. */
	if (code == CURLE_TOO_MANY_REDIRECTS ||
	    code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT) {
		err->status = CM_ERR_PROTOCOL;
		return OUT_FAILED;
	}
	return connected(a->c) && code != CURLE_OPERATION_TIMEDOUT ? OUT_CUT
								   : OUT_GONE;
}

static enum outcome attempt_run(struct cm_connection *c, struct cm_exchange *x,
				const char *url, struct cm_error *err)
{
	struct attempt a = {
		.c = c,
		.x = x,
		.stall_ms = x->stall_ms ? x->stall_ms : c->remote->stall_ms,
		.mark_ms = cm_monotonic_ms(),
	};
	struct curl_slist *headers = headers_make(c, x);
	CURLcode code;

	if (!headers) {
		cm_error_nomem(err);
		return OUT_FAILED;
	}
	x->status = 0;
	x->zstd = false;
	x->dst_len = 0;
	cm_buffer_reset(&c->body);
	c->curl_error[0] = '\0';
	options_set(&a, url, headers);
	code = curl_easy_perform(c->curl);
	curl_slist_free_all(headers);
	traffic_count(c);
	if (code != CURLE_OK && !a.cut_short)
		return failure(&a, code, err);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &x->status);
	return OUT_ANSWER;
}

/* ---- attempts --------------------------------------------------------- */

static bool status_transient(long status)
{
	return status == 429 || status == 500 ||
	       (status >= 502 && status <= 504);
}

/* Doubles each time, and spreads clients that were turned away together. */
static int64_t backoff_ms(struct cm_connection *c, unsigned tries)
{
	int64_t ms = (int64_t)RETRY_FIRST_MS << tries;
	curl_off_t after = 0;
	unsigned char spread = 0;

	curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &after);
	if (after > RETRY_MS / 1000)
		return RETRY_MS + 1;
	if (getrandom(&spread, 1, GRND_NONBLOCK) != 1)
		spread = 128;
	ms = ms / 2 + ms * spread / 256;
	return ms > after * 1000 ? ms : after * 1000;
}

/* Sleeps in slices, so that a cancel is seen soon. */
static void sleep_ms(struct cm_remote *r, int64_t ms)
{
	static const struct timespec slice = {0, SLEEP_SLICE_MS * 1000000L};

	for (; ms > 0 && !atomic_load(&r->cancelled); ms -= SLEEP_SLICE_MS)
		nanosleep(&slice, NULL);
}

static int exchange_url(const struct cm_connection *c,
			const struct cm_exchange *x, char **ret,
			struct cm_error *err)
{
	int n = x->path ? asprintf(ret, "%s%s", c->remote->base, x->path)
			: asprintf(ret, "%s", x->url);

	if (n < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

/* What the last attempt says of the registry. */
static int exchange_end(struct cm_connection *c, const struct cm_exchange *x,
			enum outcome out, const struct cm_error *err)
{
	struct cm_remote *r = c->remote;

	/* An upload host that another registry names is not the registry. */
	if ((out == OUT_GONE || out == OUT_CUT) && !x->foreign)
		cm_remote_note_gone(r, err);
	if (out != OUT_ANSWER)
		return err->status;
	if (status_transient(x->status))
		cm_remote_note_busy(r, x->status);
	else
		cm_remote_note_healthy(r);
	return 0;
}

static int exchange_run(struct cm_connection *c, struct cm_exchange *x,
			struct cm_error *err)
{
	struct cm_error why = {0};
	cm_autofree char *url = NULL;
	int64_t until = 0, wait;
	enum outcome out;
	unsigned tries;
	int r;

	r = exchange_url(c, x, &url, err);
	if (r < 0)
		return r;
	for (tries = 0;; tries++) {
		r = cm_remote_gate(c->remote, err);
		if (r < 0)
			return r;
		out = attempt_run(c, x, url, &why);
		if (out != OUT_CUT &&
		    (out != OUT_ANSWER || !status_transient(x->status)))
			break;
		wait = backoff_ms(c, tries);
		if (until == 0)
			until = cm_monotonic_ms() + RETRY_MS;
		if (cm_monotonic_ms() + wait > until)
			break;
		sleep_ms(c->remote, wait);
	}
	r = exchange_end(c, x, out, &why);
	if (r < 0 && err)
		*err = why;
	return r;
}

int cm_http_exchange(struct cm_connection *c, struct cm_exchange *x,
		     struct cm_error *err)
{
	int r = exchange_run(c, x, err);

	if (r < 0 || x->status != 401 || x->foreign)
		return r;
	r = cm_auth_answer(c, err);
	return r > 0 ? exchange_run(c, x, err) : r;
}
