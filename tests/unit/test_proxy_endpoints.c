/* LINK: proxy/endpoints.c tests/unit/proxy_objects.c conf/object.c base/addr.c base/arena.c base/str.c base/err.c */
/* LIBS: -lcrypto */
/* Which endpoints a service port gets: the rows of the contract as tables. */
#include "proxy/endpoints.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/proxy_objects.h"

static struct endpoint_query ask(const char *port, enum protocol protocol)
{
	return (struct endpoint_query){.family = AF_INET,
				       .port_name = port,
				       .protocol = protocol,
				       .node_name = "node-1",
				       .zone = "zone-a",
				       .uses = {true, true}};
}

/* "10.0.0.1:80 10.0.0.2:80" */
static const char *text_of(const struct endpoint_set *set, char text[static 512])
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < set->count; i++) {
		char addr[ADDR_TEXT_MAX];

		len += (size_t)snprintf(text + len, 512 - len, "%s%s", i ? " " : "",
					endpoint_addr_format(&set->endpoints[i].addr, addr));
	}
	return text;
}

static void assert_selection(struct endpoints *const *objects, size_t count,
			     const struct endpoint_query *query, const char *cluster, const char *local,
			     bool any)
{
	struct arena arena = {0};
	struct endpoint_selection selection;
	char text[512];

	assert_int_equal(
	    endpoints_select(&arena, (const struct endpoints *const *)objects, count, query, &selection), 0);
	assert_string_equal(text_of(&selection.sets[POLICY_CLUSTER], text), cluster);
	assert_string_equal(text_of(&selection.sets[POLICY_LOCAL], text), local);
	assert_int_equal(selection.any, any);
	arena_done(&arena);
}

/* Rows 8, 24, 25, 26: one slice, one port. */
static void conditions_nodes_and_hints_decide(void **state)
{
	static const struct {
		const char *endpoints, *cluster, *local;
		bool any;
	} table[] = {
	    {"", "", "", false},
	    /* ordered by text; local by node name, never without one */
	    {"10.0.0.9 10.0.0.10@node-1", "10.0.0.10:80 10.0.0.9:80", "10.0.0.10:80", true},
	    {"10.0.0.1@node-2", "10.0.0.1:80", "", true},
	    /* ready before ending before nothing, for each set by itself */
	    {"10.0.0.1 10.0.0.2!ending 10.0.0.3!not", "10.0.0.1:80", "", true},
	    {"10.0.0.1!not 10.0.0.2!ending 10.0.0.3!dead", "10.0.0.2:80", "", true},
	    {"10.0.0.1!not 10.0.0.3!dead", "", "", false},
	    {"10.0.0.1@node-2 10.0.0.2@node-1!ending", "10.0.0.1:80", "10.0.0.2:80", true},
	    {"10.0.0.1@node-1 10.0.0.2@node-1!ending", "10.0.0.1:80", "10.0.0.1:80", true},
	    /* hints by zone: all must have them, one must be for here; the local set ignores them */
	    {"10.0.0.1#zone-a 10.0.0.2#zone-b", "10.0.0.1:80", "", true},
	    {"10.0.0.1#zone-a,zone-b 10.0.0.2@node-1#zone-b", "10.0.0.1:80", "10.0.0.2:80", true},
	    {"10.0.0.1#zone-a 10.0.0.2", "10.0.0.1:80 10.0.0.2:80", "", true},
	    {"10.0.0.1#zone-c 10.0.0.2#zone-b", "10.0.0.1:80 10.0.0.2:80", "", true},
	    /* what is not ready has no say in hints */
	    {"10.0.0.1#zone-a 10.0.0.2#zone-b 10.0.0.3!not", "10.0.0.1:80", "", true},
	    {"10.0.0.1!ending#zone-b", "10.0.0.1:80", "", true},
	    /* hints by node before those by zone */
	    {"10.0.0.1#zone-a%node-2 10.0.0.2#zone-b%node-1", "10.0.0.2:80", "", true},
	    {"10.0.0.1#zone-a%node-2 10.0.0.2#zone-b%node-3", "10.0.0.1:80", "", true},
	    /* addresses nobody may use */
	    {"127.0.0.1 0.0.0.0 224.0.0.1 169.254.0.1 10.0.0.1", "10.0.0.1:80", "", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct endpoint_query query = ask("http", PROTOCOL_TCP);
		struct arena arena = {0};
		struct endpoints *objects[] = {slice(&arena, "web", "web-1", "http:80", table[i].endpoints)};

		assert_selection(objects, 1, &query, table[i].cluster, table[i].local, table[i].any);
		arena_done(&arena);
	}
}

static void sets_that_are_not_wanted_stay_empty(void **state)
{
	struct arena arena = {0};
	struct endpoints *objects[] = {slice(&arena, "web", "web-1", "http:80", "10.0.0.1@node-1")};
	struct endpoint_query query = ask("http", PROTOCOL_TCP);

	(void)state;
	query.uses[POLICY_CLUSTER] = false;
	assert_selection(objects, 1, &query, "", "10.0.0.1:80", true);
	query.uses[POLICY_LOCAL] = false;
	assert_selection(objects, 1, &query, "", "", true);
	arena_done(&arena);
}

static void without_a_zone_zone_hints_are_not_followed(void **state)
{
	struct arena arena = {0};
	struct endpoints *objects[] = {slice(&arena, "web", "web-1", "http:80", "10.0.0.1#zone-a 10.0.0.2#")};
	struct endpoint_query query = ask("http", PROTOCOL_TCP);

	(void)state;
	query.zone = "";
	assert_selection(objects, 1, &query, "10.0.0.1:80 10.0.0.2:80", "", true);
	arena_done(&arena);
}

static void loopback_counts_where_it_is_allowed(void **state)
{
	struct arena arena = {0};
	struct endpoints *objects[] = {slice(&arena, "web", "web-1", "http:80", "127.0.0.1")};
	struct endpoint_query query = ask("http", PROTOCOL_TCP);

	(void)state;
	query.allow_loopback = true;
	assert_selection(objects, 1, &query, "127.0.0.1:80", "", true);
	arena_done(&arena);
}

/* Row 8: the port is found by name and protocol, in each slice by itself; 0 is no port. */
static void ports_are_matched_by_name_and_protocol(void **state)
{
	struct arena arena = {0};
	struct endpoints *objects[] = {
	    slice(&arena, "dns", "dns-1", "dns:53/UDP dns-tcp:53 zero:0", "10.0.0.1"),
	    slice(&arena, "dns", "dns-2", "dns:5353/UDP dns:5354", "10.0.0.2"),
	    slice(&arena, "dns", "dns-3", ":9", "10.0.0.3"),
	    slice(&arena, "dns", "dns-6", "dns:53/UDP", "fd00::1"),
	};
	static const struct {
		const char *port;
		enum protocol protocol;
		const char *cluster;
	} table[] = {
	    {"dns", PROTOCOL_UDP, "10.0.0.1:53 10.0.0.2:5353"},
	    {"dns", PROTOCOL_TCP, "10.0.0.2:5354"},
	    {"dns-tcp", PROTOCOL_TCP, "10.0.0.1:53"},
	    {"", PROTOCOL_TCP, "10.0.0.3:9"},
	    {"zero", PROTOCOL_TCP, ""},
	    {"none", PROTOCOL_TCP, ""},
	};
	struct endpoint_query six = ask("dns", PROTOCOL_UDP);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct endpoint_query query = ask(table[i].port, table[i].protocol);

		assert_selection(objects, ARRAY_LEN(objects), &query, table[i].cluster, "",
				 table[i].cluster[0] != '\0');
	}
	six.family = AF_INET6;
	assert_selection(objects, ARRAY_LEN(objects), &six, "[fd00::1]:53", "", true);
	arena_done(&arena);
}

/* Row 9. */
static void of_two_with_one_address_the_one_that_does_not_end_wins_then_the_later(void **state)
{
	static const struct {
		const char *first, *second, *cluster, *local;
	} table[] = {
	    {"10.0.0.1@node-1", "10.0.0.1@node-2", "10.0.0.1:80", ""},
	    {"10.0.0.1@node-2", "10.0.0.1@node-1", "10.0.0.1:80", "10.0.0.1:80"},
	    {"10.0.0.1@node-1", "10.0.0.1@node-2!ending", "10.0.0.1:80", "10.0.0.1:80"},
	    {"10.0.0.1!ending", "10.0.0.1@node-1", "10.0.0.1:80", "10.0.0.1:80"},
	    {"10.0.0.1", "10.0.0.1!not", "", ""},
	    {"10.0.0.1 10.0.0.2", "10.0.0.2 10.0.0.3", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct endpoint_query query = ask("", PROTOCOL_TCP);
		struct arena arena = {0};
		struct endpoints *a = slice(&arena, "web", "web-1", ":80", table[i].first);
		struct endpoints *b = slice(&arena, "web", "web-2", ":80", table[i].second);
		bool any = table[i].cluster[0] != '\0';

		/* "later" is by name, however they arrived */
		assert_selection((struct endpoints *[]){a, b}, 2, &query, table[i].cluster, table[i].local,
				 any);
		assert_selection((struct endpoints *[]){b, a}, 2, &query, table[i].cluster, table[i].local,
				 any);
		arena_done(&arena);
	}
}

static void endpoints_objects_count_unless_they_are_mirrored_into_slices(void **state)
{
	struct arena arena = {0};
	struct endpoint_query query = ask("", PROTOCOL_TCP);
	struct endpoints *old = legacy(&arena, "web", ":80", "10.0.0.1 10.0.0.2");
	struct endpoints *new = slice(&arena, "web", "web-1", ":80", "10.0.0.2 10.0.0.3");
	struct endpoints *objects[] = {new, old};

	(void)state;
	assert_selection(objects, 2, &query, "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", "", true);
	new->mirrored = true;
	assert_selection(objects, 2, &query, "10.0.0.2:80 10.0.0.3:80", "", true);
	arena_done(&arena);
}

static void an_endpoint_that_may_be_here_is_marked(void **state)
{
	struct arena arena = {0};
	struct endpoints *objects[] = {
	    slice(&arena, "web", "web-1", ":80", "10.0.0.1 10.0.0.2@node-1 10.0.0.3@node-2")};
	struct endpoint_query query = ask("", PROTOCOL_TCP);
	struct endpoint_selection selection;
	const struct service_endpoint *endpoints;

	(void)state;
	assert_int_equal(
	    endpoints_select(&arena, (const struct endpoints *const *)objects, 1, &query, &selection), 0);
	endpoints = selection.sets[POLICY_CLUSTER].endpoints;
	assert_true(endpoints[0].may_be_here && endpoints[1].may_be_here && !endpoints[2].may_be_here);
	arena_done(&arena);
}

/* Row 33. */
static void who_still_serves_is_told_by_address_and_port(void **state)
{
	static const struct {
		const char *address;
		uint16_t port;
		bool serves;
	} table[] = {{"10.0.0.1", 53, true},  {"10.0.0.1", 54, false}, {"10.0.0.2", 53, true},
		     {"10.0.0.3", 53, false}, {"10.0.0.4", 53, false}, {"10.0.0.5", 53, false}};
	struct arena arena = {0};
	struct endpoints *objects[] = {slice(&arena, "dns", "dns-1", "dns:53/UDP",
					     "10.0.0.1 10.0.0.2!ending 10.0.0.3!dead 10.0.0.4!not")};
	struct endpoint_query query = ask("dns", PROTOCOL_UDP);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct endpoint_addr addr = {ip_of(table[i].address), table[i].port};

		assert_int_equal(endpoints_serve((const struct endpoints *const *)objects, 1, &query, &addr),
				 table[i].serves);
	}
	arena_done(&arena);
}

/* ---- places ---- */

static struct endpoint_set set_of(struct arena *arena, const char *letters)
{
	struct endpoint_set set = {arena_array(arena, strlen(letters) + 1, sizeof(*set.endpoints)),
				   strlen(letters)};

	for (size_t i = 0; i < set.count; i++)
		set.endpoints[i].addr =
		    (struct endpoint_addr){{AF_INET, {10, 0, 0, (uint8_t)letters[i]}}, 80};
	return set;
}

static void endpoints_that_stay_keep_their_places(void **state)
{
	static const struct {
		const char *old, *wanted, *placed;
	} table[] = {
	    {"", "", ""},
	    {"", "abc", "abc"},
	    {"abc", "", ""},
	    {"abc", "abc", "abc"},
	    {"cab", "abc", "cab"},
	    /* added at the end, in order */
	    {"ca", "abcd", "cabd"},
	    /* the last moves into the hole */
	    {"abcd", "acd", "adc"},
	    {"abcd", "bcd", "dbc"},
	    {"abcd", "abc", "abc"},
	    {"abcde", "ae", "ae"},
	    /* a new one takes the place of one that left */
	    {"abc", "acx", "axc"},
	    {"abc", "xyz", "xyz"},
	    {"abcd", "bx", "xb"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		struct endpoint_set old = set_of(&arena, table[i].old);
		struct endpoint_set wanted = set_of(&arena, table[i].wanted);
		struct endpoint_set placed = set_of(&arena, table[i].placed);

		assert_int_equal(endpoints_keep_places(&old, &wanted), 0);
		assert_int_equal(wanted.count, placed.count);
		for (size_t k = 0; k < placed.count; k++)
			assert_int_equal(wanted.endpoints[k].addr.ip.bytes[3],
					 placed.endpoints[k].addr.ip.bytes[3]);
		arena_done(&arena);
	}
}

static void objects_of_other_proxies_and_headless_services_do_not_count(void **state)
{
	static struct kv foreign[] = {{"service.kubernetes.io/service-proxy-name", "another"}};
	static struct kv headless[] = {{"service.kubernetes.io/headless", ""}};
	struct arena arena = {0};
	struct endpoints *object = slice(&arena, "web", "web-1", ":80", "10.0.0.1");

	(void)state;
	assert_true(endpoints_count(object));
	object->meta.labels = (struct kv_list){foreign, 1};
	assert_false(endpoints_count(object));
	object->meta.labels = (struct kv_list){headless, 1};
	assert_false(endpoints_count(object));
	object->meta.labels = (struct kv_list){NULL, 0};
	object->service_name = "";
	assert_false(endpoints_count(object));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(conditions_nodes_and_hints_decide),
	    cmocka_unit_test(sets_that_are_not_wanted_stay_empty),
	    cmocka_unit_test(without_a_zone_zone_hints_are_not_followed),
	    cmocka_unit_test(loopback_counts_where_it_is_allowed),
	    cmocka_unit_test(ports_are_matched_by_name_and_protocol),
	    cmocka_unit_test(of_two_with_one_address_the_one_that_does_not_end_wins_then_the_later),
	    cmocka_unit_test(endpoints_objects_count_unless_they_are_mirrored_into_slices),
	    cmocka_unit_test(an_endpoint_that_may_be_here_is_marked),
	    cmocka_unit_test(who_still_serves_is_told_by_address_and_port),
	    cmocka_unit_test(endpoints_that_stay_keep_their_places),
	    cmocka_unit_test(objects_of_other_proxies_and_headless_services_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
