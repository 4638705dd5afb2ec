/* The upstreams in use, indexed by service port and by id; the endpoints objects of each Service, by Service. */
#include "ingress/upstreams.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/dns.h"
#include "base/map.h"
#include "ingress/grow.h"
#include "ingress/unconst.h"
#include "ingress/upstreams_name.h"
#include "ingress/upstreams_resolve.h"

struct service_entry;

/* A service port in use. */
struct upstream_entry {
	struct upstreams *owner;
	struct service_entry *service;
	struct upstream_entry *next; /* of the same service */
	uint32_t id;
	unsigned uses;
	char *key; /* "ns/name/port" */
	char *port, *display_name;
	char *problem;
	/* ExternalName */
	struct name_watch *watch;
	char *watched_name;
	struct ip *external_ips;
	size_t external_ip_count;
	int external_code; /* of the last answer; 1: none yet */
};

/* A Service somebody uses or that has endpoints. */
struct service_entry {
	char *key; /* "ns/name" */
	char *ns, *name;
	const struct endpoints **endpoints; /* references are held */
	size_t endpoints_count, endpoints_size;
	struct upstream_entry *upstreams;
	bool marked;
	struct service_entry *next_marked;
};

struct upstreams {
	struct upstreams_config config;
	struct map services; /* "ns/name" */
	struct map by_port;  /* "ns/name/port" */
	struct map by_id;
	struct service_entry *marked;
	struct dns *dns; /* from the first ExternalName on */
	uint32_t last_id;
	struct buf key; /* scratch */
};

/* ---- keys ---- */

/* port NULL: of a service. Good until the next call; p is NULL when out of memory. */
static struct str key_of(struct upstreams *upstreams, const char *ns, const char *name, const char *port)
{
	struct buf *key = &upstreams->key;

	buf_clear(key);
	(void)buf_append_text(key, ns);
	(void)buf_append_char(key, '/');
	(void)buf_append_text(key, name);
	if (port) {
		(void)buf_append_char(key, '/');
		(void)buf_append_text(key, port);
	}
	if (buf_failed(key))
		return (struct str){0};
	return buf_str(key);
}

static struct str id_key(const uint32_t *id)
{
	return (struct str){(const char *)id, sizeof(*id)};
}

/* ---- services ---- */

static struct service_entry *service_free(struct service_entry *service)
{
	if (!service)
		return NULL;
	for (size_t i = 0; i < service->endpoints_count; i++)
		object_unref(unconst(&service->endpoints[i]->meta));
	free(service->endpoints);
	free(service->key);
	free(service->ns);
	free(service->name);
	free(service);
	return NULL;
}

static struct service_entry *service_find(struct upstreams *upstreams, const char *ns, const char *name)
{
	struct str key = key_of(upstreams, ns, name, NULL);

	return key.p ? map_get(&upstreams->services, key) : NULL;
}

static struct service_entry *service_create(struct upstreams *upstreams, const char *ns, const char *name)
{
	struct service_entry *service = calloc(1, sizeof(*service));
	struct str key = key_of(upstreams, ns, name, NULL);

	if (!service || !key.p)
		return service_free(service);
	service->key = str_dup(key);
	service->ns = str_dup(str_of(ns));
	service->name = str_dup(str_of(name));
	if (!service->key || !service->ns || !service->name ||
	    map_set(&upstreams->services, key, service, NULL))
		return service_free(service);
	return service;
}

static struct service_entry *service_get(struct upstreams *upstreams, const char *ns, const char *name)
{
	struct service_entry *service = service_find(upstreams, ns, name);

	return service ? service : service_create(upstreams, ns, name);
}

static void service_mark(struct upstreams *upstreams, struct service_entry *service)
{
	if (service->marked)
		return;
	service->marked = true;
	service->next_marked = upstreams->marked;
	upstreams->marked = service;
}

static int service_add_endpoints(struct service_entry *service, struct endpoints *endpoints)
{
	if (grow_by_one(service->endpoints, service->endpoints_count, service->endpoints_size))
		return -ENOMEM;
	object_ref(&endpoints->meta);
	service->endpoints[service->endpoints_count++] = endpoints;
	return 0;
}

static void service_remove_endpoints(struct service_entry *service, const struct endpoints *endpoints)
{
	for (size_t i = 0; i < service->endpoints_count; i++) {
		if (service->endpoints[i] == endpoints) {
			service->endpoints[i] = service->endpoints[--service->endpoints_count];
			object_unref(unconst(&endpoints->meta));
			return;
		}
	}
}

/* ---- events ---- */

static int endpoints_gone(struct upstreams *upstreams, struct endpoints *endpoints)
{
	struct service_entry *service = service_find(upstreams, endpoints->meta.ns, endpoints->service_name);

	if (service) {
		service_remove_endpoints(service, endpoints);
		service_mark(upstreams, service);
	}
	return 0;
}

static int endpoints_come(struct upstreams *upstreams, struct endpoints *endpoints)
{
	struct service_entry *service;

	if (endpoints->service_name[0] == '\0')
		return 0;
	service = service_get(upstreams, endpoints->meta.ns, endpoints->service_name);
	if (!service || service_add_endpoints(service, endpoints))
		return -ENOMEM;
	service_mark(upstreams, service);
	return 0;
}

static int service_event(struct upstreams *upstreams, const struct object *object)
{
	struct service_entry *service = service_find(upstreams, object->ns, object->name);

	if (service)
		service_mark(upstreams, service);
	return 0;
}

int upstreams_changed(struct upstreams *upstreams, enum kind kind, struct object *old, struct object *new)
{
	int code = 0;

	if (kind == KIND_SERVICE)
		return service_event(upstreams, new ? new : old);
	if (kind != KIND_ENDPOINTS && kind != KIND_ENDPOINTSLICE)
		return 0;
	if (old)
		code = endpoints_gone(upstreams, (struct endpoints *)old);
	if (new &&code == 0)
		code = endpoints_come(upstreams, (struct endpoints *)new);
	return code;
}

/* ---- ExternalName ---- */

static void forget_name(struct upstream_entry *entry)
{
	entry->watch = name_watch_free(entry->watch);
	free(TAKE(entry->watched_name));
	free(TAKE(entry->external_ips));
	entry->external_ip_count = 0;
	entry->external_code = 1;
}

/* A failed answer leaves the last good one in force. */
static void keep_answer(struct upstream_entry *entry, const struct ip *ips, size_t ip_count)
{
	struct ip *copy = calloc(ip_count, sizeof(*copy));

	if (!copy)
		return;
	memcpy(copy, ips, ip_count * sizeof(*copy));
	free(entry->external_ips);
	entry->external_ips = copy;
	entry->external_ip_count = ip_count;
}

static void on_name_answer(void *ctx, int code, const struct ip *ips, size_t ip_count)
{
	struct upstream_entry *entry = ctx;
	struct upstreams *upstreams = entry->owner;

	entry->external_code = code;
	if (code == 0)
		keep_answer(entry, ips, ip_count);
	service_mark(upstreams, entry->service);
	upstreams->config.resolved(upstreams->config.ctx);
}

static int watch_name(struct upstream_entry *entry, const char *name)
{
	struct upstreams *upstreams = entry->owner;

	if (entry->watched_name && strcmp(entry->watched_name, name) == 0)
		return 0;
	forget_name(entry);
	if (!upstreams->config.loop)
		return 0;
	if (!upstreams->dns)
		upstreams->dns = dns_new(upstreams->config.loop, NULL, NULL);
	entry->watched_name = str_dup(str_of(name));
	if (!upstreams->dns || !entry->watched_name)
		return -ENOMEM;
	entry->watch = name_watch_new(upstreams->config.loop, upstreams->dns, name, on_name_answer, entry);
	if (entry->watch)
		return 0;
	forget_name(entry);
	return -ENOMEM;
}

/* Fills in what DNS said of the name. */
static int resolve_external(struct upstream_entry *entry, struct arena *arena, struct resolution *resolution)
{
	struct endpoint_addr *endpoints =
	    arena_array(arena, entry->external_ip_count + 1, sizeof(*endpoints));
	struct buf why = {0};

	if (!endpoints)
		return -ENOMEM;
	resolution->endpoints = endpoints;
	for (size_t i = 0; i < entry->external_ip_count; i++) {
		const struct ip *ip = &entry->external_ips[i];

		if (upstreams_address_allowed(ip, entry->owner->config.loopback_allowed))
			endpoints[resolution->endpoint_count++] =
			    (struct endpoint_addr){*ip, resolution->external_port};
	}
	if (resolution->endpoint_count == 0 && entry->external_code <= 0) {
		(void)buf_printf(&why, "externalName %s %s", resolution->external_name,
				 entry->external_ip_count ? "leads to addresses that are not allowed"
							  : "cannot be resolved");
		resolution->why = arena_dup(arena, buf_str(&why));
		buf_done(&why);
	}
	return 0;
}

/* ---- upstreams ---- */

static struct upstream_entry *entry_free(struct upstream_entry *entry)
{
	if (!entry)
		return NULL;
	forget_name(entry);
	free(entry->key);
	free(entry->port);
	free(entry->display_name);
	free(entry->problem);
	free(entry);
	return NULL;
}

static char *make_display_name(const char *ns, const char *service, const char *port)
{
	struct buf text = {0};

	(void)buf_printf(&text, "%s-%s-%s", ns, service, port);
	return buf_take_text(&text);
}

static int entry_index(struct upstreams *upstreams, struct upstream_entry *entry)
{
	if (map_set(&upstreams->by_id, id_key(&entry->id), entry, NULL))
		return -ENOMEM;
	if (map_set(&upstreams->by_port, str_of(entry->key), entry, NULL) == 0)
		return 0;
	map_remove(&upstreams->by_id, id_key(&entry->id));
	return -ENOMEM;
}

static struct upstream_entry *entry_new(struct upstreams *upstreams, const char *ns, const char *service,
					const char *port)
{
	struct upstream_entry *entry = calloc(1, sizeof(*entry));
	struct str key = key_of(upstreams, ns, service, port);

	if (!entry)
		return NULL;
	entry->owner = upstreams;
	entry->id = upstreams->last_id + 1;
	entry->external_code = 1;
	entry->key = key.p ? str_dup(key) : NULL;
	entry->port = str_dup(str_of(port));
	entry->display_name = make_display_name(ns, service, port);
	entry->service = service_get(upstreams, ns, service);
	if (!entry->key || !entry->port || !entry->display_name || !entry->service ||
	    entry_index(upstreams, entry))
		return entry_free(entry);
	upstreams->last_id++;
	entry->next = entry->service->upstreams;
	entry->service->upstreams = entry;
	service_mark(upstreams, entry->service);
	return entry;
}

static int resolve_endpoints(struct upstream_entry *entry, struct arena *arena, struct resolution *ret)
{
	const struct service_entry *service = entry->service;
	const struct upstreams_config *config = &entry->owner->config;
	const struct resolve_input input = {
	    .ns = service->ns,
	    .name = service->name,
	    .service =
		(const struct service *)store_get(config->store, KIND_SERVICE, service->ns, service->name),
	    .endpoints = service->endpoints,
	    .endpoints_count = service->endpoints_count,
	    .port = str_of(entry->port),
	    .loopback_allowed = config->loopback_allowed,
	};

	return upstreams_resolve(&input, arena, ret);
}

/* *ret_new: there is something wrong that was not wrong before. */
static int set_problem(struct upstream_entry *entry, const char *why, bool *ret_new)
{
	char *copy = why ? str_dup(str_of(why)) : NULL;

	if (why && !copy)
		return -ENOMEM;
	*ret_new = why && !(entry->problem && strcmp(entry->problem, why) == 0);
	free(entry->problem);
	entry->problem = copy;
	return 0;
}

/* What the next settle will find, but for what DNS has to say. */
static int foresee_problem(struct upstream_entry *entry)
{
	struct arena arena cleanup(arena_done) = {0};
	struct resolution resolution;
	int code = resolve_endpoints(entry, &arena, &resolution);
	bool new;

	if (code || resolution.external_name)
		return code;
	return set_problem(entry, resolution.why, &new);
}

uint32_t upstreams_use(struct upstreams *upstreams, const char *ns, const char *service, const char *port,
		       const char **ret_why)
{
	struct str key = key_of(upstreams, ns, service, port);
	struct upstream_entry *entry = key.p ? map_get(&upstreams->by_port, key) : NULL;

	if (!entry)
		entry = entry_new(upstreams, ns, service, port);
	if (!entry || (entry->service->marked && foresee_problem(entry)))
		return UPSTREAM_NONE;
	entry->uses++;
	*ret_why = entry->problem;
	return entry->id;
}

void upstreams_drop(struct upstreams *upstreams, uint32_t id)
{
	struct upstream_entry *entry = id == UPSTREAM_NONE ? NULL : map_get(&upstreams->by_id, id_key(&id));

	if (entry && --entry->uses == 0)
		service_mark(upstreams, entry->service);
}

/* ---- settling ---- */

static bool same_upstream(const struct upstream *a, const struct upstream *b)
{
	return a->missing == b->missing && a->endpoint_count == b->endpoint_count &&
	       (a->endpoint_count == 0 ||
		memcmp(a->endpoints, b->endpoints, a->endpoint_count * sizeof(*a->endpoints)) == 0);
}

static int put_if_different(struct draft *draft, struct upstream *upstream, bool *ret_changed)
{
	const struct upstream *present = upstream ? draft_upstream(draft, upstream->id) : NULL;
	int code;

	if (present && same_upstream(present, upstream)) {
		upstream_unref(upstream);
		return 0;
	}
	code = draft_put_upstream(draft, upstream);
	if (code == 0)
		*ret_changed = true;
	return code;
}

static int resolve_entry(struct upstream_entry *entry, struct arena *arena, struct resolution *ret)
{
	int code = resolve_endpoints(entry, arena, ret);

	if (code == 0 && !ret->external_name)
		forget_name(entry);
	else if (code == 0)
		code = watch_name(entry, ret->external_name);
	if (code == 0 && ret->external_name)
		code = resolve_external(entry, arena, ret);
	return code;
}

static int tell_problem(struct upstream_entry *entry, const char *why)
{
	const struct upstreams_config *config = &entry->owner->config;
	bool new = false;
	int code = set_problem(entry, why, &new);

	if (new)
		config->problem(config->ctx, entry->service->ns, entry->service->name, entry->port, why);
	return code;
}

static int entry_refresh(struct upstream_entry *entry, struct draft *draft, bool *ret_changed)
{
	struct arena arena cleanup(arena_done) = {0};
	struct resolution resolution;
	int code = resolve_entry(entry, &arena, &resolution);

	if (code == 0)
		code = tell_problem(entry, resolution.why);
	if (code)
		return code;
	return put_if_different(draft,
				upstream_new(entry->id, entry->display_name, resolution.missing,
					     resolution.endpoints, resolution.endpoint_count),
				ret_changed);
}

static int entry_remove(struct upstream_entry *entry, struct draft *draft, bool *ret_changed)
{
	struct upstreams *upstreams = entry->owner;

	if (draft_remove_upstream(draft, entry->id))
		return -ENOMEM;
	*ret_changed = true;
	map_remove(&upstreams->by_id, id_key(&entry->id));
	map_remove(&upstreams->by_port, str_of(entry->key));
	entry_free(entry);
	return 0;
}

static int service_settle(struct service_entry *service, struct draft *draft, bool *ret_changed)
{
	struct upstream_entry **place = &service->upstreams;

	while (*place) {
		struct upstream_entry *entry = *place, *next = entry->next;
		bool used = entry->uses > 0;
		int code =
		    used ? entry_refresh(entry, draft, ret_changed) : entry_remove(entry, draft, ret_changed);

		if (code)
			return code;
		if (used)
			place = &entry->next;
		else
			*place = next;
	}
	return 0;
}

static void drop_if_idle(struct upstreams *upstreams, struct service_entry *service)
{
	if (service->upstreams || service->endpoints_count)
		return;
	map_remove(&upstreams->services, str_of(service->key));
	service_free(service);
}

int upstreams_settle(struct upstreams *upstreams, struct draft *draft, bool *ret_changed)
{
	struct service_entry *service;

	while ((service = upstreams->marked)) {
		int code = service_settle(service, draft, ret_changed);

		if (code)
			return code;
		upstreams->marked = service->next_marked;
		service->marked = false;
		drop_if_idle(upstreams, service);
	}
	return 0;
}

/* ---- life ---- */

static int read_store(struct upstreams *upstreams, enum kind kind)
{
	for (struct map_iter it = store_begin(upstreams->config.store, kind); map_next(&it);) {
		if (endpoints_come(upstreams, it.value))
			return -ENOMEM;
	}
	return 0;
}

int upstreams_reread(struct upstreams *upstreams)
{
	for (struct map_iter it = map_begin(&upstreams->services); map_next(&it);) {
		struct service_entry *service = it.value;

		while (service->endpoints_count)
			service_remove_endpoints(service, service->endpoints[0]);
		service_mark(upstreams, service);
	}
	if (read_store(upstreams, KIND_ENDPOINTS) || read_store(upstreams, KIND_ENDPOINTSLICE))
		return -ENOMEM;
	return 0;
}

struct upstreams *upstreams_new(const struct upstreams_config *config)
{
	struct upstreams *upstreams = calloc(1, sizeof(*upstreams));

	if (upstreams)
		upstreams->config = *config;
	return upstreams;
}

struct upstreams *upstreams_free(struct upstreams *upstreams)
{
	if (!upstreams)
		return NULL;
	for (struct map_iter it = map_begin(&upstreams->by_id); map_next(&it);)
		entry_free(it.value);
	for (struct map_iter it = map_begin(&upstreams->services); map_next(&it);)
		service_free(it.value);
	map_done(&upstreams->by_id);
	map_done(&upstreams->by_port);
	map_done(&upstreams->services);
	dns_free(upstreams->dns);
	buf_done(&upstreams->key);
	free(upstreams);
	return NULL;
}
