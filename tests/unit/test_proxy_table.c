/* LINK: proxy/table.c proxy/inforce.c proxy/plan.c proxy/claims.c proxy/service.c proxy/endpoints.c proxy/slots.c tests/unit/proxy_objects.c tests/unit/proxy_model.c nft/ruleset.c nft/rule.c nft/diff.c conf/object.c base/addr.c base/arena.c base/buf.c base/map.c base/str.c base/err.c */
/* LIBS: -lxxhash -lcrypto */
/* Updates of a table against a model of the kernel: what a transaction holds, what is adopted, what a refusal costs. */
#include "proxy/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/proxy_model.h"
#include "tests/unit/proxy_objects.h"

#define MEMBERS 4

struct world {
	struct arena arena;
	struct model model;
	struct plan_config config;
	struct table *table;
	struct member members[MEMBERS];    /* default/a to default/d */
	struct service *services[MEMBERS]; /* NULL: there is none */
	struct endpoints *slices[MEMBERS];
	size_t committed, refused;
};

static const char *const names[MEMBERS] = {"a", "b", "c", "d"};

static int build(void *ctx, struct member *member, int family, struct service_state **ret)
{
	struct world *world = ctx;
	size_t i = (size_t)(member - world->members);
	struct service_request request = {.family = family,
					  .ns = "default",
					  .name = names[i],
					  .service = world->services[i],
					  .objects = (const struct endpoints *const *)&world->slices[i],
					  .object_count = world->slices[i] ? 1 : 0,
					  .node_name = "node-1",
					  .zone = ""};

	*ret = NULL;
	return world->services[i] ? service_state_new(&request, ret) : 0;
}

static void committed(void *ctx, struct member *member, const struct service_state *before,
		      const struct service_state *now)
{
	struct world *world = ctx;

	assert_ptr_equal(member->applied[0], now);
	assert_true(!now || !before || now != before);
	world->committed++;
}

static void refused(void *ctx, struct member *member, const char *why)
{
	struct world *world = ctx;

	assert_true(member->refused[0]);
	assert_true(why[0] != '\0');
	world->refused++;
}

static void start_table(struct world *world)
{
	struct table_kernel kernel = model_kernel(&world->model);
	struct table_owner owner = {.build = build, .committed = committed, .refused = refused, .ctx = world};
	struct err err;

	world->table = table_new(0, AF_INET, &kernel, &owner);
	assert_non_null(world->table);
	table_configure(world->table, &world->config);
	assert_int_equal(table_adopt(world->table, &err), 0);
}

/* Service i: cluster IP 10.96.0.(i+1):80 and these endpoints, on another node. */
static void want(struct world *world, size_t i, const char *endpoints)
{
	char *cluster_ip = arena_dup(&world->arena, STR_LIT("10.96.0.1"));

	cluster_ip[8] = (char)('1' + i);
	world->services[i] = service(&world->arena, names[i], cluster_ip, ":80");
	world->slices[i] = slice(&world->arena, names[i], names[i], ":80", endpoints);
}

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	for (size_t i = 0; i < MEMBERS; i++)
		world->members[i].claimant = (struct claimant){0, "default", names[i]};
	world->config = (struct plan_config){.family = AF_INET};
	start_table(world);
	return world;
}

/* The process ends; rules and objects stay. */
static void stop(struct world *world)
{
	for (size_t i = 0; i < MEMBERS; i++)
		table_forget(world->table, &world->members[i]);
	world->table = table_free(world->table);
}

static void world_free(struct world *world)
{
	stop(world);
	model_done(&world->model);
	arena_done(&world->arena);
	free(world);
}

static int update_some(struct world *world, unsigned members, bool final, bool blame)
{
	struct member *list[MEMBERS];
	struct err err;
	size_t count = 0;

	for (size_t i = 0; i < MEMBERS; i++)
		if (members & (1u << i))
			list[count++] = &world->members[i];
	return table_update(world->table, list, count, final, blame, &err);
}

static void update(struct world *world, unsigned members)
{
	assert_int_equal(update_some(world, members, true, false), 0);
}

#define ALL 0xfu

static bool means(const struct world *world, const char *line)
{
	cleanup_free char *meaning = model_meaning(&world->model, AF_INET);

	return strstr(meaning, line) != NULL;
}

/* What a table made from nothing means with the same objects. */
static char *fresh_meaning(const struct world *world)
{
	struct world *fresh = world_new();
	char *meaning;

	memcpy(fresh->services, world->services, sizeof(fresh->services));
	memcpy(fresh->slices, world->slices, sizeof(fresh->slices));
	update(fresh, ALL);
	meaning = model_meaning(&fresh->model, AF_INET);
	world_free(fresh);
	return meaning;
}

static void assert_as_fresh(const struct world *world)
{
	cleanup_free char *meaning = model_meaning(&world->model, AF_INET);
	cleanup_free char *fresh = fresh_meaning(world);

	assert_string_equal(meaning, fresh);
}

/* ---- changes ---- */

static void the_first_update_makes_the_table_and_the_next_without_changes_makes_no_transaction(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1@far 10.0.0.2@far");
	update(world, ALL);
	assert_int_equal(world->model.transactions, 1);
	assert_true(means(world, "svc-default/a spreads over 10.0.0.1:80 10.0.0.2:80\n"));
	assert_int_equal(table_figures(world->table).services, 1);
	assert_int_equal(table_figures(world->table).endpoints, 2);
	assert_int_equal(table_figures(world->table).slots, 2);
	update(world, ALL);
	assert_int_equal(world->model.transactions, 1);
	world_free(world);
}

static size_t operations_of(struct world *world, size_t i, const char *endpoints)
{
	size_t before = world->model.operations;

	want(world, i, endpoints);
	update(world, 1u << i);
	assert_as_fresh(world);
	return world->model.operations - before;
}

static void a_change_costs_what_it_changes(void **state)
{
	static const struct {
		const char *endpoints;
		size_t operations;
	} table[] = {
	    {"10.0.0.1@far 10.0.0.2@far 10.0.0.3@far", 0},
	    {"10.0.0.1@far 10.0.0.4@far 10.0.0.3@far", 1},              /* replaced: its slot */
	    {"10.0.0.1@far 10.0.0.3@far 10.0.0.4@far 10.0.0.5@far", 2}, /* added: slot and rule */
	    {"10.0.0.3@far 10.0.0.4@far 10.0.0.5@far", 3},              /* removed: hole, last slot, rule */
	    {"", 8},                                                    /* none: refused from now on */
	};
	struct world *world = world_new();

	(void)state;
	want(world, 0, table[0].endpoints);
	want(world, 1, "10.0.1.1@far");
	update(world, ALL);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		size_t operations = operations_of(world, 0, table[i].endpoints);

		if (table[i].endpoints[0])
			assert_int_equal(operations, table[i].operations);
	}
	world_free(world);
}

static void a_set_that_outgrows_its_range_moves_as_a_whole(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1@far");
	want(world, 1, "10.0.1.1@far");
	update(world, ALL);
	(void)operations_of(world, 0, "10.0.0.1@far 10.0.0.2@far 10.0.0.3@far 10.0.0.4@far 10.0.0.5@far");
	assert_int_equal(table_figures(world->table).slots, 8 + 1);
	(void)operations_of(world, 0, "10.0.0.1@far");
	assert_int_equal(table_figures(world->table).slots, 8 + 1);
	(void)operations_of(world, 0, "");
	assert_int_equal(table_figures(world->table).slots, 1);
	world_free(world);
}

static void a_service_that_goes_leaves_nothing(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1 10.0.0.2@node-1");
	want(world, 1, "10.0.0.1");
	update(world, ALL);
	world->services[0] = NULL;
	update(world, 1);
	assert_as_fresh(world);
	assert_true(means(world, "hairpin-connections 10.0.0.1 10.0.0.1\n")); /* b has that endpoint too */
	assert_false(means(world, "hairpin-connections 10.0.0.2"));
	world->services[1] = NULL;
	update(world, 2);
	assert_as_fresh(world);
	assert_int_equal(table_figures(world->table).services, 0);
	assert_int_equal(table_figures(world->table).slots, 0);
	world_free(world);
}

/* ---- claims ---- */

static void external(struct world *world, size_t i, struct ip *ip)
{
	world->services[i]->external_ips = ip;
	world->services[i]->external_ip_count = 1;
}

static void of_two_that_want_an_address_the_first_by_name_has_it(void **state)
{
	struct ip ip = ip_of("203.0.113.1");
	struct world *world = world_new();

	(void)state;
	want(world, 1, "10.0.1.1");
	external(world, 1, &ip);
	update(world, ALL);
	assert_true(means(world, "service-ips 203.0.113.1 80/6 -> svc-default/b\n"));
	want(world, 0, "10.0.0.1");
	external(world, 0, &ip);
	update(world, 1); /* b is not asked for, but joins */
	assert_true(means(world, "service-ips 203.0.113.1 80/6 -> svc-default/a\n"));
	assert_as_fresh(world);
	world->services[0] = NULL;
	update(world, 1);
	assert_true(means(world, "service-ips 203.0.113.1 80/6 -> svc-default/b\n"));
	assert_as_fresh(world);
	world_free(world);
}

static void the_older_of_two_services_wins_whatever_its_name(void **state)
{
	struct ip ip = ip_of("203.0.113.1");
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1");
	want(world, 1, "10.0.1.1");
	external(world, 0, &ip);
	external(world, 1, &ip);
	world->members[0].claimant.created_s = 200;
	world->members[1].claimant.created_s = 100;
	update(world, ALL);
	assert_true(means(world, "service-ips 203.0.113.1 80/6 -> svc-default/b\n"));
	world_free(world);
}

static void an_address_moves_between_services_within_one_transaction(void **state)
{
	struct ip ip = ip_of("203.0.113.1");
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1");
	want(world, 1, "10.0.1.1");
	external(world, 0, &ip);
	update(world, ALL);
	world->services[0]->external_ip_count = 0;
	external(world, 1, &ip);
	update(world, ALL);
	assert_int_equal(world->model.transactions, 2);
	assert_as_fresh(world);
	world_free(world);
}

/* ---- adoption ---- */

static void a_second_run_adopts_everything_without_a_transaction(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1 10.0.0.2 10.0.0.3");
	want(world, 1, "10.0.0.9 10.0.0.10");
	want(world, 2, "");
	update(world, ALL);
	(void)operations_of(world, 0,
			    "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5"); /* slots are not in order of text now */
	for (int run = 0; run < 3; run++) {
		size_t before = world->model.transactions, slots = table_figures(world->table).slots;

		stop(world);
		start_table(world);
		update(world, ALL);
		assert_int_equal(world->model.transactions, before);
		assert_int_equal(table_figures(world->table).slots, slots);
		assert_false(table_adopting(world->table));
	}
	world_free(world);
}

/* ---- session affinity (row 27) ---- */

static void want_sticky(struct world *world, size_t i, const char *endpoints)
{
	want(world, i, endpoints);
	world->services[i]->affinity_client_ip = true;
	world->services[i]->affinity_timeout_s = 10800;
}

/* The number of 10.0.0.LAST in the cluster set (but for one service's, the tests have no endpoint twice); 0: none. */
static uint32_t number_of(const struct world *world, char last)
{
	const struct nft_ruleset *table = &world->model.tables[0];
	const char address[] = {10, 0, 0, last};
	uint32_t number = 0;

	for (size_t i = 0; i < table->count; i++) {
		const struct nft_item *item = &table->items[i];

		if (item->type == NFT_ITEM_ELEM && strcmp(item->name, "affinity-endpoints") == 0 &&
		    memcmp(item->value.p, address, sizeof(address)) == 0)
			memcpy(&number, item->key.p, sizeof(number));
	}
	return number;
}

static void an_endpoint_keeps_its_number_and_none_is_given_twice(void **state)
{
	struct world *world = world_new();
	uint32_t two, three, last;

	(void)state;
	want_sticky(world, 0, "10.0.0.1 10.0.0.2 10.0.0.3");
	want_sticky(world, 1, "10.0.0.4");
	update(world, ALL);
	two = number_of(world, 2);
	three = number_of(world, 3);
	last = number_of(world, 4);
	assert_true(two && three && last && two != three && three != last);
	want_sticky(world, 0, "10.0.0.2 10.0.0.3"); /* one of them has another slot now */
	update(world, ALL);
	assert_int_equal(number_of(world, 1), 0);
	want_sticky(world, 0, "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.5 10.0.0.6");
	update(world, ALL);
	assert_int_equal(number_of(world, 2), two);
	assert_int_equal(number_of(world, 3), three);
	assert_true(number_of(world, 1) > last);
	world_free(world);
}

static void turned_off_nothing_of_the_affinity_is_left_and_on_again_all_is_new(void **state)
{
	struct world *world = world_new();
	uint32_t before;

	(void)state;
	want_sticky(world, 0, "10.0.0.1 10.0.0.2");
	update(world, ALL);
	before = number_of(world, 2);
	want(world, 0, "10.0.0.1 10.0.0.2");
	update(world, ALL);
	assert_as_fresh(world);
	want_sticky(world, 0, "10.0.0.1 10.0.0.2");
	update(world, ALL);
	assert_true(number_of(world, 1) > before);
	world_free(world);
}

static void a_second_run_knows_the_numbers_of_the_first(void **state)
{
	struct world *world = world_new();
	size_t transactions;
	uint32_t two;

	(void)state;
	want_sticky(world, 0, "10.0.0.1 10.0.0.2 10.0.0.3");
	want_sticky(world, 1, "10.0.0.7@node-1 10.0.0.8");
	world->services[1]->internal_policy = TRAFFIC_POLICY_LOCAL;
	update(world, ALL);
	transactions = world->model.transactions;
	two = number_of(world, 2);
	stop(world);
	start_table(world);
	update(world, ALL);
	assert_int_equal(world->model.transactions, transactions);
	stop(world);
	start_table(world);
	want_sticky(world, 0, "10.0.0.2 10.0.0.4");
	update(world, ALL);
	assert_int_equal(number_of(world, 2), two);
	assert_true(number_of(world, 4) > two);
	world_free(world);
}

static void a_second_run_into_a_changed_world_changes_only_the_difference(void **state)
{
	struct world *world = world_new();
	size_t before;

	(void)state;
	want(world, 0, "10.0.0.1@far 10.0.0.2@far 10.0.0.3@far");
	want(world, 1, "10.0.1.1@far");
	update(world, ALL);
	stop(world);
	want(world, 0, "10.0.0.1@far 10.0.0.3@far 10.0.0.7@far");
	before = world->model.operations;
	start_table(world);
	update(world, ALL);
	assert_int_equal(world->model.operations - before, 1);
	assert_as_fresh(world);
	world_free(world);
}

static void what_nobody_asked_for_stays_until_the_final_update(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1");
	want(world, 1, "10.0.1.1");
	want(world, 2, "10.0.2.1");
	update(world, ALL);
	stop(world);
	start_table(world);
	world->services[2] = NULL;
	want(world, 1, "10.0.1.2");
	assert_int_equal(update_some(world, 1, false, false), 0);
	assert_true(means(world, "svc-default/b spreads over 10.0.1.1:80\n"));
	assert_true(means(world, "svc-default/c spreads over 10.0.2.1:80\n"));
	/* One that changes again between two chunks. */
	want(world, 0, "10.0.0.5 10.0.0.6");
	assert_int_equal(update_some(world, 1 | 2, false, false), 0);
	assert_true(means(world, "svc-default/c spreads over 10.0.2.1:80\n"));
	assert_int_equal(update_some(world, 4, true, false), 0);
	assert_as_fresh(world);
	assert_int_equal(table_figures(world->table).slots, 2 + 1);
	world_free(world);
}

static void what_is_not_ours_in_our_table_goes_at_the_end(void **state)
{
	struct nft_ruleset *table;
	const struct nft_chain_spec regular = {.hook = -1, .type = ""};
	struct world *world = world_new();
	struct err err;

	(void)state;
	want(world, 0, "10.0.0.1");
	update(world, ALL);
	table = &world->model.tables[0];
	nft_ruleset_add_chain(table, "intruder", &regular);
	assert_int_equal(nft_ruleset_sort(table, &err), 0);
	stop(world);
	start_table(world);
	update(world, ALL);
	assert_as_fresh(world);
	world_free(world);
}

static void a_table_of_another_nature_is_built_anew_at_once(void **state)
{
	struct nft_set_spec other = nft_set_spec_of(NFT_DATATYPES(NFT_DATATYPE_MARK), NULL, 0);
	struct world *world = world_new();
	struct err err;

	(void)state;
	stop(world);
	nft_ruleset_add_set(&world->model.tables[0], "cluster-ips", &other);
	assert_int_equal(nft_ruleset_sort(&world->model.tables[0], &err), 0);
	want(world, 0, "10.0.0.1");
	start_table(world);
	assert_true(table_wants_all(world->table));
	update(world, ALL);
	assert_false(table_wants_all(world->table));
	assert_as_fresh(world);
	world_free(world);
}

static void tags_that_make_no_sense_are_not_followed(void **state)
{
	struct world *world = world_new();
	struct nft_ruleset *table = &world->model.tables[0];

	(void)state;
	want(world, 0, "10.0.0.1 10.0.0.2");
	want(world, 1, "10.0.1.1 10.0.1.2");
	update(world, ALL);
	for (size_t i = 0; i < table->count; i++) /* both claim the same slots */
		if (table->items[i].type == NFT_ITEM_RULES && table->items[i].tag.len > 0)
			table->items[i].tag = STR_LIT("\0\0\0\1\0\0\0\2");
	stop(world);
	start_table(world);
	update(world, ALL);
	assert_as_fresh(world);
	world_free(world);
}

/* ---- refusals ---- */

static void a_refused_service_is_left_out_and_the_others_go_on(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1");
	want(world, 1, "10.0.1.1");
	want(world, 2, "10.0.2.1");
	world->model.refuse = "svc-default/b";
	world->model.refuse_code = -EINVAL;
	update(world, ALL);
	assert_int_equal(world->refused, 1);
	assert_true(world->members[1].refused[0]);
	assert_true(means(world, "svc-default/a spreads over 10.0.0.1:80\n"));
	assert_true(means(world, "svc-default/c spreads over 10.0.2.1:80\n"));
	assert_false(means(world, "default/b"));
	world->model.refuse = NULL;
	update(world, 2);
	assert_false(world->members[1].refused[0]);
	assert_as_fresh(world);
	world_free(world);
}

static void a_refused_change_leaves_what_was_in_force(void **state)
{
	struct world *world = world_new();
	size_t slots;

	(void)state;
	want(world, 0, "10.0.0.1");
	want(world, 1, "10.0.1.1");
	update(world, ALL);
	slots = table_figures(world->table).slots;
	world->model.refuse = "svc-default/b";
	world->model.refuse_code = -EINVAL;
	want(world, 0, "10.0.0.2");
	want(world, 1, "10.0.1.1 10.0.1.2 10.0.1.3");
	update(world, ALL);
	assert_true(means(world, "svc-default/a spreads over 10.0.0.2:80\n"));
	assert_true(means(world, "svc-default/b spreads over 10.0.1.1:80\n"));
	assert_int_equal(table_figures(world->table).slots, slots);
	world->model.refuse = NULL;
	update(world, ALL);
	assert_as_fresh(world);
	world_free(world);
}

static void a_failure_of_all_changes_nothing_and_the_next_try_succeeds(void **state)
{
	struct ip ip = ip_of("203.0.113.1");
	struct world *world = world_new();
	cleanup_free char *before = NULL;
	cleanup_free char *after = NULL;

	(void)state;
	want(world, 0, "10.0.0.1");
	want(world, 1, "10.0.1.1");
	external(world, 1, &ip);
	update(world, ALL);
	before = model_meaning(&world->model, AF_INET);
	world->model.refuse = "default";
	world->model.refuse_code = -EPERM;
	world->model.refuse_whole = true;
	want(world, 0, "10.0.0.1 10.0.0.2");
	external(world, 0, &ip);
	assert_int_equal(update_some(world, 1, true, false), -EPERM);
	after = model_meaning(&world->model, AF_INET);
	assert_string_equal(before, after);
	assert_int_equal(world->refused, 0);
	assert_int_equal(table_figures(world->table).failures, 1);
	world->model.refuse = NULL;
	update(world, 1);
	assert_as_fresh(world);
	world_free(world);
}

static void a_table_flushed_by_others_is_noticed_and_made_again(void **state)
{
	struct world *world = world_new();

	(void)state;
	want(world, 0, "10.0.0.1 10.0.0.2");
	want(world, 1, "10.0.1.1");
	update(world, ALL);
	model_flush(&world->model);
	want(world, 0, "10.0.0.3");
	assert_int_equal(update_some(world, 1, true, false), -ENOENT);
	stop(world);
	start_table(world);
	update(world, ALL);
	assert_as_fresh(world);
	world_free(world);
}

static void a_dump_that_fails_is_reported_and_can_be_tried_again(void **state)
{
	struct world *world = world_new();
	struct err err;

	(void)state;
	want(world, 0, "10.0.0.1");
	world->model.dump_code = -EPERM;
	assert_int_equal(table_adopt(world->table, &err), -EPERM);
	world->model.dump_code = 0;
	assert_int_equal(table_adopt(world->table, &err), 0);
	update(world, ALL);
	assert_as_fresh(world);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		the_first_update_makes_the_table_and_the_next_without_changes_makes_no_transaction),
	    cmocka_unit_test(a_change_costs_what_it_changes),
	    cmocka_unit_test(a_set_that_outgrows_its_range_moves_as_a_whole),
	    cmocka_unit_test(a_service_that_goes_leaves_nothing),
	    cmocka_unit_test(of_two_that_want_an_address_the_first_by_name_has_it),
	    cmocka_unit_test(the_older_of_two_services_wins_whatever_its_name),
	    cmocka_unit_test(an_address_moves_between_services_within_one_transaction),
	    cmocka_unit_test(a_second_run_adopts_everything_without_a_transaction),
	    cmocka_unit_test(an_endpoint_keeps_its_number_and_none_is_given_twice),
	    cmocka_unit_test(turned_off_nothing_of_the_affinity_is_left_and_on_again_all_is_new),
	    cmocka_unit_test(a_second_run_knows_the_numbers_of_the_first),
	    cmocka_unit_test(a_second_run_into_a_changed_world_changes_only_the_difference),
	    cmocka_unit_test(what_nobody_asked_for_stays_until_the_final_update),
	    cmocka_unit_test(what_is_not_ours_in_our_table_goes_at_the_end),
	    cmocka_unit_test(a_table_of_another_nature_is_built_anew_at_once),
	    cmocka_unit_test(tags_that_make_no_sense_are_not_followed),
	    cmocka_unit_test(a_refused_service_is_left_out_and_the_others_go_on),
	    cmocka_unit_test(a_refused_change_leaves_what_was_in_force),
	    cmocka_unit_test(a_failure_of_all_changes_nothing_and_the_next_try_succeeds),
	    cmocka_unit_test(a_table_flushed_by_others_is_noticed_and_made_again),
	    cmocka_unit_test(a_dump_that_fails_is_reported_and_can_be_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
