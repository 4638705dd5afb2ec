/* The desired state as last heard: every object by kind, namespace and name. Sources put and delete; the proxy
 * and the ingress listen. Main thread only.
 *
 *     source --put/delete--> store --changed(old, new)--> listeners mark what is dirty
 *     source --settle------> store --settled()----------> listeners act on all of it at once
 *
 * Invariants
 *  1. A listener hears of every change once, old or new NULL for added and deleted, before `settled`.
 *  2. store_settle without changes or newly synced kinds calls nobody.
 *  3. A kind is synced once its first complete list is in; it never becomes unsynced.
 *  4. A put that changes nothing a reader could see (same resourceVersion, not "") is not announced. */
#ifndef CONF_STORE_H
#define CONF_STORE_H

#include "base/map.h"
#include "conf/object.h"

struct store;

struct store_listener {
	unsigned kinds; /* KIND_BITs */
	/* old, new: borrowed; object_ref to keep. */
	void (*changed)(void *ctx, enum kind kind, struct object *old, struct object *new);
	void (*settled)(void *ctx);
	void *ctx;
};

struct store *store_new(void);
struct store *store_free(struct store *store); /* returns NULL */

/* listener must outlive the store or be removed; what is in the store already is not announced. */
int store_listen(struct store *store, const struct store_listener *listener); /* 0 or -ENOMEM */
void store_unlisten(struct store *store, const struct store_listener *listener);

/* Takes over the caller's reference. 0 or -ENOMEM (the object is then dropped). */
int store_put(struct store *store, struct object *object);
void store_delete(struct store *store, enum kind kind, struct str ns, struct str name);
void store_settle(struct store *store);

/* A complete list of a kind arrives by puts between begin and end: at the end, what was not put again is
 * deleted, and the kind is synced. Scope: all of the kind, or with store_list_begin_ns one namespace. Nothing
 * that is in force is dropped before the end; store_list_abort forgets the begin. */
void store_list_begin(struct store *store, enum kind kind);
void store_list_end(struct store *store, enum kind kind);
void store_list_abort(struct store *store, enum kind kind);

void store_set_synced(struct store *store, unsigned kinds);
bool store_synced(const struct store *store, unsigned kinds); /* all of them */

struct object *store_get(const struct store *store, enum kind kind, const char *ns, const char *name); /* or NULL */

/* Iterates one kind: for (struct map_iter it = store_begin(store, kind); map_next(&it);) it.value is the object. */
struct map_iter store_begin(const struct store *store, enum kind kind);
size_t store_count(const struct store *store, enum kind kind);

#endif
