/* The health and metrics servers: /healthz, /livez, /readyz, /metrics, /proxyMode and /configz on the addresses
 * kube-proxy and ingress-nginx use, answered from the state of whichever halves run. */
#ifndef MAIN_HEALTH_H
#define MAIN_HEALTH_H

#include <ev.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/metrics.h"
#include "conf/store.h"
#include "ingress/ingress.h"
#include "main/flags.h"
#include "proxy/proxy.h"

#define HEALTH_RETRY_S 5.0

/* What the answers are made from; the owner keeps it true. A half that does not run is NULL. */
struct health_state {
	const struct proxy *proxy;
	const struct ingress_controller *ingress;
	const struct store *store;
	const struct flags *flags;
	struct metrics *metrics;
	const char *node_name;
	bool stopping; /* /readyz and the ingress's /healthz fail, so that load balancers turn away */
};

enum health_face {
	HEALTH_FACE_PROXY, /* kube-proxy's healthz server: JSON bodies (service-proxy contract rows 39, 40) */
	HEALTH_FACE_METRICS, /* kube-proxy's metrics server (row 41) */
	HEALTH_FACE_INGRESS, /* ingress-nginx's port 10254 */
};

struct health_server;

struct health_server_config {
	struct endpoint_addr addr;
	enum health_face face;
	bool hard_fail; /* else an address that cannot be listened on is tried again each HEALTH_RETRY_S */
};

/* state must outlive the server. NULL with *err. */
struct health_server *health_listen(struct ev_loop *loop, const struct health_server_config *config,
				    const struct health_state *state, struct err *err);
struct health_server *health_close(struct health_server *server);

#endif
