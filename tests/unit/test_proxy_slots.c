/* LINK: proxy/slots.c */
/* The slot allocator: ranges that do not overlap, grow, come back, and can be adopted. */
#include "proxy/slots.h"

#include <errno.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"

static struct slot_range take(struct slots *slots, size_t count)
{
	struct slot_range range = {0};

	assert_int_equal(slots_take(slots, count, &range), 0);
	return range;
}

static void ranges_are_powers_of_two_with_room_for_the_endpoints(void **state)
{
	static const struct {
		size_t count;
		uint32_t capacity;
	} table[] = {{1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {1000, 1024}, {1025, 2048}};
	struct slots slots = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		assert_int_equal(take(&slots, table[i].count).capacity, table[i].capacity);
	slots_done(&slots);
}

static void slot_zero_is_never_handed_out(void **state)
{
	struct slots slots = {0};

	(void)state;
	assert_int_equal(take(&slots, 1).base, SLOT_FIRST);
	slots_done(&slots);
}

static void ranges_given_back_are_handed_out_again_before_new_numbers(void **state)
{
	struct slots slots = {0};
	struct slot_range first = take(&slots, 3);
	struct slot_range second = take(&slots, 3);

	(void)state;
	assert_int_equal(slots.reserved, 8);
	slots_give(&slots, first);
	assert_int_equal(slots.reserved, 4);
	assert_int_equal(take(&slots, 4).base, first.base);
	assert_int_not_equal(take(&slots, 4).base, second.base);
	assert_int_equal(slots.handed_out, 12);
	slots_give(&slots, (struct slot_range){0, 0});
	slots_done(&slots);
}

static void more_slots_than_there_are_numbers_are_refused(void **state)
{
	struct slots slots = {0};
	struct slot_range range;

	(void)state;
	assert_int_equal(slots_take(&slots, (size_t)1 << 31, &range), -ENOSPC);
	(void)take(&slots, (size_t)1 << 30);
	assert_int_equal(slots_take(&slots, (size_t)1 << 30, &range), -ENOSPC);
	assert_int_equal(take(&slots, 1).base, (1u << 30) + 1);
	slots_give(&slots, (struct slot_range){1, 1u << 30});
	assert_int_equal(take(&slots, (size_t)1 << 29).capacity, 1u << 29); /* half of what came back */
	slots_done(&slots);
}

static void a_range_suits_from_full_to_an_eighth(void **state)
{
	static const struct {
		uint32_t capacity;
		size_t count;
		bool suits;
	} table[] = {{4, 4, true},   {4, 5, false}, {4, 1, true},  {8, 1, true},
		     {16, 1, false}, {16, 2, true}, {0, 1, false}, {4, 0, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		assert_int_equal(slot_range_suits((struct slot_range){1, table[i].capacity}, table[i].count),
				 table[i].suits);
}

static void adopted_ranges_are_kept_and_gaps_between_them_are_free(void **state)
{
	const struct slot_range ranges[] = {{9, 4}, {1, 2}, {17, 8}};
	struct slots slots = {0};
	bool adopted[3];
	size_t total = 0;

	(void)state;
	assert_int_equal(slots_adopt(&slots, ranges, 3, adopted), 0);
	assert_true(adopted[0] && adopted[1] && adopted[2]);
	assert_int_equal(slots.reserved, 14);
	assert_int_equal(slots.handed_out, 24);
	/* 3 to 8 and 13 to 16 are free: ten slots below the mark. */
	for (size_t i = 0; i < SLOT_SIZE_LEVELS; i++)
		total += slots.free[i].count << i;
	assert_int_equal(total, 10);
	assert_true(take(&slots, 4).base < 17);
	slots_done(&slots);
}

static void of_ranges_that_make_no_sense_only_the_others_are_adopted(void **state)
{
	const struct slot_range ranges[] = {{5, 4},   {6, 2},          {0, 4},          {100, 3},
					    {200, 0}, {0x7fffffff, 2}, {0x7fffffff, 1}, {5, 4}};
	const bool expected[] = {true, false, false, false, false, false, true, false};
	struct slots slots = {0};
	bool adopted[ARRAY_LEN(ranges)];
	struct slot_range range;

	(void)state;
	assert_int_equal(slots_adopt(&slots, ranges, ARRAY_LEN(ranges), adopted), 0);
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		assert_int_equal(adopted[i], expected[i]);
	assert_int_equal(slots_take(&slots, 1, &range),
			 0); /* from a gap: the numbers themselves are used up */
	slots_done(&slots);
}

/* Random histories: no two ranges out at a time may overlap. */
static void ranges_never_overlap_whatever_the_history(void **state)
{
	struct slots slots = {0};
	struct slot_range out[64] = {{0}};
	unsigned seed = 7;

	(void)state;
	for (int step = 0; step < 5000; step++) {
		size_t i = (size_t)rand_r(&seed) % ARRAY_LEN(out);

		slots_give(&slots, out[i]);
		out[i] = take(&slots, 1 + (size_t)rand_r(&seed) % 40);
		for (size_t k = 0; k < ARRAY_LEN(out); k++)
			if (k != i && out[k].capacity)
				assert_true(out[k].base + out[k].capacity <= out[i].base ||
					    out[i].base + out[i].capacity <= out[k].base);
	}
	assert_true(slots.handed_out < 64 * 64 * 2);
	slots_done(&slots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ranges_are_powers_of_two_with_room_for_the_endpoints),
	    cmocka_unit_test(slot_zero_is_never_handed_out),
	    cmocka_unit_test(ranges_given_back_are_handed_out_again_before_new_numbers),
	    cmocka_unit_test(more_slots_than_there_are_numbers_are_refused),
	    cmocka_unit_test(a_range_suits_from_full_to_an_eighth),
	    cmocka_unit_test(adopted_ranges_are_kept_and_gaps_between_them_are_free),
	    cmocka_unit_test(of_ranges_that_make_no_sense_only_the_others_are_adopted),
	    cmocka_unit_test(ranges_never_overlap_whatever_the_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
