/* The life of an exchange: made, moved on, ended; and what its connections have to wait for meanwhile. */
#include "ingress/exchange.h"

#include <stdlib.h>

#include "ingress/exchange_parts.h"

#define SPARES_MAX    256
#define RUN_BYTES_MAX ((size_t)512 * 1024) /* read in one go before others have their turn */

/* A body that comes more slowly than this is an attack, or a line that will never bring it (RFC 9110 15.5.9). */
#define BODY_GRACE_S     10
#define BODY_BYTES_PER_S 500

struct exchange *exchange_new(struct downstream *client)
{
	struct worker *worker = client->worker;
	struct exchange *x = worker->spare_exchanges;

	if (x) {
		worker->spare_exchanges = x->next_spare;
		worker->spare_exchange_count--;
	} else {
		x = malloc(sizeof(*x));
	}
	if (!x)
		return NULL;
	*x = (struct exchange){
	    .worker = worker, .client = client, .begun_s = worker->now_s, .replayable = true};
	x->generation = generation_hold(worker);
	x->remote = client->peer;
	http1_init(&x->request, HTTP1_REQUEST, &x->generation->limits);
	count_add(&worker->stats.requests_begun, 1);
	return x;
}

static void exchange_free(struct exchange *x)
{
	struct worker *worker = x->worker;

	free(x->user);
	relay_done(&x->upload);
	relay_done(&x->download);
	fifo_done(&x->to_upstream, &worker->blocks);
	block_give(&worker->blocks, x->head_block);
	generation_release(x->generation);
	if (worker->spare_exchange_count >= SPARES_MAX) {
		free(x);
		return;
	}
	x->next_spare = worker->spare_exchanges;
	worker->spare_exchanges = x;
	worker->spare_exchange_count++;
}

void exchange_free_spares(struct worker *worker)
{
	for (struct exchange *x = worker->spare_exchanges, *next; x; x = next) {
		next = x->next_spare;
		free(x);
	}
	worker->spare_exchanges = NULL;
	worker->spare_exchange_count = 0;
}

/* ---- moving on ---- */

static bool is_complete(const struct exchange *x)
{
	return x->response_state == RESPONSE_SENT && x->request_state == REQUEST_DONE &&
	       fifo_len(&x->client->out) == 0;
}

static bool tunnel_is_complete(const struct exchange *x)
{
	return x->upload_ended && x->download_ended && fifo_len(&x->client->out) == 0;
}

enum exchange_step exchange_run(struct exchange *x)
{
	size_t upload_budget = RUN_BYTES_MAX, download_budget = RUN_BYTES_MAX;
	bool moved;

	do {
		moved = !x->over && request_step(x, &upload_budget);
		moved |= !x->over && response_step(x, &download_budget);
		x->over |= x->tunnel ? tunnel_is_complete(x) : is_complete(x);
	} while (moved && !x->over && upload_budget > 0 && download_budget > 0);
	if (x->over)
		return EXCHANGE_OVER;
	return upload_budget == 0 || download_budget == 0 ? EXCHANGE_YIELDS : EXCHANGE_WAITS;
}

/* ---- ending ---- */

static enum downstream_next what_is_next(const struct exchange *x)
{
	const struct downstream *client = x->client;
	bool more_may_come = x->unread || fifo_len(&client->in) > 0 || client->transport.readable;

	if (x->cut)
		return x->download.sink == HTTP_BODY_UNTIL_CLOSE && !x->tunnel ? DOWNSTREAM_NEXT_ABORT
									       : DOWNSTREAM_NEXT_CLOSE;
	if (x->keep_alive)
		return DOWNSTREAM_NEXT_REQUEST;
	return more_may_come && !client->transport.at_eof ? DOWNSTREAM_NEXT_LINGER : DOWNSTREAM_NEXT_CLOSE;
}

enum downstream_next exchange_finish(struct exchange *x)
{
	enum downstream_next next = what_is_next(x);

	if (x->auth_query)
		auth_cancel(x->worker->auth, x->auth_query);
	if (x->up)
		upstream_leave(x, false);
	record_exchange(x);
	exchange_free(x);
	return next;
}

/* An endpoint's answer of which no byte has left yet can still be taken back for one that tells the truth. */
static void answer_take_back(struct exchange *x)
{
	if (x->response_state != RESPONSE_BODY || x->written_bytes > 0 || x->tunnel)
		return;
	fifo_done(&x->client->out, &x->worker->blocks);
	x->answer_head_bytes = 0;
	x->answered = false;
}

void exchange_fail(struct exchange *x, enum exchange_end end)
{
	if (x->over)
		return;
	answer_take_back(x);
	if (!x->answered && !x->tunnel && end != EXCHANGE_CLIENT_CLOSED) {
		answer_end(x, end);
		return;
	}
	x->end = end;
	x->over = x->cut = true;
}

void exchange_upstream_expired(struct exchange *x)
{
	if (x->up->connected)
		exchange_fail(x, EXCHANGE_UPSTREAM_TIMEOUT);
	else
		upstream_failed(x, EXCHANGE_UPSTREAM_TIMEOUT);
}

/* ---- waiting ---- */

static bool upload_has_room(const struct exchange *x)
{
	return relay_has_room(&x->upload, &x->to_upstream) && !x->up->broken;
}

static bool download_has_room(const struct exchange *x)
{
	return x->response_state != RESPONSE_BODY || relay_has_room(&x->download, &x->client->out);
}

struct levels exchange_client_levels(const struct exchange *x)
{
	struct levels levels = {.wants_bytes = true, .has_output = fifo_len(&x->client->out) > 0};

	switch (x->request_state) {
	case REQUEST_HEAD:
	case REQUEST_DISCARD:
		levels.has_room = true;
		break;
	case REQUEST_BODY:
		levels.has_room = upload_has_room(x);
		break;
	case REQUEST_WAIT:
	case REQUEST_DONE: /* a pipeline is read ahead a little; mainly, we notice it when the client leaves */
		levels.has_room = fifo_len(&x->client->in) < BLOCK_SMALL;
		break;
	}
	return levels;
}

static double min_due(double a, double b)
{
	return a < b ? a : b;
}

/* When the body will be too slow, if nothing more comes. Not once an answer began: the two may be a dialogue. */
static double body_due_s(const struct exchange *x)
{
	double idle_due = x->client->active_s + exchange_settings(x)->body_idle_timeout_s;
	double came = (double)(x->upload.moved_bytes - x->pace_bytes);

	if (x->answered)
		return idle_due;
	return min_due(idle_due, x->pace_since_s + BODY_GRACE_S + came / BODY_BYTES_PER_S);
}

double exchange_client_due_s(const struct exchange *x)
{
	const struct ingress_settings *settings = exchange_settings(x);

	if (x->request_state == REQUEST_HEAD)
		return x->begun_s + settings->head_timeout_s;
	if (x->tunnel)
		return 0; /* exchange_watch_upstream judges both directions */
	if (fifo_len(&x->client->out) > 0)
		return x->client->active_s + settings->body_idle_timeout_s;
	if (x->request_state == REQUEST_DISCARD || (x->request_state == REQUEST_BODY && upload_has_room(x)))
		return body_due_s(x);
	return 0;
}

static struct levels upstream_levels(const struct exchange *x)
{
	return (struct levels){
	    .wants_bytes = true,
	    .has_room = download_has_room(x),
	    .has_output = upstream_unsent(x) > 0 && !x->up->broken,
	    .connecting = !x->up->connected,
	};
}

static double upstream_due_s(const struct exchange *x)
{
	const struct route *route = x->plan.route;
	double active_s = x->up->active_s;

	if (!x->up->connected)
		return x->attempt_begun_s + route->connect_timeout_s;
	if (x->tunnel)
		return (active_s > x->client->active_s ? active_s : x->client->active_s) +
		       route->read_timeout_s;
	if (upstream_unsent(x) > 0 && !x->up->broken)
		return active_s + route->send_timeout_s;
	if (x->request_state == REQUEST_DONE && download_has_room(x))
		return active_s + route->read_timeout_s;
	return 0; /* it is the client's turn */
}

void exchange_watch_upstream(struct exchange *x, int events)
{
	double due_s;

	if (!x->up)
		return;
	due_s = upstream_due_s(x);
	transport_watch(&x->up->transport, x->worker->loop, upstream_levels(x), events);
	if (due_s > 0)
		worker_deadline(x->worker, &x->up->deadline, due_s);
	else
		deadline_clear(&x->up->deadline);
}
