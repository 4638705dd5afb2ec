/* Health and metrics pages: which path is answered how, for each of the three faces. */
#include "main/health.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/httpd.h"

struct health_server {
	struct httpd *httpd;
	enum health_face face;
	const struct health_state *state;
};

/* Go's time.Time.String(), as kube-proxy prints it. */
static void append_go_time(struct buf *out)
{
	struct timespec now;
	struct tm utc;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &utc);
	(void)buf_printf(out, "%s.%09ld +0000 UTC", text, now.tv_nsec);
}

/* A node about to go is healthy but not eligible: load balancers drain it while traffic still flows (row 39).
 */
static bool node_eligible(const struct health_state *state)
{
	const struct object *object = store_get(state->store, KIND_NODE, "", state->node_name);

	return !object ||
	       (!object->deleting && !((const struct node_object *)(const void *)object)->autoscaler_taint);
}

static void answer_proxy_health(const struct health_state *state, bool with_eligibility,
				struct httpd_answer *answer)
{
	bool eligible = !with_eligibility || node_eligible(state);

	answer->status = state->proxy && proxy_healthy(state->proxy) && eligible ? 200 : 503;
	answer->content_type = "application/json";
	(void)buf_append_text(&answer->headers, "X-Content-Type-Options: nosniff\r\n");
	(void)buf_append_text(&answer->body, "{\"lastUpdated\": \"");
	append_go_time(&answer->body);
	(void)buf_append_text(&answer->body, "\",\"currentTime\": \"");
	append_go_time(&answer->body);
	(void)buf_append_text(&answer->body, "\"");
	if (with_eligibility)
		(void)buf_printf(&answer->body, ", \"nodeEligible\": %s", eligible ? "true" : "false");
	(void)buf_append_text(&answer->body, "}");
}

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
	bool failing = server->face == HEALTH_FACE_INGRESS && server->state->stopping;

	answer->status = failing ? 500 : 200;
	(void)buf_append_text(&answer->body, failing ? "stopping" : "ok");
}

static void answer_metrics(const struct health_state *state, struct httpd_answer *answer)
{
	answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
	if (metrics_render(state->metrics, &answer->body) < 0)
		answer->status = 500;
}

static void answer(void *ctx, const struct http_head *head, struct httpd_answer *answer)
{
	const struct health_server *server = ctx;
	bool json = server->face == HEALTH_FACE_PROXY;

	if (str_is(head->path, "/metrics")) {
		answer_metrics(server->state, answer);
	} else if (str_is(head->path, "/readyz")) {
		answer_ready(server->state, answer);
	} else if (str_is(head->path, "/healthz") && json) {
		answer_proxy_health(server->state, true, answer);
	} else if (str_is(head->path, "/livez") && json) {
		answer_proxy_health(server->state, false, answer);
	} else if (str_is(head->path, "/healthz") || str_is(head->path, "/livez")) {
		answer_plain_health(server, answer);
	} else if (str_is(head->path, "/proxyMode") && server->state->proxy) {
		(void)buf_append_text(&answer->body, "nftables");
	} else {
		answer->status = 404;
		(void)buf_append_text(&answer->body, "404 page not found\n");
	}
}

struct health_server *health_listen(struct ev_loop *loop, const struct endpoint_addr *addr,
				    enum health_face face, const struct health_state *state, struct err *err)
{
	struct health_server *server = calloc(1, sizeof(*server));

	if (!server) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	server->face = face;
	server->state = state;
	server->httpd = httpd_listen(loop, addr, answer, server, err);
	if (!server->httpd) {
		free(server);
		return NULL;
	}
	return server;
}

struct health_server *health_close(struct health_server *server)
{
	if (server)
		(void)httpd_free(server->httpd);
	free(server);
	return NULL;
}
