/* Writes the table: base chains and sets, then each service's elements and chains. */
#include "proxy/plan.h"

#include <errno.h>
#include <linux/netfilter/nf_nat.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "nft/rule.h"

/* linux/netfilter.h defines these too, but not beside netinet/in.h on every libc. */
enum { HOOK_PREROUTING, HOOK_INPUT, HOOK_FORWARD, HOOK_OUTPUT, HOOK_POSTROUTING };
enum { PRIORITY_DSTNAT = -100, PRIORITY_FILTER = 0, PRIORITY_SRCNAT = 100 };
#define NO_HOOK (-1)

#define AFFINITY_DEFAULT_MS (10800ull * 1000u)
#define AFFINITY_MAX        (1u << 18) /* clients remembered: others cannot fill the kernel's memory */

#define RTN_LOCAL_ADDRESS 2u /* RTN_LOCAL of linux/rtnetlink.h */

#define SET_SERVICE_IPS           "service-ips"
#define SET_SERVICE_NODEPORTS     "service-nodeports"
#define SET_NO_ENDPOINT_SERVICES  "no-endpoint-services"
#define SET_NO_ENDPOINT_NODEPORTS "no-endpoint-nodeports"
#define SET_FIREWALL_IPS          "firewall-ips"
#define SET_MASQUERADE_IPS        "masquerade-ips"
#define SET_MASQUERADE_NODEPORTS  "masquerade-nodeports"
#define SET_CLUSTER_IPS           "cluster-ips"
#define SET_HAIRPIN               "hairpin-connections"
#define SET_AFFINITY              "affinity"
#define CHAIN_SERVICES            "services"
#define CHAIN_FIREWALL_CHECK      "firewall-check"
#define CHAIN_INPUT_CHECK         "input-check"
#define CHAIN_FORWARD_CHECK       "forward-check"
#define CHAIN_REJECT              "reject-chain"
#define CHAIN_MASQUERADING        "masquerading"
#define CHAIN_MASQUERADE_CLUSTER  "masquerade-cluster-ips"
#define CHAIN_MASQUERADE_ALWAYS   "masquerade-always"
#define CHAIN_MASQUERADE_IF_LOCAL "masquerade-if-local"

static const uint8_t protocol_numbers[] = {
    [PROTOCOL_TCP] = IPPROTO_TCP, [PROTOCOL_UDP] = IPPROTO_UDP, [PROTOCOL_SCTP] = IPPROTO_SCTP};
static const char *const dispatch_chains[] = {
    [PROTOCOL_TCP] = "dispatch-tcp", [PROTOCOL_UDP] = "dispatch-udp", [PROTOCOL_SCTP] = "dispatch-sctp"};
#define PROTOCOL_COUNT 3
/* By number, the endpoints a remembered client may be sent to. */
static const char *const affinity_sets[POLICY_COUNT] = {
    [POLICY_CLUSTER] = "affinity-endpoints", [POLICY_LOCAL] = "affinity-local-endpoints"};

/* A plan being written. */
struct plan {
	const struct plan_config *config;
	struct nft_ruleset *ruleset;
	struct nft_rules rules;
};

static const char *text_in(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *text_in(struct arena *arena, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return arena_dup(arena, str_of(text));
}

/* ---- rules, a line each ---- */

static struct nft_rules *rule(struct plan *plan)
{
	nft_rule_begin(&plan->rules, NULL, NFT_NO_TAG);
	return &plan->rules;
}

/* The rules written since the last chain become this one's. */
static void add_chain(struct plan *plan, const char *name, const struct nft_chain_spec *spec)
{
	nft_ruleset_add_chain(plan->ruleset, name, spec);
	if (buf_len(&plan->rules.bytes) > 0 || plan->rules.failed)
		nft_ruleset_add_rules(plan->ruleset, name, &plan->rules);
	nft_rules_clear(&plan->rules);
}

static void chain(struct plan *plan, const char *name)
{
	const struct nft_chain_spec spec = {.type = "", .hook = NO_HOOK};

	add_chain(plan, name, &spec);
}

static void base_chain(struct plan *plan, const char *name, const char *type, int hook, int priority)
{
	const struct nft_chain_spec spec = {.type = type, .hook = hook, .priority = priority};

	add_chain(plan, name, &spec);
}

static void rule_jump(struct plan *plan, const char *target)
{
	nft_rule_verdict(rule(plan), NFT_RULE_JUMP, target);
}

/* daddr . proto . dport */
static void rule_vmap_frontend(struct plan *plan, const char *map)
{
	nft_rule_match_vmap(
	    rule(plan), NFT_FIELDS(nft_field_daddr(plan->config->family), NFT_FIELD_L4PROTO, NFT_FIELD_DPORT),
	    map);
}

static void match_ct_new(struct nft_rules *rules)
{
	nft_rule_match_bits(rules, NFT_FIELD_CT_STATE, NFT_CT_STATE_NEW, false);
}

/* ---- node ports: which addresses serve them ---- */

static size_t nodeport_match_count(const struct plan_config *config)
{
	return config->nodeport_cidr_count ? config->nodeport_cidr_count : 1;
}

/* One rule for each index below nodeport_match_count. */
static void match_nodeport_address(const struct plan_config *config, struct nft_rules *rules,
				   enum nft_field field, size_t index)
{
	static const struct cidr loopback_4 = {.ip = {AF_INET, {127}}, .prefix_bits = 8};
	static const struct cidr loopback_6 = {.ip = {AF_INET6, {[15] = 1}}, .prefix_bits = 128};

	if (config->nodeport_cidr_count > 0)
		nft_rule_match_cidr(rules, field, &config->nodeport_cidrs[index], false);
	else
		nft_rule_match_cidr(rules, field, config->family == AF_INET ? &loopback_4 : &loopback_6,
				    true);
}

/* ---- who is a pod (row 31) ---- */

static size_t pod_match_count(const struct plan_config *config)
{
	return config->pod_interface ? 1 : config->cluster_cidr_count;
}

/* One rule for each index below pod_match_count. Forwarded packets still know the interface they came in by in
 * postrouting (kernels from 5.7 on); what the node itself sends came in by none. */
static void match_pod(const struct plan_config *config, struct nft_rules *rules, enum nft_field saddr,
		      size_t index)
{
	if (config->pod_interface)
		nft_rule_match_ifname(rules, NFT_FIELD_IIFNAME, config->pod_interface,
				      config->pod_interface_is_prefix, false);
	else
		nft_rule_match_cidr(rules, saddr, &config->cluster_cidrs[index], false);
}

/* ---- the base: sets ---- */

static enum nft_datatype address_type(const struct plan_config *config)
{
	return config->family == AF_INET ? NFT_DATATYPE_IPV4_ADDR : NFT_DATATYPE_IPV6_ADDR;
}

static void base_sets(struct plan *plan)
{
	static const char *const frontend_maps[] = {SET_SERVICE_IPS, SET_NO_ENDPOINT_SERVICES,
						    SET_FIREWALL_IPS, SET_MASQUERADE_IPS};
	static const char *const nodeport_maps[] = {SET_SERVICE_NODEPORTS, SET_NO_ENDPOINT_NODEPORTS,
						    SET_MASQUERADE_NODEPORTS};
	enum nft_datatype address = address_type(plan->config);
	const enum nft_datatype *verdict = NFT_DATATYPES(NFT_DATATYPE_VERDICT);
	struct nft_set_spec frontend = nft_set_spec_of(
	    NFT_DATATYPES(address, NFT_DATATYPE_INET_PROTO, NFT_DATATYPE_INET_SERVICE), verdict, 0);
	struct nft_set_spec nodeport =
	    nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_PROTO, NFT_DATATYPE_INET_SERVICE), verdict, 0);
	struct nft_set_spec endpoints = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_PRIORITY),
							NFT_DATATYPES(address, NFT_DATATYPE_INET_SERVICE), 0);
	struct nft_set_spec addresses = nft_set_spec_of(NFT_DATATYPES(address), NULL, 0);
	struct nft_set_spec pairs = nft_set_spec_of(NFT_DATATYPES(address, address), NULL, 0);

	for (size_t i = 0; i < ARRAY_LEN(frontend_maps); i++)
		nft_ruleset_add_set(plan->ruleset, frontend_maps[i], &frontend);
	for (size_t i = 0; i < ARRAY_LEN(nodeport_maps); i++)
		nft_ruleset_add_set(plan->ruleset, nodeport_maps[i], &nodeport);
	nft_ruleset_add_set(plan->ruleset, PLAN_SET_ENDPOINTS, &endpoints);
	nft_ruleset_add_set(plan->ruleset, SET_CLUSTER_IPS, &addresses);
	nft_ruleset_add_set(plan->ruleset, SET_HAIRPIN, &pairs);
}

static void base_affinity(struct plan *plan)
{
	enum nft_datatype address = address_type(plan->config);
	struct nft_set_spec memory = nft_set_spec_of(NFT_DATATYPES(address, NFT_DATATYPE_PRIORITY),
						     NFT_DATATYPES(NFT_DATATYPE_PRIORITY),
						     NFT_SET_FLAG_DYNAMIC | NFT_SET_FLAG_TIMEOUT);
	struct nft_set_spec slots =
	    nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_PRIORITY), NFT_DATATYPES(NFT_DATATYPE_PRIORITY), 0);
	struct nft_set_spec numbers = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_PRIORITY),
						      NFT_DATATYPES(address, NFT_DATATYPE_INET_SERVICE), 0);

	memory.timeout_ms = AFFINITY_DEFAULT_MS;
	memory.size_max = AFFINITY_MAX;
	nft_ruleset_add_set(plan->ruleset, SET_AFFINITY, &memory);
	nft_ruleset_add_set(plan->ruleset, PLAN_SET_AFFINITY_SLOTS, &slots);
	for (size_t p = 0; p < POLICY_COUNT; p++)
		nft_ruleset_add_set(plan->ruleset, affinity_sets[p], &numbers);
}

/* ---- the base: translation ---- */

static void base_dispatch(struct plan *plan)
{
	unsigned port_register = plan->config->family == AF_INET ? 1 : 4;

	for (size_t i = 0; i < PROTOCOL_COUNT; i++) {
		struct nft_rules *rules = rule(plan);

		nft_rule_match_u8(rules, NFT_FIELD_L4PROTO, NFT_CMP_EQ, protocol_numbers[i]);
		(void)nft_rule_load(rules, 0, NFT_FIELD_PRIORITY);
		nft_rule_lookup_map(rules, PLAN_SET_ENDPOINTS, 0, 0);
		nft_rule_dnat(rules, plan->config->family, 0, port_register);
		chain(plan, dispatch_chains[i]);
	}
}

static void base_services(struct plan *plan)
{
	rule_vmap_frontend(plan, SET_SERVICE_IPS);
	for (size_t i = 0; i < nodeport_match_count(plan->config); i++) {
		struct nft_rules *rules = rule(plan);

		nft_rule_match_u32(rules, NFT_FIELD_FIB_DADDR_TYPE, NFT_CMP_EQ, RTN_LOCAL_ADDRESS);
		match_nodeport_address(plan->config, rules, nft_field_daddr(plan->config->family), i);
		nft_rule_match_vmap(rules, NFT_FIELDS(NFT_FIELD_L4PROTO, NFT_FIELD_DPORT),
				    SET_SERVICE_NODEPORTS);
	}
	chain(plan, CHAIN_SERVICES);
	rule_vmap_frontend(plan, SET_FIREWALL_IPS);
	chain(plan, CHAIN_FIREWALL_CHECK);
}

static void base_translation(struct plan *plan)
{
	static const struct {
		const char *name;
		int hook;
	} hooks[] = {{"nat-prerouting", HOOK_PREROUTING}, {"nat-output", HOOK_OUTPUT}};

	base_dispatch(plan);
	base_services(plan);
	for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
		rule_jump(plan, CHAIN_FIREWALL_CHECK);
		rule_jump(plan, CHAIN_SERVICES);
		base_chain(plan, hooks[i].name, "nat", hooks[i].hook, PRIORITY_DSTNAT);
	}
}

/* ---- the base: masquerade ---- */

static void rule_masquerade(struct nft_rules *rules)
{
	nft_rule_masquerade(rules, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
}

/* Row 29: connections to cluster IPs are masqueraded if all are, or if they come from no pod. */
static void base_masquerade_cluster_ips(struct plan *plan)
{
	const struct plan_config *config = plan->config;

	for (size_t i = 0; i < pod_match_count(config) && !config->masquerade_all; i++) {
		match_pod(config, rule(plan), nft_field_ct_original_saddr(config->family), i);
		nft_rule_verdict(&plan->rules, NFT_RULE_RETURN, NULL);
	}
	if (config->masquerade_all || pod_match_count(config) > 0)
		rule_masquerade(rule(plan));
	chain(plan, CHAIN_MASQUERADE_CLUSTER);
}

/* The frontend a connection came in by, from its original tuple. */
static void base_masquerade_frontends(struct plan *plan)
{
	enum nft_field daddr = nft_field_ct_original_daddr(plan->config->family);

	for (size_t i = 0; i < PROTOCOL_COUNT; i++) {
		nft_rule_match_u8(rule(plan), NFT_FIELD_L4PROTO, NFT_CMP_EQ, protocol_numbers[i]);
		nft_rule_match_vmap(&plan->rules,
				    NFT_FIELDS(daddr, NFT_FIELD_L4PROTO, NFT_FIELD_CT_ORIGINAL_DPORT),
				    SET_MASQUERADE_IPS);
	}
	for (size_t i = 0; i < PROTOCOL_COUNT * nodeport_match_count(plan->config); i++) {
		nft_rule_match_u8(rule(plan), NFT_FIELD_L4PROTO, NFT_CMP_EQ,
				  protocol_numbers[i % PROTOCOL_COUNT]);
		match_nodeport_address(plan->config, &plan->rules, daddr, i / PROTOCOL_COUNT);
		nft_rule_match_vmap(&plan->rules, NFT_FIELDS(NFT_FIELD_L4PROTO, NFT_FIELD_CT_ORIGINAL_DPORT),
				    SET_MASQUERADE_NODEPORTS);
	}
}

static void base_masquerade(struct plan *plan)
{
	int family = plan->config->family;

	rule_masquerade(rule(plan));
	chain(plan, CHAIN_MASQUERADE_ALWAYS);
	nft_rule_match_u32(rule(plan), NFT_FIELD_FIB_SADDR_TYPE, NFT_CMP_EQ, RTN_LOCAL_ADDRESS);
	rule_masquerade(&plan->rules);
	chain(plan, CHAIN_MASQUERADE_IF_LOCAL);
	base_masquerade_cluster_ips(plan);

	nft_rule_match_set(rule(plan), NFT_FIELDS(nft_field_saddr(family), nft_field_daddr(family)),
			   SET_HAIRPIN, false);
	rule_masquerade(&plan->rules);
	nft_rule_match_set(rule(plan), NFT_FIELDS(nft_field_ct_original_daddr(family)), SET_CLUSTER_IPS,
			   false);
	nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, CHAIN_MASQUERADE_CLUSTER);
	base_masquerade_frontends(plan);
	chain(plan, CHAIN_MASQUERADING);

	nft_rule_match_bits(rule(plan), NFT_FIELD_CT_STATUS, NFT_CT_STATUS_DNAT, false);
	(void)nft_rule_immediate_u32(&plan->rules, 0, 0);
	nft_rule_meta_set(&plan->rules, NFT_FIELD_PRIORITY, 0);
	nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, CHAIN_MASQUERADING);
	base_chain(plan, "nat-postrouting", "nat", HOOK_POSTROUTING, PRIORITY_SRCNAT);
}

/* ---- the base: rejects ---- */

static void base_input_check(struct plan *plan)
{
	for (size_t i = 0; i < nodeport_match_count(plan->config); i++) {
		match_nodeport_address(plan->config, rule(plan), nft_field_daddr(plan->config->family), i);
		nft_rule_match_vmap(&plan->rules, NFT_FIELDS(NFT_FIELD_L4PROTO, NFT_FIELD_DPORT),
				    SET_NO_ENDPOINT_NODEPORTS);
	}
	rule_vmap_frontend(plan, SET_NO_ENDPOINT_SERVICES);
	chain(plan, CHAIN_INPUT_CHECK);
}

static void base_forward_check(struct plan *plan)
{
	enum nft_field daddr = nft_field_daddr(plan->config->family);

	rule_vmap_frontend(plan, SET_NO_ENDPOINT_SERVICES);
	nft_rule_match_set(rule(plan), NFT_FIELDS(daddr), SET_CLUSTER_IPS, false);
	nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, CHAIN_REJECT);
	for (size_t i = 0; i < plan->config->service_cidr_count; i++) {
		nft_rule_match_cidr(rule(plan), daddr, &plan->config->service_cidrs[i], false);
		nft_rule_verdict(&plan->rules, NFT_RULE_DROP, NULL);
	}
	chain(plan, CHAIN_FORWARD_CHECK);
}

/* The kernel sends a host about one ICMP error a second (net.ipv4.icmp_ratelimit), then clients would hang where they should be
 * refused; a TCP reset says the same to every connection. */
static void base_reject_chain(struct plan *plan)
{
	nft_rule_match_u8(rule(plan), NFT_FIELD_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
	nft_rule_reject(&plan->rules, plan->config->family, NFT_REJECT_WITH_TCP_RESET);
	nft_rule_reject(rule(plan), plan->config->family, NFT_REJECT_WITH_PORT_UNREACHABLE);
	chain(plan, CHAIN_REJECT);
}

static void base_rejects(struct plan *plan)
{
	static const struct {
		const char *name, *check;
		int hook;
	} hooks[] = {
	    {"filter-input", CHAIN_INPUT_CHECK, HOOK_INPUT},
	    {"filter-forward", CHAIN_FORWARD_CHECK, HOOK_FORWARD},
	    {"filter-output", CHAIN_FORWARD_CHECK, HOOK_OUTPUT},
	};

	base_reject_chain(plan);
	base_input_check(plan);
	base_forward_check(plan);
	for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
		match_ct_new(rule(plan));
		nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, hooks[i].check);
		base_chain(plan, hooks[i].name, "filter", hooks[i].hook, PRIORITY_FILTER);
	}
}

void plan_base(const struct plan_config *config, struct nft_ruleset *ruleset)
{
	struct plan plan = {.config = config, .ruleset = ruleset};

	base_sets(&plan);
	base_affinity(&plan);
	base_translation(&plan);
	base_masquerade(&plan);
	base_rejects(&plan);
	nft_rules_done(&plan.rules);
}

/* ---- a service: where its endpoints sit ---- */

/* Base and capacity of the range, and the affinity id where there is one. */
struct range_tag {
	uint32_t words[3];
	size_t len_bytes;
};

static struct range_tag range_tag(struct slot_range range, uint32_t affinity_id)
{
	return (struct range_tag){.words = {htonl(range.base), htonl(range.capacity), htonl(affinity_id)},
				  .len_bytes = (affinity_id ? 3 : 2) * sizeof(uint32_t)};
}

static bool range_tag_parse(struct str tag, struct range_tag *ret)
{
	struct range_tag parsed = {.len_bytes = tag.len};

	if (tag.len != 2 * sizeof(uint32_t) && tag.len != sizeof(parsed.words))
		return false;
	memcpy(parsed.words, tag.p, tag.len);
	*ret = parsed;
	return true;
}

int plan_tag_range(struct str tag, struct slot_range *ret)
{
	struct range_tag parsed;

	if (!range_tag_parse(tag, &parsed))
		return -EINVAL;
	*ret = (struct slot_range){ntohl(parsed.words[0]), ntohl(parsed.words[1])};
	return 0;
}

uint32_t plan_tag_affinity_id(struct str tag)
{
	struct range_tag parsed;

	return range_tag_parse(tag, &parsed) ? ntohl(parsed.words[2]) : 0;
}

struct str plan_slot_key(const uint32_t *slot)
{
	return (struct str){(const char *)slot, sizeof(*slot)};
}

static struct str slot_value(struct nft_key *key, const struct endpoint_addr *addr)
{
	nft_key_add_ip(key, &addr->ip);
	nft_key_add_port(key, addr->port);
	return nft_key_str(key);
}

int plan_slot_value_parse(int family, struct str value, struct endpoint_addr *ret)
{
	struct endpoint_addr addr = {.ip = {.family = (uint16_t)family}};
	size_t ip_bytes = ip_len(&addr.ip);
	uint16_t port;

	if (value.len != ip_bytes + 4) /* the port is padded to 4 */
		return -EINVAL;
	memcpy(addr.ip.bytes, value.p, ip_bytes);
	memcpy(&port, value.p + ip_bytes, sizeof(port));
	addr.port = ntohs(port);
	*ret = addr;
	return 0;
}

const char *plan_chain_name(struct arena *arena, enum policy policy, const char *ns, const char *name,
			    const char *port)
{
	return text_in(arena, "%s-%s/%s%s%s", policy == POLICY_CLUSTER ? "svc" : "loc", ns, name,
		       port[0] ? "/" : "", port);
}

/* One of the set's slots in turn, into register 0. */
static void choose_slot(struct nft_rules *rules, const struct endpoint_set *set, struct slot_range range)
{
	if (set->count == 1)
		(void)nft_rule_immediate_u32(rules, 0, range.base);
	else
		(void)nft_rule_numgen(rules, 0, NFT_NG_INCREMENTAL, (uint32_t)set->count, range.base);
}

/* ---- a service: which endpoint a client had (row 27) ---- */

struct affinity {
	const struct service_port_state *port;
	enum policy policy;
	uint64_t timeout_ms;
};

static struct nft_rules *match_protocol(struct plan *plan, const struct service_port_state *port)
{
	nft_rule_match_u8(&plan->rules, NFT_FIELD_L4PROTO, NFT_CMP_EQ, protocol_numbers[port->protocol]);
	return &plan->rules;
}

/* The number in register 0 is remembered and its endpoint has the connection. A number that is none of the set's: the
 * packet leaves the rule. `forget` what was first: an update would only give it more time. */
static void remember_and_go(struct plan *plan, const struct affinity *affinity, bool forget)
{
	int family = plan->config->family;
	struct nft_rules *rules = &plan->rules;
	unsigned number;

	nft_rule_meta_set(rules, NFT_FIELD_PRIORITY, 0);
	number = nft_rule_load(rules, 0, nft_field_saddr(family));
	number = nft_rule_immediate_u32(rules, number, affinity->port->affinity_id);
	(void)nft_rule_load(rules, number, NFT_FIELD_PRIORITY);
	if (forget)
		nft_rule_dynset(rules, NFT_DYNSET_OP_DELETE, SET_AFFINITY, 0, number, 0);
	nft_rule_dynset(rules, NFT_DYNSET_OP_UPDATE, SET_AFFINITY, 0, number, affinity->timeout_ms);
	(void)nft_rule_load(rules, 0, NFT_FIELD_PRIORITY);
	nft_rule_lookup_map(rules, affinity_sets[affinity->policy], 0, 0);
	nft_rule_dnat(rules, family, 0, family == AF_INET ? 1 : 4);
}

/* The port's id goes by the priority, as does the slot below: nft cannot read back what it prints of keys that are
 * numbers. */
static void rule_recall(struct plan *plan, const struct affinity *affinity)
{
	struct nft_rules *rules = match_protocol(plan, affinity->port);
	unsigned id;

	(void)nft_rule_immediate_u32(rules, 0, affinity->port->affinity_id);
	nft_rule_meta_set(rules, NFT_FIELD_PRIORITY, 0);
	id = nft_rule_load(rules, 0, nft_field_saddr(plan->config->family));
	(void)nft_rule_load(rules, id, NFT_FIELD_PRIORITY);
	nft_rule_lookup_map(rules, SET_AFFINITY, 0, 0);
	remember_and_go(plan, affinity, false);
}

static void rule_remember(struct plan *plan, const struct affinity *affinity)
{
	const struct service_port_state *port = affinity->port;
	struct nft_rules *rules = match_protocol(plan, port);

	choose_slot(rules, &port->sets[affinity->policy], port->ranges[affinity->policy]);
	nft_rule_meta_set(rules, NFT_FIELD_PRIORITY, 0);
	(void)nft_rule_load(rules, 0, NFT_FIELD_PRIORITY);
	nft_rule_lookup_map(rules, PLAN_SET_AFFINITY_SLOTS, 0, 0);
	remember_and_go(plan, affinity, true);
}

static void affinity_elements(struct plan *plan, const struct affinity *affinity)
{
	const struct endpoint_set *set = &affinity->port->sets[affinity->policy];

	for (size_t i = 0; i < set->count; i++) {
		uint32_t slot = affinity->port->ranges[affinity->policy].base + (uint32_t)i;
		struct nft_key number = {0}, value = {0};

		nft_key_add_u32(&number, set->endpoints[i].affinity_number);
		nft_ruleset_add_elem(plan->ruleset, PLAN_SET_AFFINITY_SLOTS, plan_slot_key(&slot),
				     nft_key_str(&number));
		nft_ruleset_add_elem(plan->ruleset, affinity_sets[affinity->policy], nft_key_str(&number),
				     slot_value(&value, &set->endpoints[i].addr));
	}
}

/* ---- a service: connections are spread ---- */

static void port_set(struct plan *plan, const struct service_state *state,
		     const struct service_port_state *port, enum policy policy, const char *chain_name)
{
	struct affinity affinity = {port, policy, (uint64_t)state->affinity_timeout_s * 1000};
	const struct endpoint_set *set = &port->sets[policy];
	struct slot_range range = port->ranges[policy];
	struct range_tag tag = range_tag(range, port->affinity_id);

	if (set->count == 0)
		return;
	for (size_t i = 0; i < set->count; i++) {
		uint32_t slot = range.base + (uint32_t)i;
		struct nft_key value = {0};

		nft_ruleset_add_elem(plan->ruleset, PLAN_SET_ENDPOINTS, plan_slot_key(&slot),
				     slot_value(&value, &set->endpoints[i].addr));
	}
	nft_rule_begin(&plan->rules, NULL, (struct str){(const char *)tag.words, tag.len_bytes});
	if (port->affinity_id) {
		affinity_elements(plan, &affinity);
		rule_recall(plan, &affinity);
		(void)rule(plan);
		rule_remember(plan, &affinity);
		(void)rule(plan);
	}
	choose_slot(&plan->rules, set, range);
	nft_rule_meta_set(&plan->rules, NFT_FIELD_PRIORITY, 0);
	nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, dispatch_chains[port->protocol]);
	chain(plan, chain_name);
}

static void port_hairpins(struct plan *plan, const struct service_port_state *port)
{
	for (size_t p = 0; p < POLICY_COUNT; p++) {
		for (size_t i = 0; i < port->sets[p].count; i++) {
			const struct service_endpoint *endpoint = &port->sets[p].endpoints[i];
			struct nft_key key = {0};

			if (!endpoint->owns_hairpin)
				continue;
			nft_key_add_ip(&key, &endpoint->addr.ip);
			nft_key_add_ip(&key, &endpoint->addr.ip);
			nft_ruleset_add_elem(plan->ruleset, SET_HAIRPIN, nft_key_str(&key),
					     (struct str){NULL, 0});
		}
	}
}

/* ---- a service: its frontends ---- */

/* The names of a port's chains. */
struct port_chains {
	const char *policies[POLICY_COUNT], *external, *comment;
};

static struct port_chains chains_of(struct plan *plan, const struct service_state *state,
				    const struct service_port_state *port)
{
	struct arena *arena = &plan->ruleset->arena;
	const char *separator = port->name[0] ? "/" : "";
	struct port_chains chains = {
	    .policies = {plan_chain_name(arena, POLICY_CLUSTER, state->ns, state->name, port->name),
			 plan_chain_name(arena, POLICY_LOCAL, state->ns, state->name, port->name)},
	    .external = text_in(arena, "ext-%s/%s%s%s", state->ns, state->name, separator, port->name),
	    .comment =
		text_in(arena, "%s/%s%s%s", state->ns, state->name, port->name[0] ? ":" : "", port->name),
	};

	if (!chains.policies[POLICY_CLUSTER] || !chains.policies[POLICY_LOCAL] || !chains.external ||
	    !chains.comment)
		plan->ruleset->failed = -ENOMEM;
	return chains;
}

/* What becomes of new connections to a frontend: translated by a chain (NULL: none), and what the filter says
 * of those that were not ("": nothing). */
struct fate {
	const char *chain;
	struct str refusal;
};

static struct fate fate_of(const struct service_state *state, const struct service_port_state *port,
			   enum frontend_kind kind, const struct port_chains *chains)
{
	bool internal = kind == FRONTEND_CLUSTER_IP;
	bool any_local = port->sets[POLICY_LOCAL].count > 0;

	if (!port->any)
		return (struct fate){NULL, STR_LIT(CHAIN_REJECT)};
	if (!(internal ? state->internal_local : state->external_local))
		return (struct fate){chains->policies[POLICY_CLUSTER], {NULL, 0}};
	if (internal)
		return any_local ? (struct fate){chains->policies[POLICY_LOCAL], {NULL, 0}}
				 : (struct fate){NULL, NFT_VERDICT_DROP};
	return (struct fate){chains->external, any_local ? (struct str){NULL, 0} : NFT_VERDICT_DROP};
}

static struct nft_key frontend_key(const struct frontend *frontend)
{
	struct nft_key key = {0};

	if (frontend->kind != FRONTEND_NODE_PORT)
		nft_key_add_ip(&key, &frontend->ip);
	nft_key_add_u8(&key, protocol_numbers[frontend->protocol]);
	nft_key_add_port(&key, frontend->port);
	return key;
}

static const char *firewall_chain(struct plan *plan, const struct service_state *state)
{
	const char *name = text_in(&plan->ruleset->arena, "firewall-%s/%s", state->ns, state->name);

	if (!name)
		plan->ruleset->failed = -ENOMEM;
	return name;
}

static void add_frontend(struct plan *plan, const struct service_state *state,
			 const struct frontend *frontend, const struct port_chains *chains)
{
	bool node_port = frontend->kind == FRONTEND_NODE_PORT;
	struct fate fate =
	    fate_of(state, &state->ports[frontend->port_index], (enum frontend_kind)frontend->kind, chains);
	struct nft_key key = frontend_key(frontend);

	if (fate.chain)
		nft_ruleset_add_verdict(plan->ruleset, node_port ? SET_SERVICE_NODEPORTS : SET_SERVICE_IPS,
					nft_key_str(&key), str_of(fate.chain));
	if (fate.refusal.len > 0) {
		nft_ruleset_add_verdict(plan->ruleset,
					node_port ? SET_NO_ENDPOINT_NODEPORTS : SET_NO_ENDPOINT_SERVICES,
					nft_key_str(&key), fate.refusal);
		nft_ruleset_comment(plan->ruleset, chains->comment);
	}
	if (fate.chain && frontend->kind != FRONTEND_CLUSTER_IP)
		nft_ruleset_add_verdict(
		    plan->ruleset, node_port ? SET_MASQUERADE_NODEPORTS : SET_MASQUERADE_IPS,
		    nft_key_str(&key),
		    str_of(state->external_local ? CHAIN_MASQUERADE_IF_LOCAL : CHAIN_MASQUERADE_ALWAYS));
	if (frontend->filtered)
		nft_ruleset_add_verdict(plan->ruleset, SET_FIREWALL_IPS, nft_key_str(&key),
					str_of(firewall_chain(plan, state)));
}

/* externalTrafficPolicy Local (row 18): pods and the node itself are sent on as by the cluster policy. */
static void external_chain(struct plan *plan, const struct service_port_state *port,
			   const struct port_chains *chains)
{
	const struct plan_config *config = plan->config;

	for (size_t i = 0; i < pod_match_count(config); i++) {
		match_pod(config, rule(plan), nft_field_saddr(config->family), i);
		nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, chains->policies[POLICY_CLUSTER]);
	}
	nft_rule_match_u32(rule(plan), NFT_FIELD_FIB_SADDR_TYPE, NFT_CMP_EQ, RTN_LOCAL_ADDRESS);
	nft_rule_verdict(&plan->rules, NFT_RULE_GOTO, chains->policies[POLICY_CLUSTER]);
	if (port->sets[POLICY_LOCAL].count > 0)
		nft_rule_verdict(rule(plan), NFT_RULE_GOTO, chains->policies[POLICY_LOCAL]);
	chain(plan, chains->external);
}

/* ---- a service: source ranges ---- */

/* Where a range holds the node's own address, connections from the node may arrive with the load-balancer
 * address as their source: it is then let in too (row 16). */
static bool admits_vips(const struct plan_config *config, const struct service_state *state)
{
	for (size_t i = 0; i < state->source_range_count; i++)
		if (cidr_contains(&state->source_ranges[i], &config->node_ip))
			return true;
	return false;
}

static void rule_return_from(struct plan *plan, const struct cidr *from)
{
	nft_rule_match_cidr(rule(plan), nft_field_saddr(plan->config->family), from, false);
	nft_rule_verdict(&plan->rules, NFT_RULE_RETURN, NULL);
}

static void service_firewall(struct plan *plan, const struct service_state *state)
{
	bool vips = admits_vips(plan->config, state), any = false;

	for (size_t i = 0; i < state->source_range_count; i++)
		rule_return_from(plan, &state->source_ranges[i]);
	for (size_t i = 0; i < state->frontend_count; i++) {
		const struct frontend *frontend = &state->frontends[i];

		if (!frontend->filtered)
			continue;
		any |= frontend->owned;
		if (vips && frontend->port_index == 0)
			rule_return_from(plan,
					 &(struct cidr){.ip = frontend->ip,
							.prefix_bits = (uint8_t)(ip_len(&frontend->ip) * 8)});
	}
	nft_rule_verdict(rule(plan), NFT_RULE_DROP, NULL);
	if (any)
		chain(plan, firewall_chain(plan, state));
	nft_rules_clear(&plan->rules);
}

static void service_ports(struct plan *plan, const struct service_state *state)
{
	for (size_t i = 0, f = 0; i < state->port_count; i++) {
		const struct service_port_state *port = &state->ports[i];
		struct port_chains chains = chains_of(plan, state, port);
		bool external = false;

		if (plan->ruleset->failed)
			return;
		for (unsigned policy = 0; policy < POLICY_COUNT; policy++)
			port_set(plan, state, port, (enum policy)policy, chains.policies[policy]);
		port_hairpins(plan, port);
		for (; f < state->frontend_count && state->frontends[f].port_index == i; f++) {
			if (!state->frontends[f].owned)
				continue;
			external |= state->frontends[f].kind != FRONTEND_CLUSTER_IP;
			add_frontend(plan, state, &state->frontends[f], &chains);
		}
		if (external && state->external_local && port->any)
			external_chain(plan, port, &chains);
	}
}

void plan_service(const struct plan_config *config, const struct service_state *state,
		  struct nft_ruleset *ruleset)
{
	struct plan plan = {.config = config, .ruleset = ruleset};
	struct nft_key key = {0};

	if (!state)
		return;
	service_ports(&plan, state);
	if (state->source_range_count > 0)
		service_firewall(&plan, state);
	if (state->owns_cluster_ip) {
		nft_key_add_ip(&key, &state->cluster_ip);
		nft_ruleset_add_elem(ruleset, SET_CLUSTER_IPS, nft_key_str(&key), (struct str){NULL, 0});
	}
	nft_rules_done(&plan.rules);
}
