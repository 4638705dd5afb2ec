/* Keeps one check for each Service that has a health check port: its endpoint objects, its count, its servers. */
#include "proxy/health_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/httpd.h"
#include "base/log.h"
#include "proxy/endpoints.h"
#include "proxy/listen_ips.h"
#include "proxy/local_ready.h"
#include "proxy/service.h"
#include "proxy/settings.h"

#define KEY_BYTES 512 /* "namespace/name" */

struct check {
	struct health_check *health;
	struct service *service;    /* held */
	struct endpoints **objects; /* held; complete once indexed */
	size_t object_count;
	bool indexed, dirty, failing;
	unsigned count;
	struct httpd **servers; /* one for each address, or none */
	size_t server_count;
	uint16_t port; /* they listen on */
};

struct health_check {
	struct ev_loop *loop;
	struct store *store;
	struct store_listener listener;
	struct health_check_config config;
	struct proxy_config proxy_config;
	struct arena config_arena, ips_arena;
	struct listen_ips ips;
	struct map checks; /* "ns/name" -> struct check * */
	struct ev_timer retry;
	bool listening, started, must_index, counts_dirty, ports_dirty, ips_dirty;
};

/* ---- one check ---- */

static struct str check_key(char buffer[static KEY_BYTES], const char *ns, const char *name)
{
	(void)snprintf(buffer, KEY_BYTES, "%s/%s", ns, name);
	return str_of(buffer);
}

static void drop_objects(struct check *check)
{
	for (size_t i = 0; i < check->object_count; i++)
		(void)object_unref(&check->objects[i]->meta);
	free(check->objects);
	check->objects = NULL;
	check->object_count = 0;
}

static void close_servers(struct check *check)
{
	for (size_t i = 0; i < check->server_count; i++)
		(void)httpd_free(check->servers[i]);
	free(check->servers);
	check->servers = NULL;
	check->server_count = 0;
	check->port = 0;
}

static void check_free(struct check *check)
{
	close_servers(check);
	drop_objects(check);
	(void)object_unref(&check->service->meta);
	free(check);
}

static int add_object(struct check *check, struct endpoints *object)
{
	struct endpoints **grown =
	    realloc(check->objects, (check->object_count + 1) * sizeof(struct endpoints *));

	if (!grown)
		return -ENOMEM;
	check->objects = grown;
	check->objects[check->object_count++] = object;
	(void)object_ref(&object->meta);
	return 0;
}

static void remove_object(struct check *check, const struct endpoints *object)
{
	for (size_t i = 0; i < check->object_count; i++) {
		if (check->objects[i] != object)
			continue;
		(void)object_unref(&check->objects[i]->meta);
		check->objects[i] = check->objects[--check->object_count];
		return;
	}
}

/* Out of memory: the old count stays until the next change of anything. */
static void count_again(struct check *check)
{
	const struct proxy_config *config = &check->health->proxy_config;

	check->dirty = local_ready_count((const struct endpoints *const *)check->objects, check->object_count,
					 config->node_name, config->loopback_endpoints, &check->count) < 0;
}

static void count_dirty(struct health_check *health)
{
	health->counts_dirty = false;
	for (struct map_iter it = map_begin(&health->checks); map_next(&it);) {
		struct check *check = it.value;

		if (check->dirty)
			count_again(check);
		health->counts_dirty |= check->dirty;
	}
}

/* ---- servers ---- */

static void answer(void *ctx, const struct http_head *head, struct httpd_answer *answer)
{
	const struct check *check = ctx;
	const struct health_check_config *config = &check->health->config;

	(void)head;
	local_ready_answer(check->service->meta.ns, check->service->meta.name, check->count,
			   config->healthy(config->ctx), answer);
}

/* On all addresses, or on none. */
static int open_servers(struct check *check, struct err *err)
{
	const struct listen_ips *ips = &check->health->ips;
	uint16_t port = check->service->health_check_node_port;

	if (ips->count == 0)
		return err_set(err, -EADDRNOTAVAIL, "this node has none of the addresses for node ports");
	check->servers = calloc(ips->count, sizeof(struct httpd *));
	if (!check->servers)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < ips->count; i++) {
		const struct endpoint_addr addr = {.ip = ips->items[i], .port = port};
		struct httpd *server = httpd_listen(check->health->loop, &addr, answer, check, err);

		if (!server) {
			close_servers(check);
			return -EADDRINUSE;
		}
		httpd_take_any_method(server);
		check->servers[check->server_count++] = server;
	}
	check->port = port;
	return 0;
}

static void try_servers(struct check *check)
{
	const struct health_check_config *config = &check->health->config;
	struct err err = {0};
	bool failed_before = check->failing;

	check->failing = open_servers(check, &err) < 0;
	if (!check->failing || failed_before)
		return;
	log_warn("no health check port for a service", L_STR("namespace", check->service->meta.ns),
		 L_STR("service", check->service->meta.name), L_STR("reason", err.text));
	config->failed(config->ctx, check->service, err.text);
}

/* Ports are given up before others are taken: a number may go from one Service to another. */
static void open_and_close(struct health_check *health)
{
	bool failing = false;

	for (struct map_iter it = map_begin(&health->checks); map_next(&it);) {
		struct check *check = it.value;

		if (check->port && check->port != check->service->health_check_node_port)
			close_servers(check);
	}
	for (struct map_iter it = map_begin(&health->checks); map_next(&it);) {
		struct check *check = it.value;

		if (!check->port)
			try_servers(check);
		failing |= check->failing;
	}
	health->ports_dirty = false;
	if (failing && !ev_is_active(&health->retry))
		ev_timer_start(health->loop, &health->retry);
}

static int choose_ips(struct health_check *health, struct arena *arena, struct listen_ips *ret)
{
	const struct node_object *node = (const struct node_object *)(const void *)store_get(
	    health->store, KIND_NODE, "", health->proxy_config.node_name);
	cleanup(arena_done) struct arena scratch = {0};
	struct plan_config ipv4 = {0}, ipv6 = {0};
	struct listen_ips local = {0};
	int code = settings_plan(&scratch, &health->proxy_config, node, health->store, AF_INET, &ipv4);

	if (code == 0)
		code = settings_plan(&scratch, &health->proxy_config, node, health->store, AF_INET6, &ipv6);
	if (code == 0)
		code = listen_ips_local(&scratch, &local);
	return code < 0 ? code : listen_ips_choose(arena, &ipv4, &ipv6, &local, ret);
}

static void refresh_ips(struct health_check *health)
{
	struct arena arena = {0};
	struct listen_ips ips;

	if (choose_ips(health, &arena, &ips) < 0 || listen_ips_equal(&ips, &health->ips)) {
		arena_done(&arena);
		return;
	}
	for (struct map_iter it = map_begin(&health->checks); map_next(&it);)
		close_servers(it.value);
	arena_done(&health->ips_arena);
	health->ips_arena = arena;
	health->ips = ips;
}

static void bring_up_to_date(struct health_check *health)
{
	if (!health->started)
		return;
	if (health->ips_dirty)
		refresh_ips(health);
	if (health->ports_dirty || health->ips_dirty)
		open_and_close(health);
	health->ips_dirty = false;
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct health_check *health = timer->data;

	(void)loop;
	(void)events;
	health->ips_dirty = true; /* an address may have come */
	bring_up_to_date(health);
}

/* ---- what the store says ---- */

static bool wants_check(const struct service *service)
{
	return service && service_counts(service) && service->type == SERVICE_LOAD_BALANCER &&
	       service->external_policy == TRAFFIC_POLICY_LOCAL && service->health_check_node_port != 0;
}

static int add_check(struct health_check *health, struct str key, struct service *service)
{
	struct check *check = calloc(1, sizeof(*check));

	if (!check || map_set(&health->checks, key, check, NULL) < 0) {
		free(check);
		return -ENOMEM;
	}
	check->health = health;
	check->service = service;
	(void)object_ref(&service->meta);
	health->must_index = true;
	return 0;
}

static void service_changed(struct health_check *health, const struct object *name, struct service *new)
{
	char buffer[KEY_BYTES];
	struct str key = check_key(buffer, name->ns, name->name);
	struct check *check = map_get(&health->checks, key);

	if (!check && !wants_check(new))
		return;
	health->ports_dirty = true;
	if (!wants_check(new)) {
		check_free(map_remove(&health->checks, key));
	} else if (check) {
		(void)object_ref(&new->meta);
		(void)object_unref(&check->service->meta);
		check->service = new;
	} else if (add_check(health, key, new) < 0) {
		log_error("no health check port for a service: out of memory", L_STR("namespace", name->ns),
			  L_STR("service", name->name));
	}
}

static struct check *check_of(const struct health_check *health, const struct endpoints *object)
{
	char buffer[KEY_BYTES];

	return object && endpoints_count(object)
		   ? map_get(&health->checks, check_key(buffer, object->meta.ns, object->service_name))
		   : NULL;
}

static void index_object(struct check *check, struct endpoints *object)
{
	if (add_object(check, object) == 0)
		return;
	drop_objects(check);
	check->indexed = false;
	check->health->must_index = true;
}

static void endpoints_changed(struct health_check *health, struct endpoints *old, struct endpoints *new)
{
	struct check *before = check_of(health, old), *now = check_of(health, new);

	if (before && before->indexed) {
		remove_object(before, old);
		before->dirty = health->counts_dirty = true;
	}
	if (now && now->indexed) {
		index_object(now, new);
		now->dirty = health->counts_dirty = true;
	}
}

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct health_check *health = ctx;

	if (kind == KIND_SERVICE)
		service_changed(health, new ? new : old, (struct service *)new);
	else if (kind == KIND_NODE)
		health->ips_dirty = true;
	else
		endpoints_changed(health, (struct endpoints *)old, (struct endpoints *)new);
}

static void index_kind(struct health_check *health, enum kind kind)
{
	for (struct map_iter it = store_begin(health->store, kind); map_next(&it);) {
		struct check *check = check_of(health, it.value);

		if (check && !check->indexed && add_object(check, it.value) < 0)
			health->must_index = true;
	}
}

/* Finds the endpoint objects of all new checks in one go. */
static void index_new(struct health_check *health)
{
	health->must_index = false;
	health->counts_dirty = true;
	for (struct map_iter it = map_begin(&health->checks); map_next(&it);)
		if (!((struct check *)it.value)->indexed)
			drop_objects(it.value);
	index_kind(health, KIND_ENDPOINTS);
	index_kind(health, KIND_ENDPOINTSLICE);
	for (struct map_iter it = map_begin(&health->checks); map_next(&it) && !health->must_index;) {
		struct check *check = it.value;

		check->dirty |= !check->indexed;
		check->indexed = true;
	}
}

static void on_settled(void *ctx)
{
	struct health_check *health = ctx;

	if (health->must_index)
		index_new(health);
	if (health->counts_dirty)
		count_dirty(health);
	bring_up_to_date(health);
}

/* ---- life ---- */

static int listen_to_store(struct health_check *health)
{
	health->listener = (struct store_listener){
	    .kinds = KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTS) | KIND_BIT(KIND_ENDPOINTSLICE) |
		     KIND_BIT(KIND_NODE),
	    .changed = on_changed,
	    .settled = on_settled,
	    .ctx = health,
	};
	if (store_listen(health->store, &health->listener) < 0)
		return -ENOMEM;
	health->listening = true;
	for (struct map_iter it = store_begin(health->store, KIND_SERVICE); map_next(&it);)
		service_changed(health, it.value, it.value);
	on_settled(health);
	return 0;
}

struct health_check *health_check_new(struct ev_loop *loop, struct store *store,
				      const struct health_check_config *config, struct err *err)
{
	struct health_check *health = calloc(1, sizeof(*health));

	if (!health) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	health->loop = loop;
	health->store = store;
	health->config = *config;
	ev_timer_init(&health->retry, on_retry, HEALTH_CHECK_RETRY_S, 0.);
	health->retry.data = health;
	if (settings_copy(&health->config_arena, config->proxy, &health->proxy_config) < 0 ||
	    listen_to_store(health) < 0) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return health_check_free(health);
	}
	return health;
}

struct health_check *health_check_free(struct health_check *health)
{
	if (!health)
		return NULL;
	if (health->listening)
		store_unlisten(health->store, &health->listener);
	ev_timer_stop(health->loop, &health->retry);
	for (struct map_iter it = map_begin(&health->checks); map_next(&it);)
		check_free(it.value);
	map_done(&health->checks);
	arena_done(&health->ips_arena);
	arena_done(&health->config_arena);
	free(health);
	return NULL;
}

void health_check_start(struct health_check *health)
{
	health->started = true;
	health->ips_dirty = true;
	bring_up_to_date(health);
}
