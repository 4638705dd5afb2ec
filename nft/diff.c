/* The difference of two rulesets: both are walked once side by side, and each operation found goes to its
 * phase. */
#include <errno.h>
#include <stdlib.h>

#include "nft/ruleset.h"

static bool same_set(const struct nft_set_spec *a, const struct nft_set_spec *b)
{
	return a->key_type == b->key_type && a->key_len_bytes == b->key_len_bytes &&
	       a->data_type == b->data_type && a->data_len_bytes == b->data_len_bytes &&
	       a->flags == b->flags && a->timeout_ms == b->timeout_ms && a->size_max == b->size_max &&
	       a->concat_count == b->concat_count &&
	       memcmp(a->concat_len, b->concat_len, sizeof(a->concat_len)) == 0;
}

static bool same_chain(const struct nft_chain_spec *a, const struct nft_chain_spec *b)
{
	if (a->hook < 0 || b->hook < 0)
		return a->hook < 0 && b->hook < 0;
	return a->hook == b->hook && a->priority == b->priority && a->policy_drop == b->policy_drop &&
	       strcmp(a->type, b->type) == 0;
}

/* Of two items with the same identity. */
static bool same_content(const struct nft_item *a, const struct nft_item *b)
{
	switch (a->type) {
	case NFT_ITEM_SET:
		return same_set(a->set, b->set);
	case NFT_ITEM_COUNTER:
		return true;
	case NFT_ITEM_CHAIN:
		return same_chain(a->chain, b->chain);
	case NFT_ITEM_RULES:
		return a->fingerprint == b->fingerprint && a->fingerprint != 0;
	case NFT_ITEM_ELEM:
		break;
	}
	return a->kind == b->kind && str_equal(a->value, b->value) && str_equal(a->key_end, b->key_end);
}

/* ---- the walk ---- */

struct walk {
	const struct nft_ruleset *from, *to;
	size_t from_index, to_index;
};

/* The next difference in order of identity; false at the end. */
static bool walk_next(struct walk *walk, struct nft_op *ret)
{
	while (walk->from_index < walk->from->count || walk->to_index < walk->to->count) {
		const struct nft_item *from = NULL, *to = NULL;
		int order;

		if (walk->from_index < walk->from->count)
			from = &walk->from->items[walk->from_index];
		if (walk->to_index < walk->to->count)
			to = &walk->to->items[walk->to_index];
		order = !from ? 1 : !to ? -1 : nft_item_compare(from, to);
		walk->from_index += order <= 0;
		walk->to_index += order >= 0;
		if (order < 0)
			*ret = (struct nft_op){.type = NFT_OP_DELETE, .item = from};
		else if (order > 0)
			*ret = (struct nft_op){.type = NFT_OP_ADD, .item = to};
		else if (!same_content(from, to))
			*ret = (struct nft_op){.type = NFT_OP_REPLACE, .item = to, .old = from};
		else
			continue;
		return true;
	}
	return false;
}

/* Sets and chains cannot be changed in place. */
static bool needs_rebuild(const struct nft_op *op)
{
	return op->type == NFT_OP_REPLACE &&
	       (op->item->type == NFT_ITEM_SET || op->item->type == NFT_ITEM_CHAIN);
}

static int ops_append(struct nft_ops *ops, struct nft_op op)
{
	if (ops->count == ops->size) {
		size_t size = ops->size > 0 ? ops->size * 2 : 8;
		struct nft_op *grown = reallocarray(ops->ops, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		ops->ops = grown;
		ops->size = size;
	}
	ops->ops[ops->count++] = op;
	return 0;
}

int nft_diff(const struct nft_ruleset *from, const struct nft_ruleset *to, struct nft_ops *ops)
{
	static const struct nft_ruleset nothing;
	size_t count_before = ops->count;
	struct walk walk = {.from = from, .to = to};

	for (struct nft_op op; walk_next(&walk, &op);) {
		if (needs_rebuild(&op)) {
			ops->rebuild = true;
			ops->count = count_before;
			return nft_diff(&nothing, to, ops);
		}
		if (ops_append(ops, op) != 0)
			return -ENOMEM;
	}
	return 0;
}

int nft_ops_delete(struct nft_ops *ops, const struct nft_item *item)
{
	return ops_append(ops, (struct nft_op){.type = NFT_OP_DELETE, .item = item});
}

void nft_ops_done(struct nft_ops *ops)
{
	free(ops->ops);
	*ops = (struct nft_ops){0};
}
