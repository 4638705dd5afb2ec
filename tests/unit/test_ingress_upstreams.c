/* ingress/upstreams: from Service ports to endpoints (design: Ingress a.6), and upstreams that follow the store. */
/* LINK: ingress/upstreams.c ingress/upstreams_name.c ingress/upstreams_resolve.c ingress/snapshot.c */
/* LINK: ingress/snapshot_host.c ingress/snapshot_table.c ingress/snapshot_upstream.c ingress/route.c */
/* LINK: ingress/auth.c ingress/auth_hash.c ingress/finding.c */
/* LINK: conf/decode.c conf/decode_meta.c conf/decode_service.c conf/decode_endpoints.c conf/decode_ingress.c */
/* LINK: conf/decode_misc.c conf/decode_secret.c conf/field.c conf/names.c conf/object.c conf/node.c */
/* LINK: conf/node_json.c conf/node_yaml.c conf/node_scalar.c conf/store.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/dns.c base/err.c base/map.c base/str.c */
/* LIBS: -ljansson -lyaml -lxxhash -lssl -lcrypto -laprutil-1 -lapr-1 -lcares -lev -lm */
#include "tests/unit/ingress_harness.h"

#include "ingress/snapshot_draft.h"
#include "ingress/upstreams.h"

/* ---- a store that upstreams follow ---- */

struct follower {
	struct store *store;
	struct store_listener listener;
	struct ev_loop *loop;
	struct upstreams *upstreams;
	struct draft *draft;
	bool changed, resolved;
	char problem[256]; /* the last one told */
};

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct follower *follower = ctx;

	assert_int_equal(upstreams_changed(follower->upstreams, kind, old, new), 0);
}

static void on_settled(void *ctx)
{
	struct follower *follower = ctx;

	assert_int_equal(upstreams_settle(follower->upstreams, follower->draft, &follower->changed), 0);
}

static void on_resolved(void *ctx)
{
	struct follower *follower = ctx;

	follower->resolved = true;
	on_settled(ctx);
}

static void on_problem(void *ctx, const char *ns, const char *service, const char *port, const char *why)
{
	struct follower *follower = ctx;

	snprintf(follower->problem, sizeof(follower->problem), "%s/%s:%s %s", ns, service, port, why);
}

static struct follower *follow(const char *text, struct ev_loop *loop, bool loopback_allowed)
{
	static const struct ingress_settings settings = {0};
	struct follower *follower = calloc(1, sizeof(*follower));
	struct upstreams_config config = {.loop = loop,
					  .loopback_allowed = loopback_allowed,
					  .resolved = on_resolved,
					  .problem = on_problem,
					  .ctx = follower};

	assert_non_null(follower);
	follower->loop = loop;
	config.store = follower->store = store_of_yaml(text);
	follower->upstreams = upstreams_new(&config);
	follower->draft = draft_new(&settings, NULL);
	assert_int_equal(upstreams_reread(follower->upstreams), 0);
	follower->listener = (struct store_listener){
	    .kinds = ~0u, .changed = on_changed, .settled = on_settled, .ctx = follower};
	assert_int_equal(store_listen(follower->store, &follower->listener), 0);
	return follower;
}

static struct follower *follower_of(const char *text)
{
	return follow(text, NULL, false);
}

static void follower_free(struct follower *follower)
{
	store_unlisten(follower->store, &follower->listener);
	upstreams_free(follower->upstreams);
	draft_free(follower->draft);
	store_free(follower->store);
	if (follower->loop)
		ev_loop_destroy(follower->loop);
	free(follower);
}

static uint32_t use(struct follower *follower, const char *service, const char *port)
{
	const char *why;
	uint32_t id = upstreams_use(follower->upstreams, "shop", service, port, &why);

	assert_int_not_equal(id, UPSTREAM_NONE);
	on_settled(follower);
	return id;
}

/* "10.0.0.1:80 10.0.0.2:80", "missing", or "" */
static const char *endpoints_of(const struct follower *follower, uint32_t id)
{
	static char text[512];
	const struct upstream *upstream = draft_upstream(follower->draft, id);
	size_t len = 0;

	assert_non_null(upstream);
	text[0] = '\0';
	for (size_t i = 0; i < upstream->endpoint_count; i++) {
		char addr[ADDR_TEXT_MAX];

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					endpoint_addr_format(&upstream->endpoints[i], addr));
	}
	return upstream->missing ? "missing" : text;
}

static void assert_endpoints(const char *text, const char *service, const char *port, const char *expected)
{
	struct follower *follower = follower_of(text);
	uint32_t id = use(follower, service, port);

	assert_string_equal(endpoints_of(follower, id), expected);
	follower_free(follower);
}

/* ---- manifests ---- */

#define SERVICE(spec_)                                                                                      \
	"---\napiVersion: v1\nkind: Service\nmetadata: { namespace: shop, name: web }\nspec: { " spec_ " }" \
	"\n"
#define WEB SERVICE("clusterIP: 10.1.0.1, ports: [ { name: http, port: 80, targetPort: 8080 } ]")
#define SLICE(name_, ports_, endpoints_)                                                                \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                                   \
	"metadata: { namespace: shop, name: " name_ ", labels: { kubernetes.io/service-name: web } }\n" \
	"addressType: IPv4\nports: [ " ports_ " ]\nendpoints: [ " endpoints_ " ]\n"
#define HTTP_8080      "{ name: http, port: 8080 }"
#define READY(ip_)     "{ addresses: [ " ip_ " ], conditions: { ready: true } }"
#define UNKNOWN(ip_)   "{ addresses: [ " ip_ " ] }"
#define NOT_READY(ip_) "{ addresses: [ " ip_ " ], conditions: { ready: false } }"
#define LEAVING(ip_) \
	"{ addresses: [ " ip_ " ], conditions: { ready: false, serving: true, terminating: true } }"
#define GONE(ip_) \
	"{ addresses: [ " ip_ " ], conditions: { ready: false, serving: false, terminating: true } }"

/* ---- ports ---- */

static void a_port_number_is_the_service_ports_and_a_name_its_name(void **state)
{
	(void)state;
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")), "web", "80", "10.0.0.1:8080");
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")), "web", "http", "10.0.0.1:8080");
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")), "web", "81", "missing");
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")), "web", "https", "missing");
}

static void a_target_port_is_taken_when_nothing_else_matches_as_ingress_nginx_does(void **state)
{
	(void)state;
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")), "web", "8080", "10.0.0.1:8080");
}

static void the_first_port_is_meant_when_none_is_named(void **state)
{
	(void)state;
	assert_endpoints(SERVICE("ports: [ { name: a, port: 1, protocol: UDP }, { name: http, port: 2 } ]")
			     SLICE("a", HTTP_8080, READY("10.0.0.1")),
			 "web", "", "10.0.0.1:8080");
}

static void slices_are_matched_by_the_name_of_the_service_port_so_target_names_may_differ_per_pod(
    void **state)
{
	(void)state;
	assert_endpoints(SERVICE("ports: [ { name: http, port: 80, targetPort: web } ]")
			     SLICE("a", "{ name: http, port: 8080 }", READY("10.0.0.1"))
				 SLICE("b", "{ name: http, port: 9090 }", READY("10.0.0.2"))
				     SLICE("c", "{ name: metrics, port: 1 }", READY("10.0.0.3")),
			 "web", "80", "10.0.0.1:8080 10.0.0.2:9090");
}

static void an_unnamed_port_matches_an_unnamed_one(void **state)
{
	(void)state;
	assert_endpoints(SERVICE("ports: [ { port: 80 } ]") SLICE("a", "{ port: 8080 }", READY("10.0.0.1")),
			 "web", "80", "10.0.0.1:8080");
}

static void a_udp_port_is_no_port_for_http(void **state)
{
	(void)state;
	assert_endpoints(SERVICE("ports: [ { name: http, port: 80, protocol: UDP } ]")
			     SLICE("a", "{ name: http, port: 80, protocol: UDP }", READY("10.0.0.1")),
			 "web", "80", "missing");
	assert_endpoints(WEB SLICE("a", "{ name: http, port: 53, protocol: UDP }", READY("10.0.0.1")), "web",
			 "80", "");
}

static void a_headless_service_without_ports_uses_the_number_directly(void **state)
{
	(void)state;
	assert_endpoints(SERVICE("clusterIP: None") SLICE("a", "", READY("10.0.0.1")), "web", "9000",
			 "10.0.0.1:9000");
	assert_endpoints(SERVICE("clusterIP: None") SLICE("a", "", READY("10.0.0.1")), "web", "http",
			 "missing");
}

static void a_missing_service_is_missing_and_says_why(void **state)
{
	struct follower *follower = follower_of("");
	const char *why = NULL;
	uint32_t id = upstreams_use(follower->upstreams, "shop", "web", "80", &why);

	(void)state;
	assert_string_equal(why, "Service shop/web does not exist; asked for port 80");
	on_settled(follower);
	assert_string_equal(endpoints_of(follower, id), "missing");
	assert_string_equal(follower->problem, ""); /* its user knows */
	follower_free(follower);
}

/* ---- endpoints ---- */

static void ready_is_true_when_unknown_and_the_others_are_left_out(void **state)
{
	(void)state;
	assert_endpoints(WEB SLICE("a", HTTP_8080,
				   READY("10.0.0.1") ", " UNKNOWN("10.0.0.2") ", " NOT_READY(
				       "10.0.0.3") ", " LEAVING("10.0.0.4")),
			 "web", "80", "10.0.0.1:8080 10.0.0.2:8080");
}

static void when_none_is_ready_those_terminating_but_serving_are_used(void **state)
{
	(void)state;
	assert_endpoints(
	    WEB SLICE("a", HTTP_8080, NOT_READY("10.0.0.3") ", " LEAVING("10.0.0.4") ", " GONE("10.0.0.5")),
	    "web", "80", "10.0.0.4:8080");
}

static void a_service_without_endpoints_has_none_and_is_not_missing(void **state)
{
	(void)state;
	assert_endpoints(WEB, "web", "80", "");
	assert_endpoints(WEB SLICE("a", HTTP_8080, NOT_READY("10.0.0.3")), "web", "80", "");
}

static void an_endpoint_in_two_slices_counts_once(void **state)
{
	(void)state;
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1") ", " READY("10.0.0.2"))
			     SLICE("b", HTTP_8080, READY("10.0.0.2")),
			 "web", "80", "10.0.0.1:8080 10.0.0.2:8080");
}

static void slices_go_by_label_whatever_their_name(void **state)
{
	(void)state;
	assert_endpoints(WEB SLICE("nothing-like-it", HTTP_8080, READY("10.0.0.1")), "web", "80",
			 "10.0.0.1:8080");
}

#define SLICE6(name_, endpoints_)                                                                       \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                                   \
	"metadata: { namespace: shop, name: " name_ ", labels: { kubernetes.io/service-name: web } }\n" \
	"addressType: IPv6\nports: [ " HTTP_8080 " ]\nendpoints: [ " endpoints_ " ]\n"

static void both_families_are_used_side_by_side(void **state)
{
	(void)state;
	assert_endpoints(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")) SLICE6("b", READY("\"fd00::1\"")),
			 "web", "80", "10.0.0.1:8080 [fd00::1]:8080");
}

#define ENDPOINTS(addresses_)                                                              \
	"---\napiVersion: v1\nkind: Endpoints\nmetadata: { namespace: shop, name: web }\n" \
	"subsets: [ { addresses: [ " addresses_                                            \
	" ], notReadyAddresses: [ { ip: 10.0.0.99 } ], ports: [ " HTTP_8080 " ] } ]\n"
#define MIRRORED(endpoints_)                                                                                \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { namespace: shop, name: m, " \
	"labels: { "                                                                                        \
	"kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: "                         \
	"endpointslicemirroring-controller.k8s.io } }\naddressType: IPv4\nports: [ " HTTP_8080 " ]\n"       \
	"endpoints: [ " endpoints_ " ]\n"

static void endpoints_objects_count_and_their_mirrors_not_twice(void **state)
{
	(void)state;
	assert_endpoints(WEB ENDPOINTS("{ ip: 10.0.0.1 }"), "web", "80", "10.0.0.1:8080");
	assert_endpoints(WEB ENDPOINTS("{ ip: 10.0.0.1 }") SLICE("a", HTTP_8080, READY("10.0.0.2")), "web",
			 "80", "10.0.0.1:8080 10.0.0.2:8080");
	assert_endpoints(WEB MIRRORED(READY("10.0.0.7")), "web", "80", "10.0.0.7:8080");
	assert_endpoints(WEB ENDPOINTS("{ ip: 10.0.0.1 }") MIRRORED(READY("10.0.0.7")), "web", "80",
			 "10.0.0.1:8080");
}

static void endpoints_on_loopback_are_refused(void **state)
{
	struct follower *follower = follower_of(
	    WEB SLICE("a", HTTP_8080, READY("127.0.0.1") ", " READY("127.0.0.2") ", " READY("10.0.0.1")));
	const char *why = NULL;
	uint32_t id = upstreams_use(follower->upstreams, "shop", "web", "80", &why);

	(void)state;
	assert_string_equal(
	    why,
	    "Service shop/web: endpoint addresses that are loopback, link-local or multicast are ignored: 2");
	on_settled(follower);
	assert_string_equal(endpoints_of(follower, id), "10.0.0.1:8080");
	follower_free(follower);
}

static void endpoints_on_loopback_are_taken_from_manifests(void **state)
{
	struct follower *follower = follow(WEB SLICE("a", HTTP_8080, READY("127.0.0.1")), NULL, true);
	uint32_t id = use(follower, "web", "80");

	(void)state;
	assert_string_equal(endpoints_of(follower, id), "127.0.0.1:8080");
	follower_free(follower);
}

/* ---- following the store ---- */

static void one_service_port_has_one_id_as_long_as_it_is_used_and_never_again(void **state)
{
	struct follower *follower = follower_of(WEB);
	uint32_t first = use(follower, "web", "80"), again = use(follower, "web", "80"),
		 other = use(follower, "web", "http");

	(void)state;
	assert_int_equal(first, again);
	assert_int_not_equal(first, other);
	upstreams_drop(follower->upstreams, first);
	on_settled(follower);
	assert_non_null(draft_upstream(follower->draft, first));
	upstreams_drop(follower->upstreams, first);
	on_settled(follower);
	assert_null(draft_upstream(follower->draft, first));
	assert_int_not_equal(use(follower, "web", "80"), first);
	follower_free(follower);
}

static void endpoints_follow_slices_as_they_come_change_and_go(void **state)
{
	struct follower *follower = follower_of(WEB);
	uint32_t id = use(follower, "web", "80");

	(void)state;
	put_yaml(follower->store, SLICE("a", HTTP_8080, READY("10.0.0.1")));
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "10.0.0.1:8080");
	put_yaml(follower->store,
		 SLICE("a", HTTP_8080, READY("10.0.0.2")) SLICE("b", HTTP_8080, READY("10.0.0.3")));
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "10.0.0.2:8080 10.0.0.3:8080");
	store_delete(follower->store, KIND_ENDPOINTSLICE, STR_LIT("shop"), STR_LIT("a"));
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "10.0.0.3:8080");
	follower_free(follower);
}

static void a_slice_may_move_to_another_service(void **state)
{
	struct follower *follower = follower_of(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")));
	uint32_t id = use(follower, "web", "80");

	(void)state;
	put_yaml(follower->store,
		 "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
		 "metadata: { namespace: shop, name: a, labels: { kubernetes.io/service-name: api } }\n"
		 "addressType: IPv4\nports: [ " HTTP_8080 " ]\nendpoints: [ " READY("10.0.0.1") " ]\n");
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "");
	follower_free(follower);
}

static void a_service_may_come_late_and_go_again_which_is_told(void **state)
{
	struct follower *follower = follower_of(SLICE("a", HTTP_8080, READY("10.0.0.1")));
	uint32_t id = use(follower, "web", "80");

	(void)state;
	assert_string_equal(endpoints_of(follower, id), "missing");
	put_yaml(follower->store, WEB);
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "10.0.0.1:8080");
	assert_string_equal(follower->problem, "");
	store_delete(follower->store, KIND_SERVICE, STR_LIT("shop"), STR_LIT("web"));
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "missing");
	assert_string_equal(follower->problem,
			    "shop/web:80 Service shop/web does not exist; asked for port 80");
	follower_free(follower);
}

static void what_comes_out_the_same_is_not_put_again(void **state)
{
	struct follower *follower = follower_of(WEB SLICE("a", HTTP_8080, READY("10.0.0.1")));
	uint32_t id = use(follower, "web", "80");
	const struct upstream *before = draft_upstream(follower->draft, id);

	(void)state;
	follower->changed = false;
	put_yaml(follower->store, SLICE("b", HTTP_8080, READY("10.0.0.1")));
	store_settle(follower->store);
	assert_false(follower->changed);
	assert_ptr_equal(draft_upstream(follower->draft, id), before);
	follower_free(follower);
}

/* ---- ExternalName ---- */

#define EXTERNAL(name_) SERVICE("type: ExternalName, externalName: \"" name_ "\"")

static void run_until_resolved(struct follower *follower)
{
	for (int turns = 0; !follower->resolved && turns < 100; turns++)
		ev_run(follower->loop, EVRUN_ONCE);
	assert_true(follower->resolved);
}

static void an_external_name_is_resolved_to_the_number_the_ingress_names(void **state)
{
	struct follower *follower = follow(EXTERNAL("192.0.2.7"), ev_loop_new(EVFLAG_AUTO), false);
	uint32_t id = use(follower, "web", "8443");

	(void)state;
	assert_string_equal(endpoints_of(follower, id), "");
	run_until_resolved(follower);
	assert_string_equal(endpoints_of(follower, id), "192.0.2.7:8443");
	follower_free(follower);
}

static void an_external_name_takes_its_port_from_the_service_port_if_that_matches(void **state)
{
	struct follower *follower = follow(
	    SERVICE("type: ExternalName, externalName: 192.0.2.7, ports: [ { name: https, port: 443 } ]"),
	    ev_loop_new(EVFLAG_AUTO), false);
	uint32_t id = use(follower, "web", "https");

	(void)state;
	run_until_resolved(follower);
	assert_string_equal(endpoints_of(follower, id), "192.0.2.7:443");
	follower_free(follower);
}

static void an_external_name_that_leads_to_loopback_is_refused(void **state)
{
	struct follower *follower = follow(EXTERNAL("127.0.0.1"), ev_loop_new(EVFLAG_AUTO), false);
	uint32_t id = use(follower, "web", "80");

	(void)state;
	run_until_resolved(follower);
	assert_string_equal(endpoints_of(follower, id), "");
	assert_string_equal(follower->problem,
			    "shop/web:80 externalName 127.0.0.1 leads to addresses that are not allowed");
	follower_free(follower);
}

static void editing_the_external_name_takes_effect_live(void **state)
{
	struct follower *follower = follow(EXTERNAL("192.0.2.7"), ev_loop_new(EVFLAG_AUTO), false);
	uint32_t id = use(follower, "web", "80");

	(void)state;
	run_until_resolved(follower);
	follower->resolved = false;
	put_yaml(follower->store, EXTERNAL("192.0.2.8"));
	store_settle(follower->store);
	run_until_resolved(follower);
	assert_string_equal(endpoints_of(follower, id), "192.0.2.8:80");
	put_yaml(follower->store, WEB);
	store_settle(follower->store);
	assert_string_equal(endpoints_of(follower, id), "");
	follower_free(follower);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_port_number_is_the_service_ports_and_a_name_its_name),
	    cmocka_unit_test(a_target_port_is_taken_when_nothing_else_matches_as_ingress_nginx_does),
	    cmocka_unit_test(the_first_port_is_meant_when_none_is_named),
	    cmocka_unit_test(
		slices_are_matched_by_the_name_of_the_service_port_so_target_names_may_differ_per_pod),
	    cmocka_unit_test(an_unnamed_port_matches_an_unnamed_one),
	    cmocka_unit_test(a_udp_port_is_no_port_for_http),
	    cmocka_unit_test(a_headless_service_without_ports_uses_the_number_directly),
	    cmocka_unit_test(a_missing_service_is_missing_and_says_why),
	    cmocka_unit_test(ready_is_true_when_unknown_and_the_others_are_left_out),
	    cmocka_unit_test(when_none_is_ready_those_terminating_but_serving_are_used),
	    cmocka_unit_test(a_service_without_endpoints_has_none_and_is_not_missing),
	    cmocka_unit_test(an_endpoint_in_two_slices_counts_once),
	    cmocka_unit_test(slices_go_by_label_whatever_their_name),
	    cmocka_unit_test(both_families_are_used_side_by_side),
	    cmocka_unit_test(endpoints_objects_count_and_their_mirrors_not_twice),
	    cmocka_unit_test(endpoints_on_loopback_are_refused),
	    cmocka_unit_test(endpoints_on_loopback_are_taken_from_manifests),
	    cmocka_unit_test(one_service_port_has_one_id_as_long_as_it_is_used_and_never_again),
	    cmocka_unit_test(endpoints_follow_slices_as_they_come_change_and_go),
	    cmocka_unit_test(a_slice_may_move_to_another_service),
	    cmocka_unit_test(a_service_may_come_late_and_go_again_which_is_told),
	    cmocka_unit_test(what_comes_out_the_same_is_not_put_again),
	    cmocka_unit_test(an_external_name_is_resolved_to_the_number_the_ingress_names),
	    cmocka_unit_test(an_external_name_takes_its_port_from_the_service_port_if_that_matches),
	    cmocka_unit_test(an_external_name_that_leads_to_loopback_is_refused),
	    cmocka_unit_test(editing_the_external_name_takes_effect_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
