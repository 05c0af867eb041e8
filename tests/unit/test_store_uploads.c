/*
 * test_store_uploads.c - bytes on their way in: sessions, and bodies that are
 * zstd frames.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_fixture.h"

#include <cachemount/protocol.h>

#define ID CM_UPLOAD_ID_SIZE

static int64_t sessions(struct store_fixture *f)
{
	struct cm_store_stats st;

	assert_ok(cm_store_stats(f->store, &st, &f->err), &f->err);
	return st.uploads;
}

static void begin(struct store_fixture *f, char id[static ID])
{
	assert_ok(cm_upload_begin(f->store, "main/a", id, &f->err), &f->err);
	assert_int_equal(strlen(id), ID - 1);
}

static struct cm_upload *open_at(struct store_fixture *f, const char *id,
				 int64_t offset)
{
	struct cm_upload *u = NULL;

	assert_ok(cm_upload_open(f->store, "main/a", id, &u, &f->err), &f->err);
	assert_int_equal(cm_upload_offset(u), offset);
	return u;
}

/* One request: opens the session, appends a piece, makes it durable. */
static void send(struct store_fixture *f, const char *id,
		 const struct content *c, size_t at, size_t len)
{
	cm_auto(upload) struct cm_upload *u = open_at(f, id, (int64_t)at);

	assert_ok(cm_upload_append(u, c->data + at, len, &f->err), &f->err);
	assert_ok(cm_upload_sync(u, &f->err), &f->err);
}

static int finish(struct store_fixture *f, const char *id,
		  const struct content *c)
{
	cm_auto(upload) struct cm_upload *u = open_at(f, id, (int64_t)c->len);
	struct cm_blob_info info;

	return cm_upload_commit(u, &c->digest, &info, &f->err);
}

static void gone(struct store_fixture *f, const char *id)
{
	struct cm_upload *u = NULL;

	assert_fails(cm_upload_open(f->store, "main/a", id, &u, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_int_equal(sessions(f), 0);
}

static void in_pieces(struct store_fixture *f, size_t len, size_t piece,
		      bool restart)
{
	struct content c = content_noise((unsigned int)len, len);
	char id[ID];

	begin(f, id);
	assert_int_equal(sessions(f), 1);
	for (size_t at = 0; at < len; at += piece) {
		send(f, id, &c, at, len - at < piece ? len - at : piece);
		if (restart)
			store_reopen(f);
	}
	assert_ok(finish(f, id, &c), &f->err);
	assert_stored(f, "main/a", &c);
	gone(f, id);
	assert_consistent(f);
	store_files(f);
	content_free(&c);
}

static void test_store_uploads__in_pieces(void **state)
{
	in_pieces(*state, 0, 1, false);
	in_pieces(*state, 1000, 100, false);
	in_pieces(*state, 20000, 7000, false);
	in_pieces(*state, 1000000, 90000, false);
}

static void test_store_uploads__across_restarts(void **state)
{
	in_pieces(*state, 1001, 300, true);
	in_pieces(*state, 20001, 7000, true);
	in_pieces(*state, 700000, 90000, true);
}

static void test_store_uploads__ask_without_writing(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 5000);
	char id[ID];

	begin(f, id);
	cm_upload_close(open_at(f, id, 0));
	send(f, id, &c, 0, 2000);
	cm_upload_close(open_at(f, id, 2000));
	cm_upload_close(open_at(f, id, 2000));
	send(f, id, &c, 2000, 3000);
	assert_ok(finish(f, id, &c), &f->err);
	content_free(&c);
}

/* A body that is cut off: what came is kept, though nobody synced. */
static void test_store_uploads__cut_off(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 60000);
	struct cm_upload *u;
	char id[ID];

	begin(f, id);
	u = open_at(f, id, 0);
	assert_ok(cm_upload_append(u, c.data, 100, &f->err), &f->err);
	cm_upload_close(u);
	u = open_at(f, id, 100);
	assert_ok(cm_upload_append(u, c.data + 100, 30000, &f->err), &f->err);
	cm_upload_close(u);
	store_reopen(f);
	send(f, id, &c, 30100, 29900);
	assert_ok(finish(f, id, &c), &f->err);
	assert_stored(f, "main/a", &c);
	content_free(&c);
}

static void test_store_uploads__one_request_at_a_time(void **state)
{
	struct store_fixture *f = *state;
	struct cm_upload *u, *second = NULL;
	char id[ID];

	begin(f, id);
	u = open_at(f, id, 0);
	assert_fails(cm_upload_open(f->store, "main/a", id, &second, &f->err),
		     CM_ERR_BUSY, &f->err);
	assert_fails(cm_upload_cancel(f->store, "main/a", id, &f->err),
		     CM_ERR_BUSY, &f->err);
	cm_upload_close(u);
	cm_upload_close(open_at(f, id, 0));
	assert_ok(cm_upload_cancel(f->store, "main/a", id, &f->err), &f->err);
	gone(f, id);
}

static void test_store_uploads__cancel(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	char id[ID], path[128];

	begin(f, id);
	send(f, id, &c, 0, c.len);
	snprintf(path, sizeof(path), "%s/uploads/%s", f->dir, id);
	assert_int_equal(access(path, F_OK), 0);
	assert_fails(cm_upload_cancel(f->store, "main/b", id, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_int_equal(access(path, F_OK), 0);
	assert_ok(cm_upload_cancel(f->store, "main/a", id, &f->err), &f->err);
	assert_int_equal(access(path, F_OK), -1);
	gone(f, id);
	assert_fails(cm_upload_cancel(f->store, "main/a", id, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	assert_consistent(f);
	content_free(&c);
}

static void test_store_uploads__ids_that_are_none(void **state)
{
	static const char *const ids[] = {
		"",
		"x",
		"../../index.db",
		"0123456789abcdef0123456789abcdeF",
		"0123456789abcdef0123456789abcde/",
		"0123456789abcdef0123456789abcdef",
		"0123456789abcdef0123456789abcdef0",
	};
	struct store_fixture *f = *state;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		gone(f, ids[i]);
		assert_fails(
			cm_upload_cancel(f->store, "main/a", ids[i], &f->err),
			CM_ERR_NOT_FOUND, &f->err);
	}
}

static void test_store_uploads__of_another_repository(void **state)
{
	struct store_fixture *f = *state;
	struct cm_upload *u = NULL;
	char id[ID];

	begin(f, id);
	assert_fails(cm_upload_open(f->store, "main/b", id, &u, &f->err),
		     CM_ERR_NOT_FOUND, &f->err);
	cm_upload_close(open_at(f, id, 0));
}

static void wrong_digest(struct store_fixture *f, size_t len)
{
	struct content c = content_noise(1, len);
	char id[ID], path[128];

	begin(f, id);
	send(f, id, &c, 0, c.len);
	c.digest.sha256[7] ^= 1;
	assert_fails(finish(f, id, &c), CM_ERR_DIGEST, &f->err);
	gone(f, id);
	snprintf(path, sizeof(path), "%s/uploads/%s", f->dir, id);
	assert_int_equal(access(path, F_OK), -1);
	assert_absent(f, "main/a", &c.digest);
	assert_fails(store_push(f, "main/a", &c, NULL), CM_ERR_DIGEST, &f->err);
	assert_consistent(f);
	assert_int_equal(store_files(f), 0);
	content_free(&c);
}

static void test_store_uploads__wrong_digest_ends_a_session(void **state)
{
	wrong_digest(*state, 0);
	wrong_digest(*state, 100);
	wrong_digest(*state, 100000);
}

/* The blob is there already: the session ends all the same. */
static void test_store_uploads__of_a_known_blob(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(1, 100000);
	char id[ID];

	assert_ok(store_push(f, "main/b", &c, NULL), &f->err);
	begin(f, id);
	send(f, id, &c, 0, c.len);
	assert_ok(finish(f, id, &c), &f->err);
	gone(f, id);
	assert_stored(f, "main/a", &c);
	assert_int_equal(store_files(f), 1);
	assert_consistent(f);
	content_free(&c);
}

static void test_store_uploads__closed_uncommitted(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_noise(1, 50000);
	struct cm_upload *u = NULL;
	char path[128];

	assert_ok(cm_upload_open_single(f->store, "main/a", &u, &f->err),
		  &f->err);
	assert_int_equal(cm_upload_offset(u), 0);
	assert_ok(cm_upload_append(u, c.data, c.len, &f->err), &f->err);
	assert_int_equal(cm_upload_offset(u), c.len);
	cm_upload_close(u);
	snprintf(path, sizeof(path), "%s/uploads", f->dir);
	assert_int_equal(rmdir(path), 0); /* empty */
	assert_absent(f, "main/a", &c.digest);
	content_free(&c);
}

/* ---- zstd bodies ----------------------------------------------------------
 */

static void test_store_uploads__a_frame_is_kept(void **state)
{
	struct store_fixture *f = *state;
	struct content small = content_text(1, 40000);
	struct content large = content_text(2, 3000000);
	struct cm_blob_info info;
	size_t len;
	void *frame = content_frame(&small, 17, &len);

	assert_ok(
		store_push_frame(f, "main/a", &small.digest, frame, len, &info),
		&f->err);
	assert_int_equal(info.encoding, CM_ENCODING_ZSTD);
	assert_int_equal(info.stored_size, len);
	assert_int_equal(info.size, small.len);
	assert_stored(f, "main/a", &small);
	free(frame);
	frame = content_frame(&large, 20, &len);
	assert_ok(
		store_push_frame(f, "main/a", &large.digest, frame, len, &info),
		&f->err);
	assert_int_equal(info.encoding, CM_ENCODING_ZSTD);
	assert_int_equal(info.stored_size, len);
	assert_stored(f, "main/a", &large);
	free(frame);
	assert_consistent(f);
	assert_int_equal(store_files(f), 1);
	content_free(&small);
	content_free(&large);
}

/* A window that readers can't afford, or no gain: decoded, then as pays. */
static void test_store_uploads__a_frame_is_decoded(void **state)
{
	struct store_fixture *f = *state;
	struct content text = content_text(1, 3000000);
	struct content noise = content_noise(2, 100000);
	struct content tiny = content_noise(3, 50);
	struct content none = content_noise(4, 0);
	struct content *const all[] = {&text, &noise, &tiny, &none};
	struct cm_blob_info info;

	for (size_t i = 0; i < 4; i++) {
		size_t len;
		cm_autofree void *frame = content_frame(all[i], 22, &len);

		assert_ok(store_push_frame(f, "main/a", &all[i]->digest, frame,
					   len, &info),
			  &f->err);
		assert_int_equal(info.encoding, i == 0 ? CM_ENCODING_ZSTD
						       : CM_ENCODING_IDENTITY);
		assert_stored(f, "main/a", all[i]);
		content_free(all[i]);
	}
	assert_consistent(f);
	assert_int_equal(store_files(f), 2);
}

static void refused(struct store_fixture *f, const struct content *c,
		    const void *frame, size_t len, enum cm_status status)
{
	char path[128];

	assert_fails(
		store_push_frame(f, "main/a", &c->digest, frame, len, NULL),
		status, &f->err);
	assert_absent(f, "main/a", &c->digest);
	snprintf(path, sizeof(path), "%s/uploads", f->dir);
	assert_int_equal(rmdir(path), 0); /* empty */
	store_reopen(f);
}

static void test_store_uploads__bad_frames(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(1, 300000);
	struct content big = content_text(2, 17 << 20);
	size_t len, wide_len;
	cm_autofree char *frame = content_frame(&c, 20, &len);
	cm_autofree char *wide = content_frame(&big, 24, &wide_len);
	cm_autofree char *twice = malloc(2 * len);

	assert_non_null(twice);
	memcpy(twice, frame, len);
	memcpy(twice + len, frame, len);
	refused(f, &c, twice, 2 * len, CM_ERR_INVALID);
	refused(f, &c, twice, len + 1, CM_ERR_INVALID);
	for (size_t cut = 0; cut < len; cut += len / 7)
		refused(f, &c, frame, cut, CM_ERR_INVALID);
	refused(f, &c, frame, len - 1, CM_ERR_INVALID);
	refused(f, &c, c.data, 5000, CM_ERR_INVALID);
	refused(f, &c, "\x50\x2a\x4d\x18\x01\0\0\0x", 9, CM_ERR_INVALID);
	refused(f, &big, wide, wide_len, CM_ERR_INVALID);
	frame[len / 2] ^= 0x10;
	assert_true(store_push_frame(f, "main/a", &c.digest, frame, len, NULL) <
		    0);
	refused(f, &big, twice, len, CM_ERR_DIGEST);
	assert_int_equal(store_files(f), 0);
	content_free(&c);
	content_free(&big);
}

static void test_store_uploads__a_bomb(void **state)
{
	struct store_fixture *f = *state;
	struct content c = {.data = calloc(1, 64 << 20), .len = 64 << 20};
	size_t len;
	cm_autofree void *frame = NULL;

	assert_non_null(c.data);
	frame = content_frame(&c, 20, &len);
	assert_true(len < 16384);
	refused(f, &c, frame, len, CM_ERR_SIZE);
	/* Up to 16 MiB nobody asks how well it was packed. */
	free(cm_take_ptr(frame));
	c.len = 10 << 20;
	assert_ok(cm_digest_of(c.data, c.len, &c.digest, &f->err), &f->err);
	frame = content_frame(&c, 20, &len);
	assert_ok(store_push_frame(f, "main/a", &c.digest, frame, len, NULL),
		  &f->err);
	assert_stored(f, "main/a", &c);
	content_free(&c);
}

/* A session may be one frame, in pieces, even across a restart. */
static void test_store_uploads__a_frame_in_a_session(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(1, 2000000);
	size_t len, at = 0;
	cm_autofree unsigned char *frame = content_frame(&c, 20, &len);
	struct cm_blob_info info;
	struct cm_upload *u;
	char id[ID];

	begin(f, id);
	while (at < len) {
		size_t n = len - at < len / 3 ? len - at : len / 3;

		u = open_at(f, id, (int64_t)at);
		assert_ok(cm_upload_set_encoding(u, CM_ENCODING_ZSTD, &f->err),
			  &f->err);
		assert_ok(cm_upload_append(u, frame + at, n, &f->err), &f->err);
		assert_ok(cm_upload_sync(u, &f->err), &f->err);
		cm_upload_close(u);
		at += n;
		store_reopen(f);
	}
	u = open_at(f, id, (int64_t)len);
	assert_ok(cm_upload_commit(u, &c.digest, &info, &f->err), &f->err);
	cm_upload_close(u);
	assert_int_equal(info.stored_size, len);
	assert_stored(f, "main/a", &c);
	gone(f, id);
	content_free(&c);
}

static void test_store_uploads__one_encoding_a_session(void **state)
{
	struct store_fixture *f = *state;
	struct cm_upload *u;
	char id[ID];

	begin(f, id);
	u = open_at(f, id, 0);
	assert_ok(cm_upload_set_encoding(u, CM_ENCODING_ZSTD, &f->err),
		  &f->err);
	assert_ok(cm_upload_set_encoding(u, CM_ENCODING_IDENTITY, &f->err),
		  &f->err);
	assert_ok(cm_upload_append(u, "plain", 5, &f->err), &f->err);
	assert_fails(cm_upload_set_encoding(u, CM_ENCODING_ZSTD, &f->err),
		     CM_ERR_RANGE, &f->err);
	cm_upload_close(u);
	u = open_at(f, id, 5);
	assert_fails(cm_upload_set_encoding(u, CM_ENCODING_ZSTD, &f->err),
		     CM_ERR_RANGE, &f->err);
	cm_upload_close(u);
}

/* The largest blob's size is counted before a byte is written. */
static void test_store_uploads__too_large(void **state)
{
	struct store_fixture *f = *state;
	struct cm_upload *u;
	char id[ID], path[128];

	begin(f, id);
	cm_upload_close(open_at(f, id, 0));
	snprintf(path, sizeof(path), "%s/uploads/%s.zst", f->dir, id);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(truncate(path, CM_BLOB_MAX - 2), 0);
	u = open_at(f, id, CM_BLOB_MAX - 2);
	assert_fails(cm_upload_append(u, "abc", 3, &f->err), CM_ERR_SIZE,
		     &f->err);
	assert_int_equal(cm_upload_offset(u), CM_BLOB_MAX - 2);
	cm_upload_close(u);
	assert_ok(cm_upload_cancel(f->store, "main/a", id, &f->err), &f->err);
}

/* More sessions than hashes are remembered: the file is hashed again. */
static void test_store_uploads__many_sessions(void **state)
{
	enum { N = 1100 };

	struct store_fixture *f = *state;
	struct content c = content_noise(1, 200);
	static char ids[N][ID];

	for (int i = 0; i < N; i++) {
		begin(f, ids[i]);
		cm_upload_close(open_at(f, ids[i], 0));
	}
	send(f, ids[0], &c, 0, 100);
	for (int i = 1; i < N; i++)
		cm_upload_close(open_at(f, ids[i], 0));
	send(f, ids[0], &c, 100, 100);
	assert_ok(finish(f, ids[0], &c), &f->err);
	assert_int_equal(sessions(f), N - 1);
	content_free(&c);
}

/* Without an acknowledged byte a session has no row, up to a bound. */
static void test_store_uploads__young(void **state)
{
	enum { N = 1050, IN_MEMORY = 1024 };

	struct store_fixture *f = *state;
	struct content c = content_noise(1, 100);
	static char ids[N][ID];

	for (int i = 0; i < N; i++)
		begin(f, ids[i]);
	assert_int_equal(sessions(f), N);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM uploads"),
			 N - IN_MEMORY);
	/* What is acknowledged has one. */
	send(f, ids[0], &c, 0, 50);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM uploads"),
			 N - IN_MEMORY + 1);
	assert_int_equal(sessions(f), N);
	assert_ok(cm_upload_cancel(f->store, "main/a", ids[1], &f->err),
		  &f->err);
	assert_int_equal(sessions(f), N - 1);
	/* A store that closes in good order forgets none. */
	store_reopen(f);
	assert_int_equal(sessions(f), N - 1);
	for (int i = 2; i < N; i++)
		cm_upload_close(open_at(f, ids[i], 0));
	send(f, ids[0], &c, 50, 50);
	assert_ok(finish(f, ids[0], &c), &f->err);
	assert_int_equal(sessions(f), N - 2);
	content_free(&c);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_uploads__##name,            \
					store_setup, store_teardown)
	static const struct CMUnitTest tests[] = {
		CASE(in_pieces),
		CASE(across_restarts),
		CASE(ask_without_writing),
		CASE(cut_off),
		CASE(one_request_at_a_time),
		CASE(cancel),
		CASE(ids_that_are_none),
		CASE(of_another_repository),
		CASE(wrong_digest_ends_a_session),
		CASE(of_a_known_blob),
		CASE(closed_uncommitted),
		CASE(a_frame_is_kept),
		CASE(a_frame_is_decoded),
		CASE(bad_frames),
		CASE(a_bomb),
		CASE(a_frame_in_a_session),
		CASE(one_encoding_a_session),
		CASE(too_large),
		CASE(many_sessions),
		CASE(young),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
