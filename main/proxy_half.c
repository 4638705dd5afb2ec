/* Starts the parts of the service proxy in order, and hands on when the first complete state is in force. */
#include "main/proxy_half.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/kube_events.h"
#include "main/config_watch.h"
#include "main/host.h"
#include "main/node_watch.h"
#include "proxy/health_check.h"

#define READY_POLL_S 0.05

struct proxy_half {
	struct proxy_half_config config;
	struct proxy *proxy;
	struct health_check *health_check;
	struct kube_events *events;
	struct node_watch *node_watch;
	struct config_watch *config_watch;
	struct ev_timer ready_poll;
	bool conntrack_set;
};

/* "primary", or prefixes. */
static int nodeport_addresses(const struct option_strings *words, struct arena *arena,
			      struct proxy_config *config, struct err *err)
{
	struct cidr *cidrs = arena_array(arena, words->count + 1, sizeof(*cidrs));

	if (!cidrs)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < words->count; i++) {
		if (strcmp(words->items[i], "primary") == 0 && words->count == 1)
			config->nodeport_primary = true;
		else if (cidr_parse(str_of(words->items[i]), &cidrs[config->nodeport_cidr_count++]) < 0)
			return err_set(
			    err, -EINVAL,
			    "--nodeport-addresses: expected prefixes or the one word primary, got \"%s\"",
			    words->items[i]);
	}
	config->nodeport_cidrs = cidrs;
	return 0;
}

static void pods_by_mode(const struct flags *flags, struct proxy_config *config)
{
	switch ((enum detect_local)flags->detect_local_mode) {
	case DETECT_CLUSTER_CIDR:
		config->cluster_cidrs = flags->cluster_cidrs.items;
		config->cluster_cidr_count = flags->cluster_cidrs.count;
		break;
	case DETECT_NODE_CIDR:
		config->pods_by_node = true;
		break;
	case DETECT_BRIDGE:
		config->pod_interface = flags->pod_bridge_interface;
		break;
	case DETECT_INTERFACE_PREFIX:
		config->pod_interface = flags->pod_interface_prefix;
		config->pod_interface_is_prefix = true;
		break;
	}
}

/* ---- Events (rows 38, 42) ---- */

static void record_start(const struct proxy_half *half)
{
	kube_events_record(half->events, &(const struct kube_event_text){
					     .kind = "Node",
					     .ns = "",
					     .name = half->config.node_name,
					     .uid = half->config.node_name, /* as kubelet and kube-proxy do */
					     .reason = "Starting",
					     .action = "StartKubeProxy",
					     .note = "",
					 });
}

static void on_health_check_failed(void *ctx, const struct service *service, const char *why)
{
	const struct proxy_half *half = ctx;

	kube_events_record(half->events, &(const struct kube_event_text){
					     .kind = "Service",
					     .ns = service->meta.ns,
					     .name = service->meta.name,
					     .uid = service->meta.uid,
					     .warning = true,
					     .reason = "FailedToStartServiceHealthcheck",
					     .action = "Listen",
					     .note = why,
					 });
}

static bool is_healthy(void *ctx)
{
	return proxy_healthy(((const struct proxy_half *)ctx)->proxy);
}

/* ---- what ends the program ---- */

static void on_node_changed(void *ctx, const char *why)
{
	const struct proxy_half *half = ctx;

	half->config.restart(half->config.ctx, why);
}

static void on_config_changed(void *ctx)
{
	const struct proxy_half *half = ctx;

	half->config.restart(half->config.ctx, "the configuration file has changed");
}

static int watch_config(struct proxy_half *half)
{
	const char *path = half->config.flags->proxy_config;

	if (!path)
		return 0;
	half->config_watch = config_watch_new(half->config.loop, path, on_config_changed, half);
	return half->config_watch ? 0 : -ENOMEM;
}

static int watch_node(struct proxy_half *half)
{
	if (!half->config.client)
		return 0;
	half->node_watch =
	    node_watch_new(half->config.store, half->config.node_name,
			   half->config.flags->detect_local_mode == DETECT_NODE_CIDR, on_node_changed, half);
	return half->node_watch ? 0 : -ENOMEM;
}

static int start_events(struct proxy_half *half)
{
	if (!half->config.client)
		return 0;
	half->events = kube_events_new(half->config.loop, half->config.client, half->config.node_name,
				       half->config.metrics);
	if (!half->events)
		return -ENOMEM;
	record_start(half);
	return 0;
}

/* ---- life ---- */

static void on_ready_poll(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct proxy_half *half = timer->data;

	(void)events;
	if (!proxy_ready(half->proxy))
		return;
	ev_timer_stop(loop, timer);
	if (!half->conntrack_set)
		half->conntrack_set = host_set_conntrack(half->config.flags, true);
	host_take_over();
	health_check_start(half->health_check);
}

static int start_serving(struct proxy_half *half, const struct proxy_config *proxy, struct err *err)
{
	const struct health_check_config health_check = {
	    .proxy = proxy, .healthy = is_healthy, .failed = on_health_check_failed, .ctx = half};
	struct ev_loop *loop = half->config.loop;

	half->proxy = proxy_new(loop, half->config.store, proxy, half->config.metrics, err);
	if (!half->proxy)
		return -EIO;
	half->health_check = health_check_new(loop, half->config.store, &health_check, err);
	if (!half->health_check)
		return -ENOMEM;
	ev_timer_start(loop, &half->ready_poll);
	return 0;
}

static int start_proxy(struct proxy_half *half, struct err *err)
{
	const struct flags *flags = half->config.flags;
	cleanup(arena_done) struct arena arena = {0};
	struct proxy_config config = {
	    .node_name = half->config.node_name,
	    .masquerade_all = flags->masquerade_all,
	    .loopback_endpoints = flags->manifests.count > 0,
	    .min_sync_period_s = flags->min_sync_period_s,
	};
	int code;

	pods_by_mode(flags, &config);
	code = nodeport_addresses(&flags->nodeport_addresses, &arena, &config, err);

	if (code < 0)
		return code;
	if (flags->bind_address.family && !ip_is_unspecified(&flags->bind_address))
		config.node_ips[flags->bind_address.family == AF_INET6] = flags->bind_address;
	return start_serving(half, &config, err);
}

struct proxy_half *proxy_half_start(const struct proxy_half_config *config, struct err *err)
{
	struct proxy_half *half = calloc(1, sizeof(*half));

	if (!half) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	half->config = *config;
	ev_timer_init(&half->ready_poll, on_ready_poll, 0., READY_POLL_S);
	half->ready_poll.data = half;
	host_set_oom_score(config->flags);
	half->conntrack_set = host_set_conntrack(config->flags, false);
	if (start_events(half) < 0 || watch_node(half) < 0 || watch_config(half) < 0) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return proxy_half_stop(half);
	}
	return start_proxy(half, err) < 0 ? proxy_half_stop(half) : half;
}

struct proxy_half *proxy_half_stop(struct proxy_half *half)
{
	if (!half)
		return NULL;
	ev_timer_stop(half->config.loop, &half->ready_poll);
	half->config_watch = config_watch_free(half->config_watch);
	half->node_watch = node_watch_free(half->node_watch);
	half->health_check = health_check_free(half->health_check);
	half->proxy = proxy_free(half->proxy);
	half->events = kube_events_free(half->events);
	free(half);
	return NULL;
}

const struct proxy *proxy_half_proxy(const struct proxy_half *half)
{
	return half ? half->proxy : NULL;
}
