/* conf/decode_service: what a Service says, and what is wrong with one. */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm */
#include "tests/unit/decode_harness.h"

#define HEAD "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop }\n"

static void a_full_service_is_read(void **state)
{
	struct service *service = decoded_one(
	    "apiVersion: v1\n"
	    "kind: Service\n"
	    "metadata:\n"
	    "  name: web\n"
	    "  namespace: shop\n"
	    "  uid: 1-2-3\n"
	    "  resourceVersion: '77'\n"
	    "  creationTimestamp: 2024-01-31T12:00:00Z\n"
	    "  labels: { service.kubernetes.io/service-proxy-name: other, app: web }\n"
	    "spec:\n"
	    "  type: LoadBalancer\n"
	    "  clusterIP: 10.0.0.1\n"
	    "  clusterIPs: [10.0.0.1, 'fd00::1']\n"
	    "  ipFamilies: [IPv4, IPv6]\n"
	    "  selector: { app: web }\n"
	    "  ports:\n"
	    "  - { name: http, port: 80, targetPort: web-port, nodePort: 30080, appProtocol: http }\n"
	    "  - { name: dns, port: 53, protocol: UDP, targetPort: 5353 }\n"
	    "  externalIPs: [192.168.1.1, 'fd01::1']\n"
	    "  loadBalancerSourceRanges: [' 10.1.2.3/8 ', 'fd00::/8']\n"
	    "  internalTrafficPolicy: Local\n"
	    "  externalTrafficPolicy: Local\n"
	    "  sessionAffinity: ClientIP\n"
	    "  sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } }\n"
	    "  healthCheckNodePort: 31000\n"
	    "  publishNotReadyAddresses: true\n"
	    "status:\n"
	    "  loadBalancer:\n"
	    "    ingress: [{ ip: 1.2.3.4, ipMode: Proxy }, { hostname: lb.example.com }]\n");
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_string_equal(service->meta.ns, "shop");
	assert_string_equal(service->meta.name, "web");
	assert_string_equal(service->meta.uid, "1-2-3");
	assert_string_equal(service->meta.resource_version, ""); /* nobody raises a file's */
	assert_string_equal(service->meta.origin, "t.yaml:1");
	assert_int_equal(service->meta.created_s, 1706702400);
	assert_int_equal(service->meta.labels.count, 1);
	assert_string_equal(kv_get(&service->meta.labels, "service.kubernetes.io/service-proxy-name"),
			    "other");
	assert_int_equal(service->type, SERVICE_LOAD_BALANCER);
	assert_false(service->headless);
	assert_int_equal(service->cluster_ip_count, 2);
	assert_ip(&service->cluster_ips[0], "10.0.0.1");
	assert_ip(&service->cluster_ips[1], "fd00::1");
	assert_int_equal(service->port_count, 2);
	assert_string_equal(service->ports[0].name, "http");
	assert_int_equal(service->ports[0].port, 80);
	assert_int_equal(service->ports[0].node_port, 30080);
	assert_int_equal(service->ports[0].target_port, 0);
	assert_string_equal(service->ports[0].target_port_name, "web-port");
	assert_string_equal(service->ports[0].app_protocol, "http");
	assert_int_equal(service->ports[1].protocol, PROTOCOL_UDP);
	assert_int_equal(service->ports[1].target_port, 5353);
	assert_string_equal(service->ports[1].app_protocol, "");
	assert_int_equal(service->external_ip_count, 2);
	assert_ip(&service->external_ips[1], "fd01::1");
	assert_int_equal(service->lb_source_range_count, 2);
	assert_string_equal(cidr_format(&service->lb_source_ranges[0], text), "10.0.0.0/8");
	assert_int_equal(service->internal_policy, TRAFFIC_POLICY_LOCAL);
	assert_int_equal(service->external_policy, TRAFFIC_POLICY_LOCAL);
	assert_true(service->affinity_client_ip);
	assert_int_equal(service->affinity_timeout_s, 60);
	assert_int_equal(service->health_check_node_port, 31000);
	assert_true(service->publish_not_ready);
	assert_true(service->has_selector);
	assert_int_equal(service->lb_ingress_count, 2);
	assert_true(service->lb_ingress[0].ip_mode_proxy);
	assert_int_equal(service->lb_ingress[1].ip.family, 0);
	assert_string_equal(service->lb_ingress[1].hostname, "lb.example.com");
	object_unref(&service->meta);
}

static void absent_fields_have_the_api_s_defaults(void **state)
{
	struct service *service = decoded_one(HEAD "spec: { clusterIP: 10.0.0.1, ports: [{ port: 80 }] }\n");

	(void)state;
	assert_int_equal(service->type, SERVICE_CLUSTER_IP);
	assert_string_equal(service->ports[0].name, "");
	assert_int_equal(service->ports[0].protocol, PROTOCOL_TCP);
	assert_int_equal(service->ports[0].target_port, 80);
	assert_string_equal(service->ports[0].target_port_name, "");
	assert_int_equal(service->affinity_timeout_s, 10800);
	assert_int_equal(service->internal_policy, TRAFFIC_POLICY_CLUSTER);
	assert_false(service->has_selector);
	assert_string_equal(service->external_name, "");
	object_unref(&service->meta);
}

static void headless_and_external_name_services_need_no_address_nor_port(void **state)
{
	struct service *headless = decoded_one(HEAD "spec: { clusterIP: None }\n");
	struct service *external =
	    decoded_one(HEAD "spec: { type: ExternalName, externalName: db.example.com. }\n");

	(void)state;
	assert_true(headless->headless);
	assert_int_equal(headless->cluster_ip_count, 0);
	assert_int_equal(external->type, SERVICE_EXTERNAL_NAME);
	assert_string_equal(external->external_name, "db.example.com.");
	object_unref(&headless->meta);
	object_unref(&external->meta);
}

static void sloppy_addresses_are_read_as_decimal(void **state)
{
	struct service *service = decoded_one(HEAD "spec: { clusterIP: 172.30.0.041, ports: [{ port: 80 }],\n"
						   "  loadBalancerSourceRanges: [203.0.113.000/025] }\n");
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_ip(&service->cluster_ips[0], "172.30.0.41");
	assert_string_equal(cidr_format(&service->lb_source_ranges[0], text), "203.0.113.0/25");
	object_unref(&service->meta);
}

static void what_no_api_server_gave_out_is_warned_of(void **state)
{
	(void)state;
	assert_warned(
	    HEAD "spec: { ports: [{ port: 80 }] }\n",
	    "warning: t.yaml:4: Service shop/web: spec.clusterIP: none is given: nothing will be served on a "
	    "cluster IP\n");
	assert_warned(
	    HEAD "spec: { type: NodePort, clusterIP: 10.0.0.1, ports: [{ port: 80 }] }\n",
	    "warning: t.yaml:4: Service shop/web: spec.ports[0].nodePort: none is given: nothing will be "
	    "served on a node port\n");
	assert_warned(HEAD "spec: { clusterIP: 10.0.0.1, ports: [{ port: 80, nodePort: 30000 }] }\n",
		      "warning: t.yaml:4: Service shop/web: spec.ports[0].nodePort: ignored: the type is "
		      "neither NodePort "
		      "nor LoadBalancer\n");
}

static void bad_cluster_ips_are_refused(void **state)
{
	(void)state;
	assert_refused(
	    HEAD "spec: { clusterIP: 999.1.1.1, ports: [{ port: 80 }] }\n",
	    "t.yaml:4: Service shop/web: spec.clusterIP: expected an IP address, got \"999.1.1.1\"\n"
	    "warning: t.yaml:4: Service shop/web: spec.clusterIP: none is given: nothing will be served on a "
	    "cluster IP\n");
	assert_refused(HEAD "spec: { clusterIP: 127.0.0.1, ports: [{ port: 80 }] }\n",
		       "t.yaml:4: Service shop/web: spec.clusterIP: expected an address that traffic can be "
		       "sent to, got "
		       "\"127.0.0.1\"\n");
	assert_refused(
	    HEAD "spec: { clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{ port: 80 }] }\n",
	    "t.yaml:4: Service shop/web: spec.clusterIPs[1]: a second cluster IP of the same family\n");
	assert_refused(
	    HEAD "spec: { clusterIP: 10.0.0.2, clusterIPs: [10.0.0.1], ports: [{ port: 80 }] }\n",
	    "t.yaml:4: Service shop/web: spec.clusterIP: differs from the first of spec.clusterIPs\n");
	assert_refused(
	    HEAD "spec: { clusterIP: 10.0.0.1, ipFamilies: [IPv6], ports: [{ port: 80 }] }\n",
	    "t.yaml:4: Service shop/web: spec.ipFamilies[0]: is not the family of the cluster IP\n");
	assert_refused(
	    HEAD "spec: { clusterIPs: [10.0.0.1, 'fd00::1', 10.0.0.3], ports: [{ port: 80 }] }\n",
	    "t.yaml:4: Service shop/web: spec.clusterIPs: expected at most 2 addresses\n"
	    "warning: t.yaml:4: Service shop/web: spec.clusterIP: none is given: nothing will be served on a "
	    "cluster IP\n");
	assert_refused(
	    HEAD "spec: { clusterIP: 10, ports: [{ port: 80 }] }\n",
	    "t.yaml:4: Service shop/web: spec.clusterIP: expected an IP address, got 10\n"
	    "warning: t.yaml:4: Service shop/web: spec.clusterIP: none is given: nothing will be served on a "
	    "cluster IP\n");
}

#define PORTS(list) HEAD "spec: { clusterIP: 10.0.0.1, ports: " list " }\n"

static void bad_ports_are_refused_with_field_and_value(void **state)
{
	(void)state;
	assert_refused(PORTS("[{ port: http }]"), "t.yaml:4: Service shop/web: spec.ports[0].port: expected "
						  "a number from 1 to 65535, got \"http\"\n");
	assert_refused(
	    PORTS("[{ port: 0 }]"),
	    "t.yaml:4: Service shop/web: spec.ports[0].port: expected a number from 1 to 65535, got 0\n");
	assert_refused(
	    PORTS("[{ port: 70000 }]"),
	    "t.yaml:4: Service shop/web: spec.ports[0].port: expected a number from 1 to 65535, got 70000\n");
	assert_refused(
	    PORTS("[{ port: 80.5 }]"),
	    "t.yaml:4: Service shop/web: spec.ports[0].port: expected a number from 1 to 65535, got 80.5\n");
	assert_refused(
	    PORTS("[{ name: x }]"),
	    "t.yaml:4: Service shop/web: spec.ports[0].port: is missing: expected a port number\n");
	assert_refused(PORTS("[5]"), "t.yaml:4: Service shop/web: spec.ports[0]: expected a map, got 5\n");
	assert_refused(PORTS("[null]"),
		       "t.yaml:4: Service shop/web: spec.ports[0]: is missing: expected a map\n");
	assert_refused(PORTS("[]"),
		       "t.yaml:4: Service shop/web: spec.ports: expected at least one port, got a list\n");
	assert_refused(
	    PORTS("[{ port: 80, protocol: tcp }]"),
	    "t.yaml:4: Service shop/web: spec.ports[0].protocol: expected TCP, UDP or SCTP, got \"tcp\"\n");
	assert_refused(
	    PORTS("[{ port: 80, targetPort: '8080' }]"),
	    "t.yaml:4: Service shop/web: spec.ports[0].targetPort: expected a port number or name, got "
	    "\"8080\"\n");
	assert_refused(PORTS("[{ port: 80 }, { port: 81, name: b }]"),
		       "t.yaml:4: Service shop/web: spec.ports[0].name: is missing: expected a name, since "
		       "there are several "
		       "ports\n");
	assert_refused(PORTS("[{ port: 80, name: a }, { port: 81, name: a }]"),
		       "t.yaml:4: Service shop/web: spec.ports[1]: the same name as another port\n");
	assert_refused(PORTS("[{ port: 80, name: a }, { port: 80, name: b }]"),
		       "t.yaml:4: Service shop/web: spec.ports[1]: the same port and protocol as another\n");
}

static void the_same_port_number_may_stand_for_two_protocols(void **state)
{
	struct service *service =
	    decoded_one(PORTS("[{ port: 53, name: a }, { port: 53, name: b, protocol: UDP }]"));

	(void)state;
	assert_int_equal(service->port_count, 2);
	object_unref(&service->meta);
}

static void unknown_words_are_refused(void **state)
{
	(void)state;
	assert_refused(HEAD "spec: { clusterIP: 10.0.0.1, type: Nodeport, ports: [{ port: 80 }] }\n",
		       "t.yaml:4: Service shop/web: spec.type: expected ClusterIP, NodePort, LoadBalancer or "
		       "ExternalName, got "
		       "\"Nodeport\"\n");
	assert_refused(HEAD
		       "spec: { clusterIP: 10.0.0.1, externalTrafficPolicy: Node, ports: [{ port: 80 }] }\n",
		       "t.yaml:4: Service shop/web: spec.externalTrafficPolicy: expected Cluster or Local, "
		       "got \"Node\"\n");
	assert_refused(HEAD "spec: { type: ExternalName }\n",
		       "t.yaml:4: Service shop/web: spec.externalName: is missing: expected a host name\n");
}

static void secondary_mistakes_cost_the_item_only(void **state)
{
	struct decoded decoded =
	    decoded_yaml(HEAD "spec:\n"
			      "  clusterIP: 10.0.0.1\n"
			      "  ports: [{ port: 80 }]\n"
			      "  externalIPs: [1.2.3, 127.0.0.1, 192.0.2.1]\n"
			      "  loadBalancerSourceRanges: [10.0.0.0/33, 10.0.0.0/8]\n"
			      "status: { loadBalancer: { ingress: [{ ip: x }, 5, { ip: 192.0.2.9 }] } }\n");
	struct service *service;

	(void)state;
	assert_string_equal(
	    decoded_complaints(&decoded),
	    "warning: t.yaml:7: Service shop/web: spec.externalIPs[0]: expected an IP address, got "
	    "\"1.2.3\"\n"
	    "warning: t.yaml:7: Service shop/web: spec.externalIPs[1]: expected an address that traffic can "
	    "be sent to, got "
	    "\"127.0.0.1\"\n"
	    "warning: t.yaml:8: Service shop/web: spec.loadBalancerSourceRanges[0]: expected an address "
	    "range such as "
	    "10.0.0.0/8, got \"10.0.0.0/33\"\n"
	    "warning: t.yaml:9: Service shop/web: status.loadBalancer.ingress[0].ip: expected an IP address, "
	    "got \"x\"\n"
	    "warning: t.yaml:9: Service shop/web: status.loadBalancer.ingress[1]: expected a map, got 5\n");
	assert_int_equal(decoded.count, 1);
	service = (struct service *)decoded.objects[0];
	assert_int_equal(service->external_ip_count, 1);
	assert_ip(&service->external_ips[0], "192.0.2.1");
	assert_int_equal(service->lb_source_range_count, 1);
	assert_int_equal(service->lb_ingress_count, 1);
	assert_ip(&service->lb_ingress[0].ip, "192.0.2.9");
	decoded_done(&decoded);
}

static void a_filter_without_a_readable_range_does_not_become_no_filter(void **state)
{
	(void)state;
	assert_refused(
	    HEAD "spec: { clusterIP: 10.0.0.1, ports: [{ port: 80 }], loadBalancerSourceRanges: [all] }\n",
	    "warning: t.yaml:4: Service shop/web: spec.loadBalancerSourceRanges[0]: expected an address "
	    "range such "
	    "as 10.0.0.0/8, got \"all\"\n"
	    "t.yaml:4: Service shop/web: spec.loadBalancerSourceRanges: no usable range: all would be let "
	    "in\n");
}

static void objects_from_the_api_keep_their_version_and_are_not_warned_of(void **state)
{
	struct decoded decoded =
	    decoded_json(KIND_SERVICE,
			 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"resourceVersion\":\"77\"},"
			 "\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");

	(void)state;
	assert_string_equal(decoded_complaints(&decoded), "");
	assert_int_equal(decoded.count, 1);
	assert_string_equal(decoded.objects[0]->resource_version, "77");
	assert_string_equal(decoded.objects[0]->origin, "api");
	decoded_done(&decoded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_full_service_is_read),
	    cmocka_unit_test(absent_fields_have_the_api_s_defaults),
	    cmocka_unit_test(headless_and_external_name_services_need_no_address_nor_port),
	    cmocka_unit_test(sloppy_addresses_are_read_as_decimal),
	    cmocka_unit_test(what_no_api_server_gave_out_is_warned_of),
	    cmocka_unit_test(bad_cluster_ips_are_refused),
	    cmocka_unit_test(bad_ports_are_refused_with_field_and_value),
	    cmocka_unit_test(the_same_port_number_may_stand_for_two_protocols),
	    cmocka_unit_test(unknown_words_are_refused),
	    cmocka_unit_test(secondary_mistakes_cost_the_item_only),
	    cmocka_unit_test(a_filter_without_a_readable_range_does_not_become_no_filter),
	    cmocka_unit_test(objects_from_the_api_keep_their_version_and_are_not_warned_of),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
