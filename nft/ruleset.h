/* What one nf_tables table should hold, as a pure value: sets with elements, chains with rules. No kernel here.
 *
 * A ruleset may be a whole table or a fragment of one (one service's elements and chain): fragments are built the
 * same way and compared the same way, so a change of one service costs what that service holds.
 *
 * Invariants
 *  1. After nft_ruleset_sort, items are ordered by (type, name, key) and no two are equal in these; adding a
 *     second item with the same identity makes nft_ruleset_sort fail with -EEXIST, naming it.
 *  2. Names are borrowed or interned by the arena of the ruleset; a ruleset is freed as one.
 *  3. A rule's bytes are canonical: equal meaning, equal bytes. They are our own encoding of the expressions
 *     (nft/rule.h), not the kernel's; a 64-bit fingerprint of them travels in the rule's user data, so that what is
 *     read back from the kernel can be compared with what is wanted. */
#ifndef NFT_RULESET_H
#define NFT_RULESET_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum nft_item_type {
	NFT_ITEM_SET,   /* name; spec */
	NFT_ITEM_CHAIN, /* name; spec */
	NFT_ITEM_RULES, /* name of the chain; value: all its rules, in order */
	NFT_ITEM_ELEM,  /* name of the set; key; value (maps) */
};

/* Kernel attribute NFTA_SET_FLAGS. */
enum {
	NFT_SET_FLAG_INTERVAL = 1u << 0,
	NFT_SET_FLAG_MAP = 1u << 1,
	NFT_SET_FLAG_TIMEOUT = 1u << 2,
	NFT_SET_FLAG_DYNAMIC = 1u << 3,
};

struct nft_set_spec {
	uint32_t key_type, key_len_bytes;   /* nftables datatype number (concatenations: 6 bits each), for `nft list` */
	uint32_t data_type, data_len_bytes; /* maps; data_type NFT_DATA_TYPE_VERDICT for verdict maps */
	uint32_t flags;
	uint64_t timeout_ms;                /* default of its elements, with NFT_SET_FLAG_TIMEOUT */
	uint32_t size_max;                  /* 0: no limit */
	uint8_t concat_len[8], concat_count; /* field lengths in bytes of a concatenated key; 0: not one */
};
#define NFT_DATA_TYPE_VERDICT 0xffffff00u

/* hook < 0: a regular chain. */
struct nft_chain_spec {
	const char *type; /* "filter" or "nat" */
	int hook;         /* NF_INET_* */
	int priority;
};

struct nft_item {
	enum nft_item_type type;
	const char *name;
	struct str key;   /* NFT_ITEM_ELEM: the kernel's bytes (concatenated fields padded to 4) */
	struct str value; /* NFT_ITEM_ELEM: data bytes, or the chain a verdict map goes to; NFT_ITEM_RULES: canonical rules */
	uint64_t fingerprint; /* NFT_ITEM_RULES */
	union {
		struct nft_set_spec set;
		struct nft_chain_spec chain;
	} spec;
	const char *comment; /* elements and sets, may be NULL; not compared */
};

struct nft_ruleset {
	struct nft_item *items;
	size_t count, size;
	int failed; /* -ENOMEM once an addition failed; checked by nft_ruleset_sort */
	struct arena arena;
};

/* A verdict map's value that is no `goto chain`. */
#define NFT_VERDICT_DROP   STR_LIT("\1drop")
#define NFT_VERDICT_RETURN STR_LIT("\1return")

struct nft_rules; /* nft/rule.h: builds the rules of one chain */

void nft_ruleset_add_set(struct nft_ruleset *ruleset, const char *name, const struct nft_set_spec *spec);
void nft_ruleset_add_chain(struct nft_ruleset *ruleset, const char *name, const struct nft_chain_spec *spec);
void nft_ruleset_add_rules(struct nft_ruleset *ruleset, const char *chain, const struct nft_rules *rules);
/* key and value are copied. */
void nft_ruleset_add_elem(struct nft_ruleset *ruleset, const char *set, struct str key, struct str value);
int nft_ruleset_sort(struct nft_ruleset *ruleset, struct err *err); /* 0, -ENOMEM, -EEXIST */
void nft_ruleset_done(struct nft_ruleset *ruleset);

/* ---- the difference ---- */

enum nft_op_type { NFT_OP_ADD, NFT_OP_DELETE, NFT_OP_REPLACE };

/* Items are borrowed from the two rulesets: `from` for deletions, `to` otherwise. A map element whose value changed
 * is REPLACE (deleted and added in the same transaction); so are changed rules. */
struct nft_op {
	enum nft_op_type type;
	const struct nft_item *item;
	const struct nft_item *old; /* REPLACE */
};

struct nft_ops {
	struct nft_op *ops;
	size_t count, size;
	bool rebuild; /* a set or chain changed its nature: the table must be deleted and built anew from `to` */
};

/* Both sorted. Ops come in an order the kernel accepts: sets, chains, elements deleted, rules, elements added,
 * chains deleted, sets deleted. Appends to *ops. 0 or -ENOMEM. */
int nft_diff(const struct nft_ruleset *from, const struct nft_ruleset *to, struct nft_ops *ops);
void nft_ops_done(struct nft_ops *ops);

#endif
