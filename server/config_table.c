/* config_table.c - what can be set, and how a value of each kind is read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/cleanup.h>
#include <cachemount/units.h>

#include "config_table.h"
#include "request.h"

#define SECOND 1000LL
#define HOUR   (3600 * SECOND)
#define YEAR   (365 * 24 * HOUR)

#define RATE_MAX (1LL << 40)
#define MEBIBYTE (1LL << 20)

#define NAME_MAX_LEN	32
#define NEAR_EDITS	2
#define ORIGIN_HOST_MAX 255 /* bytes, with the port */

static const struct cm_choice log_formats[] = {
	{"auto", CM_LOG_AUTO},
	{"json", CM_LOG_JSON},
	{"text", CM_LOG_TEXT},
	{NULL, 0},
};

static const struct cm_choice log_levels[] = {
	{"debug", CM_LOG_DEBUG},
	{"info", CM_LOG_INFO},
	{"warn", CM_LOG_WARN},
	{"error", CM_LOG_ERROR},
	{NULL, 0},
};

static const struct cm_choice anonymous_words[] = {
	{"pull", CM_PERM_PULL},
	{"push", CM_PERM_PULL | CM_PERM_PUSH},
	{NULL, 0},
};

#define MEMBER(m) offsetof(struct cm_config, m)

/* In the order of the help text. */
const struct cm_setting cm_settings[] = {
	{"data", CM_SETTING_TEXT, MEMBER(data), 0, 0, NULL, NULL, "DIR",
	 "where everything is kept (/var/lib/cachemount for\n"
	 "root, else cachemount in $XDG_DATA_HOME or\n"
	 "~/.local/share)"},
	{"listen", CM_SETTING_TEXT, MEMBER(listen), 0, 0, NULL,
	 "127.0.0.1:8080", "ADDR:PORT",
	 "address to serve, such as [::1]:8080; port 0\n"
	 "picks a free one and prints it"},
	{"metrics-listen", CM_SETTING_TEXT, MEMBER(metrics_listen), 0, 0, NULL,
	 NULL, "ADDR:PORT",
	 "also serve /metrics and the probes here, to\n"
	 "everyone; else only admins get /metrics"},
	{"token-file", CM_SETTING_TEXT, MEMBER(token_file), 0, 0, NULL, NULL,
	 "FILE",
	 "named tokens and what each may do; read again\n"
	 "when it changes"},
	{"allow-anonymous", CM_SETTING_CHOICE, MEMBER(anonymous), 0, 0,
	 anonymous_words, NULL, "pull|push",
	 "what a client without a token may do; push\n"
	 "includes pull"},
	{"public-url", CM_SETTING_ORIGIN, MEMBER(public_url), 0, 0, NULL, NULL,
	 "URL",
	 "where clients reach this server, such as\n"
	 "https://cache.example; what they use, unless said"},
	{"max-size", CM_SETTING_SIZE, MEMBER(max_bytes), MEBIBYTE, INT64_MAX,
	 NULL, "auto", "SIZE",
	 "limit on disk, such as 100GiB; what was used\n"
	 "least recently goes. auto: 90 % of what is free\n"
	 "or ours at the start; or none"},
	{"high-watermark", CM_SETTING_COUNT, MEMBER(high_percent), 2, 100, NULL,
	 "95", "PERCENT", "of --max-size: from there on, evict"},
	{"low-watermark", CM_SETTING_COUNT, MEMBER(low_percent), 1, 99, NULL,
	 "90", "PERCENT", "of --max-size: down to there"},
	{"quota", CM_SETTING_QUOTAS, MEMBER(quotas), 0, 0, NULL, NULL,
	 "SCOPE=SIZE",
	 "what the repositories of a scope may reference;\n"
	 "repeatable, or a list with commas"},
	{"workers", CM_SETTING_COUNT, MEMBER(workers), 1, 1024, NULL, "32", "N",
	 "threads for requests that wait for the disk"},
	{"max-connections", CM_SETTING_COUNT, MEMBER(max_connections), 16,
	 1000000, NULL, "16384", "N", "connections open at once"},
	{"lease", CM_SETTING_DURATION, MEMBER(lease_ms), SECOND, YEAR, NULL,
	 "1h", "TIME", "how long a blob stays once a client saw it"},
	{"upload-ttl", CM_SETTING_DURATION, MEMBER(upload_ttl_ms), SECOND, YEAR,
	 NULL, "24h", "TIME", "how long an idle upload can be resumed"},
	{"drain-timeout", CM_SETTING_DURATION, MEMBER(drain_timeout_ms), 0,
	 HOUR, NULL, "30s", "TIME", "how long transfers go on after SIGTERM"},
	{"scrub-rate", CM_SETTING_RATE, MEMBER(scrub_rate), 0, RATE_MAX, NULL,
	 "8MiB/s", "SIZE/s",
	 "how fast stored bytes are read again, to find\n"
	 "damage; 0: not at all"},
	{"scrub-every", CM_SETTING_DURATION, MEMBER(scrub_every_ms), SECOND,
	 YEAR, NULL, "7d", "TIME", "how often all of them are"},
	{"backup-every", CM_SETTING_DURATION, MEMBER(backup_every_ms), 0, YEAR,
	 NULL, "6h", "TIME", "how often the index is backed up; 0: never"},
	{"backup-keep", CM_SETTING_COUNT, MEMBER(backup_keep), 1, 100, NULL,
	 "2", "N", "backups to keep, the newest"},
	{"log-format", CM_SETTING_CHOICE, MEMBER(log_format), 0, 0, log_formats,
	 "auto", "FORMAT", "json, text; auto: text on a terminal"},
	{"log-level", CM_SETTING_CHOICE, MEMBER(log_level), 0, 0, log_levels,
	 "info", "LEVEL", "debug, info, warn or error"},
	{"access-log", CM_SETTING_SWITCH, MEMBER(access_log), 0, 0, NULL, "on",
	 "on|off", "one line a request"},
};

const size_t cm_settings_len = sizeof(cm_settings) / sizeof(cm_settings[0]);

const struct cm_setting *cm_setting_find(const char *name)
{
	for (size_t i = 0; i < cm_settings_len; i++)
		if (strcmp(cm_settings[i].name, name) == 0)
			return &cm_settings[i];
	return NULL;
}

/* Edits (insert, remove, replace a byte) between two short names. */
static size_t edits(const char *a, const char *b)
{
	size_t row[NAME_MAX_LEN + 1], la = strlen(a), lb = strlen(b);
	size_t diagonal, above, best;

	if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			above = row[j];
			best = diagonal + (a[i - 1] != b[j - 1]);
			best = above + 1 < best ? above + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			diagonal = above;
			row[j] = best;
		}
	}
	return row[lb];
}

const struct cm_setting *cm_setting_near(const char *name)
{
	for (size_t i = 0; i < cm_settings_len; i++)
		if (edits(name, cm_settings[i].name) <= NEAR_EDITS)
			return &cm_settings[i];
	return NULL;
}

static int apply_text(const char *value, char **member, struct cm_error *err)
{
	char *copy;

	if (!*value)
		return cm_error_set(err, CM_ERR_INVALID, "must not be empty");
	copy = strdup(value);
	if (!copy)
		return cm_error_nomem(err);
	free(*member);
	*member = copy;
	return 0;
}

/* A scheme and a host, with a port or without; nothing goes behind them. */
static int apply_origin(const char *value, char **member, struct cm_error *err)
{
	size_t scheme = strncmp(value, "https://", 8) == 0  ? 8
			: strncmp(value, "http://", 7) == 0 ? 7
							    : 0;
	size_t host = strspn(value + scheme, "abcdefghijklmnopqrstuvwxyz"
					     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					     "0123456789-._:[]");
	const char *rest = value + scheme + host;
	int rc;

	if (scheme == 0 || host == 0 || host > ORIGIN_HOST_MAX ||
	    (*rest && strcmp(rest, "/") != 0))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no http://HOST[:PORT] or "
				    "https://HOST[:PORT]",
				    value);
	rc = apply_text(value, member, err);
	if (rc < 0)
		return rc;
	(*member)[scheme + host] = '\0';
	return 0;
}

static int apply_count(const struct cm_setting *s, const char *value,
		       int64_t *member, struct cm_error *err)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (errno != 0 || end == value || *end || n < s->min || n > s->max)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no number from %lld to %lld",
				    value, (long long)s->min,
				    (long long)s->max);
	*member = n;
	return 0;
}

static int apply_duration(const struct cm_setting *s, const char *value,
			  int64_t *member, struct cm_error *err)
{
	char min[CM_DURATION_TEXT_SIZE], max[CM_DURATION_TEXT_SIZE];
	int64_t ms;
	int rc = cm_duration_parse(value, &ms, err);

	if (rc < 0)
		return rc;
	if (ms < s->min || ms > s->max)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is not between %s and %s", value,
				    cm_duration_format(s->min, min),
				    cm_duration_format(s->max, max));
	*member = ms;
	return 0;
}

/* "8MiB/s"; the "/s" may be left out. */
static int apply_rate(const struct cm_setting *s, const char *value,
		      int64_t *member, struct cm_error *err)
{
	size_t len = strlen(value);
	int64_t bytes = -1;
	char text[32];

	if (len > 2 && strcmp(value + len - 2, "/s") == 0)
		len -= 2;
	snprintf(text, sizeof(text), "%.*s", (int)len, value);
	if (len >= sizeof(text) || cm_size_parse(text, &bytes, NULL) < 0 ||
	    bytes < s->min || bytes > s->max)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is no rate such as 8MiB/s",
				    value);
	*member = bytes;
	return 0;
}

static int apply_size(const struct cm_setting *s, const char *value,
		      int64_t *member, struct cm_error *err)
{
	char min[CM_SIZE_TEXT_SIZE];
	int64_t bytes;
	int rc;

	if (strcmp(value, "auto") == 0 || strcmp(value, "none") == 0) {
		*member = *value == 'a' ? CM_MAX_BYTES_AUTO : CM_MAX_BYTES_NONE;
		return 0;
	}
	rc = cm_size_parse(value, &bytes, err);
	if (rc < 0)
		return rc;
	if (bytes < s->min)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is less than %s", value,
				    cm_size_format(s->min, min));
	*member = bytes;
	return 0;
}

static int apply_choice(const struct cm_setting *s, const char *value,
			int *member, struct cm_error *err)
{
	char words[128] = "";

	for (const struct cm_choice *c = s->choices; c->word; c++) {
		if (strcmp(c->word, value) == 0) {
			*member = c->value;
			return 0;
		}
		strcat(words, *words ? ", " : "");
		strcat(words, c->word);
	}
	return cm_error_set(err, CM_ERR_INVALID, "\"%.64s\" is none of %s",
			    value, words);
}

static int apply_switch(const char *value, bool *member, struct cm_error *err)
{
	bool on = strcmp(value, "on") == 0;

	if (!on && strcmp(value, "off") != 0)
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.64s\" is neither on nor off", value);
	*member = on;
	return 0;
}

int cm_setting_apply(const struct cm_setting *s, const char *value,
		     struct cm_config *config, struct cm_error *err)
{
	void *member = (char *)config + s->offset;

	if (s->offset == MEMBER(anonymous))
		config->anonymous_set = true;
	switch (s->kind) {
	case CM_SETTING_TEXT:
		return apply_text(value, member, err);
	case CM_SETTING_ORIGIN:
		return apply_origin(value, member, err);
	case CM_SETTING_COUNT:
		return apply_count(s, value, member, err);
	case CM_SETTING_DURATION:
		return apply_duration(s, value, member, err);
	case CM_SETTING_RATE:
		return apply_rate(s, value, member, err);
	case CM_SETTING_CHOICE:
		return apply_choice(s, value, member, err);
	case CM_SETTING_SWITCH:
		return apply_switch(value, member, err);
	case CM_SETTING_SIZE:
		return apply_size(s, value, member, err);
	case CM_SETTING_QUOTAS:
		return cm_setting_apply_quotas(value, config, err);
	}
	return cm_error_set(err, CM_ERR_INTERNAL, "setting of no kind");
}
