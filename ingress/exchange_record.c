/* What is remembered of an exchange: its counters and its line in the access log. */
#include "ingress/exchange_parts.h"

static struct access_record record_make(const struct exchange *x)
{
	const struct route *route = x->plan.route;
	struct access_record record = {
	    .remote = x->remote,
	    .user = str_of(x->user),
	    .request_line = exchange_str(x, x->request_line),
	    .method = exchange_str(x, x->method),
	    .host = exchange_str(x, x->host),
	    .target = exchange_str(x, x->target),
	    .referer = exchange_str(x, x->referer),
	    .user_agent = exchange_str(x, x->user_agent),
	    .request_id = exchange_request_id(x),
	    .end = exchange_end_name(x->end),
	    .https = x->client->https,
	    .status = x->status,
	    .request_bytes = x->request_bytes,
	    .request_s = x->worker->now_s - x->begun_s,
	    .attempts = x->attempts,
	    .attempt_count = x->attempt_count,
	};

	if (x->written_bytes > x->answer_head_bytes)
		record.body_bytes_sent = x->written_bytes - x->answer_head_bytes;
	if (route) {
		record.upstream_name = STR_LIT("upstream-default-backend"); /* ingress-nginx's name of it */
		record.ns = str_of(route->ns);
		record.ingress = str_of(route->ingress);
		record.service = str_of(route->service);
	}
	if (x->plan.upstream)
		record.upstream_name = str_of(x->plan.upstream->name);
	return record;
}

void record_exchange(struct exchange *x)
{
	struct worker *worker = x->worker;
	struct access_record record;

	if (x->status == 0)
		x->status = exchange_end_status(x->end);
	count_add(&worker->stats.ends[x->end], 1);
	count_add(&worker->stats.requests_ended, 1);
	if (x->plan.route)
		stats_request(&worker->stats, &x->generation->stats_cache, x->plan.host, x->plan.route,
			      exchange_str(x, x->method), x->status, worker->now_s - x->begun_s);
	if (!worker->access)
		return;
	record = record_make(x);
	access_writer_line(worker->access, &record);
}
