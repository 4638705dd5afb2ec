/* ingress/relay: bodies from a socket into a fifo, from each framing into each framing, cut at every place. */
/* LINK: ingress/relay.c ingress/block.c ingress/transport.c ingress/text.c base/addr.c base/buf.c base/chunked.c base/http1.c */
/* LINK: base/http_syntax.c base/str.c */
/* LIBS: -lev -lssl -lcrypto */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ingress/relay.h"

struct bench {
	struct block_pool blocks;
	struct transport from;
	struct fifo in, out;
	struct relay relay;
	struct http1 parser;
	int peer;
};

static void on_event(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop;
	(void)io;
	(void)events;
}

/* A response whose head was read already, and whose body comes from `peer`. */
static void bench_begin(struct bench *bench, const char *head_text, enum http_framing sink)
{
	static struct http_head head;
	int fds[2];

	*bench = (struct bench){0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	transport_init(&bench->from, fds[0], on_event);
	bench->peer = fds[1];
	http1_init(&bench->parser, HTTP1_RESPONSE, NULL);
	assert_true(http1_head(&bench->parser, head_text, strlen(head_text), &head) > 0);
	relay_begin(&bench->relay, &bench->parser, &head, sink);
}

static void bench_end(struct bench *bench)
{
	relay_done(&bench->relay);
	fifo_done(&bench->in, &bench->blocks);
	fifo_done(&bench->out, &bench->blocks);
	block_pool_done(&bench->blocks);
	(void)close(bench->from.io.fd);
	if (bench->peer >= 0)
		(void)close(bench->peer);
}

/* As the loop would: once more for what a short read left, such as the end. */
static enum relay_result run(struct bench *bench)
{
	const struct relay_ends ends = {&bench->from, &bench->in, &bench->out, &bench->blocks};
	enum relay_result result = RELAY_WAITS;
	size_t budget = 1 << 20;

	for (int i = 0; i < 2 && result == RELAY_WAITS; i++) {
		bench->from.readable = true;
		result = relay_run(&bench->relay, &ends, &budget);
	}
	return result;
}

static void peer_send(struct bench *bench, const char *bytes, size_t len)
{
	assert_int_equal(send(bench->peer, bytes, len, 0), len);
}

static void peer_end(struct bench *bench)
{
	(void)close(bench->peer);
	bench->peer = -1;
}

static void assert_out(struct bench *bench, const char *expected)
{
	assert_int_equal(fifo_len(&bench->out), strlen(expected));
	if (expected[0] != '\0')
		assert_memory_equal(fifo_data(&bench->out), expected, strlen(expected));
}

#define LENGTH_5    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
#define CHUNKED     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define UNTIL_CLOSE "HTTP/1.1 200 OK\r\n\r\n"

static void every_framing_becomes_every_other(void **state)
{
	static const struct {
		const char *head, *body;
		enum http_framing sink;
		bool ends; /* the peer closes after it */
		const char *expected;
	} table[] = {
	    {LENGTH_5, "hello", HTTP_BODY_LENGTH, false, "hello"},
	    {CHUNKED, "5\r\nhello\r\n0\r\n\r\n", HTTP_BODY_CHUNKED, false, "5\r\nhello\r\n0\r\n\r\n"},
	    {CHUNKED, "5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n", HTTP_BODY_CHUNKED, false,
	     "5\r\nhello\r\n0\r\nX: y\r\n\r\n"},
	    {CHUNKED, "0005\r\nhello\r\n0\r\nX: y\r\n\r\n", HTTP_BODY_UNTIL_CLOSE, false, "hello"},
	    {UNTIL_CLOSE, "hello", HTTP_BODY_UNTIL_CLOSE, true, "hello"},
	    {UNTIL_CLOSE, "hello", HTTP_BODY_CHUNKED, true, "5\r\nhello\r\n0\r\n\r\n"},
	    {UNTIL_CLOSE, "", HTTP_BODY_CHUNKED, true, "0\r\n\r\n"},
	    {"HTTP/1.1 204 No Content\r\n\r\n", "", HTTP_BODY_NONE, false, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct bench bench;

		bench_begin(&bench, table[i].head, table[i].sink);
		peer_send(&bench, table[i].body, strlen(table[i].body));
		if (table[i].ends)
			peer_end(&bench);
		assert_int_equal(run(&bench), RELAY_DONE);
		assert_out(&bench, table[i].expected);
		assert_int_equal(run(&bench), RELAY_DONE); /* still */
		bench_end(&bench);
	}
}

/* The payload of what was relayed as chunks, read back by the parser. */
static void assert_chunked_payload(struct bench *bench, const char *expected)
{
	static struct http_head head;
	char payload[256];
	size_t len = 0, at = 0;
	struct http1 parser;
	bool done = false;

	http1_init(&parser, HTTP1_RESPONSE, NULL);
	assert_true(http1_head(&parser, CHUNKED, strlen(CHUNKED), &head) > 0);
	while (!done) {
		struct str run;
		ssize_t n =
		    http1_body(&parser, fifo_data(&bench->out) + at, fifo_len(&bench->out) - at, &run, &done);

		assert_true(n >= 0 && len + run.len < sizeof(payload) && (n > 0 || done));
		memcpy(payload + len, run.p, run.len);
		len += run.len;
		at += (size_t)n;
	}
	assert_int_equal(at, fifo_len(&bench->out));
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(payload, expected, len);
}

static void octets_that_come_one_by_one_make_the_same_body(void **state)
{
	static const char body[] = "5;ext=\"1\"\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n";
	struct bench bench;

	(void)state;
	bench_begin(&bench, CHUNKED, HTTP_BODY_CHUNKED);
	for (size_t i = 0; i < sizeof(body) - 1; i++) {
		peer_send(&bench, body + i, 1);
		assert_int_equal(run(&bench), i < sizeof(body) - 2 ? RELAY_WAITS : RELAY_DONE);
	}
	assert_chunked_payload(&bench, "hello world");
	assert_int_equal(bench.relay.moved_bytes, 11);
	bench_end(&bench);
}

static void a_body_cut_short_is_never_done(void **state)
{
	static const char *const bodies[][2] = {
	    {LENGTH_5, "hell"},
	    {LENGTH_5, ""},
	    {CHUNKED, "5\r\nhello\r\n0\r\n\r"},
	    {CHUNKED, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct bench bench;

		bench_begin(&bench, bodies[i][0], HTTP_BODY_CHUNKED);
		peer_send(&bench, bodies[i][1], strlen(bodies[i][1]));
		peer_end(&bench);
		assert_int_equal(run(&bench), RELAY_CUT);
		bench_end(&bench);
	}
}

static void broken_chunks_are_bad(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench, CHUNKED, HTTP_BODY_CHUNKED);
	peer_send(&bench, "x\r\n", 3);
	assert_int_equal(run(&bench), RELAY_BAD);
	bench_end(&bench);
}

static void bytes_after_the_body_stay_where_they_are(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench, CHUNKED, HTTP_BODY_UNTIL_CLOSE);
	peer_send(&bench, "0\r\n\r\nnext", 9);
	assert_int_equal(run(&bench), RELAY_DONE);
	assert_int_equal(fifo_len(&bench.in), 4);
	assert_memory_equal(fifo_data(&bench.in), "next", 4);
	bench_end(&bench);

	bench_begin(&bench, LENGTH_5, HTTP_BODY_LENGTH);
	assert_int_equal(fifo_append(&bench.in, &bench.blocks, STR_LIT("helloNEXT")), 0);
	assert_int_equal(run(&bench), RELAY_DONE);
	assert_out(&bench, "hello");
	assert_int_equal(fifo_len(&bench.in), 4);
	bench_end(&bench);
}

static void a_limit_is_a_limit_whatever_the_framing(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench, CHUNKED, HTTP_BODY_CHUNKED);
	bench.relay.max_bytes = 4;
	peer_send(&bench, "5\r\nhello\r\n", 10);
	assert_int_equal(run(&bench), RELAY_TOO_LARGE);
	bench_end(&bench);

	bench_begin(&bench, CHUNKED, HTTP_BODY_CHUNKED);
	bench.relay.max_bytes = 5;
	peer_send(&bench, "5\r\nhello\r\n0\r\n\r\n", 15);
	assert_int_equal(run(&bench), RELAY_DONE);
	bench_end(&bench);
}

static void a_full_sink_stops_the_reading(void **state)
{
	static char block[1000];
	struct bench bench;
	enum relay_result result;
	size_t sent = 0, got = 0;

	(void)state;
	bench_begin(&bench, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", HTTP_BODY_LENGTH);
	for (;;) {
		while (sent < 1000000 &&
		       send(bench.peer, block, sizeof(block), MSG_DONTWAIT) == (ssize_t)sizeof(block))
			sent += sizeof(block);
		result = run(&bench);
		assert_true(fifo_len(&bench.out) <= BLOCK_LARGE);
		if (result == RELAY_FULL)
			assert_false(relay_has_room(&bench.relay, &bench.out) &&
				     fifo_room(&bench.out) > 1024);
		got += fifo_len(&bench.out);
		fifo_done(&bench.out, &bench.blocks);
		if (result == RELAY_DONE)
			break;
	}
	assert_int_equal(got, 1000000);
	bench_end(&bench);
}

static void discarded_bytes_go_nowhere(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench, LENGTH_5, HTTP_BODY_LENGTH);
	bench.relay.discard = true;
	peer_send(&bench, "hello", 5);
	assert_int_equal(run(&bench), RELAY_DONE);
	assert_null(bench.out.block);
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_framing_becomes_every_other),
	    cmocka_unit_test(octets_that_come_one_by_one_make_the_same_body),
	    cmocka_unit_test(a_body_cut_short_is_never_done),
	    cmocka_unit_test(broken_chunks_are_bad),
	    cmocka_unit_test(bytes_after_the_body_stay_where_they_are),
	    cmocka_unit_test(a_limit_is_a_limit_whatever_the_framing),
	    cmocka_unit_test(a_full_sink_stops_the_reading),
	    cmocka_unit_test(discarded_bytes_go_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
