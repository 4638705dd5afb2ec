/* From states to rules: pure functions that write fragments of one family's table (nft/ruleset.h). The whole table is
 * the base and the fragments of all services; no two fragments hold the same item (claims see to that).
 *
 *     prerouting, output (nat)
 *         firewall-check    load-balancer addresses with source ranges -> firewall-NS/NAME: drop, or go on
 *         services          service-ips[daddr . proto . dport] -> svc-, loc- or ext-NS/NAME/PORT
 *                           an address that serves node ports: service-nodeports[proto . dport] -> svc- or ext-...
 *         svc-, loc-...     priority = BASE + round robin over COUNT -> dispatch-PROTO
 *         dispatch-PROTO    dnat to endpoints[priority]
 *     input, forward, output (filter), new connections
 *         input-check       no-endpoint-nodeports, no-endpoint-services -> reject or drop
 *         forward-check     no-endpoint-services; other ports of cluster IPs: reject; service CIDRs: drop
 *     postrouting (nat), connections that were translated
 *         masquerading      hairpin-connections: masquerade
 *                           cluster-ips: masquerade if all are to be, or if it comes from no pod (row 29)
 *                           masquerade-ips, masquerade-nodeports: always, or if from the node itself (rows 17, 18)
 *
 * With session affinity ClientIP (row 27) a svc- or loc- chain begins with two more rules:
 *     recall      priority = affinity[saddr . port's id]; its time begins anew; dnat to the set's endpoint of that number
 *     remember    priority = affinity-slots[round robin]; it takes the place of what was remembered; dnat likewise
 * A packet leaves them where nothing is remembered, where it is none of the set's (any more), and where the memory is
 * full; then it is spread as without. `affinity` is one map for all services, written by packets alone.
 *  - An endpoint has a number of its own for as long as it is in either set of its port; numbers are never given twice.
 *    So memory of what is gone needs no search and no deletion: its number leads nowhere, and it times out. Numbers and
 *    ids are found again at start (affinity-slots; the tag of the rules).
 *  - The memory holds numbers, not slots, since slots move when a service shrinks and differ between the two sets; and
 *    not addresses, since nft 1.0.6 aborts on a rule that puts an address looked up in a map into another.
 *  - Keys that are looked up hold the priority, not numbers: what nft prints of these it cannot read back. In IPv6 it can
 *    print but not read back either rule (1.0.6 aborts): a map's update by an address and another field.
 *  - New connections cost two look-ups and an update, with any number of endpoints.
 *
 * Three chains a service port may have: `svc-` for the cluster policy's endpoints, `loc-` for the local policy's, and
 * `ext-` in front of them for externalTrafficPolicy Local (row 18).
 *
 * Found by trying it on kernel 6.18 with nft 1.0.6
 *  - The packet's priority carries the slot from the service's chain to dispatch, since registers do not outlive a
 *    rule. Postrouting puts it back to 0, because IPv6 forwarding and local output would keep it (IPv4 forwarding sets
 *    it anew from the TOS field). Only the first packet of a connection is touched.
 *  - What `nft list ruleset` prints can be read back by `nft -f` only where a rule with `dnat to ... map` or
 *    `ct original proto-dst` matches one protocol first; hence three dispatch chains, and rules in threes.
 *  - `drop` is allowed in nat chains: the firewall sits there and costs established connections nothing.
 *  - After each rule or verdict element added the kernel walks the table from every base chain; chains of services
 *    are walked twice (prerouting, output), and whatever they go to is walked again for each of them: the less is
 *    behind them, the better. Replacing an element of `endpoints` walks nothing. */
#ifndef PROXY_PLAN_H
#define PROXY_PLAN_H

#include "nft/ruleset.h"
#include "proxy/service.h"

struct plan_config {
	int family; /* the lists below hold this family only */
	bool masquerade_all;
	const struct cidr *cluster_cidrs; /* pods' addresses (rows 29, 31) */
	size_t cluster_cidr_count;
	const char *pod_interface; /* or what pods come in by; NULL. Neither: nobody is known to be a pod */
	bool pod_interface_is_prefix;
	const struct cidr *nodeport_cidrs; /* none: all local addresses but loopback (row 32) */
	size_t nodeport_cidr_count;
	const struct cidr *service_cidrs; /* addresses in them that no service has: drop (row 22) */
	size_t service_cidr_count;
	struct ip node_ip; /* family 0: unknown */
};

/* Names of sets that others read back. */
#define PLAN_SET_ENDPOINTS      "endpoints"
#define PLAN_SET_AFFINITY_SLOTS "affinity-slots"

/* Fragments may be added to one ruleset, in any order; failures are remembered by it (nft_ruleset_sort). */
void plan_base(const struct plan_config *config, struct nft_ruleset *ruleset);
void plan_service(const struct plan_config *config, const struct service_state *state,
		  struct nft_ruleset *ruleset);

/* The chain that spreads connections over a port's set. NULL when out of memory. */
const char *plan_chain_name(struct arena *arena, enum policy policy, const char *ns, const char *name,
			    const char *port);

/* The range a chain was planned with, from the tag of its rules. 0, or -EINVAL: not one of ours. */
int plan_tag_range(struct str tag, struct slot_range *ret);
uint32_t plan_tag_affinity_id(struct str tag); /* 0: none */
/* Key and value of a slot in the endpoint map. */
struct str plan_slot_key(const uint32_t *slot);
int plan_slot_value_parse(int family, struct str value, struct endpoint_addr *ret); /* 0, -EINVAL */

#endif
