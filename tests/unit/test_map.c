/* The hash table, against a plain array doing the same. */
/* LINK: base/map.c base/str.c */
/* LIBS: -lxxhash */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"

#define KEYS 500

static struct str key_of(size_t number, char buffer[static 32])
{
	(void)snprintf(buffer, 32, "key-%zu", number);
	return str_of(buffer);
}

static void what_was_set_last_is_what_is_found(void **state)
{
	struct map map = {0};
	int a, b;
	void *old = &a;

	(void)state;
	assert_null(map_get(&map, STR_LIT("x")));
	assert_null(map_remove(&map, STR_LIT("x")));
	assert_int_equal(map_set(&map, STR_LIT("x"), &a, &old), 0);
	assert_null(old);
	assert_int_equal(map_set(&map, STR_LIT("x"), &b, &old), 0);
	assert_ptr_equal(old, &a);
	assert_ptr_equal(map_get(&map, STR_LIT("x")), &b);
	assert_int_equal(map.count, 1);
	assert_ptr_equal(map_remove(&map, STR_LIT("x")), &b);
	assert_int_equal(map.count, 0);
	map_done(&map);
}

static void keys_are_copied_and_may_be_empty_or_hold_nul(void **state)
{
	struct map map = {0};
	char key[] = "ab";
	int a, b, c;

	(void)state;
	assert_int_equal(map_set(&map, str_of(key), &a, NULL), 0);
	key[0] = 'x';
	assert_ptr_equal(map_get(&map, STR_LIT("ab")), &a);
	assert_int_equal(map_set(&map, (struct str){0}, &b, NULL), 0);
	assert_ptr_equal(map_get(&map, STR_LIT("")), &b);
	assert_int_equal(map_set(&map, STR_LIT("ab\0c"), &c, NULL), 0);
	assert_ptr_equal(map_get(&map, STR_LIT("ab\0c")), &c);
	assert_ptr_equal(map_get(&map, STR_LIT("ab")), &a);
	map_done(&map);
}

static void long_random_use_agrees_with_an_array(void **state)
{
	struct map map = {0};
	int values[KEYS];
	void *model[KEYS] = {0};
	uint32_t random = 12345;
	size_t count = 0;
	char buffer[32];

	(void)state;
	for (int step = 0; step < 100000; step++) {
		size_t number;

		random = random * 1664525 + 1013904223;
		number = (random >> 8) % KEYS;
		if (random >> 31) {
			assert_int_equal(map_set(&map, key_of(number, buffer), &values[step % KEYS], NULL),
					 0);
			count += !model[number];
			model[number] = &values[step % KEYS];
		} else {
			assert_ptr_equal(map_remove(&map, key_of(number, buffer)), model[number]);
			count -= model[number] != NULL;
			model[number] = NULL;
		}
		assert_int_equal(map.count, count);
	}
	for (size_t i = 0; i < KEYS; i++)
		assert_ptr_equal(map_get(&map, key_of(i, buffer)), model[i]);
	assert_true(map.size <= 4096);
	map_done(&map);
}

static void every_entry_is_visited_once_and_may_be_removed_on_the_way(void **state)
{
	struct map map = {0};
	int seen[KEYS] = {0};
	char buffer[32];

	(void)state;
	for (size_t i = 0; i < KEYS; i++)
		assert_int_equal(map_set(&map, key_of(i, buffer), &seen[i], NULL), 0);
	for (struct map_iter it = map_begin(&map); map_next(&it);) {
		++*(int *)it.value;
		if ((it.key.p[it.key.len - 1] - '0') % 2)
			assert_ptr_equal(map_remove(&map, it.key), it.value);
	}
	for (size_t i = 0; i < KEYS; i++) {
		assert_int_equal(seen[i], 1);
		assert_int_equal(map_get(&map, key_of(i, buffer)) != NULL, i % 2 == 0);
	}
	assert_int_equal(map.count, KEYS / 2);
	map_done(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_set_last_is_what_is_found),
	    cmocka_unit_test(keys_are_copied_and_may_be_empty_or_hold_nul),
	    cmocka_unit_test(long_random_use_agrees_with_an_array),
	    cmocka_unit_test(every_entry_is_visited_once_and_may_be_removed_on_the_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
