/* From endpoint objects to the endpoint sets of one service port: gather, merge, then choose. */
#include "proxy/endpoints.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define LABEL_HEADLESS   "service.kubernetes.io/headless"
#define LABEL_PROXY_NAME "service.kubernetes.io/service-proxy-name"

/* One endpoint address of the port, before the choice. */
struct candidate {
	struct endpoint_addr addr;
	const char *text; /* ip:port */
	const struct endpoint *endpoint;
	size_t rank; /* of two with the same address, the later counts */
};

struct gathering {
	struct candidate *items;
	size_t count, size;
};

const char *endpoint_refusal(const struct endpoint *endpoint, bool allow_loopback)
{
	const struct ip *ip = &endpoint->ip;

	if (ip->family == 0)
		return "is no IP address";
	if (ip_is_unspecified(ip))
		return "is the unspecified address";
	if (ip_is_multicast(ip))
		return "is a multicast address";
	if (ip_is_link_local(ip))
		return "is a link-local address";
	if (ip_is_loopback(ip) && !allow_loopback)
		return "is a loopback address";
	return NULL;
}

bool endpoints_count(const struct endpoints *object)
{
	return object->service_name[0] && !kv_get(&object->meta.labels, LABEL_PROXY_NAME) &&
	       !kv_get(&object->meta.labels, LABEL_HEADLESS);
}

/* An Endpoints object that the control plane mirrors into slices is already counted there. */
static bool is_mirrored_elsewhere(const struct endpoints *object, const struct endpoints *const *objects,
				  size_t object_count)
{
	if (object->meta.kind != KIND_ENDPOINTS)
		return false;
	for (size_t i = 0; i < object_count; i++)
		if (objects[i]->mirrored)
			return true;
	return false;
}

/* Endpoints objects before slices, each by name: so that "the later one" does not depend on how they arrived.
 */
static int object_compare(const void *left, const void *right)
{
	const struct endpoints *a = *(const struct endpoints *const *)left;
	const struct endpoints *b = *(const struct endpoints *const *)right;

	if (a->meta.kind != b->meta.kind)
		return a->meta.kind == KIND_ENDPOINTS ? -1 : 1;
	return strcmp(a->meta.name, b->meta.name);
}

typedef int endpoint_fn(void *ctx, const struct endpoint *endpoint, uint16_t port);

/* Calls fn for each endpoint of one group that has the query's family and port; stops at the first non-zero.
 */
static int visit_group(const struct endpoint_group *group, const struct endpoint_query *query,
		       endpoint_fn *fn, void *ctx)
{
	if (group->family != query->family)
		return 0;
	for (size_t p = 0; p < group->port_count; p++) {
		const struct endpoint_port *port = &group->ports[p];

		if (port->protocol != query->protocol || port->port == 0 ||
		    strcmp(port->name, query->port_name) != 0)
			continue;
		for (size_t e = 0; e < group->endpoint_count; e++) {
			const struct endpoint *endpoint = &group->endpoints[e];
			int code;

			if (endpoint->ip.family != query->family ||
			    endpoint_refusal(endpoint, query->allow_loopback))
				continue;
			code = fn(ctx, endpoint, port->port);
			if (code)
				return code;
		}
	}
	return 0;
}

static int visit(const struct endpoints *const *objects, size_t object_count,
		 const struct endpoint_query *query, endpoint_fn *fn, void *ctx)
{
	for (size_t i = 0; i < object_count; i++) {
		if (is_mirrored_elsewhere(objects[i], objects, object_count))
			continue;
		for (size_t g = 0; g < objects[i]->group_count; g++) {
			int code = visit_group(&objects[i]->groups[g], query, fn, ctx);

			if (code)
				return code;
		}
	}
	return 0;
}

/* ---- gather and merge ---- */

static int gather_one(void *ctx, const struct endpoint *endpoint, uint16_t port)
{
	struct gathering *gathering = ctx;

	if (gathering->count == gathering->size) {
		size_t size = gathering->size ? gathering->size * 2 : 16;
		struct candidate *items = realloc(gathering->items, size * sizeof(*items));

		if (!items)
			return -ENOMEM;
		gathering->items = items;
		gathering->size = size;
	}
	gathering->items[gathering->count] = (struct candidate){
	    .addr = {.ip = endpoint->ip, .port = port}, .endpoint = endpoint, .rank = gathering->count};
	gathering->count++;
	return 0;
}

static int candidate_compare(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	int order = strcmp(a->text, b->text);

	if (order)
		return order;
	return a->rank < b->rank ? -1 : 1;
}

/* Of two descriptions of one address the one that is not ending wins, otherwise the later (row 9). */
static bool replaces(const struct endpoint *later, const struct endpoint *earlier)
{
	return !later->terminating || earlier->terminating;
}

static int order_and_merge(struct arena *arena, struct gathering *gathering)
{
	size_t kept = 0;

	for (size_t i = 0; i < gathering->count; i++) {
		char text[ADDR_TEXT_MAX];

		gathering->items[i].text =
		    arena_dup(arena, str_of(endpoint_addr_format(&gathering->items[i].addr, text)));
		if (!gathering->items[i].text)
			return -ENOMEM;
	}
	if (gathering->count > 1)
		qsort(gathering->items, gathering->count, sizeof(*gathering->items), candidate_compare);
	for (size_t i = 0; i < gathering->count; i++) {
		struct candidate *last = kept > 0 ? &gathering->items[kept - 1] : NULL;

		if (!last || strcmp(last->text, gathering->items[i].text) != 0)
			gathering->items[kept++] = gathering->items[i];
		else if (replaces(gathering->items[i].endpoint, last->endpoint))
			*last = gathering->items[i];
	}
	gathering->count = kept;
	return 0;
}

/* ---- choose ---- */

static bool is_local(const struct endpoint *endpoint, const struct endpoint_query *query)
{
	return endpoint->node_name[0] && strcmp(endpoint->node_name, query->node_name) == 0;
}

static bool serves_while_ending(const struct endpoint *endpoint)
{
	return !endpoint->ready && endpoint->serving && endpoint->terminating;
}

static bool lists(const struct string_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

enum hint { HINT_NONE, HINT_NODE, HINT_ZONE };

static bool hinted(const struct endpoint *endpoint, const struct endpoint_query *query, enum hint hint)
{
	switch (hint) {
	case HINT_NODE:
		return lists(&endpoint->hint_nodes, query->node_name);
	case HINT_ZONE:
		return lists(&endpoint->hint_zones, query->zone);
	case HINT_NONE:
		break;
	}
	return true;
}

/* Hints count only if every ready endpoint has them and one at least is for here (row 26). */
static bool hint_usable(const struct gathering *gathering, const struct endpoint_query *query, enum hint hint)
{
	bool one_for_here = false;

	for (size_t i = 0; i < gathering->count; i++) {
		const struct endpoint *endpoint = gathering->items[i].endpoint;

		if (!endpoint->ready)
			continue;
		if ((hint == HINT_NODE ? endpoint->hint_nodes.count : endpoint->hint_zones.count) == 0)
			return false;
		if (hinted(endpoint, query, hint))
			one_for_here = true;
	}
	return one_for_here;
}

static enum hint hint_to_follow(const struct gathering *gathering, const struct endpoint_query *query)
{
	if (query->node_name[0] && hint_usable(gathering, query, HINT_NODE))
		return HINT_NODE;
	if (query->zone[0] && hint_usable(gathering, query, HINT_ZONE))
		return HINT_ZONE;
	return HINT_NONE;
}

enum condition { CONDITION_READY, CONDITION_ENDING };

static bool chosen(const struct endpoint *endpoint, const struct endpoint_query *query, enum policy policy,
		   enum condition condition, enum hint hint)
{
	if (policy == POLICY_LOCAL && !is_local(endpoint, query))
		return false;
	if (condition == CONDITION_ENDING)
		return serves_while_ending(endpoint);
	return endpoint->ready && hinted(endpoint, query, hint);
}

static void collect(const struct gathering *gathering, const struct endpoint_query *query, enum policy policy,
		    enum condition condition, struct endpoint_set *set)
{
	enum hint hint = policy == POLICY_CLUSTER ? hint_to_follow(gathering, query) : HINT_NONE;

	for (size_t i = 0; i < gathering->count; i++) {
		const struct endpoint *endpoint = gathering->items[i].endpoint;

		if (!chosen(endpoint, query, policy, condition, hint))
			continue;
		set->endpoints[set->count++] = (struct service_endpoint){
		    .addr = gathering->items[i].addr,
		    .may_be_here = !endpoint->node_name[0] || is_local(endpoint, query)};
	}
}

static int choose(struct arena *arena, const struct gathering *gathering, const struct endpoint_query *query,
		  enum policy policy, struct endpoint_set *ret)
{
	struct endpoint_set set = {arena_array(arena, gathering->count, sizeof(*set.endpoints)), 0};

	if (!set.endpoints)
		return -ENOMEM;
	collect(gathering, query, policy, CONDITION_READY, &set);
	if (set.count == 0)
		collect(gathering, query, policy, CONDITION_ENDING, &set);
	*ret = set;
	return 0;
}

static bool any_usable(const struct gathering *gathering)
{
	for (size_t i = 0; i < gathering->count; i++)
		if (gathering->items[i].endpoint->ready || serves_while_ending(gathering->items[i].endpoint))
			return true;
	return false;
}

static int select_from(struct arena *arena, const struct endpoints *const *sorted, size_t object_count,
		       const struct endpoint_query *query, struct gathering *gathering,
		       struct endpoint_selection *ret)
{
	struct endpoint_selection selection = {0};
	int code = visit(sorted, object_count, query, gather_one, gathering);

	if (!code)
		code = order_and_merge(arena, gathering);
	for (unsigned policy = 0; policy < POLICY_COUNT && !code; policy++)
		if (query->uses[policy])
			code = choose(arena, gathering, query, (enum policy)policy, &selection.sets[policy]);
	if (code)
		return code;
	selection.any = any_usable(gathering);
	*ret = selection;
	return 0;
}

int endpoints_select(struct arena *arena, const struct endpoints *const *objects, size_t object_count,
		     const struct endpoint_query *query, struct endpoint_selection *ret)
{
	const struct endpoints **sorted = arena_array(arena, object_count, sizeof(const struct endpoints *));
	struct gathering gathering = {0};
	int code;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < object_count; i++)
		sorted[i] = objects[i];
	if (object_count > 1)
		qsort(sorted, object_count, sizeof(const struct endpoints *), object_compare);
	code = select_from(arena, sorted, object_count, query, &gathering, ret);
	free(gathering.items);
	return code;
}

struct search {
	const struct endpoint_addr *addr;
};

static int serves_at(void *ctx, const struct endpoint *endpoint, uint16_t port)
{
	const struct search *search = ctx;

	return port == search->addr->port && ip_equal(&endpoint->ip, &search->addr->ip) &&
	       (endpoint->ready || endpoint->serving);
}

bool endpoints_serve(const struct endpoints *const *objects, size_t object_count,
		     const struct endpoint_query *query, const struct endpoint_addr *addr)
{
	struct search search = {addr};

	return visit(objects, object_count, query, serves_at, &search) != 0;
}

/* ---- places ---- */

static int addr_compare(const void *left, const void *right)
{
	const struct endpoint_addr *a = left, *b = right;
	int order = memcmp(&a->ip, &b->ip, sizeof(a->ip));

	return order ? order : (int)a->port - (int)b->port;
}

struct place {
	struct endpoint_addr addr; /* first: compared by addr_compare */
	size_t index;
};

static int place_compare(const void *left, const void *right)
{
	return addr_compare(left, right); /* a place begins with its address */
}

static struct place *places_of(const struct endpoint_set *set)
{
	struct place *places = calloc(set->count ? set->count : 1, sizeof(*places));

	if (!places)
		return NULL;
	for (size_t i = 0; i < set->count; i++)
		places[i] = (struct place){set->endpoints[i].addr, i};
	if (set->count > 1)
		qsort(places, set->count, sizeof(*places), place_compare);
	return places;
}

int endpoints_keep_places(const struct endpoint_set *old, struct endpoint_set *wanted)
{
	cleanup_free struct place *places = places_of(old);
	cleanup_free struct service_endpoint *placed =
	    calloc(wanted->count ? wanted->count : 1, sizeof(*placed));
	cleanup_free bool *taken = calloc(wanted->count ? wanted->count : 1, sizeof(*taken));
	size_t homeless = 0, hole = 0;

	if (!places || !placed || !taken)
		return -ENOMEM;
	for (size_t i = 0; i < wanted->count; i++) {
		const struct place key = {.addr = wanted->endpoints[i].addr};
		const struct place *found = bsearch(&key, places, old->count, sizeof(*places), place_compare);

		if (found && found->index < wanted->count) {
			placed[found->index] = wanted->endpoints[i];
			taken[found->index] = true;
		} else {
			wanted->endpoints[homeless++] = wanted->endpoints[i];
		}
	}
	for (size_t i = 0; i < homeless; i++) {
		while (taken[hole])
			hole++;
		placed[hole++] = wanted->endpoints[i];
	}
	if (wanted->count > 0)
		memcpy(wanted->endpoints, placed, wanted->count * sizeof(*placed));
	return 0;
}
