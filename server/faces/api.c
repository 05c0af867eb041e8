/*
 * api.c - the administration face under /api/v1/.
 *
 * Bodies are JSON objects; sizes are integer bytes, times RFC 3339 in UTC.
 * Errors are {"errors":[{"code":"<status, lower case>","message":"…"}]}.
 * Everywhere an identity sees and touches only repositories that it may.
 *
 * GET /api/v1/stats					(pull)
 *	{"version":"…",
 *	 "store":{"repositories","tags","manifests","blobs","content_bytes",
 *		"stored_bytes","referenced_bytes","uploads","quarantined",
 *		"limit_bytes","high_bytes","low_bytes","used_bytes",
 *		"file_bytes","index_bytes","upload_bytes","quarantine_bytes",
 *		"backup_bytes",
 *		"pinned_tags","pinned_bytes","longest_idle_ms",
 *		"last_evicted_idle_ms","slowest_batch_us","eviction_stuck"},
 *	 "ratios":{"deduplication","compression","hits"},
 *	 "counters":{"<name>":N,…},
 *	 "history":{"since":"<day>","days":[{"day","age","kinds":KINDS},…],
 *		"scopes":[{"scope","kinds":KINDS},…]},
 *	 "quotas":[{"scope","bytes","quota"},…],
 *	 "server":{"started","uptime_ms","connections","requests",
 *		"sent_bytes","received_bytes","draining"},
 *	 "scrub":{"running","progress","began","ended"},
 *	 "backup":{…}}
 *	A manifest is one of "blobs" as well, and one of "manifests" for each
 *	repository that has it.
 *	deduplication = referenced / content bytes, compression = content /
 *	stored bytes, hits = hits / (hits + misses); null where undefined.
 *	"progress" is of the round under way, 0 to 1; "backup" as below.
 *	KINDS is {"<kind>":{"hits","misses","errors","writes","sent_bytes",
 *	"received_bytes"},…}. Days are of UTC, "age" 0 is today. The scopes are
 *	those with the most lookups; "other" is all without a row of their own.
 *
 * GET /api/v1/repositories?prefix=&n=&last=		(pull)
 *	{"repositories":["…",…],"next":"…"}
 *	In byte order. "next" is there if more follow: give it as `last`.
 *	n is at most, and by default, 1000.
 *
 * GET /api/v1/tags?repository=&prefix=&n=&last=	(pull)
 *	{"tags":[{"repository","tag","digest","mediaType","artifactType",
 *		"size","created","updated","pulled","writer","pinned",
 *		"importable"},…],"next":"…"}
 *	By repository, then tag. size is that of the manifest and all it names.
 *	importable is false for a build cache that is too large for BuildKit to
 *	import, as cm_buildkit_unreadable() has it.
 *	artifactType, pulled and writer may be null. "next" is
 *	"<repository>:<tag>". Either `repository` or `prefix`, or neither.
 *
 * POST /api/v1/purge					(delete, see
 *api_purge.c)
 *	{"repository","prefix","tag","older_than","unused_for","writer",
 *	 "all","dry_run"}
 *	-> {"tags":N,"manifests":N,"blobs":N,"bytes":N,"dry_run":B}
 *
 * POST /api/v1/pin					(admin, see
 *api_limits.c)
 *	{"repository","tag","pinned":B} -> {"repository","tag","pinned",
 *		"pinned_tags":N,"pinned_bytes":N,"low_bytes":N}
 *
 * POST /api/v1/gc					(admin, see
 *api_limits.c)
 *	-> {"uploads","manifests","blobs","bytes","evicted":{"tags",
 *		"manifests","blobs","bytes"},"more":B}
 *
 * GET /api/v1/scopes?n=&last=				(pull)
 *	{"scopes":[{"scope","bytes","quota"},…],"next":"…"}
 *	Those in which the identity may pull everything. quota may be null.
 *
 * POST /api/v1/verify					(push, see api_verify.c)
 *	{"repository","digests":["…",…],"offset":N} or
 *	{"repository","tag","offset":N}
 *	-> {"results":[{"digest","status","message"},…],"more":B,"next":N}
 *
 * GET /api/v1/backup					(admin on **)
 *	{"state":"none"|"running"|"done"|"failed","count":N,"file":"…",
 *	 "bytes":N,"made":"…","failure":"…"}
 *	The newest backup of the index, by its name in the data folder, and how
 *	the last try went. file, made and failure may be null.
 *
 * POST /api/v1/backup {}				(admin on **)
 *	Begins a backup, and answers like GET, at once.
 */
#include <stdio.h>
#include <string.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>

#include "faces/api.h"
#include "faces/faces.h"
#include "faces/oci_error.h"

/* Writes the fields for a message: "a, b, c". */
static void list_fields(const char *const *fields, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; fields[i] && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s",
					 i > 0 ? ", " : "", fields[i]);
}

int cm_api_known_fields(json_t *object, const char *const *fields,
			struct cm_error *err)
{
	char known[256];
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach (object, key, value) {
		for (i = 0; fields[i] && strcmp(fields[i], key) != 0;)
			i++;
		if (fields[i])
			continue;
		list_fields(fields, known, sizeof(known));
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.60s\" is no field here; the fields "
				    "are %s",
				    key, known);
	}
	return 0;
}

int cm_api_string(const json_t *object, const char *key, const char **ret,
		  struct cm_error *err)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return cm_error_set(err, CM_ERR_INVALID, "%s must be a string",
				    key);
	*ret = json_string_value(value);
	return 0;
}

int cm_api_bool(const json_t *object, const char *key, bool *ret,
		struct cm_error *err)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_boolean(value))
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s must be true or false", key);
	*ret = json_is_true(value);
	return 0;
}

int cm_api_repository(const json_t *object, const char *key, const char **ret,
		      struct cm_error *err)
{
	int status = cm_api_string(object, key, ret, err);

	if (status < 0 || !*ret)
		return status;
	if (!cm_repository_valid(*ret, strlen(*ret)))
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s \"%.100s\" is no repository name", key,
				    *ret);
	return 0;
}

int cm_api_require(struct cm_request *r, enum cm_permission p, const char *word,
		   const char *repo, struct cm_error *err)
{
	if (cm_request_may(r, p, repo))
		return 0;
	return cm_error_set(err, CM_ERR_DENIED,
			    "this needs the permission \"%s\" on %s", word,
			    repo);
}

/*
 * "-" is no legal component, so no pattern can name <prefix>/-/-: it is covered
 * only by one that covers all beneath the prefix, now and later. (Two of them,
 * since one star covers one component.)
 */
bool cm_api_may_all(const struct cm_request *r, enum cm_permission p,
		    const char *prefix)
{
	char probe[CM_REPOSITORY_MAX + 8];

	snprintf(probe, sizeof(probe), "%s%s-/-", prefix, *prefix ? "/" : "");
	return cm_request_may(r, p, probe);
}

static void fail(struct cm_request *r, const struct cm_error *err)
{
	/* Without memory for a body the server sends its own bare status. */
	(void)cm_reply_error(r, cm_status_to_http(err->status),
			     cm_status_name(err->status), err->text, NULL);
}

static const struct cm_route routes[] = {
	{"GET", CM_API_STATS, CM_PERM_PULL, &cm_api_stats},
	{"GET", CM_API_REPOSITORIES, CM_PERM_PULL, &cm_api_repositories},
	{"GET", CM_API_TAGS, CM_PERM_PULL, &cm_api_tags},
	{"POST", CM_API_PURGE, CM_PERM_NONE, &cm_api_purge},
	{"POST", CM_API_VERIFY, CM_PERM_NONE, &cm_api_verify},
	{"GET", CM_API_BACKUP, CM_PERM_NONE, &cm_api_backup_get},
	{"POST", CM_API_BACKUP, CM_PERM_NONE, &cm_api_backup_post},
	{"POST", CM_API_PIN, CM_PERM_NONE, &cm_api_pin},
	{"POST", CM_API_GC, CM_PERM_NONE, &cm_api_gc},
	{"GET", CM_API_SCOPES, CM_PERM_PULL, &cm_api_scopes},
};

const struct cm_face cm_api_face = {
	.name = "api",
	.prefix = "/api/v1/",
	.routes = routes,
	.routes_len = sizeof(routes) / sizeof(routes[0]),
	.fail = fail,
};
