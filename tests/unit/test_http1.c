/* HTTP/1.1 messages: what exact bytes are taken for, whole and one octet at a time. */
/* LINK: base/http1.c base/http_syntax.c base/chunked.c base/addr.c base/buf.c base/str.c */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/http1.h"
#include "base/http_syntax.h"

/* ---- Reading a message as a caller would ---- */

enum { ACCEPTED = 0, INCOMPLETE = 1 };

struct reading {
	int outcome; /* ACCEPTED, INCOMPLETE or the status of the refusal */
	struct http_head head;
	struct buf body;
	size_t consumed_bytes;
};

static void reading_done(struct reading *reading)
{
	buf_done(&reading->body);
	free(reading);
}

/* Bytes of their own, so that the sanitizer sees a read beyond them. */
static char *exact_copy(const char *bytes, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

static ssize_t read_head(struct http1 *parser, struct str bytes, size_t step, struct http_head *head)
{
	ssize_t len = 0;

	for (size_t given = step; len == 0; given += step) {
		char *copy;

		if (given > bytes.len)
			given = bytes.len;
		copy = exact_copy(bytes.p, given);
		len = http1_head(parser, copy, given, head);
		free(copy);
		if (given == bytes.len)
			break;
	}
	/* Once more where the bytes stay, for the slices. */
	if (len > 0) {
		struct http1 again = {0};

		http1_init(&again, parser->direction, parser->limits);
		again.response_to_head = parser->response_to_head;
		again.response_to_connect = parser->response_to_connect;
		assert_int_equal(http1_head(&again, bytes.p, bytes.len, head), len);
	}
	return len;
}

static int read_body(struct http1 *parser, struct str bytes, size_t step, struct reading *reading)
{
	size_t at = 0, given = 0;
	bool done = http1_done(parser);

	while (!done) {
		struct str run;
		ssize_t consumed;

		if (at == given) {
			if (given == bytes.len)
				return INCOMPLETE;
			given = given + step < bytes.len ? given + step : bytes.len;
		}
		consumed = http1_body(parser, bytes.p + at, given - at, &run, &done);
		if (consumed < 0)
			return parser->error_status;
		assert_true(consumed > 0 || done);
		assert_int_equal(buf_append_str(&reading->body, run), 0);
		at += (size_t)consumed;
	}
	reading->consumed_bytes += at;
	return ACCEPTED;
}

static struct reading *read_message(struct http1 *parser, struct str bytes, size_t step)
{
	struct reading *reading = calloc(1, sizeof(*reading));
	ssize_t len;

	assert_non_null(reading);
	len = read_head(parser, bytes, step, &reading->head);
	if (len <= 0) {
		reading->outcome = len == 0 ? INCOMPLETE : parser->error_status;
		return reading;
	}
	reading->consumed_bytes = (size_t)len;
	reading->outcome =
	    read_body(parser, (struct str){bytes.p + len, bytes.len - (size_t)len}, step, reading);
	return reading;
}

static struct reading *read_request(struct str bytes, size_t step)
{
	struct http1 parser;

	http1_init(&parser, HTTP1_REQUEST, NULL);
	return read_message(&parser, bytes, step);
}

/* ---- The table of requests ---- */

struct request_case {
	const char *source; /* the section that decides */
	struct str bytes;
	int outcome;
};

#define R(source_, bytes_, outcome_)                                                  \
	{                                                                             \
		.source = (source_), .bytes = STR_INIT(bytes_), .outcome = (outcome_) \
	}
#define GET     "GET / HTTP/1.1\r\n"
#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"
#define HOST    "Host: a\r\n"
#define END     "\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct request_case request_cases[] = {
    /* Request line: shape and versions. */
    R("9112 3", GET HOST END, ACCEPTED),
    R("9112 3", "GET  / HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET /  HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET / HTTP/1.1 \r\n" HOST END, 400),
    R("9112 3", " GET / HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET\t/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET /\tHTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET / x HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET  HTTP/1.1\r\n" HOST END, 400),
    R("9112 3", "GET\r\n" HOST END, 400),
    R("9112 3", "/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 2.2", "GET / HTTP/1.1\n" HOST END, 400),
    R("9112 2.2", "GET / HTTP/1.1\r" HOST END, 400),
    R("9112 2.2", "GET /\r HTTP/1.1\r\n" HOST END, 400),
    R("9112 2.2", "GET / HTTP/1.1\r\r\n" HOST END, 400),
    R("9112 2.2", "G\0ET / HTTP/1.1\r\n" HOST END, 400),
    R("9112 2.2", "GET /\0 HTTP/1.1\r\n" HOST END, 400),
    R("9112 2.2", "\r\n" GET HOST END, ACCEPTED),
    R("9112 2.2", "\r\n\r\n" GET HOST END, ACCEPTED),
    R("9112 2.2", "\r\n\r\n\r\n\r\n\r\n" GET HOST END, 400),
    R("9112 2.2", "\n" GET HOST END, 400),
    R("9112 2.2", "\r" GET HOST END, 400),
    R("9112 2.2", " \r\n" GET HOST END, 400),
    R("9112 2.3", "GET / HTTP/1.0\r\n\r\n", ACCEPTED),
    R("9112 2.3", "GET /\r\n\r\n", 400), /* HTTP/0.9 */
    R("9112 2.3", "GET / HTTP/0.9\r\n" HOST END, 505),
    R("9112 2.3", "GET / HTTP/2.0\r\n" HOST END, 505),
    R("9112 2.3", "GET / HTTP/3.0\r\n" HOST END, 505),
    R("9112 2.3", "GET / HTTP/1.2\r\n" HOST END, 505),
    R("9112 2.3", "GET / HTTP/9.9\r\n" HOST END, 505),
    R("9112 2.3", "GET / HTTP/1\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP/1.\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP/.1\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP/1.10\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP/11.1\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP/1,1\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP/1.a\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTP /1.1\r\n" HOST END, 400),
    R("9112 2.3", "GET / http/1.1\r\n" HOST END, 400),
    R("9112 2.3", "GET / HTTPS/1.1\r\n" HOST END, 400),
    R("9112 2.3", "GET / RTSP/1.0\r\n" HOST END, 400),
    R("9112 2.3", "SOURCE / ICE/1.0\r\n" HOST END, 400),
    R("9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    R("8446 4.1.2", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400), /* a TLS hello */
    R("9112 3", "\x80\x2e\x01\x03\x01", 400),

    /* Methods. */
    R("9110 9.1", "get / HTTP/1.1\r\n" HOST END, 501),
    R("9110 9.1", "FOO / HTTP/1.1\r\n" HOST END, 501),
    R("9110 9.1", "GETX / HTTP/1.1\r\n" HOST END, 501),
    R("9110 9.1", "GE / HTTP/1.1\r\n" HOST END, 501),
    R("9110 9.1", "DESCRIBE / HTTP/1.1\r\n" HOST END, 501), /* of RTSP */
    R("9110 9.1", "PRI * HTTP/1.1\r\n" HOST END, 501),
    R("9110 9.1", "PRI / HTTP/1.1\r\n" HOST END, 501),
    R("9110 9.1", "G@T / HTTP/1.1\r\n" HOST END, 400),
    R("9110 9.1", "G{}T / HTTP/1.1\r\n" HOST END, 400),
    R("9110 9.1", "GET: / HTTP/1.1\r\n" HOST END, 400),
    R("9110 9.1", "\"GET / HTTP/1.1\r\n" HOST END, 400),
    R("9110 9.1", "G\xc3\x89T / HTTP/1.1\r\n" HOST END, 400),
    R("9110 9.3.8", "TRACE / HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("5789 2", "PATCH / HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("4918 9.1", "PROPFIND / HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9110 9.1", "M-SEARCH / HTTP/1.1\r\n" HOST END, ACCEPTED),

    /* Targets: the four forms. */
    R("9112 3.2.1", "GET foo HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.1", "GET foo/bar HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.1", "GET ../ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.1", "GET ?a HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.1", "GET \\ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.1", "GET //a/b HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9112 3.2.2", "GET http://a/ HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9112 3.2.2", "GET HTTP://A/x HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9112 3.2.2", "GET https://a HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9112 3.2.2", "GET http://a?b HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9112 3.2.2", "GET http://b/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET http://a:81/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
    R("9112 3.2.2", "GET http://a/ HTTP/1.1\r\n\r\n", 400), /* Host is required all the same */
    R("9112 3.2.2", "GET http://a/ HTTP/1.0\r\n\r\n", ACCEPTED),
    R("9110 4.2.1", "GET http:///x HTTP/1.1\r\n" HOST END, 400),
    R("9110 4.2.1", "GET http://:80/x HTTP/1.1\r\n" HOST END, 400),
    R("9110 4.2.4", "GET http://u@a/ HTTP/1.1\r\n" HOST END, 400),
    R("9110 4.2.4", "GET http://u:p@a/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET ftp://a/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET httpx://a/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET http:/a/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET http:a HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET a:80 HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET http://a\\b/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.2", "GET http://a#b/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.3", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ACCEPTED),
    R("9112 3.2.3", "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", ACCEPTED),
    R("9112 3.2.3", "CONNECT a HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.3", "CONNECT a: HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.3", "CONNECT [::1] HTTP/1.1\r\nHost: [::1]\r\n\r\n", 400),
    R("9112 3.2.3", "CONNECT / HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.3", "CONNECT http://a/ HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.3", "CONNECT b:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
    R("9112 3.2.4", "OPTIONS * HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("9112 3.2.4", "GET * HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2.4", "OPTIONS *x HTTP/1.1\r\n" HOST END, 400),

    /* Targets: octets. */
    R("9112 3.2", "GET /#f HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2", "GET /?#f HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2", "GET /\x7f HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2", "GET /\x01 HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2", "GET /\xc3\xbc HTTP/1.1\r\n" HOST END, 400),
    R("9112 3.2", "GET /?\xc3\xbc HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /%C3%BC HTTP/1.1\r\n" HOST END, ACCEPTED),
    R("3986 2.1", "GET /% HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /%2 HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /%2?a HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /%zz HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /%%41 HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /%u0041 HTTP/1.1\r\n" HOST END, 400),
    R("3986 7.3", "GET /a%00b HTTP/1.1\r\n" HOST END, 400),
    R("3986 2.1", "GET /?q=100% HTTP/1.1\r\n" HOST END, ACCEPTED), /* browsers send it so */
    R("3986 3.3", "GET /a\\..\\b HTTP/1.1\r\n" HOST END, 400),
    R("3986 3.4", "GET /?a[]=|&b={}&c=\\?/ HTTP/1.1\r\n" HOST END, ACCEPTED),

    /* Host. */
    R("9112 3.2", GET END, 400),
    R("9112 3.2", GET HOST HOST END, 400),
    R("9112 3.2", GET HOST "Host: b\r\n\r\n", 400),
    R("9112 3.2", GET HOST "hOST: a\r\n\r\n", 400),
    R("9112 3.2", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    R("9112 3.2", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400),
    R("9110 4.2.1", GET "Host:\r\n\r\n", 400),
    R("9110 4.2.1", GET "Host: \t \r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:80\r\n\r\n", ACCEPTED),
    R("9110 7.2", GET "Host: a:\r\n\r\n", ACCEPTED),
    R("9110 7.2", GET "Host: \tA-b_c.example.COM.\t\r\n\r\n", ACCEPTED),
    R("9110 7.2", GET "Host: 1.2.3.4:65535\r\n\r\n", ACCEPTED),
    R("9110 7.2", GET "Host: a:65536\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:080808\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:000080\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:80x\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:x\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:-1\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:+80\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a:80:80\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a: 80\r\n\r\n", 400),
    R("9110 7.2", GET "Host: :80\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a,b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a, a\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a/b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a?b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a#b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a@b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: http://a\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a\\b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: \"a\"\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a%2eb\r\n\r\n", 400),
    R("9110 7.2", GET "Host: a$b\r\n\r\n", 400),
    R("9110 7.2", GET "Host: \xc3\xbc\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [::1]\r\n\r\n", ACCEPTED),
    R("3986 3.2.2", GET "Host: [2001:db8::1]:8080\r\n\r\n", ACCEPTED),
    R("3986 3.2.2", GET "Host: [::1\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: ::1\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [::1]a\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [::1]:x\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: []\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [1.2.3.4]\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [::1%25eth0]\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [v1.a]\r\n\r\n", 400),
    R("3986 3.2.2", GET "Host: [::zz]\r\n\r\n", 400),

    /* Field syntax. */
    R("9112 5.1", GET HOST "A : b\r\n\r\n", 400),
    R("9112 5.1", GET HOST "A\t: b\r\n\r\n", 400),
    R("9112 5.1", GET "Host : a\r\n\r\n", 400),
    R("9112 5.1", GET HOST "A B: c\r\n\r\n", 400),
    R("9112 5", GET HOST ": b\r\n\r\n", 400),
    R("9112 5", GET HOST "A\r\n\r\n", 400),
    R("9112 5", GET HOST "=\r\n\r\n", 400),
    R("9112 5.2", GET HOST "A: b\r\n c\r\n\r\n", 400),
    R("9112 5.2", GET HOST "A: b\r\n\tc\r\n\r\n", 400),
    R("9112 5.2", GET HOST "A: b\r\n \r\n\r\n", 400),
    R("9112 5.2", GET HOST "A:\r\n b\r\n\r\n", 400),
    R("9112 2.2", GET " Host: a\r\n\r\n", 400),
    R("9112 2.2", GET "\tHost: a\r\n\r\n", 400),
    R("9112 2.2", GET "Host: a\n\r\n", 400),
    R("9112 2.2", GET "Host: a\r\n\n", 400),
    R("9112 2.2", GET "Host: a\n\n", 400),
    R("9112 2.2", GET HOST "A: b\rC: d\r\n\r\n", 400),
    R("9112 2.2", GET HOST "A: b\nC: d\r\n\r\n", 400),
    R("9112 2.2", GET HOST "A: b\r\r\n\r\n", 400),
    R("9112 2.2", GET HOST "\rA: b\r\n\r\n", 400),
    R("9112 2.2", GET HOST "A: b\r\n\rX", 400),
    R("9110 5.5", GET HOST "A: b\0c\r\n\r\n", 400),
    R("9110 5.5", GET HOST "A: \x01\r\n\r\n", 400),
    R("9110 5.5", GET HOST "A: \x7f\r\n\r\n", 400),
    R("9110 5.5", GET HOST "A: \x0b\r\n\r\n", 400),
    R("9110 5.5", GET HOST "A: \x1b[0m\r\n\r\n", 400),
    R("9110 5.5", GET HOST "A: b\tc \xc3\xbc\r\n\r\n", ACCEPTED),
    R("9110 5.5", GET HOST "A:\r\n\r\n", ACCEPTED),
    R("9110 5.5", GET HOST "A:b\r\n\r\n", ACCEPTED),
    R("9110 5.6.2", GET HOST "A\0: b\r\n\r\n", 400),
    R("9110 5.6.2", GET HOST "A(: b\r\n\r\n", 400),
    R("9110 5.6.2", GET HOST "A/B: b\r\n\r\n", 400),
    R("9110 5.6.2", GET HOST "\"A\": b\r\n\r\n", 400),
    R("9110 5.6.2", GET HOST "A\xc3\xbc: b\r\n\r\n", 400),
    R("9110 5.6.2", GET HOST "!#$%&'*+-.^_`|~09: b\r\n\r\n", ACCEPTED),

    /* Content-Length. */
    R("9112 6.2", POST "Content-Length: 3\r\n\r\nabc", ACCEPTED),
    R("9112 6.2", POST "Content-Length: 0\r\n\r\n", ACCEPTED),
    R("9112 6.2", POST "Content-Length: 003\r\n\r\nabc", ACCEPTED),
    R("9112 6.2", POST "Content-Length: 3\r\n\r\nab", INCOMPLETE),
    R("9112 6.3", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    R("9112 6.3", POST "Content-Length: 3\r\ncontent-LENGTH: 4\r\n\r\nabc", 400),
    R("9112 6.3", POST "Content-Length: 3, 3\r\n\r\nabc", 400),
    R("9112 6.3", POST "Content-Length: 3,\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length:\r\n\r\n", 400),
    R("9110 8.6", POST "Content-Length: +3\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: -3\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: -0\r\n\r\n", 400),
    R("9110 8.6", POST "Content-Length: 0x3\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: a\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: 3e0\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: 3.0\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: 3 0\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: \"3\"\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: 3;a\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: \xb3\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: 9223372036854775807\r\n\r\n", INCOMPLETE),
    R("9110 8.6", POST "Content-Length: 9223372036854775808\r\n\r\n", 400),
    R("9110 8.6", POST "Content-Length: 18446744073709551619\r\n\r\nabc", 400),
    R("9110 8.6", POST "Content-Length: 99999999999999999999999\r\n\r\nabc", 400),
    R("9112 6.2", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", ACCEPTED),

    /* Transfer-Encoding. */
    R("9112 6.1", POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ACCEPTED),
    R("9112 6.1", POST "Transfer-Encoding: CHUNKed\r\n\r\n0\r\n\r\n", ACCEPTED),
    R("9112 6.1", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.1", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.1", POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.1", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.1", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    R("9112 6.1", POST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501),
    R("9112 6.1", POST "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    R("9112 6.1", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.1", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: gzip\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: identity\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunke\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding:\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: chunked x\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: ch\xc3\xbcnked\r\n\r\n0\r\n\r\n", 400),
    R("9112 6.3", POST "Transfer-Encoding: \xc5\xbfhunked\r\n\r\n", 400), /* a look-alike letter */
    R("9112 5.1", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 5.1", POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 5.2", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    R("9110 5.5",
      POST "Transfer-Encoding: \x0b"
	   "chunked\r\n\r\n0\r\n\r\n",
      400),
    R("9110 5.5", POST "Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n", 400),
    R("9110 5.5", POST "Transfer-Encoding: \0chunked\r\n\r\n0\r\n\r\n", 400),
    R("9112 5.1", POST "Transfer-Encoding: \tchunked \r\n\r\n0\r\n\r\n", ACCEPTED),
    R("9110 7.6.1", POST "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),

    /* Chunks. */
    R("9112 7.1", CHUNKED "3\r\nabc\r\n0\r\n\r\n", ACCEPTED),
    R("9112 7.1", CHUNKED "0003\r\nabc\r\n000\r\n\r\n", ACCEPTED),
    R("9112 7.1", CHUNKED "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", ACCEPTED),
    R("9112 7.1", CHUNKED "3\r\nabc\r\n", INCOMPLETE),
    R("9112 7.1", CHUNKED "3\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabc\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabc0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabcd\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabcXX0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabc\rX0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nab\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\rabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\rabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "+3\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "-3\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3h\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3_\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED " 3\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3 \r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\t\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3, 3\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "\r\n", 400),
    R("9112 7.1", CHUNKED ";a\r\nabc\r\n", 400),
    R("9112 7.1", CHUNKED "7fffffffffffffff\r\n", INCOMPLETE),
    R("9112 7.1", CHUNKED "8000000000000000\r\n", 400),
    R("9112 7.1", CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "ffffffffffffffffffff\r\n", 400),
    R("9112 7.1", CHUNKED "3\r abc\r\n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabc \n0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "3\r\nabc\r 0\r\n\r\n", 400),
    R("9112 7.1", CHUNKED "0\r\n\r ", 400),
    R("9112 7.1", CHUNKED "0\r\nA: b\r \r\n", 400),
    R("9112 7.1", CHUNKED "0\r\n\rX", 400),
    R("9112 7.1", CHUNKED "0\r\n\n", 400),
    R("9112 7.1", CHUNKED "0\r\n", INCOMPLETE),
    R("9112 7.1.1", CHUNKED "3;a=b;c=\"d;e \\\" f\";g\r\nabc\r\n0;x\r\n\r\n", ACCEPTED),
    R("9112 7.1.1", CHUNKED "3;\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;=a\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=b=c\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a b\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3; a\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3 ;a\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=\"b\"c\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=\"b\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=\"b\\\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a\rabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a\0\r\nabc\r\n0\r\n\r\n", 400),
    R("9112 7.1.1", CHUNKED "3;a\x7f\r\nabc\r\n0\r\n\r\n", 400),

    /* Trailers. */
    R("9112 7.1.2", CHUNKED "0\r\nA: b\r\nC:\r\n\r\n", ACCEPTED),
    R("9112 7.1.2", CHUNKED "0\r\nA : b\r\n\r\n", 400),
    R("9112 7.1.2", CHUNKED "0\r\n: b\r\n\r\n", 400),
    R("9112 7.1.2", CHUNKED "0\r\nA\r\n\r\n", 400),
    R("9112 7.1.2", CHUNKED "0\r\nA: b\n\r\n", 400),
    R("9112 7.1.2", CHUNKED "0\r\nA: b\rX\r\n\r\n", 400),
    R("9112 7.1.2", CHUNKED "0\r\nA: b\0\r\n\r\n", 400),
    R("9112 7.1.2", CHUNKED "0\r\nA: b\r\n c\r\n\r\n", 400),
    R("9110 6.5.1", CHUNKED "0\r\nContent-Length: 7\r\n\r\n", 400),
    R("9110 6.5.1", CHUNKED "0\r\nTransfer-encoding: chunked\r\n\r\n", 400),
    R("9110 6.5.1", CHUNKED "0\r\nHost: x\r\nAuthorization: y\r\n\r\n", ACCEPTED), /* dropped */

    /* Connection, Expect. */
    R("9110 7.6.1", GET HOST "Connection: Host\r\n\r\n", 400),
    R("9110 7.6.1", POST "Content-Length: 0\r\nConnection: close, content-length\r\n\r\n", 400),
    R("9110 7.6.1", GET HOST "Connection: ,, close,\r\n\r\n", ACCEPTED),
    R("9110 7.6.1",
      GET HOST "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n\r\n",
      ACCEPTED),
    R("9110 7.6.1",
      GET HOST "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n\r\n", 400),
    R("9110 10.1.1", POST "Expect: 100-Continue\r\nContent-Length: 0\r\n\r\n", ACCEPTED),
    R("9110 10.1.1", POST "Expect: 200-maybe\r\nContent-Length: 0\r\n\r\n", 417),
    R("9110 10.1.1", POST "Expect: 100-continue, x\r\nContent-Length: 0\r\n\r\n", 417),
    R("9110 10.1.1", POST "Expect:\r\nContent-Length: 0\r\n\r\n", 417),
    R("9110 10.1.1", "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", ACCEPTED),

    /* Not all there yet. */
    R("9112 2.1", "", INCOMPLETE),
    R("9112 2.1", "GET", INCOMPLETE),
    R("9112 2.1", GET, INCOMPLETE),
    R("9112 2.1", GET HOST, INCOMPLETE),
    R("9112 2.1", GET HOST "\r", INCOMPLETE),
    R("9112 2.2", "\r", INCOMPLETE),
};

static void print_case(const char *source, struct str bytes)
{
	struct buf text = {0};
	char *line;

	(void)buf_append_json(&text, bytes);
	line = buf_take_text(&text);
	print_error("RFC %s: %s\n", source, line);
	free(line);
}

static void every_request_gets_the_answer_it_deserves_however_it_is_cut(void **state)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 7};
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(request_cases); i++) {
		for (size_t n = 0; n < ARRAY_LEN(steps); n++) {
			const struct request_case *c = &request_cases[i];
			struct reading *reading = read_request(c->bytes, steps[n]);

			if (reading->outcome != c->outcome) {
				print_case(c->source, c->bytes);
				print_error("  step %zu: %d, expected %d\n", steps[n], reading->outcome,
					    c->outcome);
				wrong++;
			}
			reading_done(reading);
		}
	}
	print_message("%zu requests\n", ARRAY_LEN(request_cases));
	assert_int_equal(wrong, 0);
}

static void a_second_request_behind_the_first_is_read_as_its_own(void **state)
{
	int seconds = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(request_cases); i++) {
		const struct request_case *c = &request_cases[i];
		struct buf both = {0};
		struct reading *first;

		if (c->outcome != ACCEPTED)
			continue;
		assert_int_equal(buf_append_str(&both, c->bytes), 0);
		assert_int_equal(buf_append_text(&both, "GET /second HTTP/1.1\r\nHost: b\r\n\r\n"), 0);
		first = read_request(buf_str(&both), SIZE_MAX / 2);
		if (first->consumed_bytes != c->bytes.len)
			print_case(c->source, c->bytes);
		assert_int_equal(first->consumed_bytes, c->bytes.len);
		reading_done(first);
		buf_done(&both);
		seconds++;
	}
	assert_true(seconds > 40);
}

static void a_refusal_is_final(void **state)
{
	struct http_head head;
	struct http1 parser;
	struct str run;
	bool done;

	(void)state;
	http1_init(&parser, HTTP1_REQUEST, NULL);
	assert_int_equal(http1_head(&parser, "GET / HTTP/1.1\n", 15, &head), -EBADMSG);
	http1_next(&parser);
	assert_int_equal(http1_head(&parser, GET HOST END, strlen(GET HOST END), &head), -EBADMSG);
	assert_int_equal(http1_body(&parser, "x", 1, &run, &done), -EBADMSG);
	assert_false(done);
	assert_int_equal(http1_eof(&parser), -EBADMSG);
	assert_int_equal(parser.error_status, 400);
	assert_string_equal(parser.error_reason, "line feed alone");
}

/* ---- What an accepted request is taken for ---- */

#define ASSERT_STR(slice, text)                                                                          \
	do {                                                                                             \
		if (!str_is((slice), (text)))                                                            \
			fail_msg("\"%.*s\" is not \"%s\"", (int)(slice).len, (slice).p ? (slice).p : "", \
				 (text));                                                                \
	} while (0)

static void the_target_is_split_into_path_and_query(void **state)
{
	static const struct {
		const char *request, *scheme, *host, *path, *query; /* NULL: none */
	} cases[] = {
	    {"GET /a/b?c=d?e HTTP/1.1\r\nHost: x:80\r\n\r\n", NULL, "x:80", "/a/b", "c=d?e"},
	    {"GET /? HTTP/1.1\r\nHost: x:\r\n\r\n", NULL, "x", "/", ""},
	    {"GET / HTTP/1.0\r\n\r\n", NULL, NULL, "/", NULL},
	    {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", NULL, "x", "*", NULL},
	    {"GET http://X HTTP/1.1\r\nHost: x\r\n\r\n", "http", "X", "/", NULL},
	    {"GET HTTPS://x:1/y?z HTTP/1.1\r\nHost: x:1\r\n\r\n", "HTTPS", "x:1", "/y", "z"},
	    {"GET http://x?y HTTP/1.1\r\nHost: x\r\n\r\n", "http", "x", "/", "y"},
	    {"OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n", "http", "x", "*", NULL},
	    {"OPTIONS http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "http", "x", "/", NULL},
	    {"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", NULL, "x:1", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct reading *reading = read_request(str_of(cases[i].request), 1);
		const struct http_head *head = &reading->head;

		assert_int_equal(reading->outcome, ACCEPTED);
		assert_int_equal(head->scheme.p != NULL, cases[i].scheme != NULL);
		assert_int_equal(head->host.p != NULL, cases[i].host != NULL);
		assert_int_equal(head->path.p != NULL, cases[i].path != NULL);
		assert_int_equal(head->query.p != NULL, cases[i].query != NULL);
		ASSERT_STR(head->scheme, cases[i].scheme ? cases[i].scheme : "");
		ASSERT_STR(head->host, cases[i].host ? cases[i].host : "");
		ASSERT_STR(head->path, cases[i].path ? cases[i].path : "");
		ASSERT_STR(head->query, cases[i].query ? cases[i].query : "");
		reading_done(reading);
	}
}

static void fields_come_with_trimmed_values_and_known_names(void **state)
{
	struct reading *reading = read_request(STR_LIT("GET / HTTP/1.1\r\n"
						       "HOST: \t a \r\n"
						       "x-forwarded-Anything: 1\r\n"
						       "Cookie:a=b;\tc=d\t\r\n"
						       "Empty: \r\n"
						       "X_Forwarded_For: 2\r\n"
						       "cookie: e\r\n"
						       "Content-Length: 000\r\n\r\n"),
					       1);
	const struct http_head *head = &reading->head;

	(void)state;
	assert_int_equal(reading->outcome, ACCEPTED);
	assert_int_equal(head->field_count, 7);
	ASSERT_STR(head->method, "GET");
	ASSERT_STR(head->target, "/");
	ASSERT_STR(head->fields[0].name, "HOST");
	ASSERT_STR(head->fields[0].value, "a");
	assert_int_equal(head->fields[1].id, HTTP_NAME_X_FORWARDED);
	ASSERT_STR(head->fields[2].value, "a=b;\tc=d");
	ASSERT_STR(head->fields[3].value, "");
	assert_int_equal(head->fields[4].id, HTTP_NAME_OTHER);
	assert_true(head->fields[4].underscore && !head->fields[3].underscore);
	ASSERT_STR(http_head_find(head, HTTP_NAME_COOKIE)->value, "a=b;\tc=d");
	assert_null(http_head_find(head, HTTP_NAME_ORIGIN));
	ASSERT_STR(http_head_get(head, "EMPTY"), "");
	assert_non_null(http_head_get(head, "EMPTY").p);
	assert_null(http_head_get(head, "Absent").p);
	ASSERT_STR(http_head_get(head, "content-length"), "0");
	assert_int_equal(head->framing, HTTP_BODY_LENGTH);
	reading_done(reading);
}

static void every_known_name_is_known_in_any_case(void **state)
{
	static const struct {
		const char *name;
		enum http_name id;
	} cases[] = {
	    {"Host", HTTP_NAME_HOST},
	    {"Connection", HTTP_NAME_CONNECTION},
	    {"Content-Length", HTTP_NAME_CONTENT_LENGTH},
	    {"Transfer-Encoding", HTTP_NAME_TRANSFER_ENCODING},
	    {"TE", HTTP_NAME_TE},
	    {"Trailer", HTTP_NAME_TRAILER},
	    {"Upgrade", HTTP_NAME_UPGRADE},
	    {"Keep-Alive", HTTP_NAME_KEEP_ALIVE},
	    {"Proxy", HTTP_NAME_PROXY},
	    {"Proxy-Connection", HTTP_NAME_PROXY_CONNECTION},
	    {"Proxy-Authenticate", HTTP_NAME_PROXY_AUTHENTICATE},
	    {"Proxy-Authorization", HTTP_NAME_PROXY_AUTHORIZATION},
	    {"Expect", HTTP_NAME_EXPECT},
	    {"Authorization", HTTP_NAME_AUTHORIZATION},
	    {"Cookie", HTTP_NAME_COOKIE},
	    {"X-Forwarded-For", HTTP_NAME_X_FORWARDED},
	    {"X-Forwarded-", HTTP_NAME_X_FORWARDED},
	    {"X-Forwarded-Client-Certificate-Chain", HTTP_NAME_X_FORWARDED},
	    {"X-Real-IP", HTTP_NAME_X_REAL_IP},
	    {"X-Request-ID", HTTP_NAME_X_REQUEST_ID},
	    {"X-Scheme", HTTP_NAME_X_SCHEME},
	    {"X-Original-Forwarded-For", HTTP_NAME_X_ORIGINAL_FORWARDED},
	    {"X-Original-Forwarded-Host", HTTP_NAME_X_ORIGINAL_FORWARDED},
	    {"Forwarded", HTTP_NAME_FORWARDED},
	    {"Server", HTTP_NAME_SERVER},
	    {"Date", HTTP_NAME_DATE},
	    {"Location", HTTP_NAME_LOCATION},
	    {"Strict-Transport-Security", HTTP_NAME_STRICT_TRANSPORT_SECURITY},
	    {"User-Agent", HTTP_NAME_USER_AGENT},
	    {"Referer", HTTP_NAME_REFERER},
	    {"Origin", HTTP_NAME_ORIGIN},
	    {"X-Forwarded", HTTP_NAME_OTHER},
	    {"Hosts", HTTP_NAME_OTHER},
	    {"Hos", HTTP_NAME_OTHER},
	    {"H", HTTP_NAME_OTHER},
	    {"X-Original-URL", HTTP_NAME_OTHER},
	};
	bool seen[HTTP_NAME_COUNT] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char upper[64] = {0};

		for (size_t n = 0; cases[i].name[n]; n++)
			upper[n] = cases[i].name[n] >= 'a' && cases[i].name[n] <= 'z'
				       ? (char)(cases[i].name[n] - 'a' + 'A')
				       : cases[i].name[n];
		assert_int_equal(http_name_of(str_of(cases[i].name)), cases[i].id);
		assert_int_equal(http_name_of(str_of(upper)), cases[i].id);
		seen[cases[i].id] = true;
	}
	for (size_t i = 0; i < HTTP_NAME_COUNT; i++)
		assert_true(seen[i]);
}

static void fields_named_in_connection_are_not_forwarded(void **state)
{
	struct reading *reading = read_request(STR_LIT("GET / HTTP/1.1\r\nHost: a\r\n"
						       "Connection: close, X-One\r\n"
						       "X-one: 1\r\nX-Two: 2\r\nTE: trailers\r\n"
						       "Connection: keep-alive,\tx-two\r\n\r\n"),
					       1);
	const struct http_head *head = &reading->head;

	(void)state;
	assert_int_equal(reading->outcome, ACCEPTED);
	assert_false(head->fields[0].nominated);
	assert_true(head->fields[2].nominated && http_field_is_hop_by_hop(&head->fields[2]));
	assert_true(head->fields[3].nominated);
	assert_true(!head->fields[4].nominated && http_field_is_hop_by_hop(&head->fields[4]));
	assert_false(http_field_is_hop_by_hop(&head->fields[0]));
	assert_false(head->keep_alive); /* close wins */
	reading_done(reading);
}

static void persistence_and_upgrades_follow_version_and_connection(void **state)
{
	static const struct {
		const char *version, *fields;
		bool keep_alive, upgrade, expect;
	} cases[] = {
	    {"1", "", true, false, false},
	    {"1", "Connection: close\r\n", false, false, false},
	    {"1", "Connection: CLOSE\r\n", false, false, false},
	    {"0", "", false, false, false},
	    {"0", "Connection: Keep-Alive\r\n", true, false, false},
	    {"0", "Connection: keep-alive, close\r\n", false, false, false},
	    {"1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true, false},
	    {"1", "Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n", true, true, false},
	    {"1", "Upgrade: websocket\r\n", true, false, false},
	    {"1", "Connection: upgrade\r\n", true, false, false},
	    {"1", "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", true, false, false},
	    {"0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false, false},
	    {"1", "Expect: 100-continue\r\n", true, false, true},
	    {"0", "Expect: 100-continue\r\n", false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct reading *reading;
		char request[256];

		(void)snprintf(request, sizeof(request), "GET / HTTP/1.%s\r\nHost: a\r\n%s\r\n",
			       cases[i].version, cases[i].fields);
		reading = read_request(str_of(request), 1);
		assert_int_equal(reading->outcome, ACCEPTED);
		if (reading->head.keep_alive != cases[i].keep_alive ||
		    reading->head.upgrade != cases[i].upgrade ||
		    reading->head.expect_continue != cases[i].expect)
			fail_msg("HTTP/1.%s %s", cases[i].version, cases[i].fields);
		if (cases[i].upgrade)
			ASSERT_STR(reading->head.upgrade_protocol, "websocket");
		reading_done(reading);
	}
}

/* ---- Limits ---- */

/* `count` times `text` between two others. */
static struct buf repeated(const char *before, const char *text, size_t count, const char *after)
{
	struct buf buf = {0};

	(void)buf_append_text(&buf, before);
	for (size_t i = 0; i < count; i++)
		(void)buf_append_text(&buf, text);
	(void)buf_append_text(&buf, after);
	assert_false(buf_failed(&buf));
	return buf;
}

static void limits_hold_to_the_octet(void **state)
{
	static const struct {
		const char *before, *text;
		size_t count;
		const char *after;
		int outcome;
	} cases[] = {
	    {"GET /", "x", 8192 - 14, " HTTP/1.1\r\n" HOST END, ACCEPTED},
	    {"GET /", "x", 8192 - 13, " HTTP/1.1\r\n" HOST END, 414},
	    {"GET /", "x", 8192 - 4, "", 414}, /* at once, not when the line ends */
	    {"GET /", "x", 100000, "", 414},
	    {"", "G", 10000, "", 414},
	    {GET HOST "A: ", "x", 32768 - 16 - 9 - 3 - 4, "\r\n\r\n", ACCEPTED},
	    {GET HOST "A: ", "x", 32768 - 16 - 9 - 3 - 3, "\r\n\r\n", 431},
	    {GET HOST "A: ", "x", 32768 - 16 - 9 - 3, "", 431}, /* at once, no octet more is waited for */
	    {GET HOST "A: ", "x", 32768 - 16 - 9 - 3 - 1, "", INCOMPLETE},
	    {GET HOST "A: ", "x", 100000, "", 431},
	    {GET HOST, "A: b\r\n", 99, END, ACCEPTED},
	    {GET HOST, "A: b\r\n", 100, END, 431},
	    {GET HOST, "A: b\r\n", 100, "", 431},
	    {"", "\r\n", 4, GET HOST END, ACCEPTED},
	    {"", "\r\n", 5, "", 400},
	    {GET "Host: ", "a", 255, "\r\n\r\n", ACCEPTED},
	    {GET "Host: ", "a", 256, "\r\n\r\n", 400},
	    {CHUNKED "3;", "a", 268, "\r\nabc\r\n0\r\n\r\n", ACCEPTED},
	    {CHUNKED "3;", "a", 269, "\r\nabc\r\n0\r\n\r\n", 400},
	    {CHUNKED "3;", "a", 65536, "", 400},
	    {CHUNKED, "0", 270, "\r\n\r\n", ACCEPTED},
	    {CHUNKED, "0", 271, "\r\n\r\n", 400},
	    {CHUNKED, "0", 100000, "", 400},
	    {CHUNKED "0\r\nA: ", "x", 4096 - 7, "\r\n\r\n", ACCEPTED},
	    {CHUNKED "0\r\nA: ", "x", 4096 - 6, "\r\n\r\n", 400},
	    {CHUNKED "0\r\n", "A: b\r\n", 10000, "\r\n", 400},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf buf = repeated(cases[i].before, cases[i].text, cases[i].count, cases[i].after);

		for (size_t step = 1; step < SIZE_MAX / 16; step *= 997) {
			struct reading *reading = read_request(buf_str(&buf), step);

			if (reading->outcome != cases[i].outcome)
				fail_msg("case %zu, step %zu: %d, expected %d", i, step, reading->outcome,
					 cases[i].outcome);
			reading_done(reading);
			if (step == 1 && buf_len(&buf) > 5000)
				step = 13; /* octet by octet over copies is quadratic */
		}
		buf_done(&buf);
	}
}

static void limits_may_be_tightened(void **state)
{
	static const struct http1_limits limits = {
	    .start_line_bytes = 20,
	    .head_bytes = 40,
	    .field_count = 2,
	    .chunk_line_bytes = 8,
	    .trailer_bytes = 8,
	};
	static const struct {
		const char *request;
		int outcome;
	} cases[] = {
	    {"GET /1234567 HTTP/1.1\r\nHost: a\r\n\r\n", 414},
	    {"GET /123456 HTTP/1.1\r\nHost: a\r\n\r\n", ACCEPTED},
	    {GET HOST "A: 2345678\r\n\r\n", ACCEPTED},
	    {GET HOST "A: 234567890\r\n\r\n", 431},
	    {GET HOST "A:\r\nB:\r\n\r\n", 431},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct reading *reading;
		struct http1 parser;

		http1_init(&parser, HTTP1_REQUEST, &limits);
		reading = read_message(&parser, str_of(cases[i].request), 1);
		if (reading->outcome != cases[i].outcome)
			fail_msg("%s: %d", cases[i].request, reading->outcome);
		reading_done(reading);
	}
}

/* ---- Bodies and trailers ---- */

static void bodies_arrive_whole_however_they_are_cut(void **state)
{
	static const struct {
		const char *bytes, *body;
	} cases[] = {
	    {GET HOST END, ""},
	    {POST "Content-Length: 11\r\n\r\nhello world", "hello world"},
	    {CHUNKED "5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nA: b\r\n\r\n", "hello world"},
	    {CHUNKED "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t step = 1; step < 40; step++) {
			struct reading *reading = read_request(str_of(cases[i].bytes), step);

			assert_int_equal(reading->outcome, ACCEPTED);
			ASSERT_STR(buf_str(&reading->body), cases[i].body);
			assert_int_equal(reading->consumed_bytes, strlen(cases[i].bytes));
			reading_done(reading);
		}
	}
}

static void only_trailers_that_change_nothing_are_kept(void **state)
{
	static const char request[] =
	    CHUNKED "0\r\n"
		    "Grpc-Status: \t 0 \r\n"
		    "Host: b\r\nTE: c\r\n"
		    "Authorization: x\r\nSet-Cookie: a=b\r\nCookie: c\r\n"
		    "X-Forwarded-For: 1.2.3.4\r\nX_Real_IP: 1.2.3.4\r\n"
		    "Content-Type: text/html\r\nConnection: close\r\nIf-Match: x\r\n"
		    "Cache-Control: no-store\r\nTrailer: a\r\n"
		    "A-Name-That-Is-Much-Longer-Than-Any-Name-Ought-To-Be-In-A-Trailer-Field: x\r\n"
		    "Empty: \r\n"
		    "Digest: a b\tc\r\n\r\n";

	(void)state;
	for (size_t step = 1; step < 400; step += 13) {
		struct reading *reading;
		struct http1 parser;
		struct buf trailers = {0};

		http1_init(&parser, HTTP1_REQUEST, NULL);
		http1_trailers(&parser, &trailers);
		reading = read_message(&parser, STR_LIT(request), step);
		assert_int_equal(reading->outcome, ACCEPTED);
		ASSERT_STR(buf_str(&trailers), "Grpc-Status: 0\r\nEmpty: \r\nDigest: a b\tc\r\n");
		reading_done(reading);
		buf_done(&trailers);
	}
}

static void messages_follow_each_other_on_one_parser(void **state)
{
	static const char bytes[] =
	    CHUNKED "1\r\na\r\n0\r\n\r\n" GET HOST END POST "Content-Length: 2\r\n\r\nbc"
		    "\r\n" GET HOST END;
	static const char *const bodies[] = {"a", "", "bc", ""};
	struct http1 parser;
	size_t at = 0;

	(void)state;
	http1_init(&parser, HTTP1_REQUEST, NULL);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct reading *reading =
		    read_message(&parser, (struct str){bytes + at, sizeof(bytes) - 1 - at}, SIZE_MAX / 2);

		assert_int_equal(reading->outcome, ACCEPTED);
		ASSERT_STR(buf_str(&reading->body), bodies[i]);
		at += reading->consumed_bytes;
		reading_done(reading);
		http1_next(&parser);
	}
	assert_int_equal(at, sizeof(bytes) - 1);
	assert_int_equal(http1_eof(&parser), 0);
}

static void an_end_within_a_message_is_an_error(void **state)
{
	static const struct {
		const char *bytes;
		int code;
	} cases[] = {
	    {"", 0},
	    {"G", -EBADMSG},
	    {"\r\n", -EBADMSG},
	    {GET HOST, -EBADMSG},
	    {GET HOST END, 0},
	    {POST "Content-Length: 3\r\n\r\nab", -EBADMSG},
	    {POST "Content-Length: 3\r\n\r\nabc", 0},
	    {CHUNKED, -EBADMSG},
	    {CHUNKED "3\r\nabc\r\n", -EBADMSG},
	    {CHUNKED "0\r\n", -EBADMSG},
	    {CHUNKED "0\r\n\r\n", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1 parser;

		http1_init(&parser, HTTP1_REQUEST, NULL);
		reading_done(read_message(&parser, str_of(cases[i].bytes), 1));
		if (http1_eof(&parser) != cases[i].code)
			fail_msg("%s", cases[i].bytes);
	}
}

/* ---- Responses ---- */

struct response_case {
	const char *source, *request_method, *bytes;
	int outcome;
	enum http_framing framing;
	bool keep_alive;
	const char *body;
};

#define OK      "HTTP/1.1 200 OK\r\n"
#define TE      "Transfer-Encoding: chunked\r\n"
#define CL      "Content-Length: 3\r\n"
#define REFUSED 502, HTTP_BODY_NONE, false, ""

static const struct response_case response_cases[] = {
    {"9112 6.3", "GET", OK CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, true, "abc"},
    {"9112 6.3", "GET", OK "Content-Length: 0\r\n\r\n", ACCEPTED, HTTP_BODY_LENGTH, true, ""},
    {"9112 6.3", "GET", OK TE "\r\n3\r\nabc\r\n0\r\n\r\n", ACCEPTED, HTTP_BODY_CHUNKED, true, "abc"},
    {"9112 6.3", "GET", OK "\r\nabc", INCOMPLETE, HTTP_BODY_UNTIL_CLOSE, false, "abc"},
    {"9112 6.3", "GET", OK "\r\n", INCOMPLETE, HTTP_BODY_UNTIL_CLOSE, false, ""},
    {"9112 6.3", "HEAD", OK CL "\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9112 6.3", "HEAD", OK TE "\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9112 6.3", "HEAD", OK "\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9112 6.3", "CONNECT", OK "\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9112 6.3", "CONNECT", "HTTP/1.1 403 No\r\n" CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, true, "abc"},
    {"9112 6.3", "GET", "HTTP/1.1 304 Not Modified\r\n" CL "\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9112 6.3", "GET", "HTTP/1.1 304 Not Modified\r\n" TE "\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9112 6.3", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9110 8.6", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ACCEPTED, HTTP_BODY_NONE,
     true, ""},
    {"9110 8.6", "GET", "HTTP/1.1 204 No Content\r\n" CL "\r\n", REFUSED},
    {"9112 6.1", "GET", "HTTP/1.1 204 No Content\r\n" TE "\r\n", REFUSED},
    {"9110 15.2", "GET", "HTTP/1.1 100 Continue\r\n\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9110 15.2", "GET", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", ACCEPTED, HTTP_BODY_NONE, true, ""},
    {"9110 8.6", "GET", "HTTP/1.1 100 Continue\r\n" CL "\r\n", REFUSED},
    {"9112 6.1", "GET", "HTTP/1.1 102 Processing\r\n" TE "\r\n", REFUSED},
    {"9110 15.3.6", "GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", ACCEPTED,
     HTTP_BODY_LENGTH, true, ""},
    {"9112 6.3", "GET", OK TE CL "\r\n3\r\nabc\r\n0\r\n\r\n", REFUSED},
    {"9112 6.3", "GET", OK CL TE "\r\n3\r\nabc\r\n0\r\n\r\n", REFUSED},
    {"9112 6.1", "GET", OK "Transfer-Encoding: gzip, chunked\r\n\r\n", REFUSED},
    {"9112 6.1", "GET", OK "Transfer-Encoding: chunked, chunked\r\n\r\n", REFUSED},
    {"9112 6.1", "GET", OK "Transfer-Encoding: gzip\r\n\r\n", REFUSED},
    {"9112 6.1", "GET", OK "Transfer-Encoding: identity\r\n\r\n", REFUSED},
    {"9112 6.1", "GET", OK TE TE "\r\n", REFUSED},
    {"9112 6.1", "GET", "HTTP/1.0 200 OK\r\n" TE "\r\n", REFUSED},
    {"9112 6.3", "GET", OK CL CL "\r\nabc", REFUSED},
    {"9112 6.3", "GET", OK "Content-Length: 3, 3\r\n\r\nabc", REFUSED},
    {"9112 6.3", "GET", OK "Content-Length: -1\r\n\r\n", REFUSED},
    {"9112 6.3", "HEAD", OK "Content-Length: x\r\n\r\n", REFUSED},
    {"9112 9.3", "GET", OK CL "Connection: close\r\n\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, false, "abc"},
    {"9112 9.3", "GET", "HTTP/1.0 200 OK\r\n" CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, false, "abc"},
    {"9112 9.3", "GET", "HTTP/1.0 200 OK\r\n" CL "Connection: keep-alive\r\n\r\nabc", ACCEPTED,
     HTTP_BODY_LENGTH, true, "abc"},
    {"9112 4", "GET", "HTTP/1.1 200 \r\n" CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, true, "abc"},
    {"9112 4", "GET", "HTTP/1.1 200\r\n" CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, true, "abc"},
    {"9112 4", "GET", "HTTP/1.1 200 Gr\xc3\xbc\xc3\x9f Gott\r\n" CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH,
     true, "abc"},
    {"9110 15", "GET", "HTTP/1.1 999 Odd\r\n" CL "\r\nabc", ACCEPTED, HTTP_BODY_LENGTH, true, "abc"},
    {"9112 4", "GET", "HTTP/1.1  200 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/1.1 20 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/1.1 2000 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/1.1 099 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/1.1 2x0 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/1.1\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/2.0 200 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "HTTP/1.2 200 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "http/1.1 200 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "ICY 200 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "\r\nHTTP/1.1 200 OK\r\n\r\n", REFUSED},
    {"9112 4", "GET", "<html>", REFUSED},
    {"9112 4", "GET", "HTTP/1.1 200 O\tK\x01\r\n\r\n", REFUSED},
    {"9112 2.2", "GET", "HTTP/1.1 200 OK\n\n", REFUSED},
    {"9112 2.2", "GET", OK "A: b\rC: d\r\n\r\n", REFUSED},
    {"9112 5.1", "GET", OK "Content-Length : 3\r\n\r\nabc", REFUSED},
    {"9112 5.2", "GET", OK "A: b\r\n c\r\n\r\n", REFUSED},
    {"9112 7.1", "GET", OK TE "\r\n3\r\nabcX\r\n0\r\n\r\n", REFUSED},
    {"9110 7.6.1", "GET", OK CL "Connection: Content-Length\r\n\r\nabc", REFUSED},
    {"9112 8", "GET", OK CL "\r\nab", INCOMPLETE, HTTP_BODY_LENGTH, true, "ab"},
};

static void every_response_is_framed_as_the_rfc_says_or_refused(void **state)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 3};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(response_cases); i++) {
		const struct response_case *c = &response_cases[i];

		for (size_t n = 0; n < ARRAY_LEN(steps); n++) {
			struct reading *reading;
			struct http1 parser;

			http1_init(&parser, HTTP1_RESPONSE, NULL);
			http1_expect_response_to(&parser, str_of(c->request_method));
			reading = read_message(&parser, str_of(c->bytes), steps[n]);
			if (reading->outcome != c->outcome)
				fail_msg("RFC %s: %s: %d", c->source, c->bytes, reading->outcome);
			if (c->outcome != 502 && (reading->head.framing != c->framing ||
						  reading->head.keep_alive != c->keep_alive ||
						  !str_is(buf_str(&reading->body), c->body)))
				fail_msg("RFC %s: %s: framing %d", c->source, c->bytes,
					 (int)reading->head.framing);
			reading_done(reading);
		}
	}
}

static void a_response_cut_short_is_told_from_one_that_ends_with_the_connection(void **state)
{
	static const struct {
		const char *bytes;
		int code;
	} cases[] = {
	    {"", -EBADMSG},
	    {"HTTP", -EBADMSG},
	    {OK CL "\r\nab", -EBADMSG},
	    {OK CL "\r\nabc", 0},
	    {OK TE "\r\n0\r\n", -EBADMSG},
	    {OK TE "\r\n0\r\n\r\n", 0},
	    {OK "\r\nab", 0},
	    {OK "\r\n", 0},
	    {OK "\r", -EBADMSG},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1 parser;

		http1_init(&parser, HTTP1_RESPONSE, NULL);
		reading_done(read_message(&parser, str_of(cases[i].bytes), 1));
		if (http1_eof(&parser) != cases[i].code)
			fail_msg("%s", cases[i].bytes);
		assert_int_equal(http1_done(&parser), cases[i].code == 0);
	}
}

static void switching_protocols_names_the_protocol(void **state)
{
	struct reading *reading;
	struct http1 parser;

	(void)state;
	http1_init(&parser, HTTP1_RESPONSE, NULL);
	reading = read_message(&parser,
			       STR_LIT("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
				       "websocket\r\n\r\n\x81\x05"),
			       1);
	assert_int_equal(reading->outcome, ACCEPTED);
	assert_true(reading->head.upgrade);
	assert_int_equal(reading->head.status, 101);
	ASSERT_STR(reading->head.reason, "Switching Protocols");
	ASSERT_STR(reading->head.upgrade_protocol, "websocket");
	reading_done(reading);
}

static void reasons_are_known_for_registered_codes_only(void **state)
{
	(void)state;
	assert_string_equal(http_reason(404), "Not Found");
	assert_string_equal(http_reason(100), "Continue");
	assert_string_equal(http_reason(299), "Unknown");
	assert_string_equal(http_reason(0), "Unknown");
	assert_string_equal(http_reason(999), "Unknown");
}

static void controls_are_found_at_every_place_in_a_word(void **state)
{
	(void)state;
	for (size_t len = 0; len < 40; len++) {
		for (size_t at = 0; at <= len; at++) {
			for (int c = 0; c < 256; c++) {
				char *bytes = malloc(len + 1);
				bool control = c < 0x20 || c == 0x7f;

				assert_non_null(bytes);
				memset(bytes, 0xa0, len + 1);
				bytes[at] = (char)c;
				assert_ptr_equal(http_find_control(bytes, bytes + len),
						 control && at < len ? bytes + at : bytes + len);
				free(bytes);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_request_gets_the_answer_it_deserves_however_it_is_cut),
	    cmocka_unit_test(a_second_request_behind_the_first_is_read_as_its_own),
	    cmocka_unit_test(a_refusal_is_final),
	    cmocka_unit_test(the_target_is_split_into_path_and_query),
	    cmocka_unit_test(fields_come_with_trimmed_values_and_known_names),
	    cmocka_unit_test(every_known_name_is_known_in_any_case),
	    cmocka_unit_test(fields_named_in_connection_are_not_forwarded),
	    cmocka_unit_test(persistence_and_upgrades_follow_version_and_connection),
	    cmocka_unit_test(limits_hold_to_the_octet),
	    cmocka_unit_test(limits_may_be_tightened),
	    cmocka_unit_test(bodies_arrive_whole_however_they_are_cut),
	    cmocka_unit_test(only_trailers_that_change_nothing_are_kept),
	    cmocka_unit_test(messages_follow_each_other_on_one_parser),
	    cmocka_unit_test(an_end_within_a_message_is_an_error),
	    cmocka_unit_test(every_response_is_framed_as_the_rfc_says_or_refused),
	    cmocka_unit_test(a_response_cut_short_is_told_from_one_that_ends_with_the_connection),
	    cmocka_unit_test(switching_protocols_names_the_protocol),
	    cmocka_unit_test(reasons_are_known_for_registered_codes_only),
	    cmocka_unit_test(controls_are_found_at_every_place_in_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
