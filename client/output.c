/*
 * output.c - messages, the progress bar, tables, JSON.
 *
 * The bar is one line, redrawn at most ten times a second and wiped before
 * any message, so that a log that is captured never holds one.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cachemount/cleanup.h>
#include <cachemount/units.h>

#include "output.h"

#define BAR_AFTER_MS 1000
#define BAR_EVERY_MS 100
#define BAR_WIDTH    24
#define CELL_MAX     4096

static struct {
	pthread_mutex_t lock;
	bool enabled;
	bool drawn;
	int64_t began_ms, last_ms;
} bar = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void wipe(void)
{
	if (bar.drawn)
		fputs("\r\033[K", stderr);
	bar.drawn = false;
}

/* The bytes of the UTF-8 character at `s` that may be shown, or 0. */
static size_t shown_len(const unsigned char *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? s[0] : s[0] & (0xffu >> (len + 1));
	static const uint32_t least[] = {0, 0x20, 0xa0, 0x800, 0x10000};

	if (s[0] == 0x7f || (s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)
		       ? 0
		       : len;
}

void cm_print_escaped(FILE *f, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len;

	for (; *p; p += len ? len : 1) {
		len = *p == '\\' ? 0 : shown_len(p);
		if (len > 0)
			fwrite(p, 1, len, f);
		else
			fprintf(f, *p == '\\' ? "\\\\" : "\\x%02x", *p);
	}
}

const char *cm_count(int64_t n, const char *one,
		     char out[static CM_COUNT_TEXT_SIZE])
{
	snprintf(out, CM_COUNT_TEXT_SIZE, "%" PRId64 " %.20s%s", n, one,
		 n == 1 ? "" : "s");
	return out;
}

/* A "?" for each byte that could move a terminal's cursor. */
static void tame(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p;) {
		size_t len = shown_len(p);

		if (len == 0)
			*p = '?';
		p += len ? len : 1;
	}
}

void cm_say(const char *fmt, ...)
{
	cm_autofree char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		tame(text);
	pthread_mutex_lock(&bar.lock);
	wipe();
	fprintf(stderr, "cachectl: %s\n", text ? text : "out of memory");
	pthread_mutex_unlock(&bar.lock);
}

void cm_bars_enable(bool wanted)
{
	const char *term = getenv("TERM");

	bar.enabled = wanted && isatty(STDERR_FILENO) && term &&
		      strcmp(term, "dumb") != 0;
}

static void draw(const struct cm_progress *p)
{
	char done[CM_SIZE_TEXT_SIZE], total[CM_SIZE_TEXT_SIZE];
	char filled[BAR_WIDTH + 1], files[CM_COUNT_TEXT_SIZE];
	int64_t n = 0;

	if (p->bytes_total > 0)
		n = p->bytes_done * BAR_WIDTH / p->bytes_total;
	n = n > BAR_WIDTH ? BAR_WIDTH : n;
	memset(filled, ' ', BAR_WIDTH);
	memset(filled, '#', (size_t)n);
	filled[BAR_WIDTH] = '\0';
	cm_size_format(p->bytes_done, done);
	if (p->bytes_total > 0)
		fprintf(stderr, "\r\033[K%s [%s] %s of %s", p->what, filled,
			done, cm_size_format(p->bytes_total, total));
	else
		fprintf(stderr, "\r\033[K%s %s, %s", p->what, done,
			cm_count(p->files_done, "file", files));
	fflush(stderr);
	bar.drawn = true;
}

void cm_bar_update(void *arg, const struct cm_progress *p)
{
	int64_t now = cm_monotonic_ms();

	(void)arg;
	if (!bar.enabled)
		return;
	pthread_mutex_lock(&bar.lock);
	if (bar.began_ms == 0)
		bar.began_ms = now;
	if (now - bar.began_ms >= BAR_AFTER_MS &&
	    now - bar.last_ms >= BAR_EVERY_MS) {
		bar.last_ms = now;
		draw(p);
	}
	pthread_mutex_unlock(&bar.lock);
}

void cm_bar_end(void)
{
	pthread_mutex_lock(&bar.lock);
	wipe();
	fflush(stderr);
	bar.began_ms = 0;
	pthread_mutex_unlock(&bar.lock);
}

int cm_print_json(const json_t *value)
{
	if (!value || json_dumpf(value, stdout, JSON_COMPACT) < 0 ||
	    putchar('\n') == EOF || fflush(stdout) != 0)
		return CM_ERR_IO;
	return 0;
}

/* ---- tables ------------------------------------------------------------ */

struct cm_table {
	size_t columns;
	size_t widths[CM_COLUMNS_MAX];
	bool right[CM_COLUMNS_MAX];
	char **cells; /* headings first, then row by row */
	size_t len, cap;
	bool failed;
};

static void add_cell(struct cm_table *t, const char *text)
{
	size_t column = t->len % t->columns, width = 0;
	char **grown;
	char *cell;

	if (t->len == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		grown = reallocarray(t->cells, t->cap, sizeof(*grown));
		if (!grown) {
			t->failed = true;
			return;
		}
		t->cells = grown;
	}
	cell = strndup(text ? text : "", CELL_MAX);
	if (!cell) {
		t->failed = true;
		return;
	}
	tame(cell);
	for (unsigned char *p = (unsigned char *)cell; *p; p++)
		width += (*p & 0xc0) != 0x80; /* characters, not bytes */
	t->cells[t->len++] = cell;
	if (width > t->widths[column])
		t->widths[column] = width;
}

struct cm_table *cm_table_new(const char *const *headings, size_t n)
{
	struct cm_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = n;
	for (size_t i = 0; i < n; i++) {
		t->right[i] = headings[i][0] == '>';
		add_cell(t, headings[i] + (t->right[i] ? 1 : 0));
	}
	return t;
}

void cm_table_row(struct cm_table *t, const char *const *cells)
{
	for (size_t i = 0; t && !t->failed && i < t->columns; i++)
		add_cell(t, cells[i]);
}

static void print_cell(const struct cm_table *t, size_t at)
{
	const char *text = t->cells[at];
	size_t column = at % t->columns, width = 0, pad;

	for (const char *p = text; *p; p++)
		width += (*p & 0xc0) != 0x80;
	pad = t->widths[column] - width;
	if (t->right[column])
		printf("%*s%s", (int)pad, "", text);
	else if (column + 1 < t->columns)
		printf("%s%*s", text, (int)pad, "");
	else
		fputs(text, stdout);
	fputs(column + 1 < t->columns ? "  " : "\n", stdout);
}

void cm_table_free(struct cm_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->len; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

bool cm_table_print(struct cm_table *t)
{
	bool good = t && !t->failed;

	for (size_t i = 0; good && i < t->len; i++)
		print_cell(t, i);
	cm_table_free(t);
	return fflush(stdout) == 0 && good;
}
