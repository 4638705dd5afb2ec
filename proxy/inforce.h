/* What is in the kernel and not yet known to be ours to keep: read once at start or repair, then worked off. Services
 * find their old slots here, transactions find what they need not add, and what nobody asked for goes at the end.
 *
 * Invariants
 *  1. An item is offered until a committed transaction kept it (inforce_keep); then it is the states' business.
 *  2. Ranges are adopted in the slot allocator as a whole at the beginning; those no service took back are given
 *     back at the end, when their elements are deleted.
 *  3. A struct inforce of all zeroes is valid: nothing in force. */
#ifndef PROXY_INFORCE_H
#define PROXY_INFORCE_H

#include "nft/ruleset.h"
#include "proxy/endpoints.h"
#include "proxy/slots.h"

struct inforce_range;
struct inforce_slot;

struct inforce {
	struct nft_ruleset items;   /* sorted */
	bool *kept;                 /* one for each item */
	struct inforce_slot *slots; /* the endpoint map, in order of slots */
	size_t slot_count;
	struct inforce_range *ranges;
	size_t range_count;
};

/* Takes over the dump (sorted); adopts its ranges in `slots`, which must be empty. 0 or -ENOMEM. */
int inforce_init(struct inforce *inforce, struct nft_ruleset *dump, struct slots *slots);
void inforce_done(struct inforce *inforce);

/* Takes the range an earlier run gave to a chain, with the endpoints in it (in slot order, from malloc). 0; -ENOENT:
 * there is none, or it is taken; -ENOMEM. */
int inforce_take(struct inforce *inforce, int family, const char *chain, struct slot_range *ret_range,
		 struct endpoint_set *ret_set);
/* The affinity id that the rules of a chain were planned with; the highest of all ids and numbers of endpoints. 0: none. */
uint32_t inforce_affinity_id(const struct inforce *inforce, const char *chain);
uint32_t inforce_affinity_last(const struct inforce *inforce);
/* Puts a range back. False: it is not one of an earlier run. */
bool inforce_leave(struct inforce *inforce, struct slot_range range);
void inforce_give_untaken(struct inforce *inforce, struct slots *slots);

/* The items not kept that `wanted` (sorted) has too, or with `all` every item not kept: a ruleset of borrowed items,
 * sorted, to be freed with free(ret->items). 0 or -ENOMEM. */
int inforce_offer(const struct inforce *inforce, const struct nft_ruleset *wanted, bool all,
		  struct nft_ruleset *ret);
/* The transaction with these offered items is committed. */
void inforce_keep(struct inforce *inforce, const struct nft_ruleset *wanted);

#endif
