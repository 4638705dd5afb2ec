/* Blocks by size class with bounded free lists; the byte queue on top. */
#include "ingress/block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const struct block_class {
	size_t size;       /* of data */
	uint32_t free_max; /* kept for the next taker; what is beyond goes back to the allocator */
} classes[BLOCK_CLASSES] = {
    {BLOCK_SMALL, 512},
    {BLOCK_MEDIUM, 128},
    {BLOCK_LARGE, 8},
};

static uint32_t block_class_for(size_t size_min)
{
	uint32_t class = 0;

	while (class < BLOCK_CLASSES && classes[class].size < size_min)
		class ++;
	return class;
}

static struct block *block_new(uint32_t class, size_t size)
{
	struct block *block;

	if (size > UINT32_MAX / 2)
		return NULL;
	block = malloc(sizeof(*block) + size);
	if (block)
		*block = (struct block){.size = (uint32_t)size, .class = class};
	return block;
}

struct block *block_take(struct block_pool *pool, size_t size_min)
{
	uint32_t class = block_class_for(size_min);
	struct block *block;

	if (class == BLOCK_CLASSES)
		return block_new(class, size_min);
	block = pool->free[class];
	if (block) {
		pool->free[class] = block->next;
		pool->free_count[class]--;
	} else {
		block = block_new(class, classes[class].size);
	}
	pool->used_count[class] += block != NULL;
	return block;
}

void block_give(struct block_pool *pool, struct block *block)
{
	if (!block)
		return;
	if (block->class < BLOCK_CLASSES)
		pool->used_count[block->class]--;
	if (block->class == BLOCK_CLASSES ||
	    pool->free_count[block->class] >= classes[block->class].free_max) {
		free(block);
		return;
	}
	block->next = pool->free[block->class];
	pool->free[block->class] = block;
	pool->free_count[block->class]++;
}

struct block *block_trim(struct block_pool *pool, struct block *block, size_t len)
{
	struct block *exact = block_new(BLOCK_CLASSES, len);

	if (!exact)
		return block;
	memcpy(exact->data, block->data, len);
	block_give(pool, block);
	return exact;
}

void block_pool_done(struct block_pool *pool)
{
	for (size_t class = 0; class < BLOCK_CLASSES; class ++) {
		for (struct block *block = pool->free[class], *next; block; block = next) {
			next = block->next;
			free(block);
		}
	}
	*pool = (struct block_pool){0};
}

/* ---- fifo ---- */

static char *fifo_tail(const struct fifo *fifo)
{
	return fifo->block->data + fifo->tail;
}

static char *fifo_move(struct fifo *fifo, struct block_pool *pool, size_t size_min)
{
	struct block *block = block_take(pool, size_min);
	size_t len = fifo_len(fifo);

	if (!block)
		return NULL;
	if (len > 0)
		memcpy(block->data, fifo_data(fifo), len);
	block_give(pool, fifo->block);
	*fifo = (struct fifo){.block = block, .tail = (uint32_t)len};
	return fifo_tail(fifo);
}

char *fifo_reserve(struct fifo *fifo, struct block_pool *pool, size_t len_bytes)
{
	size_t len = fifo_len(fifo);

	if (fifo_room(fifo) >= len_bytes)
		return fifo_tail(fifo);
	if (len_bytes > UINT32_MAX / 4)
		return NULL;
	if (!fifo->block || len + len_bytes > fifo->block->size)
		return fifo_move(fifo, pool, len + len_bytes);
	memmove(fifo->block->data, fifo_data(fifo), len);
	fifo->head = 0;
	fifo->tail = (uint32_t)len;
	return fifo_tail(fifo);
}

int fifo_append(struct fifo *fifo, struct block_pool *pool, struct str bytes)
{
	char *tail;

	if (bytes.len == 0)
		return 0;
	tail = fifo_reserve(fifo, pool, bytes.len);
	if (!tail)
		return -ENOMEM;
	memcpy(tail, bytes.p, bytes.len);
	fifo_commit(fifo, bytes.len);
	return 0;
}

void fifo_settle(struct fifo *fifo, struct block_pool *pool)
{
	if (fifo_len(fifo) == 0)
		fifo_done(fifo, pool);
}

void fifo_consume(struct fifo *fifo, struct block_pool *pool, size_t len_bytes)
{
	assert(len_bytes <= fifo_len(fifo));
	fifo->head += (uint32_t)len_bytes;
	fifo_settle(fifo, pool);
}

void fifo_done(struct fifo *fifo, struct block_pool *pool)
{
	block_give(pool, fifo->block);
	*fifo = (struct fifo){0};
}
