/* LINK: proxy/table.c proxy/inforce.c proxy/plan.c proxy/claims.c proxy/service.c proxy/endpoints.c proxy/slots.c tests/unit/proxy_model.c nft/ruleset.c nft/rule.c nft/diff.c conf/object.c base/addr.c base/arena.c base/buf.c base/map.c base/str.c base/err.c */
/* LIBS: -lxxhash -lcrypto */
/* Random histories of Services and slices, restarts, flushes and refusals: after each complete update the table must mean
 * what a table made from nothing means (the same frontends with the same endpoints, slots aside). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/table.h"
#include "tests/unit/proxy_model.h"

#define SERVICES      5
#define PORTS_MAX     3
#define ADDRESSES_MAX 3
#define ENDPOINTS_MAX 6
#define STEPS_MAX     200

static const char *const names[SERVICES] = {"a", "b", "c", "d", "e"};
static const char *const port_names[PORTS_MAX] = {"http", "dns", ""};
static const char *const nodes[] = {"", "node-1", "node-2"};

struct input {
	const uint8_t *data;
	size_t len;
};

/* A number below `limit`; 0 when the input is used up. */
static unsigned pick(struct input *input, unsigned limit)
{
	unsigned value;

	if (input->len == 0)
		return 0;
	value = *input->data++;
	input->len--;
	return value % limit;
}

/* One Service with two slices; the lists stand behind the objects that point to them. */
struct thing {
	bool exists;
	int64_t created_s;
	struct service service;
	struct service_port ports[PORTS_MAX];
	struct ip cluster_ip, external_ips[ADDRESSES_MAX];
	struct lb_ingress balancers[ADDRESSES_MAX];
	struct cidr range;
	struct endpoints slices[2];
	struct endpoint_group groups[2];
	struct endpoint_port endpoint_ports[2][PORTS_MAX];
	struct endpoint endpoints[2][ENDPOINTS_MAX];
};

struct world {
	int family;
	unsigned index;
	struct plan_config config;
	struct model model;
	struct table *table;
	struct member members[SERVICES];
	struct thing things[SERVICES];
	bool dirty[SERVICES];
	bool
	    disturbed; /* something was refused or flushed since the last complete update: mismatches are expected */
};

static struct ip address(const struct world *world, uint8_t net, unsigned host)
{
	struct ip ip = {.family = (uint16_t)world->family, .bytes = {10, net, 0, (uint8_t)(host + 1)}};

	if (world->family == AF_INET6) {
		ip.bytes[0] = 0xfd;
		ip.bytes[15] = ip.bytes[3];
		ip.bytes[3] = 0;
	}
	return ip;
}

/* ---- objects from bytes ---- */

static void change_service(struct world *world, struct input *input, unsigned i)
{
	struct thing *thing = &world->things[i];
	struct service *service = &thing->service;

	*service = (struct service){
	    .meta = {.kind = KIND_SERVICE, .refs = 1, .ns = "default", .name = names[i]},
	    .type = (enum service_type)pick(input, 3),
	    .ports = thing->ports,
	    .port_count = 1 + pick(input, PORTS_MAX),
	    .cluster_ips = &thing->cluster_ip,
	    .cluster_ip_count = 1,
	    .external_ips = thing->external_ips,
	    .external_ip_count = pick(input, ADDRESSES_MAX),
	    .lb_ingress = thing->balancers,
	    .lb_ingress_count = pick(input, ADDRESSES_MAX),
	    .lb_source_ranges = &thing->range,
	    .lb_source_range_count = pick(input, 2),
	    .internal_policy = (enum traffic_policy)pick(input, 2),
	    .external_policy = (enum traffic_policy)pick(input, 2),
	};
	thing->exists = true;
	thing->created_s = pick(input, 3);
	thing->cluster_ip = address(world, 96, pick(input, SERVICES)); /* may clash: files may say anything */
	thing->range = (struct cidr){.ip = address(world, 50, 0), .prefix_bits = (uint8_t)pick(input, 33)};
	for (unsigned k = 0; k < ADDRESSES_MAX; k++) {
		thing->external_ips[k] = address(world, 200, pick(input, 3));
		thing->balancers[k] = (struct lb_ingress){.ip = address(world, 200, pick(input, 4)),
							  .hostname = "",
							  .ip_mode_proxy = pick(input, 4) == 0};
	}
	for (unsigned k = 0; k < PORTS_MAX; k++)
		thing->ports[k] = (struct service_port){
		    .name = port_names[k],
		    .protocol = (enum protocol)pick(input, 2),
		    .port = (uint16_t)(80 + pick(input, 3)),
		    .node_port = (uint16_t)(pick(input, 2) ? 30000 + pick(input, 3) : 0)};
}

static void change_slice(struct world *world, struct input *input, unsigned i, unsigned which)
{
	struct thing *thing = &world->things[i];
	struct endpoint_group *group = &thing->groups[which];

	thing->slices[which] =
	    (struct endpoints){.meta = {.kind = pick(input, 4) ? KIND_ENDPOINTSLICE : KIND_ENDPOINTS,
					.refs = 1,
					.ns = "default",
					.name = which ? "second" : "first"},
			       .service_name = names[i],
			       .groups = group,
			       .group_count = 1};
	*group = (struct endpoint_group){.family = (uint16_t)world->family,
					 .ports = thing->endpoint_ports[which],
					 .port_count = pick(input, PORTS_MAX + 1),
					 .endpoints = thing->endpoints[which],
					 .endpoint_count = pick(input, ENDPOINTS_MAX + 1)};
	for (unsigned k = 0; k < group->port_count; k++)
		group->ports[k] = (struct endpoint_port){.name = port_names[pick(input, PORTS_MAX)],
							 .protocol = (enum protocol)pick(input, 2),
							 .port = (uint16_t)(8080 + pick(input, 2)),
							 .app_protocol = ""};
	for (unsigned k = 0; k < group->endpoint_count; k++) {
		unsigned condition = pick(input, 6);

		group->endpoints[k] = (struct endpoint){.ip = address(world, 0, pick(input, 8)),
							.ready = condition > 1,
							.serving = condition > 0,
							.terminating = condition < 2,
							.node_name = nodes[pick(input, 3)],
							.zone = "",
							.hostname = ""};
	}
}

/* ---- the table ---- */

static int build(void *ctx, struct member *member, int family, struct service_state **ret)
{
	struct world *world = ctx;
	size_t i = (size_t)(member - world->members);
	struct thing *thing = &world->things[i];
	const struct endpoints *objects[2];
	struct service_request request = {.family = family,
					  .ns = "default",
					  .name = names[i],
					  .service = &thing->service,
					  .objects = objects,
					  .node_name = "node-1",
					  .zone = ""};

	*ret = NULL;
	if (!thing->exists || !service_counts(&thing->service) || service_refusal(&thing->service))
		return 0;
	for (size_t k = 0; k < 2; k++)
		if (thing->slices[k].groups)
			objects[request.object_count++] = &thing->slices[k];
	return service_state_new(&request, ret);
}

static void committed(void *ctx, struct member *member, const struct service_state *before,
		      const struct service_state *now)
{
	struct world *world = ctx;

	(void)before;
	(void)now;
	world->dirty[member - world->members] = false;
}

static void refused(void *ctx, struct member *member, const char *why)
{
	struct world *world = ctx;

	(void)why;
	world->dirty[member - world->members] = true;
	world->disturbed = true;
}

static void fail(const char *what)
{
	(void)fprintf(stderr, "%s\n", what);
	abort();
}

static void open_table(struct world *world)
{
	struct table_kernel kernel = model_kernel(&world->model);
	struct table_owner owner = {.build = build, .committed = committed, .refused = refused, .ctx = world};
	struct err err;

	world->table = table_new(world->index, world->family, &kernel, &owner);
	if (!world->table)
		abort();
	table_configure(world->table, &world->config);
	if (table_adopt(world->table, &err))
		fail(err.text);
	for (size_t i = 0; i < SERVICES; i++)
		world->dirty[i] = true;
}

static void close_table(struct world *world)
{
	for (size_t i = 0; i < SERVICES; i++)
		table_forget(world->table, &world->members[i]);
	world->table = table_free(world->table);
}

static void world_init(struct world *world, int family)
{
	*world = (struct world){
	    .family = family, .index = family == AF_INET ? 0 : 1, .config = {.family = family}};
	for (size_t i = 0; i < SERVICES; i++)
		world->members[i].claimant = (struct claimant){0, "default", names[i]};
	open_table(world);
}

static void world_done(struct world *world)
{
	close_table(world);
	model_done(&world->model);
}

/* At most `most` dirty members; final if these are all. */
static int update(struct world *world, size_t most, bool blame)
{
	struct member *members[SERVICES];
	size_t count = 0, dirty = 0;
	struct err err = {.text = ""};
	int code;

	for (size_t i = 0; i < SERVICES; i++) {
		dirty += world->dirty[i];
		if (!world->dirty[i] || count == most)
			continue;
		world->members[i].claimant.created_s = world->things[i].created_s;
		members[count++] = &world->members[i];
	}
	code = table_update(world->table, members, count, count == dirty, blame, &err);
	if (code && !world->disturbed)
		fail(err.text);
	return code;
}

static void update_all(struct world *world)
{
	for (int tries = 0; update(world, SERVICES, tries > 1); tries++) {
		if (tries > 3)
			fail("the table does not recover");
		close_table(world);
		open_table(world);
	}
}

/* ---- the judgement ---- */

static void compare_with_fresh(const struct world *world)
{
	struct world fresh;
	char *meaning, *expected;

	world_init(&fresh, world->family);
	memcpy(fresh.things, world->things, sizeof(fresh.things));
	for (size_t i = 0; i < SERVICES; i++) { /* the lists are the copy's own */
		struct thing *thing = &fresh.things[i];

		thing->service.ports = thing->ports;
		thing->service.cluster_ips = &thing->cluster_ip;
		thing->service.external_ips = thing->external_ips;
		thing->service.lb_ingress = thing->balancers;
		thing->service.lb_source_ranges = &thing->range;
		for (size_t k = 0; k < 2; k++) {
			if (thing->slices[k].groups)
				thing->slices[k].groups = &thing->groups[k];
			thing->groups[k].ports = thing->endpoint_ports[k];
			thing->groups[k].endpoints = thing->endpoints[k];
		}
	}
	update_all(&fresh);
	meaning = model_meaning(&world->model, world->family);
	expected = model_meaning(&fresh.model, world->family);
	if (strcmp(meaning, expected) != 0) {
		(void)fprintf(stderr, "---- by history\n%s---- from nothing\n%s", meaning, expected);
		abort();
	}
	free(meaning);
	free(expected);
	if (table_figures(world->table).services != table_figures(fresh.table).services ||
	    table_figures(world->table).endpoints != table_figures(fresh.table).endpoints)
		fail("the figures differ");
	world_done(&fresh);
}

static void try_refused(struct world *world, struct input *input)
{
	static const char *const targets[] = {"svc-default/a", "ext-default/b", "hairpin", "service-ips",
					      "default/c"};

	world->model.refuse = targets[pick(input, ARRAY_LEN(targets))];
	world->model.refuse_code = pick(input, 2) ? -EINVAL : -EEXIST;
	world->model.refuse_whole = pick(input, 3) == 0;
	world->disturbed = true;
	(void)update(world, SERVICES, pick(input, 2));
	world->model.refuse = NULL;
}

static void step(struct world *world, struct input *input)
{
	unsigned i = pick(input, SERVICES);

	switch (pick(input, 10)) {
	case 0:
		world->things[i].exists = false;
		world->dirty[i] = true;
		break;
	case 1:
	case 2:
		change_service(world, input, i);
		world->dirty[i] = true;
		break;
	case 3:
	case 4:
		change_slice(world, input, i, pick(input, 2));
		world->dirty[i] = true;
		break;
	case 5: /* a restart; the first chunk, perhaps */
		close_table(world);
		open_table(world);
		if (update(world, 1 + pick(input, SERVICES), false)) {
			close_table(world);
			open_table(world);
		}
		break;
	case 6:
		model_flush(&world->model);
		world->disturbed = true;
		break;
	case 7:
		try_refused(world, input);
		break;
	default:
		if (world->disturbed) { /* as the monitor would have it */
			close_table(world);
			open_table(world);
		}
		update_all(world);
		world->disturbed = false;
		compare_with_fresh(world);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input input = {data, len};
	struct world world;

	world_init(&world, pick(&input, 2) ? AF_INET6 : AF_INET);
	for (size_t i = 0; i < STEPS_MAX && input.len > 0; i++)
		step(&world, &input);
	world_done(&world);
	return 0;
}
