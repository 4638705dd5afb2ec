/* Findings across Services: every address and port a Service wants is put into one table; who comes second
 * (by namespace and name) is told. */
#include "proxy/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct check {
	const struct store *store;
	proxy_check_fn *fn;
	void *ctx;
	struct map claims; /* "10.96.0.1:80/TCP" or "node port 30080/TCP" -> const struct service * */
};

static int compare_objects(const void *a, const void *b)
{
	const struct object *left = *(const struct object *const *)a,
			    *right = *(const struct object *const *)b;
	int order = strcmp(left->ns, right->ns);

	return order ? order : strcmp(left->name, right->name);
}

/* NULL-terminated, by namespace and name; NULL when out of memory. */
static const struct object **sorted_objects(const struct store *store, enum kind kind)
{
	const struct object **objects = calloc(store_count(store, kind) + 1, sizeof(const struct object *));
	size_t count = 0;

	if (!objects)
		return NULL;
	for (struct map_iter it = store_begin(store, kind); map_next(&it);)
		objects[count++] = it.value;
	qsort(objects, count, sizeof(const struct object *), compare_objects);
	return objects;
}

static int claim(struct check *check, const struct service *service, const char *field, const char *what)
{
	const struct service *first = map_get(&check->claims, str_of(what));
	char why[512];

	if (!first)
		return map_set(&check->claims, str_of(what), (void *)(uintptr_t)service, NULL);
	if (first == service)
		return 0;
	(void)snprintf(why, sizeof(why), "%s is taken by Service %s/%s already", what, first->meta.ns,
		       first->meta.name);
	check->fn(check->ctx, &service->meta, field, why);
	return 0;
}

static int claim_address(struct check *check, const struct service *service, const char *field,
			 const struct ip *ip)
{
	char text[ADDR_TEXT_MAX], what[ADDR_TEXT_MAX + 32];
	int code = 0;

	for (size_t i = 0; i < service->port_count && code == 0; i++) {
		struct endpoint_addr addr = {.ip = *ip, .port = service->ports[i].port};

		(void)snprintf(what, sizeof(what), "%s/%s", endpoint_addr_format(&addr, text),
			       protocol_name(service->ports[i].protocol));
		code = claim(check, service, field, what);
	}
	return code;
}

static int claim_node_ports(struct check *check, const struct service *service)
{
	int code = 0;

	for (size_t i = 0; i < service->port_count && code == 0; i++) {
		const struct service_port *port = &service->ports[i];
		char field[64], what[64];

		if (port->node_port == 0)
			continue;
		(void)snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", i);
		(void)snprintf(what, sizeof(what), "node port %u/%s", (unsigned)port->node_port,
			       protocol_name(port->protocol));
		code = claim(check, service, field, what);
	}
	return code;
}

static int check_service(struct check *check, const struct service *service)
{
	int code = claim_node_ports(check, service);

	for (size_t i = 0; i < service->cluster_ip_count && code == 0; i++)
		code = claim_address(check, service, "spec.clusterIPs", &service->cluster_ips[i]);
	for (size_t i = 0; i < service->external_ip_count && code == 0; i++)
		code = claim_address(check, service, "spec.externalIPs", &service->external_ips[i]);
	for (size_t i = 0; i < service->lb_ingress_count && code == 0; i++)
		if (service->lb_ingress[i].ip.family && !service->lb_ingress[i].ip_mode_proxy)
			code = claim_address(check, service, "status.loadBalancer.ingress",
					     &service->lb_ingress[i].ip);
	return code;
}

static void check_endpoints(struct check *check, const struct endpoints *endpoints)
{
	char why[512];

	if (!endpoints->service_name[0]) {
		check->fn(check->ctx, &endpoints->meta, "metadata.labels",
			  "has no label kubernetes.io/service-name, so it belongs to no Service");
		return;
	}
	if (store_get(check->store, KIND_SERVICE, endpoints->meta.ns, endpoints->service_name))
		return;
	(void)snprintf(why, sizeof(why), "there is no Service %s/%s for these endpoints", endpoints->meta.ns,
		       endpoints->service_name);
	check->fn(check->ctx, &endpoints->meta, "", why);
}

int proxy_check(const struct store *store, proxy_check_fn *fn, void *ctx)
{
	static const enum kind endpoint_kinds[] = {KIND_ENDPOINTS, KIND_ENDPOINTSLICE};
	struct check check = {.store = store, .fn = fn, .ctx = ctx};
	cleanup_free const struct object **services = sorted_objects(store, KIND_SERVICE);
	int code = services ? 0 : -ENOMEM;

	for (size_t i = 0; code == 0 && services[i]; i++)
		code = check_service(&check, (const struct service *)(const void *)services[i]);
	map_done(&check.claims);
	for (size_t kind = 0; code == 0 && kind < ARRAY_LEN(endpoint_kinds); kind++) {
		cleanup_free const struct object **objects = sorted_objects(store, endpoint_kinds[kind]);

		if (!objects)
			return -ENOMEM;
		for (size_t i = 0; objects[i]; i++)
			check_endpoints(&check, (const struct endpoints *)(const void *)objects[i]);
	}
	return code;
}
