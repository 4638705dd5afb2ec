/* The response half: the endpoint's answer on its way to the client. */
#include <errno.h>

#include "ingress/exchange_parts.h"

#define INTERIM_MAX 16 /* 1xx answers before the one that counts */

static ssize_t upstream_read(struct exchange *x)
{
	struct upconn *up = x->up;
	char *tail = fifo_reserve(&up->in, &x->worker->blocks, up->in.block ? 1 : BLOCK_MEDIUM);
	ssize_t n;

	if (!tail)
		return -ENOMEM;
	n = transport_read(&up->transport, tail, fifo_room(&up->in));
	if (n > 0) {
		fifo_commit(&up->in, (size_t)n);
		up->active_s = x->worker->now_s;
	} else {
		fifo_settle(&up->in, &x->worker->blocks);
	}
	return n;
}

/* ---- heads ---- */

static struct text output_begin(struct exchange *x, size_t size)
{
	char *tail = fifo_reserve(&x->client->out, &x->worker->blocks, size);

	return (struct text){.p = tail, .end = tail ? tail + size : NULL, .overflow = !tail};
}

/* 0, or -ENOMEM when the text did not fit or there was no room to begin with. */
static int output_end(struct exchange *x, const struct text *text)
{
	struct fifo *out = &x->client->out;
	size_t len;

	if (text->overflow)
		return -ENOMEM;
	len = (size_t)(text->p - (out->block->data + out->tail));
	fifo_commit(out, len);
	x->answer_head_bytes += len;
	return 0;
}

static int interim_forward(struct exchange *x, const struct http_head *head, size_t head_len)
{
	struct text text = output_begin(x, head_len + 2 * (size_t)head->field_count + 256);

	if (!text.overflow)
		forward_interim(&text, head);
	return output_end(x, &text);
}

/* Both connections carry bytes nobody here understands from now on. */
static void tunnel_begin(struct exchange *x)
{
	x->tunnel = true;
	x->answered = true;
	x->keep_alive = false;
	x->status = 101;
	x->head_block = block_trim(&x->worker->blocks, x->head_block, x->head_end); /* it may be for days */
	upstream_forget_sent(x);
	relay_begin_raw(&x->upload);
	relay_begin_raw(&x->download);
	x->request_state = REQUEST_BODY;
	x->response_state = RESPONSE_BODY;
}

static void interim_head(struct exchange *x, const struct http_head *head, size_t head_len)
{
	bool switches = head->status == 101;
	bool wanted = switches || (head->status != 100 && !x->client_is_http10); /* we said 100 ourselves */

	if (++x->interim_count > INTERIM_MAX || (switches && !(x->wants_upgrade && head->upgrade))) {
		exchange_fail(x, EXCHANGE_UPSTREAM_BAD);
		return;
	}
	if (wanted && interim_forward(x, head, head_len) != 0) {
		exchange_fail(x, EXCHANGE_NO_MEMORY);
		return;
	}
	fifo_consume(&x->up->in, &x->worker->blocks, head_len);
	http1_init(&x->response, HTTP1_RESPONSE, NULL);
	http1_expect_response_to(&x->response, exchange_str(x, x->method));
	if (switches)
		tunnel_begin(x);
}

static int final_forward(struct exchange *x, const struct http_head *head, size_t head_len,
			 const struct forward_response *how)
{
	size_t size = forward_response_bytes_max(head, head_len, how);
	struct text text;

	if (head->framing != HTTP_BODY_NONE && size < BLOCK_MEDIUM)
		size = BLOCK_MEDIUM; /* head and body in one write */
	text = output_begin(x, size);
	if (!text.overflow)
		forward_response(&text, head, how);
	return output_end(x, &text);
}

static void final_head(struct exchange *x, const struct http_head *head, size_t head_len)
{
	struct forward_response how = {
	    .framing = forward_response_framing(head, x->client_is_http10),
	    .client_is_http10 = x->client_is_http10,
	    .was_head = x->is_head_request,
	    .hsts = exchange_hsts(x),
	    .date = worker_date(x->worker),
	};

	/* A request still on its way may be one the endpoint will not read to its end. */
	if (x->request_state != REQUEST_DONE || how.framing == HTTP_BODY_UNTIL_CLOSE || x->worker->draining)
		x->keep_alive = false;
	how.keep_alive = x->keep_alive;
	if (final_forward(x, head, head_len, &how) != 0) {
		exchange_fail(x, EXCHANGE_NO_MEMORY);
		return;
	}
	x->status = head->status;
	x->answered = true;
	x->up_keep_alive = head->keep_alive;
	upstream_forget_sent(x);
	relay_begin(&x->download, &x->response, head, how.framing);
	x->response_state = RESPONSE_BODY;
	fifo_consume(&x->up->in, &x->worker->blocks, head_len);
}

static bool head_step(struct exchange *x)
{
	struct upconn *up = x->up;
	const struct http_head *head = &x->worker->head;
	ssize_t n;

	for (;;) {
		n = fifo_len(&up->in) == 0
			? 0
			: http1_head(&x->response, fifo_data(&up->in), fifo_len(&up->in), &x->worker->head);
		if (n > 0 && head->status < 200)
			interim_head(x, head, (size_t)n);
		else if (n > 0)
			final_head(x, head, (size_t)n);
		else if (n < 0)
			exchange_fail(x, EXCHANGE_UPSTREAM_BAD);
		if (n != 0)
			return true;
		if (!up->connected || (!up->transport.readable && !up->transport.at_eof))
			return false;
		n = up->transport.at_eof ? 0 : upstream_read(x);
		if (n == -EAGAIN)
			return false;
		if (n <= 0)
			break;
	}
	upstream_failed(x, EXCHANGE_UPSTREAM_RESET);
	return true;
}

/* ---- the body ---- */

static void download_done(struct exchange *x)
{
	if (x->tunnel) {
		if (fifo_len(&x->client->out) == 0 && !x->download_ended) {
			transport_end_writing(&x->client->transport);
			x->download_ended = true;
		}
		return;
	}
	x->response_state = RESPONSE_SENT;
	upstream_leave(x, true);
	request_give_up(x); /* what the endpoint did not wait for */
}

static bool download_result(struct exchange *x, enum relay_result result, bool moved)
{
	switch (result) {
	case RELAY_WAITS:
	case RELAY_YIELDS:
	case RELAY_FULL:
		return moved;
	case RELAY_DONE:
		download_done(x);
		return moved;
	case RELAY_CUT:
		exchange_fail(x, EXCHANGE_UPSTREAM_RESET);
		return true;
	case RELAY_BAD:
	case RELAY_TOO_LARGE:
		exchange_fail(x, EXCHANGE_UPSTREAM_BAD);
		return true;
	case RELAY_NO_MEMORY:
		exchange_fail(x, EXCHANGE_NO_MEMORY);
		return true;
	}
	return false;
}

static bool body_step(struct exchange *x, size_t *budget)
{
	struct upconn *up = x->up;
	const struct relay_ends ends = {&up->transport, &up->in, &x->client->out, &x->worker->blocks};
	uint64_t before = x->download.moved_bytes;
	enum relay_result result = relay_run(&x->download, &ends, budget);
	bool moved = x->download.moved_bytes != before;

	if (moved)
		up->active_s = x->worker->now_s;
	return download_result(x, result, moved);
}

/* ---- sending ---- */

bool client_flush(struct exchange *x)
{
	struct downstream *client = x->client;
	bool moved = false;
	ssize_t n;

	while (fifo_len(&client->out) > 0 && client->transport.writable) {
		n = transport_write(&client->transport, fifo_data(&client->out), fifo_len(&client->out));
		if (n == -EAGAIN)
			break;
		moved = true;
		if (n < 0) {
			exchange_fail(x, EXCHANGE_CLIENT_CLOSED);
			x->over = x->cut = true; /* nothing can be told to it any more */
			break;
		}
		client->active_s = x->worker->now_s;
		x->written_bytes += (uint64_t)n;
		fifo_consume(&client->out, &x->worker->blocks, (size_t)n);
	}
	return moved;
}

/* Head and body go on together: what is ready when the head is, leaves with it. */
bool response_step(struct exchange *x, size_t *budget)
{
	bool moved = false;

	if (x->response_state == RESPONSE_HEAD)
		moved = head_step(x);
	if (x->response_state == RESPONSE_BODY && !x->over)
		moved |= body_step(x, budget);
	return (!x->over && client_flush(x)) || moved;
}
