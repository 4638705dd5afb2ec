/* Two rulesets made from the bytes: what nft_diff says, done to the first in a model of the kernel, gives the second. */
/* LINK: nft/ruleset.c nft/diff.c nft/rule.c nft/encode.c nft/encode_rule.c */
/* LINK: base/arena.c base/buf.c base/str.c base/addr.c base/err.c */
/* LIBS: -lmnl -lxxhash */
#include <stdio.h>
#include <stdlib.h>

#include "nft/encode.h"
#include "nft/rule.h"

#define ITEMS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at, *end;
};

static uint8_t next(struct input *input)
{
	return input->at < input->end ? *input->at++ : 0;
}

static void add_rules(struct nft_ruleset *ruleset, const char *name, unsigned value)
{
	struct nft_rules rules = {.failed = 0};

	for (unsigned i = 0; i <= value % 3; i++) {
		nft_rule_begin(&rules, NULL, (struct str){(const char *)&value, value % 4});
		nft_rule_numgen(&rules, 0, NFT_NG_INCREMENTAL, value, i);
	}
	nft_ruleset_add_rules(ruleset, name, &rules);
	nft_rules_done(&rules);
}

/* Three bytes an item: type and name, key, value. Few of each, so that rulesets meet. */
static void add_item(struct nft_ruleset *ruleset, struct input *input)
{
	static const char *const names[] = {"a", "b", "c/long-name", "d"};
	uint8_t what = next(input), key_byte = next(input) % 8, value_byte = next(input);
	const char *name = names[what / 16 % 4];
	struct nft_set_spec set =
	    nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_MARK), NULL, value_byte % 2 * NFT_SET_FLAG_INTERVAL);
	struct nft_chain_spec chain = {.type = "nat", .hook = value_byte % 3 - 1, .priority = value_byte % 5};
	struct str key = {(const char *)&key_byte, 1}, value = {(const char *)&value_byte, 1};

	switch (what % 8) {
	case 0:
		nft_ruleset_add_set(ruleset, name, &set);
		return;
	case 1:
		nft_ruleset_add_counter(ruleset, name);
		return;
	case 2:
		nft_ruleset_add_chain(ruleset, name, &chain);
		return;
	case 3:
		add_rules(ruleset, name, value_byte % 6u);
		return;
	case 4:
		nft_ruleset_add_verdict(ruleset, name, key,
					value_byte % 2 ? str_of(names[value_byte % 4]) : NFT_VERDICT_DROP);
		return;
	case 5:
		nft_ruleset_add_range(ruleset, name, value_byte % 2 ? NFT_ELEM_RANGE : NFT_ELEM_CONCAT_RANGE,
				      key, value, value);
		return;
	default:
		nft_ruleset_add_elem(ruleset, name, key, value);
	}
}

static int build(struct nft_ruleset *ruleset, struct input *input)
{
	for (unsigned count = next(input) % ITEMS_MAX; count > 0; count--)
		add_item(ruleset, input);
	return nft_ruleset_sort(ruleset, NULL);
}

/* ---- the model: a table is a set of items ---- */

struct model {
	const struct nft_item *items[2 * ITEMS_MAX];
	size_t count;
};

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static size_t find(const struct model *model, const struct nft_item *item)
{
	size_t i = 0;

	while (i < model->count && nft_item_compare(model->items[i], item) != 0)
		i++;
	return i;
}

static void model_apply(struct model *model, const struct nft_op *op)
{
	size_t at = find(model, op->item);

	if (op->type == NFT_OP_ADD) {
		require(at == model->count, "added what is there");
		model->items[model->count++] = op->item;
	} else if (op->type == NFT_OP_REPLACE) {
		require(at < model->count && model->items[at] == op->old, "replaced what is not there");
		model->items[at] = op->item;
	} else {
		require(at < model->count, "deleted what is not there");
		model->items[at] = model->items[--model->count];
	}
}

static void require_nothing_left(const struct nft_ruleset *now, const struct nft_ruleset *wanted)
{
	struct nft_ops ops = {.count = 0};

	require(nft_diff(now, wanted, &ops) == 0 && ops.count == 0 && !ops.rebuild, "a difference is left");
	nft_ops_done(&ops);
}

static void check(const struct nft_ruleset *from, const struct nft_ruleset *to)
{
	const struct nft_table_id table = {.family = AF_INET, .name = "t"};
	const struct nft_encode_options options = {.seq_first = 1};
	struct nft_ruleset result = {.failed = 0};
	struct nft_batch batch = {.seq_first = 0};
	struct nft_item items[2 * ITEMS_MAX];
	struct nft_ops ops = {.count = 0};
	struct model model = {.count = 0};

	require(nft_diff(from, to, &ops) == 0, "no memory");
	for (size_t i = 0; i < from->count && !ops.rebuild; i++)
		model.items[model.count++] = &from->items[i];
	for (size_t i = 0; i < ops.count; i++)
		model_apply(&model, &ops.ops[i]);
	for (size_t i = 0; i < model.count; i++)
		items[i] = *model.items[i];
	result.items = items;
	result.count = model.count;
	require(nft_ruleset_sort(&result, NULL) == 0, "something twice");
	require_nothing_left(&result, to);
	require_nothing_left(to, to);
	require(nft_encode(&batch, table, &ops, &options, NULL) == 0, "cannot be encoded");
	nft_batch_done(&batch);
	nft_ops_done(&ops);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.at = data, .end = data + size};
	struct nft_ruleset from = {.failed = 0}, to = {.failed = 0};

	if (build(&from, &input) == 0 && build(&to, &input) == 0)
		check(&from, &to);
	nft_ruleset_done(&from);
	nft_ruleset_done(&to);
	return 0;
}
