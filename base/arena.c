/* The bump allocator: a list of blocks, the newest first, each twice the one before. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES_MIN ((size_t)512)
#define BLOCK_BYTES_MAX ((size_t)64 * 1024)
#define ALIGNMENT       ((size_t)8)

struct arena_block {
	struct arena_block *next;
	size_t used, size; /* of bytes */
	_Alignas(8) char bytes[];
};

static struct arena_block *arena_add_block(struct arena *arena, size_t least_bytes)
{
	size_t size = BLOCK_BYTES_MIN - sizeof(struct arena_block);
	struct arena_block *block;

	if (arena->blocks) {
		size = arena->blocks->size * 2;
		if (size > BLOCK_BYTES_MAX)
			size = BLOCK_BYTES_MAX;
	}
	if (size < least_bytes)
		size = least_bytes;
	block = calloc(1, sizeof(*block) + size);
	if (!block)
		return NULL;
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

void *arena_alloc(struct arena *arena, size_t len_bytes)
{
	struct arena_block *block = arena->blocks;
	size_t rounded;
	void *at;

	if (len_bytes > SIZE_MAX / 2)
		return NULL;
	rounded = (len_bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	if (rounded == 0)
		rounded = ALIGNMENT; /* distinct pointers, never NULL */
	if (!block || block->size - block->used < rounded) {
		block = arena_add_block(arena, rounded);
		if (!block)
			return NULL;
	}
	at = block->bytes + block->used;
	block->used += rounded;
	arena->used_bytes += rounded;
	return at;
}

void *arena_array(struct arena *arena, size_t count, size_t item_bytes)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, item_bytes, &bytes))
		return NULL;
	return arena_alloc(arena, bytes);
}

char *arena_dup(struct arena *arena, struct str text)
{
	char *copy = arena_alloc(arena, text.len + 1);

	if (copy && text.len > 0)
		memcpy(copy, text.p, text.len);
	return copy;
}

void arena_done(struct arena *arena)
{
	struct arena_block *block = arena->blocks;

	while (block) {
		struct arena_block *next = block->next;

		free(block);
		block = next;
	}
	*arena = (struct arena){0};
}
