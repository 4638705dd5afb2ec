/* The batch: steps in the kernel's order, elements packed, every message remembered with the operations it
 * carries. */
#include "nft/encode.h"

#include <assert.h>
#include <errno.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "nft/attribute.h"
#include "nft/rule.h"

#define ELEMENTS_BYTES_MAX ((size_t)60 * 1024) /* an attribute's length has 16 bits */

struct encoder {
	struct nft_batch *batch;
	struct nft_table_id table;
	const struct nft_ops *ops;
	struct nft_message unpacked;
	size_t last_offset; /* of the newest message */
	size_t failed_op;
};

uint8_t nft_family_number(int family)
{
	return family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

/* ---- messages ---- */

/* Begins a message of NFT_MESSAGE_MAX bytes at most; NULL when out of memory. */
static struct nlmsghdr *begin(struct encoder *encoder, uint16_t type, uint16_t flags, uint8_t family,
			      uint16_t res_id)
{
	struct nft_batch *batch = encoder->batch;
	void *at = buf_reserve(&batch->bytes, NFT_MESSAGE_MAX);
	struct nlmsghdr *message;
	struct nfgenmsg *head;

	if (!at)
		return NULL;
	message = mnl_nlmsg_put_header(at);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = batch->seq_first + (uint32_t)batch->message_count;
	head = mnl_nlmsg_put_extra_header(message, sizeof(*head));
	*head = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)};
	return message;
}

/* The message is complete and stands for `count` operations from batch->order[start] on. */
static int finish(struct encoder *encoder, const struct nlmsghdr *message, size_t start, size_t count)
{
	struct nft_batch *batch = encoder->batch;

	assert(message->nlmsg_len <= NFT_MESSAGE_MAX);
	if (batch->message_count == batch->message_size) {
		size_t size = batch->message_size > 0 ? batch->message_size * 2 : 16;
		struct nft_message *grown = reallocarray(batch->messages, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		batch->messages = grown;
		batch->message_size = size;
	}
	batch->messages[batch->message_count++] = (struct nft_message){(uint32_t)start, (uint32_t)count};
	encoder->last_offset = batch->bytes.tail;
	buf_commit(&batch->bytes, message->nlmsg_len);
	return 0;
}

static struct nlmsghdr *begin_table_message(struct encoder *encoder, unsigned type, uint16_t flags)
{
	struct nlmsghdr *message = begin(encoder, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags,
					 nft_family_number(encoder->table.family), 0);

	/* The table's name is attribute 1 of every message: NFTA_TABLE_NAME, NFTA_SET_TABLE, NFTA_CHAIN_TABLE
	 * ... */
	if (message)
		attribute_put_text(message, NFTA_TABLE_NAME, encoder->table.name);
	return message;
}

static int batch_message(struct encoder *encoder, uint16_t type)
{
	struct nlmsghdr *message = begin(encoder, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);

	return message ? finish(encoder, message, 0, 0) : -ENOMEM;
}

static int table_message(struct encoder *encoder, unsigned type, uint16_t flags)
{
	struct nlmsghdr *message = begin_table_message(encoder, type, flags);

	if (!message)
		return -ENOMEM;
	if (type == NFT_MSG_NEWTABLE) /* without flags: wakes a table that somebody made dormant */
		attribute_put_u32(message, NFTA_TABLE_FLAGS, 0);
	return finish(encoder, message, 0, 0);
}

/* ---- user data: type, length, bytes ---- */

struct user_data {
	uint8_t bytes[NFT_USERDATA_MAXLEN];
	size_t len;
};

static void user_data_add(struct user_data *data, uint8_t type, const void *value, size_t len_bytes)
{
	assert(len_bytes <= UINT8_MAX && data->len + 2 + len_bytes <= sizeof(data->bytes));
	data->bytes[data->len++] = type;
	data->bytes[data->len++] = (uint8_t)len_bytes;
	memcpy(data->bytes + data->len, value, len_bytes);
	data->len += len_bytes;
}

static void user_data_add_text(struct user_data *data, uint8_t type, struct str text)
{
	char terminated[NFT_RULE_COMMENT_MAX + 1] = {0};

	if (text.len == 0)
		return;
	assert(text.len <= NFT_RULE_COMMENT_MAX);
	memcpy(terminated, text.p, text.len);
	user_data_add(data, type, terminated, text.len + 1);
}

static void put_user_data(struct nlmsghdr *message, unsigned attribute, const struct user_data *data)
{
	if (data->len > 0)
		attribute_put(message, attribute, (struct str){(const char *)data->bytes, data->len});
}

static void put_comment(struct nlmsghdr *message, unsigned attribute, uint8_t type, const char *comment)
{
	struct user_data data = {.len = 0};

	user_data_add_text(&data, type, str_of(comment));
	put_user_data(message, attribute, &data);
}

/* ---- sets, counters, chains ---- */

static void put_set_description(struct nlmsghdr *message, const struct nft_set_spec *spec)
{
	struct nlattr *description = attribute_begin(message, NFTA_SET_DESC);

	if (spec->size_max > 0)
		attribute_put_u32(message, NFTA_SET_DESC_SIZE, spec->size_max);
	if (spec->flags & NFT_SET_FLAG_CONCAT) {
		struct nlattr *concat = attribute_begin(message, NFTA_SET_DESC_CONCAT);

		for (unsigned i = 0; i < spec->concat_count; i++) {
			struct nlattr *field = attribute_begin(message, NFTA_LIST_ELEM);

			attribute_put_u32(message, NFTA_SET_FIELD_LEN, spec->concat_len[i]);
			attribute_end(message, field);
		}
		attribute_end(message, concat);
	}
	attribute_end(message, description);
}

enum { BYTE_ORDER_HOST = 1, BYTE_ORDER_NETWORK = 2 }; /* the nft program's numbers */

/* How the nft program is to read single values of the type: as numbers of this machine, or most significant
 * byte first. Of concatenations it knows by itself. */
static uint32_t byte_order(uint32_t type)
{
	switch (type) {
	case NFT_DATATYPE_MARK:
	case NFT_DATATYPE_PRIORITY:
	case NFT_DATATYPE_IFNAME:
		return BYTE_ORDER_HOST;
	default: /* any number a datatype or concatenation may have */
		return BYTE_ORDER_NETWORK;
	}
}

static void put_set_user_data(struct nlmsghdr *message, const struct nft_item *item)
{
	const uint32_t key_order = byte_order(item->set->key_type),
		       data_order = byte_order(item->set->data_type);
	struct user_data data = {.len = 0};

	user_data_add(&data, NFTNL_UDATA_SET_KEYBYTEORDER, &key_order, sizeof(key_order));
	if (item->set->flags & NFT_SET_FLAG_MAP)
		user_data_add(&data, NFTNL_UDATA_SET_DATABYTEORDER, &data_order, sizeof(data_order));
	user_data_add_text(&data, NFTNL_UDATA_SET_COMMENT, str_of(item->comment));
	put_user_data(message, NFTA_SET_USERDATA, &data);
}

static void put_set(struct nlmsghdr *message, const struct nft_item *item, uint32_t id)
{
	const struct nft_set_spec *spec = item->set;

	attribute_put_text(message, NFTA_SET_NAME, item->name);
	attribute_put_u32(message, NFTA_SET_ID, id);
	attribute_put_u32(message, NFTA_SET_FLAGS, spec->flags);
	attribute_put_u32(message, NFTA_SET_KEY_TYPE, spec->key_type);
	attribute_put_u32(message, NFTA_SET_KEY_LEN, spec->key_len_bytes);
	if (spec->flags & NFT_SET_FLAG_MAP)
		attribute_put_u32(message, NFTA_SET_DATA_TYPE, spec->data_type);
	if (spec->flags & NFT_SET_FLAG_MAP && spec->data_type != NFT_DATA_TYPE_VERDICT)
		attribute_put_u32(message, NFTA_SET_DATA_LEN, spec->data_len_bytes);
	if (spec->timeout_ms > 0)
		attribute_put_u64(message, NFTA_SET_TIMEOUT, spec->timeout_ms);
	put_set_description(message, spec);
	put_set_user_data(message, item);
}

static void put_counter(struct nlmsghdr *message, const struct nft_item *item)
{
	attribute_put_text(message, NFTA_OBJ_NAME, item->name);
	attribute_put_u32(message, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
	attribute_end(message, attribute_begin(message, NFTA_OBJ_DATA));
	put_comment(message, NFTA_OBJ_USERDATA, NFTNL_UDATA_OBJ_COMMENT, item->comment);
}

static void put_chain(struct nlmsghdr *message, const struct nft_item *item)
{
	const struct nft_chain_spec *spec = item->chain;

	attribute_put_text(message, NFTA_CHAIN_NAME, item->name);
	if (spec->hook >= 0) {
		struct nlattr *hook = attribute_begin(message, NFTA_CHAIN_HOOK);

		attribute_put_u32(message, NFTA_HOOK_HOOKNUM, (uint32_t)spec->hook);
		attribute_put_u32(message, NFTA_HOOK_PRIORITY, (uint32_t)spec->priority);
		attribute_end(message, hook);
		attribute_put_text(message, NFTA_CHAIN_TYPE, spec->type);
		attribute_put_u32(message, NFTA_CHAIN_POLICY, spec->policy_drop ? NF_DROP : NF_ACCEPT);
	}
	put_comment(message, NFTA_CHAIN_USERDATA, NFTNL_UDATA_CHAIN_COMMENT, item->comment);
}

/* One message that makes an item. */
static int add_item(struct encoder *encoder, size_t at, unsigned type)
{
	const struct nft_item *item = encoder->ops->ops[encoder->batch->order[at]].item;
	struct nlmsghdr *message = begin_table_message(encoder, type, NLM_F_CREATE | NLM_F_EXCL);

	if (!message)
		return -ENOMEM;
	if (item->type == NFT_ITEM_SET)
		put_set(message, item, (uint32_t)at + 1);
	else if (item->type == NFT_ITEM_COUNTER)
		put_counter(message, item);
	else
		put_chain(message, item);
	return finish(encoder, message, at, 1);
}

/* One message that needs no more than an item's name. */
static int delete_item(struct encoder *encoder, size_t at, unsigned type, unsigned name_attribute)
{
	const struct nft_item *item = encoder->ops->ops[encoder->batch->order[at]].item;
	struct nlmsghdr *message = begin_table_message(encoder, type, 0);

	if (!message)
		return -ENOMEM;
	attribute_put_text(message, name_attribute, item->name);
	if (item->type == NFT_ITEM_COUNTER)
		attribute_put_u32(message, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
	return finish(encoder, message, at, 1);
}

/* ---- rules ---- */

static void put_rule_user_data(struct nlmsghdr *message, struct str rule)
{
	struct user_data data = {.len = 0};
	uint64_t fingerprint = nft_rule_fingerprint(rule);
	struct str rest = rule;
	struct nft_expr begin_expr;

	if (!nft_expr_next(&rest, &begin_expr))
		return;
	struct str comment = {begin_expr.data.p, begin_expr.a};
	struct str tag = {comment.p + comment.len, begin_expr.data.len - comment.len};
	user_data_add_text(&data, NFTNL_UDATA_RULE_COMMENT, comment);
	user_data_add(&data, NFT_UDATA_FINGERPRINT, &fingerprint, sizeof(fingerprint));
	if (tag.len > 0)
		user_data_add(&data, NFT_UDATA_TAG, tag.p, tag.len);
	put_user_data(message, NFTA_RULE_USERDATA, &data);
}

static int add_rules(struct encoder *encoder, size_t at)
{
	uint32_t index = encoder->batch->order[at];
	const struct nft_item *item = encoder->ops->ops[index].item;
	struct str rest = item->value;
	int result;

	for (struct str rule; nft_rule_next(&rest, &rule);) {
		struct nlmsghdr *message =
		    begin_table_message(encoder, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

		if (!message)
			return -ENOMEM;
		attribute_put_text(message, NFTA_RULE_CHAIN, item->name);
		result = nft_encode_expressions(message, rule);
		if (result != 0) {
			encoder->failed_op = index;
			return result;
		}
		put_rule_user_data(message, rule);
		result = finish(encoder, message, at, 1);
		if (result != 0)
			return result;
	}
	return 0;
}

/* ---- elements ---- */

static void put_verdict_value(struct nlmsghdr *message, struct str value)
{
	struct nlattr *data = attribute_begin(message, NFTA_SET_ELEM_DATA);
	struct nlattr *verdict = attribute_begin(message, NFTA_DATA_VERDICT);
	char chain[NFT_NAME_MAX + 1] = {0};

	if (str_equal(value, NFT_VERDICT_ACCEPT)) {
		attribute_put_u32(message, NFTA_VERDICT_CODE, NF_ACCEPT);
	} else if (str_equal(value, NFT_VERDICT_DROP)) {
		attribute_put_u32(message, NFTA_VERDICT_CODE, NF_DROP);
	} else if (str_equal(value, NFT_VERDICT_RETURN)) {
		attribute_put_u32(message, NFTA_VERDICT_CODE, (uint32_t)NFT_RETURN);
	} else {
		attribute_put_u32(message, NFTA_VERDICT_CODE, (uint32_t)NFT_GOTO);
		memcpy(chain, value.p, value.len < NFT_NAME_MAX ? value.len : NFT_NAME_MAX);
		attribute_put_text(message, NFTA_VERDICT_CHAIN, chain);
	}
	attribute_end(message, verdict);
	attribute_end(message, data);
}

static bool is_verdict(enum nft_elem_kind kind)
{
	return kind == NFT_ELEM_VERDICT || kind == NFT_ELEM_RANGE_VERDICT ||
	       kind == NFT_ELEM_CONCAT_RANGE_VERDICT;
}

static bool is_plain_range(enum nft_elem_kind kind)
{
	return kind == NFT_ELEM_RANGE || kind == NFT_ELEM_RANGE_VERDICT;
}

/* What comes after the last value of a range, as big-endian bytes; false if nothing does. */
static bool successor(struct str bytes, uint8_t ret[static 64])
{
	memcpy(ret, bytes.p, bytes.len);
	for (size_t i = bytes.len; i-- > 0;)
		if (++ret[i] != 0)
			return true;
	return false;
}

/* The kernel keeps a range of one field as two elements: its first value, and the first value after it. */
static void put_range_end(struct nlmsghdr *message, const struct nft_item *item)
{
	uint8_t after[64];

	assert(item->key_end.len <= sizeof(after));
	if (!successor(item->key_end, after))
		return;
	struct nlattr *element = attribute_begin(message, NFTA_LIST_ELEM);
	attribute_put_u32(message, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	attribute_put_value(message, NFTA_SET_ELEM_KEY, (struct str){(const char *)after, item->key_end.len});
	attribute_end(message, element);
}

static void put_element(struct nlmsghdr *message, const struct nft_item *item, bool is_deletion)
{
	struct nlattr *element = attribute_begin(message, NFTA_LIST_ELEM);

	attribute_put_value(message, NFTA_SET_ELEM_KEY, item->key);
	if (item->kind == NFT_ELEM_CONCAT_RANGE || item->kind == NFT_ELEM_CONCAT_RANGE_VERDICT)
		attribute_put_value(message, NFTA_SET_ELEM_KEY_END, item->key_end);
	if (!is_deletion) {
		if (is_verdict(item->kind))
			put_verdict_value(message, item->value);
		else if (item->value.len > 0)
			attribute_put_value(message, NFTA_SET_ELEM_DATA, item->value);
		put_comment(message, NFTA_SET_ELEM_USERDATA, NFTNL_UDATA_SET_ELEM_COMMENT, item->comment);
	}
	attribute_end(message, element);
	if (is_plain_range(item->kind))
		put_range_end(message, item);
}

/* How many operations from batch->order[at] on may share a message as far as their set goes. */
static size_t elements_together(const struct encoder *encoder, size_t at, size_t end)
{
	const struct nft_op *ops = encoder->ops->ops;
	const uint32_t *order = encoder->batch->order;
	const char *set = ops[order[at]].item->name;
	size_t next = at + 1;

	if (at >= encoder->unpacked.start && at - encoder->unpacked.start < encoder->unpacked.count)
		return 1;
	while (next < end &&
	       (ops[order[next]].item->name == set || strcmp(ops[order[next]].item->name, set) == 0))
		next++;
	return next - at;
}

/* Packs elements from batch->order[at] on into one message; returns how many in *ret_count. */
static int pack_elements(struct encoder *encoder, size_t at, size_t end, bool is_deletion, size_t *ret_count)
{
	const struct nft_op *ops = encoder->ops->ops;
	const uint32_t *order = encoder->batch->order;
	size_t most = elements_together(encoder, at, end), count;
	struct nlmsghdr *message =
	    begin_table_message(encoder, is_deletion ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM,
				is_deletion ? 0 : NLM_F_CREATE | NLM_F_EXCL);

	if (!message)
		return -ENOMEM;
	attribute_put_text(message, NFTA_SET_ELEM_LIST_SET, ops[order[at]].item->name);
	struct nlattr *list = attribute_begin(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (count = 0; count < most && message->nlmsg_len < ELEMENTS_BYTES_MAX; count++) {
		const struct nft_op *op = &ops[order[at + count]];

		put_element(message, is_deletion && op->old ? op->old : op->item, is_deletion);
	}
	attribute_end(message, list);
	*ret_count = count;
	return finish(encoder, message, at, count);
}

static int encode_elements(struct encoder *encoder, size_t start, size_t end, bool is_deletion)
{
	size_t count;

	for (size_t at = start; at < end; at += count) {
		int result = pack_elements(encoder, at, end, is_deletion, &count);

		if (result != 0)
			return result;
	}
	return 0;
}

/* ---- the order of things ---- */

enum step {
	STEP_ADD_SETS,
	STEP_ADD_COUNTERS,
	STEP_ADD_CHAINS,
	STEP_DELETE_ELEMS,
	STEP_DELETE_RULES,
	STEP_ADD_RULES,
	STEP_ADD_ELEMS,
	STEP_DELETE_CHAINS,
	STEP_DELETE_COUNTERS,
	STEP_DELETE_SETS,
	STEP_COUNT
};

static const struct {
	enum step add, delete;
} steps_of_item[] = {
    [NFT_ITEM_SET] = {STEP_ADD_SETS, STEP_DELETE_SETS},
    [NFT_ITEM_COUNTER] = {STEP_ADD_COUNTERS, STEP_DELETE_COUNTERS},
    [NFT_ITEM_CHAIN] = {STEP_ADD_CHAINS, STEP_DELETE_CHAINS},
    [NFT_ITEM_RULES] = {STEP_ADD_RULES, STEP_DELETE_RULES},
    [NFT_ITEM_ELEM] = {STEP_ADD_ELEMS, STEP_DELETE_ELEMS},
};

/* The steps an operation takes part in: one, or two for a replacement. */
static unsigned steps_of(const struct nft_op *op, enum step ret_steps[static 2])
{
	unsigned count = 0;

	if (op->type != NFT_OP_ADD)
		ret_steps[count++] = steps_of_item[op->item->type].delete;
	if (op->type != NFT_OP_DELETE)
		ret_steps[count++] = steps_of_item[op->item->type].add;
	return count;
}

/* Fills batch->order; step s is ret_start[s] up to ret_start[s + 1]. */
static int order_operations(struct nft_batch *batch, const struct nft_ops *ops,
			    size_t ret_start[static STEP_COUNT + 1])
{
	size_t next[STEP_COUNT + 1] = {0};
	enum step steps[2];

	for (size_t i = 0; i < ops->count; i++)
		for (unsigned n = steps_of(&ops->ops[i], steps); n-- > 0;)
			next[steps[n] + 1]++;
	for (size_t step = 1; step <= STEP_COUNT; step++)
		next[step] += next[step - 1];
	memcpy(ret_start, next, sizeof(next));
	batch->order_count = next[STEP_COUNT];
	batch->order = calloc(batch->order_count + 1, sizeof(*batch->order));
	if (!batch->order)
		return -ENOMEM;
	for (size_t i = 0; i < ops->count; i++)
		for (unsigned n = steps_of(&ops->ops[i], steps); n-- > 0;)
			batch->order[next[steps[n]]++] = (uint32_t)i;
	return 0;
}

static int encode_one(struct encoder *encoder, enum step step, size_t at)
{
	switch (step) {
	case STEP_ADD_SETS:
		return add_item(encoder, at, NFT_MSG_NEWSET);
	case STEP_ADD_COUNTERS:
		return add_item(encoder, at, NFT_MSG_NEWOBJ);
	case STEP_ADD_CHAINS:
		return add_item(encoder, at, NFT_MSG_NEWCHAIN);
	case STEP_ADD_RULES:
		return add_rules(encoder, at);
	case STEP_DELETE_RULES:
		return delete_item(encoder, at, NFT_MSG_DELRULE, NFTA_RULE_CHAIN);
	case STEP_DELETE_CHAINS:
		return delete_item(encoder, at, NFT_MSG_DELCHAIN, NFTA_CHAIN_NAME);
	case STEP_DELETE_COUNTERS:
		return delete_item(encoder, at, NFT_MSG_DELOBJ, NFTA_OBJ_NAME);
	case STEP_DELETE_SETS:
		return delete_item(encoder, at, NFT_MSG_DELSET, NFTA_SET_NAME);
	case STEP_ADD_ELEMS:
	case STEP_DELETE_ELEMS:
	case STEP_COUNT:
		break;
	}
	return 0;
}

static int encode_step(struct encoder *encoder, enum step step, size_t start, size_t end)
{
	int result = 0;

	if (step == STEP_ADD_ELEMS || step == STEP_DELETE_ELEMS)
		return encode_elements(encoder, start, end, step == STEP_DELETE_ELEMS);
	for (size_t at = start; at < end && result == 0; at++)
		result = encode_one(encoder, step, at);
	return result;
}

/* To delete a table that may not be there, it is made first. */
static int encode_table(struct encoder *encoder)
{
	int result = table_message(encoder, NFT_MSG_NEWTABLE, NLM_F_CREATE);

	if (!encoder->ops->rebuild)
		return result;
	if (result == 0)
		result = table_message(encoder, NFT_MSG_DELTABLE, 0);
	if (result == 0)
		result = table_message(encoder, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	return result;
}

static int encode_batch(struct encoder *encoder, const struct nft_encode_options *options)
{
	size_t start[STEP_COUNT + 1];
	int result = order_operations(encoder->batch, encoder->ops, start);

	if (result == 0)
		result = batch_message(encoder, NFNL_MSG_BATCH_BEGIN);
	if (result == 0 && !options->without_table)
		result = encode_table(encoder);
	for (unsigned step = 0; step < STEP_COUNT && result == 0; step++)
		result = encode_step(encoder, (enum step)step, start[step], start[step + 1]);
	if (result == 0 && options->delete_table)
		result = table_message(encoder, NFT_MSG_DELTABLE, 0);
	if (result != 0)
		return result;
	/* The kernel answers the last message once the whole transaction is in force. */
	struct nlmsghdr *last = (void *)(encoder->batch->bytes.data + encoder->last_offset);
	last->nlmsg_flags |= NLM_F_ACK;
	return options->end == NFT_BATCH_COMMIT ? batch_message(encoder, NFNL_MSG_BATCH_END) : 0;
}

int nft_encode(struct nft_batch *batch, struct nft_table_id table, const struct nft_ops *ops,
	       const struct nft_encode_options *options, size_t *ret_failed_op)
{
	struct encoder encoder = {.batch = batch,
				  .table = table,
				  .ops = ops,
				  .unpacked = options->unpacked,
				  .failed_op = ops->count};
	int result;

	batch->seq_first = options->seq_first;
	result = encode_batch(&encoder, options);
	if (result != 0 && ret_failed_op)
		*ret_failed_op = encoder.failed_op;
	return result;
}

void nft_batch_done(struct nft_batch *batch)
{
	buf_done(&batch->bytes);
	free(batch->order);
	free(batch->messages);
	*batch = (struct nft_batch){0};
}
