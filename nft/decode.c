/* Netlink messages to items. One reader checks the lengths of all attributes. */
#include "nft/decode.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>

#include "nft/encode.h"
#include "nft/rule.h"

#define ATTRIBUTES_MAX 16 /* types above are of no interest */
#define VALUE_MAX      64 /* bytes of a key or of data: sixteen registers */

/* ---- attributes ---- */

/* By type; p is NULL where there is none. */
struct attributes {
	struct str at[ATTRIBUTES_MAX];
};

/* Takes the next attribute off *rest; false at the end and where the bytes are no attribute. */
static bool next_attribute(struct str *rest, unsigned *ret_type, struct str *ret_payload)
{
	struct nlattr head;
	size_t step;

	if (rest->len < sizeof(head))
		return false;
	memcpy(&head, rest->p, sizeof(head));
	if (head.nla_len < sizeof(head) || head.nla_len > rest->len)
		return false;
	*ret_type = head.nla_type & (unsigned)NLA_TYPE_MASK;
	*ret_payload = (struct str){rest->p + sizeof(head), head.nla_len - sizeof(head)};
	step = NLA_ALIGN(head.nla_len);
	if (step > rest->len)
		step = rest->len;
	*rest = (struct str){rest->p + step, rest->len - step};
	return true;
}

static void read_attributes(struct str rest, struct attributes *ret)
{
	struct str payload;

	*ret = (struct attributes){0};
	for (unsigned type; next_attribute(&rest, &type, &payload);)
		if (type < ATTRIBUTES_MAX)
			ret->at[type] = payload;
}

/* Empty unless it is a terminated text of 1 to NFT_NAME_MAX bytes. */
static const char *attribute_text(struct str bytes)
{
	if (bytes.len == 0 || bytes.len > NFT_NAME_MAX + 1 || bytes.p[bytes.len - 1] != '\0')
		return "";
	return bytes.p;
}

static uint32_t attribute_u32(struct str bytes)
{
	uint32_t value;

	if (bytes.len != sizeof(value))
		return 0;
	memcpy(&value, bytes.p, sizeof(value));
	return ntohl(value);
}

static uint64_t attribute_u64(struct str bytes)
{
	uint64_t value;

	if (bytes.len != sizeof(value))
		return 0;
	memcpy(&value, bytes.p, sizeof(value));
	return be64toh(value);
}

/* ---- sets, chains, counters ---- */

static void read_concat(struct str concat, struct nft_set_spec *spec)
{
	struct attributes field;
	struct str element;

	for (unsigned type;
	     spec->concat_count < NFT_CONCAT_MAX && next_attribute(&concat, &type, &element);) {
		read_attributes(element, &field);
		spec->concat_len[spec->concat_count++] = (uint8_t)attribute_u32(field.at[NFTA_SET_FIELD_LEN]);
	}
}

static int decode_set(struct nft_decoder *decoder, const struct attributes *attributes)
{
	const char *name = attribute_text(attributes->at[NFTA_SET_NAME]);
	struct nft_set_spec spec = {
	    .flags = attribute_u32(attributes->at[NFTA_SET_FLAGS]),
	    .key_type = attribute_u32(attributes->at[NFTA_SET_KEY_TYPE]),
	    .key_len_bytes = attribute_u32(attributes->at[NFTA_SET_KEY_LEN]),
	    .data_type = attribute_u32(attributes->at[NFTA_SET_DATA_TYPE]),
	    .data_len_bytes = attribute_u32(attributes->at[NFTA_SET_DATA_LEN]),
	    .timeout_ms = attribute_u64(attributes->at[NFTA_SET_TIMEOUT]),
	};
	struct attributes description;

	if (*name == '\0')
		return -EBADMSG;
	if (spec.flags & NFT_SET_ANONYMOUS)
		return 0; /* part of somebody's rule: comes and goes with it */
	if (spec.data_type == NFT_DATA_TYPE_VERDICT)
		spec.data_len_bytes = 0; /* the kernel says how much room its own verdict takes */
	read_attributes(attributes->at[NFTA_SET_DESC], &description);
	spec.size_max = attribute_u32(description.at[NFTA_SET_DESC_SIZE]);
	if (spec.flags & NFT_SET_FLAG_CONCAT)
		read_concat(description.at[NFTA_SET_DESC_CONCAT], &spec);
	nft_ruleset_add_set(decoder->ruleset, name, &spec);
	return decoder->ruleset->failed;
}

static int decode_chain(struct nft_decoder *decoder, const struct attributes *attributes)
{
	const char *name = attribute_text(attributes->at[NFTA_CHAIN_NAME]);
	struct nft_chain_spec spec = {.hook = -1};
	struct attributes hook;

	if (*name == '\0')
		return -EBADMSG;
	if (attributes->at[NFTA_CHAIN_HOOK].p) {
		read_attributes(attributes->at[NFTA_CHAIN_HOOK], &hook);
		spec.type = attribute_text(attributes->at[NFTA_CHAIN_TYPE]);
		spec.hook = (int)(attribute_u32(hook.at[NFTA_HOOK_HOOKNUM]) & 0xff);
		spec.priority = (int)attribute_u32(hook.at[NFTA_HOOK_PRIORITY]);
		spec.policy_drop = attribute_u32(attributes->at[NFTA_CHAIN_POLICY]) == NF_DROP;
	}
	nft_ruleset_add_chain(decoder->ruleset, name, &spec);
	return decoder->ruleset->failed;
}

static int decode_counter(struct nft_decoder *decoder, const struct attributes *attributes)
{
	const char *name = attribute_text(attributes->at[NFTA_OBJ_NAME]);
	struct attributes data;
	struct nft_item *item;

	if (*name == '\0')
		return -EBADMSG;
	if (attribute_u32(attributes->at[NFTA_OBJ_TYPE]) != NFT_OBJECT_COUNTER)
		return 0;
	nft_ruleset_add_counter(decoder->ruleset, name);
	if (decoder->ruleset->failed)
		return decoder->ruleset->failed;
	read_attributes(attributes->at[NFTA_OBJ_DATA], &data);
	item = &decoder->ruleset->items[decoder->ruleset->count - 1];
	item->packets = attribute_u64(data.at[NFTA_COUNTER_PACKETS]);
	item->bytes = attribute_u64(data.at[NFTA_COUNTER_BYTES]);
	return 0;
}

/* ---- rules ---- */

/* Finds a value in user data; false if it is not there. */
static bool user_data_find(struct str data, uint8_t type, struct str *ret)
{
	while (data.len >= 2 && (uint8_t)data.p[1] <= data.len - 2) {
		size_t len = (uint8_t)data.p[1];

		if ((uint8_t)data.p[0] == type) {
			*ret = (struct str){data.p + 2, len};
			return true;
		}
		data.p += 2 + len;
		data.len -= 2 + len;
	}
	return false;
}

/* 0 if the rule is not one of ours. */
static uint64_t rule_fingerprint(struct str user_data)
{
	struct str bytes;
	uint64_t fingerprint;

	if (!user_data_find(user_data, NFT_UDATA_FINGERPRINT, &bytes) || bytes.len != sizeof(fingerprint))
		return 0;
	memcpy(&fingerprint, bytes.p, sizeof(fingerprint));
	return fingerprint;
}

/* The item of the chain whose rules are coming, made with the first of them; NULL when out of memory. */
static struct nft_item *rules_item(struct nft_decoder *decoder, const char *chain, struct str user_data)
{
	struct nft_ruleset *ruleset = decoder->ruleset;
	struct nft_item *last = ruleset->count > 0 ? &ruleset->items[ruleset->count - 1] : NULL;
	struct str tag = {NULL, 0};

	if (last && last->type == NFT_ITEM_RULES && strcmp(last->name, chain) == 0)
		return last;
	(void)user_data_find(user_data, NFT_UDATA_TAG, &tag);
	decoder->chain_is_foreign = false;
	nft_ruleset_add_rules_seen(ruleset, chain, 0, tag);
	return ruleset->failed ? NULL : &ruleset->items[ruleset->count - 1];
}

static int decode_rule(struct nft_decoder *decoder, const struct attributes *attributes)
{
	const char *chain = attribute_text(attributes->at[NFTA_RULE_CHAIN]);
	struct str user_data = attributes->at[NFTA_RULE_USERDATA];
	uint64_t fingerprint = rule_fingerprint(user_data);
	struct nft_item *item;

	if (*chain == '\0')
		return -EBADMSG;
	item = rules_item(decoder, chain, user_data);
	if (!item)
		return decoder->ruleset->failed;
	decoder->chain_is_foreign |= fingerprint == 0;
	item->fingerprint =
	    decoder->chain_is_foreign ? 0 : nft_rules_fingerprint_add(item->fingerprint, fingerprint);
	return 0;
}

/* ---- elements ---- */

/* The bytes of a key or of data; empty if there are none or too many. */
static struct str value_bytes(struct str nest)
{
	struct attributes data;
	struct str bytes;

	read_attributes(nest, &data);
	bytes = data.at[NFTA_DATA_VALUE];
	return bytes.len <= VALUE_MAX ? bytes : (struct str){NULL, 0};
}

/* False if the data is no verdict, or one that ruleset.h cannot say. */
static bool verdict_value(struct str nest, struct str *ret)
{
	struct attributes data, verdict;

	read_attributes(nest, &data);
	if (!data.at[NFTA_DATA_VERDICT].p)
		return false;
	read_attributes(data.at[NFTA_DATA_VERDICT], &verdict);
	switch ((int)attribute_u32(verdict.at[NFTA_VERDICT_CODE])) {
	case NF_ACCEPT:
		*ret = NFT_VERDICT_ACCEPT;
		return true;
	case NF_DROP:
		*ret = NFT_VERDICT_DROP;
		return true;
	case NFT_RETURN:
		*ret = NFT_VERDICT_RETURN;
		return true;
	case NFT_GOTO:
		*ret = str_of(attribute_text(verdict.at[NFTA_VERDICT_CHAIN]));
		return true;
	default: /* a number of the kernel's, not one of our enums */
		*ret = (struct str){NULL, 0};
		return true;
	}
}

/* A set of one field: each range is two elements for the kernel. */
static bool keeps_plain_ranges(const struct nft_set_spec *set)
{
	return set->flags & NFT_SET_FLAG_INTERVAL && !(set->flags & NFT_SET_FLAG_CONCAT);
}

static enum nft_elem_kind element_kind(const struct nft_set_spec *set, bool has_end, bool is_verdict)
{
	if (has_end)
		return is_verdict ? NFT_ELEM_CONCAT_RANGE_VERDICT : NFT_ELEM_CONCAT_RANGE;
	if (keeps_plain_ranges(set))
		return is_verdict ? NFT_ELEM_RANGE_VERDICT : NFT_ELEM_RANGE;
	return is_verdict ? NFT_ELEM_VERDICT : NFT_ELEM_DATA;
}

static int decode_element(struct nft_decoder *decoder, const char *set, struct str nest)
{
	struct attributes element;
	struct str key, key_end, value = {NULL, 0};
	bool is_verdict;

	read_attributes(nest, &element);
	key = value_bytes(element.at[NFTA_SET_ELEM_KEY]);
	key_end = value_bytes(element.at[NFTA_SET_ELEM_KEY_END]);
	if (key.len == 0 || key.len != decoder->set->key_len_bytes ||
	    (key_end.len != 0 && key_end.len != key.len))
		return -EBADMSG;
	if (attribute_u32(element.at[NFTA_SET_ELEM_FLAGS]) & NFT_SET_ELEM_INTERVAL_END) {
		nft_ruleset_add_elem(&decoder->ends, set, key, value);
		return decoder->ends.failed;
	}
	is_verdict = verdict_value(element.at[NFTA_SET_ELEM_DATA], &value);
	if (!is_verdict)
		value = value_bytes(element.at[NFTA_SET_ELEM_DATA]);
	enum nft_elem_kind kind = element_kind(decoder->set, key_end.len > 0, is_verdict);
	if (kind == NFT_ELEM_DATA)
		nft_ruleset_add_elem(decoder->ruleset, set, key, value);
	else if (kind == NFT_ELEM_VERDICT)
		nft_ruleset_add_verdict(decoder->ruleset, set, key, value);
	else
		nft_ruleset_add_range(decoder->ruleset, set, kind, key, key_end.len > 0 ? key_end : key,
				      value);
	return decoder->ruleset->failed;
}

static int decode_elements(struct nft_decoder *decoder, const struct attributes *attributes)
{
	const char *set = attribute_text(attributes->at[NFTA_SET_ELEM_LIST_SET]);
	struct str list = attributes->at[NFTA_SET_ELEM_LIST_ELEMENTS], element;

	if (*set == '\0')
		return -EBADMSG;
	for (unsigned type; next_attribute(&list, &type, &element);) {
		int result = decode_element(decoder, set, element);

		if (result != 0)
			return result;
	}
	return 0;
}

void nft_decode_set_begin(struct nft_decoder *decoder, const struct nft_set_spec *spec)
{
	decoder->set = spec;
	decoder->set_start = decoder->ruleset->count;
}

/* ---- ranges ---- */

static int compare_items(const void *a, const void *b)
{
	return nft_item_compare(a, b);
}

/* The value before this one, as big-endian bytes. */
static void decrement(uint8_t *bytes, size_t len)
{
	while (len-- > 0 && bytes[len]-- == 0)
		;
}

/* Where the range ends: before `after`, or at the last value there is. */
static int set_range_end(struct nft_decoder *decoder, struct nft_item *item, const struct nft_item *after)
{
	uint8_t *bytes = arena_alloc(&decoder->ruleset->arena, item->key.len);

	if (!bytes)
		return -ENOMEM;
	if (after) {
		memcpy(bytes, after->key.p, item->key.len);
		decrement(bytes, item->key.len);
	} else {
		memset(bytes, 0xff, item->key.len);
	}
	item->key_end = (struct str){(const char *)bytes, item->key.len};
	return 0;
}

/* A range ends at the next end, or where the next range begins. */
static int join_ranges(struct nft_decoder *decoder, struct nft_item *items, size_t count)
{
	const struct nft_ruleset *ends = &decoder->ends;
	size_t end = 0;

	for (size_t i = 0; i < count; i++) {
		const struct nft_item *after = i + 1 < count ? &items[i + 1] : NULL;

		while (end < ends->count && str_compare(ends->items[end].key, items[i].key) <= 0)
			end++;
		if (end < ends->count && (!after || str_compare(ends->items[end].key, after->key) < 0))
			after = &ends->items[end];
		if (set_range_end(decoder, &items[i], after) != 0)
			return -ENOMEM;
	}
	return 0;
}

int nft_decode_set_end(struct nft_decoder *decoder)
{
	size_t count = decoder->ruleset->count - decoder->set_start;
	int result = 0;

	if (count > 0 && keeps_plain_ranges(decoder->set)) {
		struct nft_item *items = decoder->ruleset->items + decoder->set_start;

		qsort(items, count, sizeof(*items), compare_items);
		if (decoder->ends.count > 0)
			qsort(decoder->ends.items, decoder->ends.count, sizeof(*items), compare_items);
		result = join_ranges(decoder, items, count);
	}
	nft_ruleset_done(&decoder->ends);
	decoder->set = NULL;
	return result;
}

void nft_decoder_done(struct nft_decoder *decoder)
{
	nft_ruleset_done(&decoder->ends);
}

/* ---- messages ---- */

const struct nlmsghdr *nft_next_message(struct str *datagram)
{
	const struct nlmsghdr *message = (const void *)datagram->p;
	size_t step;

	if (datagram->len < sizeof(*message) || message->nlmsg_len < sizeof(*message) ||
	    message->nlmsg_len > datagram->len)
		return NULL;
	step = NLMSG_ALIGN((size_t)message->nlmsg_len);
	if (step > datagram->len)
		step = datagram->len;
	*datagram = (struct str){datagram->p + step, datagram->len - step};
	return message;
}

static int decode_body(struct nft_decoder *decoder, unsigned type, const struct attributes *attributes)
{
	if ((decoder->set != NULL) != (type == NFT_MSG_NEWSETELEM))
		return 0; /* not what was asked for */
	switch (type) {
	case NFT_MSG_NEWSET:
		return decode_set(decoder, attributes);
	case NFT_MSG_NEWOBJ:
		return decode_counter(decoder, attributes);
	case NFT_MSG_NEWCHAIN:
		return decode_chain(decoder, attributes);
	case NFT_MSG_NEWRULE:
		return decode_rule(decoder, attributes);
	case NFT_MSG_NEWSETELEM:
		return decode_elements(decoder, attributes);
	default: /* a number of the kernel's, not one of our enums */
		return 0;
	}
}

/* The family and the attributes of a message of nf_tables. 0 or -EBADMSG. */
static int open_message(const struct nlmsghdr *message, uint8_t *ret_family,
			struct attributes *ret_attributes)
{
	const size_t heads = NLMSG_HDRLEN + sizeof(struct nfgenmsg);
	const char *bytes = (const char *)message;
	struct nfgenmsg head;

	if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || message->nlmsg_len < heads)
		return -EBADMSG;
	memcpy(&head, bytes + NLMSG_HDRLEN, sizeof(head));
	*ret_family = head.nfgen_family;
	read_attributes((struct str){bytes + heads, message->nlmsg_len - heads}, ret_attributes);
	return 0;
}

int nft_decode(struct nft_decoder *decoder, const struct nlmsghdr *message)
{
	struct attributes attributes;
	uint8_t family;

	if (open_message(message, &family, &attributes) != 0)
		return -EBADMSG;
	/* The table's name is attribute 1 of them all. */
	if (family != nft_family_number(decoder->table.family) ||
	    strcmp(attribute_text(attributes.at[NFTA_TABLE_NAME]), decoder->table.name) != 0)
		return 0;
	return decode_body(decoder, message->nlmsg_type & 0xff, &attributes);
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

int nft_message_code(const struct nlmsghdr *message)
{
	int code = 0;

	if (message->nlmsg_len >= NLMSG_HDRLEN + sizeof(code))
		memcpy(&code, (const char *)message + NLMSG_HDRLEN, sizeof(code));
	return code <= 0 ? code : -EBADMSG;
}

int nft_decode_generation(const struct nlmsghdr *message, uint32_t *ret)
{
	struct attributes attributes;
	uint8_t family;

	if (open_message(message, &family, &attributes) != 0)
		return -EBADMSG;
	*ret = attribute_u32(attributes.at[NFTA_GEN_ID]);
	return 0;
}

int nft_decode_notification(const struct nlmsghdr *message, struct nft_notification *ret)
{
	struct attributes attributes;
	unsigned type = message->nlmsg_type & 0xff;
	uint8_t family;

	if (open_message(message, &family, &attributes) != 0)
		return -EBADMSG;
	*ret = (struct nft_notification){.family = family};
	if (type == NFT_MSG_NEWGEN) {
		ret->is_generation = true;
		ret->pid = attribute_u32(attributes.at[NFTA_GEN_PROC_PID]);
		copy_text(ret->process, sizeof(ret->process),
			  attribute_text(attributes.at[NFTA_GEN_PROC_NAME]));
	} else {
		ret->is_table_deletion = type == NFT_MSG_DELTABLE;
		copy_text(ret->table, sizeof(ret->table), attribute_text(attributes.at[NFTA_TABLE_NAME]));
	}
	return 0;
}
