/* health.c - readiness kept by one thread and read by all. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/store.h>
#include <cachemount/units.h>

#include "health.h"
#include "http/http.h"
#include "log.h"

#define ASKED_LATELY_MS 30000
#define CHECK_MS	1000
#define CHECK_IDLE_MS	30000
#define STUCK_MS	10000

enum verdict {
	VERDICT_UNKNOWN,
	VERDICT_READY,
	VERDICT_UNWRITABLE,
};

/* Times are of the monotonic clock; 0: never. */
struct cm_health {
	_Atomic int phase;
	_Atomic int verdict;
	_Atomic int64_t asked_ms;   /* somebody wanted to know */
	_Atomic int64_t began_ms;   /* of the check under way; 0: none */
	_Atomic int64_t checked_ms; /* of the last one */
};

int cm_health_new(struct cm_health **ret, struct cm_error *err)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : cm_error_nomem(err);
}

void cm_health_free(struct cm_health *h)
{
	free(h);
}

void cm_health_set_phase(struct cm_health *h, enum cm_phase phase)
{
	atomic_store(&h->phase, phase);
}

enum cm_phase cm_health_phase(const struct cm_health *h)
{
	return (enum cm_phase)atomic_load_explicit(&h->phase,
						   memory_order_relaxed);
}

static bool check_due(struct cm_health *h, int64_t now)
{
	int64_t asked = atomic_load(&h->asked_ms);
	int64_t every = asked && now - asked < ASKED_LATELY_MS ? CHECK_MS
							       : CHECK_IDLE_MS;

	return h->checked_ms == 0 || now - h->checked_ms >= every;
}

/* Says once when the verdict turns. */
static void note_verdict(struct cm_health *h, enum verdict now,
			 const struct cm_error *err)
{
	int before = atomic_exchange(&h->verdict, (int)now);

	if (now == VERDICT_UNWRITABLE && before != (int)now)
		cm_log(CM_LOG_ERROR, "store-unwritable", "%s", err->text);
	if (now == VERDICT_READY && before == VERDICT_UNWRITABLE)
		cm_log(CM_LOG_INFO, "store-writable", "writes work again");
}

void cm_health_check(struct cm_health *h, struct cm_store *store)
{
	int64_t now = cm_monotonic_ms();
	struct cm_error err;
	int rc;

	if (!check_due(h, now))
		return;
	atomic_store(&h->began_ms, now);
	rc = cm_store_check_writable(store, &err);
	note_verdict(h, rc == 0 ? VERDICT_READY : VERDICT_UNWRITABLE, &err);
	atomic_store(&h->checked_ms, cm_monotonic_ms());
	atomic_store(&h->began_ms, 0);
}

static const char *why_not_ready(struct cm_health *h)
{
	int64_t now = cm_monotonic_ms(), began;

	atomic_store_explicit(&h->asked_ms, now, memory_order_relaxed);
	if (cm_health_phase(h) != CM_PHASE_UP)
		return "draining";
	began = atomic_load(&h->began_ms);
	if (began != 0 && now - began > STUCK_MS)
		return "the store does not answer";
	switch ((enum verdict)atomic_load(&h->verdict)) {
	case VERDICT_READY:
		return NULL;
	case VERDICT_UNWRITABLE:
		return "the store cannot write";
	case VERDICT_UNKNOWN:
		break;
	}
	return "starting";
}

static int start_live(struct cm_request *r, struct cm_error *err)
{
	return cm_reply_bytes(r, 200, "text/plain", "ok\n", 3, err);
}

static int start_ready(struct cm_request *r, struct cm_error *err)
{
	const char *why = why_not_ready(cm_request_health(r));

	if (why)
		return cm_error_set(err, CM_ERR_UNAVAILABLE, "%s", why);
	return cm_reply_bytes(r, 200, "text/plain", "ok\n", 3, err);
}

static int start_root(struct cm_request *r, struct cm_error *err)
{
	static const char text[] =
		"cachemountd " CM_VERSION "\n"
		"registry: /v2/   administration: /api/v1/   "
		"health: /livez /readyz\n";

	return cm_reply_bytes(r, 200, "text/plain", text, sizeof(text) - 1,
			      err);
}

static void fail(struct cm_request *r, const struct cm_error *err)
{
	json_t *text = json_string(err->text);

	/* A message that quotes bytes of the client may be no UTF-8. */
	if (!text)
		text = json_string("malformed request");
	cm_reply_json(r, cm_status_to_http(err->status),
		      json_pack("{s:[{s:s,s:o}]}", "errors", "code",
				cm_status_name(err->status), "message", text),
		      NULL);
}

static const struct cm_handler live = {.start = start_live};
static const struct cm_handler ready = {.start = start_ready};
static const struct cm_handler root = {.start = start_root};

static const struct cm_route routes[] = {
	{"GET", "/", CM_PERM_NONE, &root},
	{"GET", "/health", CM_PERM_NONE, &ready},
	{"GET", "/livez", CM_PERM_NONE, &live},
	{"GET", "/readyz", CM_PERM_NONE, &ready},
};

const struct cm_face cm_health_face = {
	.name = "health",
	.prefix = "/",
	.routes = routes,
	.routes_len = sizeof(routes) / sizeof(routes[0]),
	.fail = fail,
};
