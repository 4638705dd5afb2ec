/* ingress/page: answers made here, byte for byte. */
/* LINK: ingress/page.c ingress/text.c base/addr.c base/buf.c base/chunked.c base/http1.c base/http_syntax.c base/str.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ingress/page.h"

static void assert_page(struct page page, const char *expected)
{
	size_t size = page_bytes_max(&page);
	char *buffer = malloc(size + 1);
	struct text out = {.p = buffer, .end = buffer + size};
	const char *body;
	size_t body_len;

	assert_non_null(buffer);
	body_len = page_write(&out, &page);
	assert_false(out.overflow);
	*out.p = '\0';
	assert_string_equal(buffer, expected);
	body = strstr(buffer, "\r\n\r\n");
	assert_non_null(body);
	assert_int_equal(strlen(body + 4), body_len);
	free(buffer);
}

static void an_error_page_says_status_and_reason(void **state)
{
	(void)state;
	assert_page(
	    (struct page){.status = 404, .date = STR_LIT("D"), .keep_alive = true},
	    "HTTP/1.1 404 Not Found\r\nDate: D\r\nContent-Type: text/html\r\nContent-Length: 118\r\n\r\n"
	    "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not "
	    "Found</h1></center>\r\n"
	    "</body>\r\n</html>\r\n");
}

static void head_gets_the_fields_and_no_body(void **state)
{
	(void)state;
	assert_page((struct page){.status = 404, .is_head = true},
		    "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 118\r\nConnection: "
		    "close\r\n\r\n");
}

static void a_redirect_names_the_same_target_on_https(void **state)
{
	struct page page = {.status = 308,
			    .redirect = {STR_LIT("h"), STR_LIT("/p"), STR_LIT("q=1")},
			    .is_head = true,
			    .keep_alive = true,
			    .client_is_http10 = true};

	(void)state;
	assert_page(page,
		    "HTTP/1.1 308 Permanent Redirect\r\nContent-Type: text/html\r\nContent-Length: 136\r\n"
		    "Location: https://h/p?q=1\r\nConnection: keep-alive\r\n\r\n");
}

static void a_realm_is_quoted_and_cannot_add_fields(void **state)
{
	(void)state;
	assert_page(
	    (struct page){
		.status = 401, .realm = STR_LIT("a\"b\\c\r\nX: y"), .is_head = true, .keep_alive = true},
	    "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\nContent-Length: 124\r\n"
	    "WWW-Authenticate: Basic realm=\"a\\\"b\\\\cX: y\"\r\n\r\n");
}

static void a_plain_answer_has_no_page(void **state)
{
	(void)state;
	assert_page((struct page){.status = 200, .plain = true, .keep_alive = true},
		    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_error_page_says_status_and_reason),
	    cmocka_unit_test(head_gets_the_fields_and_no_body),
	    cmocka_unit_test(a_redirect_names_the_same_target_on_https),
	    cmocka_unit_test(a_realm_is_quoted_and_cannot_add_fields),
	    cmocka_unit_test(a_plain_answer_has_no_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
