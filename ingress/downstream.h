/* A client's connection, HTTP/1.x: accepted, perhaps shaken hands with, then one exchange after the other.
 *
 *     HANDSHAKE --> IDLE --first byte--> EXCHANGE --answered--> IDLE
 *                                           '--answered, but the client still sends--> LINGER --> closed
 *
 * downstream_run is the only driver: whatever happens on the connection, on its exchange's upstream connection
 * or to a deadline ends there, and everything that can move is moved.
 *
 * Invariants
 *  1. One exchange at a time; later requests of a pipeline wait in `in`.
 *  2. Idle, it holds no block: some 300 bytes and a descriptor (and what TLS needs).
 *  3. Every function here that takes a downstream may free it: the caller touches it no more. */
#ifndef INGRESS_DOWNSTREAM_H
#define INGRESS_DOWNSTREAM_H

#include "base/addr.h"
#include "ingress/block.h"
#include "ingress/deadline.h"
#include "ingress/transport.h"

struct worker;
struct exchange;
struct listener;

enum downstream_state { DOWNSTREAM_HANDSHAKE, DOWNSTREAM_IDLE, DOWNSTREAM_EXCHANGE, DOWNSTREAM_LINGER };

/* What follows an exchange. */
enum downstream_next {
	DOWNSTREAM_NEXT_REQUEST,
	DOWNSTREAM_NEXT_LINGER, /* the client may still be sending: wait, or a reset would take the answer from it */
	DOWNSTREAM_NEXT_CLOSE,
	DOWNSTREAM_NEXT_ABORT, /* what went out must not pass for complete */
};

struct downstream {
	struct transport transport;
	struct worker *worker;
	struct exchange *exchange;
	struct downstream *next, *prev; /* of the worker */
	struct downstream *next_yielding;
	struct deadline deadline;
	struct fifo in, out;
	double active_s; /* last byte either way, or the last change of state */
	struct ip peer;
	uint16_t port; /* of the listener */
	bool https, yielding;
	enum downstream_state state;
	uint32_t request_count, lingered_bytes;
};

/* Takes over an accepted descriptor. */
void downstream_open(const struct listener *listener, int fd, const struct ip *peer);

/* Goes on with everything. The events are those that were just reported, 0 if none. */
void downstream_run(struct downstream *downstream, int client_events, int upstream_events);

void downstream_upstream_expired(struct downstream *downstream);

/* The worker stops: closes if idle; if not, it will after the exchange. */
void downstream_drain(struct downstream *downstream);
/* The grace period is over. */
void downstream_kill(struct downstream *downstream);

#endif
