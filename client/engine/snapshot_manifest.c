/* snapshot_manifest.c - snapshots to OCI manifests and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/manifest.h>
#include <cachemount/protocol.h>

#include "../snapshot.h"
#include "snapshot_manifest.h"

#define DEFAULT_BYTES	INT64_MAX
#define DEFAULT_ENTRIES 10000000

void cm_snapshot_manifest_release(struct cm_snapshot_manifest *m)
{
	free(m->chunks);
	*m = (struct cm_snapshot_manifest){.chunks = NULL};
}

static int read_layer(const struct cm_descriptor *d, struct cm_chunk *ret,
		      struct cm_error *err)
{
	if (strcmp(d->media_type, CM_MEDIA_CHUNK) != 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "layer of media type \"%.100s\" in a "
				    "snapshot",
				    d->media_type);
	if (d->size < 1 || d->size > CM_CHUNK_SIZE_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "chunk of %lld bytes; from 1 to %d are "
				    "allowed",
				    (long long)d->size, CM_CHUNK_SIZE_MAX);
	*ret = (struct cm_chunk){d->digest, (uint32_t)d->size};
	return 0;
}

/* What the generic parser found, as a snapshot. */
static int read_manifest(const struct cm_manifest *m,
			 struct cm_snapshot_manifest *ret, struct cm_error *err)
{
	const struct cm_descriptor *config = m->descriptors;
	int r;

	if (!m->artifact_type ||
	    strcmp(m->artifact_type, CM_MEDIA_SNAPSHOT) != 0 ||
	    m->descriptors_len == 0 || config->kind != CM_REF_CONFIG)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "the manifest is no snapshot");
	if (m->has_sha512)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "the snapshot names blobs by SHA-512");
	if (strcmp(config->media_type, CM_MEDIA_TREE) != 0)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "the snapshot's tree is of media type "
				    "\"%.100s\"",
				    config->media_type);
	if (config->size > CM_TREE_TEXT_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "tree of %lld bytes; at most %lld are "
				    "allowed",
				    (long long)config->size, CM_TREE_TEXT_MAX);
	ret->tree = config->digest;
	ret->tree_size = config->size;
	ret->chunks = calloc(m->descriptors_len, sizeof(*ret->chunks));
	if (!ret->chunks)
		return cm_error_nomem(err);
	for (size_t i = 1; i < m->descriptors_len; i++) {
		r = read_layer(&m->descriptors[i],
			       &ret->chunks[ret->chunks_len++], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cm_snapshot_manifest_parse(const char *json, size_t len,
			       struct cm_snapshot_manifest *ret,
			       struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	struct cm_snapshot_manifest read = {.chunks = NULL};
	int r = cm_manifest_parse(json, len, NULL, &m, err);

	if (r == 0)
		r = read_manifest(m, &read, err);
	if (r < 0)
		cm_snapshot_manifest_release(&read);
	else
		*ret = read;
	return r;
}

#define DESCRIPTOR_ROOM 256 /* more than any descriptor below takes */

static size_t put_descriptor(char *out, const char *media_type,
			     const struct cm_digest *digest, int64_t size)
{
	char text[CM_DIGEST_TEXT_SIZE];

	return (size_t)snprintf(out, DESCRIPTOR_ROOM,
				"{\"mediaType\":\"%s\",\"digest\":\"%s\","
				"\"size\":%lld}",
				media_type, cm_digest_format(digest, text),
				(long long)size);
}

int cm_snapshot_manifest_format(const struct cm_snapshot_manifest *m,
				char **ret, size_t *ret_len,
				struct cm_error *err)
{
	static const char head[] =
		"{\"schemaVersion\":2,"
		"\"mediaType\":\"" CM_MEDIA_OCI_MANIFEST "\","
		"\"artifactType\":\"" CM_MEDIA_SNAPSHOT "\",\"config\":";
	static const char layers[] = ",\"layers\":[";
	cm_autofree char *json = NULL;
	size_t n = sizeof(head) - 1;

	if (m->chunks_len >= CM_MANIFEST_DESCRIPTORS_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "snapshot of %zu chunks; at most %d are "
				    "allowed",
				    m->chunks_len,
				    CM_MANIFEST_DESCRIPTORS_MAX - 1);
	json = malloc(sizeof(head) + sizeof(layers) +
		      (m->chunks_len + 2) * DESCRIPTOR_ROOM);
	if (!json)
		return cm_error_nomem(err);
	memcpy(json, head, n);
	n += put_descriptor(json + n, CM_MEDIA_TREE, &m->tree, m->tree_size);
	memcpy(json + n, layers, sizeof(layers) - 1);
	n += sizeof(layers) - 1;
	for (size_t i = 0; i < m->chunks_len; i++) {
		if (i > 0)
			json[n++] = ',';
		n += put_descriptor(json + n, CM_MEDIA_CHUNK,
				    &m->chunks[i].digest, m->chunks[i].size);
	}
	memcpy(json + n, "]}", 3);
	n += 2;
	if (n > CM_MANIFEST_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "manifest of %zu bytes; at most %d are "
				    "allowed",
				    n, CM_MANIFEST_MAX);
	*ret = cm_take_ptr(json);
	*ret_len = n;
	return 0;
}

static int fetch_tree(struct cm_connection *c, const char *repo,
		      const struct cm_snapshot_manifest *m,
		      const struct cm_tree_limits *limits, struct cm_tree **ret,
		      struct cm_error *err)
{
	cm_autofree char *text = malloc((size_t)m->tree_size + 1);
	int r;

	if (!text)
		return cm_error_nomem(err);
	r = cm_remote_blob_get(c, repo, &m->tree, text, (size_t)m->tree_size,
			       err);
	if (r == CM_ERR_NOT_FOUND)
		return cm_error_set(err, CM_ERR_CORRUPT,
				    "the registry has lost the snapshot's "
				    "tree");
	if (r < 0)
		return cm_error_wrap(err, "fetching the tree");
	return cm_tree_parse(cm_take_ptr(text), (size_t)m->tree_size, m->chunks,
			     m->chunks_len, limits, ret, err);
}

int cm_snapshot_fetch(struct cm_connection *c, const char *repo,
		      const char *reference, const struct cm_digest *known,
		      const struct cm_tree_limits *limits, struct cm_tree **ret,
		      struct cm_digest *ret_digest, struct cm_error *err)
{
	__attribute__((
		cleanup(cm_remote_manifest_release))) struct cm_remote_manifest
		fetched = {.bytes = NULL};
	__attribute__((cleanup(
		cm_snapshot_manifest_release))) struct cm_snapshot_manifest m =
		{.chunks = NULL};
	int r = cm_remote_manifest_get(c, repo, reference, known, &fetched,
				       err);

	if (r < 0)
		return r;
	*ret_digest = fetched.digest;
	*ret = NULL;
	if (!fetched.bytes)
		return 0;
	r = cm_snapshot_manifest_parse(fetched.bytes, fetched.len, &m, err);
	if (r == 0)
		r = fetch_tree(c, repo, &m, limits, ret, err);
	return r;
}

int cm_snapshot_fetch_tree(struct cm_connection *c, const char *repo,
			   const char *reference, struct cm_tree **ret,
			   struct cm_digest *ret_manifest, struct cm_error *err)
{
	static const struct cm_tree_limits limits = {DEFAULT_ENTRIES,
						     DEFAULT_BYTES};

	return cm_snapshot_fetch(c, repo, reference, NULL, &limits, ret,
				 ret_manifest, err);
}
