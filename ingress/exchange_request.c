/* The request half: head, plan, password, and the body on its way to the endpoint. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/exchange_parts.h"

/* ---- reading from the client ---- */

/* Reads what is there into `in`. Returns bytes, 0 at the end, -EAGAIN, or another -errno. */
static ssize_t client_read(struct exchange *x)
{
	struct downstream *client = x->client;
	struct fifo *in = &client->in;
	char *tail = fifo_reserve(in, &x->worker->blocks, in->block ? 1 : BLOCK_SMALL);
	ssize_t n;

	if (!tail)
		return -ENOMEM;
	n = transport_read(&client->transport, tail, fifo_room(in));
	if (n > 0) {
		fifo_commit(in, (size_t)n);
		client->active_s = x->worker->now_s;
	} else {
		fifo_settle(in, &x->worker->blocks);
	}
	return n;
}

/* While nothing is expected of the client: notices it leave, and reads a pipeline ahead by a block at most. The
 * end of its direction is no departure: it may have half closed and wait for the answer. */
static void client_peek(struct exchange *x)
{
	struct downstream *client = x->client;
	ssize_t n;

	if (!client->transport.readable || client->transport.at_eof || fifo_len(&client->in) >= BLOCK_SMALL)
		return;
	n = client_read(x);
	if (n < 0 && n != -EAGAIN)
		exchange_fail(x, EXCHANGE_CLIENT_CLOSED);
}

/* ---- the head ---- */

/* The block that holds the head goes to the exchange, so that its slices stay good; what follows the head stays
 * with the connection. */
static int head_detach(struct exchange *x, size_t head_len)
{
	struct fifo *in = &x->client->in;
	struct str rest = {fifo_data(in) + head_len, fifo_len(in) - head_len};
	struct fifo left = {0};

	if (fifo_append(&left, &x->worker->blocks, rest) != 0)
		return -ENOMEM;
	x->head_block = in->block;
	x->head_end = in->head + (uint32_t)head_len;
	*in = left;
	return 0;
}

static struct span span_of(const struct exchange *x, struct str text)
{
	if (text.len == 0)
		return (struct span){0};
	return (struct span){(uint32_t)(text.p - x->head_block->data), (uint32_t)text.len};
}

static struct str field_value(const struct http_head *head, enum http_name id)
{
	const struct http_field *field = http_head_find(head, id);

	return field ? field->value : (struct str){0};
}

static bool method_is_idempotent(struct str method)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (str_is(method, methods[i]))
			return true;
	return false;
}

static void request_id_decide(struct exchange *x, const struct http_head *head)
{
	struct str client_id = forward_request_id(head);

	x->has_own_id = client_id.len == 0;
	if (!x->has_own_id) {
		x->client_id = span_of(x, client_id);
		return;
	}
	for (size_t i = 0; i < sizeof(x->own_id); i += 16) {
		uint64_t random = worker_random(x->worker);

		for (size_t digit = 0; digit < 16; digit++, random >>= 4)
			x->own_id[i + digit] = "0123456789abcdef"[random & 15];
	}
}

static void head_remember(struct exchange *x, const struct http_head *head)
{
	const char *line_end = head->target.p + head->target.len + sizeof(" HTTP/1.1") - 1;

	x->request_line = span_of(x, (struct str){head->method.p, (size_t)(line_end - head->method.p)});
	x->method = span_of(x, head->method);
	x->target = span_of(x, head->target);
	x->host = span_of(x, head->host);
	x->referer = span_of(x, field_value(head, HTTP_NAME_REFERER));
	x->user_agent = span_of(x, field_value(head, HTTP_NAME_USER_AGENT));
	x->client_is_http10 = head->version_minor == 0;
	x->is_head_request = str_equal(head->method, STR_LIT("HEAD"));
	x->is_idempotent = method_is_idempotent(head->method);
	x->expects_continue = head->expect_continue;
	request_id_decide(x, head);
}

static bool connection_may_go_on(const struct exchange *x, const struct http_head *head)
{
	uint32_t max = exchange_settings(x)->requests_per_connection_max;

	return head->keep_alive && !x->worker->draining && (max == 0 || x->client->request_count < max);
}

static int head_forward(struct exchange *x, const struct http_head *head,
			const struct forward_identity *identity)
{
	struct forward_request how = {
	    .identity = *identity,
	    .request_id = exchange_request_id(x),
	    .trust = exchange_settings(x)->trust_forwarded,
	    .upgrade = x->wants_upgrade,
	    .drop_authorization = x->plan.needs_password,
	};
	size_t size = forward_request_bytes_max(head, (size_t)x->request_bytes, &how);
	struct text text;

	if (head->framing != HTTP_BODY_NONE && size < BLOCK_MEDIUM)
		size = BLOCK_MEDIUM; /* head and body in one write */
	text.p = fifo_reserve(&x->to_upstream, &x->worker->blocks, size);
	if (!text.p)
		return -ENOMEM;
	text.end = text.p + size;
	text.overflow = false;
	forward_request(&text, head, &how);
	fifo_commit(&x->to_upstream, (size_t)(text.p - x->to_upstream.block->data));
	return text.overflow ? -ENOMEM : 0;
}

static int plan_make(struct exchange *x, const struct http_head *head,
		     const struct forward_identity *identity)
{
	struct block *scratch = block_take(&x->worker->blocks, head->path.len + 1);

	if (!scratch)
		return -ENOMEM;
	x->plan = plan_request(head, identity, x->generation->snapshot, scratch->data);
	block_give(&x->worker->blocks, scratch);
	return 0;
}

/* ---- what the plan says ---- */

static void plan_execute(struct exchange *x, const struct http_head *head)
{
	switch (x->plan.action) {
	case PLAN_FORWARD:
		upstream_begin(x);
		return;
	case PLAN_ANSWER:
		answer_end(x, x->plan.end);
		return;
	case PLAN_REDIRECT:
		answer_redirect(x, head);
		return;
	case PLAN_HEALTHY:
		answer_healthy(x);
		return;
	}
}

static void password_judged(struct exchange *x, enum auth_verdict verdict)
{
	switch (verdict) {
	case AUTH_GRANTED:
		plan_execute(x, NULL); /* no redirect comes after a password */
		return;
	case AUTH_DENIED:
		answer_end(x, EXCHANGE_UNAUTHORIZED);
		return;
	case AUTH_BUSY:
		answer_end(x, EXCHANGE_AUTH_BUSY);
		return;
	case AUTH_PENDING:
		return;
	}
}

static void on_password(void *ctx, enum auth_verdict verdict)
{
	struct exchange *x = ctx;

	x->auth_query = NULL;
	password_judged(x, verdict);
	downstream_run(x->client, 0, 0);
}

static enum auth_verdict password_check(struct exchange *x, const struct http_head *head)
{
	struct auth_credentials credentials;
	enum auth_verdict verdict;

	assert(x->plan.route);
	if (auth_credentials_parse(field_value(head, HTTP_NAME_AUTHORIZATION), &credentials) != 0)
		return AUTH_DENIED;
	x->user = str_dup((struct str){credentials.text, credentials.user_len});
	verdict =
	    auth_check(x->worker->auth, x->plan.route->auth, &credentials, on_password, x, &x->auth_query);
	explicit_bzero(&credentials, sizeof(credentials));
	return verdict;
}

static struct forward_origin request_origin(const struct exchange *x, const struct http_head *head)
{
	const struct downstream *client = x->client;
	struct forward_origin origin = {
	    .peer = client->peer, .https = client->https, .trust = exchange_settings(x)->trust_forwarded};

	if (head->host.len == 0)
		transport_local_addr(&client->transport, &origin.local);
	origin.local.port = client->port;
	return origin;
}

/* A complete head: decide, and begin. */
static void head_complete(struct exchange *x, const struct http_head *head, size_t head_len)
{
	struct forward_origin origin = request_origin(x, head);
	struct forward_identity identity = forward_identify(head, &origin);

	x->request_bytes = head_len;
	x->remote = identity.client;
	if (head_detach(x, head_len) != 0) {
		answer_refusal(x, 503, NULL);
		return;
	}
	head_remember(x, head);
	x->keep_alive = connection_may_go_on(x, head);
	x->wants_upgrade = forward_upgrade_allowed(head);
	relay_begin(&x->upload, &x->request, head, head->framing);
	x->request_state = http1_done(&x->request) ? REQUEST_DONE : REQUEST_WAIT;
	if (plan_make(x, head, &identity) != 0 ||
	    (x->plan.action == PLAN_FORWARD && head_forward(x, head, &identity) != 0)) {
		answer_end(x, EXCHANGE_NO_MEMORY);
		return;
	}
	if (x->plan.route)
		x->upload.max_bytes = x->plan.route->body_max_bytes;
	if (x->plan.needs_password)
		password_judged(x, password_check(x, head));
	else
		plan_execute(x, head);
}

/* The bytes stay for the log. */
static void head_refused(struct exchange *x)
{
	struct fifo *in = &x->client->in;
	struct str line;

	(void)str_cut((struct str){fifo_data(in), fifo_len(in)}, '\n', &line);
	x->request_bytes = fifo_len(in);
	x->head_block = in->block;
	x->request_line = span_of(x, str_trim(line));
	*in = (struct fifo){0};
	answer_refusal(x, x->request.error_status, x->request.error_reason);
}

static bool head_step(struct exchange *x)
{
	struct downstream *client = x->client;
	ssize_t n;

	for (;;) {
		n = http1_head(&x->request, fifo_data(&client->in), fifo_len(&client->in), &x->worker->head);
		if (n > 0)
			head_complete(x, &x->worker->head, (size_t)n);
		else if (n < 0)
			head_refused(x);
		if (n != 0)
			return true;
		if (client->transport.at_eof)
			break;
		if (!client->transport.readable)
			return false;
		n = client_read(x);
		if (n == -EAGAIN)
			return false;
		if (n <= 0)
			break;
	}
	exchange_fail(x, EXCHANGE_CLIENT_CLOSED);
	return true;
}

/* ---- the body ---- */

/* The client waits for a word before it sends the body (RFC 9110 section 10.1.1). An endpoint is there to take
 * it, so we say it ourselves; the endpoint is not asked. */
static void tell_to_continue(struct exchange *x)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (!x->expects_continue)
		return;
	x->expects_continue = false;
	if (fifo_len(&x->client->in) > 0 || x->answered)
		return; /* it did not wait */
	if (fifo_append(&x->client->out, &x->worker->blocks, (struct str){interim, sizeof(interim) - 1}) !=
	    0) {
		x->end = EXCHANGE_NO_MEMORY;
		x->over = x->cut = true;
		return;
	}
	x->answer_head_bytes += sizeof(interim) - 1;
}

static void pace_restart(struct exchange *x)
{
	x->pace_since_s = x->worker->now_s;
	x->pace_bytes = x->upload.moved_bytes;
}

void request_body_begin(struct exchange *x)
{
	if (x->request_state != REQUEST_WAIT)
		return;
	x->request_state = REQUEST_BODY;
	pace_restart(x);
}

void request_give_up(struct exchange *x)
{
	if (x->request_state == REQUEST_DONE)
		return;
	x->request_state = REQUEST_DONE;
	x->unread = true;
	x->keep_alive = false;
}

/* The sink holds nothing but what was sent already: a replay is given up for the room. */
static bool room_by_forgetting(struct exchange *x)
{
	if (x->sent_bytes == 0 || upstream_unsent(x) > 0)
		return false;
	upstream_forget_sent(x);
	return true;
}

static void upload_done(struct exchange *x)
{
	if (x->tunnel) {
		if (upstream_unsent(x) == 0 && !x->upload_ended) {
			transport_end_writing(&x->up->transport);
			x->upload_ended = true;
		}
		return;
	}
	x->request_state = REQUEST_DONE;
}

static bool upload_result(struct exchange *x, enum relay_result result, bool moved)
{
	switch (result) {
	case RELAY_WAITS:
	case RELAY_YIELDS:
		return moved;
	case RELAY_FULL:
		pace_restart(x);
		return room_by_forgetting(x) || moved;
	case RELAY_DONE:
		upload_done(x);
		return moved;
	case RELAY_CUT:
		exchange_fail(x, EXCHANGE_CLIENT_CLOSED);
		return true;
	case RELAY_BAD:
		exchange_fail(x, EXCHANGE_BAD_REQUEST);
		return true;
	case RELAY_TOO_LARGE:
		exchange_fail(x, EXCHANGE_BODY_TOO_LARGE);
		return true;
	case RELAY_NO_MEMORY:
		exchange_fail(x, EXCHANGE_NO_MEMORY);
		return true;
	}
	return false;
}

static bool body_step(struct exchange *x, size_t *budget)
{
	struct downstream *client = x->client;
	const struct relay_ends ends = {&client->transport, &client->in, &x->to_upstream, &x->worker->blocks};
	uint64_t before = x->upload.moved_bytes;
	enum relay_result result;
	bool moved;

	tell_to_continue(x);
	if (x->over)
		return true;
	result = relay_run(&x->upload, &ends, budget);
	moved = x->upload.moved_bytes != before;
	if (moved)
		client->active_s = x->worker->now_s;
	x->request_bytes += x->upload.moved_bytes - before;
	return upload_result(x, result, moved);
}

bool request_step(struct exchange *x, size_t *budget)
{
	bool moved = false;

	switch (x->request_state) {
	case REQUEST_HEAD:
		return head_step(x);
	case REQUEST_WAIT:
	case REQUEST_DONE:
		client_peek(x);
		break;
	case REQUEST_BODY:
		if (!x->up->broken)
			moved = body_step(x, budget);
		break;
	case REQUEST_DISCARD:
		return body_step(x, budget);
	}
	return (!x->over && upstream_flush(x)) || moved;
}
