/* The decoders of the single kinds, and what they share. Inside conf/ only.
 *
 * Each reads from the object's root into the struct of its kind, whose metadata is filled already. What makes
 * the object unusable it complains of by the field; what can be left out alone it leaves out. */
#ifndef CONF_DECODE_KINDS_H
#define CONF_DECODE_KINDS_H

#include "conf/field.h"

typedef void decode_kind_fn(const struct field *root, struct object *object);

decode_kind_fn decode_service, decode_endpoints, decode_endpointslice, decode_ingress, decode_ingress_class;
decode_kind_fn decode_secret, decode_config_map, decode_namespace, decode_node_object, decode_service_cidr;
decode_kind_fn decode_lease;

/* metadata: names (checked), versions, and of labels and annotations what somebody reads. The kind is known.
 */
void decode_meta(const struct field *root, const char *default_ns, struct object *object);

/* A map of strings; keep: which keys (NULL: all). */
typedef bool decode_keep_fn(struct str key);
void decode_kv_list(const struct field *map, decode_keep_fn *keep, struct kv_list *ret);

/* The data of Secrets and ConfigMaps: complains of more keys and values, as written, than an API server would
 * store (1 MiB of values; base64 and names make it more). */
#define DECODE_DATA_MAX_BYTES ((size_t)2 * 1024 * 1024)
bool decode_data_fits(const struct field *map);

/* A list of address ranges; bad ones are left out with a warning. */
void decode_cidrs(const struct field *list, struct cidr **ret_items, size_t *ret_count);

/* status.loadBalancer.ingress of Services and Ingresses. */
void decode_lb_ingress(const struct field *root, struct lb_ingress **ret_items, size_t *ret_count);

enum protocol decode_protocol(struct field field); /* TCP when absent */

/* The text again if it equals the one before (endpoints of one node), else a copy of its own. */
const char *decode_text_like(struct field field, const char *previous);

/* Not an address traffic can be sent to: unspecified, link-local, multicast. Loopback is the reader's to
 * judge. */
bool decode_ip_is_unusable(const struct ip *ip);

#endif
