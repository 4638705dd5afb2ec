/* Hosts as values: one allocation holds the host, its routes in order of preference, their index and every
 * string. */
#include "ingress/snapshot_draft.h"

#include <stdlib.h>

#include "ingress/auth.h"
#include "ingress/route.h"

/* The strings of a host are laid out twice: once to count their bytes (out NULL), once to copy them. */
struct layout {
	char *out;
	size_t used_bytes;
};

static const char *place_str(struct layout *layout, struct str text)
{
	char *at = layout->out ? layout->out + layout->used_bytes : NULL;

	layout->used_bytes += text.len + 1;
	if (!at)
		return "";
	memcpy(at, text.p, text.len);
	at[text.len] = '\0';
	return at;
}

static const char *place(struct layout *layout, const char *text)
{
	return text ? place_str(layout, str_of(text)) : NULL;
}

static void place_route(struct layout *layout, struct route *ret, const struct route *from)
{
	struct str path = route_rule_path(str_of(from->path), from->type);
	struct route route = *from;

	route.path = place_str(layout, path);
	route.path_len = path.len;
	route.ns = place(layout, from->ns);
	route.ingress = place(layout, from->ingress);
	route.service = place(layout, from->service);
	route.port = place(layout, from->port);
	route.auth_realm = place(layout, from->auth_realm);
	if (layout->out) {
		*ret = route;
		if (route.auth)
			(void)auth_ref(route.auth);
	}
}

/* A rule path is sorted by what it matches, not by how it was written. */
static struct route matched_form(const struct route *from)
{
	struct route route = *from;
	struct str path = route_rule_path(str_of(from->path), from->type);

	route.path = path.p;
	route.path_len = path.len;
	return route;
}

static int compare_by_preference(const void *a, const void *b)
{
	const struct route *const *from_a = a, *const *from_b = b;
	struct route route_a = matched_form(*from_a), route_b = matched_form(*from_b);
	int order = route_compare(&route_a, &route_b);

	return order ? order
		     : (*from_a > *from_b) - (*from_a < *from_b); /* as given: keeps the sort stable */
}

static const struct route built_in_fallback = {
    .path = "/", .type = PATH_PREFIX, .ns = "", .ingress = "", .service = "", .port = "", .tries = 1};

static void place_all(struct layout *layout, struct host *host, const struct route *const *sorted,
		      size_t route_count, const char *name, const struct route *fallback)
{
	const char *placed_name = place(layout, name);

	for (size_t i = 0; i < route_count; i++)
		place_route(layout, host ? &host->routes[i] : NULL, sorted[i]);
	place_route(layout, host ? host->fallback : NULL, fallback);
	if (host)
		host->name = placed_name;
}

static struct host *host_alloc(size_t route_count, size_t text_bytes, struct layout *ret_layout)
{
	size_t routes_bytes = (route_count + 1) * sizeof(struct route);
	size_t index_bytes = route_index_bytes(route_count);
	char *memory = calloc(1, sizeof(struct host) + routes_bytes + index_bytes + text_bytes);
	struct host *host = (struct host *)(void *)memory;

	if (!host)
		return NULL;
	atomic_init(&host->refs, 1);
	host->routes = (struct route *)(void *)(memory + sizeof(*host));
	host->route_count = route_count;
	host->fallback = &host->routes[route_count];
	host->index = (struct host_index *)(void *)(memory + sizeof(*host) + routes_bytes);
	*ret_layout = (struct layout){.out = memory + sizeof(*host) + routes_bytes + index_bytes};
	return host;
}

struct host *host_new(const char *name, bool has_tls, const struct route *routes, size_t route_count,
		      const struct route *fallback)
{
	const struct route **sorted = calloc(route_count + 1, sizeof(const struct route *));
	struct layout layout = {0};
	struct host *host = NULL;

	if (!sorted)
		return NULL;
	for (size_t i = 0; i < route_count; i++)
		sorted[i] = &routes[i];
	qsort(sorted, route_count, sizeof(const struct route *), compare_by_preference);
	if (!fallback)
		fallback = &built_in_fallback;
	place_all(&layout, NULL, sorted, route_count, name, fallback);
	host = host_alloc(route_count, layout.used_bytes, &layout);
	if (host) {
		place_all(&layout, host, sorted, route_count, name, fallback);
		host->has_tls = has_tls;
		route_index_build(host->index, host->routes, route_count);
	}
	free(sorted);
	return host;
}

struct host *host_unref(struct host *host)
{
	if (!host || atomic_fetch_sub_explicit(&host->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i <= host->route_count; i++) /* the fallback stands behind the last */
		auth_unref(host->routes[i].auth);
	free(host);
	return NULL;
}

void route_set_defaults(struct route *route, const struct ingress_settings *settings)
{
	route->body_max_bytes = settings->body_max_bytes;
	route->connect_timeout_s = 5;
	route->read_timeout_s = 60;
	route->send_timeout_s = 60;
	route->tries = 3;
}

const struct route *host_route(const struct host *host, struct str path)
{
	uint32_t found = route_index_find(host->index, host->routes, path);

	return found == ROUTE_NOT_FOUND ? host->fallback : &host->routes[found];
}
