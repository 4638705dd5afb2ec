/* The copy-on-write table of snapshot_table.h: open addressing with linear probing over chunks of 64 slots,
 * removal by shifting back, so there are no tombstones to carry along. */
#include "ingress/snapshot_table.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/map.h"

#define CHUNK_SLOTS 64u

struct table_slot {
	void *item; /* NULL: empty */
	uint32_t hash;
};

struct table_chunk {
	atomic_uint refs;
	struct table_slot slots[CHUNK_SLOTS];
};

/* ---- chunks ---- */

static void chunk_unref(const struct table_ops *ops, struct table_chunk *chunk)
{
	if (!chunk || atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < CHUNK_SLOTS; i++) {
		if (chunk->slots[i].item)
			ops->unref(chunk->slots[i].item);
	}
	free(chunk);
}

static struct table_chunk *chunk_clone(const struct table_ops *ops, const struct table_chunk *from)
{
	struct table_chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk)
		return NULL;
	atomic_init(&chunk->refs, 1);
	if (!from)
		return chunk;
	memcpy(chunk->slots, from->slots, sizeof(chunk->slots));
	for (size_t i = 0; i < CHUNK_SLOTS; i++) {
		if (chunk->slots[i].item)
			ops->ref(chunk->slots[i].item);
	}
	return chunk;
}

/* The chunk of a slot, this table's own. NULL when out of memory. */
static struct table_chunk *chunk_writable(struct table *table, size_t slot)
{
	struct table_chunk **place = &table->chunks[slot / CHUNK_SLOTS];
	struct table_chunk *shared = *place, *clone;

	if (shared && atomic_load_explicit(&shared->refs, memory_order_acquire) == 1)
		return shared;
	clone = chunk_clone(table->ops, shared);
	if (!clone)
		return NULL;
	*place = clone;
	chunk_unref(table->ops, shared);
	return clone;
}

/* ---- slots ---- */

static void *slot_item(const struct table *table, size_t slot)
{
	const struct table_chunk *chunk = table->chunks[slot / CHUNK_SLOTS];

	return chunk ? chunk->slots[slot % CHUNK_SLOTS].item : NULL;
}

static uint32_t slot_hash(const struct table *table, size_t slot)
{
	return table->chunks[slot / CHUNK_SLOTS]->slots[slot % CHUNK_SLOTS].hash;
}

static uint32_t key_hash(struct str key)
{
	return (uint32_t)hash_bytes(key.p, key.len);
}

/* The slot that holds key, or the empty one where it belongs. table->size > 0. */
static size_t slot_find(const struct table *table, struct str key, uint32_t hash)
{
	size_t slot = hash & (table->size - 1);
	void *item;

	while ((item = slot_item(table, slot))) {
		if (slot_hash(table, slot) == hash && str_equal(table->ops->key(item), key))
			break;
		slot = (slot + 1) & (table->size - 1);
	}
	return slot;
}

static void slot_set(struct table_chunk *chunk, size_t slot, uint32_t hash, void *item)
{
	chunk->slots[slot % CHUNK_SLOTS] = (struct table_slot){item, hash};
}

void *table_get(const struct table *table, struct str key)
{
	return table->size ? slot_item(table, slot_find(table, key, key_hash(key))) : NULL;
}

/* ---- growth ---- */

static int move_all(const struct table *from, struct table *to)
{
	for (size_t slot = 0; slot < from->size; slot++) {
		void *item = slot_item(from, slot);
		uint32_t hash;
		size_t place;
		struct table_chunk *chunk;

		if (!item)
			continue;
		hash = slot_hash(from, slot);
		place = slot_find(to, to->ops->key(item), hash);
		chunk = chunk_writable(to, place);
		if (!chunk)
			return -ENOMEM;
		to->ops->ref(item);
		slot_set(chunk, place, hash, item);
		to->count++;
	}
	return 0;
}

static int grow(struct table *table)
{
	struct table bigger = {.ops = table->ops, .size = table->size ? table->size * 2 : CHUNK_SLOTS};
	struct table outgrown = *table;

	bigger.chunks = calloc(bigger.size / CHUNK_SLOTS, sizeof(struct table_chunk *));
	if (!bigger.chunks)
		return -ENOMEM;
	if (move_all(table, &bigger)) {
		table_done(&bigger);
		return -ENOMEM;
	}
	*table = bigger;
	table_done(&outgrown);
	return 0;
}

/* ---- edits ---- */

int table_put(struct table *table, void *item)
{
	struct str key = table->ops->key(item);
	uint32_t hash = key_hash(key);
	struct table_chunk *chunk = NULL;
	size_t slot;
	void *old;

	if ((table->count + 1) * 4 > table->size * 3 && grow(table))
		goto no_memory;
	slot = slot_find(table, key, hash);
	chunk = chunk_writable(table, slot);
	if (!chunk)
		goto no_memory;
	old = chunk->slots[slot % CHUNK_SLOTS].item;
	slot_set(chunk, slot, hash, item);
	if (old)
		table->ops->unref(old);
	else
		table->count++;
	return 0;

no_memory:
	table->ops->unref(item);
	return -ENOMEM;
}

/* May the item in `slot` move to `hole` before it? Only if the hole is not before the slot its hash asks for.
 */
static bool may_fill(const struct table *table, size_t hole, size_t slot)
{
	size_t mask = table->size - 1;
	size_t home = slot_hash(table, slot) & mask;

	return ((slot - home) & mask) >= ((slot - hole) & mask);
}

/* Makes every chunk that a removal at slot can touch this table's own: up to the next empty slot. */
static int own_run(struct table *table, size_t slot)
{
	do {
		if (!chunk_writable(table, slot))
			return -ENOMEM;
		slot = (slot + 1) & (table->size - 1);
	} while (slot_item(table, slot));
	return 0;
}

int table_remove(struct table *table, struct str key)
{
	size_t mask = table->size - 1, hole;
	void *removed;

	if (!table_get(table, key))
		return 0;
	hole = slot_find(table, key, key_hash(key));
	if (own_run(table, hole))
		return -ENOMEM;
	removed = slot_item(table, hole);
	for (size_t slot = (hole + 1) & mask; slot_item(table, slot); slot = (slot + 1) & mask) {
		if (!may_fill(table, hole, slot))
			continue;
		slot_set(table->chunks[hole / CHUNK_SLOTS], hole, slot_hash(table, slot),
			 slot_item(table, slot));
		hole = slot;
	}
	slot_set(table->chunks[hole / CHUNK_SLOTS], hole, 0, NULL);
	table->count--;
	table->ops->unref(removed);
	return 0;
}

/* ---- versions ---- */

int table_copy(const struct table *table, struct table *ret)
{
	size_t chunk_count = table->size / CHUNK_SLOTS;
	struct table copy = *table;

	if (chunk_count) {
		copy.chunks = malloc(chunk_count * sizeof(struct table_chunk *));
		if (!copy.chunks)
			return -ENOMEM;
	}
	for (size_t i = 0; i < chunk_count; i++) {
		copy.chunks[i] = table->chunks[i];
		if (copy.chunks[i])
			atomic_fetch_add_explicit(&copy.chunks[i]->refs, 1, memory_order_relaxed);
	}
	*ret = copy;
	return 0;
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->size / CHUNK_SLOTS; i++)
		chunk_unref(table->ops, table->chunks[i]);
	free(table->chunks);
	*table = (struct table){.ops = table->ops};
}
