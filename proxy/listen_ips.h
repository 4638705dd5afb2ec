/* On which of the node's addresses node ports answer, for servers that must bind them (service-proxy contract
 * rows 32, 37). */
#ifndef PROXY_LISTEN_IPS_H
#define PROXY_LISTEN_IPS_H

#include "base/arena.h"
#include "proxy/plan.h"

struct listen_ips {
	struct ip *items;
	size_t count;
};

/* Of the node's addresses `local`, those that the plans' node-port prefixes hold; a plan without prefixes stands
 * for all of its family, as the unspecified address, and two such plans together as family 0: one socket for both.
 * Pure. 0 or -ENOMEM. */
int listen_ips_choose(struct arena *arena, const struct plan_config *ipv4, const struct plan_config *ipv6,
		      const struct listen_ips *local, struct listen_ips *ret);

/* The addresses of the node's interfaces. 0 or -errno. */
int listen_ips_local(struct arena *arena, struct listen_ips *ret);

static inline bool listen_ips_equal(const struct listen_ips *a, const struct listen_ips *b)
{
	return a->count == b->count &&
	       (a->count == 0 || memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0);
}

#endif
