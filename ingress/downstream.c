/* Client connections. */
#include "ingress/downstream.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ingress/exchange.h"
#include "ingress/page.h"
#include "ingress/worker_thread.h"

#define LINGER_S         10
#define LINGER_BYTES_MAX (64 * 1024 * 1024)
#define LINGER_READS_MAX 32  /* before others have their turn */
#define DRAIN_S          0.5 /* for a first request to come, once the worker stops */

static void downstream_close(struct downstream *d, enum transport_close how)
{
	struct worker *worker = d->worker;

	deadline_done(&worker->wheel, &d->deadline);
	transport_close(&d->transport, worker->loop, how);
	fifo_done(&d->in, &worker->blocks);
	fifo_done(&d->out, &worker->blocks);
	worker_connection_closed(worker, d);
	free(d);
}

static void enter(struct downstream *d, enum downstream_state state)
{
	d->state = state;
	d->active_s = d->worker->now_s;
}

/* ---- opening ---- */

static void on_event(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct downstream *d = container_of(io, struct downstream, transport.io);

	(void)loop;
	transport_ready(&d->transport, events);
	downstream_run(d, events, 0);
}

static void on_expired(struct deadline *deadline)
{
	struct downstream *d = container_of(deadline, struct downstream, deadline);

	if (d->state != DOWNSTREAM_EXCHANGE) {
		downstream_close(d, TRANSPORT_CLOSE_ORDERLY);
		return;
	}
	exchange_fail(d->exchange, EXCHANGE_CLIENT_TIMEOUT);
	downstream_run(d, 0, 0);
}

static void open_failed(struct worker *worker, int fd)
{
	(void)close(fd);
	count_add(&worker->stats.connections_refused, 1);
	atomic_fetch_sub_explicit(&worker->shared->connections_open, 1, memory_order_relaxed);
}

void downstream_open(const struct listener *listener, int fd, const struct ip *peer)
{
	struct worker *worker = listener->worker;
	struct downstream *d = calloc(1, sizeof(*d));
	SSL *ssl = NULL;

	if (d && listener->https)
		ssl = tls_server_accept(worker->tls, fd);
	if (!d || (listener->https && !ssl)) {
		free(d);
		open_failed(worker, fd);
		return;
	}
	transport_init(&d->transport, fd, on_event);
	d->transport.readable = false; /* it was just accepted: let the loop say */
	d->transport.ssl = ssl;
	d->worker = worker;
	d->peer = *peer;
	d->port = listener->port;
	d->https = listener->https;
	d->deadline.expired = on_expired;
	enter(d, ssl ? DOWNSTREAM_HANDSHAKE : DOWNSTREAM_IDLE);
	worker_connection_opened(worker, d);
	downstream_run(d, 0, 0);
}

/* ---- one state after the other ---- */

enum run { RUN_WAITS, RUN_ON, RUN_CLOSED };

/* nginx's answer to those who mix up the ports. */
static enum run answer_plain_http(struct downstream *d)
{
	struct page page = {.status = 400,
			    .detail = STR_LIT("The plain HTTP request was sent to HTTPS port")};
	char text[2048];
	struct text out = {.p = text, .end = text + sizeof(text)};

	SSL_free(d->transport.ssl);
	d->transport.ssl = NULL;
	(void)page_write(&out, &page);
	(void)transport_write(&d->transport, text, (size_t)(out.p - text));
	transport_end_writing(&d->transport);
	d->transport.readable = true;
	enter(d, DOWNSTREAM_LINGER);
	return RUN_ON;
}

static enum run handshake_run(struct downstream *d)
{
	if (!d->transport.readable && !(d->transport.tls_wants_write && d->transport.writable))
		return RUN_WAITS;
	switch (tls_handshake(d->transport.ssl)) {
	case TLS_HANDSHAKE_DONE:
		d->transport.tls_wants_write = false;
		d->transport.readable = SSL_has_pending(d->transport.ssl);
		enter(d, DOWNSTREAM_IDLE);
		return RUN_ON;
	case TLS_HANDSHAKE_READS:
		d->transport.tls_wants_write = false;
		d->transport.readable = false;
		return RUN_WAITS;
	case TLS_HANDSHAKE_WRITES:
		d->transport.tls_wants_write = true;
		d->transport.writable = false;
		return RUN_WAITS;
	case TLS_HANDSHAKE_IS_PLAIN_HTTP:
		return answer_plain_http(d);
	case TLS_HANDSHAKE_FAILED:
		break;
	}
	downstream_close(d, TRANSPORT_CLOSE_ORDERLY);
	return RUN_CLOSED;
}

/* Waits for the first byte of a request. */
static enum run idle_run(struct downstream *d)
{
	ssize_t n = (ssize_t)fifo_len(&d->in);
	char *tail;

	if (n == 0 && d->transport.readable && !d->transport.at_eof) {
		tail = fifo_reserve(&d->in, &d->worker->blocks, BLOCK_SMALL);
		n = tail ? transport_read(&d->transport, tail, BLOCK_SMALL) : -ENOMEM;
		if (n > 0)
			fifo_commit(&d->in, (size_t)n);
		fifo_settle(&d->in, &d->worker->blocks);
	} else if (n == 0) {
		n = d->transport.at_eof ? 0 : -EAGAIN;
	}
	if (n == -EAGAIN && (!d->worker->draining || d->request_count == 0))
		return RUN_WAITS;
	if (n > 0)
		d->exchange = exchange_new(d);
	if (!d->exchange) {
		downstream_close(d, TRANSPORT_CLOSE_ORDERLY);
		return RUN_CLOSED;
	}
	d->request_count++;
	enter(d, DOWNSTREAM_EXCHANGE);
	return RUN_ON;
}

static enum run exchange_over(struct downstream *d)
{
	enum downstream_next next = exchange_finish(d->exchange);

	d->exchange = NULL;
	switch (next) {
	case DOWNSTREAM_NEXT_REQUEST:
		enter(d, DOWNSTREAM_IDLE);
		return RUN_ON;
	case DOWNSTREAM_NEXT_LINGER:
		transport_end_writing(&d->transport);
		enter(d, DOWNSTREAM_LINGER);
		return RUN_ON;
	case DOWNSTREAM_NEXT_CLOSE:
		downstream_close(d, TRANSPORT_CLOSE_ORDERLY);
		return RUN_CLOSED;
	case DOWNSTREAM_NEXT_ABORT:
		break;
	}
	downstream_close(d, TRANSPORT_CLOSE_ABORT);
	return RUN_CLOSED;
}

static enum run exchange_go_on(struct downstream *d)
{
	switch (exchange_run(d->exchange)) {
	case EXCHANGE_WAITS:
		return RUN_WAITS;
	case EXCHANGE_YIELDS:
		worker_yield(d->worker, d);
		return RUN_WAITS;
	case EXCHANGE_OVER:
		break;
	}
	return exchange_over(d);
}

/* Reads and drops until the client ends, or has had enough of a chance. */
static enum run linger_run(struct downstream *d)
{
	char dropped[16384];
	ssize_t n = -EAGAIN;

	fifo_done(&d->in, &d->worker->blocks);
	for (int reads = 0; reads < LINGER_READS_MAX && d->transport.readable; reads++) {
		n = transport_read(&d->transport, dropped, sizeof(dropped));
		if (n <= 0)
			break;
		d->lingered_bytes += (uint32_t)n;
	}
	if ((n <= 0 && n != -EAGAIN) || d->lingered_bytes >= LINGER_BYTES_MAX) {
		downstream_close(d, TRANSPORT_CLOSE_ORDERLY);
		return RUN_CLOSED;
	}
	if (d->transport.readable)
		worker_yield(d->worker, d);
	return RUN_WAITS;
}

static enum run run_state(struct downstream *d)
{
	switch (d->state) {
	case DOWNSTREAM_HANDSHAKE:
		return handshake_run(d);
	case DOWNSTREAM_IDLE:
		return idle_run(d);
	case DOWNSTREAM_EXCHANGE:
		return exchange_go_on(d);
	case DOWNSTREAM_LINGER:
		return linger_run(d);
	}
	return RUN_WAITS;
}

/* ---- waiting ---- */

static struct levels client_levels(const struct downstream *d)
{
	if (d->state == DOWNSTREAM_EXCHANGE)
		return exchange_client_levels(d->exchange);
	return (struct levels){.wants_bytes = true, .has_room = true};
}

static double client_due_s(const struct downstream *d)
{
	const struct ingress_settings *settings = generation_settings(d->worker->generation);

	if (d->worker->draining && d->state != DOWNSTREAM_EXCHANGE)
		return d->active_s + DRAIN_S;
	switch (d->state) {
	case DOWNSTREAM_HANDSHAKE:
		return d->active_s + settings->head_timeout_s;
	case DOWNSTREAM_IDLE:
		return d->active_s + settings->idle_timeout_s;
	case DOWNSTREAM_EXCHANGE:
		return exchange_client_due_s(d->exchange);
	case DOWNSTREAM_LINGER:
		return d->active_s + LINGER_S;
	}
	return 0;
}

static void watch(struct downstream *d, int client_events, int upstream_events)
{
	double due_s = client_due_s(d);

	transport_watch(&d->transport, d->worker->loop, client_levels(d), client_events);
	if (due_s > 0)
		worker_deadline(d->worker, &d->deadline, due_s);
	else
		deadline_clear(&d->deadline);
	if (d->state == DOWNSTREAM_EXCHANGE)
		exchange_watch_upstream(d->exchange, upstream_events);
}

void downstream_run(struct downstream *d, int client_events, int upstream_events)
{
	enum run run;

	do {
		run = run_state(d);
	} while (run == RUN_ON);
	if (run == RUN_WAITS)
		watch(d, client_events, upstream_events);
}

void downstream_upstream_expired(struct downstream *d)
{
	exchange_upstream_expired(d->exchange);
	downstream_run(d, 0, 0);
}

/* ---- stopping ---- */

/* A request may have come that the loop has not told of yet; and a client that has just connected is about to ask. */
void downstream_drain(struct downstream *d)
{
	d->transport.readable = true;
	downstream_run(d, 0, 0);
}

void downstream_kill(struct downstream *d)
{
	if (d->state == DOWNSTREAM_EXCHANGE) {
		exchange_fail(d->exchange, EXCHANGE_SHUTDOWN);
		(void)exchange_run(d->exchange);
		(void)exchange_finish(d->exchange);
		d->exchange = NULL;
	}
	downstream_close(d, TRANSPORT_CLOSE_ORDERLY);
}
