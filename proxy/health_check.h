/* healthCheckNodePort servers: for each Service of type LoadBalancer with externalTrafficPolicy Local an HTTP
 * server on its port, where load balancers ask whether this node has a ready endpoint of it (service-proxy contract
 * rows 37, 38).
 *
 *     store -> checks (Services that have the port, with their endpoint objects) -> count -> servers
 *
 * Invariants
 *  1. Nothing listens before health_check_start: a node is offered to load balancers when its rules are in force.
 *  2. A port that cannot be listened on is told of once for each time it begins to fail, and tried again when a
 *     Service changes and every HEALTH_CHECK_RETRY_S; the others go on.
 *  3. Work for a change is bounded by the objects of the Services concerned; only a new check looks at all slices. */
#ifndef PROXY_HEALTH_CHECK_H
#define PROXY_HEALTH_CHECK_H

#include <ev.h>

#include "conf/store.h"
#include "proxy/proxy.h"

#define HEALTH_CHECK_RETRY_S 30.0

struct health_check;

struct health_check_config {
	const struct proxy_config *proxy; /* which node, which addresses; copied */
	bool (*healthy)(void *ctx);       /* is the proxy (rows 39, 40)? */
	void (*failed)(void *ctx, const struct service *service, const char *why); /* cannot listen */
	void *ctx;
};

/* NULL with *err. */
struct health_check *health_check_new(struct ev_loop *loop, struct store *store,
				      const struct health_check_config *config, struct err *err);
struct health_check *health_check_free(struct health_check *health); /* NULL allowed; returns NULL */

void health_check_start(struct health_check *health);

#endif
