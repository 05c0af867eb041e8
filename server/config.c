/* config.c - gathering the settings from command line, environment, file. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "config.h"
#include "config_table.h"

#define FILE_MAX     (1 << 20)
#define ENV_PREFIX   "CACHEMOUNT_"
#define ENV_NAME_MAX 64
#define SETTINGS_MAX 32
#define REPEATED_MAX 64

/* getopt values; the settings' are their index. */
enum option_code {
	OPT_CONFIG = 1000,
	OPT_HEALTHCHECK,
	OPT_NEW_TOKEN,
	OPT_PERMISSIONS,
	OPT_PATTERN,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option plain_options[] = {
	{"config", required_argument, NULL, OPT_CONFIG},
	{"healthcheck", no_argument, NULL, OPT_HEALTHCHECK},
	{"new-token", required_argument, NULL, OPT_NEW_TOKEN},
	{"permissions", required_argument, NULL, OPT_PERMISSIONS},
	{"pattern", required_argument, NULL, OPT_PATTERN},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
};

#define PLAIN_OPTIONS (sizeof(plain_options) / sizeof(plain_options[0]))

/* What the command line said, before anything is applied. */
struct command_line {
	const char *settings[SETTINGS_MAX]; /* value by index, or NULL */
	const char *quotas[REPEATED_MAX];
	size_t quotas_len;
	const char *config;
	enum cm_mode mode;
	const char *new_token;
	const char *permissions;
	const char *pattern;
};

static void
build_options(struct option out[static SETTINGS_MAX + PLAIN_OPTIONS + 1])
{
	size_t n = 0;

	for (; n < cm_settings_len; n++)
		out[n] = (struct option){cm_settings[n].name, required_argument,
					 NULL, (int)n};
	memcpy(out + n, plain_options, sizeof(plain_options));
	out[n + PLAIN_OPTIONS] = (struct option){0};
}

/* False if it was given too often. */
static bool take_setting(size_t index, const char *value,
			 struct command_line *cl)
{
	if (cm_settings[index].kind != CM_SETTING_QUOTAS) {
		cl->settings[index] = value;
		return true;
	}
	if (cl->quotas_len == REPEATED_MAX)
		return false;
	cl->quotas[cl->quotas_len++] = value;
	return true;
}

static void take_option(int code, const char *value, struct command_line *cl)
{
	if (code == OPT_CONFIG)
		cl->config = value;
	else if (code == OPT_PERMISSIONS)
		cl->permissions = value;
	else if (code == OPT_PATTERN)
		cl->pattern = value;
	else if (code == OPT_NEW_TOKEN)
		cl->new_token = value;
	if (code == OPT_HEALTHCHECK)
		cl->mode = CM_MODE_HEALTHCHECK;
	else if (code == OPT_NEW_TOKEN)
		cl->mode = CM_MODE_NEW_TOKEN;
	else if (code == OPT_HELP)
		cl->mode = CM_MODE_HELP;
	else if (code == OPT_VERSION)
		cl->mode = CM_MODE_VERSION;
}

static int bad_option(const char *word, bool lacks_value, struct cm_error *err)
{
	const struct cm_setting *near = NULL;
	char name[ENV_NAME_MAX];

	if (lacks_value)
		return cm_error_set(err, CM_ERR_INVALID, "%.64s needs a value",
				    word);
	if (strncmp(word, "--", 2) == 0) {
		snprintf(name, sizeof(name), "%.*s",
			 (int)strcspn(word + 2, "="), word + 2);
		near = cm_setting_near(name);
	}
	return cm_error_set(
		err, CM_ERR_INVALID, "unknown option %.64s%s%s, see --help",
		word, near ? ", did you mean --" : "", near ? near->name : "");
}

static int read_command_line(int argc, char *const argv[],
			     struct command_line *cl, struct cm_error *err)
{
	struct option options[SETTINGS_MAX + PLAIN_OPTIONS + 1];
	int code, word;

	build_options(options);
	opterr = 0;
	optind = 0;
	for (;;) {
		word = optind > 0 ? optind : 1;
		code = getopt_long(argc, argv, "+:", options, NULL);
		if (code < 0)
			break;
		if (code == '?' || code == ':')
			return bad_option(argv[word], code == ':', err);
		if (code >= OPT_CONFIG)
			take_option(code, optarg, cl);
		else if (!take_setting((size_t)code, optarg, cl))
			return cm_error_set(err, CM_ERR_INVALID,
					    "--%s is given over %d times: give "
					    "a list",
					    cm_settings[code].name,
					    REPEATED_MAX);
	}
	if (optind < argc)
		return cm_error_set(err, CM_ERR_INVALID,
				    "unexpected argument %.64s, see --help",
				    argv[optind]);
	return 0;
}

/* "MAX_CONNECTIONS" to "max-connections", bounded. */
static void setting_name(const char *env, size_t len,
			 char out[static ENV_NAME_MAX])
{
	size_t n = 0;

	for (; n < len && n < ENV_NAME_MAX - 1; n++) {
		out[n] = env[n] == '_' ? '-' : env[n];
		if (env[n] >= 'A' && env[n] <= 'Z')
			out[n] = (char)(env[n] - 'A' + 'a');
	}
	out[n] = '\0';
}

/* A variable that Kubernetes makes for a service of our name. */
static bool injected(const char *name)
{
	return strncmp(name, "port", 4) == 0 ||
	       strncmp(name, "service-", 8) == 0 || strstr(name, "-port") ||
	       strstr(name, "-service-");
}

static int apply_variable(const char *variable, struct cm_config *config,
			  const char **ret_config, struct cm_error *err)
{
	size_t prefix = strlen(ENV_PREFIX);
	const char *equals = strchr(variable, '=');
	const struct cm_setting *s;
	char name[ENV_NAME_MAX];
	int len;

	if (strncmp(variable, ENV_PREFIX, prefix) != 0 || !equals)
		return 0;
	len = (int)(equals - variable);
	setting_name(variable + prefix, (size_t)len - prefix, name);
	if (injected(name))
		return 0;
	if (strcmp(name, "config") == 0) {
		*ret_config = equals + 1;
		return 0;
	}
	s = cm_setting_find(name);
	if (s && config && cm_setting_apply(s, equals + 1, config, err) < 0)
		return cm_error_wrap(err, "%.*s", len, variable);
	s = s ? NULL : cm_setting_near(name);
	if (s)
		return cm_error_set(err, CM_ERR_INVALID,
				    "unknown variable %.*s, did you mean the "
				    "one of --%s?",
				    len, variable, s->name);
	return 0;
}

/*
 * Applies the environment to `config`; with `config` NULL, only finds the
 * configuration file it names.
 */
static int apply_environment(char *const environment[],
			     struct cm_config *config, const char **ret_config,
			     struct cm_error *err)
{
	int rc;

	for (; *environment; environment++) {
		rc = apply_variable(*environment, config, ret_config, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int apply_file(const char *name, struct cm_config *config,
		      struct cm_error *err)
{
	cm_autofree char *text = NULL;
	cm_autofile FILE *f = fopen(name, "re");
	size_t len;

	if (!f)
		return cm_error_errno(err, "cannot read %s", name);
	text = malloc(FILE_MAX + 1);
	if (!text)
		return cm_error_nomem(err);
	len = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f))
		return cm_error_errno(err, "cannot read %s", name);
	if (len > FILE_MAX)
		return cm_error_set(err, CM_ERR_INVALID,
				    "%s is longer than %d bytes", name,
				    FILE_MAX);
	return cm_config_parse_file(text, len, name, config, err);
}

static int apply_command_line(const struct command_line *cl,
			      struct cm_config *config, struct cm_error *err)
{
	for (size_t i = 0; i < cm_settings_len; i++)
		if (cl->settings[i] &&
		    cm_setting_apply(&cm_settings[i], cl->settings[i], config,
				     err) < 0)
			return cm_error_wrap(err, "--%s", cm_settings[i].name);
	for (size_t i = 0; i < cl->quotas_len; i++)
		if (cm_setting_apply_quotas(cl->quotas[i], config, err) < 0)
			return cm_error_wrap(err, "--quota");
	return 0;
}

/* What can't hold together, wherever it was said. */
static int check(const struct cm_config *c, struct cm_error *err)
{
	if (c->low_percent < c->high_percent)
		return 0;
	return cm_error_set(err, CM_ERR_INVALID,
			    "low-watermark (%d) must be below high-watermark "
			    "(%d)",
			    (int)c->low_percent, (int)c->high_percent);
}

static int copy_text(const char *text, char **ret, struct cm_error *err)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? cm_error_nomem(err) : 0;
}

static int copy_mode(const struct command_line *cl, struct cm_config *config,
		     struct cm_error *err)
{
	int rc;

	config->mode = cl->mode;
	if (cl->mode != CM_MODE_NEW_TOKEN && (cl->permissions || cl->pattern))
		return cm_error_set(err, CM_ERR_INVALID,
				    "--permissions and --pattern go with "
				    "--new-token");
	rc = copy_text(cl->new_token, &config->new_token, err);
	if (rc == 0)
		rc = copy_text(cl->permissions ? cl->permissions : "pull,push",
			       &config->permissions, err);
	if (rc == 0)
		rc = copy_text(cl->pattern ? cl->pattern : "**",
			       &config->pattern, err);
	return rc;
}

/* Where data goes by default: a system service as root, else the home. */
static int default_data(char **ret, struct cm_error *err)
{
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	int n;

	if (geteuid() == 0 || (!home && !xdg))
		return copy_text("/var/lib/cachemount", ret, err);
	if (xdg && *xdg == '/')
		n = asprintf(ret, "%s/cachemount", xdg);
	else
		n = asprintf(ret, "%s/.local/share/cachemount",
			     home ? home : "");
	if (n < 0) {
		*ret = NULL;
		return cm_error_nomem(err);
	}
	return 0;
}

int cm_config_defaults(struct cm_config *ret, struct cm_error *err)
{
	int rc;

	_Static_assert(SETTINGS_MAX <= OPT_CONFIG, "codes must not collide");
	*ret = (struct cm_config){.mode = CM_MODE_SERVE};
	rc = default_data(&ret->data, err);
	for (size_t i = 0; rc == 0 && i < cm_settings_len; i++)
		if (cm_settings[i].initial)
			rc = cm_setting_apply(&cm_settings[i],
					      cm_settings[i].initial, ret, err);
	return rc;
}

/* A mode that needs no settings must not fail for want of good ones. */
static bool needs_settings(enum cm_mode mode)
{
	return mode != CM_MODE_HELP && mode != CM_MODE_VERSION;
}

static int load(int argc, char *const argv[], char *const environment[],
		struct cm_config *ret, struct cm_error *err)
{
	struct command_line cl = {.mode = CM_MODE_SERVE};
	const char *file = NULL;
	int rc = read_command_line(argc, argv, &cl, err);

	if (rc == 0)
		rc = cm_config_defaults(ret, err);
	if (rc == 0)
		rc = copy_mode(&cl, ret, err);
	if (rc < 0 || !needs_settings(cl.mode))
		return rc;
	rc = apply_environment(environment, NULL, &file, err);
	file = cl.config ? cl.config : file;
	if (rc == 0 && file)
		rc = apply_file(file, ret, err);
	if (rc == 0)
		rc = apply_environment(environment, ret, &file, err);
	if (rc == 0)
		rc = apply_command_line(&cl, ret, err);
	return rc < 0 ? rc : check(ret, err);
}

int cm_config_load(int argc, char *const argv[], char *const environment[],
		   struct cm_config *ret, struct cm_error *err)
{
	int rc;

	*ret = (struct cm_config){0};
	rc = load(argc, argv, environment, ret, err);
	if (rc < 0)
		cm_config_release(ret);
	return rc;
}

void cm_config_release(struct cm_config *c)
{
	free(c->data);
	free(c->listen);
	free(c->metrics_listen);
	free(c->token_file);
	free(c->public_url);
	cm_quotas_release(c);
	free(c->new_token);
	free(c->permissions);
	free(c->pattern);
	*c = (struct cm_config){0};
}
