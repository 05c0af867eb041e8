/*
 * cli.c - options, failures and the administration API, for all verbs.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cachemount/digest.h>
#include <cachemount/protocol.h>

#include "cli.h"
#include "output.h"

#define PAGE	  1000
#define PAGES_MAX 10000

/* ---- options ----------------------------------------------------------- */

enum {
	KEY_SETTING = 1, /* + number of the setting */
	KEY_JSON = 'j',
	KEY_QUIET = 'q',
	KEY_VERBOSE = 'v',
};

static const struct cm_option global_options[] = {
	{'j', "json", NULL, ""},    {'q', "quiet", NULL, ""},
	{'v', "verbose", NULL, ""}, {'C', "no-color", NULL, ""},
	{'h', "help", NULL, ""},    {0, NULL, NULL, NULL},
};

static const struct cm_option *find_long(const struct cm_option *options,
					 const char *name, size_t len)
{
	for (; options && options->name; options++)
		if (strlen(options->name) == len &&
		    memcmp(options->name, name, len) == 0)
			return options;
	return NULL;
}

static const struct cm_option *find_short(const struct cm_option *options,
					  char key)
{
	for (; options && options->name; options++)
		if (options->key == key && isalpha((unsigned char)key))
			return options;
	return NULL;
}

static int find_setting(const char *name, size_t len)
{
	for (int i = 0; i < CM_SETTINGS_LEN; i++)
		if (strlen(cm_settings[i].name) == len &&
		    memcmp(cm_settings[i].name, name, len) == 0)
			return i;
	return -1;
}

/* The argument of an option: behind its "=", or the next word. */
static const char *take_argument(const char *attached, int argc, char **argv,
				 int *at)
{
	if (attached)
		return attached;
	return *at < argc ? argv[(*at)++] : NULL;
}

static int apply_setting(struct cm_cli *cli, const struct cm_verb *verb,
			 int which, const char *attached, int argc, char **argv,
			 int *at)
{
	const char *value = "yes";
	char origin[64];

	if (cm_settings[which].argument)
		value = take_argument(attached, argc, argv, at);
	else if (attached)
		value = attached;
	if (!value) {
		cm_cli_usage(verb, "--%s needs %s", cm_settings[which].name,
			     cm_settings[which].argument);
		return '?';
	}
	snprintf(origin, sizeof(origin), "flag --%s", cm_settings[which].name);
	/* The last flag wins, as people expect of a command line. */
	free(cm_take_ptr(cli->config.values[which]));
	free(cm_take_ptr(cli->config.origins[which]));
	if (cm_config_set(&cli->config, (enum cm_setting)which, value, origin,
			  NULL) < 0)
		return '?';
	return KEY_SETTING;
}

static int apply_global(struct cm_cli *cli, char key)
{
	switch (key) {
	case 'j':
		cli->json = true;
		break;
	case 'q':
		cli->quiet = true;
		break;
	case 'v':
		cli->verbose = true;
		break;
	case 'C':
		cli->no_color = true;
		break;
	default:
		return key; /* help */
	}
	return KEY_SETTING;
}

static int long_option(struct cm_cli *cli, const struct cm_verb *verb,
		       const char *word, int argc, char **argv, int *at,
		       const char **value)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const char *attached = equals ? equals + 1 : NULL;
	const struct cm_option *o, *global;
	int setting;

	o = find_long(verb ? verb->options : NULL, word, len);
	if (o && o->argument) {
		*value = take_argument(attached, argc, argv, at);
		if (*value)
			return o->key;
		cm_cli_usage(verb, "--%s needs %s", o->name, o->argument);
		return '?';
	}
	global = o ? NULL : find_long(global_options, word, len);
	if ((o || global) && attached) {
		cm_cli_usage(verb, "--%.*s takes no value", (int)len, word);
		return '?';
	}
	if (o)
		return o->key;
	if (global)
		return apply_global(cli, global->key);
	setting = find_setting(word, len);
	if (setting >= 0)
		return apply_setting(cli, verb, setting, attached, argc, argv,
				     at);
	cm_cli_usage(verb, "there is no option --%.*s",
		     len > 60 ? 60 : (int)len, word);
	return '?';
}

static int short_option(struct cm_cli *cli, const struct cm_verb *verb,
			const char *word, int argc, char **argv, int *at,
			const char **value)
{
	const struct cm_option *o =
		find_short(verb ? verb->options : NULL, word[0]);

	if (o && o->argument) {
		*value = take_argument(word[1] ? word + 1 : NULL, argc, argv,
				       at);
		if (*value)
			return o->key;
		cm_cli_usage(verb, "-%c needs %s", o->key, o->argument);
		return '?';
	}
	if (o && !word[1])
		return o->key;
	o = find_short(global_options, word[0]);
	if (o && !word[1])
		return apply_global(cli, o->key);
	cm_cli_usage(verb, "there is no option -%.60s", word);
	return '?';
}

int cm_cli_option(struct cm_cli *cli, const struct cm_verb *verb, int argc,
		  char **argv, int *at, const char **value)
{
	const char *word;
	int key = KEY_SETTING;

	*value = NULL;
	while (key == KEY_SETTING) {
		if (*at >= argc)
			return 0;
		word = argv[*at];
		if (word[0] != '-' || !word[1])
			return 0;
		(*at)++;
		if (strcmp(word, "--") == 0)
			return 0;
		if (word[1] == '-')
			key = long_option(cli, verb, word + 2, argc, argv, at,
					  value);
		else
			key = short_option(cli, verb, word + 1, argc, argv, at,
					   value);
	}
	return key;
}

int cm_cli_usage(const struct cm_verb *verb, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cm_say("%s (see cachectl help%s%s)", text, verb ? " " : "",
	       verb ? verb->name : "");
	return CM_EXIT_USAGE;
}

/* ---- failures ----------------------------------------------------------- */

int cm_cli_exit(enum cm_status status)
{
	switch (status) {
	case CM_ERR_NOT_FOUND:
		return CM_EXIT_NOT_FOUND;
	case CM_ERR_UNAVAILABLE:
	case CM_ERR_BUSY:
		return CM_EXIT_UNAVAILABLE;
	case CM_ERR_DENIED:
	case CM_ERR_UNAUTHORIZED:
		return CM_EXIT_DENIED;
	default:
		return CM_EXIT_FAILED;
	}
}

int cm_cli_fail(struct cm_cli *cli, const struct cm_error *err)
{
	cm_autojson json_t *o = NULL;

	cm_bar_end();
	if (cli->json)
		o = json_pack("{s:s, s:s}", "error",
			      cm_status_name(err->status), "message",
			      err->text);
	if (o) {
		json_dumpf(o, stderr, JSON_COMPACT);
		fputc('\n', stderr);
	} else {
		cm_say("%s", err->text);
	}
	return cm_cli_exit(err->status);
}

int cm_cli_finish_build(struct cm_cli *cli)
{
	const char *no_color = getenv("NO_COLOR");
	struct cm_error err = {0};
	int r;

	/* Every option has been read by now. */
	cm_bars_enable(!cli->quiet && !cli->no_color &&
		       !(no_color && no_color[0]));
	r = cm_config_finish(&cli->config, &err);
	if (r == 0 && cm_config_token(&cli->config, &err) < 0) {
		if (cli->config.strict)
			r = err.status;
		else
			cm_say("going on without a token: %s", err.text);
	}
	if (r == 0)
		return 0;
	cm_cli_fail(cli, &err);
	return CM_EXIT_USAGE;
}

int cm_cli_finish(struct cm_cli *cli)
{
	struct cm_error err = {0};

	if (cm_config_finish(&cli->config, &err) == 0 &&
	    cm_config_token(&cli->config, &err) == 0)
		return 0;
	cm_cli_fail(cli, &err);
	return CM_EXIT_USAGE;
}

int cm_cli_remote(struct cm_cli *cli, struct cm_error *err)
{
	struct cm_remote_options o = {
		.url = cli->config.values[CM_SET_SERVER],
		.token = cli->config.token,
		.ca_file = cli->config.values[CM_SET_CA_FILE],
		.connect_ms = cli->config.connect_ms,
		.stall_ms = cli->config.stall_ms,
	};

	return cli->remote ? 0 : cm_remote_new(&o, &cli->remote, err);
}

/* ---- references ---------------------------------------------------------- */

int cm_reference_parse(const char *text, struct cm_reference *ret,
		       struct cm_error *err)
{
	const char *at = strchr(text, '@');
	const char *colon = at ? NULL : strrchr(text, ':');
	const char *end = at ? at : colon;
	struct cm_digest d;
	size_t len = end ? (size_t)(end - text) : strlen(text);
	int r = 0;

	if (!end || !cm_repository_valid(text, len))
		return cm_error_set(err, CM_ERR_INVALID,
				    "\"%.100s\" is no reference; write "
				    "SCOPE/NAME:TAG or SCOPE/NAME@sha256:…",
				    text);
	if (at)
		r = cm_digest_parse(at + 1, strlen(at + 1), &d, err);
	else if (!cm_tag_valid(colon + 1, strlen(colon + 1)))
		r = cm_error_set(err, CM_ERR_INVALID, "\"%.130s\" is no tag",
				 colon + 1);
	if (r < 0)
		return r;
	memcpy(ret->repo, text, len);
	ret->repo[len] = '\0';
	snprintf(ret->reference, sizeof(ret->reference), "%s", end + 1);
	return 0;
}

/* ---- the administration API ------------------------------------------------
 */

int cm_cli_api(struct cm_cli *cli, const char *method, const char *path,
	       json_t *body, json_t **ret, struct cm_error *err)
{
	cm_auto(connection) struct cm_connection *c = NULL;
	cm_autofree char *text = NULL;
	cm_autofree char *answer = NULL;
	json_error_t why;
	int r = cm_cli_remote(cli, err);

	if (r == 0)
		r = cm_connection_new(cli->remote, &c, err);
	if (r == 0 && body) {
		text = json_dumps(body, JSON_COMPACT);
		if (!text)
			r = cm_error_nomem(err);
	}
	if (r == 0)
		r = cm_remote_api(c, method, path, text, &answer, err);
	if (r < 0)
		return r;
	*ret = json_loads(answer, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(*ret))
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "the server's answer is no JSON object");
	return 0;
}

/* Percent-encodes all but what may stand in a query unescaped. */
static void escape(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 4 < size; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~/:", *text))
			out[n++] = *text;
		else
			n += (size_t)snprintf(out + n, size - n, "%%%02X",
					      (unsigned char)*text);
	}
	out[n] = '\0';
}

static int each_of_page(const json_t *page, cm_tag_row_fn fn, void *arg,
			struct cm_error *err)
{
	const json_t *tags = json_object_get(page, "tags"), *tag;
	size_t i;
	int r = 0;

	if (!json_is_array(tags))
		return cm_error_set(err, CM_ERR_PROTOCOL,
				    "the server's answer has no tags");
	json_array_foreach (tags, i, tag) {
		r = fn(arg, tag, err);
		if (r < 0)
			break;
	}
	return r;
}

int cm_cli_each_tag(struct cm_cli *cli, const char *prefix, cm_tag_row_fn fn,
		    void *arg, struct cm_error *err)
{
	char last[1024] = "", before[1024], escaped[1024], path[4096];
	int r = 0, pages = 0;

	do {
		cm_autojson json_t *page = NULL;

		/* A server that never comes to an end is not followed. */
		if (++pages > PAGES_MAX)
			return cm_error_set(err, CM_ERR_PROTOCOL,
					    "the list has no end");
		strcpy(before, last);

		escape(prefix ? prefix : "", escaped, sizeof(escaped));
		snprintf(path, sizeof(path), CM_API_TAGS "?n=%d%s%s%s%s", PAGE,
			 prefix ? "&prefix=" : "", prefix ? escaped : "",
			 last[0] ? "&last=" : "", last);
		r = cm_cli_api(cli, "GET", path, NULL, &page, err);
		if (r == 0)
			r = each_of_page(page, fn, arg, err);
		escape(page ? cm_json_text(page, "next") : "", last,
		       sizeof(last));
		if (r == 0 && last[0] && strcmp(before, last) == 0)
			r = cm_error_set(err, CM_ERR_PROTOCOL,
					 "the list does not move on");
	} while (r == 0 && last[0]);
	return r;
}

json_t *cm_json_of_text(const char *text)
{
	cm_autofree char *copy = NULL;
	json_t *o = json_string(text);

	if (o)
		return o;
	copy = strdup(text);
	for (char *p = copy; p && *p; p++)
		if (*p & 0x80)
			*p = '?';
	return copy ? json_string(copy) : NULL;
}

const char *cm_json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int64_t cm_json_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}
