/*
 * protocol.h - what both ends must agree on: paths, headers, media types and
 * limits of the OCI face, of its extension and of the administration API.
 *
 * The base is the OCI distribution-spec 1.1. The extension is discovered, and
 * never required:
 *
 * GET /v2/_cachemount/ext/v1
 *	200 {"extension":"cachemount","version":1,
 *	     "features":["missing","zstd","if-match"],
 *	     "limits":{"missing_digests":N,"manifest_bytes":N,"blob_bytes":N}}
 *	Any other answer: the registry has no extension.
 *
 * POST /v2/<name>/_cachemount/missing      (permission: pull)
 *	{"digests":["sha256:…",…]}  ->  200 {"missing":["sha256:…",…]}
 *	In the order of the question. A digest that is not named missing is
 *	leased like a HEAD 200. With permission to push, and
 *	"mount":true in the body, a blob that the identity may pull from some
 *	other repository is mounted into <name> first. At most
 *	CM_MISSING_DIGESTS_MAX digests.
 *
 * Content-Encoding: zstd
 *	On a blob upload (POST ?digest=, PATCH, PUT): the body is one zstd
 *	frame of the blob; digest and upload offsets: the digest is of the
 *	decoded bytes, and a session takes either one encoded body whole or
 *	plain chunks, never both. Window at most 8 MiB (RFC 9659).
 *	On GET of a blob: sent if the client's Accept-Encoding has zstd, the
 *	blob is stored so, and no Range is asked. Vary: Accept-Encoding.
 *
 * If-Match: "sha256:…" / If-None-Match: * on PUT of a manifest by tag
 *	412 if the tag names another manifest / any manifest. The ETag of a
 *	manifest is its digest in quotes. On 412 the answer carries the ETag
 *	and Docker-Content-Digest of what the tag names now, if anything.
 */
#ifndef CACHEMOUNT_PROTOCOL_H
#define CACHEMOUNT_PROTOCOL_H

#define CM_EXT_PATH		    "/v2/_cachemount/ext/v1"
#define CM_EXT_MISSING_SUFFIX	    "/_cachemount/missing"
#define CM_MISSING_DIGESTS_MAX	    1000
#define CM_MANIFEST_MAX		    (8 << 20) /* bytes; the spec asks for >= 4 MiB */
#define CM_MANIFEST_DESCRIPTORS_MAX 50000
#define CM_BLOB_MAX		    (1LL << 40) /* bytes */
#define CM_ZSTD_WINDOW_LOG_MAX	    23		/* RFC 9659: 8 MiB */

#define CM_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define CM_MEDIA_OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define CM_MEDIA_OCI_EMPTY    "application/vnd.oci.empty.v1+json"
#define CM_MEDIA_DOCKER_MANIFEST                                               \
	"application/vnd.docker.distribution.manifest.v2+json"
#define CM_MEDIA_DOCKER_LIST                                                   \
	"application/vnd.docker.distribution.manifest.list.v2+json"

/* A snapshot: an OCI image manifest with this artifactType (design §6). */
#define CM_MEDIA_SNAPSHOT "application/vnd.cachemount.snapshot.v1"
/* Its config blob, the tree. */
#define CM_MEDIA_TREE "application/vnd.cachemount.tree.v1+jsonl"
/* Its layers, the chunks: plain content bytes. */
#define CM_MEDIA_CHUNK "application/vnd.cachemount.chunk.v1"

/* Administration API; bodies are JSON, sizes integer bytes, times RFC 3339. */
#define CM_API_STATS	    "/api/v1/stats"	   /* GET */
#define CM_API_REPOSITORIES "/api/v1/repositories" /* GET ?prefix=&n=&last= */
#define CM_API_TAGS	    "/api/v1/tags"	   /* GET ?prefix=&n=&last= */
#define CM_API_PURGE	    "/api/v1/purge"	   /* POST */
#define CM_API_VERIFY	    "/api/v1/verify"	   /* POST */
#define CM_API_BACKUP	    "/api/v1/backup"	   /* GET, POST */
#define CM_API_PIN	    "/api/v1/pin"	   /* POST */
#define CM_API_GC	    "/api/v1/gc"	   /* POST */
#define CM_API_SCOPES	    "/api/v1/scopes"	   /* GET ?n=&last= */

#define CM_DEFAULT_URL "http://127.0.0.1:8080"

#endif
