/* What a healthCheckNodePort says: how many endpoints of a Service are ready on this node, and the exact bytes
 * that load balancers are told (service-proxy contract row 37). Pure. */
#ifndef PROXY_LOCAL_READY_H
#define PROXY_LOCAL_READY_H

#include "base/httpd.h"
#include "conf/object.h"

/* Distinct addresses of endpoints that are ready on the node, in the family that has more of them: a pod with an
 * address in both counts once. One that serves while it ends is not ready: the node is drained while it still
 * serves. allow_loopback as in endpoint_refusal. 0 or -ENOMEM. */
int local_ready_count(const struct endpoints *const *objects, size_t object_count, const char *node_name,
		      bool allow_loopback, unsigned *ret);

/* 200 with a ready endpoint here and a healthy proxy, else 503. */
void local_ready_answer(const char *ns, const char *name, unsigned count, bool proxy_healthy,
			struct httpd_answer *answer);

#endif
