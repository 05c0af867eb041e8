/*
 * upload.c - bytes on their way in: in memory while they are few, then in a
 * file; hashed as they come (plain), or checked at commit (zstd).
 *
 * A session is young (young.h) until bytes of it are acknowledged or the store
 * is closed, from then on a row of the index; its bytes are a file named by its
 * id, made when the first byte is kept. What was acknowledged (cm_upload_sync)
 * is in that file, synced; its length is the session's offset, and its name
 * says if the bytes are a zstd frame.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/names.h>
#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "store_private.h"

#define WRITEBACK_STEP (4 << 20)
#define READ_PIECE     (256 << 10)
#define SESSIONS_MAX   100000 /* a row and maybe a file each */
#define RIPEN_BATCH    64

struct cm_upload {
	struct cm_store *store;
	char repo[CM_REPOSITORY_MAX + 1];
	char id[CM_UPLOAD_ID_SIZE]; /* "": no session */
	enum cm_encoding encoding;
	int64_t offset;
	struct cm_hasher *hasher; /* of plain bytes */
	struct cm_temp temp;
	bool ended;	 /* committed, or refused: nothing is left to keep */
	size_t buffered; /* bytes in `buffer`; only while temp.fd is -1 */
	char buffer[CM_INLINE_MAX];
};

/* ---- sessions ---------------------------------------------------------- */

struct begin_job {
	const char *repo;
	const char *id;
};

static int insert_session(struct cm_tx *tx, const char *repo, const char *id,
			  int64_t begun_ms, struct cm_error *err)
{
	int64_t repo_id = 0;
	int r = cm_repo_make(tx, repo, &repo_id, err);

	if (r == 0)
		r = cm_db_run(
			tx->db, "INSERT OR IGNORE INTO uploads VALUES(?, ?, ?)",
			err, CM_TEXT(id), CM_INT(repo_id), CM_INT(begun_ms));
	if (r == 0)
		tx->totals[CM_TOTAL_UPLOADS] += cm_db_changed(tx->db);
	return r;
}

static int begin_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct begin_job *j = arg;
	int64_t open = 0;
	int r = cm_tx_total(tx, CM_TOTAL_UPLOADS, &open, err);

	if (r == 0 && open >= SESSIONS_MAX)
		return cm_error_set(err, CM_ERR_BUSY,
				    "too many upload sessions are open");
	return r < 0 ? r : insert_session(tx, j->repo, j->id, tx->now_ms, err);
}

struct ripen_job {
	struct cm_young_item items[RIPEN_BATCH];
	size_t len;
};

static int ripen_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct ripen_job *j = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < j->len; i++)
		r = insert_session(tx, j->items[i].repo, j->items[i].id,
				   j->items[i].begun_ms, err);
	return r;
}

/* A session that ends in between leaves a row to the sweep. */
int cm_uploads_ripen(struct cm_store *s, int64_t before_ms,
		     struct cm_error *err)
{
	struct ripen_job j;
	int r = 0;

	do {
		j.len = cm_young_list(s->young, before_ms, j.items,
				      RIPEN_BATCH);
		if (j.len > 0)
			r = cm_index_write(s->index, ripen_tx, &j, err);
		for (size_t i = 0; i < j.len; i++) {
			if (r == 0)
				cm_young_remove(s->young, j.items[i].id, NULL);
			free(j.items[i].repo);
		}
	} while (r == 0 && j.len == RIPEN_BATCH);
	return r;
}

int cm_upload_begin_now(struct cm_store *s, const char *repo,
			char ret_id[static CM_UPLOAD_ID_SIZE],
			struct cm_error *err)
{
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return cm_error_errno(err, "cannot get random bytes");
	snprintf(ret_id, CM_UPLOAD_ID_SIZE, "%016" PRIx64 "%016" PRIx64,
		 random[0], random[1]);
	return cm_limit_fits(s, 0) &&
	       cm_young_add(s->young, ret_id, repo, cm_now_ms());
}

int cm_upload_begin(struct cm_store *s, const char *repo,
		    char ret_id[static CM_UPLOAD_ID_SIZE], struct cm_error *err)
{
	struct begin_job j = {.repo = repo, .id = ret_id};
	int r = cm_limit_admit(s, 0, err);

	if (r == 0)
		r = cm_upload_begin_now(s, repo, ret_id, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return cm_index_write(s->index, begin_tx, &j, err);
}

/* The id becomes a file name, so it must be one that we made. */
static bool id_valid(const char *id)
{
	return strlen(id) == CM_UPLOAD_ID_SIZE - 1 &&
	       strspn(id, "0123456789abcdef") == CM_UPLOAD_ID_SIZE - 1;
}

static int no_session(const char *repo, struct cm_error *err)
{
	return cm_error_set(err, CM_ERR_NOT_FOUND,
			    "repository \"%s\" has no such upload session",
			    repo);
}

static int session_exists(struct cm_db *db, const char *repo, const char *id,
			  struct cm_error *err)
{
	cm_auto(stmt) sqlite3_stmt *st = NULL;
	int64_t repo_id = 0;
	int r = cm_repo_find(db, repo, &repo_id, err);

	if (r == 0)
		r = cm_db_query(db,
				"SELECT 1 FROM uploads"
				" WHERE id = ? AND repo_id = ?",
				&st, err, CM_TEXT(id), CM_INT(repo_id));
	return r;
}

static int require_session(struct cm_store *s, const char *repo, const char *id,
			   struct cm_error *err)
{
	cm_auto(reader) struct cm_db *db = NULL;
	int r;

	if (!id_valid(id))
		return no_session(repo, err);
	if (cm_young_has(s->young, id, repo))
		return 0;
	r = cm_index_reader(s->index, &db, err);
	if (r == 0)
		r = session_exists(db, repo, id, err);
	if (r == 0)
		return no_session(repo, err);
	return r < 0 ? r : 0;
}

static int end_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct begin_job *j = arg;
	int r = session_exists(tx->db, j->repo, j->id, err);

	if (r == 0)
		return no_session(j->repo, err);
	if (r > 0)
		r = cm_db_run(tx->db, "DELETE FROM uploads WHERE id = ?", err,
			      CM_TEXT(j->id));
	if (r == 0)
		tx->totals[CM_TOTAL_UPLOADS]--;
	return r;
}

/*
 * Refused: a session whose bytes are wrong, or may be after a failed sync,
 * can't be continued.
 */
static void refuse(struct cm_upload *u)
{
	struct begin_job j = {.repo = u->repo, .id = u->id};

	u->ended = true;
	if (u->id[0] && !cm_young_remove(u->store->young, u->id, NULL))
		cm_index_write(u->store->index, end_tx, &j, NULL);
}

/* ---- opening and closing ------------------------------------------------ */

static struct cm_upload *new_upload(struct cm_store *s, const char *repo)
{
	struct cm_upload *u;

	if (strlen(repo) > CM_REPOSITORY_MAX)
		return NULL;
	u = malloc(sizeof(*u));
	if (!u)
		return NULL;
	memset(u, 0, offsetof(struct cm_upload, buffer));
	u->store = s;
	u->temp.fd = -1;
	strcpy(u->repo, repo);
	return u;
}

/* Hashes the first `upto` bytes of the session's file again. */
static int rehash(struct cm_upload *u, int64_t upto, struct cm_error *err)
{
	cm_autofree char *buf = malloc(READ_PIECE);
	int64_t at = 0;
	ssize_t n;
	int r = 0;

	if (!buf)
		return cm_error_nomem(err);
	while (r == 0 && at < upto) {
		n = cm_bytes_read(u->temp.fd, buf, READ_PIECE, at, err);
		if (n <= 0)
			return n < 0 ? (int)n
				     : cm_error_set(err, CM_ERR_IO,
						    "an upload's file ends "
						    "early");
		r = cm_hasher_update(u->hasher, buf, (size_t)n, err);
		at += n;
	}
	return r;
}

/* Opens the file of a session that has one, of either encoding. */
static int reopen(struct cm_upload *u, struct cm_error *err)
{
	struct cm_error why = {0};
	struct stat st;
	int r = CM_ERR_NOT_FOUND;

	for (int e = CM_ENCODING_IDENTITY;
	     r == CM_ERR_NOT_FOUND && e <= CM_ENCODING_ZSTD; e++) {
		u->encoding = (enum cm_encoding)e;
		r = cm_bytes_session_open(u->store->bytes, u->id, u->encoding,
					  false, &u->temp, &why);
	}
	if (r == CM_ERR_NOT_FOUND) {
		u->encoding = CM_ENCODING_IDENTITY;
		return 0;
	}
	if (r == 0 && fstat(u->temp.fd, &st) < 0)
		return cm_error_errno(err, "cannot look at an upload");
	if (r < 0 && err)
		*err = why;
	if (r == 0)
		u->offset = st.st_size;
	return r;
}

/* The file of a session, and the hash over it. Takes `known`. */
static int resume(struct cm_upload *u, struct cm_hasher *known,
		  int64_t known_offset, struct cm_error *err)
{
	int r = reopen(u, err);

	if (r < 0 || u->encoding == CM_ENCODING_ZSTD) {
		cm_hasher_free(known);
		return r;
	}
	if (known && known_offset == u->offset) {
		u->hasher = known;
		return 0;
	}
	cm_hasher_free(known);
	r = cm_hasher_new(&u->hasher, err);
	if (r == 0)
		r = rehash(u, u->offset, err);
	if (r < 0) /* half a hash must not be remembered */
		cm_hasher_free(cm_take_ptr(u->hasher));
	return r;
}

int cm_upload_open(struct cm_store *s, const char *repo, const char *id,
		   struct cm_upload **ret, struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = NULL;
	struct cm_hasher *known = NULL;
	int64_t known_offset = 0;
	int r;

	if (!id_valid(id))
		return no_session(repo, err);
	u = new_upload(s, repo);
	if (!u)
		return cm_error_nomem(err);
	r = cm_sessions_take(s->sessions, id, &known, &known_offset, err);
	if (r < 0)
		return r;
	strcpy(u->id, id); /* from here on closing gives it back */
	/* Asked for while it is ours, so that nobody ends it in between. */
	r = require_session(s, repo, id, err);
	if (r < 0) {
		cm_hasher_free(known);
		return r;
	}
	r = resume(u, known, known_offset, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(u);
	return 0;
}

int cm_upload_open_single(struct cm_store *s, const char *repo,
			  struct cm_upload **ret, struct cm_error *err)
{
	cm_auto(upload) struct cm_upload *u = new_upload(s, repo);
	int r;

	if (!u)
		return cm_error_nomem(err);
	r = cm_hasher_new(&u->hasher, err);
	if (r < 0)
		return r;
	*ret = cm_take_ptr(u);
	return 0;
}

/* Moves what memory holds to the file, made now if it is not there. */
static int spill(struct cm_upload *u, struct cm_error *err)
{
	int r;

	if (u->temp.fd < 0) {
		if (u->id[0])
			r = cm_bytes_session_open(u->store->bytes, u->id,
						  u->encoding, true, &u->temp,
						  err);
		else
			r = cm_bytes_temp_new(u->store->bytes, &u->temp, err);
		if (r < 0)
			return r;
	}
	r = cm_limit_take(u->store, &u->temp, u->buffered, err);
	if (r == 0)
		r = cm_bytes_write(u->temp.fd, u->buffer, u->buffered, 0, err);
	if (r < 0) {
		cm_bytes_temp_discard(u->store->bytes, &u->temp);
		return r;
	}
	u->buffered = 0;
	return 0;
}

void cm_upload_close(struct cm_upload *u)
{
	bool keep;

	if (!u)
		return;
	/* Bytes of a session that was cut off are worth keeping. */
	if (u->id[0] && !u->ended && u->buffered > 0 && u->temp.fd < 0)
		spill(u, NULL);
	/* A temporary may have taken the session file's place at commit. */
	if (u->id[0] && !u->ended &&
	    strncmp(u->temp.name, u->id, strlen(u->id)) == 0)
		cm_bytes_temp_keep(&u->temp);
	else
		cm_bytes_temp_discard(u->store->bytes, &u->temp);
	if (u->id[0]) {
		keep = !u->ended && u->encoding == CM_ENCODING_IDENTITY;
		cm_sessions_give(u->store->sessions, u->id,
				 keep ? cm_take_ptr(u->hasher) : NULL,
				 u->offset);
	}
	cm_hasher_free(u->hasher);
	free(u);
}

/* ---- receiving ----------------------------------------------------------- */

int64_t cm_upload_offset(const struct cm_upload *u)
{
	return u->offset;
}

int cm_upload_set_encoding(struct cm_upload *u, enum cm_encoding encoding,
			   struct cm_error *err)
{
	if (encoding == u->encoding)
		return 0;
	if (u->offset > 0)
		return cm_error_set(err, CM_ERR_RANGE,
				    "the upload holds %" PRId64
				    " plain bytes: send a zstd body whole, to "
				    "a new session",
				    u->offset);
	u->encoding = encoding;
	return 0;
}

/* A large upload reaches the disk while it comes in, not all at its end. */
static void begin_writeback(struct cm_upload *u, size_t len)
{
	int64_t done = u->offset / WRITEBACK_STEP * WRITEBACK_STEP;
	int64_t end =
		(u->offset + (int64_t)len) / WRITEBACK_STEP * WRITEBACK_STEP;

	if (u->temp.fd >= 0 && end > done)
		cm_bytes_begin_writeback(u->temp.fd, done, end - done);
}

static int keep_bytes(struct cm_upload *u, const void *data, size_t len,
		      struct cm_error *err)
{
	int r = 0;

	if (u->temp.fd < 0) {
		if (u->buffered + len <= sizeof(u->buffer)) {
			memcpy(u->buffer + u->buffered, data, len);
			u->buffered += len;
			return 0;
		}
		r = spill(u, err);
	}
	if (r == 0)
		r = cm_limit_take(u->store, &u->temp, len, err);
	if (r < 0)
		return r;
	r = cm_bytes_write(u->temp.fd, data, len, u->offset, err);
	if (r < 0)
		cm_limit_give(u->store, &u->temp, len);
	/* Half a piece on a full disk: the file goes back to what is known. */
	if (r < 0 && ftruncate(u->temp.fd, u->offset) < 0)
		return cm_error_errno(err, "cannot undo a failed write");
	return r;
}

int cm_upload_append(struct cm_upload *u, const void *data, size_t len,
		     struct cm_error *err)
{
	int r;

	if (len > (size_t)(CM_BLOB_MAX - u->offset))
		return cm_error_set(err, CM_ERR_SIZE,
				    "a blob has at most %lld bytes",
				    CM_BLOB_MAX);
	r = keep_bytes(u, data, len, err);
	if (r < 0)
		return r;
	begin_writeback(u, len);
	u->offset += (int64_t)len;
	if (u->encoding == CM_ENCODING_ZSTD)
		return 0;
	return cm_hasher_update(u->hasher, data, len, err);
}

/* Before bytes are acknowledged, the session has its row. */
static int ripen(struct cm_upload *u, struct cm_error *err)
{
	struct begin_job j = {.repo = u->repo, .id = u->id};
	int r;

	if (!u->id[0] || !cm_young_has(u->store->young, u->id, NULL))
		return 0;
	r = cm_index_write(u->store->index, begin_tx, &j, err);
	if (r == 0)
		cm_young_remove(u->store->young, u->id, NULL);
	return r;
}

int cm_upload_sync(struct cm_upload *u, struct cm_error *err)
{
	int r = 0;

	if (u->temp.fd < 0) {
		if (u->buffered == 0)
			return 0;
		r = spill(u, err);
	}
	if (r == 0)
		r = cm_bytes_session_sync(u->store->bytes, &u->temp, err);
	if (u->temp.spoilt)
		refuse(u);
	return r == 0 ? ripen(u, err) : r;
}

/* ---- ending -------------------------------------------------------------- */

static struct cm_source source_of(const struct cm_upload *u)
{
	return (struct cm_source){
		.memory = u->temp.fd < 0 ? u->buffer : NULL,
		.fd = u->temp.fd,
		.size = u->offset,
	};
}

/* Has the frame decoded to a second file, which is published instead. */
static int keep_decoded(struct cm_upload *u, struct cm_frame *frame,
			struct cm_temp *plain, struct cm_error *err)
{
	struct cm_source src = source_of(u);
	int r = cm_bytes_temp_new(u->store->bytes, plain, err);

	if (r == 0)
		r = cm_limit_take(u->store, plain, (size_t)frame->size, err);
	if (r == 0)
		r = cm_frame_check(&src, plain->fd, frame, err);
	if (r < 0)
		cm_bytes_temp_discard(u->store->bytes, plain);
	return r;
}

/*
 * What the bytes are: their digest and both sizes. A frame that is not worth
 * keeping is decoded into `plain`.
 */
static int examine(struct cm_upload *u, struct cm_temp *plain,
		   struct cm_blob_info *ret, struct cm_error *err)
{
	struct cm_source src = source_of(u);
	struct cm_frame frame;
	int r;

	if (u->encoding == CM_ENCODING_IDENTITY) {
		ret->size = ret->stored_size = u->offset;
		ret->encoding = CM_ENCODING_IDENTITY;
		return cm_hasher_final(u->hasher, &ret->digest, err);
	}
	r = cm_frame_check(&src, -1, &frame, err);
	if (r == 0 && !frame.keep)
		r = keep_decoded(u, &frame, plain, err);
	if (r < 0)
		return r;
	ret->digest = frame.digest;
	ret->size = frame.size;
	ret->encoding = frame.keep ? CM_ENCODING_ZSTD : CM_ENCODING_IDENTITY;
	ret->stored_size = frame.keep ? u->offset : frame.size;
	return 0;
}

/*
 * The SHA-256 is known by now. A SHA-512 is computed only for who asks for it,
 * from the bytes at hand.
 */
static int digest_as(const struct cm_candidate *c, enum cm_algorithm algorithm,
		     struct cm_any_digest *ret, struct cm_error *err)
{
	struct cm_source src = {
		.memory = c->memory,
		.fd = c->temp->fd,
		.size = c->info.stored_size,
	};

	if (algorithm != CM_SHA256)
		return cm_source_digest(&src,
					c->info.encoding == CM_ENCODING_ZSTD,
					algorithm, ret, err);
	ret->algorithm = CM_SHA256;
	ret->sha256 = c->info.digest;
	return 0;
}

static int check_digest(const struct cm_candidate *c,
			const struct cm_any_digest *expected,
			struct cm_error *err)
{
	char want_text[CM_ANY_DIGEST_TEXT_SIZE];
	char got_text[CM_ANY_DIGEST_TEXT_SIZE];
	struct cm_any_digest got;
	int r = digest_as(c, expected->algorithm, &got, err);

	if (r < 0 || cm_any_digest_equal(expected, &got))
		return r;
	return cm_error_set(err, CM_ERR_DIGEST,
			    "the bytes received have the digest %s, not %s",
			    cm_any_digest_format(&got, got_text),
			    cm_any_digest_format(expected, want_text));
}

static int commit(struct cm_upload *u, struct cm_candidate *c,
		  struct cm_error *err)
{
	struct cm_temp plain = {.fd = -1};
	int r = examine(u, &plain, &c->info, err);

	c->temp = plain.fd >= 0 ? &plain : &u->temp;
	c->memory = c->temp->fd < 0 ? u->buffer : NULL;
	if (r == 0)
		r = check_digest(c, c->name, err);
	if (r == CM_ERR_DIGEST || r == CM_ERR_INVALID || r == CM_ERR_SIZE)
		refuse(u);
	if (r == 0)
		r = cm_store_publish(u->store, u->repo, c, err);
	if (u->temp.spoilt)
		refuse(u);
	cm_bytes_temp_discard(u->store->bytes, &plain);
	return r;
}

int cm_upload_commit_as(struct cm_upload *u,
			const struct cm_any_digest *expected,
			struct cm_blob_info *ret, struct cm_error *err)
{
	struct cm_candidate c = {
		.session = u->id[0] ? u->id : NULL,
		.name = expected,
	};
	bool in_file = u->temp.fd >= 0;
	int r = commit(u, &c, err);

	/* The hash has been used up: who tries again computes it again. */
	cm_hasher_free(cm_take_ptr(u->hasher));
	if (r < 0)
		return r;
	u->ended = true;
	if (u->id[0])
		cm_young_remove(u->store->young, u->id, NULL);
	if (u->id[0] && in_file)
		cm_bytes_session_remove(u->store->bytes, u->id, NULL);
	*ret = c.info;
	return 0;
}

int cm_upload_commit(struct cm_upload *u, const struct cm_digest *expected,
		     struct cm_blob_info *ret, struct cm_error *err)
{
	struct cm_any_digest name = {
		.algorithm = CM_SHA256,
		.sha256 = *expected,
	};

	return cm_upload_commit_as(u, &name, ret, err);
}

int cm_upload_cancel(struct cm_store *s, const char *repo, const char *id,
		     struct cm_error *err)
{
	struct begin_job j = {.repo = repo, .id = id};
	struct cm_hasher *known = NULL;
	int64_t known_offset = 0;
	int r;

	if (!id_valid(id))
		return no_session(repo, err);
	/* It is ours meanwhile, so that nobody writes to what goes. */
	r = cm_sessions_take(s->sessions, id, &known, &known_offset, err);
	if (r < 0)
		return r;
	if (!cm_young_remove(s->young, id, repo))
		r = cm_index_write(s->index, end_tx, &j, err);
	if (r == 0) {
		cm_bytes_session_remove(s->bytes, id, NULL);
		cm_hasher_free(cm_take_ptr(known));
	}
	cm_sessions_give(s->sessions, id, known, known_offset);
	return r;
}
