/* The node's service proxy: Services and their endpoints in, nf_tables rules out (service-proxy contract).
 *
 *     store -> registry (objects by Service) -> service (what each of its ports should do) -> plan (the rules for it)
 *           -> nft_diff -> nft_kernel_apply; then stale UDP connections are forgotten
 *
 * Invariants
 *  1. Nothing is programmed before Services and EndpointSlices (and Endpoints from files) are synced.
 *  2. Rules in force are adopted at start, never flushed: only differences are applied.
 *  3. proxy_free leaves the rules in force; only proxy_cleanup removes them. */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <ev.h>

#include "base/metrics.h"
#include "conf/store.h"

struct proxy;

struct proxy_config {
	const char *node_name; /* --hostname-override, else the host's name */
	/* Who is a pod (row 31): by the addresses of the cluster's pods, or of this node's, or by the interface a
	 * connection comes in by. Nothing given: nobody is known to be one. */
	const struct cidr *cluster_cidrs;
	size_t cluster_cidr_count;
	bool pods_by_node;         /* Node.spec.podCIDRs; no cluster_cidrs then */
	const char *pod_interface; /* NULL: none */
	bool pod_interface_is_prefix;
	const struct cidr *nodeport_cidrs; /* --nodeport-addresses */
	size_t nodeport_cidr_count;
	bool nodeport_primary; /* the word "primary" */
	bool masquerade_all;
	struct ip node_ips[2];    /* --bind-address or the node's addresses; family 0: unknown */
	bool loopback_endpoints;  /* manifests: endpoint addresses on loopback are accepted */
	double min_sync_period_s; /* --nftables-min-sync-period; 0: at once */
};

/* config is copied. NULL with *err. Starts by itself once the store is synced. */
struct proxy *proxy_new(struct ev_loop *loop, struct store *store, const struct proxy_config *config,
			struct metrics *metrics, struct err *err);
struct proxy *proxy_free(struct proxy *proxy);

bool proxy_ready(const struct proxy *proxy);   /* the first complete state is in force */
bool proxy_healthy(const struct proxy *proxy); /* no change has waited too long (rows 39, 40) */
/* Seconds since the rules were last brought up to date; -1: not yet. */
double proxy_update_age_s(const struct proxy *proxy);

int proxy_cleanup(struct err *err); /* --cleanup: deletes our tables */

#endif
