/* The service proxy as a half of the program: the proxy itself, health check ports, Events, taking over from kube-proxy,
 * and what it is restarted for. */
#ifndef MAIN_PROXY_HALF_H
#define MAIN_PROXY_HALF_H

#include "conf/kube_client.h"
#include "main/flags.h"
#include "proxy/proxy.h"

struct proxy_half;

/* Everything but node_name's copy in the proxy is borrowed. */
struct proxy_half_config {
	struct ev_loop *loop;
	struct store *store;
	const struct flags *flags;
	const char *node_name;
	struct metrics *metrics;
	struct kube_client *client; /* NULL: from manifests; no Events then, and the Node is not watched */
	/* The program should end and be started anew; may be called more than once. */
	void (*restart)(void *ctx, const char *why);
	void *ctx;
};

/* NULL with *err. */
struct proxy_half *proxy_half_start(const struct proxy_half_config *config, struct err *err);
struct proxy_half *proxy_half_stop(struct proxy_half *half); /* rules stay; NULL allowed; returns NULL */

const struct proxy *proxy_half_proxy(const struct proxy_half *half);

#endif
