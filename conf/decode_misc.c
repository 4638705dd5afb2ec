/* The small kinds: ConfigMap, Namespace, Node, ServiceCIDR, Lease. */
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"

#define AUTOSCALER_TAINT "ToBeDeletedByClusterAutoscaler"

void decode_config_map(const struct field *root, struct object *object)
{
	struct config_map *map = (struct config_map *)object;
	struct field data = field_map_at(root, "data");

	if (decode_data_fits(&data))
		decode_kv_list(&data, NULL, &map->data);
}

void decode_namespace(const struct field *root, struct object *object)
{
	/* Its labels are all that is read. */
	(void)root;
	(void)object;
}

/* ---- Node ---- */

static void decode_addresses(const struct field *list, const char *type, struct ip **ret_items,
			     size_t *ret_count)
{
	struct ip *items = field_array(list->reader, field_count(list), sizeof(*items));
	size_t count = 0;

	for (size_t i = 0; items && i < field_count(list); i++) {
		struct field item = field_item(list, i);
		struct field item_type = field_at(&item, "type");
		if (str_is(field_peek(&item_type), type))
			count += field_ip(field_at(&item, "address"), &items[count]);
	}
	*ret_items = items;
	*ret_count = count;
}

static bool has_taint(const struct field *spec, const char *wanted)
{
	struct field list = field_list_at(spec, "taints");

	for (size_t i = 0; i < field_count(&list); i++) {
		struct field item = field_item(&list, i);
		struct field key = field_at(&item, "key");
		if (str_is(field_peek(&key), wanted))
			return true;
	}
	return false;
}

/* podCIDRs is the whole list and podCIDR its first; old objects have the latter only. */
static void decode_pod_cidrs(const struct field *spec, struct node_object *node)
{
	struct field list = field_list_at(spec, "podCIDRs");
	struct field first = field_at(spec, "podCIDR");

	if (field_count(&list) > 0) {
		decode_cidrs(&list, &node->pod_cidrs, &node->pod_cidr_count);
		return;
	}
	node->pod_cidrs = field_array(spec->reader, field_present(&first), sizeof(*node->pod_cidrs));
	if (node->pod_cidrs)
		node->pod_cidr_count = field_cidr(first, &node->pod_cidrs[0]);
}

void decode_node_object(const struct field *root, struct object *object)
{
	struct node_object *node = (struct node_object *)object;
	bool failed;
	struct field lenient = field_droppable(*root, &failed);
	struct field spec = field_map_at(&lenient, "spec"), status = field_map_at(&lenient, "status");
	struct field addresses = field_list_at(&status, "addresses");

	decode_addresses(&addresses, "InternalIP", &node->internal_ips, &node->internal_ip_count);
	decode_addresses(&addresses, "ExternalIP", &node->external_ips, &node->external_ip_count);
	decode_pod_cidrs(&spec, node);
	node->autoscaler_taint = has_taint(&spec, AUTOSCALER_TAINT);
}

/* ---- ServiceCIDR, Lease ---- */

void decode_service_cidr(const struct field *root, struct object *object)
{
	struct service_cidr *service_cidr = (struct service_cidr *)object;
	struct field spec = field_map_at(root, "spec");
	struct field list = field_list_at(&spec, "cidrs");

	decode_cidrs(&list, &service_cidr->cidrs, &service_cidr->cidr_count);
}

void decode_lease(const struct field *root, struct object *object)
{
	struct lease *lease = (struct lease *)object;
	struct field spec = field_map_at(root, "spec");

	lease->holder_identity = field_text(field_at(&spec, "holderIdentity"));
	lease->duration_s = (uint32_t)field_number(field_at(&spec, "leaseDurationSeconds"), 0, INT32_MAX, 0);
	lease->transitions = (uint32_t)field_number(field_at(&spec, "leaseTransitions"), 0, INT32_MAX, 0);
	lease->renew_time_us = field_time_us(field_at(&spec, "renewTime"));
}
