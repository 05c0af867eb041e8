/*
 * manifest.c - parsing of OCI and Docker manifests.
 *
 * jansson bounds the nesting (JSON_PARSER_MAX_DEPTH); before it is asked, the
 * length is bounded by CM_MANIFEST_MAX and the number of values by VALUES_MAX,
 * for jansson spends up to 240 bytes on a value that two bytes can say.
 */
#include <jansson.h>
#include <string.h>

#include <cachemount/manifest.h>
#include <cachemount/protocol.h>

CM_DEFINE_CLEANUP(json, json_t, json_decref);

/* Six for each descriptor: the object, its three members and two more. */
#define VALUES_MAX (6 * CM_MANIFEST_DESCRIPTORS_MAX)

struct media_kind {
	const char *media_type;
	bool index;
};

static const struct media_kind media_kinds[] = {
	{CM_MEDIA_OCI_MANIFEST, false},
	{CM_MEDIA_OCI_INDEX, true},
	{CM_MEDIA_DOCKER_MANIFEST, false},
	{CM_MEDIA_DOCKER_LIST, true},
};

static const struct media_kind *media_kind_of(const char *media_type)
{
	size_t n = sizeof(media_kinds) / sizeof(media_kinds[0]);

	for (size_t i = 0; i < n; i++)
		if (strcmp(media_kinds[i].media_type, media_type) == 0)
			return &media_kinds[i];
	return NULL;
}

/* A member that must be a string if it is there; NULL and 0 if it is not. */
static int optional_string(const json_t *object, const char *key,
			   const char **ret, struct cm_error *err)
{
	const json_t *value = json_object_get(object, key);

	*ret = NULL;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return cm_error_set(err, CM_ERR_INVALID, "%s must be a string",
				    key);
	*ret = json_string_value(value);
	return 0;
}

static int copy_string(const char *s, char **ret, struct cm_error *err)
{
	*ret = strdup(s);
	return *ret ? 0 : cm_error_nomem(err);
}

static int parse_digest(const json_t *object, struct cm_any_digest *ret,
			struct cm_error *err)
{
	const char *text;
	int r = optional_string(object, "digest", &text, err);

	if (r < 0)
		return r;
	if (!text)
		return cm_error_set(err, CM_ERR_INVALID, "digest is missing");
	return cm_any_digest_parse(text, strlen(text), ret, err);
}

/* Most are SHA-256: the other costs memory only where it is used. */
static int set_digest(struct cm_descriptor *ret, const struct cm_any_digest *d,
		      struct cm_error *err)
{
	if (d->algorithm == CM_SHA256) {
		ret->digest = d->sha256;
		return 0;
	}
	ret->sha512 = malloc(sizeof(*d));
	if (!ret->sha512)
		return cm_error_nomem(err);
	*ret->sha512 = *d;
	return 0;
}

static bool foreign_media_type(const char *media_type)
{
	return strstr(media_type, ".nondistributable.") ||
	       strstr(media_type, ".foreign.");
}

static int parse_descriptor(const json_t *object, enum cm_reference_kind kind,
			    struct cm_descriptor *ret, struct cm_error *err)
{
	const json_t *size = json_object_get(object, "size");
	struct cm_any_digest digest;
	const char *media_type;
	int r;

	if (!json_is_object(object))
		return cm_error_set(err, CM_ERR_INVALID, "must be an object");
	r = parse_digest(object, &digest, err);
	if (r < 0)
		return r;
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "size must be a number of bytes, not "
				    "negative");
	r = optional_string(object, "mediaType", &media_type, err);
	if (r < 0)
		return r;
	if (!media_type)
		return cm_error_set(err, CM_ERR_INVALID,
				    "mediaType is missing");
	ret->kind = kind;
	ret->size = json_integer_value(size);
	ret->foreign = foreign_media_type(media_type);
	r = copy_string(media_type, &ret->media_type, err);
	return r < 0 ? r : set_digest(ret, &digest, err);
}

static int add_descriptor(struct cm_manifest *m, const json_t *object,
			  enum cm_reference_kind kind, struct cm_error *err)
{
	struct cm_descriptor *d = &m->descriptors[m->descriptors_len];
	int r = parse_descriptor(object, kind, d, err);

	/* One that failed half way is freed with the others. */
	m->descriptors_len++;
	m->has_sha512 = m->has_sha512 || d->sha512;
	return r;
}

/* Adds the entries of the array `key`, behind a config if there is one. */
static int parse_array(struct cm_manifest *m, const json_t *root,
		       const char *key, enum cm_reference_kind kind,
		       struct cm_error *err)
{
	const json_t *array = json_object_get(root, key), *entry;
	size_t i, n;
	int r;

	if (!json_is_array(array))
		return cm_error_set(err, CM_ERR_INVALID, "%s must be an array",
				    key);
	n = json_array_size(array) + (kind == CM_REF_LAYER);
	if (n > CM_MANIFEST_DESCRIPTORS_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "the manifest has %zu descriptors; at most "
				    "%d are allowed",
				    n, CM_MANIFEST_DESCRIPTORS_MAX);
	m->descriptors = calloc(n + 1, sizeof(*m->descriptors));
	if (!m->descriptors)
		return cm_error_nomem(err);
	if (kind == CM_REF_LAYER) {
		r = add_descriptor(m, json_object_get(root, "config"),
				   CM_REF_CONFIG, err);
		if (r < 0)
			return cm_error_wrap(err, "config");
	}
	json_array_foreach (array, i, entry) {
		r = add_descriptor(m, entry, kind, err);
		if (r < 0)
			return cm_error_wrap(err, "%s[%zu]", key, i);
	}
	return 0;
}

/* Which media type it is: what was said, what is written, and that they agree.
 */
static int parse_media_type(struct cm_manifest *m, const json_t *root,
			    const char *content_type, struct cm_error *err)
{
	const struct media_kind *kind;
	const char *written;
	int r = optional_string(root, "mediaType", &written, err);

	if (r < 0)
		return r;
	if (written && content_type && strcmp(written, content_type) != 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "mediaType is \"%.100s\", but the "
				    "Content-Type says \"%.100s\"",
				    written, content_type);
	if (!content_type)
		content_type = written;
	if (!content_type)
		return cm_error_set(err, CM_ERR_INVALID,
				    "neither Content-Type nor mediaType says "
				    "what the manifest is");
	kind = media_kind_of(content_type);
	if (!kind)
		return cm_error_set(err, CM_ERR_UNSUPPORTED,
				    "media type \"%.100s\" is no manifest "
				    "that this registry takes",
				    content_type);
	m->index = kind->index;
	return copy_string(content_type, &m->media_type, err);
}

static int parse_subject(struct cm_manifest *m, const json_t *root,
			 struct cm_error *err)
{
	const json_t *subject = json_object_get(root, "subject");
	int r;

	if (!subject || json_is_null(subject))
		return 0;
	if (!json_is_object(subject))
		return cm_error_set(err, CM_ERR_INVALID,
				    "subject must be an object");
	r = parse_digest(subject, &m->subject, err);
	if (r < 0)
		return cm_error_wrap(err, "subject");
	m->has_subject = true;
	return 0;
}

/*
 * A body that reads as a manifest and as an index at once means one thing to
 * one client and another to the next, under one digest (CVE-2021-41190).
 */
static int refuse_ambiguous(const struct cm_manifest *m, const json_t *root,
			    struct cm_error *err)
{
	static const char *const of_manifest[] = {"config", "layers", NULL};
	static const char *const of_index[] = {"manifests", NULL};
	const char *const *key = m->index ? of_manifest : of_index;

	for (; *key; key++)
		if (json_object_get(root, *key))
			return cm_error_set(err, CM_ERR_INVALID,
					    "%s has no place in %s", *key,
					    m->media_type);
	return 0;
}

static int parse_root(struct cm_manifest *m, const json_t *root,
		      const char *content_type, struct cm_error *err)
{
	const char *artifact_type;
	int r;

	if (json_integer_value(json_object_get(root, "schemaVersion")) != 2)
		return cm_error_set(err, CM_ERR_INVALID,
				    "schemaVersion must be 2");
	r = parse_media_type(m, root, content_type, err);
	if (r < 0)
		return r;
	r = refuse_ambiguous(m, root, err);
	if (r < 0)
		return r;
	r = optional_string(root, "artifactType", &artifact_type, err);
	if (r < 0)
		return r;
	if (artifact_type) {
		r = copy_string(artifact_type, &m->artifact_type, err);
		if (r < 0)
			return r;
	}
	r = parse_subject(m, root, err);
	if (r < 0)
		return r;
	if (m->index)
		return parse_array(m, root, "manifests", CM_REF_MANIFEST, err);
	return parse_array(m, root, "layers", CM_REF_LAYER, err);
}

/*
 * At least as many values as the text has, whether or not it is JSON: each but
 * the first is behind a comma or a bracket, outside of strings. (A name in an
 * object counts with its value.)
 */
static size_t count_values(const char *json, size_t len)
{
	bool in_string = false;
	size_t n = 1;

	for (size_t i = 0; i < len; i++) {
		if (in_string && json[i] == '\\')
			i++;
		else if (json[i] == '"')
			in_string = !in_string;
		else if (!in_string)
			n += json[i] == ',' || json[i] == '[' || json[i] == '{';
	}
	return n;
}

static int check_costs(const void *json, size_t len, struct cm_error *err)
{
	if (len > CM_MANIFEST_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "manifest has %zu bytes; at most %d are "
				    "allowed",
				    len, CM_MANIFEST_MAX);
	if (count_values(json, len) > VALUES_MAX)
		return cm_error_set(err, CM_ERR_SIZE,
				    "manifest has more than %d values",
				    VALUES_MAX);
	return 0;
}

int cm_manifest_parse(const void *json, size_t len, const char *content_type,
		      struct cm_manifest **ret, struct cm_error *err)
{
	cm_auto(manifest) struct cm_manifest *m = NULL;
	cm_auto(json) json_t *root = NULL;
	json_error_t why;
	int r = check_costs(json, len, err);

	if (r < 0)
		return r;
	root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return cm_error_set(err, CM_ERR_INVALID,
				    "manifest is no JSON: line %d: %s",
				    why.line, why.text);
	if (!json_is_object(root))
		return cm_error_set(err, CM_ERR_INVALID,
				    "manifest is no JSON object");
	m = calloc(1, sizeof(*m));
	if (!m)
		return cm_error_nomem(err);
	r = parse_root(m, root, content_type, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(m);
	return 0;
}

const char *cm_manifest_referrer_type(const struct cm_manifest *m)
{
	if (m->artifact_type && m->artifact_type[0])
		return m->artifact_type;
	if (m->descriptors_len > 0 && m->descriptors[0].kind == CM_REF_CONFIG)
		return m->descriptors[0].media_type;
	return NULL;
}

void cm_manifest_free(struct cm_manifest *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->descriptors_len; i++) {
		free(m->descriptors[i].media_type);
		free(m->descriptors[i].sha512);
	}
	free(m->descriptors);
	free(m->media_type);
	free(m->artifact_type);
	free(m);
}
