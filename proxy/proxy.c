/* The service proxy as a whole: hears of changes, says what each Service should do, and wires together the tables, the
 * watch over what others do to them, and the clean-up of the connection table. */
#include "proxy/proxy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "nft/kernel.h"
#include "proxy/clock.h"
#include "proxy/settings.h"
#include "proxy/sync.h"
#include "proxy/udp.h"

#define TABLE_NAME      "fairlead"
#define REPAIR_MIN_S    0.05
#define REPAIR_MAX_S    5.0
#define REPAIR_QUIET_S  10.0 /* after so long without a foreign change the next one is repaired at once */
#define REFUSALS_LOGGED 3    /* endpoint addresses, of one object */

static const int families[TABLE_COUNT] = {AF_INET, AF_INET6};

struct proxy {
	struct ev_loop *loop;
	struct store *store;
	struct store_listener listener;
	struct proxy_config config;
	struct arena config_arena, plans_arena;
	struct plan_config plans[TABLE_COUNT];
	struct meters meters;
	struct registry registry;
	struct sync sync;
	struct nft_kernel *kernel;
	struct node_object *node; /* this one; NULL: not known */
	bool listening, started, settings_dirty;

	struct nft_monitor *monitor;
	struct ev_io foreign_change;
	struct ev_timer repair;
	double repair_pause_s, repaired_s;

	struct conntrack *conntrack;
	struct udp udp;
};

/* ---- what a Service should do ---- */

static void request_for(void *ctx, const struct proxied *proxied, int family, struct service_request *ret)
{
	const struct proxy *proxy = ctx;

	*ret = (struct service_request){
	    .family = family,
	    .ns = proxied->member.claimant.ns,
	    .name = proxied->member.claimant.name,
	    .service = proxied->service,
	    .objects = (const struct endpoints *const *)proxied->objects,
	    .object_count = proxied->object_count,
	    .node_name = proxy->config.node_name,
	    .zone = settings_zone(proxy->node),
	    .allow_loopback = proxy->config.loopback_endpoints,
	};
}

static int build(void *ctx, struct member *member, int family, struct service_state **ret)
{
	const struct proxied *proxied = proxied_of(member);
	struct service_request request;

	*ret = NULL;
	if (!proxied->service || !service_counts(proxied->service) || service_refusal(proxied->service))
		return 0;
	request_for(ctx, proxied, family, &request);
	return service_state_new(&request, ret);
}

static unsigned table_index(const struct service_state *before, const struct service_state *now)
{
	return (now ? now : before)->family == AF_INET ? 0 : 1;
}

/* Somebody with an older right has a frontend that this Service wants. */
static void log_lost_frontends(const struct proxy *proxy, const struct service_state *before,
			       const struct service_state *now)
{
	for (size_t i = 0; now && i < now->frontend_count; i++) {
		const struct frontend *frontend = &now->frontends[i];
		bool told = before && i < before->frontend_count && !before->frontends[i].owned;
		struct endpoint_addr addr = {frontend->ip, frontend->port};
		const struct member *owner;
		char text[ADDR_TEXT_MAX];

		if (frontend->owned || told)
			continue;
		owner = table_frontend_owner(proxy->sync.tables[table_index(before, now)], &addr,
					     (enum protocol)frontend->protocol);
		log_warn("address left out: another Service has it", L_STR("namespace", now->ns),
			 L_STR("service", now->name), L_STR("address", endpoint_addr_format(&addr, text)),
			 L_STR("protocol", protocol_name((enum protocol)frontend->protocol)),
			 L_STR("owner_namespace", owner ? owner->claimant.ns : ""),
			 L_STR("owner", owner ? owner->claimant.name : ""));
	}
}

static void on_committed(void *ctx, struct member *member, const struct service_state *before,
			 const struct service_state *now)
{
	struct proxy *proxy = ctx;

	(void)member;
	if (!before && !now)
		return;
	log_lost_frontends(proxy, before, now);
	if (proxy->conntrack && udp_changed(&proxy->udp, table_index(before, now), before, now))
		conntrack_sweep(proxy->conntrack, families[table_index(before, now)]);
}

static void on_refused(void *ctx, struct member *member, const char *why)
{
	(void)ctx;
	log_error("service left out: the kernel refuses its rules", L_STR("namespace", member->claimant.ns),
		  L_STR("service", member->claimant.name), L_STR("reason", why));
}

static void on_sweep_begins(void *ctx, int family)
{
	struct proxy *proxy = ctx;

	udp_sweep_begins(&proxy->udp, family);
}

static bool on_entry(void *ctx, const struct conntrack_entry *entry)
{
	const struct proxy *proxy = ctx;

	return udp_stale(&proxy->udp, entry);
}

static void on_sweep_ends(void *ctx, int family, uint64_t deleted, double seconds)
{
	struct proxy *proxy = ctx;

	udp_sweep_ends(&proxy->udp);
	metric_observe(proxy->meters.conntrack_seconds, seconds);
	metric_add(proxy->meters.conntrack_deleted, deleted);
	metric_add(proxy->meters.conntrack_deleted_kube, deleted);
	if (deleted > 0)
		log_info("stale UDP connections forgotten",
			 L_STR("family", family == AF_INET ? "IPv4" : "IPv6"), L_INT("count", deleted));
}

/* ---- settings ---- */

/* Makes the plans anew from flags, Node and ServiceCIDRs. 1: they differ from those in use; 0; -ENOMEM. */
static int refresh_plans(struct proxy *proxy)
{
	struct arena arena = {0};
	struct plan_config plans[TABLE_COUNT];
	bool same = true;

	for (size_t i = 0; i < TABLE_COUNT; i++) {
		int code =
		    settings_plan(&arena, &proxy->config, proxy->node, proxy->store, families[i], &plans[i]);

		if (code) {
			arena_done(&arena);
			return code;
		}
		same &= settings_equal(&plans[i], &proxy->plans[i]);
	}
	proxy->settings_dirty = false;
	if (same) {
		arena_done(&arena);
		return 0;
	}
	arena_done(&proxy->plans_arena);
	proxy->plans_arena = arena;
	memcpy(proxy->plans, plans, sizeof(plans));
	return 1;
}

static void queue_all(struct proxy *proxy)
{
	for (struct map_iter it = map_begin(&proxy->registry.services); map_next(&it);)
		sync_queue(&proxy->sync, it.value);
}

static void node_changed(struct proxy *proxy, struct node_object *node)
{
	struct node_object *old = proxy->node;

	proxy->settings_dirty = true;
	proxy->node = node;
	if (node)
		(void)object_ref(&node->meta);
	if (strcmp(settings_zone(old), settings_zone(node)) != 0)
		queue_all(proxy); /* hints are followed by zone: row 26 */
	if (old)
		(void)object_unref(&old->meta);
}

/* ---- what the store says ---- */

/* What of a Service that counts cannot be done. */
static void log_shortcomings(const struct service *service)
{
	const char *refusal = service_refusal(service);

	if (refusal)
		log_error("service left out", L_STR("namespace", service->meta.ns),
			  L_STR("service", service->meta.name), L_STR("origin", service->meta.origin),
			  L_STR("reason", refusal));
}

static void service_changed(struct proxy *proxy, struct service *old, struct service *new)
{
	struct proxied *proxied;

	metric_add(proxy->meters.service_changes, 1);
	if (new != NULL && service_counts(new))
		log_shortcomings(new);
	if (registry_service_changed(&proxy->registry, old, new, &proxied))
		log_error("service left out: out of memory");
	else if (proxied)
		sync_queue(&proxy->sync, proxied);
}

static void log_refused_endpoints(const struct proxy *proxy, const struct endpoints *object)
{
	size_t refused = 0;

	for (size_t g = 0; g < object->group_count; g++) {
		for (size_t e = 0; e < object->groups[g].endpoint_count; e++) {
			const struct endpoint *endpoint = &object->groups[g].endpoints[e];
			const char *why = endpoint_refusal(endpoint, proxy->config.loopback_endpoints);
			char text[ADDR_TEXT_MAX];

			if (!why || object->groups[g].family == 0 || ++refused > REFUSALS_LOGGED)
				continue;
			log_warn("endpoint left out", L_STR("kind", kind_name(object->meta.kind)),
				 L_STR("namespace", object->meta.ns), L_STR("name", object->meta.name),
				 L_STR("origin", object->meta.origin),
				 L_STR("address", endpoint->ip.family ? ip_format(&endpoint->ip, text) : ""),
				 L_STR("reason", why));
		}
	}
	if (refused > REFUSALS_LOGGED)
		log_warn("more endpoints left out", L_STR("kind", kind_name(object->meta.kind)),
			 L_STR("namespace", object->meta.ns), L_STR("name", object->meta.name),
			 L_INT("count", refused - REFUSALS_LOGGED));
}

static void endpoints_changed(struct proxy *proxy, struct endpoints *old, struct endpoints *new)
{
	struct proxied *proxied, *other;

	metric_add(proxy->meters.endpoint_changes, 1);
	if (new &&endpoints_count(new))
		log_refused_endpoints(proxy, new);
	if (registry_endpoints_changed(&proxy->registry, old, new, &proxied, &other))
		log_error("endpoints left out: out of memory");
	if (proxied)
		sync_queue(&proxy->sync, proxied);
	if (other)
		sync_queue(&proxy->sync, other);
}

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	struct proxy *proxy = ctx;

	switch (kind) {
	case KIND_SERVICE:
		service_changed(proxy, (struct service *)old, (struct service *)new);
		break;
	case KIND_ENDPOINTS:
	case KIND_ENDPOINTSLICE:
		endpoints_changed(proxy, (struct endpoints *)old, (struct endpoints *)new);
		break;
	case KIND_NODE:
		if (strcmp((new ? new : old)->name, proxy->config.node_name) == 0)
			node_changed(proxy, (struct node_object *)new);
		break;
	case KIND_SERVICECIDR:
		proxy->settings_dirty = true;
		break;
	case KIND_INGRESS:
	case KIND_INGRESSCLASS:
	case KIND_SECRET:
	case KIND_CONFIGMAP:
	case KIND_NAMESPACE:
	case KIND_LEASE:
		break;
	}
}

static void start(struct proxy *proxy)
{
	if (refresh_plans(proxy) < 0)
		return;
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (proxy->sync.tables[i])
			table_configure(proxy->sync.tables[i], &proxy->plans[i]);
	proxy->started = true;
	sync_start(&proxy->sync);
}

static void on_settled(void *ctx)
{
	struct proxy *proxy = ctx;

	if (!proxy->started) {
		if (store_synced(proxy->store, KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTSLICE)))
			start(proxy);
		return;
	}
	if (proxy->settings_dirty && refresh_plans(proxy) > 0)
		sync_repair(&proxy->sync); /* rules of all services may be others now */
	else
		sync_run(&proxy->sync);
}

static void hear_what_is_known(struct proxy *proxy)
{
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		if (!(proxy->listener.kinds & KIND_BIT(kind)))
			continue;
		for (struct map_iter it = store_begin(proxy->store, (enum kind)kind); map_next(&it);)
			on_changed(proxy, (enum kind)kind, NULL, it.value);
	}
	on_settled(proxy);
}

/* ---- what others do to our tables ---- */

static void on_repair(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct proxy *proxy = watcher->data;

	(void)loop;
	(void)events;
	proxy->repaired_s = monotonic_s();
	metric_add(proxy->meters.repairs, 1);
	sync_repair(&proxy->sync);
}

/* At once if there was quiet before; against one who does it again and again, ever more slowly. */
static void repair_soon(struct proxy *proxy)
{
	bool quiet = proxy->repaired_s <= 0 || monotonic_s() - proxy->repaired_s > REPAIR_QUIET_S;

	if (ev_is_active(&proxy->repair))
		return;
	if (quiet)
		proxy->repair_pause_s = 0;
	else if (proxy->repair_pause_s < REPAIR_MIN_S)
		proxy->repair_pause_s = REPAIR_MIN_S;
	else if (proxy->repair_pause_s * 2 < REPAIR_MAX_S)
		proxy->repair_pause_s *= 2;
	else
		proxy->repair_pause_s = REPAIR_MAX_S;
	ev_timer_set(&proxy->repair, proxy->repair_pause_s, 0.);
	ev_timer_start(proxy->loop, &proxy->repair);
}

static void on_foreign_change(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct proxy *proxy = watcher->data;
	struct nft_foreign_change change = {0};
	int code = nft_monitor_read(proxy->monitor, TABLE_NAME, &change);

	(void)loop;
	(void)events;
	if (code) {
		log_warn("nftables notifications cannot be read", L_STR("reason", strerror(-code)));
		change.lost = true;
	}
	if (change.changed || change.table_deleted)
		log_warn(change.table_deleted ? "our table was deleted by another program"
					      : "our table was changed by another program",
			 L_STR("process", change.process), L_INT("pid", change.pid));
	else if (change.lost)
		log_warn("nftables notifications were lost: looking for myself");
	if (change.changed || change.table_deleted || change.lost)
		repair_soon(proxy);
}

/* ---- life ---- */

static int kernel_apply(void *ctx, int family, const struct nft_ops *ops, size_t *ret_failed_op,
			struct err *err)
{
	return nft_kernel_apply(ctx, (struct nft_table_id){family, TABLE_NAME}, ops, ret_failed_op, err);
}

static int kernel_dump(void *ctx, int family, struct nft_ruleset *ret, struct err *err)
{
	return nft_kernel_dump(ctx, (struct nft_table_id){family, TABLE_NAME}, ret, err);
}

/* Without IPv6 (or IPv4) in the kernel the other family is served alone (row 6). */
static bool family_works(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}

static int open_tables(struct proxy *proxy, struct err *err)
{
	const struct table_kernel kernel = {.apply = kernel_apply, .dump = kernel_dump, .ctx = proxy->kernel};
	const struct table_owner owner = {
	    .build = build, .committed = on_committed, .refused = on_refused, .ctx = proxy};
	struct table *tables[TABLE_COUNT] = {NULL};

	for (unsigned i = 0; i < TABLE_COUNT; i++) {
		if (!family_works(families[i])) {
			log_warn("family not served: the kernel lacks it",
				 L_STR("family", families[i] == AF_INET ? "IPv4" : "IPv6"));
			continue;
		}
		tables[i] = table_new(i, families[i], &kernel, &owner);
		if (!tables[i]) {
			(void)table_free(tables[0]);
			return err_set(err, -ENOMEM, "out of memory");
		}
		proxy->udp.tables[i] = tables[i];
	}
	sync_init(&proxy->sync, proxy->loop, &proxy->registry, &proxy->meters, tables,
		  proxy->config.min_sync_period_s);
	return 0;
}

static int open_kernel(struct proxy *proxy, struct err *err)
{
	proxy->kernel = nft_kernel_open(err);
	if (!proxy->kernel)
		return -EIO;
	proxy->monitor = nft_monitor_open(proxy->kernel, err);
	if (!proxy->monitor)
		return -EIO;
	ev_io_init(&proxy->foreign_change, on_foreign_change, nft_monitor_fd(proxy->monitor), EV_READ);
	proxy->foreign_change.data = proxy;
	ev_io_start(proxy->loop, &proxy->foreign_change);
	return open_tables(proxy, err);
}

static void open_conntrack(struct proxy *proxy)
{
	const struct conntrack_owner owner = {
	    .begin = on_sweep_begins, .stale = on_entry, .end = on_sweep_ends, .ctx = proxy};
	struct err err;

	proxy->udp.request = request_for;
	proxy->udp.ctx = proxy;
	proxy->conntrack = conntrack_new(proxy->loop, &owner, &err);
	if (!proxy->conntrack)
		log_error("stale UDP connections will not be forgotten", L_STR("reason", err.text));
}

static int open_all(struct proxy *proxy, const struct proxy_config *config, struct err *err)
{
	int code;

	if (settings_copy(&proxy->config_arena, config, &proxy->config))
		return err_set(err, -ENOMEM, "out of memory");
	code = open_kernel(proxy, err);
	if (code)
		return code;
	open_conntrack(proxy);
	proxy->listener = (struct store_listener){
	    .kinds = KIND_BIT(KIND_SERVICE) | KIND_BIT(KIND_ENDPOINTS) | KIND_BIT(KIND_ENDPOINTSLICE) |
		     KIND_BIT(KIND_NODE) | KIND_BIT(KIND_SERVICECIDR),
	    .changed = on_changed,
	    .settled = on_settled,
	    .ctx = proxy,
	};
	if (store_listen(proxy->store, &proxy->listener))
		return err_set(err, -ENOMEM, "out of memory");
	proxy->listening = true;
	return 0;
}

struct proxy *proxy_new(struct ev_loop *loop, struct store *store, const struct proxy_config *config,
			struct metrics *metrics, struct err *err)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));

	if (!proxy) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	proxy->loop = loop;
	proxy->store = store;
	meters_init(&proxy->meters, metrics);
	ev_timer_init(&proxy->repair, on_repair, 0., 0.);
	proxy->repair.data = proxy;
	if (open_all(proxy, config, err)) {
		(void)err_wrap(err, 0, "service proxy");
		return proxy_free(proxy);
	}
	hear_what_is_known(proxy);
	return proxy;
}

struct proxy *proxy_free(struct proxy *proxy)
{
	if (!proxy)
		return NULL;
	if (proxy->listening)
		store_unlisten(proxy->store, &proxy->listener);
	ev_timer_stop(proxy->loop, &proxy->repair);
	if (proxy->monitor)
		ev_io_stop(proxy->loop, &proxy->foreign_change);
	proxy->conntrack = conntrack_free(proxy->conntrack);
	sync_done(&proxy->sync);
	registry_done(&proxy->registry);
	udp_done(&proxy->udp);
	(void)nft_monitor_close(proxy->monitor);
	(void)nft_kernel_close(proxy->kernel);
	if (proxy->node)
		(void)object_unref(&proxy->node->meta);
	arena_done(&proxy->plans_arena);
	arena_done(&proxy->config_arena);
	free(proxy);
	return NULL;
}

bool proxy_ready(const struct proxy *proxy)
{
	return proxy->sync.ready;
}

double proxy_update_age_s(const struct proxy *proxy)
{
	return proxy->sync.updated_s > 0 ? monotonic_s() - proxy->sync.updated_s : -1;
}

bool proxy_healthy(const struct proxy *proxy)
{
	return sync_healthy(&proxy->sync);
}

int proxy_cleanup(struct err *err)
{
	struct nft_kernel *kernel = nft_kernel_open(err);
	int code = kernel ? 0 : -EIO;

	for (size_t i = 0; i < TABLE_COUNT && !code; i++)
		code = nft_kernel_delete_table(kernel, (struct nft_table_id){families[i], TABLE_NAME}, err);
	(void)nft_kernel_close(kernel);
	return code;
}
