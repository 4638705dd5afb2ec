/* The timer wheel. */
#include "ingress/deadline.h"

#include <assert.h>

#define TICK_MAX (UINT32_MAX / 2)

static uint32_t tick_of(const struct wheel *wheel, double at_s)
{
	double ticks = (at_s - wheel->start_s) / WHEEL_TICK_S;

	if (ticks <= 0)
		return 0;
	return ticks < TICK_MAX ? (uint32_t)ticks : TICK_MAX;
}

static bool linked(const struct deadline *deadline)
{
	return deadline->next != NULL;
}

static void list_init(struct deadline *head)
{
	head->next = head->prev = head;
}

static void list_remove(struct deadline *deadline)
{
	deadline->prev->next = deadline->next;
	deadline->next->prev = deadline->prev;
	deadline->next = deadline->prev = NULL;
}

static void list_append(struct deadline *head, struct deadline *deadline)
{
	deadline->next = head;
	deadline->prev = head->prev;
	head->prev->next = deadline;
	head->prev = deadline;
}

/* Everything in `from` goes to the (new) list `to`. */
static void list_take(struct deadline *to, struct deadline *from)
{
	list_init(to);
	if (from->next == from)
		return;
	*to = (struct deadline){.next = from->next, .prev = from->prev};
	to->next->prev = to->prev->next = to;
	list_init(from);
}

void wheel_init(struct wheel *wheel, double now_s)
{
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		list_init(&wheel->slots[i]);
	wheel->start_s = now_s;
	wheel->now_tick = 0;
	wheel->armed_count = 0;
}

/* The tick at whose passing the entry is looked at: its due time, or as far ahead as the wheel reaches. */
static uint32_t visit_tick(const struct wheel *wheel, const struct deadline *deadline)
{
	uint32_t last = wheel->now_tick + WHEEL_SLOTS - 1;

	return deadline->due_tick < last ? deadline->due_tick : last;
}

static void wheel_link(struct wheel *wheel, struct deadline *deadline)
{
	deadline->slot = visit_tick(wheel, deadline) % WHEEL_SLOTS;
	list_append(&wheel->slots[deadline->slot], deadline);
	wheel->armed_count++;
}

static void wheel_unlink(struct wheel *wheel, struct deadline *deadline)
{
	list_remove(deadline);
	wheel->armed_count--;
}

/* How many ticks from now the entry's slot comes up: 1 .. WHEEL_SLOTS. */
static uint32_t ticks_to_slot(const struct wheel *wheel, const struct deadline *deadline)
{
	return (deadline->slot - wheel->now_tick - 1) % WHEEL_SLOTS + 1;
}

void deadline_set(struct wheel *wheel, struct deadline *deadline, double due_s)
{
	uint32_t due = tick_of(wheel, due_s) + 1;

	if (due <= wheel->now_tick)
		due = wheel->now_tick + 1;
	deadline->due_tick = due;
	if (linked(deadline) && wheel->now_tick + ticks_to_slot(wheel, deadline) <= due)
		return;
	if (linked(deadline))
		wheel_unlink(wheel, deadline);
	wheel_link(wheel, deadline);
}

void deadline_done(struct wheel *wheel, struct deadline *deadline)
{
	if (linked(deadline))
		wheel_unlink(wheel, deadline);
	deadline->due_tick = 0;
}

static void deadline_visit(struct wheel *wheel, struct deadline *deadline)
{
	wheel_unlink(wheel, deadline);
	if (deadline->due_tick == 0)
		return;
	if (deadline->due_tick > wheel->now_tick) {
		wheel_link(wheel, deadline);
		return;
	}
	deadline->due_tick = 0;
	deadline->expired(deadline);
}

void wheel_advance(struct wheel *wheel, double now_s)
{
	uint32_t until = tick_of(wheel, now_s);
	struct deadline due;

	/* After a long pause one turn visits every slot. */
	if (until > wheel->now_tick + WHEEL_SLOTS)
		wheel->now_tick = until - WHEEL_SLOTS;
	while (wheel->now_tick < until) {
		wheel->now_tick++;
		list_take(&due, &wheel->slots[wheel->now_tick % WHEEL_SLOTS]);
		while (due.next != &due)
			deadline_visit(wheel, due.next);
	}
}
