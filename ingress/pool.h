/* Open connections to endpoints that nobody uses right now, by endpoint address. One per worker; outlives snapshots.
 *
 * Invariants
 *  1. An endpoint's entry lives as long as any connection to it (idle or busy) does.
 *  2. An idle connection on which anything happens (bytes nobody asked for, the end) is closed, never handed out.
 *  3. After pool_forget an endpoint's idle connections are closed, and busy ones will be when they are put back. */
#ifndef INGRESS_POOL_H
#define INGRESS_POOL_H

#include "base/addr.h"
#include "base/map.h"

struct upconn;

struct pool_endpoint {
	struct endpoint_addr addr;
	struct upconn *idle; /* most recently used first */
	uint32_t idle_count, open_count;
	bool gone; /* no longer in any snapshot */
};

struct pool {
	struct map endpoints; /* bytes of an endpoint_addr -> struct pool_endpoint */
};

/* The entry, made if need be; counts one more open connection. NULL when out of memory. */
struct pool_endpoint *pool_join(struct pool *pool, const struct endpoint_addr *addr);
/* One connection fewer; frees the entry with the last. */
void pool_leave(struct pool *pool, struct pool_endpoint *endpoint);

/* The most recently used idle connection, or NULL. */
struct upconn *pool_take(struct pool *pool, const struct endpoint_addr *addr);
/* False when it may not be kept (gone, or idle_max are there): the caller closes it. */
bool pool_put(struct upconn *up, uint32_t idle_max);
void pool_remove(struct upconn *up); /* an idle connection, before it is closed */

bool pool_knows(const struct pool *pool, const struct endpoint_addr *addr); /* has connections to it */
void pool_forget(struct pool *pool, const struct endpoint_addr *addr);
void pool_close_idle(struct pool *pool); /* all of them */
void pool_done(struct pool *pool);       /* after the last connection */

#endif
