/* The small HTTP server, asked over real loopback sockets. */
/* LINK: base/httpd.c base/http1.c base/http_syntax.c base/chunked.c base/addr.c base/buf.c base/str.c base/err.c */
/* LIBS: -lev */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/httpd.h"

#define PATIENCE_S 10.0

struct fixture {
	struct ev_loop *loop;
	struct httpd *httpd;
	unsigned asked;
};

static void answer(void *ctx, const struct http_head *head, struct httpd_answer *out)
{
	struct fixture *fixture = ctx;

	fixture->asked++;
	if (str_is(head->path, "/big")) {
		for (int i = 0; i < 100000; i++)
			(void)buf_printf(&out->body, "%09d\n", i);
	} else if (str_is(head->path, "/json")) {
		out->status = 503;
		out->content_type = "application/json";
		(void)buf_append_text(&out->headers, "X-Extra: yes\r\n");
		(void)buf_append_text(&out->body, "{}");
	} else {
		(void)buf_printf(&out->body, "path=%.*s", (int)head->path.len, head->path.p);
		if (head->query.p)
			(void)buf_printf(&out->body, " query=%.*s", (int)head->query.len, head->query.p);
	}
}

static struct endpoint_addr loopback(uint16_t port)
{
	return (struct endpoint_addr){.ip = {AF_INET, {127, 0, 0, 1}}, .port = port};
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const struct endpoint_addr addr = loopback(0);
	struct err err;

	if (!fixture)
		return -1;
	fixture->loop = ev_loop_new(EVFLAG_AUTO);
	fixture->httpd = httpd_listen(fixture->loop, &addr, answer, fixture, &err);
	*state = fixture;
	return fixture->httpd ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	(void)httpd_free(fixture->httpd);
	ev_loop_destroy(fixture->loop);
	free(fixture);
	return 0;
}

static int open_client(const struct endpoint_addr *addr)
{
	struct sockaddr_storage storage;
	socklen_t len = endpoint_addr_to_sockaddr(addr, &storage);
	int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&storage, len), 0);
	return fd;
}

static int client_of(const struct fixture *fixture)
{
	const struct endpoint_addr addr = loopback(httpd_port(fixture->httpd));

	return open_client(&addr);
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Runs the server until the client can read; returns what recv(2) returns. */
static ssize_t receive(struct fixture *fixture, int fd, char *to, size_t size)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	double begin = now_s();

	while (poll(&readable, 1, 1) == 0) {
		ev_run(fixture->loop, EVRUN_NOWAIT);
		if (now_s() - begin > PATIENCE_S)
			fail_msg("nothing came");
	}
	return recv(fd, to, size, 0);
}

/* Everything up to and with `end`, or up to the close when that is NULL. */
static char *receive_until(struct fixture *fixture, int fd, const char *end)
{
	struct buf text = {0};
	ssize_t len;

	for (;;) {
		len = receive(fixture, fd, buf_reserve(&text, 4096), 4096);
		if (len <= 0)
			break;
		buf_commit(&text, (size_t)len);
		if (end && str_has_suffix(buf_str(&text), str_of(end)))
			break;
	}
	return buf_take_text(&text);
}

static void assert_answer(struct fixture *fixture, const char *request, const char *first_line,
			  const char *end)
{
	int fd = client_of(fixture);
	char *text;

	send_text(fd, request);
	text = receive_until(fixture, fd, NULL);
	if (!str_has_prefix(str_of(text), str_of(first_line)) || !str_has_suffix(str_of(text), str_of(end)))
		fail_msg("%s was answered with %s", request, text);
	free(text);
	(void)close(fd);
}

static void path_and_query_reach_the_handler(void **state)
{
	assert_answer(*state, "GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		      "HTTP/1.1 200 OK\r\n", "Connection: close\r\n\r\npath=/a/b query=c=d");
	assert_answer(*state, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\npath=/");
}

static void the_handler_sets_status_type_and_fields(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_of(fixture);
	char *text;

	send_text(fd, "GET /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	text = receive_until(fixture, fd, NULL);
	assert_true(str_has_prefix(str_of(text), STR_LIT("HTTP/1.1 503 Service Unavailable\r\nDate: ")));
	assert_non_null(
	    strstr(text, "\r\nContent-Type: application/json\r\nContent-Length: 2\r\nX-Extra: yes\r\n"));
	free(text);
	(void)close(fd);
}

static void head_is_answered_without_a_body(void **state)
{
	assert_answer(*state, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		      "HTTP/1.1 200 OK\r\n", "Content-Length: 6\r\nConnection: close\r\n\r\n");
}

static void other_methods_are_not_allowed(void **state)
{
	struct fixture *fixture = *state;

	assert_answer(fixture, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
		      "HTTP/1.1 405 Method Not Allowed\r\n",
		      "Allow: GET, HEAD\r\nConnection: close\r\n\r\nmethod not allowed\n");
	assert_int_equal(fixture->asked, 0);
}

static void bad_requests_are_told_why(void **state)
{
	assert_answer(*state, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "\r\n\r\nno Host\n");
	assert_answer(*state, "FOO / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 Not Implemented\r\n",
		      "\r\n\r\nmethod not known\n");
	assert_answer(*state, "\x16\x03\x01", "HTTP/1.1 400 Bad Request\r\n", "\r\n\r\nthis is not HTTP\n");
}

static void requests_follow_each_other_pipelined_or_not(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_of(fixture);
	char *text;

	send_text(fd, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HT");
	text = receive_until(fixture, fd, "path=/2");
	assert_non_null(strstr(text, "path=/1HTTP/1.1 200 OK"));
	free(text);
	send_text(fd, "TP/1.1\r\nHost: x\r\n\r\n");
	text = receive_until(fixture, fd, "path=/3");
	free(text);
	assert_int_equal(fixture->asked, 3);
	(void)close(fd);
}

static void an_answer_larger_than_the_socket_takes_arrives_whole(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_of(fixture);
	char *text;

	send_text(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	text = receive_until(fixture, fd, "000099999\n");
	assert_int_equal(strlen(strstr(text, "\r\n\r\n")), 4 + 1000000);
	free(text);
	(void)close(fd);
}

static void a_client_that_says_no_more_than_it_asked_still_gets_the_answer(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_of(fixture);
	char *text;

	send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	text = receive_until(fixture, fd, NULL);
	assert_true(str_has_suffix(str_of(text), STR_LIT("path=/")));
	free(text);
	(void)close(fd);
}

static void a_request_never_completed_ends_after_five_seconds(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_of(fixture);
	double begin = now_s();
	char byte;

	send_text(fd, "GET / HTTP/1.1\r\n");
	assert_int_equal(receive(fixture, fd, &byte, 1), 0);
	assert_true(now_s() - begin > 4 && now_s() - begin < 8);
	(void)close(fd);
}

static void beyond_the_limit_the_oldest_idle_connection_goes(void **state)
{
	struct fixture *fixture = *state;
	int fds[HTTPD_CONNECTIONS_MAX + 1];
	char *text, byte;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = client_of(fixture);
		if (i == 0) /* busy, so that the second one is the oldest idle */
			send_text(fds[i], "GET /late HT");
		if (i % 50 == 0)
			ev_run(fixture->loop, EVRUN_NOWAIT);
	}
	assert_int_equal(receive(fixture, fds[1], &byte, 1), 0);
	send_text(fds[0], "TP/1.1\r\nHost: x\r\n\r\n");
	text = receive_until(fixture, fds[0], "path=/late");
	free(text);
	send_text(fds[HTTPD_CONNECTIONS_MAX], "GET /new HTTP/1.1\r\nHost: x\r\n\r\n");
	text = receive_until(fixture, fds[HTTPD_CONNECTIONS_MAX], "path=/new");
	free(text);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		(void)close(fds[i]);
}

static void one_socket_serves_both_families(void **state)
{
	struct fixture *fixture = *state;
	const struct endpoint_addr all = {.port = 0};
	struct httpd *httpd = httpd_listen(fixture->loop, &all, answer, fixture, NULL);
	struct endpoint_addr ipv4 = loopback(0);

	assert_non_null(httpd);
	(void)httpd_free(fixture->httpd);
	fixture->httpd = httpd;
	ipv4.port = httpd_port(httpd);
	assert_int_not_equal(ipv4.port, 0);
	assert_answer(fixture, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200", "path=/");
}

static void a_port_in_use_is_an_error_that_names_it(void **state)
{
	struct fixture *fixture = *state;
	const struct endpoint_addr addr = loopback(httpd_port(fixture->httpd));
	char expected[128];
	struct err err;

	(void)snprintf(expected, sizeof(expected), "cannot listen on 127.0.0.1:%u: Address already in use",
		       addr.port);
	assert_null(httpd_listen(fixture->loop, &addr, answer, fixture, &err));
	assert_string_equal(err.text, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(path_and_query_reach_the_handler, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_handler_sets_status_type_and_fields, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(head_is_answered_without_a_body, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(other_methods_are_not_allowed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_requests_are_told_why, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(requests_follow_each_other_pipelined_or_not, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_answer_larger_than_the_socket_takes_arrives_whole, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_client_that_says_no_more_than_it_asked_still_gets_the_answer,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_request_never_completed_ends_after_five_seconds, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(beyond_the_limit_the_oldest_idle_connection_goes, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(one_socket_serves_both_families, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_port_in_use_is_an_error_that_names_it, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
