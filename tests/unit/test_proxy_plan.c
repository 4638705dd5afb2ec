/* LINK: proxy/plan.c proxy/claims.c proxy/service.c proxy/endpoints.c proxy/slots.c tests/unit/proxy_objects.c tests/unit/proxy_model.c nft/ruleset.c nft/rule.c nft/diff.c conf/object.c base/addr.c base/arena.c base/buf.c base/map.c base/str.c base/err.c */
/* LIBS: -lxxhash -lcrypto */
/* From states to rules: what each kind of Service puts into the table, as lines. */
#include "proxy/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "nft/rule.h"
#include "proxy/claims.h"
#include "tests/unit/proxy_model.h"
#include "tests/unit/proxy_objects.h"

static const struct plan_config plain_4 = {.family = AF_INET}, plain_6 = {.family = AF_INET6};

/* The lines of a service's fragment, without the rules of chains that do not spread. */
static char *lines_of(const struct plan_config *config, const struct service *service,
		      struct endpoints *slice)
{
	struct service_request request = {.family = config->family,
					  .ns = "default",
					  .name = service->meta.name,
					  .service = service,
					  .objects = (const struct endpoints *const *)&slice,
					  .object_count = slice ? 1 : 0,
					  .node_name = "node-1",
					  .zone = ""};
	struct claimant claimant = {0, "default", service->meta.name};
	struct nft_ruleset ruleset = {0};
	struct service_state *state;
	struct claims claims = {0};
	struct slots slots = {0};
	struct err err;
	char *text;

	assert_int_equal(service_state_new(&request, &state), 0);
	assert_int_equal(claims_add_state(&claims, &claimant, state), 0);
	claims_resolve(&claims, &claimant, state);
	for (size_t i = 0; i < state->port_count; i++)
		for (size_t p = 0; p < POLICY_COUNT; p++)
			if (state->ports[i].sets[p].count)
				assert_int_equal(slots_take(&slots, state->ports[i].sets[p].count,
							    &state->ports[i].ranges[p]),
						 0);
	plan_service(config, state, &ruleset);
	assert_int_equal(nft_ruleset_sort(&ruleset, &err), 0);
	text = ruleset_meaning(&ruleset, config->family);
	nft_ruleset_done(&ruleset);
	claims_done(&claims);
	slots_done(&slots);
	service_state_free(state);
	return text;
}

/* Drops "NAME rules BYTES" and "chain NAME": they say how, not what. */
static void drop_details(char *text)
{
	char *to = text;

	while (*text) {
		size_t len = strcspn(text, "\n") + 1;
		char line[1024];

		(void)snprintf(line, sizeof(line), "%.*s", (int)len, text);
		if (strncmp(line, "chain ", 6) != 0 && !strstr(line, " rules ")) {
			memmove(to, text, len);
			to += len;
		}
		text += len;
	}
	*to = '\0';
}

static void assert_lines(const struct plan_config *config, const struct service *service,
			 struct endpoints *slice, const char *expected)
{
	char *text = lines_of(config, service, slice);

	drop_details(text);
	assert_string_equal(text, expected);
	free(text);
}

static void a_cluster_ip_leads_to_its_endpoints(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", "http:80");

	(void)state;
	assert_lines(&plain_4, web,
		     slice(&arena, "web", "web-1", "http:8080", "10.0.0.2@node-2 10.0.0.1@node-2"),
		     "cluster-ips 10.96.0.1\n"
		     "service-ips 10.96.0.1 80/6 -> svc-default/web/http\n"
		     "svc-default/web/http spreads over 10.0.0.1:8080 10.0.0.2:8080\n");
	arena_done(&arena);
}

static void a_port_without_a_name_has_a_chain_named_after_the_service(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "fd00::1", ":53/UDP");

	(void)state;
	assert_lines(&plain_6, web, slice(&arena, "web", "web-1", ":5353/UDP", "fd01::1@node-2"),
		     "cluster-ips fd00::1\n"
		     "service-ips fd00::1 53/17 -> svc-default/web\n"
		     "svc-default/web spreads over [fd01::1]:5353\n");
	arena_done(&arena);
}

static void endpoints_that_may_be_here_are_in_the_hairpin_set_once(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", "a:80 b:81");

	(void)state;
	assert_lines(
	    &plain_4, web,
	    slice(&arena, "web", "web-1", "a:8080 b:8081", "10.0.0.1 10.0.0.2@node-1 10.0.0.3@node-2"),
	    "cluster-ips 10.96.0.1\n"
	    "hairpin-connections 10.0.0.1 10.0.0.1\n"
	    "hairpin-connections 10.0.0.2 10.0.0.2\n"
	    "service-ips 10.96.0.1 80/6 -> svc-default/web/a\n"
	    "service-ips 10.96.0.1 81/6 -> svc-default/web/b\n"
	    "svc-default/web/a spreads over 10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080\n"
	    "svc-default/web/b spreads over 10.0.0.1:8081 10.0.0.2:8081 10.0.0.3:8081\n");
	arena_done(&arena);
}

/* Row 20. */
static void without_endpoints_every_frontend_is_rejected(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", ":80=30080");
	struct ip external = ip_of("203.0.113.1");

	(void)state;
	web->external_ips = &external;
	web->external_ip_count = 1;
	assert_lines(&plain_4, web, NULL,
		     "cluster-ips 10.96.0.1\n"
		     "no-endpoint-nodeports 30080/6 -> reject-chain\n"
		     "no-endpoint-services 10.96.0.1 80/6 -> reject-chain\n"
		     "no-endpoint-services 203.0.113.1 80/6 -> reject-chain\n");
	arena_done(&arena);
}

/* Row 17. */
static void external_frontends_are_masqueraded(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", ":80=30080");
	struct ip external = ip_of("203.0.113.1");

	(void)state;
	web->external_ips = &external;
	web->external_ip_count = 1;
	assert_lines(&plain_4, web, slice(&arena, "web", "web-1", ":80", "10.0.0.1@node-2"),
		     "cluster-ips 10.96.0.1\n"
		     "masquerade-ips 203.0.113.1 80/6 -> masquerade-always\n"
		     "masquerade-nodeports 30080/6 -> masquerade-always\n"
		     "service-ips 10.96.0.1 80/6 -> svc-default/web\n"
		     "service-ips 203.0.113.1 80/6 -> svc-default/web\n"
		     "service-nodeports 30080/6 -> svc-default/web\n"
		     "svc-default/web spreads over 10.0.0.1:80\n");
	arena_done(&arena);
}

/* Row 18. */
static void external_policy_local_goes_by_a_chain_of_its_own(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", ":80=30080");

	(void)state;
	web->external_policy = TRAFFIC_POLICY_LOCAL;
	assert_lines(&plain_4, web, slice(&arena, "web", "web-1", ":80", "10.0.0.1@node-1 10.0.0.2@node-2"),
		     "cluster-ips 10.96.0.1\n"
		     "hairpin-connections 10.0.0.1 10.0.0.1\n"
		     "loc-default/web spreads over 10.0.0.1:80\n"
		     "masquerade-nodeports 30080/6 -> masquerade-if-local\n"
		     "service-ips 10.96.0.1 80/6 -> svc-default/web\n"
		     "service-nodeports 30080/6 -> ext-default/web\n"
		     "svc-default/web spreads over 10.0.0.1:80 10.0.0.2:80\n");
	assert_lines(&plain_4, web, slice(&arena, "web", "web-1", ":80", "10.0.0.2@node-2"),
		     "cluster-ips 10.96.0.1\n"
		     "masquerade-nodeports 30080/6 -> masquerade-if-local\n"
		     "no-endpoint-nodeports 30080/6 -> drop\n"
		     "service-ips 10.96.0.1 80/6 -> svc-default/web\n"
		     "service-nodeports 30080/6 -> ext-default/web\n"
		     "svc-default/web spreads over 10.0.0.2:80\n");
	arena_done(&arena);
}

/* Row 19. */
static void internal_policy_local_drops_where_only_others_have_endpoints(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", ":80");

	(void)state;
	web->internal_policy = TRAFFIC_POLICY_LOCAL;
	assert_lines(&plain_4, web, slice(&arena, "web", "web-1", ":80", "10.0.0.1@node-1 10.0.0.2@node-2"),
		     "cluster-ips 10.96.0.1\n"
		     "hairpin-connections 10.0.0.1 10.0.0.1\n"
		     "loc-default/web spreads over 10.0.0.1:80\n"
		     "service-ips 10.96.0.1 80/6 -> loc-default/web\n");
	assert_lines(&plain_4, web, slice(&arena, "web", "web-1", ":80", "10.0.0.2@node-2"),
		     "cluster-ips 10.96.0.1\n"
		     "no-endpoint-services 10.96.0.1 80/6 -> drop\n");
	assert_lines(&plain_4, web, NULL,
		     "cluster-ips 10.96.0.1\n"
		     "no-endpoint-services 10.96.0.1 80/6 -> reject-chain\n");
	arena_done(&arena);
}

static size_t rule_count(const struct nft_ruleset *ruleset, const char *chain)
{
	const struct nft_item *rules =
	    nft_ruleset_find(ruleset, NFT_ITEM_RULES, chain, (struct str){NULL, 0});
	struct str bytes = rules ? rules->value : (struct str){NULL, 0}, rule;
	size_t count = 0;

	while (nft_rule_next(&bytes, &rule))
		count++;
	return count;
}

/* Row 16: a rule for each range, one for each load-balancer address if the node is in a range, and the drop. */
static void source_ranges_guard_load_balancer_addresses(void **state)
{
	static const struct {
		const char *node;
		size_t rules;
	} table[] = {{"192.0.2.1", 4}, {"198.51.100.1", 3}};
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", "a:80 b:81");
	struct lb_ingress balancer = {.ip = ip_of("203.0.113.1"), .hostname = ""};
	struct cidr ranges[] = {{.ip = ip_of("192.0.2.0"), .prefix_bits = 24},
				{.ip = ip_of("10.0.0.0"), .prefix_bits = 8}};

	(void)state;
	web->type = SERVICE_LOAD_BALANCER;
	web->lb_ingress = &balancer;
	web->lb_ingress_count = 1;
	web->lb_source_ranges = ranges;
	web->lb_source_range_count = 2;
	assert_lines(&plain_4, web, NULL,
		     "cluster-ips 10.96.0.1\n"
		     "firewall-ips 203.0.113.1 80/6 -> firewall-default/web\n"
		     "firewall-ips 203.0.113.1 81/6 -> firewall-default/web\n"
		     "no-endpoint-services 10.96.0.1 80/6 -> reject-chain\n"
		     "no-endpoint-services 10.96.0.1 81/6 -> reject-chain\n"
		     "no-endpoint-services 203.0.113.1 80/6 -> reject-chain\n"
		     "no-endpoint-services 203.0.113.1 81/6 -> reject-chain\n");
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct plan_config config = {.family = AF_INET, .node_ip = ip_of(table[i].node)};
		struct service_request request = {.family = AF_INET,
						  .ns = "default",
						  .name = "web",
						  .service = web,
						  .node_name = "",
						  .zone = ""};
		struct nft_ruleset ruleset = {0};
		struct service_state *built;
		struct err err;

		assert_int_equal(service_state_new(&request, &built), 0);
		for (size_t f = 0; f < built->frontend_count; f++)
			built->frontends[f].owned = true;
		plan_service(&config, built, &ruleset);
		assert_int_equal(nft_ruleset_sort(&ruleset, &err), 0);
		assert_int_equal(rule_count(&ruleset, "firewall-default/web"), table[i].rules);
		nft_ruleset_done(&ruleset);
		service_state_free(built);
	}
	arena_done(&arena);
}

static void what_another_service_owns_is_left_out(void **state)
{
	struct arena arena = {0};
	struct service *web = service(&arena, "web", "10.96.0.1", ":80=30080");
	struct service_request request = {
	    .family = AF_INET, .ns = "default", .name = "web", .service = web, .node_name = "", .zone = ""};
	struct nft_ruleset ruleset = {0};
	struct service_state *built;
	struct err err;

	(void)state;
	assert_int_equal(service_state_new(&request, &built), 0);
	plan_service(&plain_4, built, &ruleset); /* it owns nothing */
	assert_int_equal(nft_ruleset_sort(&ruleset, &err), 0);
	assert_int_equal(ruleset.count, 0);
	plan_service(&plain_4, NULL, &ruleset);
	assert_int_equal(ruleset.count, 0);
	nft_ruleset_done(&ruleset);
	service_state_free(built);
	arena_done(&arena);
}

/* ---- the base ---- */

static void settings_show_in_the_number_of_base_rules(void **state)
{
	static struct cidr cidrs[] = {{.ip = {AF_INET, {10}}, .prefix_bits = 8},
				      {.ip = {AF_INET, {11}}, .prefix_bits = 8}};
	struct {
		struct plan_config config;
		size_t cluster_ips, services, masquerading, input, forward;
	} table[] = {
	    {{.family = AF_INET}, 0, 2, 8, 2, 2},
	    {{.family = AF_INET6}, 0, 2, 8, 2, 2},
	    {{.family = AF_INET, .masquerade_all = true}, 1, 2, 8, 2, 2},
	    {{.family = AF_INET, .cluster_cidrs = cidrs, .cluster_cidr_count = 2}, 3, 2, 8, 2, 2},
	    {{.family = AF_INET, .pod_interface = "cni0"}, 2, 2, 8, 2, 2},
	    {{.family = AF_INET6, .masquerade_all = true, .pod_interface = "cni0"}, 1, 2, 8, 2, 2},
	    {{.family = AF_INET, .masquerade_all = true, .cluster_cidrs = cidrs, .cluster_cidr_count = 2},
	     1,
	     2,
	     8,
	     2,
	     2},
	    {{.family = AF_INET, .nodeport_cidrs = cidrs, .nodeport_cidr_count = 2}, 0, 3, 11, 3, 2},
	    {{.family = AF_INET, .service_cidrs = cidrs, .service_cidr_count = 2}, 0, 2, 8, 2, 4},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct nft_ruleset base = {0};
		struct err err;

		plan_base(&table[i].config, &base);
		assert_int_equal(nft_ruleset_sort(&base, &err), 0);
		assert_int_equal(rule_count(&base, "masquerade-cluster-ips"), table[i].cluster_ips);
		assert_int_equal(rule_count(&base, "services"), table[i].services);
		assert_int_equal(rule_count(&base, "masquerading"), table[i].masquerading);
		assert_int_equal(rule_count(&base, "input-check"), table[i].input);
		assert_int_equal(rule_count(&base, "forward-check"), table[i].forward);
		nft_ruleset_done(&base);
	}
}

static void other_settings_change_rules_but_never_the_nature_of_the_table(void **state)
{
	static struct cidr cidr = {.ip = {AF_INET, {10}}, .prefix_bits = 8};
	struct plan_config other = {.family = AF_INET,
				    .masquerade_all = true,
				    .cluster_cidrs = &cidr,
				    .cluster_cidr_count = 1,
				    .nodeport_cidrs = &cidr,
				    .nodeport_cidr_count = 1};
	struct nft_ruleset from = {0}, to = {0};
	struct nft_ops ops = {0};
	struct err err;

	(void)state;
	plan_base(&plain_4, &from);
	plan_base(&other, &to);
	assert_int_equal(nft_ruleset_sort(&from, &err), 0);
	assert_int_equal(nft_ruleset_sort(&to, &err), 0);
	assert_int_equal(nft_diff(&from, &to, &ops), 0);
	assert_false(ops.rebuild);
	assert_in_range(ops.count, 1, 6);
	nft_ops_done(&ops);
	nft_ruleset_done(&from);
	nft_ruleset_done(&to);
}

static void tags_and_slots_are_read_back(void **state)
{
	struct endpoint_addr addr;
	struct slot_range range;
	char value[20] = {10, 0, 0, 1, 0x1f, (char)0x90, 0, 0};

	(void)state;
	assert_int_equal(plan_tag_range(STR_LIT("\0\0\1\0\0\0\0\4"), &range), 0);
	assert_int_equal(range.base, 256);
	assert_int_equal(range.capacity, 4);
	assert_int_equal(plan_tag_affinity_id(STR_LIT("\0\0\1\0\0\0\0\4")), 0);
	assert_int_equal(plan_tag_range(STR_LIT("\0\0\1\0\0\0\0\4\0\0\0\7"), &range), 0);
	assert_int_equal(range.base, 256);
	assert_int_equal(plan_tag_affinity_id(STR_LIT("\0\0\1\0\0\0\0\4\0\0\0\7")), 7);
	assert_int_equal(plan_tag_affinity_id(STR_LIT("abc")), 0);
	assert_int_not_equal(plan_tag_range(STR_LIT("abc"), &range), 0);
	assert_int_not_equal(plan_tag_range((struct str){NULL, 0}, &range), 0);
	assert_int_equal(plan_slot_value_parse(AF_INET, (struct str){value, 8}, &addr), 0);
	assert_int_equal(addr.port, 8080);
	assert_int_not_equal(plan_slot_value_parse(AF_INET6, (struct str){value, 8}, &addr), 0);
	assert_int_equal(plan_slot_value_parse(AF_INET6, (struct str){value, 20}, &addr), 0);
}

static void the_longest_names_fit_a_chain(void **state)
{
	char ns[64], name[64], port[64];
	struct arena arena = {0};

	(void)state;
	memset(ns, 'n', 63);
	memset(name, 's', 63);
	memset(port, 'p', 63);
	ns[63] = name[63] = port[63] = '\0';
	assert_int_equal(strlen(plan_chain_name(&arena, POLICY_LOCAL, ns, name, port)), 4 + 3 * 63 + 2);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cluster_ip_leads_to_its_endpoints),
	    cmocka_unit_test(a_port_without_a_name_has_a_chain_named_after_the_service),
	    cmocka_unit_test(endpoints_that_may_be_here_are_in_the_hairpin_set_once),
	    cmocka_unit_test(without_endpoints_every_frontend_is_rejected),
	    cmocka_unit_test(external_frontends_are_masqueraded),
	    cmocka_unit_test(external_policy_local_goes_by_a_chain_of_its_own),
	    cmocka_unit_test(internal_policy_local_drops_where_only_others_have_endpoints),
	    cmocka_unit_test(source_ranges_guard_load_balancer_addresses),
	    cmocka_unit_test(what_another_service_owns_is_left_out),
	    cmocka_unit_test(settings_show_in_the_number_of_base_rules),
	    cmocka_unit_test(other_settings_change_rules_but_never_the_nature_of_the_table),
	    cmocka_unit_test(tags_and_slots_are_read_back),
	    cmocka_unit_test(the_longest_names_fit_a_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
