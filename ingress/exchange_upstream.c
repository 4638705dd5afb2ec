/* Which endpoint, over which connection, and what is done when that fails. */
#include <errno.h>
#include <string.h>

#include "ingress/exchange_parts.h"

/* ---- the record of attempts ---- */

static void attempt_begin(struct exchange *x, const struct endpoint_addr *addr)
{
	if (x->attempt_count == ACCESS_ATTEMPTS_MAX)
		x->attempt_count--; /* the last ones are the most telling */
	x->attempts[x->attempt_count++] = (struct access_attempt){.addr = *addr};
	x->attempt_begun_s = x->worker->now_s;
}

static void attempt_end(struct exchange *x, unsigned status)
{
	struct access_attempt *attempt = &x->attempts[x->attempt_count - 1];

	attempt->response_s = x->worker->now_s - x->attempt_begun_s;
	attempt->status = (uint16_t)status;
	attempt->response_bytes = x->download.moved_bytes;
}

/* ---- choosing ---- */

/* Endpoints as they are now, which may be newer than what the request was routed by. */
static const struct upstream *upstream_now(const struct exchange *x)
{
	const struct upstream *now;

	if (x->generation == x->worker->generation)
		return x->plan.upstream;
	now = snapshot_upstream(x->worker->generation->snapshot, x->plan.upstream->id);
	return now && now->endpoint_count > 0 ? now : x->plan.upstream;
}

static void turn_take(struct exchange *x)
{
	uint32_t start = (uint32_t)worker_random(x->worker);
	struct balance_turn *turn = balance_turn(&x->worker->balance, x->plan.upstream->id, start);

	x->turn = turn ? turn->next++ : start;
}

static bool was_tried(const struct exchange *x, const struct endpoint_addr *addr)
{
	for (size_t i = 0; i < x->attempt_count; i++)
		if (memcmp(&x->attempts[i].addr, addr, sizeof(*addr)) == 0)
			return true;
	return false;
}

/* The next endpoint in turn; false when all were tried that may be. */
static bool endpoint_next(struct exchange *x, struct endpoint_addr *ret)
{
	const struct upstream *upstream = upstream_now(x);

	if (x->endpoint_tries >= x->plan.route->tries)
		return false;
	if (x->endpoint_tries == 0)
		turn_take(x);
	for (size_t i = 0; i < upstream->endpoint_count; i++) {
		*ret = upstream->endpoints[(x->turn + x->endpoint_tries + i) % upstream->endpoint_count];
		if (was_tried(x, ret))
			continue;
		x->endpoint_tries++;
		return true;
	}
	return false;
}

/* ---- connecting ---- */

static struct upconn *connection_reuse(struct exchange *x, const struct endpoint_addr *addr)
{
	struct upconn *up;

	for (;;) {
		up = upconn_reuse(x->worker, addr, x);
		if (!up || x->is_idempotent || !upconn_is_stale(up))
			return up;
		(void)upconn_close(up); /* look before leaping: this request cannot be sent twice */
	}
}

static void response_expect(struct exchange *x)
{
	http1_init(&x->response, HTTP1_RESPONSE, NULL);
	http1_expect_response_to(&x->response, exchange_str(x, x->method));
	x->response_state = RESPONSE_HEAD;
}

static int connection_attach(struct exchange *x, const struct endpoint_addr *addr, bool fresh)
{
	int code = 0;

	attempt_begin(x, addr);
	x->up = fresh ? NULL : connection_reuse(x, addr);
	if (!x->up)
		code = upconn_open(x->worker, addr, x, &x->up);
	if (code != 0) {
		attempt_end(x, exchange_end_status(EXCHANGE_UPSTREAM_REFUSED));
		return code;
	}
	x->sent_bytes = 0;
	response_expect(x);
	if (x->up->connected)
		request_body_begin(x);
	return 0;
}

/* otherwise: how it ends when no endpoint is left to try. */
static void connect_next(struct exchange *x, enum exchange_end otherwise)
{
	struct endpoint_addr addr;

	while (endpoint_next(x, &addr)) {
		if (connection_attach(x, &addr, false) == 0)
			return;
		otherwise = EXCHANGE_UPSTREAM_REFUSED;
	}
	exchange_fail(x, otherwise);
}

void upstream_begin(struct exchange *x)
{
	connect_next(x, EXCHANGE_NO_ENDPOINT);
}

/* ---- sending ---- */

void upstream_forget_sent(struct exchange *x)
{
	x->replayable = false;
	fifo_consume(&x->to_upstream, &x->worker->blocks, x->sent_bytes);
	x->sent_bytes = 0;
}

static void connection_is_up(struct exchange *x)
{
	x->up->connected = true;
	request_body_begin(x);
}

static void sent(struct exchange *x, size_t len)
{
	x->up->active_s = x->worker->now_s;
	x->sent_bytes += (uint32_t)len;
	if (!x->replayable)
		upstream_forget_sent(x);
}

/* An endpoint that stopped listening may have answered before: the answer is looked for first. */
static void sending_failed(struct exchange *x, ssize_t code)
{
	if (!x->up->connected) {
		upstream_failed(x,
				code == -ETIMEDOUT ? EXCHANGE_UPSTREAM_TIMEOUT : EXCHANGE_UPSTREAM_REFUSED);
		return;
	}
	x->up->broken = true;
	x->up->transport.readable = true;
	x->upload_ended = x->tunnel;
}

bool upstream_flush(struct exchange *x)
{
	bool moved = false;
	ssize_t n;

	while (x->up && !x->up->broken && x->up->transport.writable && upstream_unsent(x) > 0) {
		n = transport_write(&x->up->transport, fifo_data(&x->to_upstream) + x->sent_bytes,
				    upstream_unsent(x));
		if (n == -EAGAIN)
			break;
		moved = true;
		if (n < 0) {
			sending_failed(x, n);
			break;
		}
		if (!x->up->connected)
			connection_is_up(x);
		sent(x, (size_t)n);
	}
	return moved;
}

/* ---- failing ---- */

/* RFC 9110 section 9.2.2, and never once bytes of an answer were seen. */
static bool may_send_again(const struct exchange *x)
{
	bool answer_begun = x->answered || fifo_len(&x->up->in) > 0;

	return !answer_begun && x->replayable && (x->sent_bytes == 0 || x->is_idempotent);
}

void upstream_failed(struct exchange *x, enum exchange_end end)
{
	struct endpoint_addr addr = x->up->endpoint->addr;
	bool again = may_send_again(x);
	bool was_reused = x->up->reused;

	attempt_end(x, exchange_end_status(end));
	x->up = upconn_close(x->up);
	if (!again) {
		exchange_fail(x, end);
		return;
	}
	count_add(&x->worker->stats.retries, 1);
	/* A kept connection that turned out dead says nothing about the endpoint. */
	if (was_reused && connection_attach(x, &addr, true) == 0)
		return;
	connect_next(x, end);
}

void upstream_leave(struct exchange *x, bool complete)
{
	const struct ingress_settings *settings = exchange_settings(x);
	struct upconn *up = x->up;
	bool reusable = complete && x->up_keep_alive && !up->broken && !up->transport.at_eof &&
			x->request_state == REQUEST_DONE && upstream_unsent(x) == 0 &&
			fifo_len(&up->in) == 0 && !x->worker->draining;

	attempt_end(x, x->status);
	x->up = NULL;
	fifo_done(&x->to_upstream, &x->worker->blocks);
	x->sent_bytes = 0;
	if (reusable)
		upconn_release(up, settings->upstream_idle_per_endpoint_max,
			       settings->upstream_idle_timeout_s);
	else
		(void)upconn_close(up);
}
