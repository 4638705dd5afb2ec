/* A connection to an endpoint: being opened, busy with one exchange, or idle in the pool.
 *
 * Invariants
 *  1. exchange == NULL exactly while it is idle in the pool.
 *  2. It goes back to the pool only after a complete answer to a completely sent request, with nothing left over;
 *     everything else closes it. */
#ifndef INGRESS_UPCONN_H
#define INGRESS_UPCONN_H

#include "ingress/block.h"
#include "ingress/deadline.h"
#include "ingress/pool.h"
#include "ingress/transport.h"

struct worker;
struct exchange;

struct upconn {
	struct transport transport;
	struct worker *worker;
	struct exchange *exchange;
	struct pool_endpoint *endpoint;
	struct upconn *next, *prev; /* idle in the pool */
	struct deadline deadline;
	struct fifo in;
	double active_s; /* last byte either way */
	bool connected;
	bool reused; /* came out of the pool */
	bool broken; /* cannot be written to; an answer may still be there to read */
};

/* Begins to connect. 0 or -errno. */
int upconn_open(struct worker *worker, const struct endpoint_addr *addr, struct exchange *exchange,
		struct upconn **ret_up);

/* An idle connection to addr, now the exchange's; NULL when there is none. */
struct upconn *upconn_reuse(struct worker *worker, const struct endpoint_addr *addr,
			    struct exchange *exchange);

/* Has the endpoint closed it, or sent what nobody asked for, without the loop having told yet? One system call:
 * for requests that cannot be sent twice. */
bool upconn_is_stale(const struct upconn *up);

/* Done with the exchange: into the pool, or closed if the pool does not want it. */
void upconn_release(struct upconn *up, uint32_t idle_max, double idle_timeout_s);

struct upconn *upconn_close(
    struct upconn *up); /* also when idle and removed from the pool; NULL allowed; returns NULL */

#endif
