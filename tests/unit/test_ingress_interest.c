/* ingress/interest: what a connection waits for, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingress/interest.h"

static void what_is_wanted_follows_from_the_levels(void **state)
{
	static const struct {
		struct levels levels;
		int wanted;
	} table[] = {
	    {{.wants_bytes = true, .has_room = true}, EV_READ},
	    {{.wants_bytes = true}, 0},                                   /* full: backpressure */
	    {{.has_room = true}, 0},                                      /* nobody wants it */
	    {{.wants_bytes = true, .has_room = true, .at_eof = true}, 0}, /* would be ready for ever */
	    {{.has_output = true}, 0}, /* it is tried at once, not waited for */
	    {{.has_output = true, .write_paused = true}, EV_WRITE},
	    {{.write_paused = true}, 0}, /* nothing to write */
	    {{.wants_bytes = true, .has_room = true, .has_output = true, .write_paused = true},
	     EV_READ | EV_WRITE},
	    {{.wants_bytes = true, .has_room = true, .connecting = true}, EV_WRITE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(interest_wanted(table[i].levels), table[i].wanted);
}

static void reading_stays_registered_until_it_fires_in_vain(void **state)
{
	(void)state;
	assert_int_equal(interest_mask(0, EV_READ, 0), EV_READ);
	assert_int_equal(interest_mask(EV_READ, 0, 0), EV_READ); /* for a moment only: no system call */
	assert_int_equal(interest_mask(EV_READ, 0, EV_READ), 0); /* it would fire again at once */
	assert_int_equal(interest_mask(EV_READ, EV_READ, EV_READ), EV_READ);
	assert_int_equal(interest_mask(0, 0, EV_READ), 0);
}

static void writing_is_registered_exactly_while_it_is_wanted(void **state)
{
	(void)state;
	assert_int_equal(interest_mask(EV_READ, EV_READ | EV_WRITE, 0), EV_READ | EV_WRITE);
	assert_int_equal(interest_mask(EV_READ | EV_WRITE, EV_READ, EV_WRITE), EV_READ);
	assert_int_equal(interest_mask(EV_READ | EV_WRITE, 0, EV_WRITE), EV_READ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_wanted_follows_from_the_levels),
	    cmocka_unit_test(reading_stays_registered_until_it_fires_in_vain),
	    cmocka_unit_test(writing_is_registered_exactly_while_it_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
