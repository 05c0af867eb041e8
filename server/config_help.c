/* config_help.c - the help text, made of the table of settings. */
#include <string.h>

#include "config_table.h"

#define COLUMN 30

static const char head[] =
	"Usage: cachemountd [OPTION]...\n"
	"       cachemountd fsck|backup|rebuild [OPTION]... (see their "
	"--help)\n"
	"Serve build caches: an OCI registry with snapshots of cache mounts.\n"
	"\n"
	"Each setting can also be given as an environment variable\n"
	"(--max-connections: CACHEMOUNT_MAX_CONNECTIONS) and in the file of\n"
	"--config (max-connections = 100). Flags win over the environment, "
	"that\n"
	"over the file.\n"
	"\n";

static const char tail[] =
	"\n"
	"  --config FILE               read settings from FILE\n"
	"  --healthcheck               ask the local server; exit 0 if ready\n"
	"  --new-token NAME            print a new secret, once; its line goes "
	"to\n"
	"                              the end of --token-file, or to stderr\n"
	"    --permissions LIST        pull,push,delete,admin (pull,push)\n"
	"    --pattern PATTERN         repositories, such as main/** (**)\n"
	"  --help, --version\n"
	"\n"
	"Examples:\n"
	"  cachemountd --data ./cache\n"
	"      for this machine only, everything allowed\n"
	"  cachemountd --new-token ci --pattern 'main/**' --token-file tokens\n"
	"  cachemountd --listen 0.0.0.0:8080 --token-file tokens\n"
	"      for the network, named clients only\n"
	"  cachemountd --listen '[::]:8080' --token-file tokens \\\n"
	"      --allow-anonymous=pull\n"
	"      everyone reads, named clients write\n"
	"\n"
	"Signals: SIGTERM and SIGINT end it once transfers have finished, a\n"
	"second one ends it at once; SIGHUP reads the token file again.\n";

/* Writes help of several lines, all in the same column. */
static void put_help(FILE *out, const char *help)
{
	size_t len;

	for (; *help; help += len) {
		if (*help == '\n') {
			help++;
			fprintf(out, "\n%*s", COLUMN, "");
		}
		len = strcspn(help, "\n");
		fprintf(out, "%.*s", (int)len, help);
	}
}

void cm_config_help(FILE *out)
{
	const struct cm_setting *s;
	int used;

	fputs(head, out);
	for (size_t i = 0; i < cm_settings_len; i++) {
		s = &cm_settings[i];
		used = fprintf(out, "  --%s %s", s->name, s->operand);
		fprintf(out, "%*s", used < COLUMN ? COLUMN - used : 1, "");
		put_help(out, s->help);
		if (s->initial)
			fprintf(out, " (%s)", s->initial);
		fputc('\n', out);
	}
	fputs(tail, out);
}
