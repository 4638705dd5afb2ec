/* Any bytes as a manifest, and as one object of each kind from the API: objects keep their invariants, complaints
 * are one line. */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/decode.h"

static void check_service(const struct service *service)
{
	assert(service->cluster_ip_count <= 2);
	assert(service->external_name);
	for (size_t i = 0; i < service->cluster_ip_count; i++)
		assert(service->cluster_ips[i].family != 0);
	for (size_t i = 0; i < service->port_count; i++)
		assert(service->ports[i].port > 0 && service->ports[i].name &&
		       service->ports[i].target_port_name && service->ports[i].app_protocol);
}

static void check_group(const struct endpoint_group *group)
{
	for (size_t i = 0; i < group->port_count; i++)
		assert(group->ports[i].port > 0 && group->ports[i].name && group->ports[i].app_protocol);
	for (size_t i = 0; i < group->endpoint_count; i++) {
		const struct endpoint *endpoint = &group->endpoints[i];
		assert(endpoint->ip.family == group->family);
		assert(endpoint->node_name && endpoint->zone && endpoint->hostname);
	}
}

static void check_endpoints(const struct endpoints *endpoints)
{
	assert(endpoints->service_name);
	for (size_t i = 0; i < endpoints->group_count; i++)
		check_group(&endpoints->groups[i]);
}

static void check_backend(const struct ingress_backend *backend)
{
	assert(backend->service_name && backend->port_name);
	assert(backend->is_resource == (backend->service_name[0] == '\0'));
	assert(backend->is_resource || (backend->port_number != 0) != (backend->port_name[0] != '\0'));
}

static void check_ingress(const struct ingress *ingress)
{
	assert(ingress->class_name);
	if (ingress->has_default_backend)
		check_backend(&ingress->default_backend);
	for (size_t i = 0; i < ingress->rule_count; i++) {
		const struct ingress_rule *rule = &ingress->rules[i];
		assert(rule->host);
		for (size_t j = 0; j < rule->path_count; j++) {
			assert(rule->paths[j].path[0] == '/' ||
			       rule->paths[j].type == PATH_IMPLEMENTATION_SPECIFIC);
			check_backend(&rule->paths[j].backend);
		}
	}
	for (size_t i = 0; i < ingress->tls_count; i++)
		assert(ingress->tls[i].secret_name &&
		       (ingress->tls[i].hosts.count == 0 || ingress->tls[i].hosts.items));
}

static void check_secret(const struct secret *secret)
{
	assert(secret->type);
	for (size_t i = 0; i < secret->data_count; i++)
		assert(secret->data[i].key && secret->data[i].value.data);
}

static void on_object(void *ctx, struct object *object)
{
	(void)ctx;
	assert(object->name[0] != '\0' && object->ns && object->uid && object->resource_version &&
	       object->origin);
	assert(object->refs == 1 && object->arena.blocks == NULL);
	for (size_t i = 0; i < object->annotations.count; i++)
		assert(object->annotations.items[i].key && object->annotations.items[i].value);
	if (object->kind == KIND_SERVICE)
		check_service((const struct service *)object);
	if (object->kind == KIND_ENDPOINTS || object->kind == KIND_ENDPOINTSLICE)
		check_endpoints((const struct endpoints *)object);
	if (object->kind == KIND_INGRESS)
		check_ingress((const struct ingress *)object);
	if (object->kind == KIND_SECRET)
		check_secret((const struct secret *)object);
	object_unref(object);
}

static void on_complaint(void *ctx, const struct decode_complaint *complaint)
{
	char text[512];

	(void)ctx;
	decode_complaint_text(complaint, text, sizeof(text));
	assert(text[0] != '\0' && !strpbrk(text, "\n\r\t\033"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct decode_sink sink = {on_object, on_complaint, NULL};
	const char *text = (const char *)data;
	int rc = decode_manifest(text, size, "fuzz.yaml", &sink);

	assert(rc == 0 || rc == -EBADMSG);
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		rc = decode_json(text, size, (enum kind)kind, &sink);
		assert(rc == 0 || rc == -EBADMSG);
	}
	return 0;
}
