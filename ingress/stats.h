/* What one worker counted, and all workers' counts together as Prometheus text under ingress-nginx's names.
 *
 * Invariants
 *  1. Only the worker writes; numbers are relaxed atomics without locked instructions (one writer each).
 *  2. Tables change their shape only under `lock`, which the collector holds while it reads: a scrape delays
 *     a worker only when that worker sees a route or a status for the first time.
 *  3. Cardinality is bounded: past STATS_ROUTES_MAX routes, requests count under empty labels. */
#ifndef INGRESS_STATS_H
#define INGRESS_STATS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/map.h"
#include "ingress/exchange_end.h"
#include "ingress/snapshot.h"

#define STATS_ROUTES_MAX 20000
#define STATS_BUCKETS    12 /* ingress-nginx's --time-buckets and +Inf */

typedef _Atomic uint64_t count_t;

static inline void count_add(count_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t count_get(const count_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

struct stats_route; /* the counters of one route */

struct stats {
	count_t connections_accepted, connections_closed; /* accepted - closed = open now */
	count_t connections_refused;                      /* over the limit, or no file descriptor */
	count_t requests_begun, requests_ended;
	count_t upstream_connects, upstream_reuses, retries;
	count_t ends[EXCHANGE_END_COUNT];
	pthread_mutex_t lock;
	struct map routes_by_labels;
	struct stats_route *overflow;
};

/* A memory of where a route's counters are; lives as long as the routes it has seen (one per generation). */
#define STATS_CACHE_SIZE 64
struct stats_cache {
	struct {
		const struct route *route;
		struct stats_route *counters;
	} entries[STATS_CACHE_SIZE];
};

int stats_init(struct stats *stats); /* 0 or -ENOMEM */
void stats_done(struct stats *stats);

/* One answered request of a route. */
void stats_request(struct stats *stats, struct stats_cache *cache, const struct host *host,
		   const struct route *route, struct str method, unsigned status, double seconds);

/* The sum over several workers; on the thread that renders. */
void stats_collect(struct buf *out, struct stats *const *all, size_t count);

#endif
