/* The typed object model: what fairlead keeps of Kubernetes API objects (field names follow the API
 * reference, Kubernetes v1). Built by conf/decode from JSON or YAML; read by proxy/ and ingress/.
 *
 * Invariants
 *  1. An object is immutable once it is in a store, and reference-counted (main thread only).
 *  2. Strings, lists and sub-objects live in the object's own memory and die with it.
 *  3. Absent strings are "" (never NULL); absent lists have count 0. Optional scalars say "has_".
 *  4. Only fields somebody reads are here; everything else never leaves the decoder. */
#ifndef CONF_OBJECT_H
#define CONF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/arena.h"

enum kind {
	KIND_SERVICE,
	KIND_ENDPOINTS,
	KIND_ENDPOINTSLICE,
	KIND_INGRESS,
	KIND_INGRESSCLASS,
	KIND_SECRET,
	KIND_CONFIGMAP,
	KIND_NAMESPACE,
	KIND_NODE,
	KIND_SERVICECIDR,
	KIND_LEASE,
};
#define KIND_COUNT     11
#define KIND_BIT(kind) (1u << (kind))

const char *kind_name(enum kind kind); /* "Service" */
bool kind_from_name(struct str name, enum kind *ret);

struct kv {
	const char *key, *value;
};
struct kv_list {
	struct kv *items;
	size_t count;
};
struct string_list {
	const char **items;
	size_t count;
};
struct bytes {
	const uint8_t *data;
	size_t len;
};
struct named_bytes {
	const char *key;
	struct bytes value;
};

struct object {
	enum kind kind;
	unsigned refs;
	const char *ns, *name; /* ns "" for cluster-scoped kinds */
	const char *uid, *resource_version;
	int64_t created_s; /* metadata.creationTimestamp, Unix time; 0 when absent */
	bool deleting;     /* metadata.deletionTimestamp is set */
	struct kv_list labels, annotations;
	const char *origin;    /* "file:line" the object begins at, or "api" */
	uint64_t content_hash; /* of the document it was read from, equal for equal ones; 0 from the API */
	uint32_t list_mark;    /* bookkeeping of the store that holds it */
	struct arena arena;    /* what does not stand behind the struct itself (object_new_with_room) */
};

/* A zeroed object of the kind's struct with one reference, its own strings "" and its arena empty; the
 * builder owes the rest of invariant 3. NULL when out of memory. */
struct object *object_new(enum kind kind);
/* The same with room_bytes of zeroed, 8-byte aligned memory behind the struct, for its builder to fill: an
 * object of known size in one piece. */
struct object *object_new_with_room(enum kind kind, size_t room_bytes, char **ret_room);
struct object *object_ref(struct object *object);
struct object *object_unref(struct object *object); /* NULL allowed; returns NULL */

/* NULL when absent. */
const char *kv_get(const struct kv_list *list, const char *key);

enum protocol { PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP };
const char *protocol_name(enum protocol protocol); /* "TCP" */

/* ---- v1 Service ---- */

enum service_type { SERVICE_CLUSTER_IP, SERVICE_NODE_PORT, SERVICE_LOAD_BALANCER, SERVICE_EXTERNAL_NAME };
enum traffic_policy { TRAFFIC_POLICY_CLUSTER, TRAFFIC_POLICY_LOCAL };

struct service_port {
	const char *name; /* "" allowed for a single port */
	enum protocol protocol;
	uint16_t port, node_port; /* node_port 0: none */
	uint16_t target_port;     /* numeric targetPort; port when absent; 0 when it is a name */
	const char *target_port_name;
	const char *app_protocol;
};

struct lb_ingress {
	struct ip ip; /* family 0 when only a hostname is given */
	const char *hostname;
	bool ip_mode_proxy; /* ipMode: Proxy */
};

struct service {
	struct object meta; /* first */
	enum service_type type;
	bool headless; /* clusterIP: None */
	struct ip *cluster_ips;
	size_t cluster_ip_count;
	struct ip *external_ips;
	size_t external_ip_count;
	struct lb_ingress *lb_ingress;
	size_t lb_ingress_count;
	struct cidr *lb_source_ranges;
	size_t lb_source_range_count;
	struct service_port *ports;
	size_t port_count;
	enum traffic_policy internal_policy, external_policy;
	bool affinity_client_ip;
	uint32_t affinity_timeout_s; /* default 10800 */
	uint16_t health_check_node_port;
	bool publish_not_ready;
	bool has_selector;
	const char *external_name;
};

/* ---- v1 Endpoints and discovery.k8s.io/v1 EndpointSlice, one shape for both ---- */

struct endpoint_port {
	const char *name;
	enum protocol protocol;
	uint16_t port;
	const char *app_protocol;
};

struct endpoint {
	struct ip ip; /* addresses[0] */
	bool ready, serving, terminating;
	const char *node_name, *zone, *hostname;
	struct string_list hint_zones, hint_nodes;
};

/* One EndpointSlice, or one subset of an Endpoints object. */
struct endpoint_group {
	uint16_t family; /* addressType: AF_INET or AF_INET6; 0 for FQDN, which nobody serves */
	struct endpoint_port *ports;
	size_t port_count;
	struct endpoint *endpoints;
	size_t endpoint_count;
};

/* KIND_ENDPOINTS: groups = subsets split by family, service name = object name.
 * KIND_ENDPOINTSLICE: one group, service name = label kubernetes.io/service-name ("" if it lacks it). */
struct endpoints {
	struct object meta;
	const char *service_name;
	bool mirrored; /* slice: managed-by endpointslicemirroring-controller.k8s.io */
	struct endpoint_group *groups;
	size_t group_count;
};

/* ---- networking.k8s.io/v1 Ingress (v1beta1 and extensions/v1beta1 decode to the same) ---- */

enum path_type { PATH_IMPLEMENTATION_SPECIFIC, PATH_EXACT, PATH_PREFIX };

struct ingress_backend {
	const char *service_name; /* "" when it is a resource backend or absent */
	const char *port_name;    /* "" when by number */
	uint16_t port_number;     /* 0 when by name */
	bool is_resource;
};

struct ingress_path {
	const char *path; /* "" only for ImplementationSpecific: means "/" */
	enum path_type type;
	struct ingress_backend backend;
};

struct ingress_rule {
	const char *host; /* "": every host; "*.foo.com"; lower case */
	bool has_http;
	struct ingress_path *paths;
	size_t path_count;
};

struct ingress_tls {
	struct string_list hosts;
	const char *secret_name;
};

struct ingress {
	struct object meta;
	bool has_class_name;
	const char *class_name;
	bool has_default_backend;
	struct ingress_backend default_backend;
	struct ingress_rule *rules;
	size_t rule_count;
	struct ingress_tls *tls;
	size_t tls_count;
	struct lb_ingress *status_lb; /* status.loadBalancer.ingress */
	size_t status_lb_count;
};

struct ingress_class {
	struct object meta;
	const char *controller;
	bool is_default; /* annotation ingressclass.kubernetes.io/is-default-class: "true" */
};

/* ---- the small ones ---- */

struct secret {
	struct object meta;
	const char *type;
	struct named_bytes *data; /* decoded; stringData merged. Key bytes are wiped when the object dies */
	size_t data_count;
};

struct config_map {
	struct object meta;
	struct kv_list data;
};

struct namespace_object {
	struct object meta; /* labels are what is read */
};

struct node_object { /* not "struct node": that is a parsed document's, conf/node.h */
	struct object meta;
	struct ip *internal_ips, *external_ips;
	size_t internal_ip_count, external_ip_count;
	struct cidr *pod_cidrs;
	size_t pod_cidr_count;
	bool autoscaler_taint; /* ToBeDeletedByClusterAutoscaler */
};

struct service_cidr {
	struct object meta;
	struct cidr *cidrs;
	size_t cidr_count;
};

struct lease {
	struct object meta;
	const char *holder_identity;
	uint32_t duration_s, transitions;
	int64_t renew_time_us; /* Unix time in microseconds; 0 when absent */
};

const struct bytes *secret_get(const struct secret *secret, const char *key); /* NULL when absent */

#endif
