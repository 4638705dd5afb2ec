/* What the planner is told about the node and the cluster, per family: from the flags, the Node object and the
 * ServiceCIDRs. Pure. */
#ifndef PROXY_SETTINGS_H
#define PROXY_SETTINGS_H

#include "conf/store.h"
#include "proxy/plan.h"
#include "proxy/proxy.h"

/* An owned copy of a configuration; freed with its arena. */
int settings_copy(struct arena *arena, const struct proxy_config *config, struct proxy_config *ret);

/* node may be NULL (not known); lists of *ret live in the arena. 0 or -ENOMEM.
 * Node ports answer on the prefixes given; else (or with the word primary) on the node's first address; if that is not
 * known, or nothing given is of this family, on all local addresses but loopback (row 32). */
int settings_plan(struct arena *arena, const struct proxy_config *config, const struct node_object *node,
		  const struct store *store, int family, struct plan_config *ret);
bool settings_equal(const struct plan_config *a, const struct plan_config *b);

const char *settings_zone(const struct node_object *node); /* "" when unknown; borrowed from the node */

#endif
