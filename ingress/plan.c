/* The pipeline a request passes before anything is sent anywhere. */
#include "ingress/plan.h"

static bool host_is_catch_all(const struct host *host)
{
	return host->name[0] == '_' && host->name[1] == '\0';
}

static void plan_answer(struct plan *plan, enum exchange_end end)
{
	plan->action = PLAN_ANSWER;
	plan->end = end;
}

/* RFC 9110 sections 9.3.6 and 9.3.8: no tunnels through us, and no request is echoed to whoever made a
 * browser send it. */
static bool method_is_refused(struct str method)
{
	return str_equal(method, STR_LIT("CONNECT")) || str_equal(method, STR_LIT("TRACE"));
}

static int plan_route(struct plan *plan, const struct http_head *head, const struct snapshot *snapshot,
		      char *path_buffer)
{
	struct str path = {path_buffer, 1};
	ssize_t len;

	path_buffer[0] = '/'; /* the asterisk form and an absent path mean the root */
	if (head->path.len > 0 && head->path.p[0] == '/') {
		len = route_path_normalise(head->path, path_buffer);
		if (len <= 0)
			return -1;
		path.len = (size_t)len;
	}
	plan->host = snapshot_host(snapshot, head->host);
	plan->route = host_route(plan->host, path);
	plan->upstream = snapshot_route_upstream(snapshot, plan->route);
	if (!plan->upstream && host_is_catch_all(plan->host) && str_equal(path, STR_LIT("/healthz")))
		plan->action = PLAN_HEALTHY;
	return 0;
}

static void plan_endpoints(struct plan *plan)
{
	if (plan->action == PLAN_HEALTHY)
		return;
	if (!plan->upstream)
		plan_answer(plan, EXCHANGE_NO_ROUTE);
	else if (plan->upstream->endpoint_count == 0)
		plan_answer(plan, EXCHANGE_NO_ENDPOINT);
}

static bool body_is_too_large(const struct route *route, const struct http_head *head)
{
	return route->body_max_bytes > 0 && head->framing == HTTP_BODY_LENGTH &&
	       head->content_length > route->body_max_bytes;
}

struct plan plan_request(const struct http_head *head, const struct forward_identity *identity,
			 const struct snapshot *snapshot, char *path_buffer)
{
	struct plan plan = {.action = PLAN_FORWARD, .end = EXCHANGE_OK};

	if (method_is_refused(head->method)) {
		plan_answer(&plan, EXCHANGE_METHOD_NOT_ALLOWED);
	} else if (plan_route(&plan, head, snapshot, path_buffer) != 0) {
		plan_answer(&plan, EXCHANGE_BAD_REQUEST);
	} else if (body_is_too_large(plan.route, head)) {
		plan_answer(&plan, EXCHANGE_BODY_TOO_LARGE);
	} else if (plan.route->denied) {
		plan_answer(&plan, EXCHANGE_DENIED);
	} else if (plan.route->ssl_redirect && !identity->https) {
		plan.action = PLAN_REDIRECT;
		plan.end = EXCHANGE_REDIRECTED;
	} else {
		plan.needs_password = plan.route->auth != NULL;
		plan_endpoints(&plan);
	}
	return plan;
}

static struct str host_without_port(struct str host)
{
	const char *port = NULL;

	for (size_t i = 0; i < host.len; i++) {
		if (host.p[i] == ':')
			port = host.p + i;
		else if (host.p[i] == ']')
			port = NULL; /* the colons of an IPv6 address */
	}
	return port ? (struct str){host.p, (size_t)(port - host.p)} : host;
}

static void cut_slash(struct str *text)
{
	if (text->len > 0 && text->p[text->len - 1] == '/')
		text->len--;
}

struct page_redirect plan_redirect(const struct http_head *head)
{
	struct page_redirect redirect = {
	    .host = host_without_port(head->host), .path = head->path, .query = head->query};

	cut_slash(redirect.query.p ? &redirect.query : &redirect.path);
	return redirect;
}
