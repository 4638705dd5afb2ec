/* What one Service should do in one address family: a plain value made from its objects (service-proxy
 * contract rows 5, 6, 8, 10, 14, 15, 25), with the slots its endpoints sit in. The planner turns it into
 * rules.
 *
 * Invariants
 *  1. A state is one block of memory and borrows nothing but ns and name.
 *  2. Frontends are ordered by port: its cluster IP, external addresses, load-balancer addresses, node port. No two
 *     have the same address, port and protocol.
 *  3. sets[p].endpoints[i] sits in slot ranges[p].base + i. An empty set has no range. */
#ifndef PROXY_SERVICE_H
#define PROXY_SERVICE_H

#include "conf/object.h"
#include "proxy/endpoints.h"
#include "proxy/slots.h"

enum frontend_kind { FRONTEND_CLUSTER_IP, FRONTEND_EXTERNAL_IP, FRONTEND_LOAD_BALANCER, FRONTEND_NODE_PORT };

/* Where clients knock. */
struct frontend {
	struct ip ip; /* family 0: a node port */
	uint16_t port;
	uint16_t port_index; /* of service_state.ports */
	uint8_t protocol;    /* enum protocol */
	uint8_t kind;        /* enum frontend_kind */
	bool filtered;       /* the source ranges apply: a load-balancer address (row 16) */
	bool owned;          /* set by the family table: of all Services that claim it, it is this one's */
};

struct service_port_state {
	const char *name;
	enum protocol protocol;
	bool any; /* some endpoint somewhere (row 25) */
	struct endpoint_set sets[POLICY_COUNT];
	struct slot_range ranges[POLICY_COUNT];
	uint32_t affinity_id; /* set by the family table: the port's in the memory of clients; 0: none */
};

struct service_state {
	int family;
	const char *ns, *name; /* borrowed */
	struct ip cluster_ip;
	bool owns_cluster_ip; /* set by the family table, as frontend.owned */
	bool internal_local, external_local;
	uint32_t affinity_timeout_s; /* sessionAffinity ClientIP (row 27); 0: none */
	struct service_port_state *ports;
	size_t port_count;
	struct frontend *frontends;
	size_t frontend_count;
	struct cidr *source_ranges; /* of this family; with count 0 nothing is filtered */
	size_t source_range_count;
};

#define SERVICE_PORTS_MAX     4096
#define SERVICE_ADDRESSES_MAX 1024 /* external and load-balancer addresses together */

struct service_request {
	int family;
	const char *ns, *name; /* must outlive the state */
	const struct service *service;
	const struct endpoints *const *objects; /* its EndpointSlices and Endpoints */
	size_t object_count;
	const char *node_name, *zone;
	bool allow_loopback;
};

/* Does a Service count for the service proxy (rows 1, 5)? */
bool service_counts(const struct service *service);
/* Why a Service that counts cannot be served, or NULL if it can. */
const char *service_refusal(const struct service *service);

/* *ret is NULL if the service is not for this family (row 6). 0 or -ENOMEM. */
int service_state_new(const struct service_request *request, struct service_state **ret);
struct service_state *service_state_free(struct service_state *state);

/* NULL when there is no such port; state may be NULL. */
const struct service_port_state *service_state_port(const struct service_state *state, const char *name);

/* The question a port asks of the endpoint objects. */
struct endpoint_query service_query(const struct service_request *request, const struct service_port *port);

#endif
