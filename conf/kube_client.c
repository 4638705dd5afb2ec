/* Requests to one API server: a queue of requests, a set of lanes (connections) that carry them. */
#include "conf/kube_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/http1.h"
#include "conf/kube_auth.h"
#include "conf/kube_conn.h"
#include "conf/kube_probe.h"
#include "conf/kube_secret.h"
#include "conf/kube_tls.h"
#include "conf/node.h"

#define REFUSAL_MAX_BYTES (16u << 10) /* of the body of an answer other than 2xx: it holds a Status */

struct lane;

struct kube_request {
	TAILQ_ENTRY(kube_request) entry; /* in the queue, while lane is NULL */
	struct kube_client *client;
	struct lane *lane;
	uint64_t number; /* of the request, ascending */
	char *method, *path, *content_type;
	struct buf body;
	bool watch, patient;
	const struct kube_request_ops *ops;
	void *ctx;
	bool reauthorized; /* sent again after a 401 */
	bool resent;       /* sent again because the kept connection was closed */
	uint64_t auth_generation;
	unsigned status;
	double retry_after_s;
	struct buf refusal;
};

/* A connection of ours and the request it carries, if any. */
struct lane {
	TAILQ_ENTRY(lane) entry;
	struct kube_client *client;
	struct kube_conn *conn;
	struct kube_request *request;
	bool ready, used; /* connected; has carried a whole answer */
	uint64_t tls_generation;
};

TAILQ_HEAD(request_list, kube_request);
TAILQ_HEAD(lane_list, lane);

struct kube_client {
	struct ev_loop *loop;
	const struct kube_config *config;
	const struct kube_timing *timing;
	struct metrics *metrics;
	struct dns *dns;
	struct kube_tls *tls; /* NULL: plain */
	struct kube_auth *auth;
	struct kube_probe *probe;
	void (*on_back)(void *ctx);
	void *on_back_ctx;
	struct request_list queue;
	struct lane_list lanes; /* those used last come first */
	unsigned short_count;   /* lanes that carry a short request */
	uint64_t last_number;
	struct ip good_ip; /* that answered last */
	ev_timer dispatch; /* never started: fed when there may be something to do */
};

DEFINE_CLEANUP(struct kube_client *, kube_client_free)

/* ---- small things ---- */

static void want_dispatch(struct kube_client *client)
{
	ev_feed_event(client->loop, &client->dispatch, EV_CUSTOM);
}

static void count_answer(struct kube_client *client, unsigned status)
{
	char labels[32] = "code=\"error\"";

	if (!client->metrics)
		return;
	if (status > 0)
		snprintf(labels, sizeof(labels), "code=\"%u\"", status);
	metric_add(
	    metrics_counter(client->metrics, "fairlead_api_requests_total",
			    "Requests to the API server by the status of the answer; error: there was none.",
			    labels),
	    1);
}

/* A lane belongs to its request no longer, and the other way round. */
static void part(struct kube_request *request)
{
	if (!request->watch)
		request->client->short_count--;
	request->lane->request = NULL;
	request->lane = NULL;
}

static void request_free(struct kube_request *request)
{
	free(request->method);
	free(request->path);
	free(request->content_type);
	secret_buf_done(&request->body);
	buf_done(&request->refusal);
	free(request);
}

static struct lane *lane_free(struct lane *lane)
{
	TAILQ_REMOVE(&lane->client->lanes, lane, entry);
	kube_conn_free(lane->conn);
	free(lane);
	return NULL;
}

/* ---- the end of a request ---- */

static bool is_success(unsigned status)
{
	return status >= 200 && status < 300;
}

/* request is in no lane and no queue any more; gone when done is called. */
static void finish(struct kube_request *request, const struct kube_result *result)
{
	const struct kube_request_ops *ops = request->ops;
	void *ctx = request->ctx;

	want_dispatch(request->client);
	request_free(request);
	ops->done(ctx, result);
}

static void finish_without_answer(struct kube_request *request, int code, const struct err *err)
{
	const struct kube_result result = {
	    .code = code,
	    .status = request->status,
	    .why = err->text[0] ? err->text : "out of memory",
	};

	if (request->status == 0)
		count_answer(request->client, 0);
	finish(request, &result);
}

/* The Status object's message, if that is what the server sent. */
static void append_message(struct kube_request *request, struct err *err)
{
	struct arena arena cleanup(arena_done) = {0};
	struct str text = buf_str(&request->refusal);
	struct node *status;

	if (node_parse_json(&arena, text.p, text.len, &status, NULL) < 0)
		return;
	const struct node *message = node_get(status, "message");

	if (message && message->text.len > 0)
		err_set(err, 0, "%s: %s", err->text, message->text.p);
}

static void finish_refused(struct kube_request *request)
{
	struct err err;

	err_set(&err, 0, "%u %s", request->status, http_reason(request->status));
	append_message(request, &err);
	const struct kube_result result = {
	    .code = -EREMOTEIO,
	    .status = request->status,
	    .retry_after_s = request->retry_after_s,
	    .why = err.text,
	};

	finish(request, &result);
}

static void finish_answered(struct kube_request *request)
{
	const struct kube_result result = {.status = request->status, .why = ""};

	if (is_success(request->status))
		finish(request, &result);
	else
		finish_refused(request);
}

/* Back to the front of the queue, to be sent once more. */
static void send_again(struct kube_request *request)
{
	request->status = 0;
	request->retry_after_s = 0;
	buf_clear(&request->refusal);
	TAILQ_INSERT_HEAD(&request->client->queue, request, entry);
	want_dispatch(request->client);
}

static bool try_other_credentials(struct kube_request *request)
{
	if (request->status != 401 || request->reauthorized ||
	    !kube_auth_refused(request->client->auth, request->auth_generation))
		return false;
	request->reauthorized = true;
	return true;
}

/* ---- sending ---- */

static void append_head(const struct kube_request *request, const char *authorization, struct buf *out)
{
	const struct kube_config *config = request->client->config;
	bool brackets = strchr(config->host, ':') != NULL;

	buf_printf(out, "%s %s%s HTTP/1.1\r\n", request->method, config->path_prefix, request->path);
	buf_printf(out, brackets ? "Host: [%s]:%u\r\n" : "Host: %s:%u\r\n", config->host, config->port);
	buf_append_text(out, "User-Agent: fairlead/" FAIRLEAD_VERSION "\r\nAccept: application/json\r\n");
	if (authorization[0])
		buf_printf(out, "Authorization: %s\r\n", authorization);
	if (buf_len(&request->body) > 0)
		buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", request->content_type,
			   buf_len(&request->body));
	buf_append_text(out, "\r\n");
}

/* 0; -EAGAIN: no credentials now, the request is to wait; else -errno with *err. */
static int send_on(struct lane *lane, struct kube_request *request, struct err *err)
{
	struct buf out cleanup(secret_buf_done) = {0};
	struct kube_authorization authorization;
	int r = kube_auth_get(lane->client->auth, &authorization, err);

	if (r < 0)
		return r;
	request->auth_generation = authorization.generation;
	append_head(request, authorization.header, &out);
	buf_append_str(&out, buf_str(&request->body));
	r = buf_failed(&out) ? -ENOMEM
			     : kube_conn_send(lane->conn, buf_str(&out), str_of(request->method),
					      request->patient ? 0 : lane->client->timing->answer_s);
	return r < 0 ? err_set(err, r, "out of memory") : 0;
}

/* The lane is connected and free. What cannot be sent ends here or goes back to the queue. */
static void carry(struct lane *lane, struct kube_request *request)
{
	struct err err = {{0}};
	int r = send_on(lane, request, &err);

	if (r == 0)
		return;
	part(request);
	if (r == -EAGAIN)
		send_again(request);
	else
		finish_without_answer(request, r, &err);
}

/* ---- what lanes hear ---- */

static void on_ready(void *ctx)
{
	struct lane *lane = ctx;

	lane->ready = true;
	lane->client->good_ip = kube_conn_ip(lane->conn);
	if (lane->request)
		carry(lane, lane->request);
}

static void on_head(void *ctx, unsigned status, double retry_after_s)
{
	struct lane *lane = ctx;
	struct kube_request *request = lane->request;

	request->status = status;
	request->retry_after_s = retry_after_s;
	count_answer(lane->client, status);
	if (is_success(status) && request->ops->opened)
		request->ops->opened(request->ctx);
}

static int on_body(void *ctx, struct str bytes, struct err *err)
{
	struct lane *lane = ctx;
	struct kube_request *request = lane->request;

	if (is_success(request->status))
		return request->ops->body ? request->ops->body(request->ctx, bytes, err) : 0;
	if (buf_len(&request->refusal) + bytes.len <= REFUSAL_MAX_BYTES)
		buf_append_str(&request->refusal, bytes);
	return 0;
}

static unsigned idle_count(const struct kube_client *client)
{
	const struct lane *lane = NULL;
	unsigned count = 0;

	TAILQ_FOREACH(lane, &client->lanes, entry)
	{
		count += lane->request == NULL;
	}
	return count;
}

/* The lane has nothing to carry: it is kept for the next request, or closed. */
static void release(struct lane *lane, bool reusable)
{
	struct kube_client *client = lane->client;

	if (!reusable || idle_count(client) > KUBE_SHORT_MAX) {
		lane_free(lane);
		return;
	}
	lane->used = true;
	TAILQ_REMOVE(&client->lanes, lane, entry);
	TAILQ_INSERT_HEAD(&client->lanes, lane, entry);
}

static void on_ended(void *ctx, bool reusable)
{
	struct lane *lane = ctx;
	struct kube_request *request = lane->request;

	part(request);
	release(lane, reusable);
	if (try_other_credentials(request))
		send_again(request);
	else
		finish_answered(request);
}

/* May the request be sent twice without harm (RFC 9110 section 9.2.2)? */
static bool is_idempotent(const struct kube_request *request)
{
	return strcmp(request->method, "POST") != 0 && strcmp(request->method, "PATCH") != 0;
}

static void on_broken(void *ctx, int code, bool answered, const struct err *err)
{
	struct lane *lane = ctx;
	struct kube_request *request = lane->request;
	bool kept_too_long = lane->used && !answered;

	if (!lane->ready)
		kube_probe_suspect(lane->client->probe);
	if (request)
		part(request);
	lane_free(lane);
	if (!request)
		return;
	if (kept_too_long && is_idempotent(request) && !request->resent) {
		request->resent = true;
		send_again(request);
	} else if (request->status > 0 && !is_success(request->status)) {
		finish_answered(request);
	} else {
		finish_without_answer(request, code, err);
	}
}

static const struct kube_conn_ops lane_ops = {
    .ready = on_ready,
    .head = on_head,
    .body = on_body,
    .ended = on_ended,
    .broken = on_broken,
};

/* ---- finding a lane ---- */

static struct lane *lane_new(struct kube_client *client)
{
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->client = client;
	const struct kube_conn_options options = {
	    .loop = client->loop,
	    .dns = client->dns,
	    .config = client->config,
	    .tls = client->tls ? kube_tls_context(client->tls) : NULL,
	    .timing = client->timing,
	    .prefer = client->good_ip,
	    .ops = &lane_ops,
	    .ctx = lane,
	};

	lane->tls_generation = client->tls ? kube_tls_generation(client->tls) : 0;
	lane->conn = kube_conn_open(&options);
	if (!lane->conn) {
		free(lane);
		return NULL;
	}
	TAILQ_INSERT_HEAD(&client->lanes, lane, entry);
	return lane;
}

/* An idle connection that still speaks for us; others are closed on the way. */
static struct lane *idle_lane(struct kube_client *client)
{
	uint64_t generation = client->tls ? kube_tls_generation(client->tls) : 0;

	for (struct lane *lane = TAILQ_FIRST(&client->lanes), *next; lane; lane = next) {
		next = TAILQ_NEXT(lane, entry);
		if (lane->request || !lane->ready)
			continue;
		if (lane->tls_generation == generation)
			return lane;
		lane_free(lane);
	}
	return NULL;
}

/* Takes the request off the queue into a lane. */
static void start(struct kube_client *client, struct kube_request *request)
{
	struct lane *lane = request->resent ? NULL : idle_lane(client);

	TAILQ_REMOVE(&client->queue, request, entry);
	if (!lane)
		lane = lane_new(client);
	if (!lane) {
		finish_without_answer(request, -ENOMEM, &(struct err){{0}});
		return;
	}
	lane->request = request;
	request->lane = lane;
	client->short_count += !request->watch;
	if (lane->ready)
		carry(lane, request);
}

/* ---- the queue ---- */

/* Requests made by the callbacks of those that fail here are not among them. */
static void fail_all(struct kube_client *client, int code, const struct err *err)
{
	uint64_t last = client->last_number;

	for (;;) {
		struct kube_request *request = TAILQ_FIRST(&client->queue);

		if (!request || request->number > last)
			return;
		TAILQ_REMOVE(&client->queue, request, entry);
		finish_without_answer(request, code, err);
	}
}

static struct kube_request *next_request(struct kube_client *client)
{
	struct kube_request *request = NULL;

	TAILQ_FOREACH(request, &client->queue, entry)
	{
		if (request->watch || client->short_count < KUBE_SHORT_MAX)
			return request;
	}
	return NULL;
}

static void on_dispatch(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct kube_client *client = watcher->data;
	struct kube_request *request;

	(void)loop, (void)events;
	while ((request = next_request(client))) {
		struct kube_authorization authorization;
		struct err err = {{0}};
		int r = kube_auth_get(client->auth, &authorization, &err);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			fail_all(client, r, &err);
			return;
		}
		start(client, request);
	}
}

static void on_back(void *ctx)
{
	struct kube_client *client = ctx;

	if (client->on_back)
		client->on_back(client->on_back_ctx);
}

void kube_client_set_back_callback(struct kube_client *client, void (*fn)(void *ctx), void *ctx)
{
	client->on_back = fn;
	client->on_back_ctx = ctx;
}

static void on_credentials(void *ctx)
{
	want_dispatch(ctx);
}

/* ---- the outside ---- */

static bool copy_options(struct kube_request *request, const struct kube_request_options *options)
{
	request->method = str_dup(str_of(options->method));
	request->path = str_dup(str_of(options->path));
	request->content_type = str_dup(str_of(options->content_type ? options->content_type : ""));
	buf_append_str(&request->body, options->body);
	return request->method && request->path && request->content_type && !buf_failed(&request->body);
}

struct kube_request *kube_request(struct kube_client *client, const struct kube_request_options *options)
{
	struct kube_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->client = client;
	request->number = ++client->last_number;
	request->watch = options->watch;
	request->patient = options->patient;
	request->ops = options->ops;
	request->ctx = options->ctx;
	if (!copy_options(request, options)) {
		request_free(request);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&client->queue, request, entry);
	want_dispatch(client);
	return request;
}

struct kube_request *kube_request_cancel(struct kube_request *request)
{
	if (!request)
		return NULL;
	if (request->lane) {
		struct lane *lane = request->lane;

		part(request);
		lane_free(lane);
		want_dispatch(request->client);
	} else {
		TAILQ_REMOVE(&request->client->queue, request, entry);
	}
	request_free(request);
	return NULL;
}

struct kube_client *kube_client_new(struct ev_loop *loop, const struct kube_config *config,
				    struct metrics *metrics, const struct kube_timing *timing,
				    struct err *err)
{
	struct kube_client *client cleanup(kube_client_free_p) = calloc(1, sizeof(*client));

	if (!client) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	client->loop = loop;
	client->config = config;
	client->metrics = metrics;
	client->timing = timing ? timing : &kube_default_timing;
	TAILQ_INIT(&client->queue);
	TAILQ_INIT(&client->lanes);
	ev_init(&client->dispatch, on_dispatch);
	client->dispatch.data = client;
	client->dns = dns_new(loop, NULL, err);
	if (!client->dns)
		return NULL;
	client->probe = kube_probe_new(loop, client->dns, config, client->timing, on_back, client);
	if (!client->probe) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (config->tls)
		client->tls = kube_tls_new(config, err);
	if (config->tls && !client->tls)
		return NULL;
	client->auth = kube_auth_new(loop, config, client->tls, client->timing, on_credentials, client, err);
	return client->auth ? TAKE(client) : NULL;
}

struct kube_client *kube_client_free(struct kube_client *client)
{
	struct kube_request *request;
	struct lane *lane;

	if (!client)
		return NULL;
	while ((request = TAILQ_FIRST(&client->queue)))
		kube_request_cancel(request);
	while ((lane = TAILQ_FIRST(&client->lanes))) {
		if (lane->request)
			kube_request_cancel(lane->request);
		else
			lane_free(lane);
	}
	ev_clear_pending(client->loop, &client->dispatch);
	kube_probe_free(client->probe);
	kube_auth_free(client->auth);
	kube_tls_free(client->tls);
	dns_free(client->dns);
	free(client);
	return NULL;
}
