/* What one nf_tables table should hold, as a pure value: sets with elements, chains with rules. No kernel
 * here.
 *
 * A ruleset may be a whole table or a fragment of one (one service's elements and chain): fragments are built
 * the same way and compared the same way, so a change of one service costs what that service holds.
 *
 * Invariants
 *  1. After nft_ruleset_sort, items are ordered by (type, name, key) and no two are equal in these; adding a
 *     second item with the same identity makes nft_ruleset_sort fail with -EEXIST, naming it.
 *  2. Everything given to nft_ruleset_add_* is copied; a ruleset is freed as one.
 *  3. A rule's bytes are canonical: equal meaning, equal bytes. They are our own encoding of the expressions
 *     (nft/rule.h), not the kernel's; a 64-bit fingerprint of them travels in the rule's user data, so that
 * what is read back from the kernel can be compared with what is wanted.
 *  4. Any name of up to NFT_NAME_MAX bytes will do for the kernel; the nft program can say only those of
 * letters, digits and any of "/_.-" that begin with a letter.
 *  5. Elements of NFT_SET_FLAG_DYNAMIC sets are made by packets: they are no part of a table's ruleset,
 * neither wanted nor dumped with it (nft_kernel_dump_set reads them, nft_ops_delete removes single ones). */
#ifndef NFT_RULESET_H
#define NFT_RULESET_H

#include <stdint.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct nft_table_id {
	int family; /* AF_INET, AF_INET6 */
	const char *name;
};

enum nft_item_type {
	NFT_ITEM_SET,     /* name; set */
	NFT_ITEM_COUNTER, /* name */
	NFT_ITEM_CHAIN,   /* name; chain */
	NFT_ITEM_RULES,   /* name of the chain; value: all its rules, in order */
	NFT_ITEM_ELEM,    /* name of the set; key, key_end; value (maps) */
};

/* Kernel attribute NFTA_SET_FLAGS. */
enum {
	NFT_SET_FLAG_INTERVAL = 1u << 2,
	NFT_SET_FLAG_MAP = 1u << 3,
	NFT_SET_FLAG_TIMEOUT = 1u << 4,
	NFT_SET_FLAG_DYNAMIC = 1u << 5,
	NFT_SET_FLAG_CONCAT = 1u << 7,
};

/* The nft program's datatype numbers: what `nft list` prints keys and data as. */
enum nft_datatype {
	NFT_DATATYPE_END, /* ends a list */
	NFT_DATATYPE_IPV4_ADDR = 7,
	NFT_DATATYPE_IPV6_ADDR = 8,
	NFT_DATATYPE_INET_PROTO = 12,
	NFT_DATATYPE_INET_SERVICE = 13,
	NFT_DATATYPE_MARK = 19,
	NFT_DATATYPE_PRIORITY = 23, /* "classid": how meta priority is printed */
	NFT_DATATYPE_IFNAME = 41,
	NFT_DATATYPE_VERDICT = 1,
};
#define NFT_DATATYPES(...) ((const enum nft_datatype[]){__VA_ARGS__, NFT_DATATYPE_END})
#define NFT_NAME_MAX       255 /* bytes of the name of a set, chain or counter */
#define NFT_CONCAT_MAX     8

struct nft_set_spec {
	uint32_t key_type,
	    key_len_bytes; /* nftables datatype number (concatenations: 6 bits each), for `nft list` */
	uint32_t data_type, data_len_bytes; /* maps; data_type NFT_DATA_TYPE_VERDICT for verdict maps */
	uint32_t flags;
	uint64_t timeout_ms; /* default of its elements, with NFT_SET_FLAG_TIMEOUT */
	uint32_t size_max;   /* 0: no limit */
	uint8_t concat_len[NFT_CONCAT_MAX], concat_count; /* with NFT_SET_FLAG_CONCAT */
};
#define NFT_DATA_TYPE_VERDICT 0xffffff00u

/* A set (data NULL) or map whose key and data are concatenations of the given types; lengths, flags MAP and
 * (for intervals of several fields) CONCAT follow from them. data NFT_DATATYPES(NFT_DATATYPE_VERDICT): a
 * verdict map. */
struct nft_set_spec nft_set_spec_of(const enum nft_datatype *key, const enum nft_datatype *data,
				    uint32_t flags);

/* hook < 0: a regular chain. */
struct nft_chain_spec {
	const char *type; /* "filter" or "nat" */
	int hook;         /* NF_INET_* */
	int priority;
	bool policy_drop;
};

enum nft_elem_kind {
	NFT_ELEM_DATA,          /* in a set; or in a map, with data bytes as value */
	NFT_ELEM_VERDICT,       /* in a verdict map */
	NFT_ELEM_RANGE,         /* from key to key_end, both included, in an interval set of one field */
	NFT_ELEM_CONCAT_RANGE,  /* the same in an interval set of several fields: each field is a range */
	NFT_ELEM_RANGE_VERDICT, /* intervals in verdict maps */
	NFT_ELEM_CONCAT_RANGE_VERDICT,
};

struct nft_item {
	enum nft_item_type type;
	enum nft_elem_kind kind; /* NFT_ITEM_ELEM */
	const char *name;
	struct str key;   /* NFT_ITEM_ELEM: the kernel's bytes (concatenated fields padded to 4) */
	struct str value; /* NFT_ITEM_ELEM: data bytes or verdict (below); NFT_ITEM_RULES: canonical rules */
	const char *comment; /* elements, sets, counters; may be NULL; not compared */
	union {
		const struct nft_set_spec *set;
		const struct nft_chain_spec *chain;
		struct str key_end; /* NFT_ITEM_ELEM, ranges */
		struct {
			uint64_t fingerprint; /* NFT_ITEM_RULES */
			struct str tag;       /* NFT_ITEM_RULES: of the first rule */
		};
		struct {
			uint64_t packets, bytes; /* NFT_ITEM_COUNTER, from dumps; not compared */
		};
	};
};

struct nft_ruleset {
	struct nft_item *items;
	size_t count, size;
	int failed; /* -ENOMEM, -ENAMETOOLONG once an addition failed; reported by nft_ruleset_sort */
	struct arena arena;
	const char *last_name; /* names come in runs: the copy made last */
};

/* A verdict map's value: a chain's name (goto it) or one of these. */
#define NFT_VERDICT_ACCEPT STR_LIT("\1accept")
#define NFT_VERDICT_DROP   STR_LIT("\1drop")
#define NFT_VERDICT_RETURN STR_LIT("\1return")

/* The bytes of a key or value, field by field; of several fields each is padded to 4, a single one is not. */
struct nft_key {
	unsigned char bytes[64];
	size_t fields, len, first_len;
};
void nft_key_add(struct nft_key *key, const void *data, size_t len_bytes);
void nft_key_add_ip(struct nft_key *key, const struct ip *ip);
void nft_key_add_port(struct nft_key *key, uint16_t port); /* host order */
void nft_key_add_u8(struct nft_key *key, uint8_t value);
void nft_key_add_u32(struct nft_key *key, uint32_t value); /* kept in host order: marks, priorities */
static inline struct str nft_key_str(const struct nft_key *key)
{
	return (struct str){(const char *)key->bytes, key->fields == 1 ? key->first_len : key->len};
}

struct nft_rules; /* nft/rule.h: builds the rules of one chain */

void nft_ruleset_add_set(struct nft_ruleset *ruleset, const char *name, const struct nft_set_spec *spec);
void nft_ruleset_add_counter(struct nft_ruleset *ruleset, const char *name);
void nft_ruleset_add_chain(struct nft_ruleset *ruleset, const char *name, const struct nft_chain_spec *spec);
void nft_ruleset_add_rules(struct nft_ruleset *ruleset, const char *chain, const struct nft_rules *rules);
/* Rules as a dump knows them: without their bytes. */
void nft_ruleset_add_rules_seen(struct nft_ruleset *ruleset, const char *chain, uint64_t fingerprint,
				struct str tag);
/* Of a set (value empty) or of a map with data. */
void nft_ruleset_add_elem(struct nft_ruleset *ruleset, const char *set, struct str key, struct str value);
/* Of a verdict map; verdict: str_of(chain), or NFT_VERDICT_*. */
void nft_ruleset_add_verdict(struct nft_ruleset *ruleset, const char *map, struct str key,
			     struct str verdict);
/* Of an interval set; key and key_end are both included. */
void nft_ruleset_add_range(struct nft_ruleset *ruleset, const char *set, enum nft_elem_kind kind,
			   struct str key, struct str key_end, struct str value);
/* The addresses of a CIDR, in an interval set of addresses. */
void nft_ruleset_add_cidr(struct nft_ruleset *ruleset, const char *set, const struct cidr *cidr);
/* Gives the item added last a comment (at most 127 bytes of it are kept). */
void nft_ruleset_comment(struct nft_ruleset *ruleset, const char *comment);

/* Order by identity: (type, name, key). */
int nft_item_compare(const struct nft_item *a, const struct nft_item *b);
/* For people: "element of set services with key 0a600001... (default/web:http)". Returns text. */
#define NFT_ITEM_TEXT_MAX 512
const char *nft_item_text(const struct nft_item *item, char text[static NFT_ITEM_TEXT_MAX]);

int nft_ruleset_sort(struct nft_ruleset *ruleset, struct err *err); /* 0, -ENOMEM, -ENAMETOOLONG, -EEXIST */
/* In a sorted ruleset; NULL if it is not there. */
const struct nft_item *nft_ruleset_find(const struct nft_ruleset *ruleset, enum nft_item_type type,
					const char *name, struct str key);
void nft_ruleset_done(struct nft_ruleset *ruleset);

/* ---- the difference ---- */

enum nft_op_type { NFT_OP_ADD, NFT_OP_DELETE, NFT_OP_REPLACE };

/* Items are borrowed from the two rulesets: `from` for deletions, `to` otherwise. A map element whose value
 * changed is REPLACE (deleted and added in the same transaction); so are changed rules. */
struct nft_op {
	enum nft_op_type type;
	const struct nft_item *item;
	const struct nft_item *old; /* REPLACE */
};

struct nft_ops {
	struct nft_op *ops;
	size_t count, size;
	bool rebuild; /* a set or chain changed its nature: the table must be deleted and built anew from `to`
		       */
};

/* Both sorted. Appends what turns `from` into `to`, in no particular order: the encoder brings operations,
 * those of several calls together, into one the kernel accepts. Where a set or chain has another spec than
 * before, *ops->rebuild is set, all of `to` added and nothing deleted. 0 or -ENOMEM. */
int nft_diff(const struct nft_ruleset *from, const struct nft_ruleset *to, struct nft_ops *ops);
/* Appends the deletion of one item. 0 or -ENOMEM. */
int nft_ops_delete(struct nft_ops *ops, const struct nft_item *item);
void nft_ops_done(struct nft_ops *ops);

#endif
