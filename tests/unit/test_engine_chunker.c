/* test_engine_chunker.c - where content is cut. */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "engine/chunker.h"
#include "engine/tree.h"

#define SIZE (40 << 20)

static uint8_t *noise(size_t len, uint64_t x)
{
	uint8_t *bytes = malloc(len);

	for (size_t i = 0; i < len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(bytes + i, &x, 8);
	}
	return bytes;
}

/* Cuts `len` bytes, fed in steps of `step`; returns how many, and where. */
static size_t cut_all(const uint8_t *bytes, size_t len, size_t step,
		      size_t *cuts)
{
	struct cm_chunk_sizes sizes;
	struct cm_chunker c;
	size_t from = 0, known = 0, n = 0, cut;

	cm_chunk_sizes_for(0, &sizes);
	cm_chunker_init(&c, &sizes);
	while (known < len) {
		known = known + step < len ? known + step : len;
		while ((cut = cm_chunker_cut(&c, bytes + from, known - from))) {
			assert_true(cut >= sizes.min && cut <= sizes.max);
			from += cut;
			cuts[n++] = from;
		}
	}
	return n;
}

static void test_chunker__sizes(void **state)
{
	uint8_t *bytes = noise(SIZE, 1);
	size_t cuts[200], n = cut_all(bytes, SIZE, 256 << 10, cuts);

	(void)state;
	/* About 1 MiB on average. */
	assert_true(n >= SIZE >> 21 && n <= SIZE >> 19);
	free(bytes);
}

static void test_chunker__steps_do_not_matter(void **state)
{
	uint8_t *bytes = noise(SIZE, 2);
	size_t a[200], b[200];
	size_t n = cut_all(bytes, SIZE, 256 << 10, a);

	(void)state;
	assert_int_equal(n, cut_all(bytes, SIZE, 1000003, b));
	assert_memory_equal(a, b, n * sizeof(a[0]));
	free(bytes);
}

static void test_chunker__monotone_bytes_end_at_the_maximum(void **state)
{
	uint8_t *bytes = calloc(1, 9 << 20);
	size_t cuts[200];

	(void)state;
	assert_int_equal(cut_all(bytes, 9 << 20, 256 << 10, cuts), 2);
	assert_int_equal(cuts[0], 4 << 20);
	free(bytes);
}

/* Bytes put in near the front move the cuts behind them, and no more. */
static void test_chunker__falls_back_into_step(void **state)
{
	uint8_t *bytes = noise(SIZE + 64, 3);
	uint8_t *more = malloc(SIZE + 64);
	size_t a[200], b[200], n, m, same = 0;

	(void)state;
	memcpy(more, bytes, 100000);
	memset(more + 100000, 'x', 33);
	memcpy(more + 100033, bytes + 100000, SIZE - 100000);
	n = cut_all(bytes, SIZE, 256 << 10, a);
	m = cut_all(more, SIZE + 33, 256 << 10, b);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < m; k++)
			same += a[i] + 33 == b[k];
	assert_true(same + 4 >= n);
	free(bytes);
	free(more);
}

static void test_chunker__sizes_grow_with_the_tree(void **state)
{
	struct cm_chunk_sizes s;

	(void)state;
	cm_chunk_sizes_for(16LL << 30, &s);
	assert_int_equal(s.average, 1 << 20);
	cm_chunk_sizes_for((16LL << 30) + 1, &s);
	assert_int_equal(s.average, 2 << 20);
	cm_chunk_sizes_for(INT64_MAX, &s);
	assert_int_equal(s.max, 16 << 20);
}

/* Packs end behind a file, soon after the minimum, and below the maximum. */
static void test_chunker__packs(void **state)
{
	struct cm_chunk_sizes s;
	size_t filled = 0, packs = 0, total = 0;
	uint8_t *file = noise(20000, 5);

	(void)state;
	cm_chunk_sizes_for(0, &s);
	for (unsigned i = 0; i < 20000; i++) {
		size_t len = i * 7919 % 20000;

		memcpy(file, &i, sizeof(i));
		filled += len;
		total += len;
		assert_true(filled <= s.max);
		if (!cm_chunker_ends_pack(&s, filled, file, len))
			continue;
		assert_true(filled >= s.min);
		packs++;
		filled = 0;
	}
	assert_true(total / packs > s.average / 2 &&
		    total / packs < s.average * 2);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunker__sizes),
		cmocka_unit_test(test_chunker__steps_do_not_matter),
		cmocka_unit_test(
			test_chunker__monotone_bytes_end_at_the_maximum),
		cmocka_unit_test(test_chunker__falls_back_into_step),
		cmocka_unit_test(test_chunker__sizes_grow_with_the_tree),
		cmocka_unit_test(test_chunker__packs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
