/* One direction of an exchange: body bytes from the transport they arrive on to the fifo they leave by, taken
 * out of the framing they came in and put into the framing they go on with. The same code serves requests,
 * answers and tunnels.
 *
 * Invariants
 *  1. Bounded: it stops when the sink is full (RELAY_FULL) and never holds more than `in` and `out`.
 *  2. Bodies with a known length, and those that end with the connection, are read straight into the sink.
 *  3. A body cut short is RELAY_CUT, never RELAY_DONE. */
#ifndef INGRESS_RELAY_H
#define INGRESS_RELAY_H

#include "base/http1.h"
#include "ingress/block.h"
#include "ingress/transport.h"

struct relay {
	enum http_framing source, sink;
	bool discard;        /* the payload goes nowhere; out is not used */
	bool is_bulk;        /* the last read took all there was room for */
	uint64_t left_bytes; /* source HTTP_BODY_LENGTH: what is still to come */
	uint64_t max_bytes;  /* of payload; 0: no limit */
	uint64_t moved_bytes;
	struct http1 *parser; /* source HTTP_BODY_CHUNKED */
	struct buf trailers;  /* of it, as lines */
};

enum relay_result {
	RELAY_WAITS,  /* for the source */
	RELAY_FULL,   /* waits for the sink */
	RELAY_YIELDS, /* could go on, but others should have their turn */
	RELAY_DONE,
	RELAY_CUT, /* the source ended or broke before the body did */
	RELAY_BAD, /* broken chunks */
	RELAY_TOO_LARGE,
	RELAY_NO_MEMORY,
};

struct relay_ends {
	struct transport *from;
	struct fifo *in, *out;
	struct block_pool *blocks;
};

/* head: whose body it is. sink: how it is to go on. Afterwards the relay is RELAY_DONE at once for a message without body. */
void relay_begin(struct relay *relay, struct http1 *parser, const struct http_head *head,
		 enum http_framing sink);
/* Bytes as they are, until the source ends: upgraded connections. */
void relay_begin_raw(struct relay *relay);
void relay_done(struct relay *relay);

/* Moves what can be moved. *budget bytes are read at most; it is reduced by what was. */
enum relay_result relay_run(struct relay *relay, const struct relay_ends *ends, size_t *budget);

/* Would relay_run find room for more? */
bool relay_has_room(const struct relay *relay, const struct fifo *out);

#endif
