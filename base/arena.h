/* A bump allocator: many small allocations, freed all at once. Memory is zeroed and 8-byte aligned.
 * The first block is small (objects of a few hundred bytes are common), later ones double. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used_bytes; /* handed out, for budgets */
};

/* NULL when out of memory. */
void *arena_alloc(struct arena *arena, size_t len_bytes);
void *arena_array(struct arena *arena, size_t count, size_t item_bytes); /* overflow-checked */
char *arena_dup(struct arena *arena, struct str text);                   /* NUL-terminated */
void arena_done(struct arena *arena);

#endif
