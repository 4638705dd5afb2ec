/* The model kernel of tests/unit/proxy_model.h. */
#include "tests/unit/proxy_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "nft/rule.h"

static struct nft_ruleset *table_of(struct model *model, int family)
{
	return &model->tables[family == AF_INET ? 0 : 1];
}

static void copy_rules(struct nft_ruleset *to, const struct nft_item *item)
{
	struct nft_rules rules = {0};

	if (buf_append_str(&rules.bytes, item->value))
		abort();
	nft_ruleset_add_rules(to, item->name, &rules);
	nft_rules_done(&rules);
}

static void copy_item(struct nft_ruleset *to, const struct nft_item *item)
{
	switch (item->type) {
	case NFT_ITEM_SET:
		nft_ruleset_add_set(to, item->name, item->set);
		break;
	case NFT_ITEM_COUNTER:
		nft_ruleset_add_counter(to, item->name);
		break;
	case NFT_ITEM_CHAIN:
		nft_ruleset_add_chain(to, item->name, item->chain);
		break;
	case NFT_ITEM_RULES:
		copy_rules(to, item);
		break;
	case NFT_ITEM_ELEM:
		if (item->kind == NFT_ELEM_VERDICT)
			nft_ruleset_add_verdict(to, item->name, item->key, item->value);
		else
			nft_ruleset_add_elem(to, item->name, item->key, item->value);
		break;
	}
}

/* ---- what refers to what ---- */

static bool has(const struct nft_ruleset *table, enum nft_item_type type, struct str name)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%.*s", (int)name.len, name.p);
	return nft_ruleset_find(table, type, text, (struct str){NULL, 0}) != NULL;
}

static bool expression_holds(const struct nft_ruleset *table, const struct nft_expr *expr)
{
	bool branches =
	    expr->op == NFT_EXPR_VERDICT && (expr->detail == NFT_RULE_JUMP || expr->detail == NFT_RULE_GOTO);
	bool looks_up = expr->op == NFT_EXPR_LOOKUP || expr->op == NFT_EXPR_MAP || expr->op == NFT_EXPR_VMAP;

	if (branches)
		return has(table, NFT_ITEM_CHAIN, expr->data);
	return !looks_up || has(table, NFT_ITEM_SET, expr->data);
}

static bool item_holds(const struct nft_ruleset *table, const struct nft_item *item)
{
	struct str bytes = item->value;
	struct nft_expr expr;

	if (item->type == NFT_ITEM_ELEM) {
		if (item->kind == NFT_ELEM_VERDICT && item->value.p[0] != '\1' &&
		    !has(table, NFT_ITEM_CHAIN, item->value))
			return false;
		return has(table, NFT_ITEM_SET, str_of(item->name));
	}
	if (item->type != NFT_ITEM_RULES)
		return true;
	while (nft_expr_next(&bytes, &expr))
		if (!expression_holds(table, &expr))
			return false;
	return has(table, NFT_ITEM_CHAIN, str_of(item->name));
}

static size_t op_of(const struct nft_ops *ops, const struct nft_item *item)
{
	size_t i = 0;

	while (i < ops->count && nft_item_compare(ops->ops[i].item, item) != 0)
		i++;
	return i;
}

/* ---- transactions ---- */

static int refusal(const struct model *model, const struct nft_ops *ops, size_t *ret_failed_op,
		   struct err *err)
{
	for (size_t i = 0; model->refuse && i < ops->count; i++) {
		char text[NFT_ITEM_TEXT_MAX], value[256];
		const struct nft_item *item = ops->ops[i].item;

		(void)nft_item_text(item, text);
		(void)snprintf(value, sizeof(value), "%.*s", (int)item->value.len,
			       item->type == NFT_ITEM_ELEM && item->value.p ? item->value.p : "");
		if (!strstr(text, model->refuse) && !strstr(value, model->refuse))
			continue;
		*ret_failed_op = model->refuse_whole ? ops->count : i;
		return err_set(err, model->refuse_code, "%s: refused by the test", text);
	}
	return 0;
}

/* Marks what goes, in the order of the operations. */
static int take_out(const struct nft_ruleset *table, const struct nft_ops *ops, bool *gone,
		    size_t *ret_failed_op, struct err *err)
{
	for (size_t i = 0; i < ops->count; i++) {
		const struct nft_item *item = ops->ops[i].item;
		const struct nft_item *known = nft_ruleset_find(table, item->type, item->name, item->key);
		bool there = known && !gone[known - table->items];
		char text[NFT_ITEM_TEXT_MAX];

		*ret_failed_op = i;
		if (ops->ops[i].type == NFT_OP_ADD && there)
			return err_set(err, -EEXIST, "%s exists", nft_item_text(item, text));
		if (ops->ops[i].type != NFT_OP_ADD && !there)
			return err_set(err, -ENOENT, "%s is not there", nft_item_text(item, text));
		if (ops->ops[i].type != NFT_OP_ADD && known)
			gone[known - table->items] = true;
	}
	return 0;
}

static int put_together(const struct nft_ruleset *table, const struct nft_ops *ops, const bool *gone,
			struct nft_ruleset *ret, size_t *ret_failed_op, struct err *err)
{
	int code;

	for (size_t i = 0; i < table->count; i++)
		if (!gone[i])
			copy_item(ret, &table->items[i]);
	for (size_t i = 0; i < ops->count; i++)
		if (ops->ops[i].type != NFT_OP_DELETE)
			copy_item(ret, ops->ops[i].item);
	*ret_failed_op = ops->count;
	code = nft_ruleset_sort(ret, err);
	for (size_t i = 0; i < ret->count && !code; i++) {
		char text[NFT_ITEM_TEXT_MAX];

		if (item_holds(ret, &ret->items[i]))
			continue;
		*ret_failed_op = op_of(ops, &ret->items[i]);
		code = err_set(err, -ENOENT, "%s refers to what is not there",
			       nft_item_text(&ret->items[i], text));
	}
	return code;
}

static int apply(void *ctx, int family, const struct nft_ops *ops, size_t *ret_failed_op, struct err *err)
{
	struct model *model = ctx;
	struct nft_ruleset *table = table_of(model, family), next = {0};
	static const struct nft_ruleset nothing;
	const struct nft_ruleset *from = ops->rebuild ? &nothing : table;
	cleanup_free bool *gone = calloc(from->count + 1, sizeof(*gone));
	int code = refusal(model, ops, ret_failed_op, err);

	if (!code)
		code = take_out(from, ops, gone, ret_failed_op, err);
	if (!code)
		code = put_together(from, ops, gone, &next, ret_failed_op, err);
	if (code) {
		nft_ruleset_done(&next);
		return code;
	}
	nft_ruleset_done(table);
	*table = next;
	model->transactions++;
	model->operations += ops->count;
	return 0;
}

static int dump(void *ctx, int family, struct nft_ruleset *ret, struct err *err)
{
	struct model *model = ctx;
	const struct nft_ruleset *table = table_of(model, family);

	if (model->dump_code)
		return err_set(err, model->dump_code, "refused by the test");
	if (table->count == 0)
		return -ENOENT;
	for (size_t i = 0; i < table->count; i++)
		copy_item(ret, &table->items[i]);
	return nft_ruleset_sort(ret, err);
}

struct table_kernel model_kernel(struct model *model)
{
	return (struct table_kernel){.apply = apply, .dump = dump, .ctx = model};
}

void model_flush(struct model *model)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		nft_ruleset_done(&model->tables[i]);
}

void model_done(struct model *model)
{
	model_flush(model);
}

/* ---- meaning ---- */

struct lines {
	char **items;
	size_t count, size;
};

static void add_line(struct lines *lines, struct buf *line)
{
	if (lines->count == lines->size) {
		lines->size = lines->size ? lines->size * 2 : 64;
		lines->items = realloc(lines->items, lines->size * sizeof(*lines->items));
	}
	lines->items[lines->count++] = buf_take_text(line);
}

static int line_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void append_hex(struct buf *out, struct str bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		(void)buf_printf(out, "%02x", (unsigned char)bytes.p[i]);
}

static struct str append_ip(struct buf *out, int family, struct str key)
{
	struct ip ip = {.family = (uint16_t)family};
	size_t len = ip_len(&ip);
	char text[ADDR_TEXT_MAX];

	memcpy(ip.bytes, key.p, len);
	(void)buf_append_text(out, ip_format(&ip, text));
	return (struct str){key.p + len, key.len - len};
}

/* "10.96.0.1 80/6", "30080/6", "10.0.0.1 10.0.0.1", "10.96.0.1": address, port and protocol number. */
static void append_key(struct buf *out, int family, const struct nft_item *item)
{
	struct str key = item->key;

	if (!strstr(item->name, "nodeports")) {
		key = append_ip(out, family, key);
		if (key.len > 0)
			(void)buf_append_char(out, ' ');
	}
	if (strcmp(item->name, "hairpin-connections") == 0)
		key = append_ip(out, family, key);
	if (key.len > 0)
		(void)buf_printf(out, "%u/%u",
				 (unsigned)((unsigned char)key.p[4] << 8 | (unsigned char)key.p[5]),
				 (unsigned)(unsigned char)key.p[0]);
}

/* The slots a chain spreads over: count 0 if it is no such chain. */
static size_t slots_of(const struct nft_item *rules, uint32_t *ret_base)
{
	struct str bytes = rules->value;
	struct slot_range range;
	struct nft_expr expr;

	if (plan_tag_range(rules->tag, &range))
		return 0;
	while (nft_expr_next(&bytes, &expr)) {
		if (expr.op == NFT_EXPR_NUMGEN) {
			*ret_base = expr.b;
			return expr.a;
		}
		if (expr.op == NFT_EXPR_IMMEDIATE) {
			memcpy(ret_base, expr.data.p, sizeof(*ret_base));
			return 1;
		}
	}
	return 0;
}

/* "chain svc-default/web spreads over 10.0.0.1:80 10.0.0.2:80" */
static size_t describe_spread(const struct nft_ruleset *ruleset, int family, const struct nft_item *rules,
			      struct buf *out)
{
	struct lines endpoints = {0};
	uint32_t base = 0;
	size_t count = slots_of(rules, &base);

	for (size_t i = 0; i < count; i++) {
		uint32_t slot = base + (uint32_t)i;
		const struct nft_item *item =
		    nft_ruleset_find(ruleset, NFT_ITEM_ELEM, PLAN_SET_ENDPOINTS, plan_slot_key(&slot));
		struct endpoint_addr addr;
		char text[ADDR_TEXT_MAX];
		struct buf line = {0};

		(void)buf_append_text(&line, item && !plan_slot_value_parse(family, item->value, &addr)
						 ? endpoint_addr_format(&addr, text)
						 : "EMPTY SLOT");
		add_line(&endpoints, &line);
	}
	if (count > 0)
		qsort(endpoints.items, count, sizeof(*endpoints.items), line_compare);
	(void)buf_append_text(out, "spreads over");
	for (size_t i = 0; i < count; i++) {
		(void)buf_printf(out, " %s", endpoints.items[i]);
		free(endpoints.items[i]);
	}
	free(endpoints.items);
	return count;
}

static void describe_element(struct buf *out, int family, const struct nft_item *item)
{
	(void)buf_printf(out, "%s ", item->name);
	append_key(out, family, item);
	if (item->value.len > 0 && item->value.p[0] == '\1')
		(void)buf_printf(out, " -> %.*s", (int)item->value.len - 1, item->value.p + 1);
	else if (item->value.len > 0)
		(void)buf_printf(out, " -> %.*s", (int)item->value.len, item->value.p);
}

char *ruleset_meaning(const struct nft_ruleset *ruleset, int family)
{
	struct lines lines = {0};
	struct buf text = {0};
	size_t slots = 0, spread = 0;

	for (size_t i = 0; i < ruleset->count; i++) {
		const struct nft_item *item = &ruleset->items[i];
		struct slot_range range;
		struct buf line = {0};

		if (item->type == NFT_ITEM_ELEM && strcmp(item->name, PLAN_SET_ENDPOINTS) == 0) {
			slots++;
			continue;
		}
		if (item->type == NFT_ITEM_ELEM) {
			describe_element(&line, family, item);
		} else if (item->type == NFT_ITEM_RULES && !plan_tag_range(item->tag, &range)) {
			(void)buf_printf(&line, "%s ", item->name);
			spread += describe_spread(ruleset, family, item, &line);
		} else if (item->type == NFT_ITEM_RULES) {
			(void)buf_printf(&line, "%s rules ", item->name);
			append_hex(&line, item->value);
		} else {
			(void)buf_printf(&line, "%s %s", item->type == NFT_ITEM_CHAIN ? "chain" : "set",
					 item->name);
		}
		add_line(&lines, &line);
	}
	if (lines.count > 1)
		qsort(lines.items, lines.count, sizeof(*lines.items), line_compare);
	for (size_t i = 0; i < lines.count; i++) {
		(void)buf_printf(&text, "%s\n", lines.items[i]);
		free(lines.items[i]);
	}
	free(lines.items);
	if (slots != spread)
		(void)buf_printf(&text, "%zu slots are filled, %zu used\n", slots, spread);
	return buf_take_text(&text);
}

char *model_meaning(const struct model *model, int family)
{
	return ruleset_meaning(&model->tables[family == AF_INET ? 0 : 1], family);
}
