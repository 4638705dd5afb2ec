/* The Ingress controller at size: 10,000 hosts with 5 paths each (an Ingress and a Service per host, two endpoints a
 * Service). Prints the time of a load, of one changed Ingress and of one changed endpoint, of a lookup, and memory.
 * HOSTS=n and PATHS=n change the size. */
/* LINK: ingress/ingress.c ingress/ingress_hosts.c ingress/ingress_secrets.c */
/* LINK: ingress/build_class.c ingress/build_ingress.c ingress/build_host.c ingress/annotations.c */
/* LINK: ingress/annotations_value.c ingress/auth.c ingress/auth_hash.c ingress/certs.c ingress/finding.c */
/* LINK: ingress/route.c ingress/snapshot.c ingress/snapshot_host.c ingress/snapshot_table.c */
/* LINK: ingress/snapshot_upstream.c ingress/upstreams.c ingress/upstreams_name.c ingress/upstreams_resolve.c */
/* LINK: ingress/auth_pool.c conf/object.c conf/store.c */
/* LINK: base/addr.c base/arena.c base/buf.c base/dns.c base/err.c base/log.c base/map.c base/metrics.c base/str.c */
/* LIBS: -lxxhash -lssl -lcrypto -laprutil-1 -lapr-1 -lcares -lev -lm */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ingress/auth.h"
#include "ingress/ingress.h"
#include "ingress/snapshot_draft.h"

#define EDITS   1000
#define LOOKUPS 2000000

struct workers {
	struct snapshot *snapshot;
};

void workers_publish(struct workers *workers, struct snapshot *snapshot)
{
	snapshot_unref(workers->snapshot);
	workers->snapshot = snapshot;
}

static void must(bool condition, const char *what)
{
	if (!condition) {
		(void)fprintf(stderr, "bench_routes: %s\n", what);
		exit(1);
	}
}

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* What this thread ran: of loops that wait for nothing, so that busy neighbours do not count. */
static double cpu_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double allocated_mb(void)
{
	struct mallinfo2 info = mallinfo2();

	return (double)(info.uordblks + info.hblkhd) / 1e6;
}

static size_t number_from(const char *name, size_t otherwise)
{
	const char *text = getenv(name);
	uint64_t value;

	return text && str_to_u64(str_of(text), 1000000, &value) == 0 && value ? (size_t)value : otherwise;
}

/* ---- objects ---- */

static char *text_in(struct object *object, const char *before, size_t number, const char *after)
{
	char text[80], *copy;

	(void)snprintf(text, sizeof(text), "%s%05zu%s", before, number, after);
	copy = arena_dup(&object->arena, str_of(text));
	must(copy != NULL, "out of memory");
	return copy;
}

static void *array_in(struct object *object, size_t count, size_t item_bytes)
{
	void *items = arena_array(&object->arena, count, item_bytes);

	must(items != NULL, "out of memory");
	return items;
}

static struct object *named(enum kind kind, const char *before, size_t number)
{
	struct object *object = object_new(kind);

	must(object != NULL, "out of memory");
	object->ns = "bench";
	object->name = text_in(object, before, number, "");
	return object;
}

static void put_service(struct store *store, size_t number)
{
	struct object *object = named(KIND_SERVICE, "service-", number);
	struct service *service = (struct service *)object;

	service->ports = array_in(object, 1, sizeof(*service->ports));
	service->port_count = 1;
	service->ports[0] = (struct service_port){
	    .name = "http", .port = 80, .target_port = 8080, .target_port_name = "", .app_protocol = ""};
	service->external_name = "";
	must(store_put(store, object) == 0, "out of memory");
}

/* edit varies the second endpoint. */
static void put_slice(struct store *store, size_t number, size_t edit)
{
	struct object *object = named(KIND_ENDPOINTSLICE, "service-", number);
	struct endpoints *slice = (struct endpoints *)object;
	struct endpoint_group *group = array_in(object, 1, sizeof(*group));

	slice->service_name = text_in(object, "service-", number, "");
	slice->groups = group;
	slice->group_count = 1;
	group->family = AF_INET;
	group->ports = array_in(object, 1, sizeof(*group->ports));
	group->ports[0] = (struct endpoint_port){.name = "http", .port = 8080, .app_protocol = ""};
	group->port_count = 1;
	group->endpoint_count = 2;
	group->endpoints = array_in(object, 2, sizeof(*group->endpoints));
	for (size_t i = 0; i < 2; i++) {
		struct ip ip = {.family = AF_INET,
				.bytes = {10, (uint8_t)(number >> 8), (uint8_t)number,
					  (uint8_t)(i ? 2 + edit % 250 : 1)}};

		group->endpoints[i] =
		    (struct endpoint){.ip = ip, .ready = true, .node_name = "", .zone = "", .hostname = ""};
	}
	must(store_put(store, object) == 0, "out of memory");
}

static void put_ingress(struct store *store, size_t number, size_t path_count, size_t edit)
{
	struct object *object = named(KIND_INGRESS, "ingress-", number);
	struct ingress *ingress = (struct ingress *)object;
	struct ingress_rule *rule = array_in(object, 1, sizeof(*rule));

	ingress->class_name = "";
	ingress->rules = rule;
	ingress->rule_count = 1;
	rule->host = text_in(object, "host-", number, ".example.com");
	rule->has_http = true;
	rule->path_count = path_count;
	rule->paths = array_in(object, path_count, sizeof(*rule->paths));
	for (size_t i = 0; i < path_count; i++)
		rule->paths[i] = (struct ingress_path){
		    .path = i ? text_in(object, "/section/of/the/site/", i == 1 ? 1000 + edit : i, "") : "/",
		    .type = PATH_PREFIX,
		    .backend = {.service_name = text_in(object, "service-", number, ""),
				.port_name = "http"}};
	must(store_put(store, object) == 0, "out of memory");
}

/* ---- measures ---- */

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static void print_times(const char *what, double *seconds, size_t count)
{
	qsort(seconds, count, sizeof(*seconds), compare_doubles);
	printf("%-44s p50 %8.1f us   p99 %8.1f us   max %8.1f us\n", what, seconds[count / 2] * 1e6,
	       seconds[count - 1 - count / 100] * 1e6, seconds[count - 1] * 1e6);
}

static void bench_edits(struct store *store, size_t host_count, size_t path_count)
{
	static double ingress_s[EDITS], endpoint_s[EDITS];

	for (size_t i = 0; i < EDITS; i++) {
		size_t number = i * 7919 % host_count;
		double began_s;

		began_s = now_s();
		put_ingress(store, number, path_count, i + 1);
		store_settle(store);
		ingress_s[i] = now_s() - began_s;
		began_s = now_s();
		put_slice(store, number, i + 1);
		store_settle(store);
		endpoint_s[i] = now_s() - began_s;
	}
	print_times("one Ingress changed, event to published", ingress_s, EDITS);
	print_times("one endpoint changed, event to published", endpoint_s, EDITS);
}

/* Hosts in no order that a cache could guess. */
static void bench_lookups(const struct snapshot *snapshot, size_t host_count)
{
	char(*hosts)[48] = calloc(host_count, sizeof(*hosts));
	static const char path[] = "/section/of/the/site/00003/and/deeper";
	size_t found = 0;
	double began_s, route_s;

	must(hosts != NULL, "out of memory");
	for (size_t i = 0; i < host_count; i++)
		(void)snprintf(hosts[i], sizeof(hosts[i]), "Host-%05zu.example.com:443",
			       i * 7919 % host_count);
	began_s = cpu_s();
	for (size_t i = 0; i < LOOKUPS; i++)
		found += host_route(snapshot_host(snapshot, str_of(hosts[i % host_count])), STR_LIT(path))
			     ->upstream_id > 0;
	route_s = cpu_s();
	printf("%-44s %8.1f ns\n", "lookup: host, route", (route_s - began_s) / LOOKUPS * 1e9);
	for (size_t i = 0; i < LOOKUPS; i++) {
		char normal[sizeof(path)];
		ssize_t len = route_path_normalise(STR_LIT(path), normal);
		const struct host *host = snapshot_host(snapshot, str_of(hosts[i % host_count]));
		const struct route *route = host_route(host, (struct str){normal, (size_t)len});

		found += snapshot_route_upstream(snapshot, route)->endpoint_count == 2;
	}
	printf("%-44s %8.1f ns\n", "lookup: normal path, host, route, upstream",
	       (cpu_s() - route_s) / LOOKUPS * 1e9);
	must(found == 2 * (size_t)LOOKUPS, "a lookup went astray");
	free(hosts);
}

static void bench_many_paths(void)
{
	enum { ROUTES = 500 };
	static struct route routes[ROUTES];
	static char paths[ROUTES][48];
	struct host *host;
	size_t misses = 0;
	double began_s;

	for (size_t i = 0; i < ROUTES; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "/api/v%zu/resource/%zu", i % 7, i);
		routes[i] = (struct route){.path = paths[i], .type = i % 5 ? PATH_PREFIX : PATH_EXACT};
	}
	host = host_new("many", false, routes, ROUTES, NULL);
	must(host != NULL, "out of memory");
	began_s = cpu_s();
	for (size_t i = 0; i < LOOKUPS; i++)
		misses += host_route(host, str_of(paths[i % ROUTES])) == host->fallback;
	printf("%-44s %8.1f ns\n", "lookup in a host with 500 paths", (cpu_s() - began_s) / LOOKUPS * 1e9);
	must(misses == 0, "a lookup went astray");
	host_unref(host);
}

/* The usual request of a protected host: its pair was verified before. */
static void bench_remembered_password(void)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct auth_pool *pool = auth_pool_new(1, 0, NULL);
	struct auth_client *client = auth_client_new(pool, loop);
	struct auth *auth = auth_from_htpasswd(STR_LIT("alice:{PLAIN}open sesame"), NULL);
	struct auth_credentials credentials;
	struct auth_query *query;
	double began_s;

	must(auth_credentials_parse(STR_LIT("Basic YWxpY2U6b3BlbiBzZXNhbWU="), &credentials) == 0,
	     "credentials");
	while (auth_check(client, auth, &credentials, NULL, NULL, &query) != AUTH_GRANTED)
		auth_cancel(client, query);
	began_s = cpu_s();
	for (size_t i = 0; i < LOOKUPS / 10; i++)
		must(auth_check(client, auth, &credentials, NULL, NULL, &query) == AUTH_GRANTED, "forgotten");
	printf("%-44s %8.1f ns\n", "a password verified before", (cpu_s() - began_s) / (LOOKUPS / 10) * 1e9);
	auth_unref(auth);
	auth_client_free(client);
	auth_pool_free(pool);
	ev_loop_destroy(loop);
}

int main(void)
{
	size_t host_count = number_from("HOSTS", 10000), path_count = number_from("PATHS", 5);
	struct ingress_config config = {.any_class = true,
					.annotations_prefix = "nginx.ingress.kubernetes.io",
					.settings = ingress_default_settings};
	struct store *store = store_new();
	struct workers workers = {0};
	struct ingress_controller *controller;
	double began_s, before_mb;

	log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < host_count; i++) {
		put_service(store, i);
		put_slice(store, i, 0);
		put_ingress(store, i, path_count, 0);
	}
	store_set_synced(store, ~0u);
	printf("%zu hosts x %zu paths, objects: %.1f MB\n", host_count, path_count, allocated_mb());

	before_mb = allocated_mb();
	began_s = now_s();
	controller = ingress_new(NULL, store, NULL, &workers, &config, NULL, NULL);
	must(controller && ingress_ready(controller), "not ready");
	printf("%-44s %8.1f ms\n", "load, from objects to the published snapshot", (now_s() - began_s) * 1e3);
	printf("%-44s %8.1f MB\n", "memory of routes, upstreams and indexes", allocated_mb() - before_mb);
	bench_edits(store, host_count, path_count);
	bench_lookups(workers.snapshot, host_count);
	bench_many_paths();
	bench_remembered_password();

	ingress_free(controller);
	snapshot_unref(workers.snapshot);
	store_free(store);
	return 0;
}
