/* Who owns what only one Service may hold in a table: a frontend (address, protocol, port), a node port, an
 * address in a shared set. The API server keeps most of these apart, but external addresses may clash, files
 * may say anything, and one pod may be behind many Services. The oldest claim wins: by creation time, then by
 * name.
 *
 * Invariants
 *  1. A thing has an owner as long as anybody claims it, and who that is depends only on who claims it now.
 *  2. Things are known by a seeded 64-bit hash: two things with one hash would count as a clash, which costs
 *     one of them its frontend and does no other harm.
 *  3. Claimants are borrowed: they must give up their claims before they die. */
#ifndef PROXY_CLAIMS_H
#define PROXY_CLAIMS_H

#include "base/map.h"
#include "proxy/service.h"

struct claimant {
	int64_t created_s;
	const char *ns, *name;
};

struct claim_slot;

struct claims {
	struct claim_slot *slots; /* open addressing, linear probing */
	size_t count, size;       /* size: a power of two or 0 */
	struct map contests;      /* hash bytes -> struct contest: things that more than one claims */
	/* Somebody gained or lost something by what another did. */
	void (*changed)(void *ctx, struct claimant *claimant);
	void *ctx;
};

/* Claims everything a state needs; marks the endpoints that stand for a hairpin claim. -ENOMEM: nothing is
 * claimed then. state may be NULL. */
int claims_add_state(struct claims *claims, struct claimant *claimant, struct service_state *state);
void claims_remove_state(struct claims *claims, struct claimant *claimant, const struct service_state *state);

/* Sets the owned flags of the state to what is true now. */
void claims_resolve(const struct claims *claims, const struct claimant *claimant,
		    struct service_state *state);

/* Whose frontend is it? addr.ip.family 0: a node port. NULL: nobody's. */
struct claimant *claims_frontend_owner(const struct claims *claims, const struct endpoint_addr *addr,
				       enum protocol protocol);

void claims_done(struct claims *claims);

#endif
