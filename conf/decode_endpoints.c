/* v1 Endpoints and discovery.k8s.io EndpointSlice (v1, v1beta1), both to groups of endpoints. */
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"
#include "conf/names.h"

#define SLICE_ENDPOINTS_MAX 1000 /* the API server's limit */
#define PORTS_MAX           1000

#define LABEL_SERVICE_NAME "kubernetes.io/service-name"
#define LABEL_MANAGED_BY   "endpointslice.kubernetes.io/managed-by"
#define MIRRORING          "endpointslicemirroring-controller.k8s.io"
#define TOPOLOGY_NODE      "kubernetes.io/hostname"
#define TOPOLOGY_ZONE      "topology.kubernetes.io/zone"

/* ---- ports, the same in both kinds ---- */

static bool is_name_taken(const struct endpoint_group *group, const char *name)
{
	for (size_t i = 0; i < group->port_count; i++)
		if (strcmp(group->ports[i].name, name) == 0)
			return true;
	return false;
}

static void decode_port(const struct field *item, struct endpoint_group *group)
{
	struct endpoint_port *port = &group->ports[group->port_count];
	struct field name = field_at(item, "name");

	port->name =
	    field_peek(&name).len > 0 ? field_name(name, name_is_label, NAME_LABEL_TEXT) : field_text(name);
	port->protocol = decode_protocol(field_at(item, "protocol"));
	port->port = field_port(field_at(item, "port"), 0);
	port->app_protocol = field_text(field_at(item, "appProtocol"));
	if (is_name_taken(group, port->name))
		field_expected(&name, "a name that no other port has");
	group->port_count++;
}

/* A port without a number means every port, which no service port can be matched with: left out. */
static void decode_ports(const struct field *object, struct endpoint_group *group)
{
	struct field list = field_list_at(object, "ports");
	size_t count = field_count(&list);

	if (count > PORTS_MAX) {
		field_complain(&list, "expected at most %d ports", PORTS_MAX);
		return;
	}
	group->ports = field_array(object->reader, count, sizeof(*group->ports));
	for (struct field_iter it = field_maps(&list); group->ports && field_next(&it);) {
		struct field number = field_at(&it.item, "port");
		if (field_present(&number))
			decode_port(&it.item, group);
	}
}

static void decode_endpoint_ip(const struct field *field, struct ip *ret)
{
	if (!field_present(field))
		field_expected(field, "an IP address");
	else if (field_ip(*field, ret) && decode_ip_is_unusable(ret))
		field_expected(field, "an address that traffic can be sent to");
}

/* ---- Endpoints ---- */

/* A subset's groups while it is read. */
struct subset {
	struct endpoint_group *v4, *v6;
};

static size_t count_addresses(const struct node *list, uint16_t family)
{
	size_t count = 0;

	for (size_t i = 0; list && list->type == NODE_LIST && i < list->count; i++) {
		const struct node *text = node_get(list->items[i], "ip");
		struct ip ip;
		count += text && text->type == NODE_STRING && ip_parse(text->text, &ip) == 0 &&
			 ip.family == family;
	}
	return count;
}

static size_t count_family(const struct node *subset, uint16_t family)
{
	return count_addresses(node_get(subset, "addresses"), family) +
	       count_addresses(node_get(subset, "notReadyAddresses"), family);
}

static size_t count_groups(const struct field *subsets)
{
	size_t count = 0;

	for (size_t i = 0; i < field_count(subsets); i++) {
		const struct node *subset = subsets->node->items[i];
		count += count_family(subset, AF_INET) > 0 ? 1 : 0;
		count += count_family(subset, AF_INET6) > 0 ? 1 : 0;
	}
	return count;
}

static void decode_address(const struct field *item, bool ready, const char *previous_node,
			   struct endpoint *ret)
{
	struct field ip = field_at(item, "ip");

	*ret = (struct endpoint){.ready = ready, .serving = ready, .zone = ""};
	decode_endpoint_ip(&ip, &ret->ip);
	ret->node_name = decode_text_like(field_at(item, "nodeName"), previous_node);
	ret->hostname = field_text(field_at(item, "hostname"));
}

static void decode_addresses(const struct field *addresses, bool ready, struct subset *subset)
{
	bool failed;
	struct field list = field_droppable(*addresses, &failed);
	const char *previous_node = NULL;

	for (struct field_iter it = field_maps(&list); field_next(&it);) {
		struct endpoint endpoint;
		struct endpoint_group *group;
		failed = false;
		decode_address(&it.item, ready, previous_node, &endpoint);
		if (failed)
			continue;
		group = endpoint.ip.family == AF_INET ? subset->v4 : subset->v6;
		group->endpoints[group->endpoint_count++] = endpoint;
		previous_node = endpoint.node_name;
	}
}

/* Appends a group for each family that has addresses. */
static void decode_subset(const struct field *item, struct endpoints *endpoints)
{
	struct field ready = field_list_at(item, "addresses");
	struct field not_ready = field_list_at(item, "notReadyAddresses");
	struct endpoint_group v4 = {.family = AF_INET}, v6 = {.family = AF_INET6};
	struct subset subset = {&v4, &v6};

	decode_ports(item, &v4);
	v6.ports = v4.ports;
	v6.port_count = v4.port_count;
	v4.endpoints = field_array(item->reader, count_family(item->node, AF_INET), sizeof(struct endpoint));
	v6.endpoints = field_array(item->reader, count_family(item->node, AF_INET6), sizeof(struct endpoint));
	if (item->reader->out_of_memory)
		return;
	decode_addresses(&ready, true, &subset);
	decode_addresses(&not_ready, false, &subset);
	if (v4.endpoint_count > 0)
		endpoints->groups[endpoints->group_count++] = v4;
	if (v6.endpoint_count > 0)
		endpoints->groups[endpoints->group_count++] = v6;
}

void decode_endpoints(const struct field *root, struct object *object)
{
	struct endpoints *endpoints = (struct endpoints *)object;
	struct field subsets = field_list_at(root, "subsets");

	endpoints->service_name = object->name;
	endpoints->groups = field_array(root->reader, count_groups(&subsets), sizeof(struct endpoint_group));
	for (struct field_iter it = field_maps(&subsets); field_next(&it);)
		decode_subset(&it.item, endpoints);
}

/* ---- EndpointSlice ---- */

/* What an absent condition means is the API's: ready and serving unless told otherwise, not terminating. */
static void decode_conditions(const struct field *item, struct endpoint *endpoint)
{
	struct field conditions = field_map_at(item, "conditions");

	endpoint->ready = field_bool(field_at(&conditions, "ready"), true);
	endpoint->serving = field_bool(field_at(&conditions, "serving"), true);
	endpoint->terminating = field_bool(field_at(&conditions, "terminating"), false);
}

/* v1 has nodeName and zone; v1beta1 has them in its topology. */
static void decode_place(const struct field *item, const struct endpoint *previous, struct endpoint *endpoint)
{
	struct field node_name = field_at(item, "nodeName");
	struct field zone = field_at(item, "zone");
	struct field topology = field_map_at(item, "topology");

	if (!field_present(&node_name))
		node_name = field_at(&topology, TOPOLOGY_NODE);
	if (!field_present(&zone))
		zone = field_at(&topology, TOPOLOGY_ZONE);
	endpoint->node_name = decode_text_like(node_name, previous ? previous->node_name : NULL);
	endpoint->zone = decode_text_like(zone, previous ? previous->zone : NULL);
	endpoint->hostname = field_text(field_at(item, "hostname"));
}

/* [{name: a}, {name: b}] */
static void decode_names(const struct field *hints, const char *key, struct string_list *ret)
{
	struct field list = field_list_at(hints, key);

	ret->items = field_array(hints->reader, field_count(&list), sizeof(*ret->items));
	for (struct field_iter it = field_maps(&list); ret->items && field_next(&it);)
		ret->items[ret->count++] = field_text(field_at(&it.item, "name"));
}

static void decode_slice_endpoint(const struct field *item, uint16_t family, const struct endpoint *previous,
				  struct endpoint *ret)
{
	struct field addresses = field_list_at(item, "addresses");
	struct field first = field_count(&addresses) > 0 ? field_item(&addresses, 0) : addresses;
	struct field hints = field_map_at(item, "hints");

	*ret = (struct endpoint){0};
	decode_endpoint_ip(&first, &ret->ip);
	if (ret->ip.family != 0 && ret->ip.family != family)
		field_expected(&first, "an address of the slice's addressType");
	decode_conditions(item, ret);
	decode_place(item, previous, ret);
	decode_names(&hints, "forZones", &ret->hint_zones);
	decode_names(&hints, "forNodes", &ret->hint_nodes);
}

static void decode_slice_endpoints(const struct field *root, struct endpoint_group *group)
{
	bool failed;
	struct field given = field_list_at(root, "endpoints");
	struct field list = field_droppable(given, &failed);
	size_t count = field_count(&list);

	if (count > SLICE_ENDPOINTS_MAX) {
		field_complain(&given, "expected at most %d endpoints in one slice", SLICE_ENDPOINTS_MAX);
		return;
	}
	group->endpoints = field_array(root->reader, count, sizeof(*group->endpoints));
	for (struct field_iter it = field_maps(&list); group->endpoints && field_next(&it);) {
		struct endpoint *next = &group->endpoints[group->endpoint_count];
		failed = false;
		decode_slice_endpoint(&it.item, group->family, group->endpoint_count > 0 ? next - 1 : NULL,
				      next);
		group->endpoint_count += !failed;
	}
}

static uint16_t decode_address_type(const struct field *root)
{
	static const char *const words[] = {"IPv4", "IPv6", "FQDN"};
	static const uint16_t families[] = {AF_INET, AF_INET6, 0};
	struct field field = field_at(root, "addressType");

	if (!field_present(&field))
		field_expected(&field, "IPv4, IPv6 or FQDN");
	return families[field_word(field, words, ARRAY_LEN(words), 0)];
}

void decode_endpointslice(const struct field *root, struct object *object)
{
	struct endpoints *endpoints = (struct endpoints *)object;
	struct field meta = field_map_at(root, "metadata");
	struct field labels = field_map_at(&meta, "labels");
	struct field managed_by = field_at(&labels, LABEL_MANAGED_BY);

	endpoints->service_name = field_text(field_at(&labels, LABEL_SERVICE_NAME));
	endpoints->mirrored = str_is(field_peek(&managed_by), MIRRORING);
	endpoints->groups = field_array(root->reader, 1, sizeof(*endpoints->groups));
	if (!endpoints->groups)
		return;
	endpoints->group_count = 1;
	endpoints->groups[0].family = decode_address_type(root);
	decode_ports(root, &endpoints->groups[0]);
	if (endpoints->groups[0].family != 0)
		decode_slice_endpoints(root, &endpoints->groups[0]);
}
