/* capture.c - a stream's descriptor stands aside for a file without a name. */
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

#include "capture.h"

static FILE *stream, *file;
static int saved;

void capture_begin(FILE *s)
{
	stream = s;
	fflush(stream);
	file = tmpfile();
	assert_non_null(file);
	saved = dup(fileno(stream));
	assert_true(saved >= 0);
	assert_true(dup2(fileno(file), fileno(stream)) >= 0);
}

char *capture_end(void)
{
	char *text;
	long len;

	fflush(stream);
	assert_true(dup2(saved, fileno(stream)) >= 0);
	close(saved);
	fseek(file, 0, SEEK_END);
	len = ftell(file);
	assert_true(len >= 0);
	rewind(file);
	text = calloc(1, (size_t)len + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)len, file), len);
	fclose(file);
	return text;
}
