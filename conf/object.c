/* Birth, sharing and death of API objects; the names of kinds and protocols.
 * What the objects hold is filled in by conf/decode. */
#include "conf/object.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *name;
	size_t size_bytes;
} kinds[KIND_COUNT] = {
    [KIND_SERVICE] = {"Service", sizeof(struct service)},
    [KIND_ENDPOINTS] = {"Endpoints", sizeof(struct endpoints)},
    [KIND_ENDPOINTSLICE] = {"EndpointSlice", sizeof(struct endpoints)},
    [KIND_INGRESS] = {"Ingress", sizeof(struct ingress)},
    [KIND_INGRESSCLASS] = {"IngressClass", sizeof(struct ingress_class)},
    [KIND_SECRET] = {"Secret", sizeof(struct secret)},
    [KIND_CONFIGMAP] = {"ConfigMap", sizeof(struct config_map)},
    [KIND_NAMESPACE] = {"Namespace", sizeof(struct namespace_object)},
    [KIND_NODE] = {"Node", sizeof(struct node_object)},
    [KIND_SERVICECIDR] = {"ServiceCIDR", sizeof(struct service_cidr)},
    [KIND_LEASE] = {"Lease", sizeof(struct lease)},
};

const char *kind_name(enum kind kind)
{
	return kinds[kind].name;
}

bool kind_from_name(struct str name, enum kind *ret)
{
	for (unsigned i = 0; i < KIND_COUNT; i++) {
		if (!str_is(name, kinds[i].name))
			continue;
		*ret = (enum kind)i;
		return true;
	}
	return false;
}

const char *protocol_name(enum protocol protocol)
{
	static const char *const names[] = {
	    [PROTOCOL_TCP] = "TCP",
	    [PROTOCOL_UDP] = "UDP",
	    [PROTOCOL_SCTP] = "SCTP",
	};
	return names[protocol];
}

struct object *object_new(enum kind kind)
{
	char *no_room;

	return object_new_with_room(kind, 0, &no_room);
}

struct object *object_new_with_room(enum kind kind, size_t room_bytes, char **ret_room)
{
	struct object *object = calloc(1, kinds[kind].size_bytes + room_bytes);

	if (!object)
		return NULL;
	*ret_room = (char *)object + kinds[kind].size_bytes;
	object->kind = kind;
	object->refs = 1;
	object->ns = object->name = "";
	object->uid = object->resource_version = "";
	object->origin = "";
	return object;
}

struct object *object_ref(struct object *object)
{
	object->refs++;
	return object;
}

/* The only place that writes to an object's bytes after it was built. */
static void wipe(struct bytes bytes)
{
	OPENSSL_cleanse((void *)(uintptr_t)bytes.data, bytes.len);
}

static void wipe_secret(const struct secret *secret)
{
	for (size_t i = 0; i < secret->data_count; i++)
		wipe(secret->data[i].value);
}

struct object *object_unref(struct object *object)
{
	if (!object)
		return NULL;
	assert(object->refs > 0);
	if (--object->refs > 0)
		return NULL;
	if (object->kind == KIND_SECRET)
		wipe_secret((const struct secret *)object);
	arena_done(&object->arena);
	free(object);
	return NULL;
}

const char *kv_get(const struct kv_list *list, const char *key)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].key, key) == 0)
			return list->items[i].value;
	return NULL;
}

const struct bytes *secret_get(const struct secret *secret, const char *key)
{
	for (size_t i = 0; i < secret->data_count; i++)
		if (strcmp(secret->data[i].key, key) == 0)
			return &secret->data[i].value;
	return NULL;
}
