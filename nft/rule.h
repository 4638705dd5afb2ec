/* The rules of one chain as a value: a small language that maps one to one to the kernel's nf_tables
 *expressions. A builder appends expressions; the bytes it makes are canonical and are what rulesets compare
 *(nft/ruleset.h); nft/encode.c translates them for the kernel.
 *
 *	struct nft_rules rules = {0};
 *	nft_rule_begin(&rules, "default/web:http", tag);
 *	nft_rule_match_u8(&rules, NFT_FIELD_L4PROTO, NFT_CMP_EQ, IPPROTO_TCP);
 *	nft_rule_numgen(&rules, 0, NFT_NG_INCREMENTAL, 3, 1);
 *	nft_rule_meta_set(&rules, NFT_FIELD_PRIORITY, 0);
 *	nft_rule_verdict(&rules, NFT_RULE_GOTO, "dispatch");
 *	nft_ruleset_add_rules(&ruleset, "svc/default/web:http", &rules);
 *	nft_rules_clear(&rules); ... nft_rules_done(&rules);
 *
 * Registers are sixteen 32-bit words, 0 to 15, empty at the start of each rule. A value of n bytes takes (n +
 *3) / 4 of them in a row; a concatenated key is simply its fields loaded one after the other. Results are in
 *host order or network order as the kernel has them: addresses and ports network order, everything else host
 *order.
 *
 * Invariants
 *  1. Equal calls make equal bytes; the bytes hold no pointer and nothing of this process.
 *  2. A failed allocation is remembered (nft_rules_failed) and makes nft_ruleset_add_rules fail; the
 *builder's calls return nothing, so that rules read as rules.
 *  3. A register out of range, an expression before the first nft_rule_begin and over-long data are our own
 *mistakes: asserted. */
#ifndef NFT_RULE_H
#define NFT_RULE_H

#include <linux/netfilter/nf_tables.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/str.h"

/* Raised whenever the translation of the bytes to the kernel changes: rules in force made by another version
 * then differ from the ones wanted and are replaced. */
#define NFT_RULE_VERSION 1u

#define NFT_RULE_COMMENT_MAX 127 /* bytes; longer ones are cut */
#define NFT_RULE_TAG_MAX     64  /* bytes */
#define NFT_REGISTERS        16

struct nft_rules {
	struct buf bytes;
	int failed; /* -ENOMEM, -ENAMETOOLONG: once a call failed */
};

/* What can be loaded from a packet; the number is the width in bytes. */
enum nft_field {
	NFT_FIELD_END, /* ends a list of fields */

	NFT_FIELD_L4PROTO,  /* meta l4proto, 1 */
	NFT_FIELD_NFPROTO,  /* meta nfproto, 1 */
	NFT_FIELD_IIF,      /* meta iif, 4 */
	NFT_FIELD_OIF,      /* meta oif, 4 */
	NFT_FIELD_IIFNAME,  /* meta iifname, 16 */
	NFT_FIELD_OIFNAME,  /* meta oifname, 16 */
	NFT_FIELD_MARK,     /* meta mark, 4 */
	NFT_FIELD_PRIORITY, /* meta priority, 4 */

	NFT_FIELD_IP_SADDR,  /* 4 */
	NFT_FIELD_IP_DADDR,  /* 4 */
	NFT_FIELD_IP6_SADDR, /* 16 */
	NFT_FIELD_IP6_DADDR, /* 16 */
	NFT_FIELD_SPORT,     /* th sport, 2 */
	NFT_FIELD_DPORT,     /* th dport, 2 */

	NFT_FIELD_CT_STATE,           /* 4: NF_CT_STATE_* */
	NFT_FIELD_CT_STATUS,          /* 4: IPS_* */
	NFT_FIELD_CT_DIRECTION,       /* 1 */
	NFT_FIELD_CT_MARK,            /* 4 */
	NFT_FIELD_CT_L3PROTO,         /* original, 1 */
	NFT_FIELD_CT_L4PROTO,         /* original, 1 */
	NFT_FIELD_CT_ORIGINAL_SADDR,  /* IPv4, 4 */
	NFT_FIELD_CT_ORIGINAL_DADDR,  /* IPv4, 4 */
	NFT_FIELD_CT_REPLY_SADDR,     /* IPv4, 4 */
	NFT_FIELD_CT_REPLY_DADDR,     /* IPv4, 4 */
	NFT_FIELD_CT_ORIGINAL_SADDR6, /* 16 */
	NFT_FIELD_CT_ORIGINAL_DADDR6, /* 16 */
	NFT_FIELD_CT_REPLY_SADDR6,    /* 16 */
	NFT_FIELD_CT_REPLY_DADDR6,    /* 16 */
	NFT_FIELD_CT_ORIGINAL_SPORT,  /* proto-src, 2 */
	NFT_FIELD_CT_ORIGINAL_DPORT,  /* proto-dst, 2 */
	NFT_FIELD_CT_REPLY_SPORT,     /* 2 */
	NFT_FIELD_CT_REPLY_DPORT,     /* 2 */

	NFT_FIELD_FIB_SADDR_TYPE, /* fib saddr type, 4: RTN_* */
	NFT_FIELD_FIB_DADDR_TYPE, /* fib daddr type, 4: RTN_* */

	NFT_FIELD_COUNT
};

/* A list of fields in place: NFT_FIELDS(NFT_FIELD_IP_DADDR, NFT_FIELD_L4PROTO, NFT_FIELD_DPORT). */
#define NFT_FIELDS(...) ((const enum nft_field[]){__VA_ARGS__, NFT_FIELD_END})

/* Address fields by family (AF_INET, AF_INET6). */
enum nft_field nft_field_saddr(int family);
enum nft_field nft_field_daddr(int family);
enum nft_field nft_field_ct_original_saddr(int family);
enum nft_field nft_field_ct_original_daddr(int family);
enum nft_field nft_field_ct_reply_saddr(int family);
enum nft_field nft_field_ct_reply_daddr(int family);

unsigned nft_field_len(enum nft_field field); /* bytes */

/* Bits of NFT_FIELD_CT_STATE and NFT_FIELD_CT_STATUS. */
enum {
	NFT_CT_STATE_INVALID = 1,
	NFT_CT_STATE_ESTABLISHED = 2,
	NFT_CT_STATE_RELATED = 4,
	NFT_CT_STATE_NEW = 8,
	NFT_CT_STATE_UNTRACKED = 64,
};
enum {
	NFT_CT_STATUS_SEEN_REPLY = 1 << 1,
	NFT_CT_STATUS_ASSURED = 1 << 2,
	NFT_CT_STATUS_CONFIRMED = 1 << 3,
	NFT_CT_STATUS_SNAT = 1 << 4,
	NFT_CT_STATUS_DNAT = 1 << 5,
};

/* ---- the frame ---- */

/* Begins a rule. comment (may be NULL) is what `nft list` prints; tag is for the caller, up to
 * NFT_RULE_TAG_MAX bytes that come back from a dump. Both belong to the canonical bytes. */
void nft_rule_begin(struct nft_rules *rules, const char *comment, struct str tag);
#define NFT_NO_TAG ((struct str){NULL, 0})

void nft_rules_clear(struct nft_rules *rules); /* empty, memory kept */
void nft_rules_done(struct nft_rules *rules);

/* ---- matches: a packet that does not match leaves the rule; they use the registers from 0 on ---- */

void nft_rule_match(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, const void *value);
void nft_rule_match_u8(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, uint8_t value);
void nft_rule_match_u32(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, uint32_t value);
void nft_rule_match_port(struct nft_rules *rules, enum nft_field field, enum nft_cmp_ops op, uint16_t port);
/* (field & bits) != 0, or == 0 if inverted; for 4-byte fields. */
void nft_rule_match_bits(struct nft_rules *rules, enum nft_field field, uint32_t bits, bool inverted);
/* The field is an address of the CIDR's family. */
void nft_rule_match_cidr(struct nft_rules *rules, enum nft_field field, const struct cidr *cidr,
			 bool inverted);
/* name: an interface, or with is_prefix what its name begins with. */
void nft_rule_match_ifname(struct nft_rules *rules, enum nft_field field, const char *name, bool is_prefix,
			   bool inverted);
/* The concatenation of fields is (not) in the set. */
void nft_rule_match_set(struct nft_rules *rules, const enum nft_field *fields, const char *set,
			bool inverted);
/* Goes where the verdict map says for the concatenation of fields; not in it: the packet leaves the rule. */
void nft_rule_match_vmap(struct nft_rules *rules, const enum nft_field *fields, const char *map);

/* ---- single expressions ---- */

/* Loads into the registers from `reg` on; returns the first register after it. */
unsigned nft_rule_load(struct nft_rules *rules, unsigned reg, enum nft_field field);
unsigned nft_rule_load_all(struct nft_rules *rules, unsigned reg, const enum nft_field *fields);
unsigned nft_rule_immediate(struct nft_rules *rules, unsigned reg, const void *data, size_t len_bytes);
unsigned nft_rule_immediate_u32(struct nft_rules *rules, unsigned reg, uint32_t value);
unsigned nft_rule_numgen(struct nft_rules *rules, unsigned reg, enum nft_ng_types type, uint32_t modulus,
			 uint32_t offset);
void nft_rule_cmp(struct nft_rules *rules, unsigned reg, enum nft_cmp_ops op, const void *data,
		  size_t len_bytes);
/* from <= value <= to as big-endian bytes, or outside if inverted. */
void nft_rule_range(struct nft_rules *rules, unsigned reg, const void *from, const void *to, size_t len_bytes,
		    bool inverted);
/* dreg = (reg & mask) ^ xor, len_bytes up to 16. */
void nft_rule_bitwise(struct nft_rules *rules, unsigned dreg, unsigned reg, const void *mask,
		      const void * xor, size_t len_bytes);

void nft_rule_lookup(struct nft_rules *rules, const char *set, unsigned reg, bool inverted);
void nft_rule_lookup_map(struct nft_rules *rules, const char *map, unsigned reg, unsigned dreg);
void nft_rule_lookup_vmap(struct nft_rules *rules, const char *map, unsigned reg);

/* Adds or updates an element of a dynamic set or map. reg_data: NFT_NO_REGISTER for sets; timeout_ms 0: the
 * set's. */
#define NFT_NO_REGISTER 255u
void nft_rule_dynset(struct nft_rules *rules, enum nft_dynset_ops op, const char *set, unsigned reg_key,
		     unsigned reg_data, uint64_t timeout_ms);

void nft_rule_meta_set(struct nft_rules *rules, enum nft_field field, unsigned reg); /* PRIORITY, MARK */

/* ---- what is done with the packet ---- */

enum nft_rule_verdict {
	NFT_RULE_DROP,
	NFT_RULE_ACCEPT,
	NFT_RULE_CONTINUE,
	NFT_RULE_RETURN,
	NFT_RULE_JUMP, /* chain; and back */
	NFT_RULE_GOTO, /* chain */
};
void nft_rule_verdict(struct nft_rules *rules, enum nft_rule_verdict verdict, const char *chain);
/* family AF_INET, AF_INET6; reg_port NFT_NO_REGISTER: the port stays. */
void nft_rule_dnat(struct nft_rules *rules, int family, unsigned reg_addr, unsigned reg_port);
void nft_rule_redirect(struct nft_rules *rules, unsigned reg_port);
void nft_rule_masquerade(struct nft_rules *rules, uint32_t flags); /* NF_NAT_RANGE_PROTO_RANDOM_FULLY or 0 */

enum nft_reject_with {
	NFT_REJECT_WITH_PORT_UNREACHABLE, /* plain `reject` */
	NFT_REJECT_WITH_HOST_UNREACHABLE,
	NFT_REJECT_WITH_ADMIN_PROHIBITED,
	NFT_REJECT_WITH_TCP_RESET, /* in rules that matched TCP */
};
void nft_rule_reject(struct nft_rules *rules, int family, enum nft_reject_with with);
void nft_rule_counter(struct nft_rules *rules);
void nft_rule_counter_named(struct nft_rules *rules, const char *counter);

/* ---- reading the bytes back: for the encoder ---- */

enum nft_expr_op {
	NFT_EXPR_RULE,      /* a rule begins; a: bytes of comment at the front of data, the rest is the tag */
	NFT_EXPR_LOAD,      /* reg; detail: field */
	NFT_EXPR_META_SET,  /* reg; detail: field */
	NFT_EXPR_IMMEDIATE, /* reg; data */
	NFT_EXPR_NUMGEN,    /* reg; detail: type; a: modulus, b: offset */
	NFT_EXPR_CMP,       /* reg; detail: enum nft_cmp_ops; data */
	NFT_EXPR_RANGE,     /* reg; detail: 1 inverted; data: from, to */
	NFT_EXPR_BITWISE,   /* reg, reg2: destination; data: mask, xor */
	NFT_EXPR_LOOKUP,    /* reg; detail: 1 inverted; data: set */
	NFT_EXPR_MAP,       /* reg, reg2: destination; data: map */
	NFT_EXPR_VMAP,      /* reg; data: map */
	NFT_EXPR_DYNSET,  /* reg: key, reg2: data; detail: op; a, b: timeout in ms, high and low; data: set */
	NFT_EXPR_VERDICT, /* detail: enum nft_rule_verdict; data: chain */
	NFT_EXPR_DNAT,    /* reg: address, reg2: port; detail: family */
	NFT_EXPR_REDIRECT,   /* reg: port */
	NFT_EXPR_MASQUERADE, /* a: flags */
	NFT_EXPR_REJECT,     /* detail: enum nft_reject_with; a: family */
	NFT_EXPR_COUNTER,
	NFT_EXPR_COUNTER_NAMED, /* data: name */
};

struct nft_expr {
	enum nft_expr_op op;
	unsigned reg, reg2, detail;
	uint32_t a, b;
	struct str data; /* borrowed from the bytes */
};

/* Takes the next expression off *bytes; false at the end. */
bool nft_expr_next(struct str *bytes, struct nft_expr *ret);

/* Takes the next rule off *bytes: *ret_rule is all its bytes, its NFT_EXPR_RULE first. False at the end. */
bool nft_rule_next(struct str *bytes, struct str *ret_rule);

/* What travels in a rule's user data, and what a chain of rules with these fingerprints has. */
uint64_t nft_rule_fingerprint(struct str rule);
uint64_t nft_rules_fingerprint_add(uint64_t chain, uint64_t rule); /* chain: 0 before the first rule */
uint64_t nft_rules_fingerprint(struct str rules);

#endif
