/* Memory for bytes in flight: blocks of a few fixed sizes, recycled per worker, and a byte queue in one
 * block.
 *
 * Invariants
 *  1. A fifo without bytes holds no block (but for one being filled right now): an idle connection costs its
 *     struct, nothing more.
 *  2. Bytes in a fifo move only inside fifo_reserve.
 *  3. A pool belongs to one thread. */
#ifndef INGRESS_BLOCK_H
#define INGRESS_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define BLOCK_CLASSES 3 /* 4, 16 and 64 KiB; larger ones are made to measure and not kept */
#define BLOCK_SMALL   ((size_t)4096 - sizeof(struct block))
#define BLOCK_MEDIUM  ((size_t)16384 - sizeof(struct block))
#define BLOCK_LARGE   ((size_t)65536 - sizeof(struct block))

struct block {
	struct block *next; /* in a free list */
	uint32_t size;      /* of data */
	uint32_t class;     /* BLOCK_CLASSES: made to measure */
	char data[];
};

struct block_pool {
	struct block *free[BLOCK_CLASSES];
	uint32_t free_count[BLOCK_CLASSES];
	uint32_t used_count[BLOCK_CLASSES];
};

struct block *block_take(struct block_pool *pool, size_t size_min); /* NULL when out of memory */
void block_give(struct block_pool *pool, struct block *block);      /* NULL allowed */
/* The same first len bytes in as much memory as they need; the block itself when there is none to be had. */
struct block *block_trim(struct block_pool *pool, struct block *block, size_t len);
void block_pool_done(struct block_pool *pool);

/* Bulk goes faster by large blocks. Only so many are out at a time, or clients that do not read would each keep one. */
#define BLOCK_LARGE_USED_MAX 64
static inline bool block_large_is_free(const struct block_pool *pool)
{
	return pool->used_count[BLOCK_CLASSES - 1] < BLOCK_LARGE_USED_MAX;
}

/* ---- a queue of bytes in one block; all zeroes is a valid empty one ---- */

struct fifo {
	struct block *block;
	uint32_t head, tail;
};

static inline size_t fifo_len(const struct fifo *fifo)
{
	return fifo->tail - fifo->head;
}

static inline char *fifo_data(const struct fifo *fifo)
{
	return fifo->block->data + fifo->head;
}

/* Bytes that fit without moving any. */
static inline size_t fifo_room(const struct fifo *fifo)
{
	return fifo->block ? fifo->block->size - fifo->tail : 0;
}

/* Makes room for len_bytes at the tail, by a first, a larger or a compacted block. The tail, or NULL when out
 * of memory. */
char *fifo_reserve(struct fifo *fifo, struct block_pool *pool, size_t len_bytes);

static inline void fifo_commit(struct fifo *fifo, size_t len_bytes)
{
	fifo->tail += (uint32_t)len_bytes;
}

/* 0 or -ENOMEM. */
int fifo_append(struct fifo *fifo, struct block_pool *pool, struct str bytes);

/* Drops bytes at the head; gives the block back with the last one. */
void fifo_consume(struct fifo *fifo, struct block_pool *pool, size_t len_bytes);

/* Gives an empty fifo's block back; a no-op for one that holds bytes. */
void fifo_settle(struct fifo *fifo, struct block_pool *pool);

void fifo_done(struct fifo *fifo, struct block_pool *pool);

#endif
