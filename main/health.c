/* Health and metrics pages: which path is answered how, for each of the three faces. */
#include "main/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/httpd.h"
#include "base/log.h"
#include "conf/node_write.h"
#include "main/health_text.h"

#define CONFIGZ_NAME "kubeproxy.config.k8s.io"

struct health_server {
	struct ev_loop *loop;
	struct ev_timer retry;
	struct httpd *httpd; /* NULL: cannot listen yet */
	struct health_server_config config;
	const struct health_state *state;
};

/* ---- kube-proxy's health (rows 39, 40) ---- */

/* A node about to go is healthy but not eligible: load balancers drain it while traffic still flows. */
static bool node_eligible(const struct health_state *state)
{
	const struct object *object = store_get(state->store, KIND_NODE, "", state->node_name);

	return !object ||
	       (!object->deleting && !((const struct node_object *)(const void *)object)->autoscaler_taint);
}

static struct timespec seconds_before(struct timespec now, double seconds)
{
	double then = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - seconds;

	return (struct timespec){.tv_sec = (time_t)then,
				 .tv_nsec = (long)((then - (double)(time_t)then) * 1e9)};
}

static struct health_verdict verdict_of(const struct health_state *state)
{
	double age_s = state->proxy ? proxy_update_age_s(state->proxy) : -1;
	struct health_verdict verdict = {
	    .healthy = state->proxy && proxy_healthy(state->proxy),
	    .eligible = node_eligible(state),
	};

	(void)clock_gettime(CLOCK_REALTIME, &verdict.now);
	verdict.updated = (struct timespec){.tv_sec = HEALTH_NEVER};
	if (age_s >= 0)
		verdict.updated = seconds_before(verdict.now, age_s);
	return verdict;
}

/* `name`: "proxy_healthz" or "proxy_livez". */
static void count_answer(const struct health_state *state, const char *name, unsigned status)
{
	char metric[64], labels[32];

	(void)snprintf(metric, sizeof(metric), "kubeproxy_%s_total", name);
	(void)snprintf(labels, sizeof(labels), "code=\"%u\"", status);
	metric_add(metrics_counter(state->metrics, metric, "Answers of the health server by status.", labels),
		   1);
}

static void answer_proxy_health(const struct health_state *state, bool live_only, struct httpd_answer *answer)
{
	const struct health_verdict verdict = verdict_of(state);

	answer->status = live_only ? health_append_livez(&answer->body, &verdict)
				   : health_append_healthz(&answer->body, &verdict);
	answer->content_type = "application/json";
	(void)buf_append_text(&answer->headers, "X-Content-Type-Options: nosniff\r\n");
	count_answer(state, live_only ? "proxy_livez" : "proxy_healthz", answer->status);
}

/* ---- what all faces have ---- */

static void answer_ready(const struct health_state *state, struct httpd_answer *answer)
{
	if (state->stopping)
		(void)buf_append_text(&answer->body, "stopping\n");
	if (state->proxy && !proxy_ready(state->proxy))
		(void)buf_append_text(&answer->body, "proxy: the first complete state is not in force yet\n");
	if (state->ingress && !ingress_ready(state->ingress))
		(void)buf_append_text(&answer->body,
				      "ingress: the first complete state is not in force yet\n");
	answer->status = buf_len(&answer->body) ? 503 : 200;
	if (answer->status == 200)
		(void)buf_append_text(&answer->body, "ok\n");
}

static void answer_plain_health(const struct health_server *server, struct httpd_answer *answer)
{
	bool failing = server->config.face == HEALTH_FACE_INGRESS && server->state->stopping;

	answer->status = failing ? 500 : 200;
	(void)buf_append_text(&answer->body, failing ? "stopping" : "ok");
}

static void answer_metrics(const struct health_state *state, struct httpd_answer *answer)
{
	answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
	if (metrics_render(state->metrics, &answer->body) < 0)
		answer->status = 500;
}

/* ---- kube-proxy's metrics server (row 41) ---- */

static void answer_mode(struct httpd_answer *answer)
{
	(void)buf_append_text(&answer->headers, "X-Content-Type-Options: nosniff\r\n");
	(void)buf_append_text(&answer->body, "nftables");
}

static void answer_config(const struct health_state *state, struct httpd_answer *answer)
{
	cleanup(arena_done) struct arena arena = {0};
	struct node *document = node_new_map(&arena);

	answer->content_type = "application/json";
	if (node_add_entry(&arena, document, CONFIGZ_NAME, flags_as_proxy_config(state->flags, &arena)) < 0 ||
	    node_write_json(document, &answer->body) < 0)
		answer->status = 500;
}

static void append_flag(struct buf *out, const char *name, const struct node *value)
{
	(void)buf_printf(out, "%s=%s", name, value->text.p);
	for (size_t i = 0; i < (value->type == NODE_LIST ? value->count : 0); i++)
		(void)buf_printf(out, "%s%s", i ? "," : "", value->items[i]->text.p);
	(void)buf_append_char(out, '\n');
}

static void answer_flags(const struct health_state *state, struct httpd_answer *answer)
{
	cleanup(arena_done) struct arena arena = {0};

	(void)buf_append_text(&answer->body, "fairlead flagz\n\n");
	for (const struct option_group *group = flags_proxy; group->title; group++) {
		for (size_t i = 0; i < group->count; i++) {
			const struct node *value = flags_value(&arena, &group->options[i], state->flags);

			if (value)
				append_flag(&answer->body, group->options[i].name, value);
		}
	}
}

static void answer_status(const struct health_server *server, struct httpd_answer *answer)
{
	const struct health_state *state = server->state;

	(void)buf_printf(&answer->body, "fairlead statusz\n\nversion: %s\nnode: %s\nready: %s\nhealthy: %s\n",
			 FAIRLEAD_VERSION, state->node_name, proxy_ready(state->proxy) ? "true" : "false",
			 proxy_healthy(state->proxy) ? "true" : "false");
	(void)buf_append_text(&answer->body,
			      "paths: /configz /flagz /healthz /metrics /proxyMode /readyz /statusz\n");
}

static bool answer_of_metrics_face(const struct health_server *server, const struct http_head *head,
				   struct httpd_answer *answer)
{
	if (server->config.face != HEALTH_FACE_METRICS || !server->state->proxy)
		return false;
	if (str_is(head->path, "/proxyMode"))
		answer_mode(answer);
	else if (str_is(head->path, "/configz"))
		answer_config(server->state, answer);
	else if (str_is(head->path, "/flagz"))
		answer_flags(server->state, answer);
	else if (str_is(head->path, "/statusz"))
		answer_status(server, answer);
	else
		return false;
	return true;
}

static void answer(void *ctx, const struct http_head *head, struct httpd_answer *answer)
{
	const struct health_server *server = ctx;
	bool json = server->config.face == HEALTH_FACE_PROXY;

	if (answer_of_metrics_face(server, head, answer))
		return;
	if (str_is(head->path, "/metrics")) {
		answer_metrics(server->state, answer);
	} else if (str_is(head->path, "/readyz")) {
		answer_ready(server->state, answer);
	} else if ((str_is(head->path, "/healthz") || str_is(head->path, "/livez")) && json) {
		answer_proxy_health(server->state, str_is(head->path, "/livez"), answer);
	} else if (str_is(head->path, "/healthz") || str_is(head->path, "/livez")) {
		answer_plain_health(server, answer);
	} else {
		answer->status = 404;
		(void)buf_append_text(&answer->body, "404 page not found\n");
	}
}

/* ---- listening ---- */

static int try_to_listen(struct health_server *server, struct err *err)
{
	server->httpd = httpd_listen(server->loop, &server->config.addr, answer, server, err);
	if (!server->httpd)
		return -EADDRINUSE;
	httpd_take_any_method(server->httpd);
	return 0;
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct health_server *server = timer->data;
	char text[ADDR_TEXT_MAX];

	(void)events;
	if (try_to_listen(server, NULL) < 0)
		return;
	ev_timer_stop(loop, timer);
	log_info("health server listens now",
		 L_STR("address", endpoint_addr_format(&server->config.addr, text)));
}

struct health_server *health_listen(struct ev_loop *loop, const struct health_server_config *config,
				    const struct health_state *state, struct err *err)
{
	struct health_server *server = calloc(1, sizeof(*server));
	struct err why = {0};

	if (!server) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	*server = (struct health_server){.loop = loop, .config = *config, .state = state};
	ev_timer_init(&server->retry, on_retry, HEALTH_RETRY_S, HEALTH_RETRY_S);
	server->retry.data = server;
	if (try_to_listen(server, &why) == 0)
		return server;
	if (config->hard_fail) {
		(void)err_set(err, -EADDRINUSE, "%s", why.text);
		return health_close(server);
	}
	log_warn("health server cannot listen, it is tried again", L_STR("reason", why.text));
	ev_timer_start(loop, &server->retry);
	return server;
}

struct health_server *health_close(struct health_server *server)
{
	if (!server)
		return NULL;
	ev_timer_stop(server->loop, &server->retry);
	(void)httpd_free(server->httpd);
	free(server);
	return NULL;
}
