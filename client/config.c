/*
 * config.c - settings from flags, environment and files.
 *
 * A secret is never a setting: only the name of the file that holds it is.
 * Values in the environment that hold "://" without being the server's address
 * are not ours: Kubernetes writes CACHEMOUNT_PORT=tcp://… for a Service of
 * our name. We read exact names only, none of which Kubernetes makes.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>
#include <cachemount/names.h>
#include <cachemount/protocol.h>
#include <cachemount/units.h>

#include "config.h"

#define FILE_MAX    (64 << 10)
#define TOKEN_MAX   4096
#define SECRET_FILE "/run/secrets/cachemount-token"
#define SYSTEM_FILE "/etc/cachemount/cachectl.conf"
#define JOBS_MAX    64

const struct cm_setting_info cm_settings[CM_SETTINGS_LEN] = {
	[CM_SET_SERVER] = {"server", "URL", CM_DEFAULT_URL,
			   "the cache, http://HOST:PORT"},
	[CM_SET_SCOPE] = {"scope", "SCOPE", "main",
			  "where to read and write, such as main or pr-12"},
	[CM_SET_FALLBACK] = {"fallback", "SCOPE,...", NULL,
			     "scopes to read when the own one has nothing"},
	[CM_SET_TOKEN_FILE] = {"token-file", "FILE", NULL,
			       "file with the token; /run/secrets/"
			       "cachemount-token is found by itself"},
	[CM_SET_CA_FILE] = {"ca-file", "FILE", NULL,
			    "certificates to trust, PEM"},
	[CM_SET_CONNECT_TIMEOUT] = {"connect-timeout", "TIME", "1s",
				    "give the cache up when it does not "
				    "answer for so long"},
	[CM_SET_STALL_TIMEOUT] = {"stall-timeout", "TIME", "5s",
				  "give it up when no byte moves for so "
				  "long"},
	[CM_SET_JOBS] = {"jobs", "N", "0",
			 "connections and threads; 0: by cores"},
	[CM_SET_STRICT] = {"strict", NULL, "no",
			   "let failures of the cache fail the command"},
};

int cm_config_set(struct cm_config *c, enum cm_setting which, const char *value,
		  const char *origin, struct cm_error *err)
{
	if (c->values[which])
		return 0;
	c->values[which] = strdup(value);
	c->origins[which] = strdup(origin);
	if (!c->values[which] || !c->origins[which])
		return cm_error_nomem(err);
	return 0;
}

/* ---- files ----------------------------------------------------------- */

struct ini_state {
	struct cm_config *config;
	const char *origin;
	struct cm_error *err;
	int result;
	bool seen[CM_SETTINGS_LEN];
};

static int ini_value(void *arg, const char *section, const char *name,
		     const char *value)
{
	struct ini_state *s = arg;

	if (s->result < 0)
		return 1;
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++) {
		if (section[0] || strcmp(cm_settings[i].name, name) != 0)
			continue;
		if (s->seen[i])
			s->result = cm_error_set(s->err, CM_ERR_INVALID,
						 "%s: %s is set twice, or "
						 "goes on in the next line",
						 s->origin, name);
		else
			s->result = cm_config_set(s->config, (enum cm_setting)i,
						  value, s->origin, s->err);
		s->seen[i] = true;
		return 1;
	}
	s->result = cm_error_set(s->err, CM_ERR_INVALID,
				 "%s: there is no setting \"%.60s\"%s; see "
				 "cachectl help",
				 s->origin, name,
				 section[0] ? " in a section" : "");
	return 1;
}

int cm_config_read(struct cm_config *c, const char *text, const char *origin,
		   struct cm_error *err)
{
	struct ini_state s = {.config = c, .origin = origin, .err = err};
	int line = ini_parse_string(text, ini_value, &s);

	if (s.result < 0)
		return s.result;
	if (line != 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s: line %d is not of the form \"name = "
				    "value\"",
				    origin, line);
	return 0;
}

/* Reads a small file whole; caller frees. CM_ERR_NOT_FOUND if it is absent. */
static int read_file(const char *path, size_t max, char **ret,
		     struct cm_error *err)
{
	cm_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cm_autofree char *text = malloc(max + 1);
	size_t len = 0;
	ssize_t n;

	if (!text)
		return cm_error_nomem(err);
	if (fd < 0)
		return cm_error_errno(err, "cannot open %s", path);
	while (len < max && (n = read(fd, text + len, max - len)) != 0) {
		if (n < 0)
			return cm_error_errno(err, "cannot read %s", path);
		len += (size_t)n;
	}
	if (len == max)
		return cm_error_set(err, CM_ERR_SIZE,
				    "%s has %zu bytes or more", path, max);
	if (memchr(text, '\0', len))
		return cm_error_set(err, CM_ERR_INVALID, "%s holds a NUL byte",
				    path);
	text[len] = '\0';
	*ret = cm_take_ptr(text);
	return 0;
}

static int read_config_file(struct cm_config *c, const char *path, bool needed,
			    struct cm_error *err)
{
	cm_autofree char *text = NULL;
	struct cm_error why = {0};
	int r = read_file(path, FILE_MAX, &text, &why);

	/* $HOME may be another user's, or no folder at all. */
	if (!needed && (why.os_errno == ENOENT || why.os_errno == EACCES ||
			why.os_errno == ENOTDIR))
		return 0;
	if (r < 0 && err)
		*err = why;
	return r < 0 ? r : cm_config_read(c, text, path, err);
}

/* $CACHEMOUNT_CONFIG alone, else the user's file and the system's. */
static int read_config_files(struct cm_config *c, struct cm_error *err)
{
	const char *named = getenv("CACHEMOUNT_CONFIG");
	const char *xdg = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	cm_autofree char *path = NULL;
	int r = 0;

	if (named && named[0])
		return read_config_file(c, named, true, err);
	if (xdg && xdg[0] == '/')
		r = asprintf(&path, "%s/cachemount/cachectl.conf", xdg);
	else if (home && home[0] == '/')
		r = asprintf(&path, "%s/.config/cachemount/cachectl.conf",
			     home);
	if (r < 0) {
		path = NULL;
		return cm_error_nomem(err);
	}
	r = path ? read_config_file(c, path, false, err) : 0;
	return r < 0 ? r : read_config_file(c, SYSTEM_FILE, false, err);
}

/* ---- environment and built-in values ------------------------------------ */

static int read_environment(struct cm_config *c, struct cm_error *err)
{
	char name[64], origin[96];
	const char *value;
	int r = 0;

	for (size_t i = 0; r == 0 && i < CM_SETTINGS_LEN; i++) {
		snprintf(name, sizeof(name), "CACHEMOUNT_%s",
			 cm_settings[i].name);
		for (char *p = name; *p; p++)
			*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
		value = getenv(name);
		if (!value || !value[0])
			continue;
		snprintf(origin, sizeof(origin), "environment %s", name);
		r = cm_config_set(c, (enum cm_setting)i, value, origin, err);
	}
	return r;
}

static int fill_defaults(struct cm_config *c, struct cm_error *err)
{
	int r = 0;

	if (access(SECRET_FILE, R_OK) == 0)
		r = cm_config_set(c, CM_SET_TOKEN_FILE, SECRET_FILE, "found",
				  err);
	for (size_t i = 0; r == 0 && i < CM_SETTINGS_LEN; i++)
		if (cm_settings[i].fallback)
			r = cm_config_set(c, (enum cm_setting)i,
					  cm_settings[i].fallback, "built in",
					  err);
	return r;
}

/* ---- checking -------------------------------------------------------- */

static int wrong(const struct cm_config *c, enum cm_setting which,
		 struct cm_error *err)
{
	return cm_error_wrap(err, "%s (%s)", cm_settings[which].name,
			     c->origins[which]);
}

static int check_duration(const struct cm_config *c, enum cm_setting which,
			  int64_t *ret, struct cm_error *err)
{
	int r = cm_duration_parse(c->values[which], ret, err);

	if (r == 0 && *ret < 1)
		r = cm_error_set(err, CM_ERR_INVALID,
				 "a time limit of 0 lets nothing through");
	return r < 0 ? wrong(c, which, err) : 0;
}

static int check_jobs(struct cm_config *c, struct cm_error *err)
{
	const char *text = c->values[CM_SET_JOBS];
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 0 || n > JOBS_MAX) {
		cm_error_set(err, CM_ERR_INVALID,
			     "\"%.20s\" is no number from 0 to %d", text,
			     JOBS_MAX);
		return wrong(c, CM_SET_JOBS, err);
	}
	c->jobs = (unsigned)n;
	return 0;
}

static int check_strict(struct cm_config *c, struct cm_error *err)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};
	const char *text = c->values[CM_SET_STRICT];

	for (size_t i = 0; i < 4; i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			c->strict = strcmp(text, yes[i]) == 0;
			return 0;
		}
	}
	cm_error_set(err, CM_ERR_INVALID, "\"%.20s\" is neither yes nor no",
		     text);
	return wrong(c, CM_SET_STRICT, err);
}

static int check_scope(const struct cm_config *c, enum cm_setting which,
		       const char *scope, struct cm_error *err)
{
	if (cm_repository_valid(scope, strlen(scope)) && strlen(scope) <= 128)
		return 0;
	cm_error_set(err, CM_ERR_INVALID,
		     "\"%.60s\" is no scope: lower-case letters, digits and "
		     "single . _ - / between them, at most 128",
		     scope);
	return wrong(c, which, err);
}

static int split_fallbacks(struct cm_config *c, struct cm_error *err)
{
	const char *text = c->values[CM_SET_FALLBACK];
	cm_autofree char *copy = text ? strdup(text) : NULL;
	char *save = NULL;
	int r = 0;

	if (text && !copy)
		return cm_error_nomem(err);
	for (char *s = copy ? strtok_r(copy, ", ", &save) : NULL; s && r == 0;
	     s = strtok_r(NULL, ", ", &save)) {
		if (c->fallbacks_len == CM_FALLBACKS_MAX)
			return cm_error_set(err, CM_ERR_INVALID,
					    "fallback names more than %d "
					    "scopes",
					    CM_FALLBACKS_MAX);
		r = check_scope(c, CM_SET_FALLBACK, s, err);
		if (r < 0)
			return r;
		c->fallback_scopes[c->fallbacks_len] = strdup(s);
		if (!c->fallback_scopes[c->fallbacks_len++])
			return cm_error_nomem(err);
	}
	return r;
}

int cm_config_finish(struct cm_config *c, struct cm_error *err)
{
	int r = read_environment(c, err);

	if (r == 0)
		r = read_config_files(c, err);
	if (r == 0)
		r = fill_defaults(c, err);
	if (r == 0)
		r = check_duration(c, CM_SET_CONNECT_TIMEOUT, &c->connect_ms,
				   err);
	if (r == 0)
		r = check_duration(c, CM_SET_STALL_TIMEOUT, &c->stall_ms, err);
	if (r == 0)
		r = check_jobs(c, err);
	if (r == 0)
		r = check_strict(c, err);
	if (r == 0)
		r = check_scope(c, CM_SET_SCOPE, c->values[CM_SET_SCOPE], err);
	if (r == 0)
		r = split_fallbacks(c, err);
	return r;
}

int cm_config_token(struct cm_config *c, struct cm_error *err)
{
	const char *path = c->values[CM_SET_TOKEN_FILE];
	cm_autofree char *text = NULL;
	int r;

	if (!path || c->token)
		return 0;
	r = read_file(path, TOKEN_MAX, &text, err);
	if (r < 0)
		return wrong(c, CM_SET_TOKEN_FILE, err);
	text[strcspn(text, "\r\n")] = '\0';
	if (text[0]) {
		c->token = cm_take_ptr(text);
		return 0;
	}
	cm_error_set(err, CM_ERR_INVALID, "%s holds no token in its first line",
		     path);
	return wrong(c, CM_SET_TOKEN_FILE, err);
}

void cm_config_release(struct cm_config *c)
{
	for (size_t i = 0; i < CM_SETTINGS_LEN; i++) {
		free(c->values[i]);
		free(c->origins[i]);
	}
	for (size_t i = 0; i < c->fallbacks_len; i++)
		free(c->fallback_scopes[i]);
	free(c->token);
	memset(c, 0, sizeof(*c));
}
