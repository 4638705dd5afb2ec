/* ingress/deadline: the timer wheel, with time as the test says. */
/* LINK: ingress/deadline.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/deadline.h"

struct timer {
	struct deadline deadline;
	double expired_s; /* 0: not yet */
	unsigned count;
	struct timer *clears; /* on expiry */
};

static double now_s;

static void on_expired(struct deadline *deadline)
{
	struct timer *timer = container_of(deadline, struct timer, deadline);

	timer->expired_s = now_s;
	timer->count++;
	if (timer->clears)
		deadline_clear(&timer->clears->deadline);
}

static struct timer timer_make(void)
{
	return (struct timer){.deadline = {.expired = on_expired}};
}

static void advance_to(struct wheel *wheel, double to_s)
{
	for (; now_s < to_s; now_s += 0.05)
		wheel_advance(wheel, now_s);
	now_s = to_s;
	wheel_advance(wheel, now_s);
}

static struct wheel *wheel_make(double start_s)
{
	struct wheel *wheel = malloc(sizeof(*wheel));

	assert_non_null(wheel);
	now_s = start_s;
	wheel_init(wheel, now_s);
	return wheel;
}

static void a_deadline_expires_never_early_and_soon_after(void **state)
{
	static const double delays_s[] = {0, 0.01, 0.1, 0.25, 1, 10, 60, 102.3, 102.4, 102.5, 300, 5000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(delays_s); i++) {
		struct wheel *wheel = wheel_make(1234.567);
		struct timer timer = timer_make();

		deadline_set(wheel, &timer.deadline, now_s + delays_s[i]);
		advance_to(wheel, 1234.567 + delays_s[i] + 1);
		assert_int_equal(timer.count, 1);
		assert_true(timer.expired_s >= 1234.567 + delays_s[i]);
		assert_true(timer.expired_s <= 1234.567 + delays_s[i] + 2.5 * WHEEL_TICK_S);
		assert_int_equal(wheel->armed_count, 0);
		free(wheel);
	}
}

static void activity_moves_a_deadline_on(void **state)
{
	struct wheel *wheel = wheel_make(0);
	struct timer timer = timer_make();

	(void)state;
	for (int i = 0; i < 100; i++) {
		deadline_set(wheel, &timer.deadline, now_s + 2);
		advance_to(wheel, now_s + 1);
	}
	assert_int_equal(timer.count, 0);
	advance_to(wheel, now_s + 2);
	assert_int_equal(timer.count, 1);
	free(wheel);
}

static void a_deadline_can_be_brought_forward(void **state)
{
	struct wheel *wheel = wheel_make(50);
	struct timer timer = timer_make();

	(void)state;
	deadline_set(wheel, &timer.deadline, 50 + 75);
	advance_to(wheel, 60);
	deadline_set(wheel, &timer.deadline, 61);
	advance_to(wheel, 62);
	assert_int_equal(timer.count, 1);
	assert_int_equal(wheel->armed_count, 0);
	free(wheel);
}

static void a_cleared_deadline_does_not_expire_and_can_be_set_again(void **state)
{
	struct wheel *wheel = wheel_make(0);
	struct timer timer = timer_make();

	(void)state;
	deadline_set(wheel, &timer.deadline, 1);
	deadline_clear(&timer.deadline);
	advance_to(wheel, 5);
	assert_int_equal(timer.count, 0);
	assert_int_equal(wheel->armed_count, 0);
	deadline_set(wheel, &timer.deadline, 6);
	advance_to(wheel, 7);
	assert_int_equal(timer.count, 1);
	free(wheel);
}

static void an_expiring_deadline_may_clear_another_of_the_same_tick(void **state)
{
	struct wheel *wheel = wheel_make(0);
	struct timer first = timer_make(), second = timer_make();

	(void)state;
	first.clears = &second;
	deadline_set(wheel, &first.deadline, 1);
	deadline_set(wheel, &second.deadline, 1);
	advance_to(wheel, 2);
	assert_int_equal(first.count, 1);
	assert_int_equal(second.count, 0);
	free(wheel);
}

static void a_finished_entry_is_out_of_the_wheel(void **state)
{
	struct wheel *wheel = wheel_make(0);
	struct timer *timer = malloc(sizeof(*timer));

	(void)state;
	assert_non_null(timer);
	*timer = timer_make();
	deadline_set(wheel, &timer->deadline, 1);
	deadline_done(wheel, &timer->deadline);
	free(timer);
	advance_to(wheel, 5);
	assert_int_equal(wheel->armed_count, 0);
	free(wheel);
}

static void a_long_pause_costs_one_turn_of_the_wheel(void **state)
{
	struct wheel *wheel = wheel_make(0);
	struct timer near = timer_make(), far = timer_make(), beyond = timer_make();

	(void)state;
	deadline_set(wheel, &near.deadline, 1);
	deadline_set(wheel, &far.deadline, 1000);
	deadline_set(wheel, &beyond.deadline, 9e9); /* as good as never */
	now_s = 86400;
	wheel_advance(wheel, now_s);
	assert_int_equal(near.count + far.count, 2);
	assert_int_equal(beyond.count, 0);
	deadline_done(wheel, &beyond.deadline);
	free(wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_deadline_expires_never_early_and_soon_after),
	    cmocka_unit_test(activity_moves_a_deadline_on),
	    cmocka_unit_test(a_deadline_can_be_brought_forward),
	    cmocka_unit_test(a_cleared_deadline_does_not_expire_and_can_be_set_again),
	    cmocka_unit_test(an_expiring_deadline_may_clear_another_of_the_same_tick),
	    cmocka_unit_test(a_finished_entry_is_out_of_the_wheel),
	    cmocka_unit_test(a_long_pause_costs_one_turn_of_the_wheel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
