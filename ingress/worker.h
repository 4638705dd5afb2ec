/* The HTTP(S) data path: worker threads, one libev loop each, SO_REUSEPORT listeners, no locks between them.
 *
 *     client <-> downstream (ingress/downstream.h)
 *                    | exchange: one request and its answer (ingress/exchange.h)
 *                upstream connection (ingress/upconn.h) <-> endpoint
 *
 * Invariants
 *  1. A connection lives and dies on one worker.
 *  2. workers_publish is the only way a worker learns anything new; it never waits for workers.
 *  3. Every exchange ends through one function with a named reason (ingress/exchange_end.h), the same word in
 *     the log and the metric. */
#ifndef INGRESS_WORKER_H
#define INGRESS_WORKER_H

#include "base/addr.h"
#include "base/err.h"
#include "base/metrics.h"
#include "ingress/snapshot.h"

struct workers;
struct access_log;

struct workers_config {
	unsigned count;                         /* 0: one per core this process may run on */
	const struct endpoint_addr *http_addrs; /* listeners; port 0: any; family 0: all addresses */
	size_t http_addr_count;
	const struct endpoint_addr *https_addrs;
	size_t https_addr_count;
	unsigned connections_max;      /* all workers together; beyond: accepted and closed, counted */
	struct access_log *access_log; /* NULL: none */
};

/* Opens the listeners (so a port in use is an error here) but accepts nothing before the first publish. NULL with
 * *err. */
struct workers *workers_start(const struct workers_config *config, struct metrics *metrics, struct err *err);

/* Takes over a reference. Each worker switches at its next turn; requests under way keep the old one. */
void workers_publish(struct workers *workers, struct snapshot *snapshot);

/* SIGTERM: stops accepting, answers with Connection: close, closes idle connections, ends when the last exchange
 * ended or after grace_s. Waits for the threads; returns NULL. */
struct workers *workers_stop(struct workers *workers, double grace_s);

/* Ports bound, in the order given, for tests that asked for 0. */
uint16_t workers_http_port(const struct workers *workers, size_t index);
uint16_t workers_https_port(const struct workers *workers, size_t index);

#endif
