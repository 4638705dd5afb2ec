/* The tables of flags. The help texts are the documentation; defaults shown there come from flags_default. */
#include "main/flags.h"

#include <errno.h>
#include <net/if.h>

#include "base/cleanup.h"

const struct flags flags_default = {
    .verbosity = 2,
    .conntrack = {.max_per_core = 32768, .min = 131072, .tcp_established_s = 86400, .tcp_close_wait_s = 3600},
    .oom_score_adj = -999,
    .proxy_healthz = {.ip = {.family = AF_INET}, .port = 10256},
    .proxy_metrics = {.ip = {.family = AF_INET, .bytes = {127, 0, 0, 1}}, .port = 10249},
    .http_port = 80,
    .https_port = 443,
    .healthz_port = 10254,
    .annotations_prefix = "nginx.ingress.kubernetes.io",
    .connections_max = 16384,
    .body_max_bytes = 1u << 20,
    .upstream_keepalive = 320,
    .requests_per_connection = 1000,
    .head_timeout_s = 10,
    .body_timeout_s = 60,
    .keep_alive_s = 75,
    .upstream_idle_s = 60,
    .grace_s = 240,
    .access_log = "-",
    .hsts = true,
};

static const char *const log_formats[] = {"text", "json", NULL};
static const char *const detect_local_modes[] = {"ClusterCIDR", "NodeCIDR", "BridgeInterface",
						 "InterfaceNamePrefix", NULL};
static const char *const access_log_formats[] = {"nginx", "json", NULL};

#define AT(field) .offset = offsetof(struct flags, field)

static const struct option source_options[] = {
    {"manifests", 0, OPTION_STRINGS, AT(manifests), "PATH",
     "a manifest file, or a directory of them, watched: edits are in force at once; may be given several "
     "times",
     NULL},
    {"kubeconfig", 0, OPTION_STRING, AT(kubeconfig), "FILE",
     "how to reach the API server; without this and --manifests, the pod's service account is used", NULL},
    {"master", 0, OPTION_IGNORED, 0, "URL", "the server stands in the kubeconfig", NULL},
    {"kube-api-content-type", 0, OPTION_IGNORED, 0, NULL, "objects are read as JSON, streamed", NULL},
    {"kube-api-qps", 0, OPTION_IGNORED, 0, NULL, "one list and one watch a kind need no limit", NULL},
    {"kube-api-burst", 0, OPTION_IGNORED, 0, NULL, "one list and one watch a kind need no limit", NULL},
    {"config-sync-period", 0, OPTION_IGNORED, 0, NULL, "what a watch says is acted on at once", NULL},
};

static const struct option general_options[] = {
    {"bind-address", 0, OPTION_IP, AT(bind_address), NULL,
     "this node's address for NodePorts, and the only address the ingress listens on; unspecified: all",
     NULL},
    {"v", 'v', OPTION_U32, AT(verbosity), "N", "log verbosity; 4 and more logs every change", NULL},
    {"log-format", 0, OPTION_CHOICE, AT(log_format), "text|json",
     "of the program's own log, on standard error", log_formats},
    {"logging-format", 0, OPTION_CHOICE, AT(log_format), "text|json", "the same, as kube-proxy calls it",
     log_formats},
    {"profiling", 0, OPTION_IGNORED_BOOL, 0, NULL, "perf works on any process", NULL},
    {"feature-gates", 0, OPTION_IGNORED, 0, NULL, "there are none", NULL},
};

static const struct option proxy_options[] = {
    {"config", 0, OPTION_STRING, AT(proxy_config), "FILE",
     "a KubeProxyConfiguration file; it wins over flags", NULL},
    {"hostname-override", 0, OPTION_STRING, AT(hostname_override), "NAME",
     "this node's name; else the host's name", NULL},
    {"cluster-cidr", 0, OPTION_CIDRS, AT(cluster_cidrs), NULL,
     "where pods are: connections to cluster IPs from elsewhere are masqueraded", NULL},
    {"nodeport-addresses", 0, OPTION_LIST, AT(nodeport_addresses), "CIDR,...|primary",
     "the node's addresses that answer on NodePorts; not given: the node's primary address, all if that is "
     "unknown",
     NULL},
    {"masquerade-all", 0, OPTION_BOOL, AT(masquerade_all), NULL,
     "masquerade every connection to a cluster IP", NULL},
    {"nftables-min-sync-period", 0, OPTION_DURATION, AT(min_sync_period_s), NULL,
     "least time from the end of one sync to the start of the next; 0: changes are in force at once", NULL},
    {"healthz-bind-address", 0, OPTION_ADDR, AT(proxy_healthz), NULL,
     "/healthz, /livez, /readyz and /metrics of the proxy", NULL},
    {"metrics-bind-address", 0, OPTION_ADDR, AT(proxy_metrics), NULL,
     "/metrics, /proxyMode and /healthz of the proxy", NULL},
    {"bind-address-hard-fail", 0, OPTION_BOOL, AT(bind_address_hard_fail), NULL,
     "end when a health or metrics address cannot be listened on; else it is tried again each 5 seconds",
     NULL},
    {"detect-local-mode", 0, OPTION_CHOICE, AT(detect_local_mode),
     "ClusterCIDR|NodeCIDR|BridgeInterface|InterfaceNamePrefix",
     "how it is known that a connection comes from a pod of this node", detect_local_modes},
    {"pod-bridge-interface", 0, OPTION_STRING, AT(pod_bridge_interface), "NAME",
     "with BridgeInterface: what comes in here is from a pod", NULL},
    {"pod-interface-name-prefix", 0, OPTION_STRING, AT(pod_interface_prefix), "PREFIX",
     "with InterfaceNamePrefix: what comes in by an interface named so is from a pod", NULL},
    {"conntrack-max-per-core", 0, OPTION_U32, AT(conntrack.max_per_core), NULL,
     "connections the kernel may track, for each core; 0: leave the limit", NULL},
    {"conntrack-min", 0, OPTION_U32, AT(conntrack.min), NULL,
     "at least so many, however few cores; not with --conntrack-max-per-core=0", NULL},
    {"conntrack-tcp-timeout-established", 0, OPTION_DURATION, AT(conntrack.tcp_established_s), NULL,
     "how long an idle TCP connection is tracked; 0: leave it", NULL},
    {"conntrack-tcp-timeout-close-wait", 0, OPTION_DURATION, AT(conntrack.tcp_close_wait_s), NULL,
     "the same in CLOSE_WAIT; 0: leave it", NULL},
    {"conntrack-tcp-be-liberal", 0, OPTION_BOOL, AT(conntrack.tcp_be_liberal), NULL,
     "only RST packets outside the window are invalid", NULL},
    {"conntrack-udp-timeout", 0, OPTION_DURATION, AT(conntrack.udp_s), NULL,
     "how long UDP packets one way are tracked; 0: leave it", NULL},
    {"conntrack-udp-timeout-stream", 0, OPTION_DURATION, AT(conntrack.udp_stream_s), NULL,
     "how long UDP packets both ways are tracked; 0: leave it", NULL},
    {"oom-score-adj", 0, OPTION_I32, AT(oom_score_adj), NULL,
     "of this process, from -1000 to 1000; 0: leave it", NULL},
    {"cleanup", 0, OPTION_BOOL, AT(cleanup), NULL,
     "remove fairlead's nftables tables and what kube-proxy left in nftables, iptables and IPVS, and exit",
     NULL},
    {"init-only", 0, OPTION_BOOL, AT(init_only), NULL, "set the kernel's connection tracking and exit", NULL},
    {"write-config-to", 0, OPTION_STRING, AT(write_config_to), "FILE",
     "write what is set as a KubeProxyConfiguration and exit", NULL},
    {"proxy-mode", 0, OPTION_IGNORED, 0, NULL, "rules are always nftables", NULL},
    {"iptables-min-sync-period", 0, OPTION_IGNORED, 0, NULL, "rules are always nftables", NULL},
    {"iptables-sync-period", 0, OPTION_IGNORED, 0, NULL, "rules are always nftables", NULL},
    {"iptables-masquerade-bit", 0, OPTION_IGNORED, 0, NULL, "masquerading needs no packet mark", NULL},
    {"iptables-localhost-nodeports", 0, OPTION_IGNORED_BOOL, 0, NULL, "rules are always nftables", NULL},
    {"show-hidden-metrics-for-version", 0, OPTION_IGNORED, 0, NULL, "no metric is hidden", NULL},
};

static const struct option ingress_options[] = {
    {"http-port", 0, OPTION_PORT, AT(http_port), NULL, "plain HTTP", NULL},
    {"https-port", 0, OPTION_PORT, AT(https_port), NULL, "HTTPS", NULL},
    {"healthz-port", 0, OPTION_PORT, AT(healthz_port), NULL, "/healthz, /readyz and /metrics", NULL},
    {"healthz-host", 0, OPTION_IP, AT(healthz_host), NULL, "the address of --healthz-port; not given: all",
     NULL},
    {"ingress-class", 0, OPTION_STRING, AT(ingress_class), "NAME",
     "the annotation value that selects Ingresses (\"fairlead\" when not given)", NULL},
    {"controller-class", 0, OPTION_STRING, AT(controller_class), "NAME",
     "spec.controller of the IngressClasses served (\"fairlead.dev/ingress\" when not given)", NULL},
    {"ingress-class-by-name", 0, OPTION_BOOL, AT(ingress_class_by_name), NULL,
     "also serve the IngressClass that is named as --ingress-class says", NULL},
    {"watch-ingress-without-class", 0, OPTION_BOOL, AT(ingress_without_class), NULL,
     "also serve Ingresses without any class", NULL},
    {"watch-namespace", 0, OPTION_STRING, AT(watch_namespace), "NAMESPACE", "serve this namespace only",
     NULL},
    {"default-ssl-certificate", 0, OPTION_STRING, AT(default_certificate), "NS/NAME",
     "a TLS Secret for names that have none; else a self-signed one", NULL},
    {"default-backend-service", 0, OPTION_STRING, AT(default_backend), "NS/NAME",
     "a Service for requests nobody claims; else a 404 page", NULL},
    {"annotations-prefix", 0, OPTION_STRING, AT(annotations_prefix), "PREFIX", "of the annotations read",
     NULL},
    {"publish-status-address", 0, OPTION_LIST, AT(publish_addresses), "ADDRESS,...",
     "written to status.loadBalancer of the Ingresses served", NULL},
    {"workers", 0, OPTION_U32, AT(workers), "N", "worker threads; 0: one per core", NULL},
    {"access-log", 0, OPTION_STRING, AT(access_log), "FILE|-|off",
     "where requests are logged; -: standard output", NULL},
    {"access-log-format", 0, OPTION_CHOICE, AT(access_log_format), "nginx|json",
     "ingress-nginx's default format, or JSON", access_log_formats},
    {"max-connections", 0, OPTION_U32, AT(connections_max), "N",
     "client connections of all workers; beyond that they are closed", NULL},
    {"proxy-body-size", 0, OPTION_SIZE, AT(body_max_bytes), NULL,
     "largest request body; 0: any; annotations override it", NULL},
    {"client-header-timeout", 0, OPTION_DURATION, AT(head_timeout_s), NULL, "for a whole request head", NULL},
    {"client-body-timeout", 0, OPTION_DURATION, AT(body_timeout_s), NULL,
     "between two reads of a request body", NULL},
    {"keep-alive", 0, OPTION_DURATION, AT(keep_alive_s), NULL, "how long an idle client connection stays",
     NULL},
    {"keep-alive-requests", 0, OPTION_U32, AT(requests_per_connection), "N",
     "requests a client connection may carry; 0: any", NULL},
    {"upstream-keepalive-connections", 0, OPTION_U32, AT(upstream_keepalive), "N",
     "idle connections kept per endpoint and worker", NULL},
    {"upstream-keepalive-timeout", 0, OPTION_DURATION, AT(upstream_idle_s), NULL, "how long those are kept",
     NULL},
    {"use-forwarded-headers", 0, OPTION_BOOL, AT(trust_forwarded), NULL, "believe X-Forwarded-* of clients",
     NULL},
    {"hsts", 0, OPTION_BOOL, AT(hsts), NULL, "Strict-Transport-Security on HTTPS answers", NULL},
    {"worker-shutdown-timeout", 0, OPTION_DURATION, AT(grace_s), NULL,
     "how long requests under way may take after SIGTERM", NULL},
    {"status-port", 0, OPTION_IGNORED, 0, NULL, "there is no inner status server", NULL},
    {"stream-port", 0, OPTION_IGNORED, 0, NULL, "there is no inner stream server", NULL},
    {"default-server-port", 0, OPTION_IGNORED, 0, NULL, "there is no inner default server", NULL},
    {"profiler-port", 0, OPTION_IGNORED, 0, NULL, "perf works on any process", NULL},
    {"internal-logger-address", 0, OPTION_IGNORED, 0, NULL, "see --access-log", NULL},
    {"enable-metrics", 0, OPTION_IGNORED_BOOL, 0, NULL, "metrics are always there", NULL},
    {"sync-rate-limit", 0, OPTION_IGNORED, 0, NULL, "changes are in force at once", NULL},
    {"sync-period", 0, OPTION_IGNORED, 0, NULL, "changes are in force at once", NULL},
    {"dynamic-configuration-retries", 0, OPTION_IGNORED, 0, NULL, "nothing is reloaded", NULL},
    {"enable-annotation-validation", 0, OPTION_IGNORED_BOOL, 0, NULL, "annotations are always validated",
     NULL},
    {"deep-inspect", 0, OPTION_IGNORED_BOOL, 0, NULL, "no text of an Ingress is ever interpreted", NULL},
};

static const struct option check_options[] = {
    {"annotations-prefix", 0, OPTION_STRING, AT(annotations_prefix), "PREFIX", "of the annotations read",
     NULL},
    {"ingress-class", 0, OPTION_STRING, AT(ingress_class), "NAME",
     "check Ingresses of this class only; else all", NULL},
    {"controller-class", 0, OPTION_STRING, AT(controller_class), "NAME",
     "check Ingresses of this controller only; else all", NULL},
};

#define SOURCE_GROUP                                                                        \
	{                                                                                   \
		"Where desired state comes from", source_options, ARRAY_LEN(source_options) \
	}
#define GENERAL_GROUP                                                  \
	{                                                              \
		"General", general_options, ARRAY_LEN(general_options) \
	}
#define PROXY_GROUP                                                                           \
	{                                                                                     \
		"Service proxy (kube-proxy's flags)", proxy_options, ARRAY_LEN(proxy_options) \
	}
#define INGRESS_GROUP                                                                  \
	{                                                                              \
		"Ingress (ingress-nginx's flags and ConfigMap keys)", ingress_options, \
		    ARRAY_LEN(ingress_options)                                         \
	}

const struct option_group flags_proxy[] = {SOURCE_GROUP, PROXY_GROUP, GENERAL_GROUP, {0}};
const struct option_group flags_ingress[] = {SOURCE_GROUP, INGRESS_GROUP, GENERAL_GROUP, {0}};
const struct option_group flags_run[] = {SOURCE_GROUP, PROXY_GROUP, INGRESS_GROUP, GENERAL_GROUP, {0}};
const struct option_group flags_check[] = {{"Check", check_options, ARRAY_LEN(check_options)}, {0}};

static bool interface_refused(const char *flag, const char *name, struct err *err)
{
	if (name && name[0] && strlen(name) < IFNAMSIZ)
		return false;
	(void)err_set(err, -EINVAL, "%s: expected an interface's name of 1 to %d characters", flag,
		      IFNAMSIZ - 1);
	return true;
}

int flags_validate(const struct flags *flags, struct err *err)
{
	if (flags->detect_local_mode == DETECT_BRIDGE &&
	    interface_refused("--pod-bridge-interface", flags->pod_bridge_interface, err))
		return -EINVAL;
	if (flags->detect_local_mode == DETECT_INTERFACE_PREFIX &&
	    interface_refused("--pod-interface-name-prefix", flags->pod_interface_prefix, err))
		return -EINVAL;
	if (flags->oom_score_adj < -1000 || flags->oom_score_adj > 1000)
		return err_set(err, -EINVAL, "--oom-score-adj: expected a number from -1000 to 1000, got %d",
			       flags->oom_score_adj);
	return 0;
}
