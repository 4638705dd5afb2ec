/* A non-blocking client connection on a libev loop, TCP or TLS over it, with both directions buffered.
 * For control traffic (the API server, auth services); the ingress data path has its own.
 *
 * Invariants
 *  1. Exactly one terminal event (STREAM_EVENT_CLOSED) per stream, and nothing after it.
 *  2. Callbacks never run inside a stream_* call; freeing the stream inside its own callback is allowed.
 *  3. TLS verifies the server's certificate (when the SSL_CTX says so: SSL_CTX_set_verify) and its name. Bytes read
 *     are told before the error that came behind them.
 *
 * The program ignores SIGPIPE: OpenSSL's socket writes raise it. */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H

#include <ev.h>
#include <stdbool.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"

struct stream;
typedef struct ssl_ctx_st SSL_CTX;

enum stream_event {
	STREAM_EVENT_CONNECTED, /* TCP and, if asked for, TLS are up */
	STREAM_EVENT_DATA,      /* stream_input grew */
	STREAM_EVENT_DRAINED,   /* all written bytes left for the kernel */
	STREAM_EVENT_EOF,       /* orderly end from the peer; writing may go on */
	STREAM_EVENT_CLOSED,    /* error, time-out or connect failure: err says which */
};

struct stream_options {
	struct endpoint_addr addr;
	SSL_CTX *tls;            /* NULL: plain; borrowed during stream_connect only (OpenSSL counts) */
	const char *server_name; /* SNI and name to verify; an IP literal verifies the IP SAN; NULL: addr's */
	double connect_timeout_s; /* TCP and TLS together; 0 = 10 */
	double idle_timeout_s;    /* no byte read for so long: closed, "timed out"; 0 = never */
	size_t input_max_bytes;   /* reading pauses while the input holds so much; 0 = 1 MiB */
};

typedef void stream_fn(void *ctx, struct stream *stream, enum stream_event event, const struct err *err);

/* NULL with *err set when no socket can be had. */
struct stream *stream_connect(struct ev_loop *loop, const struct stream_options *options, stream_fn *fn,
			      void *ctx, struct err *err);
struct stream *stream_free(struct stream *stream); /* closes at once; NULL allowed; returns NULL */

struct buf *stream_input(struct stream *stream); /* the reader consumes from it */
/* Reading paused at input_max_bytes and the reader made room outside a callback (inside one this is not needed). */
void stream_resume(struct stream *stream);

/* 0 or -ENOMEM. What is written after STREAM_EVENT_CLOSED is dropped. */
int stream_write(struct stream *stream, const void *data, size_t len_bytes);

#endif
