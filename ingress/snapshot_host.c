/* Hosts as values: one allocation holds the host and all it points to, what a lookup reads in front.
 *
 *     struct host | name | index | paths | routes, the fallback last | the other strings */
#include "ingress/snapshot_draft.h"

#include <stdlib.h>

#include "ingress/auth.h"
#include "ingress/route.h"

/* ---- strings ---- */

/* A run of strings is laid out twice: once to count its bytes (out NULL), once to copy. */
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

/* Neighbours mostly say the same: before is what stood in its place in the route before, and where that was put. */
static const char *place(struct layout *layout, const char *text, const char *before,
			 const char *placed_before)
{
	if (!text)
		return NULL;
	if (before && strcmp(text, before) == 0)
		return placed_before;
	return place_str(layout, str_of(text));
}

struct layouts {
	struct layout paths, others;
};

/* before, placed_before: the route before, as given and as placed; all zeroes in front of the first. */
static struct route place_route(struct layouts *layouts, const struct route *from, const struct route *before,
				const struct route *placed_before)
{
	struct str path = route_rule_path(str_of(from->path), from->type);
	struct layout *others = &layouts->others;
	struct route route = *from;

	route.path = place_str(&layouts->paths, path);
	route.path_len = path.len;
	route.ns = place(others, from->ns, before->ns, placed_before->ns);
	route.ingress = place(others, from->ingress, before->ingress, placed_before->ingress);
	route.service = place(others, from->service, before->service, placed_before->service);
	route.port = place(others, from->port, before->port, placed_before->port);
	route.auth_realm = place(others, from->auth_realm, before->auth_realm, placed_before->auth_realm);
	return route;
}

/* sorted: the routes, then the fallback. ret NULL: only counts. */
static void place_all(struct layouts *layouts, struct route *ret, const struct route *const *sorted,
		      size_t count)
{
	struct route none = {0}, placed = none;

	for (size_t i = 0; i < count; i++) {
		placed = place_route(layouts, sorted[i], i ? sorted[i - 1] : &none, &placed);
		if (ret)
			ret[i] = placed;
	}
}

/* ---- order ---- */

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

/* ---- hosts ---- */

static size_t aligned(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

/* layouts: counted; becomes where to copy to. */
static struct host *host_alloc(const char *name, size_t route_count, struct layouts *layouts)
{
	size_t name_bytes = strlen(name) + 1, name_at = sizeof(struct host);
	size_t index_at = aligned(name_at + name_bytes);
	size_t paths_at = index_at + aligned(route_index_bytes(route_count));
	size_t routes_at = paths_at + aligned(layouts->paths.used_bytes);
	size_t others_at = routes_at + (route_count + 1) * sizeof(struct route);
	char *memory = calloc(1, others_at + layouts->others.used_bytes);
	struct host *host = (struct host *)(void *)memory;

	if (!host)
		return NULL;
	atomic_init(&host->refs, 1);
	host->name = memcpy(memory + name_at, name, name_bytes);
	host->index = (struct host_index *)(void *)(memory + index_at);
	host->routes = (struct route *)(void *)(memory + routes_at);
	host->route_count = route_count;
	host->fallback = &host->routes[route_count];
	*layouts = (struct layouts){.paths.out = memory + paths_at, .others.out = memory + others_at};
	return host;
}

static void ref_auths(const struct host *host)
{
	for (size_t i = 0; i <= host->route_count; i++) {
		if (host->routes[i].auth)
			(void)auth_ref(host->routes[i].auth);
	}
}

struct host *host_new(const char *name, bool has_tls, const struct route *routes, size_t route_count,
		      const struct route *fallback)
{
	const struct route **sorted = calloc(route_count + 1, sizeof(const struct route *));
	struct layouts layouts = {0};
	struct host *host;

	if (!sorted)
		return NULL;
	for (size_t i = 0; i < route_count; i++)
		sorted[i] = &routes[i];
	qsort(sorted, route_count, sizeof(const struct route *), compare_by_preference);
	sorted[route_count] = fallback ? fallback : &built_in_fallback;
	place_all(&layouts, NULL, sorted, route_count + 1);
	host = host_alloc(name, route_count, &layouts);
	if (host) {
		place_all(&layouts, host->routes, sorted, route_count + 1);
		ref_auths(host);
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
	uint32_t found = route_index_find(host->index, path);

	return found == ROUTE_NOT_FOUND ? host->fallback : &host->routes[found];
}
