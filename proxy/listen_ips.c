/* Chooses among the addresses of the node's interfaces. */
#include "proxy/listen_ips.h"

#include <errno.h>
#include <ifaddrs.h>

static bool takes_all(const struct plan_config *plan)
{
	return plan->nodeport_cidr_count == 0;
}

static bool holds(const struct plan_config *plan, const struct ip *ip)
{
	for (size_t i = 0; i < plan->nodeport_cidr_count; i++)
		if (cidr_contains(&plan->nodeport_cidrs[i], ip))
			return true;
	return false;
}

static void choose(const struct plan_config *plan, const struct listen_ips *local, struct listen_ips *list)
{
	if (takes_all(plan)) {
		list->items[list->count++] = (struct ip){.family = (uint16_t)plan->family};
		return;
	}
	for (size_t i = 0; i < local->count; i++)
		if (holds(plan, &local->items[i]))
			list->items[list->count++] = local->items[i];
}

int listen_ips_choose(struct arena *arena, const struct plan_config *ipv4, const struct plan_config *ipv6,
		      const struct listen_ips *local, struct listen_ips *ret)
{
	struct listen_ips list = {.items = arena_array(arena, local->count + 2, sizeof(*list.items))};

	if (!list.items)
		return -ENOMEM;
	if (takes_all(ipv4) && takes_all(ipv6)) {
		list.count = 1; /* zeroed: family 0 */
	} else {
		choose(ipv4, local, &list);
		choose(ipv6, local, &list);
	}
	*ret = list;
	return 0;
}

int listen_ips_local(struct arena *arena, struct listen_ips *ret)
{
	struct listen_ips list = {0};
	struct ifaddrs *all;
	size_t room = 0;

	if (getifaddrs(&all) != 0)
		return -errno;
	for (const struct ifaddrs *each = all; each; each = each->ifa_next)
		room++;
	list.items = arena_array(arena, room + 1, sizeof(*list.items));
	for (const struct ifaddrs *each = all; list.items && each; each = each->ifa_next) {
		struct endpoint_addr addr;

		if (each->ifa_addr && endpoint_addr_from_sockaddr(each->ifa_addr, &addr) == 0 &&
		    !ip_is_link_local(&addr.ip))
			list.items[list.count++] = addr.ip;
	}
	freeifaddrs(all);
	if (!list.items)
		return -ENOMEM;
	*ret = list;
	return 0;
}
