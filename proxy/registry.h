/* What the store says, by Service: each Service with its EndpointSlices and Endpoints objects, which belong to it by
 * name and may arrive before it.
 *
 * Invariants
 *  1. A service is here as long as the store has its Service or any endpoint object of it, or rules of it are in
 *     force, or somebody queued it.
 *  2. Objects are held by reference; a struct proxied stays at its address while it lives. */
#ifndef PROXY_REGISTRY_H
#define PROXY_REGISTRY_H

#include "base/cleanup.h"
#include "base/map.h"
#include "proxy/table.h"

enum queued { QUEUED_NOT, QUEUED_URGENT, QUEUED_NORMAL };

struct proxied {
	struct member member;    /* first; its names live behind this struct */
	struct service *service; /* NULL: only endpoints are known so far */
	struct endpoints **objects;
	size_t object_count;
	struct proxied *next; /* in the proxy's queue */
	enum queued queued;
	double dirty_since_s; /* loop time of the oldest change that is not in force; 0: none */
};

struct registry {
	struct map services; /* "ns/name" -> struct proxied */
};

/* *ret: the service that an object's coming (old NULL), change or going (new NULL) touches, or NULL for none. An
 * EndpointSlice that moves to another service touches two: *ret_other. 0 or -ENOMEM (the object is then ignored). */
int registry_service_changed(struct registry *registry, struct service *old, struct service *new,
			     struct proxied **ret);
int registry_endpoints_changed(struct registry *registry, struct endpoints *old, struct endpoints *new,
			       struct proxied **ret, struct proxied **ret_other);

/* Frees the service if there is no reason left to keep it. */
void registry_drop_unused(struct registry *registry, struct proxied *proxied);
void registry_done(struct registry *registry); /* states must have been freed */

/* Is it one that a node needs before all others: the API server's, and the cluster's DNS? */
bool proxied_is_urgent(const struct proxied *proxied);

static inline struct proxied *proxied_of(struct member *member)
{
	return container_of(member, struct proxied, member);
}

#endif
