/* new_token.c - cachemountd --new-token: a secret, and its line. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachemount/cleanup.h>

#include "server.h"
#include "token_file.h"

#define LINE_SIZE 1024

/* Does a file that is not empty lack its final newline? */
static bool unfinished(int fd)
{
	struct stat st;
	char last;

	return fstat(fd, &st) == 0 && st.st_size > 0 &&
	       pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
}

static int append(const char *file, const char *line, struct cm_error *err)
{
	char text[LINE_SIZE + 1];
	size_t len;
	cm_autofd int fd = -1;

	fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return cm_error_errno(err, "cannot open %s", file);
	len = (size_t)snprintf(text, sizeof(text), "%s%s",
			       unfinished(fd) ? "\n" : "", line);
	if (write(fd, text, len) != (ssize_t)len)
		return cm_error_errno(err, "cannot write to %s", file);
	return 0;
}

/* A file that the server would not take must not grow unnoticed. */
static int check_file(const char *file, struct cm_error *err)
{
	cm_auto(tokens) struct cm_tokens *t = NULL;

	if (access(file, F_OK) != 0)
		return 0;
	return cm_tokens_load(file, &t, err);
}

enum cm_exit cm_new_token(const struct cm_config *config, struct cm_error *err)
{
	char secret[CM_TOKEN_SECRET_SIZE], line[LINE_SIZE];

	if (cm_token_make(config->new_token, config->permissions,
			  config->pattern, secret, line, sizeof(line), err) < 0)
		return CM_EXIT_USAGE;
	if (!config->token_file) {
		/* What goes to stderr is itself a token file. */
		fprintf(stderr, "# For the token file:\n%s", line);
	} else {
		if (check_file(config->token_file, err) < 0)
			return CM_EXIT_USAGE;
		if (append(config->token_file, line, err) < 0)
			return CM_EXIT_FAILURE;
		fprintf(stderr,
			"Added to %s; a running server reads it within a "
			"second.\n",
			config->token_file);
	}
	if (isatty(STDOUT_FILENO))
		fprintf(stderr, "# The secret, shown this once:\n");
	printf("%s\n", secret);
	if (fflush(stdout) != 0) {
		cm_error_errno(err, "cannot print the secret");
		return CM_EXIT_FAILURE;
	}
	return CM_EXIT_OK;
}
