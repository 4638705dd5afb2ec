/* One non-blocking socket, plain or TLS, with what is known of its readiness.
 *
 * Reads and writes are tried first and waited for after: `readable` and `writable` remember what the last event
 * or the last call said, so that neither a call that must fail nor a registration without need is made.
 *
 * Invariants
 *  1. readable is false only if a read would block (the loop tells when that changes); it may be true in vain.
 *  2. After at_eof or a failure no more bytes are read.
 *  3. Bytes that TLS holds decrypted keep `readable` true, as the loop cannot see them. */
#ifndef INGRESS_TRANSPORT_H
#define INGRESS_TRANSPORT_H

#include <ev.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "ingress/interest.h"

struct transport {
	struct ev_io io;
	SSL *ssl; /* NULL: plain */
	bool readable, writable;
	bool at_eof;          /* the peer ended its direction in order */
	bool tls_wants_write; /* TLS must write before it can read on */
	bool tls_failed;      /* nothing may be sent any more, not even a close_notify */
};

typedef void transport_fn(struct ev_loop *loop, struct ev_io *io, int events);

/* Takes over the descriptor. Nothing is registered yet: transport_watch. */
void transport_init(struct transport *transport, int fd, transport_fn *fn);

/* Notes what the loop said; first thing in the transport_fn. */
void transport_ready(struct transport *transport, int events);

/* Bytes read; 0 at the peer's orderly end; -EAGAIN; or -errno when the connection is broken. */
ssize_t transport_read(struct transport *transport, char *data, size_t size);
/* Bytes written, > 0; -EAGAIN; or -errno. len > 0. */
ssize_t transport_write(struct transport *transport, const char *data, size_t len);

/* Registers exactly what the levels ask for (interest.h). fired: the events being handled, 0 if none. */
void transport_watch(struct transport *transport, struct ev_loop *loop, struct levels levels, int fired);

/* The address the peer connected to; left alone when it cannot be had. */
void transport_local_addr(const struct transport *transport, struct endpoint_addr *ret);

/* Tells the peer that no more will be written; reading goes on. */
void transport_end_writing(struct transport *transport);

enum transport_close {
	TRANSPORT_CLOSE_ORDERLY,
	TRANSPORT_CLOSE_ABORT, /* the peer must not take what it got for complete: RST */
};
void transport_close(struct transport *transport, struct ev_loop *loop, enum transport_close how);

#endif
