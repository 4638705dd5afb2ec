/* ingress/plan: what becomes of a request, as a table over one small snapshot. */
/* LINK: ingress/plan.c ingress/forward.c ingress/text.c ingress/exchange_end.c ingress/snapshot.c */
/* LINK: ingress/snapshot_host.c ingress/snapshot_table.c ingress/snapshot_upstream.c ingress/route.c ingress/auth.c */
/* LINK: ingress/auth_hash.c ingress/auth_pool.c ingress/finding.c conf/object.c base/addr.c base/arena.c base/buf.c */
/* LINK: base/chunked.c base/err.c base/http1.c base/http_syntax.c base/map.c base/str.c */
/* LIBS: -lssl -lcrypto -laprutil-1 -lapr-1 -lxxhash -lev */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/auth.h"
#include "ingress/plan.h"
#include "ingress/snapshot_draft.h"

static struct http_head head;

static struct route route_make(const char *path, uint32_t upstream_id)
{
	struct route route = {.path = path,
			      .type = PATH_PREFIX,
			      .ns = "shop",
			      .ingress = "web",
			      .service = "web",
			      .port = "80",
			      .upstream_id = upstream_id,
			      .body_max_bytes = 10,
			      .tries = 1};

	return route;
}

static struct snapshot *snapshot_make(void)
{
	static const struct ingress_settings settings = {.idle_timeout_s = 1};
	const struct endpoint_addr pod = {.ip = {AF_INET, {10, 0, 0, 1}}, .port = 80};
	struct auth *auth = auth_from_htpasswd(STR_LIT("joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="), NULL);
	struct draft *draft = draft_new(&settings, NULL);
	struct snapshot *snapshot;
	struct route routes[] = {
	    route_make("/", 1),       route_make("/empty", 2),  route_make("/none", UPSTREAM_NONE),
	    route_make("/denied", 1), route_make("/secure", 1), route_make("/secret", 1),
	    route_make("/all", 2)};

	routes[3].denied = true;
	routes[4].ssl_redirect = true;
	routes[5].auth = auth;
	routes[6].auth = auth;
	routes[6].denied = routes[6].ssl_redirect = true;
	assert_int_equal(draft_put_upstream(draft, upstream_new(1, "shop-web-80", false, &pod, 1)), 0);
	assert_int_equal(draft_put_upstream(draft, upstream_new(2, "shop-empty-80", true, NULL, 0)), 0);
	assert_int_equal(draft_put_host(draft, host_new("a.test", true, routes, ARRAY_LEN(routes), NULL)), 0);
	snapshot = snapshot_from_draft(draft);
	(void)draft_free(draft);
	(void)auth_unref(auth);
	return snapshot;
}

static void head_parse(const char *text)
{
	struct http1 parser;

	http1_init(&parser, HTTP1_REQUEST, NULL);
	if (http1_head(&parser, text, strlen(text), &head) <= 0)
		fail_msg("not parsed: %s", text);
}

static struct plan plan_of(const struct snapshot *snapshot, const char *request, bool https)
{
	const struct forward_origin origin = {.peer = {AF_INET, {1, 2, 3, 4}}, .https = https};
	struct forward_identity identity;
	char text[512], path[512];

	(void)snprintf(text, sizeof(text), "%s\r\n\r\n", request);
	head_parse(text);
	identity = forward_identify(&head, &origin);
	return plan_request(&head, &identity, snapshot, path);
}

static void every_request_has_one_plan(void **state)
{
	static const struct {
		const char *request;
		bool https;
		enum plan_action action;
		enum exchange_end end;
		bool needs_password;
	} table[] = {
	    {"GET / HTTP/1.1\r\nHost: a.test", false, PLAN_FORWARD, EXCHANGE_OK, false},
	    {"GET http://a.test HTTP/1.1\r\nHost: a.test", false, PLAN_FORWARD, EXCHANGE_OK, false},
	    {"OPTIONS * HTTP/1.1\r\nHost: a.test", false, PLAN_FORWARD, EXCHANGE_OK, false},
	    {"TRACE / HTTP/1.1\r\nHost: a.test", false, PLAN_ANSWER, EXCHANGE_METHOD_NOT_ALLOWED, false},
	    {"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80", false, PLAN_ANSWER, EXCHANGE_METHOD_NOT_ALLOWED,
	     false},
	    {"GET /../x HTTP/1.1\r\nHost: a.test", false, PLAN_ANSWER, EXCHANGE_BAD_REQUEST, false},
	    {"GET /empty HTTP/1.1\r\nHost: a.test", false, PLAN_ANSWER, EXCHANGE_NO_ENDPOINT, false},
	    {"GET /none HTTP/1.1\r\nHost: a.test", false, PLAN_ANSWER, EXCHANGE_NO_ROUTE, false},
	    {"GET / HTTP/1.1\r\nHost: b.test", false, PLAN_ANSWER, EXCHANGE_NO_ROUTE, false},
	    {"GET /healthz HTTP/1.1\r\nHost: b.test", false, PLAN_HEALTHY, EXCHANGE_OK, false},
	    {"GET /healthz HTTP/1.1\r\nHost: a.test", false, PLAN_FORWARD, EXCHANGE_OK, false},
	    {"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10", false, PLAN_FORWARD, EXCHANGE_OK,
	     false},
	    {"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11", false, PLAN_ANSWER,
	     EXCHANGE_BODY_TOO_LARGE, false},
	    {"GET /denied HTTP/1.1\r\nHost: a.test", false, PLAN_ANSWER, EXCHANGE_DENIED, false},
	    {"GET /secure HTTP/1.1\r\nHost: a.test", false, PLAN_REDIRECT, EXCHANGE_REDIRECTED, false},
	    {"GET /secure HTTP/1.1\r\nHost: a.test", true, PLAN_FORWARD, EXCHANGE_OK, false},
	    {"GET /secret HTTP/1.1\r\nHost: a.test", true, PLAN_FORWARD, EXCHANGE_OK, true},
	    {"POST /all HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11", false, PLAN_ANSWER,
	     EXCHANGE_BODY_TOO_LARGE, false},
	    {"POST /all HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1", false, PLAN_ANSWER, EXCHANGE_DENIED,
	     false},
	};
	struct snapshot *snapshot = snapshot_make();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct plan plan = plan_of(snapshot, table[i].request, table[i].https);

		if (plan.action != table[i].action || plan.end != table[i].end ||
		    plan.needs_password != table[i].needs_password)
			fail_msg("%s: action %d, %s", table[i].request, (int)plan.action,
				 exchange_end_name(plan.end));
		assert_true(plan.action != PLAN_FORWARD || plan.upstream->endpoint_count > 0);
	}
	(void)snapshot_unref(snapshot);
}

static void a_redirect_keeps_host_path_and_query_but_for_one_slash(void **state)
{
	static const struct {
		const char *target, *host;
		const char *location;
	} table[] = {
	    {"/", "a.test", "https://a.test"},       {"/p/", "a.test:8080", "https://a.test/p"},
	    {"/p//", "a.test", "https://a.test/p/"}, {"/p/?q=/", "[::1]:80", "https://[::1]/p/?q="},
	    {"/p?", "[::1]", "https://[::1]/p?"},    {"http://a.test?x=1", "a.test", "https://a.test/?x=1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char text[256], location[256];
		struct page_redirect redirect;

		(void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", table[i].target,
			       table[i].host);
		head_parse(text);
		redirect = plan_redirect(&head);
		(void)snprintf(location, sizeof(location), "https://%.*s%.*s%s%.*s", (int)redirect.host.len,
			       redirect.host.p, (int)redirect.path.len, redirect.path.p,
			       redirect.query.p ? "?" : "", (int)redirect.query.len,
			       redirect.query.p ? redirect.query.p : "");
		assert_string_equal(location, table[i].location);
	}
}

static void every_end_has_a_word_and_a_status(void **state)
{
	(void)state;
	for (int i = 0; i < EXCHANGE_END_COUNT; i++) {
		assert_non_null(exchange_end_name((enum exchange_end)i));
		assert_in_range(exchange_end_status((enum exchange_end)i), 200, 599);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_request_has_one_plan),
	    cmocka_unit_test(a_redirect_keeps_host_path_and_query_but_for_one_slash),
	    cmocka_unit_test(every_end_has_a_word_and_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
