/* Rulesets: building them, putting them in order, and the difference of two. */
#include "nft/ruleset.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "nft/rule.h"

/* ---- types of keys ---- */

static uint32_t datatype_len(enum nft_datatype type)
{
	switch (type) {
	case NFT_DATATYPE_IPV4_ADDR:
	case NFT_DATATYPE_MARK:
	case NFT_DATATYPE_PRIORITY:
		return 4;
	case NFT_DATATYPE_IPV6_ADDR:
	case NFT_DATATYPE_IFNAME:
		return 16;
	case NFT_DATATYPE_INET_PROTO:
		return 1;
	case NFT_DATATYPE_INET_SERVICE:
		return 2;
	case NFT_DATATYPE_VERDICT:
	case NFT_DATATYPE_END:
		break;
	}
	return 0;
}

static uint32_t padded(uint32_t len)
{
	return (len + 3) & ~3u;
}

struct concat {
	uint32_t type, len_bytes;
	uint8_t field_len[NFT_CONCAT_MAX], count;
};

static struct concat concat_of(const enum nft_datatype *types)
{
	struct concat concat = {0};

	for (; *types != NFT_DATATYPE_END; types++) {
		assert(concat.count < NFT_CONCAT_MAX);
		concat.type = concat.type << 6 | *types; /* as the nft program numbers concatenations */
		concat.field_len[concat.count++] = (uint8_t)datatype_len(*types);
		concat.len_bytes += padded(datatype_len(*types));
	}
	if (concat.count == 1)
		concat.len_bytes = concat.field_len[0];
	return concat;
}

struct nft_set_spec nft_set_spec_of(const enum nft_datatype *key, const enum nft_datatype *data,
				    uint32_t flags)
{
	struct concat keys = concat_of(key);
	struct nft_set_spec spec = {.key_type = keys.type, .key_len_bytes = keys.len_bytes, .flags = flags};

	if (keys.count > 1 && flags & NFT_SET_FLAG_INTERVAL) {
		spec.flags |= NFT_SET_FLAG_CONCAT;
		spec.concat_count = keys.count;
		memcpy(spec.concat_len, keys.field_len, sizeof(spec.concat_len));
	}
	if (!data)
		return spec;
	struct concat values = concat_of(data);
	spec.flags |= NFT_SET_FLAG_MAP;
	spec.data_type = data[0] == NFT_DATATYPE_VERDICT ? NFT_DATA_TYPE_VERDICT : values.type;
	spec.data_len_bytes = values.len_bytes;
	return spec;
}

void nft_key_add(struct nft_key *key, const void *data, size_t len_bytes)
{
	size_t room = (len_bytes + 3) & ~(size_t)3;

	assert(room <= sizeof(key->bytes) - key->len);
	memset(key->bytes + key->len, 0, room);
	memcpy(key->bytes + key->len, data, len_bytes);
	if (key->fields++ == 0)
		key->first_len = len_bytes;
	key->len += room;
}

void nft_key_add_ip(struct nft_key *key, const struct ip *ip)
{
	nft_key_add(key, ip->bytes, ip_len(ip));
}

void nft_key_add_port(struct nft_key *key, uint16_t port)
{
	uint16_t network_order = htons(port);

	nft_key_add(key, &network_order, sizeof(network_order));
}

void nft_key_add_u8(struct nft_key *key, uint8_t value)
{
	nft_key_add(key, &value, sizeof(value));
}

void nft_key_add_u32(struct nft_key *key, uint32_t value)
{
	nft_key_add(key, &value, sizeof(value));
}

/* ---- building ---- */

static const char *keep_name(struct nft_ruleset *ruleset, const char *name)
{
	if (!ruleset->last_name || strcmp(ruleset->last_name, name) != 0)
		ruleset->last_name = arena_dup(&ruleset->arena, str_of(name));
	return ruleset->last_name;
}

static struct str keep_bytes(struct nft_ruleset *ruleset, struct str bytes)
{
	char *copy;

	if (bytes.len == 0)
		return (struct str){NULL, 0};
	copy = arena_alloc(&ruleset->arena, bytes.len);
	if (!copy) {
		ruleset->failed = -ENOMEM;
		return (struct str){NULL, 0};
	}
	memcpy(copy, bytes.p, bytes.len);
	return (struct str){copy, bytes.len};
}

static int grow_items(struct nft_ruleset *ruleset)
{
	size_t size = ruleset->size > 0 ? ruleset->size * 2 : 8;
	struct nft_item *items = reallocarray(ruleset->items, size, sizeof(*items));

	if (!items)
		return -ENOMEM;
	ruleset->items = items;
	ruleset->size = size;
	return 0;
}

/* The new last item, all else zero; NULL when out of memory, which the ruleset then remembers. */
static struct nft_item *add_item(struct nft_ruleset *ruleset, enum nft_item_type type, const char *name)
{
	const char *kept;

	if (strlen(name) > NFT_NAME_MAX)
		ruleset->failed = -ENAMETOOLONG;
	if (ruleset->failed)
		return NULL;
	kept = keep_name(ruleset, name);
	if (!kept || (ruleset->count == ruleset->size && grow_items(ruleset) != 0)) {
		ruleset->failed = -ENOMEM;
		return NULL;
	}
	ruleset->items[ruleset->count] = (struct nft_item){.type = type, .name = kept};
	return &ruleset->items[ruleset->count++];
}

void nft_ruleset_add_set(struct nft_ruleset *ruleset, const char *name, const struct nft_set_spec *spec)
{
	struct nft_item *item = add_item(ruleset, NFT_ITEM_SET, name);
	struct nft_set_spec *copy = arena_alloc(&ruleset->arena, sizeof(*copy));

	if (!item)
		return;
	if (!copy) {
		ruleset->failed = -ENOMEM;
		return;
	}
	*copy = *spec;
	item->set = copy;
}

void nft_ruleset_add_counter(struct nft_ruleset *ruleset, const char *name)
{
	(void)add_item(ruleset, NFT_ITEM_COUNTER, name);
}

void nft_ruleset_add_chain(struct nft_ruleset *ruleset, const char *name, const struct nft_chain_spec *spec)
{
	struct nft_item *item = add_item(ruleset, NFT_ITEM_CHAIN, name);
	struct nft_chain_spec *copy = arena_alloc(&ruleset->arena, sizeof(*copy));

	if (!item)
		return;
	if (copy) {
		*copy = *spec;
		copy->type = spec->hook < 0 ? "" : arena_dup(&ruleset->arena, str_of(spec->type));
	}
	if (copy && copy->type)
		item->chain = copy;
	else
		ruleset->failed = -ENOMEM;
}

void nft_ruleset_add_rules(struct nft_ruleset *ruleset, const char *chain, const struct nft_rules *rules)
{
	struct nft_item *item;
	struct str bytes;
	struct nft_expr first;

	if (rules->failed)
		ruleset->failed = rules->failed;
	if (buf_len(&rules->bytes) == 0)
		return; /* a chain without rules has no item for them */
	item = add_item(ruleset, NFT_ITEM_RULES, chain);
	if (!item)
		return;
	item->value = bytes = keep_bytes(ruleset, buf_str(&rules->bytes));
	item->fingerprint = nft_rules_fingerprint(bytes);
	if (nft_expr_next(&bytes, &first))
		item->tag = (struct str){first.data.p + first.a, first.data.len - first.a};
}

void nft_ruleset_add_rules_seen(struct nft_ruleset *ruleset, const char *chain, uint64_t fingerprint,
				struct str tag)
{
	struct nft_item *item = add_item(ruleset, NFT_ITEM_RULES, chain);

	if (!item)
		return;
	item->fingerprint = fingerprint;
	item->tag = keep_bytes(ruleset, tag);
}

static void add_elem(struct nft_ruleset *ruleset, const char *set, enum nft_elem_kind kind, struct str key,
		     struct str value)
{
	struct nft_item *item = add_item(ruleset, NFT_ITEM_ELEM, set);

	if (!item)
		return;
	item->kind = kind;
	item->key = keep_bytes(ruleset, key);
	item->value = keep_bytes(ruleset, value);
}

void nft_ruleset_add_elem(struct nft_ruleset *ruleset, const char *set, struct str key, struct str value)
{
	add_elem(ruleset, set, NFT_ELEM_DATA, key, value);
}

void nft_ruleset_add_verdict(struct nft_ruleset *ruleset, const char *map, struct str key, struct str verdict)
{
	add_elem(ruleset, map, NFT_ELEM_VERDICT, key, verdict);
}

void nft_ruleset_add_range(struct nft_ruleset *ruleset, const char *set, enum nft_elem_kind kind,
			   struct str key, struct str key_end, struct str value)
{
	assert(kind != NFT_ELEM_DATA && kind != NFT_ELEM_VERDICT && key.len == key_end.len);
	add_elem(ruleset, set, kind, key, value);
	if (!ruleset->failed)
		ruleset->items[ruleset->count - 1].key_end = keep_bytes(ruleset, key_end);
}

void nft_ruleset_add_cidr(struct nft_ruleset *ruleset, const char *set, const struct cidr *cidr)
{
	struct ip last = cidr->ip;

	for (unsigned bit = cidr->prefix_bits; bit < ip_len(&last) * 8; bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
	nft_ruleset_add_range(ruleset, set, NFT_ELEM_RANGE,
			      (struct str){(const char *)cidr->ip.bytes, ip_len(&last)},
			      (struct str){(const char *)last.bytes, ip_len(&last)}, (struct str){NULL, 0});
}

void nft_ruleset_comment(struct nft_ruleset *ruleset, const char *comment)
{
	struct str text = str_of(comment);

	if (ruleset->failed)
		return;
	assert(ruleset->count > 0);
	if (text.len > NFT_RULE_COMMENT_MAX)
		text.len = NFT_RULE_COMMENT_MAX;
	ruleset->items[ruleset->count - 1].comment = arena_dup(&ruleset->arena, text);
	if (!ruleset->items[ruleset->count - 1].comment)
		ruleset->failed = -ENOMEM;
}

/* ---- order ---- */

int nft_item_compare(const struct nft_item *a, const struct nft_item *b)
{
	int order;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	order = a->name == b->name ? 0 : strcmp(a->name, b->name);
	return order != 0 ? order : str_compare(a->key, b->key);
}

static int compare_items(const void *a, const void *b)
{
	return nft_item_compare(a, b);
}

static bool is_sorted(const struct nft_ruleset *ruleset)
{
	for (size_t i = 1; i < ruleset->count; i++)
		if (nft_item_compare(&ruleset->items[i - 1], &ruleset->items[i]) >= 0)
			return false;
	return true;
}

static const char *type_name(enum nft_item_type type)
{
	switch (type) {
	case NFT_ITEM_SET:
		return "set";
	case NFT_ITEM_COUNTER:
		return "counter";
	case NFT_ITEM_CHAIN:
		return "chain";
	case NFT_ITEM_RULES:
		return "rules of chain";
	case NFT_ITEM_ELEM:
		return "element of set";
	}
	return "item";
}

const char *nft_item_text(const struct nft_item *item, char text[static NFT_ITEM_TEXT_MAX])
{
	size_t used =
	    (size_t)snprintf(text, NFT_ITEM_TEXT_MAX, "%s %.255s", type_name(item->type), item->name);

	if (item->key.len > 0)
		used += (size_t)snprintf(text + used, NFT_ITEM_TEXT_MAX - used, " with key ");
	for (size_t i = 0; i < item->key.len && used + 3 < NFT_ITEM_TEXT_MAX; i++)
		used += (size_t)snprintf(text + used, NFT_ITEM_TEXT_MAX - used, "%02x",
					 (unsigned char)item->key.p[i]);
	if (item->comment && used + 3 < NFT_ITEM_TEXT_MAX)
		(void)snprintf(text + used, NFT_ITEM_TEXT_MAX - used, " (%s)", item->comment);
	return text;
}

int nft_ruleset_sort(struct nft_ruleset *ruleset, struct err *err)
{
	char text[NFT_ITEM_TEXT_MAX];

	if (ruleset->failed)
		return err_set(err, ruleset->failed, "nftables ruleset: %s", strerror(-ruleset->failed));
	if (is_sorted(ruleset))
		return 0;
	qsort(ruleset->items, ruleset->count, sizeof(*ruleset->items), compare_items);
	for (size_t i = 1; i < ruleset->count; i++)
		if (nft_item_compare(&ruleset->items[i - 1], &ruleset->items[i]) == 0)
			return err_set(err, -EEXIST, "%s is there twice",
				       nft_item_text(&ruleset->items[i], text));
	return 0;
}

const struct nft_item *nft_ruleset_find(const struct nft_ruleset *ruleset, enum nft_item_type type,
					const char *name, struct str key)
{
	const struct nft_item wanted = {.type = type, .name = name, .key = key};

	if (ruleset->count == 0)
		return NULL;
	return bsearch(&wanted, ruleset->items, ruleset->count, sizeof(*ruleset->items), compare_items);
}

void nft_ruleset_done(struct nft_ruleset *ruleset)
{
	free(ruleset->items);
	arena_done(&ruleset->arena);
	*ruleset = (struct nft_ruleset){0};
}
