/* verbs.c - the table of verbs, in the order of help. */
#include <string.h>

#include "cli.h"

static const struct cm_option run_options[] = {
	{'m', "mount", "ID=PATH[,...]",
	 "a mount; ,merge=union|replace ,tag=TAG may follow"},
	{'1', "save-on-failure", NULL, "save though the command failed"},
	{'2', "no-save", NULL, "restore only"},
	{'3', "allow-setuid", NULL, "restore setuid and setgid bits"},
	{'4', "allow-empty", NULL, "let an empty mount replace a full one"},
	{'5', "summary", "FILE", "write what happened to FILE as JSON"},
	{0, NULL, NULL, NULL},
};

static const struct cm_option restore_options[] = {
	{'t', "tag", "TAG", "instead of the platform"},
	{'6', "merge", "union|replace",
	 "keep other files (union), or not (replace)"},
	{'3', "allow-setuid", NULL, "restore setuid and setgid bits"},
	{0, NULL, NULL, NULL},
};

static const struct cm_option save_options[] = {
	{'t', "tag", "TAG", "instead of the platform"},
	{'6', "merge", "union|replace",
	 "join with what others saved (union), or replace it"},
	{'4', "allow-empty", NULL, "let an empty mount replace a full one"},
	{0, NULL, NULL, NULL},
};

static const struct cm_option show_options[] = {
	{'f', "files", NULL, "list every entry"},
	{0, NULL, NULL, NULL},
};

static const struct cm_option purge_options[] = {
	{'n', "dry-run", NULL, "only count"},
	{'y', "yes", NULL, "do not ask"},
	{'p', "prefix", "PREFIX", "repositories at and below PREFIX"},
	{'t', "tag", "TAG", "only tags of this name"},
	{'o', "older-than", "TIME", "saved longer ago, such as 14d"},
	{'w', "unused-for", "TIME", "neither saved nor pulled since"},
	{'W', "writer", "NAME", "saved with this token"},
	{'a', "all", NULL, "everything"},
	{0, NULL, NULL, NULL},
};

static const struct cm_option verify_options[] = {
	{'a', "all", NULL, "every tag"},
	{0, NULL, NULL, NULL},
};

const struct cm_verb cm_verbs[] = {
	{"run", "-m ID=PATH[,...]... -- COMMAND [ARGUMENT]...",
	 "restore mounts, run a command, save the mounts", run_options,
	 "  cachectl run -m pip=/root/.cache/pip -- pip install -r "
	 "requirements.txt\n"
	 "  cachectl --scope pr-12 --fallback main run -m uv=/root/.cache/uv "
	 "-- uv sync\n"
	 "  cachectl run -m venv=/opt/venv,merge=replace -- make venv\n",
	 cm_cmd_run},
	{"restore", "ID PATH", "fill a directory from its snapshot",
	 restore_options, "  cachectl restore pip /root/.cache/pip\n",
	 cm_cmd_restore},
	{"save", "ID PATH", "publish a directory as a snapshot", save_options,
	 "  cachectl save pip /root/.cache/pip\n", cm_cmd_save},
	{"ls", "[PREFIX]", "list snapshots and images", NULL,
	 "  cachectl ls\n  cachectl ls main\n", cm_cmd_ls},
	{"show", "SCOPE/NAME:TAG", "show what a snapshot holds", show_options,
	 "  cachectl show main/pip:linux-amd64-glibc2.36\n"
	 "  cachectl show --files --json main/pip:linux-amd64-glibc2.36\n",
	 cm_cmd_show},
	{"du", "[PREFIX]", "show how much each repository holds", NULL,
	 "  cachectl du\n", cm_cmd_du},
	{"stats", "", "show how well the cache serves", NULL,
	 "  cachectl stats\n  cachectl --json stats\n", cm_cmd_stats},
	{"purge", "[SCOPE/NAME[:TAG]]", "remove snapshots and images",
	 purge_options,
	 "  cachectl purge -n --unused-for 30d --all\n"
	 "  cachectl purge --prefix pr-12 --yes\n"
	 "  cachectl purge main/pip:linux-amd64-glibc2.36\n",
	 cm_cmd_purge},
	{"pin", "SCOPE/NAME[:TAG]", "never evict a tag, or a whole repository",
	 NULL,
	 "  cachectl pin main/pip:linux-amd64-glibc2.36\n"
	 "  cachectl pin main/toolchain\n",
	 cm_cmd_pin},
	{"unpin", "SCOPE/NAME[:TAG]", "let it be evicted again", NULL,
	 "  cachectl unpin main/toolchain\n", cm_cmd_unpin},
	{"gc", "", "sweep, and evict down to the low watermarks, now", NULL,
	 "  cachectl gc\n", cm_cmd_gc},
	{"verify", "SCOPE/NAME:TAG... | --all",
	 "check stored bytes against their digests", verify_options,
	 "  cachectl verify --all\n", cm_cmd_verify},
	{"backup", "", "have the server back up its index", NULL,
	 "  cachectl backup\n", cm_cmd_backup},
	{"config", "show", "show each setting and where it comes from", NULL,
	 "  cachectl config show\n", cm_cmd_config},
	{"completion", "bash|zsh|fish", "print a completion script", NULL,
	 "  source <(cachectl completion bash)\n", cm_cmd_completion},
	{"help", "[VERB]", "show help", NULL, "  cachectl help run\n",
	 cm_cmd_help},
	{"version", "", "show the version", NULL, NULL, cm_cmd_version},
};

const size_t cm_verbs_len = sizeof(cm_verbs) / sizeof(cm_verbs[0]);

const struct cm_verb *cm_verb_find(const char *name)
{
	for (size_t i = 0; i < cm_verbs_len; i++)
		if (strcmp(cm_verbs[i].name, name) == 0)
			return &cm_verbs[i];
	return NULL;
}
