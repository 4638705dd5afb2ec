/* One connection to the API server, carrying one exchange after the other. */
#include "conf/kube_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/http1.h"
#include "base/stream.h"

enum phase {
	PHASE_RESOLVING,
	PHASE_CONNECTING,
	PHASE_IDLE, /* ready for an exchange */
	PHASE_HEAD, /* of the answer: awaited */
	PHASE_BODY,
};

struct kube_conn {
	struct kube_conn_options options;
	enum phase phase;
	struct dns_query *query;
	struct ip *ips; /* left to try: from next_ip */
	size_t ip_count, next_ip;
	struct stream *stream;
	struct http1 http;
	double answer_s;
	ev_tstamp sent_at;
	ev_timer timer; /* of the phase: head, answer or idle */
	bool keep_alive;
	bool reading, freed; /* its own code is on the stack; it was freed from there */
};

static void try_next_address(struct kube_conn *conn, int code, const struct err *why);

/* ---- the end ---- */

/* The last thing done with conn: the owner frees it there. */
static void break_off(struct kube_conn *conn, int code, const struct err *err)
{
	bool answered = conn->phase == PHASE_BODY || (conn->phase == PHASE_HEAD && conn->stream &&
						      buf_len(stream_input(conn->stream)) > 0);

	ev_timer_stop(conn->options.loop, &conn->timer);
	conn->options.ops->broken(conn->options.ctx, code, answered, err);
}

static void break_off_because(struct kube_conn *conn, int code, const char *why)
{
	struct err err;

	break_off(conn, err_set(&err, code, "%s", why), &err);
}

static void destroy(struct kube_conn *conn)
{
	free(conn->ips);
	free(conn);
}

struct kube_conn *kube_conn_free(struct kube_conn *conn)
{
	if (!conn)
		return NULL;
	ev_timer_stop(conn->options.loop, &conn->timer);
	if (conn->query)
		dns_cancel(conn->query);
	conn->stream = stream_free(conn->stream);
	conn->freed = true;
	if (!conn->reading)
		destroy(conn);
	return NULL;
}

/* ---- time ---- */

static void set_timer(struct kube_conn *conn, double after_s)
{
	ev_timer_stop(conn->options.loop, &conn->timer);
	if (after_s <= 0)
		return;
	ev_timer_set(&conn->timer, after_s, 0.);
	ev_timer_start(conn->options.loop, &conn->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct kube_conn *conn = timer->data;

	(void)loop, (void)events;
	if (conn->phase == PHASE_IDLE)
		break_off_because(conn, -ETIMEDOUT, "not needed any more");
	else if (conn->phase == PHASE_HEAD)
		break_off_because(conn, -ETIMEDOUT, "no answer within the time allowed");
	else
		break_off_because(conn, -ETIMEDOUT, "the answer did not end within the time allowed");
}

/* The answer's head is here: how long may the rest take? */
static void set_answer_timer(struct kube_conn *conn)
{
	double used_s = ev_now(conn->options.loop) - conn->sent_at;

	if (conn->answer_s > 0)
		set_timer(conn, used_s < conn->answer_s ? conn->answer_s - used_s : 0.001);
	else
		set_timer(conn, 0);
}

static void become_idle(struct kube_conn *conn)
{
	conn->phase = PHASE_IDLE;
	set_timer(conn, conn->options.timing->idle_s);
}

/* ---- the answer ---- */

static void end_answer(struct kube_conn *conn, bool reusable)
{
	become_idle(conn);
	conn->options.ops->ended(conn->options.ctx, reusable);
}

static double retry_after(const struct http_head *head)
{
	uint64_t seconds = 0;

	/* The other form, a date, is not what API servers send. */
	return str_to_u64(http_head_get(head, "Retry-After"), 3600, &seconds) == 0 ? (double)seconds : 0;
}

/* true: a head was read; false: more bytes are needed, or the conn is broken. */
static bool read_head(struct kube_conn *conn, struct buf *input)
{
	struct http_head head;
	ssize_t len = http1_head(&conn->http, buf_head(input), buf_len(input), &head);

	if (len < 0)
		break_off_because(conn, -EBADMSG, conn->http.error_reason);
	if (len <= 0)
		return false;
	double retry_after_s = retry_after(&head);

	buf_consume(input, (size_t)len);
	if (head.status == 101) {
		break_off_because(conn, -EBADMSG, "the server switched protocols unasked");
		return false;
	}
	if (head.status < 200) {
		http1_next(&conn->http);
		return true;
	}
	conn->keep_alive = head.keep_alive;
	conn->phase = PHASE_BODY;
	set_answer_timer(conn);
	conn->options.ops->head(conn->options.ctx, head.status, retry_after_s);
	return true;
}

/* true: some of the body was read; false: more bytes are needed, or the conn is broken or freed. */
static bool read_body(struct kube_conn *conn, struct buf *input)
{
	struct str bytes;
	struct err err = {{0}};
	bool done;
	ssize_t len = http1_body(&conn->http, buf_head(input), buf_len(input), &bytes, &done);

	if (len < 0) {
		break_off_because(conn, -EBADMSG, conn->http.error_reason);
		return false;
	}
	int r = bytes.len > 0 ? conn->options.ops->body(conn->options.ctx, bytes, &err) : 0;

	if (conn->freed)
		return false;
	buf_consume(input, (size_t)len);
	if (r != 0)
		break_off(conn, r, &err);
	return r == 0 && len > 0;
}

static bool read_more(struct kube_conn *conn, struct buf *input)
{
	if (buf_len(input) == 0)
		return false;
	if (conn->phase == PHASE_HEAD)
		return read_head(conn, input);
	return conn->phase == PHASE_BODY && !http1_done(&conn->http) && read_body(conn, input);
}

/* Takes in what came; conn may be gone afterwards. */
static void read_answer(struct kube_conn *conn)
{
	struct buf *input = stream_input(conn->stream);

	conn->reading = true;
	while (!conn->freed && read_more(conn, input))
		;
	conn->reading = false;
	if (conn->freed)
		destroy(conn);
	else if (conn->phase == PHASE_BODY && http1_done(&conn->http))
		end_answer(conn, conn->keep_alive && buf_len(input) == 0);
	else if (conn->phase == PHASE_IDLE && buf_len(input) > 0)
		break_off_because(conn, -EBADMSG, "the server sent what nobody asked for");
}

/* The server ended its side. */
static void read_end(struct kube_conn *conn)
{
	if (conn->phase == PHASE_IDLE)
		break_off_because(conn, -ECONNRESET, "the server closed the connection");
	else if (conn->phase == PHASE_BODY && http1_eof(&conn->http) == 0)
		end_answer(conn, false);
	else
		break_off_because(conn, -ECONNRESET,
				  "the server closed the connection before its answer's end");
}

/* ---- the connection ---- */

static void on_stream(void *ctx, struct stream *stream, enum stream_event event, const struct err *err)
{
	struct kube_conn *conn = ctx;

	(void)stream;
	switch (event) {
	case STREAM_EVENT_CONNECTED:
		become_idle(conn);
		conn->options.ops->ready(conn->options.ctx);
		return;
	case STREAM_EVENT_DATA:
		read_answer(conn);
		return;
	case STREAM_EVENT_DRAINED:
		return;
	case STREAM_EVENT_EOF:
		read_end(conn);
		return;
	case STREAM_EVENT_CLOSED:
		conn->stream = stream_free(conn->stream);
		if (conn->phase == PHASE_CONNECTING)
			try_next_address(conn, -ECONNREFUSED, err);
		else
			break_off(conn, -ECONNRESET, err);
		return;
	}
}

static int connect_to(struct kube_conn *conn, const struct ip *ip, struct err *err)
{
	const struct kube_config *config = conn->options.config;
	const struct stream_options options = {
	    .addr = {.ip = *ip, .port = config->port},
	    .tls = conn->options.tls,
	    .server_name = config->tls_server_name[0] ? config->tls_server_name : config->host,
	    .connect_timeout_s = conn->options.timing->connect_s,
	};

	conn->stream = stream_connect(conn->options.loop, &options, on_stream, conn, err);
	return conn->stream ? 0 : -EIO;
}

/* code and why: what became of the address before, should this have been the last. */
static void try_next_address(struct kube_conn *conn, int code, const struct err *why)
{
	struct err last = *why;

	conn->phase = PHASE_CONNECTING;
	while (conn->next_ip < conn->ip_count) {
		code = connect_to(conn, &conn->ips[conn->next_ip++], &last);
		if (code == 0)
			return;
	}
	break_off(conn, code, &last);
}

static void put_first(struct ip *ips, size_t count, const struct ip *preferred)
{
	for (size_t i = 0; i < count; i++) {
		if (!ip_equal(&ips[i], preferred))
			continue;
		ips[i] = ips[0];
		ips[0] = *preferred;
		return;
	}
}

static void on_resolved(void *ctx, int code, const struct ip *ips, size_t ip_count, unsigned ttl_s)
{
	struct kube_conn *conn = ctx;
	struct err err;

	(void)ttl_s;
	conn->query = NULL;
	if (code == 0 && ip_count == 0)
		code = -ENOENT;
	if (code == 0) {
		conn->ips = calloc(ip_count, sizeof(*ips));
		code = conn->ips ? 0 : -ENOMEM;
	}
	if (code < 0) {
		break_off(conn,
			  err_set(&err, code, "looking up %s: %s", conn->options.config->host,
				  code == -ENOENT ? "no such name" : strerror(-code)),
			  &err);
		return;
	}
	memcpy(conn->ips, ips, ip_count * sizeof(*ips));
	conn->ip_count = ip_count;
	put_first(conn->ips, ip_count, &conn->options.prefer);
	try_next_address(conn, -ENOENT, &(struct err){{0}});
}

/* ---- the outside ---- */

struct kube_conn *kube_conn_open(const struct kube_conn_options *options)
{
	struct kube_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->options = *options;
	conn->phase = PHASE_RESOLVING;
	ev_init(&conn->timer, on_timer);
	conn->timer.data = conn;
	conn->query = dns_resolve(options->dns, options->config->host, AF_UNSPEC, on_resolved, conn);
	return conn->query ? conn : kube_conn_free(conn);
}

int kube_conn_send(struct kube_conn *conn, struct str request, struct str method, double answer_s)
{
	int r = stream_write(conn->stream, request.p, request.len);

	if (r < 0)
		return r;
	http1_init(&conn->http, HTTP1_RESPONSE, NULL);
	http1_expect_response_to(&conn->http, method);
	conn->phase = PHASE_HEAD;
	conn->answer_s = answer_s;
	conn->sent_at = ev_now(conn->options.loop);
	set_timer(conn, conn->options.timing->head_s);
	return 0;
}

struct ip kube_conn_ip(const struct kube_conn *conn)
{
	return conn->ips[conn->next_ip - 1];
}
