/* ingress/block: blocks and the byte queue in them. */
/* LINK: ingress/block.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ingress/block.h"

static void blocks_of_a_class_are_used_again(void **state)
{
	struct block_pool pool = {0};
	struct block *first = block_take(&pool, 10), *again;

	(void)state;
	assert_int_equal(first->size, BLOCK_SMALL);
	block_give(&pool, first);
	again = block_take(&pool, BLOCK_SMALL);
	assert_ptr_equal(first, again);
	block_give(&pool, again);
	block_pool_done(&pool);
}

static void a_block_is_as_large_as_asked_for(void **state)
{
	static const size_t sizes[] = {
	    1, BLOCK_SMALL, BLOCK_SMALL + 1, BLOCK_MEDIUM + 1, BLOCK_LARGE + 1, 1000000};
	struct block_pool pool = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct block *block = block_take(&pool, sizes[i]);

		assert_true(block->size >= sizes[i]);
		memset(block->data, 'x', block->size);
		block_give(&pool, block);
	}
	block_pool_done(&pool);
}

static void only_so_many_large_blocks_are_out_for_bulk(void **state)
{
	struct block_pool pool = {0};
	struct block *blocks[BLOCK_LARGE_USED_MAX];

	(void)state;
	for (size_t i = 0; i < BLOCK_LARGE_USED_MAX; i++) {
		assert_true(block_large_is_free(&pool));
		blocks[i] = block_take(&pool, BLOCK_LARGE);
	}
	assert_false(block_large_is_free(&pool));
	for (size_t i = 0; i < BLOCK_LARGE_USED_MAX; i++)
		block_give(&pool, blocks[i]);
	assert_true(block_large_is_free(&pool));
	block_pool_done(&pool);
}

static void a_trimmed_block_keeps_its_first_bytes(void **state)
{
	struct block_pool pool = {0};
	struct block *block = block_take(&pool, 100);

	(void)state;
	memcpy(block->data, "hello", 5);
	block = block_trim(&pool, block, 5);
	assert_int_equal(block->size, 5);
	assert_memory_equal(block->data, "hello", 5);
	block_give(&pool, block);
	block_pool_done(&pool);
}

static void a_fifo_gives_back_what_was_put_in(void **state)
{
	struct block_pool pool = {0};
	struct fifo fifo = {0};
	unsigned char put = 0, got = 0;
	uint32_t random = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t in, out;

		random = random * 1664525 + 1013904223;
		in = random >> 16 & 2047;
		if (fifo_len(&fifo) + in < 60000) {
			char *tail = fifo_reserve(&fifo, &pool, in);

			for (size_t i = 0; i < in; i++)
				tail[i] = (char)put++;
			fifo_commit(&fifo, in);
		}
		out = (random >> 5 & 4095) % (fifo_len(&fifo) + 1);
		for (size_t i = 0; i < out; i++)
			assert_int_equal((unsigned char)fifo_data(&fifo)[i], got++);
		if (fifo.block)
			fifo_consume(&fifo, &pool, out);
	}
	fifo_done(&fifo, &pool);
	block_pool_done(&pool);
}

static void an_empty_fifo_holds_no_block(void **state)
{
	struct block_pool pool = {0};
	struct fifo fifo = {0};

	(void)state;
	assert_int_equal(fifo_append(&fifo, &pool, STR_LIT("hello")), 0);
	fifo_consume(&fifo, &pool, 4);
	assert_non_null(fifo.block);
	fifo_consume(&fifo, &pool, 1);
	assert_null(fifo.block);
	assert_non_null(fifo_reserve(&fifo, &pool, 10));
	fifo_settle(&fifo, &pool);
	assert_null(fifo.block);
	block_pool_done(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blocks_of_a_class_are_used_again),
	    cmocka_unit_test(a_block_is_as_large_as_asked_for),
	    cmocka_unit_test(only_so_many_large_blocks_are_out_for_bulk),
	    cmocka_unit_test(a_trimmed_block_keeps_its_first_bytes),
	    cmocka_unit_test(a_fifo_gives_back_what_was_put_in),
	    cmocka_unit_test(an_empty_fifo_holds_no_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
