/* Builds and reads the canonical bytes of rules: a row of records, each a fixed head and the data after it.
 * A rule is its NFT_EXPR_RULE record and all records up to the next one. */
#include "nft/rule.h"

#include <assert.h>
#include <errno.h>
#include <xxhash.h>

#include "nft/ruleset.h"

struct record {
	uint8_t op, reg, reg2, detail;
	uint32_t a, b, data_len;
};

static const uint8_t field_len[NFT_FIELD_COUNT] = {
    [NFT_FIELD_L4PROTO] = 1,
    [NFT_FIELD_NFPROTO] = 1,
    [NFT_FIELD_IIF] = 4,
    [NFT_FIELD_OIF] = 4,
    [NFT_FIELD_IIFNAME] = 16,
    [NFT_FIELD_OIFNAME] = 16,
    [NFT_FIELD_MARK] = 4,
    [NFT_FIELD_PRIORITY] = 4,
    [NFT_FIELD_IP_SADDR] = 4,
    [NFT_FIELD_IP_DADDR] = 4,
    [NFT_FIELD_IP6_SADDR] = 16,
    [NFT_FIELD_IP6_DADDR] = 16,
    [NFT_FIELD_SPORT] = 2,
    [NFT_FIELD_DPORT] = 2,
    [NFT_FIELD_CT_STATE] = 4,
    [NFT_FIELD_CT_STATUS] = 4,
    [NFT_FIELD_CT_DIRECTION] = 1,
    [NFT_FIELD_CT_MARK] = 4,
    [NFT_FIELD_CT_L3PROTO] = 1,
    [NFT_FIELD_CT_L4PROTO] = 1,
    [NFT_FIELD_CT_ORIGINAL_SADDR] = 4,
    [NFT_FIELD_CT_ORIGINAL_DADDR] = 4,
    [NFT_FIELD_CT_REPLY_SADDR] = 4,
    [NFT_FIELD_CT_REPLY_DADDR] = 4,
    [NFT_FIELD_CT_ORIGINAL_SADDR6] = 16,
    [NFT_FIELD_CT_ORIGINAL_DADDR6] = 16,
    [NFT_FIELD_CT_REPLY_SADDR6] = 16,
    [NFT_FIELD_CT_REPLY_DADDR6] = 16,
    [NFT_FIELD_CT_ORIGINAL_SPORT] = 2,
    [NFT_FIELD_CT_ORIGINAL_DPORT] = 2,
    [NFT_FIELD_CT_REPLY_SPORT] = 2,
    [NFT_FIELD_CT_REPLY_DPORT] = 2,
    [NFT_FIELD_FIB_SADDR_TYPE] = 4,
    [NFT_FIELD_FIB_DADDR_TYPE] = 4,
};

unsigned nft_field_len(enum nft_field field)
{
	assert(field > NFT_FIELD_END && field < NFT_FIELD_COUNT);
	return field_len[field];
}

enum nft_field nft_field_saddr(int family)
{
	return family == AF_INET ? NFT_FIELD_IP_SADDR : NFT_FIELD_IP6_SADDR;
}

enum nft_field nft_field_daddr(int family)
{
	return family == AF_INET ? NFT_FIELD_IP_DADDR : NFT_FIELD_IP6_DADDR;
}

enum nft_field nft_field_ct_original_saddr(int family)
{
	return family == AF_INET ? NFT_FIELD_CT_ORIGINAL_SADDR : NFT_FIELD_CT_ORIGINAL_SADDR6;
}

enum nft_field nft_field_ct_original_daddr(int family)
{
	return family == AF_INET ? NFT_FIELD_CT_ORIGINAL_DADDR : NFT_FIELD_CT_ORIGINAL_DADDR6;
}

enum nft_field nft_field_ct_reply_saddr(int family)
{
	return family == AF_INET ? NFT_FIELD_CT_REPLY_SADDR : NFT_FIELD_CT_REPLY_SADDR6;
}

enum nft_field nft_field_ct_reply_daddr(int family)
{
	return family == AF_INET ? NFT_FIELD_CT_REPLY_DADDR : NFT_FIELD_CT_REPLY_DADDR6;
}

/* ---- writing ---- */

/* One record with its data in two pieces. */
static void put2(struct nft_rules *rules, struct record record, struct str first, struct str second)
{
	size_t len = sizeof(record) + first.len + second.len;

	assert(record.op == NFT_EXPR_RULE || buf_len(&rules->bytes) > 0 || rules->failed);
	record.data_len = (uint32_t)(first.len + second.len);
	char *at = buf_reserve(&rules->bytes, len);
	if (!at) {
		rules->failed = -ENOMEM;
		return;
	}
	memcpy(at, &record, sizeof(record));
	if (first.len > 0)
		memcpy(at + sizeof(record), first.p, first.len);
	if (second.len > 0)
		memcpy(at + sizeof(record) + first.len, second.p, second.len);
	buf_commit(&rules->bytes, len);
}

static void put(struct nft_rules *rules, struct record record, struct str data)
{
	put2(rules, record, data, (struct str){NULL, 0});
}

static void put_name(struct nft_rules *rules, struct record record, const char *name)
{
	if (strlen(name) > NFT_NAME_MAX)
		rules->failed = -ENAMETOOLONG;
	else
		put(rules, record, str_of(name));
}

/* Checks that a value of len_bytes fits into the registers from reg on; returns the first one after it. */
static unsigned reg_after(unsigned reg, size_t len_bytes)
{
	size_t words = (len_bytes + 3) / 4;

	assert(len_bytes > 0 && reg < NFT_REGISTERS && words <= NFT_REGISTERS - reg);
	return reg + (unsigned)words;
}

static uint8_t reg_number(unsigned reg)
{
	return (uint8_t)(reg_after(reg, 1) - 1);
}

static uint8_t optional_reg_number(unsigned reg)
{
	return reg == NFT_NO_REGISTER ? (uint8_t)NFT_NO_REGISTER : reg_number(reg);
}

void nft_rule_begin(struct nft_rules *rules, const char *comment, struct str tag)
{
	struct str text = str_of(comment);

	assert(tag.len <= NFT_RULE_TAG_MAX);
	if (text.len > NFT_RULE_COMMENT_MAX)
		text.len = NFT_RULE_COMMENT_MAX;
	put2(rules, (struct record){.op = NFT_EXPR_RULE, .a = (uint32_t)text.len}, text, tag);
}

void nft_rules_clear(struct nft_rules *rules)
{
	buf_clear(&rules->bytes);
	rules->failed = 0;
}

void nft_rules_done(struct nft_rules *rules)
{
	buf_done(&rules->bytes);
	rules->failed = 0;
}

unsigned nft_rule_load(struct nft_rules *rules, unsigned reg, enum nft_field field)
{
	unsigned after = reg_after(reg, nft_field_len(field));

	put(rules, (struct record){.op = NFT_EXPR_LOAD, .reg = reg_number(reg), .detail = (uint8_t)field},
	    (struct str){NULL, 0});
	return after;
}

unsigned nft_rule_load_all(struct nft_rules *rules, unsigned reg, const enum nft_field *fields)
{
	for (; *fields != NFT_FIELD_END; fields++)
		reg = nft_rule_load(rules, reg, *fields);
	return reg;
}

unsigned nft_rule_immediate(struct nft_rules *rules, unsigned reg, const void *data, size_t len_bytes)
{
	unsigned after = reg_after(reg, len_bytes);

	assert(len_bytes <= 16);
	put(rules, (struct record){.op = NFT_EXPR_IMMEDIATE, .reg = reg_number(reg)},
	    (struct str){data, len_bytes});
	return after;
}

unsigned nft_rule_immediate_u32(struct nft_rules *rules, unsigned reg, uint32_t value)
{
	return nft_rule_immediate(rules, reg, &value, sizeof(value));
}

unsigned nft_rule_numgen(struct nft_rules *rules, unsigned reg, enum nft_ng_types type, uint32_t modulus,
			 uint32_t offset)
{
	put(rules,
	    (struct record){.op = NFT_EXPR_NUMGEN,
			    .reg = reg_number(reg),
			    .detail = (uint8_t)type,
			    .a = modulus,
			    .b = offset},
	    (struct str){NULL, 0});
	return reg_after(reg, 4);
}

void nft_rule_cmp(struct nft_rules *rules, unsigned reg, enum nft_cmp_ops op, const void *data,
		  size_t len_bytes)
{
	(void)reg_after(reg, len_bytes);
	assert(len_bytes <= 16);
	put(rules, (struct record){.op = NFT_EXPR_CMP, .reg = reg_number(reg), .detail = (uint8_t)op},
	    (struct str){data, len_bytes});
}

void nft_rule_range(struct nft_rules *rules, unsigned reg, const void *from, const void *to, size_t len_bytes,
		    bool inverted)
{
	(void)reg_after(reg, len_bytes);
	assert(len_bytes <= 16);
	put2(rules, (struct record){.op = NFT_EXPR_RANGE, .reg = reg_number(reg), .detail = inverted},
	     (struct str){from, len_bytes}, (struct str){to, len_bytes});
}

void nft_rule_bitwise(struct nft_rules *rules, unsigned dreg, unsigned reg, const void *mask,
		      const void * xor, size_t len_bytes)
{
	(void)reg_after(reg, len_bytes);
	(void)reg_after(dreg, len_bytes);
	assert(len_bytes <= 16);
	put2(rules, (struct record){.op = NFT_EXPR_BITWISE, .reg = reg_number(reg), .reg2 = reg_number(dreg)},
	     (struct str){mask, len_bytes}, (struct str){xor, len_bytes});
}

void nft_rule_lookup(struct nft_rules *rules, const char *set, unsigned reg, bool inverted)
{
	put_name(rules, (struct record){.op = NFT_EXPR_LOOKUP, .reg = reg_number(reg), .detail = inverted},
		 set);
}

void nft_rule_lookup_map(struct nft_rules *rules, const char *map, unsigned reg, unsigned dreg)
{
	put_name(rules, (struct record){.op = NFT_EXPR_MAP, .reg = reg_number(reg), .reg2 = reg_number(dreg)},
		 map);
}

void nft_rule_lookup_vmap(struct nft_rules *rules, const char *map, unsigned reg)
{
	put_name(rules, (struct record){.op = NFT_EXPR_VMAP, .reg = reg_number(reg)}, map);
}

void nft_rule_dynset(struct nft_rules *rules, enum nft_dynset_ops op, const char *set, unsigned reg_key,
		     unsigned reg_data, uint64_t timeout_ms)
{
	put_name(rules,
		 (struct record){.op = NFT_EXPR_DYNSET,
				 .reg = reg_number(reg_key),
				 .reg2 = optional_reg_number(reg_data),
				 .detail = (uint8_t)op,
				 .a = (uint32_t)(timeout_ms >> 32),
				 .b = (uint32_t)timeout_ms},
		 set);
}

void nft_rule_meta_set(struct nft_rules *rules, enum nft_field field, unsigned reg)
{
	assert(field == NFT_FIELD_PRIORITY || field == NFT_FIELD_MARK);
	put(rules, (struct record){.op = NFT_EXPR_META_SET, .reg = reg_number(reg), .detail = (uint8_t)field},
	    (struct str){NULL, 0});
}

void nft_rule_verdict(struct nft_rules *rules, enum nft_rule_verdict verdict, const char *chain)
{
	assert((verdict == NFT_RULE_JUMP || verdict == NFT_RULE_GOTO) == (chain != NULL));
	put_name(rules, (struct record){.op = NFT_EXPR_VERDICT, .detail = (uint8_t)verdict},
		 chain ? chain : "");
}

void nft_rule_dnat(struct nft_rules *rules, int family, unsigned reg_addr, unsigned reg_port)
{
	put(rules,
	    (struct record){.op = NFT_EXPR_DNAT,
			    .reg = reg_number(reg_addr),
			    .reg2 = optional_reg_number(reg_port),
			    .detail = (uint8_t)family},
	    (struct str){NULL, 0});
}

void nft_rule_redirect(struct nft_rules *rules, unsigned reg_port)
{
	put(rules, (struct record){.op = NFT_EXPR_REDIRECT, .reg = reg_number(reg_port)},
	    (struct str){NULL, 0});
}

void nft_rule_masquerade(struct nft_rules *rules, uint32_t flags)
{
	put(rules, (struct record){.op = NFT_EXPR_MASQUERADE, .a = flags}, (struct str){NULL, 0});
}

void nft_rule_reject(struct nft_rules *rules, int family, enum nft_reject_with with)
{
	put(rules, (struct record){.op = NFT_EXPR_REJECT, .detail = (uint8_t)with, .a = (uint32_t)family},
	    (struct str){NULL, 0});
}

void nft_rule_counter(struct nft_rules *rules)
{
	put(rules, (struct record){.op = NFT_EXPR_COUNTER}, (struct str){NULL, 0});
}

void nft_rule_counter_named(struct nft_rules *rules, const char *counter)
{
	put_name(rules, (struct record){.op = NFT_EXPR_COUNTER_NAMED}, counter);
}

/* ---- matches ---- */

static enum nft_cmp_ops equal_or_not(bool inverted)
{
	return inverted ? NFT_CMP_NEQ : NFT_CMP_EQ;
}

void nft_rule_match(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, const void *value)
{
	nft_rule_load(rules, 0, field);
	nft_rule_cmp(rules, 0, op, value, nft_field_len(field));
}

void nft_rule_match_u8(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, uint8_t value)
{
	assert(nft_field_len(field) == sizeof(value));
	nft_rule_match(rules, field, op, &value);
}

void nft_rule_match_u32(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, uint32_t value)
{
	assert(nft_field_len(field) == sizeof(value));
	nft_rule_match(rules, field, op, &value);
}

void nft_rule_match_port(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, uint16_t port)
{
	uint16_t network_order = htons(port);

	assert(nft_field_len(field) == sizeof(port));
	nft_rule_match(rules, field, op, &network_order);
}

void nft_rule_match_bits(struct nft_rules *rules, enum nft_field field, uint32_t bits, bool inverted)
{
	const uint32_t zero = 0;

	assert(nft_field_len(field) == sizeof(bits));
	nft_rule_load(rules, 0, field);
	nft_rule_bitwise(rules, 0, 0, &bits, &zero, sizeof(bits));
	nft_rule_cmp(rules, 0, inverted ? NFT_CMP_EQ : NFT_CMP_NEQ, &zero, sizeof(zero));
}

void nft_rule_match_cidr(struct nft_rules *rules, enum nft_field field, const struct cidr *cidr,
			 bool inverted)
{
	unsigned len = ip_len(&cidr->ip);
	uint8_t mask[16] = {0};
	static const uint8_t zero[16];

	assert(nft_field_len(field) == len && cidr->prefix_bits <= len * 8);
	nft_rule_load(rules, 0, field);
	if (cidr->prefix_bits < len * 8) {
		for (unsigned bit = 0; bit < cidr->prefix_bits; bit++)
			mask[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
		nft_rule_bitwise(rules, 0, 0, mask, zero, len);
	}
	nft_rule_cmp(rules, 0, equal_or_not(inverted), cidr->ip.bytes, len);
}

void nft_rule_match_ifname(struct nft_rules *rules, enum nft_field field, const char *name, bool is_prefix,
			   bool inverted)
{
	char bytes[16] = {0};
	size_t len = strnlen(name, sizeof(bytes) - 1);

	assert(nft_field_len(field) == sizeof(bytes) && len > 0);
	memcpy(bytes, name, len);
	nft_rule_load(rules, 0, field);
	nft_rule_cmp(rules, 0, equal_or_not(inverted), bytes, is_prefix ? len : sizeof(bytes));
}

void nft_rule_match_set(struct nft_rules *rules, const enum nft_field *fields, const char *set, bool inverted)
{
	nft_rule_load_all(rules, 0, fields);
	nft_rule_lookup(rules, set, 0, inverted);
}

void nft_rule_match_vmap(struct nft_rules *rules, const enum nft_field *fields, const char *map)
{
	nft_rule_load_all(rules, 0, fields);
	nft_rule_lookup_vmap(rules, map, 0);
}

/* ---- reading ---- */

bool nft_expr_next(struct str *bytes, struct nft_expr *ret)
{
	struct record record;

	if (bytes->len < sizeof(record))
		return false;
	memcpy(&record, bytes->p, sizeof(record));
	if (record.data_len > bytes->len - sizeof(record))
		return false;
	*ret = (struct nft_expr){
	    .op = (enum nft_expr_op)record.op,
	    .reg = record.reg,
	    .reg2 = record.reg2,
	    .detail = record.detail,
	    .a = record.a,
	    .b = record.b,
	    .data = {bytes->p + sizeof(record), record.data_len},
	};
	bytes->p += sizeof(record) + record.data_len;
	bytes->len -= sizeof(record) + record.data_len;
	return true;
}

bool nft_rule_next(struct str *bytes, struct str *ret_rule)
{
	struct str rest = *bytes, before;
	struct nft_expr expr;

	if (!nft_expr_next(&rest, &expr))
		return false;
	for (before = rest; nft_expr_next(&rest, &expr) && expr.op != NFT_EXPR_RULE; before = rest)
		;
	*ret_rule = (struct str){bytes->p, bytes->len - before.len};
	*bytes = before;
	return true;
}

uint64_t nft_rule_fingerprint(struct str rule)
{
	uint64_t hash = XXH3_64bits_withSeed(rule.p, rule.len, NFT_RULE_VERSION);

	return hash ? hash : 1; /* 0 is "not ours" */
}

uint64_t nft_rules_fingerprint_add(uint64_t chain, uint64_t rule)
{
	uint64_t both[] = {chain, rule};
	uint64_t hash = XXH3_64bits(both, sizeof(both));

	return hash ? hash : 1;
}

uint64_t nft_rules_fingerprint(struct str rules)
{
	uint64_t chain = 0;

	for (struct str rule; nft_rule_next(&rules, &rule);)
		chain = nft_rules_fingerprint_add(chain, nft_rule_fingerprint(rule));
	return chain;
}
