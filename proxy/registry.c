/* The index from Services to everything that is known of them. */
#include "proxy/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DNS_PORT 53

/* Kubernetes names have at most 253 characters; what is longer was refused when it was decoded. */
#define KEY_BYTES_MAX 1024

static struct str service_key(const char *ns, const char *name, char key[static KEY_BYTES_MAX])
{
	int len = snprintf(key, KEY_BYTES_MAX, "%s/%s", ns, name);

	return (struct str){key, len < KEY_BYTES_MAX ? (size_t)len : KEY_BYTES_MAX - 1};
}

static struct proxied *find(const struct registry *registry, const char *ns, const char *name)
{
	char key[KEY_BYTES_MAX];

	return map_get(&registry->services, service_key(ns, name, key));
}

/* The names follow the struct in the same block. */
static struct proxied *proxied_new(const char *ns, const char *name)
{
	size_t ns_bytes = strlen(ns) + 1, name_bytes = strlen(name) + 1;
	struct proxied *proxied = calloc(1, sizeof(*proxied) + ns_bytes + name_bytes);
	char *names;

	if (!proxied)
		return NULL;
	names = (char *)(proxied + 1);
	memcpy(names, ns, ns_bytes);
	memcpy(names + ns_bytes, name, name_bytes);
	proxied->member.claimant.ns = names;
	proxied->member.claimant.name = names + ns_bytes;
	return proxied;
}

static struct proxied *proxied_free(struct proxied *proxied)
{
	if (proxied) {
		if (proxied->service)
			(void)object_unref(&proxied->service->meta);
		for (size_t i = 0; i < proxied->object_count; i++)
			(void)object_unref(&proxied->objects[i]->meta);
		free(proxied->objects);
		free(proxied);
	}
	return NULL;
}

static struct proxied *find_or_add(struct registry *registry, const char *ns, const char *name)
{
	char key[KEY_BYTES_MAX];
	struct str text = service_key(ns, name, key);
	struct proxied *proxied = map_get(&registry->services, text);

	if (proxied)
		return proxied;
	proxied = proxied_new(ns, name);
	if (proxied && map_set(&registry->services, text, proxied, NULL))
		proxied = proxied_free(proxied);
	return proxied;
}

int registry_service_changed(struct registry *registry, struct service *old, struct service *new,
			     struct proxied **ret)
{
	const struct object *meta = new ? &new->meta : &old->meta;
	struct proxied *proxied =
	    new ? find_or_add(registry, meta->ns, meta->name) : find(registry, meta->ns, meta->name);

	if (!proxied) {
		if (new)
			return -ENOMEM;
		*ret = NULL;
		return 0;
	}
	if (new)
		(void)object_ref(&new->meta);
	if (proxied->service)
		(void)object_unref(&proxied->service->meta);
	proxied->service = new;
	if (new)
		proxied->member.claimant.created_s = new->meta.created_s;
	*ret = proxied;
	return 0;
}

static int add_object(struct proxied *proxied, struct endpoints *object)
{
	struct endpoints **objects =
	    realloc(proxied->objects, (proxied->object_count + 1) * sizeof(struct endpoints *));

	if (!objects)
		return -ENOMEM;
	proxied->objects = objects;
	proxied->objects[proxied->object_count++] = object;
	(void)object_ref(&object->meta);
	return 0;
}

static void remove_object(struct proxied *proxied, const struct endpoints *object)
{
	for (size_t i = 0; i < proxied->object_count; i++) {
		if (proxied->objects[i] != object)
			continue;
		(void)object_unref(&proxied->objects[i]->meta);
		proxied->objects[i] = proxied->objects[--proxied->object_count];
		return;
	}
}

int registry_endpoints_changed(struct registry *registry, struct endpoints *old, struct endpoints *new,
			       struct proxied **ret, struct proxied **ret_other)
{
	struct proxied *before = NULL, *after = NULL;

	if (old && endpoints_count(old))
		before = find(registry, old->meta.ns, old->service_name);
	if (before)
		remove_object(before, old);
	if (new &&endpoints_count(new)) {
		after = find_or_add(registry, new->meta.ns, new->service_name);
		if (!after || add_object(after, new)) {
			*ret = before;
			*ret_other = NULL;
			return -ENOMEM;
		}
	}
	*ret = after ? after : before;
	*ret_other = after && before != after ? before : NULL;
	return 0;
}

void registry_drop_unused(struct registry *registry, struct proxied *proxied)
{
	char key[KEY_BYTES_MAX];

	if (proxied->service || proxied->object_count > 0 || proxied->queued != QUEUED_NOT)
		return;
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (proxied->member.applied[i])
			return;
	(void)map_remove(&registry->services,
			 service_key(proxied->member.claimant.ns, proxied->member.claimant.name, key));
	(void)proxied_free(proxied);
}

void registry_done(struct registry *registry)
{
	for (struct map_iter it = map_begin(&registry->services); map_next(&it);)
		(void)proxied_free(it.value);
	map_done(&registry->services);
}

/* ---- urgency ---- */

static bool is_cluster_dns(const struct service *service)
{
	const char *app = kv_get(&service->meta.labels, "k8s-app");

	if (app && strcmp(app, "kube-dns") == 0)
		return true;
	for (size_t i = 0; i < service->port_count; i++)
		if (service->ports[i].port == DNS_PORT)
			return true;
	return false;
}

bool proxied_is_urgent(const struct proxied *proxied)
{
	const struct claimant *names = &proxied->member.claimant;

	if (strcmp(names->ns, "default") == 0 && strcmp(names->name, "kubernetes") == 0)
		return true;
	return strcmp(names->ns, "kube-system") == 0 && proxied->service && is_cluster_dns(proxied->service);
}
