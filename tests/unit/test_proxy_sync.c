/* LINK: proxy/sync.c proxy/meters.c proxy/registry.c proxy/table.c proxy/inforce.c proxy/plan.c proxy/claims.c proxy/service.c proxy/endpoints.c proxy/slots.c tests/unit/proxy_objects.c tests/unit/proxy_model.c nft/ruleset.c nft/rule.c nft/diff.c conf/object.c base/addr.c base/arena.c base/buf.c base/map.c base/metrics.c base/log.c base/str.c base/err.c */
/* LIBS: -lxxhash -lcrypto -lev */
/* When things happen: what a node needs first, chunks, pauses after failures, refused services, health. */
#include "proxy/sync.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "tests/unit/proxy_model.h"
#include "tests/unit/proxy_objects.h"

struct world {
	struct ev_loop *loop;
	struct arena arena;
	struct model model;
	struct table_kernel kernel; /* the model's, with a look at each transaction */
	struct plan_config config;
	struct registry registry;
	struct meters meters;
	struct sync sync;
	size_t services_at[64], transactions; /* services in force after each transaction */
};

static int build(void *ctx, struct member *member, int family, struct service_state **ret)
{
	const struct proxied *proxied = proxied_of(member);
	struct service_request request = {.family = family,
					  .ns = member->claimant.ns,
					  .name = member->claimant.name,
					  .service = proxied->service,
					  .objects = (const struct endpoints *const *)proxied->objects,
					  .object_count = proxied->object_count,
					  .node_name = "node-1",
					  .zone = ""};

	(void)ctx;
	*ret = NULL;
	return proxied->service ? service_state_new(&request, ret) : 0;
}

static void committed(void *ctx, struct member *member, const struct service_state *before,
		      const struct service_state *now)
{
	(void)ctx;
	(void)member;
	(void)before;
	(void)now;
}

static void refused(void *ctx, struct member *member, const char *why)
{
	(void)ctx;
	(void)member;
	(void)why;
}

static size_t services_in_force(const struct model *model)
{
	size_t count = 0;

	for (size_t i = 0; i < model->tables[0].count; i++)
		count += model->tables[0].items[i].type == NFT_ITEM_ELEM &&
			 strcmp(model->tables[0].items[i].name, "cluster-ips") == 0;
	return count;
}

static int observed_apply(void *ctx, int family, const struct nft_ops *ops, size_t *ret_failed_op,
			  struct err *err)
{
	struct world *world = ctx;
	struct table_kernel kernel = model_kernel(&world->model);
	int code = kernel.apply(kernel.ctx, family, ops, ret_failed_op, err);

	if (!code && world->transactions < ARRAY_LEN(world->services_at))
		world->services_at[world->transactions++] = services_in_force(&world->model);
	return code;
}

static int observed_dump(void *ctx, int family, struct nft_ruleset *ret, struct err *err)
{
	struct world *world = ctx;
	struct table_kernel kernel = model_kernel(&world->model);

	return kernel.dump(kernel.ctx, family, ret, err);
}

static struct world *world_new(double min_period_s)
{
	struct world *world = calloc(1, sizeof(*world));
	struct table_owner owner = {.build = build, .committed = committed, .refused = refused, .ctx = world};
	struct table *tables[TABLE_COUNT] = {NULL};

	world->loop = ev_loop_new(EVFLAG_AUTO);
	world->config = (struct plan_config){.family = AF_INET};
	world->kernel = (struct table_kernel){.apply = observed_apply, .dump = observed_dump, .ctx = world};
	meters_init(&world->meters, NULL);
	tables[0] = table_new(0, AF_INET, &world->kernel, &owner);
	assert_non_null(tables[0]);
	table_configure(tables[0], &world->config);
	sync_init(&world->sync, world->loop, &world->registry, &world->meters, tables, min_period_s);
	return world;
}

static void world_free(struct world *world)
{
	sync_done(&world->sync);
	for (struct map_iter it = map_begin(&world->registry.services); map_next(&it);) {
		struct proxied *proxied = it.value; /* the objects are the arena's */

		proxied->service = NULL;
		proxied->object_count = 0;
	}
	registry_done(&world->registry);
	model_done(&world->model);
	arena_done(&world->arena);
	ev_loop_destroy(world->loop);
	free(world);
}

static struct proxied *want_at(struct world *world, const char *ns, const char *name, const char *cluster_ip,
			       const char *endpoints)
{
	struct service *object =
	    service(&world->arena, arena_dup(&world->arena, str_of(name)), cluster_ip, "p:80");
	struct endpoints *group =
	    slice(&world->arena, object->meta.name, object->meta.name, "p:80", endpoints);
	struct proxied *proxied, *other;

	object->meta.ns = group->meta.ns = ns;
	object->meta.refs = group->meta.refs = 1000;
	assert_int_equal(registry_service_changed(&world->registry, NULL, object, &proxied), 0);
	while (proxied->object_count > 0)
		assert_int_equal(
		    registry_endpoints_changed(&world->registry, proxied->objects[0], NULL, &proxied, &other),
		    0);
	assert_int_equal(registry_endpoints_changed(&world->registry, NULL, group, &proxied, &other), 0);
	sync_queue(&world->sync, proxied);
	return proxied;
}

static struct proxied *want(struct world *world, unsigned number, const char *endpoints)
{
	char name[32], ip[32];

	(void)snprintf(name, sizeof(name), "s-%u", number);
	(void)snprintf(ip, sizeof(ip), "10.96.%u.%u", number / 256, number % 256);
	return want_at(world, "default", name, arena_dup(&world->arena, str_of(ip)), endpoints);
}

static void run_until_ready(struct world *world)
{
	while (!world->sync.ready)
		(void)ev_run(world->loop, EVRUN_ONCE);
}

static void what_a_node_needs_first_is_alone_in_the_first_transaction(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	for (unsigned i = 1; i <= 10; i++)
		(void)want(world, i, "10.0.0.1");
	(void)want_at(world, "default", "kubernetes", "10.96.100.1", "192.0.2.1");
	(void)want_at(world, "kube-system", "other", "10.96.100.2", "10.0.0.1");
	sync_start(&world->sync);
	assert_int_equal(world->services_at[0], 1);
	run_until_ready(world);
	assert_int_equal(world->services_at[1], 12);
	world_free(world);
}

static void services_are_urgent_by_name_label_or_port(void **state)
{
	static struct kv label[] = {{"k8s-app", "kube-dns"}};
	struct world *world = world_new(0);
	struct proxied *proxied;

	(void)state;
	proxied = want_at(world, "default", "kubernetes", "10.96.0.1", "192.0.2.1");
	assert_true(proxied_is_urgent(proxied));
	proxied = want_at(world, "other", "kubernetes", "10.96.0.2", "192.0.2.1");
	assert_false(proxied_is_urgent(proxied));
	proxied = want_at(world, "kube-system", "dns", "10.96.0.3", "192.0.2.1");
	assert_false(proxied_is_urgent(proxied));
	proxied->service->ports[0].port = 53;
	assert_true(proxied_is_urgent(proxied));
	proxied->service->ports[0].port = 80;
	proxied->service->meta.labels = (struct kv_list){label, 1};
	assert_true(proxied_is_urgent(proxied));
	world_free(world);
}

static void many_services_come_in_chunks(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	for (unsigned i = 1; i <= SYNC_CHUNK + 5; i++)
		(void)want(world, i, "10.0.0.1@far");
	sync_start(&world->sync);
	assert_false(world->sync.ready);
	assert_int_equal(world->services_at[0], SYNC_CHUNK);
	run_until_ready(world);
	assert_int_equal(world->transactions, 2);
	assert_int_equal(world->services_at[1], SYNC_CHUNK + 5);
	world_free(world);
}

static void a_repair_is_one_transaction(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	for (unsigned i = 1; i <= SYNC_CHUNK + 5; i++)
		(void)want(world, i, "10.0.0.1@far");
	sync_start(&world->sync);
	run_until_ready(world);
	model_flush(&world->model);
	world->transactions = 0;
	sync_repair(&world->sync);
	assert_int_equal(world->transactions, 1);
	assert_int_equal(world->services_at[0], SYNC_CHUNK + 5);
	assert_int_equal(world->sync.phase, SYNC_RUNNING);
	world_free(world);
}

static void nothing_happens_before_the_start(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	(void)want(world, 1, "10.0.0.1");
	sync_run(&world->sync);
	sync_repair(&world->sync);
	assert_int_equal(world->transactions, 0);
	world_free(world);
}

static void a_start_without_services_makes_the_table_and_is_ready(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	sync_start(&world->sync);
	assert_true(world->sync.ready);
	assert_int_equal(world->transactions, 1);
	world_free(world);
}

static void a_change_is_in_force_when_sync_run_returns(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	sync_start(&world->sync);
	(void)want(world, 1, "10.0.0.1");
	sync_run(&world->sync);
	assert_int_equal(services_in_force(&world->model), 1);
	world_free(world);
}

static void with_a_least_pause_changes_wait_for_it_together(void **state)
{
	struct world *world = world_new(0.05);

	(void)state;
	sync_start(&world->sync);
	(void)want(world, 1, "10.0.0.1");
	sync_run(&world->sync);
	(void)want(world, 2, "10.0.0.1");
	sync_run(&world->sync);
	assert_int_equal(services_in_force(&world->model), 0);
	while (services_in_force(&world->model) == 0)
		(void)ev_run(world->loop, EVRUN_ONCE);
	assert_int_equal(services_in_force(&world->model), 2);
	assert_int_equal(world->transactions, 2);
	world_free(world);
}

static void a_failure_of_all_is_tried_again_after_a_pause(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	sync_start(&world->sync);
	world->model.refuse = "s-1";
	world->model.refuse_code = -EPERM;
	world->model.refuse_whole = true;
	(void)want(world, 1, "10.0.0.1");
	sync_run(&world->sync);
	assert_true(world->sync.failing_since_s > 0);
	assert_true(sync_healthy(&world->sync));
	(void)want(world, 2, "10.0.0.1");
	sync_run(&world->sync); /* the pause is on */
	assert_int_equal(world->transactions, 1);
	world->model.refuse = NULL;
	while (world->sync.failing_since_s > 0)
		(void)ev_run(world->loop, EVRUN_ONCE);
	assert_int_equal(services_in_force(&world->model), 2);
	world_free(world);
}

static void a_failure_that_lasts_is_unhealthy(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	sync_start(&world->sync);
	assert_true(sync_healthy(&world->sync));
	world->sync.failing_since_s = 1e-3; /* since the machine's start, or nearly */
	assert_false(sync_healthy(&world->sync));
	world_free(world);
}

static void a_table_that_is_not_what_we_think_is_read_again_at_once(void **state)
{
	struct world *world = world_new(0);

	(void)state;
	(void)want(world, 1, "10.0.0.1");
	sync_start(&world->sync);
	model_flush(&world->model);
	(void)want(world, 1, "10.0.0.2");
	sync_run(&world->sync);
	while (services_in_force(&world->model) == 0)
		(void)ev_run(world->loop, EVRUN_ONCE);
	assert_int_equal(world->sync.phase, SYNC_RUNNING);
	world_free(world);
}

static void a_deleted_service_is_forgotten(void **state)
{
	struct world *world = world_new(0);
	struct proxied *proxied = want(world, 1, "10.0.0.1");
	struct service *object = proxied->service;
	struct endpoints *group = proxied->objects[0];
	struct proxied *touched, *other;

	(void)state;
	sync_start(&world->sync);
	assert_int_equal(registry_service_changed(&world->registry, object, NULL, &touched), 0);
	assert_ptr_equal(touched, proxied);
	sync_queue(&world->sync, touched);
	assert_int_equal(registry_endpoints_changed(&world->registry, group, NULL, &touched, &other), 0);
	sync_run(&world->sync);
	assert_int_equal(world->registry.services.count, 0);
	assert_int_equal(services_in_force(&world->model), 0);
	world_free(world);
}

static void a_slice_that_moves_to_another_service_touches_both(void **state)
{
	struct world *world = world_new(0);
	struct proxied *from = want(world, 1, "10.0.0.1"), *touched, *other;
	struct endpoints *before = from->objects[0];
	struct endpoints *after = slice(&world->arena, "s-2", "s-1", "p:80", "10.0.0.1");

	(void)state;
	after->meta.refs = 1000;
	assert_int_equal(registry_endpoints_changed(&world->registry, before, after, &touched, &other), 0);
	assert_string_equal(touched->member.claimant.name, "s-2");
	assert_ptr_equal(other, from);
	assert_int_equal(from->object_count, 0);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_node_needs_first_is_alone_in_the_first_transaction),
	    cmocka_unit_test(services_are_urgent_by_name_label_or_port),
	    cmocka_unit_test(many_services_come_in_chunks),
	    cmocka_unit_test(a_repair_is_one_transaction),
	    cmocka_unit_test(nothing_happens_before_the_start),
	    cmocka_unit_test(a_start_without_services_makes_the_table_and_is_ready),
	    cmocka_unit_test(a_change_is_in_force_when_sync_run_returns),
	    cmocka_unit_test(with_a_least_pause_changes_wait_for_it_together),
	    cmocka_unit_test(a_failure_of_all_is_tried_again_after_a_pause),
	    cmocka_unit_test(a_failure_that_lasts_is_unhealthy),
	    cmocka_unit_test(a_table_that_is_not_what_we_think_is_read_again_at_once),
	    cmocka_unit_test(a_deleted_service_is_forgotten),
	    cmocka_unit_test(a_slice_that_moves_to_another_service_touches_both),
	};

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
