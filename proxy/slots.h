/* Which numbers of the endpoint map belong to whom. Every (service port, policy) owns a range of slots, a
 * power of two long so that it can grow in place; `numgen inc mod COUNT offset BASE` walks the first COUNT of
 * them.
 *
 * Invariants
 *  1. Ranges handed out never overlap; slot 0 is never handed out (it is what an unset priority reads as).
 *  2. A range given back is handed out again before new numbers are used: the numbers in use stay near the
 *     number of endpoints.
 *  3. A struct slots of all zeroes is valid: nothing handed out. */
#ifndef PROXY_SLOTS_H
#define PROXY_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOT_FIRST       1u
#define SLOT_LAST        0x7fffffffu
#define SLOT_SIZE_LEVELS 31 /* ranges of 2^0 to 2^30 slots */

struct slot_range {
	uint32_t base, capacity; /* capacity 0: no range */
};

struct slot_free_list {
	uint32_t *bases;
	size_t count, size;
};

struct slots {
	struct slot_free_list free[SLOT_SIZE_LEVELS]; /* by log2 of the capacity */
	uint32_t handed_out;                          /* slots 1 to this were handed out at some time */
	size_t reserved;                              /* slots in ranges that are out now */
};

/* Is the range right for so many endpoints: large enough, and not more than eight times too large? */
bool slot_range_suits(struct slot_range range, size_t count);

/* A range for count > 0 endpoints. 0, -ENOSPC, -ENOMEM. */
int slots_take(struct slots *slots, size_t count, struct slot_range *ret);
void slots_give(struct slots *slots, struct slot_range range); /* capacity 0: nothing */

/* Takes exactly these ranges, which an earlier run handed out, before anything else is taken; ret_adopted[i]
 * says whether ranges[i] is good: a power of two long, in bounds, and clear of the good ones with lower
 * numbers. 0 or -ENOMEM (nothing is adopted then). */
int slots_adopt(struct slots *slots, const struct slot_range *ranges, size_t count, bool *ret_adopted);

void slots_done(struct slots *slots);

#endif
