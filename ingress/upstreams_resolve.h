/* From a Service port to endpoints (design: Ingress a.6). Pure.
 *
 *     port      a number is a Service port's, a name a Service port's name; failing both, a targetPort; ""
 * the first endpoints of all slices and Endpoints objects, by the port that carries the Service port's name
 *     chosen    the ready ones; when there is none, those terminating but still serving
 *
 * Endpoints objects that the API server mirrors into slices count once. A Service without ports takes any
 * number. */
#ifndef INGRESS_UPSTREAMS_RESOLVE_H
#define INGRESS_UPSTREAMS_RESOLVE_H

#include "base/arena.h"
#include "conf/object.h"

struct resolution {
	bool missing;              /* no such Service or port */
	const char *external_name; /* of an ExternalName Service: to be resolved by DNS, with external_port;
				      else NULL */
	uint16_t external_port;
	struct endpoint_addr *endpoints; /* in the arena; may hold the same one twice */
	size_t endpoint_count;
	const char *why; /* in the arena: what a person should know; NULL: all is well */
};

struct resolve_input {
	const char *ns, *name;         /* of the Service */
	const struct service *service; /* NULL: does not exist */
	const struct endpoints *const *endpoints;
	size_t endpoints_count;
	struct str port;
	bool loopback_allowed;
};

/* 0 or -ENOMEM. */
int upstreams_resolve(const struct resolve_input *input, struct arena *arena, struct resolution *ret);

/* May requests be sent there? Loopback, link-local (metadata services), multicast and unspecified addresses
 * are refused, as the API server refuses them in Endpoints; loopback_allowed excepts loopback. */
bool upstreams_address_allowed(const struct ip *ip, bool loopback_allowed);

#endif
