/*
 * test_client_remote.c - the transport against a server that answers what the
 * test wants: the extension, a plain registry, and misbehaviour.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "fake_http.h"
#include "remote.h"

#define DATA_LEN 300000

static const char features_json[] =
	"{\"extension\":\"cachemount\",\"version\":1,"
	"\"features\":[\"missing\",\"zstd\",\"if-match\"],\"limits\":{}}";

/* What the server of a test does, beside what every test needs. */
struct script {
	fake_handler handler;
	bool extension;
	char data[DATA_LEN]; /* a blob */
	struct cm_digest digest;
	char kept[DATA_LEN]; /* what was uploaded, decoded */
	size_t kept_len;
	atomic_bool saw_zstd, saw_secret;
	const char *location;
	atomic_int repeat;
};

struct fixture {
	struct script script;
	struct fake_http *server;
	struct cm_remote *remote;
	struct cm_connection *c;
	struct cm_error err;
};

static bool dispatch(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char text[256];

	if (fake_header(r, "Authorization", text, sizeof(text)))
		s->saw_secret = true;
	if (strcmp(r->target, CM_EXT_PATH) != 0)
		return s->handler(fd, r, s);
	if (s->extension)
		return fake_answer(fd, 200, "", features_json,
				   sizeof(features_json) - 1);
	return fake_answer(fd, 404, "", "404 page not found", 18);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	for (size_t i = 0; i < DATA_LEN; i++)
		f->script.data[i] = (char)('a' + i * i / 300 % 23);
	cm_digest_of(f->script.data, DATA_LEN, &f->script.digest, NULL);
	f->script.extension = true;
	*state = f;
	return 0;
}

static void start(struct fixture *f, fake_handler handler)
{
	struct cm_remote_options o = {.stall_ms = 1200, .token = "s3cret"};

	f->script.handler = handler;
	f->server = fake_http_start(dispatch, &f->script);
	o.url = fake_http_url(f->server);
	assert_int_equal(cm_remote_new(&o, &f->remote, &f->err), 0);
	assert_int_equal(cm_connection_new(f->remote, &f->c, &f->err), 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cm_connection_free(f->c);
	cm_remote_free(f->remote);
	if (f->server)
		fake_http_stop(f->server);
	free(f);
	return 0;
}

static int get_blob(struct fixture *f)
{
	static char buf[DATA_LEN];
	int r = cm_remote_blob_get(f->c, "main/pip", &f->script.digest, buf,
				   DATA_LEN, &f->err);

	if (r == 0)
		assert_memory_equal(buf, f->script.data, DATA_LEN);
	return r;
}

/* ---- fetching --------------------------------------------------------- */

static bool plain_blob(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;

	(void)r;
	return fake_answer(fd, 200, "", s->data, DATA_LEN);
}

static void test_remote__get_takes_identity_and_keeps_the_connection(void **st)
{
	struct fixture *f = *st;

	start(f, plain_blob);
	for (int i = 0; i < 20; i++)
		assert_int_equal(get_blob(f), 0);
	assert_int_equal(fake_http_connections(f->server), 1);
	assert_int_equal(fake_http_requests(f->server), 20);
}

static bool zstd_blob(int fd, const struct fake_request *r, void *arg)
{
	static char frame[DATA_LEN + 1000];
	struct script *s = arg;
	char text[64];
	size_t n = ZSTD_compress(frame, sizeof(frame), s->data,
				 (size_t)(DATA_LEN - s->repeat), 3);

	assert_non_null(fake_header(r, "Accept-Encoding", text, sizeof(text)));
	return fake_answer(fd, 200, "Content-Encoding: zstd\r\n", frame, n);
}

static void test_remote__get_decodes_zstd(void **st)
{
	struct fixture *f = *st;
	struct cm_remote_traffic t;

	start(f, zstd_blob);
	assert_int_equal(get_blob(f), 0);
	cm_remote_traffic(f->remote, &t);
	assert_true(t.received > 0 && t.received < DATA_LEN);
	assert_int_equal(t.requests, 1);
	f->script.repeat = 1;
	assert_int_equal(get_blob(f), CM_ERR_SIZE);
}

static bool zstd_bomb(int fd, const struct fake_request *r, void *arg)
{
	static char zeros[8 << 20], frame[1 << 20];
	size_t n = ZSTD_compress(frame, sizeof(frame), zeros, sizeof(zeros), 3);

	(void)r;
	(void)arg;
	return fake_answer(fd, 200, "Content-Encoding: zstd\r\n", frame, n);
}

static void test_remote__get_refuses_a_bomb(void **st)
{
	struct fixture *f = *st;

	start(f, zstd_bomb);
	assert_int_equal(get_blob(f), CM_ERR_SIZE);
	assert_false(cm_remote_is_gone(f->remote));
}

static bool no_zstd(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;

	(void)r;
	return fake_answer(fd, 200,
			   s->repeat ? "Content-Encoding: gzip\r\n"
				     : "Content-Encoding: zstd\r\n",
			   "rubbish!", 8);
}

static void test_remote__get_refuses_other_encodings(void **st)
{
	struct fixture *f = *st;

	start(f, no_zstd);
	assert_int_equal(get_blob(f), CM_ERR_PROTOCOL);
	f->script.repeat = 1;
	assert_int_equal(get_blob(f), CM_ERR_PROTOCOL);
}

static bool altered_blob(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char other[DATA_LEN + 1];

	(void)r;
	memcpy(other, s->data, DATA_LEN);
	other[777] ^= 1;
	return fake_answer(fd, 200, "", other, (size_t)(DATA_LEN + s->repeat));
}

static void test_remote__get_verifies_digest_and_length(void **st)
{
	struct fixture *f = *st;

	start(f, altered_blob);
	assert_int_equal(get_blob(f), CM_ERR_DIGEST);
	f->script.repeat = 1;
	assert_int_equal(get_blob(f), CM_ERR_SIZE);
	f->script.repeat = -1;
	assert_int_equal(get_blob(f), CM_ERR_SIZE);
	assert_false(cm_remote_is_gone(f->remote));
}

static bool cut_blob(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;

	if (s->repeat-- <= 0)
		return plain_blob(fd, r, arg);
	dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nshort",
		DATA_LEN);
	return false;
}

static void test_remote__get_survives_a_cut(void **st)
{
	struct fixture *f = *st;

	start(f, cut_blob);
	f->script.repeat = 2;
	assert_int_equal(get_blob(f), 0);
	assert_int_equal(fake_http_requests(f->server), 3);
}

static void test_remote__get_gives_up_on_cuts(void **st)
{
	struct fixture *f = *st;
	int64_t begun = cm_monotonic_ms();

	start(f, cut_blob);
	f->script.repeat = 1000;
	assert_int_equal(get_blob(f), CM_ERR_UNAVAILABLE);
	assert_true(cm_monotonic_ms() - begun < 3000);
	assert_true(cm_remote_is_gone(f->remote));
}

/* ---- gone and hung ---------------------------------------------------- */

static bool silence(int fd, const struct fake_request *r, void *arg)
{
	char c;

	(void)r;
	(void)arg;
	while (read(fd, &c, 1) > 0)
		;
	return false;
}

static void test_remote__a_hung_registry_opens_the_breaker(void **st)
{
	struct fixture *f = *st;
	int64_t begun = cm_monotonic_ms();

	start(f, silence);
	assert_int_equal(get_blob(f), CM_ERR_UNAVAILABLE);
	assert_non_null(strstr(f->err.text, "silent for 1200 ms"));
	assert_true(cm_monotonic_ms() - begun < 3500);
	begun = cm_monotonic_ms();
	for (int i = 0; i < 1000; i++)
		assert_int_equal(get_blob(f), CM_ERR_UNAVAILABLE);
	assert_true(cm_monotonic_ms() - begun < 500);
	assert_int_equal(fake_http_requests(f->server), 1);
}

static bool dribble(int fd, const struct fake_request *r, void *arg)
{
	(void)r;
	(void)arg;
	dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", DATA_LEN);
	while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		usleep(100000);
	return false;
}

static void test_remote__a_byte_now_and_then_is_silence(void **st)
{
	struct fixture *f = *st;
	int64_t begun = cm_monotonic_ms();

	start(f, dribble);
	assert_int_equal(get_blob(f), CM_ERR_UNAVAILABLE);
	assert_true(cm_monotonic_ms() - begun < 3500);
}

static void test_remote__a_closed_port_fails_at_once(void **st)
{
	struct fixture *f = *st;
	int64_t begun;

	start(f, plain_blob);
	fake_http_stop(cm_take_ptr(f->server));
	begun = cm_monotonic_ms();
	assert_int_equal(get_blob(f), CM_ERR_UNAVAILABLE);
	assert_true(cm_monotonic_ms() - begun < 1000);
	assert_true(cm_remote_is_gone(f->remote));
	cm_remote_revive(f->remote);
	assert_false(cm_remote_is_gone(f->remote));
	assert_int_equal(get_blob(f), CM_ERR_UNAVAILABLE);
}

static void test_remote__cancel_stops_everything(void **st)
{
	struct fixture *f = *st;

	start(f, plain_blob);
	cm_remote_cancel(f->remote);
	assert_int_equal(get_blob(f), CM_ERR_CANCELLED);
	assert_int_equal(fake_http_requests(f->server), 0);
}

/* ---- statuses --------------------------------------------------------- */

static bool busy(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;

	if (s->repeat-- > 0)
		return fake_answer(fd, 503, "Retry-After: 0\r\n", "", 0);
	return plain_blob(fd, r, arg);
}

static void test_remote__tries_again_while_busy(void **st)
{
	struct fixture *f = *st;
	int64_t begun = cm_monotonic_ms();

	start(f, busy);
	f->script.repeat = 3;
	assert_int_equal(get_blob(f), 0);
	f->script.repeat = 1000;
	for (int i = 0; i < 3; i++) {
		assert_false(cm_remote_is_gone(f->remote));
		assert_int_equal(get_blob(f), CM_ERR_BUSY);
	}
	assert_true(cm_remote_is_gone(f->remote));
	assert_true(cm_monotonic_ms() - begun < 9000);
}

static bool later(int fd, const struct fake_request *r, void *arg)
{
	(void)r;
	(void)arg;
	return fake_answer(fd, 429, "Retry-After: 60\r\n", "", 0);
}

static void test_remote__a_long_retry_after_is_not_waited_for(void **st)
{
	struct fixture *f = *st;
	int64_t begun = cm_monotonic_ms();

	start(f, later);
	assert_int_equal(get_blob(f), CM_ERR_BUSY);
	assert_true(cm_monotonic_ms() - begun < 500);
}

static bool refuse(int fd, const struct fake_request *r, void *arg)
{
	static const char json[] =
		"{\"errors\":[{\"code\":\"DENIED\",\"message\":"
		"\"not\\u001b[31m yours\"}]}";
	struct script *s = arg;

	(void)r;
	return fake_answer(fd, s->repeat, "", json, sizeof(json) - 1);
}

static void test_remote__statuses_are_told_apart(void **st)
{
	static const int table[][2] = {
		{400, CM_ERR_INVALID},	   {401, CM_ERR_UNAUTHORIZED},
		{403, CM_ERR_DENIED},	   {404, CM_ERR_NOT_FOUND},
		{405, CM_ERR_UNSUPPORTED}, {412, CM_ERR_PRECONDITION},
		{413, CM_ERR_SIZE},	   {418, CM_ERR_PROTOCOL},
		{507, CM_ERR_NO_SPACE},
	};
	struct fixture *f = *st;

	start(f, refuse);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		f->script.repeat = table[i][0];
		assert_int_equal(get_blob(f), table[i][1]);
		assert_non_null(strstr(f->err.text, "DENIED: not [31m yours"));
	}
	assert_false(cm_remote_is_gone(f->remote));
}

static bool redirect(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char line[256];

	(void)r;
	snprintf(line, sizeof(line), "Location: %s\r\n", s->location);
	return fake_answer(fd, 307, line, "", 0);
}

static void test_remote__redirects_don_t_carry_the_token(void **st)
{
	struct fixture *f = *st;
	struct script other = {.handler = plain_blob};
	struct fake_http *elsewhere;
	char url[128];

	memcpy(other.data, f->script.data, DATA_LEN);
	elsewhere = fake_http_start(dispatch, &other);
	snprintf(url, sizeof(url), "%s/x", fake_http_url(elsewhere));
	f->script.location = url;
	start(f, redirect);
	assert_int_equal(get_blob(f), 0);
	assert_true(f->script.saw_secret);
	assert_false(other.saw_secret);
	f->script.location = "file:///etc/passwd";
	assert_int_equal(get_blob(f), CM_ERR_PROTOCOL);
	f->script.location = "/loop";
	assert_int_equal(get_blob(f), CM_ERR_PROTOCOL);
	assert_false(cm_remote_is_gone(f->remote));
	fake_http_stop(elsewhere);
}

/* ---- missing and upload ----------------------------------------------- */

/* Says that the even ones of 2,500 digests are missing. */
static bool missing_even(int fd, const struct fake_request *r, void *arg)
{
	char answer[100000];
	size_t len = (size_t)sprintf(answer, "{\"missing\":[");
	const char *at = r->body;
	unsigned n = 0;

	(void)arg;
	assert_non_null(strstr(r->target, "main/pip/_cachemount/missing"));
	assert_non_null(strstr(r->body, "\"mount\":true"));
	for (; (at = strstr(at, "\"sha256:")); at++)
		if (n++ % 2 == 0)
			len += (size_t)sprintf(answer + len, "%s%.73s",
					       n > 1 ? "," : "", at);
	assert_true(n <= CM_MISSING_DIGESTS_MAX);
	len += (size_t)sprintf(answer + len, "]}");
	return fake_answer(fd, 200, "", answer, len);
}

static void test_remote__missing_asks_in_batches(void **st)
{
	static struct cm_digest digests[2500];
	static bool missing[2500];
	struct fixture *f = *st;

	start(f, missing_even);
	for (int i = 0; i < 2500; i++)
		cm_digest_of(&i, sizeof(i), &digests[i], NULL);
	assert_int_equal(cm_remote_missing(f->c, "main/pip", digests, 2500,
					   true, missing, &f->err),
			 0);
	for (int i = 0; i < 2500; i++)
		assert_int_equal(missing[i], i % 2 == 0);
	assert_int_equal(fake_http_requests(f->server), 4);
}

static bool missing_odd(int fd, const struct fake_request *r, void *arg)
{
	static const char json[] =
		"{\"missing\":[\"sha256:000000000000000000000000000000000000"
		"0000000000000000000000000000\"]}";

	(void)r;
	(void)arg;
	return fake_answer(fd, 200, "", json, sizeof(json) - 1);
}

static void test_remote__missing_refuses_what_was_not_asked(void **st)
{
	struct fixture *f = *st;
	bool missing;

	start(f, missing_odd);
	assert_int_equal(cm_remote_missing(f->c, "main/pip", &f->script.digest,
					   1, false, &missing, &f->err),
			 CM_ERR_PROTOCOL);
}

/* Takes uploads as cachemountd does: whole, by POST. */
static bool take_whole(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char text[64];

	assert_string_equal(r->method, "POST");
	assert_non_null(strstr(r->target, "/uploads/?digest=sha256:"));
	s->saw_zstd = fake_header(r, "Content-Encoding", text, sizeof(text));
	if (s->saw_zstd)
		s->kept_len = ZSTD_decompress(s->kept, DATA_LEN, r->body,
					      r->body_len);
	else
		memcpy(s->kept, r->body, s->kept_len = r->body_len);
	return fake_answer(fd, 201, "", "", 0);
}

static int put_blob(struct fixture *f, size_t len)
{
	return cm_remote_blob_put(f->c, "main/pip", &f->script.digest,
				  f->script.data, len, &f->err);
}

static void test_remote__put_sends_zstd_if_it_pays(void **st)
{
	struct fixture *f = *st;
	struct cm_remote_traffic t;
	uint32_t x = 1;

	start(f, take_whole);
	assert_int_equal(put_blob(f, DATA_LEN), 0);
	assert_true(f->script.saw_zstd);
	assert_int_equal(f->script.kept_len, DATA_LEN);
	assert_memory_equal(f->script.kept, f->script.data, DATA_LEN);
	cm_remote_traffic(f->remote, &t);
	assert_true(t.sent > 0 && t.sent < DATA_LEN / 2);
	for (size_t i = 0; i < DATA_LEN; i++)
		f->script.data[i] =
			(char)((x = x * 1664525 + 1013904223) >> 24);
	assert_int_equal(put_blob(f, DATA_LEN), 0);
	assert_false(f->script.saw_zstd);
	assert_memory_equal(f->script.kept, f->script.data, DATA_LEN);
	assert_int_equal(put_blob(f, 0), 0);
	assert_int_equal(f->script.kept_len, 0);
}

/* Takes uploads as plain registries do: POST, then PUT. */
static bool take_halves(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char line[256];

	if (strcmp(r->method, "POST") == 0) {
		assert_int_equal(r->body_len, 0);
		snprintf(line, sizeof(line), "Location: %s\r\n", s->location);
		return fake_answer(fd, 202, line, "", 0);
	}
	assert_string_equal(r->method, "PUT");
	assert_non_null(strstr(r->target, "?state=a%2Fb&digest=sha256:"));
	memcpy(s->kept, r->body, s->kept_len = r->body_len);
	return fake_answer(fd, 201, "", "", 0);
}

static void test_remote__put_follows_location(void **st)
{
	struct fixture *f = *st;
	struct script other = {.handler = take_halves};
	struct fake_http *elsewhere = fake_http_start(dispatch, &other);
	char url[256];

	f->script.extension = false;
	f->script.location = "/v2/main/pip/blobs/uploads/1?state=a%2Fb";
	start(f, take_halves);
	assert_int_equal(put_blob(f, DATA_LEN), 0);
	assert_memory_equal(f->script.kept, f->script.data, DATA_LEN);
	snprintf(url, sizeof(url), "%s/up?state=a%%2Fb",
		 fake_http_url(elsewhere));
	f->script.location = url;
	assert_int_equal(put_blob(f, DATA_LEN), 0);
	assert_memory_equal(other.kept, f->script.data, DATA_LEN);
	assert_false(other.saw_secret);
	f->script.location = "gopher://x/";
	assert_int_equal(put_blob(f, DATA_LEN), CM_ERR_PROTOCOL);
	fake_http_stop(elsewhere);
}

/* ---- manifests -------------------------------------------------------- */

static const char manifest_json[] = "{\"schemaVersion\":2}";

static bool manifest(int fd, const struct fake_request *r, void *arg)
{
	struct script *s = arg;
	char head[256], text[CM_DIGEST_TEXT_SIZE], match[128];
	struct cm_digest d;

	cm_digest_of(manifest_json, strlen(manifest_json), &d, NULL);
	snprintf(head, sizeof(head),
		 "Docker-Content-Digest: %s\r\nContent-Type: %s\r\n",
		 cm_digest_format(&d, text), CM_MEDIA_OCI_MANIFEST);
	if (strcmp(r->method, "PUT") == 0)
		return fake_answer(fd, s->repeat, head, "", 0);
	if (strcmp(r->method, "HEAD") == 0)
		return fake_answer(fd, s->repeat == 404 ? 404 : 200, head, "",
				   0);
	if (fake_header(r, "If-None-Match", match, sizeof(match)) &&
	    strstr(match, text))
		return fake_answer(fd, 304, head, "", 0);
	return fake_answer(fd, 200, head, manifest_json,
			   strlen(manifest_json) - (size_t)s->repeat);
}

static void test_remote__manifest_get(void **st)
{
	struct fixture *f = *st;
	struct cm_remote_manifest m;
	struct cm_digest d;

	start(f, manifest);
	assert_int_equal(cm_remote_manifest_get(f->c, "main/pip", "t", NULL, &m,
						&f->err),
			 0);
	assert_string_equal(m.bytes, manifest_json);
	assert_string_equal(m.media_type, CM_MEDIA_OCI_MANIFEST);
	d = m.digest;
	cm_remote_manifest_release(&m);
	assert_int_equal(
		cm_remote_manifest_get(f->c, "main/pip", "t", &d, &m, &f->err),
		0);
	assert_null(m.bytes);
	assert_true(cm_digest_equal(&m.digest, &d));
	f->script.repeat = 1;
	assert_int_equal(cm_remote_manifest_get(f->c, "main/pip", "t", NULL, &m,
						&f->err),
			 CM_ERR_DIGEST);
	assert_int_equal(cm_remote_manifest_get(f->c, "main/pip", "..", NULL,
						&m, &f->err),
			 CM_ERR_INVALID);
	assert_int_equal(
		cm_remote_manifest_get(f->c, "../x", "t", NULL, &m, &f->err),
		CM_ERR_INVALID);
}

static int put_manifest(struct fixture *f, const struct cm_digest *expect)
{
	struct cm_digest d;

	return cm_remote_manifest_put(
		f->c, "main/pip", "t", CM_MEDIA_OCI_MANIFEST, manifest_json,
		strlen(manifest_json), expect, &d, &f->err);
}

static void test_remote__manifest_put_expects(void **st)
{
	struct fixture *f = *st;
	struct cm_digest absent = {0}, there;

	cm_digest_of(manifest_json, strlen(manifest_json), &there, NULL);
	start(f, manifest);
	f->script.repeat = 201;
	assert_int_equal(put_manifest(f, NULL), 0);
	assert_int_equal(put_manifest(f, &there), 0);
	f->script.repeat = 412;
	assert_int_equal(put_manifest(f, &there), CM_ERR_PRECONDITION);
	assert_int_equal(put_manifest(f, &absent), CM_ERR_PRECONDITION);
}

static void test_remote__manifest_put_expects_without_if_match(void **st)
{
	struct fixture *f = *st;
	struct cm_digest absent = {0}, there, other;

	cm_digest_of(manifest_json, strlen(manifest_json), &there, NULL);
	cm_digest_of("x", 1, &other, NULL);
	f->script.extension = false;
	start(f, manifest);
	f->script.repeat = 201;
	assert_int_equal(put_manifest(f, &there), 0);
	assert_int_equal(put_manifest(f, &other), CM_ERR_PRECONDITION);
	assert_int_equal(put_manifest(f, &absent), CM_ERR_PRECONDITION);
}

static void test_remote__api_needs_the_extension(void **st)
{
	struct fixture *f = *st;
	char *body = NULL;

	f->script.extension = false;
	start(f, plain_blob);
	assert_int_equal(
		cm_remote_api(f->c, "GET", CM_API_STATS, NULL, &body, &f->err),
		CM_ERR_UNSUPPORTED);
}

/* ---- options ---------------------------------------------------------- */

static void test_remote__checks_its_options(void **st)
{
	static const char *const bad[] = {
		"",
		"cache:8080",
		"ftp://cache",
		"http://",
		"http://a/v2",
		"http://u:p@cache",
		"http://a?b",
		"http://a#b",
		"http://a:99999",
		"http://a b/",
		"file:///etc/hosts",
	};
	struct fixture *f = *st;
	struct cm_remote_options o = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		o.url = bad[i];
		assert_int_equal(cm_remote_new(&o, &f->remote, &f->err),
				 CM_ERR_INVALID);
	}
	o.url = "HTTPS://cache.example/";
	assert_int_equal(cm_remote_new(&o, &f->remote, &f->err), 0);
	assert_string_equal(cm_remote_url(f->remote), "https://cache.example");
	cm_remote_free(cm_take_ptr(f->remote));
	o.token = "a\r\nX: y";
	assert_int_equal(cm_remote_new(&o, &f->remote, &f->err),
			 CM_ERR_INVALID);
}

#define T(name)                                                                \
	cmocka_unit_test_setup_teardown(test_remote__##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(get_takes_identity_and_keeps_the_connection),
		T(get_decodes_zstd),
		T(get_refuses_a_bomb),
		T(get_refuses_other_encodings),
		T(get_verifies_digest_and_length),
		T(get_survives_a_cut),
		T(get_gives_up_on_cuts),
		T(a_hung_registry_opens_the_breaker),
		T(a_byte_now_and_then_is_silence),
		T(a_closed_port_fails_at_once),
		T(cancel_stops_everything),
		T(tries_again_while_busy),
		T(a_long_retry_after_is_not_waited_for),
		T(statuses_are_told_apart),
		T(redirects_don_t_carry_the_token),
		T(missing_asks_in_batches),
		T(missing_refuses_what_was_not_asked),
		T(put_sends_zstd_if_it_pays),
		T(put_follows_location),
		T(manifest_get),
		T(manifest_put_expects),
		T(manifest_put_expects_without_if_match),
		T(api_needs_the_extension),
		T(checks_its_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
