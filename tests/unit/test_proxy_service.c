/* LINK: proxy/service.c proxy/endpoints.c tests/unit/proxy_objects.c conf/object.c base/addr.c base/arena.c base/str.c base/err.c */
/* LIBS: -lcrypto */
/* From a Service to its ports, frontends and policies, by family. */
#include "proxy/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/proxy_objects.h"

static struct service_state *state_of(const struct service *service, struct endpoints *const *objects,
				      size_t count, int family)
{
	struct service_request request = {.family = family,
					  .ns = "default",
					  .name = service->meta.name,
					  .service = service,
					  .objects = (const struct endpoints *const *)objects,
					  .object_count = count,
					  .node_name = "node-1",
					  .zone = ""};
	struct service_state *state;

	assert_int_equal(service_state_new(&request, &state), 0);
	return state;
}

/* "cluster 10.96.0.1:80/TCP 0, node :30080/TCP 0 ..." with the index of the port; "*" where it is filtered. */
static const char *frontends_text(const struct service_state *state, char text[static 1024])
{
	static const char *const kinds[] = {"cluster", "external", "lb", "node"};
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < state->frontend_count; i++) {
		const struct frontend *frontend = &state->frontends[i];
		struct endpoint_addr addr = {frontend->ip, frontend->port};
		char addr_text[ADDR_TEXT_MAX];

		len +=
		    (size_t)snprintf(text + len, 1024 - len, "%s%s%s %s/%s %u", i ? ", " : "",
				     kinds[frontend->kind], frontend->filtered ? "*" : "",
				     frontend->ip.family ? endpoint_addr_format(&addr, addr_text) : ":node",
				     protocol_name((enum protocol)frontend->protocol), frontend->port_index);
	}
	return text;
}

static void assert_frontends(const struct service *service, int family, const char *expected)
{
	struct service_state *state = state_of(service, NULL, 0, family);
	char text[1024];

	assert_non_null(state);
	assert_string_equal(frontends_text(state, text), expected);
	service_state_free(state);
}

/* Rows 1 and 5. */
static void only_services_with_a_cluster_ip_of_our_own_count(void **state)
{
	static struct kv foreign[] = {{"service.kubernetes.io/service-proxy-name", ""}};
	static struct kv headless[] = {{"service.kubernetes.io/headless", ""}};
	struct arena arena = {0};
	struct service *plain = service(&arena, "web", "10.96.0.1", ":80");

	(void)state;
	assert_true(service_counts(plain));
	plain->headless = true;
	assert_false(service_counts(plain));
	plain->headless = false;
	plain->type = SERVICE_EXTERNAL_NAME;
	assert_false(service_counts(plain));
	plain->type = SERVICE_CLUSTER_IP;
	plain->meta.labels = (struct kv_list){foreign, 1};
	assert_false(service_counts(plain));
	plain->meta.labels = (struct kv_list){headless, 1};
	assert_false(service_counts(plain));
	assert_false(service_counts(service(&arena, "none", "", ":80")));
	arena_done(&arena);
}

static void services_that_cannot_be_served_are_refused_with_the_field(void **state)
{
	char long_name[250];
	struct {
		const char *name, *ports, *field;
	} table[] = {
	    {"web", "a:80 b:81 c:80/UDP", NULL},
	    {"web", ":80", NULL},
	    {"web", "a:80=30080 b:81/UDP=30080", NULL},
	    {"we b", ":80", "metadata.name"},
	    {"we\"b", ":80", "metadata.name"},
	    {"we/b", ":80", "metadata.name"},
	    {long_name, ":80", "metadata.name"},
	    {"web", "a;b:80", "spec.ports[].name"},
	    {"web", "a:80 a:81", "spec.ports[].name"},
	    {"web", "a:80 b:80", "spec.ports[].port"},
	    {"web", "a:80=30080 b:81=30080", "spec.ports[].nodePort"},
	};

	(void)state;
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		const char *refusal =
		    service_refusal(service(&arena, table[i].name, "10.96.0.1", table[i].ports));

		if (table[i].field)
			assert_memory_equal(refusal ? refusal : "", table[i].field, strlen(table[i].field));
		else
			assert_null(refusal);
		arena_done(&arena);
	}
}

static void services_of_absurd_size_are_refused(void **state)
{
	struct service_port *ports = calloc(SERVICE_PORTS_MAX + 1, sizeof(*ports));
	struct arena arena = {0};
	struct service *huge = service(&arena, "web", "10.96.0.1", ":80");

	(void)state;
	huge->external_ip_count = SERVICE_ADDRESSES_MAX + 1;
	assert_non_null(service_refusal(huge));
	huge->external_ip_count = 0;
	huge->ports = ports;
	huge->port_count = SERVICE_PORTS_MAX + 1;
	assert_non_null(service_refusal(huge));
	free(ports);
	arena_done(&arena);
}

/* Rows 6, 14, 15. */
static void frontends_are_split_by_family(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1 fd00::1", "http:80=30080 dns:53/UDP");
	struct ip external[] = {ip_of("203.0.113.1"), ip_of("2001:db8::1")};
	struct lb_ingress balancers[] = {{.ip = ip_of("203.0.113.2"), .hostname = ""},
					 {.ip = ip_of("203.0.113.3"), .hostname = "", .ip_mode_proxy = true},
					 {.hostname = "lb.example.com"}};

	(void)state;
	web->external_ips = external;
	web->external_ip_count = 2;
	web->lb_ingress = balancers;
	web->lb_ingress_count = 3;
	assert_frontends(web, AF_INET,
			 "cluster 10.96.0.1:80/TCP 0, external 203.0.113.1:80/TCP 0, node :node/TCP 0, "
			 "cluster 10.96.0.1:53/UDP 1, external 203.0.113.1:53/UDP 1");
	web->type = SERVICE_LOAD_BALANCER;
	assert_frontends(
	    web, AF_INET,
	    "cluster 10.96.0.1:80/TCP 0, external 203.0.113.1:80/TCP 0, lb 203.0.113.2:80/TCP 0, "
	    "node :node/TCP 0, cluster 10.96.0.1:53/UDP 1, external 203.0.113.1:53/UDP 1, "
	    "lb 203.0.113.2:53/UDP 1");
	assert_frontends(web, AF_INET6,
			 "cluster [fd00::1]:80/TCP 0, external [2001:db8::1]:80/TCP 0, node :node/TCP 0, "
			 "cluster [fd00::1]:53/UDP 1, external [2001:db8::1]:53/UDP 1");
	web->cluster_ip_count = 1;
	assert_null(state_of(web, NULL, 0, AF_INET6));
	arena_done(&arena);
}

/* Row 16: the ranges of this family, and only on load-balancer addresses. */
static void an_address_given_twice_is_one_frontend_filtered_if_either_is(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", ":80");
	struct ip external[] = {ip_of("203.0.113.1"), ip_of("203.0.113.1"), ip_of("203.0.113.4")};
	struct lb_ingress balancer = {.ip = ip_of("203.0.113.1"), .hostname = ""};
	struct cidr ranges[2] = {{.ip = ip_of("192.0.2.0"), .prefix_bits = 24},
				 {.ip = ip_of("2001:db8::"), .prefix_bits = 64}};
	struct service_state *built;

	(void)state;
	web->type = SERVICE_LOAD_BALANCER;
	web->external_ips = external;
	web->external_ip_count = 3;
	web->lb_ingress = &balancer;
	web->lb_ingress_count = 1;
	web->lb_source_ranges = ranges;
	web->lb_source_range_count = 2;
	assert_frontends(
	    web, AF_INET,
	    "cluster 10.96.0.1:80/TCP 0, external* 203.0.113.1:80/TCP 0, external 203.0.113.4:80/TCP 0");
	built = state_of(web, NULL, 0, AF_INET);
	assert_int_equal(built->source_range_count, 1);
	service_state_free(built);
	web->lb_source_ranges = &ranges[1]; /* none of this family remains: no filter */
	web->lb_source_range_count = 1;
	assert_frontends(
	    web, AF_INET,
	    "cluster 10.96.0.1:80/TCP 0, external 203.0.113.1:80/TCP 0, external 203.0.113.4:80/TCP 0");
	arena_done(&arena);
}

/* Row 25: which sets are made at all. */
static void policies_decide_which_sets_there_are(void **state)
{
	static const struct {
		bool internal_local, external_local, node_port;
		size_t cluster, local;
	} table[] = {
	    {false, false, false, 2, 0}, {false, false, true, 2, 0}, {true, false, false, 0, 1},
	    {true, false, true, 2, 1},   {false, true, true, 2, 1},  {false, true, false, 2, 0},
	    {true, true, true, 2, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		struct service *web =
		    service(&arena, "web", "10.96.0.1", table[i].node_port ? ":80=30080" : ":80");
		struct endpoints *objects[] = {
		    slice(&arena, "web", "web-1", ":8080", "10.0.0.1@node-1 10.0.0.2@node-2")};
		struct service_state *built;

		web->internal_policy =
		    table[i].internal_local ? TRAFFIC_POLICY_LOCAL : TRAFFIC_POLICY_CLUSTER;
		web->external_policy =
		    table[i].external_local ? TRAFFIC_POLICY_LOCAL : TRAFFIC_POLICY_CLUSTER;
		built = state_of(web, objects, 1, AF_INET);
		assert_int_equal(built->ports[0].sets[POLICY_CLUSTER].count, table[i].cluster);
		assert_int_equal(built->ports[0].sets[POLICY_LOCAL].count, table[i].local);
		assert_true(built->ports[0].any);
		service_state_free(built);
		arena_done(&arena);
	}
}

static void a_state_outlives_the_objects_it_was_made_of(void **state)
{
	static const char ns[] = "default", name[] = "web"; /* all that it borrows */
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", "http:80 dns:53/UDP");
	struct endpoints *objects[] = {
	    slice(&arena, "web", "web-1", "http:8080 dns:5353/UDP", "10.0.0.1 10.0.0.2")};
	struct service_request request = {.family = AF_INET,
					  .ns = ns,
					  .name = name,
					  .service = web,
					  .objects = (const struct endpoints *const *)objects,
					  .object_count = 1,
					  .node_name = "node-1",
					  .zone = ""};
	struct service_state *built;
	const struct service_port_state *port;

	(void)state;
	assert_int_equal(service_state_new(&request, &built), 0);
	arena_done(&arena);
	assert_ptr_equal(built->ns, ns);
	assert_ptr_equal(built->name, name);
	port = service_state_port(built, "dns");
	assert_non_null(port);
	assert_int_equal(port->protocol, PROTOCOL_UDP);
	assert_int_equal(port->sets[POLICY_CLUSTER].count, 2);
	assert_int_equal(port->sets[POLICY_CLUSTER].endpoints[1].addr.port, 5353);
	assert_null(service_state_port(built, "none"));
	assert_null(service_state_port(NULL, "dns"));
	service_state_free(built);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_services_with_a_cluster_ip_of_our_own_count),
	    cmocka_unit_test(services_that_cannot_be_served_are_refused_with_the_field),
	    cmocka_unit_test(services_of_absurd_size_are_refused),
	    cmocka_unit_test(frontends_are_split_by_family),
	    cmocka_unit_test(an_address_given_twice_is_one_frontend_filtered_if_either_is),
	    cmocka_unit_test(policies_decide_which_sets_there_are),
	    cmocka_unit_test(a_state_outlives_the_objects_it_was_made_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
