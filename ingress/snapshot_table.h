/* A hash table from byte strings to shared items that can be copied for next to nothing: its slots live in
 * chunks, a copy shares all chunks, and an edit clones only the chunk it touches.
 *
 *     draft's table:     [c0][c1][c2']       edited: c2 was cloned into c2'
 *     snapshot's table:  [c0][c1][c2 ]       still what it was
 *
 * Invariants
 *  1. A chunk with more than one owner is never written.
 *  2. A table owns one reference to each item per chunk that holds it.
 *  3. Edits come from one thread; reading, and dropping a copy (table_done), is free to any.
 *  4. A table of all zeroes but ops is valid and empty. */
#ifndef INGRESS_SNAPSHOT_TABLE_H
#define INGRESS_SNAPSHOT_TABLE_H

#include <stddef.h>

#include "base/str.h"

struct table_ops {
	struct str (*key)(const void *item); /* never changes while the item is in a table */
	void (*ref)(void *item);
	void (*unref)(void *item);
};

struct table_chunk;

struct table {
	const struct table_ops *ops;
	struct table_chunk **chunks; /* NULL where all slots are empty */
	size_t size;                 /* slots: a power of two, or 0 */
	size_t count;                /* items */
};

void *table_get(const struct table *table, struct str key); /* borrowed; NULL when absent */

/* Takes over the caller's reference, also when it fails; replaces the item of the same key. 0 or -ENOMEM, and
 * then the table is as it was. */
int table_put(struct table *table, void *item);
/* 0 (also when absent) or -ENOMEM, and then the table is as it was. */
int table_remove(struct table *table, struct str key);

/* *ret becomes a second table with the same items. 0 or -ENOMEM. */
int table_copy(const struct table *table, struct table *ret);
void table_done(struct table *table); /* leaves it empty */

#endif
