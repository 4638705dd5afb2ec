/* Idle upstream connections. */
#include "ingress/pool.h"

#include <assert.h>
#include <stdlib.h>

#include "ingress/upconn.h"

static struct str addr_key(const struct endpoint_addr *addr)
{
	return (struct str){(const char *)addr, sizeof(*addr)};
}

struct pool_endpoint *pool_join(struct pool *pool, const struct endpoint_addr *addr)
{
	struct pool_endpoint *endpoint = map_get(&pool->endpoints, addr_key(addr));

	if (!endpoint) {
		endpoint = calloc(1, sizeof(*endpoint));
		if (!endpoint)
			return NULL;
		endpoint->addr = *addr;
		if (map_set(&pool->endpoints, addr_key(addr), endpoint, NULL) != 0) {
			free(endpoint);
			return NULL;
		}
	}
	endpoint->open_count++;
	endpoint->gone = false;
	return endpoint;
}

void pool_leave(struct pool *pool, struct pool_endpoint *endpoint)
{
	assert(endpoint->open_count > 0);
	if (--endpoint->open_count > 0)
		return;
	(void)map_remove(&pool->endpoints, addr_key(&endpoint->addr));
	free(endpoint);
}

struct upconn *pool_take(struct pool *pool, const struct endpoint_addr *addr)
{
	struct pool_endpoint *endpoint = map_get(&pool->endpoints, addr_key(addr));
	struct upconn *up = endpoint ? endpoint->idle : NULL;

	if (up)
		pool_remove(up);
	return up;
}

bool pool_put(struct upconn *up, uint32_t idle_max)
{
	struct pool_endpoint *endpoint = up->endpoint;

	if (endpoint->gone || endpoint->idle_count >= idle_max)
		return false;
	up->prev = NULL;
	up->next = endpoint->idle;
	if (up->next)
		up->next->prev = up;
	endpoint->idle = up;
	endpoint->idle_count++;
	return true;
}

void pool_remove(struct upconn *up)
{
	struct pool_endpoint *endpoint = up->endpoint;

	if (up->prev)
		up->prev->next = up->next;
	else
		endpoint->idle = up->next;
	if (up->next)
		up->next->prev = up->prev;
	up->next = up->prev = NULL;
	endpoint->idle_count--;
}

/* The entry may be freed with its last connection. */
static void close_idle(struct pool_endpoint *endpoint)
{
	for (uint32_t left = endpoint->idle_count; left > 0; left--) {
		struct upconn *up = endpoint->idle;

		pool_remove(up);
		(void)upconn_close(up);
	}
}

bool pool_knows(const struct pool *pool, const struct endpoint_addr *addr)
{
	return map_get(&pool->endpoints, addr_key(addr)) != NULL;
}

void pool_forget(struct pool *pool, const struct endpoint_addr *addr)
{
	struct pool_endpoint *endpoint = map_get(&pool->endpoints, addr_key(addr));

	if (!endpoint)
		return;
	endpoint->gone = true;
	close_idle(endpoint);
}

void pool_close_idle(struct pool *pool)
{
	for (struct map_iter it = map_begin(&pool->endpoints); map_next(&it);)
		close_idle(it.value);
}

void pool_done(struct pool *pool)
{
	assert(pool->endpoints.count == 0);
	map_done(&pool->endpoints);
}
