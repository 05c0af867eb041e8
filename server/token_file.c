/* token_file.c - parsing the file of tokens, and making a line of it. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/names.h>

#include "request.h"
#include "token_file.h"

#define SECRET_BYTES 32
#define FIELDS	     4

static const struct {
	const char *name;
	unsigned bit;
} permission_names[] = {
	{"pull", CM_PERM_PULL},
	{"push", CM_PERM_PUSH},
	{"delete", CM_PERM_DELETE},
	{"admin", CM_PERM_ADMIN},
};

static unsigned permission_bit(const char *word, size_t len)
{
	for (size_t i = 0; i < 4; i++)
		if (strlen(permission_names[i].name) == len &&
		    memcmp(permission_names[i].name, word, len) == 0)
			return permission_names[i].bit;
	return 0;
}

int cm_permissions_parse(const char *text, unsigned *ret, struct cm_error *err)
{
	unsigned set = 0, bit;
	size_t len;

	do {
		len = strcspn(text, ",");
		bit = permission_bit(text, len);
		if (bit == 0)
			return cm_error_set(err, CM_ERR_INVALID,
					    "\"%.*s\" is no permission: use "
					    "pull, push, delete or admin",
					    (int)(len > 32 ? 32 : len), text);
		set |= bit;
		text += len;
	} while (*text++ == ',');
	*ret = set;
	return 0;
}

bool cm_token_name_valid(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789._@-");

	return len > 0 && len <= CM_TOKEN_NAME_MAX && name[len] == '\0';
}

/* Cuts a line into words; returns how many, at most FIELDS + 1. */
static size_t cut(char *line, char *words[static FIELDS + 1])
{
	char *save = NULL, *word;
	size_t n = 0;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, " \t\r", &save);
	while (word && n <= FIELDS) {
		words[n++] = word;
		word = strtok_r(NULL, " \t\r", &save);
	}
	return n;
}

/* Checks the words of a line and fills the grant's plain fields. */
static int check_words(char *words[static FIELDS], struct cm_grant *g,
		       struct cm_error *err)
{
	int rc;

	if (!cm_token_name_valid(words[0]))
		return cm_error_set(err, CM_ERR_INVALID,
				    "a name has 1 to %d letters, digits or "
				    "\"._@-\"",
				    CM_TOKEN_NAME_MAX);
	rc = cm_permissions_parse(words[1], &g->permissions, err);
	if (rc < 0)
		return rc;
	if (!cm_repository_pattern_valid(words[2]))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no pattern: use ** or main/**"
				    " or main/*, or one repository",
				    words[2]);
	if (cm_digest_parse(words[3], strlen(words[3]), &g->hash, NULL) < 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "the fourth word must be sha256: and 64 "
				    "lower-case hex digits");
	return 0;
}

/* Numbers the secret: that of an earlier line with the same hash, or new. */
static int number_secret(const struct cm_tokens *t, struct cm_grant *g,
			 struct cm_error *err)
{
	g->secret = t->len;
	for (size_t i = 0; i < t->len; i++) {
		if (!cm_digest_equal(&t->grants[i].hash, &g->hash))
			continue;
		if (strcmp(t->grants[i].name, g->name) != 0)
			return cm_error_set(err, CM_ERR_INVALID,
					    "%s and %s have the same secret",
					    t->grants[i].name, g->name);
		g->secret = t->grants[i].secret;
		return 0;
	}
	return 0;
}

static int parse_line(char *line, struct cm_tokens *t, struct cm_error *err)
{
	struct cm_grant *g = &t->grants[t->len];
	char *words[FIELDS + 1];
	size_t n = cut(line, words);
	int rc;

	if (n == 0)
		return 0;
	if (n != FIELDS)
		return cm_error_set(err, CM_ERR_INVALID,
				    "expected NAME PERMISSIONS PATTERN "
				    "sha256:HEX");
	rc = check_words(words, g, err);
	if (rc < 0)
		return rc;
	g->name = strdup(words[0]);
	g->pattern = strdup(words[2]);
	t->len++; /* from here on cm_tokens_unref() frees both */
	if (!g->name || !g->pattern)
		return cm_error_nomem(err);
	t->len--;
	rc = number_secret(t, g, err);
	t->len++;
	return rc;
}

static size_t count_lines(const char *text)
{
	size_t n = 1;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

static int parse_lines(char *text, const char *file, struct cm_tokens *t,
		       struct cm_error *err)
{
	size_t line = 0;
	char *end;
	int rc;

	for (char *at = text; at; at = end) {
		line++;
		end = strchr(at, '\n');
		if (end)
			*end++ = '\0';
		rc = parse_line(at, t, err);
		if (rc < 0) {
			cm_error_wrap(err, "%s:%zu", file, line);
			return rc;
		}
	}
	return 0;
}

int cm_tokens_parse(const char *text, size_t len, const char *file,
		    struct cm_tokens **ret, struct cm_error *err)
{
	cm_auto(tokens) struct cm_tokens *t = NULL;
	cm_autofree char *copy = NULL;
	size_t lines;
	int rc;

	if (len > CM_TOKEN_FILE_MAX || memchr(text, '\0', len))
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s: too long, or no text file", file);
	copy = strndup(text, len);
	if (!copy)
		return cm_error_nomem(err);
	lines = count_lines(copy);
	if (lines > CM_TOKEN_GRANTS_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s: more than %d lines", file,
				    CM_TOKEN_GRANTS_MAX);
	t = calloc(1, sizeof(*t) + lines * sizeof(t->grants[0]));
	if (!t)
		return cm_error_nomem(err);
	t->references = 1;
	rc = parse_lines(copy, file, t, err);
	if (rc < 0)
		return rc;
	*ret = cm_take_ptr(t);
	return 0;
}

/* Reads a whole file of bounded size. Caller frees `ret`. */
static int read_file(const char *file, char **ret, size_t *ret_len,
		     struct cm_error *err)
{
	cm_autofree char *text = NULL;
	cm_autofd int fd = -1;
	struct stat st;
	size_t got = 0;
	ssize_t n;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cm_error_errno(err, "cannot read %s", file);
	if (!S_ISREG(st.st_mode) || st.st_size > CM_TOKEN_FILE_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s: no regular file of at most %d bytes",
				    file, CM_TOKEN_FILE_MAX);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return cm_error_nomem(err);
	while (got < (size_t)st.st_size) {
		n = read(fd, text + got, (size_t)st.st_size - got);
		if (n < 0)
			return cm_error_errno(err, "cannot read %s", file);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	*ret_len = got;
	*ret = cm_take_ptr(text);
	return 0;
}

int cm_tokens_load(const char *file, struct cm_tokens **ret,
		   struct cm_error *err)
{
	cm_autofree char *text = NULL;
	size_t len = 0;
	int rc = read_file(file, &text, &len, err);

	return rc < 0 ? rc : cm_tokens_parse(text, len, file, ret, err);
}

struct cm_tokens *cm_tokens_ref(struct cm_tokens *t)
{
	__atomic_add_fetch(&t->references, 1, __ATOMIC_RELAXED);
	return t;
}

void cm_tokens_unref(struct cm_tokens *t)
{
	if (!t || __atomic_sub_fetch(&t->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < t->len; i++) {
		free(t->grants[i].name);
		free(t->grants[i].pattern);
	}
	free(t);
}

/* base64url without padding (RFC 4648 §5) of exactly SECRET_BYTES bytes. */
static void encode_secret(const uint8_t bytes[static SECRET_BYTES], char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned bits = 0, held = 0;

	for (size_t i = 0; i < SECRET_BYTES; i++) {
		held = held << 8 | bytes[i];
		for (bits += 8; bits >= 6; bits -= 6)
			*out++ = digits[held >> (bits - 6) & 63];
	}
	*out++ = digits[held << (6 - bits) & 63];
	*out = '\0';
}

int cm_token_make(const char *name, const char *permissions,
		  const char *pattern,
		  char ret_secret[static CM_TOKEN_SECRET_SIZE], char *ret_line,
		  size_t line_size, struct cm_error *err)
{
	static const size_t prefix = sizeof(CM_TOKEN_SECRET_PREFIX) - 1;
	char digest[CM_DIGEST_TEXT_SIZE];
	uint8_t bytes[SECRET_BYTES];
	struct cm_digest hash;
	unsigned set;
	int rc, n;

	if (!cm_token_name_valid(name))
		return cm_error_set(err, CM_ERR_INVALID,
				    "a token's name has 1 to %d letters, "
				    "digits or \"._@-\"",
				    CM_TOKEN_NAME_MAX);
	if (!cm_repository_pattern_valid(pattern))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no pattern of repositories",
				    pattern);
	rc = cm_permissions_parse(permissions, &set, err);
	if (rc < 0)
		return rc;
	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return cm_error_set(err, CM_ERR_INTERNAL,
				    "no random bytes to be had");
	memcpy(ret_secret, CM_TOKEN_SECRET_PREFIX, prefix);
	encode_secret(bytes, ret_secret + prefix);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	rc = cm_digest_of(ret_secret, strlen(ret_secret), &hash, err);
	if (rc < 0)
		return rc;
	n = snprintf(ret_line, line_size, "%s %s %s %s\n", name, permissions,
		     pattern, cm_digest_format(&hash, digest));
	return n > 0 && (size_t)n < line_size
		       ? 0
		       : cm_error_set(err, CM_ERR_SIZE, "line too long");
}
