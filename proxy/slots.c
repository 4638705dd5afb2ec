/* The slot allocator: free lists by size, and a mark up to which numbers were ever used. Large free ranges are split, but
 * a freed range is not merged with its neighbours: sizes recur, and the next start finds the gaps between what is used. */
#include "proxy/slots.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

static unsigned level_for(size_t count)
{
	unsigned level = 0;

	while (((size_t)1 << level) < count)
		level++;
	return level;
}

static unsigned level_of(struct slot_range range)
{
	return (unsigned)__builtin_ctz(range.capacity);
}

bool slot_range_suits(struct slot_range range, size_t count)
{
	if (count == 0 || range.capacity < count)
		return false;
	return range.capacity <= (size_t)8 << level_for(count);
}

static int free_list_push(struct slot_free_list *list, uint32_t base)
{
	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 16;
		uint32_t *bases = realloc(list->bases, size * sizeof(*bases));

		if (!bases)
			return -ENOMEM;
		list->bases = bases;
		list->size = size;
	}
	list->bases[list->count++] = base;
	return 0;
}

/* Takes a free range of the level, or the front of a larger one, whose rest stays free. */
static bool take_free(struct slots *slots, unsigned level, uint32_t *ret_base)
{
	unsigned from = level;
	struct slot_free_list *list;

	while (from < SLOT_SIZE_LEVELS && slots->free[from].count == 0)
		from++;
	if (from == SLOT_SIZE_LEVELS)
		return false;
	list = &slots->free[from];
	*ret_base = list->bases[--list->count];
	while (from-- > level)
		(void)free_list_push(&slots->free[from], *ret_base + (1u << from)); /* see slots_give */
	return true;
}

int slots_take(struct slots *slots, size_t count, struct slot_range *ret)
{
	unsigned level = level_for(count);
	uint32_t capacity, base;

	if (level >= SLOT_SIZE_LEVELS)
		return -ENOSPC;
	capacity = 1u << level;
	if (!take_free(slots, level, &base)) {
		if (capacity > SLOT_LAST - slots->handed_out)
			return -ENOSPC;
		base = slots->handed_out + 1;
		slots->handed_out += capacity;
	}
	slots->reserved += capacity;
	*ret = (struct slot_range){base, capacity};
	return 0;
}

void slots_give(struct slots *slots, struct slot_range range)
{
	if (range.capacity == 0)
		return;
	slots->reserved -= range.capacity;
	/* Out of memory: the numbers are lost until the next start, which adopts what is used and frees the
	 * rest. */
	(void)free_list_push(&slots->free[level_of(range)], range.base);
}

/* ---- adoption ---- */

struct adoption {
	struct slot_range range;
	size_t index;
};

static int adoption_compare(const void *left, const void *right)
{
	const struct adoption *a = left, *b = right;

	if (a->range.base != b->range.base)
		return a->range.base < b->range.base ? -1 : 1;
	return a->index < b->index ? -1 : 1;
}

static bool well_formed(struct slot_range range)
{
	return range.capacity > 0 && (range.capacity & (range.capacity - 1)) == 0 &&
	       range.base >= SLOT_FIRST && range.base <= SLOT_LAST &&
	       range.capacity - 1 <= SLOT_LAST - range.base;
}

/* Makes the numbers from `from` to `to` (excluded) free ranges, the largest that fit first. */
static int free_gap(struct slots *slots, uint32_t from, uint32_t to)
{
	while (from < to) {
		unsigned level = 31u - (unsigned)__builtin_clz(to - from);
		int code = free_list_push(&slots->free[level], from);

		if (code)
			return code;
		from += 1u << level;
	}
	return 0;
}

int slots_adopt(struct slots *slots, const struct slot_range *ranges, size_t count, bool *ret_adopted)
{
	cleanup_free struct adoption *sorted = calloc(count ? count : 1, sizeof(*sorted));
	uint32_t next = SLOT_FIRST;
	size_t good = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		ret_adopted[i] = false;
		if (well_formed(ranges[i]))
			sorted[good++] = (struct adoption){ranges[i], i};
	}
	qsort(sorted, good, sizeof(*sorted), adoption_compare);
	for (size_t i = 0; i < good; i++) {
		struct slot_range range = sorted[i].range;

		if (range.base < next)
			continue;
		if (free_gap(slots, next, range.base)) {
			slots_done(slots);
			for (size_t k = 0; k < count; k++)
				ret_adopted[k] = false;
			return -ENOMEM;
		}
		next = range.base + range.capacity;
		slots->reserved += range.capacity;
		ret_adopted[sorted[i].index] = true;
	}
	slots->handed_out = next - 1;
	return 0;
}

void slots_done(struct slots *slots)
{
	for (size_t i = 0; i < SLOT_SIZE_LEVELS; i++)
		free(slots->free[i].bases);
	*slots = (struct slots){0};
}
