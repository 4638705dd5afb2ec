/* conf/decode_endpoints: Endpoints and EndpointSlices of both versions, to the same groups. */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm */
#include "tests/unit/decode_harness.h"

#define ENDPOINTS "apiVersion: v1\nkind: Endpoints\nmetadata: { name: web, namespace: shop }\n"
#define SLICE                                                    \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" \
	"metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }\n"

static void an_endpoints_object_gives_a_group_for_each_subset_and_family(void **state)
{
	struct endpoints *endpoints =
	    decoded_one(ENDPOINTS "subsets:\n"
				  "- addresses:\n"
				  "  - { ip: 10.0.0.1, nodeName: n1, hostname: a }\n"
				  "  - { ip: 'fd00::1', nodeName: n1 }\n"
				  "  - { ip: 10.0.0.2, nodeName: n2 }\n"
				  "  notReadyAddresses: [{ ip: 10.0.0.3 }]\n"
				  "  ports:\n"
				  "  - { name: http, port: 8080, appProtocol: http }\n"
				  "  - { name: dns, port: 53, protocol: UDP }\n"
				  "- addresses: [{ ip: 10.0.0.4 }]\n"
				  "  ports: [{ port: 81 }]\n"
				  "- ports: [{ port: 82 }]\n");
	const struct endpoint_group *v4 = &endpoints->groups[0], *v6 = &endpoints->groups[1];

	(void)state;
	assert_string_equal(endpoints->service_name, "web");
	assert_false(endpoints->mirrored);
	assert_int_equal(endpoints->group_count, 3);
	assert_int_equal(v4->family, AF_INET);
	assert_int_equal(v4->endpoint_count, 3);
	assert_ip(&v4->endpoints[0].ip, "10.0.0.1");
	assert_string_equal(v4->endpoints[0].node_name, "n1");
	assert_string_equal(v4->endpoints[0].hostname, "a");
	assert_string_equal(v4->endpoints[0].zone, "");
	assert_true(v4->endpoints[1].ready && v4->endpoints[1].serving);
	assert_string_equal(v4->endpoints[1].node_name, "n2");
	assert_false(v4->endpoints[2].ready || v4->endpoints[2].serving || v4->endpoints[2].terminating);
	assert_int_equal(v4->port_count, 2);
	assert_string_equal(v4->ports[0].app_protocol, "http");
	assert_int_equal(v4->ports[1].protocol, PROTOCOL_UDP);
	assert_int_equal(v6->family, AF_INET6);
	assert_int_equal(v6->endpoint_count, 1);
	assert_int_equal(v6->port_count, 2);
	assert_string_equal(endpoints->groups[2].ports[0].name, "");
	object_unref(&endpoints->meta);
}

static void a_slice_is_read(void **state)
{
	struct endpoints *slice = decoded_one(
	    "apiVersion: discovery.k8s.io/v1\n"
	    "kind: EndpointSlice\n"
	    "metadata:\n"
	    "  name: web-1\n"
	    "  labels:\n"
	    "    kubernetes.io/service-name: web\n"
	    "    endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io\n"
	    "    service.kubernetes.io/headless: ''\n"
	    "  annotations:\n"
	    "    endpoints.kubernetes.io/last-change-trigger-time: '2024-01-31T12:00:00Z'\n"
	    "    other: x\n"
	    "addressType: IPv6\n"
	    "ports: [{ name: http, port: 8080 }, { name: any }, { name: none, port: null }]\n"
	    "endpoints:\n"
	    "- addresses: ['fd00::1', 'fd00::99']\n"
	    "  nodeName: n1\n"
	    "  zone: z1\n"
	    "  hostname: web-0\n"
	    "  conditions: { ready: false, serving: true, terminating: true }\n"
	    "  hints: { forZones: [{ name: z1 }, { name: z2 }], forNodes: [{ name: n1 }] }\n"
	    "- addresses: ['fd00::2']\n"
	    "  nodeName: n1\n");
	const struct endpoint_group *group = &slice->groups[0];
	const struct endpoint *first = &group->endpoints[0], *second = &group->endpoints[1];

	(void)state;
	assert_string_equal(slice->meta.ns, "default");
	assert_string_equal(slice->service_name, "web");
	assert_true(slice->mirrored);
	assert_int_equal(slice->meta.labels.count, 1);
	assert_non_null(kv_get(&slice->meta.annotations, "endpoints.kubernetes.io/last-change-trigger-time"));
	assert_null(kv_get(&slice->meta.annotations, "other"));
	assert_int_equal(slice->group_count, 1);
	assert_int_equal(group->family, AF_INET6);
	assert_int_equal(group->port_count, 1); /* those without a number match nothing */
	assert_int_equal(group->endpoint_count, 2);
	assert_ip(&first->ip, "fd00::1"); /* the first address only */
	assert_true(!first->ready && first->serving && first->terminating);
	assert_string_equal(first->zone, "z1");
	assert_string_equal(first->hostname, "web-0");
	assert_int_equal(first->hint_zones.count, 2);
	assert_string_equal(first->hint_zones.items[1], "z2");
	assert_string_equal(first->hint_nodes.items[0], "n1");
	assert_true(second->ready && second->serving && !second->terminating); /* what absent means */
	assert_ptr_equal(first->node_name, second->node_name);
	assert_string_equal(second->zone, "");
	object_unref(&slice->meta);
}

static void null_conditions_mean_what_absent_ones_do(void **state)
{
	struct endpoints *slice = decoded_one(SLICE "addressType: IPv4\nports: [{ port: 80 }]\n"
						    "endpoints: [{ addresses: [10.0.0.1], conditions: { "
						    "ready: null, serving: null, terminating: null } }]\n");

	(void)state;
	assert_true(slice->groups[0].endpoints[0].ready && slice->groups[0].endpoints[0].serving);
	assert_false(slice->groups[0].endpoints[0].terminating);
	assert_string_equal(slice->groups[0].ports[0].name, "");
	object_unref(&slice->meta);
}

static void the_beta_slice_has_its_place_in_the_topology(void **state)
{
	struct endpoints *slice = decoded_one(
	    "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: { name: web-1 }\n"
	    "addressType: IPv4\nports: [{ port: 80 }]\n"
	    "endpoints:\n"
	    "- addresses: [10.0.0.1]\n"
	    "  topology: { kubernetes.io/hostname: n1, topology.kubernetes.io/zone: z1 }\n");

	(void)state;
	assert_string_equal(slice->service_name, "");
	assert_string_equal(slice->groups[0].endpoints[0].node_name, "n1");
	assert_string_equal(slice->groups[0].endpoints[0].zone, "z1");
	object_unref(&slice->meta);
}

static void names_instead_of_addresses_serve_nobody(void **state)
{
	struct endpoints *slice = decoded_one(SLICE "addressType: FQDN\nports: [{ port: 80 }]\n"
						    "endpoints: [{ addresses: [db.example.com] }]\n");

	(void)state;
	assert_int_equal(slice->groups[0].family, 0);
	assert_int_equal(slice->groups[0].endpoint_count, 0);
	object_unref(&slice->meta);
}

static void a_bad_endpoint_is_left_out_alone(void **state)
{
	struct decoded decoded =
	    decoded_yaml(SLICE "addressType: IPv4\n"
			       "ports: [{ port: 80 }]\n"
			       "endpoints:\n"
			       "- { addresses: [10.0.0.999] }\n"
			       "- { addresses: ['fd00::1'] }\n"
			       "- { addresses: [] }\n"
			       "- { addresses: [169.254.0.1] }\n"
			       "- { addresses: [10.0.0.7], conditions: { ready: 'yes' } }\n"
			       "- 5\n"
			       "- { addresses: [127.0.0.1] }\n");
	struct endpoints *slice;

	(void)state;
	assert_string_equal(
	    decoded_complaints(&decoded),
	    "warning: t.yaml:7: EndpointSlice shop/web-1: endpoints[0].addresses[0]: expected an IP address, "
	    "got "
	    "\"10.0.0.999\"\n"
	    "warning: t.yaml:8: EndpointSlice shop/web-1: endpoints[1].addresses[0]: expected an address of "
	    "the slice's "
	    "addressType, got \"fd00::1\"\n"
	    "warning: t.yaml:9: EndpointSlice shop/web-1: endpoints[2].addresses: expected an IP address, "
	    "got a list\n"
	    "warning: t.yaml:10: EndpointSlice shop/web-1: endpoints[3].addresses[0]: expected an address "
	    "that traffic can "
	    "be sent to, got \"169.254.0.1\"\n"
	    "warning: t.yaml:11: EndpointSlice shop/web-1: endpoints[4].conditions.ready: expected true or "
	    "false, got "
	    "\"yes\"\n"
	    "warning: t.yaml:12: EndpointSlice shop/web-1: endpoints[5]: expected a map, got 5\n");
	assert_int_equal(decoded.count, 1);
	slice = (struct endpoints *)decoded.objects[0];
	assert_int_equal(slice->groups[0].endpoint_count, 1); /* loopback is the reader's to judge */
	assert_ip(&slice->groups[0].endpoints[0].ip, "127.0.0.1");
	decoded_done(&decoded);
}

static void a_bad_address_is_left_out_of_endpoints_alone(void **state)
{
	struct decoded decoded = decoded_yaml(
	    ENDPOINTS "subsets:\n"
		      "- addresses: [{ ip: 10.0.0.1 }, { ip: x }, {}, { ip: 10.0.0.2, nodeName: 5 }]\n"
		      "  ports: [{ port: 80 }]\n");

	(void)state;
	assert_string_equal(decoded_complaints(&decoded),
			    "warning: t.yaml:5: Endpoints shop/web: subsets[0].addresses[1].ip: expected an "
			    "IP address, got \"x\"\n"
			    "warning: t.yaml:5: Endpoints shop/web: subsets[0].addresses[2].ip: is missing: "
			    "expected an IP address\n"
			    "warning: t.yaml:5: Endpoints shop/web: subsets[0].addresses[3].nodeName: "
			    "expected a string, got 5\n");
	assert_int_equal(decoded.count, 1);
	assert_int_equal(((struct endpoints *)decoded.objects[0])->groups[0].endpoint_count, 1);
	decoded_done(&decoded);
}

static void bad_ports_make_the_object_unusable(void **state)
{
	(void)state;
	assert_refused(
	    ENDPOINTS "subsets: [{ addresses: [{ ip: 10.0.0.1 }], ports: [{ port: 70000 }] }]\n",
	    "t.yaml:4: Endpoints shop/web: subsets[0].ports[0].port: expected a number from 1 to 65535, got "
	    "70000\n");
	assert_refused(
	    SLICE "addressType: IPv4\nports: [{ port: 80, name: a }, { port: 81, name: a }]\n",
	    "t.yaml:5: EndpointSlice shop/web-1: ports[1].name: expected a name that no other port has, got "
	    "\"a\"\n");
	assert_refused(
	    SLICE "ports: [{ port: 80 }]\n",
	    "t.yaml:1: EndpointSlice shop/web-1: addressType: is missing: expected IPv4, IPv6 or FQDN\n");
}

static void a_slice_beyond_the_api_s_limit_is_refused(void **state)
{
	struct buf text = {0};
	struct decoded decoded;

	(void)state;
	buf_append_text(&text, SLICE "addressType: IPv4\nports: [{ port: 80 }]\nendpoints:\n");
	for (int i = 0; i < 10000; i++)
		buf_printf(&text, "- { addresses: [10.0.%d.%d] }\n", i / 250, i % 250 + 1);
	buf_append_char(&text, '\0');
	decoded = decoded_yaml(text.data);
	assert_string_equal(
	    decoded_complaints(&decoded),
	    "t.yaml:7: EndpointSlice shop/web-1: endpoints: expected at most 1000 endpoints in one slice\n");
	assert_int_equal(decoded.count, 0);
	decoded_done(&decoded);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_endpoints_object_gives_a_group_for_each_subset_and_family),
	    cmocka_unit_test(a_slice_is_read),
	    cmocka_unit_test(null_conditions_mean_what_absent_ones_do),
	    cmocka_unit_test(the_beta_slice_has_its_place_in_the_topology),
	    cmocka_unit_test(names_instead_of_addresses_serve_nobody),
	    cmocka_unit_test(a_bad_endpoint_is_left_out_alone),
	    cmocka_unit_test(a_bad_address_is_left_out_of_endpoints_alone),
	    cmocka_unit_test(bad_ports_make_the_object_unusable),
	    cmocka_unit_test(a_slice_beyond_the_api_s_limit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
