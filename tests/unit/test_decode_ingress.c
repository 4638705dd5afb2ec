/* conf/decode_ingress: three shapes to one, and what is wrong with an Ingress. */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c */
/* LINK: conf/decode_ingress.c conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c */
/* LINK: conf/object.c conf/node.c conf/node_json.c conf/node_yaml.c conf/node_scalar.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lcrypto -lm */
#include "tests/unit/decode_harness.h"

#define META   "metadata: { name: web, namespace: shop }\n"
#define V1     "apiVersion: networking.k8s.io/v1\nkind: Ingress\n" META
#define BETA   "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\n" META
#define OLDEST "apiVersion: extensions/v1beta1\nkind: Ingress\n" META

#define BACKEND       "backend: { service: { name: web, port: { number: 80 } } }"
#define RULE(path)    V1 "spec: { rules: [{ http: { paths: [{ " path " }] } }] }\n"
#define HOST(host)    V1 "spec: { rules: [{ host: " host " }] }\n"
#define DEFAULT(what) V1 "spec: { defaultBackend: " what " }\n"

static void today_s_shape_is_read(void **state)
{
	struct ingress *ingress = decoded_one(
	    "apiVersion: networking.k8s.io/v1\n"
	    "kind: Ingress\n"
	    "metadata:\n"
	    "  name: web\n"
	    "  annotations:\n"
	    "    nginx.ingress.kubernetes.io/auth-type: basic\n"
	    "    kubectl.kubernetes.io/last-applied-configuration: '{}'\n"
	    "spec:\n"
	    "  ingressClassName: fairlead\n"
	    "  defaultBackend: { service: { name: fallback, port: { name: http } } }\n"
	    "  tls:\n"
	    "  - { hosts: [Shop.Example.com, '*.example.com'], secretName: shop-tls }\n"
	    "  - {}\n"
	    "  rules:\n"
	    "  - host: Shop.Example.COM\n"
	    "    http:\n"
	    "      paths:\n"
	    "      - { path: /a, pathType: Exact, backend: { service: { name: a, port: { number: 80 } } } }\n"
	    "      - { path: '', pathType: ImplementationSpecific, backend: { resource: { kind: X, name: y } "
	    "} }\n"
	    "  - host: '*.example.com'\n"
	    "status: { loadBalancer: { ingress: [{ ip: 1.2.3.4 }] } }\n");
	const struct ingress_path *paths = ingress->rules[0].paths;

	(void)state;
	assert_int_equal(ingress->meta.annotations.count, 1);
	assert_true(ingress->has_class_name);
	assert_string_equal(ingress->class_name, "fairlead");
	assert_true(ingress->has_default_backend);
	assert_string_equal(ingress->default_backend.service_name, "fallback");
	assert_string_equal(ingress->default_backend.port_name, "http");
	assert_int_equal(ingress->default_backend.port_number, 0);
	assert_int_equal(ingress->tls_count, 2);
	assert_string_equal(ingress->tls[0].hosts.items[0], "shop.example.com");
	assert_string_equal(ingress->tls[0].hosts.items[1], "*.example.com");
	assert_string_equal(ingress->tls[0].secret_name, "shop-tls");
	assert_string_equal(ingress->tls[1].secret_name, "");
	assert_int_equal(ingress->rule_count, 2);
	assert_string_equal(ingress->rules[0].host, "shop.example.com");
	assert_int_equal(ingress->rules[0].path_count, 2);
	assert_int_equal(paths[0].type, PATH_EXACT);
	assert_int_equal(paths[0].backend.port_number, 80);
	assert_string_equal(paths[0].backend.port_name, "");
	assert_true(paths[1].backend.is_resource);
	assert_string_equal(paths[1].backend.service_name, "");
	assert_string_equal(paths[1].path, "");
	assert_false(ingress->rules[1].has_http);
	assert_int_equal(ingress->status_lb_count, 1);
	object_unref(&ingress->meta);
}

static void the_old_shapes_mean_the_same(void **state)
{
	static const char *const heads[] = {BETA, OLDEST};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct ingress *ingress;
		char text[1024];
		snprintf(
		    text, sizeof(text),
		    "%sspec:\n"
		    "  backend: { serviceName: fallback, servicePort: '80' }\n"
		    "  rules:\n"
		    "  - http:\n"
		    "      paths:\n"
		    "      - backend: { serviceName: a, servicePort: 8080 }\n"
		    "      - { path: /b, pathType: Prefix, backend: { serviceName: b, servicePort: web } }\n",
		    heads[i]);
		ingress = decoded_one(text);
		assert_true(ingress->has_default_backend);
		assert_false(ingress->has_class_name);
		assert_string_equal(ingress->default_backend.service_name, "fallback");
		assert_int_equal(ingress->default_backend.port_number, 80); /* a number all the same */
		assert_string_equal(ingress->rules[0].host, "");
		assert_string_equal(ingress->rules[0].paths[0].path, "");
		assert_int_equal(ingress->rules[0].paths[0].type, PATH_IMPLEMENTATION_SPECIFIC);
		assert_int_equal(ingress->rules[0].paths[0].backend.port_number, 8080);
		assert_int_equal(ingress->rules[0].paths[1].type, PATH_PREFIX);
		assert_string_equal(ingress->rules[0].paths[1].backend.port_name, "web");
		object_unref(&ingress->meta);
	}
}

static void a_path_type_missing_today_is_assumed_with_a_warning(void **state)
{
	(void)state;
	assert_warned(RULE("path: /a, " BACKEND),
		      "warning: t.yaml:4: Ingress shop/web: spec.rules[0].http.paths[0].pathType: "
		      "is missing: ImplementationSpecific is assumed\n");
}

static void bad_paths_are_refused(void **state)
{
	(void)state;
	assert_refused(RULE("path: a, pathType: Prefix, " BACKEND),
		       "t.yaml:4: Ingress shop/web: spec.rules[0].http.paths[0].path: expected a path that "
		       "begins with \"/\", "
		       "got \"a\"\n");
	assert_refused(RULE("pathType: Exact, " BACKEND),
		       "t.yaml:4: Ingress shop/web: spec.rules[0].http.paths[0].path: is missing: expected a "
		       "path that begins "
		       "with \"/\"\n");
	assert_refused(RULE("path: /, pathType: prefix, " BACKEND),
		       "t.yaml:4: Ingress shop/web: spec.rules[0].http.paths[0].pathType: expected "
		       "ImplementationSpecific, "
		       "Exact or Prefix, got \"prefix\"\n");
	assert_refused(
	    V1 "spec: { rules: [{ http: {} }] }\n",
	    "t.yaml:4: Ingress shop/web: spec.rules[0].http.paths: is missing: expected at least one path\n");
}

static void bad_hosts_are_refused(void **state)
{
	static const char *const bad[] = {
	    "10.0.0.1", "a.example.com:80", "'*'",   "'*.*.com'", "a.*.com", "'*a.com'", "a_b.com", "a..b",
	    "-a.com",   "a.example.com.",   "'a b'", "5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
		struct decoded decoded;
		snprintf(text, sizeof(text), V1 "spec: { rules: [{ host: %s }] }\n", bad[i]);
		decoded = decoded_yaml(text);
		if (decoded.count != 0 ||
		    !strstr(decoded_complaints(&decoded), "spec.rules[0].host: expected a "))
			fail_msg("host %s: %s", bad[i], decoded_complaints(&decoded));
		decoded_done(&decoded);
	}
	assert_warned(HOST("'*.foo.com'"), "");
	assert_warned(HOST("''"), "");
}

static void bad_backends_are_refused(void **state)
{
	(void)state;
	assert_refused(
	    DEFAULT("{}"),
	    "t.yaml:4: Ingress shop/web: spec.defaultBackend: expected either a service or a resource\n");
	assert_refused(
	    DEFAULT("{ serviceName: web, servicePort: 80 }"),
	    "t.yaml:4: Ingress shop/web: spec.defaultBackend: expected either a service or a resource\n");
	assert_refused(DEFAULT("{ service: { name: web } }"),
		       "t.yaml:4: Ingress shop/web: spec.defaultBackend.service.port: "
		       "expected either a number or a name\n");
	assert_refused(DEFAULT("{ service: { name: web, port: { name: a, number: 1 } } }"),
		       "t.yaml:4: Ingress shop/web: spec.defaultBackend.service.port: expected either a "
		       "number or a name\n");
	assert_refused(DEFAULT("{ service: { name: web, port: { number: '80' } } }"),
		       "t.yaml:4: Ingress shop/web: spec.defaultBackend.service.port.number: expected a "
		       "number from 1 to "
		       "65535, got \"80\"\n");
	assert_refused(
	    DEFAULT("{ service: { name: 'web;evil', port: { number: 80 } } }"),
	    "t.yaml:4: Ingress shop/web: spec.defaultBackend.service.name: expected a name of at most 63 "
	    "lower-case letters, digits and '-', got \"web;evil\"\n");
	assert_refused(OLDEST "spec: { backend: { serviceName: web, servicePort: 0 } }\n",
		       "t.yaml:4: Ingress shop/web: spec.backend.servicePort: expected a number from 1 to "
		       "65535, got 0\n");
	assert_refused(
	    OLDEST "spec: { backend: { serviceName: web, servicePort: '70000' } }\n",
	    "t.yaml:4: Ingress shop/web: spec.backend.servicePort: expected a port number or name, got "
	    "\"70000\"\n");
	assert_refused(OLDEST "spec: { backend: { serviceName: web } }\n",
		       "t.yaml:4: Ingress shop/web: spec.backend.servicePort: is missing: expected a port "
		       "number or name\n");
	assert_refused(V1 "spec: {}\n",
		       "t.yaml:4: Ingress shop/web: spec: expected rules or defaultBackend\n");
}

static void an_ingress_class_is_read(void **state)
{
	struct ingress_class *class =
	    decoded_one("apiVersion: networking.k8s.io/v1\nkind: IngressClass\n"
			"metadata: { name: fairlead, namespace: ignored,\n"
			"  annotations: { ingressclass.kubernetes.io/is-default-class: 'true' } }\n"
			"spec: { controller: fairlead.dev/ingress }\n");

	(void)state;
	assert_string_equal(class->meta.ns, "");
	assert_string_equal(class->controller, "fairlead.dev/ingress");
	assert_true(class->is_default);
	object_unref(&class->meta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(today_s_shape_is_read),
	    cmocka_unit_test(the_old_shapes_mean_the_same),
	    cmocka_unit_test(a_path_type_missing_today_is_assumed_with_a_warning),
	    cmocka_unit_test(bad_paths_are_refused),
	    cmocka_unit_test(bad_hosts_are_refused),
	    cmocka_unit_test(bad_backends_are_refused),
	    cmocka_unit_test(an_ingress_class_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
