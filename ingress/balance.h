/* Whose turn it is: strict round robin over an upstream's endpoints, per worker, from a random start. */
#ifndef INGRESS_BALANCE_H
#define INGRESS_BALANCE_H

#include "base/map.h"
#include "ingress/snapshot.h"

struct balance {
	struct map turns; /* bytes of an upstream id -> struct balance_turn */
};

struct balance_turn {
	uint32_t upstream_id;
	uint32_t next;
};

/* The upstream's turn counter, made with `start` if need be. NULL when out of memory. */
struct balance_turn *balance_turn(struct balance *balance, uint32_t upstream_id, uint32_t start);

/* Calls fn for every upstream that had a turn; when fn returns false, it is forgotten. */
void balance_sweep(struct balance *balance, bool (*fn)(void *ctx, uint32_t upstream_id), void *ctx);

void balance_done(struct balance *balance);

#endif
