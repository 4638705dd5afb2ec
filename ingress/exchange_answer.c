/* Answers made here instead of by an endpoint. */
#include "ingress/exchange_parts.h"
#include "ingress/page.h"

#define DISCARD_BYTES_MAX 65536 /* a longer rest of a body is not worth keeping the connection for */

/* The rest of the request is read and dropped where that is cheap; else the connection ends. */
static void rest_of_request(struct exchange *x)
{
	bool is_cheap = x->upload.source == HTTP_BODY_LENGTH && x->upload.left_bytes <= DISCARD_BYTES_MAX &&
			!x->expects_continue && x->keep_alive;

	if (x->request_state == REQUEST_DONE)
		return;
	if (x->request_state == REQUEST_HEAD || !is_cheap) {
		request_give_up(x);
		return;
	}
	request_body_begin(x);
	x->request_state = REQUEST_DISCARD;
	x->upload.discard = true;
	x->upload.max_bytes = 0;
}

static void request_abandon(struct exchange *x)
{
	if (x->auth_query) {
		auth_cancel(x->worker->auth, x->auth_query);
		x->auth_query = NULL;
	}
	if (x->up)
		upstream_leave(x, false);
	rest_of_request(x);
}

static void page_send(struct exchange *x, const struct page *page)
{
	struct fifo *out = &x->client->out;
	size_t size = page_bytes_max(page), len, body_len;
	char *begin = fifo_reserve(out, &x->worker->blocks, size);
	struct text text;

	if (!begin) {
		x->end = EXCHANGE_NO_MEMORY;
		x->over = x->cut = true;
		return;
	}
	text = (struct text){.p = begin, .end = begin + size};
	body_len = page_write(&text, page);
	len = (size_t)(text.p - begin);
	x->answer_head_bytes += len - body_len;
	fifo_commit(out, len);
}

static void answer(struct exchange *x, enum exchange_end end, struct page page)
{
	x->end = end;
	x->status = page.status;
	request_abandon(x);
	if (x->worker->draining)
		x->keep_alive = false;
	page.hsts = exchange_hsts(x);
	page.date = worker_date(x->worker);
	page.keep_alive = x->keep_alive;
	page.client_is_http10 = x->client_is_http10;
	page.is_head = x->is_head_request;
	x->answered = true;
	x->response_state = RESPONSE_SENT;
	page_send(x, &page);
}

void answer_end(struct exchange *x, enum exchange_end end)
{
	struct page page = {.status = exchange_end_status(end)};

	if (end == EXCHANGE_UNAUTHORIZED && x->plan.route->auth_realm)
		page.realm = str_of(x->plan.route->auth_realm);
	if (end == EXCHANGE_METHOD_NOT_ALLOWED)
		page.allow = STR_LIT("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
	answer(x, end, page);
}

void answer_refusal(struct exchange *x, unsigned status, const char *reason)
{
	x->keep_alive = false;
	answer(x, status == 503 ? EXCHANGE_NO_MEMORY : EXCHANGE_BAD_REQUEST,
	       (struct page){.status = status, .detail = str_of(reason)});
}

void answer_redirect(struct exchange *x, const struct http_head *head)
{
	answer(x, EXCHANGE_REDIRECTED, (struct page){.status = 308, .redirect = plan_redirect(head)});
}

void answer_healthy(struct exchange *x)
{
	answer(x, EXCHANGE_OK, (struct page){.status = 200, .plain = true});
}
