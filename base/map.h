/* A hash table from byte strings to pointers. Open addressing; hash is XXH3 with a random per-process seed,
 * so keys chosen by an adversary do not collide on purpose.
 *
 * Invariants
 *  1. The map owns copies of the keys, never the values.
 *  2. A map of all zeroes is valid and empty.
 *  3. Removing the entry the iteration stands on is allowed (map_remove of it->key); adding is not. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot;

struct map {
	struct map_slot *slots;
	size_t count; /* entries */
	size_t used;  /* entries and tombstones */
	size_t size;  /* slots, a power of two or 0 */
};

void *map_get(const struct map *map, struct str key); /* NULL when absent */

/* Sets or replaces; *ret_old (may be NULL) gets the value replaced, or NULL. Returns 0 or -ENOMEM. */
int map_set(struct map *map, struct str key, void *value, void **ret_old);

/* Returns the value removed, or NULL when absent. */
void *map_remove(struct map *map, struct str key);

struct map_iter {
	const struct map *map;
	size_t index;
	struct str key;
	void *value;
};

static inline struct map_iter map_begin(const struct map *map)
{
	return (struct map_iter){.map = map};
}

/* Steps to the next entry, in no particular order; false at the end. */
_Bool map_next(struct map_iter *iter);

/* for (struct map_iter it = map_begin(map); map_next(&it);) { it.key, it.value } */

void map_done(struct map *map); /* frees keys and table, not values */

/* The same seeded hash, for callers with tables of their own. */
uint64_t hash_bytes(const void *data, size_t len_bytes);

#endif
