/* The desired state as last heard: every object by kind, namespace and name. Sources put and delete; the
 * proxy and the ingress listen. Main thread only.
 *
 *     source --put/delete--> store --changed(old, new)--> listeners mark what is dirty
 *     source --settle------> store --settled()----------> listeners act on all of it at once
 *
 * Invariants
 *  1. A listener hears of every change once, old or new NULL for added and deleted, before `settled`.
 *  2. store_settle without changes or newly synced kinds calls nobody.
 *  3. A kind is synced once its first complete list is in; it never becomes unsynced.
 *  4. A put that changes nothing a reader could see (same resourceVersion, not "") is not announced.
 *  5. The store is up to date when `changed` runs; listeners only read: they never put, delete, settle. */
#ifndef CONF_STORE_H
#define CONF_STORE_H

#include "base/map.h"
#include "conf/object.h"

struct store;

struct store_listener {
	unsigned kinds; /* KIND_BITs */
	/* old, new: borrowed; object_ref to keep. */
	void (*changed)(void *ctx, enum kind kind, struct object *old, struct object *new);
	void (*settled)(void *ctx); /* only when something of these kinds changed or became synced */
	void *ctx;
};

struct store *store_new(void);
struct store *store_free(struct store *store); /* returns NULL */

/* listener must outlive the store or be removed; what is in the store already is not announced. */
int store_listen(struct store *store, const struct store_listener *listener); /* 0 or -ENOMEM */
void store_unlisten(struct store *store, const struct store_listener *listener);

/* Takes over the caller's reference. 0; -ENOMEM or -ENAMETOOLONG (the object is then dropped). */
int store_put(struct store *store, struct object *object);
void store_delete(struct store *store, enum kind kind, struct str ns, struct str name);
void store_settle(struct store *store);

/* A complete list of a kind arrives by puts between begin and end: at the end, what was neither put nor kept
 * is deleted, and the kind is synced. Nothing that is in force is dropped before the end; store_list_abort
 * (or another begin) forgets the begin. */
void store_list_begin(struct store *store, enum kind kind);
void store_list_end(struct store *store, enum kind kind);
void store_list_abort(struct store *store, enum kind kind);
/* The list names an object that cannot be used: its last good version, if there is one, stays. */
void store_list_keep(struct store *store, enum kind kind, struct str ns, struct str name);

void store_set_synced(struct store *store, unsigned kinds);
bool store_synced(const struct store *store, unsigned kinds); /* all of them */

/* NULL when absent. */
struct object *store_get(const struct store *store, enum kind kind, const char *ns, const char *name);

/* Iterates one kind; it.value is the object: for (struct map_iter it = store_begin(...); map_next(&it);) */
struct map_iter store_begin(const struct store *store, enum kind kind);
size_t store_count(const struct store *store, enum kind kind);

#endif
