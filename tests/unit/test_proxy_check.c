/* LINK: proxy/check.c conf/store.c conf/object.c conf/node.c conf/node_json.c conf/node_scalar.c conf/node_yaml.c */
/* LINK: conf/decode.c conf/decode_endpoints.c conf/decode_ingress.c conf/decode_meta.c conf/decode_misc.c */
/* LINK: conf/decode_secret.c conf/decode_service.c conf/field.c conf/names.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -lyaml -ljansson -lxxhash -lcrypto */
/* Findings between objects: who wants an address and port that another has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "conf/decode.h"
#include "proxy/check.h"

static void put(void *ctx, struct object *object)
{
	assert_int_equal(store_put(ctx, object), 0);
}

static void no_complaint(void *ctx, const struct decode_complaint *complaint)
{
	(void)ctx;
	fail_msg("%s: %s", complaint->field, complaint->why);
}

static void collect(void *ctx, const struct object *object, const char *field, const char *why)
{
	assert_int_equal(buf_printf(ctx, "%s/%s: %s: %s\n", object->ns, object->name, field, why), 0);
}

static void assert_findings(const char *manifest, const char *expected)
{
	struct store *store = store_new();
	struct decode_sink sink = {.object = put, .complaint = no_complaint, .ctx = store};
	struct buf found = {0};

	assert_int_equal(decode_manifest(manifest, strlen(manifest), "test.yaml", &sink), 0);
	assert_int_equal(proxy_check(store, collect, &found), 0);
	assert_int_equal(buf_append_char(&found, 0), 0);
	assert_string_equal(buf_head(&found), expected);
	buf_done(&found);
	store_free(store);
}

#define SERVICE(name, rest) \
	"---\n{apiVersion: v1, kind: Service, metadata: {name: " name "}, spec: {" rest "}}\n"

static void two_services_on_one_cluster_ip_and_port_clash(void **state)
{
	(void)state;
	assert_findings(
	    SERVICE("a", "clusterIP: 10.96.0.1, ports: [{port: 80}]")
		SERVICE("b", "clusterIP: 10.96.0.1, ports: [{port: 80}]"),
	    "default/b: spec.clusterIPs: 10.96.0.1:80/TCP is taken by Service default/a already\n");
}

static void another_port_or_protocol_on_the_same_address_is_no_clash(void **state)
{
	(void)state;
	assert_findings(SERVICE("a", "clusterIP: 10.96.0.1, ports: [{port: 80}]")
			    SERVICE("b", "clusterIP: 10.96.0.1, ports: [{port: 81}]")
				SERVICE("c", "clusterIP: 10.96.0.1, ports: [{port: 80, protocol: UDP}]"),
			"");
}

static void two_services_on_one_node_port_clash(void **state)
{
	(void)state;
	assert_findings(
	    SERVICE("a", "type: NodePort, clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 30080}]")
		SERVICE("b", "type: NodePort, clusterIP: 10.96.0.2, ports: [{port: 80, nodePort: 30080}]"),
	    "default/b: spec.ports[0].nodePort: node port 30080/TCP is taken by Service default/a already\n");
}

static void external_addresses_clash_with_cluster_addresses(void **state)
{
	(void)state;
	assert_findings(
	    SERVICE("a", "clusterIP: 10.96.0.1, ports: [{port: 80}]")
		SERVICE("b", "clusterIP: 10.96.0.2, externalIPs: [10.96.0.1], ports: [{port: 80}]"),
	    "default/b: spec.externalIPs: 10.96.0.1:80/TCP is taken by Service default/a already\n");
}

static void endpoints_without_a_service_are_told(void **state)
{
	(void)state;
	assert_findings("{apiVersion: v1, kind: Endpoints, metadata: {name: lost}, subsets: [{addresses: "
			"[{ip: 10.1.0.1}], "
			"ports: [{port: 80}]}]}\n",
			"default/lost: : there is no Service default/lost for these endpoints\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_services_on_one_cluster_ip_and_port_clash),
	    cmocka_unit_test(another_port_or_protocol_on_the_same_address_is_no_clash),
	    cmocka_unit_test(two_services_on_one_node_port_clash),
	    cmocka_unit_test(external_addresses_clash_with_cluster_addresses),
	    cmocka_unit_test(endpoints_without_a_service_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
