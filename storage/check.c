/*
 * check.c - a data folder that nobody serves, checked and mended.
 *
 * The index against itself comes first (index_check.c), since mending rows
 * relies on its counts; then each row against its bytes; then each file against
 * the rows. Rows are mended some hundreds in a transaction, each of which
 * leaves the store whole.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "index_check.h"
#include "offline.h"

#define ROWS_A_BATCH 256

struct checking {
	struct cm_store *store;
	const struct cm_check_options *options;
	bool keep_files;
	struct cm_db *db; /* maps nothing */
	struct cm_check_result *ret;
};

/* Blobs of a batch that are to be mended, and how. */
struct mending {
	struct cm_blob_row rows[ROWS_A_BATCH];
	bool adopt[ROWS_A_BATCH]; /* lies as the row says; else: is lost */
	size_t len;
};

static void tell(struct checking *c, const char *kind, bool harmless,
		 bool mended, const char *text)
{
	struct cm_finding f = {
		.kind = kind,
		.text = text,
		.harmless = harmless,
		.mended = mended,
	};

	if (!harmless)
		c->ret->harmful++;
	if (!harmless && !mended)
		c->ret->left++;
	if (c->options->finding)
		c->options->finding(c->options->arg, &f);
}

/* ---- the index ------------------------------------------------------- */

static void tell_line(void *arg, const char *line)
{
	tell(arg, "index", false, false, line);
}

static void tell_table(void *arg, const char *kind, const char *text,
		       bool mended)
{
	tell(arg, kind, false, mended, text);
}

/* 1 if it is damaged: then nothing else that it says is worth a check. */
static int check_index(struct checking *c, struct cm_error *err)
{
	struct cm_error why = {0};
	int r = cm_index_integrity(c->db, false, tell_line, c, &why);

	if (r == CM_ERR_CORRUPT) {
		tell_line(c, why.text);
		r = 1;
	}
	if (r < 0 && err)
		*err = why;
	c->ret->index_broken = r > 0;
	return r;
}

/* ---- rows against bytes ---------------------------------------------- */

static int check_bytes(struct checking *c, const struct cm_blob_row *row,
		       bool read, struct cm_error *err)
{
	cm_auto(blob) struct cm_blob *b = NULL;
	int r = cm_blob_open_row(c->store, c->db, row, &b, err);

	return r == 0 && read ? cm_store_check_content(b, NULL, NULL, err) : r;
}

/*
 * The same blob may lie there in the other encoding: it was removed and pushed
 * again since the row was written, that is, in a backup. 1 if it does: `row`
 * then says so.
 */
static int find_other(struct checking *c, struct cm_blob_row *row)
{
	struct cm_blob_row other = *row;
	cm_autofd int fd = -1;

	if (row->inline_id != 0)
		return 0;
	other.info.encoding = row->info.encoding == CM_ENCODING_ZSTD
				      ? CM_ENCODING_IDENTITY
				      : CM_ENCODING_ZSTD;
	if (cm_bytes_open_blob(c->store->bytes, &row->info.digest,
			       other.info.encoding, &fd,
			       &other.info.stored_size, NULL) < 0)
		return 0;
	if (check_bytes(c, &other, true, NULL) < 0)
		return 0;
	*row = other;
	return 1;
}

static void tell_blob(struct checking *c, const struct cm_blob_row *row,
		      bool mended, const char *what)
{
	char digest[CM_DIGEST_TEXT_SIZE], text[CM_ERROR_TEXT_MAX];

	snprintf(text, sizeof(text), "%s: %.300s",
		 cm_digest_format(&row->info.digest, digest), what);
	tell(c, "blob", false, mended, text);
}

static int check_row(struct checking *c, struct cm_blob_row *row,
		     struct mending *m, struct cm_error *err)
{
	struct cm_error why = {0};
	bool adopt;
	int r = check_bytes(c, row, c->options->read_data, &why);

	c->ret->blobs++;
	c->ret->bytes += row->info.stored_size;
	if (r == 0)
		return 0;
	/* That the disk can't be read now says nothing of the bytes. */
	if (r == CM_ERR_IO) {
		tell_blob(c, row, false, why.text);
		return 0;
	}
	if (r != CM_ERR_CORRUPT) {
		if (err)
			*err = why;
		return r;
	}
	adopt = find_other(c, row) > 0;
	if (adopt)
		c->ret->adopted++;
	else
		c->ret->lost++;
	tell_blob(c, row, c->options->repair,
		  adopt ? "it lies there in another encoding" : why.text);
	m->adopt[m->len] = adopt;
	m->rows[m->len++] = *row;
	return 0;
}

static int mend_tx(struct cm_tx *tx, void *arg, struct cm_error *err)
{
	const struct mending *m = arg;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < m->len; i++) {
		if (m->adopt[i])
			r = cm_blob_mend(tx, &m->rows[i].info, NULL, err);
		else
			r = cm_blob_forget(tx, &m->rows[i].info.digest, err);
	}
	return r < 0 ? r : 0;
}

static int mend(struct checking *c, struct mending *m, struct cm_error *err)
{
	int r = 0;

	if (m->len == 0 || !c->options->repair)
		return 0;
	r = cm_index_write(c->store->index, mend_tx, m, err);
	for (size_t i = 0; r == 0 && i < m->len; i++)
		if (!m->adopt[i] && m->rows[i].inline_id == 0)
			r = cm_bytes_quarantine(c->store->bytes,
						&m->rows[i].info.digest,
						m->rows[i].info.encoding, err);
	return r;
}

static int check_rows(struct checking *c, struct cm_error *err)
{
	cm_autofree struct cm_blob_row *rows =
		calloc(ROWS_A_BATCH, sizeof(*rows));
	cm_autofree struct mending *m = calloc(1, sizeof(*m));
	struct cm_digest after = {{0}};
	size_t n = ROWS_A_BATCH;
	int r = rows && m ? 0 : cm_error_nomem(err);

	while (r == 0 && n == ROWS_A_BATCH) {
		m->len = 0;
		r = cm_blobs_behind(c->db, &after, rows, ROWS_A_BATCH, &n, err);
		for (size_t i = 0; r == 0 && i < n; i++) {
			after = rows[i].info.digest;
			r = check_row(c, &rows[i], m, err);
		}
		if (r == 0)
			r = mend(c, m, err);
	}
	return r;
}

/* ---- files against rows ---------------------------------------------- */

static int check_file(void *arg, const struct cm_bytes_file *f, int64_t size,
		      struct cm_error *err)
{
	struct checking *c = arg;
	char digest[CM_DIGEST_TEXT_SIZE], text[CM_DIGEST_TEXT_SIZE + 64];
	struct cm_blob_row row;
	bool remove = c->options->repair && !c->keep_files;
	int r = cm_blob_find_any(c->db, &f->digest, &row, err);

	if (r < 0)
		return r;
	if (r > 0 && row.inline_id == 0 && row.info.encoding == f->encoding)
		return 0;
	c->ret->files++;
	r = remove ? cm_bytes_remove(c->store->bytes, &f->digest, f->encoding,
				     err)
		   : 0;
	snprintf(text, sizeof(text),
		 "%s: a file of %" PRId64 " bytes without a row",
		 cm_digest_format(&f->digest, digest), size);
	tell(c, "file", true, remove && r == 0, text);
	return r;
}

/* ---- all of it ------------------------------------------------------- */

int cm_check_store(struct cm_store *s, const struct cm_check_options *options,
		   bool keep_files, struct cm_check_result *ret,
		   struct cm_error *err)
{
	cm_auto(db) struct cm_db *db = NULL;
	struct checking c = {
		.store = s,
		.options = options,
		.keep_files = keep_files,
		.ret = ret,
	};
	int r = cm_index_connect_aside(s->index, &db, err);

	c.db = db;
	if (r == 0)
		r = check_index(&c, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = cm_index_check_tables(db, options->repair, tell_table, &c, err);
	if (r == 0)
		r = check_rows(&c, err);
	if (r == 0)
		r = cm_bytes_each(s->bytes, check_file, &c, err);
	return r;
}

int cm_check(const struct cm_check_options *options,
	     struct cm_check_result *ret, struct cm_error *err)
{
	cm_auto(offline) struct cm_store *s = NULL;
	int r = cm_offline_open(options->data_dir, &s, err);

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = cm_offline_open_index(s,
					  options->repair ? CM_OFFLINE_MIGRATE
							  : CM_OFFLINE_CURRENT,
					  err);
	return r == 0 ? cm_check_store(s, options, false, ret, err) : r;
}
