/* Looking into a parsed document, and telling two of them apart. */
#include "conf/node.h"

#include "base/map.h"

const struct node *node_get(const struct node *map, const char *key)
{
	struct str wanted = str_of(key);

	if (!map || map->type != NODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		if (str_equal(map->entries[i].key, wanted))
			return map->entries[i].value;
	return NULL;
}

static uint64_t mix(uint64_t hash, uint64_t part)
{
	const uint64_t both[2] = {hash, part};

	return hash_bytes(both, sizeof(both));
}

uint64_t node_hash(const struct node *node)
{
	uint64_t hash = mix(node->type, hash_bytes(node->text.p, node->text.len));

	for (size_t i = 0; i < node->count; i++) {
		if (node->type == NODE_LIST) {
			hash = mix(hash, node_hash(node->items[i]));
			continue;
		}
		hash = mix(hash, hash_bytes(node->entries[i].key.p, node->entries[i].key.len));
		hash = mix(hash, node_hash(node->entries[i].value));
	}
	return hash;
}
