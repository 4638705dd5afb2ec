/* The judgement of UDP entries, and the memory of frontends that have just vanished. */
#include "proxy/udp.h"

#include <ifaddrs.h>

#include "base/cleanup.h"

static char present; /* what the sets made of maps hold */

static unsigned table_index_of(int family)
{
	return family == AF_INET ? 0 : 1;
}

static struct str addr_key(const struct endpoint_addr *addr)
{
	return (struct str){(const char *)addr, sizeof(*addr)};
}

/* ---- changes ---- */

static bool same_frontend(const struct frontend *a, const struct frontend *b)
{
	return a->owned && b->owned && a->protocol == b->protocol && a->port == b->port &&
	       ip_equal(&a->ip, &b->ip);
}

static bool note_gone(struct udp *udp, unsigned table_index, const struct service_state *before)
{
	bool any = false;

	for (size_t i = 0; before && i < before->frontend_count; i++) {
		const struct frontend *frontend = &before->frontends[i];
		struct endpoint_addr addr = {frontend->ip, frontend->port};

		if (!frontend->owned || frontend->protocol != PROTOCOL_UDP ||
		    table_frontend_owner(udp->tables[table_index], &addr, PROTOCOL_UDP))
			continue;
		/* Out of memory: entries to it stay until they expire. */
		(void)map_set(&udp->gone[table_index], addr_key(&addr), &present, NULL);
		any = true;
	}
	return any;
}

/* An endpoint that only changed its place counts too: a sweep more is better than one too few. */
static bool lost_endpoints(const struct endpoint_set *before, const struct endpoint_set *now)
{
	for (size_t i = 0; i < before->count; i++)
		if (i >= now->count || memcmp(&before->endpoints[i].addr, &now->endpoints[i].addr,
					      sizeof(struct endpoint_addr)) != 0)
			return true;
	return false;
}

static bool port_changed(const struct service_port_state *before, const struct service_port_state *now)
{
	if (!before || before->protocol != now->protocol || before->any != now->any)
		return true;
	for (size_t p = 0; p < POLICY_COUNT; p++)
		if (lost_endpoints(&before->sets[p], &now->sets[p]))
			return true;
	return false;
}

bool udp_changed(struct udp *udp, unsigned table_index, const struct service_state *before,
		 const struct service_state *now)
{
	if (note_gone(udp, table_index, before))
		return true;
	for (size_t i = 0; now && i < now->port_count; i++)
		if (now->ports[i].protocol == PROTOCOL_UDP &&
		    port_changed(service_state_port(before, now->ports[i].name), &now->ports[i]))
			return true;
	for (size_t i = 0; now && i < now->frontend_count; i++) {
		bool known = before && i < before->frontend_count &&
			     same_frontend(&before->frontends[i], &now->frontends[i]);

		if (now->frontends[i].protocol == PROTOCOL_UDP && now->frontends[i].owned && !known)
			return true;
	}
	return false;
}

/* ---- sweeps ---- */

void udp_sweep_begins(struct udp *udp, int family)
{
	struct map *gone = &udp->gone[table_index_of(family)];
	struct ifaddrs *list = NULL;

	udp_sweep_ends(udp);
	udp->gone_before = *gone;
	*gone = (struct map){0};
	if (getifaddrs(&list))
		return;
	for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
		struct endpoint_addr addr;

		if (!at->ifa_addr || at->ifa_addr->sa_family != family ||
		    endpoint_addr_from_sockaddr(at->ifa_addr, &addr))
			continue;
		(void)map_set(&udp->local_addresses, (struct str){(const char *)&addr.ip, sizeof(addr.ip)},
			      &present, NULL);
	}
	freeifaddrs(list);
}

void udp_sweep_ends(struct udp *udp)
{
	map_done(&udp->gone_before);
	map_done(&udp->local_addresses);
}

static bool is_local(const struct udp *udp, const struct ip *ip)
{
	return map_get(&udp->local_addresses, (struct str){(const char *)ip, sizeof(*ip)}) != NULL;
}

static const struct service_port_state *port_at(const struct service_state *state,
						const struct endpoint_addr *frontend)
{
	for (size_t i = 0; state && i < state->frontend_count; i++) {
		const struct frontend *candidate = &state->frontends[i];

		if (candidate->protocol == PROTOCOL_UDP && candidate->port == frontend->port &&
		    ip_equal(&candidate->ip, &frontend->ip))
			return &state->ports[candidate->port_index];
	}
	return NULL;
}

static bool still_served(const struct udp *udp, const struct proxied *proxied, int family, const char *port,
			 const struct endpoint_addr *server)
{
	struct service_request request;

	if (!proxied->service)
		return false;
	udp->request(udp->ctx, proxied, family, &request);
	for (size_t i = 0; i < proxied->service->port_count; i++) {
		struct endpoint_query query;

		if (strcmp(proxied->service->ports[i].name, port) != 0)
			continue;
		query = service_query(&request, &proxied->service->ports[i]);
		return endpoints_serve(request.objects, request.object_count, &query, server);
	}
	return false;
}

/* Judges by one frontend: the address itself, or the node port. */
static bool stale_at(const struct udp *udp, const struct conntrack_entry *entry,
		     const struct endpoint_addr *frontend, bool *ret_known)
{
	int family = entry->to.ip.family;
	unsigned index = table_index_of(family);
	bool translated = memcmp(&entry->to, &entry->server, sizeof(entry->to)) != 0;
	const struct service_port_state *port;
	struct member *owner = table_frontend_owner(udp->tables[index], frontend, PROTOCOL_UDP);

	*ret_known = owner != NULL;
	if (!owner)
		return translated && map_get(&udp->gone_before, addr_key(frontend));
	port = port_at(owner->applied[index], frontend);
	if (!port)
		return false;
	return translated ? !still_served(udp, proxied_of(owner), family, port->name, &entry->server)
			  : port->any;
}

bool udp_stale(const struct udp *udp, const struct conntrack_entry *entry)
{
	struct endpoint_addr node_port = {.port = entry->to.port};
	bool known, stale = stale_at(udp, entry, &entry->to, &known);

	if (known || stale)
		return stale;
	return is_local(udp, &entry->to.ip) && stale_at(udp, entry, &node_port, &known);
}

void udp_done(struct udp *udp)
{
	udp_sweep_ends(udp);
	for (size_t i = 0; i < TABLE_COUNT; i++)
		map_done(&udp->gone[i]);
}
