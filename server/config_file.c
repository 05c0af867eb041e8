/*
 * config_file.c - the configuration file: `key = value` lines, by inih.
 *
 * inih gets one line at a time from next_line(), so that the line's number is
 * known to the handler, and a line too long for inih, which it would silently
 * take apart, is refused.
 */
#include <ini.h>
#include <string.h>

#include "config_table.h"

#define LINE_MAX_LEN 190 /* inih's buffer is 200 */

struct source {
	const char *at, *end;
	const char *name;
	size_t line;
	bool seen[64]; /* by index in cm_settings */
	struct cm_config *config;
	struct cm_error *err;
	int rc; /* of the first failure */
};

/* fgets() over the text; notes a line that does not fit. */
static char *next_line(char *out, int size, void *stream)
{
	struct source *src = stream;
	const char *newline;
	size_t len;

	if (src->at == src->end || src->rc < 0)
		return NULL;
	src->line++;
	newline = memchr(src->at, '\n', (size_t)(src->end - src->at));
	len = (size_t)((newline ? newline : src->end) - src->at);
	if (len > LINE_MAX_LEN || len >= (size_t)size ||
	    memchr(src->at, '\0', len)) {
		src->rc = cm_error_set(src->err, CM_ERR_INVALID,
				       "%s:%zu: line of over %d bytes, or no "
				       "text",
				       src->name, src->line, LINE_MAX_LEN);
		return NULL;
	}
	memcpy(out, src->at, len);
	out[len] = '\0';
	src->at += len + (newline != NULL);
	return out;
}

static int unknown(struct source *src, const char *key)
{
	const struct cm_setting *near = cm_setting_near(key);

	return cm_error_set(src->err, CM_ERR_INVALID,
			    "%s:%zu: unknown setting \"%.64s\"%s%s%s",
			    src->name, src->line, key,
			    near ? ", did you mean \"" : "",
			    near ? near->name : "", near ? "\"?" : "");
}

static int apply(struct source *src, const char *key, const char *value)
{
	const struct cm_setting *s = cm_setting_find(key);
	size_t index;

	if (!s)
		return unknown(src, key);
	index = (size_t)(s - cm_settings);
	if (src->seen[index] && s->kind != CM_SETTING_QUOTAS)
		return cm_error_set(src->err, CM_ERR_INVALID,
				    "%s:%zu: \"%s\" is set twice", src->name,
				    src->line, key);
	src->seen[index] = true;
	if (cm_setting_apply(s, value, src->config, src->err) < 0)
		return cm_error_wrap(src->err, "%s:%zu: %s", src->name,
				     src->line, key);
	return 0;
}

/* For inih: 1 to go on, 0 for an error. */
static int on_setting(void *user, const char *section, const char *key,
		      const char *value)
{
	struct source *src = user;

	if (src->rc < 0)
		return 0;
	if (*section)
		src->rc = cm_error_set(src->err, CM_ERR_INVALID,
				       "%s:%zu: sections are not used here: "
				       "remove [%.64s]",
				       src->name, src->line, section);
	else
		src->rc = apply(src, key, value ? value : "");
	return src->rc == 0;
}

int cm_config_parse_file(const char *text, size_t len, const char *name,
			 struct cm_config *config, struct cm_error *err)
{
	struct cm_error scratch;
	struct source src = {
		.at = text,
		.end = text + len,
		.name = name,
		.config = config,
		.err = err ? err : &scratch,
	};
	int bad_line;

	_Static_assert(sizeof(src.seen) >= 32, "room for every setting");
	bad_line = ini_parse_stream(next_line, &src, on_setting, &src);
	if (src.rc == 0 && bad_line > 0)
		return cm_error_set(src.err, CM_ERR_INVALID,
				    "%s:%d: expected \"key = value\"", name,
				    bad_line);
	if (src.rc == 0 && bad_line < 0)
		return cm_error_nomem(src.err);
	return src.rc;
}
