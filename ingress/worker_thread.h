/* What one worker thread owns: its loop, listeners, connections, pools, counters, and the snapshot it serves by.
 *
 * Invariants
 *  1. Only the worker's thread touches a struct worker, except `published`, `stopping` and `stats` (relaxed reads).
 *  2. Time is monotonic: now_s is taken once per turn of the loop; the wall clock is only ever shown.
 *  3. A generation (a snapshot in use) is counted without atomics; the worker's last release unrefs the snapshot. */
#ifndef INGRESS_WORKER_THREAD_H
#define INGRESS_WORKER_THREAD_H

#include <ev.h>
#include <pthread.h>

#include "base/http1.h"
#include "ingress/access_log.h"
#include "ingress/auth.h"
#include "ingress/balance.h"
#include "ingress/block.h"
#include "ingress/deadline.h"
#include "ingress/pool.h"
#include "ingress/snapshot.h"
#include "ingress/stats.h"
#include "ingress/tls.h"
#include "ingress/worker.h"

struct downstream;
struct exchange;

/* What all workers have in common. */
struct worker_shared {
	unsigned connections_max;
	atomic_uint connections_open;
	struct tls_keys *tls_keys;
	struct auth_pool *auth_pool;
	struct access_log *access_log; /* NULL: none */
	double grace_s;                /* written before `stopping` of a worker */
};

struct generation {
	struct snapshot *snapshot;
	size_t users; /* the worker while it is current, and exchanges */
	struct http1_limits limits;
	struct stats_cache stats_cache;
	char hsts[64]; /* value of Strict-Transport-Security; "" when off */
};

struct listener {
	struct ev_io io;
	struct worker *worker;
	uint16_t port;
	bool https;
};

struct worker {
	pthread_t thread;
	struct worker_shared *shared;
	_Atomic(struct snapshot *) published; /* not yet taken up */
	atomic_bool stopping;
	struct stats stats;

	struct ev_loop *loop;
	struct ev_async wakeup;
	struct ev_check clock;
	struct ev_timer tick, grace;
	struct ev_idle yielded;
	struct listener *listeners;
	size_t listener_count;
	int reserve_fd; /* given up for a moment when descriptors run out, so that clients can be turned away */

	double now_s;
	struct wheel wheel;
	struct block_pool blocks;
	struct pool pool;
	struct balance balance;
	struct auth_client *auth;
	struct access_writer *access;
	struct tls_server *tls;
	struct generation *generation; /* NULL before the first publication */
	struct downstream *connections;
	struct downstream *yielding, *resuming; /* waiting for the next turn; in this one */
	struct exchange *spare_exchanges;
	unsigned spare_exchange_count;
	uint64_t random[2];
	bool draining, listening_paused;
	time_t date_second;
	char date[32];

	struct http_head head; /* the head being looked at right now */
};

/* listeners: an array on the heap with fd, port and https filled in; taken over, also on failure, after which
 * worker_done is still due. 0 or a negative errno with *err. The thread is not started. */
int worker_init(struct worker *worker, struct worker_shared *shared, struct listener *listeners,
		size_t listener_count, struct err *err);
void worker_done(struct worker *worker); /* after its thread ended, or if it never began */
void *worker_main(void *ctx);            /* the thread; ctx is the worker */

/* From other threads. */
void worker_publish(struct worker *worker, struct snapshot *snapshot); /* takes the reference */
void worker_stop(struct worker *worker);

/* ---- for connections and exchanges, on the worker's thread ---- */

struct generation *generation_hold(struct worker *worker); /* the current one */
void generation_release(struct generation *generation);
static inline const struct ingress_settings *generation_settings(const struct generation *generation)
{
	return snapshot_settings(generation->snapshot);
}

void worker_deadline(struct worker *worker, struct deadline *deadline, double due_s);
void worker_yield(struct worker *worker, struct downstream *downstream); /* runs again after the others */
uint64_t worker_random(struct worker *worker);
struct str worker_date(struct worker *worker); /* IMF-fixdate */
void worker_connection_opened(struct worker *worker, struct downstream *downstream);
void worker_connection_closed(struct worker *worker, struct downstream *downstream);

#endif
