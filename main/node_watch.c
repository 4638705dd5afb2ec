/* One listener on the store, for one object. */
#include "main/node_watch.h"

#include <stdlib.h>

struct node_watch {
	struct store *store;
	struct store_listener listener;
	const char *node_name;
	bool by_pod_cidrs;
	void (*changed)(void *ctx, const char *why);
	void *ctx;
};

static bool ips_changed(const struct ip *old, size_t old_count, const struct ip *new, size_t new_count)
{
	return old_count > 0 && (old_count != new_count || memcmp(old, new, old_count * sizeof(*old)) != 0);
}

static bool cidrs_changed(const struct node_object *old, const struct node_object *new)
{
	return old->pod_cidr_count > 0 &&
	       (old->pod_cidr_count != new->pod_cidr_count ||
		memcmp(old->pod_cidrs, new->pod_cidrs, old->pod_cidr_count * sizeof(*old->pod_cidrs)) != 0);
}

const char *node_change_reason(const struct node_object *old, const struct node_object *new,
			       bool by_pod_cidrs)
{
	if (!old)
		return NULL;
	if (!new)
		return "the Node object is gone";
	if (ips_changed(old->internal_ips, old->internal_ip_count, new->internal_ips,
			new->internal_ip_count) ||
	    ips_changed(old->external_ips, old->external_ip_count, new->external_ips, new->external_ip_count))
		return "the node's addresses have changed";
	if (by_pod_cidrs && cidrs_changed(old, new))
		return "the node's pod CIDRs have changed";
	return NULL;
}

static void on_changed(void *ctx, enum kind kind, struct object *old, struct object *new)
{
	const struct node_watch *watch = ctx;
	const char *why;

	(void)kind;
	if (strcmp((new ? new : old)->name, watch->node_name) != 0)
		return;
	why = node_change_reason((const struct node_object *)old, (const struct node_object *)new,
				 watch->by_pod_cidrs);
	if (why)
		watch->changed(watch->ctx, why);
}

static void on_settled(void *ctx)
{
	(void)ctx;
}

struct node_watch *node_watch_new(struct store *store, const char *node_name, bool by_pod_cidrs,
				  void (*changed)(void *ctx, const char *why), void *ctx)
{
	struct node_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	*watch = (struct node_watch){.store = store,
				     .node_name = node_name,
				     .by_pod_cidrs = by_pod_cidrs,
				     .changed = changed,
				     .ctx = ctx};
	watch->listener = (struct store_listener){
	    .kinds = KIND_BIT(KIND_NODE), .changed = on_changed, .settled = on_settled, .ctx = watch};
	if (store_listen(store, &watch->listener) == 0)
		return watch;
	free(watch);
	return NULL;
}

struct node_watch *node_watch_free(struct node_watch *watch)
{
	if (watch)
		store_unlisten(watch->store, &watch->listener);
	free(watch);
	return NULL;
}
