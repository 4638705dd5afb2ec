/* From a Service to its state in one family: ports with their endpoint sets, and the addresses clients knock
 * at. */
#include "proxy/service.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define LABEL_HEADLESS   "service.kubernetes.io/headless"
#define LABEL_PROXY_NAME "service.kubernetes.io/service-proxy-name"
#define NAMES_BYTES_MAX  240 /* a chain's name, its prefix included, has at most 255 */

/* ---- which Services ---- */

bool service_counts(const struct service *service)
{
	const struct object *meta = &service->meta;

	return service->type != SERVICE_EXTERNAL_NAME && !service->headless &&
	       service->cluster_ip_count > 0 && !kv_get(&meta->labels, LABEL_PROXY_NAME) &&
	       !kv_get(&meta->labels, LABEL_HEADLESS);
}

/* May it stand in a chain's name, so that what `nft list` prints can be read back by nft? */
static bool fits_chain_name(const char *text)
{
	for (; *text; text++) {
		bool letter_or_digit = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
				       (*text >= '0' && *text <= '9');

		if (!letter_or_digit && !strchr("-._", *text))
			return false;
	}
	return true;
}

/* What the API server never lets in; from files it can come. */
static const char *port_conflict(const struct service_port *a, const struct service_port *b)
{
	if (strcmp(a->name, b->name) == 0)
		return "spec.ports[].name: two ports have the same name";
	if (a->protocol != b->protocol)
		return NULL;
	if (a->port == b->port)
		return "spec.ports[].port: two ports have the same number and protocol";
	if (a->node_port != 0 && a->node_port == b->node_port)
		return "spec.ports[].nodePort: two ports have the same node port and protocol";
	return NULL;
}

static const char *ports_refusal(const struct service *service)
{
	size_t names_len = strlen(service->meta.ns) + strlen(service->meta.name);

	if (service->port_count > SERVICE_PORTS_MAX)
		return "spec.ports: too many ports";
	for (size_t i = 0; i < service->port_count; i++) {
		if (!fits_chain_name(service->ports[i].name))
			return "spec.ports[].name: has characters no port name may have";
		if (names_len + strlen(service->ports[i].name) > NAMES_BYTES_MAX)
			return "metadata.name: namespace, name and port name are too long together";
		for (size_t k = 0; k < i; k++) {
			const char *conflict = port_conflict(&service->ports[k], &service->ports[i]);

			if (conflict)
				return conflict;
		}
	}
	return NULL;
}

const char *service_refusal(const struct service *service)
{
	if (!fits_chain_name(service->meta.ns) || !fits_chain_name(service->meta.name))
		return "metadata.name: has characters no Service name may have";
	if (service->external_ip_count + service->lb_ingress_count > SERVICE_ADDRESSES_MAX)
		return "spec.externalIPs, status.loadBalancer.ingress: too many addresses";
	return ports_refusal(service);
}

static struct ip cluster_ip_of(const struct service *service, int family)
{
	for (size_t i = 0; i < service->cluster_ip_count; i++)
		if (service->cluster_ips[i].family == family)
			return service->cluster_ips[i];
	return (struct ip){0};
}

/* ---- frontends ---- */

/* An address of the service, which every port of it has. */
struct vip {
	struct ip ip;
	enum frontend_kind kind;
	bool filtered;
};

struct vips {
	struct vip *items;
	size_t count;
};

/* An address given twice (say as externalIP and by the load balancer) is one frontend, filtered if either is.
 */
static void vip_add(struct vips *vips, const struct ip *ip, enum frontend_kind kind, bool filtered)
{
	for (size_t i = 0; i < vips->count; i++) {
		if (ip_equal(&vips->items[i].ip, ip)) {
			vips->items[i].filtered |= filtered;
			return;
		}
	}
	vips->items[vips->count++] = (struct vip){*ip, kind, filtered};
}

static bool is_load_balancer_vip(const struct service *service, const struct lb_ingress *ingress, int family)
{
	return service->type == SERVICE_LOAD_BALANCER && !ingress->ip_mode_proxy &&
	       ingress->ip.family == family;
}

static int fill_vips(struct arena *arena, const struct service *service, const struct service_state *state,
		     struct vips *ret)
{
	struct vips vips = {0};

	vips.items = arena_array(arena, 1 + service->external_ip_count + service->lb_ingress_count,
				 sizeof(*vips.items));
	if (!vips.items)
		return -ENOMEM;
	vip_add(&vips, &state->cluster_ip, FRONTEND_CLUSTER_IP, false);
	for (size_t i = 0; i < service->external_ip_count; i++)
		if (service->external_ips[i].family == state->family)
			vip_add(&vips, &service->external_ips[i], FRONTEND_EXTERNAL_IP, false);
	for (size_t i = 0; i < service->lb_ingress_count; i++)
		if (is_load_balancer_vip(service, &service->lb_ingress[i], state->family))
			vip_add(&vips, &service->lb_ingress[i].ip, FRONTEND_LOAD_BALANCER,
				state->source_range_count > 0);
	*ret = vips;
	return 0;
}

static bool has_node_port(const struct service *service, const struct service_port *port)
{
	return port->node_port != 0 && service->type != SERVICE_CLUSTER_IP;
}

static int fill_frontends(struct arena *arena, const struct service *service, struct service_state *state)
{
	struct vips vips;
	int code = fill_vips(arena, service, state, &vips);

	if (code)
		return code;
	state->frontends =
	    arena_array(arena, service->port_count * (vips.count + 1), sizeof(*state->frontends));
	if (!state->frontends)
		return -ENOMEM;
	for (size_t p = 0; p < service->port_count; p++) {
		const struct service_port *port = &service->ports[p];
		struct frontend frontend = {.port_index = (uint16_t)p, .protocol = (uint8_t)port->protocol};

		for (size_t v = 0; v < vips.count; v++) {
			frontend.ip = vips.items[v].ip;
			frontend.port = port->port;
			frontend.kind = (uint8_t)vips.items[v].kind;
			frontend.filtered = vips.items[v].filtered;
			state->frontends[state->frontend_count++] = frontend;
		}
		if (has_node_port(service, port))
			state->frontends[state->frontend_count++] =
			    (struct frontend){.port = port->node_port,
					      .port_index = (uint16_t)p,
					      .protocol = (uint8_t)port->protocol,
					      .kind = FRONTEND_NODE_PORT};
	}
	return 0;
}

/* Can the port be reached by anything but its cluster IP? */
static bool externally_reachable(const struct service_request *request, const struct service_port *port)
{
	const struct service *service = request->service;

	if (has_node_port(service, port))
		return true;
	for (size_t i = 0; i < service->external_ip_count; i++)
		if (service->external_ips[i].family == request->family)
			return true;
	for (size_t i = 0; i < service->lb_ingress_count; i++)
		if (is_load_balancer_vip(service, &service->lb_ingress[i], request->family))
			return true;
	return false;
}

/* ---- ports ---- */

struct endpoint_query service_query(const struct service_request *request, const struct service_port *port)
{
	bool internal_local = request->service->internal_policy == TRAFFIC_POLICY_LOCAL;
	bool external_local = request->service->external_policy == TRAFFIC_POLICY_LOCAL;
	bool external = externally_reachable(request, port);

	return (struct endpoint_query){
	    .family = request->family,
	    .port_name = port->name,
	    .protocol = port->protocol,
	    .node_name = request->node_name,
	    .zone = request->zone,
	    .allow_loopback = request->allow_loopback,
	    .uses = {[POLICY_CLUSTER] = !internal_local || external,
		     [POLICY_LOCAL] = internal_local || (external_local && external)},
	};
}

static int fill_port(struct arena *arena, const struct service_request *request, size_t index,
		     struct service_port_state *ret)
{
	const struct service_port *port = &request->service->ports[index];
	struct endpoint_query query = service_query(request, port);
	struct endpoint_selection selection;
	int code = endpoints_select(arena, request->objects, request->object_count, &query, &selection);

	if (code)
		return code;
	*ret =
	    (struct service_port_state){.name = port->name, .protocol = port->protocol, .any = selection.any};
	memcpy(ret->sets, selection.sets, sizeof(ret->sets));
	return 0;
}

static void fill_source_ranges(const struct service *service, struct service_state *state)
{
	if (service->type != SERVICE_LOAD_BALANCER)
		return;
	for (size_t i = 0; i < service->lb_source_range_count; i++)
		if (service->lb_source_ranges[i].ip.family == state->family)
			state->source_ranges[state->source_range_count++] = service->lb_source_ranges[i];
}

/* The state with its lists in the arena. */
static int fill_state(struct arena *arena, const struct service_request *request, struct service_state *state)
{
	const struct service *service = request->service;

	state->ports = arena_array(arena, service->port_count, sizeof(*state->ports));
	state->source_ranges =
	    arena_array(arena, service->lb_source_range_count, sizeof(*state->source_ranges));
	if (!state->ports || !state->source_ranges)
		return -ENOMEM;
	fill_source_ranges(service, state);
	for (size_t i = 0; i < service->port_count; i++) {
		int code = fill_port(arena, request, i, &state->ports[i]);

		if (code)
			return code;
	}
	state->port_count = service->port_count;
	return fill_frontends(arena, service, state);
}

/* ---- one block ---- */

static size_t rounded(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

static size_t packed_bytes(const struct service_state *state)
{
	size_t bytes = rounded(sizeof(*state)) + rounded(state->port_count * sizeof(*state->ports)) +
		       rounded(state->frontend_count * sizeof(*state->frontends)) +
		       rounded(state->source_range_count * sizeof(*state->source_ranges));

	for (size_t i = 0; i < state->port_count; i++) {
		bytes += rounded(strlen(state->ports[i].name) + 1);
		for (size_t p = 0; p < POLICY_COUNT; p++)
			bytes += rounded(state->ports[i].sets[p].count * sizeof(struct service_endpoint));
	}
	return bytes;
}

/* Copies bytes to *at, moves *at behind them and returns the copy. */
static void *put(char **at, const void *data, size_t bytes)
{
	void *copy = *at;

	if (bytes > 0)
		memcpy(copy, data, bytes);
	*at += rounded(bytes);
	return copy;
}

static struct service_state *pack(const struct service_state *loose)
{
	char *at = calloc(1, packed_bytes(loose));
	struct service_state *state;

	if (!at)
		return NULL;
	state = put(&at, loose, sizeof(*loose));
	state->ports = put(&at, loose->ports, loose->port_count * sizeof(*loose->ports));
	state->frontends = put(&at, loose->frontends, loose->frontend_count * sizeof(*loose->frontends));
	state->source_ranges =
	    put(&at, loose->source_ranges, loose->source_range_count * sizeof(*loose->source_ranges));
	for (size_t i = 0; i < state->port_count; i++) {
		struct service_port_state *port = &state->ports[i];

		port->name = put(&at, port->name, strlen(port->name) + 1);
		for (size_t p = 0; p < POLICY_COUNT; p++)
			port->sets[p].endpoints = put(&at, port->sets[p].endpoints,
						      port->sets[p].count * sizeof(struct service_endpoint));
	}
	return state;
}

int service_state_new(const struct service_request *request, struct service_state **ret)
{
	struct service_state loose = {
	    .family = request->family,
	    .ns = request->ns,
	    .name = request->name,
	    .cluster_ip = cluster_ip_of(request->service, request->family),
	    .internal_local = request->service->internal_policy == TRAFFIC_POLICY_LOCAL,
	    .external_local = request->service->external_policy == TRAFFIC_POLICY_LOCAL,
	    .affinity_timeout_s =
		request->service->affinity_client_ip ? request->service->affinity_timeout_s : 0};
	struct service_state *state = NULL;
	struct arena arena = {0};
	int code = 0;

	if (loose.cluster_ip.family == request->family) {
		code = fill_state(&arena, request, &loose);
		state = code ? NULL : pack(&loose);
		if (!state)
			code = -ENOMEM;
	}
	arena_done(&arena);
	if (code)
		return code;
	*ret = state;
	return 0;
}

struct service_state *service_state_free(struct service_state *state)
{
	free(state);
	return NULL;
}

const struct service_port_state *service_state_port(const struct service_state *state, const char *name)
{
	for (size_t i = 0; state && i < state->port_count; i++)
		if (strcmp(state->ports[i].name, name) == 0)
			return &state->ports[i];
	return NULL;
}
