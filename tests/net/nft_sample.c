/* Sample tables: see nft_sample.h. */
#include "tests/net/nft_sample.h"

#include <assert.h>
#include <stdio.h>

#include "nft/rule.h"

static struct ip address(int family, uint8_t last)
{
	struct ip ip = {.family = (uint16_t)family};

	if (family == AF_INET)
		memcpy(ip.bytes, (uint8_t[]){10, 96, 0, last}, 4);
	else
		memcpy(ip.bytes, (uint8_t[16]){0xfd, [15] = last}, 16);
	return ip;
}

static struct nft_key frontend(int family, uint8_t last, uint8_t protocol, uint16_t port)
{
	struct ip ip = address(family, last);
	struct nft_key key = {.len = 0};

	nft_key_add_ip(&key, &ip);
	nft_key_add_u8(&key, protocol);
	nft_key_add_port(&key, port);
	return key;
}

static void add_sets(struct nft_ruleset *ruleset, int family)
{
	enum nft_datatype addr = family == AF_INET ? NFT_DATATYPE_IPV4_ADDR : NFT_DATATYPE_IPV6_ADDR;
	const enum nft_datatype *verdict = NFT_DATATYPES(NFT_DATATYPE_VERDICT);
	const enum nft_datatype *vip =
	    NFT_DATATYPES(addr, NFT_DATATYPE_INET_PROTO, NFT_DATATYPE_INET_SERVICE);
	struct nft_set_spec spec;

	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_PRIORITY),
			       NFT_DATATYPES(addr, NFT_DATATYPE_INET_SERVICE), 0);
	nft_ruleset_add_set(ruleset, "endpoints", &spec);
	nft_ruleset_comment(ruleset, "slot to endpoint");
	spec = nft_set_spec_of(vip, verdict, 0);
	nft_ruleset_add_set(ruleset, "services", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_PROTO, NFT_DATATYPE_INET_SERVICE), verdict, 0);
	nft_ruleset_add_set(ruleset, "nodeports", &spec);
	spec = nft_set_spec_of(vip, NULL, 0);
	nft_ruleset_add_set(ruleset, "masquerade", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(addr, addr), NULL, 0);
	nft_ruleset_add_set(ruleset, "hairpin", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(addr), NULL, NFT_SET_FLAG_INTERVAL);
	nft_ruleset_add_set(ruleset, "service-cidrs", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(addr, NFT_DATATYPE_INET_SERVICE), NULL, NFT_SET_FLAG_INTERVAL);
	nft_ruleset_add_set(ruleset, "firewall", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(addr), verdict, NFT_SET_FLAG_INTERVAL);
	nft_ruleset_add_set(ruleset, "zones", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_PROTO), NULL, 0);
	nft_ruleset_add_set(ruleset, "protocols", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_INET_SERVICE), NULL, 0);
	nft_ruleset_add_set(ruleset, "ports", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_IFNAME), NULL, 0);
	nft_ruleset_add_set(ruleset, "links", &spec);
	spec = nft_set_spec_of(NFT_DATATYPES(addr, NFT_DATATYPE_MARK), NFT_DATATYPES(NFT_DATATYPE_PRIORITY),
			       NFT_SET_FLAG_DYNAMIC | NFT_SET_FLAG_TIMEOUT);
	spec.timeout_ms = 10800000;
	spec.size_max = 65536;
	nft_ruleset_add_set(ruleset, "affinity", &spec);
}

static void add_elements(struct nft_ruleset *ruleset, int family)
{
	static const uint8_t protocols[] = {6, 17, 132};
	const struct str none = {NULL, 0};
	struct nft_key key, key_end, value;

	for (uint32_t slot = 1; slot <= 3; slot++) {
		struct ip ip = address(family, (uint8_t)(100 + slot));

		key = value = (struct nft_key){.len = 0};
		nft_key_add_u32(&key, slot);
		nft_key_add_ip(&value, &ip);
		nft_key_add_port(&value, 8080);
		nft_ruleset_add_elem(ruleset, "endpoints", nft_key_str(&key), nft_key_str(&value));
		nft_ruleset_comment(ruleset, "default/web:http");
		key = (struct nft_key){.len = 0};
		nft_key_add_ip(&key, &ip);
		nft_key_add_ip(&key, &ip);
		nft_ruleset_add_elem(ruleset, "hairpin", nft_key_str(&key), none);
	}
	key = frontend(family, 1, 6, 80);
	nft_ruleset_add_verdict(ruleset, "services", nft_key_str(&key), str_of("svc/default/web/http/tcp"));
	nft_ruleset_comment(ruleset, "default/web:http");
	nft_ruleset_add_elem(ruleset, "masquerade", nft_key_str(&key), none);
	key = frontend(family, 2, 17, 53);
	nft_ruleset_add_verdict(ruleset, "services", nft_key_str(&key), NFT_VERDICT_DROP);
	key = (struct nft_key){.len = 0};
	nft_key_add_u8(&key, 6);
	nft_key_add_port(&key, 30080);
	nft_ruleset_add_verdict(ruleset, "nodeports", nft_key_str(&key), str_of("svc/default/web/http/tcp"));
	for (unsigned i = 0; i < sizeof(protocols); i++)
		nft_ruleset_add_elem(ruleset, "protocols", (struct str){(const char *)&protocols[i], 1},
				     none);
	key = (struct nft_key){.len = 0};
	nft_key_add_port(&key, 443);
	nft_ruleset_add_elem(ruleset, "ports", nft_key_str(&key), none);
	nft_ruleset_add_elem(ruleset, "links", (struct str){"eth0\0\0\0\0\0\0\0\0\0\0\0", 16}, none);
	key = frontend(family, 0, 6, 0);
	struct ip first = address(family, 0), last = address(family, 255);
	nft_ruleset_add_range(ruleset, "zones", NFT_ELEM_RANGE_VERDICT,
			      (struct str){(char *)first.bytes, ip_len(&first)},
			      (struct str){(char *)last.bytes, ip_len(&last)}, NFT_VERDICT_RETURN);
	key = key_end = (struct nft_key){.len = 0};
	nft_key_add_ip(&key, &first);
	nft_key_add_ip(&key_end, &last);
	nft_key_add_port(&key, 80);
	nft_key_add_port(&key_end, 90);
	nft_ruleset_add_range(ruleset, "firewall", NFT_ELEM_CONCAT_RANGE, nft_key_str(&key),
			      nft_key_str(&key_end), none);
	nft_ruleset_comment(ruleset, "range of ranges");
}

static void add_cidrs(struct nft_ruleset *ruleset, int family)
{
	static const char *const cidrs[2][4] = {
	    {"10.96.0.0/16", "10.97.0.0/16", "192.168.7.1/32", "240.0.0.0/4"},
	    {"fd00::/112", "fd00::1:0/112", "2001:db8::1/128", "ff00::/8"},
	};
	struct cidr cidr;

	for (unsigned i = 0; i < 4; i++) {
		if (cidr_parse(str_of(cidrs[family == AF_INET6][i]), &cidr) != 0)
			assert(!"a good cidr");
		nft_ruleset_add_cidr(ruleset, "service-cidrs", &cidr);
	}
}

static void service_chain(struct nft_ruleset *ruleset, const char *name, const char *comment, uint32_t base,
			  uint32_t count)
{
	static const struct nft_chain_spec regular = {.hook = -1};
	const uint32_t tag[] = {base, count};
	struct nft_rules rules = {.failed = 0};

	nft_rule_begin(&rules, comment, (struct str){(const char *)tag, sizeof(tag)});
	nft_rule_numgen(&rules, 0, NFT_NG_INCREMENTAL, count, base);
	nft_rule_meta_set(&rules, NFT_FIELD_PRIORITY, 0);
	nft_rule_verdict(&rules, NFT_RULE_GOTO, "dispatch");
	nft_ruleset_add_chain(ruleset, name, &regular);
	nft_ruleset_add_rules(ruleset, name, &rules);
	nft_rules_done(&rules);
}

/* Slot to address and port, the priority put back, destination changed: one rule. */
static void dispatch_chain(struct nft_ruleset *ruleset, int family)
{
	static const struct nft_chain_spec regular = {.hook = -1};
	struct nft_rules rules = {.failed = 0};

	nft_rule_begin(&rules, NULL, NFT_NO_TAG);
	nft_rule_match_set(&rules, NFT_FIELDS(NFT_FIELD_L4PROTO), "protocols", false);
	nft_rule_load(&rules, 0, NFT_FIELD_PRIORITY);
	nft_rule_lookup_map(&rules, "endpoints", 0, 4);
	nft_rule_immediate_u32(&rules, 0, 0);
	nft_rule_meta_set(&rules, NFT_FIELD_PRIORITY, 0);
	nft_rule_dnat(&rules, family, 4, family == AF_INET ? 5 : 8);
	nft_ruleset_add_chain(ruleset, "dispatch", &regular);
	nft_ruleset_add_rules(ruleset, "dispatch", &rules);
	nft_rules_done(&rules);
}

static void nat_chains(struct nft_ruleset *ruleset, int family)
{
	const struct nft_chain_spec prerouting = {.type = "nat", .hook = 0, .priority = -100};
	const struct nft_chain_spec postrouting = {.type = "nat", .hook = 4, .priority = 100};
	enum nft_field saddr = nft_field_saddr(family), daddr = nft_field_daddr(family);
	struct nft_rules rules = {.failed = 0};

	nft_rule_begin(&rules, NULL, NFT_NO_TAG);
	nft_rule_match_vmap(&rules, NFT_FIELDS(daddr, NFT_FIELD_L4PROTO, NFT_FIELD_DPORT), "services");
	nft_rule_begin(&rules, "node ports", NFT_NO_TAG);
	nft_rule_match_u32(&rules, NFT_FIELD_FIB_DADDR_TYPE, NFT_CMP_EQ, 2);
	nft_rule_match_vmap(&rules, NFT_FIELDS(NFT_FIELD_L4PROTO, NFT_FIELD_DPORT), "nodeports");
	nft_ruleset_add_chain(ruleset, "nat-prerouting", &prerouting);
	nft_ruleset_comment(ruleset, "outside clients");
	nft_ruleset_add_rules(ruleset, "nat-prerouting", &rules);
	nft_rules_clear(&rules);

	nft_rule_begin(&rules, "frontends that need it", NFT_NO_TAG);
	nft_rule_match_bits(&rules, NFT_FIELD_CT_STATUS, NFT_CT_STATUS_DNAT, false);
	nft_rule_match_set(
	    &rules,
	    NFT_FIELDS(nft_field_ct_original_daddr(family), NFT_FIELD_L4PROTO, NFT_FIELD_CT_ORIGINAL_DPORT),
	    "masquerade", false);
	nft_rule_masquerade(&rules, 1 << 4);
	nft_rule_begin(&rules, "hairpin", NFT_NO_TAG);
	nft_rule_match_bits(&rules, NFT_FIELD_CT_STATUS, NFT_CT_STATUS_DNAT, false);
	nft_rule_match_set(&rules, NFT_FIELDS(saddr, daddr), "hairpin", false);
	nft_rule_masquerade(&rules, 0);
	nft_ruleset_add_chain(ruleset, "nat-postrouting", &postrouting);
	nft_ruleset_add_rules(ruleset, "nat-postrouting", &rules);
	nft_rules_done(&rules);
}

static void address_matches(struct nft_rules *rules, int family)
{
	enum nft_field saddr = nft_field_saddr(family), daddr = nft_field_daddr(family);
	const char *cidrs[2][2] = {{"10.0.0.0/9", "10.1.2.3/32"}, {"fd00::/7", "fd00::1/128"}};
	struct ip from = address(family, 1), to = address(family, 9);
	struct cidr cidr;

	for (unsigned i = 0; i < 2; i++) {
		if (cidr_parse(str_of(cidrs[family == AF_INET6][i]), &cidr) != 0)
			assert(!"a good cidr");
		nft_rule_begin(rules, NULL, NFT_NO_TAG);
		nft_rule_match_cidr(rules, i == 0 ? saddr : daddr, &cidr, i == 1);
		nft_rule_verdict(rules, NFT_RULE_RETURN, NULL);
	}
	nft_rule_begin(rules, NULL, NFT_NO_TAG);
	nft_rule_load(rules, 0, saddr);
	nft_rule_range(rules, 0, from.bytes, to.bytes, ip_len(&from), false);
	nft_rule_verdict(rules, NFT_RULE_CONTINUE, NULL);
	nft_rule_begin(rules, "service network", NFT_NO_TAG);
	nft_rule_match_set(rules, NFT_FIELDS(daddr), "service-cidrs", true);
	nft_rule_match_set(rules, NFT_FIELDS(saddr, NFT_FIELD_DPORT), "firewall", false);
	nft_rule_counter_named(rules, "dropped");
	nft_rule_verdict(rules, NFT_RULE_DROP, NULL);
	nft_rule_begin(rules, NULL, NFT_NO_TAG);
	nft_rule_match_vmap(rules, NFT_FIELDS(saddr), "zones");
}

static void ct_matches(struct nft_rules *rules, int family)
{
	static const enum nft_field bytes[] = {NFT_FIELD_CT_DIRECTION, NFT_FIELD_CT_L3PROTO,
					       NFT_FIELD_CT_L4PROTO, NFT_FIELD_NFPROTO};
	static const enum nft_field ports[] = {NFT_FIELD_CT_ORIGINAL_SPORT, NFT_FIELD_CT_ORIGINAL_DPORT,
					       NFT_FIELD_CT_REPLY_SPORT, NFT_FIELD_CT_REPLY_DPORT,
					       NFT_FIELD_SPORT};
	const enum nft_field addresses[] = {
	    nft_field_ct_original_saddr(family), nft_field_ct_original_daddr(family),
	    nft_field_ct_reply_saddr(family), nft_field_ct_reply_daddr(family)};
	struct ip ip = address(family, 7);

	nft_rule_begin(rules, "conntrack", NFT_NO_TAG);
	nft_rule_match_bits(rules, NFT_FIELD_CT_STATE, NFT_CT_STATE_NEW, false);
	nft_rule_match_u32(rules, NFT_FIELD_CT_MARK, NFT_CMP_NEQ, 7);
	for (unsigned i = 0; i < 4; i++)
		nft_rule_match_u8(rules, bytes[i], NFT_CMP_EQ, 1);
	for (unsigned i = 0; i < 4; i++)
		nft_rule_match(rules, addresses[i], NFT_CMP_EQ, ip.bytes);
	for (unsigned i = 0; i < 5; i++)
		nft_rule_match_port(rules, ports[i], i == 4 ? NFT_CMP_GTE : NFT_CMP_EQ, 1024);
	nft_rule_counter(rules);
	nft_rule_verdict(rules, NFT_RULE_ACCEPT, NULL);
}

static void other_rules(struct nft_rules *rules, int family)
{
	unsigned reg;

	nft_rule_begin(rules, NULL, NFT_NO_TAG);
	nft_rule_match_ifname(rules, NFT_FIELD_IIFNAME, "cali", true, true);
	nft_rule_match_ifname(rules, NFT_FIELD_OIFNAME, "eth0", false, false);
	nft_rule_match_u32(rules, NFT_FIELD_IIF, NFT_CMP_EQ, 1);
	nft_rule_match_u32(rules, NFT_FIELD_MARK, NFT_CMP_EQ, 0x4000);
	nft_rule_match_set(rules, NFT_FIELDS(NFT_FIELD_IIFNAME), "links", false);
	nft_rule_match_set(rules, NFT_FIELDS(NFT_FIELD_DPORT), "ports", false);
	nft_rule_verdict(rules, NFT_RULE_JUMP, "rejects");
	nft_rule_begin(rules, "affinity", NFT_NO_TAG);
	reg = nft_rule_load(rules, 0, nft_field_saddr(family));
	reg = nft_rule_immediate_u32(rules, reg, 77);
	nft_rule_numgen(rules, reg, NFT_NG_RANDOM, 3, 1);
	nft_rule_dynset(rules, NFT_DYNSET_OP_UPDATE, "affinity", 0, reg, 60000);
	nft_rule_begin(rules, "affinity", NFT_NO_TAG);
	reg = nft_rule_load(rules, 0, nft_field_saddr(family));
	reg = nft_rule_immediate_u32(rules, reg, 77);
	nft_rule_lookup_map(rules, "affinity", 0, reg);
	nft_rule_meta_set(rules, NFT_FIELD_PRIORITY, reg);
	nft_rule_begin(rules, NULL, NFT_NO_TAG);
	nft_rule_immediate_u32(rules, 3, 0x4000);
	nft_rule_meta_set(rules, NFT_FIELD_MARK, 3);
}

static void filter_chains(struct nft_ruleset *ruleset, int family)
{
	const struct nft_chain_spec input = {.type = "filter", .hook = 1, .priority = 0};
	static const struct nft_chain_spec regular = {.hook = -1};
	struct nft_rules rules = {.failed = 0};

	address_matches(&rules, family);
	ct_matches(&rules, family);
	other_rules(&rules, family);
	nft_ruleset_add_chain(ruleset, "filter-input", &input);
	nft_ruleset_add_rules(ruleset, "filter-input", &rules);
	nft_rules_clear(&rules);

	nft_rule_begin(&rules, NULL, NFT_NO_TAG);
	nft_rule_match_u8(&rules, NFT_FIELD_L4PROTO, NFT_CMP_EQ, 6);
	nft_rule_reject(&rules, family, NFT_REJECT_WITH_TCP_RESET);
	for (unsigned with = 0; with < NFT_REJECT_WITH_TCP_RESET; with++) {
		nft_rule_begin(&rules, NULL, NFT_NO_TAG);
		nft_rule_reject(&rules, family, (enum nft_reject_with)with);
	}
	nft_ruleset_add_chain(ruleset, "rejects", &regular);
	nft_ruleset_add_rules(ruleset, "rejects", &rules);
	nft_rules_clear(&rules);

	const struct nft_chain_spec local = {
	    .type = "nat", .hook = 3, .priority = -100, .policy_drop = false};
	nft_rule_begin(&rules, "redirect", NFT_NO_TAG);
	nft_rule_match_u8(&rules, NFT_FIELD_L4PROTO, NFT_CMP_EQ, 17);
	nft_rule_immediate(&rules, 0, "\x1f\x90", 2);
	nft_rule_redirect(&rules, 0);
	nft_ruleset_add_chain(ruleset, "nat-output", &local);
	nft_ruleset_add_rules(ruleset, "nat-output", &rules);
	nft_rules_done(&rules);
}

void nft_sample(struct nft_ruleset *ruleset, int family)
{
	add_sets(ruleset, family);
	add_elements(ruleset, family);
	add_cidrs(ruleset, family);
	nft_ruleset_add_counter(ruleset, "dropped");
	nft_ruleset_comment(ruleset, "all that the firewall took");
	service_chain(ruleset, "svc/default/web/http/tcp", "default/web:http", 1, 3);
	dispatch_chain(ruleset, family);
	nat_chains(ruleset, family);
	filter_chains(ruleset, family);
	if (nft_ruleset_sort(ruleset, NULL) != 0)
		assert(!"a good sample");
}

static void sample_service(struct nft_ruleset *ruleset, uint32_t number, uint32_t endpoints)
{
	struct ip ip = {
	    .family = AF_INET,
	    .bytes = {10, (uint8_t)(96 + (number >> 16)), (uint8_t)(number >> 8), (uint8_t)number}};
	struct nft_key key = {.len = 0};
	char name[64];

	snprintf(name, sizeof(name), "svc/bench/service-%05u/http/tcp", number);
	nft_key_add_ip(&key, &ip);
	nft_key_add_u8(&key, 6);
	nft_key_add_port(&key, 80);
	nft_ruleset_add_verdict(ruleset, "services", nft_key_str(&key), str_of(name));
	service_chain(ruleset, name, name, number * endpoints, endpoints);
}

static void sample_endpoint(struct nft_ruleset *ruleset, uint32_t slot)
{
	struct ip ip = {.family = AF_INET,
			.bytes = {10, (uint8_t)(128 + (slot >> 16)), (uint8_t)(slot >> 8), (uint8_t)slot}};
	struct nft_key key = {.len = 0}, value = {.len = 0};

	nft_key_add_u32(&key, slot);
	nft_key_add_ip(&value, &ip);
	nft_key_add_port(&value, 8080);
	nft_ruleset_add_elem(ruleset, "endpoints", nft_key_str(&key), nft_key_str(&value));
}

void nft_sample_services(struct nft_ruleset *ruleset, unsigned services, unsigned endpoints)
{
	static const uint8_t protocols[] = {6, 17, 132};

	add_sets(ruleset, AF_INET);
	for (unsigned i = 0; i < sizeof(protocols); i++)
		nft_ruleset_add_elem(ruleset, "protocols", (struct str){(const char *)&protocols[i], 1},
				     (struct str){NULL, 0});
	dispatch_chain(ruleset, AF_INET);
	nat_chains(ruleset, AF_INET);
	for (uint32_t slot = 0; slot < services * endpoints; slot++)
		sample_endpoint(ruleset, slot);
	for (uint32_t service = 0; service < services; service++)
		sample_service(ruleset, service, endpoints);
}
