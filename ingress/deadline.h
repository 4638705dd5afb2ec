/* Deadlines of many connections on one timer: a wheel of coarse ticks. Pure: time is what the caller says.
 *
 * Setting a deadline later than before, which is what activity does, only writes a number: the entry is
 * looked at when its old slot comes up, and moves on then. So a request costs no timer work.
 *
 * Invariants
 *  1. A deadline expires at or after its time, by at most one tick plus what wheel_advance is late.
 *  2. Expiry unlinks first and calls then: the callback may set, clear or free any deadline, itself included.
 *  3. armed_count is the number of entries that still need wheel_advance: at 0 the timer may stop. */
#ifndef INGRESS_DEADLINE_H
#define INGRESS_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_SLOTS  1024 /* later deadlines pass the wheel several times */
#define WHEEL_TICK_S 0.1

struct deadline;
typedef void deadline_fn(struct deadline *deadline);

struct deadline {
	struct deadline *next, *prev; /* in the slot; next == NULL: not armed */
	deadline_fn *expired;
	uint32_t due_tick; /* 0: none */
	uint32_t slot;
};

struct wheel {
	struct deadline slots[WHEEL_SLOTS]; /* heads of circular lists; only next and prev are used */
	double start_s;
	uint32_t now_tick; /* since start_s */
	size_t armed_count;
};

void wheel_init(struct wheel *wheel, double now_s);

/* due_s: on the same clock as wheel_init's and wheel_advance's. */
void deadline_set(struct wheel *wheel, struct deadline *deadline, double due_s);

/* No deadline for now; the entry may stay linked until its slot comes up. */
static inline void deadline_clear(struct deadline *deadline)
{
	deadline->due_tick = 0;
}

/* Unlinks; before the entry is freed. */
void deadline_done(struct wheel *wheel, struct deadline *deadline);

/* Calls `expired` of all that are due. */
void wheel_advance(struct wheel *wheel, double now_s);

#endif
