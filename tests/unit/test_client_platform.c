/* test_client_platform.c - the default tag, on roots of a few made-up files. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "platform.h"

#define GLIBC                                                                  \
	"\177ELF\0\0GNU C Library (Debian GLIBC 2.36-9) stable release "       \
	"version 2.36.\nCopyright\0"
#define GLIBC3 "x\0stable release version 2.4.1, by\0"
#define MUSL   "\177ELF\0/lib\0001.x\0001.2.4\0musl libc (x86_64)\0"

struct fixture {
	char root[64];
};

static struct fixture fixture;

static int setup(void **state)
{
	fixture = (struct fixture){.root = "test_client_platform.XXXXXX"};
	*state = &fixture;
	return mkdtemp(fixture.root) ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf -- '%s'", f->root);
	return system(command);
}

static const char *at(const struct fixture *f, const char *path)
{
	static char full[256];

	snprintf(full, sizeof(full), "%s/%s", f->root, path);
	return full;
}

static void folder(const struct fixture *f, const char *path)
{
	assert_int_equal(mkdir(at(f, path), 0755), 0);
}

static void put(const struct fixture *f, const char *path, const char *bytes,
		size_t len)
{
	FILE *file = fopen(at(f, path), "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

/* The tag less "linux-<arch>"; "" if it has no C library. */
static const char *libc_of(const struct fixture *f)
{
	static char tag[CM_TAG_MAX + 1];
	const char *dash;

	cm_platform_tag(f->root, tag);
	assert_true(cm_tag_valid(tag, strlen(tag)));
	assert_int_equal(strncmp(tag, "linux-", 6), 0);
	dash = strchr(tag + 6, '-');
	return dash ? dash : "";
}

static void test_platform__nothing(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(libc_of(f), "");
	folder(f, "lib");
	assert_string_equal(libc_of(f), "");
	put(f, "lib/libc.so.6", "", 0);
	assert_string_equal(libc_of(f), "");
	put(f, "lib/libc.so.6", "no library", 10);
	assert_string_equal(libc_of(f), "");
	put(f, "lib/libc.so.6", "release version ", 16);
	assert_string_equal(libc_of(f), "");
	put(f, "lib/libc.so.6", "release version 2.", 18);
	assert_string_equal(libc_of(f), "");
}

static void test_platform__no_root(void **state)
{
	char tag[CM_TAG_MAX + 1];

	(void)state;
	cm_platform_tag("/nonexistent", tag);
	assert_null(strstr(tag, "libc"));
	cm_platform_tag("/dev/null", tag);
	assert_null(strstr(tag, "libc"));
}

static void test_platform__glibc(void **state)
{
	struct fixture *f = *state;

	folder(f, "lib64");
	put(f, "lib64/libc.so.6", GLIBC, sizeof(GLIBC));
	assert_string_equal(libc_of(f), "-glibc2.36");
	put(f, "lib64/libc.so.6", GLIBC3, sizeof(GLIBC3));
	assert_string_equal(libc_of(f), "-glibc2.4");
}

static void test_platform__glibc_of_debian(void **state)
{
	struct fixture *f = *state;

	folder(f, "usr");
	folder(f, "usr/lib");
	folder(f, "usr/lib/python3");
	folder(f, "usr/lib/x86_64-linux-gnu");
	put(f, "usr/lib/x86_64-linux-gnu/libc.so.6", GLIBC, sizeof(GLIBC));
	assert_int_equal(symlink("usr/lib", at(f, "lib")), 0);
	assert_string_equal(libc_of(f), "-glibc2.36");
}

static void test_platform__musl(void **state)
{
	struct fixture *f = *state;

	folder(f, "lib");
	put(f, "lib/ld-musl-x86_64.so.1", "1.2.4", 6);
	assert_string_equal(libc_of(f), "");
	put(f, "lib/ld-musl-x86_64.so.1", MUSL, sizeof(MUSL));
	assert_string_equal(libc_of(f), "-musl1.2");
	/* An added GNU library is what programs of a Debian root use. */
	put(f, "lib/libc.so.6", GLIBC, sizeof(GLIBC));
	assert_string_equal(libc_of(f), "-glibc2.36");
}

/* Nothing here may hang, be read whole, or end the program. */
static void test_platform__odd_files(void **state)
{
	struct fixture *f = *state;
	int fd;

	folder(f, "lib");
	assert_int_equal(mkfifo(at(f, "lib/libc.so.6"), 0600), 0);
	assert_string_equal(libc_of(f), "");
	unlink(at(f, "lib/libc.so.6"));
	folder(f, "lib/libc.so.6");
	assert_string_equal(libc_of(f), "");
	rmdir(at(f, "lib/libc.so.6"));
	assert_int_equal(symlink("libc.so.6", at(f, "lib/libc.so.6")), 0);
	assert_string_equal(libc_of(f), "");
	unlink(at(f, "lib/libc.so.6"));
	fd = open(at(f, "lib/libc.so.6"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, GLIBC, sizeof(GLIBC), 0), sizeof(GLIBC));
	assert_int_equal(ftruncate(fd, 1LL << 40), 0);
	assert_string_equal(libc_of(f), "");
	close(fd);
	assert_int_equal(symlink("lib64", at(f, "lib64")), 0);
	assert_string_equal(libc_of(f), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_platform__nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_platform__no_root, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_platform__glibc, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_platform__glibc_of_debian,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_platform__musl, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_platform__odd_files, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
