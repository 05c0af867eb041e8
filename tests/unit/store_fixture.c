/* store_fixture.c - a real store for tests, and what to put into it. */
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "store_fixture.h"

#include <cachemount/protocol.h>

/* ---- the store ------------------------------------------------------------
 */

int store_setup(void **state)
{
	struct store_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/cm-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->options.data_dir = f->dir;
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
	*state = f;
	return 0;
}

int store_teardown(void **state)
{
	struct store_fixture *f = *state;
	char command[128];

	cm_store_close(f->store);
	snprintf(command, sizeof(command), "rm -rf -- '%s'", f->dir);
	if (system(command) != 0)
		print_message("%s is left\n", f->dir);
	free(f);
	return 0;
}

void store_reopen(struct store_fixture *f)
{
	cm_store_close(f->store);
	f->store = NULL;
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
}

/* ---- contents -------------------------------------------------------------
 */

static struct content content_new(size_t len)
{
	struct content c = {.data = malloc(len + 1), .len = len};

	assert_non_null(c.data);
	return c;
}

static void name_content(struct content *c)
{
	assert_int_equal(cm_digest_of(c->data, c->len, &c->digest, NULL), 0);
}

struct content content_noise(unsigned int seed, size_t len)
{
	struct content c = content_new(len);
	uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		c.data[i] = (unsigned char)(x >> 32);
	}
	name_content(&c);
	return c;
}

struct content content_text(unsigned int seed, size_t len)
{
	struct content c = content_new(len);
	int n = 0;

	for (size_t at = 0; at < len; at += (size_t)n) {
		char line[64];

		n = snprintf(line, sizeof(line), "%u: line at %zu of text\n",
			     seed, at);
		if ((size_t)n > len - at)
			n = (int)(len - at);
		memcpy(c.data + at, line, (size_t)n);
	}
	name_content(&c);
	return c;
}

void content_free(struct content *c)
{
	free(c->data);
	c->data = NULL;
}

void *content_frame(const struct content *c, int window_log, size_t *ret_len)
{
	size_t bound = ZSTD_compressBound(c->len);
	ZSTD_CCtx *z = ZSTD_createCCtx();
	void *frame = malloc(bound);
	ZSTD_outBuffer out = {frame, bound, 0};
	ZSTD_inBuffer in = {c->data, c->len, 0};

	assert_non_null(z);
	assert_non_null(frame);
	/* By stream: a size that is not pledged leaves the window as set. */
	if (window_log)
		ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log);
	ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 3);
	assert_int_equal(ZSTD_compressStream2(z, &out, &in, ZSTD_e_flush), 0);
	assert_int_equal(ZSTD_compressStream2(z, &out, &in, ZSTD_e_end), 0);
	ZSTD_freeCCtx(z);
	*ret_len = out.pos;
	return frame;
}

/* ---- blobs ----------------------------------------------------------------
 */

int store_push_as(struct store_fixture *f, const char *repo,
		  const struct cm_any_digest *name, enum cm_encoding encoding,
		  const void *data, size_t len, struct cm_blob_info *ret)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_blob_info info;
	int r = cm_upload_open_single(f->store, repo, &u, &f->err);

	if (r == 0)
		r = cm_upload_set_encoding(u, encoding, &f->err);
	if (r == 0)
		r = cm_upload_append(u, data, len, &f->err);
	if (r == 0)
		r = cm_upload_commit_as(u, name, ret ? ret : &info, &f->err);
	return r;
}

static int push(struct store_fixture *f, const char *repo,
		enum cm_encoding encoding, const struct cm_digest *d,
		const void *data, size_t len, struct cm_blob_info *ret)
{
	struct cm_any_digest name = {.algorithm = CM_SHA256, .sha256 = *d};

	return store_push_as(f, repo, &name, encoding, data, len, ret);
}

int store_push(struct store_fixture *f, const char *repo,
	       const struct content *c, struct cm_blob_info *ret)
{
	return push(f, repo, CM_ENCODING_IDENTITY, &c->digest, c->data, c->len,
		    ret);
}

int store_push_frame(struct store_fixture *f, const char *repo,
		     const struct cm_digest *d, const void *frame, size_t len,
		     struct cm_blob_info *ret)
{
	return push(f, repo, CM_ENCODING_ZSTD, d, frame, len, ret);
}

int store_stat(struct store_fixture *f, const char *repo,
	       const struct cm_digest *d, struct cm_blob_info *ret)
{
	struct cm_blob_info info;

	return cm_store_blob_stat(f->store, repo, d, ret ? ret : &info,
				  &f->err);
}

int store_compare(struct cm_store *s, const char *repo, const struct content *c,
		  struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	unsigned char buf[10000];
	size_t at = 0;
	ssize_t n = cm_store_blob_open(s, repo, &c->digest, &b, err);

	if (n < 0)
		return (int)n;
	while ((n = cm_blob_read(b, buf, sizeof(buf), err)) > 0) {
		if ((size_t)n > c->len - at ||
		    memcmp(buf, c->data + at, (size_t)n) != 0)
			return cm_error_set(err, CM_ERR_DIGEST, "wrong bytes");
		at += (size_t)n;
	}
	if (n == 0 && at != c->len)
		return cm_error_set(err, CM_ERR_SIZE, "too few bytes");
	return (int)n;
}

void assert_stored(struct store_fixture *f, const char *repo,
		   const struct content *c)
{
	struct cm_blob_info info;

	assert_ok(store_stat(f, repo, &c->digest, &info), &f->err);
	assert_int_equal(info.size, c->len);
	assert_true(cm_digest_equal(&info.digest, &c->digest));
	assert_ok(store_compare(f->store, repo, c, &f->err), &f->err);
}

void assert_absent(struct store_fixture *f, const char *repo,
		   const struct cm_digest *d)
{
	struct cm_blob *b = NULL;
	bool missing = false;

	assert_fails(store_stat(f, repo, d, NULL), CM_ERR_NOT_FOUND, &f->err);
	assert_fails(cm_store_blob_open(f->store, repo, d, &b, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_ok(
		cm_store_blobs_missing(f->store, repo, d, 1, &missing, &f->err),
		&f->err);
	assert_true(missing);
}

/* ---- manifests ------------------------------------------------------------
 */

static void write_descriptor(FILE *out, const struct test_ref *ref, bool child)
{
	char digest[CM_DIGEST_TEXT_SIZE];

	fprintf(out, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%lld}",
		child ? CM_MEDIA_OCI_MANIFEST : CM_MEDIA_CHUNK,
		cm_digest_format(&ref->digest, digest), (long long)ref->size);
}

static void write_list(FILE *out, const struct test_ref *refs, size_t n,
		       bool child)
{
	for (size_t i = 0; i < n; i++) {
		fputs(i ? "," : "[", out);
		write_descriptor(out, &refs[i], child);
	}
	fputs(n ? "]" : "[]", out);
}

static void write_manifest(FILE *out, enum manifest_kind kind,
			   const struct test_ref *refs, size_t n,
			   unsigned int salt, size_t padding)
{
	fputs("{\"schemaVersion\":2,", out);
	if (kind == SNAPSHOT)
		fputs("\"artifactType\":\"" CM_MEDIA_SNAPSHOT "\",", out);
	if (kind == INDEX) {
		fputs("\"manifests\":", out);
		write_list(out, refs, n, true);
	} else {
		fputs("\"config\":", out);
		write_descriptor(out, &refs[0], false);
		fputs(",\"layers\":", out);
		write_list(out, refs + 1, n - 1, false);
	}
	fprintf(out, ",\"annotations\":{\"salt\":\"%u\",\"padding\":\"", salt);
	for (size_t i = 0; i < padding; i++)
		fputc('a' + (int)((salt + i * i / 7) % 26), out);
	fputs("\"}}", out);
}

struct test_manifest manifest_make(enum manifest_kind kind,
				   const struct test_ref *refs, size_t n,
				   unsigned int salt, size_t padding)
{
	struct test_manifest m = {0};
	struct cm_error err = {0};
	FILE *out = open_memstream(&m.json, &m.len);

	assert_non_null(out);
	write_manifest(out, kind, refs, n, salt, padding);
	fclose(out);
	assert_ok(cm_manifest_parse(m.json, m.len,
				    kind == INDEX ? CM_MEDIA_OCI_INDEX
						  : CM_MEDIA_OCI_MANIFEST,
				    &m.parsed, &err),
		  &err);
	assert_ok(cm_digest_of(m.json, m.len, &m.digest, &err), &err);
	return m;
}

void manifest_free(struct test_manifest *m)
{
	cm_manifest_free(m->parsed);
	free(m->json);
	memset(m, 0, sizeof(*m));
}

int store_put_if(struct store_fixture *f, const char *repo, const char *tag,
		 const struct test_manifest *m, enum cm_tag_condition condition,
		 const struct cm_digest *match, struct cm_digest *ret)
{
	struct cm_manifest_put put = {
		.repo = repo,
		.tag = tag,
		.bytes = m->json,
		.len = m->len,
		.parsed = m->parsed,
		.condition = condition,
		.writer = "tester",
	};

	if (match)
		put.match = *match;
	return cm_store_manifest_put(f->store, &put, ret, &f->err);
}

int store_put(struct store_fixture *f, const char *repo, const char *tag,
	      const struct test_manifest *m)
{
	struct cm_digest d;

	return store_put_if(f, repo, tag, m, CM_TAG_ANY, NULL, &d);
}

void assert_tagged(struct store_fixture *f, const char *repo, const char *tag,
		   const struct test_manifest *m)
{
	struct cm_stored_manifest got = {0};

	assert_ok(cm_store_manifest_get(f->store, repo, tag, NULL, true, &got,
					&f->err),
		  &f->err);
	assert_true(cm_digest_equal(&got.digest, &m->digest));
	assert_int_equal(got.size, m->len);
	assert_memory_equal(got.bytes, m->json, m->len);
	assert_string_equal(got.media_type, m->parsed->media_type);
	cm_stored_manifest_release(&got);
}

void assert_no_tag(struct store_fixture *f, const char *repo, const char *tag)
{
	struct cm_stored_manifest got = {0};

	assert_fails(cm_store_manifest_get(f->store, repo, tag, NULL, false,
					   &got, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
}

/* ---- behind the store's back -----------------------------------------------
 */

static int64_t sql(const char *dir, const char *text)
{
	char path[128];
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	int64_t value = -1;

	snprintf(path, sizeof(path), "%s/index.db", dir);
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix-excl") !=
		    SQLITE_OK ||
	    sqlite3_prepare_v2(db, text, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	if (sqlite3_step(st) == SQLITE_ROW)
		value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return value;
}

int64_t store_sql(struct store_fixture *f, const char *text)
{
	return sql(f->dir, text);
}

static void same(struct store_fixture *f, const char *what, int64_t total,
		 const char *recount)
{
	int64_t counted = store_sql(f, recount);

	if (total != counted)
		fail_msg("%s: the total is %lld, there are %lld", what,
			 (long long)total, (long long)counted);
}

static void none(struct store_fixture *f, const char *what, const char *count)
{
	same(f, what, 0, count);
}

static void check_totals(struct store_fixture *f)
{
	struct cm_store_stats st;

	assert_ok(cm_store_stats(f->store, &st, &f->err), &f->err);
	same(f, "repositories", st.repositories,
	     "SELECT count(*) FROM repositories r WHERE EXISTS"
	     " (SELECT 1 FROM manifests m WHERE m.repo_id = r.id)");
	same(f, "tags", st.tags, "SELECT count(*) FROM tags");
	same(f, "manifests", st.manifests, "SELECT count(*) FROM manifests");
	same(f, "blobs", st.blobs, "SELECT count(*) FROM blobs");
	same(f, "content", st.content_bytes,
	     "SELECT coalesce(sum(size), 0) FROM blobs");
	same(f, "stored", st.stored_bytes,
	     "SELECT coalesce(sum(stored_size), 0) FROM blobs");
	same(f, "referenced", st.referenced_bytes,
	     "SELECT coalesce(sum(b.size), 0) FROM repo_blobs l"
	     " JOIN blobs b ON b.digest = l.digest");
	same(f, "file bytes", st.file_bytes,
	     "SELECT coalesce(sum((stored_size + 4095) / 4096 * 4096), 0)"
	     " FROM blobs WHERE inline_id = 0");
	same(f, "pinned tags", st.pinned_tags,
	     "SELECT count(*) FROM tags WHERE pinned > 0");
	same(f, "pinned bytes", st.pinned_bytes,
	     "SELECT coalesce(sum(m.content_size), 0) FROM tags t"
	     " JOIN manifests m ON m.repo_id = t.repo_id"
	     " AND m.digest = t.digest WHERE t.pinned > 0");
	/* Those without an acknowledged byte have no row, and no share here. */
	same(f, "uploads",
	     store_sql(f, "SELECT coalesce(sum(value), 0) FROM totals"
			  " WHERE name = 'uploads'"),
	     "SELECT count(*) FROM uploads");
}

void assert_consistent(struct store_fixture *f)
{
	check_totals(f);
	none(f, "wrong holders",
	     "SELECT count(*) FROM blobs b WHERE holders <>"
	     " (SELECT count(*) FROM repo_blobs l WHERE l.digest = b.digest)");
	none(f, "blobs without a holder",
	     "SELECT count(*) FROM blobs WHERE holders < 1");
	none(f, "links to nothing",
	     "SELECT count(*) FROM repo_blobs WHERE digest NOT IN"
	     " (SELECT digest FROM blobs)");
	none(f, "wrong references",
	     "SELECT count(*) FROM repo_blobs l WHERE refs <>"
	     " (SELECT count(*) FROM manifest_refs e WHERE"
	     "  e.repo_id = l.repo_id AND e.digest = l.digest) +"
	     " (SELECT count(*) FROM manifests m WHERE"
	     "  m.repo_id = l.repo_id AND m.digest = l.digest)");
	none(f, "wrong tag counts",
	     "SELECT count(*) FROM manifests m WHERE tags <>"
	     " (SELECT count(*) FROM tags t WHERE t.repo_id = m.repo_id"
	     "  AND t.digest = m.digest)");
	none(f, "wrong parent counts",
	     "SELECT count(*) FROM manifests m WHERE parents <>"
	     " (SELECT count(*) FROM manifest_refs e WHERE e.child = 1"
	     "  AND e.repo_id = m.repo_id AND e.digest = m.digest)");
	none(f, "wrong reasons of being broken",
	     "SELECT count(*) FROM manifests m WHERE"
	     " coalesce((SELECT reasons FROM broken b WHERE"
	     "  b.repo_id = m.repo_id AND b.digest = m.digest), 0) <>"
	     " (NOT EXISTS (SELECT 1 FROM repo_blobs l WHERE"
	     "  l.repo_id = m.repo_id AND l.digest = m.digest)) +"
	     " (SELECT count(*) FROM manifest_refs e WHERE"
	     "  e.repo_id = m.repo_id AND e.manifest = m.digest AND"
	     "  CASE WHEN e.child = 1 AND EXISTS (SELECT 1 FROM manifests c"
	     "   WHERE c.repo_id = e.repo_id AND c.digest = e.digest)"
	     "  THEN EXISTS (SELECT 1 FROM broken b WHERE"
	     "   b.repo_id = e.repo_id AND b.digest = e.digest)"
	     "  ELSE NOT EXISTS (SELECT 1 FROM repo_blobs l WHERE"
	     "   l.repo_id = e.repo_id AND l.digest = e.digest) END)");
	none(f, "broken things that are gone",
	     "SELECT count(*) FROM broken b WHERE NOT EXISTS (SELECT 1 FROM"
	     " manifests m WHERE m.repo_id = b.repo_id AND"
	     " m.digest = b.digest)");
	none(f, "tags of nothing",
	     "SELECT count(*) FROM tags t WHERE NOT EXISTS (SELECT 1 FROM"
	     " manifests m WHERE m.repo_id = t.repo_id AND"
	     " m.digest = t.digest)");
	none(f, "references of nothing",
	     "SELECT count(*) FROM manifest_refs e WHERE NOT EXISTS"
	     " (SELECT 1 FROM manifests m WHERE m.repo_id = e.repo_id"
	     "  AND m.digest = e.manifest) AND NOT EXISTS"
	     " (SELECT 1 FROM dying d WHERE d.repo_id = e.repo_id"
	     "  AND d.digest = e.manifest)");
	none(f, "wrong bytes of scopes",
	     "SELECT count(*) FROM scopes s WHERE bytes <>"
	     " (SELECT coalesce(sum(b.size), 0) FROM repositories r"
	     "  JOIN repo_blobs l ON l.repo_id = r.id"
	     "  JOIN blobs b ON b.digest = l.digest WHERE r.scope = s.id)");
	none(f, "tags in a wrong scope",
	     "SELECT count(*) FROM tags t JOIN repositories r"
	     " ON r.id = t.repo_id WHERE r.scope <> t.scope");
	none(f, "manifests in a wrong scope",
	     "SELECT count(*) FROM manifests m JOIN repositories r"
	     " ON r.id = m.repo_id WHERE r.scope <> m.scope");
	none(f, "repositories in a wrong scope",
	     "SELECT count(*) FROM repositories r LEFT JOIN scopes s"
	     " ON s.id = r.scope"
	     " WHERE s.name IS NOT substr(r.name, 1,"
	     "  instr(r.name || '/', '/') - 1)");
	none(f, "referrers that are gone",
	     "SELECT count(*) FROM referrers r WHERE NOT EXISTS (SELECT 1"
	     " FROM manifests m WHERE m.repo_id = r.repo_id"
	     "  AND m.digest = r.manifest)");
	none(f, "data of nothing",
	     "SELECT count(*) FROM blob_data WHERE id NOT IN"
	     " (SELECT inline_id FROM blobs)");
	none(f, "wrong repository counts",
	     "SELECT count(*) FROM repositories r WHERE manifests <>"
	     " (SELECT count(*) FROM manifests m WHERE m.repo_id = r.id)");
}

static int64_t count_shard(const char *path)
{
	cm_autodir DIR *dir = opendir(path);
	struct dirent *e;
	int64_t n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	return n;
}

int64_t store_files(struct store_fixture *f)
{
	char path[128];
	int64_t n = 0;

	for (int i = 0; i < 256; i++) {
		snprintf(path, sizeof(path), "%s/blobs/sha256/%02x", f->dir,
			 (unsigned int)i);
		n += count_shard(path);
	}
	assert_int_equal(
		n,
		store_sql(f, "SELECT count(*) FROM blobs WHERE inline_id = 0"));
	return n;
}

const char *store_blob_path(struct store_fixture *f, const struct cm_digest *d,
			    enum cm_encoding encoding)
{
	static char path[256];
	char hex[CM_DIGEST_HEX_LEN + 1];

	cm_digest_hex(d, hex);
	snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s%s", f->dir, hex,
		 hex, encoding == CM_ENCODING_ZSTD ? ".zst" : "");
	return path;
}

void age_file(const char *path, int seconds)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};

	clock_gettime(CLOCK_REALTIME, &times[1]);
	times[1].tv_sec -= seconds;
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

struct cm_sweep_result store_sweep(struct store_fixture *f)
{
	struct cm_sweep_result sum = {.more = true}, one;

	for (int i = 0; sum.more && i < 1000; i++) {
		assert_ok(cm_store_sweep(f->store, &one, &f->err), &f->err);
		sum.uploads += one.uploads;
		sum.manifests += one.manifests;
		sum.blobs += one.blobs;
		sum.bytes += one.bytes;
		sum.more = one.more;
	}
	assert_false(sum.more);
	return sum;
}
