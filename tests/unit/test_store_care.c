/*
 * test_store_care.c - scrub, quarantine, backup, check and rebuild, on a real
 * store: what each finds, mends and leaves, and where it goes on.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/care.h>
#include <cachemount/units.h>

#include "store_fixture.h"

#define REPO  "main/a"
#define LARGE 40000 /* lies in a file */

static struct content push(struct store_fixture *f, unsigned int seed,
			   size_t len)
{
	struct content c = content_noise(seed, len);

	assert_ok(store_push(f, REPO, &c, NULL), &f->err);
	return c;
}

static struct test_manifest put(struct store_fixture *f, const char *tag,
				const struct content *c, unsigned int salt)
{
	struct test_ref refs[] = {REF(c)};
	struct test_manifest m = manifest_make(SNAPSHOT, REFS(refs), salt, 0);

	assert_ok(store_put(f, REPO, tag, &m), &f->err);
	return m;
}

static const char *path_in(struct store_fixture *f, const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", f->dir, name);
	return path[turn];
}

static void flip(struct store_fixture *f, const struct content *c)
{
	int fd = open(store_blob_path(f, &c->digest, CM_ENCODING_IDENTITY),
		      O_WRONLY);
	unsigned char byte = c->data[100] ^ 1;

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
	close(fd);
}

static void lose(struct store_fixture *f, const struct content *c)
{
	assert_int_equal(
		unlink(store_blob_path(f, &c->digest, CM_ENCODING_IDENTITY)),
		0);
}

static int files_in(struct store_fixture *f, const char *folder)
{
	cm_autodir DIR *dir = opendir(path_in(f, folder));
	struct dirent *e;
	int n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	return n;
}

static void close_store(struct store_fixture *f)
{
	cm_store_close(f->store);
	f->store = NULL;
}

/* Opens what a tool has left; the fixture closes it. */
static void open_store(struct store_fixture *f)
{
	assert_null(f->store);
	assert_ok(cm_store_open(&f->options, &f->store, &f->err), &f->err);
	assert_consistent(f);
}

static int rebuild_with(struct store_fixture *f, struct cm_rebuild_options o,
			struct cm_rebuild_result *ret)
{
	assert_null(f->store);
	o.data_dir = f->dir;
	return cm_rebuild(&o, ret, &f->err);
}

#define rebuild(f, ret, ...)                                                   \
	rebuild_with((f), (struct cm_rebuild_options){__VA_ARGS__}, (ret))

static void overwrite(const char *path, size_t len)
{
	struct content c = content_noise(77, len);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, c.data, c.len), c.len);
	close(fd);
	content_free(&c);
}

/* ---- scrub ----------------------------------------------------------- */

struct scrubbing {
	int damaged;
	struct cm_digest last;
	int64_t stop_after; /* calls of pace; 0: never */
	int64_t paced;	    /* bytes */
};

static int count_pace(void *arg, int64_t bytes)
{
	struct scrubbing *s = arg;

	s->paced += bytes;
	return s->stop_after > 0 && --s->stop_after == 0;
}

static void count_damaged(void *arg, const struct cm_digest *d, const char *why)
{
	struct scrubbing *s = arg;

	assert_string_not_equal(why, "");
	s->damaged++;
	s->last = *d;
}

static int scrub_once(struct store_fixture *f, struct scrubbing *s,
		      int64_t every_ms, struct cm_scrub_result *ret)
{
	struct cm_scrub_options o = {
		.every_ms = every_ms,
		.pace = count_pace,
		.damaged = count_damaged,
		.arg = s,
	};

	return cm_store_scrub(f->store, &o, ret, &f->err);
}

/* A whole round; the sums. */
static struct cm_scrub_result scrub_round(struct store_fixture *f,
					  struct scrubbing *s)
{
	struct cm_scrub_result sum = {0}, r;

	for (int i = 0; i < 1000 && !sum.ended; i++) {
		assert_ok(scrub_once(f, s, 0, &r), &f->err);
		assert_false(r.idle);
		sum.blobs += r.blobs;
		sum.bytes += r.bytes;
		sum.damaged += r.damaged;
		sum.unreadable += r.unreadable;
		sum.ended = r.ended;
	}
	assert_true(sum.ended);
	return sum;
}

static void test_store_care__scrub_reads_all_and_finds_damage(void **state)
{
	struct store_fixture *f = *state;
	struct content small = push(f, 1, 500), good = push(f, 2, LARGE),
		       bad = push(f, 3, LARGE), lost = push(f, 4, LARGE);
	struct test_manifest m = put(f, "bad", &bad, 1),
			     whole = put(f, "good", &good, 2);
	struct scrubbing s = {0};
	struct cm_scrub_result r = scrub_round(f, &s);

	assert_int_equal(r.blobs, 6); /* and two manifests */
	assert_int_equal(r.bytes, 500 + 3 * LARGE + m.len + whole.len);
	assert_int_equal(r.damaged, 0);
	assert_true(s.paced >= r.bytes);
	flip(f, &bad);
	lose(f, &lost);
	r = scrub_round(f, &s);
	assert_int_equal(r.damaged, 2);
	assert_int_equal(r.unreadable, 0);
	assert_int_equal(s.damaged, 2);
	assert_int_equal(files_in(f, "quarantine"), 1);
	assert_absent(f, REPO, &bad.digest);
	assert_absent(f, REPO, &lost.digest);
	assert_no_tag(f, REPO, "bad");
	assert_tagged(f, REPO, "good", &whole);
	assert_stored(f, REPO, &small);
	assert_consistent(f);
	/* Pushed again, it is whole again. */
	assert_ok(store_push(f, REPO, &bad, NULL), &f->err);
	assert_tagged(f, REPO, "bad", &m);
	assert_int_equal(scrub_round(f, &s).damaged, 0);
	content_free(&small);
	content_free(&good);
	content_free(&bad);
	content_free(&lost);
	manifest_free(&m);
	manifest_free(&whole);
}

static void test_store_care__scrub_finds_damage_inside_the_index(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, 500), cut = push(f, 2, 600);
	struct scrubbing s = {0};

	store_sql(f, "UPDATE blob_data SET data = zeroblob(500)"
		     " WHERE length(data) = 500");
	store_sql(f, "UPDATE blob_data SET data = zeroblob(9)"
		     " WHERE length(data) = 600");
	assert_int_equal(scrub_round(f, &s).damaged, 2);
	assert_absent(f, REPO, &c.digest);
	assert_absent(f, REPO, &cut.digest);
	assert_int_equal(store_sql(f, "SELECT count(*) FROM blob_data"), 0);
	assert_consistent(f);
	content_free(&c);
	content_free(&cut);
}

static void test_store_care__scrub_goes_on_after_a_restart(void **state)
{
	struct store_fixture *f = *state;
	struct cm_scrub_status status;
	struct cm_scrub_result r, rest;
	struct scrubbing s = {.stop_after = 60};

	for (unsigned int i = 0; i < 100; i++) {
		struct content c = push(f, i, 200 + i);

		content_free(&c);
	}
	assert_fails(scrub_once(f, &s, 0, &r), CM_ERR_CANCELLED, &f->err);
	assert_true(r.blobs > 0 && r.blobs < 60);
	store_reopen(f);
	assert_ok(cm_store_scrub_status(f->store, &status, &f->err), &f->err);
	assert_true(status.running);
	assert_true(status.progress > 0.05 && status.progress < 0.7);
	assert_int_equal(status.ended_ms, 0);
	s.stop_after = 0;
	rest = scrub_round(f, &s);
	/* That of its place, and the one that it was at, are read again. */
	assert_in_range(r.blobs + rest.blobs, 100, 102);
	assert_ok(cm_store_scrub_status(f->store, &status, &f->err), &f->err);
	assert_false(status.running);
	assert_true(status.ended_ms >= status.began_ms);
}

static void test_store_care__scrub_waits_for_its_time(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, 500);
	struct scrubbing s = {0};
	struct cm_scrub_result r;

	scrub_round(f, &s);
	assert_ok(scrub_once(f, &s, 3600 * 1000, &r), &f->err);
	assert_true(r.idle);
	assert_int_equal(r.blobs, 0);
	/* The clock was a year ahead when the last round began. */
	close_store(f);
	open_store(f);
	store_sql(f, "UPDATE state SET value = value + 31536000000"
		     " WHERE name = 'scrub_began_ms'");
	assert_ok(scrub_once(f, &s, 3600 * 1000, &r), &f->err);
	assert_false(r.idle);
	assert_int_equal(r.blobs, 1);
	content_free(&c);
}

/* What the scrub may not do is forget what it can't read just now. */
static void test_store_care__scrub_keeps_what_cannot_be_read(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, LARGE);
	const char *path = store_blob_path(f, &c.digest, CM_ENCODING_IDENTITY);
	char away[256];
	struct scrubbing s = {0};
	struct cm_scrub_result r;

	snprintf(away, sizeof(away), "%s.away", path);
	assert_int_equal(rename(path, away), 0);
	/* O_NOFOLLOW refuses it: an error that is not "no such file". */
	assert_int_equal(symlink(away, path), 0);
	r = scrub_round(f, &s);
	assert_int_equal(r.damaged, 0);
	assert_int_equal(r.unreadable, 1);
	/* Nor does a check of the folder. */
	close_store(f);
	{
		struct cm_check_options o = {
			.data_dir = f->dir,
			.repair = true,
		};
		struct cm_check_result checked;

		assert_ok(cm_check(&o, &checked, &f->err), &f->err);
		assert_int_equal(checked.left, 1);
		assert_int_equal(checked.lost, 0);
	}
	assert_int_equal(rename(away, path), 0);
	open_store(f);
	assert_stored(f, REPO, &c);
	content_free(&c);
}

/* ---- quarantine ------------------------------------------------------ */

static void test_store_care__quarantine_is_bounded(void **state)
{
	struct store_fixture *f = *state;
	char hex[CM_DIGEST_HEX_LEN + 1], name[128];
	struct content c;
	int fd;

	for (unsigned int i = 0; i < 3; i++) {
		c = content_noise(i, 10);
		snprintf(name, sizeof(name), "quarantine/%s",
			 cm_digest_hex(&c.digest, hex));
		fd = open(path_in(f, name), O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		/* Sparse: two of them are at the limit. */
		assert_int_equal(ftruncate(fd, CM_QUARANTINE_SIZE / 2), 0);
		close(fd);
		usleep(20000);
		content_free(&c);
	}
	assert_ok(cm_store_trim_quarantine(f->store, &f->err), &f->err);
	assert_int_equal(files_in(f, "quarantine"), 2);
	c = content_noise(0, 10); /* the oldest */
	snprintf(name, sizeof(name), "quarantine/%s",
		 cm_digest_hex(&c.digest, hex));
	assert_int_equal(access(path_in(f, name), F_OK), -1);
	content_free(&c);
}

/* ---- backup ---------------------------------------------------------- */

static void back_up(struct store_fixture *f, size_t keep)
{
	struct cm_backup_options o = {.keep = keep};

	assert_ok(cm_store_backup(f->store, &o, &f->err), &f->err);
}

static void test_store_care__backups_are_numbered_and_few(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, 500);
	struct cm_backup_status status;

	assert_ok(cm_store_backup_status(f->store, &status, &f->err), &f->err);
	assert_int_equal(status.count, 0);
	assert_string_equal(status.file, "");
	cm_store_backup_request(f->store);
	assert_true(cm_store_backup_wanted(f->store));
	for (int i = 0; i < 4; i++)
		back_up(f, 2);
	assert_false(cm_store_backup_wanted(f->store));
	assert_ok(cm_store_backup_status(f->store, &status, &f->err), &f->err);
	assert_int_equal(status.count, 2);
	assert_string_equal(status.file, "backups/index-000004.db");
	assert_int_equal(files_in(f, "backups"), 2);
	assert_true(status.size > 0);
	content_free(&c);
}

static int stop_at_once(void *arg, int64_t bytes)
{
	struct store_fixture *f = arg;
	struct content c = content_noise(99, 300);

	/* The writer is free while a backup is made. */
	(void)bytes;
	assert_ok(store_push(f, REPO, &c, NULL), &f->err);
	content_free(&c);
	return 1;
}

static void test_store_care__a_backup_that_is_stopped_leaves_none(void **state)
{
	struct store_fixture *f = *state;
	struct cm_backup_options o = {
		.keep = 1,
		.pace = stop_at_once,
		.arg = f,
	};
	struct content c = content_noise(99, 300);
	struct cm_backup_status status;

	assert_fails(cm_store_backup(f->store, &o, &f->err), CM_ERR_CANCELLED,
		     &f->err);
	assert_stored(f, REPO, &c);
	assert_int_equal(files_in(f, "backups"), 0);
	assert_ok(cm_store_backup_status(f->store, &status, &f->err), &f->err);
	assert_false(status.running);
	assert_int_equal(status.failure.status, CM_ERR_CANCELLED);
	back_up(f, 1);
	assert_ok(cm_store_backup_status(f->store, &status, &f->err), &f->err);
	assert_int_equal(status.failure.status, CM_OK);
	content_free(&c);
}

struct pushing {
	struct store_fixture *f;
	unsigned int pushed;
};

static int push_meanwhile(void *arg, int64_t bytes)
{
	struct pushing *p = arg;
	struct content c = content_noise(5000 + p->pushed++, 300);

	(void)bytes;
	assert_ok(store_push(p->f, REPO, &c, NULL), &p->f->err);
	content_free(&c);
	return 0;
}

/* Each step of the copy meets a commit; it is one state all the same. */
static void test_store_care__a_backup_is_one_state(void **state)
{
	struct store_fixture *f = *state;
	struct pushing p = {.f = f};
	struct cm_backup_options o = {
		.keep = 1,
		.pace = push_meanwhile,
		.arg = &p,
	};
	struct cm_backup_status status;
	struct cm_rebuild_result r;
	struct content c;

	for (unsigned int i = 0; i < 400; i++) {
		c = push(f, i, 15000);
		content_free(&c);
	}
	assert_ok(cm_store_backup(f->store, &o, &f->err), &f->err);
	assert_ok(cm_store_backup_status(f->store, &status, &f->err), &f->err);
	assert_true(status.size > 400 * 15000);
	assert_in_range(p.pushed, status.size >> 20, (status.size >> 20) + 2);
	close_store(f);
	assert_int_equal(unlink(path_in(f, "index.db")), 0);
	assert_ok(rebuild_with(f, (struct cm_rebuild_options){.force = false},
			       &r),
		  &f->err);
	assert_int_equal(r.check.harmful, 0);
	assert_int_equal(r.blobs, 400);
	open_store(f);
}

/* Files may not grow beyond this: as if the disk were full. */
static void limit_files(rlim_t size)
{
	struct rlimit limit = {.rlim_cur = size, .rlim_max = RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk fills up in the middle of it. */
static void test_store_care__a_copy_that_does_not_fit(void **state)
{
	struct store_fixture *f = *state;
	struct cm_backup_options o = {.keep = 1};
	struct cm_rebuild_result r;
	struct test_manifest m;
	struct content c;
	int status;

	for (unsigned int i = 0; i < 100; i++) {
		c = push(f, i, 15000);
		content_free(&c);
	}
	c = push(f, 200, LARGE);
	m = put(f, "t", &c, 1);
	limit_files(300000);
	status = cm_store_backup(f->store, &o, &f->err);
	limit_files(RLIM_INFINITY);
	assert_true(status < 0);
	assert_int_equal(files_in(f, "backups"), 0);
	assert_tagged(f, REPO, "t", &m);
	back_up(f, 1);
	close_store(f);
	overwrite(path_in(f, "index.db"), 9000);
	limit_files(300000);
	status = rebuild_with(f, (struct cm_rebuild_options){.force = false},
			      &r);
	limit_files(RLIM_INFINITY);
	assert_true(status < 0);
	assert_int_equal(access(path_in(f, "index.db.rebuild"), F_OK), -1);
	assert_int_equal(access(path_in(f, "index.db"), F_OK), 0);
	assert_int_equal(access(path_in(f, "index.db.damaged-1"), F_OK), -1);
	assert_ok(rebuild_with(f, (struct cm_rebuild_options){.force = false},
			       &r),
		  &f->err);
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	content_free(&c);
	manifest_free(&m);
}

/* ---- check ----------------------------------------------------------- */

static struct cm_check_result check(struct store_fixture *f, bool read_data,
				    bool repair)
{
	struct cm_check_options o = {
		.data_dir = f->dir,
		.read_data = read_data,
		.repair = repair,
	};
	struct cm_check_result r;

	assert_null(f->store);
	assert_ok(cm_check(&o, &r, &f->err), &f->err);
	return r;
}

static void test_store_care__check_of_a_whole_store_finds_nothing(void **state)
{
	struct store_fixture *f = *state;
	struct content a = push(f, 1, 500), b = push(f, 2, LARGE);
	struct test_manifest m = put(f, "t", &b, 1);
	struct cm_check_options o = {.data_dir = f->dir};
	struct cm_check_result r;

	assert_fails(cm_check(&o, &r, &f->err), CM_ERR_BUSY, &f->err);
	close_store(f);
	r = check(f, true, false);
	assert_int_equal(r.blobs, 3);
	assert_int_equal(r.harmful, 0);
	assert_int_equal(r.files, 0);
	assert_false(r.index_broken);
	o.data_dir = "/nonexistent";
	assert_fails(cm_check(&o, &r, &f->err), CM_ERR_NOT_FOUND, &f->err);
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	content_free(&a);
	content_free(&b);
	manifest_free(&m);
}

static void test_store_care__check_mends_every_count(void **state)
{
	static const char *const harm[] = {
		"UPDATE totals SET value = value + 7",
		"UPDATE blobs SET holders = 5",
		"UPDATE repo_blobs SET refs = 9",
		"UPDATE manifests SET tags = 4, parents = 2",
		"UPDATE repositories SET manifests = 3",
		"INSERT INTO broken(repo_id, digest, reasons)"
		" SELECT repo_id, digest, 2 FROM manifests",
		"INSERT INTO blob_data(data) VALUES(zeroblob(10))",
		"INSERT INTO tags(repo_id, name, digest, created_ms,"
		" updated_ms, pulled_ms) SELECT repo_id, 'none',"
		" zeroblob(32), 1, 1, 0 FROM tags",
		"INSERT INTO repo_blobs(repo_id, digest, since_ms, refs)"
		" SELECT id, zeroblob(32), 1, 0"
		" FROM repositories",
		"INSERT INTO blobs(digest, size, stored_size, encoding,"
		" inline_id, holders) VALUES(zeroblob(32), 1, 1, 0, 0, 0)",
		"INSERT INTO manifest_refs(repo_id, manifest, digest, child)"
		" SELECT id, zeroblob(32),"
		" zeroblob(32), 0 FROM repositories",
		"UPDATE repositories SET scope = 77",
		"UPDATE tags SET scope = 77",
		"UPDATE manifests SET scope = 77",
		"UPDATE scopes SET bytes = bytes + 1",
		"INSERT INTO referrers(repo_id, subject, manifest)"
		" SELECT id, zeroblob(32), zeroblob(32) FROM repositories",
		"INSERT INTO tags(repo_id, name, digest, created_ms,"
		" updated_ms, pulled_ms) SELECT 99, name, digest, 1, 1, 0"
		" FROM tags",
	};
	struct store_fixture *f = *state;
	struct content b = push(f, 2, LARGE);
	struct test_manifest m = put(f, "t", &b, 1);
	struct cm_check_result r;

	for (size_t i = 0; i < sizeof(harm) / sizeof(harm[0]); i++) {
		store_sql(f, harm[i]);
		close_store(f);
		r = check(f, false, false);
		if (r.harmful == 0 || r.left != r.harmful)
			fail_msg("not found: %s", harm[i]);
		r = check(f, false, true);
		if (r.harmful == 0 || r.left != 0)
			fail_msg("not mended: %s", harm[i]);
		assert_int_equal(check(f, true, false).harmful, 0);
		open_store(f);
		assert_tagged(f, REPO, "t", &m);
	}
	content_free(&b);
	manifest_free(&m);
}

/* Bytes that are gone or wrong, through an index, and files nobody knows. */
static void test_store_care__check_mends_what_the_disk_lost(void **state)
{
	struct store_fixture *f = *state;
	struct content lost = push(f, 1, LARGE), bad = push(f, 2, LARGE),
		       good = push(f, 3, LARGE), over = push(f, 4, LARGE);
	struct test_manifest m = put(f, "lost", &lost, 1),
			     whole = put(f, "good", &good, 2), list;
	struct test_ref refs[] = {{m.digest, (int64_t)m.len}};
	struct cm_check_result r;

	list = manifest_make(INDEX, REFS(refs), 3, 0);
	assert_ok(store_put(f, REPO, "list", &list), &f->err);
	lose(f, &lost);
	flip(f, &bad);
	assert_ok(cm_store_blob_delete(f->store, REPO, &over.digest, &f->err),
		  &f->err);
	close_store(f);
	{ /* a crash between the rename and the commit */
		int fd = open(
			store_blob_path(f, &over.digest, CM_ENCODING_IDENTITY),
			O_WRONLY | O_CREAT, 0600);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, "x", 1), 1);
		close(fd);
	}
	r = check(f, false, false);
	assert_int_equal(r.lost, 1);
	assert_int_equal(r.files, 1);
	r = check(f, true, false);
	assert_int_equal(r.lost, 2);
	assert_int_equal(r.left, 2);
	r = check(f, true, true);
	assert_int_equal(r.lost, 2);
	assert_int_equal(r.left, 0);
	r = check(f, true, false);
	assert_int_equal(r.harmful, 0);
	assert_int_equal(r.files, 0);
	assert_int_equal(files_in(f, "quarantine"), 1);
	open_store(f);
	store_files(f);
	assert_no_tag(f, REPO, "lost");
	assert_no_tag(f, REPO, "list");
	assert_tagged(f, REPO, "good", &whole);
	assert_ok(store_push(f, REPO, &lost, NULL), &f->err);
	assert_tagged(f, REPO, "list", &list);
	assert_consistent(f);
	content_free(&lost);
	content_free(&bad);
	content_free(&good);
	content_free(&over);
	manifest_free(&m);
	manifest_free(&whole);
	manifest_free(&list);
}

/* ---- rebuild --------------------------------------------------------- */

/* The store as it was, less what the disk has not. */
static void test_store_care__rebuild_from_a_backup(void **state)
{
	struct store_fixture *f = *state;
	struct content small = push(f, 1, 500), large = push(f, 2, LARGE),
		       lost = push(f, 3, LARGE), late = content_noise(4, LARGE);
	struct test_manifest a = put(f, "a", &small, 1),
			     b = put(f, "b", &large, 2),
			     gone = put(f, "gone", &lost, 3), new;
	struct cm_rebuild_result r;

	back_up(f, 2);
	assert_ok(store_push(f, REPO, &late, NULL), &f->err);
	new = put(f, "late", &late, 4);
	close_store(f);
	assert_fails(rebuild(f, &r, .force = false), CM_ERR_PRECONDITION,
		     &f->err);
	lose(f, &lost);
	overwrite(path_in(f, "index.db"), 50000);
	assert_fails(cm_store_open(&f->options, &f->store, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_non_null(strstr(f->err.text, "cachemountd rebuild --data /"));
	assert_ok(rebuild(f, &r, .force = false), &f->err);
	assert_int_equal(r.check.lost, 1);
	assert_int_equal(r.check.files, 1);
	assert_int_equal(r.tags, 3);
	assert_string_equal(r.aside, "index.db.damaged-1");
	assert_int_equal(access(path_in(f, r.aside), F_OK), 0);
	open_store(f);
	assert_tagged(f, REPO, "a", &a);
	assert_tagged(f, REPO, "b", &b);
	assert_stored(f, REPO, &small);
	assert_stored(f, REPO, &large);
	assert_no_tag(f, REPO, "gone");
	assert_no_tag(f, REPO, "late");
	assert_absent(f, REPO, &late.digest);
	assert_ok(store_push(f, REPO, &lost, NULL), &f->err);
	assert_tagged(f, REPO, "gone", &gone);
	assert_ok(store_push(f, REPO, &late, NULL), &f->err);
	assert_ok(store_put(f, REPO, "late", &new), &f->err);
	assert_stored(f, REPO, &late);
	assert_consistent(f);
	content_free(&small);
	content_free(&large);
	content_free(&lost);
	content_free(&late);
	manifest_free(&a);
	manifest_free(&b);
	manifest_free(&gone);
	manifest_free(&new);
}

/* A backup that rotted too: the one before it serves. */
static void test_store_care__rebuild_falls_back(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, LARGE);
	struct test_manifest m = put(f, "t", &c, 1);
	struct cm_rebuild_result r;

	back_up(f, 3);
	back_up(f, 3);
	back_up(f, 3);
	close_store(f);
	overwrite(path_in(f, "backups/index-000003.db"), 9000);
	assert_int_equal(truncate(path_in(f, "backups/index-000002.db"), 4096),
			 0);
	assert_int_equal(unlink(path_in(f, "index.db")), 0);
	assert_ok(rebuild(f, &r, .force = false), &f->err);
	assert_non_null(strstr(r.from, "index-000001.db"));
	assert_string_equal(r.aside, "");
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	content_free(&c);
	manifest_free(&m);
}

/* A database of SQLite, but one without tables. */
static void lose_tables(struct store_fixture *f)
{
	unsigned char head[4096] = "SQLite format 3";
	int fd = open(path_in(f, "index.db"), O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
	close(fd);
}

static void test_store_care__rebuild_without_a_backup(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, LARGE);
	struct test_manifest m = put(f, "t", &c, 1);
	struct cm_rebuild_result r;

	close_store(f);
	assert_int_equal(truncate(path_in(f, "index.db"), 0), 0);
	assert_fails(cm_store_open(&f->options, &f->store, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_fails(rebuild(f, &r, .force = false), CM_ERR_NOT_FOUND, &f->err);
	/* Its log was lost before its tables came from there. */
	lose_tables(f);
	assert_fails(cm_store_open(&f->options, &f->store, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_ok(rebuild(f, &r, .empty = true), &f->err);
	assert_int_equal(r.tags, 0);
	open_store(f);
	assert_no_tag(f, REPO, "t");
	assert_ok(store_push(f, REPO, &c, NULL), &f->err);
	assert_ok(store_put(f, REPO, "t", &m), &f->err);
	assert_tagged(f, REPO, "t", &m);
	content_free(&c);
	manifest_free(&m);
}

/* Killed before its end: the leftovers are no one's index. */
static void test_store_care__rebuild_can_be_run_again(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, LARGE);
	struct test_manifest m = put(f, "t", &c, 1);
	struct cm_rebuild_result r;

	back_up(f, 1);
	close_store(f);
	/* In the middle of the copy. */
	overwrite(path_in(f, "index.db"), 5000);
	overwrite(path_in(f, "index.db.rebuild"), 300);
	overwrite(path_in(f, "index.db.rebuild-wal"), 300);
	assert_ok(rebuild(f, &r, .force = false), &f->err);
	assert_string_equal(r.aside, "index.db.damaged-1");
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	close_store(f);
	/* The old index has gone aside, its log has not. */
	assert_int_equal(unlink(path_in(f, "index.db")), 0);
	overwrite(path_in(f, "index.db-wal"), 40000);
	assert_fails(cm_store_open(&f->options, &f->store, &f->err),
		     CM_ERR_CORRUPT, &f->err);
	assert_ok(rebuild(f, &r, .force = false), &f->err);
	assert_int_equal(access(path_in(f, "index.db-wal"), F_OK), -1);
	assert_int_equal(access(path_in(f, "index.db.damaged-2-wal"), F_OK), 0);
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	content_free(&c);
	manifest_free(&m);
}

/* The same bytes pushed again since, and kept in another encoding. */
static void test_store_care__rebuild_adopts_another_encoding(void **state)
{
	struct store_fixture *f = *state;
	struct content c = content_text(1, 200000);
	struct cm_rebuild_result r;
	struct test_manifest m;
	int fd;

	assert_ok(store_push(f, REPO, &c, NULL), &f->err);
	m = put(f, "t", &c, 1);
	back_up(f, 1);
	close_store(f);
	assert_int_equal(
		unlink(store_blob_path(f, &c.digest, CM_ENCODING_ZSTD)), 0);
	fd = open(store_blob_path(f, &c.digest, CM_ENCODING_IDENTITY),
		  O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, c.data, c.len), c.len);
	close(fd);
	assert_int_equal(unlink(path_in(f, "index.db")), 0);
	assert_ok(rebuild(f, &r, .force = false), &f->err);
	assert_int_equal(r.check.adopted, 1);
	assert_int_equal(r.check.lost, 0);
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	assert_stored(f, REPO, &c);
	store_files(f);
	content_free(&c);
	manifest_free(&m);
}

static void test_store_care__a_copy_to_a_file_serves_too(void **state)
{
	struct store_fixture *f = *state;
	struct content c = push(f, 1, LARGE);
	struct test_manifest m = put(f, "t", &c, 1);
	struct cm_rebuild_result r;
	const char *copy = path_in(f, "copy.db");

	assert_fails(cm_backup_to_file(f->dir, copy, &f->err), CM_ERR_BUSY,
		     &f->err);
	assert_int_equal(access(copy, F_OK), -1);
	close_store(f);
	assert_ok(cm_backup_to_file(f->dir, copy, &f->err), &f->err);
	assert_fails(cm_backup_to_file(f->dir, copy, &f->err), CM_ERR_EXISTS,
		     &f->err);
	overwrite(path_in(f, "index.db"), 9000);
	assert_fails(rebuild(f, &r, .backup = path_in(f, "index.db")),
		     CM_ERR_CORRUPT, &f->err);
	assert_ok(rebuild(f, &r, .backup = path_in(f, "copy.db")), &f->err);
	open_store(f);
	assert_tagged(f, REPO, "t", &m);
	content_free(&c);
	manifest_free(&m);
}

int main(void)
{
#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(test_store_care__##name, store_setup,  \
					store_teardown)
	const struct CMUnitTest tests[] = {
		CASE(scrub_reads_all_and_finds_damage),
		CASE(scrub_finds_damage_inside_the_index),
		CASE(scrub_goes_on_after_a_restart),
		CASE(scrub_waits_for_its_time),
		CASE(scrub_keeps_what_cannot_be_read),
		CASE(quarantine_is_bounded),
		CASE(backups_are_numbered_and_few),
		CASE(a_backup_that_is_stopped_leaves_none),
		CASE(a_backup_is_one_state),
		CASE(a_copy_that_does_not_fit),
		CASE(check_of_a_whole_store_finds_nothing),
		CASE(check_mends_every_count),
		CASE(check_mends_what_the_disk_lost),
		CASE(rebuild_from_a_backup),
		CASE(rebuild_falls_back),
		CASE(rebuild_without_a_backup),
		CASE(rebuild_can_be_run_again),
		CASE(rebuild_adopts_another_encoding),
		CASE(a_copy_to_a_file_serves_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
