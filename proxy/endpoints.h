/* Which endpoints a service port sends connections to: a pure function of all EndpointSlices and Endpoints
 * objects of its Service (service-proxy contract rows 8, 9, 24, 25, 26).
 *
 *     every endpoint of the port's name, protocol and family, duplicates merged (row 9)
 *         cluster set: the ready ones, narrowed by topology hints (row 26);
 *                      if none is ready, those that serve while they end
 *         local set:   the ready ones on this node;
 *                      if none is ready there, those that serve there while they end (row 24)
 *
 * Invariants
 *  1. Sets are ordered by the text form of ip:port and hold no duplicates.
 *  2. The result does not depend on the order of the objects. */
#ifndef PROXY_ENDPOINTS_H
#define PROXY_ENDPOINTS_H

#include "base/addr.h"
#include "base/arena.h"
#include "conf/object.h"

/* Which of a service port's two endpoint sets. */
enum policy { POLICY_CLUSTER, POLICY_LOCAL };
#define POLICY_COUNT 2

struct service_endpoint {
	struct endpoint_addr addr;
	uint32_t affinity_number; /* set by the family table: clients are remembered to be with it; 0: none */
	bool may_be_here;    /* on this node, or on no node named: it may call itself through the service (row
				28) */
	bool claims_hairpin; /* set by the claims: stands for its Service's claim on the address in the
				hairpin set */
	bool owns_hairpin;   /* ... and the claim is the best one: its Service puts the address there */
};

struct endpoint_set {
	struct service_endpoint *endpoints;
	size_t count;
};

struct endpoint_query {
	int family;
	const char *port_name;
	enum protocol protocol;
	const char *node_name, *zone; /* this node; zone "" when unknown */
	bool allow_loopback;
	bool uses[POLICY_COUNT]; /* which sets are wanted (row 25) */
};

struct endpoint_selection {
	struct endpoint_set sets[POLICY_COUNT];
	bool any; /* some endpoint is ready, or serves while it ends, on whatever node: decides reject or drop
		   */
};

/* All slices and Endpoints of one Service. The sets live in the arena. 0 or -ENOMEM. */
int endpoints_select(struct arena *arena, const struct endpoints *const *objects, size_t object_count,
		     const struct endpoint_query *query, struct endpoint_selection *ret);

/* Is there an endpoint of this address and port that still serves, ready or not? (Row 33: its connections
 * stay.) */
bool endpoints_serve(const struct endpoints *const *objects, size_t object_count,
		     const struct endpoint_query *query, const struct endpoint_addr *addr);

/* Why an endpoint's address cannot be used ("is a loopback address"), or NULL if it can. */
const char *endpoint_refusal(const struct endpoint *endpoint, bool allow_loopback);

/* Does an object count for the service proxy: is it of a service, and not another proxy's (rows 1, 2)? */
bool endpoints_count(const struct endpoints *object);

/* Reorders `wanted` so that what was in `old` keeps its index where the new length allows; endpoints from
 * beyond it and new ones fill the holes, in order. 0 or -ENOMEM (nothing is moved then). */
int endpoints_keep_places(const struct endpoint_set *old, struct endpoint_set *wanted);

#endif
