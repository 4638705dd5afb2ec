/* LINK: proxy/settings.c conf/store.c conf/object.c base/addr.c base/arena.c base/map.c base/str.c base/err.c */
/* LIBS: -lxxhash -lcrypto */
/* What the planner is told, from flags, Node and ServiceCIDRs, by family. */
#include "proxy/settings.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"

static struct cidr cidr(const char *text)
{
	struct cidr cidr;

	assert_int_equal(cidr_parse(str_of(text), &cidr), 0);
	return cidr;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(str_of(text), &ip), 0);
	return ip;
}

static void assert_cidrs(const struct cidr *cidrs, size_t count, const char *expected)
{
	char text[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < count; i++) {
		char one[ADDR_TEXT_MAX];

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					cidr_format(&cidrs[i], one));
	}
	assert_string_equal(text, expected);
}

/* Row 32: prefixes of the family; the primary address; all (an empty list). */
static void node_ports_answer_where_flags_and_node_say(void **state)
{
	static const struct {
		const char *prefixes[3], *node_flag, *node_object[2];
		bool primary;
		const char *four, *six;
	} table[] = {
	    {{NULL}, NULL, {NULL}, false, "", ""},
	    {{NULL}, NULL, {NULL}, true, "", ""},
	    {{NULL}, "192.0.2.1", {NULL}, false, "192.0.2.1/32", ""},
	    {{NULL}, NULL, {"192.0.2.2", "2001:db8::2"}, false, "192.0.2.2/32", "2001:db8::2/128"},
	    {{NULL}, "192.0.2.1", {"192.0.2.2", "2001:db8::2"}, true, "192.0.2.1/32", "2001:db8::2/128"},
	    {{"10.0.0.0/8", "192.0.2.0/24"}, "192.0.2.1", {NULL}, false, "10.0.0.0/8 192.0.2.0/24", ""},
	    {{"10.0.0.0/8", "2001:db8::/64"}, NULL, {NULL}, false, "10.0.0.0/8", "2001:db8::/64"},
	    {{"0.0.0.0/0"}, "192.0.2.1", {NULL}, false, "", ""},
	    {{"0.0.0.0/0", "10.0.0.0/8"}, NULL, {NULL}, false, "", ""},
	};
	struct store *store = store_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct ip internal[2];
		struct node_object node = {.internal_ips = internal};
		struct cidr prefixes[3];
		struct proxy_config config = {.nodeport_cidrs = prefixes,
					      .nodeport_primary = table[i].primary};
		struct plan_config plan;
		struct arena arena = {0};

		for (; table[i].prefixes[config.nodeport_cidr_count]; config.nodeport_cidr_count++)
			prefixes[config.nodeport_cidr_count] =
			    cidr(table[i].prefixes[config.nodeport_cidr_count]);
		if (table[i].node_flag)
			config.node_ips[0] = ip(table[i].node_flag);
		for (size_t k = 0; k < 2 && table[i].node_object[k]; k++)
			internal[node.internal_ip_count++] = ip(table[i].node_object[k]);
		assert_int_equal(settings_plan(&arena, &config, &node, store, AF_INET, &plan), 0);
		assert_cidrs(plan.nodeport_cidrs, plan.nodeport_cidr_count, table[i].four);
		assert_int_equal(settings_plan(&arena, &config, &node, store, AF_INET6, &plan), 0);
		assert_cidrs(plan.nodeport_cidrs, plan.nodeport_cidr_count, table[i].six);
		arena_done(&arena);
	}
	store_free(store);
}

static void cluster_cidrs_are_split_by_family(void **state)
{
	struct cidr cidrs[] = {cidr("10.0.0.0/8"), cidr("fd00::/8")};
	struct proxy_config config = {
	    .cluster_cidrs = cidrs, .cluster_cidr_count = 2, .masquerade_all = true};
	struct store *store = store_new();
	struct arena arena = {0};
	struct plan_config plan;

	(void)state;
	assert_int_equal(settings_plan(&arena, &config, NULL, store, AF_INET6, &plan), 0);
	assert_cidrs(plan.cluster_cidrs, plan.cluster_cidr_count, "fd00::/8");
	assert_true(plan.masquerade_all);
	arena_done(&arena);
	store_free(store);
}

/* Row 31: by the Node's own prefixes, whatever else is given; before they are known by none. */
static void pods_of_the_node_are_those_of_its_pod_cidrs(void **state)
{
	struct cidr cidrs[] = {cidr("10.0.0.0/8")}, own[] = {cidr("10.1.0.0/24"), cidr("fd01::/64")};
	struct proxy_config config = {.pods_by_node = true, .cluster_cidrs = cidrs, .cluster_cidr_count = 1};
	struct node_object node = {.pod_cidrs = own, .pod_cidr_count = 2};
	struct store *store = store_new();
	struct arena arena = {0};
	struct plan_config four, six, unknown;

	(void)state;
	assert_int_equal(settings_plan(&arena, &config, NULL, store, AF_INET, &unknown), 0);
	assert_cidrs(unknown.cluster_cidrs, unknown.cluster_cidr_count, "");
	assert_int_equal(settings_plan(&arena, &config, &node, store, AF_INET, &four), 0);
	assert_cidrs(four.cluster_cidrs, four.cluster_cidr_count, "10.1.0.0/24");
	assert_false(settings_equal(&four, &unknown));
	assert_int_equal(settings_plan(&arena, &config, &node, store, AF_INET6, &six), 0);
	assert_cidrs(six.cluster_cidrs, six.cluster_cidr_count, "fd01::/64");
	arena_done(&arena);
	store_free(store);
}

static void the_pods_interface_is_copied_and_makes_a_difference(void **state)
{
	char name[] = "cni0";
	struct proxy_config config = {.node_name = "node-1", .pod_interface = name}, copy;
	struct arena arena = {0};
	struct plan_config a = {.pod_interface = "cni0"}, b = {.pod_interface = "cni1"}, none = {0};

	(void)state;
	assert_int_equal(settings_copy(&arena, &config, &copy), 0);
	name[0] = 'x';
	assert_string_equal(copy.pod_interface, "cni0");
	assert_false(settings_equal(&a, &b));
	assert_false(settings_equal(&a, &none));
	b = (struct plan_config){.pod_interface = "cni0", .pod_interface_is_prefix = true};
	assert_false(settings_equal(&a, &b));
	arena_done(&arena);
}

static void put_service_cidr(struct store *store, const char *name, const char *text)
{
	struct service_cidr *object = calloc(1, sizeof(*object));

	object->meta = (struct object){.kind = KIND_SERVICECIDR, .refs = 1, .ns = "", .resource_version = ""};
	object->meta.name = arena_dup(&object->meta.arena, str_of(name));
	object->cidrs = arena_array(&object->meta.arena, 1, sizeof(*object->cidrs));
	object->cidrs[0] = cidr(text);
	object->cidr_count = 1;
	assert_int_equal(store_put(store, &object->meta), 0);
}

static void service_cidrs_are_in_one_order_and_make_a_difference(void **state)
{
	struct proxy_config config = {0};
	struct store *store = store_new();
	struct arena arena = {0};
	struct plan_config plan, later;

	(void)state;
	put_service_cidr(store, "b", "10.97.0.0/16");
	put_service_cidr(store, "a", "10.96.0.0/16");
	put_service_cidr(store, "c", "fd00::/108");
	assert_int_equal(settings_plan(&arena, &config, NULL, store, AF_INET, &plan), 0);
	assert_cidrs(plan.service_cidrs, plan.service_cidr_count, "10.96.0.0/16 10.97.0.0/16");
	assert_int_equal(settings_plan(&arena, &config, NULL, store, AF_INET, &later), 0);
	assert_true(settings_equal(&plan, &later));
	store_delete(store, KIND_SERVICECIDR, STR_LIT(""), STR_LIT("a"));
	assert_int_equal(settings_plan(&arena, &config, NULL, store, AF_INET, &later), 0);
	assert_false(settings_equal(&plan, &later));
	arena_done(&arena);
	store_free(store);
}

static void a_copy_of_the_configuration_outlives_its_source(void **state)
{
	struct cidr cidrs[] = {cidr("10.0.0.0/8")};
	struct proxy_config config = {.node_name = "node-1", .cluster_cidrs = cidrs, .cluster_cidr_count = 1},
			    copy;
	struct arena arena = {0};

	(void)state;
	assert_int_equal(settings_copy(&arena, &config, &copy), 0);
	cidrs[0] = cidr("11.0.0.0/8");
	assert_cidrs(copy.cluster_cidrs, 1, "10.0.0.0/8");
	assert_string_equal(copy.node_name, "node-1");
	arena_done(&arena);
}

static void the_zone_is_the_nodes_label(void **state)
{
	static struct kv labels[] = {{"topology.kubernetes.io/zone", "zone-a"}};
	struct node_object node = {.meta = {.labels = {labels, 1}}}, bare = {0};

	(void)state;
	assert_string_equal(settings_zone(&node), "zone-a");
	assert_string_equal(settings_zone(&bare), "");
	assert_string_equal(settings_zone(NULL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(node_ports_answer_where_flags_and_node_say),
	    cmocka_unit_test(cluster_cidrs_are_split_by_family),
	    cmocka_unit_test(pods_of_the_node_are_those_of_its_pod_cidrs),
	    cmocka_unit_test(the_pods_interface_is_copied_and_makes_a_difference),
	    cmocka_unit_test(service_cidrs_are_in_one_order_and_make_a_difference),
	    cmocka_unit_test(a_copy_of_the_configuration_outlives_its_source),
	    cmocka_unit_test(the_zone_is_the_nodes_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
