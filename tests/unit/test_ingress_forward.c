/* ingress/forward: heads as they are passed on, against exact bytes. */
/* LINK: ingress/forward.c ingress/text.c base/addr.c base/buf.c base/chunked.c base/http1.c base/http_syntax.c base/str.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ingress/forward.h"

static struct http_head head;

static size_t parse(enum http1_direction direction, const char *bytes, const char *method)
{
	struct http1 parser;
	ssize_t n;

	http1_init(&parser, direction, NULL);
	if (method)
		http1_expect_response_to(&parser, str_of(method));
	n = http1_head(&parser, bytes, strlen(bytes), &head);
	if (n <= 0)
		fail_msg("not parsed: %s", parser.error_reason);
	return (size_t)n;
}

static const struct forward_origin plain = {.peer = {AF_INET, {10, 1, 2, 3}},
					    .local = {{AF_INET, {10, 0, 0, 1}}, 80}};

static void assert_request(const char *bytes, const struct forward_origin *origin, bool drop_authorization,
			   const char *expected)
{
	size_t head_len = parse(HTTP1_REQUEST, bytes, NULL);
	struct forward_request how = {
	    .identity = forward_identify(&head, origin),
	    .request_id = STR_LIT("ID"),
	    .trust = origin->trust,
	    .upgrade = forward_upgrade_allowed(&head),
	    .drop_authorization = drop_authorization,
	};
	size_t size = forward_request_bytes_max(&head, head_len, &how);
	char *buffer = malloc(size + 1);
	struct text out = {.p = buffer, .end = buffer + size};

	assert_non_null(buffer);
	forward_request(&out, &head, &how);
	assert_false(out.overflow);
	*out.p = '\0';
	assert_string_equal(buffer, expected);
	free(buffer);
}

#define IDENTITY(ip, host, port, scheme)                                                                 \
	"X-Request-ID: ID\r\nX-Real-IP: " ip "\r\nX-Forwarded-For: " ip "\r\nX-Forwarded-Host: " host    \
	"\r\nX-Forwarded-Port: " port "\r\nX-Forwarded-Proto: " scheme "\r\nX-Forwarded-Scheme: " scheme \
	"\r\nX-Scheme: " scheme "\r\n"

static void a_request_is_told_who_asks(void **state)
{
	(void)state;
	assert_request(
	    "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: *\r\n\r\n", &plain, false,
	    "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: *\r\n" IDENTITY("10.1.2.3", "h", "80", "http") "\r\n");
}

static void a_request_without_host_is_given_the_address_it_came_to(void **state)
{
	(void)state;
	assert_request("GET / HTTP/1.0\r\n\r\n", &plain, false,
		       "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n" IDENTITY("10.1.2.3", "10.0.0.1:80", "80",
									  "http") "\r\n");
}

static void framing_is_written_from_the_decision(void **state)
{
	(void)state;
	assert_request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0007\r\n\r\n", &plain, false,
		       "POST / HTTP/1.1\r\nHost: h\r\n" IDENTITY("10.1.2.3", "h", "80",
								 "http") "Content-Length: 7\r\n\r\n");
	assert_request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ChunkeD\r\n\r\n", &plain, false,
		       "POST / HTTP/1.1\r\nHost: h\r\n" IDENTITY(
			   "10.1.2.3", "h", "80", "http") "Transfer-Encoding: chunked\r\n\r\n");
}

static void what_a_client_says_of_itself_is_dropped(void **state)
{
	(void)state;
	assert_request(
	    "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-proto: "
	    "https\r\nX-Forwarded-Any: 1\r\n"
	    "X-Real-IP: 1.1.1.1\r\nX-Scheme: https\r\nX-Original-Forwarded-For: 1.1.1.1\r\nForwarded: "
	    "for=1.1.1.1\r\n"
	    "X_Forwarded_For: 1.1.1.1\r\nSSL-Client-Verify: SUCCESS\r\nProxy: x\r\nKept: 1\r\n\r\n",
	    &plain, false,
	    "GET / HTTP/1.1\r\nHost: h\r\nKept: 1\r\n" IDENTITY(
		"10.1.2.3", "h", "80", "http") "X-Original-Forwarded-For: 1.1.1.1\r\n\r\n");
}

static void hop_by_hop_and_nominated_fields_end_here(void **state)
{
	(void)state;
	assert_request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, Secret\r\nSecret: 1\r\nKeep-Alive: "
		       "1\r\nTE: trailers\r\n"
		       "Upgrade: h2c\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n\r\n",
		       &plain, false,
		       "GET / HTTP/1.1\r\nHost: h\r\n" IDENTITY("10.1.2.3", "h", "80", "http") "\r\n");
}

static void an_upgrade_is_passed_on_with_its_protocol(void **state)
{
	(void)state;
	assert_request(
	    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", &plain, false,
	    "GET / HTTP/1.1\r\nHost: h\r\n" IDENTITY(
		"10.1.2.3", "h", "80", "http") "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void the_password_that_was_for_us_is_not_passed_on(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic x\r\n\r\n";

	(void)state;
	assert_request(request, &plain, true,
		       "GET / HTTP/1.1\r\nHost: h\r\n" IDENTITY("10.1.2.3", "h", "80", "http") "\r\n");
	assert_request(request, &plain, false,
		       "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic x\r\n" IDENTITY(
			   "10.1.2.3", "h", "80", "http") "\r\n");
}

static void a_trusted_proxy_is_believed(void **state)
{
	struct forward_origin trusted = plain;

	(void)state;
	trusted.trust = true;
	assert_request("GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 2001:db8::1, "
		       "10.0.0.1\r\nX-Forwarded-Proto: HTTPS\r\n"
		       "X-Forwarded-Host: outer, inner\r\nX-Forwarded-Prefix: /p\r\n\r\n",
		       &trusted, false,
		       "GET / HTTP/1.1\r\nHost: outer\r\nX-Forwarded-Prefix: /p\r\n" IDENTITY(
			   "2001:db8::1", "outer", "443",
			   "https") "X-Original-Forwarded-For: 2001:db8::1, 10.0.0.1\r\n\r\n");
	assert_request(
	    "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: unknown\r\nX-Forwarded-Proto: ftp\r\n"
	    "X-Forwarded-Host: a b\r\nX-Forwarded-Port: 99999\r\n\r\n",
	    &trusted, false,
	    "GET / HTTP/1.1\r\nHost: inner\r\n" IDENTITY("10.1.2.3", "inner", "80",
							 "http") "X-Original-Forwarded-For: unknown\r\n\r\n");
}

static void assert_response(const char *bytes, const char *method, bool client_is_http10,
			    const char *expected)
{
	size_t head_len = parse(HTTP1_RESPONSE, bytes, method);
	struct forward_response how = {
	    .framing = forward_response_framing(&head, client_is_http10),
	    .client_is_http10 = client_is_http10,
	    .keep_alive = !client_is_http10,
	    .was_head = strcmp(method, "HEAD") == 0,
	    .date = STR_LIT("NOW"),
	};
	size_t size = forward_response_bytes_max(&head, head_len, &how);
	char *buffer = malloc(size + 1);
	struct text out = {.p = buffer, .end = buffer + size};

	assert_non_null(buffer);
	forward_response(&out, &head, &how);
	assert_false(out.overflow);
	*out.p = '\0';
	assert_string_equal(buffer, expected);
	free(buffer);
}

static void answers_get_the_framing_their_client_understands(void **state)
{
	static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: D\r\n\r\n";
	static const char until_close[] = "HTTP/1.0 200 Fine\r\nDate: D\r\n\r\n";

	(void)state;
	assert_response(chunked, "GET", false,
			"HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_response(chunked, "GET", true, "HTTP/1.1 200 OK\r\nDate: D\r\nConnection: close\r\n\r\n");
	assert_response(until_close, "GET", false,
			"HTTP/1.1 200 Fine\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_response("HTTP/1.1 204 \r\n\r\n", "GET", false,
			"HTTP/1.1 204 No Content\r\nDate: NOW\r\n\r\n");
	assert_response("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "HEAD", false,
			"HTTP/1.1 200 OK\r\nDate: NOW\r\nContent-Length: 12\r\n\r\n");
}

static void answers_lose_what_was_for_this_hop_and_the_servers_name(void **state)
{
	(void)state;
	assert_response("HTTP/1.1 200 OK\r\nServer: x\r\nConnection: Hop\r\nHop: 1\r\nKeep-Alive: 1\r\nX: "
			"y\r\nContent-Length: 1\r\n\r\n",
			"GET", false, "HTTP/1.1 200 OK\r\nX: y\r\nDate: NOW\r\nContent-Length: 1\r\n\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_is_told_who_asks),
	    cmocka_unit_test(a_request_without_host_is_given_the_address_it_came_to),
	    cmocka_unit_test(framing_is_written_from_the_decision),
	    cmocka_unit_test(what_a_client_says_of_itself_is_dropped),
	    cmocka_unit_test(hop_by_hop_and_nominated_fields_end_here),
	    cmocka_unit_test(an_upgrade_is_passed_on_with_its_protocol),
	    cmocka_unit_test(the_password_that_was_for_us_is_not_passed_on),
	    cmocka_unit_test(a_trusted_proxy_is_believed),
	    cmocka_unit_test(answers_get_the_framing_their_client_understands),
	    cmocka_unit_test(answers_lose_what_was_for_this_hop_and_the_servers_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
