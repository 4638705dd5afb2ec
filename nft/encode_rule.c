/* The expressions of one rule as netlink attributes: one small function for each expression of the kernel. */
#include "nft/encode.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "nft/attribute.h"
#include "nft/rule.h"

#define EXPRESSIONS_MAX 128 /* the kernel's NFT_RULE_MAXEXPRS */

/* ---- attributes ---- */

static void put_reg(struct nlmsghdr *message, unsigned attribute, unsigned reg)
{
	attribute_put_u32(message, attribute, NFT_REG32_00 + reg);
}

static void put_name(struct nlmsghdr *message, unsigned attribute, struct str name)
{
	char text[NFT_NAME_MAX + 1] = {0};

	memcpy(text, name.p, name.len);
	attribute_put_text(message, attribute, text);
}

/* ---- loads ---- */

enum load_kind {
	LOAD_META,
	LOAD_NETWORK,
	LOAD_TRANSPORT,
	LOAD_CT,
	LOAD_CT_ORIGINAL,
	LOAD_CT_REPLY,
	LOAD_FIB_TYPE
};

/* What a field is for the kernel; number: the key, the offset or the flags. */
static const struct load {
	enum load_kind kind;
	uint32_t number;
} loads[NFT_FIELD_COUNT] = {
    [NFT_FIELD_L4PROTO] = {LOAD_META, NFT_META_L4PROTO},
    [NFT_FIELD_NFPROTO] = {LOAD_META, NFT_META_NFPROTO},
    [NFT_FIELD_IIF] = {LOAD_META, NFT_META_IIF},
    [NFT_FIELD_OIF] = {LOAD_META, NFT_META_OIF},
    [NFT_FIELD_IIFNAME] = {LOAD_META, NFT_META_IIFNAME},
    [NFT_FIELD_OIFNAME] = {LOAD_META, NFT_META_OIFNAME},
    [NFT_FIELD_MARK] = {LOAD_META, NFT_META_MARK},
    [NFT_FIELD_PRIORITY] = {LOAD_META, NFT_META_PRIORITY},
    [NFT_FIELD_IP_SADDR] = {LOAD_NETWORK, 12},
    [NFT_FIELD_IP_DADDR] = {LOAD_NETWORK, 16},
    [NFT_FIELD_IP6_SADDR] = {LOAD_NETWORK, 8},
    [NFT_FIELD_IP6_DADDR] = {LOAD_NETWORK, 24},
    [NFT_FIELD_SPORT] = {LOAD_TRANSPORT, 0},
    [NFT_FIELD_DPORT] = {LOAD_TRANSPORT, 2},
    [NFT_FIELD_CT_STATE] = {LOAD_CT, NFT_CT_STATE},
    [NFT_FIELD_CT_STATUS] = {LOAD_CT, NFT_CT_STATUS},
    [NFT_FIELD_CT_DIRECTION] = {LOAD_CT, NFT_CT_DIRECTION},
    [NFT_FIELD_CT_MARK] = {LOAD_CT, NFT_CT_MARK},
    [NFT_FIELD_CT_L3PROTO] = {LOAD_CT_ORIGINAL, NFT_CT_L3PROTOCOL},
    [NFT_FIELD_CT_L4PROTO] = {LOAD_CT_ORIGINAL, NFT_CT_PROTOCOL},
    [NFT_FIELD_CT_ORIGINAL_SADDR] = {LOAD_CT_ORIGINAL, NFT_CT_SRC_IP},
    [NFT_FIELD_CT_ORIGINAL_DADDR] = {LOAD_CT_ORIGINAL, NFT_CT_DST_IP},
    [NFT_FIELD_CT_REPLY_SADDR] = {LOAD_CT_REPLY, NFT_CT_SRC_IP},
    [NFT_FIELD_CT_REPLY_DADDR] = {LOAD_CT_REPLY, NFT_CT_DST_IP},
    [NFT_FIELD_CT_ORIGINAL_SADDR6] = {LOAD_CT_ORIGINAL, NFT_CT_SRC_IP6},
    [NFT_FIELD_CT_ORIGINAL_DADDR6] = {LOAD_CT_ORIGINAL, NFT_CT_DST_IP6},
    [NFT_FIELD_CT_REPLY_SADDR6] = {LOAD_CT_REPLY, NFT_CT_SRC_IP6},
    [NFT_FIELD_CT_REPLY_DADDR6] = {LOAD_CT_REPLY, NFT_CT_DST_IP6},
    [NFT_FIELD_CT_ORIGINAL_SPORT] = {LOAD_CT_ORIGINAL, NFT_CT_PROTO_SRC},
    [NFT_FIELD_CT_ORIGINAL_DPORT] = {LOAD_CT_ORIGINAL, NFT_CT_PROTO_DST},
    [NFT_FIELD_CT_REPLY_SPORT] = {LOAD_CT_REPLY, NFT_CT_PROTO_SRC},
    [NFT_FIELD_CT_REPLY_DPORT] = {LOAD_CT_REPLY, NFT_CT_PROTO_DST},
    [NFT_FIELD_FIB_SADDR_TYPE] = {LOAD_FIB_TYPE, NFTA_FIB_F_SADDR},
    [NFT_FIELD_FIB_DADDR_TYPE] = {LOAD_FIB_TYPE, NFTA_FIB_F_DADDR},
};

static const char *put_payload(struct nlmsghdr *message, const struct nft_expr *expr,
			       enum nft_payload_bases base, uint32_t offset)
{
	put_reg(message, NFTA_PAYLOAD_DREG, expr->reg);
	attribute_put_u32(message, NFTA_PAYLOAD_BASE, base);
	attribute_put_u32(message, NFTA_PAYLOAD_OFFSET, offset);
	attribute_put_u32(message, NFTA_PAYLOAD_LEN, nft_field_len((enum nft_field)expr->detail));
	return "payload";
}

static const char *put_ct(struct nlmsghdr *message, const struct nft_expr *expr, uint32_t key)
{
	put_reg(message, NFTA_CT_DREG, expr->reg);
	attribute_put_u32(message, NFTA_CT_KEY, key);
	return "ct";
}

static const char *put_load(struct nlmsghdr *message, const struct nft_expr *expr)
{
	const struct load *load = &loads[expr->detail];

	switch (load->kind) {
	case LOAD_META:
		put_reg(message, NFTA_META_DREG, expr->reg);
		attribute_put_u32(message, NFTA_META_KEY, load->number);
		return "meta";
	case LOAD_NETWORK:
		return put_payload(message, expr, NFT_PAYLOAD_NETWORK_HEADER, load->number);
	case LOAD_TRANSPORT:
		return put_payload(message, expr, NFT_PAYLOAD_TRANSPORT_HEADER, load->number);
	case LOAD_CT_ORIGINAL:
		attribute_put_u8(message, NFTA_CT_DIRECTION, 0);
		return put_ct(message, expr, load->number);
	case LOAD_CT_REPLY:
		attribute_put_u8(message, NFTA_CT_DIRECTION, 1);
		return put_ct(message, expr, load->number);
	case LOAD_CT:
		return put_ct(message, expr, load->number);
	case LOAD_FIB_TYPE:
		break;
	}
	put_reg(message, NFTA_FIB_DREG, expr->reg);
	attribute_put_u32(message, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	attribute_put_u32(message, NFTA_FIB_FLAGS, load->number);
	return "fib";
}

/* ---- the others; each returns the kernel's name of its expression ---- */

static const char *put_meta_set(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_META_SREG, expr->reg);
	attribute_put_u32(message, NFTA_META_KEY, loads[expr->detail].number);
	return "meta";
}

static const char *put_immediate(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_IMMEDIATE_DREG, expr->reg);
	attribute_put_value(message, NFTA_IMMEDIATE_DATA, expr->data);
	return "immediate";
}

static const char *put_numgen(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_NG_DREG, expr->reg);
	attribute_put_u32(message, NFTA_NG_TYPE, expr->detail);
	attribute_put_u32(message, NFTA_NG_MODULUS, expr->a);
	attribute_put_u32(message, NFTA_NG_OFFSET, expr->b);
	return "numgen";
}

static const char *put_cmp(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_CMP_SREG, expr->reg);
	attribute_put_u32(message, NFTA_CMP_OP, expr->detail);
	attribute_put_value(message, NFTA_CMP_DATA, expr->data);
	return "cmp";
}

/* Data of two values of the same length. */
static struct str half(struct str data, unsigned which)
{
	return (struct str){data.p + which * (data.len / 2), data.len / 2};
}

static const char *put_range(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_RANGE_SREG, expr->reg);
	attribute_put_u32(message, NFTA_RANGE_OP, expr->detail ? NFT_RANGE_NEQ : NFT_RANGE_EQ);
	attribute_put_value(message, NFTA_RANGE_FROM_DATA, half(expr->data, 0));
	attribute_put_value(message, NFTA_RANGE_TO_DATA, half(expr->data, 1));
	return "range";
}

static const char *put_bitwise(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_BITWISE_SREG, expr->reg);
	put_reg(message, NFTA_BITWISE_DREG, expr->reg2);
	attribute_put_u32(message, NFTA_BITWISE_LEN, (uint32_t)expr->data.len / 2);
	attribute_put_value(message, NFTA_BITWISE_MASK, half(expr->data, 0));
	attribute_put_value(message, NFTA_BITWISE_XOR, half(expr->data, 1));
	return "bitwise";
}

static const char *put_lookup(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_name(message, NFTA_LOOKUP_SET, expr->data);
	put_reg(message, NFTA_LOOKUP_SREG, expr->reg);
	if (expr->detail)
		attribute_put_u32(message, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	return "lookup";
}

static const char *put_map(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_name(message, NFTA_LOOKUP_SET, expr->data);
	put_reg(message, NFTA_LOOKUP_SREG, expr->reg);
	put_reg(message, NFTA_LOOKUP_DREG, expr->reg2);
	return "lookup";
}

static const char *put_vmap(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_name(message, NFTA_LOOKUP_SET, expr->data);
	put_reg(message, NFTA_LOOKUP_SREG, expr->reg);
	attribute_put_u32(message, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
	return "lookup";
}

static const char *put_dynset(struct nlmsghdr *message, const struct nft_expr *expr)
{
	uint64_t timeout_ms = (uint64_t)expr->a << 32 | expr->b;

	put_name(message, NFTA_DYNSET_SET_NAME, expr->data);
	attribute_put_u32(message, NFTA_DYNSET_OP, expr->detail);
	put_reg(message, NFTA_DYNSET_SREG_KEY, expr->reg);
	if (expr->reg2 != NFT_NO_REGISTER)
		put_reg(message, NFTA_DYNSET_SREG_DATA, expr->reg2);
	if (timeout_ms > 0)
		attribute_put_u64(message, NFTA_DYNSET_TIMEOUT, timeout_ms);
	return "dynset";
}

static uint32_t verdict_number(enum nft_rule_verdict verdict)
{
	switch (verdict) {
	case NFT_RULE_DROP:
		return NF_DROP;
	case NFT_RULE_ACCEPT:
		return NF_ACCEPT;
	case NFT_RULE_CONTINUE:
		return (uint32_t)NFT_CONTINUE;
	case NFT_RULE_RETURN:
		return (uint32_t)NFT_RETURN;
	case NFT_RULE_JUMP:
		return (uint32_t)NFT_JUMP;
	case NFT_RULE_GOTO:
		break;
	}
	return (uint32_t)NFT_GOTO;
}

static const char *put_verdict(struct nlmsghdr *message, const struct nft_expr *expr)
{
	struct nlattr *data, *verdict;

	attribute_put_u32(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = attribute_begin(message, NFTA_IMMEDIATE_DATA);
	verdict = attribute_begin(message, NFTA_DATA_VERDICT);
	attribute_put_u32(message, NFTA_VERDICT_CODE, verdict_number((enum nft_rule_verdict)expr->detail));
	if (expr->data.len > 0)
		put_name(message, NFTA_VERDICT_CHAIN, expr->data);
	attribute_end(message, verdict);
	attribute_end(message, data);
	return "immediate";
}

static const char *put_dnat(struct nlmsghdr *message, const struct nft_expr *expr)
{
	attribute_put_u32(message, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	attribute_put_u32(message, NFTA_NAT_FAMILY, nft_family_number((int)expr->detail));
	put_reg(message, NFTA_NAT_REG_ADDR_MIN, expr->reg);
	if (expr->reg2 != NFT_NO_REGISTER)
		put_reg(message, NFTA_NAT_REG_PROTO_MIN, expr->reg2);
	return "nat";
}

static const char *put_redirect(struct nlmsghdr *message, const struct nft_expr *expr)
{
	put_reg(message, NFTA_REDIR_REG_PROTO_MIN, expr->reg);
	return "redir";
}

static const char *put_masquerade(struct nlmsghdr *message, const struct nft_expr *expr)
{
	if (expr->a)
		attribute_put_u32(message, NFTA_MASQ_FLAGS, expr->a);
	return "masq";
}

static const char *put_reject(struct nlmsghdr *message, const struct nft_expr *expr)
{
	/* ICMP and ICMPv6 codes of destination unreachable */
	static const uint8_t codes[][2] = {
	    [NFT_REJECT_WITH_PORT_UNREACHABLE] = {3, 4},
	    [NFT_REJECT_WITH_HOST_UNREACHABLE] = {1, 3},
	    [NFT_REJECT_WITH_ADMIN_PROHIBITED] = {13, 1},
	    [NFT_REJECT_WITH_TCP_RESET] = {0, 0},
	};
	bool is_reset = expr->detail == NFT_REJECT_WITH_TCP_RESET;

	attribute_put_u32(message, NFTA_REJECT_TYPE, is_reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMP_UNREACH);
	if (!is_reset)
		attribute_put_u8(message, NFTA_REJECT_ICMP_CODE, codes[expr->detail][expr->a == AF_INET6]);
	return "reject";
}

static const char *put_counter_named(struct nlmsghdr *message, const struct nft_expr *expr)
{
	attribute_put_u32(message, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	put_name(message, NFTA_OBJREF_IMM_NAME, expr->data);
	return "objref";
}

static const char *put_data(struct nlmsghdr *message, const struct nft_expr *expr)
{
	switch (expr->op) {
	case NFT_EXPR_LOAD:
		return put_load(message, expr);
	case NFT_EXPR_META_SET:
		return put_meta_set(message, expr);
	case NFT_EXPR_IMMEDIATE:
		return put_immediate(message, expr);
	case NFT_EXPR_NUMGEN:
		return put_numgen(message, expr);
	case NFT_EXPR_CMP:
		return put_cmp(message, expr);
	case NFT_EXPR_RANGE:
		return put_range(message, expr);
	case NFT_EXPR_BITWISE:
		return put_bitwise(message, expr);
	case NFT_EXPR_LOOKUP:
		return put_lookup(message, expr);
	case NFT_EXPR_MAP:
		return put_map(message, expr);
	case NFT_EXPR_VMAP:
		return put_vmap(message, expr);
	case NFT_EXPR_DYNSET:
		return put_dynset(message, expr);
	case NFT_EXPR_VERDICT:
		return put_verdict(message, expr);
	case NFT_EXPR_DNAT:
		return put_dnat(message, expr);
	case NFT_EXPR_REDIRECT:
		return put_redirect(message, expr);
	case NFT_EXPR_MASQUERADE:
		return put_masquerade(message, expr);
	case NFT_EXPR_REJECT:
		return put_reject(message, expr);
	case NFT_EXPR_COUNTER_NAMED:
		return put_counter_named(message, expr);
	case NFT_EXPR_COUNTER:
	case NFT_EXPR_RULE:
		break;
	}
	return "counter";
}

int nft_encode_expressions(struct nlmsghdr *message, struct str rule)
{
	struct nlattr *list = attribute_begin(message, NFTA_RULE_EXPRESSIONS);
	unsigned count = 0;

	for (struct nft_expr expr; nft_expr_next(&rule, &expr);) {
		struct nlattr *element, *data;
		const char *name;

		if (expr.op == NFT_EXPR_RULE)
			continue;
		if (++count > EXPRESSIONS_MAX)
			return -EINVAL;
		element = attribute_begin(message, NFTA_LIST_ELEM);
		data = attribute_begin(message, NFTA_EXPR_DATA);
		name = put_data(message, &expr);
		attribute_end(message, data);
		attribute_put_text(message, NFTA_EXPR_NAME, name);
		attribute_end(message, element);
	}
	attribute_end(message, list);
	return 0;
}
