/* The hash table: linear probing, tombstones, at most three quarters full. */
#include "base/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <xxhash.h>

#define MAP_SIZE_MIN 8

struct map_slot {
	uint64_t hash;
	char *key; /* NULL: never used; tombstone: an entry was removed here */
	size_t key_len;
	void *value;
};

static char tombstone[1];

#define HASH_SECRET_BYTES 192
_Static_assert(HASH_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "XXH3 asks for more secret");

static unsigned char hash_secret[HASH_SECRET_BYTES];
static pthread_once_t hash_secret_once = PTHREAD_ONCE_INIT;

static void hash_secret_make(void)
{
	/* Fails only on kernels without getrandom(2), where nothing else of ours would run either. */
	if (getentropy(hash_secret, sizeof(hash_secret)) != 0)
		abort();
}

uint64_t hash_bytes(const void *data, size_t len_bytes)
{
	(void)pthread_once(&hash_secret_once, hash_secret_make);
	return XXH3_64bits_withSecret(data, len_bytes, hash_secret, sizeof(hash_secret));
}

static bool slot_is_live(const struct map_slot *slot)
{
	return slot->key && slot->key != tombstone;
}

static bool slot_holds(const struct map_slot *slot, uint64_t hash, struct str key)
{
	return slot->hash == hash && slot_is_live(slot) &&
	       str_equal((struct str){slot->key, slot->key_len}, key);
}

static struct map_slot *map_find(const struct map *map, uint64_t hash, struct str key)
{
	if (map->count == 0)
		return NULL;
	for (size_t i = (size_t)hash & (map->size - 1); map->slots[i].key; i = (i + 1) & (map->size - 1)) {
		if (slot_holds(&map->slots[i], hash, key))
			return &map->slots[i];
	}
	return NULL;
}

void *map_get(const struct map *map, struct str key)
{
	struct map_slot *slot = map->count > 0 ? map_find(map, hash_bytes(key.p, key.len), key) : NULL;

	return slot ? slot->value : NULL;
}

/* The first slot free for a key that is not in the table. */
static struct map_slot *map_vacancy(const struct map *map, uint64_t hash)
{
	size_t i = (size_t)hash & (map->size - 1);

	while (slot_is_live(&map->slots[i]))
		i = (i + 1) & (map->size - 1);
	return &map->slots[i];
}

/* A table for one entry more, without tombstones, at most half full. */
static int map_rebuild(struct map *map)
{
	struct map bigger = {.count = map->count, .used = map->count, .size = MAP_SIZE_MIN};

	while (bigger.size / 2 < map->count + 1)
		bigger.size *= 2;
	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < map->size; i++) {
		if (slot_is_live(&map->slots[i]))
			*map_vacancy(&bigger, map->slots[i].hash) = map->slots[i];
	}
	free(map->slots);
	*map = bigger;
	return 0;
}

static int map_add(struct map *map, uint64_t hash, struct str key, void *value)
{
	char *key_copy = str_dup(key);
	struct map_slot *slot;

	if (!key_copy)
		return -ENOMEM;
	if (map->used + 1 > map->size / 4 * 3 && map_rebuild(map) != 0) {
		free(key_copy);
		return -ENOMEM;
	}
	slot = map_vacancy(map, hash);
	if (!slot->key)
		map->used++;
	map->count++;
	*slot = (struct map_slot){.hash = hash, .key = key_copy, .key_len = key.len, .value = value};
	return 0;
}

int map_set(struct map *map, struct str key, void *value, void **ret_old)
{
	uint64_t hash = hash_bytes(key.p, key.len);
	struct map_slot *slot = map_find(map, hash, key);
	void *old = NULL;

	if (slot) {
		old = slot->value;
		slot->value = value;
	} else if (map_add(map, hash, key, value) != 0) {
		return -ENOMEM;
	}
	if (ret_old)
		*ret_old = old;
	return 0;
}

void *map_remove(struct map *map, struct str key)
{
	struct map_slot *slot = map_find(map, hash_bytes(key.p, key.len), key);
	void *value;

	if (!slot)
		return NULL;
	value = slot->value;
	free(slot->key);
	*slot = (struct map_slot){.key = tombstone};
	map->count--;
	return value;
}

bool map_next(struct map_iter *iter)
{
	while (iter->index < iter->map->size) {
		const struct map_slot *slot = &iter->map->slots[iter->index++];

		if (slot_is_live(slot)) {
			iter->key = (struct str){slot->key, slot->key_len};
			iter->value = slot->value;
			return true;
		}
	}
	return false;
}

void map_done(struct map *map)
{
	for (size_t i = 0; i < map->size; i++) {
		if (slot_is_live(&map->slots[i]))
			free(map->slots[i].key);
	}
	free(map->slots);
	*map = (struct map){0};
}
