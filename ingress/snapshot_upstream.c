/* Upstreams as values: one allocation each. */
#include "ingress/snapshot_draft.h"
#include "ingress/unconst.h"

#include <stdlib.h>

static int compare_endpoints(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct endpoint_addr));
}

/* endpoint_addr has no padding that could differ: the struct is compared as bytes (base/addr.h invariant 2).
 */
_Static_assert(sizeof(struct endpoint_addr) == sizeof(struct ip) + sizeof(uint16_t),
	       "endpoint_addr has padding");

static size_t sort_unique(struct endpoint_addr *endpoints, size_t count)
{
	size_t kept = 0;

	qsort(endpoints, count, sizeof(*endpoints), compare_endpoints);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || compare_endpoints(&endpoints[kept - 1], &endpoints[i]) != 0)
			endpoints[kept++] = endpoints[i];
	}
	return kept;
}

struct upstream *upstream_new(uint32_t id, const char *name, bool missing,
			      const struct endpoint_addr *endpoints, size_t endpoint_count)
{
	size_t endpoints_bytes = endpoint_count * sizeof(*endpoints), name_bytes = strlen(name) + 1;
	struct upstream *upstream = calloc(1, sizeof(*upstream) + endpoints_bytes + name_bytes);
	char *name_copy;

	if (!upstream)
		return NULL;
	atomic_init(&upstream->refs, 1);
	upstream->id = id;
	upstream->missing = missing;
	upstream->endpoints = (struct endpoint_addr *)(void *)(upstream + 1);
	if (endpoint_count)
		memcpy(upstream->endpoints, endpoints, endpoints_bytes);
	upstream->endpoint_count = sort_unique(upstream->endpoints, endpoint_count);
	name_copy = (char *)(upstream + 1) + endpoints_bytes;
	memcpy(name_copy, name, name_bytes);
	upstream->name = name_copy;
	return upstream;
}

struct upstream *upstream_ref(const struct upstream *upstream)
{
	struct upstream *shared = unconst(upstream);

	atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
	return shared;
}

struct upstream *upstream_unref(struct upstream *upstream)
{
	if (upstream && atomic_fetch_sub_explicit(&upstream->refs, 1, memory_order_acq_rel) == 1)
		free(upstream);
	return NULL;
}
