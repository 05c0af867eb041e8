/*
 * fuzz-names.c - grammars of repositories, tags, patterns, digests, mount ids.
 *
 * Pattern: LLVMFuzzerTestOneInput() gives the same bytes to every parser of
 * the module, and aborts when a promise of the header does not hold. The
 * grammars are checked against regular expressions, written from the
 * distribution-spec and not from the code.
 */
#include <assert.h>
#include <regex.h>
#include <stdint.h>
#include <string.h>

#include <cachemount/digest.h>
#include <cachemount/names.h>

/* Longer input is legal nowhere, and slow in regexec(). */
#define INPUT_MAX 600

#define COMPONENT "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Does the whole of `text` match? NUL bytes in the input: never. */
static bool matches(const char *expression, const char *text, size_t len)
{
	regex_t re;
	int r;

	if (strlen(text) != len)
		return false;
	/* The C locale has no multi-byte characters: bytes stay bytes. */
	r = regcomp(&re, expression, REG_EXTENDED | REG_NOSUB);
	assert(r == 0);
	r = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return r == 0;
}

static void check_repository(const char *text, size_t len)
{
	bool valid = cm_repository_valid(text, len);

	assert(valid ==
	       (len <= CM_REPOSITORY_MAX &&
		matches("^" COMPONENT "(/" COMPONENT ")*$", text, len)));
	if (!valid)
		return;
	assert(cm_repository_pattern_valid(text));
	assert(cm_repository_pattern_match(text, text));
	assert(cm_repository_pattern_match("**", text));
	assert(cm_repository_pattern_match("*", text) == !strchr(text, '/'));
}

static void check_tag(const char *text, size_t len)
{
	assert(cm_tag_valid(text, len) ==
	       matches("^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$", text, len));
}

static void check_digest(const char *text, size_t len)
{
	char out[CM_DIGEST_TEXT_SIZE];
	struct cm_error err = {0};
	struct cm_digest d;
	int r = cm_digest_parse(text, len, &d, &err);

	assert((r == 0) == matches("^sha256:[0-9a-f]{64}$", text, len));
	if (r == 0)
		assert(strcmp(cm_digest_format(&d, out), text) == 0);
	else
		assert(r == err.status && err.text[0]);
}

static void check_any_digest(const char *text, size_t len)
{
	char out[CM_ANY_DIGEST_TEXT_SIZE];
	struct cm_error err = {0};
	struct cm_any_digest d;
	int r = cm_any_digest_parse(text, len, &d, &err);

	assert((r == 0) == matches("^(sha256:[0-9a-f]{64}|"
				   "sha512:[0-9a-f]{128})$",
				   text, len));
	if (r == 0)
		assert(strcmp(cm_any_digest_format(&d, out), text) == 0);
	else
		assert(r == err.status && err.text[0]);
}

static void check_mount(const char *text)
{
	char name[CM_REPOSITORY_MAX + 1], again[CM_REPOSITORY_MAX + 1];
	size_t len = strlen(text);
	struct cm_error err = {0};

	if (cm_mount_repository(text, name, &err) < 0) {
		assert(len == 0 || len > CM_MOUNT_ID_MAX);
		return;
	}
	assert(cm_repository_valid(name, strlen(name)));
	/* A name maps to itself: the rule may be applied twice. */
	assert(cm_mount_repository(name, again, &err) == 0);
	assert(strcmp(name, again) == 0);
}

/* The input split at its first newline: a pattern, and a name to try. */
static void check_pattern(char *text)
{
	char *name = strchr(text, '\n');
	size_t base;

	if (name)
		*name++ = '\0';
	if (!cm_repository_pattern_valid(text))
		return;
	if (!name || !cm_repository_valid(name, strlen(name)))
		return;
	base = strcspn(text, "*");
	if (cm_repository_pattern_match(text, name) && base > 0)
		assert(strncmp(text, name, base - (text[base] == '*')) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[INPUT_MAX + 1];

	if (size > INPUT_MAX)
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	check_repository(text, size);
	check_tag(text, size);
	check_digest(text, size);
	check_any_digest(text, size);
	check_mount(text);
	check_pattern(text);
	return 0;
}
