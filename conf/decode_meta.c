/* Metadata, and the small shapes that several kinds share. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"
#include "conf/names.h"

#define ANNOTATIONS_MAX_BYTES ((size_t)256 * 1024) /* the API server's limit */

/* ---- labels and annotations ---- */

static bool keep_all(struct str key)
{
	return !str_is(key, "kubectl.kubernetes.io/last-applied-configuration");
}

static bool keep_none(struct str key)
{
	(void)key;
	return false;
}

/* Whether the proxy looks at an object, and how old a slice's change is. What else labels a slice is in fields. */
static bool keep_service(struct str key)
{
	return str_has_prefix(key, STR_LIT("service.kubernetes.io/")) ||
	       str_is(key, "endpoints.kubernetes.io/last-change-trigger-time");
}

struct meta_rule {
	decode_keep_fn *labels, *annotations;
	bool uid, cluster_scoped, label_name;
};

static const struct meta_rule meta_rules[KIND_COUNT] = {
    [KIND_SERVICE] = {.labels = keep_service, .annotations = keep_service, .uid = true, .label_name = true},
    [KIND_ENDPOINTS] = {.labels = keep_service, .annotations = keep_service},
    [KIND_ENDPOINTSLICE] = {.labels = keep_service, .annotations = keep_service},
    [KIND_INGRESS] = {.labels = keep_all, .annotations = keep_all, .uid = true},
    [KIND_INGRESSCLASS] = {.labels = keep_all, .annotations = keep_all, .uid = true, .cluster_scoped = true},
    [KIND_SECRET] = {.labels = keep_none, .annotations = keep_none},
    [KIND_CONFIGMAP] = {.labels = keep_none, .annotations = keep_none},
    [KIND_NAMESPACE] = {.labels = keep_all,
			.annotations = keep_none,
			.cluster_scoped = true,
			.label_name = true},
    [KIND_NODE] = {.labels = keep_all, .annotations = keep_none, .uid = true, .cluster_scoped = true},
    [KIND_SERVICECIDR] = {.labels = keep_none, .annotations = keep_none, .cluster_scoped = true},
    [KIND_LEASE] = {.labels = keep_none, .annotations = keep_none},
};

static void kv_append(struct field_reader *reader, const char *key, struct field value, struct kv_list *list)
{
	list->items[list->count++] = (struct kv){field_copy(reader, str_of(key)), field_text(value)};
}

void decode_kv_list(const struct field *map, decode_keep_fn *keep, struct kv_list *ret)
{
	size_t kept = 0;

	for (size_t i = 0; i < field_count(map); i++)
		kept += !keep || keep(map->node->entries[i].key);
	if (kept == 0)
		return;
	ret->items = field_array(map->reader, kept, sizeof(*ret->items));
	for (size_t i = 0; ret->items && i < field_count(map); i++)
		if (!keep || keep(map->node->entries[i].key))
			kv_append(map->reader, map->node->entries[i].key.p, field_entry(map, i), ret);
}

static size_t text_bytes(const struct field *map)
{
	size_t bytes = 0;

	for (size_t i = 0; i < field_count(map); i++)
		bytes += map->node->entries[i].key.len + map->node->entries[i].value->text.len;
	return bytes;
}

bool decode_data_fits(const struct field *map)
{
	if (text_bytes(map) <= DECODE_DATA_MAX_BYTES)
		return true;
	field_complain(map, "more than %zu bytes altogether", DECODE_DATA_MAX_BYTES);
	return false;
}

static void check_annotations_size(const struct field *annotations)
{
	if (text_bytes(annotations) > ANNOTATIONS_MAX_BYTES)
		field_complain(annotations, "more than %zu bytes altogether", ANNOTATIONS_MAX_BYTES);
}

/* ---- metadata ---- */

static const char *decode_name(const struct field *meta, bool label)
{
	struct field field = field_at(meta, "name");
	const char *name = label ? field_name_required(field, name_is_label, NAME_LABEL_TEXT)
				 : field_name_required(field, name_is_subdomain, NAME_SUBDOMAIN_TEXT);

	if (name[0] != '\0')
		meta->reader->name = name;
	return name;
}

static const char *decode_namespace_name(const struct field *meta, const char *default_ns)
{
	struct field field = field_at(meta, "namespace");
	const char *ns = field_present(&field) ? field_name_required(field, name_is_label, NAME_LABEL_TEXT)
					       : field_copy(meta->reader, str_of(default_ns));

	meta->reader->ns = ns;
	return ns;
}

static const char *make_origin(const struct field *root)
{
	struct field_reader *reader = root->reader;
	char origin[512];

	if (!reader->file)
		return "api";
	snprintf(origin, sizeof(origin), "%s:%d", reader->file, root->node->line);
	return field_copy(reader, str_of(origin));
}

void decode_meta(const struct field *root, const char *default_ns, struct object *object)
{
	struct field meta = field_map_at(root, "metadata");
	struct field labels = field_map_at(&meta, "labels");
	struct field annotations = field_map_at(&meta, "annotations");
	struct field deleted = field_at(&meta, "deletionTimestamp");

	object->name = decode_name(&meta, meta_rules[object->kind].label_name);
	object->ns = meta_rules[object->kind].cluster_scoped ? "" : decode_namespace_name(&meta, default_ns);
	if (meta_rules[object->kind].uid)
		object->uid = field_text(field_at(&meta, "uid"));
	if (!root->reader->file)
		object->resource_version = field_text(field_at(&meta, "resourceVersion"));
	object->created_s = field_time_us(field_at(&meta, "creationTimestamp")) / 1000000;
	object->deleting = field_present(&deleted);
	decode_kv_list(&labels, meta_rules[object->kind].labels, &object->labels);
	check_annotations_size(&annotations);
	decode_kv_list(&annotations, meta_rules[object->kind].annotations, &object->annotations);
	object->origin = make_origin(root);
}

/* ---- shared shapes ---- */

void decode_cidrs(const struct field *list, struct cidr **ret_items, size_t *ret_count)
{
	struct cidr *items = field_array(list->reader, field_count(list), sizeof(*items));
	size_t count = 0;

	for (size_t i = 0; items && i < field_count(list); i++) {
		bool failed;
		count += field_cidr(field_droppable(field_item(list, i), &failed), &items[count]);
	}
	*ret_items = items;
	*ret_count = count;
}

static void decode_lb_item(const struct field *item, struct lb_ingress *ret)
{
	static const char *const modes[] = {"VIP", "Proxy"};

	*ret = (struct lb_ingress){0};
	field_ip(field_at(item, "ip"), &ret->ip);
	ret->hostname = field_text(field_at(item, "hostname"));
	ret->ip_mode_proxy = field_word(field_at(item, "ipMode"), modes, ARRAY_LEN(modes), 0) == 1;
}

void decode_lb_ingress(const struct field *root, struct lb_ingress **ret_items, size_t *ret_count)
{
	bool failed;
	struct field object = field_droppable(*root, &failed);
	struct field status = field_map_at(&object, "status");
	struct field balancer = field_map_at(&status, "loadBalancer");
	struct field list = field_list_at(&balancer, "ingress");
	struct lb_ingress *items = field_array(root->reader, field_count(&list), sizeof(*items));
	size_t count = 0;

	for (struct field_iter it = field_maps(&list); items && field_next(&it);) {
		failed = false;
		decode_lb_item(&it.item, &items[count]);
		count += !failed;
	}
	*ret_items = items;
	*ret_count = count;
}

enum protocol decode_protocol(struct field field)
{
	static const char *const words[] = {"TCP", "UDP", "SCTP"};

	_Static_assert(PROTOCOL_TCP == 0 && PROTOCOL_UDP == 1 && PROTOCOL_SCTP == 2,
		       "in the order of the words");
	return (enum protocol)field_word(field, words, ARRAY_LEN(words), PROTOCOL_TCP);
}

const char *decode_text_like(struct field field, const char *previous)
{
	struct str text = field_str(field);

	return previous && str_is(text, previous) ? previous : field_copy(field.reader, text);
}

bool decode_ip_is_unusable(const struct ip *ip)
{
	return ip_is_unspecified(ip) || ip_is_link_local(ip) || ip_is_multicast(ip);
}
