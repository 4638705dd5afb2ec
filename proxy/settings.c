/* Chooses by family among the addresses and prefixes that flags and objects give. */
#include "proxy/settings.h"

#include <errno.h>
#include <stdlib.h>

#define LABEL_ZONE "topology.kubernetes.io/zone"

static struct cidr *copy_cidrs(struct arena *arena, const struct cidr *cidrs, size_t count)
{
	struct cidr *copy = arena_array(arena, count, sizeof(*copy));

	if (copy && count > 0)
		memcpy(copy, cidrs, count * sizeof(*copy));
	return copy;
}

int settings_copy(struct arena *arena, const struct proxy_config *config, struct proxy_config *ret)
{
	struct proxy_config copy = *config;

	copy.node_name = arena_dup(arena, str_of(config->node_name));
	copy.cluster_cidrs = copy_cidrs(arena, config->cluster_cidrs, config->cluster_cidr_count);
	copy.nodeport_cidrs = copy_cidrs(arena, config->nodeport_cidrs, config->nodeport_cidr_count);
	if (config->pod_interface)
		copy.pod_interface = arena_dup(arena, str_of(config->pod_interface));
	if (config->pod_interface && !copy.pod_interface)
		return -ENOMEM;
	if (!copy.node_name || !copy.cluster_cidrs || !copy.nodeport_cidrs)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

static struct ip first_of(const struct ip *ips, size_t count, int family)
{
	for (size_t i = 0; i < count; i++)
		if (ips[i].family == family)
			return ips[i];
	return (struct ip){0};
}

/* Row 53: the address given, else the Node's, internal ones first. */
static struct ip node_ip(const struct proxy_config *config, const struct node_object *node, int family)
{
	struct ip ip = first_of(config->node_ips, 2, family);

	if (!ip.family && node)
		ip = first_of(node->internal_ips, node->internal_ip_count, family);
	if (!ip.family && node)
		ip = first_of(node->external_ips, node->external_ip_count, family);
	return ip;
}

/* Those of the family, appended to list, which has room. */
static size_t pick(struct cidr *list, size_t count, const struct cidr *from, size_t from_count, int family)
{
	for (size_t i = 0; i < from_count; i++)
		if (from[i].ip.family == family)
			list[count++] = from[i];
	return count;
}

static int plan_pods(struct arena *arena, const struct proxy_config *config, const struct node_object *node,
		     struct plan_config *plan)
{
	const struct cidr *from = config->cluster_cidrs;
	size_t count = config->cluster_cidr_count;
	struct cidr *cidrs;

	if (config->pods_by_node) {
		from = node ? node->pod_cidrs : NULL;
		count = node ? node->pod_cidr_count : 0;
	}
	cidrs = arena_array(arena, count, sizeof(*cidrs));
	if (!cidrs)
		return -ENOMEM;
	plan->cluster_cidrs = cidrs;
	plan->cluster_cidr_count = pick(cidrs, 0, from, count, plan->family);
	return 0;
}

static int plan_nodeports(struct arena *arena, const struct proxy_config *config, struct plan_config *plan)
{
	struct cidr *cidrs = arena_array(arena, config->nodeport_cidr_count + 1, sizeof(*cidrs));

	if (!cidrs)
		return -ENOMEM;
	if (!config->nodeport_primary && config->nodeport_cidr_count > 0)
		plan->nodeport_cidr_count =
		    pick(cidrs, 0, config->nodeport_cidrs, config->nodeport_cidr_count, plan->family);
	else if (plan->node_ip.family)
		cidrs[plan->nodeport_cidr_count++] =
		    (struct cidr){.ip = plan->node_ip, .prefix_bits = (uint8_t)(ip_len(&plan->node_ip) * 8)};
	/* A prefix of length 0 is every address: the rule for "all but loopback" says that better. */
	for (size_t i = 0; i < plan->nodeport_cidr_count; i++)
		if (cidrs[i].prefix_bits == 0)
			plan->nodeport_cidr_count = 0;
	plan->nodeport_cidrs = cidrs;
	return 0;
}

static int cidr_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cidr));
}

static int plan_service_cidrs(struct arena *arena, const struct store *store, struct plan_config *plan)
{
	size_t room = 0, count = 0;
	struct cidr *cidrs;

	for (struct map_iter it = store_begin(store, KIND_SERVICECIDR); map_next(&it);)
		room += ((const struct service_cidr *)it.value)->cidr_count;
	cidrs = arena_array(arena, room, sizeof(*cidrs));
	if (!cidrs)
		return -ENOMEM;
	for (struct map_iter it = store_begin(store, KIND_SERVICECIDR); map_next(&it);) {
		const struct service_cidr *object = it.value;

		count = pick(cidrs, count, object->cidrs, object->cidr_count, plan->family);
	}
	if (count > 1)
		qsort(cidrs, count, sizeof(*cidrs), cidr_compare); /* the store has no order */
	plan->service_cidrs = cidrs;
	plan->service_cidr_count = count;
	return 0;
}

int settings_plan(struct arena *arena, const struct proxy_config *config, const struct node_object *node,
		  const struct store *store, int family, struct plan_config *ret)
{
	struct plan_config plan = {.family = family,
				   .masquerade_all = config->masquerade_all,
				   .pod_interface = config->pod_interface,
				   .pod_interface_is_prefix = config->pod_interface_is_prefix,
				   .node_ip = node_ip(config, node, family)};
	int code = plan_pods(arena, config, node, &plan);

	if (!code)
		code = plan_nodeports(arena, config, &plan);
	if (!code)
		code = plan_service_cidrs(arena, store, &plan);
	if (!code)
		*ret = plan;
	return code;
}

static bool same_cidrs(const struct cidr *a, size_t a_count, const struct cidr *b, size_t b_count)
{
	return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof(*a)) == 0);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool settings_equal(const struct plan_config *a, const struct plan_config *b)
{
	return a->family == b->family && a->masquerade_all == b->masquerade_all &&
	       same_text(a->pod_interface, b->pod_interface) &&
	       a->pod_interface_is_prefix == b->pod_interface_is_prefix &&
	       ip_equal(&a->node_ip, &b->node_ip) &&
	       same_cidrs(a->cluster_cidrs, a->cluster_cidr_count, b->cluster_cidrs, b->cluster_cidr_count) &&
	       same_cidrs(a->nodeport_cidrs, a->nodeport_cidr_count, b->nodeport_cidrs,
			  b->nodeport_cidr_count) &&
	       same_cidrs(a->service_cidrs, a->service_cidr_count, b->service_cidrs, b->service_cidr_count);
}

const char *settings_zone(const struct node_object *node)
{
	const char *zone = node ? kv_get(&node->meta.labels, LABEL_ZONE) : NULL;

	return zone ? zone : "";
}
