/* The bump allocator: zeroed, aligned, bounded by overflow checks. */
/* LINK: base/arena.c base/str.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void memory_is_zeroed_aligned_and_apart(void **state)
{
	struct arena arena = {0};
	unsigned char *last = NULL;

	(void)state;
	for (size_t len = 0; len < 3000; len += 7) {
		unsigned char *at = arena_alloc(&arena, len);

		assert_non_null(at);
		assert_ptr_not_equal(at, last);
		assert_int_equal((uintptr_t)at % 8, 0);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(at[i], 0);
		if (len > 0)
			memset(at, 0xff, len);
		last = at;
	}
	arena_done(&arena);
	assert_null(arena.blocks);
}

static void a_request_larger_than_a_block_gets_its_own(void **state)
{
	struct arena arena = {0};
	char *small = arena_alloc(&arena, 10), *large = arena_alloc(&arena, 1000000);

	(void)state;
	assert_non_null(small);
	assert_non_null(large);
	large[999999] = 1;
	assert_true(arena.used_bytes >= 1000010 && arena.used_bytes < 1000100);
	arena_done(&arena);
}

static void sizes_that_overflow_are_refused(void **state)
{
	struct arena arena = {0};

	(void)state;
	assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_non_null(arena_array(&arena, 3, 5));
	arena_done(&arena);
}

static void a_copied_text_ends_with_nul(void **state)
{
	struct arena arena = {0};

	(void)state;
	assert_string_equal(arena_dup(&arena, (struct str){"abcdef", 3}), "abc");
	assert_string_equal(arena_dup(&arena, (struct str){0}), "");
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
	    cmocka_unit_test(a_request_larger_than_a_block_gets_its_own),
	    cmocka_unit_test(sizes_that_overflow_are_refused),
	    cmocka_unit_test(a_copied_text_ends_with_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
