/* Ingress in its three shapes (networking.k8s.io/v1, v1beta1, extensions/v1beta1), and IngressClass. */
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode_kinds.h"
#include "conf/names.h"

#define HOST_TEXT "a host name, or one with \"*\" as its whole first label"

/* The two ways to write the same: v1 and what came before it. */
struct shape {
	const char *default_backend; /* the field's name */
	void (*backend)(const struct field *field, struct ingress_backend *ret);
	bool path_type_required;
};

/* ---- backends ---- */

static void decode_service_port(const struct field *service, struct ingress_backend *ret)
{
	struct field port = field_map_at(service, "port");
	struct field name = field_at(&port, "name"), number = field_at(&port, "number");

	if (field_present(&name) == field_present(&number)) {
		field_complain(&port, "expected either a number or a name");
		return;
	}
	ret->port_number = field_port(number, 0);
	ret->port_name = field_name(name, name_is_port, NAME_PORT_TEXT);
}

static void decode_backend_v1(const struct field *field, struct ingress_backend *ret)
{
	struct field service = field_map_at(field, "service"), resource = field_map_at(field, "resource");

	if (field_present(&service) == field_present(&resource)) {
		field_complain(field, "expected either a service or a resource");
		return;
	}
	ret->is_resource = field_present(&resource);
	if (ret->is_resource)
		return;
	ret->service_name = field_name_required(field_at(&service, "name"), name_is_label, NAME_LABEL_TEXT);
	decode_service_port(&service, ret);
}

/* A number, a name, or a number in quotes. */
static void decode_old_port(const struct field *backend, struct ingress_backend *ret)
{
	struct field field = field_at(backend, "servicePort");
	uint64_t number;

	if (field_present(&field) && str_to_u64(field_peek(&field), UINT16_MAX, &number) == 0 && number > 0)
		ret->port_number = (uint16_t)number;
	else if (field_present(&field) && field.node->type != NODE_STRING)
		ret->port_number = field_port(field, 0);
	else
		ret->port_name = field_name_required(field, name_is_port, "a port number or name");
}

static void decode_backend_old(const struct field *field, struct ingress_backend *ret)
{
	struct field resource = field_map_at(field, "resource"), name = field_at(field, "serviceName");

	ret->is_resource = field_present(&resource);
	if (ret->is_resource && field_present(&name))
		field_complain(field, "expected either a service or a resource");
	if (ret->is_resource)
		return;
	ret->service_name = field_name_required(name, name_is_label, NAME_LABEL_TEXT);
	decode_old_port(field, ret);
}

static void decode_backend(const struct field *field, const struct shape *shape, struct ingress_backend *ret)
{
	*ret = (struct ingress_backend){.service_name = "", .port_name = ""};
	shape->backend(field, ret);
}

/* ---- hosts ---- */

static bool is_host(struct str host)
{
	struct ip ip;

	if (str_has_prefix(host, STR_LIT("*."))) {
		host.p += 2;
		host.len -= 2;
	}
	return name_is_subdomain(host) && ip_parse(host, &ip) < 0;
}

/* Lower case, since host names have none. "" when absent or empty. */
static const char *decode_host(struct field field)
{
	char lower[NAME_SUBDOMAIN_MAX + 3];
	struct str host = field_str(field);

	if (host.len == 0)
		return "";
	if (host.len >= sizeof(lower)) {
		field_expected(&field, HOST_TEXT);
		return "";
	}
	for (size_t i = 0; i < host.len; i++)
		lower[i] = (char)(host.p[i] >= 'A' && host.p[i] <= 'Z' ? host.p[i] - 'A' + 'a' : host.p[i]);
	host.p = lower;
	if (!is_host(host)) {
		field_expected(&field, HOST_TEXT);
		return "";
	}
	return field_copy(field.reader, host);
}

/* ---- rules ---- */

static enum path_type decode_path_type(const struct field *item, const struct shape *shape)
{
	static const char *const words[] = {"ImplementationSpecific", "Exact", "Prefix"};
	struct field field = field_at(item, "pathType");

	_Static_assert(PATH_IMPLEMENTATION_SPECIFIC == 0 && PATH_EXACT == 1 && PATH_PREFIX == 2,
		       "in the order of the words");
	if (shape->path_type_required && !field_present(&field))
		field_warn(&field, "is missing: ImplementationSpecific is assumed");
	return (enum path_type)field_word(field, words, ARRAY_LEN(words), PATH_IMPLEMENTATION_SPECIFIC);
}

static void decode_path(const struct field *item, const struct shape *shape, struct ingress_path *ret)
{
	struct field path = field_at(item, "path");
	struct field backend = field_map_at(item, "backend");

	ret->type = decode_path_type(item, shape);
	ret->path = field_text(path);
	if (ret->path[0] != '/' && (ret->path[0] != '\0' || ret->type != PATH_IMPLEMENTATION_SPECIFIC))
		field_expected(&path, "a path that begins with \"/\"");
	decode_backend(&backend, shape, &ret->backend);
}

static void decode_rule(const struct field *item, const struct shape *shape, struct ingress_rule *ret)
{
	struct field http = field_map_at(item, "http");
	struct field paths = field_list_at(&http, "paths");

	ret->host = decode_host(field_at(item, "host"));
	ret->has_http = field_present(&http);
	if (ret->has_http && field_count(&paths) == 0)
		field_expected(&paths, "at least one path");
	ret->paths = field_array(item->reader, field_count(&paths), sizeof(*ret->paths));
	for (struct field_iter it = field_maps(&paths); ret->paths && field_next(&it);)
		decode_path(&it.item, shape, &ret->paths[ret->path_count++]);
}

static void decode_rules(const struct field *spec, const struct shape *shape, struct ingress *ingress)
{
	struct field list = field_list_at(spec, "rules");

	ingress->rules = field_array(spec->reader, field_count(&list), sizeof(*ingress->rules));
	for (struct field_iter it = field_maps(&list); ingress->rules && field_next(&it);)
		decode_rule(&it.item, shape, &ingress->rules[ingress->rule_count++]);
}

static void decode_tls_item(const struct field *item, struct ingress_tls *ret)
{
	struct field hosts = field_list_at(item, "hosts");

	ret->secret_name = field_text(field_at(item, "secretName"));
	ret->hosts.items = field_array(item->reader, field_count(&hosts), sizeof(*ret->hosts.items));
	for (size_t i = 0; ret->hosts.items && i < field_count(&hosts); i++)
		ret->hosts.items[ret->hosts.count++] = decode_host(field_item(&hosts, i));
}

static void decode_tls(const struct field *spec, struct ingress *ingress)
{
	struct field list = field_list_at(spec, "tls");

	ingress->tls = field_array(spec->reader, field_count(&list), sizeof(*ingress->tls));
	for (struct field_iter it = field_maps(&list); ingress->tls && field_next(&it);)
		decode_tls_item(&it.item, &ingress->tls[ingress->tls_count++]);
}

static const struct shape *shape_of(const struct field *root)
{
	static const struct shape today = {"defaultBackend", decode_backend_v1, true};
	static const struct shape old = {"backend", decode_backend_old, false};
	struct field api_version = field_at(root, "apiVersion");

	/* Items of a list from the API do not say; what is asked for there is v1. */
	return str_has_suffix(field_peek(&api_version), STR_LIT("/v1beta1")) ? &old : &today;
}

void decode_ingress(const struct field *root, struct object *object)
{
	struct ingress *ingress = (struct ingress *)object;
	const struct shape *shape = shape_of(root);
	struct field spec = field_map_at(root, "spec");
	struct field class_name = field_at(&spec, "ingressClassName");
	struct field default_backend = field_map_at(&spec, shape->default_backend);

	ingress->class_name = field_text(class_name);
	ingress->has_class_name = field_present(&class_name);
	ingress->has_default_backend = field_present(&default_backend);
	ingress->default_backend = (struct ingress_backend){.service_name = "", .port_name = ""};
	if (ingress->has_default_backend)
		decode_backend(&default_backend, shape, &ingress->default_backend);
	decode_rules(&spec, shape, ingress);
	decode_tls(&spec, ingress);
	if (!ingress->has_default_backend && ingress->rule_count == 0)
		field_complain(&spec, "expected rules or %s", shape->default_backend);
	decode_lb_ingress(root, &ingress->status_lb, &ingress->status_lb_count);
}

void decode_ingress_class(const struct field *root, struct object *object)
{
	struct ingress_class *class = (struct ingress_class *)object;
	struct field spec = field_map_at(root, "spec");
	const char *is_default = kv_get(&object->annotations, "ingressclass.kubernetes.io/is-default-class");

	class->controller = field_text(field_at(&spec, "controller"));
	class->is_default = is_default && strcmp(is_default, "true") == 0;
}
