/* The ruleset found in the kernel, as a pool that services draw from. */
#include "proxy/inforce.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "proxy/plan.h"

struct inforce_range {
	const char *chain; /* of inforce.items */
	struct slot_range range;
	uint32_t affinity_id;
	bool good, taken;
};

struct inforce_slot {
	uint32_t slot;
	const struct nft_item *item;
};

/* ---- slots ---- */

static int slot_compare(const void *a, const void *b)
{
	uint32_t left = ((const struct inforce_slot *)a)->slot,
		 right = ((const struct inforce_slot *)b)->slot;

	return left < right ? -1 : left > right;
}

static bool is_slot(const struct nft_item *item)
{
	return item->type == NFT_ITEM_ELEM && item->key.len == sizeof(uint32_t) &&
	       strcmp(item->name, PLAN_SET_ENDPOINTS) == 0;
}

static int index_slots(struct inforce *inforce)
{
	const struct nft_ruleset *items = &inforce->items;
	size_t count = 0;

	for (size_t i = 0; i < items->count; i++)
		count += is_slot(&items->items[i]);
	inforce->slots = calloc(count + 1, sizeof(*inforce->slots));
	if (!inforce->slots)
		return -ENOMEM;
	for (size_t i = 0; i < items->count; i++) {
		struct inforce_slot *slot = &inforce->slots[inforce->slot_count];

		if (!is_slot(&items->items[i]))
			continue;
		memcpy(&slot->slot, items->items[i].key.p, sizeof(slot->slot));
		slot->item = &items->items[i];
		inforce->slot_count++;
	}
	if (count > 1)
		qsort(inforce->slots, count, sizeof(*inforce->slots), slot_compare);
	return 0;
}

/* ---- ranges ---- */

static size_t collect_ranges(const struct nft_ruleset *items, struct inforce_range *ranges)
{
	size_t count = 0;

	for (size_t i = 0; i < items->count; i++) {
		const struct nft_item *item = &items->items[i];
		struct slot_range range;

		if (item->type != NFT_ITEM_RULES || plan_tag_range(item->tag, &range))
			continue;
		if (ranges)
			ranges[count] =
			    (struct inforce_range){.chain = item->name,
						   .range = range,
						   .affinity_id = plan_tag_affinity_id(item->tag)};
		count++;
	}
	return count;
}

static int adopt_ranges(struct inforce *inforce, struct slots *slots)
{
	size_t count = inforce->range_count;
	cleanup_free struct slot_range *ranges = calloc(count + 1, sizeof(*ranges));
	cleanup_free bool *good = calloc(count + 1, sizeof(*good));
	int code;

	if (!ranges || !good)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		ranges[i] = inforce->ranges[i].range;
	code = slots_adopt(slots, ranges, count, good);
	for (size_t i = 0; i < count && !code; i++)
		inforce->ranges[i].good = good[i];
	return code;
}

int inforce_init(struct inforce *inforce, struct nft_ruleset *dump, struct slots *slots)
{
	int code;

	*inforce = (struct inforce){.items = *dump};
	*dump = (struct nft_ruleset){0};
	inforce->range_count = collect_ranges(&inforce->items, NULL);
	inforce->kept = calloc(inforce->items.count + 1, sizeof(*inforce->kept));
	inforce->ranges = calloc(inforce->range_count + 1, sizeof(*inforce->ranges));
	if (!inforce->kept || !inforce->ranges) {
		inforce_done(inforce);
		return -ENOMEM;
	}
	(void)collect_ranges(&inforce->items, inforce->ranges);
	code = index_slots(inforce);
	if (!code)
		code = adopt_ranges(inforce, slots);
	if (code)
		inforce_done(inforce);
	return code;
}

void inforce_done(struct inforce *inforce)
{
	nft_ruleset_done(&inforce->items);
	free(inforce->kept);
	free(inforce->slots);
	free(inforce->ranges);
	*inforce = (struct inforce){0};
}

static int range_compare(const void *key, const void *member)
{
	return strcmp(key, ((const struct inforce_range *)member)->chain);
}

static struct inforce_range *range_of(const struct inforce *inforce, const char *chain)
{
	return inforce->range_count > 0 ? bsearch(chain, inforce->ranges, inforce->range_count,
						  sizeof(*inforce->ranges), range_compare)
					: NULL;
}

static uint32_t affinity_number(const struct nft_item *item)
{
	uint32_t number = 0;

	if (item && item->value.len == sizeof(number))
		memcpy(&number, item->value.p, sizeof(number));
	return number;
}

static void read_affinity(const struct inforce *inforce, const struct inforce_range *range,
			  struct endpoint_set *set)
{
	for (size_t i = 0; range->affinity_id && i < set->count; i++) {
		uint32_t slot = range->range.base + (uint32_t)i;

		set->endpoints[i].affinity_number = affinity_number(nft_ruleset_find(
		    &inforce->items, NFT_ITEM_ELEM, PLAN_SET_AFFINITY_SLOTS, plan_slot_key(&slot)));
	}
}

/* Reads slot after slot until one is empty; `endpoints` has room for the whole range. */
static size_t read_set(const struct inforce *inforce, int family, struct slot_range range,
		       struct service_endpoint *endpoints)
{
	const struct inforce_slot *end = inforce->slots + inforce->slot_count, *at;
	const struct inforce_slot key = {.slot = range.base};
	size_t count = 0;

	if (inforce->slot_count == 0)
		return 0;
	at = bsearch(&key, inforce->slots, inforce->slot_count, sizeof(*inforce->slots), slot_compare);
	for (; at && at < end && count < range.capacity && at->slot == range.base + count; at++, count++)
		if (plan_slot_value_parse(family, at->item->value, &endpoints[count].addr))
			break;
	return count;
}

/* A range may say it is huge: no more endpoints can be in it than there are at all. */
static size_t room_for(const struct inforce *inforce, struct slot_range range)
{
	return 1 + (range.capacity < inforce->slot_count ? range.capacity : inforce->slot_count);
}

int inforce_take(struct inforce *inforce, int family, const char *chain, struct slot_range *ret_range,
		 struct endpoint_set *ret_set)
{
	struct inforce_range *found = range_of(inforce, chain);
	struct endpoint_set set = {0};

	if (!found || !found->good || found->taken)
		return -ENOENT;
	set.endpoints = calloc(room_for(inforce, found->range), sizeof(*set.endpoints));
	if (!set.endpoints)
		return -ENOMEM;
	set.count = read_set(inforce, family, found->range, set.endpoints);
	read_affinity(inforce, found, &set);
	found->taken = true;
	*ret_range = found->range;
	*ret_set = set;
	return 0;
}

uint32_t inforce_affinity_id(const struct inforce *inforce, const char *chain)
{
	const struct inforce_range *found = range_of(inforce, chain);

	return found ? found->affinity_id : 0;
}

uint32_t inforce_affinity_last(const struct inforce *inforce)
{
	uint32_t last = 0;

	for (size_t i = 0; i < inforce->range_count; i++)
		if (inforce->ranges[i].affinity_id > last)
			last = inforce->ranges[i].affinity_id;
	for (size_t i = 0; i < inforce->items.count; i++) {
		const struct nft_item *item = &inforce->items.items[i];

		if (item->type == NFT_ITEM_ELEM && strcmp(item->name, PLAN_SET_AFFINITY_SLOTS) == 0 &&
		    affinity_number(item) > last)
			last = affinity_number(item);
	}
	return last;
}

bool inforce_leave(struct inforce *inforce, struct slot_range range)
{
	for (size_t i = 0; i < inforce->range_count; i++) {
		struct inforce_range *candidate = &inforce->ranges[i];

		if (candidate->taken && candidate->range.base == range.base) {
			candidate->taken = false;
			return true;
		}
	}
	return false;
}

void inforce_give_untaken(struct inforce *inforce, struct slots *slots)
{
	for (size_t i = 0; i < inforce->range_count; i++)
		if (inforce->ranges[i].good && !inforce->ranges[i].taken)
			slots_give(slots, inforce->ranges[i].range);
	inforce->range_count = 0;
}

/* ---- items ---- */

/* Walks both rulesets side by side: for each item in force, whether `wanted` has one of the same identity. */
struct match {
	const struct inforce *inforce;
	const struct nft_ruleset *wanted;
	size_t index, wanted_index;
};

/* The next item not kept; false at the end. */
static bool match_next(struct match *match, size_t *ret_index, bool *ret_wanted)
{
	const struct nft_ruleset *items = &match->inforce->items;

	for (; match->index < items->count; match->index++) {
		int order = 1;

		if (match->inforce->kept[match->index])
			continue;
		while (match->wanted_index < match->wanted->count && order > 0) {
			order = nft_item_compare(&items->items[match->index],
						 &match->wanted->items[match->wanted_index]);
			if (order > 0)
				match->wanted_index++;
		}
		*ret_wanted = order == 0;
		*ret_index = match->index++;
		return true;
	}
	return false;
}

int inforce_offer(const struct inforce *inforce, const struct nft_ruleset *wanted, bool all,
		  struct nft_ruleset *ret)
{
	struct match match = {.inforce = inforce, .wanted = wanted};
	struct nft_ruleset offer = {.size = all ? inforce->items.count : wanted->count};
	size_t index;
	bool is_wanted;

	offer.items = calloc(offer.size + 1, sizeof(*offer.items));
	if (!offer.items)
		return -ENOMEM;
	while (match_next(&match, &index, &is_wanted))
		if (is_wanted || all)
			offer.items[offer.count++] = inforce->items.items[index];
	*ret = offer;
	return 0;
}

void inforce_keep(struct inforce *inforce, const struct nft_ruleset *wanted)
{
	struct match match = {.inforce = inforce, .wanted = wanted};
	size_t index;
	bool is_wanted;

	while (match_next(&match, &index, &is_wanted))
		if (is_wanted)
			inforce->kept[index] = true;
}
