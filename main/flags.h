/* The program's flags: one struct with every setting and its default, and the tables that read and explain
 * them. Names are kube-proxy's for the service proxy and ingress-nginx's for the ingress. */
#ifndef MAIN_FLAGS_H
#define MAIN_FLAGS_H

#include "conf/options.h"
#include "proxy/sysctl.h"

/* How it is known that a connection comes from a pod of this node. */
enum detect_local { DETECT_CLUSTER_CIDR, DETECT_NODE_CIDR, DETECT_BRIDGE, DETECT_INTERFACE_PREFIX };

struct flags {
	/* where desired state comes from */
	struct option_strings manifests;
	const char *kubeconfig;
	/* both halves */
	struct ip bind_address;
	uint32_t verbosity;
	unsigned log_format; /* enum log_format */
	/* service proxy */
	const char *proxy_config; /* --config */
	const char *hostname_override;
	struct option_cidrs cluster_cidrs;
	struct option_strings nodeport_addresses; /* prefixes, or the one word "primary" */
	bool masquerade_all;
	bool cleanup, init_only;     /* do that and exit */
	const char *write_config_to; /* a file; the same */
	bool bind_address_hard_fail;
	unsigned detect_local_mode; /* enum detect_local */
	const char *pod_bridge_interface, *pod_interface_prefix;
	struct conntrack_settings conntrack;
	int32_t oom_score_adj;
	double min_sync_period_s;
	struct endpoint_addr proxy_healthz, proxy_metrics;
	/* ingress */
	uint16_t http_port, https_port, healthz_port;
	struct ip healthz_host;
	const char *ingress_class, *controller_class, *watch_namespace; /* NULL: not given */
	bool ingress_without_class, ingress_class_by_name;
	const char *default_certificate, *default_backend, *annotations_prefix;
	struct option_strings publish_addresses;
	uint64_t body_max_bytes;
	uint32_t workers, connections_max, upstream_keepalive, requests_per_connection;
	double head_timeout_s, body_timeout_s, keep_alive_s, upstream_idle_s, grace_s;
	const char *access_log;     /* "off", "-" or a path */
	unsigned access_log_format; /* enum access_log_format */
	bool trust_forwarded, hsts;
};

struct node;

extern const struct flags flags_default;

/* The groups each subcommand takes, ended by a NULL title. */
extern const struct option_group flags_proxy[], flags_ingress[], flags_run[], flags_check[];

/* KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1): sets what the file says, over what flags said,
 * except --hostname-override. Unknown fields, and fields that have no effect here, are warned of with their line.
 * 0, or a negative errno with *err naming file, line and field. Strings live in `arena`. */
int flags_read_proxy_config(struct flags *flags, const char *file, struct arena *arena, struct err *err);

/* The flags as a KubeProxyConfiguration, in `arena`; NULL when out of memory. What flags_read_proxy_config reads
 * back is the same. */
struct node *flags_as_proxy_config(const struct flags *flags, struct arena *arena);

/* One flag's value; NULL when out of memory, or for a flag without effect. */
struct node *flags_value(struct arena *arena, const struct option *option, const struct flags *flags);

/* What cannot be done with these flags; 0 or -EINVAL with *err. */
int flags_validate(const struct flags *flags, struct err *err);

#endif
