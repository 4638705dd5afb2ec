/* v1 Service. */
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"
#include "conf/names.h"

#define SENDABLE_TEXT "an address that traffic can be sent to"

#define PORTS_MAX                  1000
#define CLUSTER_IPS_MAX            2 /* one of each family */
#define AFFINITY_TIMEOUT_DEFAULT_S 10800
#define AFFINITY_TIMEOUT_MAX_S     86400

/* ---- cluster IPs ---- */

static bool family_matches(const struct field *family, const struct ip *ip)
{
	static const char *const words[] = {"IPv4", "IPv6"};

	if (!field_present(family))
		return true;
	return field_word(*family, words, ARRAY_LEN(words), 0) == (ip->family == AF_INET6 ? 1 : 0);
}

static void check_families(const struct field *spec, const struct service *service)
{
	struct field families = field_list_at(spec, "ipFamilies");

	for (size_t i = 0; i < field_count(&families) && i < service->cluster_ip_count; i++) {
		struct field family = field_item(&families, i);
		if (!family_matches(&family, &service->cluster_ips[i]))
			field_complain(&family, "is not the family of the cluster IP");
	}
}

static void add_cluster_ip(const struct field *field, struct service *service)
{
	struct ip *ip = &service->cluster_ips[service->cluster_ip_count];

	if (!field_ip(*field, ip))
		return;
	if (decode_ip_is_unusable(ip) || ip_is_loopback(ip))
		field_expected(field, SENDABLE_TEXT);
	for (size_t i = 0; i < service->cluster_ip_count; i++)
		if (service->cluster_ips[i].family == ip->family)
			field_complain(field, "a second cluster IP of the same family");
	service->cluster_ip_count++;
}

static bool is_none(const struct field *field)
{
	return str_is(field_peek(field), "None");
}

static bool is_empty(const struct field *field)
{
	return !field_present(field) || (field->node->type == NODE_STRING && field->node->text.len == 0);
}

static void decode_one_cluster_ip(const struct field *field, struct service *service)
{
	if (is_none(field))
		service->headless = true;
	else if (!is_empty(field))
		add_cluster_ip(field, service);
}

/* clusterIPs is the whole list and clusterIP its first; old objects and files may give the latter only. */
static void decode_cluster_ips(const struct field *spec, struct service *service)
{
	struct field first = field_at(spec, "clusterIP");
	struct field list = field_list_at(spec, "clusterIPs");
	size_t count = field_count(&list);

	if (count > CLUSTER_IPS_MAX) {
		field_complain(&list, "expected at most %d addresses", CLUSTER_IPS_MAX);
		return;
	}
	service->cluster_ips = field_array(spec->reader, count > 0 ? count : 1, sizeof(struct ip));
	if (!service->cluster_ips)
		return;
	if (count == 0)
		decode_one_cluster_ip(&first, service);
	for (size_t i = 0; i < count; i++) {
		struct field item = field_item(&list, i);
		decode_one_cluster_ip(&item, service);
		if (i == 0 && !is_empty(&first) && !str_equal(field_peek(&first), field_peek(&item)))
			field_complain(&first, "differs from the first of spec.clusterIPs");
	}
}

/* An API server would have given out an address; with files nobody does. */
static void check_cluster_ips(const struct field *spec, const struct service *service)
{
	struct field field = field_at(spec, "clusterIP");

	if (service->headless && service->cluster_ip_count > 0)
		field_complain(&field, "\"None\" together with an address");
	if (spec->reader->file && service->cluster_ip_count == 0 && !service->headless &&
	    service->type != SERVICE_EXTERNAL_NAME)
		field_warn(&field, "none is given: nothing will be served on a cluster IP");
}

/* ---- ports ---- */

static void decode_target_port(const struct field *item, struct service_port *port)
{
	struct field field = field_at(item, "targetPort");

	port->target_port_name = "";
	port->target_port = port->port;
	if (!field_present(&field))
		return;
	if (field.node->type != NODE_STRING) {
		port->target_port = field_port(field, 0);
		return;
	}
	port->target_port = 0;
	port->target_port_name = field_name(field, name_is_port, "a port number or name");
}

static void decode_node_port(const struct field *item, enum service_type type, struct service_port *port)
{
	struct field field = field_at(item, "nodePort");
	bool allowed = type == SERVICE_NODE_PORT || type == SERVICE_LOAD_BALANCER;
	uint16_t number = (uint16_t)field_number(field, 0, UINT16_MAX, 0);

	if (number > 0 && !allowed)
		field_warn(&field, "ignored: the type is neither NodePort nor LoadBalancer");
	port->node_port = allowed ? number : 0;
	if (item->reader->file && type == SERVICE_NODE_PORT && port->node_port == 0)
		field_warn(&field, "none is given: nothing will be served on a node port");
}

static void check_port_against(const struct field *item, const struct service_port *port,
			       const struct service_port *other)
{
	if (port->protocol == other->protocol && port->port == other->port)
		field_complain(item, "the same port and protocol as another");
	if (port->name[0] != '\0' && strcmp(port->name, other->name) == 0)
		field_complain(item, "the same name as another port");
	if (port->node_port > 0 && port->protocol == other->protocol && port->node_port == other->node_port)
		field_complain(item, "the same node port as another");
}

static void decode_port(const struct field *item, size_t port_count, struct service *service)
{
	struct service_port *port = &service->ports[service->port_count];
	struct field name = field_at(item, "name");
	struct field number = field_at(item, "port");

	port->name = port_count > 1
			 ? field_name_required(name, name_is_label, "a name, since there are several ports")
			 : field_name(name, name_is_label, NAME_LABEL_TEXT);
	port->protocol = decode_protocol(field_at(item, "protocol"));
	if (!field_present(&number))
		field_expected(&number, "a port number");
	port->port = field_port(number, 0);
	port->app_protocol = field_text(field_at(item, "appProtocol"));
	decode_target_port(item, port);
	decode_node_port(item, service->type, port);
	for (size_t i = 0; i < service->port_count; i++)
		check_port_against(item, port, &service->ports[i]);
	service->port_count++;
}

static void decode_ports(const struct field *spec, struct service *service)
{
	struct field list = field_list_at(spec, "ports");
	size_t count = field_count(&list);

	if (count > PORTS_MAX) {
		field_complain(&list, "expected at most %d ports", PORTS_MAX);
		return;
	}
	if (count == 0 && !service->headless && service->type != SERVICE_EXTERNAL_NAME)
		field_expected(&list, "at least one port");
	service->ports = field_array(spec->reader, count, sizeof(*service->ports));
	for (struct field_iter it = field_maps(&list); service->ports && field_next(&it);)
		decode_port(&it.item, count, service);
}

/* ---- the rest ---- */

static bool decode_external_ip(struct field item, struct ip *ret)
{
	bool failed;

	item = field_droppable(item, &failed);
	if (!field_ip(item, ret))
		return false;
	if (decode_ip_is_unusable(ret) || ip_is_loopback(ret))
		field_expected(&item, SENDABLE_TEXT);
	return !failed;
}

static void decode_external_ips(const struct field *spec, struct service *service)
{
	struct field list = field_list_at(spec, "externalIPs");

	service->external_ips = field_array(spec->reader, field_count(&list), sizeof(struct ip));
	for (size_t i = 0; service->external_ips && i < field_count(&list); i++)
		service->external_ip_count += decode_external_ip(
		    field_item(&list, i), &service->external_ips[service->external_ip_count]);
}

/* A filter none of whose ranges can be read must not become no filter. */
static void decode_source_ranges(const struct field *spec, struct service *service)
{
	struct field list = field_list_at(spec, "loadBalancerSourceRanges");

	decode_cidrs(&list, &service->lb_source_ranges, &service->lb_source_range_count);
	if (field_count(&list) > 0 && service->lb_source_range_count == 0)
		field_complain(&list, "no usable range: all would be let in");
}

static enum traffic_policy decode_policy(struct field field)
{
	static const char *const words[] = {"Cluster", "Local"};

	_Static_assert(TRAFFIC_POLICY_CLUSTER == 0 && TRAFFIC_POLICY_LOCAL == 1, "in the order of the words");
	return (enum traffic_policy)field_word(field, words, ARRAY_LEN(words), TRAFFIC_POLICY_CLUSTER);
}

static void decode_affinity(const struct field *spec, struct service *service)
{
	static const char *const words[] = {"None", "ClientIP"};
	struct field config = field_map_at(spec, "sessionAffinityConfig");
	struct field client_ip = field_map_at(&config, "clientIP");

	service->affinity_client_ip =
	    field_word(field_at(spec, "sessionAffinity"), words, ARRAY_LEN(words), 0) == 1;
	service->affinity_timeout_s = (uint32_t)field_number(
	    field_at(&client_ip, "timeoutSeconds"), 1, AFFINITY_TIMEOUT_MAX_S, AFFINITY_TIMEOUT_DEFAULT_S);
}

static bool is_external_name(struct str name)
{
	if (name.len > 0 && name.p[name.len - 1] == '.')
		name.len--;
	return name_is_subdomain(name);
}

static void decode_external_name(const struct field *spec, struct service *service)
{
	struct field field = field_at(spec, "externalName");

	service->external_name = service->type == SERVICE_EXTERNAL_NAME
				     ? field_name_required(field, is_external_name, "a host name")
				     : "";
}

static enum service_type decode_type(struct field field)
{
	static const char *const words[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};

	_Static_assert(SERVICE_CLUSTER_IP == 0 && SERVICE_NODE_PORT == 1 && SERVICE_LOAD_BALANCER == 2 &&
			   SERVICE_EXTERNAL_NAME == 3,
		       "in the order of the words");
	return (enum service_type)field_word(field, words, ARRAY_LEN(words), SERVICE_CLUSTER_IP);
}

void decode_service(const struct field *root, struct object *object)
{
	struct service *service = (struct service *)object;
	struct field spec = field_map_at(root, "spec");
	struct field selector = field_map_at(&spec, "selector");

	service->type = decode_type(field_at(&spec, "type"));
	decode_cluster_ips(&spec, service);
	check_cluster_ips(&spec, service);
	check_families(&spec, service);
	decode_ports(&spec, service);
	decode_external_ips(&spec, service);
	decode_source_ranges(&spec, service);
	decode_affinity(&spec, service);
	decode_external_name(&spec, service);
	decode_lb_ingress(root, &service->lb_ingress, &service->lb_ingress_count);
	service->internal_policy = decode_policy(field_at(&spec, "internalTrafficPolicy"));
	service->external_policy = decode_policy(field_at(&spec, "externalTrafficPolicy"));
	service->health_check_node_port =
	    (uint16_t)field_number(field_at(&spec, "healthCheckNodePort"), 0, UINT16_MAX, 0);
	service->publish_not_ready = field_bool(field_at(&spec, "publishNotReadyAddresses"), false);
	service->has_selector = field_count(&selector) > 0;
}
