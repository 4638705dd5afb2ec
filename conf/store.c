/* The desired state in memory: one hash table per kind, listeners, and the marks that find what a complete
 * list no longer holds. */
#include "conf/store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A namespace has at most 63 bytes and a name 253 (the decoder sees to it); anything longer is in no store.
 */
#define KEY_MAX 512

struct key {
	char bytes[KEY_MAX];
	size_t len;
};

struct store_kind {
	struct map objects; /* "ns/name" -> struct object */
	uint32_t list_mark; /* of the newest list */
	bool listing;
};

struct store {
	struct store_kind kinds[KIND_COUNT];
	unsigned synced, dirty; /* KIND_BITs; dirty: changed or newly synced since the last settle */
	const struct store_listener **listeners;
	size_t listener_count;
	bool announcing; /* a listener is on the stack */
};

static bool key_make(struct key *key, struct str ns, struct str name)
{
	if (ns.len + 1 + name.len > sizeof(key->bytes))
		return false;
	if (ns.len > 0)
		memcpy(key->bytes, ns.p, ns.len);
	key->bytes[ns.len] = '/';
	if (name.len > 0)
		memcpy(key->bytes + ns.len + 1, name.p, name.len);
	key->len = ns.len + 1 + name.len;
	return true;
}

static struct str key_str(const struct key *key)
{
	return (struct str){key->bytes, key->len};
}

struct store *store_new(void)
{
	return calloc(1, sizeof(struct store));
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	for (size_t i = 0; i < KIND_COUNT; i++) {
		struct map *objects = &store->kinds[i].objects;
		for (struct map_iter it = map_begin(objects); map_next(&it);)
			object_unref(it.value);
		map_done(objects);
	}
	free(store->listeners);
	free(store);
	return NULL;
}

int store_listen(struct store *store, const struct store_listener *listener)
{
	const struct store_listener **listeners;

	assert(!store->announcing);
	listeners = realloc(store->listeners, (store->listener_count + 1) * sizeof(*listeners));
	if (!listeners)
		return -ENOMEM;
	listeners[store->listener_count++] = listener;
	store->listeners = listeners;
	return 0;
}

void store_unlisten(struct store *store, const struct store_listener *listener)
{
	assert(!store->announcing);
	for (size_t i = 0; i < store->listener_count; i++) {
		if (store->listeners[i] != listener)
			continue;
		store->listener_count--;
		memmove(&store->listeners[i], &store->listeners[i + 1],
			(store->listener_count - i) * sizeof(store->listeners[0]));
		return;
	}
}

static void announce(struct store *store, enum kind kind, struct object *old, struct object *new)
{
	store->dirty |= KIND_BIT(kind);
	store->announcing = true;
	for (size_t i = 0; i < store->listener_count; i++) {
		const struct store_listener *listener = store->listeners[i];
		if (listener->kinds & KIND_BIT(kind))
			listener->changed(listener->ctx, kind, old, new);
	}
	store->announcing = false;
}

static bool same_version(const struct object *a, const struct object *b)
{
	return a->resource_version[0] != '\0' && strcmp(a->resource_version, b->resource_version) == 0;
}

int store_put(struct store *store, struct object *object)
{
	struct store_kind *kind = &store->kinds[object->kind];
	struct key key;
	struct object *old;
	void *replaced;

	assert(!store->announcing);
	if (!key_make(&key, str_of(object->ns), str_of(object->name))) {
		object_unref(object);
		return -ENAMETOOLONG;
	}
	old = map_get(&kind->objects, key_str(&key));
	if (old && same_version(old, object)) {
		old->list_mark = kind->list_mark;
		object_unref(object);
		return 0;
	}
	if (map_set(&kind->objects, key_str(&key), object, &replaced) < 0) {
		object_unref(object);
		return -ENOMEM;
	}
	object->list_mark = kind->list_mark;
	announce(store, object->kind, old, object);
	object_unref(old);
	return 0;
}

static void delete_key(struct store *store, enum kind kind, struct str key)
{
	struct object *old = map_remove(&store->kinds[kind].objects, key);

	if (!old)
		return;
	announce(store, kind, old, NULL);
	object_unref(old);
}

void store_delete(struct store *store, enum kind kind, struct str ns, struct str name)
{
	struct key key;

	assert(!store->announcing);
	if (key_make(&key, ns, name))
		delete_key(store, kind, key_str(&key));
}

void store_settle(struct store *store)
{
	unsigned dirty = store->dirty;

	assert(!store->announcing);
	store->dirty = 0;
	store->announcing = true;
	for (size_t i = 0; i < store->listener_count; i++) {
		const struct store_listener *listener = store->listeners[i];
		if (listener->kinds & dirty)
			listener->settled(listener->ctx);
	}
	store->announcing = false;
}

void store_list_begin(struct store *store, enum kind kind)
{
	store->kinds[kind].list_mark++;
	store->kinds[kind].listing = true;
}

void store_list_end(struct store *store, enum kind kind)
{
	struct store_kind *state = &store->kinds[kind];

	assert(state->listing);
	state->listing = false;
	for (struct map_iter it = map_begin(&state->objects); map_next(&it);)
		if (((const struct object *)it.value)->list_mark != state->list_mark)
			delete_key(store, kind, it.key);
	store_set_synced(store, KIND_BIT(kind));
}

void store_list_abort(struct store *store, enum kind kind)
{
	store->kinds[kind].listing = false;
}

void store_list_keep(struct store *store, enum kind kind, struct str ns, struct str name)
{
	struct store_kind *state = &store->kinds[kind];
	struct key key;
	struct object *object;

	if (!key_make(&key, ns, name))
		return;
	object = map_get(&state->objects, key_str(&key));
	if (object)
		object->list_mark = state->list_mark;
}

void store_set_synced(struct store *store, unsigned kinds)
{
	store->dirty |= kinds & ~store->synced;
	store->synced |= kinds;
}

bool store_synced(const struct store *store, unsigned kinds)
{
	return (store->synced & kinds) == kinds;
}

struct object *store_get(const struct store *store, enum kind kind, const char *ns, const char *name)
{
	struct key key;

	if (!key_make(&key, str_of(ns), str_of(name)))
		return NULL;
	return map_get(&store->kinds[kind].objects, key_str(&key));
}

struct map_iter store_begin(const struct store *store, enum kind kind)
{
	return map_begin(&store->kinds[kind].objects);
}

size_t store_count(const struct store *store, enum kind kind)
{
	return store->kinds[kind].objects.count;
}
